//! What berth tells: of a start's steps, of a container's rights, of the host; and labels from files.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use testkit::{Cmd, Host, json, until};

#[test]
fn explain_tells_each_step_with_its_time_on_stderr() {
    let host = Host::new();
    let output = host.berth(["run", "--rm", "--explain", "@host", "echo", "hi"]).run().ok();
    assert_eq!(output.text(), "hi", "steps go to stderr");
    let text = output.err();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for (side, call) in [("holder", "clone3"), ("inside", "move_mount"), ("inside", "sethostname")] {
        let line = lines.iter().find(|words| words.first() == Some(&side) && words.contains(&call));
        let line = line.unwrap_or_else(|| panic!("{side} {call} isn't told: {text}"));
        assert!(line[1].parse::<u64>().is_ok() && line[2] == "us", "{line:?}");
    }
    // The last line is the sum.
    let told = |side: &str| lines.iter().filter(|words| words.first() == Some(&side)).count();
    let steps = told("holder") + told("inside");
    let last = text.lines().last().unwrap();
    assert!(steps > 30 && last.contains(&format!(" us  in {steps} steps")), "{steps}: {last}");
    // Without the flag, nothing.
    host.berth(["run", "--rm", "@host", "true"]).run().ok().silent();
}

#[test]
fn labels_from_files_come_before_l() {
    let host = Host::new();
    let (one, two) = (host.path("one"), host.path("two"));
    std::fs::write(&one, "# a comment\n\na=from one\nb\n  c=indented\n").unwrap();
    std::fs::write(&two, "a=from two\nd=x=y\n").unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let flags = ["run", "--name", "box", "--label-file", one, "--label-file", two, "-l", "d=flag"];
    host.berth(flags.iter().chain(&["@host", "true"])).run().ok();
    let labels = host.berth(["inspect", "box"]).run().ok().json()[0]["Config"]["Labels"].clone();
    assert_eq!(labels, json!({"a": "from two", "b": "", "c": "indented", "d": "flag"}));
    host.berth(["rm", "box"]).run().ok();
    let missing = host.berth(["run", "--label-file", "/no/such/file", "@host", "true"]).run().code(125);
    missing.stderr_has(&["/no/such/file"]);
    host.berth(["ps", "-aq"]).run().ok().stdout_is("");
}

#[test]
fn inspect_security_tells_what_the_first_process_has() {
    let host = Host::new();
    let security = |flags: &[&str]| {
        let start = ["run", "-d", "--name", "box"];
        host.berth(start.iter().chain(flags).chain(&["@host", "sleep", "100"])).run().ok();
        let told = host.berth(["inspect", "--security", "box"]).run().ok().json()[0].clone();
        let status = host.berth(["inspect", "-f", "{{.State.Pid}}", "box"]).run().ok().text();
        let status = std::fs::read_to_string(format!("/proc/{status}/status")).unwrap();
        host.berth(["rm", "-f", "box"]).run().ok();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        let effective = told["Capabilities"]["Effective"].as_array().unwrap().len();
        let bits = u64::from_str_radix(&field("CapEff:"), 16).unwrap().count_ones() as usize;
        assert_eq!(effective, bits, "{flags:?}");
        assert_eq!(told["NoNewPrivileges"], json!(field("NoNewPrivs:") == "1"), "{flags:?}");
        assert_eq!(told["Seccomp"] == json!("filter"), field("Seccomp:") == "2", "{flags:?}");
        told
    };
    let plain = security(&[]);
    assert_eq!(plain["UserMap"][0]["Ids"], json!(65536));
    assert!(host.owns_id(plain["UserMap"][0]["Host"].as_u64().unwrap() as u32));
    assert_eq!(plain["Capabilities"]["OverHost"], json!(false));
    assert_eq!(plain["WritableHostPaths"], json!([]));
    let dir = host.path("shared");
    std::fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/shared", dir.display());
    let open = security(&["--privileged", "-v", &bind, "--pids-limit", "77"]);
    assert_eq!(open["Capabilities"]["OverHost"], json!(true));
    assert_eq!(open["Privileged"], json!(true));
    assert_eq!(open["PidsMax"], json!(77));
    let writable = open["WritableHostPaths"].to_string();
    assert!(writable.contains(dir.to_str().unwrap()), "{writable}");
    let strict = security(&["--isolation", "strict", "--cap-drop", "ALL"]);
    assert_eq!(strict["Capabilities"]["Effective"], json!([]));
}

#[test]
fn info_tells_of_this_host_and_its_containers() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "one", "@host", "sleep", "100"]).run().ok();
    host.berth(["run", "--name", "two", "@host", "true"]).run().ok();
    // Its keeper is done a moment later, and gives its ids back: only what runs has some.
    let mut info = json!({});
    let counted = until(std::time::Duration::from_secs(5), || {
        info = host.berth(["info", "--format", "json"]).run().ok().json();
        let counts = [&info["ContainersRunning"], &info["ContainersStopped"], &info["Berth"]["Ids"]["InUse"]];
        counts == [&json!(1), &json!(1), &json!(1)]
    });
    assert!(counted, "{info}");
    assert_eq!(info["Containers"], json!(2));
    assert_eq!(info["Berth"]["Root"], json!(host.root_dir()));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(info["KernelVersion"], json!(release.trim()));
    // What falls back says what instead.
    for feature in info["Berth"]["Features"].as_array().unwrap() {
        assert_eq!(feature["Available"] == json!(false), feature.get("Instead").is_some(), "{feature}");
    }
    host.berth(["rm", "-f", "one", "two"]).run().ok();
    let version = host.berth(["version"]).run().ok().text();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn without_sig_proxy_a_signal_ends_the_client_alone() {
    let host = Host::new();
    let flags = ["run", "--sig-proxy=false", "--name", "box", "@host"];
    let script = "trap 'echo got it' TERM; echo up; while :; do sleep 0.02; done";
    let mut running = host.berth(flags.iter().chain(&["sh", "-c", script])).spawn();
    running.expect("up");
    running.signal(15);
    assert_eq!(running.wait().status, 143);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(host.berth(["inspect", "-f", "{{.State.Running}}", "box"]).run().ok().text(), "true");
    assert_eq!(host.berth(["logs", "box"]).run().ok().text(), "up");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn other_programs_that_give_out_ids_are_told_of_berths() {
    let host = Host::new();
    // Where berth is by default, seen through a mount namespace of the test's.
    let script = "set -e; mount -t tmpfs x /var/lib; mount -t tmpfs x /run; \
                  cp -a /etc /var/lib/; mount --bind /var/lib/etc /etc; \
                  printf ann:100000:65536 >/etc/subuid; rm -f /etc/subgid; \
                  unset BERTH_ROOT BERTH_RUN BERTH_IDS; $1 run --rm @host true; $1 run --rm @host true; \
                  cat /etc/subuid; echo; cat /etc/subgid";
    let berth = host.dir().join("bin/berth");
    let cmd = Cmd::new("unshare", ["-m", "sh", "-c", script, "sh", berth.to_str().unwrap()]);
    let ours = "berth:1879048192:268435456\n";
    let text = cmd.env("BERTH_CGROUP", host.cgroup()).run().ok().text();
    assert_eq!(text + "\n", format!("ann:100000:65536\n{ours}\n{ours}"));
}

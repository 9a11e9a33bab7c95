//! `berth attach`.

use super::*;

#[test]
fn several_clients_see_and_type_at_once() {
    let host = Host::new();
    host.berth(["run", "-dit", "--name", "web", "@host", "sh"]).run().ok();
    let mut one = host.pty(["attach", "web"]);
    one.send("A=one; echo $((40+2))\n");
    one.expect("42");
    let mut two = host.pty(["container", "attach", "--detach-keys", "ctrl-x,x", "web"]);
    two.send("echo $A-$((50+5))\n");
    for client in [&mut one, &mut two] {
        client.expect("one-55");
    }
    two.resize(100, 30);
    two.send("stty size\n");
    one.expect("30 100");
    // Leaving leaves the others and the container.
    two.send("\u{18}x");
    assert_eq!(two.wait(), 0);
    one.send("echo $((60+6))\n");
    one.expect("66");
    one.send("\u{10}\u{11}");
    assert_eq!(one.wait(), 0);
    let mut last = host.pty(["attach", "web"]);
    last.send("exit 7\n");
    assert_eq!(last.wait(), 7);
    remove(&host, &["web"]);
}

#[test]
fn without_a_terminal_streams_stay_apart() {
    let host = Host::new();
    let script = "read x; echo out $x; echo err $x >&2; read y; exit 3";
    host.berth(["run", "-di", "--name", "web", "@host", "sh", "-c", script]).run().ok();
    let watching = host.berth(["attach", "--no-stdin", "web"]).spawn();
    let first = host.berth(["attach", "web"]).stdin("1\n").spawn();
    assert!(until(PATIENCE, || host.berth(["logs", "web"]).run().text() == "out 1"));
    host.berth(["attach", "web"]).stdin("2\n").run().code(3).stdout_is("");
    for client in [watching, first] {
        let output = client.wait().code(3);
        // What came before a client was there isn't shown to it.
        assert!(["", "out 1"].contains(&output.text().as_str()), "{output:?}");
    }
    remove(&host, &["web"]);
}

#[test]
fn output_is_passed_on_whole_and_a_slow_reader_holds_nobody_up() {
    slow_reader(&[], 30_000_000);
}

#[test]
fn a_slow_reader_gets_all_of_what_is_removed_meanwhile() {
    slow_reader(&["--rm"], 60_000_000);
    slow_reader(&["--rm", "--log-driver", "none"], 12_000_000);
}

fn slow_reader(flags: &[&str], bytes: usize) {
    let host = Host::new();
    let script = format!("read x; head -c {bytes} /dev/zero | tr '\\0' x; exit 4");
    let run = ["run", "-di", "--name", "web"];
    host.berth(run.iter().chain(flags).chain(&["@host", "sh", "-c", script.as_str()])).run().ok();
    // It reads nothing until the container is gone.
    let slow = testkit::Cmd::new(
        "sh",
        ["-c", "\"$0\" attach --no-stdin web | { while [ -e \"$1\" ]; do sleep 0.05; done; wc -c; }"],
    )
    .arg(testkit::host::binary())
    .arg(inspect(&host, "web", "{{.Berth.RunDir}}"));
    let slow = host.env().into_iter().fold(slow, |cmd, (name, value)| cmd.env(name, value)).spawn();
    let attached = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("\0attach\0--no-stdin")
                && String::from_utf8_lossy(&environment).contains(host.cgroup())
                && std::fs::read_link(entry.path().join("fd/3")).is_ok()
        })
    };
    assert!(until(PATIENCE, attached));
    let output = host.berth(["attach", "web"]).stdin("go\n").run().code(4);
    assert_eq!(output.stdout.len(), bytes);
    assert_eq!(slow.wait().text(), bytes.to_string());
    // The last reader takes away what stayed for it.
    for dir in [host.root_dir().join("tmp"), host.run_dir().join("gone")] {
        assert!(std::fs::read_dir(&dir).map_or(0, Iterator::count) == 0, "{}", dir.display());
    }
    if flags.is_empty() {
        remove(&host, &["web"]);
    }
}

#[test]
fn signals_are_passed_on_or_end_the_client_alone() {
    let host = Host::new();
    start(&host, "web", "trap 'echo usr; exit 5' USR1; echo ready; while :; do sleep 0.01; done");
    assert!(until(PATIENCE, || host.berth(["logs", "web"]).run().text() == "ready"));
    let alone = host.berth(["attach", "--sig-proxy=false", "web"]).spawn();
    let proxy = host.berth(["attach", "web"]).spawn();
    // Both take signals only once they're attached.
    let is_attached = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let blocked =
            status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap_or("0").to_owned();
        u64::from_str_radix(&blocked, 16).is_ok_and(|bits| bits & (1 << 9) != 0)
    };
    assert!(until(PATIENCE, || is_attached(alone.pid()) && is_attached(proxy.pid())));
    alone.signal(10);
    assert_eq!(alone.wait().status, 138);
    assert_eq!(inspect(&host, "web", "{{.State.Status}}"), "running");
    proxy.signal(10);
    proxy.wait().code(5).stdout_is("usr");
    remove(&host, &["web"]);
}

#[test]
fn what_cannot_be_attached_to_is_named() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    start(&host, "job", "true");
    host.berth(["wait", "job"]).run().ok();
    host.berth(["pause", "web"]).run().ok();
    host.berth(["run", "-dit", "--name", "term", "@host", "sleep", "1000"]).run().ok();
    for (name, says) in [
        ("none", "no such container: none"),
        ("job", "you cannot attach to a stopped container, start it first"),
        ("web", "you cannot attach to a paused container, unpause it first"),
        ("term", "the input device is not a TTY"),
    ] {
        host.berth(["attach", name]).run().code(1).stdout_is("").stderr_has(&[says]);
    }
    remove(&host, &["web", "job", "term"]);
}

#[test]
fn it_goes_on_though_holder_and_keeper_are_killed() {
    let host = Host::new();
    start(&host, "web", "trap 'echo bye; exit 6' TERM; while :; do sleep 0.01; done");
    let client = host.berth(["attach", "--sig-proxy=false", "web"]).spawn();
    let holder: i32 = inspect(&host, "web", "{{.Berth.HolderPid}}").parse().unwrap();
    let keeper = keeper(&host, "web");
    testkit::cmd::signal_pid(holder as u32, 9);
    testkit::cmd::signal_pid(keeper, 9);
    host.berth(["kill", "-s", "TERM", "web"]).run().ok();
    let output = client.wait();
    assert!(output.text().contains("bye") || output.text().is_empty(), "{output:?}");
    remove(&host, &["web"]);
}

//! The life of a container under `berth-runtime`, with runc's words. Source: runtime-spec runtime.md, runc(8).
// A test moves files about as it likes, and its helpers fail as it does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Duration;
use testkit::{Host, Value, facts, json, until};

#[test]
fn a_created_container_waits_until_it_is_started() {
    let host = Host::new();
    let container = host.bundle().sh("echo ran; exec sleep 60").create();
    assert_eq!(container.status(), "created");
    let pid = container.pid();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert!(!environment.starts_with("sleep"), "{environment}");
    assert_eq!(container.printed(), "");
    container.start().await_printed("ran");
    assert_eq!(container.status(), "running");
    assert_eq!(container.pid(), pid, "the first process became the program");
    container.kill("KILL").await_status("stopped");
    container.remove();
}

#[test]
fn the_state_is_the_specifications_document() {
    let host = Host::new();
    let bundle =
        host.bundle().sh("exec sleep 60").config(|config| config["annotations"] = json!({"key": "value"}));
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let container = bundle.create();
    let state = container.state();
    let check = |key: &str, value: Value| assert_eq!(state[key], value, "{state}");
    check("id", json!(container.id()));
    check("status", json!("created"));
    check("bundle", json!(dir));
    check("annotations", json!({"key": "value"}));
    check("rootfs", json!(host.rootfs()));
    assert!(state["pid"].as_u64().is_some_and(|pid| pid > 1), "{state}");
    assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
    assert!(
        state["created"].as_str().is_some_and(|time| time.starts_with("20") && time.contains('T')),
        "{state}"
    );
    container.start();
    container.kill("KILL").await_status("stopped");
    assert_eq!(container.state()["pid"], json!(0), "a stopped container has no process");
    container.remove();
}

#[test]
fn run_deletes_what_ended() {
    let host = Host::new();
    host.bundle().sh("exit 3").run().code(3);
    host.runtime(["list", "-q"]).run().ok().silent().stdout_is("");
    let bundle = host.bundle().sh("exit 3");
    bundle.write();
    bundle.command("run", ["--keep"]).run().code(3);
    host.runtime(["list", "-q"]).run().ok().stdout_is(bundle.id());
    assert_eq!(host.runtime(["state", bundle.id()]).run().ok().json()["status"], json!("stopped"));
    host.runtime(["delete", bundle.id()]).run().ok().silent();
}

#[test]
fn run_detached_leaves_it_running() {
    let host = Host::new();
    let container = host.bundle().sh("echo up; exec sleep 60").detach();
    container.await_printed("up");
    assert_eq!(container.status(), "running");
    container.kill("KILL").await_status("stopped");
    container.remove();
}

#[test]
fn the_process_id_is_written_where_asked() {
    let host = Host::new();
    let bundle = host.bundle().sh("exec sleep 60");
    bundle.write();
    let file = host.path("pid");
    let options = ["--pid-file".as_ref(), file.as_os_str()];
    bundle.command("create", options).output_to(host.path("out")).run().ok();
    let pid: u32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let state = host.runtime(["state", bundle.id()]).run().ok().json();
    assert_eq!(state["pid"], json!(pid));
    host.runtime(["delete", "--force", bundle.id()]).run().ok().silent();
}

#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let host = Host::new();
    let bundle = host.bundle().sh("echo ran");
    bundle.write();
    host.runtime(["run", bundle.id()]).cwd(bundle.dir()).run().ok().stdout_is("ran");
}

#[test]
fn signals_reach_the_first_process_by_name_and_number() {
    let host = Host::new();
    let script =
        "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let container = host.bundle().sh(script).detach();
    container.await_printed("ready");
    container.kill("SIGUSR1").await_printed("usr1");
    container.kill("10").await_printed("usr1\nusr1");
    container.kill("usr1").await_printed("usr1\nusr1\nusr1");
    // The default is SIGTERM.
    container.command("kill", [""; 0]).run().ok().silent();
    container.await_printed("term").await_status("stopped");
    container.command("kill", ["CHEESE"]).run().code(1).stderr_has(&["CHEESE"]);
    container.command("kill", ["TERM"]).run().code(1).stderr_has(&["not running"]);
    container.remove();
}

#[test]
fn a_signal_for_all_reaches_every_process() {
    let host = Host::new();
    let container =
        host.bundle().sh("sleep 4321 & sleep 4322 & echo up; wait; echo waited; exec sleep 60").detach();
    container.await_printed("up");
    host.runtime(["kill", "--all", container.id(), "KILL"]).run().ok().silent();
    container.await_status("stopped");
    container.remove();
}

#[test]
fn a_running_container_is_deleted_only_by_force() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").detach();
    let refused = container.command("delete", [""; 0]).run().code(1);
    assert!(refused.err().contains("running"), "{refused:?}");
    assert_eq!(container.status(), "running");
    container.remove();
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let host = Host::new();
    let container = host.bundle().create();
    let pid = container.pid();
    container.command("delete", [""; 0]).run().ok().silent();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    assert!(until(Duration::from_secs(5), gone));
}

#[test]
fn what_is_not_there_is_an_error_except_to_a_forced_delete() {
    let host = Host::new();
    for command in ["state", "start", "kill", "delete"] {
        host.runtime([command, "nobody"]).run().code(1).stderr_has(&["does not exist"]);
    }
    host.runtime(["exec", "nobody", "true"]).run().code(255).stderr_has(&["does not exist"]);
    host.runtime(["delete", "--force", "nobody"]).run().ok().silent();
}

#[test]
fn a_container_is_started_once() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").create();
    container.start();
    let refused = container.command("start", [""; 0]).run().code(1);
    assert!(refused.err().contains("running"), "{refused:?}");
    container.kill("KILL").await_status("stopped");
    let refused = container.command("start", [""; 0]).run().code(1);
    assert!(refused.err().contains("stopped"), "{refused:?}");
    container.remove();
}

#[test]
fn a_name_is_used_once() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").create();
    let other = host.bundle();
    other.write();
    let args = ["run".as_ref(), "--bundle".as_ref(), other.dir().as_os_str(), container.id().as_ref()];
    host.runtime(args).run().code(1).stderr_has(&["already exists"]);
    assert_eq!(container.status(), "created");
    container.remove();
}

#[test]
fn names_are_checked() {
    let host = Host::new();
    let bundle = host.bundle();
    bundle.write();
    for name in ["", ".", "..", "a/b", "../x", "a b", "ü", &"x".repeat(300)] {
        let args = ["run".as_ref(), "--bundle".as_ref(), bundle.dir().as_os_str(), name.as_ref()];
        host.runtime(args).run().code(1).stderr_has(&["container ID"]);
    }
    for name in ["a", "A_b+c-d.e", "0"] {
        let args = ["run".as_ref(), "--bundle".as_ref(), bundle.dir().as_os_str(), name.as_ref()];
        host.runtime(args).run().ok().silent();
    }
}

#[test]
fn list_shows_every_container() {
    let host = Host::new();
    host.runtime(["list"])
        .run()
        .ok()
        .stdout_is("ID          PID         STATUS      BUNDLE      CREATED     OWNER");
    assert_eq!(host.runtime(["list", "-f", "json"]).run().ok().json(), json!([]));
    let first = host.bundle().sh("exec sleep 60").create();
    let second = host.bundle().sh("exec sleep 60").detach();
    let mut quiet: Vec<String> = host.runtime(["list", "-q"]).text().lines().map(str::to_owned).collect();
    quiet.sort();
    assert_eq!(quiet, [first.id(), second.id()]);
    let table = host.runtime(["list"]).text();
    for (container, status) in [(&first, "created"), (&second, "running")] {
        let row = table.lines().find(|line| line.starts_with(&format!("{} ", container.id())));
        let fields: Vec<&str> = row.unwrap_or_else(|| panic!("{table}")).split_whitespace().collect();
        assert_eq!(fields[1], container.pid().to_string());
        assert_eq!(fields[2], status);
        assert_eq!(fields[5], "root");
    }
    let listed = host.runtime(["list", "--format", "json"]).run().ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed[0]["status"], json!("created"));
    host.runtime(["list", "-f", "cheese"]).run().code(1).stderr_has(&["format"]);
    first.remove();
    second.remove();
}

#[test]
fn exec_runs_in_the_containers_namespaces_with_its_rights() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").detach();
    assert_eq!(container.see("hostname; id -u; cat /proc/1/comm; echo $PATH"), "box\n0\nsleep\n/bin");
    let own = "cat /proc/self/status | grep -E '^(Cap|NoNew|Seccomp:)'";
    assert_eq!(container.see(own), container.see(&own.replace("self", "1")), "rights of the first process");
    let script = "for ns in pid net mnt ipc uts user cgroup time; do readlink /proc/$$/ns/$ns; done";
    assert_eq!(container.see(script), container.see(&script.replace("$$", "1")));
    container.command("exec", ["/bin/sh", "-c", "exit 42"]).run().code(42).silent();
    container.command("exec", ["/bin/cat"]).stdin("through").run().ok().stdout_is("through");
    container.command("exec", ["/no/such"]).run().code(255).stderr_has(&["/no/such"]);
    container.remove();
}

#[test]
fn exec_takes_runcs_options() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").detach();
    let check = |options: &[&str], script: &str, shown: &str| {
        let mut args = vec!["exec"];
        args.extend(options);
        args.extend([container.id(), "/bin/sh", "-c", script]);
        host.runtime(args).run().ok().silent().stdout_is(shown);
    };
    check(&["--cwd", "/tmp"], "pwd", "/tmp");
    check(&["-e", "A=1", "--env", "B=2"], "echo $A $B", "1 2");
    check(&["-u", "33:44"], "id -u; id -g", "33\n44");
    check(&["-u", "33", "-g", "5", "-g", "44"], "id -G", "0 5 44");
    check(&["--cap", "CAP_SYS_ADMIN"], "grep CapEff /proc/self/status | cut -f2", "00000000a82425fb");
    container.remove();
}

#[test]
fn exec_takes_a_process_document() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").detach();
    let file = host.path("process.json");
    let process = json!({
        "args": ["/bin/sh", "-c", "id -u; pwd; echo $A"], "cwd": "/tmp", "env": ["PATH=/bin", "A=1"],
        "user": {"uid": 33, "gid": 33}
    });
    testkit::rootfs::write(&file, process.to_string());
    let args = ["exec".as_ref(), "--process".as_ref(), file.as_os_str(), container.id().as_ref()];
    host.runtime(args).run().ok().silent().stdout_is("33\n/tmp\n1");
    container.remove();
}

#[test]
fn exec_is_refused_unless_the_container_runs() {
    let host = Host::new();
    let container = host.bundle().sh("exec sleep 60").create();
    container.start();
    container.kill("KILL").await_status("stopped");
    container.command("exec", ["/bin/true"]).run().code(255).stderr_has(&["stopped"]);
    container.remove();
}

#[test]
fn a_field_that_is_not_supported_is_refused_by_name() {
    let host = Host::new();
    let check = |field: &str, value: Value| {
        let refused = host.refused(|config| {
            let mut place = &mut *config;
            for key in field.split('.') {
                place = &mut place[key];
            }
            *place = value.clone();
        });
        refused.code(1).stderr_has(&[field]);
    };
    check("hooks", json!({"poststart": [{"path": "/bin/true"}]}));
    check("windows", json!({}));
    check("vm", json!({"kernel": {"path": "/k"}}));
    check("solaris", json!({}));
    check("zos", json!({}));
    check("process.ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    check("process.scheduler", json!({"policy": "SCHED_BATCH"}));
    check("process.execCPUAffinity", json!({"initial": "0"}));
    check("linux.intelRdt", json!({"closID": "x"}));
    check("linux.personality", json!({"domain": "LINUX32"}));
    check("linux.memoryPolicy", json!({"mode": "MPOL_BIND"}));
    check("linux.netDevices", json!({"eth0": {}}));
    check("linux.seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}));
}

#[test]
fn malformed_configurations_are_refused_with_the_place() {
    let host = Host::new();
    let check = |text: &str, parts: &[&str]| {
        let bundle = host.bundle();
        bundle.write_text(text);
        bundle.command("run", [""; 0]).run().code(1).stdout_is("").stderr_has(parts);
    };
    check("", &["config.json"]);
    check("{", &["config.json"]);
    check("[]", &["config.json"]);
    check("\u{feff}{}", &["config.json"]);
    check("{\"ociVersion\": 1}", &["config.json", "line 1"]);
    check("{\"ociVersion\": \"2.0.0\", \"root\": {\"path\": \"x\"}}", &["ociVersion"]);
    check("{\"ociVersion\": \"1.0.2\", \"process\": {\"args\": \"sh\", \"cwd\": \"/\"}}", &["config.json"]);
    check(&"[".repeat(100_000), &["config.json"]);
    let bundle = host.bundle();
    bundle.command("run", [""; 0]).run().code(1).stderr_has(&["config.json"]);
    let args = ["run", "--bundle", "/no/such/bundle", "x"];
    host.runtime(args).run().code(1).stderr_has(&["/no/such/bundle"]);
}

#[test]
fn a_failed_start_leaves_nothing() {
    let host = Host::new();
    let bundle = host.bundle().args(["/no/such/program"]);
    bundle.run_cmd().run().code(1).stderr_has(&["/no/such/program"]);
    host.runtime(["list", "-q"]).run().ok().stdout_is("");
    // The name is free again.
    let bundle = bundle.sh("echo ran");
    bundle.run_cmd().run().ok().stdout_is("ran");
}

#[test]
fn messages_are_runcs() {
    let host = Host::new();
    let output = host.runtime(["state", "nobody"]).run().code(1);
    assert!(output.err().starts_with("time=\"20") && output.err().contains("level=error msg="), "{output:?}");
    let log = host.path("log");
    let args = [
        "--log".as_ref(),
        log.as_os_str(),
        "--log-format".as_ref(),
        "json".as_ref(),
        "state".as_ref(),
        "nobody".as_ref(),
    ];
    host.runtime(args).run().code(1).stderr_has(&["does not exist"]);
    let line: Value = serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], json!("error"));
    assert!(line["msg"].as_str().is_some_and(|message| message.contains("does not exist")), "{line}");
    let version = host.runtime(["--version"]).run().ok().text();
    assert!(version.contains("spec: 1.3"), "{version}");
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    let host = Host::new();
    let bundle = host.bundle();
    host.runtime(["spec"]).cwd(bundle.dir()).run().ok().silent();
    host.runtime(["spec"]).cwd(bundle.dir()).run().code(1).stderr_has(&["config.json", "exists"]);
    let text = std::fs::read_to_string(bundle.dir().join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["hostname"]);
    config["linux"]["cgroupsPath"] = json!(format!("/{}/spec", host.cgroup()));
    bundle.write_text(&config.to_string());
    std::fs::rename(host.fresh_rootfs(), bundle.dir().join("rootfs")).unwrap();
    if facts::has_capability("CAP_SYS_RESOURCE") || true_nofile_at_least(1024) {
        bundle.command("run", [""; 0]).run().ok().stdout_is("runc");
    }
}

/// Whether the hard limit of open files is at least `wanted`.
fn true_nofile_at_least(wanted: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(4).is_some_and(|hard| hard.parse().is_ok_and(|hard: u64| hard >= wanted))
}

#[test]
fn a_container_outlives_its_creator_and_its_terminal() {
    let host = Host::new();
    let container = host.bundle().sh("trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done").detach();
    container.await_printed("up");
    assert_eq!(container.status(), "running");
    assert!(!container.printed().contains("hup"));
    container.remove();
}

#[test]
fn signals_to_a_foreground_run_reach_the_program() {
    let host = Host::new();
    let bundle = host.bundle().sh("trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.02; done");
    let mut running = bundle.run_cmd().spawn();
    running.expect("ready");
    running.signal(15);
    running.expect("term");
    running.wait().code(9);
}

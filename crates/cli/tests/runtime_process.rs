//! `process` of config.json, seen from inside. Source: runtime-spec config.md, Process.

use std::os::fd::AsRawFd;
use testkit::{Host, Value, facts, json, skip};

const NOTHING: fn(&mut Value) = |_| {};

#[test]
fn arguments_reach_the_program_unchanged() {
    let host = Host::new();
    let args =
        ["/bin/sh", "-c", "for a; do echo \"[$a]\"; done", "name", "", "a b", "ünï\n", "$HOME", "--rm"];
    let output = host.bundle().args(args).run().ok().silent();
    assert_eq!(output.text(), "[]\n[a b]\n[ünï\n]\n[$HOME]\n[--rm]");
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_path() {
    let host = Host::new();
    let change = |config: &mut Value| {
        config["process"]["args"] = json!(["echo", "found"]);
        config["process"]["env"] = json!(["PATH=/nowhere:/bin"]);
    };
    host.bundle().config(change).run().ok().silent().stdout_is("found");
    let refused = host.refused(|config| {
        config["process"]["args"] = json!(["echo"]);
        config["process"]["env"] = json!(["PATH=/nowhere"]);
    });
    refused.stderr_has(&["echo"]);
}

#[test]
fn the_environment_is_what_the_configuration_says_and_home() {
    let host = Host::new();
    let run = |env: Value, uid: u32| {
        let change = |config: &mut Value| {
            config["process"]["env"] = env;
            config["process"]["user"]["uid"] = json!(uid);
        };
        let text = host.bundle().args(["/bin/env"]).config(change).run().ok().silent().text();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(run(json!(["B=x=y", "A=1", "EMPTY="]), 0), "A=1 B=x=y EMPTY= HOME=/root");
    assert_eq!(run(json!(["HOME=/own"]), 0), "HOME=/own");
    assert_eq!(run(json!([]), 33), "HOME=/srv/web");
    assert_eq!(run(json!([]), 4242), "HOME=/");
}

#[test]
fn the_program_starts_in_cwd() {
    let host = Host::new();
    let check = |cwd: &str, shown: &str| {
        assert_eq!(host.see("pwd", |config| config["process"]["cwd"] = json!(cwd)), shown);
    };
    check("/", "/");
    check("/tmp", "/tmp");
    check("/proc/self", "/proc/1");
    check("/made/for/it", "/made/for/it");
    assert!(host.rootfs().join("made/for/it").is_dir());
}

#[test]
fn a_cwd_that_is_no_directory_is_refused() {
    let host = Host::new();
    let check = |cwd: &str| {
        let refused = host.refused(|config| config["process"]["cwd"] = json!(cwd));
        assert!(refused.err().contains("cwd") || refused.err().contains(cwd), "{refused:?}");
    };
    check("/etc/passwd");
    check("/etc/passwd/below");
    check("tmp");
    check("");
    // CVE-2024-21626: a descriptor of the host's must not become the working directory.
    for fd in [3, 4, 5, 6, 7, 8, 9, 10, 20, 63] {
        check(&format!("/proc/self/fd/{fd}"));
    }
}

#[test]
fn a_cwd_that_only_its_user_may_enter_is_entered() {
    let host = Host::new();
    let script = "mkdir -m 700 /private && chown 1000 /private";
    host.see(script, NOTHING);
    let change = |config: &mut Value| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["process"]["cwd"] = json!("/private");
        config["process"]["capabilities"] = json!({});
    };
    assert_eq!(host.see("pwd; id -u", change), "/private\n1000");
}

#[test]
fn the_user_is_exactly_the_declared_one() {
    let host = Host::new();
    let check = |user: Value, ids: &str| {
        let script = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s ' \\t' ' '; umask";
        let shown = host.see(script, |config| config["process"]["user"] = user.clone());
        assert_eq!(shown.replace(" \n", "\n"), ids, "{user}");
    };
    check(json!({"uid": 0, "gid": 0}), "Uid: 0 0 0 0\nGid: 0 0 0 0\nGroups:\n0022");
    check(
        json!({"uid": 1000, "gid": 33, "additionalGids": [44, 5, 60_000]}),
        "Uid: 1000 1000 1000 1000\nGid: 33 33 33 33\nGroups: 5 44 60000\n0022",
    );
    check(
        json!({"uid": 65_535, "gid": 1, "umask": 0o27}),
        "Uid: 65535 65535 65535 65535\nGid: 1 1 1 1\nGroups:\n0027",
    );
    check(json!({"uid": 0, "gid": 0, "umask": 0}), "Uid: 0 0 0 0\nGid: 0 0 0 0\nGroups:\n0000");
}

#[test]
fn a_user_that_cannot_be_is_refused() {
    let host = Host::new();
    let check = |user: Value| {
        host.refused(|config| config["process"]["user"] = user.clone()).stderr_has(&[]);
    };
    check(json!({"uid": 65_536, "gid": 0}));
    check(json!({"uid": 0, "gid": 65_536}));
    check(json!({"uid": 0, "gid": 0, "additionalGids": [65_536]}));
    check(json!({"uid": 4_294_967_295_u32, "gid": 0}));
    check(json!({"uid": 4_294_967_296_u64, "gid": 0}));
    check(json!({"uid": -1, "gid": 0}));
    check(json!({"uid": "root", "gid": 0}));
}

#[test]
fn resource_limits_hold_inside() {
    let host = Host::new();
    let check = |typ: &str, soft: u64, hard: u64, row: &str| {
        let script = format!("grep '^Max {row}' /proc/self/limits | sed 's/^Max {row} *//' | tr -s ' '");
        let shown = host.see(&script, |config| {
            config["process"]["rlimits"] = json!([{"type": typ, "soft": soft, "hard": hard}]);
        });
        let numbers: Vec<&str> = shown.split_whitespace().take(2).collect();
        assert_eq!(numbers, [soft.to_string(), hard.to_string()], "{typ}");
    };
    check("RLIMIT_NOFILE", 100, 200, "open files");
    check("RLIMIT_NPROC", 50, 60, "processes");
    check("RLIMIT_CORE", 0, 0, "core file size");
    check("RLIMIT_FSIZE", 1 << 20, 1 << 21, "file size");
    check("RLIMIT_STACK", 1 << 20, 1 << 22, "stack size");
    check("RLIMIT_CPU", 10, 20, "cpu time");
    check("RLIMIT_AS", 1 << 30, 1 << 30, "address space");
    check("RLIMIT_DATA", 1 << 30, 1 << 30, "data size");
    check("RLIMIT_RSS", 1 << 30, 1 << 30, "resident set");
    check("RLIMIT_MEMLOCK", 4096, 4096, "locked memory");
    check("RLIMIT_LOCKS", 7, 8, "file locks");
    check("RLIMIT_SIGPENDING", 10, 10, "pending signals");
    check("RLIMIT_MSGQUEUE", 4096, 8192, "msgqueue size");
    check("RLIMIT_NICE", 0, 0, "nice priority");
    check("RLIMIT_RTPRIO", 0, 0, "realtime priority");
    check("RLIMIT_RTTIME", 1_000_000, 2_000_000, "realtime timeout");
}

#[test]
fn bad_resource_limits_are_refused_by_name() {
    let host = Host::new();
    let check = |rlimits: Value, parts: &[&str]| {
        host.refused(|config| config["process"]["rlimits"] = rlimits.clone()).stderr_has(parts);
    };
    check(json!([{"type": "RLIMIT_CHEESE", "soft": 1, "hard": 1}]), &["rlimits[0]", "RLIMIT_CHEESE"]);
    check(json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), &["rlimits[0]"]);
    let twice = json!([
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    ]);
    check(twice, &["rlimits[1]", "RLIMIT_CORE"]);
}

#[test]
fn a_hard_limit_above_the_callers_needs_a_right_and_says_so() {
    if facts::has_capability("CAP_SYS_RESOURCE") {
        skip!("this machine grants CAP_SYS_RESOURCE");
    }
    let host = Host::new();
    let refused = host.refused(|config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_048_577}]);
    });
    refused.stderr_has(&["RLIMIT_NOFILE", "CAP_SYS_RESOURCE"]);
}

/// The five sets of /proc/self/status, as `inheritable permitted effective bounding ambient`.
fn capability_sets(host: &Host, uid: u32, capabilities: Value) -> String {
    host.see("grep '^Cap' /proc/self/status | cut -f2 | sed 's/^0*\\(.\\)/\\1/'", |config| {
        config["process"]["user"] = json!({"uid": uid, "gid": uid});
        config["process"]["capabilities"] = capabilities;
    })
    .replace('\n', " ")
}

#[test]
fn all_five_capability_sets_are_the_declared_ones() {
    let host = Host::new();
    // CAP_CHOWN is bit 0, CAP_KILL 5, CAP_NET_BIND_SERVICE 10, CAP_NET_RAW 13.
    let (all, none) = (json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]), json!([]));
    let check = |uid: u32, capabilities: Value, sets: &str| {
        assert_eq!(capability_sets(&host, uid, capabilities.clone()), sets, "user {uid}, {capabilities}");
    };
    check(0, json!({"bounding": all, "permitted": all, "effective": all}), "0 2021 2021 2021 0");
    // With no_new_privs execve gives root nothing that it hadn't.
    check(0, json!({"bounding": all, "permitted": none, "effective": none}), "0 0 0 2021 0");
    check(0, json!({}), "0 0 0 0 0");
    check(
        0,
        json!({"bounding": all, "permitted": all, "effective": all, "inheritable": ["CAP_KILL"]}),
        "20 2021 2021 2021 0",
    );
    // Who isn't root has after execve what is ambient.
    check(1000, json!({"bounding": all, "permitted": all, "effective": all}), "0 0 0 2021 0");
    check(
        1000,
        json!({
            "bounding": all, "permitted": all, "effective": all, "inheritable": all,
            "ambient": ["CAP_KILL", "CAP_CHOWN"]
        }),
        "2021 21 21 2021 21",
    );
    check(1000, json!({"bounding": ["CAP_NET_BIND_SERVICE"]}), "0 0 0 400 0");
}

#[test]
fn without_capabilities_there_are_none() {
    let host = Host::new();
    let shown = host.see("grep '^Cap' /proc/self/status | cut -f2 | tr -d 0", |config| {
        config["process"].as_object_mut().expect("an object").remove("capabilities");
    });
    assert_eq!(shown, "");
}

#[test]
fn a_capability_does_what_it_is_for() {
    let host = Host::new();
    let check = |capabilities: Value, outcome: &str| {
        let shown = host.see("chown 33 /tmp 2>/dev/null && echo done || echo refused", |config| {
            let sets =
                json!({"bounding": capabilities, "permitted": capabilities, "effective": capabilities});
            config["process"]["capabilities"] = sets;
        });
        assert_eq!(shown, outcome);
    };
    check(json!(["CAP_CHOWN"]), "done");
    check(json!([]), "refused");
}

#[test]
fn no_new_privileges_is_as_declared() {
    let host = Host::new();
    for (value, shown) in [(true, "1"), (false, "0")] {
        let script = "grep NoNewPrivs /proc/self/status | cut -f2";
        assert_eq!(host.see(script, |config| config["process"]["noNewPrivileges"] = json!(value)), shown);
    }
}

#[test]
fn a_setuid_program_gains_rights_only_without_no_new_privileges() {
    let host = Host::new();
    let program = host.rootfs().join("bin/euid");
    testkit::elf::write(&program, &testkit::elf::EXIT_WITH_EUID);
    std::os::unix::fs::chown(&program, Some(host.first_id()), Some(host.first_id())).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    for (barred, euid) in [(false, 0), (true, 123)] {
        let change = |config: &mut Value| {
            config["process"]["user"] = json!({"uid": 123, "gid": 123});
            config["process"]["noNewPrivileges"] = json!(barred);
        };
        host.bundle().args(["/bin/euid"]).config(change).run().code(euid);
    }
}

#[test]
fn the_oom_score_is_as_declared_and_else_the_callers() {
    let host = Host::new();
    let script = "cat /proc/self/oom_score_adj";
    assert_eq!(host.see(script, |config| config["process"]["oomScoreAdj"] = json!(500)), "500");
    assert_eq!(host.see(script, |config| config["process"]["oomScoreAdj"] = json!(1000)), "1000");
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(host.see(script, NOTHING), own.trim());
    host.refused(|config| config["process"]["oomScoreAdj"] = json!(1001))
        .stderr_has(&["oomScoreAdj", "1001"]);
}

#[test]
fn an_apparmor_profile_is_refused_where_there_is_no_apparmor() {
    if facts::has_lsm("apparmor") {
        skip!("this machine has AppArmor");
    }
    let host = Host::new();
    host.refused(|config| config["process"]["apparmorProfile"] = json!("docker-default"))
        .stderr_has(&["AppArmor"]);
    // The empty profile is none.
    assert_eq!(host.see("echo ran", |config| config["process"]["apparmorProfile"] = json!("")), "ran");
}

#[test]
fn an_selinux_label_is_refused_where_there_is_no_selinux() {
    if facts::has_lsm("selinux") {
        skip!("this machine has SELinux");
    }
    let host = Host::new();
    let label = json!("system_u:system_r:container_t:s0");
    host.refused(|config| config["process"]["selinuxLabel"] = label).stderr_has(&["SELinux"]);
}

#[test]
fn the_exit_status_is_the_programs() {
    let host = Host::new();
    for status in [0, 1, 2, 42, 125, 126, 127, 128, 254, 255] {
        host.bundle().sh(&format!("exit {status}")).run().code(status).silent();
    }
    // A first process that raises a signal against itself is deaf to it; its child isn't.
    host.bundle().sh("sh -c 'kill -9 $$'; exit $?").run().code(137);
}

#[test]
fn a_program_that_is_missing_or_no_program_is_named() {
    let host = Host::new();
    let check = |program: &str, why: &str| {
        host.bundle().args([program]).run().failed().stderr_has(&[program, why]);
    };
    check("/no/such/program", "no such file");
    check("nosuchprogram", "nosuchprogram");
    check("/etc/passwd", "permission denied");
    check("/etc", "/etc");
    host.refused(|config| config["process"]["args"] = json!([])).stderr_has(&["process.args"]);
}

#[test]
fn a_script_runs_by_its_interpreter() {
    let host = Host::new();
    testkit::rootfs::write(&host.rootfs().join("tmp/script"), "#!/bin/sh\necho \"$0 $1\"\n");
    testkit::rootfs::write(&host.rootfs().join("tmp/broken"), "#!/no/interpreter\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    for name in ["script", "broken"] {
        std::fs::set_permissions(host.rootfs().join("tmp").join(name), mode(0o755)).unwrap();
    }
    host.bundle().args(["/tmp/script", "x"]).run().ok().silent().stdout_is("/tmp/script x");
    host.bundle().args(["/tmp/broken"]).run().failed().stderr_has(&["/tmp/broken"]);
}

#[test]
fn standard_streams_are_the_callers() {
    let host = Host::new();
    let bundle = host.bundle().sh("cat; echo problem >&2; exit 3");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let output = bundle.run_cmd().stdin(bytes.clone()).run().code(3);
    assert_eq!(output.err(), "problem");
    assert!(output.stdout == bytes, "{} bytes came of {}", output.stdout.len(), bytes.len());
}

#[test]
fn no_descriptor_of_the_callers_is_inside() {
    let host = Host::new();
    // Seen in a child: the shell itself and ls open something to list with.
    let bundle = host.bundle().sh("sleep 9 & ls /proc/$!/fd | tr '\\n' ' '; kill $!");
    let seen = bundle.run_cmd().fd(3, "/etc/hostname").fd(7, "/etc/passwd").text();
    assert_eq!(seen, "0 1 2", "inherited without being asked to");
}

#[test]
fn preserved_descriptors_are_inside_and_no_others() {
    let host = Host::new();
    testkit::rootfs::write(&host.path("given"), "given");
    // Before it is the program, a process of the background has its stdin exchanged.
    let script = "cat <&3; sleep 9 & until grep -q sleep /proc/$!/comm; do :; done; \
                  ls /proc/$!/fd | tr '\\n' ' '; kill $!";
    let bundle = host.bundle().sh(script);
    bundle.write();
    let cmd = bundle.command("run", ["--preserve-fds", "1"]);
    let seen = cmd.fd(3, host.path("given")).fd(4, "/etc/passwd").text();
    assert_eq!(seen, "given0 1 2 3");
}

#[test]
fn a_terminal_is_one_and_has_the_callers_size() {
    let host = Host::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && tty; stty size; ls -l /dev/console | cut -c1; \
                  ps -o tty,pid,comm | grep ' 1 sh'; echo end";
    let mut pty = host.bundle().sh(script).pty();
    let shown = pty.expect("end");
    assert!(shown.contains("/dev/pts/0"), "{shown}");
    assert!(shown.contains("24 80"), "{shown}");
    assert!(shown.contains("\nc\r"), "/dev/console is no character device: {shown}");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn a_console_size_is_the_terminals() {
    let host = Host::new();
    let size = |config: &mut Value| config["process"]["consoleSize"] = json!({"width": 111, "height": 44});
    let listener = testkit::pty::ConsoleSocket::listen(&host.path("console"));
    let bundle = host.bundle().sh("stty size; echo end").config(size);
    let container = bundle.create_with_console(&listener);
    let mut pty = listener.accept();
    container.start();
    assert!(pty.expect("end").contains("44 111"), "{}", pty.screen());
    container.await_status("stopped");
    container.remove();
}

#[test]
fn a_pidfd_socket_gets_the_first_process() {
    let host = Host::new();
    let listener = testkit::pty::ConsoleSocket::listen(&host.path("pidfd"));
    let bundle = host.bundle().sh("exit 3");
    bundle.write();
    let options = ["--pidfd-socket".as_ref(), listener.path().as_os_str()];
    let output = bundle.command("run", options).run();
    let pidfd = listener.accept_fd();
    output.code(3);
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    // The process that it names is gone.
    assert!(info.lines().any(|line| line == "Pid:\t-1"), "{info}");
}

#[test]
fn a_terminal_follows_the_window_and_passes_signals() {
    let host = Host::new();
    let script = "trap 'echo size $(stty size)' WINCH; trap 'echo interrupted; exit 7' INT; echo ready; \
                  while :; do sleep 0.05; done";
    let mut pty = host.bundle().sh(script).pty();
    pty.expect("ready");
    pty.resize(100, 30);
    pty.expect("size 30 100");
    pty.send(b"\x03");
    pty.expect("interrupted");
    assert_eq!(pty.wait(), 7);
}

#[test]
fn a_terminal_carries_what_is_typed() {
    let host = Host::new();
    let mut pty = host.bundle().args(["/bin/sh"]).pty();
    pty.send("echo $((6*7)); id -u\n");
    pty.expect("42\r\n0\r\n");
    pty.send("exit 5\n");
    assert_eq!(pty.wait(), 5);
}

#[test]
fn a_terminal_without_anyone_to_hold_it_is_refused() {
    let host = Host::new();
    let bundle = host.bundle().config(|config| config["process"]["terminal"] = json!(true));
    bundle.write();
    bundle.command("create", [""; 0]).output_to(host.path("out")).run().failed().stderr_has(&["console"]);
    let socket = host.path("nobody");
    let options = ["--console-socket".as_ref(), socket.as_os_str()];
    bundle.command("create", options).run().failed().stderr_has(&["nobody"]);
}

#[test]
fn a_console_socket_without_a_terminal_is_refused() {
    let host = Host::new();
    let listener = testkit::pty::ConsoleSocket::listen(&host.path("console"));
    let bundle = host.bundle();
    bundle.write();
    let options = ["--console-socket".as_ref(), listener.path().as_os_str()];
    bundle.command("create", options).run().failed().stderr_has(&["console"]);
}

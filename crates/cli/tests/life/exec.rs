//! `berth exec`: its flags, and that a thousand leave nothing.

use super::*;

fn exec(host: &Host, flags: &[&str], script: &str) -> testkit::Cmd {
    host.berth(["exec"].iter().chain(flags).copied().chain(["web", "sh", "-c", script]))
}

#[test]
fn each_flag_has_its_effect() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "web", "-e", "A=image", "-e", "B=kept", "@host", "sleep", "1000"])
        .run()
        .ok();
    let file = host.path("variables");
    std::fs::write(&file, "A=file\nC=file\n# nothing\n").unwrap();
    let file = file.to_str().unwrap();
    let show = "echo $A $B $C; pwd; id -u; id -g";
    exec(&host, &[], show).run().ok().silent().stdout_is("image kept\n/\n0\n0");
    exec(&host, &["--env-file", file, "-e", "C=flag", "-w", "/usr", "-u", "33:7"], show)
        .run()
        .ok()
        .stdout_is("file kept flag\n/usr\n33\n7");
    exec(&host, &["--env-file", "/none"], "true").run().code(1).stderr_has(&["/none"]);
    exec(&host, &["-w", "/none"], "true").run().code(127).stderr_has(&["/none"]);
    exec(&host, &["-u", "no-such-user"], "true").run().failed().stderr_has(&["no-such-user"]);
    exec(&host, &["-i"], "cat").stdin("through").run().ok().stdout_is("through");
    exec(&host, &[], "echo out; echo err >&2; exit 9").run().code(9).stdout_is("out").stderr_has(&["err"]);
    let bits = "grep CapEff /proc/self/status | cut -f2";
    let ordinary = exec(&host, &[], bits).text();
    let privileged = exec(&host, &["--privileged"], bits).text();
    let count = |bits: &str| u64::from_str_radix(bits, 16).unwrap().count_ones();
    assert!(count(&ordinary) == 14 && count(&privileged) > 30, "{ordinary} {privileged}");
    exec(&host, &["-d"], "echo done >/tmp/done").run().ok().silent().stdout_is("");
    assert!(until(PATIENCE, || exec(&host, &[], "cat /tmp/done").run().text() == "done"));
    host.berth(["exec", "web", "no-such-program"]).run().code(127);
    host.berth(["exec", "web", "/"]).run().code(126);
    exec(&host, &["--detach-keys", "a,,b"], "true").run().code(1).stderr_has(&["a,,b"]);
    remove(&host, &["web"]);
    host.berth(["exec", "web", "true"]).run().code(1).stderr_has(&["no such container: web"]);
}

#[test]
fn detach_keys_leave_a_command_running() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    let mut pty =
        host.pty(["exec", "-it", "--detach-keys", "ctrl-x,x", "web", "sh", "-c", "echo here; sleep 900"]);
    pty.expect("here");
    pty.send("\u{18}x");
    assert_eq!(pty.wait(), 0);
    assert!(host.berth(["top", "web"]).text().contains("sleep 900"));
    // One that was never attached has a terminal all the same.
    host.berth(["exec", "-dt", "web", "sh", "-c", "tty && sleep 800"]).run().ok();
    assert!(until(PATIENCE, || host.berth(["top", "web"]).text().contains("sleep 800")));
    remove(&host, &["web"]);
}

#[test]
fn many_in_a_row_leave_nothing() {
    let host = Host::new();
    start(&host, "web", "exec sleep 1000");
    for _ in 0..200 {
        host.berth(["exec", "web", "true"]).run().ok();
    }
    assert_eq!(host.berth(["top", "web", "-o", "pid"]).text().lines().count(), 2);
    remove(&host, &["web"]);
}

#[test]
fn a_command_has_an_id_and_its_end_is_known() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    let ids = || inspect(&host, "web", "{{json .ExecIDs}}");
    assert_eq!(ids(), "null");
    let command = "until test -e /tmp/go; do sleep 0.02; done; exit 7";
    exec(&host, &["-d", "-e", "SECRET=x", "-u", "0"], command).run().ok().stdout_is("");
    let id = ids().trim_matches(['[', ']', '"']).to_owned();
    assert_eq!(id.len(), 64, "{id}");
    let of_exec =
        |template: &str| host.berth(["inspect", "--type", "exec", "-f", template, &id[..12]]).text();
    let shown = "{{.ID}} {{.Running}} {{.ExitCode}} {{.ProcessConfig.entrypoint}} {{index .ProcessConfig.arguments 0}} {{.ProcessConfig.user}}";
    assert_eq!(of_exec(shown), format!("{id} true <no value> sh -c 0"));
    assert_ne!(of_exec("{{.Pid}}"), "0");
    assert_eq!(of_exec("{{.ContainerID}}"), inspect(&host, "web", "{{.Id}}"));
    exec(&host, &[], "touch /tmp/go").run().ok();
    assert!(until(PATIENCE, || of_exec("{{.Running}} {{.ExitCode}} {{.Pid}}") == "false 7 0"));
    assert_eq!(ids(), "null");
    let told = host.berth(["events", "--since", "1h", "--until", "0s", "-f", "event=exec_die"]).text();
    assert!(told.contains(&format!("execID={id}")) && told.contains("exitCode=7"), "{told}");
    // What can't be run is told at once, though it would have been left behind.
    host.berth(["exec", "-d", "web", "no-such-program"])
        .run()
        .code(127)
        .stdout_is("")
        .stderr_has(&["no-such-program"]);
    host.berth(["exec", "-d", "web", "/"]).run().code(126);
    // One that is attended is known while it runs.
    let mut attended = exec(&host, &["-i"], "cat; exit 3").stdin("").spawn();
    let _ = &mut attended;
    attended.wait().code(3);
    assert_eq!(ids(), "null");
    host.berth(["inspect", "--type", "exec", "0123"])
        .run()
        .code(1)
        .stderr_has(&["no such exec instance: 0123"]);
    for _ in 0..80 {
        host.berth(["exec", "-d", "web", "true"]).run().ok();
    }
    let cell = std::fs::read_dir(host.run_dir().join("containers")).unwrap().flatten().next().unwrap().path();
    let records = || {
        let entries = std::fs::read_dir(&cell).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("exec.")).count()
    };
    assert!(until(PATIENCE, || (1..=65).contains(&records())), "{}", records());
    remove(&host, &["web"]);
}

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

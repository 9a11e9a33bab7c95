//! `berth run` with terminals and pipes, as a person and a script use it.

use std::time::{Duration, Instant};
use testkit::pty::Pty;
use testkit::{Cmd, Host, until};

/// `berth run -it --rm FLAGS @host ARGS` under a terminal.
fn terminal(host: &Host, flags: &[&str], args: &[&str]) -> Pty {
    let words = ["run", "-it", "--rm"];
    host.pty(words.iter().chain(flags).chain(&["@host"]).chain(args))
}

#[test]
fn the_container_has_a_terminal_of_the_callers_size() {
    let host = Host::new();
    let mut pty = terminal(
        &host,
        &[],
        &["sh", "-c", "stty size; tty; test -t 0 -a -t 1 -a -t 2 && echo all; echo $TERM"],
    );
    pty.expect("24 80\r\n/dev/");
    pty.expect("all\r\nxterm\r\n");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn a_resize_reaches_the_container() {
    let host = Host::new();
    let script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done";
    let mut pty = terminal(&host, &[], &["sh", "-c", script]);
    pty.expect("up\r\n");
    pty.resize(133, 44);
    pty.expect("44 133\r\n");
    pty.resize(20, 10);
    pty.expect("10 20\r\n");
    pty.send("\x03");
    assert_eq!(pty.wait(), 130);
}

#[test]
fn control_c_interrupts_the_foreground_only() {
    let host = Host::new();
    let mut pty = terminal(&host, &[], &["sh"]);
    pty.send("echo re''ady\n");
    pty.expect("ready\r\n");
    pty.send("sleep 1000; echo st''atus $?\n");
    pty.expect("$?");
    std::thread::sleep(Duration::from_millis(300));
    pty.send("\x03");
    pty.send("\necho li''ves\n");
    pty.expect("lives\r\n");
    pty.send("exit 42\n");
    assert_eq!(pty.wait(), 42);
}

#[test]
fn control_d_ends_the_input() {
    let host = Host::new();
    let mut pty = terminal(&host, &[], &["sh", "-c", "echo up; cat; echo ended"]);
    pty.expect("up\r\n");
    pty.send("\x04");
    pty.expect("ended\r\n");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn jobs_can_be_controlled() {
    let host = Host::new();
    let mut pty = terminal(&host, &["-e", "PS1=prompt>"], &["bash", "--norc", "--noprofile", "-i"]);
    pty.expect("prompt>");
    assert!(!pty.screen().contains("no job control"), "{}", pty.screen());
    pty.send("sleep 500\n");
    pty.expect("sleep 500\r\n");
    std::thread::sleep(Duration::from_millis(300));
    pty.send("\x1a");
    pty.expect("Stopped");
    pty.send("jobs\n");
    pty.expect("[1]+");
    pty.send("bg %1\n");
    pty.expect("&");
    pty.send("kill %1; wait; echo do''ne\n");
    pty.expect("done\r\n");
    pty.send("exit 0\n");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn control_p_control_q_leaves_it_running() {
    let host = Host::new();
    let mut pty =
        terminal(&host, &["--name", "box"], &["sh", "-c", "echo up; read line; echo got $line; sleep 60"]);
    pty.expect("up\r\n");
    // ^P alone belongs to the container once another key follows.
    pty.send("a\x10b\n");
    pty.expect("got a\u{10}b\r\n");
    pty.send("\x10\x11");
    assert_eq!(pty.wait(), 0);
    assert_eq!(host.berth(["ps", "--format", "{{.Names}}"]).text(), "box");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn detach_keys_can_be_chosen() {
    let host = Host::new();
    let mut pty =
        terminal(&host, &["--name", "box", "--detach-keys", "ctrl-a,x"], &["sh", "-c", "echo up; sleep 60"]);
    pty.expect("up\r\n");
    pty.send("\x01x");
    assert_eq!(pty.wait(), 0);
    assert_eq!(host.berth(["ps", "--format", "{{.Names}}"]).text(), "box");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn the_callers_terminal_is_restored() {
    let host = Host::new();
    let berth = testkit::host::binary();
    let script = format!(
        "stty -g > before; '{}' run -it --rm @host true; stty -g > after; cmp before after && echo sa''me",
        berth.display()
    );
    let cmd = Cmd::new("/bin/sh", ["-c", &script]).cwd(host.path(""));
    let cmd = host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let mut pty = Pty::start(&cmd, 80, 24);
    pty.expect("same\r\n");
    assert_eq!(pty.wait(), 0);
}

#[test]
fn a_closed_terminal_leaves_the_container_alone() {
    // As with docker: the client dies of the hangup, the container is told by nobody.
    let host = Host::new();
    let mut pty = terminal(
        &host,
        &["--name", "box"],
        &["sh", "-c", "echo up; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"],
    );
    pty.expect("up\r\n");
    pty.close();
    let pid = pty.pid();
    assert!(
        until(Duration::from_secs(5), || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        }),
        "the client lives on without a terminal"
    );
    let lines = || host.berth(["logs", "box"]).run().text().lines().count();
    let before = lines();
    assert!(until(Duration::from_secs(5), || lines() > before), "its output goes on into the log");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn a_terminal_that_the_caller_lacks_is_refused() {
    let host = Host::new();
    host.berth(["run", "-it", "--rm", "@host", "true"]).run().code(1).stderr_has(&["not a TTY"]);
}

#[test]
fn t_without_i_shows_colour_and_takes_no_input() {
    let host = Host::new();
    let output = host.berth(["run", "-t", "--rm", "@host", "sh", "-c", "test -t 1 && echo tty"]).run().ok();
    assert_eq!(output.stdout, b"tty\r\n");
}

#[test]
fn a_pipe_on_stdin_ends_the_input() {
    let host = Host::new();
    let output = host
        .berth(["run", "-i", "--rm", "@host", "sh", "-c", "wc -c; echo ended"])
        .stdin(vec![b'x'; 70_000])
        .run();
    output.ok().silent().stdout_is("70000\nended");
    host.berth(["run", "-i", "--rm", "@host", "wc", "-c"]).stdin("").run().ok().stdout_is("0");
}

#[test]
fn a_container_that_ends_before_its_input_does_is_no_failure() {
    let host = Host::new();
    let output =
        host.berth(["run", "-i", "--rm", "@host", "head", "-c", "3"]).stdin(vec![b'a'; 8 << 20]).run();
    output.ok().silent().stdout_is("aaa");
}

#[test]
fn standard_streams_stay_apart() {
    let host = Host::new();
    let output = host.berth(["run", "--rm", "@host", "sh", "-c", "echo out; echo err >&2"]).run().ok();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_container() {
    let host = Host::new();
    let berth = testkit::host::binary();
    let script =
        format!("'{}' run --name box @host sh -c 'seq 1 100000; exit 6' | head -n 1; wait", berth.display());
    let cmd = Cmd::new("/bin/sh", ["-c", &script]);
    let cmd = host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    cmd.run().ok().stdout_is("1");
    let state = || host.berth(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "box"]).text();
    assert!(until(Duration::from_secs(5), || state() == "exited 6"), "{}", state());
    host.berth(["rm", "box"]).run().ok();
}

/// 100 MB that no compressor or newline translation would leave alone, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(bytes);
    data
}

#[test]
fn a_hundred_megabytes_pass_unaltered() {
    let host = Host::new();
    let data = noise(100_000_000);
    let started = Instant::now();
    let output = host
        .berth(["run", "-i", "--rm", "@host", "cat"])
        .stdin(data.clone())
        .timeout(Duration::from_secs(60))
        .run()
        .ok();
    assert_eq!(output.stdout.len(), data.len());
    assert!(output.stdout == data, "the bytes differ");
    // The claim of 1 GB/s is the benchmark's; this is a bound against a stall.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn binary_data_passes_both_ways_through_the_checksum() {
    let host = Host::new();
    let data = noise(4_000_000);
    let sum = Cmd::new("/usr/bin/sha256sum", ["-"]).stdin(data.clone()).text();
    let inside = host.berth(["run", "-i", "--rm", "@host", "sha256sum", "-"]).stdin(data).text();
    assert_eq!(inside, sum);
}

#[test]
fn every_exit_status_is_passed_on() {
    let host = Host::new();
    for status in [0, 1, 2, 42, 124, 125, 126, 127, 128, 130, 200, 255] {
        host.berth(["run", "--rm", "@host", "sh", "-c", &format!("exit {status}")])
            .run()
            .code(status)
            .silent();
    }
    // A status is passed on under a terminal as well.
    assert_eq!(terminal(&host, &[], &["sh", "-c", "exit 255"]).wait(), 255);
}

#[test]
fn a_signals_end_is_128_and_its_number() {
    let host = Host::new();
    // Pid 1 is immune to its own signals: they come from outside, or strike a child of --init.
    for signal in [1, 2, 6, 9, 11, 15] {
        let script = format!("kill -{signal} $$; sleep 5");
        host.berth(["run", "--rm", "--init", "@host", "sh", "-c", &script]).run().code(128 + signal);
    }
    let mut running =
        host.berth(["run", "--rm", "--name", "box", "@host", "sh", "-c", "echo up; sleep 60"]).spawn();
    running.expect("up");
    host.berth(["kill", "box"]).run().ok();
    running.wait().code(137);
}

#[test]
fn a_program_that_cannot_run_is_126_and_a_missing_one_127() {
    let host = Host::new();
    let check = |args: &[&str], status: i32, part: &str| {
        let words = ["run", "--rm", "@host"];
        let output = host.berth(words.iter().chain(args)).run().code(status).stdout_is("");
        assert!(output.err().contains(part), "{output:?}");
        assert!(output.err().lines().count() <= 3, "one message: {output:?}");
    };
    check(&["no-such-program"], 127, "no-such-program");
    check(&["/no/such/path"], 127, "/no/such/path");
    check(&["/etc/passwd"], 126, "/etc/passwd");
    check(&["/etc"], 126, "/etc");
    host.berth(["run", "--rm", "--no-such-flag", "@host", "true"]).run().code(125);
}

#[test]
fn output_just_before_the_end_is_not_lost() {
    let host = Host::new();
    for _ in 0..10 {
        let output = host
            .berth(["run", "--rm", "@host", "sh", "-c", "head -c 300000 /dev/zero; echo last"])
            .run()
            .ok();
        assert_eq!(output.stdout.len(), 300_005);
        assert!(output.stdout.ends_with(b"last\n"));
    }
    let mut pty = terminal(&host, &[], &["sh", "-c", "seq 1 20000"]);
    pty.expect("19999\r\n20000\r\n");
    assert_eq!(pty.wait(), 0);
}

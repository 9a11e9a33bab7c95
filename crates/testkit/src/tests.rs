//! testkit on itself: a check that can't fail proves nothing.

use crate::cmd::Cmd;
use crate::pty::Pty;
use crate::{elf, facts};
use std::time::Duration;

#[test]
fn a_command_gets_its_input_and_gives_its_output() {
    let output = Cmd::new("/bin/sh", ["-c", "cat; echo err >&2; exit 3"]).stdin("in").run().code(3);
    assert_eq!((output.text(), output.err()), ("in".to_owned(), "err".to_owned()));
    let output = Cmd::new("/bin/sh", ["-c", "kill -9 $$"]).run();
    assert_eq!(output.status, 137);
    let text = Cmd::new("/bin/sh", ["-c", "cat <&5"]).fd(5, "/proc/self/comm").text();
    assert_eq!(text, "sh");
}

#[test]
#[should_panic(expected = "didn't end within")]
fn a_command_that_hangs_is_killed_and_fails() {
    Cmd::new("/bin/sleep", ["60"]).timeout(Duration::from_millis(50)).run();
}

#[test]
#[should_panic(expected = "held its output pipes open")]
fn a_command_that_leaves_its_pipes_to_another_fails() {
    Cmd::new("/bin/sh", ["-c", "sleep 4 &"]).run();
}

#[test]
fn a_terminal_has_size_echo_and_signals() {
    let script = "trap 'echo size $(stty size)' WINCH; trap 'exit 7' INT; stty size; tty; echo ready; \
                  while :; do sleep 0.05; done";
    let mut pty = Pty::start(&Cmd::new("/bin/sh", ["-c", script]), 80, 24);
    let shown = pty.expect("ready");
    assert!(shown.starts_with("24 80\r\n/dev/pts/"), "{shown}");
    pty.resize(100, 30);
    pty.expect("size 30 100");
    pty.send(b"\x03");
    assert_eq!(pty.wait(), 7);
}

#[test]
fn handmade_programs_run() {
    let dir = std::env::temp_dir().join(format!("berth-test-elf-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let run = |name: &str, image: &elf::Image| {
        elf::write(&dir.join(name), image);
        Cmd::new(dir.join(name), [""; 0]).run().status
    };
    let euid = run("euid", &elf::EXIT_WITH_EUID);
    let wide = facts::runs_32_bit().then(|| run("mkdir32", &elf::MKDIR_32));
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(euid, 0);
    // mkdir(NULL) fails with EFAULT.
    assert!(wide.is_none_or(|status| status == 14), "{wide:?}");
}

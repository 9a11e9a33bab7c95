//! Colours at a terminal, and nowhere else.

use super::*;
use testkit::Cmd;

/// What a command shows at a terminal, with or without the variable NO_COLOR.
fn at_terminal(host: &Host, words: &[&str], no_colour: &str) -> String {
    let berth = host.dir().join("bin/berth");
    let cmd = Cmd::new("sh", ["-c", "\"$@\"; echo 'the end'", "sh"]).arg(berth);
    let cmd = words.iter().fold(cmd, |cmd, word| cmd.arg(word));
    let cmd = host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let cmd = cmd.env("NO_COLOR", no_colour).env("TERM", "xterm");
    let mut pty = testkit::Pty::start(&cmd, 200, 24);
    let text = pty.expect("the end");
    assert_eq!(pty.wait(), 0);
    text.replace("\r\n", "\n")
}

/// Text without colours.
fn bare(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[test]
fn states_and_titles_are_coloured_at_a_terminal_only() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    start(&host, "halt", "sleep 1000");
    host.berth(["pause", "halt"]).run().ok();
    start(&host, "bad", "exit 3");
    start(&host, "good", "true");
    host.berth(["wait", "bad", "good"]).run().ok();
    let words = ["ps", "-a"];
    let coloured = at_terminal(&host, &words, "");
    for part in [
        "\u{1b}[1mCONTAINER ID",
        "\u{1b}[32mUp ",
        "\u{1b}[33mUp ",
        "\u{1b}[31mExited (3)",
        "\u{1b}[2mExited (0)",
    ] {
        assert!(coloured.contains(part), "{part:?} in {coloured:?}");
    }
    // Columns stand where they do without colours.
    let lines =
        |text: &str| text.lines().map(|line| line.find("good").or(line.find("NAMES"))).collect::<Vec<_>>();
    let plain = at_terminal(&host, &words, "1");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert_eq!(lines(&bare(&coloured)), lines(&plain));
    assert!(!host.berth(words).text().contains('\u{1b}'));
    for words in [&["ps", "-aq"][..], &["ps", "--format", "{{.Status}}"], &["ps", "--format", "json"]] {
        assert!(!at_terminal(&host, words, "").contains('\u{1b}'), "{words:?}");
    }
    assert!(at_terminal(&host, &["volume", "ls"], "").contains("\u{1b}[1mDRIVER"));
    assert!(at_terminal(&host, &["doctor"], "").contains("\u{1b}[32mok"));
    host.berth(["rm", "-f", "web", "halt", "bad", "good"]).run().ok();
}

//! `berth completion bash`, `zsh`, `fish`: the scripts, driven by their shells.

use super::*;
use testkit::{Cmd, skip};

/// A shell with berth in its PATH.
fn shell(host: &Host, program: &str, args: &[&str]) -> Cmd {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", host.dir().join("bin").display());
    let cmd = Cmd::new(program, args.iter().copied())
        .cwd(host.path(""))
        .env("PATH", path)
        .env("HOME", host.path(""));
    host.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
}

/// Containers `web` (runs), `halt` (paused), `old` (ended); the image `app`; the volume `data`.
fn furnish(host: &Host) {
    load_app(host);
    for name in ["web", "halt"] {
        start(host, name, "sleep 1000");
    }
    host.berth(["pause", "halt"]).run().ok();
    start(host, "old", "true");
    host.berth(["wait", "old"]).run().ok();
    host.berth(["volume", "create", "data"]).run().ok();
    std::fs::write(host.path("file.txt"), "").unwrap();
    std::fs::create_dir(host.path("dir")).unwrap();
}

fn clear(host: &Host) {
    host.berth(["rm", "-f", "web", "halt", "old"]).run().ok();
    host.berth(["volume", "rm", "data"]).run().ok();
}

/// What bash offers for `line`, split into words as readline does.
fn in_bash(host: &Host, line: &str) -> String {
    let mut words = vec![String::new()];
    for c in line.chars() {
        match c {
            ' ' => words.push(String::new()),
            ':' | '=' | '@' => {
                if words.last().is_some_and(String::is_empty) {
                    words.pop();
                }
                words.extend([c.to_string(), String::new()]);
            }
            c => words.last_mut().unwrap().push(c),
        }
    }
    if words.len() > 1 && words.last().is_some_and(String::is_empty) && !line.ends_with(' ') {
        words.pop();
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(berth completion bash); COMP_LINE='{line}'; COMP_POINT={}; COMP_WORDS=({}); COMP_CWORD={}\n\
         __berth_complete; printf '%s\\n' \"${{COMPREPLY[@]}}\" | sort | tr '\\n' ' '",
        line.len(),
        quoted.join(" "),
        words.len() - 1
    );
    shell(host, "bash", &["--norc", "-c", &script]).text()
}

#[test]
fn bash_completes_commands_flags_values_and_names() {
    let host = Host::new();
    furnish(&host);
    for (line, expected) in [
        ("berth unp", "unpause"),
        ("berth container unp", "unpause"),
        ("berth volume ", "create inspect ls prune rm"),
        ("berth run --health-on", "--health-on-failure"),
        ("berth run --restart ", "always no on-failure unless-stopped"),
        // What readline replaces begins behind the `=`.
        ("berth run --restart=un", "unless-stopped"),
        ("berth run --network container:w", "web"),
        ("berth ps --filter st", "status="),
        ("berth ps --filter status=pa", "paused"),
        ("berth stop ", "halt web"),
        ("berth stop web ", "halt"),
        ("berth exec w", "web"),
        ("berth unpause ", "halt"),
        ("berth start ", "old"),
        ("berth rm ", "old"),
        ("berth rm -f ", "halt old web"),
        ("berth logs ", "halt old web"),
        ("berth run -it --rm a", "app:latest"),
        ("berth run app:la", "latest"),
        ("berth run @h", "host"),
        ("berth rmi ", "app:latest"),
        ("berth volume rm ", "data"),
        ("berth run -v d", "data dir"),
        ("berth run --env-file f", ""),
        ("berth cp we", "web:"),
        ("berth inspect da", "data"),
        ("berth nosuch ", ""),
        ("berth logs nosuch", ""),
    ] {
        assert_eq!(in_bash(&host, line), expected, "{line}");
    }
    clear(&host);
}

#[test]
fn at_a_terminal_bash_completes_what_is_typed() {
    let host = Host::new();
    furnish(&host);
    let mut pty = testkit::Pty::start(&shell(&host, "bash", &["--norc", "-i"]).env("TERM", "dumb"), 80, 24);
    pty.send("source <(berth completion bash); PS1='$ '; echo read''y\n");
    pty.expect("ready");
    pty.send("berth insp\tw\t--f\t'{{.Name}} it is'\n");
    pty.expect("/web it is");
    pty.send("berth images --format '{{.Tag}} it is' app:la\t\n");
    pty.expect("latest it is");
    pty.send("berth exec w\techo f\t\n");
    pty.expect("\r\nfile.txt");
    pty.send("exit\n");
    assert_eq!(pty.wait(), 0);
    clear(&host);
}

#[test]
fn zsh_completes_the_same() {
    let host = Host::new();
    if !["/bin/zsh", "/usr/bin/zsh"].iter().any(|path| std::path::Path::new(path).exists()) {
        skip!("no zsh");
    }
    furnish(&host);
    let mut pty = testkit::Pty::start(&shell(&host, "zsh", &["-f", "-i"]).env("TERM", "dumb"), 80, 24);
    pty.send("autoload -Uz compinit && compinit -u; source <(berth completion zsh); echo read''y\n");
    pty.expect("ready");
    pty.send("berth insp\tw\t--form\t'{{.Name}} it is'\n");
    pty.expect("/web it is");
    pty.send("berth images --format '{{.Tag}} it is' app:la\t\n");
    pty.expect("latest it is");
    pty.send("exit\n");
    assert_eq!(pty.wait(), 0);
    clear(&host);
}

#[test]
fn fish_completes_the_same() {
    let host = Host::new();
    if !["/bin/fish", "/usr/bin/fish"].iter().any(|path| std::path::Path::new(path).exists()) {
        skip!("no fish");
    }
    furnish(&host);
    for (line, expected) in [
        ("berth unp", "unpause"),
        ("berth stop ", "halt web"),
        ("berth run --restart=un", "--restart=unless-stopped"),
        ("berth run app:la", "app:latest"),
        ("berth run -v f", "file.txt"),
    ] {
        let script =
            format!("berth completion fish | source; complete -C '{line}' | cut -f1 | sort | tr '\\n' ' '");
        assert_eq!(shell(&host, "fish", &["-c", &script]).text(), expected, "{line}");
    }
    clear(&host);
}

#[test]
fn scripts_are_printed_for_the_shells_there_are() {
    let host = Host::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(host.berth(["completion", shell]).text().contains("berth __complete") || shell == "bash");
    }
    host.berth(["completion"]).run().ok().silent();
    host.berth(["completion", "powershell"])
        .run()
        .code(1)
        .stderr_has(&["no completion for", "bash, zsh, fish"]);
    // Whoever asks is answered, whatever is wrong.
    host.berth(["__complete", "stop", ""]).env("BERTH_IDS", "x").run().code(0).stdout_is(":4");
    host.berth(["__complete"]).run().ok();
}

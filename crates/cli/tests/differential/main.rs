//! Whether scripts that were written for docker see a difference: the lines of `commands.txt`, given to berth, and what
//! docker answered to them (`docker.txt`, recorded by `cargo xtask goldens`). Compared are status, stdout, and whether
//! anything is on stderr; names that an engine makes up, times, sizes and the width of columns are not.
//!
//! Where berth answers otherwise on purpose, docs/differences.md has the line with its reason; a line there that isn't
//! needed any more fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use regex_lite::Regex;
use std::collections::BTreeMap;
use testkit::{Cmd, Host};

/// What an engine answers to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    code: i32,
    has_stderr: bool,
    stdout: String,
}

/// A line, and docker's answer.
struct Case {
    line: String,
    docker: Answer,
}

fn recorded() -> BTreeMap<String, Vec<Case>> {
    let mut sections: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    let mut section = String::new();
    for line in include_str!("docker.txt").lines() {
        let last = sections.get_mut(&section).and_then(|cases| cases.last_mut());
        if let Some(name) = line.strip_prefix("== ") {
            section = name.to_owned();
            sections.insert(section.clone(), Vec::new());
        } else if let Some(command) = line.strip_prefix("$ ") {
            let docker = Answer { code: -1, has_stderr: false, stdout: String::new() };
            sections.get_mut(&section).unwrap().push(Case { line: command.to_owned(), docker });
        } else if let Some(text) = line.strip_prefix("| ").or(line.strip_prefix("|")) {
            last.unwrap().docker.stdout += &format!("{text}\n");
        } else if let Some(case) = last.filter(|case| case.docker.code < 0 && !line.is_empty()) {
            let (code, rest) = line.split_once(' ').unwrap_or((line, ""));
            case.docker.code = code.parse().unwrap();
            case.docker.has_stderr = rest == "stderr";
        }
    }
    sections
}

/// Lines that berth answers otherwise, by docs/differences.md: rows that begin with a line in a code span.
fn different() -> Vec<String> {
    let rows = include_str!("../../../../docs/differences.md").lines();
    let row = |row: &str| {
        let line = row.strip_prefix("| `")?.split_once("` |")?.0;
        Some(line.replace("\\|", "|"))
    };
    // The other tables are other tests'.
    rows.filter_map(row).filter(|line| line.starts_with("docker ")).collect()
}

/// A text in which the members of JSON objects are in the order of their names: ours always are.
fn sorted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out += before;
        let mut values = serde_json::Deserializer::from_str(from).into_iter::<testkit::Value>();
        let (text, length) = match values.next() {
            Some(Ok(value)) => (value.to_string(), values.byte_offset()),
            _ => ("{".to_owned(), 1),
        };
        out += &text;
        rest = &from[length..];
    }
    out + rest
}

/// What is left of an output when what may differ is taken away.
fn plain(text: &str) -> String {
    const RULES: [(&str, &str); 11] = [
        (r"sha256:[0-9a-f]{64}", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (r"\b[0-9a-f]{12}\b", "<short id>"),
        (r"0001-01-01T00:00:00Z", "<never>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [+]0000 UTC)?", "<time>"),
        (r"(Less than a second|\d+ seconds?|About a minute|\d+ minutes?)", "<while>"),
        (r"\b\d+(\.\d+)?[kMG]?B\b", "<size>"),
        (r"  +", "  "),
        (r"(?m)[ \t]+$", ""),
        (r"\n+$", ""),
    ];
    RULES.iter().fold(sorted(text), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

fn host() -> Host {
    let host = Host::new();
    std::os::unix::fs::symlink(host.dir().join("bin/berth"), host.dir().join("bin/docker")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/base.sh");
    Cmd::new("/bin/sh", [script]).cwd(host.dir()).run().ok();
    host.berth(["import", "-c", r#"CMD ["sh"]"#])
        .arg("-c")
        .arg("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("-")
        .arg("busybox")
        .stdin(std::fs::read(host.dir().join("base.tar")).unwrap())
        .run()
        .ok();
    host
}

fn berths_answer(host: &Host, line: &str) -> Answer {
    let path = format!("{}:{}", host.dir().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let command = Cmd::new("/bin/sh", ["-c", line]).cwd(host.dir().join("work")).env("PATH", path);
    let command = host.env().into_iter().fold(command, |command, (name, value)| command.env(name, value));
    let output = command.run();
    Answer {
        code: output.status,
        has_stderr: !output.err().is_empty(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

/// Compares all lines of a section.
fn compare(section: &str) {
    let cases = recorded().remove(section).unwrap();
    let different = different();
    let host = host();
    let mut wrong = Vec::new();
    for Case { line, docker } in &cases {
        let berth = berths_answer(&host, line);
        let same = (berth.code, berth.has_stderr, plain(&berth.stdout))
            == (docker.code, docker.has_stderr, plain(&docker.stdout));
        match (same, different.contains(line)) {
            (true, true) => wrong
                .push(format!("$ {line}\n  is no difference any more: take it out of docs/differences.md")),
            (false, false) => wrong.push(format!(
                "$ {line}\n  docker: {} {}\n{}\n  berth: {} {}\n{}",
                docker.code,
                if docker.has_stderr { "stderr" } else { "" },
                plain(&docker.stdout),
                berth.code,
                if berth.has_stderr { "stderr" } else { "" },
                plain(&berth.stdout),
            )),
            _ => {}
        }
    }
    host.berth(["ps", "-aq"]).text().lines().for_each(|id| drop(host.berth(["rm", "-f", id]).run()));
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

macro_rules! sections {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            compare(stringify!($name));
        })*

        #[test]
        fn every_section_and_every_difference_is_compared() {
            let sections = recorded();
            let known = [$(stringify!($name)),*];
            assert!(sections.keys().all(|section| known.contains(&section.as_str())), "{:?}", sections.keys());
            let lines: Vec<&String> = sections.values().flatten().map(|case| &case.line).collect();
            for line in different() {
                assert!(lines.contains(&&line), "docs/differences.md has a line that isn't compared: {line}");
            }
            let commands = include_str!("commands.txt").lines();
            let mut commands: Vec<&str> =
                commands.filter(|line| !line.is_empty() && !line.starts_with(['#', '='])).collect();
            let mut recorded: Vec<&str> = lines.into_iter().map(String::as_str).collect();
            commands.sort_unstable();
            recorded.sort_unstable();
            assert!(recorded == commands, "commands.txt has changed: run cargo xtask goldens");
        }
    };
}

sections! { run life running inspect ps logs files images volumes misc events restart networks }

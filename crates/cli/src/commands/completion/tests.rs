use super::super::ENTRIES;
use super::*;
use crate::flags::{self, Asked};

/// What the words before the last `|` lead to, as text.
fn wanted(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let typed = words.pop().unwrap_or_default();
    match want(&words, &typed) {
        Want::Nothing => "nothing".to_owned(),
        Want::Words(words) => {
            let fit = words.into_iter().map(|(word, _)| word).filter(|word| word.starts_with(&typed));
            fit.collect::<Vec<_>>().join(" ")
        }
        Want::Value { command, flag, prefix } => format!("{prefix}<{} of {command}>", flag.name),
        Want::Argument { command, at, .. } => format!("{command} {at}"),
    }
}

#[test]
fn a_word_is_known_by_those_before_it() {
    for (line, expected) in [
        ("unp", "unpause"),
        ("vol", "volume"),
        ("--ver", "--version"),
        ("volume in", "inspect"),
        ("container unp", "unpause"),
        ("help unp", "unpause"),
        ("help ps ", "nothing"),
        ("nosuch ", "nothing"),
        ("ps --no-t", "--no-trunc"),
        ("ps -a --al", ""),
        ("run --cap-add X --cap-a", "--cap-add"),
        ("stop ", "stop 0"),
        ("stop a ", "stop 1"),
        ("stop -t 5 ", "stop 0"),
        ("stop -t5 ", "stop 0"),
        ("stop -t ", "<timeout of stop>"),
        ("stop --time ", "<timeout of stop>"),
        ("run --restart=a", "--restart=<restart of run>"),
        ("container ls -f ", "<filter of ps>"),
        ("run -itv ", "<volume of run>"),
        ("run -it ", "run 0"),
        ("run -it app ls -", "run 2"),
        ("exec web ", "exec 1"),
        ("volume ls -qf ", "<filter of volume ls>"),
        ("stop -- -", "stop 0"),
        ("run --rm=false -e A=1 --env-file f ", "run 0"),
    ] {
        assert_eq!(wanted(line), expected, "{line}");
    }
}

#[test]
fn every_value_that_is_offered_is_taken() {
    for entry in ENTRIES {
        let Some(command) = entry.names.first() else { continue };
        for flag in entry.spec.all_flags() {
            for value in values::enumerated(command, flag.name).unwrap_or_default() {
                // Parsed only by what makes requests of them: `run` here, the others in their own tests.
                if !matches!(*command, "run") || flag.name == "pull" {
                    continue;
                }
                let words: Vec<OsString> =
                    [&format!("--{}={value}", flag.name), "@host", "true"].map(Into::into).to_vec();
                let Ok(Asked::Work(parsed)) = flags::parse(entry.spec, "berth run", &words) else {
                    panic!("{command} --{} {value}", flag.name)
                };
                let made = super::super::run::request(&parsed);
                assert!(made.is_ok(), "{command} --{} {value}: {made:?}", flag.name);
            }
        }
    }
}

#[test]
fn answers_are_in_cobras_form() {
    let answer = Answer {
        words: vec![("web".into(), "app:latest".into()), ("db".into(), String::new())],
        ..Answer::default()
    };
    assert_eq!(answer.text(""), "web\tapp:latest\ndb\n:4\n");
    assert_eq!(answer.text("d"), "db\n:4\n");
    assert_eq!(Answer { open: true, ..Answer::words(["a="]) }.text(""), "a=\n:6\n");
    assert_eq!(Answer::paths(Paths::Files).text(""), ":0\n");
    assert_eq!(Answer::paths(Paths::Directories).text("x"), ":16\n");
    assert_eq!(Answer::words(["\u{1b}[31m"]).text("").lines().count(), 2);
    assert!(!Answer::words(["\u{1b}[31m"]).text("").contains('\u{1b}'));
}

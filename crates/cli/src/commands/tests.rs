use std::collections::HashSet;

use super::*;
use crate::flags::Flag;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(Into::into).collect()
}

fn failure(line: &str) -> Failure {
    dispatch(&words(line)).expect_err(line)
}

#[test]
fn commands_are_found_under_all_their_names() {
    for (line, name, rest) in [
        ("run x", "berth run", 1),
        ("ps", "berth ps", 0),
        ("container ls -a", "berth container ls", 1),
        ("container list", "berth container list", 0),
        ("container rm x", "berth container rm", 1),
        ("container inspect x", "berth container inspect", 1),
    ] {
        let words = words(line);
        let (_, found, after) = find(&words).unwrap_or_else(|failure| panic!("{line}: {failure:?}"));
        assert_eq!((found.as_str(), after.len()), (name, rest), "{line}");
    }
}

#[test]
fn unknown_commands_name_the_nearest() {
    for (line, message, hint) in [
        ("rum x", "unknown command: rum", "did you mean berth run?"),
        ("isnpect x", "unknown command: isnpect", "did you mean berth inspect?"),
        ("frobnicate", "unknown command: frobnicate", "berth --help lists the commands"),
        ("container sl", "unknown command: container sl", "did you mean berth container ls?"),
        ("container tree", "unknown command: container tree", "berth container --help lists the commands"),
    ] {
        let failure = failure(line);
        assert_eq!((failure.message.as_str(), failure.hint.as_deref()), (message, Some(hint)));
        assert_eq!(failure.exit_code, 1);
    }
    assert_eq!(failure("--bad").exit_code, 125);
}

#[test]
fn wrong_use_has_dockers_status_in_every_command() {
    for entry in ENTRIES {
        let name = match (entry.names, entry.under) {
            ([name, ..], _) => (*name).to_owned(),
            (_, Some((object, names))) => format!("{} {}", object.word(), names[0]),
            _ => panic!("a command without a name"),
        };
        let failure = failure(&format!("{name} --no-such-flag-anywhere"));
        assert_eq!(failure.message, "unknown flag: --no-such-flag-anywhere");
        assert_eq!(failure.exit_code, 125);
    }
    for (line, message) in [
        ("ps x", "accepts no arguments"),
        ("exec x", "requires at least 2 arguments"),
        ("rm", "requires at least 1 argument"),
        ("logs", "requires at least 1 argument"),
        ("cp x", "requires 2 arguments"),
    ] {
        let failure = failure(line);
        assert_eq!((failure.message.as_str(), failure.exit_code), (message, 1), "{line}");
    }
}

#[test]
fn every_command_and_flag_has_one_line_of_help() {
    for entry in ENTRIES {
        let mut seen = HashSet::new();
        let own = entry.names.first().or_else(|| entry.under?.1.first()).copied().unwrap_or_default();
        let mut once = |name: String| assert!(seen.insert(name.clone()), "{own} {name}");
        once("help".to_owned());
        let help = crate::help::command(own, entry.spec);
        for Flag { name, short, alias, help: line, .. } in entry.spec.all_flags() {
            once((*name).to_owned());
            short.iter().for_each(|letter| once(letter.to_string()));
            alias.iter().for_each(|alias| once((*alias).to_owned()));
            assert!(!line.is_empty() && !line.contains('\n') && line.len() <= 90, "{name}: {line}");
            assert!(help.contains(&format!("--{name}")), "{name}");
        }
        for flag in entry.spec.unsupported {
            once(flag.name.to_owned());
            flag.short.iter().for_each(|letter| once(letter.to_string()));
        }
        let object = entry.under.filter(|_| entry.names.is_empty()).map(|(object, _)| object);
        assert!(crate::help::root(object).contains(entry.spec.about));
    }
}

#[test]
fn the_help_is_short() {
    // Docker's has 89.
    assert!(crate::help::root(None).lines().count() <= 70);
}

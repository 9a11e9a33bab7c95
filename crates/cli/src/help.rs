//! The help texts, made of the same tables that parsing reads.

use crate::commands::{ENTRIES, Entry, Object};
use crate::flags::{CommandSpec, Flag, Takes};

/// Help of `berth` itself, or of the commands of one sort of object.
pub fn root(object: Option<Object>) -> String {
    let path = object.map(|object| format!(" {}", object.word())).unwrap_or_default();
    let about = object.map_or("Containers without a daemon", Object::about);
    let mut text = format!("Usage:  berth{path} COMMAND\n\n{about}\n");
    let name = |entry: &Entry| match object {
        Some(object) => entry.names_under(object).first().copied(),
        None => entry.names.first().copied(),
    };
    let mut group = "";
    for entry in ENTRIES {
        let Some(name) = name(entry) else { continue };
        if group != entry.group {
            group = entry.group;
            text += &format!("\n{group}:\n");
        }
        text += &format!("  {name:<10}{}\n", entry.spec.about);
    }
    if object.is_none() {
        text += "\nProjects:\n  compose   Define and run applications of several containers\n";
    }
    text += &format!("\nRun 'berth{path} COMMAND --help' for the flags of a command.\n");
    if object.is_none() {
        text += "Try: berth run -it --rm @host bash\n";
    }
    text
}

/// Help of one command, called `path`, such as `berth run`.
pub fn command(path: &str, spec: &CommandSpec) -> String {
    let mut text = format!("Usage:  {path} {}\n\n{}\n", spec.usage, spec.about);
    let width = spec.all_flags().map(|flag| left(flag).chars().count()).max().unwrap_or(0) + 3;
    for (heading, flags) in spec.flags {
        text += &format!("\n{heading}:\n");
        for flag in *flags {
            text += &format!("{:<width$}{}\n", left(flag), flag.help);
        }
    }
    text
}

fn left(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::One(value) | Takes::Many(value) => format!(" {value}"),
        Takes::Maybe(value, _) => format!("[={value}]"),
    };
    format!("  {short}--{}{value}", flag.name)
}

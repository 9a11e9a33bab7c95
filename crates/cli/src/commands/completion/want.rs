//! What a word of the command line can be, by the tables of commands and flags.

use super::super::{ENTRIES, Entry, Object};
use crate::flags::{Flag, Takes};

/// What the last word can be.
pub enum Want {
    /// Nothing that is known.
    Nothing,
    /// A command or a flag: the words and what they are.
    Words(Vec<(String, String)>),
    /// The value of a flag; `prefix` is what stands before it in the same word, such as `--name=`.
    Value { command: String, flag: &'static Flag, prefix: String },
    /// The `at`th argument, after those that were `given`.
    Argument { entry: &'static Entry, command: String, at: usize, given: Given },
}

/// What was typed before.
#[derive(Debug, Default)]
pub struct Given {
    /// Arguments.
    pub arguments: Vec<String>,
    /// Long names of flags.
    pub flags: Vec<&'static str>,
}

/// The command's own name: `ps` for `container ls` too, `volume ls`.
fn own_name(entry: &Entry) -> String {
    match (entry.names.first(), entry.under) {
        (Some(name), _) => (*name).to_owned(),
        (None, Some((object, names))) => {
            format!("{} {}", object.word(), names.first().copied().unwrap_or_default())
        }
        (None, None) => String::new(),
    }
}

fn commands(object: Option<Object>) -> Want {
    let name = |entry: &Entry| match object {
        Some(object) => entry.names_under(object).first().copied(),
        None => entry.names.first().copied(),
    };
    let about = |entry: &'static Entry| Some((name(entry)?.to_owned(), entry.spec.about.to_owned()));
    let mut words: Vec<(String, String)> = ENTRIES.iter().filter_map(about).collect();
    if object.is_none() {
        words.extend(Object::ALL.map(|object| (object.word().to_owned(), object.about().to_owned())));
        words.push(("help".to_owned(), "Show the help of a command".to_owned()));
    }
    Want::Words(words)
}

/// What `typed` can be after the words `before`, which begin after `berth`.
pub fn want(before: &[String], typed: &str) -> Want {
    let word = |at: usize| before.get(at).map_or("", String::as_str);
    let is_help = word(0) == "help";
    let words = if is_help { &before[1..] } else { before };
    let Some(first) = words.first() else {
        return match typed.starts_with('-') {
            true => Want::Words(vec![
                ("--help".to_owned(), "Show the commands".to_owned()),
                ("--version".to_owned(), "Show the version".to_owned()),
            ]),
            false => commands(None),
        };
    };
    let (entry, rest) = match Object::of(first) {
        Some(object) => {
            let Some(second) = words.get(1) else { return commands(Some(object)) };
            let found = ENTRIES.iter().find(|entry| entry.names_under(object).contains(&&**second));
            (found, &words[2..])
        }
        None => (ENTRIES.iter().find(|entry| entry.names.contains(&&**first)), &words[1..]),
    };
    match entry {
        Some(entry) if !is_help => of_command(entry, rest, typed),
        _ => Want::Nothing,
    }
}

/// The flag that `word` is, and whether the next word is its value.
fn flag_of(entry: &Entry, word: &str) -> Option<(&'static Flag, bool)> {
    let takes_next = |flag: &Flag| matches!(flag.takes, Takes::One(_) | Takes::Many(_));
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let flag = entry.spec.all_flags().find(|flag| flag.name == name || flag.alias == Some(name))?;
        return Some((flag, value.is_none() && takes_next(flag)));
    }
    // Letters together, up to the first that takes a value: what follows it is that.
    let letters = word.strip_prefix('-')?;
    for (at, letter) in letters.char_indices() {
        let flag = entry.spec.all_flags().find(|flag| flag.short == Some(letter))?;
        let rest = &letters[at + letter.len_utf8()..];
        if takes_next(flag) || rest.is_empty() || rest.starts_with('=') {
            return Some((flag, takes_next(flag) && rest.is_empty()));
        }
    }
    None
}

fn of_command(entry: &'static Entry, before: &[String], typed: &str) -> Want {
    let command = own_name(entry);
    let mut given = Given::default();
    let mut only_arguments = false;
    let mut value_of = None;
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        if only_arguments || !word.starts_with('-') || word == "-" {
            given.arguments.push(word.clone());
            only_arguments |= entry.spec.trailing;
        } else if word == "--" {
            only_arguments = true;
        } else if let Some((flag, takes_next)) = flag_of(entry, word) {
            given.flags.push(flag.name);
            value_of = takes_next.then_some(flag);
        }
    }
    if let Some(flag) = value_of {
        return Want::Value { command, flag, prefix: String::new() };
    }
    if only_arguments || !typed.starts_with('-') {
        let at = given.arguments.len();
        return Want::Argument { entry, command, at, given };
    }
    if let Some((name, _)) = typed.split_once('=')
        && let Some((flag, _)) = flag_of(entry, name)
    {
        return Want::Value { command, flag, prefix: format!("{name}=") };
    }
    let is_spent = |flag: &Flag| given.flags.contains(&flag.name) && !matches!(flag.takes, Takes::Many(_));
    let flags = entry.spec.all_flags().filter(|flag| !is_spent(flag));
    let mut words: Vec<(String, String)> =
        flags.map(|flag| (format!("--{}", flag.name), flag.help.to_owned())).collect();
    words.push(("--help".to_owned(), "Show this command's help".to_owned()));
    Want::Words(words)
}

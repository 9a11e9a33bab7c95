//! `berth completion`, and what the scripts that it prints ask: `berth __complete WORDS…`.
//!
//! - [`want`]: what the last word can be, by the tables of commands and flags alone
//! - [`values`]: the values that flags know
//! - [`objects`]: the names of what is here
//!
//! The answer has cobra's form, so that scripts made for docker's would understand it: a candidate a line, with a tab and
//! a description where there is one, and at last `:` and a number, whose bits tell the shell what else to do.

use std::ffi::OsString;

use super::print;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Parsed};
use crate::help;

mod objects;
mod values;
mod want;

use want::{Want, want};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "bash|zsh|fish",
    about: "Print the script that completes berth's command lines in a shell",
    flags: &[],
    unsupported: &[],
    args: (0, 1),
    trailing: false,
};

/// Shells that there is a script for.
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// Prints the script.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let text = match parsed.args().first().map(String::as_str) {
        None => return print(&help::command(&parsed.command, &SPEC)).map(|()| 0),
        Some("bash") => include_str!("completion/scripts/berth.bash"),
        Some("zsh") => include_str!("completion/scripts/_berth"),
        Some("fish") => include_str!("completion/scripts/berth.fish"),
        Some(other) => {
            return Err(Failure::new(format!("no completion for the shell {other:?}"))
                .hint(format!("there is one for {}", SHELLS.join(", "))));
        }
    };
    print(text).map(|()| 0)
}

/// Candidates for a word.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Words, each with a description or an empty one.
    words: Vec<(String, String)>,
    /// Whether more is typed after a candidate, such as the value of a key.
    open: bool,
    /// What the shell adds of its own.
    paths: Paths,
}

/// Which paths the shell completes besides.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Paths {
    #[default]
    None,
    Files,
    Directories,
}

impl Answer {
    fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Answer {
        let words = words.into_iter().map(|word| (word.to_owned(), String::new())).collect();
        Answer { words, ..Answer::default() }
    }

    fn paths(paths: Paths) -> Answer {
        Answer { paths, ..Answer::default() }
    }

    /// The answer with `text` before each word.
    fn after(mut self, text: &str) -> Answer {
        self.words.iter_mut().for_each(|(word, _)| word.insert_str(0, text));
        self
    }

    /// Both answers' words.
    fn and(mut self, other: Answer) -> Answer {
        self.words.extend(other.words);
        self.open |= other.open;
        if self.paths == Paths::None {
            self.paths = other.paths;
        }
        self
    }

    /// Cobra's form, of the words that begin with `typed`.
    fn text(&self, typed: &str) -> String {
        let mut text = String::new();
        for (word, about) in self.words.iter().filter(|(word, _)| word.starts_with(typed)) {
            // Names of images come from registries and archives (security.md T18).
            let (word, about) = (engine::inert(word), engine::inert(about));
            text += &match about.is_empty() {
                true => format!("{word}\n"),
                false => format!("{word}\t{about}\n"),
            };
        }
        // cobra's ShellCompDirective: NoSpace 2, NoFileComp 4, FilterDirs 16.
        let mut bits = if self.open { 2 } else { 0 };
        bits |= match self.paths {
            Paths::None => 4,
            Paths::Files => 0,
            Paths::Directories => 16,
        };
        text + &format!(":{bits}\n")
    }
}

/// Answers a shell that asks what the last of `words` can be. Who completes is never told of a failure.
pub fn complete(words: &[OsString]) -> Result<u8, Failure> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last, before));
    let answer = answer(before, typed);
    let text = answer.unwrap_or_else(|failure| {
        // Seen by who asks by hand; scripts don't look at stderr.
        report(&failure);
        Answer::default()
    });
    print(&text.text(typed))?;
    Ok(0)
}

fn answer(before: &[String], typed: &str) -> Result<Answer, Failure> {
    Ok(match want(before, typed) {
        Want::Nothing => Answer::default(),
        Want::Words(words) => Answer { words, ..Answer::default() },
        Want::Value { command, flag, prefix } => {
            let value = typed.strip_prefix(&prefix).unwrap_or(typed);
            values::of_flag(&command, flag, value)?.after(&prefix)
        }
        Want::Argument { entry, command, at, given } => {
            values::of_argument(entry, &command, at, &given, typed)?
        }
    })
}

#[cfg(test)]
mod tests;

//! Flags as a table, parsed with docker's rules by clap.
//!
//! A [`CommandSpec`] is plain data, so that a start builds the arguments of one command only, and so that help, the
//! did-you-mean and the documents read the same table. All values stay text here: their grammar is in `parse`.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::{BadValue, Failure};
use crate::suggest;
use crate::unsupported::Unsupported;

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true`, `=false` as docker's booleans.
    Nothing,
    /// One value, called so in the help; the last of several wins.
    One(&'static str),
    /// One value each time, called so in the help; all count.
    Many(&'static str),
    /// A value only after `=`, called so in the help; else the second word stands.
    Maybe(&'static str, &'static str),
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Long name without dashes.
    pub name: &'static str,
    /// Letter of the short form.
    pub short: Option<char>,
    /// Other long name, not shown.
    pub alias: Option<&'static str>,
    /// What follows.
    pub takes: Takes,
    /// One line of help.
    pub help: &'static str,
}

impl Flag {
    /// A flag that is on or off.
    pub const fn switch(name: &'static str, help: &'static str) -> Flag {
        Flag { name, short: None, alias: None, takes: Takes::Nothing, help }
    }

    /// A flag with one value.
    pub const fn one(name: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { name, short: None, alias: None, takes: Takes::One(value), help }
    }

    /// A flag that may come several times.
    pub const fn many(name: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { name, short: None, alias: None, takes: Takes::Many(value), help }
    }

    /// A flag with a value after `=`, or none.
    pub const fn maybe(
        name: &'static str,
        value: &'static str,
        without: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag { name, short: None, alias: None, takes: Takes::Maybe(value, without), help }
    }

    /// The flag with a short form.
    pub const fn short(self, letter: char) -> Flag {
        Flag { short: Some(letter), ..self }
    }

    /// The flag with another long name.
    pub const fn alias(self, name: &'static str) -> Flag {
        Flag { alias: Some(name), ..self }
    }

    /// Whether a word is this flag, or may have it among others of one letter.
    fn may_be_in(&self, words: &[std::ffi::OsString]) -> bool {
        words.iter().map(|word| word.as_encoded_bytes()).any(|word| match word.strip_prefix(b"--") {
            Some(long) => {
                let name = long.split(|byte| *byte == b'=').next().unwrap_or_default();
                name == self.name.as_bytes() || self.alias.is_some_and(|alias| name == alias.as_bytes())
            }
            // Letters of short forms are ASCII.
            None => word.first() == Some(&b'-') && self.short.is_some_and(|l| word.contains(&(l as u8))),
        })
    }
}

/// Flags under one heading of the help.
pub type FlagGroup = (&'static str, &'static [Flag]);

/// One command.
#[derive(Debug)]
pub struct CommandSpec {
    /// What follows the name, for the help: `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub usage: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Flags.
    pub flags: &'static [FlagGroup],
    /// Docker's flags that berth doesn't have yet.
    pub unsupported: &'static [Unsupported],
    /// Least and greatest number of arguments.
    pub args: (usize, usize),
    /// Whether flags end at the first argument, as in `run IMAGE ls -l`.
    pub trailing: bool,
}

impl CommandSpec {
    /// All flags.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().flat_map(|(_, flags)| flags.iter())
    }
}

const ARGS: &str = "\0args";

fn arg(name: &'static str, short: Option<char>, takes: Takes) -> Arg {
    let mut arg = Arg::new(name).long(name).action(ArgAction::Append);
    if let Some(letter) = short {
        arg = arg.short(letter);
    }
    match takes {
        Takes::Nothing => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Takes::Maybe(_, without) => arg.num_args(0..=1).require_equals(true).default_missing_value(without),
        Takes::One(_) | Takes::Many(_) => arg.num_args(1).allow_hyphen_values(true),
    }
}

/// The parser of a command's flags, of those that `is_wanted`.
fn command(spec: &CommandSpec, is_wanted: impl Fn(&Flag) -> bool) -> Command {
    let mut command = Command::new("berth")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(arg("help", None, Takes::Nothing))
        .arg(Arg::new(ARGS).num_args(0..).trailing_var_arg(spec.trailing));
    for flag in spec.all_flags().filter(|flag| is_wanted(flag)) {
        let mut arg = arg(flag.name, flag.short, flag.takes);
        if let Some(alias) = flag.alias {
            arg = arg.alias(alias);
        }
        command = command.arg(arg);
    }
    command
}

/// The parsed arguments of one command.
#[derive(Debug)]
pub struct Parsed {
    matches: ArgMatches,
    /// The command as typed, such as `berth run` or `berth container ls`.
    pub command: String,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// The command's help.
    Help,
    /// Its work.
    Work(Parsed),
}

/// Parses what follows `name`, such as `berth run`.
///
/// Errors are docker's: status 125 for a wrong flag, 1 for a wrong number of arguments.
pub fn parse(spec: &'static CommandSpec, name: &str, args: &[std::ffi::OsString]) -> Result<Asked, Failure> {
    // The parser of all flags of `run` takes longer to make than the rest of the command line to read. What these don't make
    // sense of is a mistake, for which all of them are asked.
    let matches = command(spec, |flag| flag.may_be_in(args))
        .try_get_matches_from(args)
        .or_else(|_| command(spec, |_| true).try_get_matches_from(args))
        .map_err(|error| clap_failure(spec, name, &error))?;
    let parsed = Parsed { matches, command: name.to_owned() };
    for flag in spec.all_flags().filter(|flag| flag.takes == Takes::Nothing) {
        if let Some(value) = parsed.one(flag.name)
            && parse_bool(value).is_none()
        {
            return Err(parsed.bad(flag.name, value, "neither true nor false"));
        }
    }
    if parsed.switch("help") {
        return Ok(Asked::Help);
    }
    let count = parsed.args().len();
    let (least, most) = spec.args;
    if count < least || count > most {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let message = match (least, most) {
            (_, 0) => "accepts no arguments".to_owned(),
            (least, most) if least == most => format!("requires {least} argument{}", plural(least)),
            _ if count < least => format!("requires at least {least} argument{}", plural(least)),
            _ => format!("requires at most {most} argument{}", plural(most)),
        };
        let usage = format!("usage: {name} {}", spec.usage);
        return Err(Failure::usage(name, message).hint(usage).code(1));
    }
    Ok(Asked::Work(parsed))
}

/// A boolean as Go's strconv.ParseBool reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn clap_failure(spec: &CommandSpec, name: &str, error: &clap::Error) -> Failure {
    let subject = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let flag = subject.split([' ', '=', '[']).next().unwrap_or_default();
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(known) = spec.unsupported.iter().find(|known| known.is(flag))
    {
        return known.failure(name);
    }
    match error.kind() {
        ErrorKind::UnknownArgument => match flag.strip_prefix("--") {
            Some(long) => {
                let failure = Failure::usage(name, format!("unknown flag: {flag}"));
                match suggest::nearest(long, spec.all_flags().map(|flag| flag.name)) {
                    Some(near) => failure.hint(format!("did you mean --{near}?")),
                    None => failure,
                }
            }
            None => {
                let letter = flag.chars().nth(1).unwrap_or('-');
                Failure::usage(name, format!("unknown shorthand flag: '{letter}' in {flag}"))
            }
        },
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            Failure::usage(name, format!("flag needs an argument: {flag}"))
        }
        ErrorKind::InvalidUtf8 => Failure::usage(name, "an argument isn't valid UTF-8"),
        _ => Failure::usage(name, format!("{}: {flag}", error.kind())),
    }
}

impl Parsed {
    /// The last value of a flag.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.many(name).last().copied()
    }

    /// All values of a flag, in order; none of one that the command lacks.
    pub fn many(&self, name: &str) -> Vec<&str> {
        let values = self.matches.try_get_many::<String>(name).ok().flatten();
        values.into_iter().flatten().map(String::as_str).collect()
    }

    /// All values of a flag with their places on the command line.
    pub fn placed(&self, name: &str) -> Vec<(usize, &str)> {
        let values = self.many(name);
        if values.is_empty() {
            return Vec::new();
        }
        self.matches.indices_of(name).into_iter().flatten().zip(values).collect()
    }

    /// Whether a switch is on.
    pub fn switch(&self, name: &str) -> bool {
        self.switch_or(name, false)
    }

    /// Whether a switch is on, `otherwise` where it isn't given.
    pub fn switch_or(&self, name: &str, otherwise: bool) -> bool {
        self.one(name).and_then(parse_bool).unwrap_or(otherwise)
    }

    /// The arguments that aren't flags.
    pub fn args(&self) -> Vec<String> {
        self.matches.get_many::<String>(ARGS).into_iter().flatten().cloned().collect()
    }

    /// The last value of a flag, through its parser.
    pub fn parsed<T, E: Into<BadValue>>(
        &self,
        name: &str,
        parser: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        self.one(name).map(|value| parser(value).map_err(|bad| self.bad(name, value, bad))).transpose()
    }

    /// As [`Parsed::parsed`], but empty text is as if the flag weren't given.
    pub fn given<T, E: Into<BadValue>>(
        &self,
        name: &str,
        parser: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        if self.one(name) == Some("") { Ok(None) } else { self.parsed(name, parser) }
    }

    /// All values of a flag, each through its parser.
    pub fn each<T, E: Into<BadValue>>(
        &self,
        name: &str,
        parser: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Failure> {
        let one = |value: &str| parser(value).map_err(|bad| self.bad(name, value, bad));
        self.many(name).into_iter().map(one).collect()
    }

    /// Wrong use of this command.
    pub fn wrong(&self, message: impl Into<String>) -> Failure {
        Failure::usage(&self.command, message)
    }

    /// A wrong value of a flag.
    pub fn bad(&self, name: &str, value: &str, bad: impl Into<BadValue>) -> Failure {
        let bad = bad.into();
        let shown = if value.chars().count() > 200 { "(long)" } else { value };
        Failure {
            hint: bad.hint,
            ..self.wrong(format!("invalid argument {shown:?} for --{name}: {}", bad.why))
        }
    }
}

#[cfg(test)]
mod tests;

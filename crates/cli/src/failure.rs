//! The one form in which commands fail, and the one function that prints it.

use std::io::IsTerminal;

use types::kind::Kind;

use crate::format::colour;

/// Why a command ends without doing its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed, on what, why: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Status that berth leaves with.
    pub exit_code: u8,
    /// The command whose help tells more, such as `berth run`, when its use was wrong.
    pub usage_of: Option<String>,
}

/// Status for wrong flags, in every command, as docker's.
pub const BAD_FLAG: u8 = 125;

impl Failure {
    /// A failure with status 1 and no hint.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, exit_code: 1, usage_of: None }
    }

    /// The failure of `run` or `exec` that `kind` stands for: 125, 126 or 127.
    pub fn of_run(kind: Kind, message: impl Into<String>, hint: Option<String>) -> Failure {
        Failure { hint, exit_code: kind.run_exit_code(), ..Failure::new(message) }
    }

    /// The failure of any other command that `kind` stands for.
    pub fn of(kind: Kind, message: impl Into<String>, hint: Option<String>) -> Failure {
        Failure { hint, exit_code: kind.exit_code(), ..Failure::new(message) }
    }

    /// Wrong use of `command`'s flags.
    pub fn usage(command: &str, message: impl Into<String>) -> Failure {
        Failure { exit_code: BAD_FLAG, usage_of: Some(command.to_owned()), ..Failure::new(message) }
    }

    /// The failure with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The failure with status `exit_code`.
    pub fn code(self, exit_code: u8) -> Failure {
        Failure { exit_code, ..self }
    }

    /// The lines that are printed, coloured or not.
    fn text(&self, colour: bool) -> String {
        let (red, cyan, off) = if colour { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        // Messages quote what was typed and what images hold (security.md T18); some have two lines.
        let inert = |text: &str| text.split('\n').map(engine::inert).collect::<Vec<_>>().join("\n");
        let message = inert(&self.message);
        let mut text = match &self.usage_of {
            Some(command) => format!("{red}{command}:{off} {message}\n"),
            None => format!("{red}berth:{off} {message}\n"),
        };
        if let Some(hint) = &self.hint {
            text += &format!("{cyan}hint:{off} {}\n", inert(hint));
        }
        if let Some(command) = &self.usage_of {
            text += &format!("See '{command} --help'.\n");
        }
        text
    }
}

/// Prints `failure` to standard error; coloured on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn report(failure: &Failure) {
    eprint!("{}", failure.text(colour::are_allowed() && std::io::stderr().is_terminal()));
}

/// Why the value of a flag is wrong; the caller adds the flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// Why, such as `not a number`.
    pub why: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl BadValue {
    /// A wrong value without a hint.
    pub fn new(why: impl Into<String>) -> BadValue {
        BadValue { why: why.into(), hint: None }
    }

    /// The wrong value with a hint.
    pub fn hint(self, hint: impl Into<String>) -> BadValue {
        BadValue { hint: Some(hint.into()), ..self }
    }

    /// The wrong value with the hint that `near` was meant, if anything was.
    pub fn did_you_mean(self, near: Option<&str>) -> BadValue {
        match near {
            Some(near) => self.hint(format!("did you mean {near}?")),
            None => self,
        }
    }
}

impl From<String> for BadValue {
    fn from(why: String) -> BadValue {
        BadValue::new(why)
    }
}

impl From<&str> for BadValue {
    fn from(why: &str) -> BadValue {
        BadValue::new(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_print_as_the_house_style_says() {
        let failure = Failure::new("cannot start web: bind 0.0.0.0:80: address in use")
            .hint("publish another port, as in -p 8080:80");
        assert_eq!(
            failure.text(false),
            "berth: cannot start web: bind 0.0.0.0:80: address in use\n\
             hint: publish another port, as in -p 8080:80\n"
        );
        assert!(failure.text(true).starts_with("\x1b[1;31mberth:\x1b[0m cannot"));
    }

    #[test]
    fn wrong_use_names_the_command_and_its_help() {
        let failure = Failure::usage("berth run", "unknown flag: --bad");
        assert_eq!(failure.text(false), "berth run: unknown flag: --bad\nSee 'berth run --help'.\n");
        assert_eq!(failure.exit_code, 125);
    }
}

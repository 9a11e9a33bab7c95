//! The flags of an instruction. Source: BuildKit's instructions, bflag.go.

use super::error::SyntaxError;
use super::source::Word;
use super::suggest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `true` or `false`.
    Boolean,
    /// A value.
    Value,
    /// A value, and it may be given several times.
    Values,
}

/// A flag that an instruction knows.
pub(super) type Known = (&'static str, Takes);

/// The flags that are given.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<(&'static str, Word)>,
}

impl Given {
    /// Reads flags; faults are added to `errors`.
    pub fn parse(words: &[Word], known: &[Known], errors: &mut Vec<SyntaxError>) -> Given {
        let mut given = Given::default();
        for word in words {
            match given.check(word, known) {
                Ok(flag) => given.flags.push(flag),
                Err(error) => errors.push(error),
            }
        }
        given
    }

    fn check(&self, word: &Word, known: &[Known]) -> Result<(&'static str, Word), SyntaxError> {
        let fault = |message: String| SyntaxError::new(message, word.span);
        let flag = word.strip_prefix("--").unwrap_or(word);
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let Some((name, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let hint = suggest::hint(name, known.iter().map(|(known, _)| *known));
            return Err(fault(format!("unknown flag: --{name}")).hint(hint));
        };
        if *takes != Takes::Values && self.flags.iter().any(|(known, _)| known == name) {
            return Err(fault(format!("duplicate flag specified: {name}")));
        }
        let value = match (takes, value) {
            (Takes::Boolean, None) => "true".to_owned(),
            (Takes::Boolean, Some("")) | (Takes::Value | Takes::Values, None) => {
                return Err(fault(format!("missing a value on flag: {name}")));
            }
            (Takes::Boolean, Some(value)) => match value.to_lowercase() {
                value if value == "true" || value == "false" => value,
                _ => {
                    return Err(fault(format!("expecting boolean value for flag {name}, not: {value}")));
                }
            },
            (Takes::Value | Takes::Values, Some(value)) => value.to_owned(),
        };
        Ok((name, Word { text: value, span: word.span }))
    }

    /// A flag's value. An empty one is none.
    pub fn value(&self, name: &str) -> Option<Word> {
        self.values(name).find(|value| !value.is_empty())
    }

    /// All values of a flag.
    pub fn values(&self, name: &str) -> impl Iterator<Item = Word> {
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// Whether a flag is on; `None` if it isn't given.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        self.values(name).next().map(|value| value.text == "true")
    }
}

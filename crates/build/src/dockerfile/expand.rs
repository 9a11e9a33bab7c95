//! Variables, quotes and escapes in the words of a Dockerfile.
//!
//! Source: the reference of Dockerfiles, "Environment replacement"; where it is silent, BuildKit's shell.Lex.

use super::pattern::{Pattern, PatternError};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;

/// How deep `${a:-${b:-…}}` may nest. Each level is a call on the stack.
const DEPTH_MAX: usize = 100;

/// How large a result may get: `${x//a/${x//a/$x}}` multiplies.
const RESULT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where values of variables come from.
pub trait Variables {
    /// The variable's value, if it's set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
}

/// `NAME=value`; the last of a name counts.
impl Variables for [String] {
    fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.iter().rev().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// No variable is set.
#[derive(Debug, Clone, Copy)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// A word that can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {reason}")]
pub struct ExpandError {
    /// The word.
    pub word: String,
    /// What is wrong with it.
    pub reason: Reason,
    /// The variables that were asked for until then and weren't set.
    pub unset: BTreeSet<String>,
}

/// Why a word can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something isn't closed, or isn't a substitution.
    #[error("{0}")]
    Syntax(String),
    /// `${NAME:?message}` of a variable that is unset or empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message that stands there, or what is wrong.
        message: String,
    },
    /// A pattern with an escape that none takes.
    #[error("invalid pattern ({pattern}) in substitution: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// Substitutions within substitutions, without end.
    #[error("substitutions are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// The result would fill the memory.
    #[error("the result of substitutions is longer than {RESULT_BYTES_MAX} bytes")]
    TooLong,
}

/// What a word expands to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// As one word.
    pub text: String,
    /// Split at spaces outside of quotes, those of values included.
    pub words: Vec<String>,
    /// The variables that were set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and weren't set.
    pub unset: BTreeSet<String>,
}

/// How words are read.
#[derive(Debug, Clone, Copy)]
pub struct Lexer {
    /// What escapes the next character.
    pub escape: char,
    /// Quotes stay in the result.
    pub keeps_quotes: bool,
    /// Escapes stay in the result.
    pub keeps_escapes: bool,
    /// Quotes mean nothing.
    pub ignores_quotes: bool,
    /// `$NAME` of a variable that isn't set stays.
    pub keeps_unset: bool,
}

impl Lexer {
    /// The usual rules, for a file whose `# escape=` is `escape`.
    pub fn new(escape: char) -> Lexer {
        Lexer { escape, keeps_quotes: false, keeps_escapes: false, ignores_quotes: false, keeps_unset: false }
    }

    /// The rules for the content of heredocs that are copied: quotes mean nothing.
    pub fn for_heredocs() -> Lexer {
        Lexer { ignores_quotes: true, ..Lexer::new('\\') }
    }

    /// Expands `word`.
    pub fn expand<V: Variables + ?Sized>(&self, word: &str, variables: &V) -> Result<Expansion, ExpandError> {
        let get: &dyn Fn(&str) -> Option<String> = &|name| variables.get(name).map(str::to_owned);
        let mut state = State {
            rules: self,
            get,
            chars: word.chars().peekable(),
            keeps_escapes: self.keeps_escapes,
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        };
        match state.until(None, self.keeps_escapes) {
            Ok((text, words)) => Ok(Expansion { text, words, used: state.used, unset: state.unset }),
            Err(reason) => Err(ExpandError { word: word.to_owned(), reason, unset: state.unset }),
        }
    }

    /// Expands `word` to one word.
    pub fn word<V: Variables + ?Sized>(&self, word: &str, variables: &V) -> Result<String, ExpandError> {
        self.expand(word, variables).map(|expansion| expansion.text)
    }
}

/// Words as they grow.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.end();
        } else {
            self.word.push(c);
        }
    }

    fn end(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

struct State<'a> {
    rules: &'a Lexer,
    get: &'a dyn Fn(&str) -> Option<String>,
    chars: Peekable<Chars<'a>>,
    keeps_escapes: bool,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

fn syntax<T>(message: &str) -> Result<T, Reason> {
    Err(Reason::Syntax(message.to_owned()))
}

impl State<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.get)(name);
        let names = if value.is_some() { &mut self.used } else { &mut self.unset };
        names.insert(name.to_owned());
        value
    }

    /// Reads until `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, keeps_escapes: bool) -> Result<(String, Vec<String>), Reason> {
        if self.depth >= DEPTH_MAX {
            return Err(Reason::TooDeep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.keeps_escapes, keeps_escapes);
        let result = self.read(stop);
        self.keeps_escapes = outer;
        self.depth -= 1;
        result
    }

    fn read(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), Reason> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                words.end();
                return Ok((text, words.words));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.rules.ignores_quotes => {
                    let quoted = if c == '"' { self.double_quoted() } else { self.single_quoted() }?;
                    words.word.push_str(&quoted);
                    text.push_str(&quoted);
                }
                _ => {
                    self.next();
                    if c != self.rules.escape {
                        words.push(c);
                        text.push(c);
                        continue;
                    }
                    if self.keeps_escapes {
                        words.word.push(c);
                        text.push(c);
                    }
                    // An escape at the end means nothing.
                    let Some(escaped) = self.next() else { break };
                    words.word.push(escaped);
                    text.push(escaped);
                }
            }
            if text.len() > RESULT_BYTES_MAX {
                return Err(Reason::TooLong);
            }
        }
        if let Some(stop) = stop {
            return syntax(&format!("unexpected end of statement while looking for matching {stop}"));
        }
        words.end();
        Ok((text, words.words))
    }

    /// `'…'`: nothing in it means anything.
    fn single_quoted(&mut self) -> Result<String, Reason> {
        let mut text = String::new();
        let quote = self.next().filter(|_| self.rules.keeps_quotes);
        text.extend(quote);
        loop {
            match self.next() {
                None => {
                    return syntax("unexpected end of statement while looking for matching single-quote");
                }
                Some('\'') => break,
                Some(c) => text.push(c),
            }
        }
        text.extend(quote);
        Ok(text)
    }

    /// `"…"`: variables are expanded; `"`, `$` and the escape itself can be escaped.
    fn double_quoted(&mut self) -> Result<String, Reason> {
        let mut text = String::new();
        let quote = self.next().filter(|_| self.rules.keeps_quotes);
        text.extend(quote);
        loop {
            match self.peek() {
                None => {
                    return syntax("unexpected end of statement while looking for matching double-quote");
                }
                Some('"') => {
                    self.next();
                    break;
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) => {
                    self.next();
                    let mut c = c;
                    if c == self.rules.escape {
                        if self.keeps_escapes {
                            text.push(c);
                        }
                        match self.peek() {
                            None => continue,
                            Some(next) if next == '"' || next == '$' || next == c => {
                                self.next();
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    text.push(c);
                }
            }
            if text.len() > RESULT_BYTES_MAX {
                return Err(Reason::TooLong);
            }
        }
        text.extend(quote);
        Ok(text)
    }

    /// `$NAME` and `${…}`.
    fn dollar(&mut self) -> Result<String, Reason> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name) {
                None if self.rules.keeps_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.next();
        match self.peek() {
            None => return syntax("syntax error: missing '}'"),
            Some('{' | '}' | ':') => return syntax("syntax error: bad substitution"),
            Some(_) => {}
        }
        let name = self.name();
        let Some(modifier) = self.next() else {
            return syntax("unsupported modifier (\u{fffd}) in substitution");
        };
        match modifier {
            '}' => Ok(match self.value(&name) {
                None if self.rules.keeps_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => {
                let after = self.next();
                match after {
                    Some(operator @ ('+' | '-' | '?')) => self.modified(&name, operator, true),
                    _ => {
                        self.inner('}', false)?;
                        let after = after.unwrap_or('\u{fffd}');
                        syntax(&format!("unsupported modifier (:{after}) in substitution"))
                    }
                }
            }
            '+' | '-' | '?' | '#' | '%' => self.modified(&name, modifier, false),
            '/' => self.replaced(&name),
            other => syntax(&format!("unsupported modifier ({other}) in substitution")),
        }
    }

    /// What stands in a substitution up to `stop`.
    fn inner(&mut self, stop: char, keeps_escapes: bool) -> Result<String, Reason> {
        match self.until(Some(stop), keeps_escapes) {
            Ok((text, _)) => Ok(text),
            Err(Reason::Syntax(_)) if self.peek().is_none() && stop == '/' => {
                syntax("syntax error: missing '/' in ${}")
            }
            Err(Reason::Syntax(_)) if self.peek().is_none() => syntax("syntax error: missing '}'"),
            Err(error) => Err(error),
        }
    }

    /// `${NAME:-word}` and its like.
    fn modified(&mut self, name: &str, operator: char, is_null_unset: bool) -> Result<String, Reason> {
        let mut word = self.inner('}', operator == '#' || operator == '%')?;
        let value = self.value(name);
        let colon = if is_null_unset { ":" } else { "" };
        let Some(value) = value else {
            return match operator {
                _ if self.rules.keeps_unset => Ok(format!("${{{name}{colon}{operator}{word}}}")),
                '-' => Ok(word),
                '?' => {
                    let message =
                        if word.is_empty() { "is not allowed to be unset".to_owned() } else { word };
                    Err(Reason::Required { name: name.to_owned(), message })
                }
                _ => Ok(String::new()),
            };
        };
        let is_null = is_null_unset && value.is_empty();
        match operator {
            '-' => Ok(if is_null { word } else { value }),
            '+' => Ok(if is_null { String::new() } else { word }),
            '?' if is_null => {
                let message = if word.is_empty() { "is not allowed to be empty".to_owned() } else { word };
                Err(Reason::Required { name: name.to_owned(), message })
            }
            '?' => Ok(value),
            _ => {
                let is_longest = word.starts_with(operator);
                if is_longest {
                    word.remove(0);
                }
                let pattern = if operator == '%' { Pattern::reversed(&word) } else { Pattern::new(&word) };
                let pattern = pattern.map_err(|source| Reason::Pattern { pattern: word, source })?;
                Ok(match operator {
                    '%' => pattern.without_suffix(&value, is_longest),
                    _ => pattern.without_prefix(&value, is_longest),
                })
            }
        }
    }

    /// `${NAME/pattern/replacement}` and `${NAME//pattern/replacement}`.
    fn replaced(&mut self, name: &str) -> Result<String, Reason> {
        let is_all = self.peek() == Some('/');
        if is_all {
            self.next();
        }
        let word = self.inner('/', true)?;
        let replacement = self.inner('}', true)?;
        let value = match self.value(name) {
            None if self.rules.keeps_unset => {
                let slashes = if is_all { "//" } else { "/" };
                return Ok(format!("${{{name}{slashes}{word}/{replacement}}}"));
            }
            value => value.unwrap_or_default(),
        };
        let pattern = Pattern::new(&word).map_err(|source| Reason::Pattern { pattern: word, source })?;
        pattern.replaced(&value, &replacement, is_all, RESULT_BYTES_MAX).ok_or(Reason::TooLong)
    }

    /// A name: letters, digits and `_`; or only digits; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.peek().filter(|c| c.is_numeric()) {
                    name.push(digit);
                    self.next();
                }
                return name;
            }
            let is_special = name.is_empty() && "@*#?-$!".contains(c);
            if !is_special && !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
            self.next();
            if is_special {
                break;
            }
        }
        name
    }
}

#[cfg(test)]
mod tests;

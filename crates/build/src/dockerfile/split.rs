//! How the rest of an instruction is split: flags, words, JSON.
//!
//! Source: BuildKit's parser, split_command.go and line_parsers.go.

use super::source::{Part, Word};

/// An instruction's name, its flags, and the rest, without spaces around.
pub(super) fn instruction<'a>(line: &Part<'a>, escape: char) -> (Part<'a>, Vec<Word>, Part<'a>) {
    let line = line.trim();
    let text = line.text();
    let Some(end) = text.find(is_blank) else {
        return (line.clone(), Vec::new(), line.from(text.len()));
    };
    let rest = line.from(end + blanks(&text[end..]));
    let (flags, at) = flags(&rest, escape);
    (line.sub(0..end), flags, rest.from(at).trim())
}

/// What separates words, other than the end of a line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_blank).len()
}

/// Words that begin with `--`, quotes and escapes taken away, and where the rest begins. `--` ends them.
fn flags(part: &Part<'_>, escape: char) -> (Vec<Word>, usize) {
    let text = part.text();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, at);
        }
        let start = at;
        let mut flag = String::new();
        let mut quote = None;
        let mut has_quotes = false;
        let mut chars = text[at..].char_indices();
        at = text.len();
        while let Some((offset, c)) = chars.next() {
            if quote.is_none() && c.is_whitespace() {
                at = start + offset;
                break;
            }
            match c {
                _ if quote == Some(c) => quote = None,
                '\'' | '"' if quote.is_none() => {
                    quote = Some(c);
                    has_quotes = true;
                }
                // At the end it means nothing.
                _ if c == escape => flag.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => flag.push(c),
            }
        }
        if flag == "--" {
            return (flags, at);
        }
        if has_quotes || !flag.is_empty() {
            flags.push(part.sub(start..at).word_as(flag));
        }
    }
}

/// The words between blanks. Quotes mean nothing.
pub(super) fn at_blanks(part: &Part<'_>) -> Vec<Word> {
    let text = part.text();
    let mut words = Vec::new();
    let mut at = 0;
    while !text.is_empty() {
        let end = text[at..].find(is_blank).map_or(text.len(), |end| at + end);
        words.push(part.sub(at..end).word());
        if end == text.len() {
            break;
        }
        at = end + blanks(&text[end..]);
    }
    words
}

/// The first word, and what follows the blanks behind it, if there are any.
pub(super) fn first_at_blanks<'a>(part: &Part<'a>) -> (Word, Option<Part<'a>>) {
    let text = part.text();
    match text.find(is_blank) {
        Some(end) => (part.sub(0..end).word(), Some(part.from(end + blanks(&text[end..])))),
        None => (part.word(), None),
    }
}

/// The words between spaces that are neither quoted nor escaped. Quotes and escapes stay.
pub(super) fn quoted_words<'a>(part: &Part<'a>, escape: char) -> Vec<Part<'a>> {
    let text = part.text();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let Some(begin) = start else {
            if !c.is_whitespace() {
                start = Some(at);
                quote = matches!(c, '\'' | '"').then_some(c);
                if c == escape {
                    chars.next();
                }
            }
            continue;
        };
        match quote {
            None if c.is_whitespace() => {
                words.push(part.sub(begin..at));
                start = None;
            }
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ if c == escape && quote != Some('\'') => {
                chars.next();
            }
            _ => {}
        }
    }
    words.extend(start.map(|begin| part.from(begin)));
    words
}

/// A list that may be JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array of something else.
    Others,
    /// No JSON.
    No,
}

/// Reads a JSON array.
pub(super) fn json(text: &str) -> Json {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Json::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Json::No };
    let string = |value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    };
    values.into_iter().map(string).collect::<Option<Vec<String>>>().map_or(Json::Others, Json::Strings)
}

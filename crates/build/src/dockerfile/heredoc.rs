//! Heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"`, also with a descriptor before them.
//!
//! Source: BuildKit's parser, heredocFromMatch and heredocsFromLine.

use super::expand::{ExpandError, Lexer, NoVariables};
use super::source::Span;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A file that is written in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heredoc {
    /// Its name, which is also the line that ends it.
    pub name: String,
    /// Whether variables are expanded in it when it's copied: no part of the name was quoted.
    pub is_expanded: bool,
    /// Whether tabs at the beginnings of its lines are taken away (`<<-`).
    pub strips_tabs: bool,
    /// The digits before `<<`, for the shell.
    pub descriptor: u32,
    /// Its lines as written, each with its end.
    pub content: String,
    /// Where the content stands.
    pub span: Span,
}

impl Heredoc {
    /// The content, tabs taken away if that is asked for. Variables are not expanded.
    pub fn text(&self) -> Cow<'_, str> {
        match self.strips_tabs {
            true => Cow::Owned(strip_tabs(&self.content)),
            false => Cow::Borrowed(&self.content),
        }
    }

    /// Whether a line, without its end, is this one's last.
    pub(super) fn ends_with(&self, line: &str) -> bool {
        let line = if self.strips_tabs { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The text without tabs at the beginnings of its lines.
fn strip_tabs(text: &str) -> String {
    text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

/// The heredoc that `word` begins, if it does.
///
/// Errors: quotes that aren't closed, and the like.
pub(super) fn parse_word(word: &str) -> Result<Option<Heredoc>, ExpandError> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
    let (strips_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let mut lexer = Lexer { keeps_unset: true, ..Lexer::new('\\') };
    let words = lexer.expand(rest, &NoVariables)?.words;
    let [name] = &words[..] else { return Ok(None) };
    lexer.keeps_quotes = true;
    let quoted = lexer.expand(rest, &NoVariables)?.words.concat();
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc {
        name: name.clone(),
        is_expanded: quotes(name) == quotes(&quoted),
        strips_tabs,
        descriptor: word[..digits].parse().unwrap_or_default(),
        content: String::new(),
        span: Span::default(),
    }))
}

/// The heredocs that a line begins, in order; their content is still empty.
pub(super) fn of_line(line: &str) -> Result<Vec<Heredoc>, ExpandError> {
    let lexer = Lexer { keeps_unset: true, keeps_quotes: true, keeps_escapes: true, ..Lexer::new('\\') };
    // What can't be split has no heredocs: the shell will say what's wrong.
    let words = lexer.expand(line, &NoVariables).map(|expansion| expansion.words).unwrap_or_default();
    words.iter().filter_map(|word| parse_word(word).transpose()).collect()
}

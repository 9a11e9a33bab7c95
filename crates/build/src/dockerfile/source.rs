//! Places in a Dockerfile, and logical lines that know where each of their bytes comes from.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A range of bytes of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// Lines of the file, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lines {
    /// The first.
    pub first: usize,
    /// The last, which belongs to them.
    pub last: usize,
}

/// Where something stands: the lines of the instruction it belongs to, and its own bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Lines of the whole instruction.
    pub lines: Lines,
    /// The bytes in question.
    pub span: Span,
}

/// A piece of an instruction, as written: variables aren't expanded, quotes aren't removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The text, without continuations of lines.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl std::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Line and column of an offset, both counted from 1; the column in characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before[line_start..].iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
    (line, column)
}

/// A line of which the continuations have been joined.
#[derive(Debug, Default)]
pub(super) struct Logical {
    text: String,
    /// Where pieces of `text` begin, and where they stand in the file; ascending.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    pub fn push(&mut self, piece: &str, source: usize) {
        self.pieces.push((self.text.len(), source));
        self.text.push_str(piece);
    }

    pub fn part(&self) -> Part<'_> {
        Part { line: self, range: 0..self.text.len() }
    }

    /// Where the byte at `at` stands in the file.
    fn source(&self, at: usize) -> usize {
        let after = self.pieces.partition_point(|(begin, _)| *begin <= at);
        match after.checked_sub(1).map(|index| self.pieces[index]) {
            Some((begin, source)) => source + (at - begin),
            None => 0,
        }
    }
}

/// A part of a logical line.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    line: &'a Logical,
    range: Range<usize>,
}

impl<'a> Part<'a> {
    pub fn text(&self) -> &'a str {
        &self.line.text[self.range.clone()]
    }

    /// A part of this one, by offsets into its text.
    pub fn sub(&self, range: Range<usize>) -> Part<'a> {
        Part { line: self.line, range: self.range.start + range.start..self.range.start + range.end }
    }

    pub fn from(&self, at: usize) -> Part<'a> {
        self.sub(at..self.range.len())
    }

    pub fn trim(&self) -> Part<'a> {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.sub(start..start + text.trim().len())
    }

    pub fn span(&self) -> Span {
        let start = self.line.source(self.range.start);
        let end = match self.range.end.checked_sub(1).filter(|last| *last >= self.range.start) {
            Some(last) => self.line.source(last) + 1,
            None => start,
        };
        Span { start, end }
    }

    pub fn word(&self) -> Word {
        Word { text: self.text().to_owned(), span: self.span() }
    }

    /// A word whose text was made of this part, by taking away quotes or the like.
    pub fn word_as(&self, text: String) -> Word {
        Word { text, span: self.span() }
    }
}

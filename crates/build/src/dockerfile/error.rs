//! What can be wrong with a Dockerfile.

use super::source::{Place, Span, position};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxError {
    /// What is wrong, in BuildKit's words where it knows the fault.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where.
    pub place: Place,
}

impl SyntaxError {
    pub(super) fn new(message: impl Into<String>, span: Span) -> SyntaxError {
        SyntaxError { message: message.into(), hint: None, place: Place { span, ..Place::default() } }
    }

    pub(super) fn hint(mut self, hint: Option<String>) -> SyntaxError {
        self.hint = hint;
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// All faults of a Dockerfile, in its order; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxErrors {
    /// The file's text.
    pub text: String,
    /// The faults.
    pub errors: Vec<SyntaxError>,
}

impl fmt::Display for SyntaxErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let (line, column) = position(&self.text, error.place.span.start);
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}line {line}, column {column}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SyntaxErrors {}

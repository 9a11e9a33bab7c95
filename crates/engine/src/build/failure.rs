//! Why a build failed, with what helps to see it.

use crate::Error;
use ::build::dockerfile::error::SyntaxErrors;
use ::build::dockerfile::source::Lines;
use ::build::lower::Fault;
use types::kind::Kind;

/// A build that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// What sort of failure it is.
    pub kind: Kind,
    /// Lines of the Dockerfile, the first and the last.
    pub lines: Option<(usize, usize)>,
    /// What is wrong with the Dockerfile's text, if that is it.
    pub syntax: Option<SyntaxErrors>,
    /// The step that failed.
    pub step: Option<String>,
    /// The last lines that it wrote.
    pub output: Vec<String>,
    /// A command that opens a shell in the state before it.
    pub shell: Option<String>,
    /// What the Dockerfile is called, and its text.
    pub dockerfile: Option<(String, String)>,
    /// Whether the user stopped it.
    pub is_interrupted: bool,
}

impl Failure {
    fn new(message: String, hint: Option<String>, kind: Kind) -> Failure {
        Failure {
            message,
            hint,
            kind,
            lines: None,
            syntax: None,
            step: None,
            output: Vec::new(),
            shell: None,
            dockerfile: None,
            is_interrupted: false,
        }
    }

    /// Of a Dockerfile that isn't one.
    pub(super) fn syntax(errors: SyntaxErrors) -> Failure {
        let message = errors.to_string();
        Failure { syntax: Some(errors), ..Failure::new(message, None, Kind::Invalid) }
    }

    /// Of what a line of the Dockerfile names.
    pub(super) fn at(lines: Lines, error: Error) -> Failure {
        Failure { lines: Some((lines.first, lines.last)), ..error.into() }
    }

    /// Of a user who changed their mind.
    pub(super) fn interrupted() -> Failure {
        Failure {
            is_interrupted: true,
            ..Failure::new("the build was stopped".to_owned(), None, Kind::Conflict)
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(error.to_string(), error.hint(), error.kind())
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Error::from(error).into()
    }
}

impl From<Error> for Box<Failure> {
    fn from(error: Error) -> Box<Failure> {
        Box::new(error.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let lines = fault.lines.map(|lines| (lines.first, lines.last));
        Failure { lines, ..Failure::new(fault.message, fault.hint, Kind::Invalid) }
    }
}

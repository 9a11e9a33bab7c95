//! What can go wrong with single namespaces.

use linux::Errno;
use runtime::errno_text;
use types::kind::Kind;

/// Why `unshare`, `enter` or `tree` failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a step.
    #[error("cannot {what}: {}", errno_text(*errno))]
    Step {
        /// What was attempted, on which object.
        what: String,
        /// The kernel's answer.
        errno: Errno,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The command can't be run.
    #[error("cannot run {program}: {}", errno_text(*errno))]
    Command {
        /// As the user gave it, escaped.
        program: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A value of the request means nothing on this machine.
    #[error("{what}: {why}")]
    Value {
        /// The flag.
        what: &'static str,
        /// What is wrong with its value.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A program that writes id maps for unprivileged users failed; it has said why.
    #[error("cannot map {ids} ids: {program} failed")]
    MapProgram {
        /// `user` or `group`.
        ids: &'static str,
        /// Its name.
        program: &'static str,
    },
    /// No such process.
    #[error("no such process: {pid}")]
    NoProcess {
        /// As the user gave it.
        pid: u32,
    },
    /// A container can't be found, or isn't running.
    #[error(transparent)]
    Engine(#[from] crate::Error),
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Step { errno: Errno::PERM | Errno::ACCESS, .. } => Kind::Forbidden,
            Error::Step { errno: Errno::NOSYS, .. } => Kind::Unsupported,
            Error::Step { .. } | Error::MapProgram { .. } => Kind::System,
            Error::Command { errno: Errno::NOENT, .. } => Kind::CommandNotFound,
            Error::Command { .. } => Kind::CommandNotExecutable,
            Error::Value { .. } => Kind::Invalid,
            Error::NoProcess { .. } => Kind::NotFound,
            Error::Engine(source) => source.kind(),
        }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Step { hint, .. } | Error::Value { hint, .. } => hint.clone(),
            Error::MapProgram { .. } => {
                Some("the ids must be the caller's in /etc/subuid and /etc/subgid".to_owned())
            }
            Error::Command { errno: Errno::NOENT, .. } => {
                Some("it, or the interpreter that it names, must exist under the command's root".to_owned())
            }
            Error::NoProcess { .. } => {
                Some("`berth ps` lists running containers, ps(1) processes".to_owned())
            }
            Error::Engine(source) => source.hint(),
            Error::Command { .. } => None,
        }
    }

    /// A step that the kernel refused.
    pub(super) fn step(what: impl Into<String>, errno: Errno) -> Error {
        Error::Step { what: what.into(), errno, hint: None }
    }

    /// The same for an error of std's.
    pub(super) fn io(what: impl Into<String>, error: &std::io::Error) -> Error {
        Error::step(what, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// The step's failure with a hint.
    pub(super) fn with_hint(self, text: Option<impl Into<String>>) -> Error {
        match (self, text) {
            (Error::Step { what, errno, .. }, Some(text)) => {
                Error::Step { what, errno, hint: Some(text.into()) }
            }
            (error, _) => error,
        }
    }
}

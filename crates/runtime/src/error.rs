//! What can go wrong between a configuration and a running process.

use crate::{cgroup, seccomp};
use linux::Errno;
use types::kind::Kind;

/// Why a container couldn't be made, entered or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the configuration is malformed or contradicts another.
    #[error("{field}: {why}")]
    Field {
        /// Path of the field, as `process.rlimits[2].type`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A field that the specification knows and berth doesn't do yet.
    #[error("{field} is not supported yet")]
    Unsupported {
        /// Path of the field.
        field: String,
    },
    /// The configuration is no JSON of the right shape.
    #[error("{path}: {why}")]
    Document {
        /// The file.
        path: String,
        /// The parser's words, with line and column.
        why: String,
    },
    /// The seccomp section.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
    /// Control groups.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The kernel refused a step.
    #[error("cannot {what}: {call} {object}: {}", errno_text(*errno))]
    Step {
        /// What the step was for.
        what: String,
        /// The call.
        call: String,
        /// What it was applied to.
        object: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The program isn't there.
    #[error("exec {program:?}: {}", if *.searched { "executable file not found in $PATH" } else { "no such file or directory" })]
    ProgramNotFound {
        /// As it was given.
        program: String,
        /// Whether `PATH` was searched.
        searched: bool,
    },
    /// The program is there and can't be run.
    #[error("exec {program:?}: {}", errno_text(*errno))]
    ProgramNotExecutable {
        /// As it was given.
        program: String,
        /// Why.
        errno: Errno,
    },
    /// The container's first process ended before it could say why.
    #[error("the container's first process ended before its program started ({how})")]
    Lost {
        /// Exit or signal.
        how: String,
    },
    /// An operation that the container's status forbids.
    #[error("container {id} is {status}: cannot {what}")]
    Status {
        /// The container.
        id: String,
        /// Its status.
        status: String,
        /// What was asked.
        what: &'static str,
    },
    /// No such container.
    #[error("container {id:?} does not exist")]
    NotFound {
        /// The id given.
        id: String,
    },
    /// The id is taken or malformed.
    #[error("container id {id:?}: {why}")]
    Id {
        /// The id given.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Field { .. } | Error::Document { .. } => Kind::Invalid,
            Error::Unsupported { .. } => Kind::Unsupported,
            Error::Seccomp(error) => error.kind(),
            Error::Cgroup(error) => error.kind(),
            Error::Step { errno: Errno::PERM, .. } if !am_root() => Kind::Forbidden,
            Error::Step { errno: Errno::NOSYS, .. } => Kind::Unsupported,
            Error::Step { .. } | Error::Lost { .. } => Kind::System,
            Error::ProgramNotFound { .. } => Kind::CommandNotFound,
            Error::ProgramNotExecutable { .. } => Kind::CommandNotExecutable,
            Error::NotFound { .. } => Kind::NotFound,
            Error::Status { .. } | Error::Id { .. } => Kind::Conflict,
        }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Seccomp(error) => error.hint().map(str::to_owned),
            Error::Cgroup(error) => error.hint(),
            Error::Unsupported { .. } => {
                Some("take the field out; docs/STATUS.md lists the state of each".to_owned())
            }
            Error::Step { errno: Errno::PERM, .. } if !am_root() => {
                Some("run as root; rootless containers are not supported yet".to_owned())
            }
            Error::Step { call, errno: Errno::NOSYS, .. } => {
                Some(format!("the kernel lacks {call}; Linux 6.1 or later has all that berth needs"))
            }
            Error::Step { errno: Errno::PERM, what, .. } if what.contains("resource limit") => Some(
                "raising a hard limit needs CAP_SYS_RESOURCE; ask for no more than `ulimit -H` shows"
                    .to_owned(),
            ),
            Error::Step { errno: Errno::NOSPC, .. } => Some("make room on the disk".to_owned()),
            Error::ProgramNotExecutable { errno: Errno::NOEXEC, .. } => {
                Some("is it for another processor, or a script without a first line as #!/bin/sh?".to_owned())
            }
            Error::ProgramNotExecutable { errno: Errno::ACCESS, .. } => {
                Some("is its executable bit set, and is it a file?".to_owned())
            }
            Error::NotFound { .. } => Some("`berth-runtime list` shows the containers".to_owned()),
            _ => None,
        }
    }

    /// A malformed field.
    pub fn field(field: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Field { field: field.into(), why: why.into() }
    }

    /// A step that the kernel refused.
    pub fn step(what: impl Into<String>, call: &str, object: impl ToString, errno: Errno) -> Error {
        Error::Step { what: what.into(), call: call.to_owned(), object: object.to_string(), errno }
    }
}

fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The kernel's words for an errno, in lower case.
pub fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

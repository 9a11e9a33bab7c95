//! What can be wrong with a seccomp profile.

use types::kind::Kind;

/// Why a profile can't become a filter. Every variant names the field, as `linux.seccomp.syscalls[3].action`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A word that the runtime specification doesn't define.
    #[error("{field}: unknown {what} {value:?}")]
    Unknown {
        /// Path of the field.
        field: String,
        /// Sort of word: action, operator, architecture, flag.
        what: &'static str,
        /// The word.
        value: String,
    },
    /// Something the specification defines and berth doesn't do.
    #[error("{field}: {what} is not supported")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// The feature.
        what: &'static str,
    },
    /// A number outside its range.
    #[error("{field}: {value} is out of range, the largest is {max}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// The number given.
        value: u64,
        /// The largest allowed.
        max: u64,
    },
    /// An errno where the action takes none.
    #[error("{field}: action {action} takes no errno")]
    ErrnoNotTaken {
        /// Path of the field.
        field: String,
        /// The action.
        action: String,
    },
    /// Two fields of a docker profile that exclude each other.
    #[error("{field}: can't be given together with {other}")]
    Exclusive {
        /// Path of the field.
        field: String,
        /// The other field.
        other: &'static str,
    },
    /// The profile is no JSON, or its fields have the wrong types.
    #[error("seccomp profile: {reason}")]
    Malformed {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// The filter would be longer than the kernel takes.
    #[error("linux.seccomp: the filter needs more than {max} instructions, the kernel's limit")]
    TooLong {
        /// The kernel's limit, `BPF_MAXINSNS`.
        max: usize,
    },
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Unsupported { .. } => Kind::Unsupported,
            Error::Unknown { .. }
            | Error::OutOfRange { .. }
            | Error::ErrnoNotTaken { .. }
            | Error::Exclusive { .. }
            | Error::Malformed { .. }
            | Error::TooLong { .. } => Kind::Invalid,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Unsupported { .. } => Some("use an action that needs no agent, as SCMP_ACT_ERRNO"),
            Error::ErrnoNotTaken { .. } => Some("remove it, or use SCMP_ACT_ERRNO or SCMP_ACT_TRACE"),
            Error::TooLong { .. } => Some("use fewer rules with conditions on arguments"),
            Error::Unknown { .. }
            | Error::OutOfRange { .. }
            | Error::Exclusive { .. }
            | Error::Malformed { .. } => None,
        }
    }
}

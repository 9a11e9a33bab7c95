//! Classes of failure, each with the exit code that `berth` leaves with and the HTTP status that its API answers.

/// What sort of failure an error is. The table in [`Kind::exit_code`] and [`Kind::http_status`] is the only place that
/// turns a failure into a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// The request itself is wrong: flags, values, documents.
    Invalid,
    /// The named object doesn't exist.
    NotFound,
    /// The object exists already, or its state forbids the request.
    Conflict,
    /// The caller lacks a privilege.
    Forbidden,
    /// The kernel or the machine lacks a feature.
    Unsupported,
    /// The container's program doesn't exist.
    CommandNotFound,
    /// The container's program can't be executed.
    CommandNotExecutable,
    /// Everything else: the kernel said no, a disk is full.
    System,
}

impl Kind {
    /// Exit code of a command that failed, other than `run`, `create` and `exec`.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::CommandNotFound => 127,
            Kind::CommandNotExecutable => 126,
            Kind::Invalid
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Forbidden
            | Kind::Unsupported
            | Kind::System => 1,
        }
    }

    /// Exit code of `run`, `create` and `exec`: docker's 125, 126 and 127.
    pub fn run_exit_code(self) -> u8 {
        match self {
            Kind::CommandNotFound => 127,
            Kind::CommandNotExecutable => 126,
            Kind::Invalid
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Forbidden
            | Kind::Unsupported
            | Kind::System => 125,
        }
    }

    /// Status of the Engine API.
    pub fn http_status(self) -> u16 {
        match self {
            Kind::Invalid | Kind::CommandNotFound | Kind::CommandNotExecutable => 400,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::Forbidden => 403,
            Kind::Unsupported => 501,
            Kind::System => 500,
        }
    }
}

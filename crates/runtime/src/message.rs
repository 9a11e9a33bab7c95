//! What the holder and the first process tell each other over their socket.
//!
//! ```text
//! holder                                   first process
//!   │  (id maps, control groups)               waits
//!   │───── Go ────────────────────────────────▶│
//!   │  (root, mounts of the host)              file systems, names, loopback
//!   │───── Go + descriptors of mounts ────────▶│
//!   │                                          mounts, pivot_root, limits
//!   │◀──── Terminal + pty master ──────────────│  (with a terminal)
//!   │◀──── Waiting ────────────────────────────│  (if it is to wait for a start)
//!   │◀──── Executing ──────────────────────────│
//!   │◀──── end of file: execve succeeded       ▼
//!   │◀──── Failed, at any point: the process then exits
//! ```

use crate::{Error, Step};
use linux::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// From the first process to the holder, or to whoever starts it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Carries the pty's master.
    Terminal,
    /// Everything is ready but for the start.
    Waiting { steps: Vec<Step> },
    /// execve is next.
    Executing { steps: Vec<Step> },
    /// It went wrong.
    Failed(Failure),
}

/// An [`Error`] that can cross a socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Step { what: String, call: String, object: String, errno: i32 },
    Field { field: String, why: String },
    ProgramNotFound { program: String, searched: bool },
    ProgramNotExecutable { program: String, errno: i32 },
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        match error {
            Error::Step { what, call, object, errno } => Failure::Step {
                what: what.clone(),
                call: call.clone(),
                object: object.clone(),
                errno: errno.raw_os_error(),
            },
            Error::ProgramNotFound { program, searched } => {
                Failure::ProgramNotFound { program: program.clone(), searched: *searched }
            }
            Error::ProgramNotExecutable { program, errno } => {
                Failure::ProgramNotExecutable { program: program.clone(), errno: errno.raw_os_error() }
            }
            Error::Field { field, why } => Failure::Field { field: field.clone(), why: why.clone() },
            other => Failure::Field { field: "container".to_owned(), why: other.to_string() },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Step { what, call, object, errno } => {
                Error::Step { what, call, object, errno: Errno::from_raw_os_error(errno) }
            }
            Failure::Field { field, why } => Error::Field { field, why },
            Failure::ProgramNotFound { program, searched } => Error::ProgramNotFound { program, searched },
            Failure::ProgramNotExecutable { program, errno } => {
                Error::ProgramNotExecutable { program, errno: Errno::from_raw_os_error(errno) }
            }
        }
    }
}

/// Sends one message; `false` if nobody listens, which is no reason to stop for most.
pub(crate) fn send(socket: impl AsFd, message: &Message, fds: &[BorrowedFd<'_>]) -> bool {
    // The types are plain data, which always serialises.
    let bytes = serde_json::to_vec(message).unwrap_or_default();
    linux::socket::send(socket, &bytes, fds).is_ok()
}

/// The next message with its descriptors; `None` at the end of file.
pub(crate) fn receive(socket: impl AsFd) -> Result<Option<(Message, Vec<OwnedFd>)>, Error> {
    let failed =
        |errno| Error::step("hear from the container's first process", "recvmsg", "its socket", errno);
    let mut buffer = vec![0; linux::socket::MESSAGE_BYTES_MAX];
    let (length, fds) = linux::socket::recv(socket, &mut buffer).map_err(failed)?;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&buffer[..length]).map_err(|_| failed(Errno::BADMSG))?;
    Ok(Some((message, fds)))
}

//! The OCI life cycle of containers over a directory of their states: what `berth-runtime` does.
//!
//! ```text
//!            create                start              the process ends         delete
//! (nothing) ───────▶ creating ▶ created ───▶ running ────────────────▶ stopped ─────▶ (nothing)
//!                    (locked)                   ▲ │ (cgroup frozen)
//!                                               │ ▼
//!                                             paused
//! ```
//!
//! `<root>/<id>/` holds `state.json` ([`record`]: what was made, each thing recorded before it is), `config.json` (a copy
//! of the bundle's), `start.sock` (on which the first process awaits its start) and `lock` (flock; who changes the container
//! holds it).
//!
//! Invariants:
//!
//! 1. A directory named by a container's id is whole: it's made under another name, with its record, and renamed.
//! 2. The status is asked of the kernel ([`status`]); the record only says whom to ask.
//! 3. After a SIGKILL at any instant, [`delete`] with force leaves nothing.
//! 4. Nothing here needs its caller to stay: a container lives on when `create` has exited.

mod console;
mod create;
mod delete;
mod dir;
mod exec;
mod foreground;
mod kill;
mod record;
mod status;

pub use create::{CreateOptions, RunOptions, create, run, start};
pub use delete::delete;
pub use exec::{ExecOptions, Merge, exec, merge_process};
pub use kill::kill;
pub use status::{State, list, state};

use crate::Error;
use linux::Errno;
use std::path::Path;

/// Where states are kept unless the caller says otherwise.
pub const DEFAULT_ROOT: &str = "/run/berth-runtime";

/// Parent of the control groups of containers that name none.
const CGROUP_PARENT: &str = "/berth-runtime";

/// Longest id, in bytes, so that it fits a file name.
const ID_BYTES_MAX: usize = 255;

/// Checks an id against runc's grammar.
fn check_id(id: &str) -> Result<(), Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
    let sound = !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(good) && id != "." && id != "..";
    match sound {
        true => Ok(()),
        false => Err(Error::Id { id: id.to_owned(), why: "is no id: letters, digits, _ + - . make one" }),
    }
}

/// An I/O error as the refusal of a step.
fn io_step<'a>(
    what: &'static str,
    call: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::step(what, call, path.display(), errno)
    }
}

#[cfg(test)]
mod tests;

/// Where the container's root is the host's, it must not find this binary behind `/proc/PID/exe` (security.md T2).
/// Nothing has been made yet: the program may start again from the beginning.
fn seal() -> Result<(), crate::Error> {
    linux::own_file::ensure_sealed().map_err(|errno| {
        crate::Error::step("protect the runtime's own binary", "execveat", "/proc/self/exe", errno)
    })
}

//! Handing a terminal, or a process's descriptor, to whoever listens on a socket. Source: runc, docs/terminals.md.

use super::io_step;
use crate::Error;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// A connection on which one descriptor is to be sent.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    path: &'a Path,
    socket: OwnedFd,
}

/// Connects before anything is made, so that a wrong path costs nothing.
pub(super) fn connect<'a>(option: &str, path: &'a Path) -> Result<Receiver<'a>, Error> {
    let socket = linux::socket::connect_stream(path)
        .map_err(|errno| Error::step(format!("use {option}"), "connect", path.display(), errno))?;
    Ok(Receiver { path, socket })
}

impl Receiver<'_> {
    /// Sends the descriptor with its name, as runc does.
    pub fn send(&self, name: &str, fd: BorrowedFd<'_>) -> Result<(), Error> {
        linux::socket::send(&self.socket, name.as_bytes(), &[fd])
            .map_err(|errno| Error::step(format!("hand over {name}"), "sendmsg", self.path.display(), errno))
    }
}

/// Writes a process id to a file that appears whole.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), Error> {
    let failed = io_step("write the pid file", "write", path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}"));
    let written = std::fs::write(&new, pid.to_string())
        .and_then(|()| Ok(rustix::fs::renameat(rustix::fs::CWD, &new, rustix::fs::CWD, path)?));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.map_err(failed)
}

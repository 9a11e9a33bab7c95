//! The process that writes what is copied, into a container with the rights of that container's root.
//!
//! It is a fork of the caller, which sends it an archive over a pipe. In the container's user namespace it owns what the
//! container's root owns and may do what that may: a process inside that exchanges names meanwhile gains nothing that it
//! couldn't do itself. It isn't dumpable, so that nobody inside looks into its memory.

use super::BUFFER_BYTES;
use crate::Error;
use linux::process::{self, Fork, ns};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use types::kind::Kind;

/// Most bytes of a report.
const REPORT_BYTES_MAX: u64 = 64 << 10;

/// How writing failed.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    message: String,
    hint: Option<String>,
    kind: Kind,
}

/// Counts what goes through, and tells how much it is.
struct Counted<'a> {
    out: File,
    bytes: u64,
    watch: &'a dyn Fn(u64),
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written as u64;
        (self.watch)(self.bytes);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Lets `feed` write an archive that another process, in `user_namespace` if given, reads by `write`; returns what
/// `feed` does.
///
/// Errors: what either says; the writer's comes first.
pub fn apart(
    user_namespace: Option<BorrowedFd<'_>>,
    write: impl FnOnce(BufReader<File>) -> Result<(), Error>,
    feed: impl FnOnce(&mut dyn Write) -> Result<u64, Error>,
    watch: &dyn Fn(u64),
) -> Result<u64, Error> {
    let failed = |errno| Error::system("start", "a process that writes the copy", errno);
    let (archive, feeding) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let (report, reporting) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let pid = match process::fork().map_err(failed)? {
        Fork::Child => {
            drop((feeding, report));
            let done = enter(user_namespace)
                .and_then(|()| write(BufReader::with_capacity(BUFFER_BYTES, File::from(archive))));
            process::exit(done.err().map_or(0, |error| tell(reporting, &error)))
        }
        Fork::Parent(pid) => pid,
    };
    drop((archive, reporting));
    let mut counted = Counted { out: File::from(feeding), bytes: 0, watch };
    let fed = feed(&mut counted);
    drop(counted);
    let mut text = Vec::new();
    let heard = File::from(report).take(REPORT_BYTES_MAX).read_to_end(&mut text);
    let exit = process::wait_child(pid).map_err(failed)?;
    heard.map_err(|error| Error::io("hear from", "the process that writes the copy", &error))?;
    if let Ok(Report { message, hint, kind }) = serde_json::from_slice(&text) {
        return Err(Error::Reported { message, hint, kind });
    }
    let bytes = fed?;
    match exit {
        process::Exit::Code(0) => Ok(bytes),
        _ => Err(failed(linux::Errno::CHILD)),
    }
}

fn enter(user_namespace: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let Some(user_namespace) = user_namespace else { return Ok(()) };
    let entered = || {
        process::set_dumpable(false)?;
        process::setns(user_namespace.as_fd(), ns::USER)?;
        linux::creds::setgroups(&[])?;
        linux::creds::setresgid(0, 0, 0)?;
        linux::creds::setresuid(0, 0, 0)?;
        // A change of ids sets it anew, as `fs.suid_dumpable` says.
        process::set_dumpable(false)
    };
    entered().map_err(|errno| Error::system("enter", "the container's user namespace", errno))
}

fn tell(reporting: OwnedFd, error: &Error) -> i32 {
    let report = Report { message: error.to_string(), hint: error.hint(), kind: error.kind() };
    let text = serde_json::to_vec(&report).unwrap_or_default();
    let _ = File::from(reporting).write_all(&text);
    1
}

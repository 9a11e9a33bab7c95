//! The end of a container.

use super::CGROUP_PARENT;
use super::dir::{Lock, StateDir, StateRoot};
use super::record::{Record, Stage};
use super::status::{open_first, status, word};
use crate::Error;
use crate::cgroup::Cgroup;
use linux::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;
use types::oci::Status;

/// How long a killed process may take to go; longer means uninterruptible sleep.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

/// Removes a container: what is left of its processes, its control group, its state.
///
/// Errors: [`Error::NotFound`], except with `force`; [`Error::Status`] if it runs, except with `force`, which kills it.
pub fn delete(root: &Path, id: &str, force: bool) -> Result<(), Error> {
    super::check_id(id)?;
    let missing = || if force { Ok(()) } else { Err(Error::NotFound { id: id.to_owned() }) };
    let Some(root) = StateRoot::open(root)? else { return missing() };
    root.sweep()?;
    let Some(dir) = root.container(id)? else { return missing() };
    let Some(lock) = dir.lock()? else { return missing() };
    let Some(record) = Record::load(&dir)? else { return missing() };
    match status(&dir, &record)? {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        status => {
            let status = word(status).to_owned();
            return Err(Error::Status { id: id.to_owned(), status, what: "delete it before it has stopped" });
        }
    }
    tear_down(&root, dir, lock, &record)
}

/// Ends and removes everything that a record speaks of. The state goes last: after a failure, or a crash, there is
/// something to delete again.
pub(super) fn tear_down(root: &StateRoot, dir: StateDir, lock: Lock, record: &Record) -> Result<(), Error> {
    let cgroup = Cgroup::open(&record.cgroup)?;
    let first = open_first(record)?;
    if record.stage != Stage::Planned {
        cgroup.kill()?;
    }
    if let Some(first) = &first {
        let _ = process::pidfd_signal(first.as_fd(), 9);
        if record.cgroup.v2.is_none() && cgroup.is_frozen()? {
            cgroup.thaw()?;
        }
        await_end(first.as_fd())?;
    }
    match record.stage {
        // Somebody else's group, which the creation ran into.
        Stage::Planned if cgroup.populated()? => {}
        Stage::Planned => cgroup.remove()?,
        _ => {
            cgroup.wait_empty(KILL_WAIT_MAX)?;
            cgroup.remove()?;
        }
    }
    cgroup.remove_parent(CGROUP_PARENT.trim_start_matches('/'));
    root.remove(dir)?;
    drop(lock);
    Ok(())
}

/// Waits until a process has ended; whether its parent has reaped it doesn't matter.
pub(super) fn await_end(pidfd: BorrowedFd<'_>) -> Result<(), Error> {
    let timeout = Timespec { tv_sec: KILL_WAIT_MAX.as_secs() as i64, tv_nsec: 0 };
    let failed = |errno| Error::step("wait for the container's end", "poll", "its first process", errno);
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(failed(linux::Errno::TIMEDOUT)),
            Ok(_) => return Ok(()),
            Err(linux::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

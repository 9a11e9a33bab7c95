//! Signals to a container.

use super::status::{find, open_first, status, word};
use crate::Error;
use crate::cgroup::Cgroup;
use linux::Errno;
use linux::process;
use std::os::fd::AsFd;
use std::path::Path;
use types::oci::Status;

const SIGKILL: i32 = 9;

/// Sends `signal` to the container's first process, or with `all` to every process of it.
///
/// Errors: [`Error::NotFound`]; [`Error::Status`] if it's stopped, except with `all`, which then reaches whoever is left.
pub fn kill(root: &Path, id: &str, signal: i32, all: bool) -> Result<(), Error> {
    let (_, dir, record) = find(root, id)?;
    let cgroup = Cgroup::open(&record.cgroup)?;
    if all {
        return signal_all(&cgroup, signal);
    }
    let Some(first) = open_first(&record)? else {
        let status = word(status(&dir, &record)?).to_owned();
        return Err(Error::Status { id: id.to_owned(), status, what: "signal it" });
    };
    if signal == SIGKILL && !record.own_pid_namespace {
        // Nobody else would end the others: there is no pid namespace that dies with its first process.
        return Ok(cgroup.kill()?);
    }
    match process::pidfd_signal(first.as_fd(), signal) {
        Ok(()) => {}
        Err(Errno::SRCH) => {
            let status = word(Status::Stopped).to_owned();
            return Err(Error::Status { id: id.to_owned(), status, what: "signal it" });
        }
        Err(errno) => {
            return Err(Error::step("signal the container", "pidfd_send_signal", signal, errno));
        }
    }
    // A version 1 freezer holds even the dying.
    if signal == SIGKILL && record.cgroup.v2.is_none() && cgroup.is_frozen()? {
        cgroup.thaw()?;
    }
    Ok(())
}

fn signal_all(cgroup: &Cgroup, signal: i32) -> Result<(), Error> {
    if signal == SIGKILL {
        return Ok(cgroup.kill()?);
    }
    let opened: Vec<_> = cgroup
        .pids()?
        .into_iter()
        .filter_map(|pid| Some((pid, process::pidfd_open(i32::try_from(pid).ok()?).ok()?)))
        .collect();
    // A number may have passed to a stranger before its descriptor was opened; whoever is still listed is no stranger.
    let still = cgroup.pids()?;
    for (pid, pidfd) in opened.into_iter().filter(|(pid, _)| still.contains(pid)) {
        match process::pidfd_signal(pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(Error::step("signal a process", "pidfd_send_signal", pid, errno)),
        }
    }
    Ok(())
}

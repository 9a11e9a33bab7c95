//! What the kernel says about a container.

use super::dir::{StateDir, StateRoot};
use super::record::{ProcessId, Record, Stage, boot_id};
use crate::Error;
use crate::cgroup::Cgroup;
use linux::Errno;
use linux::process;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::oci::Status;

/// A container as `state` and `list` show it.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Version of the specification that its configuration follows.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The first process; 0 once it has ended.
    pub pid: i32,
    /// What the kernel says.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// When it was created.
    pub created: SystemTime,
    /// Annotations of the configuration.
    pub annotations: BTreeMap<String, String>,
    /// User id of who created it.
    pub owner: u32,
}

/// The state of container `id`. Errors: [`Error::NotFound`].
pub fn state(root: &Path, id: &str) -> Result<State, Error> {
    let (_, dir, record) = find(root, id)?;
    state_of(&dir, record)
}

/// A container's id, and its state or why that can't be read.
pub type Listed = (String, Result<State, Error>);

/// The states of all containers, by id. One that can't be read is reported, not dropped: as an error in its place.
pub fn list(root: &Path) -> Result<Vec<Listed>, Error> {
    let Some(root) = StateRoot::open(root)? else { return Ok(Vec::new()) };
    // A clean-up by the way; a directory that may only be read is listed all the same.
    let _ = root.sweep();
    let mut states = Vec::new();
    for id in root.ids()? {
        let Some(dir) = root.container(&id)? else { continue };
        match Record::load(&dir) {
            Ok(Some(record)) => states.push((id, state_of(&dir, record))),
            // Removed meanwhile.
            Ok(None) => {}
            Err(error) => states.push((id, Err(error))),
        }
    }
    Ok(states)
}

/// Finds a container. Errors: [`Error::NotFound`].
pub(super) fn find(root: &Path, id: &str) -> Result<(StateRoot, StateDir, Record), Error> {
    super::check_id(id)?;
    let missing = || Error::NotFound { id: id.to_owned() };
    let root = StateRoot::open(root)?.ok_or_else(missing)?;
    let dir = root.container(id)?.ok_or_else(missing)?;
    let record = Record::load(&dir)?.ok_or_else(missing)?;
    Ok((root, dir, record))
}

fn state_of(dir: &StateDir, record: Record) -> Result<State, Error> {
    let status = status(dir, &record)?;
    let pid = match status {
        Status::Stopped => 0,
        _ => record.process.map_or(0, |process| process.pid),
    };
    Ok(State {
        oci_version: record.oci_version,
        id: record.id,
        pid,
        status,
        bundle: record.bundle,
        rootfs: record.rootfs,
        created: UNIX_EPOCH + Duration::new(record.created.0, record.created.1),
        annotations: record.annotations,
        owner: record.owner,
    })
}

/// What a container is now.
pub(super) fn status(dir: &StateDir, record: &Record) -> Result<Status, Error> {
    let being_made = || record.stage != Stage::Ready && dir.is_locked();
    if !record.process.is_some_and(|process| is_alive(record, process)) {
        return Ok(if record.process.is_none() && being_made() { Status::Creating } else { Status::Stopped });
    }
    if being_made() {
        return Ok(Status::Creating);
    }
    if dir.is_awaiting_start()? {
        return Ok(Status::Created);
    }
    let frozen = Cgroup::open(&record.cgroup)?.is_frozen()?;
    Ok(if frozen { Status::Paused } else { Status::Running })
}

/// Words of a status, as the specification spells them.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "stopped",
    }
}

/// Whether a recorded process still runs: the same boot, the same start, and not ended.
fn is_alive(record: &Record, process: ProcessId) -> bool {
    record.boot_id == boot_id() && runs(process)
}

fn runs(process: ProcessId) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{}/stat", process.pid)) else { return false };
    process::parse_start_time(&stat) == Some(process.start_time) && !has_ended(&stat)
}

/// Whether the process of a `stat` file executes nothing any more. The first process of a pid namespace stays until
/// those that `exec` made have been reaped by their parents outside, which may take long: it's exiting, but no zombie
/// yet. Where only the first thread has ended, others go on. Source: proc(5); PF_EXITING in linux/sched.h.
pub(super) fn has_ended(stat: &[u8]) -> bool {
    const PF_EXITING: u64 = 4;
    let Some(end) = stat.iter().rposition(|b| *b == b')') else { return true };
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let ending =
        matches!(words.first(), Some(&("Z" | "X"))) || number(6).is_some_and(|f| f & PF_EXITING != 0);
    ending && number(17).is_none_or(|threads| threads <= 1)
}

/// A descriptor for the container's first process; `None` if it doesn't run any more.
pub(super) fn open_first(record: &Record) -> Result<Option<OwnedFd>, Error> {
    let Some(process) = record.process.filter(|process| is_alive(record, *process)) else { return Ok(None) };
    match process::pidfd_open(process.pid) {
        // Asked again: only now is it sure that the descriptor is the recorded process's.
        Ok(fd) => Ok(runs(process).then_some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::step("reach the container's process", "pidfd_open", process.pid, errno)),
    }
}

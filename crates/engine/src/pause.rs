//! `berth pause` and `berth unpause`: all of a container's processes stand still, those of `exec` too. Whether they do is
//! the kernel's to say (`cgroup.freeze`, on version 1 `freezer.state`); nothing is written down.
//!
//! A [`Hold`] is a pause that lasts as long as the work of whoever took it, and no longer, however that one ends:
//!
//! ```text
//! commit ──flock──▶ <run>/containers/<id>/held     "1" while the pause is the holder's of this lock
//!    └──fork──▶ watcher: has the lock too; waits for the end of commit, then thaws
//! ```
//!
//! If commit and watcher are both killed, the lock is free and the file says "1": the next command that touches the
//! container thaws it ([`put_right`]).

use crate::cell::{Cell, Running};
use crate::find::{self, Container, State};
use crate::stop::Outcomes;
use crate::{Error, Home, events, inherited};
use linux::Errno;
use linux::fault::{self, Role};
use linux::process::{self, Exit, Fork};
use runtime::cgroup::Cgroup;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, ftruncate, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsRawFd, OwnedFd};

/// The file of [`Hold`].
const HELD: &str = "held";

/// Pauses containers; each stands still when this returns. Errors: [`Error::State`] for one that doesn't run, or is paused.
pub fn pause(home: &Home, containers: &[String]) -> Outcomes {
    each(home, containers, |given, container| {
        let State::Running(running) = &container.state else { return Err(state(given, "is not running")) };
        if is_paused(running) {
            return Err(state(given, "is already paused"));
        }
        group(running)?.freeze().map_err(runtime::Error::from)?;
        events::container(home, &container.config, "pause", &[]);
        Ok(())
    })
}

/// Lets paused containers run on. Errors: [`Error::State`] for one that isn't paused.
pub fn unpause(home: &Home, containers: &[String]) -> Outcomes {
    each(home, containers, |given, container| match &container.state {
        State::Running(running) if is_paused(running) => {
            thaw(running)?;
            // The pause of a commit that is at it: what comes after is none of its business.
            if let Ok(held) = open_held(&container.cell(home), OFlags::empty()) {
                let _ = ftruncate(&held, 0);
            }
            events::container(home, &container.config, "unpause", &[]);
            Ok(())
        }
        _ => Err(state(given, "is not paused")),
    })
}

fn each(home: &Home, containers: &[String], act: impl Fn(&str, &Container) -> Result<(), Error>) -> Outcomes {
    let act = |given: &String| {
        let result = find::container(home, given).and_then(|container| act(given, &container));
        (given.clone(), result)
    };
    // One after the other, each as it is then: a name may be given twice.
    containers.iter().map(act).collect()
}

fn state(given: &str, why: &str) -> Error {
    Error::State { id: given.to_owned(), why: why.to_owned() }
}

fn group(running: &Running) -> Result<Cgroup, Error> {
    Ok(Cgroup::open(&running.cgroup).map_err(runtime::Error::from)?)
}

/// Whether a running container is paused.
pub(crate) fn is_paused(running: &Running) -> bool {
    running.cgroup.is_frozen().unwrap_or(false)
}

/// Lets a container run on if it's paused; one that ends meanwhile is no failure.
pub(crate) fn thaw(running: &Running) -> Result<(), Error> {
    match is_paused(running) {
        true => Ok(group(running)?.thaw().map_err(runtime::Error::from)?),
        false => Ok(()),
    }
}

/// A pause for as long as this lives.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Its end tells the watcher.
    alive: Option<OwnedFd>,
    watcher: i32,
    held: OwnedFd,
    running: Running,
}

impl Hold {
    /// Pauses a container; `None` if it doesn't run, or is paused by whoever wants it so. Waits for another's hold.
    ///
    /// Forks: the caller has one thread.
    pub fn take(home: &Home, container: &Container) -> Result<Option<Hold>, Error> {
        let State::Running(running) = &container.state else { return Ok(None) };
        let cell = container.cell(home);
        let failed = |errno| Error::system("hold", cell.path.join(HELD).display(), errno);
        let held = match open_held(&cell, OFlags::CREATE) {
            // It has just ended.
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(failed)?,
        };
        while let Err(errno) = flock(&held, FlockOperation::LockExclusive) {
            if errno != Errno::INTR {
                return Err(failed(errno));
            }
        }
        if is_paused(running) {
            return Ok(None);
        }
        rustix::io::pwrite(&held, b"1", 0).map_err(failed)?;
        let (end, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let watcher = match inherited::fork_apart().map_err(failed)? {
            Fork::Parent(pid) => pid,
            Fork::Child => watch(&end, &held, running),
        };
        let hold = Hold { alive: Some(alive), watcher, held, running: running.clone() };
        fault::point("watched");
        group(running)?.freeze().map_err(runtime::Error::from)?;
        fault::point("paused");
        Ok(Some(hold))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.alive.take());
        if process::wait_child(self.watcher) != Ok(Exit::Code(0)) {
            release(&self.held, &self.running);
        }
    }
}

/// Thaws the container once the other end of `end` is closed.
fn watch(end: &OwnedFd, held: &OwnedFd, running: &Running) -> ! {
    fault::play(Role::Successor);
    process::set_name(c"berth-hold");
    process::close_others(&[end.as_raw_fd(), held.as_raw_fd()]);
    let mut nothing = [0; 1];
    while rustix::io::read(end, &mut nothing[..]) == Err(Errno::INTR) {}
    release(held, running);
    process::exit(0)
}

/// Thaws, if the pause is still this hold's.
fn release(held: &OwnedFd, running: &Running) {
    if is_marked(held) {
        let _ = thaw(running);
        let _ = ftruncate(held, 0);
    }
}

/// Ends the hold of processes that were killed.
pub(crate) fn put_right(cell: &Cell) {
    let Ok(held) = open_held(cell, OFlags::empty()) else { return };
    if is_marked(&held)
        && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
        && let Some(running) = cell.running()
    {
        release(&held, &running);
    }
}

fn is_marked(held: &OwnedFd) -> bool {
    rustix::io::pread(held, &mut [0; 1], 0) == Ok(1)
}

fn open_held(cell: &Cell, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, cell.path.join(HELD), OFlags::RDWR | OFlags::CLOEXEC | flags, Mode::from_raw_mode(0o600))
}

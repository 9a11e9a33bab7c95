//! Waiting for more of a log, and for its end, without looking again and again.

use crate::cell::{Cell, has_ended};
use crate::find::{self, Container, State};
use crate::{Error, Home, log};
use linux::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// How often to look whether somebody still keeps the container, once its holder or its first process is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The holder and the first process.
const WATCHED_PROCESSES: usize = 2;

pub struct Follower {
    home: Home,
    cell: Cell,
    inotify: OwnedFd,
    log_dir: PathBuf,
    log_watched: bool,
    /// The first process and the holder, while they live.
    alive: Vec<OwnedFd>,
}

impl Follower {
    pub fn new(home: &Home, container: &Container) -> Result<Follower, Error> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| Error::system("watch", "the log", errno))?;
        let cell = container.cell(home);
        let alive: Vec<OwnedFd> = match &container.state {
            State::Running(running) => {
                [running.init, running.holder].into_iter().filter_map(|process| process.open()).collect()
            }
            _ => Vec::new(),
        };
        let mut follower = Follower {
            home: home.clone(),
            cell,
            inotify,
            log_dir: log::kept_of(home, &container.config),
            log_watched: false,
            alive,
        };
        let cell_events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        follower.watch(follower.cell.path.clone(), cell_events)?;
        // Docker's lines are in it as well.
        let state_events = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::ONLYDIR;
        follower.watch(home.state_dir(&container.config.id), state_events)?;
        follower.watch_log()?;
        Ok(follower)
    }

    /// Watches a directory; whether it's there.
    fn watch(&self, path: PathBuf, events: WatchFlags) -> Result<bool, Error> {
        match inotify::add_watch(&self.inotify, &path, events) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::system("watch", path.display(), errno)),
        }
    }

    /// The log's directory is made with the first output.
    fn watch_log(&mut self) -> Result<(), Error> {
        if !self.log_watched {
            let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
            self.log_watched = self.watch(self.log_dir.clone(), events)?;
        }
        Ok(())
    }

    /// What becomes readable when something has happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Whether the container has ended and all its output is in the log.
    pub fn is_over(&self) -> bool {
        !self.cell.path.join("lock").exists() || self.cell.path.join("exit.json").exists()
    }

    /// Waits until something has happened, at most until then.
    pub fn wait(&mut self, until: Option<SystemTime>) -> Result<(), Error> {
        Follower::wait_any(&mut [self], until)
    }

    /// The same for several.
    pub fn wait_any(followers: &mut [&mut Follower], until: Option<SystemTime>) -> Result<(), Error> {
        let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        let limit = match (left, followers.iter().any(|follower| follower.is_deserted())) {
            (Some(left), true) => Some(left.min(LOOK_AGAIN)),
            (None, true) => Some(LOOK_AGAIN),
            (left, false) => left,
        };
        let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let watched =
            followers.iter().flat_map(|follower| [&follower.inotify].into_iter().chain(&follower.alive));
        let mut fds: Vec<PollFd<'_>> = watched.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let changed = match poll(&mut fds, timeout.as_ref()) {
            Ok(changed) => changed,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(Error::system("wait for", "the log", errno)),
        };
        for follower in followers {
            if changed == 0 && follower.is_deserted() {
                find::recover(&follower.home, &follower.cell);
            }
            follower.alive.retain(|fd| !has_ended(fd.as_fd()));
            follower.drain();
            follower.watch_log()?;
        }
        Ok(())
    }

    /// Whether its holder or its first process is gone.
    fn is_deserted(&self) -> bool {
        self.alive.len() < WATCHED_PROCESSES
    }

    /// Takes the events away: that there were some is all that matters.
    fn drain(&self) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while reader.next().is_ok() {}
    }
}

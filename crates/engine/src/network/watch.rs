//! Who notices that somebody has flushed the rules: one of the keepers, elected by a lock. The others wait for its end, which
//! its pidfd tells, and then elect another; nobody wakes up in vain.

use super::rules;
use crate::Home;
use crate::cell::ProcessName;
use net::nft::watch::{Heard, Watch};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Tries to read who was elected, who has the lock and is about to say so.
const TRIES_MAX: u32 = 20;

/// A keeper's part in it.
#[derive(Debug)]
pub(crate) struct Watcher {
    home: Home,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// It watches, while it has the lock.
    Elected { watch: Watch, _lock: OwnedFd },
    /// It waits for the end of who does.
    Waiting(OwnedFd),
}

impl Watcher {
    /// Takes part; `None` if that can't be done here.
    pub fn new(home: &Home) -> Option<Watcher> {
        Some(Watcher { home: home.clone(), role: elect(home)? })
    }

    /// To be polled for input.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.role {
            Role::Elected { watch, .. } => watch.as_fd(),
            Role::Waiting(pidfd) => pidfd.as_fd(),
        }
    }

    /// Does what is to be done; whether the descriptor is another now. `Err` if it can't go on.
    pub fn turn(&mut self) -> Result<bool, ()> {
        match &mut self.role {
            Role::Elected { watch, .. } => {
                if watch.turn().map_err(drop)? != Heard::Nothing {
                    let _ = rules::repair(&self.home, false);
                }
                Ok(false)
            }
            Role::Waiting(_) => {
                self.role = elect(&self.home).ok_or(())?;
                Ok(true)
            }
        }
    }
}

fn elect(home: &Home) -> Option<Role> {
    let path = home.run.join("rules.watcher");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600)).ok()?;
    for _ in 0..TRIES_MAX {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let own = ProcessName::of(std::process::id() as i32)?;
            rustix::fs::ftruncate(&file, 0).ok()?;
            rustix::io::pwrite(&file, &serde_json::to_vec(&own).unwrap_or_default(), 0).ok()?;
            let watch = Watch::open(&rules::names(home).ok()?).ok()?;
            // What happened while nobody watched.
            let _ = rules::repair(home, false);
            return Some(Role::Elected { watch, _lock: file });
        }
        let known =
            std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<ProcessName>(&text).ok());
        if let Some(pidfd) = known.and_then(ProcessName::open) {
            return Some(Role::Waiting(pidfd));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

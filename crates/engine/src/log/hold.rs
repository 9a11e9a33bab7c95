//! Logs that go with their container while somebody still reads them.
//!
//! A reader has a shared `flock` on the directory and reads below its descriptor. Whoever removes a container and finds it
//! locked moves it aside; the last reader removes it. If that one is killed, the directory is garbage that nobody has
//! locked, which the next removal, or `system prune`, takes away.

use linux::Errno;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdir, openat, renameat, stat};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

fn open(dir: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A directory that stays as long as this does.
#[derive(Debug)]
pub struct Hold {
    fd: OwnedFd,
    path: PathBuf,
}

impl Hold {
    /// Of `dir`; `None` if it isn't there.
    pub fn take(dir: &Path) -> Option<Hold> {
        let fd = open(dir).ok()?;
        // Whoever has it for himself alone removes it.
        flock(&fd, FlockOperation::NonBlockingLockShared).ok()?;
        Some(Hold { fd, path: dir.to_owned() })
    }

    /// Where it is, wherever it goes.
    pub fn dir(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }

    fn was_moved(&self) -> bool {
        match (fstat(&self.fd), stat(&self.path)) {
            (Ok(own), Ok(there)) => (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino),
            (own, _) => own.is_ok(),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.was_moved()
            && flock(&self.fd, FlockOperation::NonBlockingLockExclusive).is_ok()
            && let Ok(now) = std::fs::read_link(self.dir())
        {
            let _ = std::fs::remove_dir_all(now);
        }
    }
}

/// Whether somebody reads in `dir`.
pub fn is_held(dir: &Path) -> bool {
    open(dir).is_ok_and(|fd| flock(&fd, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK))
}

/// Moves `dir`, of container `id`, into `aside` if somebody reads in it; what nobody does is removed from there.
pub fn set_aside(dir: &Path, id: &str, aside: &Path) {
    if !is_held(dir) {
        return;
    }
    let _ = mkdir(aside, Mode::RWXU);
    sweep(aside);
    let _ = renameat(CWD, dir, CWD, aside.join(format!("log-{id}")));
}

fn sweep(aside: &Path) {
    let Ok(entries) = std::fs::read_dir(aside) else { return };
    let logs = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"));
    for left in logs.map(|entry| entry.path()).filter(|path| !is_held(path)) {
        let _ = std::fs::remove_dir_all(left);
    }
}

//! Directories that one process holds: the `flock` of the directory itself says that somebody works on it, and dies
//! with its holder, so that whatever is unlocked is garbage or finished.

use crate::error::Error;
use crate::remove::remove_tree;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How often making a directory starts over because a sweep took it before it was locked.
const TRIES_MAX: usize = 100;

/// A new directory in `tmp/`, locked by this process. Dropping it removes it, unless it was moved into place.
#[derive(Debug)]
pub struct WorkDir {
    tmp: OwnedFd,
    name: PathBuf,
    fd: OwnedFd,
    moved: bool,
}

impl WorkDir {
    /// Makes and locks a directory in `tmp`.
    pub fn create(tmp: &Path) -> Result<WorkDir, Error> {
        let error = |source: Errno| Error::Files {
            doing: "make a directory in",
            path: tmp.to_owned(),
            source: source.into(),
        };
        let tmp = open_directory(rustix::fs::CWD, tmp).map_err(error)?;
        for _ in 0..TRIES_MAX {
            let name = fresh_name();
            match rustix::fs::mkdirat(&tmp, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(source) => return Err(error(source)),
            }
            if let Some(fd) = lock(tmp.as_fd(), &name, Wait::Yes).map_err(error)? {
                return Ok(WorkDir { tmp, name, fd, moved: false });
            }
        }
        Err(error(Errno::AGAIN))
    }

    /// Makes the directory `name` in `tmp` and locks it; waits for another process that works in it, which is told once.
    /// What a process that was killed left in it is removed.
    pub fn claim(tmp: &Path, name: &str, waiting: &dyn Fn()) -> Result<WorkDir, Error> {
        let error = |source: Errno| Error::Files {
            doing: "make a directory in",
            path: tmp.to_owned(),
            source: source.into(),
        };
        let tmp = open_directory(rustix::fs::CWD, tmp).map_err(error)?;
        let name = PathBuf::from(name);
        for tries in 0..TRIES_MAX {
            match rustix::fs::mkdirat(&tmp, &name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(source) => return Err(error(source)),
            }
            if let Some(fd) = lock(tmp.as_fd(), &name, Wait::No).map_err(error)? {
                let work = WorkDir { tmp, name, fd, moved: false };
                work.clear()?;
                return Ok(work);
            }
            if tries == 0 {
                waiting();
            }
            // Shared: who has placed the directory goes on to pin it, perhaps until something that this process makes is
            // there. An exclusive lock would wait for that as well, and both for ever.
            drop(pin(tmp.as_fd(), &name).map_err(error)?);
        }
        Err(error(Errno::AGAIN))
    }

    /// Removes all that is in it.
    pub fn clear(&self) -> Result<(), Error> {
        let clear = || {
            for entry in rustix::fs::Dir::read_from(&self.fd)? {
                let entry = entry?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    remove_tree(self.fd.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())))?;
                }
            }
            Ok(())
        };
        clear().map_err(|source: Errno| Error::Files {
            doing: "empty a directory in",
            path: self.name.clone(),
            source: source.into(),
        })
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its name in `tmp/`.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Moves the directory to `name` in `target` and returns a pin on what has the name then: this one or, if the name was
    /// taken, who took it. The content must have been synced; the new name is durable once `target` is.
    pub fn place(mut self, target: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
        for _ in 0..TRIES_MAX {
            match renameat_with(&self.tmp, &self.name, target, name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.moved = true;
                    // From exclusive to shared: a remover may come between, and find no row.
                    let pinned =
                        self.fd.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE))?;
                    rustix::io::retry_on_intr(|| rustix::fs::flock(&pinned, FlockOperation::LockShared))?;
                    return if is_named(target, Path::new(name), &pinned)? {
                        Ok(pinned)
                    } else {
                        Err(Errno::STALE)
                    };
                }
                Err(Errno::EXIST) => {
                    if let Some(pinned) = pin(target, Path::new(name))? {
                        return Ok(pinned);
                    }
                    // Removed meanwhile: the name is free again.
                }
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::AGAIN)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.moved {
            // A courtesy; what stays is unlocked by our end and swept later.
            let _ = remove_tree(self.tmp.as_fd(), &self.name);
        }
    }
}

/// Whether to wait for another holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it is gone.
    Yes,
    /// Not at all.
    No,
}

/// Locks directory `name` in `parent`; `None` if it isn't there any more, or held by another and waiting isn't wanted.
pub fn lock(parent: BorrowedFd<'_>, name: &Path, wait: Wait) -> Result<Option<OwnedFd>, Errno> {
    let fd = match open_directory(parent, name) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let operation = match wait {
        Wait::Yes => FlockOperation::LockExclusive,
        Wait::No => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, operation)) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error),
    }
    // Its holder may have removed or moved it before letting go.
    Ok(is_named(parent, name, &fd)?.then_some(fd))
}

/// Keeps directory `name` in `parent` from being removed, beside others who do the same; `None` if it isn't there.
pub fn pin(parent: BorrowedFd<'_>, name: &Path) -> Result<Option<OwnedFd>, Errno> {
    let fd = match open_directory(parent, name) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockShared))?;
    Ok(is_named(parent, name, &fd)?.then_some(fd))
}

fn is_named(parent: BorrowedFd<'_>, name: &Path, fd: &OwnedFd) -> Result<bool, Errno> {
    let held = rustix::fs::fstat(fd)?;
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name for a directory in `tmp/` that no live process uses.
pub fn fresh_name() -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    PathBuf::from(format!("{}-{count}-{:x}{:08x}", std::process::id(), now.tv_sec, now.tv_nsec))
}

/// Opens a directory, not through a symbolic link.
pub fn open_directory(parent: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Waits until somebody waits for the lock on `inode`: the kernel lists waiters with an arrow.
    fn wait_for_waiter(inode: u64) {
        let waits = |line: &str| line.contains("->") && line.contains(&format!(":{inode} "));
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_lock_on_what_was_moved_away_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let parent = open_directory(rustix::fs::CWD, dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("held")).unwrap();
        let name = Path::new("held");
        let held = lock(parent.as_fd(), name, Wait::No).unwrap().unwrap();
        assert!(lock(parent.as_fd(), name, Wait::No).unwrap().is_none());
        let inode = std::fs::metadata(dir.path().join("held")).unwrap().ino();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock(parent.as_fd(), name, Wait::Yes).unwrap().is_none());
            wait_for_waiter(inode);
            rustix::fs::renameat(&parent, "held", &parent, "moved").unwrap();
            drop(held);
            assert!(waiter.join().unwrap());
        });
        assert!(lock(parent.as_fd(), name, Wait::Yes).unwrap().is_none());
        assert!(lock(parent.as_fd(), Path::new("moved"), Wait::No).unwrap().is_some());
    }
}

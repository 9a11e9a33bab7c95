//! The directory of states: claiming an id, locks, removal.
//!
//! Names with a colon, which no id holds, are directories being made or removed (`new:…`, `gone:…`). Whoever makes or
//! removes one holds a shared flock on the root; whoever gets it exclusively knows that all of them are left-overs.

use super::{check_id, io_step};
use crate::Error;
use linux::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, mkdirat, openat, renameat_with};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Names tried for a directory being made or removed; more than one is taken only by left-overs.
const NAME_TRIES_MAX: u32 = 1000;
/// Most bytes of a file read from a state directory; configurations of real bundles have some 10 KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The name of the socket on which a first process awaits its start.
pub(super) const START_SOCKET: &str = "start.sock";

/// The directory of all states.
#[derive(Debug)]
pub(super) struct StateRoot {
    path: PathBuf,
    fd: OwnedFd,
}

/// One container's directory.
#[derive(Debug)]
pub(super) struct StateDir {
    pub id: String,
    pub path: PathBuf,
    fd: OwnedFd,
}

/// A lock on a container's directory, released on drop.
#[derive(Debug)]
pub(super) struct Lock(OwnedFd);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, because a process cloned just now may still hold a copy of the descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// A shared lock on the root, released on drop.
struct Changing<'a>(BorrowedFd<'a>);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

impl StateRoot {
    /// Opens the directory, making it if it's absent.
    pub fn ensure(path: &Path) -> Result<StateRoot, Error> {
        match StateRoot::open(path)? {
            Some(root) => Ok(root),
            None => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_step(
                    "make the state directory",
                    "mkdir",
                    path,
                ))?;
                StateRoot::open(path)?.ok_or_else(|| {
                    Error::step("open the state directory", "open", path.display(), Errno::NOENT)
                })
            }
        }
    }

    /// Opens the directory; `None` if there is none, and so no container.
    pub fn open(path: &Path) -> Result<Option<StateRoot>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(StateRoot { path: path.to_owned(), fd })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::step("open the state directory", "open", path.display(), errno)),
        }
    }

    /// Makes the directory of container `id` with `files`, whole or not at all, and locks it.
    pub fn claim(&self, id: &str, files: &[(&str, &[u8])]) -> Result<(StateDir, Lock), Error> {
        check_id(id)?;
        let what = "make the container's state directory";
        let failed = |call: &str, errno| Error::step(what, call, self.path.join(id).display(), errno);
        let _changing = self.changing()?;
        let (new, fd) = self.make_new().map_err(|e| failed("mkdirat", e))?;
        let filled = (|| {
            for (name, bytes) in files {
                write_new(fd.as_fd(), name, bytes).map_err(|e| failed("write", e))?;
            }
            let lock = lock_file(fd.as_fd(), OFlags::CREATE).map_err(|e| failed("openat", e))?;
            flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed("flock", e))?;
            match renameat_with(&self.fd, &new, &self.fd, id, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Lock(lock)),
                Err(Errno::EXIST) => {
                    Err(Error::Id { id: id.to_owned(), why: "container with given ID already exists" })
                }
                Err(errno) => Err(failed("renameat2", errno)),
            }
        })();
        match filled {
            Ok(lock) => Ok((StateDir { id: id.to_owned(), path: self.path.join(id), fd }, lock)),
            Err(error) => {
                let _ = remove_tree(self.fd.as_fd(), &new);
                Err(error)
            }
        }
    }

    fn make_new(&self) -> Result<(String, OwnedFd), Errno> {
        for n in 0..NAME_TRIES_MAX {
            let name = format!("new:{}-{n}", std::process::id());
            match mkdirat(&self.fd, &name, Mode::RWXU) {
                Ok(()) => return Ok((name.clone(), openat(&self.fd, &name, DIR_FLAGS, Mode::empty())?)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }

    fn changing(&self) -> Result<Changing<'_>, Error> {
        flock(&self.fd, FlockOperation::LockShared)
            .map_err(|errno| Error::step("lock the state directory", "flock", self.path.display(), errno))?;
        Ok(Changing(self.fd.as_fd()))
    }

    /// The directory of container `id`; `None` if there is none.
    pub fn container(&self, id: &str) -> Result<Option<StateDir>, Error> {
        check_id(id)?;
        let path = self.path.join(id);
        match openat(&self.fd, id, DIR_FLAGS, Mode::empty()) {
            Ok(fd) => Ok(Some(StateDir { id: id.to_owned(), path, fd })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::step("open the container's state", "openat", path.display(), errno)),
        }
    }

    /// Ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>, Error> {
        let mut ids: Vec<String> = self.names()?.into_iter().filter(|name| check_id(name).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |errno| Error::step("list containers", "getdents64", self.path.display(), errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes what crashed commands left half made or half removed, unless somebody is at it right now.
    pub fn sweep(&self) -> Result<(), Error> {
        let left: Vec<String> = self.names()?.into_iter().filter(|name| name.contains(':')).collect();
        if left.is_empty() || flock(&self.fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let _unlock = Changing(self.fd.as_fd());
        for name in left {
            remove_tree(self.fd.as_fd(), &name).map_err(|errno| {
                Error::step("remove left-overs", "unlinkat", self.path.join(&name).display(), errno)
            })?;
        }
        Ok(())
    }

    /// Removes a container's directory; its id is free at once.
    pub fn remove(&self, dir: StateDir) -> Result<(), Error> {
        let what = "remove the container's state directory";
        let failed = |call: &str, errno| Error::step(what, call, dir.path.display(), errno);
        let _changing = self.changing()?;
        for n in 0..NAME_TRIES_MAX {
            let gone = format!("gone:{}-{n}", std::process::id());
            match renameat_with(&self.fd, &dir.id, &self.fd, &gone, RenameFlags::NOREPLACE) {
                Ok(()) => return remove_tree(self.fd.as_fd(), &gone).map_err(|e| failed("unlinkat", e)),
                Err(Errno::NOENT) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("renameat2", errno)),
            }
        }
        Err(failed("renameat2", Errno::EXIST))
    }
}

impl StateDir {
    /// Waits for the lock. `None` if the container was removed meanwhile.
    pub fn lock(&self) -> Result<Option<Lock>, Error> {
        let failed = |call: &str, errno| {
            Error::step("lock the container", call, self.path.join("lock").display(), errno)
        };
        let file = match lock_file(self.fd.as_fd(), OFlags::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("openat", errno)),
        };
        flock(&file, FlockOperation::LockExclusive).map_err(|e| failed("flock", e))?;
        let lock = Lock(file);
        let stat = rustix::fs::fstat(&lock.0).map_err(|e| failed("fstat", e))?;
        Ok((stat.st_nlink > 0).then_some(lock))
    }

    /// Whether somebody is changing the container right now.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = lock_file(self.fd.as_fd(), OFlags::empty()) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    /// Replaces a file, atomically for readers. Not synced: neither the file nor what it speaks of outlives a reboot.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let failed = |call: &str, errno| {
            Error::step("record the container's state", call, self.path.join(name).display(), errno)
        };
        let new = format!("{name}.new");
        let _ = rustix::fs::unlinkat(&self.fd, &new, AtFlags::empty());
        write_new(self.fd.as_fd(), &new, bytes).map_err(|e| failed("write", e))?;
        // Exchanged: on replacing a file, ext4 would write the new one to the disk at once.
        match renameat_with(&self.fd, &new, &self.fd, name, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            // There is none yet, or the file system can't.
            Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(failed("renameat2", errno)),
        }
        rustix::fs::renameat(&self.fd, &new, &self.fd, name).map_err(|e| failed("renameat", e))
    }

    /// A file's content; `None` if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        match openat(&self.fd, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => read_bounded(fd.into(), &path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::step("read the container's state", "openat", path.display(), errno)),
        }
    }

    /// Makes a directory to mount the root on.
    pub fn make_mountpoint(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("rootfs");
        mkdirat(&self.fd, "rootfs", Mode::RWXU)
            .map_err(|errno| Error::step("make a mount point", "mkdirat", path.display(), errno))?;
        Ok(path)
    }

    /// Listens for the start.
    pub fn listen(&self) -> Result<OwnedFd, Error> {
        linux::socket::listen(self.fd.as_fd(), START_SOCKET).map_err(|errno| {
            Error::step("await the start", "bind", self.path.join(START_SOCKET).display(), errno)
        })
    }

    /// Whether a process awaits its start.
    pub fn is_awaiting_start(&self) -> Result<bool, Error> {
        linux::socket::is_bound(self.fd.as_fd(), START_SOCKET).map_err(|errno| {
            Error::step("ask for the status", "connect", self.path.join(START_SOCKET).display(), errno)
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads a file of bounded size.
pub(super) fn read_bounded(file: std::fs::File, path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let length = read.map_err(io_step("read", "read", path))? as u64;
    if length > FILE_BYTES_MAX {
        let why = format!("is longer than {FILE_BYTES_MAX} bytes");
        return Err(Error::Document { path: path.display().to_string(), why });
    }
    Ok(bytes)
}

fn lock_file(dir: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, "lock", flags, Mode::from_raw_mode(0o600))
}

fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
    std::fs::File::from(fd).write_all(bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// Removes a state directory: files, and at most empty directories.
fn remove_tree(root: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let dir = match openat(root, name, DIR_FLAGS, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for entry in rustix::fs::Dir::read_from(&dir)? {
        let entry = entry?;
        let file = entry.file_name();
        if file == c"." || file == c".." {
            continue;
        }
        match rustix::fs::unlinkat(&dir, file, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&dir, file, AtFlags::REMOVEDIR)?,
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    match rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

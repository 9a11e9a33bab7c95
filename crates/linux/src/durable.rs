//! Writes that survive a crash at any instant: after it, a file is the old one or the new one, whole.
//!
//! The promise covers the file and its name. What the caller keeps: the directory itself must have been made durable
//! by whoever made it, and a crash may leave a temporary file named `.<name>.<pid>-<n>.tmp` beside the target.

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names of temporary files tried before giving up; more than one is taken only by files of dead processes whose pid
/// came round again.
const NAME_TRIES_MAX: u32 = 100;

/// Makes file `name` in `dir` hold exactly `bytes`, with permission bits `mode` (no umask), replacing what was there.
///
/// On return the new content is on the disk. On an error the old file is untouched and no temporary file is left.
/// `name` must be a single component. Source: rename(2), fsync(2).
pub fn replace(dir: BorrowedFd<'_>, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
    put_in_place(dir, name, bytes, mode, true)?;
    Ok(fs::fsync(dir)?)
}

/// The same, whose second half is the caller's: until [`Placed::sync`] has returned, a crash of the machine may leave the old
/// file, the new one, or one without content. Other processes see the new one at once.
pub fn place(dir: OwnedFd, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<Placed> {
    let file = put_in_place(dir.as_fd(), name, bytes, mode, false)?;
    Ok(Placed { file, dir })
}

/// A file that isn't on the disk for sure.
#[derive(Debug)]
pub struct Placed {
    file: File,
    dir: OwnedFd,
}

impl Placed {
    /// Waits until it is, wherever it has been moved since.
    pub fn sync(self) -> io::Result<()> {
        fs::fsync(self.file)?;
        Ok(fs::fsync(self.dir)?)
    }
}

fn put_in_place(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    bytes: &[u8],
    mode: u32,
    synced: bool,
) -> io::Result<File> {
    let (mut file, temporary) = create_temporary(dir, name)?;
    let written =
        fill(&mut file, bytes, mode, synced).and_then(|()| Ok(fs::renameat(dir, &temporary, dir, name)?));
    if let Err(error) = written {
        // The first failure is the one to report; the temporary file may be gone already.
        let _ = fs::unlinkat(dir, &temporary, AtFlags::empty());
        return Err(error);
    }
    Ok(file)
}

/// Moves `from_name` to `to_name`, which must not exist (`AlreadyExists` if it does), and makes the new name durable.
///
/// What is moved must be on the disk already: syncing a whole tree is the caller's. Source: renameat2(2).
pub fn publish(
    from_dir: BorrowedFd<'_>,
    from_name: &OsStr,
    to_dir: BorrowedFd<'_>,
    to_name: &OsStr,
) -> io::Result<()> {
    fs::renameat_with(from_dir, from_name, to_dir, to_name, RenameFlags::NOREPLACE)?;
    Ok(fs::fsync(to_dir)?)
}

/// Makes file `from_name` take the place of `to_name` in the same directory, in one step and durably, its content as well.
pub fn put(dir: BorrowedFd<'_>, from_name: &OsStr, to_name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::fsync(fs::openat(dir, from_name, flags, Mode::empty())?)?;
    fs::renameat(dir, from_name, dir, to_name)?;
    Ok(fs::fsync(dir)?)
}

fn create_temporary(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<(File, OsString)> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..NAME_TRIES_MAX {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{count}.tmp", std::process::id()));
        match fs::openat(dir, &temporary, flags, Mode::from_raw_mode(0o600)) {
            Ok(fd) => return Ok((File::from(fd), temporary)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

fn fill(file: &mut File, bytes: &[u8], mode: u32, synced: bool) -> io::Result<()> {
    file.write_all(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    if synced {
        fs::fsync(file.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("berth-durable-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn replace_leaves_the_new_file_and_nothing_else() {
        let scratch = Scratch::new("replace");
        let dir = File::open(&scratch.0).unwrap();
        replace(dir.as_fd(), OsStr::new("state"), b"old", 0o644).unwrap();
        replace(dir.as_fd(), OsStr::new("state"), b"new", 0o600).unwrap();
        let path = scratch.0.join("state");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(scratch.names(), ["state"]);
    }

    #[test]
    fn what_is_placed_is_seen_before_it_is_synced() {
        let scratch = Scratch::new("place");
        let dir = || OwnedFd::from(File::open(&scratch.0).unwrap());
        replace(dir().as_fd(), OsStr::new("state"), b"old", 0o600).unwrap();
        let placed = place(dir(), OsStr::new("state"), b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(scratch.0.join("state")).unwrap(), b"new");
        // It may be gone by then, with its directory's entry.
        std::fs::remove_file(scratch.0.join("state")).unwrap();
        placed.sync().unwrap();
        assert_eq!(scratch.names(), Vec::<String>::new());
    }

    #[test]
    fn a_failed_replace_keeps_what_was_there() {
        let scratch = Scratch::new("failed");
        let dir = File::open(&scratch.0).unwrap();
        std::fs::create_dir(scratch.0.join("taken")).unwrap();
        assert!(replace(dir.as_fd(), OsStr::new("taken"), b"x", 0o600).is_err());
        assert_eq!(scratch.names(), ["taken"]);
    }

    #[test]
    fn publish_refuses_a_taken_name() {
        let scratch = Scratch::new("publish");
        let dir = File::open(&scratch.0).unwrap();
        std::fs::create_dir(scratch.0.join("a")).unwrap();
        std::fs::create_dir(scratch.0.join("b")).unwrap();
        let taken = publish(dir.as_fd(), OsStr::new("a"), dir.as_fd(), OsStr::new("b")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        publish(dir.as_fd(), OsStr::new("a"), dir.as_fd(), OsStr::new("c")).unwrap();
        assert_eq!(scratch.names(), ["b", "c"]);
    }
}

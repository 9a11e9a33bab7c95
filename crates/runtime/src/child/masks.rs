//! Paths of the kernel's that the container may not read, or not write.

use super::target::{self, Links};
use crate::{Error, Steps};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::{FileType, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes each path, where it exists, read-only.
pub(super) fn read_only(root: BorrowedFd<'_>, paths: &[String], steps: &mut Steps) -> Result<(), Error> {
    for path in paths {
        let Some(at) = existing(root, path)? else { continue };
        steps.run("open_tree, move_mount", path, "make a path of the kernel's read-only", || {
            let fd = mount::clone_tree(at.as_fd(), Path::new(""), true)?;
            mount::set_attributes(fd.as_fd(), attr::RDONLY, 0, true)?;
            mount::attach(fd.as_fd(), at.as_fd())
        })?;
    }
    Ok(())
}

/// Hides each path, where it exists: a directory behind an empty read-only one, a file behind `/dev/null`.
///
/// All directories get copies of one empty file system, but for the last, which gets that itself: closing a mount that is
/// attached nowhere makes the kernel wait for a grace period of RCU.
pub(super) fn mask(root: BorrowedFd<'_>, paths: &[String], steps: &mut Steps) -> Result<(), Error> {
    const CALLS: &str = "open_tree, move_mount";
    const WHAT: &str = "mask a path of the kernel's";
    let mut null: Option<OwnedFd> = None;
    let mut directories = Vec::new();
    for path in paths {
        let Some(at) = existing(root, path)? else { continue };
        let directory = target::is_directory(&at).map_err(|e| Error::step(WHAT, "fstat", path, e))?;
        if directory {
            directories.push((path, at));
            continue;
        }
        steps.run(CALLS, path, WHAT, || {
            let first = match &null {
                Some(fd) => fd,
                None => null.insert(open_null(root)?),
            };
            let cover = mount::clone_tree(first.as_fd(), Path::new(""), false)?;
            mount::attach(cover.as_fd(), at.as_fd())
        })?;
    }
    let Some((last_path, last)) = directories.pop() else { return Ok(()) };
    let empty = steps.run("fsopen, fsmount", "tmpfs", "make an empty directory", empty_directory)?;
    for (path, at) in directories {
        steps.run(CALLS, path, WHAT, || {
            let cover = mount::clone_tree(empty.as_fd(), Path::new(""), false)?;
            mount::attach(cover.as_fd(), at.as_fd())
        })?;
    }
    steps.run("move_mount", last_path, WHAT, || mount::attach(empty.as_fd(), last.as_fd()))
}

/// A reference to `path`; `None` if there is no such file, which needs no protection.
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Error> {
    match target::open(root, path, OFlags::PATH, Links::InRoot) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::step("protect a path of the kernel's", "openat2", path, errno)),
    }
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let data =
        [("size", "0"), ("nr_inodes", "1"), ("mode", "755")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    match mount::detached("tmpfs", &data, attributes) {
        // A size of 0 means no limit; older kernels refuse the count of inodes.
        Err(Errno::INVAL) => mount::detached("tmpfs", &data[2..], attributes),
        other => other,
    }
}

/// The container's `/dev/null`, if it is what it should be: the image or a mount may have put something else there
/// (security.md T5).
fn open_null(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let fd = target::open(root, "/dev/null", OFlags::PATH, Links::Refused)?;
    let stat = rustix::fs::fstat(&fd)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !device || stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Errno::NODEV);
    }
    Ok(fd)
}

/// Opens `path` for reading without following the image's links out of its root; for small files of the container.
pub(super) fn open_file(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let fd = target::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Links::InRoot)?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(fd)
}

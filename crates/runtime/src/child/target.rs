//! Paths of the container, resolved beneath its root by the kernel (security.md T3): an image's symbolic links and
//! `..` never lead out.

use linux::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How often a resolution is repeated that a concurrent rename disturbed. Source: openat2(2), EAGAIN.
const RETRIES_MAX: u32 = 32;

/// Components at most that one path may have to be created; PATH_MAX allows no more.
const DEPTH_MAX: usize = 2048;

/// Whether symbolic links of the image may be followed on the way to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Within the root.
    InRoot,
    /// Not at all: where a file system of the kernel's goes, a link could hide another one.
    Refused,
}

/// Opens `path` below `root` as a mere reference (`O_PATH`), or with other `flags`.
pub(crate) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refused {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..RETRIES_MAX {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => continue,
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// What a missing target is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Directory,
    File,
}

/// Opens `path` below `root` as a reference, making what is missing of it.
pub(crate) fn ensure(root: BorrowedFd<'_>, path: &str, make: Make, links: Links) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH;
    match open(root, path, flags, links) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let clean = normalised(path);
    if clean.components().count() > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else { return Err(Errno::NOENT) };
    let parent = if parent.as_os_str().is_empty() {
        open(root, "/", flags, links)?
    } else {
        // Rust's paths made of a str stay UTF-8.
        ensure(root, parent.to_str().ok_or(Errno::INVAL)?, Make::Directory, links)?
    };
    let made = match make {
        Make::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        Make::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::WRONLY;
            openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // A link that leads nowhere: it isn't followed to make a file at its end.
        Err(Errno::EXIST) => Err(Errno::NOENT),
        Err(errno) => Err(errno),
        Ok(()) => openat(&parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()),
    }
}

/// The path without `.`, `..` and repeated slashes, relative to the root. `..` is resolved by its text: the components
/// before it don't exist where this is used.
fn normalised(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// Whether `fd` is open on a directory.
pub(crate) fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_image_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
        let root = rustix::fs::open(dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let root = root.as_fd();
        ensure(root, "/out", Make::Directory, Links::InRoot).unwrap_err();
        ensure(root, "/a/../b/./c", Make::File, Links::InRoot).unwrap();
        assert!(dir.path().join("b/c").is_file());
        ensure(root, "../../x/y", Make::Directory, Links::InRoot).unwrap();
        assert!(dir.path().join("x/y").is_dir());
        assert_eq!(open(root, "/out", OFlags::PATH, Links::Refused).unwrap_err(), Errno::LOOP);
        assert_eq!(ensure(root, "/dangling", Make::File, Links::InRoot).unwrap_err(), Errno::NOENT);
        assert!(!Path::new("/nowhere").exists());
    }
}

//! Places to mount on that a tree lacks: a layer between the base and the draft, so that nobody finds them made in what
//! the step adds.
//!
//! What is there already is found as the kernel will find it, links followed within the tree. The directories above a place
//! are in this layer as well, and look as they do in the base.

use super::{Draft, files};
use crate::error::Error;
use crate::overlay::{Finder, Merged, Shown, is};
use crate::pack::join;
use crate::{attributes, confined};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The layer's directory in a draft.
pub(super) const STUBS: &str = "stubs";

/// Links followed from one place to the next.
const LINKS_MAX: usize = 40;

/// A place to mount on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute path in the tree.
    pub path: String,
    /// Whether it's a directory; else a file.
    pub is_directory: bool,
}

/// Where a place is, and what of it is missing.
struct Found<'a> {
    /// The directory that is there.
    above: Merged<'a>,
    /// Names below it that aren't.
    missing: Vec<Vec<u8>>,
}

impl Draft {
    /// Makes those of the places that the base lacks, to be seen by what is mounted from now on. They are no part of the
    /// layer.
    ///
    /// Errors: [`Error::Files`].
    pub fn make_places(&self, places: &[Place]) -> Result<(), Error> {
        let lowers = self.open_lowers()?;
        let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(AsFd::as_fd).collect();
        let mut finder = Merged::root(&lowers).finder();
        for place in places {
            self.make_place(&mut finder, place)
                .map_err(|errno| files("make a place in", &self.path, errno))?;
        }
        Ok(())
    }

    fn make_place(&self, finder: &mut Finder<'_>, place: &Place) -> Result<(), Errno> {
        let Found { above, missing } = find(finder, place.path.as_bytes())?;
        let Some((last, directories)) = missing.split_last() else { return Ok(()) };
        let mut here = self.stubs()?;
        let mut path = Vec::new();
        for name in above.path().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            path = join(&path, name);
            let shown = finder.root.find_directory(&path)?.ok_or(Errno::NOENT)?;
            here = make_like(here.as_fd(), name, shown.open_topmost()?.as_fd())?;
        }
        for name in directories {
            here = make_directory(here.as_fd(), name)?;
        }
        if place.is_directory {
            return make_directory(here.as_fd(), last).map(drop);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&here, OsStr::from_bytes(last), flags, Mode::RUSR)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))
    }

    /// The layer's tree, made if it isn't there.
    fn stubs(&self) -> Result<OwnedFd, Errno> {
        make_directory(self.work.fd(), STUBS.as_bytes())
    }
}

/// Follows a path as far as it leads.
fn find<'a>(finder: &mut Finder<'a>, path: &[u8]) -> Result<Found<'a>, Errno> {
    let root = finder.root.clone();
    let mut todo = names(path);
    let (mut here, mut above, mut links) = (root.clone(), Vec::new(), 0);
    while let Some(name) = todo.pop() {
        if name == b".." {
            here = above.pop().unwrap_or_else(|| root.clone());
            continue;
        }
        match finder.lookup(&here, &name)? {
            Some(Shown::Directory(below, _)) => {
                let below = below.clone();
                above.push(std::mem::replace(&mut here, below));
            }
            Some(Shown::Other(link)) if is(&link.stat, FileType::Symlink) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                let target = link.target()?;
                if target.starts_with(b"/") {
                    here = root.clone();
                    above.clear();
                }
                todo.append(&mut names(&target));
            }
            // What is wrong with a path that leads through a file is told by who mounts on it.
            Some(Shown::Other(_)) => return Ok(Found { above: here, missing: Vec::new() }),
            None => {
                let mut missing = vec![name];
                // As far as it isn't there, there are no links in it.
                while let Some(name) = todo.pop() {
                    match name.as_slice() {
                        b".." => drop(missing.pop()),
                        _ => missing.push(name),
                    }
                }
                return Ok(Found { above: here, missing });
            }
        }
    }
    Ok(Found { above: here, missing: Vec::new() })
}

/// A path's names, the last one first.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let all = path.split(|byte| *byte == b'/').rev();
    all.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// Opens the directory, made if it isn't there: root's, mode 0755.
fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let made = match rustix::fs::mkdirat(parent, OsStr::from_bytes(name), Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    let directory = confined::open_directory(parent, name)?;
    if made {
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755))?;
    }
    Ok(directory)
}

/// The same with the attributes of another directory.
fn make_like(parent: BorrowedFd<'_>, name: &[u8], other: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let directory = make_directory(parent, name)?;
    let stat = rustix::fs::fstat(other)?;
    rustix::fs::fchown(&directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in attributes::portable_xattrs(other)? {
        rustix::fs::fsetxattr(&directory, OsStr::from_bytes(&name), &value, XattrFlags::empty())?;
    }
    let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    rustix::fs::futimens(&directory, &attributes::times(mtime))?;
    Ok(directory)
}

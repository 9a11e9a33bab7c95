//! What differs between an overlay and the layers below it, as `docker diff` tells it.
//!
//! docker compares two mounted trees; here the upper directory is walked, which holds all that can differ. The rules are
//! docker's (moby, `pkg/archive/changes.go` and `changes_unix.go`): a file is changed when its type, permissions, owner,
//! device number, size, time or capabilities are; a directory when its permissions or owner are, or anything in it;
//! what is in a removed directory isn't listed. Content, and other extended attributes, aren't compared.

use crate::error::Error;
use crate::overlay::{self, Lone, Merged, Opened, Shown};
use crate::pack::join;
use crate::{attributes, confined};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was there and is another now.
    Modified,
    /// It wasn't there.
    Added,
    /// It was there.
    Deleted,
}

impl ChangeKind {
    /// Docker's letter.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Path from the root, with a leading slash.
    pub path: Vec<u8>,
    /// How it differs.
    pub kind: ChangeKind,
}

/// Lists what an overlay with this upper directory has changed over `lowers`, topmost first; sorted by path, so that a
/// directory comes before what is in it.
///
/// Errors: [`Error::ReadTree`].
pub fn changes(upper: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>]) -> Result<Vec<Change>, Error> {
    let mut comparison = Comparison { upper, found: BTreeMap::new() };
    let root = Todo { path: Vec::new(), below: Some(Merged::root(lowers)), hides: false };
    let mut todo = vec![root];
    while let Some(next) = todo.pop() {
        let compared = comparison.directory(&next);
        todo.append(&mut compared.map_err(|(call, source)| Error::ReadTree {
            entry: next.path.escape_ascii().to_string(),
            call,
            source: source.into(),
        })?);
    }
    Ok(comparison.finish())
}

struct Comparison<'a> {
    upper: BorrowedFd<'a>,
    found: BTreeMap<Vec<u8>, ChangeKind>,
}

/// A directory to be compared with what was there by its name.
struct Todo<'b> {
    path: Vec<u8>,
    below: Option<Merged<'b>>,
    /// Whether it lies in an opaque directory, so that nothing of what was there shows.
    hides: bool,
}

type Failed = (&'static str, Errno);

fn call<T>(name: &'static str, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|errno| (name, errno))
}

impl Comparison<'_> {
    /// Compares what is in a directory of the upper with what is below; returns directories to compare.
    fn directory<'b>(&mut self, here: &Todo<'b>) -> Result<Vec<Todo<'b>>, Failed> {
        let dir = match confined::open_directory(self.upper, &here.path) {
            // Gone since its parent was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !here.path.is_empty() => return Ok(Vec::new()),
            dir => call("openat2", dir)?,
        };
        // That a root is opaque means nothing to overlayfs.
        let opaque = || overlay::has_xattr(dir.as_fd(), overlay::OPAQUE_XATTR, b"y");
        let hides = here.hides || (!here.path.is_empty() && call("fgetxattr", opaque())?);
        let below = call("openat2", here.below.as_ref().map(Merged::open).transpose())?;
        let names = match overlay::names(dir.as_fd()) {
            // Removed since it was opened.
            Err(Errno::NOENT) => return Ok(Vec::new()),
            names => call("getdents64", names)?,
        };
        let mut todo = Vec::new();
        for name in &names {
            let stat = match rustix::fs::statat(&dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => call("fstatat", stat)?,
            };
            let old = call("fstatat", below.as_ref().map(|below| below.lookup(name)).transpose())?.flatten();
            let path = join(&here.path, name);
            if let Some(kind) = self.compare(dir.as_fd(), name, &stat, old.as_ref())? {
                self.found.insert(path.clone(), kind);
            }
            if overlay::is(&stat, FileType::Directory) {
                let below = match old {
                    Some(Shown::Directory(below, _)) => Some(below),
                    _ => None,
                };
                todo.push(Todo { path, below, hides });
            }
        }
        if let Some(below) = below.filter(|_| hides) {
            self.hidden(&here.path, &names, &below)?;
        }
        Ok(todo)
    }

    fn compare(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        new: &Stat,
        old: Option<&Shown<'_>>,
    ) -> Result<Option<ChangeKind>, Failed> {
        if overlay::is_whiteout(new) {
            return Ok(old.map(|_| ChangeKind::Deleted));
        }
        let modified = match old {
            None => return Ok(Some(ChangeKind::Added)),
            Some(Shown::Directory(_, old)) => differ(old, new),
            Some(Shown::Other(old)) => {
                differ(&old.stat, new)
                    || (overlay::is(new, FileType::RegularFile)
                        && call("fgetxattr", capabilities_differ(dir, name, old))?)
            }
        };
        Ok(modified.then_some(ChangeKind::Modified))
    }

    /// What a directory that hides all below doesn't have is deleted.
    fn hidden(&mut self, path: &[u8], names: &[Vec<u8>], below: &Opened<'_, '_>) -> Result<(), Failed> {
        for name in call("getdents64", below.names())? {
            if names.binary_search(&name).is_err() {
                self.found.insert(join(path, &name), ChangeKind::Deleted);
            }
        }
        Ok(())
    }

    /// Adds the directories in which something has changed.
    fn finish(self) -> Vec<Change> {
        let mut all = self.found.clone();
        for path in self.found.keys() {
            let parents =
                path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
            for parent in parents {
                if !all.contains_key(parent) {
                    all.insert(parent.to_vec(), ChangeKind::Modified);
                }
            }
        }
        let rooted = |path: Vec<u8>| [b"/", path.as_slice()].concat();
        let mut changes: Vec<Change> =
            all.into_iter().map(|(path, kind)| Change { path: rooted(path), kind }).collect();
        changes.sort();
        changes
    }
}

/// Whether docker takes two files for different by what stat(2) tells.
fn differ(old: &Stat, new: &Stat) -> bool {
    // Archives may have whole seconds only.
    let same_time = old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0);
    old.st_mode != new.st_mode
        || old.st_uid != new.st_uid
        || old.st_gid != new.st_gid
        || old.st_rdev != new.st_rdev
        || (!overlay::is(new, FileType::Directory) && (!same_time || old.st_size != new.st_size))
}

fn capabilities_differ(dir: BorrowedFd<'_>, name: &[u8], old: &Lone<'_>) -> Result<bool, Errno> {
    let capabilities = |path: std::os::fd::OwnedFd| {
        let stat = rustix::fs::fstat(&path)?;
        if !overlay::is(&stat, FileType::RegularFile) {
            return Ok(None);
        }
        let xattrs = attributes::portable_xattrs(confined::reopen(path.as_fd())?.as_fd())?;
        Ok(xattrs.into_iter().find(|(name, _)| name == b"security.capability"))
    };
    Ok(capabilities(confined::open_path(dir, name)?)? != capabilities(old.open()?)?)
}

//! What unpacking a layer can't do without the layers below it: they may be unpacked at the same time.

use super::names::{self, split};
use super::relocate::relocate;
use super::{Fault, call, set_time};
use crate::error::Error;
use crate::overlay::{self, Lone, Merged, Shown};
use crate::remove::remove_tree;
use crate::tar::{Entry, EntryKind};
use crate::{attributes, confined};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is left to do for a layer's tree. [`complete`] does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    links: Vec<Link>,
    /// Directories that the archive doesn't name, but names things in.
    implied: BTreeSet<Vec<u8>>,
    /// Whiteouts: those with nothing below to be hidden have to go, as overlayfs lists their names.
    whiteouts: BTreeSet<Vec<u8>>,
    /// Whether the layer hides all of what lies below: overlayfs doesn't look for the mark in a root.
    hides_all: bool,
}

/// A hard link whose target isn't in its own layer. Both paths are clean.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    path: Vec<u8>,
    target: Vec<u8>,
}

impl Pending {
    /// Whether the tree is as it shall be.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.implied.is_empty() && self.whiteouts.is_empty() && !self.hides_all
    }

    pub(super) fn add_link(&mut self, path: Vec<u8>, target: Vec<u8>) {
        self.links.push(Link { path, target });
    }

    pub(super) fn add_implied(&mut self, path: Vec<u8>) {
        self.implied.insert(path);
    }

    pub(super) fn forget_implied(&mut self, path: &[u8]) {
        self.implied.remove(path);
    }

    pub(super) fn implied(&self) -> &BTreeSet<Vec<u8>> {
        &self.implied
    }

    /// What lay in directory `from` lies in `to` now.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8]) {
        self.implied.remove(from);
        let renamed = |path: &[u8]| match path.strip_prefix(from) {
            Some(rest) if rest.starts_with(b"/") => [to, rest].concat(),
            _ => path.to_vec(),
        };
        self.implied = self.implied.iter().map(|path| renamed(path)).collect();
        self.whiteouts = self.whiteouts.iter().map(|path| renamed(path)).collect();
        for link in &mut self.links {
            (link.path, link.target) = (renamed(&link.path), renamed(&link.target));
        }
    }

    pub(super) fn add_whiteout(&mut self, path: Vec<u8>) {
        self.whiteouts.insert(path);
    }

    pub(super) fn hide_all(&mut self) {
        self.hides_all = true;
    }

    /// Something is about to be placed at `path`, which replaces what would have been there, and unless it is a
    /// directory, below.
    pub(super) fn forget(&mut self, path: &[u8], is_directory: bool) {
        self.links.retain(|link| match link.path.strip_prefix(path) {
            Some(b"") => false,
            Some([b'/', ..]) => is_directory,
            _ => true,
        });
    }
}

/// Does what is left for the layer at `tree`, with the trees of the layers below it, topmost first: makes hard links to
/// their files, as copies; gives directories that the archive doesn't name the attributes they have below; hides all of
/// what is below where a whiteout asks for it; removes whiteouts that hide nothing; moves what is named through a link of
/// a lower layer to where that leads.
///
/// Whiteouts and opaque directories among the parents count, those of the layer itself don't: a link's target is what
/// was there before. Nobody else changes the trees. Errors: [`Error::Entry`] for a link to nothing, [`Error::Unpack`].
pub fn complete(tree: BorrowedFd<'_>, parents: &[BorrowedFd<'_>], pending: &Pending) -> Result<(), Error> {
    let below = Merged::root(parents);
    let mut pending = pending.clone();
    if !pending.hides_all {
        relocate(tree, &below, &mut pending)?;
    }
    let mut copies = HashMap::new();
    for link in &pending.links {
        place_link(tree, &below, link, &mut copies).map_err(|fault| fault.at(&link.path))?;
    }
    for path in pending.implied.iter().filter(|_| !pending.hides_all) {
        take_over(tree, &below, path).map_err(|fault| fault.at(path))?;
    }
    if pending.hides_all {
        hide_all(tree, &below).map_err(|fault| fault.at(names::OPAQUE))?;
    }
    remove_idle_whiteouts(tree, &below, &pending.whiteouts)
}

/// `copies` leads from targets in lower layers to the first link to each in this one.
fn place_link<'l>(
    tree: BorrowedFd<'_>,
    below: &Merged<'_>,
    link: &'l Link,
    copies: &mut HashMap<&'l [u8], &'l [u8]>,
) -> Result<(), Fault> {
    let (parent, name) = split(&link.path).ok_or(Fault::Refused("its name is empty"))?;
    let name = OsStr::from_bytes(name);
    let parent = call("openat2", confined::resolve(tree, parent))?;
    let stat = call("fstat", rustix::fs::fstat(&parent))?;
    let own_target = match (own(tree, &link.target)?, copies.get(link.target.as_slice())) {
        (None, Some(first)) => own(tree, first)?,
        (own, _) => own,
    };
    // A whiteout of this layer.
    call("unlinkat", remove_tree(parent.as_fd(), Path::new(name)))?;
    match own_target {
        Some((dir, target)) => {
            call("linkat", rustix::fs::linkat(&dir, target, &parent, name, AtFlags::empty()))?;
        }
        None => match call("openat2", below.find(&link.target))? {
            Some(Shown::Other(file)) => {
                copy(&file, parent.as_fd(), name)?;
                copies.insert(&link.target, &link.path);
            }
            Some(Shown::Directory(..)) => return Err(Fault::Refused("its hard link points at a directory")),
            None => {
                return Err(Fault::Refused("its hard link points at nothing in this layer or those below"));
            }
        },
    }
    restore_times(&parent, &stat)
}

/// The directory and name of what the layer itself has at `path`; whiteouts are nothing.
fn own<'p>(tree: BorrowedFd<'_>, path: &'p [u8]) -> Result<Option<(OwnedFd, &'p OsStr)>, Fault> {
    let Some((parent, name)) = split(path) else { return Ok(None) };
    let name = OsStr::from_bytes(name);
    let parent = match confined::resolve(tree, parent) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        parent => call("openat2", parent)?,
    };
    match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if overlay::is_whiteout(&stat) => Ok(None),
        Ok(_) => Ok(Some((parent, name))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Fault::Call("fstatat", error)),
    }
}

/// Puts back the times of a directory in which something was made.
pub(super) fn restore_times(dir: &OwnedFd, stat: &Stat) -> Result<(), Fault> {
    let spec = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec),
    };
    let here =
        rustix::fs::openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    call("futimens", here.and_then(|dir| rustix::fs::futimens(&dir, &times)))
}

/// Copies a file of another layer, with all its attributes.
fn copy(file: &Lone<'_>, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
    let kind = FileType::from_raw_mode(file.stat.st_mode);
    let mut entry = attributes::entry_of(Vec::new(), EntryKind::Fifo, &file.stat, Vec::new());
    match kind {
        FileType::RegularFile => {
            let source = call("openat2", file.open().and_then(|path| confined::reopen(path.as_fd())))?;
            entry.xattrs = call("fgetxattr", attributes::portable_xattrs(source.as_fd()))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
            let copy = call("openat", copy)?;
            copy_content(&source, &copy)?;
            return set_all(copy.as_fd(), &entry);
        }
        FileType::Symlink => {
            let target = call("readlinkat", file.target())?;
            call("symlinkat", rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name))?;
        }
        FileType::Directory | FileType::Socket | FileType::Unknown => {
            return Err(Fault::Refused("its hard link points at what no layer can hold"));
        }
        _ => {
            let private = Mode::RUSR | Mode::WUSR;
            call("mknodat", rustix::fs::mknodat(parent, name, kind, private, file.stat.st_rdev))?;
        }
    }
    let (uid, gid) = attributes::owner(&entry);
    call("fchownat", rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    if kind != FileType::Symlink {
        let mode = attributes::mode(&entry);
        call("fchmodat", rustix::fs::chmodat(parent, name, mode, AtFlags::empty()))?;
    }
    set_time(parent, name, &entry)
}

/// Copies the data between the holes.
fn copy_content(source: &OwnedFd, copy: &OwnedFd) -> Result<(), Fault> {
    let size = call("fstat", rustix::fs::fstat(source))?.st_size as u64;
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            start => call("lseek", start)?,
        };
        let end = call("lseek", rustix::fs::seek(source, SeekFrom::Hole(start)))?;
        let (mut from, mut to) = (start, start);
        while from < end {
            let length = usize::try_from(end - from).unwrap_or(usize::MAX).min(1 << 30);
            let copied = rustix::io::retry_on_intr(|| {
                rustix::fs::copy_file_range(source, Some(&mut from), copy, Some(&mut to), length)
            });
            if call("copy_file_range", copied)? == 0 {
                return Err(Fault::Call("copy_file_range", Errno::IO));
            }
        }
        at = end;
    }
    call("ftruncate", rustix::fs::ftruncate(copy, size))
}

/// Gives a directory that the archive doesn't name the attributes that it has below, if that is what it continues.
fn take_over(tree: BorrowedFd<'_>, below: &Merged<'_>, path: &[u8]) -> Result<(), Fault> {
    let (parent, _) = split(path).unwrap_or_default();
    if is_hidden(tree, parent)? {
        return Ok(());
    }
    let dir = match confined::open_directory(tree, path) {
        // Replaced by a later entry.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        dir => call("openat2", dir)?,
    };
    if let Some(Shown::Directory(there, stat)) = call("openat2", below.find(path))? {
        let source = call("openat2", there.open_topmost())?;
        let xattrs = call("fgetxattr", attributes::portable_xattrs(source.as_fd()))?;
        set_all(dir.as_fd(), &attributes::entry_of(Vec::new(), EntryKind::Directory, &stat, xattrs))?;
    }
    Ok(())
}

/// Hides all that is below and that this layer doesn't have.
fn hide_all(tree: BorrowedFd<'_>, below: &Merged<'_>) -> Result<(), Fault> {
    let stat = call("fstat", rustix::fs::fstat(tree))?;
    let root = call("openat2", confined::open_directory(tree, b""))?;
    for name in call("getdents64", overlay::names(root.as_fd()))? {
        match confined::open_directory(tree, &name) {
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            dir => call("fsetxattr", dir.and_then(overlay::make_opaque))?,
        }
    }
    for name in call("getdents64", below.open().and_then(|below| below.names()))? {
        match overlay::make_whiteout(tree, OsStr::from_bytes(&name)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Fault::Call("mknodat", error)),
        }
    }
    restore_times(&root, &stat)
}

/// Removes whiteouts that hide nothing. overlayfs only looks for them where it merges directories: in one that lies in
/// one layer alone, or is opaque, it lists the name of a whiteout like any other.
fn remove_idle_whiteouts(
    tree: BorrowedFd<'_>,
    below: &Merged<'_>,
    whiteouts: &BTreeSet<Vec<u8>>,
) -> Result<(), Error> {
    let mut by_parent: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for (parent, name) in whiteouts.iter().filter_map(|path| split(path)) {
        by_parent.entry(parent).or_default().push(name);
    }
    for (parent, names) in by_parent {
        remove_idle_in(tree, below, parent, &names).map_err(|fault| fault.at(parent))?;
    }
    Ok(())
}

fn remove_idle_in(
    tree: BorrowedFd<'_>,
    below: &Merged<'_>,
    parent: &[u8],
    names: &[&[u8]],
) -> Result<(), Fault> {
    let dir = match confined::resolve(tree, parent) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        dir => call("openat2", dir)?,
    };
    let stat = call("fstat", rustix::fs::fstat(&dir))?;
    let below = match is_hidden(tree, parent)? {
        true => None,
        false => call("openat2", below.find_directory(parent))?,
    };
    let below = call("openat2", below.as_ref().map(Merged::open).transpose())?;
    for name in names {
        let hides = call("fstatat", below.as_ref().map(|below| below.lookup(name)).transpose())?.flatten();
        let name = OsStr::from_bytes(name);
        let here = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        if hides.is_none() && here.is_ok_and(|here| overlay::is_whiteout(&here)) {
            call("unlinkat", rustix::fs::unlinkat(&dir, name, AtFlags::empty()))?;
        }
    }
    restore_times(&dir, &stat)
}

/// Whether `path` of the layer, or a directory it lies in, hides what is below.
pub(super) fn is_hidden(tree: BorrowedFd<'_>, path: &[u8]) -> Result<bool, Fault> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain((!path.is_empty()).then_some(path.len())) {
        match overlay::is_opaque(tree, &path[..end]) {
            Ok(false) => {}
            Ok(true) => return Ok(true),
            // Named through a symbolic link, or replaced.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => return Ok(false),
            Err(error) => return Err(Fault::Call("openat2", error)),
        }
    }
    Ok(false)
}

fn set_all(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Fault> {
    let (uid, gid) = attributes::owner(entry);
    call("fchown", rustix::fs::fchown(fd, uid, gid))?;
    call("fchmod", rustix::fs::fchmod(fd, attributes::mode(entry)))?;
    call("fsetxattr", attributes::set_xattrs(fd, entry))?;
    call("futimens", rustix::fs::futimens(fd, &attributes::times(entry.mtime)))
}

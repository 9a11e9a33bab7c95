//! Copying what was listed of one tree into another that nobody else changes, as a build does.
//!
//! Invariants:
//! 1. What is copied is what was listed: a file that isn't the same any more, by its inode and times, fails the copy; one that
//!    may have changed without showing it is digested once more while it's copied.
//! 2. Every directory of both trees is opened from its root, beneath it. Symbolic links of the target count only in
//!    [`Target::resolve`], where its root is the root of all links.
//! 3. Owner, then mode, then attributes, then times; a directory's when all is in it.
//! 4. Of two that meet, directories are merged, and something else gives way to something else; neither replaces the other.
//!
//! - `data`: bytes of files

mod data;

use crate::attributes;
use crate::confined;
use crate::error::Error;
use crate::listing::scan::below;
use crate::listing::{Listing, NodeKind, Sum, Tree};
use crate::overlay;
use crate::pack::join;
use crate::tar::Xattrs;
use data::{Copier, Fault};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// A tree that is written to.
#[derive(Debug)]
pub struct Target {
    root: OwnedFd,
}

/// What files get instead of what their sources have.
#[derive(Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// The mode, given the source's and whether it's a directory's.
    pub mode: Option<&'a dyn Fn(u32, bool) -> u32>,
    /// Seconds since the epoch.
    pub mtime: Option<i64>,
}

impl std::fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (owner, mtime) = (&self.owner, &self.mtime);
        f.debug_struct("Attributes").field("owner", owner).field("mtime", mtime).finish_non_exhaustive()
    }
}

/// Symbolic links followed on one path.
const LINKS_MAX: usize = 255;

fn call<T>(name: &'static str, result: Result<T, Errno>) -> Result<T, Fault> {
    result.map_err(|errno| Fault::Write(name, errno))
}

impl Target {
    /// The tree below `root`.
    pub fn new(root: OwnedFd) -> Target {
        Target { root }
    }

    /// Its root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Where an absolute `path` leads to, links in the last place included: a clean path below the root, without links as far
    /// as there is something. Source of the rule: containerd/continuity, `fs.RootPath`.
    ///
    /// Errors: [`Error::WriteTree`], with `ELOOP` for too many links.
    pub fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |at: &[u8], name, errno| Fault::Write(name, errno).at(at);
        let mut here: Vec<Vec<u8>> = Vec::new();
        let mut todo: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                here.pop();
                continue;
            }
            here.push(name);
            let at = here.join(&b'/');
            let found = match confined::open_path(self.root.as_fd(), &at) {
                // What isn't there leads nowhere.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                found => found.map_err(|errno| failed(&at, "openat2", errno))?,
            };
            let stat = rustix::fs::fstat(&found).map_err(|errno| failed(&at, "fstat", errno))?;
            if !overlay::is(&stat, FileType::Symlink) {
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(failed(path, "openat2", Errno::LOOP));
            }
            let target = rustix::fs::readlinkat(&found, "", Vec::new());
            let target = target.map_err(|errno| failed(&at, "readlinkat", errno))?.into_bytes();
            match target.starts_with(b"/") {
                true => here.clear(),
                false => drop(here.pop()),
            }
            todo.extend(components(&target));
        }
        Ok(here.join(&b'/'))
    }

    /// What is at a clean path, which is not followed in the last place.
    pub fn stat(&self, path: &[u8]) -> Result<Option<Stat>, Error> {
        match confined::open_path(self.root.as_fd(), path) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => {
                let stat = call("openat2", found).and_then(|found| call("fstat", rustix::fs::fstat(&found)));
                stat.map(Some).map_err(|fault| fault.at(path))
            }
        }
    }

    /// Makes the directory at a clean path, and those above it, where they aren't there; the paths of what was made, the last one
    /// last.
    ///
    /// Errors: [`Error::Occupied`] where something else is in the way, [`Error::WriteTree`].
    pub fn make_directories(
        &self,
        path: &[u8],
        mode: u32,
        attributes: &Attributes<'_>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut made = Vec::new();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]).filter(|end| *end != 0) {
            let at = &path[..end];
            match self.stat(at)? {
                None => {
                    self.make_directory(at, mode, attributes).map_err(|fault| fault.at(at))?;
                    made.push(at.to_vec());
                }
                Some(stat) if overlay::is(&stat, FileType::Directory) => {}
                Some(_) => return Err(Fault::Occupied("it is not a directory").at(at)),
            }
        }
        Ok(made)
    }

    /// Sets the time of the directory at a clean path, in seconds since the epoch.
    ///
    /// Errors: [`Error::WriteTree`].
    pub fn set_time(&self, path: &[u8], seconds: i64) -> Result<(), Error> {
        let dir = open_directory(self, path)?;
        let set = rustix::fs::futimens(&dir, &attributes::times((seconds, 0)));
        set.map_err(|errno| Fault::Write("futimens", errno).at(path))
    }

    fn make_directory(&self, path: &[u8], mode: u32, attributes: &Attributes<'_>) -> Result<(), Fault> {
        let (dir, name) = self.parent(path)?;
        call("mkdirat", rustix::fs::mkdirat(&dir, name, Mode::RWXU))?;
        let made = call("openat2", confined::open_directory(dir.as_fd(), name.as_bytes()))?;
        let (uid, gid) = attributes.owner.unwrap_or((0, 0));
        call("fchown", rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))?;
        call("fchmod", rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)))
    }

    /// The directory that a clean path lies in, and its name there.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p OsStr), Fault> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let dir = call("openat2", confined::open_directory(self.root.as_fd(), parent))?;
        Ok((dir, OsStr::from_bytes(name)))
    }

    /// Writes a file at a clean path of which the directory is there; the digest of its bytes.
    ///
    /// Errors: [`Error::Occupied`], [`Error::WriteTree`]; [`Error::ReadArchive`] where `content` fails.
    pub fn write_file(
        &self,
        path: &[u8],
        content: &mut dyn Read,
        mode: u32,
        attributes: &Attributes<'_>,
    ) -> Result<Sum, Error> {
        self.write(path, content, mode, attributes).map_err(|fault| fault.at(path))
    }

    fn write(
        &self,
        path: &[u8],
        content: &mut dyn Read,
        mode: u32,
        attributes: &Attributes<'_>,
    ) -> Result<Sum, Fault> {
        let (dir, name) = self.parent(path)?;
        let mode = attributes.mode.map_or(mode, |change| change(mode, false));
        let file = create(dir.as_fd(), name, mode)?;
        let sum = data::write(&file, content)?;
        set(file.as_fd(), attributes.owner.unwrap_or((0, 0)), mode, &Vec::new())?;
        if let Some(seconds) = attributes.mtime {
            call("futimens", rustix::fs::futimens(&file, &attributes::times((seconds, 0))))?;
        }
        Ok(sum)
    }

    /// Copies what was listed at `at` of `tree` to the clean path `to`: if it's a directory, what is in it into the directory
    /// that is there, which gets its time unless it's the tree's root. Directories that are only the way to something get no
    /// time either.
    ///
    /// Errors: [`Error::Changing`] if something isn't what was listed any more; [`Error::Occupied`], [`Error::Uncopyable`],
    /// [`Error::ReadTree`], [`Error::WriteTree`].
    pub fn copy(
        &self,
        (tree, at): (&Tree, &[u8]),
        listing: &Listing,
        to: &[u8],
        attributes: &Attributes<'_>,
    ) -> Result<(), Error> {
        let copier = Copier::default();
        let mut copy =
            Copy { target: self, tree, at, listing, to, attributes, first_names: HashMap::new(), copier };
        copy.run()
    }
}

/// The parts of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}

struct Copy<'a> {
    target: &'a Target,
    tree: &'a Tree,
    at: &'a [u8],
    listing: &'a Listing,
    to: &'a [u8],
    attributes: &'a Attributes<'a>,
    /// Where the first names of files with several were copied to.
    first_names: HashMap<usize, Vec<u8>>,
    copier: Copier,
}

enum Step {
    Enter(usize, Vec<u8>),
    Leave(usize, Vec<u8>),
}

impl Copy<'_> {
    fn run(&mut self) -> Result<(), Error> {
        if self.listing.node(0).kind != NodeKind::Directory {
            let (source, name) = split(self.at);
            let opened = confined::open_directory_in(self.tree.root(), source, confined::Mounts::Show);
            let source = opened.map_err(|errno| Fault::Read("openat2", errno).at(self.at))?;
            let (dir, to_name) = self.target.parent(self.to).map_err(|fault| fault.at(self.to))?;
            let to = self.to.to_vec();
            return self
                .file(0, (source.as_fd(), name), (dir.as_fd(), to_name), &to)
                .map_err(|f| f.of(self.at, &to));
        }
        let mut todo = vec![Step::Enter(0, Vec::new())];
        while let Some(step) = todo.pop() {
            match step {
                Step::Enter(index, path) => {
                    if index != 0 {
                        todo.push(Step::Leave(index, path.clone()));
                    }
                    let found = self.directory(index, &path)?;
                    todo.extend(found.into_iter().rev().map(|(index, path)| Step::Enter(index, path)));
                }
                Step::Leave(index, path) => {
                    let (at, to) = (below(self.at, &path), below(self.to, &path));
                    self.leave(index, &at, &to).map_err(|fault| fault.of(&at, &to))?;
                }
            }
        }
        self.root_time().map_err(|fault| fault.of(self.at, self.to))
    }

    /// What is copied into gets the source's time. As with docker, of which a context's root has none.
    fn root_time(&self) -> Result<(), Fault> {
        let time = match self.attributes.mtime {
            Some(seconds) => (seconds, 0),
            None if self.at.is_empty() => return Ok(()),
            None => {
                let source = self.tree.open(self.at).map_err(|errno| Fault::Read("openat2", errno))?;
                time_of(&rustix::fs::fstat(&source).map_err(|errno| Fault::Read("fstat", errno))?)
            }
        };
        let dir = call("openat2", confined::open_directory(self.target.root(), self.to))?;
        call("futimens", rustix::fs::futimens(&dir, &attributes::times(time)))
    }

    /// Copies a directory's content but for the content of directories in it, which are returned.
    fn directory(&mut self, index: usize, path: &[u8]) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let (at, to) = (below(self.at, path), below(self.to, path));
        let source = confined::open_directory_in(self.tree.root(), &at, confined::Mounts::Show);
        let source = source.map_err(|errno| Fault::Read("openat2", errno).at(&at))?;
        let target = call("openat2", confined::open_directory(self.target.root(), &to));
        let target = target.map_err(|fault| fault.at(&to))?;
        let mut directories = Vec::new();
        for child in self.listing.children(index) {
            let name = self.listing.name(child);
            let name_os = OsStr::from_bytes(name);
            let (at, to) = (join(&at, name), join(&to, name));
            if self.listing.node(child).kind == NodeKind::Directory {
                enter(target.as_fd(), name_os).map_err(|fault| fault.of(&at, &to))?;
                directories.push((child, join(path, name)));
            } else {
                let copied = self.file(child, (source.as_fd(), name), (target.as_fd(), name_os), &to);
                copied.map_err(|fault| fault.of(&at, &to))?;
            }
        }
        Ok(directories)
    }

    /// Gives a directory its attributes.
    fn leave(&self, index: usize, at: &[u8], to: &[u8]) -> Result<(), Fault> {
        let source = confined::open_directory_in(self.tree.root(), at, confined::Mounts::Show);
        let source = source.map_err(|errno| Fault::Read("openat2", errno))?;
        let stat = rustix::fs::fstat(&source).map_err(|errno| Fault::Read("fstat", errno))?;
        let xattrs = attributes::portable_xattrs(source.as_fd()).map_err(|e| Fault::Read("fgetxattr", e))?;
        let dir = call("openat2", confined::open_directory(self.target.root(), to))?;
        let node = self.listing.node(index);
        set(dir.as_fd(), self.owner(node.uid, node.gid), self.mode(node.mode, true), &xattrs)?;
        if node.is_way() && self.attributes.mtime.is_none() {
            return Ok(());
        }
        call("futimens", rustix::fs::futimens(&dir, &attributes::times(self.time(&stat))))
    }

    fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        self.attributes.owner.unwrap_or((uid, gid))
    }

    fn mode(&self, mode: u16, is_directory: bool) -> u32 {
        self.attributes.mode.map_or(mode.into(), |change| change(mode.into(), is_directory))
    }

    fn time(&self, source: &Stat) -> (i64, u32) {
        self.attributes.mtime.map_or_else(|| time_of(source), |seconds| (seconds, 0))
    }

    /// Copies what is no directory.
    fn file(
        &mut self,
        index: usize,
        (source, name): (BorrowedFd<'_>, &[u8]),
        (dir, to_name): (BorrowedFd<'_>, &OsStr),
        to: &[u8],
    ) -> Result<(), Fault> {
        let node = self.listing.node(index);
        let found = match confined::open_path_in(source, name, confined::Mounts::Show) {
            Err(Errno::NOENT) => return Err(Fault::Changed),
            found => found.map_err(|errno| Fault::Read("openat2", errno))?,
        };
        let stat = rustix::fs::fstat(&found).map_err(|errno| Fault::Read("fstat", errno))?;
        let is_still = |stat: &Stat| node.is_still(&self.tree.key(stat));
        if !is_still(&stat) {
            return Err(Fault::Changed);
        }
        if let Some(first) = node.first_name.and_then(|first| self.first_names.get(&(first as usize))) {
            return self.link(first, dir, to_name);
        }
        match node.kind {
            // Of a context docker makes an empty file, and no layer has any.
            NodeKind::Socket if self.tree.is_of_layers() => return Ok(()),
            NodeKind::File | NodeKind::Socket => {
                let mode = self.mode(node.mode, false);
                let file = create(dir, to_name, mode)?;
                let mut xattrs = Vec::new();
                if node.kind == NodeKind::File {
                    let source = confined::reopen(found.as_fd()).map_err(|e| Fault::Read("open", e))?;
                    let sum = self.copier.copy(&source, &file, &stat, node.is_racy())?;
                    xattrs = attributes::portable_xattrs(source.as_fd())
                        .map_err(|e| Fault::Read("fgetxattr", e))?;
                    let after = rustix::fs::fstat(&source).map_err(|errno| Fault::Read("fstat", errno))?;
                    let agrees = sum.is_none_or(|sum| self.agrees(index, sum, &xattrs));
                    if !is_still(&after) || !agrees {
                        return Err(Fault::Changed);
                    }
                }
                set(file.as_fd(), self.owner(node.uid, node.gid), mode, &xattrs)?;
                call("futimens", rustix::fs::futimens(&file, &attributes::times(self.time(&stat))))?;
            }
            _ => self.special(index, &found, &stat, dir, to_name)?,
        }
        if stat.st_nlink > 1 {
            let first = node.first_name.map_or(index, |first| first as usize);
            self.first_names.insert(first, to.to_vec());
        }
        Ok(())
    }

    fn agrees(&self, index: usize, bytes: Sum, xattrs: &Xattrs) -> bool {
        self.listing.agrees(index, &crate::listing::with_xattrs(bytes, xattrs))
    }

    /// Makes another name of what was copied to `first`.
    fn link(&self, first: &[u8], dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
        let (first_dir, first_name) = self.target.parent(first)?;
        make_way(dir, name)?;
        call("linkat", rustix::fs::linkat(&first_dir, first_name, dir, name, AtFlags::empty()))
    }

    /// Copies what has no bytes.
    fn special(
        &self,
        index: usize,
        found: &OwnedFd,
        stat: &Stat,
        dir: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), Fault> {
        let node = self.listing.node(index);
        if overlay::is_whiteout(stat) {
            return Err(Fault::Refused("device 0:0 would be overlayfs's mark of a removed file"));
        }
        make_way(dir, name)?;
        match node.kind {
            NodeKind::Symlink => {
                let target = rustix::fs::readlinkat(found, "", Vec::new());
                let target = target.map_err(|errno| Fault::Read("readlinkat", errno))?;
                call("symlinkat", rustix::fs::symlinkat(target, dir, name))?;
            }
            _ => {
                let kind = FileType::from_raw_mode(stat.st_mode);
                let private = Mode::RUSR | Mode::WUSR;
                call("mknodat", rustix::fs::mknodat(dir, name, kind, private, stat.st_rdev))?;
            }
        }
        let (uid, gid) = self.owner(node.uid, node.gid);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        call("fchownat", rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        if node.kind != NodeKind::Symlink {
            let mode = Mode::from_raw_mode(self.mode(node.mode, false));
            call("fchmodat", rustix::fs::chmodat(dir, name, mode, AtFlags::empty()))?;
        }
        let times = attributes::times(self.time(stat));
        call("utimensat", rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW))
    }
}

fn time_of(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Makes a directory, or takes the one that is there.
fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => return call("mkdirat", made),
    }
    let stat = call("fstatat", rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))?;
    match overlay::is(&stat, FileType::Directory) {
        true => Ok(()),
        false => Err(Fault::Occupied("a directory can't replace what is no directory")),
    }
}

/// Removes what is no directory.
fn make_way(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Fault::Occupied("a file can't replace a directory")),
        Err(errno) => Err(Fault::Write("unlinkat", errno)),
    }
}

/// Makes a file, with no more permissions than `mode` has.
fn create(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode & 0o777);
    match rustix::fs::openat(dir, name, flags, mode) {
        Err(Errno::EXIST) => {
            make_way(dir, name)?;
            call("openat", rustix::fs::openat(dir, name, flags, mode))
        }
        made => call("openat", made),
    }
}

/// Gives a file its owner, mode and attributes; what it has already isn't set again, which costs a write of the file system's
/// journal each.
fn set(file: BorrowedFd<'_>, (uid, gid): (u32, u32), mode: u32, xattrs: &Xattrs) -> Result<(), Fault> {
    let stat = call("fstat", rustix::fs::fstat(file))?;
    let is_others = (stat.st_uid, stat.st_gid) != (uid, gid);
    if is_others {
        call("fchown", rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))?;
    }
    // A change of owner takes setuid and setgid away.
    if is_others || stat.st_mode & 0o7777 != mode {
        call("fchmod", rustix::fs::fchmod(file, Mode::from_raw_mode(mode)))?;
    }
    for (name, value) in xattrs {
        match rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            // As docker: a file system that has no such attributes loses them.
            Err(Errno::OPNOTSUPP) => {}
            set => call("fsetxattr", set)?,
        }
    }
    Ok(())
}

/// Opens the directory at a clean path of the target.
///
/// Errors: [`Error::WriteTree`].
pub fn open_directory(target: &Target, path: &[u8]) -> Result<OwnedFd, Error> {
    call("openat2", confined::open_directory(target.root(), path)).map_err(|fault| fault.at(path))
}

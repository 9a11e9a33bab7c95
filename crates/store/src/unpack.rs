//! Writing an archive's entries below a directory, and nowhere else.
//!
//! Invariants:
//! 1. No path is joined and opened: an entry's parent is resolved by `openat2` with the target as its root, so that
//!    symbolic links of the archive, absolute or with `..`, stay inside; the last component is never followed.
//! 2. Names are cleaned of leading slashes and dots; one with `..` is refused.
//! 3. A hard link's target is resolved in the same way.
//! 4. Only extended attributes that mean the same in any container are set ([`is_portable`]), on files and directories:
//!    none of overlayfs, none of a host's security modules. The others are left out.
//! 5. Owner, then mode, then attributes, then times: a chown clears setuid and file capabilities.
//! 6. Nothing is synced: the caller syncs the file system once.

use crate::error::Error;
use crate::remove::remove_tree;
use crate::tar::{Entry, EntryKind, Reader};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// What an archive may cost. Sizes given in headers are never trusted; these count what was really there.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub bytes_max: u64,
    /// Entries.
    pub entries_max: u64,
    /// Uncompressed bytes for each compressed one, once there are more than [`Limits::RATIO_FREE_BYTES`].
    pub ratio_max: u64,
}

impl Limits {
    /// Archives up to this size may be as compressible as they like.
    pub const RATIO_FREE_BYTES: u64 = 1 << 30;
}

impl Default for Limits {
    /// Twenty times the largest public images; root file systems shrink to a half or a tenth, bombs to a thousandth.
    fn default() -> Limits {
        Limits { bytes_max: 1 << 40, entries_max: 10_000_000, ratio_max: 200 }
    }
}

/// Most bytes of directories' names kept until the end, to set their times after their content.
const DIRECTORY_NAMES_BYTES_MAX: usize = 64 << 20;

/// How often `openat2` is asked again when the kernel could not tell whether a path stayed inside.
const RESOLVE_TRIES_MAX: usize = 16;

/// What an unpacked archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries.
    pub entries: u64,
    /// Bytes of files' content.
    pub bytes: u64,
}

/// Unpacks what is left of `archive` below `root`, an empty directory that nobody else changes.
pub fn unpack<R: BufRead>(
    archive: &mut Reader<R>,
    root: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    let mut unpacker = Unpacker {
        root,
        parent: None,
        directories: Vec::new(),
        directory_names_bytes: 0,
        unpacked: Unpacked::default(),
    };
    while let Some(entry) = archive.next_entry().map_err(crate::import::archive_error)? {
        unpacker.unpacked.entries += 1;
        if unpacker.unpacked.entries > limits.entries_max {
            return Err(Error::Limit { what: "entries", max: limits.entries_max });
        }
        unpacker.place(&entry, archive).map_err(|fault| fault.at(&entry.name))?;
    }
    unpacker.set_directory_times()?;
    Ok(unpacker.unpacked)
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    /// The directory that the last entry lay in, by its path below the root.
    parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories in the archive's order, with their times.
    directories: Vec<(Vec<u8>, (i64, u32))>,
    directory_names_bytes: usize,
    unpacked: Unpacked,
}

/// Why one entry can't be placed.
enum Fault {
    Call(&'static str, Errno),
    Refused(&'static str),
    Other(Error),
}

impl Fault {
    fn at(self, name: &[u8]) -> Error {
        let entry = name.escape_ascii().to_string();
        match self {
            Fault::Call(call, source) => Error::Unpack { entry, call, source: source.into() },
            Fault::Refused(reason) => Error::Entry { entry, reason },
            Fault::Other(error) => error,
        }
    }
}

fn call<T>(name: &'static str, result: Result<T, Errno>) -> Result<T, Fault> {
    result.map_err(|error| Fault::Call(name, error))
}

impl Unpacker<'_> {
    fn place<R: BufRead>(&mut self, entry: &Entry, archive: &mut Reader<R>) -> Result<(), Fault> {
        let path = clean(&entry.name)?;
        let Some((parent, name)) = split(&path) else {
            return self.place_root(entry);
        };
        let parent = self.open_parent(parent)?;
        let (parent, name) = (parent.as_fd(), OsStr::from_bytes(name));
        match &entry.kind {
            EntryKind::File { .. } => self.place_file(entry, parent, name, archive),
            EntryKind::Directory => {
                let dir = self.place_directory(parent, name)?;
                set_attributes(dir.as_fd(), entry)?;
                self.remember_directory(path, entry.mtime)
            }
            EntryKind::HardLink { target } => self.place_hard_link(target, parent, name),
            EntryKind::Symlink { target } => {
                let target = OsStr::from_bytes(target);
                self.replacing(parent, name, "symlinkat", || rustix::fs::symlinkat(target, parent, name))?;
                set_owner(parent, name, entry)?;
                set_time(parent, name, entry)
            }
            EntryKind::CharDevice { major: 0, minor: 0 } => {
                Err(Fault::Refused("device 0:0 is overlayfs's mark of a removed file"))
            }
            EntryKind::CharDevice { major, minor } => {
                self.place_node(entry, parent, name, FileType::CharacterDevice, (*major, *minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                self.place_node(entry, parent, name, FileType::BlockDevice, (*major, *minor))
            }
            EntryKind::Fifo => self.place_node(entry, parent, name, FileType::Fifo, (0, 0)),
        }
    }

    /// The root's own entry, `./`.
    fn place_root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != EntryKind::Directory {
            return Err(Fault::Refused("it has the root's name and is no directory"));
        }
        set_attributes(self.root, entry)?;
        self.remember_directory(b".".to_vec(), entry.mtime)
    }

    fn place_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        archive: &mut Reader<R>,
    ) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file =
            self.replacing(parent, name, "openat", || rustix::fs::openat(parent, name, flags, private))?;
        loop {
            let bytes = archive.fill().map_err(|e| Fault::Other(crate::import::archive_error(e)))?;
            if bytes.is_empty() {
                break;
            }
            let written = call("write", rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes)))?;
            archive.consume(written);
            self.unpacked.bytes += written as u64;
        }
        set_attributes(file.as_fd(), entry)?;
        call("futimens", rustix::fs::futimens(&file, &times(entry.mtime)))
    }

    /// Makes a directory, or takes the one that is there.
    fn place_directory(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Fault> {
        let there = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(_) => false,
        };
        if !there {
            self.replacing(parent, name, "mkdirat", || rustix::fs::mkdirat(parent, name, Mode::RWXU))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        call("openat", rustix::fs::openat(parent, name, flags, Mode::empty()))
    }

    fn place_hard_link(&mut self, target: &[u8], parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
        let target = clean(target).map_err(|_| Fault::Refused("its hard link leaves the archive"))?;
        let Some((target_parent, target_name)) = split(&target) else {
            return Err(Fault::Refused("its hard link points at the root"));
        };
        let missing = || Fault::Refused("its hard link points at nothing that came before it");
        let target_parent = match resolve(self.root, target_parent) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            resolved => call("openat2", resolved)?,
        };
        let target_name = OsStr::from_bytes(target_name);
        let identity = |dir: BorrowedFd<'_>, name: &OsStr| {
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
        };
        let Ok(source) = identity(target_parent.as_fd(), target_name) else { return Err(missing()) };
        if identity(parent, name) == Ok(source) {
            return Ok(());
        }
        self.replacing(parent, name, "linkat", || {
            rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty())
        })
    }

    fn place_node(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<(), Fault> {
        // What the kernel keeps of a device number; more would come out as another device.
        if major > 0xfff || minor > 0xf_ffff {
            return Err(Fault::Refused("its device number is too large for Linux"));
        }
        let device = rustix::fs::makedev(major, minor);
        let private = Mode::RUSR | Mode::WUSR;
        self.replacing(parent, name, "mknodat", || rustix::fs::mknodat(parent, name, kind, private, device))?;
        set_owner(parent, name, entry)?;
        // Follows symbolic links, and this is none: it was made above, and nobody else works here.
        let mode = Mode::from_raw_mode(entry.mode);
        call("fchmodat", rustix::fs::chmodat(parent, name, mode, AtFlags::empty()))?;
        set_time(parent, name, entry)
    }

    /// Makes something called `name`; what has the name already is removed first, as docker does.
    fn replacing<T>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        what: &'static str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        match make() {
            Err(Errno::EXIST) => {
                // What the remembered path resolved to may be gone with it.
                self.parent = None;
                call("unlinkat", remove_tree(parent, Path::new(name)))?;
                call(what, make())
            }
            made => call(what, made),
        }
    }

    /// The directory at `path` below the root, made with its parents where missing.
    fn open_parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        if let Some((known, fd)) = &self.parent
            && known == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match resolve(self.root, path) {
            Err(Errno::NOENT) => self.make_parents(path)?,
            resolved => call("openat2", resolved)?,
        };
        let fd = Rc::new(fd);
        self.parent = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Walks down `path`, one component at a time, making what is missing as 0755 of root.
    fn make_parents(&self, path: &[u8]) -> Result<OwnedFd, Fault> {
        let mut dir = call("openat2", resolve(self.root, b"."))?;
        let mut end = 0;
        for component in path.split(|byte| *byte == b'/') {
            end += component.len() + usize::from(end != 0);
            let name = OsStr::from_bytes(component);
            dir = match open_component(&dir, name) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    call("mkdirat", rustix::fs::mkdirat(&dir, name, Mode::RWXU))?;
                    let next = call("openat", open_component(&dir, name))?;
                    let mode = Mode::from_raw_mode(0o755);
                    call("fchmodat", rustix::fs::chmodat(&dir, name, mode, AtFlags::empty()))?;
                    next
                }
                // A symbolic link: what it means depends on the whole path.
                Err(Errno::NOTDIR | Errno::LOOP) => call("openat2", resolve(self.root, &path[..end]))?,
                Err(error) => return Err(Fault::Call("openat", error)),
            };
        }
        Ok(dir)
    }

    fn remember_directory(&mut self, path: Vec<u8>, mtime: (i64, u32)) -> Result<(), Fault> {
        self.directory_names_bytes += path.len();
        if self.directory_names_bytes > DIRECTORY_NAMES_BYTES_MAX {
            let max = DIRECTORY_NAMES_BYTES_MAX as u64;
            return Err(Fault::Other(Error::Limit { what: "bytes of directory names", max }));
        }
        self.directories.push((path, mtime));
        Ok(())
    }

    /// Directories' times, which everything placed in them has changed.
    fn set_directory_times(&mut self) -> Result<(), Error> {
        for (path, mtime) in std::mem::take(&mut self.directories) {
            let set = || {
                let (parent, name) = split(&path).unwrap_or((b".", b"."));
                let parent = resolve(self.root, parent)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(&parent, OsStr::from_bytes(name), flags, Mode::empty())?;
                rustix::fs::futimens(&dir, &times(mtime))
            };
            match set() {
                // A later entry has replaced it.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(Fault::Call("futimens", error).at(&path)),
            }
        }
        Ok(())
    }
}

/// Opens a directory below `root` to work in, with `root` as the root of every symbolic link.
fn resolve(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let path = if path.is_empty() { b"." } else { path };
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), confined) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES_MAX => {}
            resolved => return resolved,
        }
    }
}

fn open_component(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The name relative to the root, without empty and `.` components; empty for the root itself.
fn clean(name: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut cleaned = Vec::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Fault::Refused("its name leads out of the archive with '..'")),
            _ => {
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(component);
            }
        }
    }
    match name {
        b"" => Err(Fault::Refused("its name is empty")),
        _ => Ok(cleaned),
    }
}

/// A cleaned path's parent (empty for the root) and last component; `None` for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() || path == b"." => None,
        None => Some((b"", path)),
    }
}

fn set_attributes(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    call("fchown", rustix::fs::fchown(fd, Some(uid), Some(gid)))?;
    call("fchmod", rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_portable(name)) {
        call("fsetxattr", rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty()))?;
    }
    Ok(())
}

fn set_owner(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    let owned = rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    call("fchownat", owned)
}

fn set_time(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
    let set = rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW);
    call("utimensat", set)
}

/// Whether an extended attribute may come from an archive. `user.overlay.` is what `trusted.overlay.` is to an
/// unprivileged overlay.
fn is_portable(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

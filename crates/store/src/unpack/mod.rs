//! Writing an archive's entries below a directory, and nowhere else.
//!
//! Invariants:
//! 1. No path is joined and opened: an entry's parent is resolved by `openat2` with the target as its root, so that
//!    symbolic links of the archive, absolute or with `..`, stay inside; the last component is never followed.
//! 2. Names are cleaned of leading slashes and dots; one with `..` is refused.
//! 3. A hard link's target is resolved in the same way.
//! 4. Only extended attributes that mean the same in any container are set ([`crate::attributes::is_portable`]), on
//!    files and directories. The others are left out.
//! 5. Owner, then mode, then attributes, then times: a chown clears setuid and file capabilities.
//! 6. Directories get all of that when everything is in its place: a directory with setgid or a default ACL would hand
//!    them on to what is made in it.
//! 7. A whiteout speaks of lower layers only, wherever in the archive it stands: what the same layer places, stays.
//! 8. Nothing is synced: the caller syncs the file system once.
//!
//! An archive is unpacked into a directory of its own by [`unpack`], and among files that are in use by [`unpack_into`]:
//! there a process may exchange names meanwhile, so that parents are found through no link at all, and nothing is
//! changed by its name once it's made.
//!
//! - `names`: what an entry's name means
//! - `parents`: the directories that entries lie in
//! - `directories`: attributes of directories, for the end
//! - [`pending`]: what needs the layers below, which may be unpacked at the same time; `relocate`: what they rename

mod directories;
mod names;
mod parents;
pub mod pending;
mod relocate;

pub(crate) use names::{OPAQUE, WHITEOUT, split as split_path};
pub use pending::Pending;

use crate::attributes;
use crate::confined;
use crate::error::Error;
use crate::overlay;
use crate::pack::is_of_kernel;
use crate::remove::remove_tree;
use crate::tar::{Entry, EntryKind, Reader};
use directories::Directories;
use names::{Wanted, clean, split};
use parents::Parents;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What an archive may cost. Sizes given in headers are never trusted; these count what was really there.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the uncompressed archive; also of its files with the holes of sparse ones.
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

/// What names like `.wh.x` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Files like others: the archive is a whole file system.
    AreFiles,
    /// Whiteouts: the archive is a layer. They become overlayfs's, and a hard link may point into a lower layer.
    OfLayer,
}

/// What an unpacked archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries.
    pub entries: u64,
    /// Bytes of files' content.
    pub bytes: u64,
    /// Which blocks of 65,536 ids its owners are in, apart from the first: at most [`ID_BLOCKS_MAX`] of them.
    pub id_blocks: BTreeSet<u32>,
    /// What is left to do when the layers below are there. Nothing with [`Whiteouts::AreFiles`].
    pub pending: Pending,
}

/// Ids of a block, as many as a container has at least.
pub const BLOCK_IDS: u32 = 65_536;

/// Most blocks that are told: more of them than a container can have. Source: user_namespaces(7), 340 lines of a map.
pub const ID_BLOCKS_MAX: usize = 341;

/// Most bytes of names kept until the end, so that directories get their times after their content.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// Unpacks what is left of `archive` below `root`, an empty directory that nobody else changes.
///
/// Errors: [`Error::Archive`], [`Error::Entry`], [`Error::Unpack`], [`Error::Limit`], [`Error::ReadArchive`]; what was
/// unpacked until then is left. Source: image-spec layer.md, "Applying Changesets".
pub fn unpack<R: BufRead>(
    archive: &mut Reader<R>,
    root: BorrowedFd<'_>,
    whiteouts: Whiteouts,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    Unpacker::new(Place { root, beyond: None }, whiteouts, None, limits).run(archive)
}

/// What files get that are copied to where others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// The owners that the archive names.
    Archived,
    /// All this user and group; directories that are there already keep theirs.
    One(u32, u32),
}

/// A directory in use, to which files are copied.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The directory.
    pub directory: BorrowedFd<'a>,
    /// Where symbolic links in entries' names lead: the root of its tree, and its own clean path below that. Without
    /// it, such entries are refused.
    pub links: Option<(BorrowedFd<'a>, &'a [u8])>,
    /// Who gets the files.
    pub owners: Owners,
    /// Whether device nodes are made; else they are refused.
    pub devices: bool,
}

/// Unpacks what is left of `archive` into a directory that has files already and is in use: directories are merged, other
/// files replaced; neither takes the other's place. The directory's own entry is passed over.
///
/// Errors: as [`unpack`]. Source of the rules: moby, `archive.Unpack` with `NoOverwriteDirNonDir`.
pub fn unpack_into<R: BufRead>(
    archive: &mut Reader<R>,
    destination: &Destination<'_>,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    let place = Place { root: destination.directory, beyond: Some(destination.links) };
    Unpacker::new(place, Whiteouts::AreFiles, Some(*destination), limits).run(archive)
}

/// Unpacks what is left of `archive` over what is at `root`, a directory that nobody else changes and that links of the
/// archive don't lead out of: directories are merged, everything else is replaced. The directory's own entry is passed
/// over.
///
/// Errors: as [`unpack`]. Source of the rules: BuildKit, `solver/llbsolver/file`, for `ADD`.
pub fn unpack_over<R: BufRead>(
    archive: &mut Reader<R>,
    root: BorrowedFd<'_>,
    owners: Owners,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    let unpacker = Unpacker::new(Place { root, beyond: None }, Whiteouts::AreFiles, None, limits);
    Unpacker { over: Some(owners), ..unpacker }.run(archive)
}

/// Where entries go, and how the directories they lie in are found.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    root: BorrowedFd<'a>,
    /// For a directory in use: where links lead, if anywhere.
    beyond: Option<Option<(BorrowedFd<'a>, &'a [u8])>>,
}

impl Place<'_> {
    /// Opens the directory at the clean `path`.
    fn resolve(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let Some(links) = self.beyond else { return confined::resolve(self.root, path) };
        let found = match (confined::resolve_straight(self.root, path), links) {
            (Err(Errno::LOOP | Errno::NOTDIR), Some((root, own))) => {
                confined::resolve_across(root, &crate::pack::join(own, path))
            }
            (found, _) => found,
        }?;
        self.admits(&found).map(|()| found)
    }

    /// What became of a change of owner.
    fn owned(&self, name: &'static str, result: Result<(), Errno>) -> Result<(), Fault> {
        match result {
            Err(Errno::INVAL) if self.beyond.is_some() => {
                Err(Fault::Refused("its owner's id is none of the container's"))
            }
            result => call(name, result),
        }
    }

    /// EXDEV for a directory of the kernel's own file systems.
    fn admits(&self, directory: &OwnedFd) -> Result<(), Errno> {
        match self.beyond.is_some() && is_of_kernel(directory.as_fd())? {
            true => Err(Errno::XDEV),
            false => Ok(()),
        }
    }
}

impl<'a> Unpacker<'a> {
    fn new(
        place: Place<'a>,
        whiteouts: Whiteouts,
        merging: Option<Destination<'a>>,
        limits: &'a Limits,
    ) -> Unpacker<'a> {
        Unpacker {
            place,
            whiteouts,
            merging,
            over: None,
            limits,
            made: Made::probe(place.root),
            parents: Parents::new(place),
            directories: Directories::default(),
            names_bytes: 0,
            file_bytes: 0,
            unpacked: Unpacked::default(),
        }
    }

    fn run<R: BufRead>(mut self, archive: &mut Reader<R>) -> Result<Unpacked, Error> {
        let limits = self.limits;
        while let Some(mut entry) = archive.next_entry().map_err(crate::import::archive_error)? {
            self.unpacked.entries += 1;
            if self.unpacked.entries > limits.entries_max {
                return Err(Error::Limit { what: "entries", max: limits.entries_max });
            }
            let owners = self.merging.map(|merging| merging.owners).or(self.over);
            if let Some(Owners::One(uid, gid)) = owners {
                (entry.uid, entry.gid) = (uid, gid);
            }
            for id in [entry.uid, entry.gid] {
                if id >= BLOCK_IDS && self.unpacked.id_blocks.len() < ID_BLOCKS_MAX {
                    self.unpacked.id_blocks.insert(id / BLOCK_IDS);
                }
            }
            let placed = self.place(&mut entry, archive);
            placed.map_err(|fault| fault.at(&entry.name))?;
        }
        self.directories.set_attributes(self.place)?;
        Ok(self.unpacked)
    }
}

struct Unpacker<'a> {
    place: Place<'a>,
    whiteouts: Whiteouts,
    /// What the directory in use is, if it is one.
    merging: Option<Destination<'a>>,
    /// Whose the files become that are laid over others.
    over: Option<Owners>,
    limits: &'a Limits,
    made: Made,
    parents: Parents<'a>,
    directories: Directories,
    /// Bytes of names kept until the end.
    names_bytes: usize,
    /// Bytes of files with their holes.
    file_bytes: u64,
    unpacked: Unpacked,
}

/// What a file has when it has just been made here: then it needn't be set again.
#[derive(Debug, Clone, Copy)]
struct Made {
    owner: Option<(u32, u32)>,
    /// Permission bits that it gets as they are asked for.
    mode: Option<u32>,
}

impl Made {
    const UNKNOWN: Made = Made { owner: None, mode: None };

    /// Tries it with a file that has no name. The file creation mask can't be asked for without changing it, and group
    /// and mode also depend on the directory and its file system.
    fn probe(root: BorrowedFd<'_>) -> Made {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let stat = rustix::fs::openat(root, ".", flags, all).and_then(|file| rustix::fs::fstat(&file));
        match (stat, rustix::fs::fstat(root)) {
            // In a directory with setgid, new directories get it as well.
            (Ok(stat), Ok(root)) if root.st_mode & 0o2000 == 0 => {
                Made { owner: Some((stat.st_uid, stat.st_gid)), mode: Some(stat.st_mode & 0o777) }
            }
            _ => Made::UNKNOWN,
        }
    }

    fn has_owner(&self, entry: &Entry) -> bool {
        self.owner == Some((entry.uid, entry.gid))
    }

    fn has_mode(&self, entry: &Entry) -> bool {
        self.mode.is_some_and(|mode| entry.mode & !mode == 0)
    }
}

/// The path below the root, without `.` and `//`, that an entry of a layer places something at; `None` for whiteouts, the
/// root's own entry, and names that no entry may have.
pub(crate) fn placed_path(name: &[u8]) -> Option<Vec<u8>> {
    let path = clean(name).ok()?;
    match names::wanted(&path, Whiteouts::OfLayer) {
        Ok(Wanted::Place { .. }) => Some(path),
        _ => None,
    }
}

/// Why one entry can't be placed.
#[derive(Debug)]
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
    fn place<R: BufRead>(&mut self, entry: &mut Entry, archive: &mut Reader<R>) -> Result<(), Fault> {
        let path = clean(&entry.name)?;
        let (parent, name) = match names::wanted(&path, self.whiteouts)? {
            Wanted::Place { parent, name } => (parent, OsStr::from_bytes(name)),
            Wanted::Root => return self.place_root(entry),
            Wanted::Hide { parent, name } => return self.hide(parent, OsStr::from_bytes(name)),
            Wanted::HideAll { directory } => return self.hide_all(directory),
            Wanted::Nothing => return Ok(()),
        };
        self.unpacked.pending.forget(&path, entry.kind == EntryKind::Directory);
        let parent = self.open_parent(parent)?;
        let parent = parent.as_fd();
        match &entry.kind {
            EntryKind::File { size } => self.place_file(entry, *size, parent, name, archive),
            EntryKind::Directory => {
                let fresh = self.place_directory(entry, parent, name)?;
                self.remember_directory(path, entry, fresh)
            }
            EntryKind::HardLink { target } => self.place_hard_link(&path, target, parent, name),
            EntryKind::Symlink { target } => {
                let target = OsStr::from_bytes(target);
                self.replacing(parent, name, "symlinkat", || rustix::fs::symlinkat(target, parent, name))?;
                self.set_owner(parent, name, entry)?;
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
    fn place_root(&mut self, entry: &mut Entry) -> Result<(), Fault> {
        if entry.kind != EntryKind::Directory {
            return Err(Fault::Refused("it has the root's name and is no directory"));
        }
        if self.merging.is_some() || self.over.is_some() {
            return Ok(());
        }
        self.remember_directory(Vec::new(), entry, false)
    }

    fn place_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        size: u64,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        archive: &mut Reader<R>,
    ) -> Result<(), Fault> {
        let max = self.limits.bytes_max;
        self.file_bytes = self.file_bytes.saturating_add(size);
        if self.file_bytes > max {
            return Err(Fault::Other(Error::Limit { what: "bytes", max }));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file =
            self.replacing(parent, name, "openat", || rustix::fs::openat(parent, name, flags, mode))?;
        self.unpacked.bytes += write_content(&file, size, archive, self.merging.is_some())?;
        if !self.made.has_owner(entry) {
            let (uid, gid) = attributes::owner(entry);
            self.place.owned("fchown", rustix::fs::fchown(&file, uid, gid))?;
        }
        if !self.made.has_mode(entry) {
            call("fchmod", rustix::fs::fchmod(&file, attributes::mode(entry)))?;
        }
        call("fsetxattr", attributes::set_xattrs(file.as_fd(), entry))?;
        call("futimens", rustix::fs::futimens(&file, &attributes::times(entry.mtime)))
    }

    /// Makes a directory, or takes the one that is there; says whether it is new.
    fn place_directory(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<bool, Fault> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        match rustix::fs::mkdirat(parent, name, mode) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Fault::Call("mkdirat", error)),
        }
        let stat = call("fstatat", rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))?;
        if overlay::is(&stat, FileType::Directory) {
            return Ok(false);
        }
        if self.merging.is_some() {
            return Err(Fault::Refused("a directory can't take the place of a file"));
        }
        self.replacing(parent, name, "mkdirat", || rustix::fs::mkdirat(parent, name, mode))?;
        // What this layer had here before, a whiteout or a file, hid what lower layers have.
        if self.whiteouts == Whiteouts::OfLayer {
            mark_opaque(parent, name)?;
        }
        Ok(true)
    }

    fn place_hard_link(
        &mut self,
        path: &[u8],
        target: &[u8],
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), Fault> {
        let target = clean(target).map_err(|_| Fault::Refused("its hard link leaves the archive"))?;
        let Some((target_parent, target_name)) = split(&target) else {
            return Err(Fault::Refused("its hard link points at the root"));
        };
        let of_layer = self.whiteouts == Whiteouts::OfLayer;
        if of_layer && names::has_whiteout(&target) {
            return Err(Fault::Refused("its hard link points at a whiteout"));
        }
        let target_parent = match self.place.resolve(target_parent) {
            Err(Errno::NOENT | Errno::NOTDIR) => return self.link_later(path, target, parent, name),
            resolved => call("openat2", resolved)?,
        };
        let target_name = OsStr::from_bytes(target_name);
        let stat = |dir: BorrowedFd<'_>, name| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let source = match stat(target_parent.as_fd(), target_name) {
            Ok(source) if !overlay::is_whiteout(&source) => source,
            _ => return self.link_later(path, target, parent, name),
        };
        let link = || rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {}
            linked => return call("linkat", linked),
        }
        match stat(parent, name) {
            Ok(there) if (there.st_dev, there.st_ino) == (source.st_dev, source.st_ino) => Ok(()),
            _ => self.replacing(parent, name, "linkat", link),
        }
    }

    /// Leaves a hard link until the layers below are there, which may hold its target.
    fn link_later(
        &mut self,
        path: &[u8],
        target: Vec<u8>,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), Fault> {
        if self.whiteouts == Whiteouts::AreFiles {
            return Err(Fault::Refused("its hard link points at nothing that came before it"));
        }
        self.count_name(path.len() + target.len())?;
        self.parents.forget();
        call("unlinkat", remove_tree(parent, Path::new(name)))?;
        self.unpacked.pending.add_link(path.to_vec(), target);
        Ok(())
    }

    fn place_node(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<(), Fault> {
        if kind != FileType::Fifo && self.merging.is_some_and(|merging| !merging.devices) {
            return Err(Fault::Refused("devices aren't copied into containers"));
        }
        // What the kernel keeps of a device number; more would come out as another device.
        if major > 0xfff || minor > 0xf_ffff {
            return Err(Fault::Refused("its device number is too large for Linux"));
        }
        let device = rustix::fs::makedev(major, minor);
        let private = Mode::RUSR | Mode::WUSR;
        self.replacing(parent, name, "mknodat", || rustix::fs::mknodat(parent, name, kind, private, device))?;
        self.set_owner(parent, name, entry)?;
        let mode = attributes::mode(entry);
        match self.merging {
            // Follows symbolic links, and this is none: it was made above, and nobody else works here.
            None => call("fchmodat", rustix::fs::chmodat(parent, name, mode, AtFlags::empty()))?,
            Some(_) => call("fchmodat", set_mode_of_node(parent, name, kind, mode))?,
        }
        set_time(parent, name, entry)
    }

    /// A whiteout: hides what lower layers have, unless something of this layer stands there and does it already.
    fn hide(&mut self, parent: &[u8], name: &OsStr) -> Result<(), Fault> {
        let path = crate::pack::join(parent, name.as_bytes());
        let parent = self.open_parent(parent)?;
        match overlay::make_whiteout(parent.as_fd(), name) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Fault::Call("mknodat", error)),
            Ok(()) => {
                self.count_name(path.len())?;
                self.unpacked.pending.add_whiteout(path);
                return Ok(());
            }
        }
        let stat = call("fstatat", rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW))?;
        if !overlay::is(&stat, FileType::Directory) {
            return Ok(());
        }
        self.unpacked.pending.forget_implied(&path);
        mark_opaque(parent.as_fd(), name)
    }

    /// The whiteout of all that lower layers have in `directory`.
    fn hide_all(&mut self, directory: &[u8]) -> Result<(), Fault> {
        if directory.is_empty() {
            self.unpacked.pending.hide_all();
            return Ok(());
        }
        let directory = self.open_parent(directory)?;
        mark_opaque(directory.as_fd(), OsStr::new("."))
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
                if self.merging.is_some() {
                    remove_file(parent, name)?;
                    return call(what, make());
                }
                // What the remembered paths resolved to may be gone with it.
                self.parents.forget();
                call("unlinkat", remove_tree(parent, Path::new(name)))?;
                call(what, make())
            }
            made => call(what, made),
        }
    }

    fn open_parent(&mut self, path: &[u8]) -> Result<std::rc::Rc<OwnedFd>, Fault> {
        let mut implied = Vec::new();
        let fd = self.parents.open(path, self.whiteouts, &mut implied)?;
        if self.whiteouts == Whiteouts::OfLayer {
            for path in implied {
                self.count_name(path.len())?;
                self.unpacked.pending.add_implied(path);
            }
        }
        Ok(fd)
    }

    fn remember_directory(&mut self, path: Vec<u8>, entry: &mut Entry, fresh: bool) -> Result<(), Fault> {
        let xattrs = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.count_name(path.len() + xattrs)?;
        self.unpacked.pending.forget_implied(&path);
        let made = match self.merging.map(|merging| merging.owners) {
            _ if fresh => self.made,
            Some(Owners::One(uid, gid)) => Made { owner: Some((uid, gid)), mode: None },
            _ => Made::UNKNOWN,
        };
        self.directories.add(path, entry, made);
        Ok(())
    }

    fn count_name(&mut self, bytes: usize) -> Result<(), Fault> {
        self.names_bytes += bytes + directories::OVERHEAD_BYTES;
        if self.names_bytes > NAMES_BYTES_MAX {
            let max = NAMES_BYTES_MAX as u64;
            return Err(Fault::Other(Error::Limit { what: "bytes of directory names", max }));
        }
        Ok(())
    }

    fn set_owner(&self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
        if self.made.has_owner(entry) {
            return Ok(());
        }
        let (uid, gid) = attributes::owner(entry);
        self.place.owned("fchownat", rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
    }
}

/// Sets the mode of what is called `name`, if it's still of this kind.
fn set_mode_of_node(parent: BorrowedFd<'_>, name: &OsStr, kind: FileType, mode: Mode) -> Result<(), Errno> {
    let node = confined::open_path(parent, name.as_bytes())?;
    match overlay::is(&rustix::fs::fstat(&node)?, kind) {
        true => confined::set_mode(node.as_fd(), mode),
        false => Ok(()),
    }
}

/// Removes what is no directory.
fn remove_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Fault::Refused("a file can't take the place of a directory")),
        Err(error) => Err(Fault::Call("unlinkat", error)),
    }
}

/// Pieces of zeros from this size on become holes.
const HOLE_BYTES_MIN: usize = 4096;

/// Writes the current entry's content to the empty `file` and makes it `size` bytes long, zeros as holes if `sparsely`;
/// returns the bytes written.
fn write_content<R: BufRead>(
    file: &OwnedFd,
    size: u64,
    archive: &mut Reader<R>,
    sparsely: bool,
) -> Result<u64, Fault> {
    let (mut at, mut sum) = (0, 0);
    loop {
        let position = archive.position();
        let bytes = archive.fill().map_err(|e| Fault::Other(crate::import::archive_error(e)))?;
        if bytes.is_empty() {
            break;
        }
        if sparsely && bytes.len() >= HOLE_BYTES_MIN && bytes.iter().all(|byte| *byte == 0) {
            let length = bytes.len();
            archive.consume(length);
            continue;
        }
        if position != at {
            call("lseek", rustix::fs::seek(file, rustix::fs::SeekFrom::Start(position)))?;
        }
        let written = call("write", rustix::io::retry_on_intr(|| rustix::io::write(file, bytes)))?;
        archive.consume(written);
        at = position + written as u64;
        sum += written as u64;
    }
    if at != size {
        call("ftruncate", rustix::fs::ftruncate(file, size))?;
    }
    Ok(sum)
}

fn mark_opaque(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = call("openat", rustix::fs::openat(parent, name, flags, Mode::empty()))?;
    call("fsetxattr", overlay::make_opaque(&dir))
}

fn set_time(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
    let times = attributes::times(entry.mtime);
    call("utimensat", rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW))
}

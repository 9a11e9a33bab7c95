//! Archiving trees that somebody else filled, and may be changing: an overlay's upper directory as a layer, or a whole
//! root file system.
//!
//! Invariants:
//! 1. Every directory is opened by `openat2` from the root, beneath it, through no symbolic link and no mount; every
//!    file from its directory in the same way. Whoever swaps names meanwhile gets an archive of other things of the same
//!    tree.
//! 2. Nothing is opened but directories and regular files; what it is was seen on the very file that is opened.
//! 3. The same tree gives the same bytes: sorted, no names of users, no times but those of the files. A directory comes
//!    before what is in it, its files before its directories; a file's first name in this order is the file, the others
//!    are hard links to it.
//! 4. Descriptors and memory don't grow with the depth of the tree, but with a path's length, which is bounded.

use crate::confined::Mounts;
use crate::contents::{Contents, HashWriter};
use crate::error::Error;
use crate::inside::{self, inside};
use crate::overlay::{self, Merged, Opened, Shown};
use crate::tar::{Entry, EntryKind, NAME_BYTES_MAX, WriteError, Writer, Xattrs};
use crate::unpack::{OPAQUE, WHITEOUT};
use crate::{attributes, confined};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use types::digest::{DiffId, Sha256};
use types::oci::IdMapping;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries, whiteouts among them.
    pub entries: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// How many of them are extended headers: exact times, long names, attributes.
    pub extended_bytes: u64,
    /// Bytes of files' content.
    pub bytes: u64,
    /// Sockets, which no archive holds.
    pub sockets_skipped: u64,
}

/// Archives an overlay's upper directory as a layer over `lowers`, the trees below it, topmost first.
///
/// Removed files, and those that a socket has replaced, become whiteouts, emptied directories opaque ones, where there is
/// something below to be hidden.
/// Attributes of overlayfs and of the host's security modules stay behind. The root's own attributes are no part of a
/// layer, as with docker; neither are those of the root's directories named in `mounted_on` that only the upper has: they
/// were made to be mounted on. What is written can be hashed on its way into `out`, which gives the diff id.
///
/// Errors: [`Error::ReadTree`], [`Error::WriteArchive`]; [`Error::Unarchivable`] for a file that is called like a
/// whiteout, and for what an overlay with `redirect_dir` or `metacopy` leaves. Source: image-spec layer.md.
pub fn write_layer(
    upper: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    mounted_on: &[&[u8]],
    out: impl Write,
) -> Result<Written, Error> {
    Packer { mounted_on, ..Packer::new(upper, true, out) }.run(Some(Merged::root(lowers)))
}

/// What a layer is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// What its archive has.
    pub written: Written,
    /// Digest of the archive that [`write_layer`] writes.
    pub diff: DiffId,
    /// Digest of the content without times.
    pub content: Sha256,
    /// As [`crate::unpack::Unpacked::id_blocks`].
    pub id_blocks: BTreeSet<u32>,
}

/// Reads an overlay's upper directory once, as [`write_layer`] does, and tells what its layer is known by.
///
/// Errors: as [`write_layer`].
pub fn measure_layer(upper: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>]) -> Result<Measured, Error> {
    let mut diff = HashWriter::default();
    let mut contents = Contents::new();
    let packer = Packer::new(upper, true, &mut diff);
    let packer = Packer { contents: Some(&mut contents), ..packer };
    let written = packer.run(Some(Merged::root(lowers)))?;
    let (content, id_blocks) = contents.finish();
    Ok(Measured { written, diff: DiffId(diff.0.finish()), content, id_blocks })
}

/// Archives the tree below `root`, without what other file systems are mounted on in it. Sockets are left out.
///
/// Errors: [`Error::ReadTree`], [`Error::WriteArchive`], [`Error::Unarchivable`].
pub fn write_tree(root: BorrowedFd<'_>, out: impl Write) -> Result<Written, Error> {
    Packer::new(root, false, out).run(None)
}

/// [`write_tree`], with all times the same: seconds since the epoch.
///
/// Errors: as [`write_tree`].
pub fn write_tree_at(root: BorrowedFd<'_>, mtime: i64, out: impl Write) -> Result<Written, Error> {
    Packer { mtime: Some(mtime), ..Packer::new(root, false, out) }.run(None)
}

/// One file or directory to be archived, with what is mounted in it.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// The file or directory itself, open as a path.
    pub file: BorrowedFd<'a>,
    /// What it's called in the archive; what lies in a directory comes below that. `.` and `/` are the archive's root.
    pub name: &'a [u8],
    /// Of a tree whose ids are those of a user namespace's inside, its maps of users and of groups.
    pub ids: Option<(&'a [IdMapping], &'a [IdMapping])>,
}

/// Archives a file of any kind, or a directory with all that is in it, also what is mounted there; of the kernel's own
/// file systems ([`is_of_kernel`]) only their places. Sockets are left out.
///
/// Errors: [`Error::ReadTree`], [`Error::WriteArchive`], [`Error::Unarchivable`].
pub fn write_resource(resource: &Resource<'_>, out: impl Write) -> Result<Written, Error> {
    let at = |fault: Fault| fault.at(resource.name);
    let stat = call("fstat", rustix::fs::fstat(resource.file)).map_err(at)?;
    let directory = match overlay::is(&stat, FileType::Directory) {
        true => Some(call("open", confined::reopen(resource.file)).map_err(at)?),
        false => None,
    };
    let root = directory.as_ref().map_or(resource.file, AsFd::as_fd);
    let packer = Packer::new(root, false, out);
    let mut packer = Packer { mounts: Mounts::Show, name: resource.name, ids: resource.ids, ..packer };
    if directory.is_some() {
        return packer.run(None);
    }
    packer.found(resource.file, b"", &stat).map_err(at)?;
    packer.finish()
}

/// Whether a file lies in one of the file systems that show the kernel, where reading and writing mean something else.
pub fn is_of_kernel(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    // Source: linux/magic.h.
    const PROC: u64 = 0x9fa0;
    const SYS: u64 = 0x6265_6572;
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP2: u64 = 0x6367_7270;
    const DEVPTS: u64 = 0x1cd1;
    const DEBUG: u64 = 0x6462_6720;
    const TRACE: u64 = 0x7472_6163;
    const SECURITY: u64 = 0x7363_6673;
    const BPF: u64 = 0xcafe_4a11;
    const CONFIG: u64 = 0x6265_6570;
    const EFIVARS: u64 = 0xde5e_81e4;
    const MQUEUE: u64 = 0x1980_0202;
    const OF_KERNEL: [u64; 12] =
        [PROC, SYS, CGROUP, CGROUP2, DEVPTS, DEBUG, TRACE, SECURITY, BPF, CONFIG, EFIVARS, MQUEUE];
    let kind = rustix::fs::fstatfs(file)?.f_type as u64;
    Ok(OF_KERNEL.contains(&(kind & 0xffff_ffff)))
}

struct Packer<'a, W> {
    root: BorrowedFd<'a>,
    of_layer: bool,
    mounts: Mounts,
    /// Directories at the root that are left out where nothing is below.
    mounted_on: &'a [&'a [u8]],
    /// What the root is called in the archive; empty if it has no entry.
    name: &'a [u8],
    ids: Option<(&'a [IdMapping], &'a [IdMapping])>,
    writer: Writer<W>,
    /// First names of files that have several.
    links: HashMap<(u64, u64), Vec<u8>>,
    written: Written,
    contents: Option<&'a mut Contents>,
    /// The time of all entries, instead of their own.
    mtime: Option<i64>,
}

/// What the layers below have in a directory's place.
enum Below<'a> {
    Nothing,
    Directory(Merged<'a>),
    /// Something else, which the directory has replaced.
    Other,
}

/// A directory to be archived.
struct Todo<'a> {
    path: Vec<u8>,
    below: Below<'a>,
}

/// Why a tree's entry isn't archived.
enum Fault {
    Call(&'static str, Errno),
    Write(WriteError),
    Refused(&'static str),
}

impl Fault {
    fn at(self, path: &[u8]) -> Error {
        let entry = path.escape_ascii().to_string();
        match self {
            Fault::Call(call, source) => Error::ReadTree { entry, call, source: source.into() },
            Fault::Write(WriteError::Write(source)) => Error::WriteArchive(source),
            Fault::Write(WriteError::Content(source)) => Error::ReadTree { entry, call: "read", source },
            Fault::Write(WriteError::Shrunk) => {
                Error::Unarchivable { entry, reason: "it became shorter while it was read" }
            }
            Fault::Write(WriteError::Unwritable(reason)) | Fault::Refused(reason) => {
                Error::Unarchivable { entry, reason }
            }
        }
    }
}

fn call<T>(name: &'static str, result: Result<T, Errno>) -> Result<T, Fault> {
    result.map_err(|error| Fault::Call(name, error))
}

/// `None` for what isn't there any more, or lies on another mount.
fn if_there<T>(name: &'static str, result: Result<T, Errno>) -> Result<Option<T>, Fault> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(error) => Err(Fault::Call(name, error)),
    }
}

impl<'r, W: Write> Packer<'r, W> {
    fn new(root: BorrowedFd<'r>, of_layer: bool, out: W) -> Packer<'r, W> {
        Packer {
            root,
            of_layer,
            mounts: Mounts::Hide,
            mounted_on: &[],
            name: b"",
            ids: None,
            writer: Writer::new(out),
            links: HashMap::new(),
            written: Written::default(),
            contents: None,
            mtime: None,
        }
    }

    fn run(mut self, below: Option<Merged<'_>>) -> Result<Written, Error> {
        let below = below.map_or(Below::Nothing, Below::Directory);
        let mut todo = vec![Todo { path: Vec::new(), below }];
        while let Some(Todo { path, below }) = todo.pop() {
            let mut found = self.directory(&path, &below).map_err(|(fault, at)| fault.at(&at))?;
            todo.append(&mut found);
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Written, Error> {
        self.written.extended_bytes = self.writer.extended_bytes();
        self.written.archive_bytes = self.writer.bytes() + 2 * crate::tar::BLOCK_BYTES as u64;
        self.writer
            .finish()
            .map_err(|fault| Fault::Write(fault).at(b""))?
            .flush()
            .map_err(Error::WriteArchive)?;
        Ok(self.written)
    }

    /// Archives a directory and what is in it but directories; returns those, the first one last.
    fn directory<'b>(&mut self, path: &[u8], below: &Below<'b>) -> Result<Vec<Todo<'b>>, (Fault, Vec<u8>)> {
        let here = |fault| (fault, path.to_vec());
        let opened = confined::open_directory_in(self.root, path, self.mounts);
        if opened.as_ref().is_err_and(|error| *error == Errno::XDEV) {
            self.mount_point(path).map_err(here)?;
        }
        let Some(dir) = (match path {
            b"" => Some(call("openat2", opened).map_err(here)?),
            _ => if_there("openat2", opened).map_err(here)?,
        }) else {
            return Ok(Vec::new());
        };
        if self.mounts == Mounts::Show && call("fstatfs", is_of_kernel(dir.as_fd())).map_err(here)? {
            self.mount_point(path).map_err(here)?;
            return Ok(Vec::new());
        }
        let hides = self.directory_itself(path, dir.as_fd(), below).map_err(here)?;
        let below = match below {
            Below::Directory(below) if !hides => Some(call("openat2", below.open()).map_err(here)?),
            _ => None,
        };
        let mut directories = Vec::new();
        let names = if_there("getdents64", overlay::names(dir.as_fd())).map_err(here)?;
        for name in names.unwrap_or_default() {
            let path = join(path, &name);
            match self.child(dir.as_fd(), &name, &path, below.as_ref()) {
                Ok(found) => directories.extend(found),
                Err(fault) => return Err((fault, path)),
            }
        }
        directories.reverse();
        Ok(directories)
    }

    /// The directory's own entry; says whether it hides what is below.
    fn directory_itself(
        &mut self,
        path: &[u8],
        dir: BorrowedFd<'_>,
        below: &Below<'_>,
    ) -> Result<bool, Fault> {
        if self.of_layer && call("fgetxattr", overlay::is_redirected(dir))? {
            return Err(Fault::Refused(
                "it was renamed by an overlay with redirect_dir, which is not supported",
            ));
        }
        if path.is_empty() && self.name.is_empty() {
            return Ok(false);
        }
        let stat = call("fstat", rustix::fs::fstat(dir))?;
        let xattrs = call("fgetxattr", attributes::portable_xattrs(dir))?;
        let entry = attributes::entry_of(path.to_vec(), EntryKind::Directory, &stat, xattrs);
        self.append(entry, &mut io::empty())?;
        // Over what is no directory it hides nothing; docker says it all the same.
        let hides = !matches!(below, Below::Nothing)
            && call("fgetxattr", overlay::has_xattr(dir, overlay::OPAQUE_XATTR, b"y"))?;
        if hides {
            self.whiteout(join(path, OPAQUE))?;
        }
        Ok(hides)
    }

    /// The directory of this tree that another file system is mounted on can't be seen: its place is kept.
    fn mount_point(&mut self, path: &[u8]) -> Result<(), Fault> {
        let entry = Entry {
            name: path.to_vec(),
            kind: EntryKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
        };
        self.append(entry, &mut io::empty())
    }

    /// Archives what `dir` has by `name`; returns it if it is a directory.
    fn child<'b>(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        below: Option<&Opened<'b, '_>>,
    ) -> Result<Option<Todo<'b>>, Fault> {
        if self.name.len() + path.len() + 1 >= NAME_BYTES_MAX {
            return Err(Fault::Refused("its path is longer than 4094 bytes"));
        }
        let stat = rustix::fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = if_there("fstatat", stat)? else { return Ok(None) };
        if self.of_layer && name.starts_with(WHITEOUT) {
            return Err(Fault::Refused("its name would mean in a layer that another file is removed"));
        }
        let lookup =
            || call("fstatat", below.map(|below| below.lookup(name)).transpose()).map(Option::flatten);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = match lookup()? {
                    None if self.mounted_on.contains(&path) => return Ok(None),
                    None => Below::Nothing,
                    Some(Shown::Directory(below, _)) => Below::Directory(below),
                    Some(Shown::Other(_)) => Below::Other,
                };
                return Ok(Some(Todo { path: path.to_vec(), below }));
            }
            FileType::RegularFile | FileType::Symlink => {
                let Some(found) = if_there("openat2", confined::open_path_in(dir, name, self.mounts))? else {
                    return Ok(None);
                };
                let now = call("fstat", rustix::fs::fstat(&found))?;
                // Something else may have its name by now.
                if FileType::from_raw_mode(now.st_mode) == FileType::from_raw_mode(stat.st_mode) {
                    self.found(found.as_fd(), path, &now)?;
                }
            }
            FileType::CharacterDevice if self.of_layer && overlay::is_whiteout(&stat) => {
                if lookup()?.is_some() {
                    self.removed(path, name)?;
                }
            }
            FileType::Socket if self.of_layer => {
                self.special(path, &stat)?;
                // What it replaced is gone all the same.
                if lookup()?.is_some() {
                    self.removed(path, name)?;
                }
            }
            _ => self.special(path, &stat)?,
        }
        Ok(None)
    }

    /// Archives what is no directory, open as a path.
    fn found(&mut self, found: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> Result<(), Fault> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(found, path, stat),
            FileType::Symlink => {
                let target = call("readlinkat", rustix::fs::readlinkat(found, "", Vec::new()))?.into_bytes();
                self.other(path, EntryKind::Symlink { target }, stat)
            }
            _ => self.special(path, stat),
        }
    }

    fn special(&mut self, path: &[u8], stat: &Stat) -> Result<(), Fault> {
        let (major, minor) = device(stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => self.other(path, EntryKind::CharDevice { major, minor }, stat),
            FileType::BlockDevice => self.other(path, EntryKind::BlockDevice { major, minor }, stat),
            FileType::Fifo => self.other(path, EntryKind::Fifo, stat),
            _ => {
                self.written.sockets_skipped += 1;
                Ok(())
            }
        }
    }

    fn file(&mut self, found: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> Result<(), Fault> {
        let file: OwnedFd = call("open", confined::reopen(found))?;
        if self.of_layer && call("fgetxattr", overlay::is_metacopy(file.as_fd()))? {
            return Err(Fault::Refused("its content is elsewhere: overlays with metacopy are not supported"));
        }
        let xattrs = call("fgetxattr", attributes::portable_xattrs(file.as_fd()))?;
        // A link says it again: docker gives the file its owner again, which takes its capabilities.
        if let Some(first) = self.first_name(path, stat) {
            return self.hard_link(path, first, stat, xattrs);
        }
        let size = stat.st_size as u64;
        let entry = attributes::entry_of(path.to_vec(), EntryKind::File { size }, stat, xattrs);
        self.append(entry, &mut File::from(file))?;
        self.written.bytes += size;
        Ok(())
    }

    fn other(&mut self, path: &[u8], kind: EntryKind, stat: &Stat) -> Result<(), Fault> {
        match self.first_name(path, stat) {
            Some(first) => self.hard_link(path, first, stat, Vec::new()),
            None => {
                let entry = attributes::entry_of(path.to_vec(), kind, stat, Vec::new());
                self.append(entry, &mut io::empty())
            }
        }
    }

    /// The name under which the file is in the archive already; remembers this one otherwise.
    fn first_name(&mut self, path: &[u8], stat: &Stat) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let file = (stat.st_dev, stat.st_ino);
        match self.links.get(&file) {
            Some(first) => Some(first.clone()),
            None => {
                self.links.insert(file, path.to_vec());
                None
            }
        }
    }

    fn hard_link(&mut self, path: &[u8], target: Vec<u8>, stat: &Stat, xattrs: Xattrs) -> Result<(), Fault> {
        let entry = attributes::entry_of(path.to_vec(), EntryKind::HardLink { target }, stat, xattrs);
        self.append(entry, &mut io::empty())
    }

    /// What the layers below have by that path is no more.
    fn removed(&mut self, path: &[u8], name: &[u8]) -> Result<(), Fault> {
        let dir = &path[..path.len() - name.len()];
        self.whiteout([dir, WHITEOUT, name].concat())
    }

    fn whiteout(&mut self, name: Vec<u8>) -> Result<(), Fault> {
        let kind = EntryKind::File { size: 0 };
        let entry = Entry { name, kind, mode: 0o600, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };
        self.append(entry, &mut io::empty())
    }

    /// The name in the archive of what has this path in the tree.
    fn named(&self, path: &[u8]) -> Vec<u8> {
        match (self.name, path) {
            (name, b"") => name.to_vec(),
            (b"/", path) => [b"/", path].concat(),
            (name, path) => [name, b"/", path].concat(),
        }
    }

    /// Adds an entry, of which name and owner are those of the tree.
    fn append(&mut self, mut entry: Entry, content: &mut dyn io::Read) -> Result<(), Fault> {
        if let Some(seconds) = self.mtime {
            entry.mtime = (seconds, 0);
        }
        if let Some((users, groups)) = self.ids {
            (entry.uid, entry.gid) = (inside(users, entry.uid), inside(groups, entry.gid));
            inside::map_xattrs(&mut entry.xattrs, users, groups);
        }
        if !self.name.is_empty() {
            entry.name = self.named(&entry.name);
            if let EntryKind::HardLink { target } = &mut entry.kind {
                *target = self.named(target);
            }
        }
        self.written.entries += 1;
        match &mut self.contents {
            None => self.writer.append(&entry, content),
            Some(contents) => self.writer.append(&entry, &mut contents.entry(&entry, content)),
        }
        .map_err(Fault::Write)
    }
}

fn device(stat: &Stat) -> (u32, u32) {
    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
}

/// A path below the root, which is empty.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_vec(),
        _ => [parent, b"/", name].concat(),
    }
}

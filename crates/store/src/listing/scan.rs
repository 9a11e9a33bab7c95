//! What is in a tree, and its digests.
//!
//! Three passes: names and what stat(2) tells, by one thread; what isn't remembered of files is read, by several; then
//! digests of directories, from the leaves up.

use super::Sum;
use super::node::{self, Fault, NodeKind};
use super::seen::{self, Key, Seen};
use crate::confined::{self, Mounts};
use crate::error::Error;
use crate::overlay;
use crate::pack::join;
use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tree that is read.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// The device that its files are remembered by, where the kernel gives a new number to each mount.
    device: Option<u64>,
    is_overlay: bool,
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It's taken.
    Yes,
    /// It isn't, nor is anything below it.
    No,
    /// It's taken only if something below it is.
    IfBelow,
}

/// Which paths are taken.
pub trait Selection {
    /// Whether to take `path`, relative to what is scanned.
    fn take(&self, path: &[u8], is_directory: bool) -> Take;
}

impl<F: Fn(&[u8], bool) -> Take> Selection for F {
    fn take(&self, path: &[u8], is_directory: bool) -> Take {
        self(path, is_directory)
    }
}

/// Takes everything.
pub fn everything(_: &[u8], _: bool) -> Take {
    Take::Yes
}

/// How a tree is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Whether owners count.
    pub owners: bool,
    /// Whether files are read: without that digests mean nothing, and only what is there is listed.
    pub contents: bool,
    /// How many threads read files, this one included; they are gone when the scan is done.
    pub threads: usize,
}

/// Something that was found.
#[derive(Debug, Clone)]
pub struct Node {
    name: (u32, u32),
    parent: u32,
    /// Those of a directory lie side by side.
    children: (u32, u32),
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file.
    pub size: u64,
    /// The first name of a file that has several here.
    pub first_name: Option<u32>,
    /// Of a file, its bytes and attributes; at the end, of all that it is.
    sum: Sum,
    key: Key,
    /// Whether a change after it was read could go unnoticed.
    is_racy: bool,
    is_taken: bool,
    /// Whether it's there only as the way to something.
    is_way: bool,
}

/// What was selected of a tree, with digests.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    names: Vec<u8>,
    nodes: Vec<Node>,
    /// Digest of what is in the root, if that's a directory, and else of it.
    sum: Sum,
    owners: bool,
}

impl Tree {
    /// The directory at `path` of this host, with what is mounted in it.
    ///
    /// Errors: [`Error::Files`].
    pub fn of_host(path: &Path) -> Result<Tree, Error> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
        let failed =
            |errno: Errno| Error::Files { doing: "open", path: path.to_owned(), source: errno.into() };
        Ok(Tree { root: root.map_err(failed)?, device: None, is_overlay: false })
    }

    /// Layers shown as one, mounted nowhere; `layers` is the device that they lie on.
    pub fn of_layers(view: OwnedFd, layers: u64) -> Tree {
        Tree { root: view, device: Some(layers), is_overlay: true }
    }

    /// Its root, open as a path.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether it consists of layers.
    pub fn is_of_layers(&self) -> bool {
        self.is_overlay
    }

    /// Lists what `selection` takes of what is at `at`, a path without symbolic links, itself included; and digests it.
    ///
    /// Errors: [`Error::ReadTree`], [`Error::Changing`].
    pub fn scan(
        &self,
        at: &[u8],
        selection: &dyn Selection,
        reading: &Reading,
        seen: &mut Seen,
    ) -> Result<Listing, Error> {
        let mut scan = Scan {
            tree: self,
            at,
            seen,
            now_ns: seen::now_ns(),
            listing: Listing::default(),
            first_names: HashMap::new(),
            reads: reading.contents,
            unread: Vec::new(),
            trusted: (0, false),
        };
        scan.look(selection)?;
        let unread = std::mem::take(&mut scan.unread);
        scan.read(&unread, reading.threads)?;
        let mut listing = scan.listing;
        listing.finish(reading.owners);
        Ok(listing)
    }

    /// Opens the file at `path` as a path, to look at it.
    pub fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        confined::open_path_in(self.root.as_fd(), path, Mounts::Show)
    }

    /// What stat(2) tells of `path`, links before its last component followed, and none out of the tree; with `follow` also
    /// there.
    pub fn stat(&self, path: &[u8], follow: bool) -> Result<Stat, Errno> {
        rustix::fs::fstat(&confined::find(self.root.as_fd(), path, follow)?)
    }

    /// The names in the directory at `path`, a path without symbolic links.
    pub fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        overlay::names(confined::open_directory_in(self.root.as_fd(), path, Mounts::Show)?.as_fd())
    }

    /// The key by which a file is remembered.
    pub(crate) fn key(&self, stat: &Stat) -> Key {
        Key::of(stat, self.device)
    }
}

struct Scan<'a> {
    tree: &'a Tree,
    at: &'a [u8],
    seen: &'a mut Seen,
    now_ns: i128,
    listing: Listing,
    first_names: HashMap<(u64, u64), u32>,
    reads: bool,
    /// Files whose digests aren't known, and whether they can be remembered.
    unread: Vec<(u32, bool)>,
    /// A device, and whether its times of change are trusted.
    trusted: (u64, bool),
}

/// Most nodes that are listed: their positions have 32 bits.
const NODES_MAX: usize = 1 << 30;

impl Scan<'_> {
    fn error(&self, path: &[u8], fault: Fault) -> Error {
        failed(&below(self.at, path), fault)
    }

    /// The first pass.
    fn look(&mut self, selection: &dyn Selection) -> Result<(), Error> {
        let call = |errno| Fault::Call("openat2", errno);
        let root = self.tree.open(self.at).map_err(|errno| self.error(b"", call(errno)))?;
        let stat = rustix::fs::fstat(&root).map_err(|errno| self.error(b"", Fault::Call("fstat", errno)))?;
        self.trust(root.as_fd(), &stat);
        self.add(&[], 0, &stat, Take::Yes, || Ok(root)).map_err(|fault| self.error(b"", fault))?;
        let mut todo = vec![0];
        while let Some(directory) = todo.pop() {
            if self.listing.nodes[directory as usize].kind != NodeKind::Directory {
                continue;
            }
            let path = self.listing.path(directory as usize);
            let first = self.listing.nodes.len() as u32;
            self.directory(directory, &path, selection)?;
            let last = self.listing.nodes.len() as u32;
            self.listing.nodes[directory as usize].children = (first, last);
            todo.extend((first..last).rev());
        }
        Ok(())
    }

    fn directory(&mut self, parent: u32, path: &[u8], selection: &dyn Selection) -> Result<(), Error> {
        let at = below(self.at, path);
        let opened = confined::open_directory_in(self.tree.root.as_fd(), &at, Mounts::Show);
        let dir = opened.map_err(|errno| self.error(path, Fault::Call("openat2", errno)))?;
        let names =
            overlay::names(dir.as_fd()).map_err(|e| self.error(path, Fault::Call("getdents64", e)))?;
        let stat = rustix::fs::fstat(&dir).map_err(|e| self.error(path, Fault::Call("fstat", e)))?;
        self.trust(dir.as_fd(), &stat);
        let xattrs = node::directory_xattrs(dir.as_fd()).map_err(|fault| self.error(path, fault))?;
        self.listing.nodes[parent as usize].sum = xattrs;
        for name in names {
            let path = join(path, &name);
            let stat = match rustix::fs::statat(&dir, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW) {
                // Removed since it was listed.
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|errno| self.error(&path, Fault::Call("fstatat", errno)))?,
            };
            let take = selection.take(&path, overlay::is(&stat, rustix::fs::FileType::Directory));
            let open = || {
                let opened = confined::open_path_in(dir.as_fd(), &name, Mounts::Show);
                opened.map_err(|errno| Fault::Call("openat2", errno))
            };
            self.add(&name, parent, &stat, take, open).map_err(|fault| self.error(&path, fault))?;
        }
        Ok(())
    }

    fn trust(&mut self, dir: BorrowedFd<'_>, stat: &Stat) {
        if self.trusted.0 != stat.st_dev {
            self.trusted = (stat.st_dev, seen::is_trusted(dir));
        }
    }

    fn is_trusted(&self, stat: &Stat) -> bool {
        self.tree.device.is_some() || self.trusted == (stat.st_dev, true)
    }

    fn add(
        &mut self,
        name: &[u8],
        parent: u32,
        stat: &Stat,
        take: Take,
        open: impl FnOnce() -> Result<OwnedFd, Fault>,
    ) -> Result<(), Fault> {
        let Some(kind) = NodeKind::of(stat) else { return Ok(()) };
        let is_directory = kind == NodeKind::Directory;
        // A single layer is read as it is, with what it says of others that aren't there.
        if self.tree.is_overlay && overlay::is_whiteout(stat) {
            return Ok(());
        }
        if take == Take::No
            || (take == Take::IfBelow && !is_directory)
            || self.listing.nodes.len() > NODES_MAX
        {
            return Ok(());
        }
        let names = &mut self.listing.names;
        let start = u32::try_from(names.len()).map_err(|_| Fault::Call("list", Errno::OVERFLOW))?;
        names.extend_from_slice(name);
        let mut node = Node {
            name: (start, start + name.len() as u32),
            parent,
            children: (0, 0),
            kind,
            mode: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == NodeKind::File { stat.st_size as u64 } else { 0 },
            first_name: None,
            sum: [0; 32],
            key: self.tree.key(stat),
            is_racy: true,
            is_taken: take == Take::Yes,
            is_way: take == Take::IfBelow,
        };
        let index = self.listing.nodes.len() as u32;
        if !is_directory && stat.st_nlink > 1 {
            let first = *self.first_names.entry((stat.st_dev, stat.st_ino)).or_insert(index);
            node.first_name = (first != index).then_some(first);
        }
        match kind {
            NodeKind::File if !self.reads => node.is_racy = false,
            NodeKind::File if node.first_name.is_none() => {
                let is_trusted = self.is_trusted(stat);
                match self.seen.get(&node.key).filter(|_| is_trusted) {
                    Some(sum) => (node.sum, node.is_racy) = (sum, false),
                    None => self.unread.push((index, is_trusted)),
                }
            }
            // Read when the directory is listed.
            NodeKind::File | NodeKind::Directory => {}
            kind => node.sum = node::special(open()?.as_fd(), kind, stat)?,
        }
        self.listing.nodes.push(node);
        Ok(())
    }

    /// The second pass.
    fn read(&mut self, unread: &[(u32, bool)], threads: usize) -> Result<(), Error> {
        let (next, done) = (AtomicUsize::new(0), Mutex::new((Vec::new(), None)));
        let (tree, at, listing) = (self.tree, self.at, &self.listing);
        let work = || {
            let mut buffer = Vec::new();
            while let Some((index, is_trusted)) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
                let path = below(at, &listing.path(*index as usize));
                let read = tree
                    .open(&path)
                    .map_err(|errno| Fault::Call("openat2", errno))
                    .and_then(|found| node::read_file(found.as_fd(), tree.device, &mut buffer));
                let Ok(mut done) = done.lock() else { break };
                match read {
                    Ok(read) => done.0.push((*index, *is_trusted, read)),
                    Err(fault) => {
                        done.1.get_or_insert_with(|| failed(&path, fault));
                        next.store(unread.len(), Ordering::Relaxed);
                    }
                }
            }
        };
        // Few small files are read before a thread has begun.
        let bytes: u64 = unread.iter().map(|(index, _)| listing.nodes[*index as usize].size).sum();
        match threads {
            0 | 1 => work(),
            _ if unread.len() < 32 && bytes < 4 << 20 => work(),
            _ => std::thread::scope(|scope| {
                (1..threads).for_each(|_| drop(scope.spawn(work)));
                work();
            }),
        }
        let (read, error) = done.into_inner().unwrap_or_default();
        if let Some(error) = error {
            return Err(error);
        }
        for (index, is_trusted, read) in read {
            let node = &mut self.listing.nodes[index as usize];
            // It may have been replaced since it was listed.
            node.kind = NodeKind::of(&read.stat).unwrap_or(node.kind);
            node.mode = (read.stat.st_mode & 0o7777) as u16;
            (node.uid, node.gid, node.size) = (read.stat.st_uid, read.stat.st_gid, read.stat.st_size as u64);
            (node.key, node.sum) = (self.tree.key(&read.stat), read.sum);
            node.is_racy = seen::is_racy(&read.stat, self.now_ns);
            if !node.is_racy && is_trusted {
                self.seen.put(node.key, node.sum);
            }
        }
        Ok(())
    }
}

/// A path below what is scanned, whose own path may be empty as well.
pub(crate) fn below(at: &[u8], path: &[u8]) -> Vec<u8> {
    if path.is_empty() { at.to_vec() } else { join(at, path) }
}

fn failed(path: &[u8], fault: Fault) -> Error {
    let entry = path.escape_ascii().to_string();
    match fault {
        Fault::Call(call, errno) => Error::ReadTree { entry, call, source: errno.into() },
        Fault::Changing => Error::Changing { entry },
    }
}

impl Listing {
    /// How much was found, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing was found, not even a root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Digest of what is in the root, without its own attributes, if that's a directory; of the root otherwise.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// The node at `index`; the root is the first.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// Its name in its directory.
    pub fn name(&self, index: usize) -> &[u8] {
        let (start, end) = self.nodes[index].name;
        &self.names[start as usize..end as usize]
    }

    /// Its path below the root, which is empty.
    pub fn path(&self, index: usize) -> Vec<u8> {
        let (mut parts, mut at) = (Vec::new(), index);
        while at != 0 {
            parts.push(self.name(at));
            at = self.nodes[at].parent as usize;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// What is taken of a directory's content, sorted by name.
    pub fn children(&self, index: usize) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let (first, last) = self.nodes[index].children;
        (first as usize..last as usize).filter(|index| self.nodes[*index].is_taken)
    }

    /// Whether a file at `index` with these bytes and attributes is the one that was listed.
    pub(crate) fn agrees(&self, index: usize, content: &Sum) -> bool {
        let node = &self.nodes[index];
        let owner = self.owners.then_some((node.uid, node.gid));
        node::whole(node.kind, node.mode.into(), owner, content) == node.sum
    }

    /// Bytes of the files that are taken.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().filter(|node| node.is_taken).map(|node| node.size).sum()
    }

    /// The third pass: from the last node to the first, so that a directory comes after what is in it.
    fn finish(&mut self, owners: bool) {
        self.owners = owners;
        for index in (0..self.nodes.len()).rev() {
            let node = &self.nodes[index];
            let mut content = node.sum;
            if let Some(first) = node.first_name {
                content = node::link_to(&self.path(first as usize));
            }
            let is_directory = node.kind == NodeKind::Directory;
            if is_directory {
                let below = self.below(index);
                let has_any = self.children(index).next().is_some();
                self.nodes[index].is_taken |= has_any;
                if index == 0 {
                    self.sum = below;
                }
                content = Sha256::new().chain_update(content).chain_update(below).finalize().into();
            }
            let node = &self.nodes[index];
            let owner = owners.then_some((node.uid, node.gid));
            let whole = node::whole(node.kind, node.mode.into(), owner, &content);
            if index == 0 && !is_directory {
                self.sum = whole;
            }
            self.nodes[index].sum = whole;
        }
    }

    /// The digest of what is in a directory.
    fn below(&self, index: usize) -> Sum {
        let mut hasher = Sha256::new();
        for child in self.children(index) {
            let name = self.name(child);
            hasher.update((name.len() as u32).to_le_bytes());
            hasher.update(name);
            hasher.update(self.nodes[child].sum);
        }
        hasher.finalize().into()
    }
}

impl Node {
    /// The digest of all that it is, but for its name; of a directory, with what is in it.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// Whether it's taken only because something below it is.
    pub(crate) fn is_way(&self) -> bool {
        self.is_way
    }

    /// Whether the file at hand is still the one whose digest this is, as far as its times can tell.
    pub(crate) fn is_still(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// Whether a change after it was read could go unnoticed by [`Node::is_still`].
    pub(crate) fn is_racy(&self) -> bool {
        self.is_racy
    }
}

//! What differs between two stacks of layers.
//!
//! Layers that both have at their bottom aren't read where they show the same: a directory that lies in the same layers on
//! both sides is passed over, and so is a file that is one and the same. Of the others, files of one size are read. Times
//! aren't compared: two builds of the same differ in little else.

use crate::changes::ChangeKind;
use crate::error::Error;
use crate::overlay::{self, Lone, Merged, Opened, Shown};
use crate::pack::join;
use crate::{attributes, confined};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// In what two files of one name differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// One is a directory, the other a file, and the like.
    Type,
    /// What is in it, or where it points.
    Content,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// Device number.
    Device,
    /// Extended attributes, capabilities among them.
    Attributes,
}

impl Aspect {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Aspect::Type => "type",
            Aspect::Content => "content",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Device => "device",
            Aspect::Attributes => "attributes",
        }
    }
}

/// Which of the two stacks a layer is of, and its place there, 0 being the topmost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Of the first.
    Old(usize),
    /// Of the second.
    New(usize),
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path from the root, with a leading slash.
    pub path: Vec<u8>,
    /// What became of it, from the first to the second.
    pub kind: ChangeKind,
    /// In what it differs, if both have it.
    pub aspects: Vec<Aspect>,
    /// Bytes of a regular file in the first.
    pub old_bytes: Option<u64>,
    /// Bytes of a regular file in the second.
    pub new_bytes: Option<u64>,
    /// The layer that made the difference: of the second, unless only the first has one.
    pub origin: Origin,
}

/// Compares two stacks, topmost layers first; layers that both have are given by the same descriptors. Sorted by path.
/// What is in a removed directory isn't listed, nor is a directory for what is in it.
///
/// Errors: [`Error::ReadTree`].
pub fn compare(old: &[BorrowedFd<'_>], new: &[BorrowedFd<'_>]) -> Result<Vec<Difference>, Error> {
    let common = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| is_same(**a, **b)).count();
    let mut comparison = Comparison { old, new, common, found: Vec::new() };
    let mut todo = vec![Todo { path: Vec::new(), old: Some(Merged::root(old)), new: Merged::root(new) }];
    while let Some(next) = todo.pop() {
        let compared = comparison.directory(&next);
        todo.append(&mut compared.map_err(|(call, source)| Error::ReadTree {
            entry: next.path.escape_ascii().to_string(),
            call,
            source: source.into(),
        })?);
    }
    let mut found = comparison.found;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    one.as_raw_fd() == other.as_raw_fd()
}

struct Comparison<'a> {
    old: &'a [BorrowedFd<'a>],
    new: &'a [BorrowedFd<'a>],
    /// Layers at the bottom that both have.
    common: usize,
    found: Vec<Difference>,
}

/// A directory of the second stack, and what the first has in its place.
struct Todo<'a> {
    path: Vec<u8>,
    old: Option<Merged<'a>>,
    new: Merged<'a>,
}

type Failed = (&'static str, Errno);

fn call<T>(name: &'static str, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|errno| (name, errno))
}

impl<'a> Comparison<'a> {
    /// Compares what is in a directory; returns directories to compare.
    fn directory(&mut self, here: &Todo<'a>) -> Result<Vec<Todo<'a>>, Failed> {
        let old = call("openat2", here.old.as_ref().map(Merged::open).transpose())?;
        let new = call("openat2", here.new.open())?;
        let mut names = call("getdents64", new.names())?;
        if let Some(old) = &old {
            names.append(&mut call("getdents64", old.names())?);
        }
        let mut todo = Vec::new();
        for name in BTreeSet::into_iter(names) {
            let lookup = |dir: &Opened<'a, '_>| call("fstatat", dir.lookup(&name));
            let (was, is) = (old.as_ref().map(lookup).transpose()?.flatten(), lookup(&new)?);
            todo.extend(self.one(join(&here.path, &name), was, is)?);
        }
        Ok(todo)
    }

    fn one(
        &mut self,
        path: Vec<u8>,
        old: Option<Shown<'a>>,
        new: Option<Shown<'a>>,
    ) -> Result<Option<Todo<'a>>, Failed> {
        let (kind, aspects) = match (&old, &new) {
            (None, None) => return Ok(None),
            (Some(_), None) => (Some(ChangeKind::Deleted), Vec::new()),
            (None, Some(_)) => (Some(ChangeKind::Added), Vec::new()),
            (Some(Shown::Directory(old, _)), Some(Shown::Directory(new, _)))
                if old.layers().len() == new.layers().len()
                    && old.layers().iter().zip(new.layers()).all(|(one, other)| is_same(*one, *other)) =>
            {
                return Ok(None);
            }
            (Some(Shown::Other(old)), Some(Shown::Other(new))) if is_same(old.layer, new.layer) => {
                return Ok(None);
            }
            (Some(old), Some(new)) => {
                let aspects = call("read", differ(old, new))?;
                ((!aspects.is_empty()).then_some(ChangeKind::Modified), aspects)
            }
        };
        if let Some(kind) = kind {
            let origin = call("openat2", self.origin(&path, old.as_ref(), new.as_ref()))?;
            self.found.push(Difference {
                path: [b"/", path.as_slice()].concat(),
                kind,
                aspects,
                old_bytes: old.as_ref().and_then(bytes),
                new_bytes: new.as_ref().and_then(bytes),
                origin,
            });
        }
        let Some(Shown::Directory(new, _)) = new else { return Ok(None) };
        let old = match old {
            Some(Shown::Directory(old, _)) => Some(old),
            _ => None,
        };
        Ok(Some(Todo { path, old, new }))
    }

    /// The layer that made the difference.
    fn origin(&self, path: &[u8], old: Option<&Shown<'a>>, new: Option<&Shown<'a>>) -> Result<Origin, Errno> {
        let own = |layers: &[BorrowedFd<'_>], shown: &Shown<'_>| {
            let at = layers.iter().position(|layer| is_same(*layer, top(shown)));
            at.filter(|at| layers.len() - at > self.common)
        };
        let of_old = || old.and_then(|old| own(self.old, old)).map(Origin::Old);
        let found = match new {
            Some(new) => own(self.new, new).map(Origin::New).or_else(of_old),
            None => self.hider(path)?.map(Origin::New).or_else(of_old),
        };
        // What neither has in a layer of its own shows because one of them hides something above it.
        Ok(found.unwrap_or(if self.new.len() > self.common { Origin::New(0) } else { Origin::Old(0) }))
    }

    /// The topmost layer of the second stack that hides what others have at this path.
    fn hider(&self, path: &[u8]) -> Result<Option<usize>, Errno> {
        let own = &self.new[..self.new.len() - self.common];
        for (at, layer) in own.iter().enumerate() {
            let mut ends: Vec<usize> =
                path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end).collect();
            ends.push(path.len());
            for end in ends {
                let found = match confined::open_path(*layer, &path[..end]) {
                    Err(Errno::NOENT) => break,
                    found => found?,
                };
                let stat = rustix::fs::fstat(&found)?;
                if !overlay::is(&stat, FileType::Directory) {
                    return Ok(Some(at));
                }
                if end < path.len() && overlay::is_opaque(*layer, &path[..end])? {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }
}

/// The topmost layer in which it lies.
fn top<'a>(shown: &Shown<'a>) -> BorrowedFd<'a> {
    match shown {
        Shown::Directory(merged, _) => merged.layers()[0],
        Shown::Other(lone) => lone.layer,
    }
}

fn stat<'s>(shown: &'s Shown<'_>) -> &'s Stat {
    match shown {
        Shown::Directory(_, stat) => stat,
        Shown::Other(lone) => &lone.stat,
    }
}

fn bytes(shown: &Shown<'_>) -> Option<u64> {
    let stat = stat(shown);
    overlay::is(stat, FileType::RegularFile).then_some(stat.st_size as u64)
}

fn differ(old: &Shown<'_>, new: &Shown<'_>) -> Result<Vec<Aspect>, Errno> {
    let (was, is) = (stat(old), stat(new));
    if FileType::from_raw_mode(was.st_mode) != FileType::from_raw_mode(is.st_mode) {
        return Ok(vec![Aspect::Type]);
    }
    let mut aspects = Vec::new();
    let mut note = |differs: bool, aspect| {
        if differs {
            aspects.push(aspect);
        }
    };
    note(content_differs(old, new)?, Aspect::Content);
    note(was.st_mode != is.st_mode, Aspect::Mode);
    note((was.st_uid, was.st_gid) != (is.st_uid, is.st_gid), Aspect::Owner);
    note(was.st_rdev != is.st_rdev, Aspect::Device);
    note(attributes_of(old)? != attributes_of(new)?, Aspect::Attributes);
    Ok(aspects)
}

fn content_differs(old: &Shown<'_>, new: &Shown<'_>) -> Result<bool, Errno> {
    let (Shown::Other(old), Shown::Other(new)) = (old, new) else { return Ok(false) };
    match FileType::from_raw_mode(new.stat.st_mode) {
        FileType::Symlink => Ok(old.target()? != new.target()?),
        FileType::RegularFile if old.stat.st_size != new.stat.st_size => Ok(true),
        FileType::RegularFile => is_other_text(old, new),
        _ => Ok(false),
    }
}

/// Files are compared in pieces of this size.
const PIECE_BYTES: usize = 128 << 10;

/// Whether two files of one size hold different bytes.
fn is_other_text(old: &Lone<'_>, new: &Lone<'_>) -> Result<bool, Errno> {
    let open = |lone: &Lone<'_>| Ok::<_, Errno>(File::from(confined::reopen(lone.open()?.as_fd())?));
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (mut old, mut new) = (open(old)?, open(new)?);
    let (mut was, mut is) = (Vec::with_capacity(PIECE_BYTES), Vec::with_capacity(PIECE_BYTES));
    loop {
        (&mut old).take(PIECE_BYTES as u64).read_to_end(&mut was).map_err(errno)?;
        (&mut new).take(PIECE_BYTES as u64).read_to_end(&mut is).map_err(errno)?;
        if was != is {
            return Ok(true);
        }
        if was.is_empty() {
            return Ok(false);
        }
        was.clear();
        is.clear();
    }
}

/// The portable extended attributes of a file or directory; the others have none.
fn attributes_of(shown: &Shown<'_>) -> Result<crate::tar::Xattrs, Errno> {
    match shown {
        Shown::Directory(merged, _) => attributes::portable_xattrs(merged.open_topmost()?.as_fd()),
        Shown::Other(lone) if overlay::is(&lone.stat, FileType::RegularFile) => {
            attributes::portable_xattrs(confined::reopen(lone.open()?.as_fd())?.as_fd())
        }
        Shown::Other(_) => Ok(Vec::new()),
    }
}

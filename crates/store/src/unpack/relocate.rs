//! Entries named through a symbolic link of a lower layer: `lib/x` where a layer below has `lib -> usr/lib`.
//!
//! A layer is unpacked without those below, so that `lib` has become a directory. Left so, it would replace the link, and
//! hide all that it led to. Applied one after the other, as the specification has it, the layers give `usr/lib/x`.

use super::pending::{Pending, is_hidden, restore_times};
use super::{Fault, call, split};
use crate::confined;
use crate::error::Error;
use crate::overlay::{self, Merged, Shown};
use crate::pack::join;
use crate::remove::remove_tree;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Directories moved in one layer; root file systems have a handful of such links.
const MOVES_MAX: usize = 1000;

/// Moves what lies in directories that the archive doesn't name, and that are links to directories below, to where the
/// links lead; `pending` then speaks of the new places.
pub fn relocate(tree: BorrowedFd<'_>, below: &Merged<'_>, pending: &mut Pending) -> Result<(), Error> {
    let (mut settled, mut moves) = (Vec::new(), 0);
    loop {
        // Those above come first, and move those below.
        let next = pending.implied().range(settled.clone()..).find(|path| **path != settled).cloned();
        let Some(path) = next else { return Ok(()) };
        let moved = target(tree, below, &path).and_then(|target| match target {
            Some(target) => move_into(tree, &path, &target, pending).map(|()| true),
            None => Ok(false),
        });
        match moved {
            Ok(true) if moves == MOVES_MAX => {
                let reason = "too many directories are named through links of lower layers";
                return Err(Fault::Refused(reason).at(&path));
            }
            Ok(true) => {
                moves += 1;
                settled.clear();
            }
            Ok(false) => settled = path,
            Err(fault) => return Err(fault.at(&path)),
        }
    }
}

/// Where the link leads that lower layers have at `path`.
fn target(tree: BorrowedFd<'_>, below: &Merged<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let (parent, _) = split(path).unwrap_or_default();
    if is_hidden(tree, parent)? {
        return Ok(None);
    }
    match call("openat2", below.find(path))? {
        Some(Shown::Other(file)) if overlay::is(&file.stat, FileType::Symlink) => {
            let directory = call("openat2", below.follow(path))?;
            // A link to the root, or to where it is itself, stays what it has become.
            let target = directory.map(|directory| directory.path().to_vec());
            Ok(target.filter(|target| !target.is_empty() && !within(target, path)))
        }
        _ => Ok(None),
    }
}

fn within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn move_into(tree: BorrowedFd<'_>, from: &[u8], to: &[u8], pending: &mut Pending) -> Result<(), Fault> {
    make_way(tree, to, pending)?;
    pending.moved(from, to);
    let mut todo = vec![(from.to_vec(), to.to_vec())];
    while let Some((from, to)) = todo.pop() {
        let source = match confined::open_directory(tree, &from) {
            // A later entry has replaced it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            source => call("openat2", source)?,
        };
        let target = call("openat2", confined::open_directory(tree, &to))?;
        let stat = call("fstat", rustix::fs::fstat(&target))?;
        if call("fgetxattr", overlay::has_xattr(source.as_fd(), overlay::OPAQUE_XATTR, b"y"))? {
            call("fsetxattr", overlay::make_opaque(&target))?;
        }
        for name in call("getdents64", overlay::names(source.as_fd()))? {
            if move_entry(source.as_fd(), target.as_fd(), OsStr::from_bytes(&name))? {
                todo.push((join(&from, &name), join(&to, &name)));
            }
        }
        restore_times(&target, &stat)?;
    }
    if let Some((parent, name)) = split(from) {
        let parent = call("openat2", confined::resolve(tree, parent))?;
        let stat = call("fstat", rustix::fs::fstat(&parent))?;
        call("unlinkat", remove_tree(parent.as_fd(), Path::new(OsStr::from_bytes(name))))?;
        restore_times(&parent, &stat)?;
    }
    Ok(())
}

/// Moves one entry; says whether both places have a directory by this name, whose entries are to be moved.
fn move_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Fault> {
    let stat = |dir: BorrowedFd<'_>| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    let here = call("fstatat", stat(from))?;
    let there = match stat(to) {
        Err(Errno::NOENT) => {
            call("renameat", rustix::fs::renameat(from, name, to, name))?;
            return Ok(false);
        }
        there => call("fstatat", there)?,
    };
    let directory = |stat| overlay::is(stat, FileType::Directory);
    match (overlay::is_whiteout(&here), overlay::is_whiteout(&there)) {
        // What the layer places stays, and hides what is below.
        (true, _) if directory(&there) => super::mark_opaque(to, name)?,
        (false, true) => {
            call("unlinkat", rustix::fs::unlinkat(to, name, AtFlags::empty()))?;
            call("renameat", rustix::fs::renameat(from, name, to, name))?;
            if directory(&here) {
                super::mark_opaque(to, name)?;
            }
        }
        // Named twice: by its own name, and through the link. Its own counts.
        _ => return Ok(directory(&here) && directory(&there)),
    }
    Ok(false)
}

/// Makes the directories on the way to `path` that the layer doesn't have, to be described by those below.
fn make_way(tree: BorrowedFd<'_>, path: &[u8], pending: &mut Pending) -> Result<(), Fault> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let path = &path[..end];
        match confined::open_directory(tree, path) {
            Ok(_) => continue,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(Fault::Call("openat2", error)),
        }
        let (parent, name) = split(path).unwrap_or_default();
        let parent = call("openat2", confined::resolve(tree, parent))?;
        let stat = call("fstat", rustix::fs::fstat(&parent))?;
        let name = OsStr::from_bytes(name);
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            // The layer has replaced what the link led to.
            Err(Errno::EXIST) => return Err(Fault::Refused("it lies in what the same layer replaces")),
            made => call("mkdirat", made)?,
        }
        let mode = Mode::from_raw_mode(0o755);
        call("fchmodat", rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()))?;
        restore_times(&parent, &stat)?;
        pending.add_implied(path.to_vec());
    }
    Ok(())
}

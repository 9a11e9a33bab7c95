//! Attributes of directories, set when everything is in its place.

use super::{Fault, Made, Place, call, split};
use crate::attributes;
use crate::error::Error;
use crate::tar::{Entry, EntryKind, Xattrs};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// What one directory takes in memory, beside its name.
pub const OVERHEAD_BYTES: usize = size_of::<Directory>() + 32;

/// Directories in the archive's order.
#[derive(Default)]
pub struct Directories(Vec<Directory>);

struct Directory {
    path: Vec<u8>,
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: (i64, u32),
    xattrs: Xattrs,
    made: Made,
}

impl Directories {
    /// Remembers what `entry` says of the directory at `path`, which has what `made` says already.
    pub fn add(&mut self, path: Vec<u8>, entry: &mut Entry, made: Made) {
        self.0.push(Directory {
            path,
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: std::mem::take(&mut entry.xattrs),
            made,
        });
    }

    /// Sets everything; what was replaced by a later entry is left alone.
    pub fn set_attributes(&mut self, place: Place<'_>) -> Result<(), Error> {
        for directory in std::mem::take(&mut self.0) {
            let Directory { path, uid, gid, mode, mtime, xattrs, made } = directory;
            let entry = Entry { name: path, kind: EntryKind::Directory, mode, uid, gid, mtime, xattrs };
            set(place, &entry, made).map_err(|fault| fault.at(&entry.name))?;
        }
        Ok(())
    }
}

fn set(place: Place<'_>, entry: &Entry, made: Made) -> Result<(), Fault> {
    let (parent, name) = split(&entry.name).unwrap_or((b"", b"."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = place
        .resolve(parent)
        .and_then(|parent| rustix::fs::openat(&parent, OsStr::from_bytes(name), flags, Mode::empty()));
    let dir = match dir {
        // A later entry has replaced it.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        dir => call("openat", dir)?,
    };
    if !made.has_owner(entry) {
        let (uid, gid) = attributes::owner(entry);
        place.owned("fchown", rustix::fs::fchown(&dir, uid, gid))?;
    }
    if !made.has_mode(entry) {
        call("fchmod", rustix::fs::fchmod(&dir, attributes::mode(entry)))?;
    }
    call("fsetxattr", attributes::set_xattrs(dir.as_fd(), entry))?;
    call("futimens", rustix::fs::futimens(&dir, &attributes::times(entry.mtime)))
}

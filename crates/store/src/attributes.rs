//! Owner, mode, extended attributes and times of files in layers.

use crate::tar::{Entry, EntryKind, Xattrs};
use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

/// Whether an extended attribute means the same in any container, and so may come from an archive and go into one: none
/// of overlayfs, none of a host's security modules. `user.overlay.` is what `trusted.overlay.` is to an unprivileged
/// overlay.
pub fn is_portable(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Sets the portable ones of an entry's extended attributes.
pub fn set_xattrs(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_portable(name)) {
        rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// An entry's owner and group.
pub fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// An entry's permission bits.
pub fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

/// Sets the modification time only.
pub fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// An entry with the attributes of a file.
pub fn entry_of(name: Vec<u8>, kind: EntryKind, stat: &Stat, xattrs: Xattrs) -> Entry {
    Entry {
        name,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        xattrs,
    }
}

/// The portable extended attributes of an open file or directory, sorted by name. A file system without any has none.
pub fn portable_xattrs(fd: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let names = match sized(|buffer| rustix::fs::flistxattr(fd, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_portable(name)) {
        match sized(|buffer| rustix::fs::fgetxattr(fd, OsStr::from_bytes(name), buffer)) {
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            value => xattrs.push((name.to_vec(), value?)),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Bytes of a list or a value that most files' fit into.
const XATTR_BYTES_USUAL: usize = 256;

/// Calls `get` with a buffer that is large enough.
fn sized(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; XATTR_BYTES_USUAL];
    loop {
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // The kernel has none longer than 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 1 << 16 => buffer = vec![0; 1 << 16],
            Err(error) => return Err(error),
        }
    }
}

//! Digests of single files and directories.

use super::Sum;
use super::seen::Key;
use crate::tar::Xattrs;
use crate::{attributes, confined};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum NodeKind {
    /// A regular file.
    File = b'f',
    /// A directory.
    Directory = b'd',
    /// A symbolic link.
    Symlink = b'l',
    /// A character device.
    CharDevice = b'c',
    /// A block device.
    BlockDevice = b'b',
    /// A named pipe.
    Fifo = b'p',
    /// A socket.
    Socket = b's',
}

impl NodeKind {
    /// What a file with this `st_mode` is; `None` for what Linux has none of.
    pub fn of(stat: &Stat) -> Option<NodeKind> {
        Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => NodeKind::Symlink,
            FileType::CharacterDevice => NodeKind::CharDevice,
            FileType::BlockDevice => NodeKind::BlockDevice,
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            FileType::Unknown => return None,
        })
    }
}

/// How often a file that changes is read again.
const READ_TRIES_MAX: usize = 4;

/// Bytes read at once.
pub const PIECE_BYTES: usize = 256 << 10;

/// Why a file has no digest.
#[derive(Debug)]
pub enum Fault {
    /// A call failed.
    Call(&'static str, Errno),
    /// It was something else each time it was looked at.
    Changing,
}

/// What was read of a file.
#[derive(Debug)]
pub struct Read {
    /// Digest of its bytes and extended attributes.
    pub sum: Sum,
    /// What it was then.
    pub stat: Stat,
}

/// The digest of a regular file's bytes and extended attributes; `found` is open as a path.
pub fn read_file(found: BorrowedFd<'_>, device: Option<u64>, buffer: &mut Vec<u8>) -> Result<Read, Fault> {
    let call = |name| move |errno| Fault::Call(name, errno);
    let file = confined::reopen(found).map_err(call("open"))?;
    let mut before = rustix::fs::fstat(&file).map_err(call("fstat"))?;
    for _ in 0..READ_TRIES_MAX {
        let bytes = hash_bytes(&file, buffer).map_err(call("read"))?;
        let xattrs = attributes::portable_xattrs(file.as_fd()).map_err(call("fgetxattr"))?;
        let after = rustix::fs::fstat(&file).map_err(call("fstat"))?;
        if Key::of(&before, device) == Key::of(&after, device) {
            return Ok(Read { sum: with_xattrs(bytes, &xattrs), stat: after });
        }
        before = after;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(call("lseek"))?;
    }
    Err(Fault::Changing)
}

fn hash_bytes(file: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Sum, Errno> {
    buffer.resize(PIECE_BYTES, 0);
    let mut hasher = Sha256::new();
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer[..]))? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The digest of a file's content, given that of its bytes.
pub fn with_xattrs(bytes: Sum, xattrs: &Xattrs) -> Sum {
    if xattrs.is_empty() {
        return bytes;
    }
    let mut hasher = Sha256::new();
    hasher.update(b"xattrs\0");
    hasher.update(bytes);
    for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The digest of what a file that has no bytes is: a link's target, a device's number.
pub fn special(found: BorrowedFd<'_>, kind: NodeKind, stat: &Stat) -> Result<Sum, Fault> {
    let mut hasher = Sha256::new();
    match kind {
        NodeKind::Symlink => {
            let target = rustix::fs::readlinkat(found, "", Vec::new());
            hasher.update(target.map_err(|errno| Fault::Call("readlinkat", errno))?.as_bytes());
        }
        NodeKind::CharDevice | NodeKind::BlockDevice => hasher.update(stat.st_rdev.to_le_bytes()),
        NodeKind::File | NodeKind::Directory | NodeKind::Fifo | NodeKind::Socket => {}
    }
    Ok(hasher.finalize().into())
}

/// The digest of another name of the file at `first`.
pub fn link_to(first: &[u8]) -> Sum {
    Sha256::new().chain_update(b"link\0").chain_update(first).finalize().into()
}

/// The digest of a directory's extended attributes.
pub fn directory_xattrs(dir: BorrowedFd<'_>) -> Result<Sum, Fault> {
    let xattrs = attributes::portable_xattrs(dir).map_err(|errno| Fault::Call("fgetxattr", errno))?;
    Ok(with_xattrs([0; 32], &xattrs))
}

/// The digest of what a file is altogether: all but its name.
pub fn whole(kind: NodeKind, mode: u32, owner: Option<(u32, u32)>, content: &Sum) -> Sum {
    let mut hasher = Sha256::new();
    hasher.update([kind as u8]);
    hasher.update((mode & 0o7777).to_le_bytes());
    if let Some((uid, gid)) = owner {
        hasher.update(uid.to_le_bytes());
        hasher.update(gid.to_le_bytes());
    }
    hasher.update(content);
    hasher.finalize().into()
}

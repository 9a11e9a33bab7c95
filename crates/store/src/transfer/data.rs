//! Bytes of files, on their way from one to another.

use crate::error::Error;
use crate::listing::Sum;
use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::io::Read;
use std::os::fd::OwnedFd;

/// Why something isn't copied.
#[derive(Debug)]
pub enum Fault {
    Read(&'static str, Errno),
    Write(&'static str, Errno),
    Content(std::io::Error),
    Occupied(&'static str),
    Refused(&'static str),
    Changed,
}

impl Fault {
    pub fn at(self, path: &[u8]) -> Error {
        self.of(path, path)
    }

    /// With the path copied from, and that copied to.
    pub fn of(self, at: &[u8], to: &[u8]) -> Error {
        let text = |path: &[u8]| format!("/{}", path.escape_ascii());
        match self {
            Fault::Read(call, errno) => Error::ReadTree { entry: text(at), call, source: errno.into() },
            Fault::Write(call, errno) => Error::WriteTree { entry: text(to), call, source: errno.into() },
            Fault::Content(source) => Error::ReadArchive(source),
            Fault::Occupied(reason) => Error::Occupied { entry: text(to), reason },
            Fault::Refused(reason) => Error::Uncopyable { entry: text(at), reason },
            Fault::Changed => Error::Changing { entry: text(at) },
        }
    }
}

/// Copies bytes in the cheapest way that worked so far.
#[derive(Debug)]
pub struct Copier {
    buffer: Vec<u8>,
    /// Whether blocks may be shared between the two file systems.
    can_clone: bool,
    /// Whether the kernel copies between them.
    can_copy: bool,
}

impl Default for Copier {
    fn default() -> Copier {
        Copier { buffer: Vec::new(), can_clone: true, can_copy: true }
    }
}

/// Bytes read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Files of which a smaller one is copied by hand: it's one call to read and one to write.
const BYTES_MIN: u64 = 128 << 10;

/// Pieces of zeros from this size on become holes.
const HOLE_BYTES: usize = 4096;

impl Copier {
    /// Copies all of `source` into the empty `target`; the digest of the bytes, if it's asked for.
    pub fn copy(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        stat: &Stat,
        digests: bool,
    ) -> Result<Option<Sum>, Fault> {
        let size = stat.st_size as u64;
        if digests || size < BYTES_MIN {
            return self.by_hand(source, target, stat, digests);
        }
        if self.can_clone {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => return Ok(None),
                Err(_) => self.can_clone = false,
            }
        }
        if self.can_copy && !is_sparse(stat) {
            let mut done = 0;
            loop {
                let left = usize::try_from(size - done).unwrap_or(usize::MAX).min(1 << 30);
                match rustix::fs::copy_file_range(source, None, target, None, left) {
                    // The end: it became shorter, which the caller sees.
                    Ok(0) => return Ok(None),
                    Ok(count) => done += count as u64,
                    Err(Errno::INTR) => {}
                    // Two file systems, or one that can't.
                    Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
                        if done == 0 =>
                    {
                        self.can_copy = false;
                        break;
                    }
                    Err(errno) => return Err(Fault::Write("copy_file_range", errno)),
                }
                if done >= size {
                    return Ok(None);
                }
            }
        }
        self.by_hand(source, target, stat, digests)
    }

    fn by_hand(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        stat: &Stat,
        digests: bool,
    ) -> Result<Option<Sum>, Fault> {
        self.buffer.resize(PIECE_BYTES, 0);
        let (mut hasher, mut at, mut end) = (digests.then(Sha256::new), 0u64, 0u64);
        let sparse = is_sparse(stat);
        loop {
            let read = rustix::io::retry_on_intr(|| rustix::io::read(source, &mut self.buffer[..]));
            let count = read.map_err(|errno| Fault::Read("read", errno))?;
            if count == 0 {
                break;
            }
            let piece = &self.buffer[..count];
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
            }
            if !(sparse && count >= HOLE_BYTES && piece.iter().all(|byte| *byte == 0)) {
                if at != end {
                    rustix::fs::seek(target, SeekFrom::Start(at)).map_err(|e| Fault::Write("lseek", e))?;
                }
                write_all(target, piece)?;
                end = at + count as u64;
            }
            at += count as u64;
        }
        if at != end {
            rustix::fs::ftruncate(target, at).map_err(|errno| Fault::Write("ftruncate", errno))?;
        }
        Ok(hasher.map(|hasher| hasher.finalize().into()))
    }
}

fn is_sparse(stat: &Stat) -> bool {
    (stat.st_blocks as u64).saturating_mul(512) < stat.st_size as u64
}

fn write_all(target: &OwnedFd, mut bytes: &[u8]) -> Result<(), Fault> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(target, bytes)) {
            Ok(count) => bytes = &bytes[count..],
            Err(errno) => return Err(Fault::Write("write", errno)),
        }
    }
    Ok(())
}

/// Writes all of `content`; the digest of it.
pub fn write(target: &OwnedFd, content: &mut dyn Read) -> Result<Sum, Fault> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut hasher = Sha256::new();
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                write_all(target, &buffer[..count])?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Content(error)),
        }
    }
}

//! Digests of what a layer has, without the times.
//!
//! Format: SHA-256 over a line that names the format, then for each entry of the archive, in its order: a letter for the
//! type; name, mode, owner and group; what the type has besides; extended attributes, sorted. Numbers are 8 bytes, little end
//! first, and bytes come after their number: nothing can be taken for something else.

use crate::tar::{Entry, EntryKind};
use crate::unpack::BLOCK_IDS;
use sha2::Digest as _;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use types::digest::Sha256;

const FORMAT: &[u8] = b"berth layer contents 1\n";

/// A digest under way.
#[derive(Debug, Clone, Default)]
pub struct Hash(sha2::Sha256);

impl Hash {
    pub fn finish(self) -> Sha256 {
        Sha256::from_bytes(self.0.finalize().into())
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
}

/// Hashes what is written to it.
#[derive(Debug, Default)]
pub struct HashWriter(pub Hash);

impl Write for HashWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.0.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of a layer's content, entry by entry.
#[derive(Debug)]
pub struct Contents {
    pub hash: HashWriter,
    /// As [`crate::unpack::Unpacked::id_blocks`].
    pub id_blocks: BTreeSet<u32>,
}

impl Contents {
    pub fn new() -> Contents {
        let mut hash = HashWriter::default();
        hash.0.0.update(FORMAT);
        Contents { hash, id_blocks: BTreeSet::new() }
    }

    /// Adds an entry; its bytes are added as they are read from what is returned.
    pub fn entry<'a>(&'a mut self, entry: &Entry, content: &'a mut dyn Read) -> impl Read + 'a {
        let blocks = [entry.uid, entry.gid].map(|id| id / BLOCK_IDS);
        self.id_blocks.extend(blocks.into_iter().filter(|block| *block > 0));
        let hash = &mut self.hash.0;
        let Entry { name, kind, mode, uid, gid, mtime: _, xattrs } = entry;
        let letter = match kind {
            EntryKind::File { .. } => b'f',
            EntryKind::HardLink { .. } => b'h',
            EntryKind::Symlink { .. } => b'l',
            EntryKind::CharDevice { .. } => b'c',
            EntryKind::BlockDevice { .. } => b'b',
            EntryKind::Directory => b'd',
            EntryKind::Fifo => b'p',
        };
        hash.0.update([letter]);
        hash.bytes(name);
        for number in [*mode, *uid, *gid] {
            hash.number(number.into());
        }
        hash.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            hash.bytes(name);
            hash.bytes(value);
        }
        match kind {
            EntryKind::HardLink { target } | EntryKind::Symlink { target } => hash.bytes(target),
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                hash.number((*major).into());
                hash.number((*minor).into());
            }
            EntryKind::File { size } => hash.number(*size),
            EntryKind::Directory | EntryKind::Fifo => {}
        }
        Hashed { content, hash: &mut self.hash }
    }
}

/// Hashes what is read through it.
struct Hashed<'a> {
    content: &'a mut dyn Read,
    hash: &'a mut HashWriter,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hash.0.0.update(&buffer[..count]);
        Ok(count)
    }
}

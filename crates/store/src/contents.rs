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
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use types::digest::Sha256;

const FORMAT: &[u8] = b"berth layer contents 1\n";

/// A digest under way.
#[derive(Debug, Clone, Default)]
pub struct Hash(sha2::Sha256);

impl Hash {
    pub fn finish(self) -> Sha256 {
        Sha256::from_bytes(self.0.finalize().into())
    }
}

/// Bytes that are hashed in one piece.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait for the other thread: they bound the memory.
const PIECES_MAX: usize = 8;

/// Bytes after which another thread hashes, so that the archive's digest needn't wait for this one.
const ALONE_BYTES: u64 = 4 << 20;

/// A digest of a stream that may be long.
#[derive(Debug, Default)]
struct Stream {
    /// What isn't hashed yet.
    piece: Vec<u8>,
    bytes: u64,
    hash: Hash,
    other: Option<(SyncSender<Vec<u8>>, JoinHandle<Hash>)>,
}

impl Stream {
    fn add(&mut self, bytes: &[u8]) {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes += self.piece.len() as u64;
        if self.other.is_none() && self.bytes > ALONE_BYTES {
            self.other = start(&self.hash);
        }
        match &self.other {
            None => {
                self.hash.0.update(&self.piece);
                self.piece.clear();
            }
            Some((sender, _)) => {
                let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
                // The receiver lives until the sender is gone.
                let _ = sender.send(piece);
            }
        }
    }

    fn finish(mut self) -> Sha256 {
        self.flush();
        let hash = match self.other {
            None => self.hash,
            Some((sender, thread)) => {
                drop(sender);
                // A panic of the thread's is one of ours.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        hash.finish()
    }
}

/// A thread that goes on hashing; `None` if there can't be one.
#[expect(clippy::disallowed_methods, reason = "it's joined by who made it, who clones nothing meanwhile")]
fn start(hash: &Hash) -> Option<(SyncSender<Vec<u8>>, JoinHandle<Hash>)> {
    let mut hash = hash.clone();
    let (sender, receiver) = sync_channel::<Vec<u8>>(PIECES_MAX);
    let thread = std::thread::Builder::new().spawn(move || {
        receiver.iter().for_each(|piece| hash.0.update(&piece));
        hash
    });
    Some((sender, thread.ok()?))
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
    stream: Stream,
    /// As [`crate::unpack::Unpacked::id_blocks`].
    pub id_blocks: BTreeSet<u32>,
}

impl Contents {
    pub fn new() -> Contents {
        let mut stream = Stream::default();
        stream.add(FORMAT);
        Contents { stream, id_blocks: BTreeSet::new() }
    }

    /// The digest.
    pub fn finish(self) -> (Sha256, BTreeSet<u32>) {
        (self.stream.finish(), self.id_blocks)
    }

    fn number(&mut self, number: u64) {
        self.stream.add(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.stream.add(bytes);
    }

    /// Adds an entry; its bytes are added as they are read from what is returned.
    pub fn entry<'a>(&'a mut self, entry: &Entry, content: &'a mut dyn Read) -> impl Read + 'a {
        let blocks = [entry.uid, entry.gid].map(|id| id / BLOCK_IDS);
        self.id_blocks.extend(blocks.into_iter().filter(|block| *block > 0));
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
        self.stream.add(&[letter]);
        self.bytes(name);
        for number in [*mode, *uid, *gid] {
            self.number(number.into());
        }
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        match kind {
            EntryKind::HardLink { target } | EntryKind::Symlink { target } => self.bytes(target),
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                self.number((*major).into());
                self.number((*minor).into());
            }
            EntryKind::File { size } => self.number(*size),
            EntryKind::Directory | EntryKind::Fifo => {}
        }
        Hashed { content, stream: &mut self.stream }
    }
}

/// Hashes what is read through it.
struct Hashed<'a> {
    content: &'a mut dyn Read,
    stream: &'a mut Stream,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.stream.add(&buffer[..count]);
        Ok(count)
    }
}

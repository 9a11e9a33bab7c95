//! A layer's archive as it was, out of the blob that is kept of it.

use crate::error::Error;
use crate::ingest::{decompress, read_meta_of};
use crate::{Layer, Store};
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use types::digest::{DiffId, Sha256};

/// Blobs are read in pieces of this size.
const BUFFER_BYTES: usize = 256 << 10;

/// The plain archive of a layer. The reader who has seen its end has seen what the layer's diff id names: it fails
/// otherwise.
pub struct LayerArchive {
    plain: Box<dyn Read>,
    hash: sha2::Sha256,
    diff: DiffId,
    bytes: u64,
    ended: bool,
}

impl std::fmt::Debug for LayerArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerArchive")
            .field("diff", &self.diff)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl LayerArchive {
    /// Its length.
    pub fn length(&self) -> u64 {
        self.bytes
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.hash.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && !self.ended {
            self.ended = true;
            let found = DiffId(Sha256::from_bytes(self.hash.clone().finalize().into()));
            if found != self.diff {
                let (expected, found) = (self.diff, found);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the archive of layer {expected} has rotted: its digest is {found}"),
                ));
            }
        }
        Ok(count)
    }
}

impl Store {
    /// Opens the archive of a layer.
    ///
    /// Errors: [`Error::NoArchive`] where no blob of it is kept, [`Error::ReadArchive`].
    pub fn open_archive(&self, layer: &Layer) -> Result<LayerArchive, Error> {
        let missing = || Error::NoArchive { diff: layer.diff.to_string() };
        let blob = layer.blob.as_ref().ok_or_else(missing)?;
        let open = || self.open_blob(&blob.digest).ok_or_else(missing);
        let bytes = match read_meta_of(&self.paths().layer(&layer.chain)).map(|meta| meta.archive_bytes) {
            Some(bytes) if bytes > 0 => bytes,
            // Made by an older berth.
            _ => io::copy(&mut plain(open()?)?, &mut io::sink()).map_err(Error::ReadArchive)?,
        };
        let (plain, hash) = (plain(open()?)?, sha2::Sha256::new());
        Ok(LayerArchive { plain, hash, diff: layer.diff, bytes, ended: false })
    }
}

fn plain(file: File) -> Result<Box<dyn Read>, Error> {
    Ok(decompress(BufReader::with_capacity(BUFFER_BYTES, file))?.0)
}

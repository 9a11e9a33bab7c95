//! A layer's archive as it was, out of the blob that is kept of it; and compressed as registries want it.

use crate::error::Error;
use crate::ingest::{Blob, Hashed, create_blob, decompress, open_blob, place_blob, read_meta_of};
use crate::locked::WorkDir;
use crate::paths::{BLOB_FILE, Paths};
use crate::{Layer, Store, gzip};
use rustix::fs::{Mode, OFlags};
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
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

/// The archives of layers, for several threads at once: without the database.
#[derive(Debug, Clone)]
pub struct Archives {
    paths: Paths,
}

impl Store {
    /// The archives of its layers.
    pub fn archives(&self) -> Archives {
        Archives { paths: self.paths().clone() }
    }

    /// [`Archives::open`].
    pub fn open_archive(&self, layer: &Layer) -> Result<LayerArchive, Error> {
        self.archives().open(layer)
    }
}

impl Archives {
    /// Opens the archive of a layer.
    ///
    /// Errors: [`Error::NoArchive`] where no blob of it is kept, [`Error::ReadArchive`].
    pub fn open(&self, layer: &Layer) -> Result<LayerArchive, Error> {
        let missing = || Error::NoArchive { diff: layer.diff.to_string() };
        let blob = layer.blob.as_ref().ok_or_else(missing)?;
        let open = || open_blob(&self.paths, &blob.digest).ok_or_else(missing);
        let bytes = match read_meta_of(&self.paths.layer(&layer.chain)).map(|meta| meta.archive_bytes) {
            Some(bytes) if bytes > 0 => bytes,
            // Made by an older berth.
            _ => io::copy(&mut plain(open()?)?, &mut io::sink()).map_err(Error::ReadArchive)?,
        };
        let (plain, hash) = (plain(open()?)?, sha2::Sha256::new());
        Ok(LayerArchive { plain, hash, diff: layer.diff, bytes, ended: false })
    }

    /// Makes a gzip blob of the archive of a layer, and opens it. It stays where blobs are; whoever wants it to stay there
    /// for long records a manifest that names it.
    ///
    /// Errors: as [`Archives::open`], [`Error::Files`].
    pub fn gzip(&self, layer: &Layer) -> Result<(Blob, File), Error> {
        let mut archive = self.open(layer)?;
        let work = WorkDir::create(&self.paths.tmp())?;
        let path = self.paths.tmp().join(BLOB_FILE);
        let files = |doing, source| Error::Files { doing, path: path.clone(), source };
        let file = create_blob(work.fd(), BLOB_FILE).map_err(|errno| files("make", errno.into()))?;
        let mut hashed = Hashed::new(file);
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, &mut hashed);
        let mut input = Input { archive: &mut archive, failed: false };
        let done = gzip::compress(&mut input, &mut out).and_then(|()| out.flush());
        let failed = input.failed;
        drop(out);
        done.map_err(|source| if failed { Error::ReadArchive(source) } else { files("write", source) })?;
        let Hashed { file, hash, bytes } = hashed;
        file.sync_all().map_err(|source| files("sync", source))?;
        let blob = Blob { digest: hash.finish(), bytes };
        // Before it is in its place, from where a sweep may take it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(work.fd(), BLOB_FILE, flags, Mode::empty());
        let opened = opened.map_err(|errno| files("open", errno.into()))?;
        place_blob(&self.paths, work.fd(), &blob.digest).map_err(|errno| Error::Files {
            doing: "move a blob to",
            path: self.paths.blob(&blob.digest),
            source: errno.into(),
        })?;
        Ok((blob, opened.into()))
    }
}

/// Tells whether a failure was the archive's.
struct Input<'a> {
    archive: &'a mut LayerArchive,
    failed: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer);
        self.failed |= matches!(&read, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        read
    }
}

fn plain(file: File) -> Result<Box<dyn Read>, Error> {
    Ok(decompress(BufReader::with_capacity(BUFFER_BYTES, file))?.0)
}

//! A layer's archive as it was, out of the blob that is kept of it or, of a layer that a build made, out of its tree; and compressed as registries want it.

use crate::error::Error;
use crate::ingest::{Blob, Hashed, create_blob, decompress, open_blob, place_blob, read_meta_of};
use crate::locked::{WorkDir, open_directory};
use crate::paths::{BLOB_FILE, LAYER_TREE, Paths};
use crate::{Layer, Store, gzip, pack};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::JoinHandle;
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
    /// Opens the archive of a layer: out of the blob that is kept of it or, of a layer that a build made, packed again.
    ///
    /// Errors: [`Error::NoArchive`] where neither can be, [`Error::ReadArchive`].
    pub fn open(&self, layer: &Layer) -> Result<LayerArchive, Error> {
        let missing = || Error::NoArchive { diff: layer.diff.to_string() };
        let Some(blob) = &layer.blob else { return self.pack(layer) };
        let open = || open_blob(&self.paths, &blob.digest).ok_or_else(missing);
        let bytes = match read_meta_of(&self.paths.layer(&layer.chain)).map(|meta| meta.archive_bytes) {
            Some(bytes) if bytes > 0 => bytes,
            // Made by an older berth.
            _ => io::copy(&mut plain(open()?)?, &mut io::sink()).map_err(Error::ReadArchive)?,
        };
        let (plain, hash) = (plain(open()?)?, sha2::Sha256::new());
        Ok(LayerArchive { plain, hash, diff: layer.diff, bytes, ended: false })
    }

    /// The archive of a layer that a build made, out of its tree.
    fn pack(&self, layer: &Layer) -> Result<LayerArchive, Error> {
        let meta = read_meta_of(&self.paths.layer(&layer.chain));
        let told = meta.and_then(|meta| Some((meta.archive_bytes, meta.below?)));
        let (bytes, below) = told.ok_or_else(|| Error::NoArchive { diff: layer.diff.to_string() })?;
        let open = |path: &Path| {
            let failed =
                |errno: Errno| Error::Files { doing: "open", path: path.into(), source: errno.into() };
            open_directory(CWD, path).map_err(failed)
        };
        let tree = open(&layer.tree)?;
        let lowers = below.iter().rev().map(|hex| open(&self.paths.layers().join(hex).join(LAYER_TREE)));
        let lowers = lowers.collect::<Result<Vec<_>, _>>()?;
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (read, write) = pipe.map_err(|errno| Error::ReadArchive(errno.into()))?;
        // A larger one, as many bytes as it may have without a privilege.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, 1 << 20);
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with what is returned; who reads archives clones nothing"
        )]
        let packer = std::thread::spawn(move || {
            let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(AsFd::as_fd).collect();
            pack::write_layer(tree.as_fd(), &lowers, &[], File::from(write)).map(drop)
        });
        let plain = Box::new(Packed { pipe: File::from(read), packer: Some(packer) });
        Ok(LayerArchive { plain, hash: sha2::Sha256::new(), diff: layer.diff, bytes, ended: false })
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

/// An archive that a thread packs, which ends when nobody reads on.
struct Packed {
    pipe: File,
    packer: Option<JoinHandle<Result<(), Error>>>,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(packer) = self.packer.take()
        {
            // A panic of the packer's is one of ours.
            let packed = packer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            packed.map_err(io::Error::other)?;
        }
        Ok(count)
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

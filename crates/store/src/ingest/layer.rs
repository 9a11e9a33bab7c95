//! One layer: found, waited for, or made in `tmp/`.

use super::feed::{Fed, Feed, Stopped, create_blob};
use super::{Blob, Input, LayerState, NewLayer, chunks};
use crate::error::Error;
use crate::locked::{WorkDir, open_directory, pin};
use crate::paths::{BLOB_FILE, LAYER_TREE, META_FILE, Paths};
use crate::unpack::{Pending, Whiteouts, unpack};
use crate::{Limits, tar};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use types::digest::{ChainId, DiffId, Digest};

/// What a layer's directory tells about it, beside its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Digest of its archive.
    pub diff: Digest,
    /// Bytes of files' content.
    pub bytes: u64,
    /// Bytes of its archive.
    #[serde(default)]
    pub archive_bytes: u64,
    /// A blob that holds its archive, if one was kept.
    pub blob: Option<(Digest, u64)>,
    /// As [`crate::unpack::Unpacked::id_blocks`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_blocks: Vec<u32>,
    /// Of a layer that its archive is packed from: the chain ids of those below, the lowest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Vec<String>>,
}

/// A layer that is complete in its work directory, and not yet on the disk.
pub(super) struct Unpacked {
    pub work: WorkDir,
    pub meta: Meta,
    pub diff: DiffId,
    /// What needs the layers below.
    pub pending: Pending,
}

pub(super) enum Found {
    /// In its place, pinned until the descriptor is closed.
    Placed(OwnedFd),
    Unpacked(Box<Unpacked>),
}

/// What makes layers, the same for all of an image.
pub(super) struct Maker<'a> {
    pub paths: &'a Paths,
    pub limits: &'a Limits,
    /// Set once one layer has failed.
    pub stop: &'a AtomicBool,
}

/// Another layer has failed: this one is given up.
pub(super) struct GivenUp;

type Result<T> = std::result::Result<T, Failure>;

/// Why a layer isn't made.
pub(super) enum Failure {
    Error(Error),
    GivenUp(GivenUp),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl Maker<'_> {
    /// Finds the layer, or makes it.
    pub fn find_or_make(
        &self,
        layer: &NewLayer<'_>,
        chain: Option<&ChainId>,
        report: &dyn Fn(LayerState),
    ) -> Result<Found> {
        let work = match chain {
            None => WorkDir::create(&self.paths.tmp())?,
            Some(chain) => {
                if let Some(held) = self.placed(chain)? {
                    report(LayerState::Exists);
                    return Ok(Found::Placed(held));
                }
                let name = format!("layer-{}", chain.hex());
                let work = WorkDir::claim(&self.paths.tmp(), &name, &|| report(LayerState::Waiting))?;
                // Whoever had it may have placed it meanwhile.
                if let Some(held) = self.placed(chain)? {
                    report(LayerState::Exists);
                    return Ok(Found::Placed(held));
                }
                work
            }
        };
        if let Some(blob) = &layer.blob
            && let Some(file) = open_blob(self.paths, &blob.digest)
        {
            match self.unpack(&work, layer, Box::new(file), false, report) {
                // It was never on the disk whole, or has rotted: the source has it still.
                Err(Failure::Error(
                    Error::WrongDigest { .. } | Error::BlobSize { .. } | Error::ReadArchive(_),
                )) => {
                    let path = self.paths.blob(&blob.digest);
                    std::fs::remove_file(&path).map_err(|source| files("remove", &path, source))?;
                    work.clear()?;
                }
                Err(other) => return Err(other),
                Ok(made) => return Ok(made.found(work)),
            }
        }
        let input = (layer.open)().map_err(Error::ReadArchive)?;
        Ok(self.unpack(&work, layer, input, true, report)?.found(work))
    }

    fn placed(&self, chain: &ChainId) -> Result<Option<OwnedFd>> {
        let path = self.paths.layers();
        let open = || pin(open_directory(CWD, &path)?.as_fd(), Path::new(&chain.hex()));
        open().map_err(|errno| files("open", &self.paths.layer(chain), errno.into()).into())
    }

    /// Unpacks the input into the work directory, its blob beside it if it's to be kept.
    fn unpack(
        &self,
        work: &WorkDir,
        layer: &NewLayer<'_>,
        input: Input<'_>,
        keep: bool,
        report: &dyn Fn(LayerState),
    ) -> Result<Made> {
        let in_work = |doing, name: &str| {
            let path = self.paths.tmp().join(name);
            move |errno: Errno| files(doing, &path, errno.into())
        };
        let tree = make_tree(work).map_err(in_work("make", LAYER_TREE))?;
        let keep = match keep {
            true => Some(create_blob(work.fd(), BLOB_FILE).map_err(in_work("make", BLOB_FILE))?),
            false => None,
        };
        let (writer, reader) = chunks::pair();
        let input: Input<'_> = Box::new(Stoppable { input, stop: self.stop });
        let whiteouts = if layer.has_whiteouts { Whiteouts::OfLayer } else { Whiteouts::AreFiles };
        let (fed, unpacked) = std::thread::scope(|scope| {
            let limits = self.limits;
            let unpacking = scope.spawn(move || {
                let mut archive = tar::Reader::new(reader);
                let unpacked = unpack(&mut archive, tree.as_fd(), whiteouts, limits)?;
                // The digest covers the padding after the archive's end as well.
                io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(super::read_error)?;
                Ok(unpacked)
            });
            let feed = Feed {
                input,
                expected: layer.blob.as_ref(),
                keep,
                limits,
                report: &|read_bytes, unpacked_bytes| {
                    report(LayerState::Reading { read_bytes, unpacked_bytes })
                },
            };
            let fed = feed.run(writer);
            // A panic of the unpacker's is one of ours.
            let unpacked = unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (fed, unpacked)
        });
        let Fed { diff, archive_bytes, blob } = match (fed, &unpacked) {
            (Ok(fed), Ok(_)) => fed,
            (Err(Stopped::Failed(_)), _) if self.stop.load(Relaxed) => return Err(Failure::GivenUp(GivenUp)),
            (Err(Stopped::Failed(error)), _) => return Err(error.into()),
            // One of them has failed, and it isn't the feeder.
            (_, Err(_)) | (Err(Stopped::Gone), Ok(_)) => {
                return Err(unpacked.err().map_or(Failure::GivenUp(GivenUp), Failure::Error));
            }
        };
        if let Some(expected) = layer.diff
            && expected != diff
        {
            let (expected, found) = (expected.to_string(), diff.to_string());
            return Err(Error::WrongDigest { what: "archive", expected, found }.into());
        }
        let crate::unpack::Unpacked { bytes, id_blocks, pending, .. } = unpacked.unwrap_or_default();
        let blob = blob.or_else(|| layer.blob.clone());
        let meta = Meta {
            diff: diff.digest(),
            bytes,
            archive_bytes,
            blob: blob.map(|blob| (blob.digest, blob.bytes)),
            id_blocks: id_blocks.into_iter().collect(),
            below: None,
        };
        write_meta(self.paths, work, &meta)?;
        report(LayerState::Unpacked);
        Ok(Made { diff, meta, pending })
    }
}

/// What came of unpacking.
struct Made {
    diff: DiffId,
    meta: Meta,
    pending: Pending,
}

impl Made {
    fn found(self, work: WorkDir) -> Found {
        let Made { diff, meta, pending } = self;
        Found::Unpacked(Box::new(Unpacked { work, meta, diff, pending }))
    }
}

/// An input that fails once another layer has.
struct Stoppable<'a, 's> {
    input: Input<'a>,
    stop: &'s AtomicBool,
}

impl Read for Stoppable<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        self.input.read(buffer)
    }
}

/// A blob that is kept here.
pub(crate) fn open_blob(paths: &Paths, digest: &Digest) -> Option<File> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(paths.blob(digest), flags, Mode::empty()).ok().map(File::from)
}

/// Writes down what a layer tells about itself, in its work directory.
pub(crate) fn write_meta(paths: &Paths, work: &WorkDir, meta: &Meta) -> std::result::Result<(), Error> {
    let text = serde_json::to_vec(meta).expect("strings and numbers always serialise");
    let path = paths.tmp().join(META_FILE);
    let mut file = create_blob(work.fd(), META_FILE).map_err(|errno| files("make", &path, errno.into()))?;
    io::Write::write_all(&mut file, &text).map_err(|source| files("write", &path, source))
}

/// What a placed layer tells about itself; `None` for one made before it was written down.
pub(super) fn read_meta(layer: &OwnedFd) -> Option<Meta> {
    // Room for the chain ids of as many layers as an overlay can have.
    const BYTES_MAX: u64 = 64 << 10;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(layer, META_FILE, flags, Mode::empty()).ok()?);
    serde_json::from_reader(file.take(BYTES_MAX)).ok()
}

/// What the layer in directory `path` tells about itself, whoever works on it.
pub(crate) fn read_meta_of(path: &Path) -> Option<Meta> {
    read_meta(&open_directory(CWD, path).ok()?)
}

pub(crate) fn make_tree(work: &WorkDir) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(work.fd(), LAYER_TREE, Mode::RWXU)?;
    let tree = open_directory(work.fd(), Path::new(LAYER_TREE))?;
    rustix::fs::fchmod(&tree, Mode::from_raw_mode(0o755))?;
    Ok(tree)
}

fn files(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Files { doing, path: path.to_owned(), source }
}

impl From<&Meta> for Option<Blob> {
    fn from(meta: &Meta) -> Option<Blob> {
        meta.blob.clone().map(|(digest, bytes)| Blob { digest, bytes })
    }
}

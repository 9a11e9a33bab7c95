//! Making an image of one layer from the archive of a root file system.
//!
//! One pass: input, inflate, hash, unpack into `tmp/`. Then, in this order: sync the file system, move the layer to its
//! place, commit the rows. A crash before the last step leaves a directory that nobody holds and [`Store::sweep`]
//! removes. The layer's lock is held until its row is there.

use crate::error::Error;
use crate::images::{NewImage, NewLayer};
use crate::locked::{Wait, WorkDir, lock, open_directory};
use crate::paths::LAYER_TREE;
use crate::unpack::{Limits, unpack};
use crate::{Store, tar};
use flate2::bufread::MultiGzDecoder;
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::Serialize;
use sha2::Digest;
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use types::digest::{ChainId, DiffId, ImageId, Sha256};
use types::reference::Reference;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of input read.
    pub read_bytes: u64,
    /// Bytes of the uncompressed archive.
    pub unpacked_bytes: u64,
}

/// Bytes of the uncompressed archive between two reports of progress.
const PROGRESS_STEP_BYTES: u64 = 1 << 20;

/// Compressed input is read in pieces of this size.
const INPUT_BUFFER_BYTES: usize = 64 << 10;

/// The archive is hashed and written in pieces of this size: small enough to stay in the processor's cache.
const ARCHIVE_BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// Reads the archive of a root file system, plain or gzip, and makes an image of it, named `reference` if given.
    ///
    /// Names as `.wh.x` are files like others: an archive of a root file system has no whiteouts. `progress` is called
    /// about once a mebibyte. Errors: [`Error::Archive`], [`Error::Entry`], [`Error::Unpack`], [`Error::Limit`],
    /// [`Error::Compression`], [`Error::ReadArchive`]; nothing is left of a failed import.
    pub fn import(
        &self,
        input: &mut impl Read,
        reference: Option<&Reference>,
        created_by: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageId, Error> {
        self.import_within(&Limits::default(), input, reference, created_by, progress)
    }

    /// [`Store::import`] with other limits.
    pub fn import_within(
        &self,
        limits: &Limits,
        input: &mut impl Read,
        reference: Option<&Reference>,
        created_by: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageId, Error> {
        self.db.require_writable("import an image")?;
        let work = WorkDir::create(&self.paths().tmp())?;
        let unpacked = unpack_archive(&work, limits, input, progress)?;
        let work_error =
            |source: Errno| Error::Files { doing: "sync", path: self.paths().tmp(), source: source.into() };
        rustix::fs::syncfs(work.fd()).map_err(work_error)?;

        let chain = ChainId::stack(None, unpacked.diff);
        let _held = self.publish_layer(work, &chain)?;
        let created_ns = now_ns();
        let config_json = config_of(unpacked.diff, created_ns, created_by);
        let id = ImageId(Sha256::of(config_json.as_bytes()));
        self.insert_image(&NewImage {
            id,
            config_json: &config_json,
            created_ns,
            layers: &[NewLayer { chain, diff: unpacked.diff, bytes: unpacked.bytes }],
            reference,
        })?;
        Ok(id)
    }

    /// Moves an unpacked and synced layer to its place and returns its lock, to be held until its row is committed. A
    /// layer that is there already, with a row or without, is the same one, and complete: then ours is dropped.
    fn publish_layer(&self, mut work: WorkDir, chain: &ChainId) -> Result<OwnedFd, Error> {
        let error = |source: io::Error| Error::Files {
            doing: "move a layer to",
            path: self.paths().layer(chain),
            source,
        };
        let layers = open_directory(rustix::fs::CWD, &self.paths().layers()).map_err(|e| error(e.into()))?;
        let name = chain.hex();
        loop {
            work = match work.publish(layers.as_fd(), &name).map_err(error)? {
                Ok(held) => return Ok(held),
                Err(work) => work,
            };
            // A sweep may remove it before we hold it: then the name is free again.
            let held = lock(layers.as_fd(), Path::new(&name), Wait::Yes).map_err(|e| error(e.into()))?;
            if let Some(held) = held {
                return Ok(held);
            }
        }
    }
}

struct UnpackedLayer {
    diff: DiffId,
    bytes: u64,
}

fn unpack_archive(
    work: &WorkDir,
    limits: &Limits,
    input: &mut impl Read,
    progress: &mut dyn FnMut(Progress),
) -> Result<UnpackedLayer, Error> {
    let tree = make_tree(work).map_err(|source| Error::Files {
        doing: "make",
        path: LAYER_TREE.into(),
        source: source.into(),
    })?;
    let read_bytes = Cell::new(0);
    let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, Counted { inner: input, bytes: &read_bytes });
    let archive = Metered {
        inner: decompress(input)?,
        hash: sha2::Sha256::new(),
        bytes: 0,
        read_bytes: &read_bytes,
        limits,
        next_report: PROGRESS_STEP_BYTES,
        progress,
    };
    let mut reader = tar::Reader::new(BufReader::with_capacity(ARCHIVE_BUFFER_BYTES, archive));
    let unpacked = unpack(&mut reader, tree.as_fd(), limits)?;
    // The digest covers the padding after the archive's end as well.
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(read_error)?;
    let archive = rest.into_inner();
    (archive.progress)(Progress { read_bytes: read_bytes.get(), unpacked_bytes: archive.bytes });
    let digest = Sha256::from_bytes(archive.hash.finalize().into());
    Ok(UnpackedLayer { diff: DiffId(digest), bytes: unpacked.bytes })
}

fn make_tree(work: &WorkDir) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(work.fd(), LAYER_TREE, Mode::RWXU)?;
    let tree = open_directory(work.fd(), Path::new(LAYER_TREE))?;
    rustix::fs::fchmod(&tree, Mode::from_raw_mode(0o755))?;
    Ok(tree)
}

/// Chooses by the first bytes, as file names lie and pipes have none.
fn decompress<'a>(mut input: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    let start = loop {
        match input.fill_buf() {
            Ok(bytes) => break bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::ReadArchive(error)),
        }
    };
    match start {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(input))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(Error::Compression { format: "zstd" }),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression { format: "xz" }),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Err(Error::Compression { format: "bzip2" }),
        _ => Ok(Box::new(input)),
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: R,
    bytes: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// The uncompressed archive: hashed, held to the limits, reported.
struct Metered<'a, R> {
    inner: R,
    hash: sha2::Sha256,
    bytes: u64,
    read_bytes: &'a Cell<u64>,
    limits: &'a Limits,
    next_report: u64,
    progress: &'a mut dyn FnMut(Progress),
}

/// A limit that was passed, on its way through `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("more than {max} {what}")]
struct Exceeded {
    what: &'static str,
    max: u64,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        if self.bytes >= self.next_report {
            self.next_report = self.bytes + PROGRESS_STEP_BYTES;
            (self.progress)(Progress { read_bytes: self.read_bytes.get(), unpacked_bytes: self.bytes });
        }
        let Limits { bytes_max, ratio_max, .. } = *self.limits;
        if self.bytes > bytes_max {
            return Err(io::Error::other(Exceeded { what: "bytes", max: bytes_max }));
        }
        let inflated_max = self.read_bytes.get().saturating_mul(ratio_max);
        if self.bytes > Limits::RATIO_FREE_BYTES.max(inflated_max) {
            let what = "bytes for each compressed one";
            return Err(io::Error::other(Exceeded { what, max: ratio_max }));
        }
        Ok(read)
    }
}

/// What a failed read of the archive means: a limit, or the input.
fn read_error(error: io::Error) -> Error {
    match error.downcast::<Exceeded>() {
        Ok(Exceeded { what, max }) => Error::Limit { what, max },
        Err(error) => Error::ReadArchive(error),
    }
}

pub(crate) fn archive_error(error: tar::Error) -> Error {
    match error.fault {
        tar::Fault::Read(source) => read_error(source),
        fault => Error::Archive(tar::Error { fault, ..error }),
    }
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: Execution,
    rootfs: Rootfs,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
struct Execution {
    #[serde(rename = "Cmd")]
    cmd: [String; 0],
}

#[derive(Serialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [String; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

/// The image's configuration. Source: image-spec config.md.
fn config_of(diff: DiffId, created_ns: i64, created_by: &str) -> String {
    let created = rfc3339(created_ns);
    let config = Config {
        created: &created,
        architecture: architecture(),
        os: "linux",
        config: Execution { cmd: [] },
        rootfs: Rootfs { kind: "layers", diff_ids: [diff.to_string()] },
        history: [History { created: &created, created_by }],
    };
    serde_json::to_string(&config).expect("strings and arrays always serialize")
}

/// This machine's architecture in Go's words, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch as `2026-11-25T01:47:06.000000000Z`. Days to date: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms".
pub fn rfc3339(ns: i64) -> String {
    let (seconds, nanoseconds) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_709_164_800_000_000_001), "2024-02-29T00:00:00.000000001Z");
        assert_eq!(rfc3339(1_795_571_226_000_000_000), "2026-11-25T01:47:06.000000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
    }
}

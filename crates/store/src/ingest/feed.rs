//! The first half of a layer's pass: input → digest and blob's file → inflate → diff id → chunks.

use super::chunks::{Gone, Writer};
use super::{Blob, Input};
use crate::Limits;
use crate::error::Error;
use flate2::bufread::MultiGzDecoder;
use rustix::io::Errno;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use types::digest::{Algorithm, DiffId, Hasher, Sha256};
use types::image::media::Compression;

/// Input is read in pieces of this size.
const INPUT_BUFFER_BYTES: usize = 64 << 10;

/// Bytes of archive between two reports.
const REPORT_STEP_BYTES: u64 = 1 << 20;

/// Largest window of a zstd frame, as a power of two: what `zstd -22` makes. It is memory for each layer under way.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Level at which plain archives are kept: the fastest.
const ZSTD_KEEP_LEVEL: i32 = 1;

/// How an input is compressed, by its first bytes, as file names lie and pipes have none.
///
/// Errors: [`Error::Compression`] for what is known, and not read.
fn compression_of(start: &[u8]) -> Result<Compression, Error> {
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression { format: "xz" }),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Err(Error::Compression { format: "bzip2" }),
        start => Ok(Compression::of(start)),
    }
}

fn decoder<'a>(compression: Compression, input: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(Error::ReadArchive)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(Error::ReadArchive)?;
            Box::new(decoder)
        }
    })
}

/// The plain archive of an input that is plain, gzip or zstd, told by its first bytes; and whether it was plain.
///
/// Errors: [`Error::Compression`], [`Error::ReadArchive`].
pub fn decompress<'a>(mut input: impl BufRead + 'a) -> Result<(Box<dyn Read + 'a>, bool), Error> {
    let compression = compression_of(start_of(&mut input)?)?;
    Ok((decoder(compression, input)?, compression == Compression::None))
}

/// What was fed.
#[derive(Debug)]
pub(super) struct Fed {
    pub diff: DiffId,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What was kept, if anything was.
    pub blob: Option<Blob>,
}

/// Why feeding ended early.
pub(super) enum Stopped {
    Failed(Error),
    /// The unpacker failed first.
    Gone,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Failed(error)
    }
}

impl From<Gone> for Stopped {
    fn from(Gone: Gone) -> Stopped {
        Stopped::Gone
    }
}

pub(super) struct Feed<'a> {
    pub input: Input<'a>,
    /// What the input must be.
    pub expected: Option<&'a Blob>,
    /// Where the blob is kept; `None` if it is kept already.
    pub keep: Option<File>,
    pub limits: &'a Limits,
    /// Called about once a mebibyte: bytes read, bytes that came out.
    pub report: &'a dyn Fn(u64, u64),
}

impl Feed<'_> {
    /// Feeds all of the input to `chunks`.
    pub fn run(self, mut chunks: Writer) -> Result<Fed, Stopped> {
        let Feed { input, expected, mut keep, limits, report } = self;
        let algorithm = expected.map_or(Algorithm::Sha256, |blob| blob.digest.algorithm());
        let bytes_max = expected.map_or(u64::MAX, |blob| blob.bytes);
        let state = RefCell::new(State { hash: Hasher::new(algorithm), bytes: 0, bytes_max, keep: None });
        let mut input = BufReader::with_capacity(INPUT_BUFFER_BYTES, Tap { input, state: &state });
        let compression = compression_of(start_of(&mut input)?)?;
        // Plain archives are kept compressed.
        let mut own = match (compression, keep.take(), expected) {
            (Compression::None, Some(file), None) => Some(Compressed::new(file)?),
            (_, file, _) => {
                // The first bytes were read before it was known whether they are kept as they are.
                let mut state = state.borrow_mut();
                if let Some(mut file) = file {
                    file.write_all(input.buffer()).map_err(keep_error)?;
                    state.keep = Some(file);
                }
                None
            }
        };
        let mut diff = <sha2::Sha256 as sha2::Digest>::new();
        let (mut total, mut next_report) = (0, 0);
        {
            let mut plain = decoder(compression, &mut input)?;
            loop {
                let mut buffer = chunks.buffer()?;
                let filled = fill(&mut plain, &mut buffer).map_err(read_error)?;
                if filled == 0 {
                    break;
                }
                sha2::Digest::update(&mut diff, &buffer[..filled]);
                if let Some(own) = &mut own {
                    own.write(&buffer[..filled])?;
                }
                total += filled as u64;
                let read = state.borrow().bytes;
                check_limits(limits, read, total)?;
                if total >= next_report {
                    next_report = total + REPORT_STEP_BYTES;
                    report(read, total);
                }
                chunks.send(buffer, filled)?;
            }
        }
        // The blob's digest covers what lies behind the compressed stream as well.
        io::copy(&mut input, &mut io::sink()).map_err(read_error)?;
        drop(input);
        let state = state.into_inner();
        report(state.bytes, total);
        let kept_as_is = state.keep.is_some();
        let read = Blob { digest: state.hash.finish(), bytes: state.bytes };
        if let Some(expected) = expected {
            check_blob(expected, &read)?;
        }
        let blob = match own {
            Some(own) => Some(own.finish()?),
            None => kept_as_is.then_some(read),
        };
        let diff = DiffId(Sha256::from_bytes(sha2::Digest::finalize(diff).into()));
        chunks.finish()?;
        Ok(Fed { diff, archive_bytes: total, blob })
    }
}

fn check_limits(limits: &Limits, read: u64, total: u64) -> Result<(), Error> {
    if total > limits.bytes_max {
        return Err(Error::Limit { what: "bytes", max: limits.bytes_max });
    }
    if total > Limits::RATIO_FREE_BYTES.max(read.saturating_mul(limits.ratio_max)) {
        return Err(Error::Limit { what: "bytes for each compressed one", max: limits.ratio_max });
    }
    Ok(())
}

fn check_blob(expected: &Blob, read: &Blob) -> Result<(), Error> {
    if read.bytes != expected.bytes {
        return Err(Error::BlobSize { expected: expected.bytes, found: read.bytes });
    }
    if read.digest != expected.digest {
        let (expected, found) = (expected.digest.to_string(), read.digest.to_string());
        return Err(Error::WrongDigest { what: "blob", expected, found });
    }
    Ok(())
}

fn start_of(input: &mut impl BufRead) -> Result<&[u8], Error> {
    // Twice, as the borrow of the first can't be returned out of a loop.
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error)),
        }
    }
    input.fill_buf().map_err(read_error)
}

/// Reads until `buffer` is full or the input ends.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Hashes, counts, bounds and keeps what is read through it.
struct Tap<'a, 's> {
    input: Input<'a>,
    state: &'s RefCell<State>,
}

struct State {
    hash: Hasher,
    bytes: u64,
    bytes_max: u64,
    keep: Option<File>,
}

/// What goes wrong in the tap, on its way through `io::Error`.
#[derive(Debug, thiserror::Error)]
enum TapError {
    #[error("more than {expected} bytes")]
    TooLong { expected: u64 },
    #[error("cannot keep it: {0}")]
    Keep(io::Error),
}

impl Read for Tap<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let mut state = self.state.borrow_mut();
        state.hash.update(&buffer[..count]);
        state.bytes += count as u64;
        if state.bytes > state.bytes_max {
            return Err(io::Error::other(TapError::TooLong { expected: state.bytes_max }));
        }
        if let Some(file) = &mut state.keep {
            file.write_all(&buffer[..count]).map_err(|error| io::Error::other(TapError::Keep(error)))?;
        }
        Ok(count)
    }
}

/// A plain archive kept as zstd.
struct Compressed {
    encoder: zstd::Encoder<'static, Hashed>,
}

/// A file that is hashed and counted as it is written.
pub(crate) struct Hashed {
    pub file: File,
    pub hash: Hasher,
    pub bytes: u64,
}

impl Hashed {
    pub fn new(file: File) -> Hashed {
        Hashed { file, hash: Hasher::new(Algorithm::Sha256), bytes: 0 }
    }
}

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressed {
    fn new(file: File) -> Result<Compressed, Error> {
        let encoder = zstd::Encoder::new(Hashed::new(file), ZSTD_KEEP_LEVEL).map_err(keep_error)?;
        Ok(Compressed { encoder })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.encoder.write_all(bytes).map_err(keep_error)
    }

    fn finish(self) -> Result<Blob, Error> {
        let hashed = self.encoder.finish().map_err(keep_error)?;
        Ok(Blob { digest: hashed.hash.finish(), bytes: hashed.bytes })
    }
}

fn keep_error(source: io::Error) -> Error {
    Error::Files { doing: "write a blob in", path: "tmp".into(), source }
}

/// What a failed read of an archive means: a fault of the tap, or of the input.
pub(crate) fn read_error(error: io::Error) -> Error {
    match error.downcast::<TapError>() {
        Ok(TapError::TooLong { expected }) => Error::BlobSize { expected, found: expected + 1 },
        Ok(TapError::Keep(source)) => keep_error(source),
        Err(error) => Error::ReadArchive(error),
    }
}

/// Opens the file in which a work directory keeps its blob.
pub(crate) fn create_blob(dir: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<File, Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

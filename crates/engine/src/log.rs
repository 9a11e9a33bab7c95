//! What a container wrote, as the keeper stores it: frames in numbered files. The log is the truth, and whoever wants
//! the output reads it from here, `berth run` in the foreground included.
//!
//! ```text
//! <state>/log/<n>     n counts up from 0; a file is closed at FILE_BYTES_MAX, and only FILES_MAX of them are kept
//!
//! frame: 24 bytes of header, then the payload, as written to one stream in one go
//!   0  magic 0xB7   1  stream (1 stdout, 2 stderr)   2  zero (2 bytes)   4  payload bytes (u32)
//!   8  nanoseconds since the epoch (u64)            16  offset of the payload in its stream (u64)      little-endian
//! ```
//!
//! Invariants:
//! 1. Only one process writes: the keeper, holding the container's lock.
//! 2. A header is written before its payload and names its full length. If the writer was killed in between, the last
//!    frame of the last file is short; the next writer corrects its length ([`Writer::open`]). What wasn't copied yet is
//!    still in the FIFO. Readers take a short last frame for what there is of it.
//! 3. Payloads are moved by splice(2): they never pass through the keeper's memory.

use crate::Error;
use linux::Errno;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Bytes after which a new file is begun (docker's `local` driver: 20 MB, 5 files).
pub const FILE_BYTES_MAX: u64 = 20_000_000;
/// Files kept.
pub const FILES_MAX: u64 = 5;
/// Bytes of a header.
pub const HEADER_BYTES: usize = 24;
/// Most bytes of one frame; a pipe holds no more.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

const MAGIC: u8 = 0xB7;

/// One of the container's two output streams. A terminal's output is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// 0 for stdout, 1 for stderr.
    pub fn index(self) -> usize {
        match self {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which stream.
    pub stream: Stream,
    /// Payload bytes.
    pub length: u32,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Place of the payload in its stream.
    pub offset: u64,
}

impl Header {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = MAGIC;
        bytes[1] = self.stream.index() as u8 + 1;
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are no header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        let stream = match (bytes[0], bytes[1]) {
            (MAGIC, 1) => Stream::Stdout,
            (MAGIC, 2) => Stream::Stderr,
            _ => return None,
        };
        let length = number(4..8) as u32;
        (length as usize <= FRAME_BYTES_MAX).then_some(Header {
            stream,
            length,
            time_ns: number(8..16),
            offset: number(16..24),
        })
    }
}

/// The log's directory below a container's durable one.
pub fn dir(state: &Path) -> PathBuf {
    state.join("log")
}

fn open_file(dir: &Path, number: u64, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, dir.join(number.to_string()), flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
}

/// Numbers of the files there are, ascending.
pub fn file_numbers(dir: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Appends frames.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    number: u64,
    /// The file, and how long it is; made with the first frame.
    file: Option<(OwnedFd, u64)>,
    /// Bytes written of each stream.
    totals: [u64; 2],
}

impl Writer {
    /// Continues the log in `dir`, or begins one; the directory is made with the first frame.
    pub fn open(dir: PathBuf) -> Result<Writer, Error> {
        let mut writer = Writer { dir, number: 0, file: None, totals: [0; 2] };
        let numbers = file_numbers(&writer.dir);
        for number in &numbers {
            writer.number = *number;
            writer.recover(*number).map_err(|errno| writer.failed("read", errno))?;
        }
        Ok(writer)
    }

    fn failed(&self, what: &'static str, errno: Errno) -> Error {
        Error::system(what, self.dir.join(self.number.to_string()).display(), errno)
    }

    /// Adds up what a file holds; corrects a last frame that was cut short.
    fn recover(&mut self, number: u64) -> Result<(), Errno> {
        let file = open_file(&self.dir, number, OFlags::RDWR)?;
        let size = rustix::fs::fstat(&file)?.st_size as u64;
        let mut at = 0;
        while let Some(mut header) = read_header(file.as_fd(), at, size)? {
            let rest = size - at - HEADER_BYTES as u64;
            if u64::from(header.length) > rest {
                header.length = rest as u32;
                rustix::io::pwrite(&file, &header.encode(), at)?;
            }
            self.totals[header.stream.index()] = header.offset + u64::from(header.length);
            at += HEADER_BYTES as u64 + u64::from(header.length);
        }
        // Less than a header is left of a frame whose payload hasn't been taken from the FIFO.
        if at < size {
            rustix::fs::ftruncate(&file, at)?;
        }
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(at))?;
        self.file = Some((file, at));
        Ok(())
    }

    /// Bytes written so far of stdout and stderr.
    pub fn totals(&self) -> [u64; 2] {
        self.totals
    }

    /// The file being written and its length.
    pub fn position(&self) -> (u64, u64) {
        (self.number, self.file.as_ref().map_or(0, |(_, size)| *size))
    }

    /// Appends `length` bytes that are ready in `pipe`.
    pub fn append_from(&mut self, pipe: BorrowedFd<'_>, stream: Stream, length: usize) -> Result<(), Error> {
        let length = length.min(FRAME_BYTES_MAX);
        self.begin(stream, length)?;
        let mut left = length;
        while left > 0 {
            let moved = self.with_file(|file| splice(pipe, None, file, None, left, SpliceFlags::empty()));
            match moved {
                Ok(0) => break,
                Ok(n) => left -= n,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.end(stream, length, left);
                    return Err(self.failed("write", errno));
                }
            }
        }
        self.end(stream, length, left);
        Ok(())
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8], stream: Stream) -> Result<(), Error> {
        for part in bytes.chunks(FRAME_BYTES_MAX) {
            self.begin(stream, part.len())?;
            let mut left = part;
            while !left.is_empty() {
                match self.with_file(|file| rustix::io::write(file, left)) {
                    Ok(n) => left = &left[n..],
                    Err(Errno::INTR) => {}
                    Err(errno) => {
                        self.end(stream, part.len(), left.len());
                        return Err(self.failed("write", errno));
                    }
                }
            }
            self.end(stream, part.len(), 0);
        }
        Ok(())
    }

    fn with_file<T>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        match &self.file {
            Some((file, _)) => f(file.as_fd()),
            None => Err(Errno::BADF),
        }
    }

    fn begin(&mut self, stream: Stream, length: usize) -> Result<(), Error> {
        if self.file.as_ref().is_some_and(|(_, size)| *size >= FILE_BYTES_MAX) {
            self.rotate();
        }
        if self.file.is_none() {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let file = match open_file(&self.dir, self.number, flags) {
                Err(Errno::NOENT) => {
                    crate::claims::make_private_dir(&self.dir)?;
                    open_file(&self.dir, self.number, flags)
                }
                other => other,
            };
            self.file = Some((file.map_err(|errno| self.failed("make", errno))?, 0));
        }
        let header = Header {
            stream,
            length: length as u32,
            time_ns: crate::cell::now_ns() as u64,
            offset: self.totals[stream.index()],
        };
        let written = self.with_file(|file| rustix::io::write(file, &header.encode()));
        match written {
            Ok(HEADER_BYTES) => Ok(()),
            Ok(_) => self.undo_header(Errno::NOSPC),
            Err(errno) => self.undo_header(errno),
        }
    }

    /// Takes back a header that couldn't be written whole.
    fn undo_header(&mut self, errno: Errno) -> Result<(), Error> {
        if let Some((file, size)) = &self.file {
            let _ = rustix::fs::ftruncate(file, *size);
            let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(*size));
        }
        Err(self.failed("write", errno))
    }

    /// Accounts for a frame of which `left` bytes are missing.
    fn end(&mut self, stream: Stream, length: usize, left: usize) {
        let written = (length - left) as u64;
        let offset = self.totals[stream.index()];
        self.totals[stream.index()] += written;
        let Some((file, size)) = &mut self.file else { return };
        if left > 0 {
            let header =
                Header { stream, length: written as u32, time_ns: crate::cell::now_ns() as u64, offset };
            let _ = rustix::io::pwrite(&*file, &header.encode(), *size);
        }
        *size += HEADER_BYTES as u64 + written;
    }

    fn rotate(&mut self) {
        self.file = None;
        self.number += 1;
        if let Some(old) = self.number.checked_sub(FILES_MAX) {
            let _ = std::fs::remove_file(self.dir.join(old.to_string()));
        }
    }
}

fn read_header(file: BorrowedFd<'_>, at: u64, size: u64) -> Result<Option<Header>, Errno> {
    let mut bytes = [0; HEADER_BYTES];
    if at + HEADER_BYTES as u64 > size || rustix::io::pread(file, &mut bytes[..], at)? != HEADER_BYTES {
        return Ok(None);
    }
    Ok(Header::decode(&bytes))
}

/// A place in the log from which somebody reads on.
#[derive(Debug)]
pub struct Cursor {
    dir: PathBuf,
    number: u64,
    file: Option<OwnedFd>,
    at: u64,
    /// What is left of the frame in progress.
    current: Option<(Header, u32)>,
}

impl Cursor {
    /// A cursor at the log's beginning, or what is left of it.
    pub fn new(dir: PathBuf) -> Cursor {
        let number = file_numbers(&dir).first().copied().unwrap_or(0);
        Cursor { dir, number, file: None, at: 0, current: None }
    }

    /// A cursor at the log's end: only what comes from now on.
    pub fn at_end(dir: PathBuf) -> Result<Cursor, Error> {
        let number = file_numbers(&dir).last().copied().unwrap_or(0);
        let mut cursor = Cursor { number, ..Cursor::new(dir) };
        while let Some((_, there)) = cursor.next_piece()? {
            cursor.skip(there);
        }
        Ok(cursor)
    }

    /// The next piece of output: its header, and how much of it is still to be read. `None` at the log's end, for now.
    pub fn next_piece(&mut self) -> Result<Option<(Header, u32)>, Error> {
        loop {
            if let Some((header, left)) = self.current
                && left > 0
            {
                return self.there(header, left);
            }
            let failed =
                |errno| Error::system("read", self.dir.join(self.number.to_string()).display(), errno);
            if self.file.is_none() {
                match open_file(&self.dir, self.number, OFlags::RDONLY) {
                    Ok(file) => self.file = Some(file),
                    Err(Errno::NOENT) => {
                        // Not begun yet, or rotated away while the reader lagged.
                        match file_numbers(&self.dir).into_iter().find(|n| *n > self.number) {
                            Some(next) => self.number = next,
                            None => return Ok(None),
                        }
                        continue;
                    }
                    Err(errno) => return Err(failed(errno)),
                }
            }
            let Some(file) = &self.file else { continue };
            let size = rustix::fs::fstat(file).map_err(failed)?.st_size as u64;
            match read_header(file.as_fd(), self.at, size).map_err(failed)? {
                Some(header) => {
                    self.at += HEADER_BYTES as u64;
                    self.current = Some((header, header.length));
                }
                None if self.dir.join((self.number + 1).to_string()).exists() => {
                    self.number += 1;
                    self.file = None;
                    self.at = 0;
                }
                None => return Ok(None),
            }
        }
    }

    /// How much of the current frame is in the file: of one that is being written, the rest comes with a later look. One
    /// that was cut short and corrected since is as long as it says now.
    fn there(&mut self, header: Header, left: u32) -> Result<Option<(Header, u32)>, Error> {
        let failed = |errno| Error::system("read", self.dir.join(self.number.to_string()).display(), errno);
        let Some(file) = &self.file else { return Ok(None) };
        let size = rustix::fs::fstat(file).map_err(failed)?.st_size as u64;
        let there = size.saturating_sub(self.at).min(left.into()) as u32;
        if there > 0 {
            return Ok(Some((header, there)));
        }
        let begin = self.at - u64::from(header.length - left) - HEADER_BYTES as u64;
        match read_header(file.as_fd(), begin, size).map_err(failed)? {
            Some(now) if now.length < header.length => {
                self.current = Some((now, now.length.saturating_sub(header.length - left)));
                self.next_piece()
            }
            _ => Ok(None),
        }
    }

    /// Moves up to `length` bytes of the current piece into `pipe`; EAGAIN if it's full.
    pub fn splice_to(&mut self, pipe: BorrowedFd<'_>, length: u32) -> Result<u32, Errno> {
        let Some(file) = &self.file else { return Err(Errno::BADF) };
        let mut offset = self.at;
        let moved = splice(file, Some(&mut offset), pipe, None, length as usize, SpliceFlags::NONBLOCK)?;
        self.advance(moved as u32);
        Ok(moved as u32)
    }

    /// Reads up to `buffer`'s length of the current piece.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let Some(file) = &self.file else { return Err(Errno::BADF) };
        let left = self.current.map_or(0, |(_, left)| left as usize).min(buffer.len());
        let read = rustix::io::pread(file, &mut buffer[..left], self.at)?;
        self.advance(read as u32);
        Ok(read)
    }

    /// Passes over `length` bytes of the current piece.
    pub fn skip(&mut self, length: u32) {
        self.advance(length);
    }

    fn advance(&mut self, length: u32) {
        self.at += u64::from(length);
        if let Some((_, left)) = &mut self.current {
            *left -= length.min(*left);
        }
    }
}

#[cfg(test)]
mod tests;

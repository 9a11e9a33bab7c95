//! Reading frames.

use super::frame::read_header;
use super::hold::Hold;
use super::index::{self, Spot};
use super::loss::{GAP_BYTES, Gap};
use super::{HEADER_BYTES, Header, Stream, compress, file_numbers, open_at};
use crate::Error;
use linux::Errno;
use rustix::fs::OFlags;
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A place in the log from which somebody reads on.
#[derive(Debug)]
pub struct Cursor {
    dir: PathBuf,
    number: u64,
    file: Option<OwnedFd>,
    at: u64,
    /// What is left of the frame in progress.
    current: Option<(Header, u32)>,
    /// Ends of what was read of the streams: what is repeated is passed over.
    ends: [u64; 2],
    /// Gaps that were come by, not taken yet.
    gaps: [Option<Gap>; 2],
    /// Times of the gaps before which there are none to be told of.
    told: [u64; 2],
    /// Whether a gap at the very end is told of, which may still grow.
    settled: bool,
    /// For who isn't the keeper: keeps the directory from being removed.
    hold: Option<Hold>,
    holds: bool,
    /// For who reads in small pieces: some bytes of the file from a place on.
    ahead: Option<(u64, Vec<u8>)>,
}

/// Bytes read ahead at once.
const AHEAD_BYTES: usize = 128 << 10;

impl Cursor {
    /// A cursor at the log's beginning, or what is left of it.
    pub fn new(dir: PathBuf) -> Cursor {
        let number = file_numbers(&dir).first().copied().unwrap_or(0);
        Cursor {
            dir,
            number,
            file: None,
            at: 0,
            current: None,
            ends: [0; 2],
            gaps: [None; 2],
            told: [0; 2],
            settled: false,
            hold: None,
            holds: false,
            ahead: None,
        }
    }

    /// A cursor at that place.
    pub fn at_spot(dir: PathBuf, spot: &Spot) -> Cursor {
        Cursor { number: spot.number, at: spot.at, ..Cursor::new(dir) }
    }

    /// A cursor from which all is read that follows so many bytes of each stream, and some of what is before.
    pub fn before(dir: PathBuf, totals: [u64; 2]) -> Cursor {
        let is_before = |spot: &Spot| spot.totals[0] <= totals[0] && spot.totals[1] <= totals[1];
        match totals {
            [0, 0] => Cursor::new(dir),
            _ => match index::last_spot(&dir, is_before) {
                Some(spot) => Cursor::at_spot(dir, &spot),
                None => Cursor::new(dir),
            },
        }
    }

    /// Nothing is written any more.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// A cursor that keeps what it reads from going with its container.
    pub fn held(mut self) -> Cursor {
        self.holds = true;
        self.hold();
        self
    }

    fn hold(&mut self) {
        // It's made with the first output.
        if self.holds && self.hold.is_none() {
            self.hold = Hold::take(&self.dir);
            self.dir = self.hold.as_ref().map_or_else(|| self.dir.clone(), Hold::dir);
        }
    }

    /// A cursor that reads ahead, for who doesn't splice.
    pub fn buffered(self) -> Cursor {
        Cursor { ahead: Some((0, Vec::new())), ..self }
    }

    /// What was read ahead from `at` on.
    fn read_ahead(&self, at: u64) -> &[u8] {
        let Some((begin, bytes)) = &self.ahead else { return &[] };
        at.checked_sub(*begin).and_then(|from| bytes.get(usize::try_from(from).ok()?..)).unwrap_or_default()
    }

    /// Reads ahead unless `wanted` bytes are there.
    fn refill(&mut self, wanted: usize) -> Result<(), Errno> {
        if self.read_ahead(self.at).len() >= wanted {
            return Ok(());
        }
        let (Some((begin, bytes)), Some(file)) = (&mut self.ahead, &self.file) else { return Ok(()) };
        bytes.resize(AHEAD_BYTES, 0);
        let read = rustix::io::pread(file, &mut bytes[..], self.at).inspect_err(|_| bytes.clear())?;
        bytes.truncate(read);
        *begin = self.at;
        Ok(())
    }

    fn forget_ahead(&mut self) {
        if let Some((_, bytes)) = &mut self.ahead {
            bytes.clear();
        }
    }

    /// A cursor at the log's end, [held](Cursor::held): only what comes from now on.
    pub fn at_end(dir: PathBuf) -> Result<Cursor, Error> {
        let mut cursor = Cursor::new(dir).held();
        cursor.number = file_numbers(&cursor.dir).last().copied().unwrap_or(0);
        if let Some(spot) = index::last_spot(&cursor.dir, |_| true) {
            (cursor.number, cursor.at) = (spot.number, spot.at);
        }
        while let Some((_, there)) = cursor.next_piece()? {
            cursor.skip(there);
        }
        cursor.gaps = [None; 2];
        Ok(cursor)
    }

    /// Bytes of the current frame that weren't read.
    pub fn left(&self) -> u32 {
        self.current.map_or(0, |(_, left)| left)
    }

    /// Number of the file that is read.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A cursor that tells of later gaps than those of these times alone.
    pub fn told(self, told: [u64; 2]) -> Cursor {
        Cursor { told, ..self }
    }

    /// Times of the last gaps that were come by.
    pub fn gaps_told(&self) -> [u64; 2] {
        self.told
    }

    /// What is missing of a stream before the piece that comes next.
    pub fn take_gap(&mut self) -> Option<(Stream, Gap)> {
        Stream::BOTH.into_iter().find_map(|stream| Some((stream, self.gaps[stream.index()].take()?)))
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let path = self.dir.join(self.number.to_string());
        // Its compressed form is there before it goes.
        match open_at(None, &path, OFlags::RDONLY) {
            Err(Errno::NOENT) => compress::open(None, &path),
            other => other,
        }
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::system("read", self.dir.join(self.number.to_string()).display(), errno)
    }

    /// The next piece of output: its header, and how much of it is still to be read. `None` at the log's end, for now.
    pub fn next_piece(&mut self) -> Result<Option<(Header, u32)>, Error> {
        loop {
            if let Some((header, left)) = self.current
                && left > 0
            {
                return self.there(header, left);
            }
            if self.file.is_none() {
                self.hold();
                match self.open() {
                    Ok(file) => self.file = Some(file),
                    Err(Errno::NOENT) => {
                        // Not begun yet, or rotated away while the reader lagged.
                        match file_numbers(&self.dir).into_iter().find(|n| *n > self.number) {
                            Some(next) => (self.number, self.at) = (next, 0),
                            None => return Ok(None),
                        }
                        continue;
                    }
                    Err(errno) => return Err(self.failed(errno)),
                }
            }
            if !self.next_frame()? {
                let next = self.dir.join((self.number + 1).to_string());
                if !exists(&next) {
                    return Ok(None);
                }
                // The last look may have been before the file was finished.
                let settled = std::mem::replace(&mut self.settled, true);
                let found = self.next_frame();
                self.settled = settled;
                if !found? {
                    self.number += 1;
                    self.file = None;
                    self.at = 0;
                    self.forget_ahead();
                }
            }
        }
    }

    /// Goes on to the next frame of the file, if there is one.
    fn next_frame(&mut self) -> Result<bool, Error> {
        self.refill(HEADER_BYTES).map_err(|errno| self.failed(errno))?;
        if let Some(Ok(bytes)) =
            self.read_ahead(self.at).get(..HEADER_BYTES).map(<&[u8; HEADER_BYTES]>::try_from)
            && let Some(header) = Header::decode(bytes)
            && !header.gap
        {
            self.begin_frame(header);
            return Ok(true);
        }
        self.forget_ahead();
        let Some(file) = &self.file else { return Ok(false) };
        let size = rustix::fs::fstat(file).map_err(|errno| self.failed(errno))?.st_size as u64;
        let header = read_header(file.as_fd(), self.at, size).map_err(|errno| self.failed(errno))?;
        let Some(header) = header else { return Ok(false) };
        if header.gap {
            let index = header.stream.index();
            let mut bytes = [0; GAP_BYTES];
            let at = self.at + HEADER_BYTES as u64;
            let read = rustix::io::pread(file, &mut bytes[..], at).map_err(|errno| self.failed(errno))?;
            if read < GAP_BYTES || header.length as usize != GAP_BYTES {
                return Ok(false);
            }
            if !self.settled && at + GAP_BYTES as u64 == size {
                return Ok(false);
            }
            self.at = at + GAP_BYTES as u64;
            if header.time_ns > self.told[index] {
                self.told[index] = header.time_ns;
                self.gaps[index].get_or_insert_default().add(Gap::decode(&bytes));
            }
            return Ok(true);
        }
        self.begin_frame(header);
        Ok(true)
    }

    fn begin_frame(&mut self, header: Header) {
        let index = header.stream.index();
        self.at += HEADER_BYTES as u64;
        let had = self.ends[index].saturating_sub(header.offset).min(header.length.into()) as u32;
        self.current = Some((header, header.length));
        self.advance(had);
        self.ends[index] = self.ends[index].max(header.offset);
    }

    /// How much of the current frame is in the file: of one that is being written, the rest comes with a later look. One
    /// that was cut short and corrected since is as long as it says now.
    fn there(&mut self, header: Header, left: u32) -> Result<Option<(Header, u32)>, Error> {
        let ahead = self.read_ahead(self.at).len();
        if ahead > 0 {
            return Ok(Some((header, left.min(ahead as u32))));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let size = rustix::fs::fstat(file).map_err(|errno| self.failed(errno))?.st_size as u64;
        let there = size.saturating_sub(self.at).min(left.into()) as u32;
        if there > 0 {
            return Ok(Some((header, there)));
        }
        let had = header.length - left;
        let begin = self.at - u64::from(had) - HEADER_BYTES as u64;
        let now = read_header(file.as_fd(), begin, size).map_err(|errno| self.failed(errno))?;
        if now == Some(header) {
            return Ok(None);
        }
        // It's shorter by now, or was taken back for want of room and followed by another one.
        let kept =
            now.filter(|now| (now.stream, now.offset, now.gap) == (header.stream, header.offset, false));
        self.ends[header.stream.index()] =
            header.offset + u64::from(had.min(kept.map_or(0, |now| now.length)));
        (self.at, self.current) = (begin, None);
        if now.is_some() { self.next_piece() } else { Ok(None) }
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
        let left = self.current.map_or(0, |(_, left)| left as usize).min(buffer.len());
        let ahead = self.read_ahead(self.at);
        if !ahead.is_empty() {
            let read = left.min(ahead.len());
            buffer[..read].copy_from_slice(&ahead[..read]);
            self.advance(read as u32);
            return Ok(read);
        }
        let Some(file) = &self.file else { return Err(Errno::BADF) };
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
        if let Some((header, left)) = &mut self.current {
            *left -= length.min(*left);
            let end = &mut self.ends[header.stream.index()];
            *end = (*end).max(header.offset + u64::from(header.length - *left));
        }
    }
}

fn exists(path: &Path) -> bool {
    path.exists() || compress::name_of(path).exists()
}

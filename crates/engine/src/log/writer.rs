//! Appending frames.

use super::frame::read_header;
use super::index::{self, Index, Spot};
use super::loss::{GAP_BYTES, Gap, GapPlace};
use super::{FRAME_BYTES_MAX, HEADER_BYTES, Header, Stream, compress, file_numbers, hold, open_at};
use crate::Error;
use linux::Errno;
use rustix::fs::OFlags;
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a file is followed by another.
    pub file_bytes: u64,
    /// Files kept.
    pub files: u64,
    /// Files kept while somebody reads, if that's more.
    pub files_held: Option<u64>,
    /// Whether files that are written to no more are compressed.
    pub compress: bool,
    /// Bytes of a file from one entry of its index to the next, if it has one.
    pub index_bytes: Option<u64>,
}

/// Where a stream's last byte is, or what it was.
#[derive(Debug, Clone, Copy)]
enum LastByte {
    /// In this place of the present file.
    At(u64),
    /// Whether it's in the middle of a line.
    Within(bool),
}

/// Bytes that weren't kept, and why.
#[derive(Debug)]
pub struct NotKept {
    /// Bytes that were taken from the pipe, after the last whole line, and are gone.
    pub taken: u64,
    /// Lines that end in those.
    pub lines: u64,
    /// Bytes before those, that are kept.
    pub kept: u64,
    /// Why.
    pub errno: Errno,
}

/// Appends frames.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: Limits,
    number: u64,
    /// The file, and how long it is; made with the first frame.
    file: Option<(OwnedFd, u64)>,
    /// Bytes written of each stream.
    totals: [u64; 2],
    /// The first file that somebody still needs, whatever the limits say.
    keep_from: Option<u64>,
    last: [LastByte; 2],
    /// Entries of the present file's index.
    indexed: u64,
    /// The length of the file from which on another is due.
    index_due: u64,
    /// When what is written came; `None` is now.
    time_ns: Option<u64>,
}

impl Writer {
    /// Continues the log in `dir`, or begins one; the directory is made with the first frame.
    pub fn open(dir: PathBuf, limits: Limits) -> Result<Writer, Error> {
        let mut writer = Writer {
            dir,
            limits,
            number: 0,
            file: None,
            totals: [0; 2],
            keep_from: None,
            last: [LastByte::Within(false); 2],
            indexed: 0,
            index_due: 0,
            time_ns: None,
        };
        let numbers = file_numbers(&writer.dir);
        // What is before the last entry of the last index needn't be read.
        let indexed = writer.limits.index_bytes.zip(numbers.last().copied());
        if let Some((every, number)) = indexed
            && let Some((place, spot)) =
                Index::open(&writer.dir, number).and_then(|index| index.last(|_| true))
        {
            writer.number = number;
            (writer.totals, writer.last) = (spot.totals, spot.within.map(LastByte::Within));
            (writer.indexed, writer.index_due) = (place + 1, spot.at.saturating_add(every));
            writer.recover(number, true, spot.at).map_err(|errno| writer.failed("read", errno))?;
        } else {
            for number in &numbers {
                writer.number = *number;
                writer
                    .recover(*number, Some(number) == numbers.last(), 0)
                    .map_err(|errno| writer.failed("read", errno))?;
            }
        }
        if writer.file.is_some() && writer.limits.index_bytes.is_some() {
            // Entries of frames that didn't outlive a crash of the machine.
            index::shorten(&writer.dir, writer.number, writer.indexed);
        }
        Ok(writer)
    }

    fn failed(&self, what: &'static str, errno: Errno) -> Error {
        Error::system(what, self.dir.join(self.number.to_string()).display(), errno)
    }

    /// Adds up what a file holds from a frame on; corrects the last frame of the last if it was cut short.
    fn recover(&mut self, number: u64, last: bool, from: u64) -> Result<(), Errno> {
        let path = self.dir.join(number.to_string());
        let file = match open_at(None, &path, OFlags::RDWR) {
            Err(Errno::NOENT) if !last => return Ok(()),
            // Only compressed: the next frame begins another.
            Err(Errno::NOENT) => {
                let file = compress::open(None, &path)?;
                self.add_up(&file, from)?;
                (self.number, self.file) = (self.number + 1, None);
                return Ok(());
            }
            other => other?,
        };
        let (at, size) = self.add_up(&file, from)?;
        // Less than a header is left of a frame whose payload hasn't been taken from the FIFO.
        if at < size {
            rustix::fs::ftruncate(&file, at)?;
        }
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(at))?;
        self.file = Some((file, at));
        Ok(())
    }

    fn add_up(&mut self, file: &OwnedFd, from: u64) -> Result<(u64, u64), Errno> {
        let found = self.add_up_frames(file, from);
        self.last = Stream::BOTH.map(|stream| LastByte::Within(self.is_within(stream, file.as_fd())));
        found
    }

    fn add_up_frames(&mut self, file: &OwnedFd, from: u64) -> Result<(u64, u64), Errno> {
        let size = rustix::fs::fstat(file)?.st_size as u64;
        let mut at = from;
        while let Some(mut header) = read_header(file.as_fd(), at, size)? {
            let rest = size - at - HEADER_BYTES as u64;
            if u64::from(header.length) > rest {
                if header.gap {
                    // What it says is incomplete.
                    return Ok((at, size));
                }
                header.length = rest as u32;
                rustix::io::pwrite(file, &header.encode(), at)?;
            }
            self.totals[header.stream.index()] = header.offset + header.stream_bytes();
            at += HEADER_BYTES as u64 + u64::from(header.length);
            if header.stream_bytes() > 0 {
                self.last[header.stream.index()] = LastByte::At(at - 1);
            }
        }
        Ok((at, size))
    }

    /// Whether a stream is in the middle of a line, as far as that is known; `file` is the present one.
    fn is_within(&self, stream: Stream, file: BorrowedFd<'_>) -> bool {
        match self.last[stream.index()] {
            LastByte::Within(within) => within,
            LastByte::At(at) => {
                let mut byte = [0];
                rustix::io::pread(file, &mut byte[..], at) != Ok(1) || byte != *b"\n"
            }
        }
    }

    /// Puts the frame that has just begun into the index, if it's time.
    fn note_frame(&mut self) {
        let (Some(every), Some((file, size))) = (self.limits.index_bytes, &self.file) else { return };
        if *size < self.index_due {
            return;
        }
        let within = Stream::BOTH.map(|stream| self.is_within(stream, file.as_fd()));
        let spot = Spot { number: self.number, at: *size, totals: self.totals, within };
        self.index_due = size.saturating_add(every);
        // Without it, reading the log's end takes longer.
        self.indexed += u64::from(index::note(&self.dir, self.indexed, &spot).is_ok());
    }

    /// Bytes written so far of stdout and stderr.
    pub fn totals(&self) -> [u64; 2] {
        self.totals
    }

    /// Number of the file being written.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Files from this one on stay.
    pub fn keep_from(&mut self, number: Option<u64>) {
        self.keep_from = number;
    }

    /// What is written from now on came at that time; `None` is when it's written.
    pub fn set_time(&mut self, time_ns: Option<u64>) {
        self.time_ns = time_ns;
    }

    /// Whether the file is as long as it may be.
    pub fn is_full(&self) -> bool {
        self.file.as_ref().is_some_and(|(_, size)| *size >= self.limits.file_bytes)
    }

    fn frame_bytes_max(&self) -> usize {
        // Not more than a file should hold.
        usize::try_from(self.limits.file_bytes).unwrap_or(usize::MAX).clamp(1, FRAME_BYTES_MAX)
    }

    /// Appends up to `length` bytes that are ready in `pipe`; how many.
    pub fn append_from(
        &mut self,
        pipe: BorrowedFd<'_>,
        stream: Stream,
        length: usize,
    ) -> Result<usize, NotKept> {
        let length = length.min(self.frame_bytes_max());
        self.begin(self.header(stream, length)).map_err(|errno| NotKept {
            taken: 0,
            lines: 0,
            kept: 0,
            errno,
        })?;
        let mut left = length;
        while left > 0 {
            let moved = self.with_file(|file| splice(pipe, None, file, None, left, SpliceFlags::empty()));
            match moved {
                Ok(0) => break,
                Ok(n) => left -= n,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let (taken, lines) = self.give_up(stream, length - left);
                    let kept = (length - left) as u64 - taken;
                    return Err(NotKept { taken, lines, kept, errno });
                }
            }
        }
        self.end(stream, length, left);
        Ok(length - left)
    }

    /// Appends bytes. On failure, how many of them are in the log, and why the rest isn't.
    pub fn append(&mut self, bytes: &[u8], stream: Stream) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        for part in bytes.chunks(self.frame_bytes_max()) {
            let header = self.header(stream, part.len());
            self.begin(header).map_err(|errno| (done, errno))?;
            if let Err((written, errno)) = self.write_payload(part) {
                let lost = self.give_up(stream, written).0 as usize;
                return Err((done + written - lost, errno));
            }
            self.end(stream, part.len(), 0);
            done += part.len();
        }
        Ok(())
    }

    pub(super) fn write_payload(&self, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.with_file(|file| rustix::io::write(file, left)) {
                Ok(n) => left = &left[n..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err((bytes.len() - left.len(), errno)),
            }
        }
        Ok(())
    }

    /// Says that something is missing of `stream`.
    pub fn append_gap(&mut self, stream: Stream, gap: Gap) -> Result<GapPlace, Errno> {
        let header = Header { gap: true, ..self.header(stream, GAP_BYTES) };
        self.begin(header)?;
        match self.write_payload(&gap.encode()) {
            Ok(()) => {
                let Some((_, size)) = &mut self.file else { return Err(Errno::BADF) };
                let place = GapPlace { number: self.number, at: *size + HEADER_BYTES as u64 };
                *size += (HEADER_BYTES + GAP_BYTES) as u64;
                Ok(place)
            }
            Err((_, errno)) => Err(self.take_back(errno)),
        }
    }

    /// Says something else in the same place, which works on a full disk; whether it's still there.
    pub fn replace_gap(&self, place: GapPlace, gap: Gap) -> bool {
        place.number == self.number
            && self.with_file(|file| rustix::io::pwrite(file, &gap.encode(), place.at)).is_ok()
    }

    fn with_file<T>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        match &self.file {
            Some((file, _)) => f(file.as_fd()),
            None => Err(Errno::BADF),
        }
    }

    fn header(&self, stream: Stream, length: usize) -> Header {
        Header {
            stream,
            gap: false,
            length: length as u32,
            time_ns: self.time_ns.unwrap_or_else(|| crate::cell::now_ns() as u64),
            offset: self.totals[stream.index()],
        }
    }

    pub(super) fn begin(&mut self, header: Header) -> Result<(), Errno> {
        if self.is_full() {
            self.close();
            self.remove_old();
        }
        if self.file.is_none() {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let path = self.dir.join(self.number.to_string());
            let file = match open_at(None, &path, flags) {
                Err(Errno::NOENT) => {
                    crate::claims::make_private_dir(&self.dir).map_err(|_| Errno::NOENT)?;
                    open_at(None, &path, flags)
                }
                other => other,
            };
            self.file = Some((file?, 0));
        }
        let written = self.with_file(|file| rustix::io::write(file, &header.encode()));
        match written {
            Ok(HEADER_BYTES) => {
                self.note_frame();
                Ok(())
            }
            Ok(_) => Err(self.take_back(Errno::NOSPC)),
            Err(errno) => Err(self.take_back(errno)),
        }
    }

    /// Takes back a frame that couldn't be written whole.
    fn take_back(&mut self, errno: Errno) -> Errno {
        if let Some((file, size)) = &self.file {
            let _ = rustix::fs::ftruncate(file, *size);
            let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(*size));
        }
        errno
    }

    /// Cuts off a frame, of which only `written` bytes could be written, after a whole line; how many bytes of it are gone,
    /// and how many lines end in them.
    fn give_up(&mut self, stream: Stream, written: usize) -> (u64, u64) {
        // All but those of the last few bytes are kept.
        let last = written.min(HEADER_BYTES + GAP_BYTES);
        let mut lines = 0;
        if let Some((file, size)) = &self.file {
            let mut bytes = [0; HEADER_BYTES + GAP_BYTES];
            let at = size + (HEADER_BYTES + written - last) as u64;
            let read = rustix::io::pread(file, &mut bytes[..last], at).unwrap_or(0);
            lines = bytes[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        let kept = match &self.file {
            // Less by a gap's frame, which then has room where there is no more to be had.
            Some((file, size)) => {
                let written = written.saturating_sub(HEADER_BYTES + GAP_BYTES);
                whole_lines(file.as_fd(), size + HEADER_BYTES as u64, written)
            }
            None => 0,
        };
        if kept == 0 {
            self.take_back(Errno::NOSPC);
        } else {
            if let Some((file, size)) = &self.file {
                let end = size + (HEADER_BYTES + kept) as u64;
                let _ = rustix::fs::ftruncate(file, end);
                let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(end));
            }
            self.end(stream, written, written - kept);
        }
        ((written - kept) as u64, lines)
    }

    /// Accounts for a frame of which `left` bytes are missing.
    fn end(&mut self, stream: Stream, length: usize, left: usize) {
        let header = (left > 0).then(|| self.header(stream, length - left));
        self.totals[stream.index()] += (length - left) as u64;
        let Some((file, size)) = &mut self.file else { return };
        if let Some(header) = header {
            let _ = rustix::io::pwrite(&*file, &header.encode(), *size);
        }
        *size += (HEADER_BYTES + length - left) as u64;
        if length > left {
            self.last[stream.index()] = LastByte::At(*size - 1);
        }
    }

    /// Begins another file with frames that repeat what of the streams may still be needed: from where on, since when, and
    /// what. Nothing is repeated of a stream whose total alone is to be known. The older files go once that is done.
    pub fn rotate(&mut self, repeated: [(u64, u64, &[u8]); 2]) -> Result<(), Errno> {
        self.close();
        for (stream, (offset, time_ns, bytes)) in Stream::BOTH.into_iter().zip(repeated) {
            let length = bytes.len() as u32;
            self.begin(Header { stream, gap: false, length, time_ns, offset })?;
            if let Err((_, errno)) = self.write_payload(bytes) {
                return Err(self.take_back(errno));
            }
            if let Some((_, size)) = &mut self.file {
                *size += (HEADER_BYTES + bytes.len()) as u64;
            }
        }
        self.remove_old();
        Ok(())
    }

    /// Begins a log whose streams go on elsewhere: with frames that say where.
    pub fn begin_at(&mut self, totals: [u64; 2]) -> Result<(), Errno> {
        self.totals = totals;
        self.rotate([(totals[0], 0, &[]), (totals[1], 0, &[])])
    }

    fn close(&mut self) {
        if let Some((file, _)) = self.file.take() {
            self.last = Stream::BOTH.map(|stream| LastByte::Within(self.is_within(stream, file.as_fd())));
            (self.indexed, self.index_due) = (0, 0);
            if self.limits.compress && self.limits.files > 1 {
                compress::start(self.dir.join(self.number.to_string()), &self.dir);
            }
            self.number += 1;
        }
    }

    /// Removes files that are more than should be kept.
    pub fn remove_old(&self) {
        let more = self.limits.files_held.filter(|_| hold::is_held(&self.dir));
        let kept = (self.number + 1).saturating_sub(more.unwrap_or(self.limits.files));
        let first = self.keep_from.map_or(kept, |number| number.min(kept));
        if first == 0 {
            return;
        }
        // All, not the next alone: more may have been kept for a while.
        for old in file_numbers(&self.dir).into_iter().filter(|number| *number < first) {
            let path = self.dir.join(old.to_string());
            let _ = std::fs::remove_file(compress::name_of(&path));
            let _ = std::fs::remove_file(index::path_of(&self.dir, old));
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How many of `written` bytes at `begin` are whole lines.
fn whole_lines(file: BorrowedFd<'_>, begin: u64, written: usize) -> usize {
    let mut end = written;
    let mut buffer = [0; 4096];
    while end > 0 {
        let length = end.min(buffer.len());
        let from = end - length;
        let Ok(read) = rustix::io::pread(file, &mut buffer[..length], begin + from as u64) else { return 0 };
        if let Some(at) = buffer[..read].iter().rposition(|byte| *byte == b'\n') {
            return from + at + 1;
        }
        end = from;
    }
    0
}

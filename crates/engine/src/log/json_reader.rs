//! Reading docker's lines, the older files first, while they are written and renamed.

use super::position::Position;
use super::{compress, json, open_at};
use crate::Error;
use linux::Errno;
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Most bytes of a line: each of 16 KiB may be escaped to six. Longer ones are none of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

/// More files than any log has had.
const FILES_MAX: u64 = 1 << 40;

/// How long names may be changing: a rename takes no time, but its process may have been killed.
const ROTATION_TRIES: u32 = 50;

/// Reads them.
#[derive(Debug)]
pub struct JsonReader {
    path: PathBuf,
    /// Where the position is.
    dir: PathBuf,
    /// Number of the file that is read.
    number: i64,
    file: Option<OwnedFd>,
    at: u64,
    buffer: Vec<u8>,
    /// What of it was given out.
    used: usize,
}

impl JsonReader {
    /// From the beginning of the oldest file.
    pub fn new(path: PathBuf, dir: PathBuf) -> JsonReader {
        let mut reader = JsonReader { path, dir, number: 0, file: None, at: 0, buffer: Vec::new(), used: 0 };
        reader.number = reader.newest() - reader.older_files();
        reader
    }

    /// From the last `lines` lines on.
    pub fn of_tail(path: PathBuf, dir: PathBuf, lines: u64) -> Result<JsonReader, Error> {
        let mut reader = JsonReader::new(path, dir);
        let oldest = reader.number;
        let mut wanted = lines;
        for number in (oldest..=reader.newest()).rev() {
            let file = match reader.open(number) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(reader.failed(errno)),
            };
            let (at, found) = tail(&file, wanted).map_err(|errno| reader.failed(errno))?;
            (reader.number, reader.file, reader.at) = (number, Some(file), at);
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        Ok(reader)
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::system("read", self.path.display(), errno)
    }

    fn position(&self) -> Position {
        for _ in 0..ROTATION_TRIES {
            match Position::read(&self.dir) {
                Some(position) if position.rotating => std::thread::sleep(Duration::from_millis(1)),
                found => return found.unwrap_or_default(),
            }
        }
        Position::read(&self.dir).unwrap_or_default()
    }

    fn newest(&self) -> i64 {
        // A number that no file has is damage.
        self.position().file.min(FILES_MAX) as i64
    }

    /// The highest number behind a name.
    fn older_files(&self) -> i64 {
        let Some((dir, name)) = self.path.parent().zip(self.path.file_name()) else { return 0 };
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        let number = |entry: std::fs::DirEntry| {
            let entry = entry.file_name();
            let rest = entry.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
            rest.strip_suffix(compress::SUFFIX).unwrap_or(rest).parse::<u32>().ok()
        };
        entries.flatten().filter_map(number).max().unwrap_or(0).into()
    }

    /// The file of that number, whatever it's called by now.
    fn open(&self, number: i64) -> Result<OwnedFd, Errno> {
        for _ in 0..ROTATION_TRIES {
            let newest = self.newest();
            let path = match newest - number {
                0 => self.path.clone(),
                older => self.path.with_added_extension(older.to_string()),
            };
            let opened = open_plain(&path);
            if self.newest() == newest {
                return opened;
            }
        }
        Err(Errno::NOENT)
    }

    /// The next line; `None` at the end, for now.
    pub fn next_record(&mut self) -> Result<Option<json::Record>, Error> {
        loop {
            while let Some(end) = self.buffer[self.used..].iter().position(|byte| *byte == b'\n') {
                let line = &self.buffer[self.used..self.used + end];
                let record = json::parse(line);
                self.used += end + 1;
                // What isn't docker's isn't shown.
                if record.is_some() {
                    return Ok(record);
                }
            }
            if !self.read_more()? && !self.next_file()? {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> Result<bool, Error> {
        if self.file.is_none() {
            match self.open(self.number) {
                Ok(file) => (self.file, self.at) = (Some(file), 0),
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(self.failed(errno)),
            }
        }
        let Some(file) = &self.file else { return Ok(false) };
        self.buffer.drain(..self.used);
        self.used = 0;
        let size = rustix::fs::fstat(file).map_err(|errno| self.failed(errno))?.st_size as u64;
        if size < self.at || self.buffer.len() > LINE_BYTES_MAX {
            // Cut off after a write that failed.
            self.buffer.clear();
            self.at = self.at.min(size);
        }
        let had = self.buffer.len();
        self.buffer.resize(had + READ_BYTES, 0);
        let read = rustix::io::pread(file, &mut self.buffer[had..], self.at);
        self.buffer.truncate(had + read.unwrap_or(0));
        let read = read.map_err(|errno| self.failed(errno))?;
        self.at += read as u64;
        Ok(read > 0)
    }

    /// Goes on to the file that follows, if one does.
    fn next_file(&mut self) -> Result<bool, Error> {
        let newest = self.newest();
        if newest <= self.number {
            return Ok(false);
        }
        // The last look may have been before it was finished.
        if self.file.is_some() && self.read_more()? {
            return Ok(true);
        }
        self.buffer.clear();
        (self.number, self.file, self.used) = (self.number + 1, None, 0);
        Ok(true)
    }
}

fn open_plain(path: &Path) -> Result<OwnedFd, Errno> {
    // Its compressed form is there before it goes.
    match open_at(None, path, OFlags::RDONLY) {
        Err(Errno::NOENT) => compress::open(None, path),
        other => other,
    }
}

/// Where the last lines of a file begin, and how many those are.
fn tail(file: &OwnedFd, wanted: u64) -> Result<(u64, u64), Errno> {
    let size = rustix::fs::fstat(file)?.st_size as u64;
    let mut buffer = vec![0; READ_BYTES];
    let (mut end, mut found) = (size, 0);
    while end > 0 {
        let from = end.saturating_sub(READ_BYTES as u64);
        let length = (end - from) as usize;
        let read = rustix::io::pread(file, &mut buffer[..length], from)?;
        for (at, _) in buffer[..read].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if found == wanted {
                return Ok((from + at as u64 + 1, found));
            }
            found += 1;
        }
        end = from;
    }
    Ok((0, found))
}

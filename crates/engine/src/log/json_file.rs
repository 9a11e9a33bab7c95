//! The files of `json-file`, with docker's names and its rotation.
//!
//! ```text
//! <id>-json.log   <id>-json.log.1 or .1.gz   …   <id>-json.log.<max-file - 1>
//! ```
//!
//! A writer that was killed between a write and the note of it ([`Position`]) has written more than is noted. The next
//! one comes to the same bytes again, and writes only what isn't there.

use super::plan::Plan;
use super::position::{self, Position};
use super::{compress, open_at};
use linux::Errno;
use rustix::fs::{CWD, OFlags, ftruncate, renameat};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Writes them.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    /// Where the position is.
    dir: PathBuf,
    plan: Plan,
    file: Option<OwnedFd>,
    notes: Option<position::Keeper>,
    position: Position,
    /// Bytes that the file has beyond its position.
    ahead: u64,
}

impl JsonFile {
    /// Continues the file at `path`, or begins it; `dir` has what is noted about it, and `fresh` means that the streams
    /// begin anew. What fails is tried again with the next write.
    pub fn open(path: PathBuf, dir: PathBuf, plan: &Plan, fresh: bool) -> JsonFile {
        let _ = crate::claims::make_private_dir(&dir);
        let mut position = Position::read(&dir).unwrap_or_default();
        let notes = position::Keeper::open(&dir).ok();
        let mut json = JsonFile { path, dir, plan: plan.clone(), file: None, notes, position, ahead: 0 };
        if json.position.rotating {
            json.rotate();
            position = json.position;
        }
        let size = match json.reopen() {
            Ok(file) => rustix::fs::fstat(file).map_or(0, |stat| stat.st_size as u64),
            Err(_) => 0,
        };
        if fresh {
            position = Position { written: [0; 2], told: [0; 2], size: json.whole(size), ..position };
        } else {
            json.ahead = size.saturating_sub(position.size);
            position.size = position.size.min(size);
        }
        json.position = position;
        json.note();
        json
    }

    /// Where it is.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether the next line belongs into another file.
    pub fn is_full(&self, more: usize) -> bool {
        self.plan.file_bytes.is_some_and(|most| self.position.size + more as u64 >= most)
    }

    fn reopen(&mut self) -> Result<&OwnedFd, Errno> {
        if self.file.is_none() {
            self.file = Some(open_at(None, &self.path, OFlags::RDWR | OFlags::CREATE)?);
        }
        self.file.as_ref().ok_or(Errno::BADF)
    }

    /// What of the file's bytes is whole lines: the machine may have gone down while it was written.
    fn whole(&self, size: u64) -> u64 {
        let Some(file) = &self.file else { return size };
        let mut end = size;
        let mut buffer = [0; 4096];
        while end > 0 {
            let from = end.saturating_sub(buffer.len() as u64);
            let length = (end - from) as usize;
            match rustix::io::pread(file, &mut buffer[..length], from) {
                Ok(read) if read == length => {}
                _ => return size,
            }
            if let Some(at) = buffer[..length].iter().rposition(|byte| *byte == b'\n') {
                let whole = from + at as u64 + 1;
                if whole < size {
                    let _ = ftruncate(file, whole);
                }
                return whole;
            }
            end = from;
        }
        size
    }

    /// Appends whole lines, all of them or none, and notes that so much of the streams is written.
    pub fn write(&mut self, lines: &[u8], written: [u64; 2], told: [u64; 2]) -> Result<(), Errno> {
        let done = self.append(lines);
        if done.is_ok() {
            self.position.size += lines.len() as u64;
        }
        // What couldn't be written isn't tried again.
        (self.position.written, self.position.told) = (written, told);
        self.note();
        done
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), Errno> {
        let size = self.position.size;
        let had = self.had(lines)?;
        let mut left = &lines[had..];
        let file = self.reopen()?;
        while !left.is_empty() {
            let at = size + (lines.len() - left.len()) as u64;
            match rustix::io::pwrite(file, left, at) {
                Ok(n) => left = &left[n..],
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let _ = ftruncate(file, size);
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// How many of these bytes an earlier writer has written.
    fn had(&mut self, lines: &[u8]) -> Result<usize, Errno> {
        if self.ahead == 0 {
            return Ok(0);
        }
        let (size, length) = (self.position.size, self.ahead.min(lines.len() as u64) as usize);
        let mut there = vec![0; length];
        let file = self.reopen()?;
        let read = rustix::io::pread(file, &mut there[..], size)?;
        if read == length && there == lines[..length] {
            self.ahead -= length as u64;
            return Ok(length);
        }
        ftruncate(file, size)?;
        self.ahead = 0;
        Ok(0)
    }

    /// All that there is has been written again: what the file has beyond that is nobody's.
    pub fn caught_up(&mut self) {
        if self.ahead > 0 {
            if let Some(file) = &self.file {
                let _ = ftruncate(file, self.position.size);
            }
            self.ahead = 0;
        }
    }

    fn note(&mut self) {
        if self.notes.is_none() {
            let _ = crate::claims::make_private_dir(&self.dir);
            self.notes = position::Keeper::open(&self.dir).ok();
        }
        if let Some(notes) = &self.notes {
            let _ = notes.write(&self.position);
        }
    }

    fn older(&self, number: u64) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Begins another file. Done again from any point, it leads to the same.
    pub fn rotate(&mut self) {
        // Whoever compresses one of them has its name.
        let lock = compress::lock(&self.dir);
        self.position.rotating = true;
        self.note();
        self.file = None;
        // An empty one was made by a rotation that was cut short.
        if std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() > 0) {
            self.shift();
        }
        self.position = Position { rotating: false, size: 0, file: self.position.file + 1, ..self.position };
        self.ahead = 0;
        let _ = self.reopen();
        self.note();
        drop(lock);
        if self.plan.compress && self.plan.files > 1 {
            compress::start(self.older(1), &self.dir);
        }
    }

    fn shift(&self) {
        let last = self.plan.files - 1;
        if last == 0 {
            let _ = std::fs::remove_file(&self.path);
            return;
        }
        // Up to the first name that is free: a shift that was cut short has left one.
        let free = (1..last).find(|number| !is_there(&self.older(*number))).unwrap_or(last);
        remove(&self.older(free));
        for number in (2..=free).rev() {
            let (from, to) = (self.older(number - 1), self.older(number));
            if from.exists() {
                let _ = std::fs::remove_file(compress::name_of(&from));
                let _ = renameat(CWD, &from, CWD, &to);
            } else {
                let _ = renameat(CWD, compress::name_of(&from), CWD, compress::name_of(&to));
            }
        }
        let _ = renameat(CWD, &self.path, CWD, self.older(1));
    }
}

fn is_there(path: &Path) -> bool {
    path.exists() || compress::name_of(path).exists()
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(compress::name_of(path));
}

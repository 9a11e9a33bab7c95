//! The writer's side of the log.

use super::Event;
use crate::Home;
use crate::cell::now_ns;
use linux::Errno;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, ftruncate, openat, renameat, stat, unlinkat,
};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Files at most, the newest included.
const FILES_MAX: u64 = 4;

/// Bytes after which the newest file is put by.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What each line ends with, before the digits of its time.
const TIME: &[u8] = b"\"timeNano\":";

/// Bytes that are read at once, from the end backwards.
const CHUNK_BYTES: u64 = 64 << 10;

/// The log in one directory.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub dir: PathBuf,
    file_bytes_max: u64,
}

/// The newest file, locked.
struct Newest {
    file: OwnedFd,
    len: u64,
    /// Time of its last line, or of the one before its first.
    last_ns: i64,
}

impl Log {
    pub fn of(home: &Home) -> Log {
        Log { dir: home.root.join("events"), file_bytes_max: FILE_BYTES_MAX }
    }

    /// One with small files.
    #[cfg(test)]
    pub fn small(dir: PathBuf, file_bytes_max: u64) -> Log {
        Log { dir, file_bytes_max }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Writes an event, if it can be written.
    pub fn append(&self, event: Event) {
        self.append_all(vec![event]);
    }

    /// The same for several, next to each other.
    pub fn append_all(&self, events: Vec<Event>) {
        if let Ok(mut newest) = self.lock() {
            let _ = self.write(&mut newest, events);
        }
    }

    /// Writes what `decide` wants to be written after the last event of container `id` whose action is one of `among`, and not older
    /// than `since_ns`.
    pub fn append_after(
        &self,
        id: &str,
        among: &[&str],
        since_ns: i64,
        decide: impl FnOnce(Option<&Event>) -> Vec<Event>,
    ) {
        if let Ok(mut newest) = self.lock() {
            let last = self.last_of(&newest, &[id], among, since_ns).remove(id);
            let _ = self.write(&mut newest, decide(last.as_ref()));
        }
    }

    /// The same for several containers, each by its place among `ids`, in that order: the log is gone through once.
    pub fn append_after_each(
        &self,
        ids: &[&str],
        among: &[&str],
        since_ns: i64,
        decide: impl Fn(usize, Option<&Event>) -> Vec<Event>,
    ) {
        if let Ok(mut newest) = self.lock() {
            let last = self.last_of(&newest, ids, among, since_ns);
            let events = ids.iter().enumerate().flat_map(|(at, id)| decide(at, last.get(*id)));
            let _ = self.write(&mut newest, events.collect());
        }
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let open = || openat(CWD, self.path(), flags, Mode::from_raw_mode(0o600));
        match open() {
            Err(Errno::NOENT) => {
                self.make_dir()?;
                open()
            }
            other => other,
        }
    }

    pub fn make_dir(&self) -> Result<(), Errno> {
        match rustix::fs::mkdir(&self.dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Opens and locks the newest file, and cuts off a line that isn't whole.
    fn lock(&self) -> Result<Newest, Errno> {
        loop {
            let file = self.open()?;
            while let Err(errno) = flock(&file, FlockOperation::LockExclusive) {
                if errno != Errno::INTR {
                    return Err(errno);
                }
            }
            let own = fstat(&file)?;
            // Somebody may have put it by while this waited.
            if !stat(self.path()).is_ok_and(|now| now.st_ino == own.st_ino) {
                continue;
            }
            let len = own.st_size as u64;
            let whole = whole_bytes(&file, len)?;
            if whole < len {
                ftruncate(&file, whole)?;
            }
            let last_ns = match last_time(&file, whole) {
                None => self.older().last().and_then(|number| self.last_time_of(*number)).unwrap_or(0),
                Some(time) => time,
            };
            return Ok(Newest { file, len: whole, last_ns });
        }
    }

    /// Writes events by one write(2): all of them or none.
    fn write(&self, newest: &mut Newest, events: Vec<Event>) -> Result<(), Errno> {
        let mut lines = Vec::new();
        for event in events {
            newest.last_ns = now_ns().max(newest.last_ns);
            let time_ns = newest.last_ns;
            let event = Event { time: time_ns / 1_000_000_000, time_ns, ..event };
            // Plain data always serialises.
            lines.extend(serde_json::to_vec(&event).unwrap_or_default());
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        if newest.len > 0 && newest.len + lines.len() as u64 > self.file_bytes_max {
            self.put_by()?;
            *newest = self.lock()?;
        }
        match rustix::io::write(&newest.file, &lines) {
            Ok(written) if written == lines.len() => Ok(()),
            failed => {
                // No half lines on a full disk.
                ftruncate(&newest.file, newest.len)?;
                failed.and(Err(Errno::NOSPC))
            }
        }
    }

    /// Gives the newest file a number, and removes those that are too many. The caller has its lock.
    fn put_by(&self) -> Result<(), Errno> {
        let older = self.older();
        let number = older.last().map_or(1, |last| last + 1);
        renameat(CWD, self.path(), CWD, self.older_path(number))?;
        for old in older.into_iter().filter(|old| old + FILES_MAX - 1 <= number) {
            let _ = unlinkat(CWD, self.older_path(old), AtFlags::empty());
        }
        Ok(())
    }

    /// Numbers of the older files, the oldest first.
    pub fn older(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let number =
            |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("log.")?.parse().ok();
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn older_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("log.{number}"))
    }

    fn last_time_of(&self, number: u64) -> Option<i64> {
        let file = open_for_reading(&self.older_path(number)).ok()?;
        let len = fstat(&file).ok()?.st_size as u64;
        last_time(&file, whole_bytes(&file, len).ok()?)
    }

    /// The last event of each of some containers whose action is among some, looked for backwards.
    fn last_of(
        &self,
        newest: &Newest,
        ids: &[&str],
        among: &[&str],
        since_ns: i64,
    ) -> BTreeMap<String, Event> {
        let ids: BTreeSet<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
        let mut search = Backwards { ids, among, since_ns, found: BTreeMap::new() };
        if search.through(&newest.file, newest.len) {
            return search.found;
        }
        for number in self.older().into_iter().rev() {
            let Ok(file) = open_for_reading(&self.older_path(number)) else { continue };
            let len = fstat(&file).map_or(0, |stat| stat.st_size as u64);
            if search.through(&file, len) {
                break;
            }
        }
        search.found
    }
}

struct Backwards<'a> {
    /// Of whom nothing has been found.
    ids: BTreeSet<&'a [u8]>,
    among: &'a [&'a str],
    since_ns: i64,
    found: BTreeMap<String, Event>,
}

impl Backwards<'_> {
    /// Looks through a file from its end; whether the search is over.
    fn through(&mut self, file: &OwnedFd, len: u64) -> bool {
        let mut end = len;
        // What of the line that begins before the chunk is in it.
        let mut rest: Vec<u8> = Vec::new();
        while end > 0 {
            let begin = end.saturating_sub(CHUNK_BYTES);
            let Ok(mut chunk) = read_at(file, begin, (end - begin) as usize) else { return false };
            chunk.append(&mut rest);
            let first = match begin {
                0 => 0,
                _ => chunk.iter().position(|byte| *byte == b'\n').map_or(chunk.len(), |at| at + 1),
            };
            for line in chunk[first..].split(|byte| *byte == b'\n').rev() {
                if self.line(line) {
                    return true;
                }
            }
            chunk.truncate(first);
            rest = chunk;
            end = begin;
        }
        false
    }

    fn line(&mut self, line: &[u8]) -> bool {
        if time_of(line).is_some_and(|time| time < self.since_ns) {
            return true;
        }
        if id_of(line).is_none_or(|id| !self.ids.contains(id)) {
            return false;
        }
        if let Ok(event) = serde_json::from_slice::<Event>(line)
            && event.kind == "container"
            && self.among.contains(&event.action.as_str())
            && self.ids.remove(event.actor.id.as_bytes())
        {
            self.found.insert(event.actor.id.clone(), event);
        }
        self.ids.is_empty()
    }
}

/// Container or image that a line is about, without reading the line. What comes before is the status, in which these bytes
/// can't be: a quote inside a string has a backslash before it, and this one a comma.
fn id_of(line: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"\",\"id\":\"";
    let begin = line.windows(BEFORE.len()).position(|part| part == BEFORE)? + BEFORE.len();
    let length = line[begin..].iter().position(|byte| *byte == b'"')?;
    line.get(begin..begin + length)
}

pub(super) fn open_for_reading(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Up to `count` bytes from `offset` on; fewer at the file's end.
pub(super) fn read_at(file: &OwnedFd, offset: u64, count: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Bytes of a file of `len` up to and with its last newline.
pub(super) fn whole_bytes(file: &OwnedFd, len: u64) -> Result<u64, Errno> {
    if len == 0 || read_at(file, len - 1, 1)? == b"\n" {
        return Ok(len);
    }
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK_BYTES);
        let chunk = read_at(file, begin, (end - begin) as usize)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Time of the last line of a file of `len`, which ends with a newline.
fn last_time(file: &OwnedFd, len: u64) -> Option<i64> {
    let begin = len.saturating_sub(TIME.len() as u64 + 24);
    let tail = read_at(file, begin, (len - begin) as usize).ok()?;
    time_of(tail.strip_suffix(b"\n")?)
}

/// Time of a line, or of its end.
pub(super) fn time_of(line: &[u8]) -> Option<i64> {
    let digits = line.strip_suffix(b"}")?;
    let begin = digits.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    if !digits[..begin].ends_with(TIME) {
        return None;
    }
    std::str::from_utf8(&digits[begin..]).ok()?.parse().ok()
}

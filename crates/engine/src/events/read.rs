//! The reader's side of the log: from some moment on, over all files, and on as they grow.

use super::log::{Log, open_for_reading, read_at, time_of, whole_bytes};
use super::{Event, Filter};
use crate::{Error, Home};
use linux::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, inotify, stat};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// How often to look where nothing can be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Reads events one batch after the other.
///
/// It keeps the file open that it reads, so that one that is put by, or removed, is read to its end. Only who lags behind by
/// more than the other files hold loses what is in those removed meanwhile.
#[derive(Debug)]
pub struct Reader {
    log: Log,
    filter: Filter,
    since_ns: Option<i64>,
    until_ns: Option<i64>,
    watch: Option<OwnedFd>,
    file: Option<OwnedFd>,
    offset: u64,
    done: bool,
}

impl Reader {
    /// A reader of the events from `since` to `until`. Without `since` it begins with what comes next, or, if there is an
    /// `until`, with the oldest there is; without `until` it has no end.
    pub fn new(
        home: &Home,
        filter: Filter,
        since: Option<SystemTime>,
        until: Option<SystemTime>,
    ) -> Result<Reader, Error> {
        Reader::of(Log::of(home), filter, since.map(nanos), until.map(nanos))
    }

    pub(super) fn of(
        log: Log,
        filter: Filter,
        since_ns: Option<i64>,
        until_ns: Option<i64>,
    ) -> Result<Reader, Error> {
        let failed = |errno| Error::system("read", log.path().display(), errno);
        // Who has no log yet, and can't make one, has no events.
        let _ = log.make_dir();
        let watch = || {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let events = inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_FROM
                | inotify::WatchFlags::ONLYDIR;
            inotify::add_watch(&watch, &log.dir, events)?;
            Ok::<_, Errno>(watch)
        };
        let watch = watch().ok();
        let mut reader = Reader {
            log: log.clone(),
            filter,
            since_ns,
            until_ns,
            watch,
            file: None,
            offset: 0,
            done: false,
        };
        if since_ns.is_none() && until_ns.is_none() {
            reader.file = reader.open(log.path()).map_err(failed)?;
            if let Some(file) = &reader.file {
                let len = fstat(file).map_err(failed)?.st_size as u64;
                reader.offset = whole_bytes(file, len).map_err(failed)?;
            }
        } else {
            reader.file = reader.oldest().map_err(failed)?;
        }
        Ok(reader)
    }

    /// The next events, which may be none; `None` when there will be no more.
    pub fn next_batch(&mut self) -> Result<Option<Vec<Event>>, Error> {
        if self.done {
            return Ok(None);
        }
        let is_over = self.until_ns.is_some_and(|until| nanos(SystemTime::now()) > until);
        let mut events = Vec::new();
        let more = self.read(&mut events).map_err(|errno| self.failed(errno))?;
        self.done |= !more && is_over;
        if events.is_empty() && !more && !self.done {
            self.wait()?;
        }
        Ok(Some(events))
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::system("read", self.log.path().display(), errno)
    }

    fn open(&self, path: PathBuf) -> Result<Option<OwnedFd>, Errno> {
        match open_for_reading(&path) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn oldest(&self) -> Result<Option<OwnedFd>, Errno> {
        for number in self.log.older() {
            if let Some(file) = self.open(self.log.older_path(number))? {
                return Ok(Some(file));
            }
        }
        self.open(self.log.path())
    }

    /// Reads some of the lines that are there; whether there may be more at once.
    fn read(&mut self, events: &mut Vec<Event>) -> Result<bool, Errno> {
        let Some(file) = &self.file else {
            self.file = self.oldest()?;
            return Ok(self.file.is_some());
        };
        // Looked up first: what is read after a file was put by is all of it.
        let next = match self.is_newest(file)? {
            true => None,
            false => Some(()),
        };
        let mut count = READ_BYTES;
        let (bytes, whole) = loop {
            let bytes = read_at(file, self.offset, count)?;
            match bytes.iter().rposition(|byte| *byte == b'\n') {
                // A line longer than that.
                None if bytes.len() == count => count *= 2,
                at => break (bytes, at.map_or(0, |at| at + 1)),
            }
        };
        for line in bytes[..whole].split(|byte| *byte == b'\n') {
            self.take(line, events);
        }
        self.offset += whole as u64;
        if whole > 0 {
            return Ok(true);
        }
        if next.is_some() {
            self.file = self.successor()?;
            self.offset = 0;
            return Ok(self.file.is_some());
        }
        Ok(false)
    }

    fn take(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let Some(time) = time_of(line) else { return };
        if self.since_ns.is_some_and(|since| time < since) {
            return;
        }
        if self.until_ns.is_some_and(|until| time > until) {
            self.done = true;
            return;
        }
        if let Ok(event) = serde_json::from_slice::<Event>(line)
            && self.filter.passes(&event)
        {
            events.push(event);
        }
    }

    fn is_newest(&self, file: &OwnedFd) -> Result<bool, Errno> {
        let own = fstat(file)?.st_ino;
        Ok(stat(self.log.path()).is_ok_and(|newest| newest.st_ino == own))
    }

    /// The file after the one that was read, which was put by.
    fn successor(&self) -> Result<Option<OwnedFd>, Errno> {
        let Some(file) = &self.file else { return self.oldest() };
        let own = fstat(file)?.st_ino;
        loop {
            let older = self.log.older();
            let is_own = |number: &u64| stat(self.log.older_path(*number)).is_ok_and(|s| s.st_ino == own);
            let Some(number) = older.iter().copied().find(is_own) else { return self.oldest() };
            let path = self.log.older_path(number + 1);
            if let Some(next) = self.open(path.clone())? {
                return Ok(Some(next));
            }
            let newest = self.open(self.log.path())?;
            // Unless it became that meanwhile, and this is the one after it.
            if !path.exists() {
                return Ok(newest);
            }
        }
    }

    /// Waits until something was written, at most until the end.
    fn wait(&self) -> Result<(), Error> {
        // Past the last moment, so that no event of that moment is still to come.
        let left = self.until_ns.map(|until| {
            Duration::from_nanos((until - nanos(SystemTime::now())).max(0) as u64) + Duration::from_millis(1)
        });
        let Some(watch) = &self.watch else {
            std::thread::sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)));
            return Ok(());
        };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for", "events", errno)),
        }
        let mut buffer = [0; 4096];
        while rustix::io::read(watch, &mut buffer[..]).is_ok_and(|n| n > 0) {}
        Ok(())
    }
}

/// How many events there are that can be read, and how many whole lines that can't.
pub fn check(home: &Home) -> Result<(usize, usize), Error> {
    let log = Log::of(home);
    let older = log.older().into_iter().map(|number| log.older_path(number));
    let (mut events, mut torn) = (0, 0);
    for path in older.chain([log.path()]) {
        let failed = |errno| Error::system("read", path.display(), errno);
        let file = match open_for_reading(&path) {
            Ok(file) => file,
            // Put by meanwhile, or there was nothing to tell yet.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let len = fstat(&file).map_err(failed)?.st_size as u64;
        let whole = whole_bytes(&file, len).map_err(failed)?;
        let (mut offset, mut begun) = (0, Vec::new());
        while offset < whole {
            let count = READ_BYTES.min((whole - offset) as usize);
            let bytes = read_at(&file, offset, count).map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            offset += bytes.len() as u64;
            begun.extend(bytes);
            let end = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in
                begun.drain(..end).as_slice().split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
            {
                match serde_json::from_slice::<Event>(line) {
                    Ok(_) => events += 1,
                    Err(_) => torn += 1,
                }
            }
        }
    }
    Ok((events, torn))
}

fn nanos(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

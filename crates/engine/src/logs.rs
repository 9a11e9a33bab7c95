//! `berth logs`: what a container wrote, read from the keeper's frames, while it runs and after its end.

mod follow;
mod select;

use crate::find::{self, Container};
use crate::log::{Cursor, Stream};
use crate::request::LogsRequest;
use crate::{Error, Home};
pub(crate) use follow::Follower;
use select::{Lines, Shown, Starts};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes read from the log at once.
const READ_BYTES: usize = 64 << 10;

/// Copies a container's stdout to `out` and its stderr to `err`. That a reader of those went away is no failure.
pub fn logs(
    home: &Home,
    request: &LogsRequest,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let container = find::container(home, &request.container)?;
    let mut sinks = Sinks { ends: [out, err], gathered: Vec::new(), of: Stream::Stdout };
    match copy(home, request, &container, &mut sinks) {
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Done) | Ok(()) => {}
    }
    match sinks.flush() {
        Err(Stop::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Why copying ends early.
enum Stop {
    /// Nobody reads any more, or all that was asked for is written.
    Done,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Where the streams go. Pieces are gathered as long as they belong to one stream, so that the order stays.
struct Sinks<'a> {
    ends: [&'a mut dyn Write; 2],
    gathered: Vec<u8>,
    of: Stream,
}

impl Sinks<'_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Stop> {
        if stream != self.of || self.gathered.len() + bytes.len() > READ_BYTES {
            self.flush()?;
            self.of = stream;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let end = &mut self.ends[self.of.index()];
        let written = end.write_all(&self.gathered).and_then(|()| end.flush());
        self.gathered.clear();
        Self::checked(written)
    }

    fn checked(result: std::io::Result<()>) -> Result<(), Stop> {
        result.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Stop::Done,
            _ => Stop::Failed(Error::io("write", "the log to standard output", &error)),
        })
    }
}

fn copy(
    home: &Home,
    request: &LogsRequest,
    container: &Container,
    sinks: &mut Sinks<'_>,
) -> Result<(), Stop> {
    let dir = find::log_dir(home, container);
    let shown = Shown {
        since_ns: request.since.map(nanoseconds),
        until_ns: request.until.map(nanoseconds),
        timestamps: request.timestamps,
        details: request.details,
    };
    // Watched before reading: what comes in between is then noticed.
    let mut follower = if request.follow { Some(Follower::new(home, container)?) } else { None };
    let starts = match request.tail {
        Some(lines) => Starts::of_tail(&mut Pieces::new(dir.clone()), lines, &shown)?,
        None => Starts::default(),
    };
    let mut pieces = Pieces::new(dir);
    let mut lines = Lines::new(shown, starts);
    loop {
        // Asked before reading: whatever was written before the end is then read.
        let over = follower.as_ref().is_none_or(Follower::is_over)
            || request.until.is_some_and(|until| SystemTime::now() >= until);
        while let Some(piece) = pieces.next()? {
            lines.take(&piece, &mut |stream, bytes| sinks.write(stream, bytes))?;
        }
        match &mut follower {
            Some(follower) if !over => {
                sinks.flush()?;
                follower.wait(request.until)?;
            }
            _ => return lines.finish(&mut |stream, bytes| sinks.write(stream, bytes)),
        }
    }
}

/// Some bytes that a container wrote to one stream.
struct Piece<'a> {
    stream: Stream,
    time_ns: u64,
    /// Place of the bytes in their stream.
    offset: u64,
    bytes: &'a [u8],
}

/// The log, piece by piece.
struct Pieces {
    dir: PathBuf,
    cursor: Cursor,
    buffer: Vec<u8>,
    /// End of what was read of each stream.
    ends: [u64; 2],
}

impl Pieces {
    fn new(dir: PathBuf) -> Pieces {
        Pieces { cursor: Cursor::new(dir.clone()), dir, buffer: vec![0; READ_BYTES], ends: [0; 2] }
    }

    /// The next piece; `None` at the log's end, for now.
    fn next(&mut self) -> Result<Option<Piece<'_>>, Error> {
        let Some((header, there)) = self.cursor.next_piece()? else { return Ok(None) };
        let length = self.buffer.len().min(there as usize);
        let read = self
            .cursor
            .read(&mut self.buffer[..length])
            .map_err(|errno| Error::system("read", self.dir.display(), errno))?;
        if read == 0 {
            return Ok(None);
        }
        let end = &mut self.ends[header.stream.index()];
        // Of a frame that is read in parts, the header is that of the first.
        let offset = header.offset.max(*end);
        *end = offset + read as u64;
        let (stream, time_ns) = (header.stream, header.time_ns);
        Ok(Some(Piece { stream, time_ns, offset, bytes: &self.buffer[..read] }))
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

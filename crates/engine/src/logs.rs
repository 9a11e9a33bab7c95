//! `berth logs`: what a container wrote, read from the keeper's frames or from docker's lines, while it runs and after its end.

mod follow;
mod pieces;
mod select;

use crate::find::{self, Container};
use crate::log::Stream;
use crate::request::LogsRequest;
use crate::{Error, Home};
pub(crate) use follow::Follower;
use pieces::{Pieces, Place, READ_BYTES};
use select::{Lines, Shown, Starts};
use std::io::{ErrorKind, Write};
use std::time::{SystemTime, UNIX_EPOCH};

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
    let place = Place::of(home, container)?;
    let shown = Shown {
        since_ns: request.since.map(nanoseconds),
        until_ns: request.until.map(nanoseconds),
        timestamps: request.timestamps,
        details: request.details,
    };
    // Watched before reading: what comes in between is then noticed.
    let mut follower = if request.follow { Some(Follower::new(home, container)?) } else { None };
    let starts = match request.tail {
        Some(lines) if !place.has_quick_tail() => {
            Starts::of_tail(&mut Pieces::new(&place, None)?, lines, &shown)?
        }
        _ => Starts::default(),
    };
    let mut pieces = Pieces::new(&place, request.tail)?;
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

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

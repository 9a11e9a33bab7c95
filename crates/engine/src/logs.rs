//! `berth logs`: what containers wrote, read from the keeper's frames or from docker's lines, while it runs and after its end.

mod follow;
mod merge;
mod pieces;
mod select;

use crate::find::{self, Container};
use crate::log::Stream;
use crate::request::LogsRequest;
use crate::{Error, Home};
pub(crate) use follow::Follower;
use pieces::{Pieces, Place, READ_BYTES};
use select::{Grep, Lines, Shown, Sink, Starts};
use std::io::{ErrorKind, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Copies containers' stdout to `out` and their stderr to `err`. That a reader of those went away is no failure.
pub fn logs(
    home: &Home,
    request: &LogsRequest,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let grep = request.grep.as_deref().map(|text| Grep::new(text, request.invert_match)).transpose()?;
    let containers =
        find::containers(home, &request.containers).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut sinks = Sinks { ends: [out, err], gathered: Vec::new(), of: Stream::Stdout };
    let copied = match &containers[..] {
        [one] if grep.is_none() => copy(home, request, one, &mut sinks),
        several => merge::copy(home, request, several, grep.as_ref(), &mut sinks),
    };
    match copied {
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
    let mut log = Log::open(home, request, container)?;
    loop {
        let over = log.is_over(request);
        if over {
            log.pieces.settle();
        }
        while log.take(&mut |out| sinks.write(out.stream, out.bytes))? {}
        match &mut log.follower {
            Some(follower) if !over => {
                sinks.flush()?;
                follower.wait(request.until)?;
            }
            _ => return log.lines.finish(&mut |out| sinks.write(out.stream, out.bytes)),
        }
    }
}

/// A container's log, being read.
struct Log {
    follower: Option<Follower>,
    pieces: Pieces,
    lines: Lines,
}

impl Log {
    fn open(home: &Home, request: &LogsRequest, container: &Container) -> Result<Log, Error> {
        let place = Place::of(home, container)?;
        let shown = Shown {
            since_ns: request.since.map(nanoseconds),
            until_ns: request.until.map(nanoseconds),
            timestamps: request.timestamps,
            details: request.details,
        };
        // Watched before reading: what comes in between is then noticed.
        let follower = if request.follow { Some(Follower::new(home, container)?) } else { None };
        let (starts, pieces) = match request.tail {
            Some(lines) if !place.has_quick_tail() => {
                let (starts, spot) = Starts::of_tail(&place, lines, &shown)?;
                (starts, Pieces::from_spot(&place, spot.as_ref()))
            }
            tail => (Starts::default(), Pieces::new(&place, tail)?),
        };
        Ok(Log { follower, pieces, lines: Lines::new(shown, starts) })
    }

    /// Whether nothing comes any more. To be asked before reading: whatever was written before the end is then read.
    fn is_over(&self, request: &LogsRequest) -> bool {
        self.follower.as_ref().is_none_or(Follower::is_over)
            || request.until.is_some_and(|until| SystemTime::now() >= until)
    }

    /// Passes on a piece; `false` at the end, for now.
    fn take(&mut self, sink: Sink<'_>) -> Result<bool, Stop> {
        match self.pieces.next()? {
            Some(piece) => self.lines.take(&piece, sink).map(|()| true),
            None => Ok(false),
        }
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! Which lines of a log are shown, and how.

use super::Stop;
use super::pieces::{Piece, Pieces, Place};
use crate::Error;
use crate::log::index::Spot;
use crate::log::{Gap, Stream};
use regex_lite::Regex;
use std::collections::{BTreeMap, VecDeque};

/// A line without an end is shown in parts of so many bytes, as in docker.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What of each line is asked for. A line's time is that of its first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// Only lines from then on, in nanoseconds since the epoch.
    pub since_ns: Option<u64>,
    /// Only lines before then.
    pub until_ns: Option<u64>,
    /// Whether the time is put before each line.
    pub timestamps: bool,
    /// Whether what log options add to each line is put after it, with a space.
    pub details: bool,
}

impl Shown {
    fn has(&self, time_ns: u64) -> bool {
        self.since_ns.is_none_or(|since| time_ns >= since) && !self.is_past(time_ns)
    }

    fn is_past(&self, time_ns: u64) -> bool {
        self.until_ns.is_some_and(|until| time_ns >= until)
    }
}

/// Places in the streams from which on they are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Starts(pub [u64; 2]);

/// A line, or what there is of it.
#[derive(Clone, Copy)]
struct Line {
    stream: Stream,
    /// Place of its first byte in the stream, and when that was written; `None` if it's before what is read.
    begun: Option<(u64, u64)>,
    /// Place of its last byte among all that is read.
    ended: u64,
}

/// The last lines of a log, as it's read.
struct Tail {
    lines_max: usize,
    kept: VecDeque<Line>,
    open: [Option<Line>; 2],
    ends: [u64; 2],
    read: u64,
}

impl Tail {
    /// Of what follows so many bytes of each stream; `within` says which is, or may be, in the middle of a line there.
    fn new(lines_max: usize, totals: [u64; 2], within: [bool; 2]) -> Tail {
        let open = Stream::BOTH
            .map(|stream| within[stream.index()].then_some(Line { stream, begun: None, ended: 0 }));
        Tail { lines_max, kept: VecDeque::new(), open, ends: totals, read: 0 }
    }

    fn take(&mut self, piece: &Piece<'_>, shown: &Shown) {
        if piece.gap.is_some() {
            return;
        }
        let (stream, index) = (piece.stream, piece.stream.index());
        let mut offset = piece.offset;
        for part in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
            self.read += part.len() as u64;
            let begun = Some((offset, piece.time_ns));
            let mut line = self.open[index].take().unwrap_or(Line { stream, begun, ended: 0 });
            line.ended = self.read;
            offset += part.len() as u64;
            if !part.ends_with(b"\n") {
                self.open[index] = Some(line);
            } else if line.is_wanted(shown) {
                self.kept.push_back(line);
                if self.kept.len() > self.lines_max {
                    self.kept.pop_front();
                }
            }
        }
        self.ends[index] = offset;
    }

    /// Where the last lines begin, and whether what is before what was read can't change that.
    fn starts(mut self, shown: &Shown) -> (Starts, bool) {
        // A line that has no end stands where its last byte is.
        for line in self.open.into_iter().flatten().filter(|line| line.is_wanted(shown)) {
            self.kept.insert(self.kept.partition_point(|kept| kept.ended < line.ended), line);
        }
        let more = self.kept.len().saturating_sub(self.lines_max);
        self.kept.drain(..more);
        let settled = self.kept.len() == self.lines_max && self.kept.iter().all(|line| line.begun.is_some());
        let mut starts = self.ends;
        for line in &self.kept {
            let start = &mut starts[line.stream.index()];
            *start = (*start).min(line.begun.map_or(0, |(offset, _)| offset));
        }
        (Starts(starts), settled)
    }
}

impl Line {
    /// Whether it's one of those that are asked for, or may be.
    fn is_wanted(&self, shown: &Shown) -> bool {
        self.begun.is_none_or(|(_, time_ns)| shown.has(time_ns))
    }
}

/// So many times as much is read of the end of a log where it hasn't held as many lines as are wanted.
const MORE_EACH_TIME: u64 = 4;

impl Starts {
    /// The beginnings of the last `lines` lines of both streams together, and a place from which on they are read: as far
    /// before the log's end as it takes.
    pub fn of_tail(place: &Place, lines: u64, shown: &Shown) -> Result<(Starts, Option<Spot>), Error> {
        let lines_max = usize::try_from(lines).unwrap_or(usize::MAX);
        let mut backwards = place.backwards();
        let mut more = 0;
        loop {
            let spot = backwards.next(more);
            let (totals, within) = spot.map_or(([0; 2], [false; 2]), |(spot, _)| (spot.totals, spot.within));
            let mut tail = Tail::new(lines_max, totals, within);
            let mut pieces = Pieces::from_spot(place, spot.as_ref().map(|(spot, _)| spot));
            while let Some(piece) = pieces.next()? {
                tail.take(&piece, shown);
            }
            let (starts, settled) = tail.starts(shown);
            if settled || spot.is_none_or(|(_, is_first)| is_first) {
                return Ok((starts, spot.map(|(spot, _)| spot)));
            }
            more = (more + 1) * MORE_EACH_TIME - 1;
        }
    }
}

/// What is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Out<'a> {
    /// Of which stream.
    pub stream: Stream,
    /// When the line began, where lines matter.
    pub time_ns: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Where it goes.
pub type Sink<'a> = &'a mut dyn FnMut(Out<'_>) -> Result<(), Stop>;

/// Which lines are passed on by what they say.
#[derive(Debug, Clone)]
pub struct Grep {
    pattern: Regex,
    inverted: bool,
}

impl Grep {
    /// Those in which `pattern` is found, or those in which it isn't.
    pub fn new(pattern: &str, inverted: bool) -> Result<Grep, Error> {
        match Regex::new(pattern) {
            Ok(pattern) => Ok(Grep { pattern, inverted }),
            Err(error) => {
                Err(Error::invalid("--grep", format!("{pattern:?} is no regular expression: {error}")))
            }
        }
    }

    fn wants(&self, line: &[u8]) -> bool {
        self.pattern.is_match(&String::from_utf8_lossy(line)) != self.inverted
    }
}

/// A line that is passed on as a whole has so many bytes at most; the rest of a longer one is another.
const WHOLE_LINE_BYTES_MAX: usize = 1 << 20;

/// Passes on what is to be shown: byte for byte as it comes, or, where lines' times matter, line by line.
pub struct Lines {
    shown: Shown,
    starts: Starts,
    open: [Option<Open>; 2],
    /// Whether what was passed on last of a stream had no end, where lines aren't looked at.
    endless: [bool; 2],
    /// Whether lines are passed on whole, each with an end, and which.
    whole: Option<Option<Grep>>,
}

/// A line that isn't complete.
struct Open {
    /// What hasn't been passed on of it, its time included.
    text: Vec<u8>,
    wanted: bool,
    time_ns: u64,
    /// How much of the text stands before the line itself.
    before: usize,
}

impl Lines {
    pub fn new(shown: Shown, starts: Starts) -> Lines {
        Lines { shown, starts, open: [None, None], endless: [false; 2], whole: None }
    }

    /// The same, but lines are passed on whole, each with an end: those that `grep` wants.
    pub fn whole(self, grep: Option<Grep>) -> Lines {
        Lines { whole: Some(grep), ..self }
    }

    /// Whether nothing has to be known about lines.
    fn is_plain(&self) -> bool {
        let Shown { since_ns, until_ns, timestamps, details } = self.shown;
        self.whole.is_none() && !timestamps && !details && since_ns.is_none() && until_ns.is_none()
    }

    /// Takes a piece. [`Stop::Done`] once the lines are later than asked for.
    pub fn take(&mut self, piece: &Piece<'_>, sink: Sink<'_>) -> Result<(), Stop> {
        let index = piece.stream.index();
        if let Some(gap) = piece.gap {
            return self.take_gap(piece, gap, sink);
        }
        let before = self.starts.0[index].saturating_sub(piece.offset);
        let bytes = usize::try_from(before).ok().and_then(|before| piece.bytes.get(before..));
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        if self.is_plain() {
            self.endless[index] = !bytes.ends_with(b"\n");
            return sink(Out { stream: piece.stream, time_ns: piece.time_ns, bytes });
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.take_part(piece, part, sink)?;
        }
        Ok(())
    }

    /// Says that something is missing. A line that goes on after it is another one.
    fn take_gap(&mut self, piece: &Piece<'_>, gap: Gap, sink: Sink<'_>) -> Result<(), Stop> {
        let index = piece.stream.index();
        if piece.offset < self.starts.0[index] || !self.shown.has(piece.time_ns) {
            return Ok(());
        }
        let (stream, time_ns) = (piece.stream, piece.time_ns);
        let open = self.open[index].is_some();
        self.close(stream, sink)?;
        if (open && self.whole.is_none()) || std::mem::take(&mut self.endless[index]) {
            sink(Out { stream, time_ns, bytes: b"\n" })?;
        }
        let text = gap.text(stream) + "\n";
        sink(Out { stream: Stream::Stderr, time_ns, bytes: text.as_bytes() })
    }

    /// Passes on what there is of a line, though it has no end.
    fn close(&mut self, stream: Stream, sink: Sink<'_>) -> Result<(), Stop> {
        match self.open[stream.index()].take() {
            Some(mut open) => self.pass_on(stream, &mut open, sink),
            None => Ok(()),
        }
    }

    fn pass_on(&self, stream: Stream, open: &mut Open, sink: Sink<'_>) -> Result<(), Stop> {
        let mut text = std::mem::take(&mut open.text);
        let mut wanted = !text.is_empty() && open.wanted;
        if let Some(grep) = &self.whole {
            let line = text.get(open.before..).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            wanted = wanted && grep.as_ref().is_none_or(|grep| grep.wants(line));
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
        }
        match wanted {
            true => sink(Out { stream, time_ns: open.time_ns, bytes: &text }),
            false => Ok(()),
        }
    }

    fn take_part(&mut self, piece: &Piece<'_>, part: &[u8], sink: Sink<'_>) -> Result<(), Stop> {
        let index = piece.stream.index();
        if self.open[index].is_none() {
            if self.shown.is_past(piece.time_ns) {
                self.finish(sink)?;
                return Err(Stop::Done);
            }
            let wanted = self.shown.has(piece.time_ns);
            let mut text = Vec::new();
            if self.shown.timestamps && wanted {
                let time = store::rfc3339(piece.time_ns.min(i64::MAX as u64) as i64);
                text.extend_from_slice(format!("{time} ").as_bytes());
            }
            if self.shown.details && wanted {
                text.extend_from_slice(piece.attributes.map(details).unwrap_or_default().as_bytes());
                text.push(b' ');
            }
            self.open[index] = Some(Open { before: text.len(), text, wanted, time_ns: piece.time_ns });
        }
        let Some(mut open) = self.open[index].take() else { return Ok(()) };
        if open.wanted {
            open.text.extend_from_slice(part);
        }
        let most = if self.whole.is_some() { WHOLE_LINE_BYTES_MAX } else { LINE_BYTES_MAX };
        let complete = part.ends_with(b"\n");
        if complete || open.text.len() >= most {
            self.pass_on(piece.stream, &mut open, sink)?;
        }
        if !complete {
            // Of a line that is passed on in parts, only the first has something before it.
            open.before = open.before.min(open.text.len());
            self.open[index] = Some(open);
        }
        Ok(())
    }

    /// Passes on the lines that have no end.
    pub fn finish(&mut self, sink: Sink<'_>) -> Result<(), Stop> {
        Stream::BOTH.into_iter().try_for_each(|stream| self.close(stream, sink))
    }
}

/// Attributes as `--details` shows them. Source: moby, api/server/httputils, attrsByteSlice.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let one = |(key, value): (&String, &String)| format!("{}={}", query_escape(key), query_escape(value));
    attributes.iter().map(one).collect::<Vec<_>>().join(",")
}

/// As Go's url.QueryEscape.
fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            byte => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;

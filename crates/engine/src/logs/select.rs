//! Which lines of a log are shown, and how.

use super::Stop;
use super::pieces::{Piece, Pieces};
use crate::Error;
use crate::log::{Gap, Stream};
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

/// A line that has begun.
#[derive(Clone, Copy)]
struct Begun {
    offset: u64,
    time_ns: u64,
}

/// The last lines of a log, as it's read.
struct Tail {
    lines_max: usize,
    kept: VecDeque<(Stream, u64)>,
    open: [Option<Begun>; 2],
    ends: [u64; 2],
}

impl Tail {
    fn take(&mut self, piece: &Piece<'_>, shown: &Shown) {
        if piece.gap.is_some() {
            return;
        }
        let index = piece.stream.index();
        let mut offset = piece.offset;
        for part in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = *self.open[index].get_or_insert(Begun { offset, time_ns: piece.time_ns });
            offset += part.len() as u64;
            if part.ends_with(b"\n") {
                self.open[index] = None;
                self.keep(piece.stream, begun, shown);
            }
        }
        self.ends[index] = offset;
    }

    fn keep(&mut self, stream: Stream, line: Begun, shown: &Shown) {
        if shown.has(line.time_ns) {
            self.kept.push_back((stream, line.offset));
            if self.kept.len() > self.lines_max {
                self.kept.pop_front();
            }
        }
    }

    fn starts(mut self, shown: &Shown) -> Starts {
        let mut open: Vec<(Stream, Begun)> = [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .filter_map(|stream| Some((stream, self.open[stream.index()]?)))
            .collect();
        open.sort_by_key(|(_, begun)| begun.time_ns);
        open.into_iter().for_each(|(stream, begun)| self.keep(stream, begun, shown));
        let mut starts = self.ends;
        for (stream, offset) in &self.kept {
            let start = &mut starts[stream.index()];
            *start = (*start).min(*offset);
        }
        Starts(starts)
    }
}

impl Starts {
    /// The beginnings of the last `lines` lines of both streams together.
    pub fn of_tail(pieces: &mut Pieces, lines: u64, shown: &Shown) -> Result<Starts, Error> {
        let lines_max = usize::try_from(lines).unwrap_or(usize::MAX);
        let mut tail = Tail { lines_max, kept: VecDeque::new(), open: [None; 2], ends: [0; 2] };
        while let Some(piece) = pieces.next()? {
            tail.take(&piece, shown);
        }
        Ok(tail.starts(shown))
    }
}

/// Where bytes go.
pub type Sink<'a> = &'a mut dyn FnMut(Stream, &[u8]) -> Result<(), Stop>;

/// Passes on what is to be shown: byte for byte as it comes, or, where lines' times matter, line by line.
pub struct Lines {
    shown: Shown,
    starts: Starts,
    open: [Option<Open>; 2],
    /// Whether what was passed on last of a stream had no end, where lines aren't looked at.
    endless: [bool; 2],
}

/// A line that isn't complete.
struct Open {
    /// What hasn't been passed on of it, its time included.
    text: Vec<u8>,
    wanted: bool,
}

impl Lines {
    pub fn new(shown: Shown, starts: Starts) -> Lines {
        Lines { shown, starts, open: [None, None], endless: [false; 2] }
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
        let shown = &self.shown;
        if !shown.timestamps && !shown.details && shown.since_ns.is_none() && shown.until_ns.is_none() {
            self.endless[index] = !bytes.ends_with(b"\n");
            return sink(piece.stream, bytes);
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
        let begun = self.open[index].take().filter(|open| open.wanted);
        if let Some(open) = &begun {
            sink(piece.stream, &open.text)?;
        }
        if begun.is_some() || std::mem::take(&mut self.endless[index]) {
            sink(piece.stream, b"\n")?;
        }
        sink(Stream::Stderr, (gap.text(piece.stream) + "\n").as_bytes())
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
            self.open[index] = Some(Open { text, wanted });
        }
        let Some(open) = &mut self.open[index] else { return Ok(()) };
        if open.wanted {
            open.text.extend_from_slice(part);
        }
        let complete = part.ends_with(b"\n");
        if complete || open.text.len() >= LINE_BYTES_MAX {
            let text = std::mem::take(&mut open.text);
            if complete {
                self.open[index] = None;
            }
            if !text.is_empty() {
                sink(piece.stream, &text)?;
            }
        }
        Ok(())
    }

    /// Passes on the lines that have no end.
    pub fn finish(&mut self, sink: Sink<'_>) -> Result<(), Stop> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(open) = self.open[stream.index()].take().filter(|open| !open.text.is_empty()) {
                sink(stream, &open.text)?;
            }
        }
        Ok(())
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

//! From the journal to docker's lines.

use super::json::{self, RECORD_BYTES_MAX};
use super::json_file::JsonFile;
use super::loss::{Gap, Loss};
use super::{Cursor, Stream};
use crate::Error;

/// Bytes read from the journal at once, and gathered before they are written.
const BATCH_BYTES: usize = 64 << 10;

/// A line that has begun.
#[derive(Debug, Default)]
struct Open {
    text: Vec<u8>,
    time_ns: u64,
}

/// Writes docker's lines of what is in the journal. What comes out depends on nothing but that and the position, so that
/// whoever takes over from one that was killed comes to the same bytes.
#[derive(Debug)]
pub struct Export {
    cursor: Cursor,
    json: JsonFile,
    attributes: Vec<u8>,
    open: [Open; 2],
    /// Bytes of each stream that are in lines, written or gathered.
    taken: [u64; 2],
    gathered: Vec<u8>,
    /// Of each stream, what the gathered lines hold.
    holds: [Gap; 2],
    losses: [Loss; 2],
    buffer: Vec<u8>,
    /// What lines of each stream end with that were written at a time.
    endings: [(u64, Vec<u8>); 2],
}

impl Export {
    /// From the position of `json` on.
    pub fn new(cursor: Cursor, json: JsonFile, attributes: Vec<u8>) -> Export {
        let position = *json.position();
        Export {
            cursor: cursor.told(position.told),
            json,
            attributes,
            open: Default::default(),
            taken: position.written,
            gathered: Vec::new(),
            holds: Default::default(),
            losses: Default::default(),
            buffer: vec![0; BATCH_BYTES],
            endings: [(u64::MAX, Vec::new()), (u64::MAX, Vec::new())],
        }
    }

    /// Writes the lines that the journal has by now.
    pub fn run(&mut self) -> Result<(), Error> {
        while let Some((header, there)) = self.cursor.next_piece()? {
            self.tell_gaps();
            let at = header.offset + u64::from(header.length) - u64::from(self.cursor.left());
            let length = self.buffer.len().min(there as usize);
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.cursor.read(&mut buffer[..length]);
            let read = read.map_err(|errno| Error::system("read", "the journal of a log", errno));
            if let Ok(read) = &read {
                self.take(header.stream, at, header.time_ns, &buffer[..*read]);
            }
            self.buffer = buffer;
            if read? == 0 {
                break;
            }
        }
        self.tell_gaps();
        self.write();
        self.json.caught_up();
        Ok(())
    }

    /// No more comes: lines without an end are lines.
    pub fn finish(&mut self) {
        self.cursor.settle();
        let _ = self.run();
        for stream in Stream::BOTH {
            self.close_line(stream);
        }
        self.write();
    }

    /// Number of the journal's file that it's at.
    pub fn file(&self) -> u64 {
        self.cursor.number()
    }

    /// What is repeated at a new journal file's beginning: lines that have begun.
    pub fn open_lines(&self) -> [(u64, u64, &[u8]); 2] {
        [0, 1].map(|n: usize| (self.taken[n], self.open[n].time_ns, self.open[n].text.as_slice()))
    }

    fn take(&mut self, stream: Stream, at: u64, time_ns: u64, bytes: &[u8]) {
        let index = stream.index();
        let next = self.taken[index] + self.open[index].text.len() as u64;
        let had = usize::try_from(next.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        if at > next {
            // The journal has lost what was before: nothing that could still be written.
            self.close_line(stream);
            self.taken[index] = at;
        }
        let mut rest = &bytes[had..];
        while !rest.is_empty() {
            let open = &mut self.open[index];
            if open.text.is_empty() {
                open.time_ns = time_ns;
            }
            let room = RECORD_BYTES_MAX - open.text.len();
            let within = &rest[..rest.len().min(room)];
            let before = json::prefix(within, |byte| byte != b'\n');
            let end = (before < within.len()).then_some(before + 1);
            let length = end.unwrap_or(within.len());
            if open.text.is_empty() && (end.is_some() || length == RECORD_BYTES_MAX) {
                self.emit(stream, time_ns, &rest[..length]);
            } else {
                open.text.extend_from_slice(&rest[..length]);
                if end.is_some() || open.text.len() == RECORD_BYTES_MAX {
                    self.close_line(stream);
                }
            }
            rest = &rest[length..];
        }
    }

    fn close_line(&mut self, stream: Stream) {
        let Open { mut text, time_ns } = std::mem::take(&mut self.open[stream.index()]);
        if !text.is_empty() {
            self.emit(stream, time_ns, &text);
            text.clear();
            self.open[stream.index()].text = text;
        }
    }

    fn emit(&mut self, stream: Stream, time_ns: u64, bytes: &[u8]) {
        if self.gathered.len() >= BATCH_BYTES || self.json.is_full(self.gathered.len()) {
            self.write();
        }
        if self.json.is_full(0) {
            self.json.rotate();
        }
        let ending = &mut self.endings[stream.index()];
        if ending.0 != time_ns {
            *ending = (time_ns, json::ending(stream, &self.attributes, &json::time(time_ns)));
        }
        json::line(&mut self.gathered, bytes, &ending.1);
        self.taken[stream.index()] += bytes.len() as u64;
        self.holds[stream.index()].add(Gap { bytes: bytes.len() as u64, lines: 1, errno: 0 });
    }

    /// A line that says what the journal says is missing.
    fn tell_gaps(&mut self) {
        while let Some((stream, gap)) = self.cursor.take_gap() {
            self.close_line(stream);
            let time_ns = self.cursor.gaps_told()[stream.index()];
            self.tell(stream, gap, time_ns);
        }
    }

    fn tell(&mut self, stream: Stream, gap: Gap, time_ns: u64) {
        let text = gap.text(stream) + "\n";
        let ending = json::ending(Stream::Stderr, &self.attributes, &json::time(time_ns));
        json::line(&mut self.gathered, text.as_bytes(), &ending);
    }

    /// Writes what is gathered. What can't be written is lost, and told of before the next lines.
    fn write(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        if self.losses.iter().any(|loss| loss.gap().is_some()) {
            let mut lines = std::mem::take(&mut self.gathered);
            for stream in Stream::BOTH {
                if let Some(gap) = self.losses[stream.index()].gap() {
                    self.tell(stream, gap, crate::cell::now_ns() as u64);
                }
            }
            self.gathered.append(&mut lines);
        }
        let written = self.json.write(&self.gathered, self.taken, self.cursor.gaps_told());
        let holds = std::mem::take(&mut self.holds);
        for (loss, held) in self.losses.iter_mut().zip(holds) {
            match &written {
                Ok(()) => loss.close(),
                Err(errno) => loss.add(Gap { errno: errno.raw_os_error(), ..held }),
            }
        }
        self.gathered.clear();
        // A long line of escapes may have made it large.
        self.gathered.shrink_to(4 * BATCH_BYTES);
    }
}

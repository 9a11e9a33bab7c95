//! Output that a log couldn't take.

use super::number;

/// Bytes of a gap's payload.
pub const GAP_BYTES: usize = 24;

/// What is missing of a stream at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// Bytes.
    pub bytes: u64,
    /// Lines; one that has no end counts as well.
    pub lines: u64,
    /// Why they couldn't be written, as an errno; 0: they would have had to wait.
    pub errno: i32,
}

impl Gap {
    /// The payload of its frame.
    pub fn encode(&self) -> [u8; GAP_BYTES] {
        let mut bytes = [0; GAP_BYTES];
        bytes[..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.lines.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.errno.to_le_bytes());
        bytes
    }

    /// Of a payload.
    pub fn decode(bytes: &[u8; GAP_BYTES]) -> Gap {
        let errno = i32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
        Gap { bytes: number(&bytes[..8]), lines: number(&bytes[8..16]), errno }
    }

    /// Adds another, of the same place.
    pub fn add(&mut self, other: Gap) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.lines = self.lines.saturating_add(other.lines);
        self.errno = if other.errno == 0 { self.errno } else { other.errno };
    }

    /// As it's shown: what is missing of `stream`, and why.
    pub fn text(&self, stream: super::Stream) -> String {
        let why = match self.errno {
            0 => "the log was slower than max-buffer-size allows for".to_owned(),
            errno => runtime::errno_text(linux::Errno::from_raw_os_error(errno)),
        };
        let s = if self.lines == 1 { "" } else { "s" };
        format!("berth: {} line{s} ({} bytes) of {} lost here: {why}", self.lines, self.bytes, stream.name())
    }
}

/// What has been dropped of one stream since something of it was written last.
#[derive(Debug, Default)]
pub struct Loss {
    gap: Gap,
    /// Whether the last line that was dropped goes on: so does its dropping.
    torn: bool,
    /// What of it is on record, and where.
    noted: Option<(GapPlace, Gap)>,
}

/// Where a gap's frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapPlace {
    /// Number of the file.
    pub number: u64,
    /// Place of the payload in it.
    pub at: u64,
}

impl Loss {
    /// Counts bytes that follow those counted before.
    pub fn count(&mut self, bytes: &[u8], errno: i32) {
        if bytes.is_empty() {
            return;
        }
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.gap.add(Gap { bytes: bytes.len() as u64, lines, errno });
        self.torn = !bytes.ends_with(b"\n");
    }

    /// Counts bytes in which so many lines end, and after which one goes on.
    pub fn count_part(&mut self, bytes: u64, lines: u64, errno: i32) {
        if bytes > 0 {
            self.gap.add(Gap { bytes, lines, errno });
            self.torn = true;
        }
    }

    /// Counts whole lines.
    pub fn add(&mut self, lines: Gap) {
        if lines.bytes > 0 {
            self.gap.add(lines);
        }
    }

    /// Whether what comes next belongs to a line whose beginning was dropped.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// What was dropped, if anything was.
    pub fn gap(&self) -> Option<Gap> {
        (self.gap.bytes > 0).then_some(self.gap)
    }

    /// Puts it on record by `append`, or, where that was done before, by `replace`, unless it can't be any more; whether
    /// it's on record.
    pub fn note(
        &mut self,
        append: impl FnOnce(Gap) -> Option<GapPlace>,
        replace: impl FnOnce(GapPlace, Gap) -> bool,
    ) -> bool {
        match self.noted {
            Some((_, noted)) if noted == self.gap => true,
            None if self.gap.bytes == 0 => true,
            Some((place, _)) if replace(place, self.gap) => {
                self.noted = Some((place, self.gap));
                true
            }
            noted => {
                if let Some((_, noted)) = noted {
                    self.gap.bytes -= noted.bytes;
                    self.gap.lines -= noted.lines;
                }
                self.noted = append(self.gap).map(|place| (place, self.gap));
                self.noted.is_some()
            }
        }
    }

    /// Something of the stream was written after it.
    pub fn close(&mut self) {
        *self = Loss::default();
    }

    /// Nothing comes any more: a line that has no end is one.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.torn) {
            self.gap.lines += 1;
        }
    }
}

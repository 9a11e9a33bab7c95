//! A frame's header, and whose output it is.

use linux::Errno;
use std::os::fd::BorrowedFd;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 24;
/// Most bytes of one frame; a pipe holds no more.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

pub(super) const MAGIC: u8 = 0xB7;

/// One of the container's two output streams. A terminal's output is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// Both.
    pub const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    /// 0 for stdout, 1 for stderr.
    pub fn index(self) -> usize {
        match self {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which stream.
    pub stream: Stream,
    /// Whether the payload says what is missing of the stream here.
    pub gap: bool,
    /// Payload bytes.
    pub length: u32,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Place of the payload in its stream.
    pub offset: u64,
}

impl Header {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = MAGIC;
        bytes[1] = self.stream.index() as u8 + if self.gap { 3 } else { 1 };
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are no header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let (stream, gap) = match (bytes[0], bytes[1]) {
            (MAGIC, 1) => (Stream::Stdout, false),
            (MAGIC, 2) => (Stream::Stderr, false),
            (MAGIC, 3) => (Stream::Stdout, true),
            (MAGIC, 4) => (Stream::Stderr, true),
            _ => return None,
        };
        let length = number(&bytes[4..8]) as u32;
        let offset = number(&bytes[16..24]);
        // Where no stream ends.
        offset.checked_add(FRAME_BYTES_MAX as u64)?;
        (length as usize <= FRAME_BYTES_MAX).then_some(Header {
            stream,
            gap,
            length,
            time_ns: number(&bytes[8..16]),
            offset,
        })
    }

    /// Bytes of its stream that follow: none of a gap's payload are.
    pub(super) fn stream_bytes(&self) -> u64 {
        if self.gap { 0 } else { self.length.into() }
    }
}

/// A little-endian number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The header at a place of a file of that size; `None` if there is none.
pub(super) fn read_header(file: BorrowedFd<'_>, at: u64, size: u64) -> Result<Option<Header>, Errno> {
    let mut bytes = [0; HEADER_BYTES];
    if at + HEADER_BYTES as u64 > size || rustix::io::pread(file, &mut bytes[..], at)? != HEADER_BYTES {
        return Ok(None);
    }
    Ok(Header::decode(&bytes))
}

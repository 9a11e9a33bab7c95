//! Writing archives. The same entries give the same bytes, in every version of berth: layers are known by their digests.
//!
//! Format: ustar, with a pax header before an entry that ustar has no place for. Sources: POSIX pax(1), "ustar
//! Interchange Format" and "pax Extended Header"; star's `SCHILY.xattr.` for extended attributes; GNU tar's base 256 for
//! numbers in headers that a pax record repeats, so that readers of either find the same.

use super::header::Block;
use super::{BLOCK_BYTES, Entry, EntryKind};
use std::io::{self, Read, Write};

/// Writes an archive to a stream, front to back, a bounded piece at a time.
#[derive(Debug)]
pub struct Writer<W> {
    stream: W,
    bytes: u64,
    extended_bytes: u64,
    buffer: Vec<u8>,
}

/// Why an entry can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The stream that the archive goes to failed.
    #[error("cannot write the archive: {0}")]
    Write(io::Error),
    /// The content's source failed.
    #[error("cannot read the content: {0}")]
    Content(io::Error),
    /// A file became shorter than its header says.
    #[error("it became shorter while it was read")]
    Shrunk,
    /// The format has no way to say it.
    #[error("{0}")]
    Unwritable(&'static str),
}

/// Content is copied in pieces of this size.
const PIECE_BYTES: usize = 128 << 10;

impl<W: Write> Writer<W> {
    /// A writer at the start of `stream`. It writes whole headers and large pieces: no buffer is needed around it.
    pub fn new(stream: W) -> Writer<W> {
        Writer { stream, bytes: 0, extended_bytes: 0, buffer: Vec::new() }
    }

    /// Bytes of archive written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them are extended headers.
    pub fn extended_bytes(&self) -> u64 {
        self.extended_bytes
    }

    /// Adds an entry; `content` is read for files, which must have as many bytes as the entry says, and more are left
    /// unread. A directory's name gets its closing slash here.
    ///
    /// After an error the archive is of no use.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), WriteError> {
        let (flag, size, link) = match &entry.kind {
            EntryKind::File { size } => (b'0', *size, &[][..]),
            EntryKind::HardLink { target } => (b'1', 0, target.as_slice()),
            EntryKind::Symlink { target } => (b'2', 0, target.as_slice()),
            EntryKind::CharDevice { .. } => (b'3', 0, &[][..]),
            EntryKind::BlockDevice { .. } => (b'4', 0, &[][..]),
            EntryKind::Directory => (b'5', 0, &[][..]),
            EntryKind::Fifo => (b'6', 0, &[][..]),
        };
        let mut name = entry.name.clone();
        if entry.kind == EntryKind::Directory && !name.ends_with(b"/") {
            name.push(b'/');
        }
        if name.is_empty() || name.contains(&0) || link.contains(&0) {
            return Err(WriteError::Unwritable("a name is empty or holds a NUL"));
        }
        let mut records = Records::default();
        let mut block = [0; BLOCK_BYTES];
        if !put_name(&mut block, &name) {
            records.add(b"path", &name);
        }
        if link.len() > 100 {
            records.add(b"linkpath", link);
        }
        put(&mut block, 157, &link[..link.len().min(100)]);
        put_number(&mut block[124..136], i128::from(size), "size", &mut records);
        put_number(&mut block[108..116], entry.uid.into(), "uid", &mut records);
        put_number(&mut block[116..124], entry.gid.into(), "gid", &mut records);
        put_time(&mut block, entry.mtime, &mut records);
        put_attributes(entry, &mut records)?;
        put_octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
        if let EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } = entry.kind {
            if major > 0o777_7777 || minor > 0o777_7777 {
                return Err(WriteError::Unwritable("its device number is too large for the format"));
            }
            put_octal(&mut block[329..337], major.into());
            put_octal(&mut block[337..345], minor.into());
        }
        if !records.0.is_empty() {
            let before = self.bytes;
            self.write_records(&name, &records.0)?;
            self.extended_bytes += self.bytes - before;
        }
        self.write_header(block, flag)?;
        self.write_content(size, content)
    }

    /// Ends the archive and gives the stream back.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.write(&[0; 2 * BLOCK_BYTES])?;
        Ok(self.stream)
    }

    fn write_records(&mut self, name: &[u8], records: &[u8]) -> Result<(), WriteError> {
        let mut block = [0; BLOCK_BYTES];
        let base = name.strip_suffix(b"/").unwrap_or(name).rsplit(|byte| *byte == b'/').next();
        let base = base.unwrap_or_default();
        put(&mut block, 0, b"PaxHeaders.0/");
        put(&mut block, 13, &base[..base.len().min(100 - 13)]);
        put_octal(&mut block[100..108], 0o644);
        put_octal(&mut block[108..116], 0);
        put_octal(&mut block[116..124], 0);
        put_octal(&mut block[124..136], records.len() as u64);
        put_octal(&mut block[136..148], 0);
        self.write_header(block, b'x')?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    fn write_header(&mut self, mut block: Block, flag: u8) -> Result<(), WriteError> {
        block[156] = flag;
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 148, b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
        self.write(&block)
    }

    fn write_content(&mut self, size: u64, content: &mut dyn Read) -> Result<(), WriteError> {
        let mut left = size;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(PIECE_BYTES, 0);
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match content.read(&mut buffer[..length]) {
                Ok(0) => return Err(WriteError::Shrunk),
                Ok(read) => {
                    self.write(&buffer[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WriteError::Content(error)),
            }
        }
        self.buffer = buffer;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        let padding = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        self.write(&[0; BLOCK_BYTES][..padding as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.bytes += bytes.len() as u64;
        self.stream.write_all(bytes).map_err(WriteError::Write)
    }
}

/// Pax records, in the order they were added.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Adds `LENGTH KEY=VALUE\n`; the length counts itself.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} ").as_bytes());
        for part in [key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }
}

fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Puts a name into the header, split at a slash if it's long; `false` if it doesn't fit, and its beginning was put.
fn put_name(block: &mut Block, name: &[u8]) -> bool {
    if name.len() <= 100 {
        put(block, 0, name);
        return true;
    }
    // The prefix ends before a slash that leaves at most 100 bytes, and at least one, behind it.
    let from = name.len() - 101;
    let slash = (from..name.len() - 1).find(|at| name[*at] == b'/').filter(|at| (1..=155).contains(at));
    match slash {
        Some(slash) => {
            put(block, 345, &name[..slash]);
            put(block, 0, &name[slash + 1..]);
        }
        None => put(block, 0, &name[..100]),
    }
    slash.is_some()
}

fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}\0");
    field.copy_from_slice(text.as_bytes());
}

/// Puts a number; one that octal digits can't say goes in base 256 and into a record.
fn put_number(field: &mut [u8], value: i128, key: &str, records: &mut Records) {
    let digits = field.len() as u32 - 1;
    match u64::try_from(value) {
        Ok(value) if value < 1 << (3 * digits) => put_octal(field, value),
        _ => {
            records.add(key.as_bytes(), value.to_string().as_bytes());
            put_base256(field, value);
        }
    }
}

fn put_base256(field: &mut [u8], value: i128) {
    let bytes = value.to_be_bytes();
    let length = field.len();
    field.copy_from_slice(&bytes[bytes.len() - length..]);
    // Marks the base; the bit below it is the sign.
    field[0] |= 0x80;
}

fn put_time(block: &mut Block, (seconds, nanoseconds): (i64, u32), records: &mut Records) {
    let field = &mut block[136..148];
    let fits = u64::try_from(seconds).ok().filter(|seconds| *seconds < 1 << 33);
    match fits {
        Some(seconds) => put_octal(field, seconds),
        None => put_base256(field, seconds.into()),
    }
    if fits.is_some() && nanoseconds == 0 {
        return;
    }
    // Before the epoch the fraction counts backwards.
    let (sign, whole, fraction) = match (seconds < 0, nanoseconds) {
        (false, _) => ("", i128::from(seconds), nanoseconds),
        (true, 0) => ("-", -i128::from(seconds), 0),
        (true, _) => ("-", -i128::from(seconds) - 1, 1_000_000_000 - nanoseconds),
    };
    let text = match fraction {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned(),
    };
    records.add(b"mtime", text.as_bytes());
}

fn put_attributes(entry: &Entry, records: &mut Records) -> Result<(), WriteError> {
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort();
    for (name, value) in xattrs {
        if name.contains(&b'=') || name.contains(&0) {
            return Err(WriteError::Unwritable("the name of an extended attribute holds a '='"));
        }
        records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    if records.0.len() as u64 > super::EXTENDED_BYTES_MAX {
        return Err(WriteError::Unwritable("its extended attributes are too long"));
    }
    Ok(())
}

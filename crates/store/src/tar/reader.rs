//! The archive as a sequence of entries.

use super::header::{self, Block, Header};
use super::sparse::{self, Extent, MapText};
use super::{BLOCK_BYTES, EXTENDED_BYTES_MAX, Error, Fault, NAME_BYTES_MAX, pax};
use std::io::{BufRead, ErrorKind, Read};

/// One member of an archive, its content still in the stream.
#[derive(Debug)]
pub struct Entry {
    /// The name as it stands: any bytes but NUL, absolute or not.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner, numeric; never `u32::MAX`.
    pub uid: u32,
    /// Group, numeric; never `u32::MAX`.
    pub gid: u32,
    /// Modification time: seconds since the epoch, and nanoseconds after them.
    pub mtime: (i64, u32),
    /// Extended attributes, each name once.
    pub xattrs: Xattrs,
}

/// Extended attributes, by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The kinds of members that a file system can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes of the file, with the holes that a sparse one has.
        size: u64,
    },
    /// Another name of the member called `target`.
    HardLink {
        /// Name in the archive.
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// What it holds, unresolved.
        target: Vec<u8>,
    },
    /// A directory.
    Directory,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// Reads an archive from a stream, front to back.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    /// Bytes taken from the stream.
    offset: u64,
    /// Where the current entry's header stands, and its name once known.
    entry_offset: u64,
    entry_name: Option<String>,
    /// Bytes of content, as the archive holds it, not taken yet.
    content_left: u64,
    padding_left: u64,
    /// Where the content belongs in the file.
    extents: Vec<Extent>,
    /// How many of them are behind us, and how many bytes of the next one.
    extents_done: usize,
    extent_bytes: u64,
    ended: bool,
}

/// Headers that speak of the entry after them.
#[derive(Default)]
struct Preceding {
    pax: Option<pax::Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Preceding {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of `stream`, which is uncompressed.
    pub fn new(stream: R) -> Reader<R> {
        Reader {
            stream,
            offset: 0,
            entry_offset: 0,
            entry_name: None,
            content_left: 0,
            padding_left: 0,
            extents: Vec::new(),
            extents_done: 0,
            extent_bytes: 0,
            ended: false,
        }
    }

    /// The next entry, whatever is left of the current one being skipped; `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.next_inner().map_err(|fault| self.error(fault))
    }

    /// Some more bytes of the current entry's content, to be taken with [`Reader::consume`]; empty at its end. They
    /// belong at [`Reader::position`] of the file: between the pieces of a sparse one, and after the last, are holes.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        let Some(extent) = self.extent() else { return Ok(&[]) };
        let left = extent.length - self.extent_bytes;
        // Asked twice, because the borrow of a returned slice can't end on the other paths; the second call is free.
        if let Err(fault) = fill_buf(&mut self.stream, "an entry's content") {
            return Err(self.error(fault));
        }
        let bytes = self.stream.fill_buf().unwrap_or_default();
        let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        Ok(&bytes[..length])
    }

    /// Where in the file the bytes belong that [`Reader::fill`] shows.
    pub fn position(&mut self) -> u64 {
        let extent = self.extent().unwrap_or_default();
        extent.offset + self.extent_bytes
    }

    /// The extent that the next byte belongs to.
    fn extent(&mut self) -> Option<Extent> {
        while let Some(extent) = self.extents.get(self.extents_done) {
            if self.extent_bytes < extent.length {
                return Some(*extent);
            }
            self.extents_done += 1;
            self.extent_bytes = 0;
        }
        None
    }

    /// Takes `length` bytes that [`Reader::fill`] showed.
    pub fn consume(&mut self, length: usize) {
        let left = self.extent().map_or(0, |extent| extent.length - self.extent_bytes);
        assert!(length as u64 <= left, "consumed more than was shown");
        self.stream.consume(length);
        self.extent_bytes += length as u64;
        self.content_left -= length as u64;
        self.offset += length as u64;
    }

    /// The stream, after the archive's end.
    pub fn into_inner(self) -> R {
        self.stream
    }

    fn error(&self, fault: Fault) -> Error {
        Error { offset: self.entry_offset, entry: self.entry_name.clone(), fault }
    }

    fn next_inner(&mut self) -> Result<Option<Entry>, Fault> {
        self.skip_rest()?;
        let mut preceding = Preceding::default();
        loop {
            self.entry_offset = self.offset;
            let Some(header) = self.read_header()? else {
                return match preceding.is_empty() {
                    true => Ok(None),
                    false => Err(Fault::Truncated("an extended header")),
                };
            };
            match header.flag {
                b'x' => {
                    let records = pax::parse(&self.read_extended(&header)?)?;
                    set_once(&mut preceding.pax, records)?;
                }
                b'g' => pax::check_global(&self.read_extended(&header)?)?,
                b'L' => {
                    let name = self.read_long_name(&header, "a long name")?;
                    set_once(&mut preceding.long_name, name)?;
                }
                b'K' => {
                    let link = self.read_long_name(&header, "a long link target")?;
                    set_once(&mut preceding.long_link, link)?;
                }
                _ => return self.begin(header, preceding).map(Some),
            }
        }
    }

    /// The next header, or `None` at two zero blocks or where the stream ends between entries.
    fn read_header(&mut self) -> Result<Option<Header>, Fault> {
        let mut block = [0; BLOCK_BYTES];
        if self.ended || !self.read_block(&mut block, "a header")? {
            if self.offset == 0 {
                return Err(Fault::NotTar);
            }
            self.ended = true;
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            if self.read_block(&mut block, "its closing blocks")? && block.iter().any(|byte| *byte != 0) {
                return Err(Fault::Ambiguous("entries follow a zero block, where some readers stop"));
            }
            self.ended = true;
            return Ok(None);
        }
        if !header::has_checksum(&block) {
            return Err(if self.entry_offset == 0 { Fault::NotTar } else { Fault::Checksum });
        }
        header::parse(&block).map(Some)
    }

    fn begin(&mut self, header: Header, preceding: Preceding) -> Result<Entry, Fault> {
        let mut pax = preceding.pax.unwrap_or_default();
        let sparse = pax.sparse.take();
        if header.flag == b'S' && (pax.size.is_some() || sparse.is_some()) {
            return Err(Fault::Ambiguous("a sparse file has two maps or sizes"));
        }
        let real_name = sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let name = real_name.map_or_else(|| choose(header.name, pax.path, preceding.long_name), Ok)?;
        self.entry_name = Some(name.escape_ascii().to_string());
        let link = choose(header.link, pax.link, preceding.long_link)?;
        let archived = pax.size.unwrap_or(header.size);
        let file = matches!(header.flag, 0 | b'0' | b'7');
        let mut kind = match header.flag {
            _ if sparse.is_some() && !file => return Err(Fault::Ambiguous("what is no file is sparse")),
            b'S' if header.sparse.is_none() => return Err(Fault::Unsupported(unsupported(header.flag))),
            0 | b'0' | b'7' | b'S' if name.ends_with(b"/") && (header.flag != 0 || archived != 0) => {
                return Err(Fault::Ambiguous("a file has the name of a directory"));
            }
            // Before POSIX, a directory was a file whose name ends in a slash.
            0 if name.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File { size: archived },
            b'1' if archived != 0 => return Err(Fault::Ambiguous("a hard link has a size")),
            b'1' => EntryKind::HardLink { target: link },
            b'2' => EntryKind::Symlink { target: link },
            b'3' => EntryKind::CharDevice { major: header.major, minor: header.minor },
            b'4' => EntryKind::BlockDevice { major: header.major, minor: header.minor },
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            flag => return Err(Fault::Unsupported(unsupported(flag))),
        };
        if let EntryKind::File { size } = &mut kind {
            *size = self.begin_content(archived, header.sparse, sparse)?;
        }
        Ok(Entry {
            name,
            kind,
            mode: header.mode,
            uid: pax.uid.map_or(header.uid, Ok)?,
            gid: pax.gid.map_or(header.gid, Ok)?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => (header.mtime?, 0),
            },
            xattrs: pax.xattrs,
        })
    }

    /// Prepares for a file's content, which only files have, whatever size the others give: all readers agree about
    /// that. Reads the map of a sparse file. Returns the size of the file.
    fn begin_content(
        &mut self,
        archived: u64,
        old: Option<sparse::OldMap>,
        records: Option<sparse::Records>,
    ) -> Result<u64, Fault> {
        let (size, extents) = match (old, records.map(sparse::Records::finish).transpose()?) {
            (Some(mut map), _) => {
                let mut block = [0; BLOCK_BYTES];
                while map.continues {
                    if !self.read_block(&mut block, "the map of a sparse file")? {
                        return Err(Fault::Truncated("the map of a sparse file"));
                    }
                    map.extend(&block)?;
                }
                self.set_content(archived)?;
                (map.size, map.extents)
            }
            (None, Some((size, sparse::Map::Here(extents)))) => {
                self.set_content(archived)?;
                (size, extents)
            }
            (None, Some((size, sparse::Map::InContent))) => {
                self.set_content(archived)?;
                (size, self.read_map()?)
            }
            (None, None) => {
                self.set_content(archived)?;
                self.extents.push(Extent { offset: 0, length: archived });
                return Ok(archived);
            }
        };
        sparse::check(&extents, size, self.content_left)?;
        self.extents = extents;
        Ok(size)
    }

    fn read_map(&mut self) -> Result<Vec<Extent>, Fault> {
        let mut map = MapText::default();
        let mut block = [0; BLOCK_BYTES];
        loop {
            if self.content_left < BLOCK_BYTES as u64 {
                return Err(Fault::Sparse("its map is longer than its content"));
            }
            if !self.read_block(&mut block, "the map of a sparse file")? {
                return Err(Fault::Truncated("the map of a sparse file"));
            }
            self.content_left -= BLOCK_BYTES as u64;
            if map.take(&block)? {
                return Ok(map.extents);
            }
        }
    }

    fn set_content(&mut self, size: u64) -> Result<(), Fault> {
        if size > i64::MAX as u64 - BLOCK_BYTES as u64 {
            return Err(Fault::Number("size"));
        }
        self.content_left = size;
        self.padding_left = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        Ok(())
    }

    fn read_extended(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        if header.size > EXTENDED_BYTES_MAX {
            return Err(Fault::TooLong { what: "an extended header", max: EXTENDED_BYTES_MAX });
        }
        self.set_content(header.size)?;
        let mut bytes = Vec::new();
        // Grows with what is there, not with what the header promises.
        let read = (&mut self.stream).take(header.size).read_to_end(&mut bytes).map_err(Fault::Read)?;
        self.offset += read as u64;
        self.content_left -= read as u64;
        match self.content_left {
            0 => self.skip_rest().map(|()| bytes),
            _ => Err(Fault::Truncated("an extended header")),
        }
    }

    fn read_long_name(&mut self, header: &Header, what: &'static str) -> Result<Vec<u8>, Fault> {
        let bytes = self.read_extended(header)?;
        let name = header::text(&bytes);
        match name.len() {
            0 => Err(Fault::Pax("a long name is empty")),
            length if length > NAME_BYTES_MAX => Err(Fault::TooLong { what, max: NAME_BYTES_MAX as u64 }),
            _ => Ok(name.to_owned()),
        }
    }

    fn skip_rest(&mut self) -> Result<(), Fault> {
        self.extents.clear();
        (self.extents_done, self.extent_bytes) = (0, 0);
        self.skip(self.content_left, "an entry's content")?;
        self.content_left = 0;
        self.skip(self.padding_left, "an entry's padding")?;
        self.padding_left = 0;
        Ok(())
    }

    fn skip(&mut self, mut length: u64, what: &'static str) -> Result<(), Fault> {
        while length > 0 {
            let available = fill_buf(&mut self.stream, what)?.len() as u64;
            let step = available.min(length);
            self.stream.consume(step as usize);
            self.offset += step;
            length -= step;
        }
        Ok(())
    }

    /// Fills `block`; `false` if the stream ends before its first byte.
    fn read_block(&mut self, block: &mut Block, what: &'static str) -> Result<bool, Fault> {
        let mut filled = 0;
        while filled < block.len() {
            match self.stream.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) if self.offset == 0 => return Err(Fault::NotTar),
                Ok(0) => return Err(Fault::Truncated(what)),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Read(error)),
            }
        }
        self.offset += filled as u64;
        Ok(true)
    }
}

/// At least one byte of `stream`, or the fault that it ends in the middle of `what`.
fn fill_buf<'a>(stream: &'a mut impl BufRead, what: &'static str) -> Result<&'a [u8], Fault> {
    loop {
        match stream.fill_buf() {
            Ok([]) => return Err(Fault::Truncated(what)),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Read(error)),
        }
    }
    stream.fill_buf().map_err(Fault::Read)
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Ambiguous("two extended headers of one sort stand before one entry")),
    }
}

fn choose(short: Vec<u8>, pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Vec<u8>, Fault> {
    match (pax, gnu) {
        (Some(_), Some(_)) => Err(Fault::Ambiguous("an entry has both a pax and a GNU long name")),
        (long, None) | (None, long) => Ok(long.unwrap_or(short)),
    }
}

fn unsupported(flag: u8) -> String {
    match flag {
        b'S' => "a sparse file that GNU tar didn't write".to_owned(),
        b'M' | b'V' => "a multi-volume archive".to_owned(),
        b'D' | b'N' => "an incremental dump".to_owned(),
        _ => format!("an entry of type '{}'", flag.escape_ascii()),
    }
}

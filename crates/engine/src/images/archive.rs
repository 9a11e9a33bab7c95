//! An archive of images as random access: names to places in a file. What can't be sought in, a pipe or a compressed
//! file, is written to a nameless file first.

use crate::Error;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use store::tar::{EntryKind, Reader};

/// Most entries of an archive of images: seven for each layer, in the oldest form.
const ENTRIES_MAX: usize = 100_000;

/// Links from one entry to another that are followed.
const LINKS_MAX: usize = 8;

/// Archives are read in pieces of this size.
const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

enum Member {
    File { offset: u64, bytes: u64 },
    Link(String),
}

/// The content of one entry.
pub(super) struct Section {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts what is read, to know where an entry's content begins.
struct Counted<'a> {
    inner: BufReader<File>,
    at: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at.set(self.at.get() + count as u64);
        Ok(count)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.at.set(self.at.get() + count as u64);
        self.inner.consume(count);
    }
}

impl Archive {
    /// Reads what is in an archive, called `what` in errors; `tmp` takes what must be written down first.
    pub fn open(input: File, what: &str, tmp: &Path) -> Result<Archive, Error> {
        let refused = |error: store::Error| Error::ImageArchive {
            archive: what.to_owned(),
            why: error.to_string().trim_start_matches("cannot read the archive: ").to_owned(),
        };
        let file = seekable(input, what, tmp, &refused)?;
        let at = Cell::new(0);
        let second = file.try_clone().map_err(|error| Error::io("read", what, &error))?;
        let mut reader =
            Reader::new(Counted { inner: BufReader::with_capacity(BUFFER_BYTES, second), at: &at });
        let mut members = HashMap::new();
        while let Some(entry) = reader.next_entry().map_err(|error| refused(store::Error::Archive(error)))? {
            let name = clean(&String::from_utf8_lossy(&entry.name));
            let member = match entry.kind {
                EntryKind::File { size } => Member::File { offset: at.get(), bytes: size },
                EntryKind::Symlink { target } => {
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                    Member::Link(clean(&format!("{dir}/{}", String::from_utf8_lossy(&target))))
                }
                EntryKind::HardLink { target } => Member::Link(clean(&String::from_utf8_lossy(&target))),
                _ => continue,
            };
            members.insert(name, member);
            if members.len() > ENTRIES_MAX {
                return Err(refused(store::Error::Limit { what: "entries", max: ENTRIES_MAX as u64 }));
            }
        }
        Ok(Archive { file: Arc::new(file), members })
    }

    /// The entry called `name`; `None` if there is none.
    pub fn section(&self, name: &str) -> Option<Section> {
        let mut name = clean(name);
        for _ in 0..LINKS_MAX {
            match self.members.get(&name)? {
                Member::File { offset, bytes } => {
                    return Some(Section { file: Arc::clone(&self.file), offset: *offset, left: *bytes });
                }
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// A small entry whole; `None` if there is none, an error if it has more than `most` bytes.
    pub fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(mut section) = self.section(name) else { return Ok(None) };
        if section.left > most as u64 {
            return Err(io::Error::other(format!("{name} has more than {most} bytes")));
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl Section {
    /// Bytes that are left of it.
    pub fn bytes(&self) -> u64 {
        self.left
    }
}

/// A name without `.` and `..`; what leaves the archive stays at its top, where nothing has that name.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The plain archive at the start of a file that can be read anywhere.
fn seekable(
    mut input: File,
    what: &str,
    tmp: &Path,
    refused: &dyn Fn(store::Error) -> Error,
) -> Result<File, Error> {
    let failed = |error: io::Error| Error::io("read", what, &error);
    let regular = input.metadata().map_err(failed)?.is_file();
    if regular {
        let mut start = BufReader::new(input.try_clone().map_err(failed)?);
        let (_, plain) = store::decompress(&mut start).map_err(refused)?;
        input.seek(SeekFrom::Start(0)).map_err(failed)?;
        if plain {
            return Ok(input);
        }
    }
    let mut spool = nameless(tmp)?;
    let (mut plain, _) = store::decompress(BufReader::with_capacity(BUFFER_BYTES, input)).map_err(refused)?;
    io::copy(&mut plain, &mut spool).map_err(|error| match error.raw_os_error() {
        Some(_) => Error::io("unpack", what, &error),
        // The decompressor's own: it isn't what it began as.
        None => Error::ImageArchive { archive: what.to_owned(), why: error.to_string() },
    })?;
    spool.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(spool)
}

/// A file in a directory that has no name there.
pub(super) fn nameless(dir: &Path) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR);
    Ok(file.map_err(|errno| Error::system("make a file in", dir.display(), errno))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(clean("./a//b/../c"), "a/c");
        assert_eq!(clean("../../etc/passwd"), "etc/passwd");
        assert_eq!(clean("a/../../b"), "b");
    }
}

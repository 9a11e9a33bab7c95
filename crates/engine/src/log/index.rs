//! Where frames begin: some numbers for each half megabyte of a file of frames, kept beside it by who writes it, so that its
//! end is found without a walk through all of it. No bytes of a log are ever searched for a header: what a container
//! wrote may look like one.
//!
//! ```text
//! <n>.index   entries of 32 bytes, little-endian
//!   0  place of a header in <n>     8  bytes of stdout before it    16  bytes of stderr before it
//!  24  1: stdout, 2: stderr is in the middle of a line there        25  zero
//! ```
//!
//! An entry is written after the frame's header, and no header that was written whole is ever moved: who takes a frame back
//! puts another in its place. So an entry holds as long as its file does; after a crash of the machine, which may have kept
//! the entry and not the frame, it's recognised by what stands there. A missing or lost index costs time alone.

use super::frame::read_header;
use super::{number, open_at};
use linux::Errno;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const ENTRY_BYTES: usize = 32;

/// Bytes of a file from one entry to the next.
pub const EVERY_BYTES: u64 = 512 << 10;

/// What an index's name ends with.
const SUFFIX: &str = "index";

/// A place where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Number of the file.
    pub number: u64,
    /// Place in it.
    pub at: u64,
    /// Bytes of each stream before it.
    pub totals: [u64; 2],
    /// Whether each stream is, or may be, in the middle of a line there.
    pub within: [bool; 2],
}

impl Spot {
    /// The beginning of a file of which nothing else is known.
    fn beginning(number: u64) -> Spot {
        Spot { number, at: 0, totals: [0; 2], within: [true; 2] }
    }

    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.totals[0].to_le_bytes());
        bytes[16..24].copy_from_slice(&self.totals[1].to_le_bytes());
        bytes[24] = u8::from(self.within[0]) | u8::from(self.within[1]) << 1;
        bytes
    }

    fn decode(number_of_file: u64, bytes: &[u8; ENTRY_BYTES]) -> Spot {
        Spot {
            number: number_of_file,
            at: number(&bytes[..8]),
            totals: [number(&bytes[8..16]), number(&bytes[16..24])],
            within: [bytes[24] & 1 != 0, bytes[24] & 2 != 0],
        }
    }

    /// Whether such a frame is there in the file.
    fn is_in(&self, file: BorrowedFd<'_>) -> bool {
        let Ok(stat) = rustix::fs::fstat(file) else { return false };
        let header = read_header(file, self.at, stat.st_size as u64);
        header.ok().flatten().is_some_and(|header| header.offset == self.totals[header.stream.index()])
    }
}

/// The index of a file.
pub fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}.{SUFFIX}"))
}

/// Says as entry `place` of its file's index that there is a frame at `spot`.
pub fn note(dir: &Path, place: u64, spot: &Spot) -> Result<(), Errno> {
    let index = open_at(None, &path_of(dir, spot.number), OFlags::WRONLY | OFlags::CREATE)?;
    match rustix::io::pwrite(&index, &spot.encode(), place * ENTRY_BYTES as u64)? {
        ENTRY_BYTES => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

/// The index of one file of frames, for reading.
#[derive(Debug)]
pub struct Index {
    number: u64,
    index: OwnedFd,
    frames: OwnedFd,
    entries: u64,
}

impl Index {
    /// That of the file of that number; `None` if it has none, or is compressed.
    pub fn open(dir: &Path, number: u64) -> Option<Index> {
        let frames = open_at(None, &dir.join(number.to_string()), OFlags::RDONLY).ok()?;
        let index = open_at(None, &path_of(dir, number), OFlags::RDONLY).ok()?;
        let bytes = rustix::fs::fstat(&index).ok()?.st_size as u64;
        Some(Index { number, index, frames, entries: bytes / ENTRY_BYTES as u64 })
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// One of them; `None` if there is no such frame.
    pub fn spot(&self, place: u64) -> Option<Spot> {
        let mut bytes = [0; ENTRY_BYTES];
        let at = place.checked_mul(ENTRY_BYTES as u64)?;
        let read = rustix::io::pread(&self.index, &mut bytes[..], at).ok()?;
        let spot = Spot::decode(self.number, &bytes);
        (read == ENTRY_BYTES && spot.is_in(self.frames.as_fd())).then_some(spot)
    }

    /// The last one that `wanted` takes, with its place.
    pub fn last(&self, wanted: impl Fn(&Spot) -> bool) -> Option<(u64, Spot)> {
        (0..self.entries).rev().find_map(|place| Some((place, self.spot(place).filter(&wanted)?)))
    }
}

/// The last spot in the log's last file that `wanted` takes; `None` if its index has none.
pub fn last_spot(dir: &Path, wanted: impl Fn(&Spot) -> bool) -> Option<Spot> {
    let number = super::file_numbers(dir).pop()?;
    Index::open(dir, number)?.last(wanted).map(|(_, spot)| spot)
}

/// Leaves so many entries in an index.
pub fn shorten(dir: &Path, number: u64, entries: u64) {
    let path = path_of(dir, number);
    if entries == 0 {
        let _ = std::fs::remove_file(path);
    } else if let Ok(index) = open_at(None, &path, OFlags::WRONLY) {
        let _ = rustix::fs::ftruncate(&index, entries * ENTRY_BYTES as u64);
    }
}

/// Spots of a log from its end backwards.
#[derive(Debug)]
pub struct Backwards {
    dir: PathBuf,
    /// Numbers of the files that come yet, and of the one of `index`.
    files: Vec<u64>,
    index: Option<(Index, u64)>,
}

impl Backwards {
    /// Of the log in `dir`.
    pub fn new(dir: PathBuf) -> Backwards {
        Backwards { files: super::file_numbers(&dir), dir, index: None }
    }

    /// The spot before which `more` others are passed over, or the beginning of all that there is, and whether it's that.
    pub fn next(&mut self, more: u64) -> Option<(Spot, bool)> {
        let mut left = more;
        loop {
            let number = *self.files.last()?;
            let is_first = self.files.len() == 1;
            let (index, before) = match self.index.take() {
                Some(opened) => opened,
                None => match Index::open(&self.dir, number) {
                    Some(index) if index.entries() > 0 => {
                        let entries = index.entries();
                        (index, entries)
                    }
                    // All of it at once.
                    _ if is_first || left == 0 => {
                        self.files.pop();
                        return Some((self.beginning(number), is_first));
                    }
                    _ => {
                        left -= 1;
                        self.files.pop();
                        continue;
                    }
                },
            };
            // One that isn't true any more stands for the one before.
            let place = before.saturating_sub(left + 1);
            let found = (0..=place).rev().find_map(|place| Some((place, index.spot(place)?)));
            match found {
                Some((place, spot)) if spot.at > 0 && left < before => {
                    self.index = Some((index, place));
                    return Some((spot, false));
                }
                _ if is_first || left < before => {
                    self.files.pop();
                    return Some((self.beginning(number), is_first));
                }
                _ => {
                    left -= before;
                    self.files.pop();
                }
            }
        }
    }

    /// Where the file of that number begins.
    fn beginning(&self, number: u64) -> Spot {
        let mut spot = Spot::beginning(number);
        if let Some(known) = Index::open(&self.dir, number).and_then(|index| index.spot(0))
            && known.at == 0
        {
            spot = known;
        }
        if self.files.is_empty() {
            // What began before isn't there any more.
            spot.within = [false; 2];
        }
        spot
    }
}

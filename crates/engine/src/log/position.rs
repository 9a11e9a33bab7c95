//! How far docker's lines have been written: a few numbers beside them, replaced in place after each write.

use super::number;
use linux::Errno;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::OwnedFd;
use std::path::Path;

const BYTES: usize = 56;

/// The numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// How many files there have been: the present one's number.
    pub file: u64,
    /// Whether names are being changed right now.
    pub rotating: bool,
    /// Bytes of the present file.
    pub size: u64,
    /// Bytes of each stream that are in the files.
    pub written: [u64; 2],
    /// Times of the last gaps that are.
    pub told: [u64; 2],
}

impl Position {
    fn encode(&self) -> [u8; BYTES] {
        let numbers = [
            self.file,
            self.rotating.into(),
            self.size,
            self.written[0],
            self.written[1],
            self.told[0],
            self.told[1],
        ];
        let mut bytes = [0; BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Position {
        let at = |n: usize| number(&bytes[n * 8..n * 8 + 8]);
        Position {
            file: at(0),
            rotating: at(1) != 0,
            size: at(2),
            written: [at(3), at(4)],
            told: [at(5), at(6)],
        }
    }

    /// As it's kept in `dir`; `None` if nothing is.
    pub fn read(dir: &Path) -> Option<Position> {
        let file = openat(CWD, dir.join("position"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut bytes = [0; BYTES];
        (rustix::io::pread(&file, &mut bytes[..], 0) == Ok(BYTES)).then(|| Position::decode(&bytes))
    }
}

/// Where they're kept.
#[derive(Debug)]
pub struct Keeper(OwnedFd);

impl Keeper {
    /// In `dir`, which is there.
    pub fn open(dir: &Path) -> Result<Keeper, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        openat(CWD, dir.join("position"), flags, Mode::from_raw_mode(0o600)).map(Keeper)
    }

    /// Replaces them. Over the bytes that are there already, so that it works on a full disk.
    pub fn write(&self, position: &Position) -> Result<(), Errno> {
        rustix::io::pwrite(&self.0, &position.encode(), 0).map(drop)
    }
}

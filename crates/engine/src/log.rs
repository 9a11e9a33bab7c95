//! What a container wrote, as the keeper stores it: frames in numbered files. They are the truth, and whoever wants the
//! output reads it from here, `berth run` in the foreground and `berth attach` included.
//!
//! ```text
//! local      <state>/log/<n>        n counts up from 0; a file is closed at max-size, and only max-file of them are kept
//!            <state>/log/<n>.index  where some of its frames begin (see [`index`])
//! json-file  <run>/log/<n>          a journal: the last megabytes, out of which docker's lines are written
//!            <state>/<id>-json.log  those lines; older ones in .1, .2, … (see `json_file`)
//! none       <run>/log/<n>          the journal alone, which goes with the container
//! mode=non-blocking: a journal in any case, which a process of its own writes to the disk (see `behind`)
//!
//! frame: 24 bytes of header, then the payload, as written to one stream in one go
//!   0  magic 0xB7   1  kind   2  zero (2 bytes)   4  payload bytes (u32)
//!   8  nanoseconds since the epoch (u64)            16  offset of the payload in its stream (u64)      little-endian
//!   kinds: 1 stdout, 2 stderr; 3 and 4 a gap in one of them, whose payload says what is missing
//! ```
//!
//! Invariants:
//! 1. Only one process writes: the keeper, holding the container's lock.
//! 2. A header is written before its payload and names its full length. If the writer was killed in between, the last
//!    frame of the last file is short; the next writer corrects its length ([`Writer::open`]). What wasn't copied yet is
//!    still in the FIFO. Readers take a short last frame for what there is of it.
//! 3. Payloads are moved by splice(2): they never pass through the keeper's memory.
//! 4. Offsets grow, but for a journal's: a new file of it begins with what of the one before may still be needed, so that
//!    the older can go ([`Writer::rotate`]). Readers pass over what they have had.
//! 5. What a file can't take is lost in whole lines, and a gap says how many ([`Recorder`]).
//!
//! Modules: [`plan`], drivers and options; `frame`, `writer`, `cursor` and [`index`], the frames; [`json`] and `json_file`, docker's format;
//! `export`, from the frames to it;
//! [`recorder`], who puts them together for the keeper; `compress`; [`hold`], for readers of what is removed.

mod behind;
mod compress;
mod cursor;
mod export;
mod frame;
pub mod hold;
pub mod index;
pub mod json;
mod json_file;
pub mod json_reader;
mod loss;
pub mod plan;
mod position;
pub mod recorder;
mod writer;

pub use cursor::Cursor;
use frame::number;
pub use frame::{FRAME_BYTES_MAX, HEADER_BYTES, Header, Stream};
pub use loss::Gap;
pub use plan::{Driver, Plan};
pub use recorder::Recorder;
pub use writer::{Limits, Writer};

use crate::cell::Cell;
use crate::{Config, Home};
use linux::Errno;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Bytes after which a new file is begun (docker's `local` driver: 20 MB, 5 files).
pub const FILE_BYTES_MAX: u64 = 20_000_000;
/// Files kept.
pub const FILES_MAX: u64 = 5;
/// Bytes of a journal's file.
pub const JOURNAL_FILE_BYTES: u64 = 1 << 20;
/// Files of a journal while somebody is attached, who may lag behind.
pub const JOURNAL_FILES_HELD: u64 = 16;
/// Files of a journal.
pub const JOURNAL_FILES: u64 = 2;
/// The directory of `local`'s files, and of what else is kept about a log, below a container's durable one.
pub fn dir(state: &Path) -> PathBuf {
    state.join("log")
}

/// Where the frames are of a container whose log is kept as `plan` says.
pub fn frames_dir(home: &Home, id: &str, plan: &Plan) -> PathBuf {
    match plan.is_journalled() {
        true => journal_dir(&Cell::of(home, id)),
        false => dir(&home.state_dir(id)),
    }
}

/// Where frames are that stay, if any do.
pub fn kept_of(home: &Home, config: &Config) -> PathBuf {
    match Plan::of_container(config).driver {
        Driver::Local => dir(&home.state_dir(&config.id)),
        Driver::JsonFile | Driver::None => frames_of(home, config),
    }
}

/// The directory of the keeper's frames of a container as it was made.
pub fn frames_of(home: &Home, config: &Config) -> PathBuf {
    frames_dir(home, &config.id, &Plan::of_container(config))
}

/// The journal of a container whose log is elsewhere, or nowhere.
pub fn journal_dir(cell: &Cell) -> PathBuf {
    cell.path.join("log")
}

/// Docker's name for the file of `json-file`, which is what ships logs looks for: `containers/*/*-json.log`.
pub fn json_path(home: &Home, id: &str) -> PathBuf {
    home.state_dir(id).join(format!("{id}-json.log"))
}

fn open_at(dir: Option<&OwnedFd>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(0o600);
    match dir {
        Some(dir) => openat(dir, path, flags | OFlags::CLOEXEC, mode),
        None => openat(CWD, path, flags | OFlags::CLOEXEC, mode),
    }
}

/// Numbers of the files there are, ascending.
pub fn file_numbers(dir: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let number = |name: &str| name.strip_suffix(compress::SUFFIX).unwrap_or(name).parse().ok();
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests;

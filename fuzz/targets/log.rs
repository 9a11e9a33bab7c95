//! What logs are read from: berth's frames, whole or damaged, and docker's lines. Readers come to an end, tell no more than there
//! is, and what they tell is written and read as the same again.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

// By path: the crate itself would bring a TLS library in C.
#[path = "../../crates/engine/src/log"]
mod log {
    #[path = "compress.rs"]
    pub mod compress;
    #[path = "cursor.rs"]
    pub mod cursor;
    #[path = "frame.rs"]
    pub mod frame;
    #[path = "hold.rs"]
    pub mod hold;
    #[path = "json.rs"]
    pub mod json;
    #[path = "json_reader.rs"]
    pub mod json_reader;
    #[path = "loss.rs"]
    pub mod loss;
    #[path = "position.rs"]
    pub mod position;

    pub use cursor::Cursor;
    use frame::number;
    pub use frame::{HEADER_BYTES, Header, Stream};
    use linux::Errno;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::os::fd::OwnedFd;
    use std::path::Path;

    fn open_at(_: Option<&OwnedFd>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(CWD, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
    }

    pub fn file_numbers(dir: &Path) -> Vec<u64> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[derive(Debug)]
pub struct Error;

impl Error {
    pub fn system(_: &'static str, _: impl std::fmt::Display, _: linux::Errno) -> Error {
        Error
    }
}

/// A directory in memory.
fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(format!("/dev/shm/berth-fuzz-{}/{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("make a directory in memory");
    dir
}

fn frames(dir: &std::path::Path, size: usize, ahead: bool) {
    let mut cursor = log::Cursor::new(dir.to_owned());
    if ahead {
        cursor = cursor.buffered();
    }
    cursor.settle();
    let (mut told, mut steps) = (0, 0);
    let mut buffer = [0; 7];
    while let Ok(Some((header, there))) = cursor.next_piece() {
        assert!(there > 0 && there <= header.length);
        while cursor.take_gap().is_some() {}
        match cursor.read(&mut buffer) {
            Ok(read @ 1..) => told += read,
            _ => break,
        }
        steps += 1;
        assert!(told <= size && steps <= size);
    }
}

fn lines(dir: &std::path::Path, size: usize) {
    let path = dir.join("x-json.log");
    let mut reader = log::json_reader::JsonReader::new(path.clone(), dir.to_owned());
    let mut count = 0;
    while let Ok(Some(record)) = reader.next_record() {
        count += 1;
        assert!(count <= size);
        let mut line = Vec::new();
        let attributes = log::json::attributes(&record.attributes);
        log::json::line(
            &mut line,
            &record.text,
            record.stream,
            &attributes,
            &log::json::time(record.time_ns),
        );
        let again = log::json::parse(line.strip_suffix(b"\n").unwrap_or(&line));
        assert_eq!(again.as_ref().map(|again| &again.text), Some(&record.text));
        assert_eq!(
            again.map(|again| (again.stream, again.attributes)),
            Some((record.stream, record.attributes))
        );
    }
    if let Ok(mut tail) = log::json_reader::JsonReader::of_tail(path, dir.to_owned(), 3) {
        let mut last = 0;
        while let Ok(Some(_)) = tail.next_record() {
            last += 1;
        }
        assert!(last <= 4 && last <= count, "{last} of {count}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    if kind & 1 == 0 {
        let dir = dir("frames");
        // In two files.
        let (first, second) = rest.split_at(rest.len() / if kind & 2 == 0 { 1 } else { 2 });
        std::fs::write(dir.join("0"), first).expect("write a file in memory");
        match second.is_empty() {
            true => drop(std::fs::remove_file(dir.join("1"))),
            false => std::fs::write(dir.join("1"), second).expect("write a file in memory"),
        }
        frames(&dir, rest.len(), kind & 4 == 0);
    } else {
        let dir = dir("lines");
        // What is noted about them comes first.
        let (position, text) = rest.split_at(rest.len().min(if kind & 2 == 0 { 0 } else { 56 }));
        match position.len() {
            // Names that are changing would be waited for.
            56 if position[8..16].iter().all(|byte| *byte == 0) => {
                std::fs::write(dir.join("position"), position).expect("write a file in memory")
            }
            _ => drop(std::fs::remove_file(dir.join("position"))),
        }
        std::fs::write(dir.join("x-json.log"), text).expect("write a file in memory");
        lines(&dir, text.len());
    }
});

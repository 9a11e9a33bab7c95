//! Layers and trees as text, a line for each name, so that those of different engines can be compared. xtask reads this
//! file too: it knows nothing but the standard library.
//!
//! ```text
//! d PATH MODE UID:GID                directory          c PATH MODE UID:GID MAJOR,MINOR   character device
//! f PATH MODE UID:GID BYTES HASH     file               b PATH MODE UID:GID MAJOR,MINOR   block device
//! l PATH UID:GID >TARGET             symbolic link      p PATH MODE UID:GID               fifo
//! - PATH                             removed            o PATH                            emptied of what was below
//! ```
//!
//! After these come ` =PATH`, the first of the file's names in this order if it isn't this one; ` @SECONDS`, its time of
//! modification if a change could have set that; and ` NAME=HEX`, its extended attributes. `change.c` prints the same.

use std::collections::BTreeMap;
use std::fmt::Write;

const BLOCK_BYTES: usize = 512;

/// Times from here on are those of the clock.
const NOW: i64 = 1_500_000_000;

const ATTRIBUTE: &str = "SCHILY.xattr.";

/// What a header says, with the records of its extended header.
struct Entry {
    path: Vec<u8>,
    kind: u8,
    mode: u64,
    owner: (u64, u64),
    time: i64,
    target: Vec<u8>,
    device: (u64, u64),
    attributes: BTreeMap<String, Vec<u8>>,
    content: Vec<u8>,
}

/// The lines of an archive without compression, sorted by path.
pub fn of_tar(tar: &[u8]) -> Result<Vec<String>, String> {
    let entries = entries(tar)?;
    let names: Vec<&[u8]> = entries.iter().map(|entry| entry.path.as_slice()).collect();
    let mut groups: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for link in entries.iter().filter(|entry| entry.kind == b'1') {
        groups.entry(&link.target).or_insert_with(|| vec![&link.target]).push(&link.path);
    }
    let mut lines = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if names[..at].contains(&entry.path.as_slice()) {
            return Err(format!("{} is there twice", escaped(&entry.path)));
        }
        // A link stands for the file, of which it is another name.
        let file = match entry.kind {
            b'1' => entries.iter().find(|file| file.kind != b'1' && file.path == entry.target),
            _ => Some(entry),
        };
        let lost =
            || format!("{} links to {}, which isn't there", escaped(&entry.path), escaped(&entry.target));
        let file = file.ok_or_else(lost)?;
        let first = groups.get(file.path.as_slice()).and_then(|group| group.iter().min().copied());
        let line = file.line(&entry.path, first.filter(|first| *first != entry.path))?;
        lines.insert(entry.path.clone(), line);
    }
    Ok(lines.into_values().collect())
}

/// A line without the extended attributes that docker leaves out of layers: all but the capabilities of files.
pub fn as_docker(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.starts_with("user.")).collect();
    words.join(" ")
}

/// Docker's `layer` without marks that hide nothing. Docker marks each directory that overlayfs has marked, also one that
/// was renamed since to where nothing is below, in the lines `below`, or nothing that still shows.
pub fn without_idle_marks(layer: &[String], below: &[String]) -> Vec<String> {
    let path = |line: &String| line.split(' ').nth(1).map(str::to_owned);
    let marked: Vec<&str> = layer.iter().filter_map(|line| line.strip_prefix("o ")).collect();
    let hides = |mark: &str| {
        let is_hidden =
            marked.iter().any(|other| mark.strip_prefix(other).is_some_and(|rest| rest.starts_with('/')));
        !is_hidden && below.iter().any(|line| path(line).as_deref() == Some(mark))
    };
    layer.iter().filter(|line| line.strip_prefix("o ").is_none_or(hides)).cloned().collect()
}

impl Entry {
    /// The line of the file under the name `path`.
    fn line(&self, path: &[u8], first: Option<&[u8]>) -> Result<String, String> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let dir = &path[..path.len() - name.len()];
        if name == b".wh..wh..opq" {
            return Ok(format!("o {}", escaped(dir.strip_suffix(b"/").unwrap_or(dir))));
        }
        if let Some(removed) = name.strip_prefix(b".wh.") {
            return Ok(format!("- {}", escaped(&[dir, removed].concat())));
        }
        let letter = match self.kind {
            b'0' | 0 => 'f',
            b'2' => 'l',
            b'3' => 'c',
            b'4' => 'b',
            b'5' => 'd',
            b'6' => 'p',
            kind => return Err(format!("{} is of kind {:?}", escaped(path), kind as char)),
        };
        let mut line = format!("{letter} {}", escaped(path));
        let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).map_err(|e| e.to_string());
        if letter != 'l' {
            add(format_args!(" {:04o}", self.mode & 0o7777))?;
        }
        add(format_args!(" {}:{}", self.owner.0, self.owner.1))?;
        match letter {
            'f' => add(format_args!(" {} {:016x}", self.content.len(), hash(&self.content)))?,
            'l' => add(format_args!(" >{}", escaped(&self.target)))?,
            'c' | 'b' => add(format_args!(" {},{}", self.device.0, self.device.1))?,
            _ => {}
        }
        if let Some(first) = first {
            add(format_args!(" ={}", escaped(first)))?;
        }
        if self.time < NOW {
            add(format_args!(" @{}", self.time))?;
        }
        for (name, value) in &self.attributes {
            let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            add(format_args!(" {name}={value}"))?;
        }
        Ok(line)
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// As `change.c` writes and reads names.
pub fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'!'..=b'~' if *byte != b'\\' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

/// Source: pax(1), ustar and pax; GNU's long names are written by nobody here.
fn entries(mut tar: &[u8]) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    let mut records: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some((header, rest)) = tar.split_at_checked(BLOCK_BYTES) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(found);
        }
        let field = |from: usize, length: usize| {
            let field = &header[from..from + length];
            field[..field.iter().position(|byte| *byte == 0).unwrap_or(length)].to_vec()
        };
        let record = |name: &str| records.get(name).cloned();
        let number = |from: usize, length: usize, name: &str| -> Result<u64, String> {
            let (text, radix) = record(name).map_or_else(|| (field(from, length), 8), |text| (text, 10));
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            let whole = text.split('.').next().unwrap_or_default();
            if whole.is_empty() {
                Ok(0)
            } else {
                u64::from_str_radix(whole, radix).map_err(|e| format!("{text:?}: {e}"))
            }
        };
        let size = number(124, 12, "size")? as usize;
        let content = rest.get(..size).ok_or("an entry ends early")?.to_vec();
        let kind = header[156];
        tar = rest.get(size.next_multiple_of(BLOCK_BYTES)..).ok_or("an entry ends early")?;
        if kind == b'x' {
            records = parse_records(&content)?;
            continue;
        }
        let (prefix, name) = (field(345, 155), field(0, 100));
        let joined = if prefix.is_empty() { name } else { [&prefix[..], b"/", &name].concat() };
        let path = record("path").unwrap_or(joined);
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        let attributes = records.iter().filter_map(|(name, value)| {
            name.strip_prefix(ATTRIBUTE).map(|name| (name.to_owned(), value.clone()))
        });
        found.push(Entry {
            path: path.strip_suffix(b"/").unwrap_or(path).to_vec(),
            kind,
            mode: number(100, 8, "mode")?,
            owner: (number(108, 8, "uid")?, number(116, 8, "gid")?),
            time: number(136, 12, "mtime")? as i64,
            target: record("linkpath").unwrap_or_else(|| field(157, 100)),
            device: (number(329, 8, "devmajor")?, number(337, 8, "devminor")?),
            attributes: attributes.collect(),
            content,
        });
        records.clear();
    }
    Err("it has no end".to_owned())
}

fn parse_records(mut text: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut records = BTreeMap::new();
    while !text.is_empty() {
        let broken = "a record of an extended header is broken";
        let blank = text.iter().position(|byte| *byte == b' ').ok_or(broken)?;
        let length = std::str::from_utf8(&text[..blank]).ok().and_then(|digits| digits.parse().ok());
        let (record, rest) = length.and_then(|length| text.split_at_checked(length)).ok_or(broken)?;
        let record = record.get(blank + 1..record.len() - 1).ok_or(broken)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(broken)?;
        records
            .insert(String::from_utf8_lossy(&record[..equals]).into_owned(), record[equals + 1..].to_vec());
        text = rest;
    }
    Ok(records)
}

//! One header block. Sources: POSIX pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::sparse::OldMap;
use super::{BLOCK_BYTES, Fault};

/// One block of an archive.
pub type Block = [u8; BLOCK_BYTES];

/// What a header block says, before extended records.
#[derive(Debug)]
pub struct Header {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    /// The type flag as it stands.
    pub flag: u8,
    pub mode: u32,
    pub size: u64,
    /// Owner, group and modification time; extended records may replace them, so that a fault here is no fault yet.
    pub uid: Result<u32, Fault>,
    pub gid: Result<u32, Fault>,
    pub mtime: Result<i64, Fault>,
    pub major: u32,
    pub minor: u32,
    /// The map of a sparse file, type `S`.
    pub sparse: Option<OldMap>,
}

/// Whether the checksum of `block` is right, summed as unsigned bytes or, as some old writers do, as signed ones.
pub fn has_checksum(block: &Block) -> bool {
    let Ok(wanted) = number(&block[148..156], "checksum") else { return false };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    wanted == unsigned || wanted == signed
}

/// Reads a header whose checksum was found right.
pub fn parse(block: &Block) -> Result<Header, Fault> {
    let posix = &block[257..263] == b"ustar\0";
    let gnu = &block[257..265] == b"ustar  \0";
    let mut name = text(&block[..100]).to_vec();
    if posix {
        // star keeps times where the end of the prefix is.
        let end = if &block[508..512] == b"tar\0" { 476 } else { 500 };
        let prefix = text(&block[345..end]);
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
    }
    let device = |at: usize, field| match posix || gnu {
        true => bounded(&block[at..at + 8], field, u32::MAX),
        false => Ok(0),
    };
    let flag = block[156];
    let is_device = matches!(flag, b'3' | b'4');
    Ok(Header {
        name,
        link: text(&block[157..257]).to_vec(),
        flag,
        mode: (number(&block[100..108], "mode")? & 0o7777) as u32,
        size: unsigned(&block[124..136], "size")?,
        uid: owner(&block[108..116], "uid"),
        gid: owner(&block[116..124], "gid"),
        mtime: number(&block[136..148], "mtime"),
        major: if is_device { device(329, "devmajor")? } else { 0 },
        minor: if is_device { device(337, "devminor")? } else { 0 },
        sparse: if flag == b'S' && gnu { Some(OldMap::parse(block)?) } else { None },
    })
}

/// The bytes before the first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// The largest user or group id: the one above it means "no change" to chown(2).
pub const OWNER_MAX: u32 = u32::MAX - 1;

fn owner(field: &[u8], name: &'static str) -> Result<u32, Fault> {
    bounded(field, name, OWNER_MAX)
}

fn bounded(field: &[u8], name: &'static str, max: u32) -> Result<u32, Fault> {
    let value = number(field, name)?;
    u32::try_from(value).ok().filter(|value| *value <= max).ok_or(Fault::Number(name))
}

/// A numeric field that can't be negative.
pub fn unsigned(field: &[u8], name: &'static str) -> Result<u64, Fault> {
    u64::try_from(number(field, name)?).map_err(|_| Fault::Number(name))
}

/// A numeric field: octal digits between blanks and NULs (an empty field is 0), or GNU's base 256, marked by the first
/// bit, with the second as sign.
fn number(field: &[u8], name: &'static str) -> Result<i64, Fault> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field).ok_or(Fault::Number(name)),
        _ => octal(field).ok_or(Fault::Number(name)),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { i64::from(field[0] as i8) } else { i64::from(field[0] & 0x7f) };
    field[1..].iter().try_fold(first, |sum, byte| sum.checked_mul(256)?.checked_add(i64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let check =
            |field: &[u8], value: Option<i64>| assert_eq!(number(field, "x").ok(), value, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"  644 \0\0", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"77777777777\0", Some(0o77777777777));
        check(b"777777777777", Some(0o777777777777));
        check(b"0000648\0", None);
        check(b"-1\0", None);
        check(b"\x80\0\0\0\0\0\0\x05", Some(5));
        check(b"\x80\0\0\0\x02\0\0\0\0\0\0\0", Some(2 << 56));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1));
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None);
        check(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None);
    }

    #[test]
    fn an_owner_that_means_no_change_is_refused() {
        assert!(owner(b"\x80\0\0\0\xff\xff\xff\xff", "uid").is_err());
        assert_eq!(owner(b"\x80\0\0\0\xff\xff\xff\xfe", "uid").ok(), Some(OWNER_MAX));
        assert!(owner(b"\xff\xff\xff\xff\xff\xff\xff\xff", "uid").is_err());
    }
}

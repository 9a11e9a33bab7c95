//! Extended records. Source: POSIX pax(1), "pax Extended Header"; star's `SCHILY.xattr.` for extended attributes.

use super::header::OWNER_MAX;
use super::{Fault, NAME_BYTES_MAX, Xattrs, sparse};

/// What the records before one entry say. `None` leaves the field to the header.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Seconds since the epoch and nanoseconds after them.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes, names without the prefix, each name once.
    pub xattrs: Xattrs,
    /// What is said of a sparse file.
    pub sparse: Option<sparse::Records>,
}

/// Parses a whole extended header. Of a keyword given twice the last counts; an empty value takes the keyword back.
pub fn parse(mut bytes: &[u8]) -> Result<Records, Fault> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) = split(bytes)?;
        records.set(key, value)?;
        bytes = rest;
    }
    Ok(records)
}

/// Checks a global extended header. What it says is ignored, as docker does, but it may not rename, resize or relink
/// every entry: readers disagree about that.
pub fn check_global(bytes: &[u8]) -> Result<(), Fault> {
    let records = parse(bytes)?;
    if records.path.is_some() || records.link.is_some() || records.size.is_some() || records.sparse.is_some()
    {
        return Err(Fault::Ambiguous("a global extended header sets path, linkpath or size"));
    }
    Ok(())
}

/// Keyword and value of one record, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits the first record, `LENGTH KEY=VALUE\n`, off `bytes`; the length counts the whole record.
fn split(bytes: &[u8]) -> Result<Split<'_>, Fault> {
    let bad = || Fault::Pax("a record has a wrong length");
    let blank = bytes.iter().take(8).position(|byte| *byte == b' ').ok_or_else(bad)?;
    let length = decimal(&bytes[..blank]).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
    if length < blank + 3 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return Err(bad());
    }
    let record = &bytes[blank + 1..length - 1];
    let equals = record.iter().position(|byte| *byte == b'=').ok_or(Fault::Pax("a record has no ="))?;
    match equals {
        0 => Err(Fault::Pax("a record has no keyword")),
        _ => Ok((&record[..equals], &record[equals + 1..], &bytes[length..])),
    }
}

impl Records {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = name(value, "path")?,
            b"linkpath" => self.link = name(value, "linkpath")?,
            b"size" => self.size = optional(value, "size", decimal)?,
            b"uid" => self.uid = optional(value, "uid", owner)?,
            b"gid" => self.gid = optional(value, "gid", owner)?,
            b"mtime" => self.mtime = optional(value, "mtime", time)?,
            b"GNU.sparse.name" => {
                let name = name(value, "GNU.sparse.name")?.ok_or(Fault::Pax("a sparse file has no name"))?;
                self.sparse.get_or_insert_default().set(b"name", &name, None)?;
            }
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().set(key, value, decimal(value))?;
                } else if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.set_xattr(attribute, value)?;
                }
            }
        }
        Ok(())
    }

    fn set_xattr(&mut self, attribute: &[u8], value: &[u8]) -> Result<(), Fault> {
        if attribute.is_empty() || attribute.contains(&0) {
            return Err(Fault::Pax("the name of an extended attribute is empty or holds a NUL"));
        }
        self.xattrs.retain(|(known, _)| known != attribute);
        if self.xattrs.len() == XATTRS_MAX {
            return Err(Fault::Pax("an entry has too many extended attributes"));
        }
        self.xattrs.push((attribute.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Most extended attributes of one entry; the kernel lists at most 64 KiB of names, real files have a handful.
const XATTRS_MAX: usize = 256;

fn name(value: &[u8], what: &'static str) -> Result<Option<Vec<u8>>, Fault> {
    if value.contains(&0) {
        return Err(Fault::Pax("a name holds a NUL"));
    }
    if value.len() > NAME_BYTES_MAX {
        return Err(Fault::TooLong { what, max: NAME_BYTES_MAX as u64 });
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn optional<T>(value: &[u8], field: &'static str, parse: fn(&[u8]) -> Option<T>) -> Result<Option<T>, Fault> {
    match value {
        [] => Ok(None),
        _ => parse(value).map(Some).ok_or(Fault::Number(field)),
    }
}

/// A number below 2^63.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })?;
    (value <= i64::MAX as u64).then_some(value)
}

fn owner(digits: &[u8]) -> Option<u32> {
    decimal(digits).and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= OWNER_MAX)
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = decimal(&value[..dot])? as i64;
    let fraction = value.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at| u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + digit(at));
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_replace_what_the_header_says() {
        let records = parse(b"12 path=a/b\n11 size=12\n22 mtime=1700000000.5\n6 x=y\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(records.size, Some(12));
        assert_eq!(records.mtime, Some((1_700_000_000, 500_000_000)));
    }

    #[test]
    fn times_may_lie_before_the_epoch() {
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        for bad in [&b""[..], b"-", b".", b"1.x", b"1e3", b"99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn records_that_break_the_grammar_are_refused() {
        let bad: &[&[u8]] = &[
            b"x",
            b"0 a=b\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"99 a=b\n",
            b"6 a=bx",
            b"6 abc\n",
            b"6 =ab\n",
            b" 6 a=b\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"4 =\n",
            b"9 uid=-1\n",
            b"11 path=a\0\n",
            b"2\n",
            b"3 \n",
        ];
        for bytes in bad {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_empty_value_takes_the_keyword_back() {
        assert_eq!(parse(b"8 uid=5\n7 uid=\n").unwrap(), Records::default());
    }
}

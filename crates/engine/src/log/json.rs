//! Docker's format of `json-file`: a line of JSON for each line of output, or for 16 KiB of it.
//!
//! ```text
//! {"log":"hello\n","stream":"stdout","attrs":{"tag":"web"},"time":"2026-11-30T08:00:00.123456789Z"}
//! ```
//!
//! Byte for byte what docker writes (moby, daemon/logger/jsonfilelog/jsonlog): bytes that are no UTF-8 become U+FFFD, and
//! `<`, `>`, `&`, U+2028 and U+2029 are escaped. What a line without an end has is followed by no `\n`.

use super::Stream;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most bytes of output in one line.
pub const RECORD_BYTES_MAX: usize = 16 << 10;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    // Nearly all of nearly all lines.
    let plain = prefix(bytes, |byte| byte.is_ascii() && is_plain(byte));
    out.extend_from_slice(&bytes[..plain]);
    for chunk in bytes[plain..].utf8_chunks() {
        text(out, chunk.valid());
        // One for each byte, as Go decodes.
        chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    // 0xe2 begins U+2028 and U+2029, among others.
    (byte >= 0x20)
        & (byte != b'\\')
        & (byte != b'"')
        & (byte != b'<')
        & (byte != b'>')
        & (byte != b'&')
        & (byte != 0xe2)
}

/// How many bytes at the beginning are such. Whole blocks are looked at without a branch, which the compiler makes a few
/// instructions for sixteen bytes of.
pub(super) fn prefix(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let blocks = bytes.chunks_exact(16);
    let whole = blocks.take_while(|block| block.iter().fold(true, |all, byte| all & is(*byte))).count() * 16;
    whole + bytes[whole..].iter().take_while(|byte| is(**byte)).count()
}

fn text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let plain = prefix(rest, is_plain);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some(first) = rest.first() else { return };
        let escaped = match first {
            b'\\' | b'"' => {
                out.extend_from_slice(&[b'\\', *first]);
                1
            }
            b'\n' => {
                out.extend_from_slice(b"\\n");
                1
            }
            b'\r' => {
                out.extend_from_slice(b"\\r");
                1
            }
            0xe2 => match rest {
                [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
                    out.extend_from_slice(b"\\u202");
                    out.push(HEX[usize::from(last & 0xf)]);
                    3
                }
                _ => {
                    out.push(0xe2);
                    1
                }
            },
            byte => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
                1
            }
        };
        rest = &rest[escaped..];
    }
}

/// Attributes as they are in each line; nothing for none.
pub fn attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        out.push(if out.is_empty() { b'{' } else { b',' });
        string(&mut out, key.as_bytes());
        out.push(b':');
        string(&mut out, value.as_bytes());
    }
    if !out.is_empty() {
        out.push(b'}');
    }
    out
}

/// A moment as Go's RFC3339Nano writes it: without zeros at its end.
pub fn time(time_ns: u64) -> String {
    let full = store::rfc3339(time_ns.min(i64::MAX as u64) as i64);
    let short = full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{short}Z")
}

/// Appends a line: what was written, and its [`ending`].
pub fn line(out: &mut Vec<u8>, bytes: &[u8], ending: &[u8]) {
    out.reserve(bytes.len() + ending.len() + 16);
    out.extend_from_slice(b"{\"log\":");
    string(out, bytes);
    out.extend_from_slice(ending);
}

/// What lines end with: to which stream it was written, `attributes` as [`attributes`] gives them, and when.
pub fn ending(stream: Stream, attributes: &[u8], time: &str) -> Vec<u8> {
    let mut out = b",\"stream\":\"".to_vec();
    out.extend_from_slice(stream.name().as_bytes());
    out.push(b'"');
    if !attributes.is_empty() {
        out.extend_from_slice(b",\"attrs\":");
        out.extend_from_slice(attributes);
    }
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
    out
}

/// A line that was read.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// What one line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which stream.
    pub stream: Stream,
    /// Nanoseconds since the epoch; 0 for what is no moment.
    pub time_ns: u64,
    /// What was written.
    pub text: Vec<u8>,
    /// What log options added.
    pub attributes: BTreeMap<String, String>,
}

/// Reads a line; `None` if it's none of docker's.
pub fn parse(line: &[u8]) -> Option<Record> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let stream = match line.stream.as_ref() {
        "stderr" => Stream::Stderr,
        _ => Stream::Stdout,
    };
    let time = types::moment::parse_rfc3339(&line.time).unwrap_or(0);
    Some(Record {
        stream,
        time_ns: u64::try_from(time).unwrap_or(0),
        text: line.log.into_owned().into_bytes(),
        attributes: line.attrs,
    })
}

#[cfg(test)]
mod tests;

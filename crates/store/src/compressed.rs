//! Archives that users bring: plain, or compressed in one of the ways that docker knows.

use crate::error::Error;
use crate::tar::Reader;
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};

/// Memory that an xz stream may ask for, in KiB: `xz -9` needs 64 MiB.
const XZ_KIB_MAX: u32 = 68 << 10;

/// Window of a zstd stream, as a power of two: what `zstd -19` makes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes of an archive read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// What is in `input`, which is plain or compressed by gzip, bzip2, xz or zstd, told by its first bytes.
///
/// Errors: [`Error::ReadArchive`].
pub fn plain<'a>(mut input: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    let start = input.fill_buf().map_err(Error::ReadArchive)?;
    Ok(match start {
        [0x1f, 0x8b, 8, ..] => Box::new(MultiGzDecoder::new(input)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_KIB_MAX))
        }
        // A frame, or one that is to be skipped. Source: RFC 8878 3.1.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(Error::ReadArchive)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(Error::ReadArchive)?;
            Box::new(decoder)
        }
        _ => Box::new(input),
    })
}

/// Whether `input` is a tar archive, compressed or not: its first entry can be read.
pub fn is_archive(input: impl Read) -> bool {
    let Ok(plain) = plain(BufReader::with_capacity(BUFFER_BYTES, input)) else { return false };
    let mut first = Vec::new();
    // What is broken later is told when it's unpacked. An archive of nothing isn't told from a file of zeros.
    let _ = plain.take(START_BYTES).read_to_end(&mut first);
    matches!(Reader::new(&first[..]).next_entry(), Ok(Some(_)))
}

/// Bytes that hold the first entry's header, with all its extended ones.
const START_BYTES: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Entry, EntryKind, Writer};
    use std::io::Write;

    fn archive() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        let (name, xattrs) = (b"f".to_vec(), Vec::new());
        let kind = EntryKind::File { size: 3 };
        let entry = Entry { name, kind, mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), xattrs };
        writer.append(&entry, &mut &b"abc"[..]).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        plain(bytes).unwrap().read_to_end(&mut read).unwrap();
        read
    }

    #[test]
    fn each_compression_is_told_by_its_first_bytes() {
        let archive = archive();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&archive).unwrap();
        let zstd = zstd::encode_all(&archive[..], 1).unwrap();
        let mut several = bzip2.finish().unwrap();
        let all = [archive.clone(), gzip.finish().unwrap(), several.clone(), zstd, XZ.to_vec()];
        for bytes in &all[..4] {
            assert_eq!(read(bytes), archive);
            assert!(is_archive(&bytes[..]));
        }
        several.extend_from_within(..);
        assert_eq!(read(&several), [&archive[..], &archive].concat());
        assert_eq!(read(XZ), b"abc\n");
        assert!(!is_archive(XZ));
    }

    /// What `xz` makes of `abc` and a line feed.
    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16,
        0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x03, 0x61, 0x62, 0x63, 0x0a, 0x00, 0x87, 0x69,
        0x2d, 0x8f, 0x39, 0x33, 0xe9, 0xdb, 0x00, 0x01, 0x1c, 0x04, 0x6f, 0x2c, 0x9c, 0xc1, 0x1f, 0xb6, 0xf3,
        0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    #[test]
    fn what_is_no_archive_is_none() {
        for bytes in
            [&b""[..], b"abc", &[0; 2048], b"\x1f\x8b\x08broken", b"BZhbroken", &XZ[..20], b"\xfd7zXZ\0"]
        {
            assert!(!is_archive(bytes), "{bytes:?}");
        }
    }
}

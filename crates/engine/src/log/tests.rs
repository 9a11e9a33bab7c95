use super::*;
use std::os::fd::AsFd;

const LIMITS: Limits =
    Limits { file_bytes: FILE_BYTES_MAX, files: FILES_MAX, files_held: None, compress: false };

fn open(dir: &Path) -> Writer {
    Writer::open(dir.to_owned(), LIMITS).unwrap()
}

fn header(stream: Stream, length: u32, time_ns: u64, offset: u64) -> Header {
    Header { stream, gap: false, length, time_ns, offset }
}

fn read_all(dir: &Path) -> [Vec<u8>; 2] {
    let mut cursor = Cursor::new(dir.to_owned());
    let mut out = [Vec::new(), Vec::new()];
    while let Some((header, left)) = cursor.next_piece().unwrap() {
        let mut buffer = vec![0; left as usize];
        let n = cursor.read(&mut buffer).unwrap();
        assert!(n > 0);
        out[header.stream.index()].extend_from_slice(&buffer[..n]);
    }
    out
}

#[test]
fn streams_come_back_apart_and_whole() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let mut writer = open(&dir);
    writer.append(b"one\n", Stream::Stdout).unwrap();
    writer.append(b"bad\n", Stream::Stderr).unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&write, b"two\n").unwrap();
    writer.append_from(read.as_fd(), Stream::Stdout, 4).unwrap();
    assert_eq!(writer.totals(), [8, 4]);
    assert_eq!(read_all(&dir), [b"one\ntwo\n".to_vec(), b"bad\n".to_vec()]);
}

#[test]
fn a_writer_killed_in_a_frame_loses_nothing_that_it_took() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let mut writer = open(&dir);
    writer.append(b"first", Stream::Stdout).unwrap();
    // The header promises ten bytes, four are there.
    writer.begin(header(Stream::Stderr, 10, 1, 0)).unwrap();
    writer.write_payload(b"half").unwrap();
    drop(writer);
    assert_eq!(read_all(&dir)[1], b"half");
    let mut writer = open(&dir);
    assert_eq!(writer.totals(), [5, 4]);
    writer.append(b" rest", Stream::Stderr).unwrap();
    assert_eq!(read_all(&dir), [b"first".to_vec(), b"half rest".to_vec()]);
    // Half a header.
    drop(writer);
    let file = std::fs::OpenOptions::new().append(true).open(dir.join("0")).unwrap();
    std::io::Write::write_all(&mut &file, &[MAGIC, 1, 0]).unwrap();
    let mut writer = open(&dir);
    writer.append(b"!", Stream::Stdout).unwrap();
    assert_eq!(read_all(&dir)[0], b"first!");
}

#[test]
fn old_files_go() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let mut writer = open(&dir);
    let chunk = vec![b'x'; FRAME_BYTES_MAX];
    for _ in 0..130 {
        writer.append(&chunk, Stream::Stdout).unwrap();
    }
    let numbers = file_numbers(&dir);
    assert!(numbers.len() as u64 <= FILES_MAX, "{numbers:?}");
    assert!(numbers[0] > 0);
    let mut cursor = Cursor::new(dir);
    assert!(cursor.next_piece().unwrap().is_some());
}

#[test]
fn no_bytes_are_taken_for_a_header() {
    assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    let mut bytes = header(Stream::Stderr, 7, 8, 9).encode();
    assert_eq!(Header::decode(&bytes), Some(header(Stream::Stderr, 7, 8, 9)));
    bytes[7] = 0xff;
    assert_eq!(Header::decode(&bytes), None, "longer than any frame");
}

use super::index::Index;
use super::*;
use std::os::fd::AsFd;

const LIMITS: Limits = Limits {
    file_bytes: FILE_BYTES_MAX,
    files: FILES_MAX,
    files_held: None,
    compress: false,
    index_bytes: Some(index::EVERY_BYTES),
};

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
    std::io::Write::write_all(&mut &file, &[frame::MAGIC, 1, 0]).unwrap();
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
    let far = Header { stream: Stream::Stdout, gap: false, length: 1, time_ns: 0, offset: u64::MAX };
    assert_eq!(Header::decode(&far.encode()), None);
    let mut bytes = header(Stream::Stderr, 7, 8, 9).encode();
    assert_eq!(Header::decode(&bytes), Some(header(Stream::Stderr, 7, 8, 9)));
    bytes[7] = 0xff;
    assert_eq!(Header::decode(&bytes), None, "longer than any frame");
}

#[test]
fn what_an_index_knows_is_not_read_again() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let limits = Limits { index_bytes: Some(100), ..LIMITS };
    let mut writer = Writer::open(dir.clone(), limits).unwrap();
    for _ in 0..10 {
        writer.append(b"a line of forty bytes, or somewhat more\n", Stream::Stdout).unwrap();
        writer.append(b"half", Stream::Stderr).unwrap();
    }
    let totals = writer.totals();
    let spots = || Index::open(&dir, 0).unwrap();
    let (entries, (last, spot)) = (spots().entries(), spots().last(|_| true).unwrap());
    assert!(entries > 3 && last + 1 == entries, "{entries} entries, the last of {last}");
    assert_eq!(spot.within, [false, true]);
    assert_eq!(spots().spot(0).map(|spot| (spot.at, spot.within)), Some((0, [false; 2])));
    // The machine went down: an entry is there, and its frame isn't.
    index::note(&dir, entries, &index::Spot { at: spot.at + 3, ..spot }).unwrap();
    index::note(&dir, entries + 1, &index::Spot { at: 1 << 40, ..spot }).unwrap();
    assert_eq!(spots().last(|_| true), Some((last, spot)));
    // Nobody walks over this.
    let file = std::fs::OpenOptions::new().write(true).open(dir.join("0")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"?", 0).unwrap();
    drop(writer);
    let mut writer = Writer::open(dir.clone(), limits).unwrap();
    assert_eq!(writer.totals(), totals);
    assert_eq!(spots().entries(), entries, "those of no frames are gone");
    writer.append(b"on\n", Stream::Stderr).unwrap();
    let mut cursor = Cursor::before(dir.clone(), totals);
    let mut rest = Vec::new();
    while let Some((header, left)) = cursor.next_piece().unwrap() {
        let mut buffer = vec![0; left as usize];
        cursor.read(&mut buffer).unwrap();
        if header.offset >= totals[header.stream.index()] {
            rest.extend_from_slice(&buffer);
        }
    }
    assert_eq!(rest, b"on\n");
    assert!(Cursor::at_end(dir).unwrap().next_piece().unwrap().is_none());
}

#[test]
fn a_compressed_file_is_gone_back_over_as_one() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("log");
    let limits = Limits { index_bytes: Some(100), file_bytes: 1_000, ..LIMITS };
    let mut writer = Writer::open(dir.clone(), limits).unwrap();
    while writer.number() < 2 {
        writer.append(b"a line of forty bytes, or somewhat more\n", Stream::Stdout).unwrap();
    }
    let seen = |steps: &[u64]| {
        let mut backwards = index::Backwards::new(dir.clone());
        let spots = steps.iter().map_while(|more| backwards.next(*more));
        spots.map(|(spot, first)| (spot.number, spot.at > 0, first)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&[0, 0, 0]), [(2, false, false), (1, true, false), (1, true, false)]);
    compress::compress(&dir.join("1")).unwrap();
    assert_eq!(seen(&[0, 0, 0]), [(2, false, false), (1, false, false), (0, true, false)]);
    assert_eq!(seen(&[2, 0]), [(0, true, false), (0, true, false)]);
    assert_eq!(seen(&[99, 0]), [(0, false, true)]);
    // Index and file go together.
    while writer.number() < 9 {
        writer.append(b"a line of forty bytes, or somewhat more\n", Stream::Stdout).unwrap();
    }
    let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    let own = |name: &String| file_numbers(&dir).contains(&name.split('.').next().unwrap().parse().unwrap());
    assert!(names.len() == 10 && names.iter().all(own), "{names:?}");
}

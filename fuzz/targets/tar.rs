//! The reader of archives: it ends, doesn't hand out more than the archive holds, puts a file's content where it fits.
//! What it reads, the writer can write, and it reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::tar::{Entry, EntryKind, NAME_BYTES_MAX, Reader, Writer};

/// All entries, the content of each as one piece if it is no sparse file.
fn entries(bytes: &[u8]) -> Option<Vec<(Entry, Option<Vec<u8>>)>> {
    let mut reader = Reader::new(bytes);
    let (mut found, mut sum) = (Vec::new(), 0);
    // An entry is at least its header.
    for _ in 0..=bytes.len() / 512 {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Some(found),
            Err(_) => return None,
        };
        assert!(entry.name.len() <= NAME_BYTES_MAX);
        let size = if let EntryKind::File { size } = entry.kind { size } else { 0 };
        let (mut content, mut end) = (Vec::new(), 0);
        loop {
            let position = reader.position();
            let piece = match reader.fill() {
                Ok(piece) => piece,
                Err(_) => return None,
            };
            if piece.is_empty() {
                break;
            }
            assert!(position >= end, "a piece overlaps the one before");
            end = position + piece.len() as u64;
            assert!(end <= size, "a piece lies behind the end");
            sum += piece.len();
            content.extend_from_slice(piece);
            let length = piece.len();
            reader.consume(length);
        }
        assert!(sum <= bytes.len());
        let whole = content.len() as u64 == size;
        found.push((entry, whole.then_some(content)));
    }
    panic!("more entries than headers");
}

fuzz_target!(|bytes: &[u8]| {
    let Some(found) = entries(bytes) else { return };
    let mut writer = Writer::new(Vec::new());
    let mut written = Vec::new();
    for (entry, content) in found {
        let Some(content) = content else { return };
        // A name without characters, an attribute with `=`: some archives can be read and not written.
        if writer.append(&entry, &mut content.as_slice()).is_err() {
            return;
        }
        written.push((entry, content));
    }
    if written.is_empty() {
        return;
    }
    let archive = writer.finish().expect("memory takes all");
    let again = entries(&archive).expect("what was written is an archive");
    assert_eq!(again.len(), written.len());
    for ((again, content), (entry, written)) in again.iter().zip(&written) {
        assert_eq!((&again.kind, again.mode, again.mtime), (&entry.kind, entry.mode, entry.mtime));
        assert_eq!((again.uid, again.gid), (entry.uid, entry.gid));
        assert!(again.name == entry.name || again.name.strip_suffix(b"/") == Some(&entry.name));
        assert_eq!(content.as_ref(), Some(written));
    }
});

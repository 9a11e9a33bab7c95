//! The reader of archives: it ends, and doesn't hand out more than the archive holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::tar::{NAME_BYTES_MAX, Reader};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    let mut content = 0;
    // An entry is at least its header.
    for _ in 0..=bytes.len() / 512 {
        match reader.next_entry() {
            Ok(Some(entry)) => assert!(entry.name.len() <= NAME_BYTES_MAX),
            Ok(None) | Err(_) => return,
        }
        loop {
            let length = match reader.fill() {
                Ok(piece) => piece.len(),
                Err(_) => return,
            };
            if length == 0 {
                break;
            }
            content += length;
            reader.consume(length);
        }
        assert!(content <= bytes.len());
    }
    panic!("more entries than headers");
});

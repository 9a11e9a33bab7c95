//! Mount options: no list panics, and no attribute is both set and cleared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::MountOptions;

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.split(',').collect();
    let Ok(options) = MountOptions::parse(&words) else { return };
    assert!(options.data.len() + options.propagation.len() <= words.len());
    // Atime's attributes are a field of bits: clearing the field and setting one of its values is how it's changed.
    const ATIME: u64 = 0x70;
    assert_eq!(options.set & options.clear & !ATIME, 0, "{options:?}");
    assert_eq!(options.recursive_set & options.recursive_clear & !ATIME, 0, "{options:?}");
});

//! Manifests, indexes, configurations and references: read or refused, and what was read means the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::image::{Document, ImageConfig, Platform};
use types::reference::Reference;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = Document::parse(bytes, &[]) {
        let written = match &document {
            Document::Manifest(manifest) => serde_json::to_vec(manifest),
            Document::Index(index) => serde_json::to_vec(index),
        };
        let written = written.expect("a document that was read can be written");
        assert_eq!(Document::parse(&written, &[]).as_ref(), Ok(&document));
        if let Document::Index(index) = &document {
            index.pick(&Platform::linux("arm64", ""));
        }
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        let written = serde_json::to_vec(&config).expect("a configuration that was read can be written");
        assert_eq!(ImageConfig::parse(&written).as_ref(), Ok(&config));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference));
        assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference));
    }
});

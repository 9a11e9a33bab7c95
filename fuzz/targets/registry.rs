//! What a registry says beside content: challenges, links, ranges, dates, URLs. Read or refused; what is a URL prints as one.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

// By path: the crate itself would bring a TLS library in C.
#[path = "../../crates/registry/src/challenge.rs"]
mod challenge;
#[path = "../../crates/registry/src/headers.rs"]
mod headers;
#[path = "../../crates/registry/src/url.rs"]
mod url;

fuzz_target!(|text: &str| {
    challenge::parse(text);
    headers::content_range(text);
    headers::session_end(text);
    let (value, date) = text.split_once('\n').unwrap_or((text, ""));
    headers::retry_after(value, Some(date));
    if let Some(next) = headers::next_link(text) {
        assert!(text.contains(next));
    }
    let Ok(url) = url::Url::parse(value) else { return };
    assert_eq!(url::Url::parse(&url.to_string()), Ok(url.clone()));
    if let Ok(next) = url.join(date) {
        assert_eq!(url::Url::parse(&next.to_string()), Ok(next));
    }
});

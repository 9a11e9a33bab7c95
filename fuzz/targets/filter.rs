//! Filters of events: none panics, and one more value of a key shows no less, but for labels.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

// By path: the crate itself would bring a TLS library in C.
#[path = "../../crates/engine/src/events/filter.rs"]
mod filter;

#[derive(Debug, Default)]
pub struct Actor {
    pub id: String,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub struct Event {
    pub kind: String,
    pub action: String,
    pub actor: Actor,
    pub scope: String,
}

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let mut event = Event { kind: next(), action: next(), scope: next(), ..Event::default() };
    event.actor.id = next();
    for (key, value) in [(next(), next()), ("name".to_owned(), next()), ("image".to_owned(), next())] {
        event.actor.attributes.insert(key, value);
    }
    let mut filter = filter::Filter::default();
    assert!(filter.passes(&event));
    let mut shown = true;
    let mut keys: Vec<String> = Vec::new();
    for line in lines {
        let Some((key, value)) = line.split_once('=') else { continue };
        filter.add(key, value);
        let now = filter.passes(&event);
        // A new key narrows; another value of a known one widens, and of labels narrows.
        match keys.iter().any(|known| known == key) {
            true if key == "label" => assert!(shown || !now, "{line}"),
            true => assert!(now || !shown, "{line}"),
            false => assert!(shown || !now, "{line}"),
        }
        keys.push(key.to_owned());
        shown = now;
    }
});

//! Variables: templates and files of them. Nothing panics; text without dollar signs stays as it is.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

// By path: these are the crate's own.
#[path = "../../crates/compose/src/dotenv.rs"]
mod dotenv;
#[path = "../../crates/compose/src/template.rs"]
mod template;

fuzz_target!(|text: &str| {
    let lookup = |name: &str| (name.len() % 2 == 0).then(|| name.to_lowercase());
    let mut unset = Vec::new();
    let replaced = template::substitute(text, &lookup, &mut unset);
    if !text.contains('$') {
        assert_eq!(replaced.as_deref(), Ok(text));
    }
    let doubled = text.replace('$', "$$");
    assert_eq!(template::substitute(&doubled, &lookup, &mut unset).as_deref(), Ok(text));
    template::variables(text, &mut Vec::new());
    let _ = dotenv::parse(text, &mut BTreeMap::new(), &lookup);
    let _ = dotenv::parse_raw(text, &mut BTreeMap::new(), &lookup);
});

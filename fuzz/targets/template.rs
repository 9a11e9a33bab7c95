//! Templates of `--format`: none panics, text alone stays as it is, and what only names fields is what the engine makes of it.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

// By path: the crate is a binary.
#[path = "../../crates/cli/src/format"]
mod format {
    #[path = "template.rs"]
    pub mod template;

    pub mod table {
        pub fn align(lines: &[String]) -> String {
            lines.join("\n")
        }
    }
}

mod failure {
    #[derive(Debug)]
    pub struct Failure(pub String);

    impl Failure {
        pub fn new(message: impl Into<String>) -> Failure {
            Failure(message.into())
        }

        pub fn hint(self, _: &str) -> Failure {
            self
        }

        pub fn code(self, _: u8) -> Failure {
            self
        }
    }
}

use format::template;

fuzz_target!(|source: &str| {
    let row = serde_json::json!({
        "Name": "web", "N": 5, "F": 1.5, "L": ["x", "y"], "M": {"k": null, "v": "\u{e9} <b>"}, "Label": {"a": "b"}
    });
    let one = template::one(source, &row);
    if !source.contains("{{") {
        assert_eq!(one.as_deref().ok(), Some(source));
    }
    let parsed = template::Format::parse(source, "{{.Name}}\t{{.N}}");
    let rows = template::rows(&parsed, &[("Name", "NAME"), ("N", "N")], [row]);
    if let (template::Format::Lines(lines), Ok(one), Ok(rows)) = (&parsed, &one, &rows)
        && lines == source
    {
        assert_eq!(*rows, format!("{one}\n"));
    }
});

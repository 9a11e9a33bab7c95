//! `berth-runtime spec`: a first `config.json`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::failure::Failure;
use crate::parse::env::error_text;

/// The document that `runc spec` writes. Source: runc libcontainer/specconv, Example.
const EXAMPLE: &str = include_str!("example.json");

/// Writes `config.json` into `bundle` (empty is the working directory); one that is there stays.
pub fn write(bundle: &Path) -> Result<(), Failure> {
    let path = bundle.join("config.json");
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!("File {} exists. Remove it first", path.display())),
        _ => Failure::new(format!("cannot write {}: {}", path.display(), error_text(&error))),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(EXAMPLE.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration_that_reads_back_whole() {
        let spec: types::oci::Spec = serde_json::from_str(EXAMPLE).expect("valid");
        let back = serde_json::to_value(&spec).expect("valid");
        let source: serde_json::Value = serde_json::from_str(EXAMPLE).expect("valid");
        assert_eq!(back["process"], source["process"]);
        assert_eq!(back["mounts"], source["mounts"]);
        assert_eq!(source["ociVersion"], crate::commands::version::SPEC_VERSION);
    }

    #[test]
    fn a_document_that_is_there_stays() {
        let dir = std::env::temp_dir().join(format!("berth-spec-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a fresh directory");
        let first = write(&dir);
        let second = write(&dir);
        let text = std::fs::read_to_string(dir.join("config.json"));
        std::fs::remove_dir_all(&dir).expect("our own directory");
        assert_eq!(first, Ok(()));
        assert!(second.expect_err("it exists").message.contains("exists. Remove it first"));
        assert_eq!(text.expect("written"), EXAMPLE);
    }
}

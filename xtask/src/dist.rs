//! The one file that ships.

use crate::build::{self, Profile};
use crate::{Result, cmd};
use std::path::{Path, PathBuf};

pub const HELP: &str = "
usage: cargo xtask dist

Builds the release binary and puts it into target/dist: `berth`, one static
executable, and `berth-runtime`, a link to it. Fails if it is not static or
larger than promised.
";

/// Largest size of the binary, stripped. Raised by hand, when a feature is worth it.
/// 6.7 MB without images; TLS with post-quantum key exchange, HTTP and zstd are 5.2 MB, volumes and copying 0.5 MB, the
/// commands on containers' lives (top, stats, events, attach, start, …) 0.5 MB, networks with their doctor, names and rules, and
/// configurations that are read in two forms, 2.3 MB. Builds (the language, checks, copies, caches, xz and bzip2) and compose (YAML,
/// its model and schema) are 3.9 MB together; what of that could be less wasn't looked at.
const BINARY_BYTES_MAX: u64 = 20_500_000;

pub fn main(args: &[String]) -> Result {
    if !args.is_empty() {
        return Err(format!("dist takes no arguments, got {}", args.join(" ")));
    }
    let berth = build_dist()?;
    let bytes = size(&berth)?;
    println!("{} ({:.1} MB, static)", berth.display(), bytes as f64 / 1e6);
    Ok(())
}

/// Builds, checks and copies the binary; returns the copy's path.
pub fn build_dist() -> Result<PathBuf> {
    crate::setup::build_needs()?;
    cmd::heading("building berth (release)");
    let built = build::berth(Profile::Release)?;
    check_static(&built)?;
    let bytes = size(&built)?;
    if bytes > BINARY_BYTES_MAX {
        return Err(format!("{} has {bytes} bytes, more than {BINARY_BYTES_MAX}", built.display()));
    }
    let dir = cmd::target_dir().join("dist");
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let (berth, new) = (dir.join("berth"), dir.join(".berth.new"));
    // By rename: a running container's keeper may be executing the old file.
    std::fs::copy(&built, &new)
        .and_then(|_| std::fs::rename(&new, &berth))
        .map_err(|e| format!("cannot copy {} to {}: {e}", built.display(), berth.display()))?;
    build::link_runtime(&berth)?;
    Ok(berth)
}

fn size(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|m| m.len()).map_err(|e| format!("cannot stat {}: {e}", path.display()))
}

/// Fails unless the ELF file needs neither an interpreter nor a dynamic linker's work, and sits at a fixed address
/// (ARCHITECTURE.md, "One binary").
fn check_static(path: &Path) -> Result {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let fault = |what: &str| Err(format!("{} {what}", path.display()));
    match elf_facts(&bytes) {
        None => fault("is not a 64-bit ELF file"),
        Some(facts) if facts.interpreter => fault("asks for an interpreter: it is not static"),
        Some(facts) if !facts.fixed => fault("is position independent: its start pays for relocations"),
        Some(_) => Ok(()),
    }
}

struct ElfFacts {
    interpreter: bool,
    fixed: bool,
}

/// Reads what `check_static` asks from the file and program headers. Source: elf(5).
fn elf_facts(bytes: &[u8]) -> Option<ElfFacts> {
    const EXECUTABLE: u64 = 2;
    const SEGMENT_INTERPRETER: u64 = 3;
    let number = |at: usize, len: usize| -> Option<u64> {
        let slice = bytes.get(at..at.checked_add(len)?)?;
        Some(slice.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut interpreter = false;
    for index in 0..count {
        let at = usize::try_from(table + index * entry).ok()?;
        interpreter |= number(at, 4)? == SEGMENT_INTERPRETER;
    }
    Some(ElfFacts { interpreter, fixed: number(16, 2)? == EXECUTABLE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert!(elf_facts(&shell).unwrap().interpreter);
        assert!(elf_facts(b"#!/bin/sh\n").is_none());
        assert!(elf_facts(&shell[..100]).is_none(), "a cut table is no facts");
    }
}

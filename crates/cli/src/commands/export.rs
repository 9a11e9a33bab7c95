//! `berth export`.

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER",
    about: "Write a container's file system as a tar",
    flags: &[(
        "Options",
        &[Flag::one("output", "string", "Write this file instead of standard output").short('o')],
    )],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Writes the archive.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let path = super::output_path(parsed, "export")?;
    backend::export(&parsed.args()[0], path.as_deref())?;
    Ok(0)
}

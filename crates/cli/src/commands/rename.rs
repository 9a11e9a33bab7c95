//! `berth rename`.

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER NEW_NAME",
    about: "Give a container another name",
    flags: &[],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Renames it.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    // As docker, whose shells may hand over names with spaces around them.
    backend::rename(args[0].trim(), args[1].trim()).map(|()| 0)
}

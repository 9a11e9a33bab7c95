//! `berth tags`.

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "REPOSITORY",
    about: "List the tags that a registry has of a repository",
    flags: &[],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Prints a tag a line.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let tags = backend::tags(&parsed.args()[0])?;
    print(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())?;
    Ok(0)
}

//! `berth diff`.

use engine::inert;

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER",
    about: "Show what a container changed in its file system",
    flags: &[],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// Prints a change a line: C changed, A added, D deleted.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut text = String::new();
    for (letter, path) in backend::changes(&parsed.args()[0])? {
        text += &format!("{letter} {}\n", inert(&path));
    }
    print(&text)?;
    Ok(0)
}

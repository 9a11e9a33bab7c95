//! `berth save`.

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::unsupported;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save images to an archive",
    flags: &[(
        "Options",
        &[Flag::one("output", "string", "Write this file instead of standard output").short('o')],
    )],
    unsupported: unsupported::SAVE,
    args: (1, usize::MAX),
    trailing: false,
};

/// Saves the images.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let images = parsed.args();
    let path = super::output_path(parsed, "save")?;
    backend::save(&images, path.as_deref())?;
    Ok(0)
}

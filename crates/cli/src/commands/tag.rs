//! `berth tag`.

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    flags: &[],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Names the image.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    backend::tag(&args[0], &args[1])?;
    Ok(0)
}

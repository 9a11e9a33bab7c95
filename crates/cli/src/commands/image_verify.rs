//! `berth image verify`.

use engine::inert;

use super::print;
use crate::backend;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Parsed};
use crate::format::size;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "",
    about: "Hash all that is stored of images again, and name what isn't what it should be",
    flags: &[],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Verifies; 1 if something is wrong.
pub fn work(_: &Parsed) -> Result<u8, Failure> {
    let verified = backend::verify_images()?;
    for fault in &verified.faults {
        report(
            &Failure::new(format!("{}: {}", inert(&fault.object), inert(&fault.why)))
                .hint("pull or load the image again: berth rmi, then berth pull"),
        );
    }
    let (images, layers, blobs) = (verified.images, verified.layers, verified.blobs);
    let bytes = size::human(verified.bytes);
    let faults = verified.faults.len();
    print(&format!("{images} images, {layers} layers, {blobs} blobs ({bytes}): {faults} faults\n"))?;
    Ok(u8::from(faults > 0))
}

//! `berth rmi`.

use super::print;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove images",
    flags: &[(
        "Options",
        &[Flag::switch("force", "Remove all names of an id, also of images that containers were made from")
            .short('f')],
    )],
    unsupported: unsupported::RMI,
    args: (1, usize::MAX),
    trailing: false,
};

/// Removes names and images, as far as they are there, and prints what is gone.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut status = 0;
    for given in parsed.args() {
        match backend::remove_image(&given, parsed.switch("force")) {
            Ok(removed) => {
                let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}\n"));
                let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}\n"));
                print(&untagged.chain(deleted).collect::<String>())?;
            }
            Err(failure) => {
                // As with docker: what isn't there is no fault of a forced removal.
                let missing = failure.message.starts_with("no such image");
                report(&failure);
                status |= u8::from(!(missing && parsed.switch("force")));
            }
        }
    }
    Ok(status)
}

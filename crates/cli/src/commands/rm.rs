//! `berth rm`.

use engine::request::RmRequest;

use super::{print, print_outcomes};
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::size;
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove containers",
    flags: &[(
        "Options",
        &[
            Flag::switch("force", "Kill those that run").short('f'),
            Flag::switch("volumes", "Remove their anonymous volumes too").short('v'),
            Flag::switch("dry-run", "Tell what would be removed, and remove nothing"),
        ],
    )],
    unsupported: unsupported::RM,
    args: (1, usize::MAX),
    trailing: false,
};

/// Removes containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = RmRequest {
        containers: parsed.args(),
        force: parsed.switch("force"),
        volumes: parsed.switch("volumes"),
    };
    match parsed.switch("dry-run") {
        true => tell(&request),
        false => print_outcomes(backend::rm(&request)?),
    }
}

/// Prints what would be removed.
fn tell(request: &RmRequest) -> Result<u8, Failure> {
    let mut status = 0;
    for (_, result) in backend::would_rm(request)? {
        match result {
            Ok(gone) => {
                print(&format!("would remove container {} ({})\n", gone.container, size::sum(gone.bytes)))?;
                for volume in &gone.volumes {
                    print(&format!("would remove volume {volume}\n"))?;
                }
            }
            Err(failure) => {
                report(&failure);
                status = 1;
            }
        }
    }
    Ok(status)
}

//! `berth rm`.

use engine::request::RmRequest;

use super::print_outcomes;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
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
        ],
    )],
    unsupported: unsupported::RM,
    args: (1, usize::MAX),
    trailing: false,
};

/// Removes containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::rm(&RmRequest {
        containers: parsed.args(),
        force: parsed.switch("force"),
        volumes: parsed.switch("volumes"),
    })?)
}

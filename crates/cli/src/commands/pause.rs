//! `berth pause` and `berth unpause`.

use super::print_outcomes;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments of `pause`.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [CONTAINER...]",
    about: "Make all processes of containers stand still",
    flags: &[],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `unpause`.
pub static UNPAUSE_SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [CONTAINER...]",
    about: "Let paused containers run on",
    flags: &[],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Pauses containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::pause(&parsed.args())?)
}

/// Lets them run on.
pub fn unpause_work(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::unpause(&parsed.args())?)
}

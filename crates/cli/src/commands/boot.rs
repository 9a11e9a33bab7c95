//! `berth system boot`.

use super::print_outcomes;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "",
    about: "Start the containers whose restart policy says that they run after a boot",
    flags: &[],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Starts them, and prints their names.
pub fn work(_: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::boot()?)
}

//! `berth wait`.

use super::print;
use crate::backend;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "CONTAINER [CONTAINER...]",
    about: "Wait until containers end, and show their exit statuses",
    flags: &[],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Waits for one after the other, and prints a status a line.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut status = 0;
    for container in parsed.args() {
        match backend::wait(&container) {
            Ok(code) => print(&format!("{code}\n"))?,
            Err(failure) => {
                report(&failure);
                status = 1;
            }
        }
    }
    Ok(status)
}

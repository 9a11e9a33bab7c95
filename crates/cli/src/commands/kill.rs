//! `berth kill`.

use engine::request::KillRequest;

use super::print_outcomes;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::number;

const SIGKILL: i32 = 9;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send containers a signal",
    flags: &[("Options", &[Flag::one("signal", "string", "Signal to send (default SIGKILL)").short('s')])],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Sends a signal.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let signal = parsed.parsed("signal", number::signal)?.unwrap_or(SIGKILL);
    print_outcomes(backend::kill(&KillRequest { containers: parsed.args(), signal })?)
}

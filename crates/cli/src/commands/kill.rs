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

/// `--signal`, if one is given. As with docker, a wrong one is no wrong use of the command.
pub(super) fn signal(parsed: &Parsed) -> Result<Option<i32>, Failure> {
    let Some(given) = parsed.one("signal").filter(|given| !given.is_empty()) else { return Ok(None) };
    number::signal(given)
        .map(Some)
        .map_err(|bad| Failure { hint: bad.hint, ..Failure::new(format!("invalid signal: {given}")) })
}

/// Sends a signal.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let signal = signal(parsed)?.unwrap_or(SIGKILL);
    print_outcomes(backend::kill(&KillRequest { containers: parsed.args(), signal })?)
}

//! `berth stop`.

use engine::request::StopRequest;

use super::print_outcomes;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::number;

/// Flags of whatever stops containers.
pub const FLAGS: &[Flag] = &[
    Flag::one("signal", "string", "Signal to send, instead of the container's").short('s'),
    Flag::one("timeout", "seconds", "Time until they are killed; -1 for never").short('t').alias("time"),
];

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop containers: a signal, and after a while SIGKILL",
    flags: &[("Options", FLAGS)],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Stops containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::stop(&request(parsed)?)?)
}

/// What those flags ask for.
pub fn request(parsed: &Parsed) -> Result<StopRequest, Failure> {
    Ok(StopRequest {
        containers: parsed.args(),
        signal: super::kill::signal(parsed)?,
        timeout_secs: parsed.parsed("timeout", number::within(-1, i64::MAX))?,
    })
}

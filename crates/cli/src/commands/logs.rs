//! `berth logs`.

use std::time::SystemTime;

use engine::request::LogsRequest;

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::moment;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a container wrote",
    flags: &[(
        "Options",
        &[
            Flag::switch("details", "Show what --log-opt labels, env and tag add to each line"),
            Flag::switch("follow", "Go on until the container ends").short('f'),
            Flag::one("since", "string", "Only from then on: 10m, 2026-11-25T08:00:00Z, seconds since 1970"),
            Flag::one("until", "string", "Only before then"),
            Flag::one("tail", "string", "Only so many lines from the end (default all)").short('n'),
            Flag::switch("timestamps", "Show the time of each line").short('t'),
        ],
    )],
    unsupported: &[],
    args: (1, 1),
    trailing: false,
};

/// As with docker, whatever is no number of lines means all of them.
fn tail(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|lines| u64::try_from(lines).ok())
}

/// Copies the log.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    // As docker, for whom a wrong moment is no wrong use of the command.
    let ordinary = |failure: Failure| failure.code(1);
    let now = SystemTime::now();
    let request = LogsRequest {
        container: parsed.args().remove(0),
        follow: parsed.switch("follow"),
        details: parsed.switch("details"),
        timestamps: parsed.switch("timestamps"),
        tail: parsed.one("tail").and_then(tail),
        since: parsed.parsed("since", |text| moment::parse(text, now)).map_err(ordinary)?,
        until: parsed.parsed("until", |text| moment::parse(text, now)).map_err(ordinary)?,
    };
    backend::logs(&request).map(|()| 0)
}

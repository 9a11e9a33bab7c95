//! `berth logs`.

use std::io::IsTerminal;
use std::time::SystemTime;

use engine::request::LogsRequest;

use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::moment;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Show what containers wrote, several merged by time",
    flags: &[(
        "Options",
        &[
            Flag::switch("details", "Show what --log-opt labels, env and tag add to each line"),
            Flag::switch("follow", "Go on until the containers end").short('f'),
            Flag::one("grep", "regex", "Only lines in which this is found"),
            Flag::switch("invert-match", "Only lines in which --grep's isn't found"),
            Flag::one("since", "string", "Only from then on: 10m, 2026-11-25T08:00:00Z, seconds since 1970"),
            Flag::one("until", "string", "Only before then"),
            Flag::one("tail", "string", "Only so many lines from the end (default all)").short('n'),
            Flag::switch("timestamps", "Show the time of each line").short('t'),
        ],
    )],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// As with docker, whatever is no number of lines means all of them.
fn tail(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|lines| u64::try_from(lines).ok())
}

/// Copies the log.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    backend::logs(&request(parsed)?).map(|()| 0)
}

/// What the flags ask for.
pub fn request(parsed: &Parsed) -> Result<LogsRequest, Failure> {
    // As docker, for whom a wrong moment is no wrong use of the command.
    let ordinary = |failure: Failure| failure.code(1);
    let now = SystemTime::now();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if parsed.switch("invert-match") && parsed.one("grep").is_none() {
        return Err(parsed.wrong("--invert-match needs --grep"));
    }
    Ok(LogsRequest {
        containers: parsed.args(),
        grep: parsed.one("grep").map(str::to_owned),
        invert_match: parsed.switch("invert-match"),
        colour: std::io::stdout().is_terminal() && !no_colour,
        follow: parsed.switch("follow"),
        details: parsed.switch("details"),
        timestamps: parsed.switch("timestamps"),
        tail: parsed.one("tail").and_then(tail),
        since: parsed.parsed("since", |text| moment::parse(text, now)).map_err(ordinary)?,
        until: parsed.parsed("until", |text| moment::parse(text, now)).map_err(ordinary)?,
    })
}

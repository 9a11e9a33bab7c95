//! `berth logs`.

use std::time::SystemTime;

use engine::request::LogsRequest;

use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::moment;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a container wrote",
    flags: &[(
        "Options",
        &[
            Flag::switch("details", "Show what --log-opt adds to each line, which is nothing yet"),
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

/// `all` and, as with docker, a negative number mean all lines.
fn tail(text: &str) -> Result<Option<u64>, BadValue> {
    match text.parse::<i64>() {
        _ if text == "all" => Ok(None),
        Ok(lines) => Ok(u64::try_from(lines).ok()),
        Err(_) => Err(BadValue::new("neither a number of lines nor all")),
    }
}

/// Copies the log.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let now = SystemTime::now();
    let request = LogsRequest {
        container: parsed.args().remove(0),
        follow: parsed.switch("follow"),
        details: parsed.switch("details"),
        timestamps: parsed.switch("timestamps"),
        tail: parsed.parsed("tail", tail)?.flatten(),
        since: parsed.parsed("since", |text| moment::parse(text, now))?,
        until: parsed.parsed("until", |text| moment::parse(text, now))?,
    };
    backend::logs(&request).map(|()| 0)
}

//! `berth events`.

use std::io::{ErrorKind, Write, stdout};
use std::time::SystemTime;

use engine::events::Filter;

use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::events;
use crate::parse::{filter, moment};
use crate::suggest;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show what happens to containers, images and volumes",
    flags: &[(
        "Options",
        &[
            Flag::many(
                "filter",
                "filter",
                "Only those with type=, event=, container=, image=, volume=, label=KEY[=VALUE], scope=",
            )
            .short('f'),
            Flag::one("format", "string", "json, or a Go template"),
            Flag::one("since", "string", "From then on: 10m, 2026-11-25T08:00:00Z, seconds since 1970"),
            Flag::one("until", "string", "Go on until then (default for ever)"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

fn known(key: &str, value: &str) -> Result<(String, String), BadValue> {
    match Filter::KEYS.contains(&key) {
        true => Ok((key.to_owned(), value.to_owned())),
        false => {
            let near = suggest::nearest(key, Filter::KEYS.iter().copied());
            Err(BadValue::new(format!("unknown filter {key:?}")).did_you_mean(near))
        }
    }
}

/// Prints the events as they come.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    // As docker, for whom a wrong moment is no wrong use of the command.
    let ordinary = |failure: Failure| failure.code(1);
    let now = SystemTime::now();
    let since = parsed.parsed("since", |text| moment::parse(text, now)).map_err(ordinary)?;
    let until = parsed.parsed("until", |text| moment::parse(text, now)).map_err(ordinary)?;
    let mut chosen = Filter::default();
    for (key, value) in filter::each(parsed, known)? {
        chosen.add(&key, &value);
    }
    let format = events::Format::parse(parsed.one("format").unwrap_or_default())?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Failure::new("--since is later than --until"));
    }
    let mut reader = backend::events(chosen, since, until)?;
    while let Some(batch) = backend::next_events(&mut reader)? {
        let text = format.text(&batch)?;
        let mut out = stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            other => {
                other.map_err(|error| Failure::new(format!("cannot write to standard output: {error}")))?
            }
        }
    }
    Ok(0)
}

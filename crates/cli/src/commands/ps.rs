//! `berth ps`.

use std::time::SystemTime;

use engine::request::{PsFilter, PsRequest};

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, ps};
use crate::parse::{filter, number};
use crate::{suggest, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "List containers",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Show those that don't run too").short('a'),
            Flag::many(
                "filter",
                "filter",
                "Show those with KEY=VALUE: id, name, label, status, exited, ancestor, volume",
            )
            .short('f'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::one("last", "int", "Show the newest N, running or not").short('n'),
            Flag::switch("latest", "Show the newest, running or not").short('l'),
            Flag::switch("no-trunc", "Show ids and commands whole"),
            Flag::switch("quiet", "Show ids only").short('q'),
        ],
    )],
    unsupported: unsupported::PS,
    args: (0, 0),
    trailing: false,
};

const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "exited", "removing", "dead"];
const KEYS: [&str; 7] = ["id", "name", "label", "status", "exited", "ancestor", "volume"];
const KEYS_TO_COME: [&str; 8] =
    ["before", "since", "network", "publish", "expose", "health", "is-task", "isolation"];

fn filter(key: &str, value: &str) -> Result<PsFilter, BadValue> {
    Ok(match key {
        "id" => PsFilter::Id(value.to_owned()),
        "name" => PsFilter::Name(value.strip_prefix('/').unwrap_or(value).to_owned()),
        "label" => {
            let (key, value) = filter::label(value);
            PsFilter::Label(key, value)
        }
        "ancestor" => PsFilter::Ancestor(value.to_owned()),
        "exited" => PsFilter::Exited(value.parse().map_err(|_| BadValue::new("not an exit status"))?),
        "status" if STATES.contains(&value) => PsFilter::Status(value.to_owned()),
        "status" => {
            return Err(
                BadValue::new(format!("no state {value:?}")).did_you_mean(suggest::nearest(value, STATES))
            );
        }
        "volume" => PsFilter::Volume(value.to_owned()),
        key if KEYS_TO_COME.contains(&key) => {
            return Err(BadValue::new(format!("filter {key} isn't supported yet")));
        }
        key => {
            return Err(
                BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    })
}

fn request(parsed: &Parsed) -> Result<PsRequest, Failure> {
    let last = parsed.parsed("last", number::within(-1, i64::from(u32::MAX)))?.filter(|last| *last > 0);
    Ok(PsRequest {
        all: parsed.switch("all"),
        last: if parsed.switch("latest") { Some(1) } else { last.map(|last| last as u32) },
        filters: filter::each(parsed, filter)?,
    })
}

/// Lists containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let rows = backend::ps(&request(parsed)?)?;
    let format = Format::parse(parsed.one("format").unwrap_or_default(), ps::DEFAULT);
    let (quiet, full) = (parsed.switch("quiet"), parsed.switch("no-trunc"));
    print(&ps::text(&rows, &format, quiet, full, SystemTime::now())?)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_parse_as_dockers() {
        assert_eq!(filter("name", "/web"), Ok(PsFilter::Name("web".into())));
        assert_eq!(filter("label", "a=b"), Ok(PsFilter::Label("a".into(), Some("b".into()))));
        assert_eq!(filter("label", "a"), Ok(PsFilter::Label("a".into(), None)));
        assert_eq!(filter("exited", "137"), Ok(PsFilter::Exited(137)));
        assert_eq!(filter("status", "exited"), Ok(PsFilter::Status("exited".into())));
        for (key, value) in [("exited", "x"), ("status", "gone"), ("nmae", "x"), ("health", "x")] {
            assert!(filter(key, value).is_err(), "{key}={value}");
        }
    }
}

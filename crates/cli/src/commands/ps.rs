//! `berth ps`.

use std::time::SystemTime;

use engine::request::{PsFilter, PsRequest};

use super::print;
use crate::backend;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed, parse_bool};
use crate::format::{Format, colour, ps};
use crate::parse::{filter, number};
use crate::{failure::report, suggest};

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
                "Show those with KEY=VALUE: name, status, label, ancestor, since, network, health, …",
            )
            .short('f'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::one("last", "int", "Show the newest N, running or not").short('n'),
            Flag::switch("latest", "Show the newest, running or not").short('l'),
            Flag::switch("no-trunc", "Show ids and commands whole"),
            Flag::switch("quiet", "Show ids only").short('q'),
            Flag::switch("size", "Measure their files").short('s'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// Docker's words for states.
pub const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "exited", "removing", "dead"];
/// What containers are filtered by.
pub const KEYS: [&str; 14] = [
    "id", "name", "label", "status", "exited", "ancestor", "volume", "before", "since", "network", "publish",
    "expose", "health", "is-task",
];
/// What health checks say.
pub const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(key: &str, value: &str) -> Result<PsFilter, BadValue> {
    if value.contains(':') {
        return Err(BadValue::new(format!("filter for {key} should not contain ':'")));
    }
    let (ports, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse::<u16>().map_err(|_| BadValue::new(format!("no port {text:?}")));
    Ok(PsFilter::Ports {
        protocol: protocol.to_owned(),
        range: (port(first)?, port(last)?),
        published: key == "publish",
    })
}

fn filter(key: &str, value: &str) -> Result<PsFilter, BadValue> {
    Ok(match key {
        "id" => PsFilter::Id(value.to_owned()),
        "name" => PsFilter::Name(value.to_owned()),
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
        "before" => PsFilter::Before(value.to_owned()),
        "since" => PsFilter::Since(value.to_owned()),
        "network" => PsFilter::Network(value.to_owned()),
        "publish" | "expose" => ports(key, value)?,
        "health" if HEALTHS.contains(&value) => PsFilter::Health(value.to_owned()),
        "health" => {
            let why = format!("invalid value for health ({value}): must be one of {}", HEALTHS.join(", "));
            return Err(BadValue::new(why).did_you_mean(suggest::nearest(value, HEALTHS)));
        }
        "is-task" => match parse_bool(value) {
            Some(is) => PsFilter::IsTask(is),
            None => return Err(BadValue::new("is-task is true or false")),
        },
        "isolation" => return Err(BadValue::new("isolation is of Windows containers only")),
        key => {
            return Err(
                BadValue::new(format!("unknown filter {key:?}")).did_you_mean(suggest::nearest(key, KEYS))
            );
        }
    })
}

fn request(parsed: &Parsed) -> Result<PsRequest, Failure> {
    let last = match parsed.parsed("last", number::within(-1, i64::from(u32::MAX)))?.unwrap_or(-1) {
        -1 if parsed.switch("latest") => Some(1),
        last => u32::try_from(last).ok().filter(|last| *last > 0),
    };
    // As docker, which measures for whatever may show it.
    let format = parsed.one("format").unwrap_or_default();
    let is_shown = !parsed.switch("quiet") && [".Size", "json ."].iter().any(|part| format.contains(part));
    Ok(PsRequest {
        all: parsed.switch("all"),
        last,
        sizes: parsed.switch_or("size", is_shown),
        filters: filter::each(parsed, filter)?,
    })
}

/// Lists containers.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = request(parsed)?;
    let rows = backend::ps(&request)?;
    let (quiet, full) = (parsed.switch("quiet"), parsed.switch("no-trunc"));
    let given = parsed.one("format").filter(|given| !given.is_empty());
    if given.is_some() && quiet {
        report(&Failure::new("ignoring custom format, because both --format and --quiet are set"));
    }
    let default = if request.sizes { ps::WITH_SIZES } else { ps::DEFAULT };
    let format = Format::parse(given.filter(|_| !quiet).unwrap_or_default(), default);
    // In a table of the user's own, columns are compared and cut: they stay as they are.
    let is_default = matches!(&format, Format::Table(columns) if columns == default);
    let text = match is_default && !quiet && colour::of_results() {
        true => ps::coloured(&rows, &format, full, SystemTime::now())?,
        false => ps::text(&rows, &format, quiet, full, SystemTime::now())?,
    };
    let format = format.or_quiet(quiet, "");
    print(&colour::with_titles(text, &format))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_parse_as_dockers() {
        assert_eq!(filter("name", "^/web$"), Ok(PsFilter::Name("^/web$".into())));
        assert_eq!(filter("label", "a=b"), Ok(PsFilter::Label("a".into(), Some("b".into()))));
        assert_eq!(filter("label", "a"), Ok(PsFilter::Label("a".into(), None)));
        assert_eq!(filter("exited", "137"), Ok(PsFilter::Exited(137)));
        assert_eq!(filter("status", "exited"), Ok(PsFilter::Status("exited".into())));
        let ports = |protocol: &str, range, published| {
            Ok(PsFilter::Ports { protocol: protocol.into(), range, published })
        };
        assert_eq!(filter("expose", "80"), ports("tcp", (80, 80), false));
        assert_eq!(filter("publish", "80-90/udp"), ports("udp", (80, 90), true));
        assert_eq!(filter("is-task", "true"), Ok(PsFilter::IsTask(true)));
        assert_eq!(filter("health", "healthy"), Ok(PsFilter::Health("healthy".into())));
        for (key, value) in [
            ("exited", "x"),
            ("status", "gone"),
            ("nmae", "x"),
            ("health", "x"),
            ("expose", "x"),
            ("expose", "80:80"),
            ("is-task", "x"),
            ("isolation", "default"),
        ] {
            assert!(filter(key, value).is_err(), "{key}={value}");
        }
    }
}

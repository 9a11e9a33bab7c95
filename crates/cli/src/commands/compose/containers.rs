//! Commands on the containers of a project: what berth's own commands do, for the containers of services.

use std::time::SystemTime;

use compose::labels;
use engine::request::{KillRequest, LogsRequest, PsFilter, PsRequest, RmRequest, StartRequest, StopRequest};
use serde_json::Value as Json;

use super::act::outcomes;
use super::asked::Compose;
use crate::backend;
use crate::commands::{logs, print};
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{Format, colour, ps, template};
use crate::parse::number;

const fn spec(about: &'static str, flags: &'static [(&'static str, &'static [Flag])]) -> CommandSpec {
    CommandSpec {
        usage: "[OPTIONS] [SERVICE...]",
        about,
        flags,
        unsupported: &[],
        args: (0, usize::MAX),
        trailing: false,
    }
}

const TIMEOUT: Flag = Flag::one("timeout", "seconds", "Time until they are killed; -1 for never").short('t');

/// Flags and arguments of `ps`.
pub static PS: CommandSpec = spec(
    "List a project's containers",
    &[(
        "Options",
        &[
            Flag::switch("all", "Show those that don't run too").short('a'),
            Flag::one("format", "string", "table, table TEMPLATE, json, or a Go template"),
            Flag::switch("quiet", "Show ids only").short('q'),
            Flag::switch("services", "Show names of services only"),
            Flag::many("status", "string", "Show those in this state"),
            Flag::switch("no-trunc", "Show commands whole"),
            Flag::switch("orphans", "Show those whose service the files haven't (default true)"),
        ],
    )],
);

/// Flags and arguments of `start`.
pub static START: CommandSpec = spec("Start containers that were made", &[]);
/// Flags and arguments of `stop`.
pub static STOP: CommandSpec = spec("Stop containers", &[("Options", &[TIMEOUT])]);
/// Flags and arguments of `restart`.
pub static RESTART: CommandSpec = spec(
    "Stop containers and start them again",
    &[("Options", &[TIMEOUT, Flag::switch("no-deps", "Leave those alone that depend on them")])],
);
/// Flags and arguments of `kill`.
pub static KILL: CommandSpec = spec(
    "Send containers a signal",
    &[("Options", &[Flag::one("signal", "string", "The signal (default SIGKILL)").short('s')])],
);
/// Flags and arguments of `pause`.
pub static PAUSE: CommandSpec = spec("Freeze containers", &[]);
/// Flags and arguments of `unpause`.
pub static UNPAUSE: CommandSpec = spec("Let frozen containers go on", &[]);
/// Flags and arguments of `rm`.
pub static REMOVE: CommandSpec = spec(
    "Remove containers that have ended",
    &[(
        "Options",
        &[
            Flag::switch("force", "Don't ask; nothing is asked").short('f'),
            Flag::switch("stop", "Stop them first").short('s'),
            Flag::switch("volumes", "Remove their volumes without names too").short('v'),
        ],
    )],
);
/// Flags and arguments of `logs`.
pub static LOGS: CommandSpec = spec(
    "Show what containers wrote, merged by time",
    &[(
        "Options",
        &[
            Flag::switch("follow", "Go on until the containers end").short('f'),
            Flag::one("grep", "regex", "Only lines in which this is found"),
            Flag::switch("invert-match", "Only lines in which --grep's isn't found"),
            Flag::one("since", "string", "Only from then on: 10m, 2026-11-25T08:00:00Z, seconds since 1970"),
            Flag::one("until", "string", "Only before then"),
            Flag::one("tail", "string", "Only so many lines from the end (default all)").short('n'),
            Flag::switch("timestamps", "Show the time of each line").short('t'),
            Flag::switch("no-color", "No colours"),
        ],
    )],
);

/// Names of the project's containers, of these services or of all, those of `compose run` apart.
pub fn names(compose: &Compose, services: &[String]) -> Result<Vec<String>, Failure> {
    let project = compose.request.name(&compose.files).map_err(super::asked::failure)?;
    if let Ok(loaded) = compose.request.load(&compose.files) {
        let project = loaded.project;
        let is_known =
            |name: &String| project.services.contains_key(name) || project.disabled.contains_key(name);
        if let Some(unknown) = services.iter().find(|name| !is_known(name)) {
            return Err(Failure::new(format!("no such service: {unknown}")));
        }
    }
    let mut names = Vec::new();
    for container in backend::labelled(labels::PROJECT, &project)? {
        let labels = container.config.labels();
        let service = labels.get(labels::SERVICE).copied().unwrap_or_default();
        let is_one_off = labels.get(labels::ONE_OFF) == Some(&"True");
        if !is_one_off && (services.is_empty() || services.iter().any(|name| name == service)) {
            names.push(container.config.name.clone());
        }
    }
    names.sort_by_key(|name| (name.len(), name.clone()));
    Ok(names)
}

/// Lists containers.
pub fn list(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let project = compose.request.name(&compose.files).map_err(super::asked::failure)?;
    let services = parsed.args();
    let statuses = parsed.many("status").into_iter().map(|status| PsFilter::Status(status.to_owned()));
    let own = PsFilter::Label(labels::PROJECT.to_owned(), Some(project.clone()));
    let filters = std::iter::once(own).chain(statuses).collect();
    let mut rows = backend::ps(&PsRequest { all: parsed.switch("all"), filters, ..PsRequest::default() })?;
    let label = |row: &ps::PsRow, name: &str| {
        let found = row.labels.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    rows.retain(|row| services.is_empty() || services.contains(&label(row, labels::SERVICE)));
    rows.sort_by_key(|row| row.name.clone());
    if parsed.switch("services") {
        let mut names: Vec<String> = rows.iter().map(|row| label(row, labels::SERVICE) + "\n").collect();
        names.dedup();
        return print(&names.concat()).map(|()| 0);
    }
    let full = parsed.switch("no-trunc");
    if parsed.switch("quiet") {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>()).map(|()| 0);
    }
    const DEFAULT: &str =
        "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}";
    let mut header: Vec<(&str, &str)> =
        vec![("Name", "NAME"), ("Service", "SERVICE"), ("Project", "PROJECT")];
    header.extend(ps::HEADER);
    let format = Format::parse(parsed.one("format").unwrap_or_default(), DEFAULT);
    let documents = rows.iter().map(|row| {
        let mut document = ps::fields(row, full, SystemTime::now());
        if let Json::Object(fields) = &mut document {
            let own = [
                ("Name", row.name.clone()),
                ("Service", label(row, labels::SERVICE)),
                ("Project", project.clone()),
                ("Health", if row.health == "none" { String::new() } else { row.health.to_owned() }),
            ];
            fields.extend(own.map(|(key, value)| (key.to_owned(), Json::String(value))));
        }
        document
    });
    print(&colour::with_titles(template::rows(&format, &header, documents)?, &format)).map(|()| 0)
}

/// Starts containers.
pub fn start(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let requests: Vec<StartRequest> = names(compose, &parsed.args())?
        .into_iter()
        .map(|container| StartRequest { container, ..StartRequest::default() })
        .collect();
    if requests.is_empty() {
        return Err(
            Failure::new("no container of the project was made").hint("make them: berth compose up -d")
        );
    }
    done(backend::start(&requests)?)
}

/// What `stop` and `restart` ask for; none if there are no containers.
fn stop_request(compose: &Compose, parsed: &Parsed) -> Result<Option<StopRequest>, Failure> {
    let containers = names(compose, &parsed.args())?;
    let timeout_secs = parsed.parsed("timeout", number::within(-1, i64::MAX))?;
    let is_any = !containers.is_empty();
    Ok(is_any.then(|| StopRequest { containers, timeout_secs, ..StopRequest::default() }))
}

/// Stops containers.
pub fn stop(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    stop_request(compose, parsed)?.map_or(Ok(0), |request| done(backend::stop(&request)?))
}

/// Stops containers, and starts them again.
pub fn restart(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    stop_request(compose, parsed)?.map_or(Ok(0), |request| done(backend::restart(&request)?))
}

/// Sends a signal to containers that run.
pub fn kill(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let signal = parsed.given("signal", number::signal)?.unwrap_or(9);
    let containers = running(names(compose, &parsed.args())?)?;
    if containers.is_empty() {
        return Ok(0);
    }
    done(backend::kill(&KillRequest { containers, signal })?)
}

/// Of these containers, those that run, paused or not.
fn running(names: Vec<String>) -> Result<Vec<String>, Failure> {
    let rows = backend::ps(&PsRequest::default())?;
    Ok(names.into_iter().filter(|name| rows.iter().any(|row| row.name == *name)).collect())
}

/// Of these containers, those that are in a state.
fn in_state(names: Vec<String>, state: &str) -> Result<Vec<String>, Failure> {
    let filters = vec![PsFilter::Status(state.to_owned())];
    let rows = backend::ps(&PsRequest { filters, ..PsRequest::default() })?;
    Ok(names.into_iter().filter(|name| rows.iter().any(|row| row.name == *name)).collect())
}

/// Freezes containers that run.
pub fn pause(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    done(backend::pause(&in_state(names(compose, &parsed.args())?, "running")?)?)
}

/// Lets frozen ones go on.
pub fn unpause(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    done(backend::unpause(&in_state(names(compose, &parsed.args())?, "paused")?)?)
}

/// Removes containers that don't run.
pub fn remove(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let all = names(compose, &parsed.args())?;
    let up = running(all.clone())?;
    if parsed.switch("stop") && !up.is_empty() {
        outcomes(backend::stop(&StopRequest { containers: up.clone(), ..StopRequest::default() })?)?;
    }
    let containers: Vec<String> =
        all.into_iter().filter(|name| parsed.switch("stop") || !up.contains(name)).collect();
    if containers.is_empty() {
        eprintln!("No stopped containers");
        return Ok(0);
    }
    done(backend::rm(&RmRequest { containers, force: false, volumes: parsed.switch("volumes") })?)
}

/// Copies logs.
pub fn show_logs(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let containers = names(compose, &parsed.args())?;
    if containers.is_empty() {
        return Ok(0);
    }
    let request = LogsRequest { containers, ..logs::request(parsed)? };
    let colour = request.colour && !parsed.switch("no-color");
    backend::logs(&LogsRequest { colour, ..request }).map(|()| 0)
}

fn done(results: Vec<backend::Outcome>) -> Result<u8, Failure> {
    let mut status = 0;
    for (name, result) in results {
        match result {
            Ok(()) => eprintln!(" Container {}  Done", engine::inert(&name)),
            Err(failure) => {
                crate::failure::report(&failure);
                status = 1;
            }
        }
    }
    Ok(status)
}

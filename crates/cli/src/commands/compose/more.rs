//! `berth compose exec`, `port`, `top`, `pull`, `ls`: what berth's own commands do, for services.

use std::collections::BTreeMap;

use compose::labels;
use engine::images::PullRequest;
use engine::request::{ExecRequest, PsFilter, PsRequest};
use serde_json::json;

use super::asked::Compose;
use super::containers::names;
use crate::backend;
use crate::commands::run::{check_terminal, env_changes};
use crate::commands::{port, print, top};
use crate::failure::Failure;
use crate::flags::{self, Asked, CommandSpec, Flag, Parsed};
use crate::format::ps::state_word;
use crate::format::{Format, colour, template};
use crate::parse::{name, number};
use crate::progress::{Shown, To};

const INDEX: Flag = Flag::one("index", "int", "Which of the service's containers, from 1");

/// Flags and arguments of `exec`.
pub static EXEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] SERVICE COMMAND [ARGS...]",
    about: "Run a command in a service's container",
    flags: &[(
        "Options",
        &[
            Flag::switch("detach", "Return once the command runs").short('d'),
            Flag::many("env", "list", "Variable, KEY=VALUE, or KEY for the caller's").short('e'),
            INDEX,
            Flag::switch("no-tty", "Give the command no terminal").short('T').alias("no-TTY"),
            Flag::switch("interactive", "Keep stdin open (default true)").short('i'),
            Flag::switch("tty", "Give the command a terminal (default where there is one)").short('t'),
            Flag::switch("privileged", "Give the command all capabilities"),
            Flag::one("user", "string", "User, NAME|UID[:GROUP|GID]").short('u'),
            Flag::one("workdir", "string", "Working directory").short('w'),
        ],
    )],
    unsupported: &[],
    args: (2, usize::MAX),
    trailing: true,
};

/// Flags and arguments of `port`.
pub static PORT: CommandSpec = CommandSpec {
    usage: "[OPTIONS] SERVICE PRIVATE_PORT",
    about: "Show where a port of a service is published",
    flags: &[("Options", &[INDEX, Flag::one("protocol", "string", "tcp (default) or udp")])],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Flags and arguments of `top`.
pub static TOP: CommandSpec = CommandSpec {
    usage: "[SERVICES...]",
    about: "Show the processes of containers",
    flags: &[],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `pull`.
pub static PULL: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVICE...]",
    about: "Pull the images of services",
    flags: &[(
        "Options",
        &[
            Flag::switch("quiet", "Show no progress").short('q'),
            Flag::switch("ignore-pull-failures", "Go on with the next where one fails"),
            Flag::switch("ignore-buildable", "Leave out images that can be built"),
            Flag::switch("include-deps", "Also of services that the named ones depend on"),
        ],
    )],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `ls`.
pub static LIST: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "List projects",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Show those too of which nothing runs").short('a'),
            Flag::one("format", "string", "table (default) or json"),
            Flag::switch("quiet", "Show names only").short('q'),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

/// One of a service's containers: `--index`, else the first.
fn container(compose: &Compose, parsed: &Parsed, service: &str) -> Result<String, Failure> {
    let names = names(compose, &[service.to_owned()])?;
    let index = parsed.parsed("index", number::within(1, i64::from(u32::MAX)))?.unwrap_or(1);
    let found = names.get(usize::try_from(index - 1).unwrap_or(usize::MAX));
    found.cloned().ok_or_else(|| Failure::new(format!("service \"{service}\" is not running")))
}

/// Runs a command.
pub fn exec(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let mut command = parsed.args();
    let service = command.remove(0);
    let detach = parsed.switch("detach");
    let terminal = parsed.switch_or("tty", backend::at_terminal()) && !parsed.switch("no-tty") && !detach;
    let request = ExecRequest {
        container: container(compose, parsed, &service)?,
        command,
        interactive: parsed.switch_or("interactive", !detach),
        tty: terminal,
        detach,
        detach_keys: vec![0x10, 0x11],
        env: env_changes(parsed)?,
        user: parsed.one("user").filter(|user| !user.is_empty()).map(str::to_owned),
        workdir: parsed.given("workdir", name::absolute)?,
        privileged: parsed.switch("privileged"),
    };
    check_terminal(request.tty && request.interactive)?;
    backend::exec(&request)
}

/// Prints where a port is published.
pub fn show_port(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    let name = container(compose, parsed, &args[0])?;
    let wanted = format!("{}/{}", args[1], parsed.one("protocol").unwrap_or("tcp"));
    let words = [name.into(), wanted.into()];
    match flags::parse(&port::SPEC, &parsed.command, &words)? {
        Asked::Help => Ok(0),
        Asked::Work(parsed) => port::work(&parsed),
    }
}

/// Prints the processes of each container under its name.
pub fn show_top(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    for name in names(compose, &parsed.args())? {
        print(&format!("{}\n", engine::inert(&name)))?;
        if let Asked::Work(parsed) = flags::parse(&top::SPEC, &parsed.command, &[name.into()])? {
            top::work(&parsed)?;
        }
    }
    Ok(0)
}

/// Pulls images.
pub fn pull(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let mut request = compose::Request { services: parsed.args(), ..compose.request.clone() };
    request.without_dependencies = !parsed.switch("include-deps");
    let loaded = request.load(&compose.files).map_err(super::asked::failure)?;
    super::asked::say(&loaded.warnings);
    let shown = Shown::of_pull(parsed.switch("quiet"), "", To::Stderr).unwrap_or_else(|_| Shown::new(true));
    let mut done: Vec<&str> = Vec::new();
    for service in loaded.project.services.values() {
        let image = service.image.as_str();
        let can_be_built = service.build.is_some() && parsed.switch("ignore-buildable");
        if image.is_empty() || image.starts_with('@') || can_be_built || done.contains(&image) {
            continue;
        }
        done.push(image);
        let platform = Some(service.platform.clone()).filter(|platform| !platform.is_empty());
        match backend::pull(&PullRequest { image: image.to_owned(), platform }, &shown) {
            Err(failure) if parsed.switch("ignore-pull-failures") => crate::failure::report(&failure),
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
    }
    Ok(0)
}

/// Lists projects, by the labels of their containers.
pub fn list(_: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let filters = vec![PsFilter::Label(labels::PROJECT.to_owned(), None)];
    let rows = backend::ps(&PsRequest { all: true, filters, ..PsRequest::default() })?;
    let mut projects: BTreeMap<String, (BTreeMap<&'static str, usize>, String)> = BTreeMap::new();
    for row in &rows {
        let label = |name: &str| {
            let found = row.labels.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let project = projects.entry(label(labels::PROJECT)).or_default();
        *project.0.entry(state_word(row.state)).or_default() += 1;
        project.1 = label(labels::CONFIG_FILES);
    }
    projects.retain(|_, (states, _)| parsed.switch("all") || states.contains_key("running"));
    if parsed.switch("quiet") {
        return print(&projects.keys().map(|name| format!("{name}\n")).collect::<String>()).map(|()| 0);
    }
    let documents = projects.into_iter().map(|(name, (states, files))| {
        let states: Vec<String> =
            states.into_iter().map(|(state, count)| format!("{state}({count})")).collect();
        json!({ "Name": name, "Status": states.join(", "), "ConfigFiles": files })
    });
    let header = [("Name", "NAME"), ("Status", "STATUS"), ("ConfigFiles", "CONFIG FILES")];
    if parsed.one("format") == Some("json") {
        let documents: Vec<serde_json::Value> = documents.collect();
        return print(&format!("{}\n", serde_json::Value::from(documents))).map(|()| 0);
    }
    let format =
        Format::parse(parsed.one("format").unwrap_or_default(), "{{.Name}}\t{{.Status}}\t{{.ConfigFiles}}");
    print(&colour::with_titles(template::rows(&format, &header, documents)?, &format)).map(|()| 0)
}

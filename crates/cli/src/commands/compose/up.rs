//! `berth compose up`, `create` and `down`: what has to change is planned, shown if that is all, and done.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use compose::model::Project;
use compose::plan::{self, Condition, DownOptions, Plan, Recreate, UpOptions};
use engine::images::PullRequest;

use super::act::{self, Act};
use super::asked::Compose;
use super::state;
use crate::backend;
use crate::commands::print;
use crate::failure::{Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::number;
use crate::progress::{Shown, To};
use crate::unsupported::Unsupported;

const MAKING: &[Flag] = &[
    Flag::one("pull", "string", "When images are pulled: always, missing, never, policy (default)"),
    Flag::switch("quiet-pull", "Show no progress of pulls"),
    Flag::switch("no-build", "Build no image, whatever is missing"),
    Flag::switch("force-recreate", "Make containers anew though nothing changed"),
    Flag::switch("no-recreate", "Leave containers as they are though something changed"),
    Flag::switch("remove-orphans", "Remove containers of services that the files haven't any more"),
    Flag::many("scale", "SERVICE=NUM", "How many containers, instead of what the files say"),
    Flag::switch("yes", "Take yes for an answer; nothing is asked").short('y'),
    Flag::one("format", "string", "With --dry-run: text (default) or json"),
];

const STARTING: &[Flag] = &[
    Flag::switch("detach", "Return once everything runs").short('d'),
    Flag::switch("wait", "Return once everything runs and is healthy"),
    Flag::one("wait-timeout", "seconds", "How long that may take"),
    Flag::switch("no-start", "Make containers, and don't start them"),
    Flag::switch("no-deps", "Leave out services that the named ones depend on"),
    Flag::switch("always-recreate-deps", "Make those anew as well"),
    Flag::switch("renew-anon-volumes", "Give containers that are made anew new volumes without names")
        .short('V'),
    Flag::one("timeout", "seconds", "Time until containers that are stopped are killed").short('t'),
];

const fn later(name: &'static str, why: &'static str) -> Unsupported {
    Unsupported { name, short: None, why }
}

const FOREGROUND: &str = "use up -d, and compose logs -f to see what they write";

/// Flags and arguments of `up`.
pub static UP: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVICE...]",
    about: "Make and start containers, so that all is as the files say",
    flags: &[("Options", MAKING), ("Start", STARTING)],
    unsupported: &[
        later("abort-on-container-exit", FOREGROUND),
        later("abort-on-container-failure", FOREGROUND),
        later("attach", FOREGROUND),
        later("attach-dependencies", FOREGROUND),
        later("build", "build images first: berth build"),
        later("exit-code-from", FOREGROUND),
        later("menu", FOREGROUND),
        later("no-attach", FOREGROUND),
        later("no-color", FOREGROUND),
        later("no-log-prefix", FOREGROUND),
        later("rolling", ""),
        later("timestamps", FOREGROUND),
        later("watch", ""),
    ],
    args: (0, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `create`.
pub static CREATE: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVICE...]",
    about: "Make containers, and don't start them",
    flags: &[("Options", MAKING)],
    unsupported: &[later("build", "build images first: berth build")],
    args: (0, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `down`.
pub static DOWN: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVICES]",
    about: "Stop and remove containers, and networks that are the project's own",
    flags: &[(
        "Options",
        &[
            Flag::switch("volumes", "Remove volumes too, with all that is in them").short('v'),
            Flag::one(
                "rmi",
                "string",
                "Remove images too: all, or local for those without a name of their own",
            ),
            Flag::switch("remove-orphans", "Remove containers of services that the files haven't any more"),
            Flag::one("timeout", "seconds", "Time until containers are killed").short('t'),
            Flag::one("format", "string", "With --dry-run: text (default) or json"),
        ],
    )],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Starts a project.
pub fn up(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let waits = parsed.switch("wait");
    let no_start = parsed.switch("no-start");
    if !(parsed.switch("detach") || waits || no_start || compose.dry_run) {
        return Err(parsed.wrong("up in the foreground isn't supported yet").hint(FOREGROUND));
    }
    let made = make(compose, parsed, no_start)?;
    let Some(made) = made.filter(|_| waits) else { return Ok(0) };
    let seconds = parsed.parsed("wait-timeout", number::within(1, i64::from(u32::MAX)))?;
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds as u64));
    for container in state::find(&made)?.actual.containers {
        let Some(service) = made.services.get(container.service()) else { continue };
        let checked = service.healthcheck.as_ref().is_some_and(|health| !health.disable);
        let condition = if checked { Condition::Healthy } else { Condition::Done };
        act::await_verdict(&container.name, condition, deadline)?;
    }
    Ok(0)
}

/// Makes a project's containers.
pub fn create(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    make(compose, parsed, true).map(|_| 0)
}

/// Plans, and does it; the project, unless nothing was to be done but to show the plan.
fn make(compose: &Compose, parsed: &Parsed, no_start: bool) -> Result<Option<Project>, Failure> {
    let services = parsed.args();
    let mut request = compose::Request { services: services.clone(), ..compose.request.clone() };
    request.without_dependencies = parsed.switch("no-deps");
    let loaded = request.load(&compose.files).map_err(super::asked::failure)?;
    super::asked::say(&loaded.warnings);
    let project = loaded.project;
    refuse(&project)?;
    let _lock = lock(&project.name, compose.dry_run)?;
    let recreate = match (parsed.switch("force-recreate"), parsed.switch("no-recreate")) {
        (true, true) => return Err(Failure::new("--force-recreate and --no-recreate are incompatible")),
        (true, false) => Recreate::Always,
        (false, true) => Recreate::Never,
        (false, false) => Recreate::Changed,
    };
    let orphans = parsed.switch_or("remove-orphans", is_set(compose, "COMPOSE_REMOVE_ORPHANS"));
    let options = UpOptions {
        recreate,
        recreate_dependencies: match (recreate, parsed.switch("always-recreate-deps")) {
            (_, true) => Recreate::Always,
            (Recreate::Never, _) => Recreate::Never,
            _ => Recreate::Changed,
        },
        services,
        scale: scale(parsed, &project)?,
        remove_orphans: orphans,
        renew_anonymous_volumes: parsed.switch("renew-anon-volumes"),
        no_start,
        separator: Some(compose.separator),
    };
    if !compose.dry_run {
        pull(&project, parsed)?;
    }
    let found = state::find(&project)?;
    if !orphans && !is_set(compose, "COMPOSE_IGNORE_ORPHANS") {
        warn_of_orphans(&project, &found.actual);
    }
    let plan = plan::plan_up(&project, &found.actual, &options);
    if compose.dry_run {
        return show(&plan, parsed).map(|()| None);
    }
    let mut act = Act::new(&project, &found, &plan, compose.separator);
    act.quiet = compose.quiet;
    act.timeout_secs = parsed.parsed("timeout", number::within(-1, i64::MAX))?;
    act.all(&plan, no_start)?;
    Ok(Some(project))
}

/// Stops and removes a project.
pub fn down(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let services = parsed.args();
    let project = match compose.request.load(&compose.files) {
        Ok(loaded) => loaded.project,
        // Labels tell what is the project's, if its name is known.
        Err(error) => match compose.request.name(&compose.files) {
            Ok(name) if compose.request.project_name.is_some() => Project { name, ..Project::default() },
            _ => return Err(super::asked::failure(error)),
        },
    };
    if let Some(unknown) = services.iter().find(|name| !project.services.contains_key(*name)) {
        return Err(Failure::new(format!("no such service: {unknown}")));
    }
    let images = match parsed.one("rmi") {
        None | Some("") => Vec::new(),
        Some("all") => project.services.iter().map(|(key, it)| it.image_name(&project.name, key)).collect(),
        Some("local") => {
            let unnamed = project.services.iter().filter(|(_, service)| service.image.is_empty());
            unnamed.map(|(key, service)| service.image_name(&project.name, key)).collect()
        }
        Some(other) => return Err(Failure::new(format!("invalid value for --rmi: {other:?}"))),
    };
    let _lock = lock(&project.name, compose.dry_run)?;
    let found = state::find(&project)?;
    let remove_orphans = parsed.switch_or("remove-orphans", is_set(compose, "COMPOSE_REMOVE_ORPHANS"));
    let volumes = parsed.switch("volumes");
    let whole = services.is_empty();
    let options = DownOptions { services, volumes, remove_orphans, images };
    let plan = plan::plan_down(&project, &found.actual, &options);
    if compose.dry_run {
        return show(&plan, parsed).map(|()| 0);
    }
    if plan.is_empty() {
        backend::warn(&format!("no resource found to remove for project \"{}\"", project.name));
    }
    let mut act = Act::new(&project, &found, &plan, compose.separator);
    act.quiet = compose.quiet;
    act.remove_volumes = volumes;
    act.timeout_secs = parsed.parsed("timeout", number::within(-1, i64::MAX))?;
    act.take_away(&plan)?;
    if whole {
        let _ = std::fs::remove_dir_all(act::files_dir(&project.name)?);
    }
    Ok(0)
}

/// Refuses what isn't supported, all of it, before anything is touched; and what is missing on the host.
fn refuse(project: &Project) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for (name, service) in &project.services {
        for (attribute, why) in service.refusals() {
            faults.push(format!("services.{name}.{attribute} isn't supported: {why}"));
        }
        for file in project.container_files(service) {
            if let Some(source) = file.source.filter(|source| !std::path::Path::new(source).exists()) {
                faults.push(format!("services.{name}: {source}, which {} is, doesn't exist", file.target));
            }
        }
    }
    faults.extend(port_clashes(project));
    let Some(last) = faults.pop() else { return Ok(()) };
    faults.into_iter().for_each(|fault| report(&Failure::new(fault)));
    Err(Failure::new(last))
}

/// Ports of the host that two services want.
fn port_clashes(project: &Project) -> Vec<String> {
    let mut taken: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    let mut clashes = Vec::new();
    for (name, service) in &project.services {
        for port in
            service.ports.iter().filter(|port| port.published.parse::<u16>().is_ok_and(|port| port > 0))
        {
            let key = (port.host_ip.clone(), port.published.clone(), port.protocol.clone());
            match taken.insert(key, name) {
                Some(first) if first != name => clashes.push(format!(
                    "services.{name}.ports: port {} of the host is already published by service {first}",
                    port.published
                )),
                _ => {}
            }
        }
    }
    clashes
}

/// Holds a project while it is changed, so that two commands don't at once.
fn lock(project: &str, dry_run: bool) -> Result<Option<File>, Failure> {
    if dry_run {
        return Ok(None);
    }
    let path = backend::directories()?.1.join(format!("compose.{project}.lock"));
    let fault = |error: std::io::Error| Failure::new(format!("cannot lock {}: {error}", path.display()));
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(fault)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault)?;
    file.lock().map_err(fault)?;
    Ok(Some(file))
}

fn is_set(compose: &Compose, name: &str) -> bool {
    let value = compose.request.environment.get(name).map(|value| value.to_lowercase());
    matches!(value.as_deref(), Some("1" | "t" | "true"))
}

fn scale(parsed: &Parsed, project: &Project) -> Result<BTreeMap<String, u32>, Failure> {
    let mut scale = BTreeMap::new();
    for text in parsed.many("scale") {
        let Some((name, count)) = text.split_once('=') else {
            return Err(Failure::new(format!("invalid --scale option {text:?}. Should be SERVICE=NUM")));
        };
        let count = count
            .parse()
            .map_err(|_| Failure::new(format!("invalid --scale option {text:?}. Should be SERVICE=NUM")))?;
        let Some(service) = project.services.get(name) else {
            return Err(Failure::new(format!("no such service: {name}")));
        };
        if count > 1 && !service.container_name.is_empty() {
            return Err(Failure::new(format!("services.{name}: can't set container_name and scale")));
        }
        scale.insert(name.to_owned(), count);
    }
    Ok(scale)
}

/// Pulls the images that aren't here, or of which newer ones are to be looked for.
fn pull(project: &Project, parsed: &Parsed) -> Result<(), Failure> {
    let asked = parsed.one("pull").filter(|policy| !matches!(*policy, "" | "policy"));
    if let Some(other) = asked.filter(|policy| !matches!(*policy, "always" | "missing" | "never")) {
        return Err(parsed.bad("pull", other, "not one of always, missing, never, policy"));
    }
    let here = state::images(project)?;
    let mut done = Vec::new();
    for (name, service) in &project.services {
        let image = service.image_name(&project.name, name);
        if image.starts_with('@') || done.contains(&image) {
            continue;
        }
        let is_here = here.contains_key(&image);
        let policy = asked.unwrap_or(match service.pull_policy.as_str() {
            "always" => "always",
            "never" => "never",
            "build" => "build",
            _ => "missing",
        });
        if service.build.is_some() && (!is_here || policy == "build") {
            return Err(Failure::new(format!("service {name} has no image yet: {image}"))
                .hint(format!("building isn't part of compose yet: berth build -t {image} first")));
        }
        match (policy, is_here) {
            ("always", _) | ("missing", false) if service.build.is_none() => {}
            ("never", false) => {
                return Err(Failure::new(format!(
                    "service {name}: image {image} isn't here, and may not be pulled"
                )));
            }
            _ => continue,
        }
        let platform = Some(service.platform.clone()).filter(|platform| !platform.is_empty());
        let shown =
            Shown::of_pull(parsed.switch("quiet-pull"), "", To::Stderr).unwrap_or_else(|_| Shown::new(true));
        backend::pull(&PullRequest { image: image.clone(), platform }, &shown)?;
        done.push(image);
    }
    Ok(())
}

fn warn_of_orphans(project: &Project, actual: &plan::Actual) {
    let names: Vec<&str> = plan::orphans(project, actual).into_iter().map(|it| it.name.as_str()).collect();
    if !names.is_empty() {
        backend::warn(&format!(
            "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, \
             you can run this command with the --remove-orphans flag to clean it up.",
            names.join(" ")
        ));
    }
}

fn show(plan: &Plan, parsed: &Parsed) -> Result<(), Failure> {
    match parsed.one("format") {
        None | Some("" | "text") => {
            let text = plan.text();
            print(&text.lines().map(|line| format!("{}\n", engine::inert(line))).collect::<String>())
        }
        // Plain data always serialises.
        Some("json") => print(&(serde_json::to_string_pretty(plan).unwrap_or_default() + "\n")),
        Some(other) => Err(Failure::new(format!("unsupported format {other:?}")).hint("text or json")),
    }
}

//! The engine's door: one function for each command.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::request::{
    AttachRequest, DebugRequest, EnterRequest, ExecRequest, ImportRequest, ImportSource, InspectRequest,
    KillRequest, LogsRequest, NetworkConnectRequest, NetworkCreateRequest, NetworkFilter,
    NetworkPruneRequest, PsRequest, RmRequest, RunRequest, Source, StartRequest, StatsRequest, StopRequest,
    TreeRequest, UnshareRequest, UpdateRequest, VolumeCreateRequest, VolumeFilter, VolumePruneRequest,
};
use serde_json::Value as Json;

use engine::ps::{Listed, ListedState};
use engine::run::Ran;
use engine::stats::Sampler;
use engine::{Home, attach, images, network, pieces, volumes};
use linux::process::Exit;
use types::digest::Digest;
use types::image::media::Compression;
use types::reference::Reference;

use crate::explain;
use crate::failure::{Failure, report};
use crate::format::ps::{PsRow, PsState};
use crate::format::tree;
use crate::progress::{Shown, To};

/// What became of one of several objects of a command, by the name that the caller gave.
pub type Outcome<T = ()> = (String, Result<T, Failure>);

fn home() -> Result<Home, Failure> {
    Home::of_root().map_err(|error| match error {
        engine::Error::NotRoot => failure(error).code(125),
        _ => failure(error),
    })
}

fn failure(error: engine::Error) -> Failure {
    Failure::of(error.kind(), error.to_string(), error.hint())
}

fn failures<T>(outcomes: Vec<(String, Result<T, engine::Error>)>) -> Vec<Outcome<T>> {
    outcomes.into_iter().map(|(given, result)| (given, result.map_err(failure))).collect()
}

/// When a command that needs an image pulls it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it isn't here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// How a command that needs an image pulls it.
#[derive(Debug)]
pub struct PullPlan {
    /// When.
    pub policy: PullPolicy,
    /// For which machine; else this one.
    pub platform: Option<String>,
    /// Whether nothing is shown of it.
    pub quiet: bool,
}

impl PullPlan {
    fn pull(&self, home: &Home, image: &str) -> Result<(), engine::Error> {
        let request = images::PullRequest { image: image.to_owned(), platform: self.platform.clone() };
        // No progress that can be chosen is wrong.
        let shown = Shown::of_pull(self.quiet, "", To::Stderr).unwrap_or_else(|_| Shown::new(true));
        let reference = images::reference(image)?;
        let name = reference.tag().map_or_else(|| reference.familiar(), str::to_owned);
        shown.say(&format!("{name}: Pulling from {}", reference.path()));
        let pulled = images::pull::pull_apart(home, &request, &shown)?;
        shown.pulled(&pulled);
        Ok(())
    }
}

/// Makes a container by `make`, pulling its image first if need be.
fn with_image(
    home: &Home,
    request: &RunRequest,
    plan: &PullPlan,
    make: fn(&Home, RunRequest) -> Result<Ran, engine::Error>,
) -> Result<Ran, engine::Error> {
    let Source::Image(image) = &request.source else { return make(home, request.clone()) };
    let wants_other = plan.platform.is_some() && plan.policy == PullPolicy::Missing;
    if plan.policy == PullPolicy::Always
        || (wants_other && !images::pull::is_here(home, image, plan.platform.as_deref())?)
    {
        plan.pull(home, image)?;
    }
    match make(home, request.clone()) {
        // Nothing has been made yet.
        Err(engine::Error::Store(engine::StoreError::NoImage { .. }))
            if plan.policy == PullPolicy::Missing =>
        {
            if !plan.quiet {
                let name = images::reference(image)?.familiar();
                To::Stderr.write(&format!("Unable to find image '{name}' locally\n"));
            }
            plan.pull(home, image)?;
            make(home, request.clone())
        }
        other => other,
    }
}

/// Builds an image, and tells of it meanwhile.
pub fn build(
    request: &engine::build::BuildRequest,
    told: engine::build::Sink<'_>,
) -> Result<engine::build::Built, Box<engine::build::Failure>> {
    engine::build::build(&Home::from_env()?, request, told)
}

/// What is remembered of the last build.
pub fn last_build() -> Result<Option<build::explain::Report>, Failure> {
    Ok(engine::build::memory::last_of_all(&home()?))
}

/// Checks a Dockerfile.
pub fn check_build(
    request: &engine::build::BuildRequest,
) -> Result<engine::build::checks::Checked, Box<engine::build::Failure>> {
    engine::build::checks::check(&Home::from_env()?, request)
}

/// Tells of something that isn't as it was asked for, in docker's way.
pub fn warn(message: &str) {
    To::Stderr.write(&format!("WARNING: {message}\n"));
}

/// Drops what this machine can't do, and tells of it.
fn verified(request: &RunRequest) -> Result<RunRequest, Failure> {
    let mut request = request.clone();
    let warnings = engine::verify::request(&mut request).map_err(of_run)?;
    warnings.iter().for_each(|warning| warn(warning));
    Ok(request)
}

fn run_warned(home: &Home, request: RunRequest) -> Result<Ran, engine::Error> {
    engine::run::run(home, request, &mut |warning| warn(warning))
}

/// Runs a container; answers the status to leave with.
pub fn run(request: &RunRequest, plan: &PullPlan) -> Result<u8, Failure> {
    let request = &verified(request)?;
    let home = Home::from_env().map_err(of_run)?;
    let ran = with_image(&home, request, plan, run_warned).map_err(of_run)?;
    if request.explain {
        eprint!("{}", explain::text(&ran.steps));
    }
    match ran.outcome {
        None => {
            println!("{}", ran.id);
            Ok(0)
        }
        Some(outcome) => status_of(outcome, &ran.name),
    }
}

/// Runs tools beside a container; answers the status to leave with.
pub fn debug(request: &DebugRequest, plan: &PullPlan) -> Result<u8, Failure> {
    let home = home()?;
    let request = engine::debug::plan(&home, request).map_err(failure)?;
    let ran = with_image(&home, &request, plan, run_warned).map_err(of_run)?;
    ran.outcome.map_or(Ok(0), |outcome| status_of(outcome, &ran.name))
}

/// Whether whoever calls types and reads at a terminal.
pub fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// A failure to run something, with docker's status.
fn of_run(error: engine::Error) -> Failure {
    Failure::of_run(error.kind(), error.to_string(), error.hint())
}

/// Makes a container, and prints its id.
pub fn create(request: &RunRequest, plan: &PullPlan) -> Result<u8, Failure> {
    let request = &verified(request)?;
    let home = Home::from_env().map_err(of_run)?;
    let ran = with_image(&home, request, plan, engine::start::create).map_err(of_run)?;
    println!("{}", ran.id);
    Ok(0)
}

/// Makes a container, and starts it unless `only_made`; its id. Its image must be here.
pub fn make(request: &RunRequest, only_made: bool) -> Result<String, Failure> {
    let request = verified(request).map_err(|failure| failure.code(1))?;
    let home = home()?;
    let made = match only_made {
        true => engine::start::create(&home, request),
        false => run_warned(&home, request),
    };
    made.map(|ran| ran.id).map_err(failure)
}

/// Containers that have a label with this value, running or not, with all that is known of them.
pub fn labelled(label: &str, value: &str) -> Result<Vec<engine::find::Container>, Failure> {
    let mut containers = engine::find::all(&home()?).map_err(failure)?;
    containers.retain(|container| container.config.labels().get(label) == Some(&value));
    Ok(containers)
}

/// One container with all that is known of it.
pub fn container(given: &str) -> Result<engine::find::Container, Failure> {
    engine::find::container(&home()?, given).map_err(failure)
}

/// Where this berth keeps what outlives a reboot, and what doesn't.
pub fn directories() -> Result<(std::path::PathBuf, std::path::PathBuf), Failure> {
    let home = home()?;
    Ok((home.root.clone(), home.run.clone()))
}

/// Starts containers.
pub fn start(requests: &[StartRequest]) -> Result<Vec<Outcome>, Failure> {
    let home = home()?;
    let start = |request: &StartRequest| {
        (request.container.clone(), engine::start::start(&home, request).map(drop).map_err(failure))
    };
    Ok(requests.iter().map(start).collect())
}

/// Starts a container and stays with it; answers the status to leave with.
pub fn start_attached(request: &StartRequest) -> Result<u8, Failure> {
    let ran = engine::start::start(&home()?, request).map_err(failure)?;
    ran.outcome.map_or(Ok(0), |outcome| status_of(outcome, &ran.name))
}

/// Stops containers, and starts those that were stopped.
pub fn restart(request: &StopRequest) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::start::restart(&home()?, request)))
}

/// Starts what should run after a boot.
pub fn boot() -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::start::boot(&home()?).map_err(failure)?))
}

/// Stops all containers, because the machine goes down.
pub fn shutdown(timeout_secs: Option<i64>) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::shutdown::shutdown(&home()?, timeout_secs).map_err(failure)?))
}

/// The unit that `install` writes.
pub fn unit() -> Result<String, Failure> {
    engine::unit::text(&home()?).map_err(failure)
}

/// Writes the unit and enables it.
pub fn install(root: &Path) -> Result<engine::unit::Installed, Failure> {
    engine::unit::install(&home()?, root).map_err(failure)
}

/// Removes the unit.
pub fn uninstall(root: &Path) -> Result<(), Failure> {
    home()?;
    engine::unit::uninstall(root).map_err(failure)
}

/// The status to leave with after having stayed with container `name`.
fn status_of(outcome: attach::Outcome, name: &str) -> Result<u8, Failure> {
    match outcome {
        attach::Outcome::Detached => Ok(0),
        attach::Outcome::Interrupted(signal) => Ok(128 + signal as u8),
        attach::Outcome::Exited(Some(code)) => Ok(code),
        attach::Outcome::Exited(None) => Err(Failure::new(format!(
            "nobody saw container {name} end: its holder and its keeper were killed"
        ))
        .code(125)),
    }
}

/// A reader of the events from `since` to `until`.
pub fn events(
    filter: engine::events::Filter,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
) -> Result<engine::events::Reader, Failure> {
    engine::events::Reader::new(&home()?, filter, since, until).map_err(failure)
}

/// The next events; `None` when there will be no more.
pub fn next_events(
    reader: &mut engine::events::Reader,
) -> Result<Option<Vec<engine::events::Event>>, Failure> {
    reader.next_batch().map_err(failure)
}

/// Runs a process in a container; answers the status to leave with.
pub fn exec(request: &ExecRequest) -> Result<u8, Failure> {
    let of_run = |error: engine::Error| match &error {
        // What isn't about the program is an ordinary failure.
        engine::Error::Exec { .. } | engine::Error::Reported { .. } => {
            Failure::of_run(error.kind(), error.to_string(), error.hint())
        }
        _ => Failure::of(error.kind(), error.to_string(), error.hint()),
    };
    match engine::exec::exec(&Home::from_env().map_err(of_run)?, request).map_err(of_run)? {
        None | Some(attach::Outcome::Detached) => Ok(0),
        Some(attach::Outcome::Interrupted(signal)) => Ok(128 + signal as u8),
        Some(attach::Outcome::Exited(code)) => Ok(code.unwrap_or(125)),
    }
}

/// Stays with a running container; answers the status to leave with.
pub fn attach(request: &AttachRequest) -> Result<u8, Failure> {
    match attach::attach_running(&home()?, request).map_err(failure)? {
        attach::Outcome::Detached => Ok(0),
        attach::Outcome::Interrupted(signal) => Ok(128 + signal as u8),
        attach::Outcome::Exited(Some(code)) => Ok(code),
        attach::Outcome::Exited(None) => {
            let message = format!("nobody saw how container {} ended", request.container);
            Err(Failure::new(message).code(125))
        }
    }
}

/// Lists containers, newest first.
pub fn ps(request: &PsRequest) -> Result<Vec<PsRow>, Failure> {
    let listed = engine::ps::ps(&home()?, request).map_err(failure)?;
    Ok(listed.into_iter().map(row).collect())
}

/// A row of the list of containers.
pub fn row(listed: Listed) -> PsRow {
    PsRow {
        id: listed.id,
        name: listed.name,
        image: listed.image,
        command: listed.command,
        created: moment(listed.created_ns),
        state: match listed.state {
            ListedState::Created => PsState::Created,
            ListedState::Running { since_ns } => PsState::Running(moment(since_ns)),
            ListedState::Paused { since_ns } => PsState::Paused(moment(since_ns)),
            ListedState::Restarting { code, at_ns } => {
                PsState::Restarting(code.map_or(-1, i32::from), moment(at_ns))
            }
            ListedState::Exited { code, at_ns } => PsState::Exited(code.map(i32::from), moment(at_ns)),
        },
        health: listed.health,
        ports: crate::format::ps::ports(&listed.ports),
        labels: listed.labels,
        mounts: listed.mounts,
        volumes: listed.volumes,
        networks: listed.networks,
        sizes: listed.sizes,
    }
}

fn moment(ns: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or_default())
}

/// Removes containers. One that isn't there is told of and passed over if the removal is forced.
pub fn rm(request: &RmRequest) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = engine::rm::rm(&home()?, request);
    if request.force {
        outcomes.retain(|(_, result)| match result {
            Err(error @ engine::Error::NoContainer { .. }) => {
                report(&Failure::new(error.to_string()));
                false
            }
            _ => true,
        });
    }
    Ok(failures(outcomes))
}

/// What the removal of containers would take away.
pub fn would_rm(request: &RmRequest) -> Result<Vec<Outcome<engine::rm::Gone>>, Failure> {
    Ok(failures(engine::rm::would(&home()?, request)))
}

/// Makes a volume; its name, and whether there was none.
pub fn create_volume(request: &VolumeCreateRequest) -> Result<(String, bool), Failure> {
    volumes::create(&home()?, request).map_err(failure)
}

/// Volumes, by name.
pub fn volumes(filters: &[VolumeFilter]) -> Result<Vec<volumes::Listed>, Failure> {
    volumes::list(&home()?, filters).map_err(failure)
}

/// Docker's document of a volume.
pub fn inspect_volume(name: &str) -> Result<Json, Failure> {
    volumes::inspect(&home()?, name).map_err(failure)
}

/// Where a container's ports are published.
pub fn published_ports(given: &str) -> Result<Vec<network::ShownPort>, Failure> {
    network::published(&home()?, given).map_err(failure)
}

/// Makes a network; its id.
pub fn create_network(request: &NetworkCreateRequest) -> Result<String, Failure> {
    network::create(&home()?, request).map_err(failure)
}

/// Networks, by name.
pub fn networks(filters: &[NetworkFilter]) -> Result<Vec<network::Listed>, Failure> {
    network::list(&home()?, filters).map_err(failure)
}

/// Docker's document of a network.
pub fn inspect_network(given: &str) -> Result<Json, Failure> {
    network::inspect(&home()?, given).map_err(failure)
}

/// Removes networks; with `force` those that aren't there pass.
pub fn remove_networks(given: &[String], force: bool) -> Result<Vec<Outcome>, Failure> {
    network::remove(&home()?, given, force).map(failures).map_err(failure)
}

/// Removes networks that no container has.
pub fn prune_networks(request: &NetworkPruneRequest) -> Result<network::Pruned, Failure> {
    network::prune(&home()?, request, &[]).map_err(failure)
}

/// Why packets of a network or a container arrive or don't.
pub fn network_doctor(given: &str) -> Result<engine::doctor::Diagnosis, Failure> {
    network::doctor(&home()?, given).map_err(failure)
}

/// As [`network::take_over`].
pub fn take_over_ports(container: &str) -> Result<(), Failure> {
    network::take_over(&home()?, container).map_err(failure)
}

/// Makes what the kernel should have of networks; their names.
pub fn repair_networks() -> Result<Vec<String>, Failure> {
    network::repair(&home()?).map_err(failure)
}

/// Puts a container on a network.
pub fn connect_network(request: &NetworkConnectRequest) -> Result<(), Failure> {
    network::connect(&home()?, request).map_err(failure)
}

/// Takes a container off a network.
pub fn disconnect_network(given: &str, container: &str) -> Result<(), Failure> {
    network::disconnect(&home()?, given, container).map_err(failure)
}

/// Docker's document of a command of `exec`.
pub fn inspect_exec(id: &str) -> Result<Json, Failure> {
    engine::exec::inspect(&home()?, id).map_err(failure)
}

/// Removes volumes; with `force` those that aren't there pass.
pub fn remove_volumes(names: &[String], force: bool) -> Result<Vec<Outcome>, Failure> {
    volumes::remove(&home()?, names, force).map(failures).map_err(failure)
}

/// Removes volumes that no container has.
pub fn prune_volumes(request: &VolumePruneRequest) -> Result<volumes::Pruned, Failure> {
    volumes::prune(&home()?, request, &[]).map_err(failure)
}

/// Stops containers.
pub fn stop(request: &StopRequest) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::stop::stop(&home()?, request)))
}

/// Sends containers a signal.
pub fn kill(request: &KillRequest) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::stop::kill(&home()?, request)))
}

/// Pauses containers.
pub fn pause(containers: &[String]) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::pause::pause(&home()?, containers)))
}

/// Lets paused containers run on.
pub fn unpause(containers: &[String]) -> Result<Vec<Outcome>, Failure> {
    Ok(failures(engine::pause::unpause(&home()?, containers)))
}

/// Waits until a container doesn't run; its status.
pub fn wait(container: &str) -> Result<u8, Failure> {
    engine::wait::wait(&home()?, container).map_err(failure)
}

/// Gives a container another name.
pub fn rename(container: &str, name: &str) -> Result<(), Failure> {
    engine::rename::rename(&home()?, container, name).map_err(failure)
}

/// Changes what containers may use; what couldn't be done as asked.
pub fn update(request: &UpdateRequest) -> Result<Vec<Outcome<Vec<String>>>, Failure> {
    Ok(failures(engine::update::update(&home()?, request)))
}

/// A container's processes, as ps shows them.
pub fn top(container: &str, ps_options: &[String]) -> Result<engine::top::Top, Failure> {
    engine::top::top(&home()?, container, ps_options).map_err(failure)
}

/// What takes samples of what containers use.
pub fn stats(request: StatsRequest) -> Result<Sampler, Failure> {
    Sampler::new(&home()?, request).map_err(failure)
}

/// The figures of now.
pub fn sample(sampler: &mut Sampler) -> Result<Vec<engine::stats::Stats>, Failure> {
    sampler.sample().map_err(failure)
}

/// Copies a container's log to stdout and stderr.
pub fn logs(request: &LogsRequest) -> Result<(), Failure> {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    engine::logs::logs(&home()?, request, &mut out, &mut err).map_err(failure)
}

/// Docker's inspect document of each container.
pub fn inspect(request: &InspectRequest) -> Result<Vec<Outcome<Json>>, Failure> {
    Ok(failures(engine::inspect::inspect(&home()?, request)))
}

/// Names of containers, and what would make them again: as they are called and limited now.
pub fn requests(containers: &[String]) -> Result<Vec<Outcome<(String, RunRequest)>>, Failure> {
    let home = home()?;
    let request = |given: &String| {
        let config = engine::find::container(&home, given).map_err(failure)?.config;
        let request = RunRequest { name: Some(config.name.clone()), ..config.request };
        Ok((config.name, request))
    };
    Ok(containers.iter().map(|given| (given.clone(), request(given))).collect())
}

/// Makes an image of a tar; answers its id.
pub fn import(request: &ImportRequest) -> Result<String, Failure> {
    engine::import::import(&home()?, request).map_err(failure)
}

/// Runs a command in new namespaces; answers the status to leave with.
pub fn unshare(request: &UnshareRequest) -> Result<u8, Failure> {
    ended(pieces::unshare(request))
}

/// Runs a command in another's namespaces; answers the status to leave with.
pub fn enter(request: &EnterRequest) -> Result<u8, Failure> {
    ended(pieces::enter(&Home::from_env().map_err(failure)?, request))
}

fn of_piece(error: pieces::Error) -> Failure {
    Failure::of(error.kind(), error.to_string(), error.hint())
}

/// The status of a command that a piece ran, or its signal to die of.
fn ended(result: Result<Exit, pieces::Error>) -> Result<u8, Failure> {
    let exit = result.map_err(of_piece)?;
    if let Exit::Signal(number) = exit {
        pieces::die_of(number.into());
    }
    Ok(exit.shell_code())
}

/// Draws a container's namespaces, id maps and processes.
pub fn tree(request: &TreeRequest) -> Result<String, Failure> {
    let found = pieces::tree(&home()?, request).map_err(of_piece)?;
    if request.json {
        return tree::json(&found);
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).ok());
    Ok(tree::text(&found, tree::Lines::of(std::io::stdout().is_terminal(), locale)))
}

/// What the kernel offers, and whether the state is sound.
pub fn doctor() -> Result<engine::doctor::Diagnosis, Failure> {
    engine::doctor::doctor(&home()?).map_err(failure)
}

/// What this host offers, and which features fall back.
pub fn info() -> Result<Json, Failure> {
    engine::info::info(&home()?).map_err(failure)
}

pub use crate::runtime_backend::runtime;

/// The images of an archive.
pub fn load(source: &ImportSource, progress: &dyn images::Progress) -> Result<Vec<images::Loaded>, Failure> {
    images::load(&home()?, source, progress).map_err(failure)
}

/// All images, the newest first; their labels only if they are needed.
pub fn images(with_labels: bool) -> Result<Vec<images::Listed>, Failure> {
    images::list(&home()?, with_labels).map_err(failure)
}

/// Gives an image another name.
pub fn tag(source: &str, target: &str) -> Result<(), Failure> {
    images::tag(&home()?, source, target).map_err(failure)
}

/// Removes a name, and with the last one the image.
pub fn remove_image(given: &str, force: bool) -> Result<images::Removed, Failure> {
    images::remove(&home()?, given, force).map_err(failure)
}

/// The steps that made an image.
pub fn history(given: &str) -> Result<Vec<images::HistoryStep>, Failure> {
    images::history(&home()?, given).map_err(failure)
}

/// Docker's document of an image.
pub fn inspect_image(given: &str) -> Result<Json, Failure> {
    images::inspect(&home()?, given).map_err(failure)
}

/// Fetches an image.
pub fn pull(request: &images::PullRequest, progress: &Shown) -> Result<images::Pulled, Failure> {
    let reference = reference(&request.image)?;
    let name = reference.tag().map_or_else(|| reference.familiar(), str::to_owned);
    progress.say(&format!("{name}: Pulling from {}", reference.path()));
    images::pull(&home()?, request, progress).map_err(failure)
}

/// A name as docker completes it.
pub fn reference(text: &str) -> Result<Reference, Failure> {
    images::reference(text).map_err(failure)
}

/// The tags that a registry has of a repository.
pub fn tags(repository: &str) -> Result<Vec<String>, Failure> {
    images::pull::tags(repository).map_err(failure)
}

/// Copies an image between registries and archives; its digest. Who may read and write there needs no other rights.
pub fn copy_image(request: &images::copy::CopyRequest, progress: &Shown) -> Result<Digest, Failure> {
    images::copy::copy(request, progress).map_err(failure)
}

/// The digest that a registry has for an image now.
pub fn digest_of(image: &str) -> Result<Digest, Failure> {
    images::manifest::digest(image).map_err(failure)
}

/// What a registry has under a name.
pub fn inspect_manifest(
    request: &images::manifest::ManifestRequest,
) -> Result<images::manifest::ManifestText, Failure> {
    images::manifest::inspect(request).map_err(failure)
}

/// The names of a repository that are here.
pub fn names_of(repository: &str) -> Result<Vec<Reference>, Failure> {
    images::push::names_of(&home()?, repository).map_err(failure)
}

/// Sends an image.
pub fn push(
    reference: &Reference,
    compression: Compression,
    watcher: images::push::PushWatcher<'_>,
) -> Result<images::PushedImage, Failure> {
    images::push(&home()?, reference, compression, watcher).map_err(failure)
}

/// Docker's words for what becomes of a blob.
pub fn push_words(state: images::PushState) -> String {
    use images::Pushed;
    match state {
        images::PushState::Preparing => "Preparing".to_owned(),
        images::PushState::Done(Pushed::Existed) => "Layer already exists".to_owned(),
        images::PushState::Done(Pushed::Mounted(from)) => format!("Mounted from {}", from.path()),
        images::PushState::Done(Pushed::Uploaded) => "Pushed".to_owned(),
    }
}

/// Signs in to a registry; a warning about where the password is kept.
pub fn login(server: &str, user: &str, password: String) -> Result<Option<String>, Failure> {
    images::login::login(server, user, password).map_err(failure)
}

/// Signs out of a registry; whether one was signed in.
pub fn logout(server: &str) -> Result<bool, Failure> {
    images::login::logout(server).map_err(failure)
}

/// Asks on the terminal.
pub fn ask(prompt: &str, shown: bool) -> Result<String, Failure> {
    images::login::ask(prompt, shown).map_err(failure)
}

/// Writes images to a file, which appears when it is complete, or to standard output.
pub fn save(images: &[String], path: Option<&Path>) -> Result<(), Failure> {
    let home = home()?;
    engine::output::to(path, &mut |out| engine::images::save(&home, images, out)).map_err(failure)
}

/// In which files two images differ.
pub fn diff_images(a: &str, b: &str) -> Result<Vec<images::diff::FileDifference>, Failure> {
    images::diff::diff(&home()?, a, b).map_err(failure)
}

/// What a container changed: docker's letter and the path.
pub fn changes(given: &str) -> Result<Vec<(char, String)>, Failure> {
    let changes = engine::snapshot::changes(&home()?, given).map_err(failure)?;
    let shown = |path: Vec<u8>| String::from_utf8_lossy(&path).into_owned();
    Ok(changes.into_iter().map(|change| (change.kind.letter(), shown(change.path))).collect())
}

/// Writes the archive of a container's root file system to a file or to standard output.
pub fn export(given: &str, path: Option<&Path>) -> Result<(), Failure> {
    let home = home()?;
    engine::output::to(path, &mut |out| engine::snapshot::export(&home, given, out)).map_err(failure)
}

/// Copies files between this host and a container; nothing to be told of a copy to standard output.
pub fn copy(
    request: &engine::request::CopyRequest,
    watch: &dyn Fn(u64),
) -> Result<Option<engine::copy::Copied>, Failure> {
    engine::copy::copy(&home()?, request, watch).map_err(failure)
}

/// Makes an image of what a container changed; its id.
pub fn commit(request: &images::CommitRequest) -> Result<String, Failure> {
    images::commit(&home()?, request).map_err(failure)
}

/// Removes images that nothing uses.
pub fn prune_images(request: &images::keep::PruneRequest) -> Result<images::keep::Pruned, Failure> {
    images::keep::prune(&home()?, request, &[]).map_err(failure)
}

/// What all there is takes.
pub fn usage() -> Result<engine::system::Usage, Failure> {
    engine::system::usage(&home()?).map_err(failure)
}

/// What images take.
pub fn images_usage() -> Result<images::usage::ImagesUsage, Failure> {
    let home = home()?;
    let containers = engine::find::all(&home).map_err(failure)?;
    images::usage::usage(&home, &containers).map_err(failure)
}

/// Removes what nothing uses.
pub fn prune(request: &engine::system::PruneRequest) -> Result<engine::system::Pruned, Failure> {
    engine::system::prune(&home()?, request).map_err(failure)
}

/// What builds keep.
pub fn build_records(
    filters: &[engine::build::cache::Filter],
) -> Result<Vec<engine::build::cache::Record>, Failure> {
    engine::build::cache::list(&home()?, filters).map_err(failure)
}

/// Removes what builds keep.
pub fn prune_build_records(
    request: &engine::build::cache::PruneRequest,
) -> Result<engine::build::cache::Pruned, Failure> {
    engine::build::cache::prune(&home()?, request).map_err(failure)
}

/// Machines that programs can be run for.
pub fn build_platforms() -> Vec<types::image::Platform> {
    engine::build::emulation::platforms()
}

/// Removes containers that have ended.
pub fn prune_containers(
    filter: &engine::system::PruneFilter,
    dry_run: bool,
) -> Result<engine::system::Pruned, Failure> {
    engine::system::prune_containers(&home()?, filter, dry_run).map_err(failure)
}

/// Hashes all that is stored of images.
pub fn verify_images() -> Result<images::keep::Verified, Failure> {
    images::keep::verify(&home()?).map_err(failure)
}

//! Finding containers by what users call them, and putting right what killed processes left: recovery is the normal
//! path, and each command that touches a container takes it.

use crate::cell::{self, Cell, CellLock, Ended, Intent, now_ns};
use crate::claims::Claims;
use crate::health::{Check, Health};
use crate::images::look_at_store;
use crate::keeper::{self, Streams, Task};
use crate::request::RestartPolicy;
use crate::{Config, Error, Home, events, log, network, pause, rename, root, teardown, update};
use linux::process::{self, Fork};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use types::oci::Spec;

/// How long what others do with a container is waited for.
const WORKS_WAIT: Duration = Duration::from_secs(10);

/// A container as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Container<S = Spec> {
    /// What was wanted.
    pub config: Config<S>,
    /// What it does.
    pub state: State,
    /// What its health checks say, or said last; `None` where nothing is checked.
    pub health: Option<Health>,
}

/// One for a list, whose specification wasn't read.
pub(crate) type Brief = Container<IgnoredAny>;

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It was made, and waits for its first start.
    Created,
    /// It's being started.
    Starting,
    /// It runs.
    Running(cell::Running),
    /// It ended, and its restart policy is about to start it again.
    Restarting(Ended),
    /// It ended.
    Exited(Ended),
}

impl<S> Container<S> {
    /// One that doesn't run.
    fn of(config: Config<S>, state: State) -> Container<S> {
        let health = match &state {
            State::Exited(ended) | State::Restarting(ended) => ended.health.clone(),
            State::Created | State::Starting | State::Running(_) => None,
        };
        Container { config, state, health }
    }

    /// What it does, looked up.
    pub fn cell(&self, home: &Home) -> Cell {
        Cell::of(home, &self.config.id)
    }
}

/// The state that files and kernel show; `None` if nothing of the container is of this boot.
fn look<S: DeserializeOwned>(home: &Home, cell: &Cell) -> Option<Container<S>> {
    let config = cell.config_as::<S>();
    if let Some(config) = config {
        let running = cell.running();
        // Most do. Of one that is about to say that it was started again, the kernel says so already.
        if let Some(running) = running.as_ref().filter(|running| running.init.open().is_some()) {
            let health = Check::of(&config).map(|_| cell.health().unwrap_or_default());
            return Some(Container { config, state: State::Running(running.clone()), health });
        }
        if let Some(ended) = cell.ended() {
            let state = match ended.next {
                Some(_) => State::Restarting(ended),
                None => State::Exited(ended),
            };
            return Some(Container::of(config, state));
        }
        return match running {
            // It was started again meanwhile.
            Some(running) if cell.running().is_some_and(|now| now != running) => look(home, cell),
            // It has ended and its keeper is about to say how, or to start it again: that takes a moment.
            Some(running) if config.request.restart != RestartPolicy::No => {
                while cell.ended().is_none()
                    && cell.running().is_some_and(|now| now == running)
                    && !matches!(cell.try_lock(), Ok(Some(_)))
                {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                if cell.ended().is_none() && cell.running().is_some_and(|now| now == running) {
                    // Its keeper was killed before it could say.
                    recover(home, cell);
                }
                return look(home, cell).or_else(|| recorded(home, &config.id));
            }
            Some(_) => {
                drop(cell.wait_lock());
                let rm = config.rm();
                let ended = cell.ended().or_else(|| cell::read_ended(home, &config.id));
                ended
                    .filter(|_| !rm)
                    .map(|ended| Container::of(config, State::Exited(Ended { next: None, ..ended })))
            }
            // Unless it's just being removed: the configuration goes first.
            None => cell.config_as().map(|config| Container::of(config, State::Starting)),
        };
    }
    None
}

/// All containers that have a directory of this boot; those that nobody looks after are put right first.
pub fn present(home: &Home) -> Vec<Container> {
    present_as(home)
}

/// The same, with as much of their specifications as the caller wants to know.
pub(crate) fn present_as<S: DeserializeOwned>(home: &Home) -> Vec<Container<S>> {
    Cell::all(home)
        .iter()
        .filter_map(|cell| {
            recover(home, cell);
            look(home, cell)
        })
        .collect()
}

/// All containers, those that have ended too, the newest first.
pub fn all(home: &Home) -> Result<Vec<Container>, Error> {
    all_as(home)
}

/// The same, with as much of their specifications as the caller wants to know.
pub(crate) fn all_as<S: DeserializeOwned>(home: &Home) -> Result<Vec<Container<S>>, Error> {
    let mut containers = present_as::<S>(home);
    let known: BTreeSet<String> = containers.iter().map(|container| container.config.id.clone()).collect();
    let records = match look_at_store(home)? {
        Some(store) => store.containers()?,
        None => Vec::new(),
    };
    for record in records {
        if known.contains(record.id.as_str()) {
            continue;
        }
        containers.extend(from_record(home, &record));
    }
    containers.sort_by_key(|container| std::cmp::Reverse(container.config.created_ns));
    Ok(containers)
}

fn recorded<S: DeserializeOwned>(home: &Home, id: &str) -> Option<Container<S>> {
    let store = look_at_store(home).ok()??;
    let record = store.container(&types::id::ContainerId::parse(id)?).ok()??;
    from_record(home, &record)
}

fn from_record<S: DeserializeOwned>(home: &Home, record: &store::ContainerRecord) -> Option<Container<S>> {
    let config: Config<S> = serde_json::from_str(&record.config_json).ok()?;
    let state = match cell::read_ended(home, &config.id) {
        Some(ended) => State::Exited(ended),
        None if !record.started => State::Created,
        None => return unfinished(home, config),
    };
    Some(Container::of(config, state))
}

/// One that was to be started and of which no end is on record: what there was of it may have changed since it was looked at.
fn unfinished<S: DeserializeOwned>(home: &Home, config: Config<S>) -> Option<Container<S>> {
    let cell = Cell::of(home, &config.id);
    if is_being_made(&cell) {
        return Some(Container::of(config, State::Starting));
    }
    if let Some(container) = look(home, &cell) {
        return Some(container);
    }
    if !is_recorded(home, &config.id, None) {
        return None;
    }
    let ended = cell::read_ended(home, &config.id).unwrap_or_else(|| {
        let why = "nobody saw it end: the machine went down, or berth's processes were killed";
        Ended::unseen(config.created_ns, config.created_ns, why)
    });
    Some(Container::of(config, State::Exited(ended)))
}

/// The container that a user calls `given`: a full id, else a name, else the beginning of one id.
pub fn container(home: &Home, given: &str) -> Result<Container, Error> {
    match of_this_boot(home, given)? {
        Some(found) => Ok(found),
        None => pick(&all(home)?, given),
    }
}

/// The same for several; the store is read once at most.
pub fn containers(home: &Home, given: &[String]) -> Vec<Result<Container, Error>> {
    let mut list = None;
    let find = |given: &String| {
        if let Some(found) = of_this_boot(home, given)? {
            return Ok(found);
        }
        if list.is_none() {
            list = Some(all(home)?);
        }
        pick(list.as_deref().unwrap_or_default(), given)
    };
    given.iter().map(find).collect()
}

/// The fast way, without the store: a full id or a name of this boot.
fn of_this_boot(home: &Home, given: &str) -> Result<Option<Container>, Error> {
    if given.is_empty() || given.contains('/') || matches!(given, "." | "..") || !Claims::exist(home) {
        return Ok(None);
    }
    let id = Some(given.to_owned()).filter(|given| home.run_dir(given).is_dir());
    let Some(id) = id.or_else(|| Claims::of(home).id_of_name(given)) else { return Ok(None) };
    let cell = Cell::of(home, &id);
    recover(home, &cell);
    Ok(look(home, &cell))
}

/// The one of `all` that a user calls `given`.
fn pick(all: &[Container], given: &str) -> Result<Container, Error> {
    // Docker shows names with a slash in places, and takes them so.
    let name = given.strip_prefix('/').unwrap_or(given);
    let called = all.iter().find(|c| c.config.id == given).or(all.iter().find(|c| c.config.name == name));
    if let Some(found) = called {
        return Ok(found.clone());
    }
    let prefix = !given.is_empty() && given.bytes().all(|b| b.is_ascii_hexdigit());
    let matches: Vec<&Container> = all.iter().filter(|c| prefix && c.config.id.starts_with(given)).collect();
    match matches[..] {
        [] => Err(Error::NoContainer { given: given.to_owned() }),
        [one] => Ok(one.clone()),
        _ => {
            let ids: Vec<&str> = matches.iter().take(5).map(|c| &c.config.id[..12]).collect();
            Err(Error::Ambiguous { given: given.to_owned(), matches: ids.join(", ") })
        }
    }
}

/// The directory of the running container that a user calls `given`.
pub fn running(home: &Home, given: &str) -> Result<Cell, Error> {
    let container = container(home, given)?;
    match container.state {
        State::Running(_) => Ok(container.cell(home)),
        _ => Err(Error::State { id: given.to_owned(), why: "is not running".to_owned() }),
    }
}

/// Puts a container right that nobody looks after: gives a running one a new keeper, buries one that has ended, removes
/// one whose creation was cut short. Does nothing if somebody looks after it.
pub fn recover(home: &Home, cell: &Cell) {
    pause::put_right(cell);
    rename::put_right(home, cell);
    update::put_right(home, cell);
    network::put_right(home, cell);
    let Ok(Some(lock)) = cell.try_lock() else { return };
    match (cell.config(), cell.running()) {
        (Some(config), Some(running)) if running.init.open().is_some() => {
            adopt(home, cell, config, running, lock)
        }
        (Some(config), _) if cell.ended().is_some_and(|ended| ended.next.is_some()) => {
            keeper::again::adopt(home, cell, config, lock)
        }
        (Some(config), Some(running))
            if config.request.restart != RestartPolicy::No
                && cell.ended().is_none()
                && !cell.removal_requested() =>
        {
            keeper::again::take_over(home, cell, config, &running, lock)
        }
        _ => reap(home, cell),
    }
}

/// Whether somebody makes or removes a container, or starts it again, of which nothing of this boot is written down yet, or
/// any more.
fn is_in_the_works(cell: &Cell) -> bool {
    cell.config().is_none() && cell.path.is_dir() && matches!(cell.try_lock(), Ok(None))
}

/// Whether somebody makes a container.
fn is_being_made(cell: &Cell) -> bool {
    cell.intent().is_some_and(|intent| !intent.again && !intent.rm) && is_in_the_works(cell)
}

/// Waits until a container that is being made, started again or removed is written down, or gone; whether it was any of it.
pub(crate) fn await_works(cell: &Cell) -> bool {
    let deadline = Instant::now() + WORKS_WAIT;
    let mut was_in_the_works = false;
    while is_in_the_works(cell) && Instant::now() < deadline {
        was_in_the_works = true;
        std::thread::sleep(Duration::from_millis(1));
    }
    was_in_the_works
}

/// The same by the name that it has already.
pub(crate) fn await_named(home: &Home, name: &str) -> bool {
    types::id::is_name(name)
        && Claims::exist(home)
        && Claims::of(home).id_of_name(name).is_some_and(|id| await_works(&Cell::of(home, &id)))
}

/// Removes what is left of the container that has `name`, if it's only that. One that is about to go is waited for.
pub fn reap_named(home: &Home, name: &str) {
    let Ok(claims) = Claims::open(home) else { return };
    let Some(id) = claims.id_of_name(name) else { return };
    let cell = Cell::of(home, &id);
    if cell.path.is_dir() {
        await_works(&cell);
        recover(home, &cell);
    }
    if cell.path.is_dir() {
        return;
    }
    // Not while it's being given to one of another name.
    if let Ok(_nobody_renames) = claims.lock_names() {
        reap_claimed(home, &claims, name);
    }
}

/// Gives `name` back if the container that its link leads to is gone, or has another name. The caller has the lock on
/// names.
pub(crate) fn reap_claimed(home: &Home, claims: &Claims<'_>, name: &str) {
    if let Some(id) = claims.id_of_name(name)
        && !Cell::of(home, &id).path.is_dir()
        && !is_recorded(home, &id, Some(name))
    {
        // By whoever was killed when its files were gone.
        events::destroyed_unseen(home, &id);
        claims.release_name(name, &id);
    }
}

/// Whether the store has a record of a container, by this name if one is given, or can't tell.
pub(crate) fn is_recorded(home: &Home, id: &str, name: Option<&str>) -> bool {
    match look_at_store(home) {
        Ok(Some(store)) => types::id::ContainerId::parse(id).is_none_or(|id| match store.container(&id) {
            Ok(record) => record.is_some_and(|record| name.is_none_or(|name| record.name == name)),
            Err(_) => true,
        }),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Finishes the removal of the container `name` that was cut short when its record was gone, its files weren't, and its
/// keeper had looked for such a wish before it was there; or when only its name was left. Whether there was one. A
/// container that is being made has no files, and nothing is told of it, before it has a directory of this boot.
pub fn finish_removal(home: &Home, name: &str) -> bool {
    if !types::id::is_name(name) || !Claims::exist(home) {
        return false;
    }
    let claims = Claims::of(home);
    let Some(id) = claims.id_of_name(name) else { return false };
    let cell = Cell::of(home, &id);
    if cell.path.exists() || is_recorded(home, &id, None) {
        return false;
    }
    if home.state_dir(&id).is_dir() {
        let _ = root::remove(home, &cell);
    } else if !events::are_told_of(home, &id) {
        return false;
    }
    events::destroyed_unseen(home, &id);
    claims.release_name(name, &id);
    true
}

/// Buries a container whose processes are gone and whose lock the caller holds: one that ran keeps its record, one that
/// never did is removed.
pub fn reap(home: &Home, cell: &Cell) {
    let intent = cell.intent();
    let group = teardown::find_group(home, cell);
    if let Some(group) = &group {
        let _ = group.kill();
        let _ = group.wait_empty(std::time::Duration::from_secs(5));
    }
    let Some(config) = cell.config() else {
        // A start was cut short before it was written down; the container, if there is one, is what it was.
        let is_cut_short = |intent: &Intent| intent.again;
        // It ended and was recorded, and its keeper was killed while it took this directory away.
        let is_recorded = |intent: &Intent| !intent.rm && cell::read_ended(home, &cell.id).is_some();
        if intent.as_ref().is_none_or(|intent| is_cut_short(intent) || is_recorded(intent)) {
            return teardown::not_started(home, cell, group);
        }
        // Its creation was cut short before it was written down.
        if let Some(group) = group {
            let _ = group.remove();
        }
        network::detach(home, cell);
        let _ = root::remove(home, cell);
        if let (Ok(claims), Some(intent)) = (Claims::open(home), intent) {
            claims.release_name(&intent.name, &cell.id);
            intent.slots.iter().for_each(|slot| claims.release_range(*slot, &cell.id));
        }
        forget_record(home, &cell.id);
        events::destroyed_unseen(home, &cell.id);
        cell.remove();
        return;
    };
    events::ended_unseen(home, cell, &config);
    log::recorder::settle(home, &config);
    let rm = config.rm() || cell.removal_requested();
    if !rm {
        let ended = cell.ended().unwrap_or_else(|| {
            Ended::unseen(
                cell.running().map_or(config.created_ns, |running| running.started_ns),
                now_ns(),
                "nobody saw it end: its holder and its keeper were killed",
            )
        });
        if cell::read_ended(home, &cell.id).is_none() && cell::write_ended(home, &cell.id, &ended).is_err() {
            // The next command tries again.
            return;
        }
    } else if config.recorded() {
        forget_record(home, &cell.id);
    }
    teardown::ended(home, &config, cell, group, rm);
}

pub(crate) fn forget_record(home: &Home, id: &str) {
    if home.root.join("store.db").exists()
        && let Ok(store) = store::Store::open(&home.root)
        && let Some(id) = types::id::ContainerId::parse(id)
    {
        let _ = store.remove_container(&id, store::Durability::Synced);
    }
}

/// Gives a running container a keeper, by a process that stays behind.
fn adopt(home: &Home, cell: &Cell, config: Config, running: cell::Running, lock: CellLock) {
    let Some(init_fd) = running.init.open() else { return };
    let init_pid = running.init.pid;
    // Held by no one since its holder and keeper were killed; one that somebody else has taken meanwhile is lost.
    let ports = network::reserve_again(cell);
    let (out, err) = (cell.open_fifo_reader("stdout"), cell.open_fifo_reader("stderr"));
    let streams = match (config.request.tty, out, err, keeper::Staging::new()) {
        (false, Ok(out), Ok(err), Ok(staging)) => Streams::Pipes(out, err, staging),
        // Its terminal went with the processes that held it.
        _ => Streams::None,
    };
    let task = Task {
        home: home.clone(),
        config,
        cell: cell.clone(),
        running,
        streams,
        init_fd,
        client: None,
        ended: None,
        lock_fd: lock.raw(),
        shm: None,
        stdin_writer: None,
        ports: ports.iter().map(AsRawFd::as_raw_fd).collect(),
        name_server: network::reopen_server(cell, init_pid),
        log_begin: [0; 2],
        generation: 1,
    };
    if let Ok(Fork::Child) = process::fork() {
        crate::inherited::become_keeper();
        keeper::run_alone(&task)
    }
}

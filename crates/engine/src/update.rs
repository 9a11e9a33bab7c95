//! `berth update`: other limits and another restart policy for containers, in force at once where they run.
//!
//! One change of a container at a time, under the lock on names, which [`crate::rename`] takes too: both write the row
//! and the documents. For a container that runs:
//!
//! 1. its file `updating` says what its configuration will be
//! 2. `run.json` names the control groups that are about to be made, so that whoever buries the container finds them
//! 3. mounts are changed, and the kernel gets the limits; if one is refused, all is made as it was before
//! 4. the row, then `config.json` are written; `updating` goes
//!
//! Killed in between, steps 2 to 4 are done again by the next command that touches the container ([`put_right`]). A
//! container that doesn't run has only its row, which changes in one transaction; the next start reads it.

mod merge;
mod mounts;

use crate::cell::{Cell, Running};
use crate::claims::Claims;
use crate::find::{self, State};
use crate::request::{RestartPolicy, UpdateRequest};
use crate::{Config, Error, Home, events, rm, spec, verify};
use linux::fault;
use runtime::cgroup::{self, Cgroup, Hierarchy};
use types::id::ContainerId;
use types::oci::Resources as Limits;

/// The file of an unfinished update.
const UPDATING: &str = "updating";

/// The kernel's weight and period of processor time.
const SHARES_DEFAULT: u64 = 1024;
const PERIOD_US_DEFAULT: u64 = 100_000;

/// Looks at a container that others start or end meanwhile.
const TRIES_MAX: u32 = 100;

/// Changes containers; for each what couldn't be done as asked.
pub fn update(home: &Home, request: &UpdateRequest) -> Vec<(String, Result<Vec<String>, Error>)> {
    let one = |given: &String| (given.clone(), update_one(home, given, request));
    request.containers.iter().map(one).collect()
}

fn update_one(home: &Home, given: &str, request: &UpdateRequest) -> Result<Vec<String>, Error> {
    let mut change = request.resources.clone();
    let mut warnings = verify::resources(&mut change, true)?;
    let id = find::container(home, given)?.config.id;
    let claims = Claims::open(home)?;
    for _ in 0..TRIES_MAX {
        await_start(home, &id)?;
        let _one_at_a_time = claims.lock_names()?;
        let container = find::container(home, &id)?;
        let old = &container.config;
        let mut new = changed(old, &change, request.restart)?;
        let cell = container.cell(home);
        // Its start has begun meanwhile: it reads the row now, or has done so.
        if container.state == State::Starting {
            continue;
        }
        let runs = matches!(container.state, State::Running(_));
        let mounts = mounts::plan(home, old, &mut new, request, runs)?;
        match &container.state {
            State::Running(running) => {
                let new = with_limits(new)?;
                cell.write(UPDATING, &new)?;
                fault::point("update intended");
                let applied = mounts.apply(&new, running).and_then(|more| {
                    warnings.extend(more);
                    let limited = apply(&cell, old, &new, running.clone());
                    limited
                        .and_then(|()| record(home, &cell, &new))
                        .inspect_err(|_| mounts.undo(&new, running))
                });
                if let Err(error) = applied {
                    // What the kernel didn't take, it doesn't have: a container that has ended needs no limits.
                    let _ = apply(&cell, &new, old, cell.running().unwrap_or_else(|| running.clone()));
                    let _ = std::fs::remove_file(cell.path.join(UPDATING));
                    return Err(error);
                }
                let pins = mounts.keep(home, &new);
                complete(&cell, &new)?;
                drop(pins);
                warnings.extend(ceiling(&change, &new));
                events::container(home, &new, "update", &[]);
                return Ok(warnings);
            }
            State::Starting | State::Created | State::Exited(_) | State::Restarting(_) => {
                record(home, &cell, &new)?;
                if !mounts.is_empty() {
                    drop(mounts.forget());
                }
                if cell.config().is_some() {
                    cell.write("config.json", &new)
                        .or_else(|error| if cell.config().is_none() { Ok(()) } else { Err(error) })?;
                }
                // One that was started meanwhile may have read the row before.
                let now = find::container(home, &id)?;
                if matches!(now.state, State::Starting | State::Running(_)) {
                    continue;
                }
                events::container(home, &new, "update", &[]);
                return Ok(warnings);
            }
        }
    }
    Err(Error::State { id, why: "is started and ended all the time".to_owned() })
}

/// Waits until a container that is being started has been.
pub(crate) fn await_start(home: &Home, id: &str) -> Result<(), Error> {
    let container = find::container(home, id)?;
    match container.state {
        State::Starting => rm::await_started(&container.cell(home)).map(drop),
        _ => Ok(()),
    }
}

/// What was asked for, changed.
fn changed(
    old: &Config,
    change: &crate::request::Resources,
    restart: Option<RestartPolicy>,
) -> Result<Config, Error> {
    let mut new = old.clone();
    new.request.resources = merge::resources(&old.id, &old.request.resources, change)?;
    if let Some(policy) = restart {
        if old.rm() && policy != RestartPolicy::No {
            return Err(Error::invalid(
                format!("Cannot update container {}", old.id),
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        new.request.restart = policy;
    }
    Ok(new)
}

/// The same with the limits of its control groups.
fn with_limits(mut new: Config) -> Result<Config, Error> {
    let linux = new.spec.linux.get_or_insert_default();
    let devices = linux.resources.take().map(|resources| resources.devices).unwrap_or_default();
    linux.resources = spec::limits(&new.request, &new.user_namespace, devices)?;
    Ok(new)
}

/// Gives the kernel the limits of `new`.
fn apply(cell: &Cell, old: &Config, new: &Config, mut running: Running) -> Result<(), Error> {
    let limits = |config: &Config| config.spec.linux.as_ref().and_then(|linux| linux.resources.clone());
    let (was, mut wanted) = (limits(old), limits(new).unwrap_or_default());
    if was.clone().unwrap_or_default() == wanted {
        return Ok(());
    }
    // Device rules don't change.
    wanted.devices.clear();
    let failed = |error: cgroup::Error| Error::Update { id: new.id.clone(), source: error.into() };
    let hierarchy = Hierarchy::detect().map_err(failed)?;
    let joined = running.cgroup.v1.clone();
    let limited = |name: &str| joined.contains_key(name) || hierarchy.mode() == cgroup::Mode::V2;
    if wanted.pids.is_none() && new.request.resources.pids_limit.is_some() && limited("pids") {
        wanted.pids = Some(types::oci::Pids { limit: Some(-1) });
    }
    restore(was.as_ref(), &mut wanted, limited);
    let path = new.spec.linux.as_ref().and_then(|linux| linux.cgroups_path.clone()).unwrap_or_default();
    let plan = cgroup::plan(&wanted, &path, &hierarchy).map_err(failed)?;
    let _nobody_moves_it = cell.lock_groups(true)?;
    // Of an earlier one that was killed there may be more.
    let mut to_come = plan.paths();
    to_come.v1.extend(running.groups_to_come.take().unwrap_or_default().v1);
    running.groups_to_come = Some(to_come.clone());
    cell.write("run.json", &running)?;
    fault::point("groups intended");
    let mut group = Cgroup::open(&running.cgroup).map_err(failed)?;
    let updated = plan.update(&mut group).map_err(failed);
    fault::point("limits changed");
    if running.init.open().is_none() {
        // It has ended: whoever buries it may have looked for its groups before these were made.
        let known = &running.cgroup.v1;
        let new_ones = plan.paths().v1.into_iter().filter(|(name, _)| !known.contains_key(name)).collect();
        if let Ok(group) = Cgroup::open(&cgroup::CgroupPaths { v2: None, v1: new_ones }) {
            let _ = group.remove();
        }
        return Ok(());
    }
    updated?;
    running.cgroup = group.paths().clone();
    to_come
        .v1
        .retain(|name, dir| !running.cgroup.v1.contains_key(name) && std::path::Path::new(dir).exists());
    running.groups_to_come = Some(to_come).filter(|groups| !groups.v1.is_empty());
    cell.write("run.json", &running)
}

/// Puts the kernel's defaults where a limit goes that was there, for a container that is in the group of its controller.
fn restore(was: Option<&Limits>, wanted: &mut Limits, limited: impl Fn(&str) -> bool) {
    let Some(was) = was else { return };
    if let Some(was) = was.memory.as_ref().filter(|_| limited("memory")) {
        let memory = wanted.memory.get_or_insert_default();
        default_to(&mut memory.limit, was.limit, -1);
        default_to(&mut memory.swap, was.swap, -1);
        default_to(&mut memory.reservation, was.reservation, -1);
    }
    if let Some(was) = was.cpu.as_ref().filter(|_| limited("cpu")) {
        let cpu = wanted.cpu.get_or_insert_default();
        default_to(&mut cpu.shares, was.shares, SHARES_DEFAULT);
        default_to(&mut cpu.quota, was.quota, -1);
        default_to(&mut cpu.period, was.period, PERIOD_US_DEFAULT);
    }
    if was.pids.is_some() && limited("pids") {
        wanted.pids.get_or_insert(types::oci::Pids { limit: Some(-1) });
    }
}

fn default_to<T>(wanted: &mut Option<T>, was: Option<T>, default: T) {
    if was.is_some() && wanted.is_none() {
        *wanted = Some(default);
    }
}

/// Changes the row, if there is one.
fn record(home: &Home, cell: &Cell, new: &Config) -> Result<(), Error> {
    let gone = || Error::NoContainer { given: new.id.clone() };
    if !new.recorded() {
        return cell.config().map(drop).ok_or_else(gone);
    }
    let id = ContainerId::parse(&new.id).ok_or_else(gone)?;
    // Plain data always serialises.
    let document = serde_json::to_string(new).unwrap_or_default();
    let store = store::Store::open(&home.root)?;
    store.update_container(&id, &document, store::Durability::Synced)?;
    fault::point("row updated");
    Ok(())
}

/// The rest of step 4; may be done again.
fn complete(cell: &Cell, new: &Config) -> Result<(), Error> {
    if cell.config().is_some() {
        // It may have ended, and its keeper be taking the directory away.
        cell.write("config.json", new).or_else(|e| if cell.config().is_none() { Ok(()) } else { Err(e) })?;
        fault::point("configuration updated");
    }
    let _ = std::fs::remove_file(cell.path.join(UPDATING));
    Ok(())
}

/// Completes the update of a process that was killed.
pub(crate) fn put_right(home: &Home, cell: &Cell) {
    let path = cell.path.join(UPDATING);
    if !path.exists() {
        return;
    }
    let Ok(claims) = Claims::open(home) else { return };
    // Otherwise somebody is at it.
    let Ok(Some(_one_at_a_time)) = claims.try_lock_names() else { return };
    let text = std::fs::read(&path).unwrap_or_default();
    let (Ok(new), Some(old)) = (serde_json::from_slice::<Config>(&text), cell.config()) else {
        let _ = std::fs::remove_file(path);
        return;
    };
    // Overtaken by a rename.
    let mut new = Config { name: old.name.clone(), ..new };
    mounts::settle_now(cell, &old, &mut new);
    if let Some(running) = cell.running().filter(|running| running.init.open().is_some())
        && apply(cell, &old, &new, running.clone()).is_err()
    {
        let _ = apply(cell, &new, &old, cell.running().unwrap_or(running));
        let _ = std::fs::remove_file(path);
        return;
    }
    if record(home, cell, &new).is_ok() && complete(cell, &new).is_ok() {
        events::container(home, &new, "update", &[]);
    }
}

/// What to say where the user namespace's ceiling of tasks, which can't be moved, is below a new limit.
fn ceiling(change: &crate::request::Resources, new: &Config) -> Option<String> {
    let ceiling = new.tasks_max?;
    let limit = change.pids_limit?;
    let above = limit <= 0 || u64::try_from(limit).is_ok_and(|limit| limit > ceiling);
    above.then(|| {
        format!(
            "container {} was started with a ceiling of {ceiling} tasks, which holds until it is started again",
            new.name
        )
    })
}

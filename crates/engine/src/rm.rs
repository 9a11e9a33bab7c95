//! `berth rm`: containers and all that is theirs.
//!
//! Steps, each for all containers before the next, so that thirty take hardly longer than one:
//!
//! 1. the wish is written down: a running container's directory gets the file `remove`, an ended one gets a directory of
//!    this boot, locked, without a configuration, which is what an unfinished creation looks like
//! 2. their rows are removed, in one transaction
//! 3. running ones are killed; their keepers see the wish, and remove the files
//! 4. the files of the ended ones are removed, it's told that all of them are gone, then their names are free
//!
//! Killed after the first step, the command leaves what the next one finds and finishes: [`find::recover`] buries both
//! sorts, row and name included.

use crate::cell::{Cell, CellLock, Intent};
use crate::claims::Claims;
use crate::find::{self, Container, State};
use crate::request::RmRequest;
use crate::stop::{Outcomes, SIGKILL, kill_hard, leave_restart, settle, told_kill};
use crate::{Config, Error, Home, cell, events, log, pause, root, spread, system, volumes};
use linux::{Errno, fault};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use types::id::ContainerId;

/// How long a container that is just being started may take until it can be killed.
const START_WAIT: Duration = Duration::from_secs(10);

/// Removes containers; with `force` running ones are killed. One that doesn't exist is [`Error::NoContainer`], which
/// `force` lets the caller pass over.
pub fn rm(home: &Home, request: &RmRequest) -> Outcomes {
    let found = find::containers(home, &request.containers);
    let mut doomed: Vec<(usize, Doomed)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut outcomes = Outcomes::new();
    for (at, (given, found)) in request.containers.iter().zip(found).enumerate() {
        // One that is being made is one, though its creator may have been killed.
        let found = match found {
            Err(Error::NoContainer { .. }) if find::await_named(home, given) => find::container(home, given),
            found => found,
        };
        let found = match found {
            Err(Error::NoContainer { .. }) if find::finish_removal(home, given) => {
                outcomes.push((given.clone(), Ok(())));
                continue;
            }
            found => found,
        };
        let result = found.and_then(|container| {
            if known.insert(container.config.id.clone()) {
                doomed.push((at, Doomed::mark(home, container, given, request.force)?));
            }
            Ok(())
        });
        outcomes.push((given.clone(), result));
    }
    fault::point("removal marked");
    let mut forgotten = forget_rows(home, &doomed);
    if matches!(&forgotten, Err(Error::Store(error)) if error.is_disk_full()) {
        // Who has no room left removes containers to get some: what they have written goes first.
        let ended = doomed.iter().filter(|(_, one)| !matches!(one.doom, Doom::Running { .. }));
        ended.for_each(|(_, one)| {
            let log = log::dir(&home.state_dir(&one.container.config.id));
            let _ = std::fs::remove_dir_all(log);
        });
        forgotten = forget_rows(home, &doomed);
    }
    if let Err(error) = forgotten {
        let error = std::rc::Rc::new(error);
        for (at, one) in doomed {
            one.spare();
            outcomes[at].1 =
                Err(Error::Reported { message: error.to_string(), hint: error.hint(), kind: error.kind() });
        }
        return outcomes;
    }
    fault::point("rows removed");
    for (_, one) in &doomed {
        if let Doom::Running { init, running } = &one.doom {
            told_kill(home, &one.container.config, SIGKILL);
            kill_hard(init, running);
        }
    }
    fault::point("killed");
    let ended: Vec<&Doomed> =
        doomed.iter().map(|(_, one)| one).filter(|one| matches!(one.doom, Doom::Ended { .. })).collect();
    // What fails here fails below once more, and is told of.
    spread::over(&ended, |one| drop(root::remove(home, &one.cell)));
    let mut emptied = Vec::new();
    for (at, one) in doomed {
        match one.remove_files(home) {
            Ok(()) => emptied.push(one),
            Err(error) => outcomes[at].1 = Err(error),
        }
    }
    // While the names' links still lead whoever finishes this to the containers.
    let configs: Vec<&Config> = emptied.iter().map(|one| &one.container.config).collect();
    events::all_destroyed(home, &configs);
    fault::point("removal told");
    spread::over(&emptied, |one| one.forget(home));
    if request.volumes {
        emptied.iter().for_each(|one| volumes::remove_own(home, &one.container.config));
    }
    outcomes
}

/// Refuses one that runs, unless it may be killed.
fn refuse(container: &Container, given: &str, force: bool) -> Result<(), Error> {
    if !force && !matches!(container.state, State::Created | State::Exited(_)) {
        let id = &container.config.id;
        let is_paused = matches!(&container.state, State::Running(running) if pause::is_paused(running));
        let is = if matches!(container.state, State::Restarting(_)) { "restarting" } else { "running" };
        return Err(Error::Refused {
            what: format!("remove container {given:?}"),
            why: match is_paused {
                true => "container is paused and must be unpaused first".to_owned(),
                false => {
                    format!("container is {is}: stop the container before removing or force remove")
                }
            },
            hint: format!("berth rm -f {}", if given.is_empty() { id } else { given }),
        });
    }
    Ok(())
}

/// What the removal of a container would take away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub container: String,
    /// Its own volumes, if they would go too.
    pub volumes: Vec<String>,
    /// Bytes of the files that it has changed.
    pub bytes: u64,
}

/// What [`rm`] would do; nothing is done.
pub fn would(home: &Home, request: &RmRequest) -> Vec<(String, Result<Gone, Error>)> {
    let found = find::containers(home, &request.containers);
    let gone = |given: &String, container: Container| {
        refuse(&container, given, request.force)?;
        let config = &container.config;
        let with_volumes = request.volumes || config.rm();
        let own = config.volumes().filter(|(_, volume)| with_volumes && volume.anonymous);
        Ok(Gone {
            container: config.name.clone(),
            volumes: own.map(|(name, _)| name.to_owned()).collect(),
            bytes: system::changed_bytes(home, &container)?,
        })
    };
    let each = request.containers.iter().zip(found);
    each.map(|(given, found)| (given.clone(), found.and_then(|container| gone(given, container)))).collect()
}

/// A container whose removal has begun.
struct Doomed {
    container: Container,
    cell: Cell,
    doom: Doom,
}

enum Doom {
    /// It runs, and its directory says that it's to be removed.
    Running { init: OwnedFd, running: Box<cell::Running> },
    /// It ended; its directory stands for the removal.
    Ended { _lock: CellLock },
    /// Somebody else removes it, or its keeper is about to be done with it.
    Leaving,
}

impl Doomed {
    fn mark(home: &Home, container: Container, given: &str, force: bool) -> Result<Doomed, Error> {
        refuse(&container, given, force)?;
        let cell = container.cell(home);
        let doom = match &container.state {
            State::Created | State::Exited(_) => mark_ended(home, &container)?,
            State::Restarting(_) => {
                cell.request_removal()?;
                match leave_restart(home, &cell)? {
                    Some(running) => mark_running(&cell, running)?,
                    None => Doom::Leaving,
                }
            }
            State::Starting => match await_started(&cell)? {
                Some(running) => mark_running(&cell, running)?,
                None => Doom::Leaving,
            },
            State::Running(running) => mark_running(&cell, running.clone())?,
        };
        Ok(Doomed { container, cell, doom })
    }

    /// Takes the wish back.
    fn spare(self) {
        match self.doom {
            Doom::Running { .. } => {
                let _ = std::fs::remove_file(self.cell.path.join("remove"));
            }
            Doom::Ended { .. } => self.cell.remove(),
            Doom::Leaving => {}
        }
    }

    /// Waits for the keeper, and removes the files that nobody else has.
    fn remove_files(&self, home: &Home) -> Result<(), Error> {
        if !matches!(self.doom, Doom::Ended { .. }) {
            settle(home, &self.cell)?;
        }
        // A keeper that saw the end just before the wish was written has kept these.
        fault::point("keeper gone");
        root::remove(home, &self.cell)?;
        fault::point("files removed");
        Ok(())
    }

    /// Gives its name back, and the directory that stood for its removal.
    fn forget(&self, home: &Home) {
        if Claims::exist(home) {
            Claims::of(home).release_name(&self.container.config.name, &self.container.config.id);
            fault::point("name released");
        }
        if matches!(self.doom, Doom::Ended { .. }) {
            self.cell.remove();
        }
    }
}

fn mark_running(cell: &Cell, running: cell::Running) -> Result<Doom, Error> {
    match cell.request_removal() {
        Err(Error::System { errno: Errno::NOENT, .. }) => return Ok(Doom::Leaving),
        other => other?,
    }
    Ok(match running.init.open() {
        Some(init) => Doom::Running { init, running: Box::new(running) },
        None => Doom::Leaving,
    })
}

fn mark_ended(home: &Home, container: &Container) -> Result<Doom, Error> {
    // Makes the directories of this boot where nothing has run since it began.
    Claims::open(home)?;
    let config = &container.config;
    let intent = Intent {
        name: config.name.clone(),
        rm: true,
        slots: Vec::new(),
        again: false,
        cgroup: crate::run::foreign_cgroup(home, &config.request, &config.id),
    };
    loop {
        match Cell::create(home, &config.id, &intent) {
            Ok((_, lock)) => return Ok(Doom::Ended { _lock: lock }),
            // Somebody else starts it, or removes it.
            Err(Error::System { errno: Errno::EXIST, .. }) => {
                let cell = container.cell(home);
                if let Some(running) = await_started(&cell)? {
                    return mark_running(&cell, running);
                }
                find::recover(home, &cell);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until a container that is being started runs, or is gone.
pub(crate) fn await_started(cell: &Cell) -> Result<Option<cell::Running>, Error> {
    let deadline = Instant::now() + START_WAIT;
    loop {
        match cell.running() {
            Some(running) if running.init.open().is_some() => return Ok(Some(running)),
            Some(_) => return Ok(None),
            None if !cell.path.exists() || cell.try_lock()?.is_some() => return Ok(None),
            None if Instant::now() >= deadline => {
                return Err(Error::Refused {
                    what: format!("remove container {}", &cell.id[..12.min(cell.id.len())]),
                    why: "it is being started, and that takes too long".to_owned(),
                    hint: "end the command that starts it".to_owned(),
                });
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Removes the rows in one transaction. Containers that were run with `--rm` have none.
fn forget_rows(home: &Home, doomed: &[(usize, Doomed)]) -> Result<(), Error> {
    let recorded = doomed.iter().filter(|(_, one)| one.container.config.recorded());
    let ids: Vec<ContainerId> =
        recorded.filter_map(|(_, one)| ContainerId::parse(&one.container.config.id)).collect();
    if !ids.is_empty() {
        let store = store::Store::open(&home.root)?;
        store.remove_containers(&ids, store::Durability::Synced)?;
    }
    Ok(())
}

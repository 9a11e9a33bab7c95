//! `berth create` and `berth start`: a container's making and its start apart, and its start again.
//!
//! A container that waits for its start has a row, files, and its name; it has neither ids nor a directory of this boot.
//! Those come with each start, and go with its end. What may have changed since is decided anew: which ids are free, the
//! containers that it joins, what users are called in its files.

use crate::attach::{self, Streams};
use crate::cell::{Cell, CellLock, Intent, Restarts};
use crate::claims::Claims;
use crate::config::UserNamespace;
use crate::find::{self, Container, State};
use crate::pause::is_paused;
use crate::request::{RestartPolicy, RunRequest, StartRequest, StopRequest};
use crate::run::{self, Launched, Ran, Ready};
use crate::stop::{Outcomes, leave_restart, stop};
use crate::{Config, Error, Home, events, rm, root, teardown};
use linux::{Errno, fault};
use std::time::{Duration, Instant};
use types::id::ContainerId;

/// How long another command may be at the same container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a container, and doesn't start it. Its id and what should be said about it are as [`run::run`]'s.
pub fn create(home: &Home, request: RunRequest) -> Result<Ran, Error> {
    run::check_caller(&request)?;
    let cidfile = request.cidfile.clone();
    let mut claimed = run::claim(home, request, false)?;
    claimed.config.made_first = true;
    let made = root::prepare(home, &claimed.config).and_then(|()| {
        fault::point("upper and work made");
        if let Some(path) = &cidfile {
            run::write_cidfile(path, &claimed.config.id)?;
        }
        let store = store::Store::open(&home.root)?;
        store.insert_container(&claimed.record(false), store::Durability::Synced)?;
        fault::point("recorded");
        Ok(())
    });
    if let Err(error) = made {
        teardown::failed_start(home, &claimed.config, &claimed.cell);
        if let Some(path) = &cidfile {
            let _ = std::fs::remove_file(path);
        }
        return Err(error);
    }
    events::made(home, &claimed.config, false);
    teardown::not_started(home, &claimed.cell, None);
    let Config { id, name, .. } = claimed.config;
    Ok(Ran { id, name, outcome: None, steps: Vec::new() })
}

/// Starts a container that was made, or that has ended; attached to it if that is asked for. One that runs is started
/// already.
pub fn start(home: &Home, request: &StartRequest) -> Result<Ran, Error> {
    let Some((config, cell, lock)) = begin(home, request)? else {
        let Config { id, name, .. } = find::container(home, &request.container)?.config;
        return Ok(Ran { id, name, outcome: None, steps: Vec::new() });
    };
    let instead = request.entrypoint.as_deref();
    let claimed = run::claim_again(home, &config, &cell, lock, Restarts::default(), instead)?;
    let (id, name) = (config.id.clone(), config.name.clone());
    let streams = Streams::for_start(&config.request, request);
    let ready = streams.and_then(|client| Ready::new(home, client));
    let mut ready = ready.inspect_err(|_| teardown::not_started(home, &cell, None))?;
    let hold_stdin = !(request.attach && request.interactive);
    if request.attach {
        events::container(home, &config, "attach", &[]);
    }
    let Launched { pid, master, .. } = run::launch(home, claimed, &mut ready, hold_stdin, None)?;
    fault::point("started");
    if !request.attach {
        return Ok(Ran { id, name, outcome: None, steps: Vec::new() });
    }
    let master = if config.request.tty { master } else { None };
    let outcome = attach::attach(home, &id, ready.ours, ready.client, master, pid)?;
    Ok(Ran { id, name, outcome: Some(outcome), steps: Vec::new() })
}

/// Stops containers, all at once, and starts them again.
pub fn restart(home: &Home, request: &StopRequest) -> Outcomes {
    let again = |(given, stopped): (String, Result<(), Error>)| {
        let request = StartRequest { container: given.clone(), ..StartRequest::default() };
        let started = stopped.and_then(|()| start(home, &request)).map(|ran| {
            if let Ok(container) = find::container(home, &ran.id) {
                events::container(home, &container.config, "restart", &[]);
            }
        });
        (given, started)
    };
    stop(home, request).into_iter().map(again).collect()
}

/// Claims the container's directory of this boot; `None` if it runs.
fn begin(home: &Home, request: &StartRequest) -> Result<Option<(Config, Cell, CellLock)>, Error> {
    let given = &request.container;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let container = find::container(home, given)?;
        let config = &container.config;
        let cell = container.cell(home);
        match &container.state {
            // A user has stopped it, and whoever would have started it hasn't heard of that yet.
            State::Restarting(_) if cell.stop_requested() || cell.removal_requested() => {
                if leave_restart(home, &cell)?.is_none() && Instant::now() < deadline {
                    continue;
                }
                return Ok(None);
            }
            State::Running(running) if is_paused(running) => {
                return Err(Error::Refused {
                    what: "start a paused container".to_owned(),
                    why: "try unpause instead".to_owned(),
                    hint: format!("berth unpause {given}"),
                });
            }
            State::Running(_) | State::Restarting(_) if request.attach => {
                return Err(Error::Refused {
                    what: format!("start container {given} attached"),
                    why: "it is running already".to_owned(),
                    hint: format!("berth logs -f {given}"),
                });
            }
            State::Running(_) | State::Restarting(_) if request.entrypoint.is_some() => {
                return Err(Error::Refused {
                    what: format!("start container {given} with another program"),
                    why: "it is running already".to_owned(),
                    hint: format!("berth exec {given} PROGRAM, or stop it first"),
                });
            }
            State::Running(_) | State::Restarting(_) => return Ok(None),
            State::Starting => {
                rm::await_started(&cell)?;
                continue;
            }
            State::Created | State::Exited(_) => {}
        }
        if config.user_namespace == UserNamespace::Host {
            run::seal()?;
        }
        Claims::open(home)?;
        let intent = Intent {
            name: config.name.clone(),
            rm: config.rm(),
            slots: Vec::new(),
            again: true,
            cgroup: run::foreign_cgroup(home, &config.request, &config.id),
        };
        match Cell::create(home, &config.id, &intent) {
            Ok((cell, lock)) => {
                let config = recorded(home, &config.id).inspect_err(|_| cell.remove())?;
                return Ok(Some((config, cell, lock)));
            }
            // Somebody else starts it, or removes it.
            Err(Error::System { errno: Errno::EXIST, .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The row of a container that can't be removed any more, marked as started.
fn recorded(home: &Home, id: &str) -> Result<Config, Error> {
    let gone = || Error::NoContainer { given: id.to_owned() };
    let id = ContainerId::parse(id).ok_or_else(gone)?;
    let store = store::Store::open(&home.root)?;
    let record = store.container(&id)?.ok_or_else(gone)?;
    if !record.started {
        store.container_started(&id, store::Durability::Unsynced)?;
        fault::point("start recorded");
    }
    serde_json::from_str(&record.config_json).map_err(|error| Error::Image {
        image: format!("of container {}", id.as_str()),
        why: format!("its record can't be read: {error}"),
    })
}

/// Starts what should run after the machine has: containers whose restart policy says so and that no user has stopped,
/// those that others need first.
pub fn boot(home: &Home) -> Result<Outcomes, Error> {
    let mut waiting: Vec<Container> = find::all(home)?.into_iter().filter(is_wanted).collect();
    // The oldest first, as they were made.
    waiting.reverse();
    let mut outcomes = Outcomes::new();
    while !waiting.is_empty() {
        let needs_other = |one: &Container| waiting.iter().any(|other| needs(one, other));
        // In a circle, whichever comes first.
        let next = waiting.iter().position(|one| !needs_other(one)).unwrap_or(0);
        let config = waiting.remove(next).config;
        let request = StartRequest { container: config.id, ..StartRequest::default() };
        outcomes.push((config.name, start(home, &request).map(drop)));
    }
    Ok(outcomes)
}

/// Whether a container should run after a boot. Docker's rule.
fn is_wanted(container: &Container) -> bool {
    let State::Exited(ended) = &container.state else { return false };
    match container.config.request.restart {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !ended.stopped,
        RestartPolicy::OnFailure(max) => {
            ended.code != Some(0) && !ended.stopped && max.is_none_or(|max| ended.restarts < max)
        }
    }
}

/// Whether `one` joins namespaces of `other`.
pub(crate) fn needs(one: &Container, other: &Container) -> bool {
    let Config { id, name, .. } = &other.config;
    let names = crate::spec::container_names(&one.config.request);
    names.into_iter().any(|given| given == *name || id.starts_with(&given))
}

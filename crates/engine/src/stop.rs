//! `berth stop` and `berth kill`: signals to containers' first processes.

use crate::cell::{Cell, has_ended};
use crate::find::{self, State};
use crate::request::{KillRequest, RestartPolicy, StopRequest};
use crate::{Config, Error, Home, cell, events, pause, rm};
use linux::{Errno, process};
use runtime::cgroup::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Each container as the caller named it, and what became of it.
pub type Outcomes = Vec<(String, Result<(), Error>)>;

/// Docker's wait before SIGKILL.
const TIMEOUT_SECS: i64 = 10;

pub(crate) const SIGKILL: i32 = 9;

/// How often whoever waits for a restart is followed by another while somebody waits for its end.
const DESERTED_MAX: u32 = 20;

/// Stops containers, all at once: the signal, then after a while SIGKILL. Returns when their ends are recorded. One that
/// doesn't run is stopped already.
pub fn stop(home: &Home, request: &StopRequest) -> Outcomes {
    stop_by(home, request, By::User)
}

/// Who stops containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A user, who wants that they stay so.
    User,
    /// The machine that goes down: what should run after a boot isn't to be told from what would have run on.
    Shutdown,
}

impl By {
    fn request(self, cell: &Cell) -> Result<(), Error> {
        match self {
            By::User => cell.request_stop(),
            By::Shutdown => cell.request_shutdown(),
        }
    }
}

/// The same, by whoever it is.
pub(crate) fn stop_by(home: &Home, request: &StopRequest, by: By) -> Outcomes {
    let found = find::containers(home, &request.containers);
    let mut stopping = Vec::new();
    let outcomes = request.containers.iter().zip(found).enumerate().map(|(at, (given, found))| {
        let settled = found.and_then(|container| started(home, container));
        let begun = settled.and_then(|container| begin(home, request, by, &container));
        let result = begun.map(|begun| stopping.extend(begun.map(|begun| (at, begun))));
        (given.clone(), result)
    });
    let mut outcomes: Outcomes = outcomes.collect();
    wait_or_kill(home, &mut stopping.iter_mut().map(|(_, one)| one).collect::<Vec<_>>());
    for (at, one) in &stopping {
        match settle(home, &one.cell) {
            Ok(()) => events::container(home, &one.config, "stop", &[]),
            Err(error) => outcomes[*at].1 = Err(error),
        }
    }
    outcomes
}

/// A container as it is once whoever is about to start it, if somebody is, has done so: what is said to be stopped mustn't
/// run a moment later.
fn started(home: &Home, mut container: find::Container) -> Result<find::Container, Error> {
    loop {
        let cell = container.cell(home);
        let was_starting = match container.state {
            State::Starting => rm::await_started(&cell).map(|_| true)?,
            State::Created | State::Exited(_) => {
                find::await_works(&cell) || cell.config().is_some() && cell.ended().is_none()
            }
            State::Running(_) | State::Restarting(_) => false,
        };
        if !was_starting {
            return Ok(container);
        }
        container = find::container(home, &container.config.id)?;
    }
}

/// A container that was asked to end.
struct Stopping {
    config: Config,
    cell: Cell,
    running: cell::Running,
    init: OwnedFd,
    /// When it's killed; `None` for never, or once it was.
    kill_at: Option<Instant>,
}

/// Sends the signal; `None` if the container doesn't run.
fn begin(
    home: &Home,
    request: &StopRequest,
    by: By,
    container: &find::Container,
) -> Result<Option<Stopping>, Error> {
    let config = &container.config;
    let cell = container.cell(home);
    let running = match &container.state {
        State::Running(running)
            if config.request.restart == RestartPolicy::No || running.init.open().is_some() =>
        {
            running.clone()
        }
        // One that has ended just now is started again if nobody says that it mustn't.
        State::Running(_) | State::Restarting(_) => {
            by.request(&cell)?;
            match leave_restart(home, &cell)? {
                Some(running) => running,
                None => return Ok(None),
            }
        }
        State::Starting | State::Created | State::Exited(_) => return Ok(None),
    };
    let Some(init) = running.init.open() else { return Ok(None) };
    if config.request.restart != RestartPolicy::No {
        by.request(&cell)?;
    }
    let signal = request.signal.unwrap_or(config.stop_signal);
    let timeout = request
        .timeout_secs
        .or(config.request.stop_timeout_secs)
        .or(config.image_config.stop_timeout)
        .unwrap_or(TIMEOUT_SECS);
    let wait = u64::try_from(timeout).ok().map(Duration::from_secs);
    let stopping = Stopping {
        config: config.clone(),
        cell,
        running: running.clone(),
        init,
        // A time beyond what the clock can tell is never.
        kill_at: wait.and_then(|wait| Instant::now().checked_add(wait)),
    };
    told_kill(home, config, signal);
    send(&stopping.init, signal, &config.id)?;
    pause::thaw(&running)?;
    Ok(Some(stopping))
}

/// Tells of a signal, before it's sent: what it does is told after it.
pub(crate) fn told_kill(home: &Home, config: &Config, signal: i32) {
    events::container(home, config, "kill", &[("signal", &signal.to_string())]);
}

/// Waits until a container that was about to be started again, and is told not to be, is at rest. Its processes if it was
/// started all the same.
pub(crate) fn leave_restart(home: &Home, cell: &Cell) -> Result<Option<cell::Running>, Error> {
    let mut deserted = 0;
    loop {
        if let Some(running) = cell.running().filter(|running| running.init.open().is_some()) {
            return Ok(Some(running));
        }
        if !cell.path.exists() {
            return Ok(None);
        }
        if cell.try_lock()?.is_some() {
            // Who waited was killed: somebody else hears of it, and has it at rest before this returns. On a full disk it stays.
            if deserted == DESERTED_MAX {
                return Ok(None);
            }
            deserted += 1;
            find::recover(home, cell);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal; a process that has ended meanwhile is no failure.
fn send(init: &OwnedFd, signal: i32, id: &str) -> Result<(), Error> {
    match process::pidfd_signal(init.as_fd(), signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::system("signal container", &id[..12.min(id.len())], errno)),
    }
}

/// Kills the first process, and with it all of its pid namespace. Frozen ones are thawed to die.
pub(crate) fn kill_hard(init: &OwnedFd, running: &cell::Running) {
    // A pidfd of a process that has ended takes no signal, and needs none.
    let _ = process::pidfd_signal(init.as_fd(), SIGKILL);
    if let Ok(group) = Cgroup::open(&running.cgroup)
        && group.is_frozen().unwrap_or(false)
    {
        let _ = group.kill();
    }
}

/// Waits until each has ended, killing those whose time is up.
fn wait_or_kill(home: &Home, stopping: &mut [&mut Stopping]) {
    loop {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut waiting = Vec::new();
        for one in stopping.iter_mut() {
            if has_ended(one.init.as_fd()) {
                continue;
            }
            match one.kill_at {
                Some(at) if at <= now => {
                    told_kill(home, &one.config, SIGKILL);
                    kill_hard(&one.init, &one.running);
                    one.kill_at = None;
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
            waiting.push(PollFd::from_borrowed_fd(one.init.as_fd(), PollFlags::IN));
        }
        if waiting.is_empty() {
            return;
        }
        let timeout = next.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // No memory for the call: what is left is to wait for the keepers.
            Err(_) => return,
        }
    }
}

/// Waits until the end of a container is recorded by its keeper, or records it if both its processes were killed.
pub(crate) fn settle(home: &Home, cell: &Cell) -> Result<(), Error> {
    if let Some(_lock) = cell.wait_lock()? {
        find::reap(home, cell);
    }
    Ok(())
}

/// Sends containers a signal. It is an error if one doesn't run.
pub fn kill(home: &Home, request: &KillRequest) -> Outcomes {
    let found = find::containers(home, &request.containers);
    let signal = |given: &str, container: find::Container| -> Result<(), Error> {
        let id = &container.config.id;
        let running = match &container.state {
            State::Running(running) => running.init.open().map(|init| (init, running)),
            _ => None,
        };
        let Some((init, running)) = running else {
            return Err(Error::Refused {
                what: "kill container".to_owned(),
                why: format!("{given}: container {id} is not running"),
                hint: format!("`berth inspect {given}` tells how it ended"),
            });
        };
        told_kill(home, &container.config, request.signal);
        let config = &container.config;
        let ends = matches!(request.signal, SIGKILL) || request.signal == config.stop_signal;
        if ends && config.request.restart != RestartPolicy::No {
            container.cell(home).request_stop()?;
        }
        match request.signal {
            SIGKILL => {
                kill_hard(&init, running);
                settle(home, &container.cell(home))
            }
            other => {
                send(&init, other, id)?;
                // As docker: a signal that may be meant to end the container reaches it though it's paused.
                let is_chosen =
                    config.request.stop_signal.is_some() || !config.image_config.stop_signal.is_empty();
                match is_chosen && other != config.stop_signal {
                    true => Ok(()),
                    false => pause::thaw(running),
                }
            }
        }
    };
    let pairs = request.containers.iter().zip(found);
    pairs.map(|(given, found)| (given.clone(), found.and_then(|c| signal(given, c)))).collect()
}

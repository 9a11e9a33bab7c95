//! The keeper's part in health checks: when a probe is due, and what is done when the container doesn't work any more.

use crate::cell::{Running, now_ns};
use crate::config::UserNamespace;
use crate::health::{self, Check, Health, HealthStatus, ProbeResult, Prober};
use crate::pause::is_paused;
use crate::request::{OnUnhealthy, StopRequest};
use crate::{Config, Home, events, inherited, start, stop};
use linux::process::{self, Fork};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Task;

/// A container's checks.
pub(super) struct Checks<'a> {
    task: &'a Task,
    check: Check,
    health: Health,
    /// When the next probe begins; not while one runs.
    due: Option<Instant>,
    prober: Option<Prober>,
}

impl<'a> Checks<'a> {
    /// Those of the container, from where an earlier keeper left off; `None` if nothing is probed.
    pub fn of(task: &'a Task) -> Option<Checks<'a>> {
        let check = Check::of(&task.config)?;
        let health = task.cell.health().unwrap_or_default();
        let mut checks = Checks { task, check, health, due: None, prober: None };
        checks.wait();
        Some(checks)
    }

    /// When the keeper must look again.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    fn wait(&mut self) {
        let age = age(&self.task.running);
        self.due = Instant::now().checked_add(self.health.pause(&self.check, age));
    }

    /// Begins a probe that is due; what is to be watched for its result. None begins while the container is paused.
    pub fn begin(&mut self) -> Option<BorrowedFd<'_>> {
        if self.due.is_none_or(|due| Instant::now() < due) {
            return None;
        }
        if is_paused(&self.task.running) {
            self.wait();
            return None;
        }
        match health::spawn(&self.check, &self.task.config, &self.task.running) {
            Ok(prober) => {
                self.due = None;
                Some(self.prober.insert(prober).pipe.as_fd())
            }
            // No process is to be had: next time, perhaps.
            Err(_) => {
                self.wait();
                None
            }
        }
    }

    /// What the probe has to say; once that is all, its descriptor closes.
    pub fn hear(&mut self) {
        let Some(heard) = self.prober.as_mut().and_then(Prober::hear) else { return };
        self.prober = None;
        let now = now_ns();
        let killed = || ProbeResult {
            start_ns: now,
            end_ns: now,
            code: -1,
            output: "berth's probing process was killed".to_owned(),
        };
        let result = heard.unwrap_or_else(killed);
        let changed = self.health.note(&self.check, self.task.running.started_ns, result);
        let _ = self.task.cell.write(crate::cell::HEALTH, &self.health);
        if let Some(status) = changed {
            let config = self.task.cell.config();
            let config = config.as_ref().unwrap_or(&self.task.config);
            events::container(&self.task.home, config, &format!("health_status: {}", status.word()), &[]);
            if status == HealthStatus::Unhealthy {
                self.give_up();
            }
        }
        self.wait();
        // Until the next one, which may be long: 2 MB of code that only probes need.
        process::release_program();
    }

    /// Does what was asked for with a container that doesn't work any more.
    fn give_up(&self) {
        let task = self.task;
        match self.check.on_failure {
            OnUnhealthy::Nothing => {}
            OnUnhealthy::Kill => drop(process::pidfd_signal(task.init_fd.as_fd(), 9)),
            OnUnhealthy::Stop => apart("stop", task, |home, request| drop(stop::stop(home, request))),
            OnUnhealthy::Restart => {
                apart("restart", task, |home, request| drop(start::restart(home, request)));
            }
        }
    }

    /// No more probes: the container has ended.
    pub fn end(self) -> Health {
        if let Some(prober) = self.prober {
            prober.kill();
        }
        self.health
    }
}

/// How long the container has run; the clock may have been set.
fn age(running: &Running) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns() - running.started_ns).unwrap_or(0))
}

/// Does something to the container as another command would, by a process that isn't the keeper.
fn apart(command: &str, task: &Task, act: impl FnOnce(&Home, &StopRequest)) {
    if let Ok(Fork::Child) = inherited::fork_apart() {
        process::set_name(c"berth-health");
        // The container's lock too.
        process::close_others(&[]);
        let Config { id, user_namespace, .. } = &task.config;
        if *user_namespace == UserNamespace::Host && !linux::own_file::is_sealed().unwrap_or(false) {
            let words = ["berth", command, id].map(std::ffi::OsString::from);
            let _ = linux::own_file::start_sealed(words.into_iter());
            process::exit(1)
        }
        let request = StopRequest { containers: vec![id.clone()], ..StopRequest::default() };
        act(&task.home, &request);
        process::exit(0)
    }
}

//! Health checks: what is probed, and what follows from how the probes end. The keeper does both (`keeper::checks`); what
//! it knows is in the container's directory of this boot, so that the next keeper goes on from there.
//!
//! Rules and defaults are docker's. Source: moby daemon/health.go.

mod probe;

pub(crate) use probe::{Prober, spawn};

use crate::Config;
use crate::request::{HealthTest, OnUnhealthy};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::image::config::Healthcheck;

/// Docker's defaults: 30 s between probes and for one, 5 s between those of the start period, three failures.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// Probes that are remembered.
const LOG_LENGTH: usize = 5;

/// What is probed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub test: Test,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub start_interval: Duration,
    pub retries: u32,
    pub on_failure: OnUnhealthy,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    /// Program and arguments, run in the container.
    Command(Vec<String>),
    /// What the keeper does in the container's network.
    Network(HealthTest),
}

/// What lists call it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It hasn't worked yet.
    #[default]
    Starting,
    /// It works.
    Healthy,
    /// It has failed too often.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// How one probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Nanoseconds since the epoch.
    pub start_ns: i64,
    /// Nanoseconds since the epoch.
    pub end_ns: i64,
    /// 0 is well; -1 if it could not be run, or took too long.
    pub code: i32,
    /// The first bytes of what it wrote.
    pub output: String,
}

/// What is known of a container's health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub status: HealthStatus,
    /// Failures since it last worked, those of the start period apart.
    pub failing_streak: u32,
    /// The last probes, the newest last.
    pub log: Vec<ProbeResult>,
}

impl Health {
    /// Takes note of a probe; the new status if it has changed.
    pub(crate) fn note(
        &mut self,
        check: &Check,
        started_ns: i64,
        result: ProbeResult,
    ) -> Option<HealthStatus> {
        let before = self.status;
        let is_excused = before == HealthStatus::Starting
            && result.start_ns.saturating_sub(started_ns) < check.start_period.as_nanos() as i64;
        match result.code {
            0 => (self.status, self.failing_streak) = (HealthStatus::Healthy, 0),
            _ if is_excused => {}
            _ => {
                self.failing_streak += 1;
                if self.failing_streak >= check.retries {
                    self.status = HealthStatus::Unhealthy;
                }
            }
        }
        self.log.push(result);
        let excess = self.log.len().saturating_sub(LOG_LENGTH);
        self.log.drain(..excess);
        (self.status != before).then_some(self.status)
    }

    /// How long it is until the next probe, when the container has run for `age`.
    pub(crate) fn pause(&self, check: &Check, age: Duration) -> Duration {
        match self.status == HealthStatus::Starting && age < check.start_period {
            true => check.start_interval,
            false => check.interval,
        }
    }
}

/// Docker's document of what was asked for, over what the image says; `None` if neither says anything.
pub(crate) fn document<S>(config: &Config<S>) -> Option<Healthcheck> {
    let (request, image) = (&config.request.health, config.image_config.healthcheck.as_ref());
    if *request == Default::default() {
        return image.cloned();
    }
    let image = image.cloned().unwrap_or_default();
    let number = |given: Option<i64>, of_image: i64| given.filter(|value| *value != 0).unwrap_or(of_image);
    Some(Healthcheck {
        test: request.test.as_ref().map_or(image.test, HealthTest::words),
        interval: number(request.interval_ns, image.interval),
        timeout: number(request.timeout_ns, image.timeout),
        start_period: number(request.start_period_ns, image.start_period),
        start_interval: number(request.start_interval_ns, image.start_interval),
        retries: number(request.retries, image.retries),
    })
}

impl Check {
    /// What is probed in a container; `None` if nothing is.
    pub fn of<S>(config: &Config<S>) -> Option<Check> {
        let document = document(config)?;
        let given = document.test.get(1..).unwrap_or_default();
        let test = match (&config.request.health.test, document.test.first()?.as_str()) {
            (Some(test @ (HealthTest::Http(..) | HealthTest::Tcp(_))), _) => Test::Network(test.clone()),
            (_, "CMD") if !given.is_empty() => Test::Command(given.to_vec()),
            (_, "CMD-SHELL") => {
                let shell = match &config.image_config.shell[..] {
                    [] => vec!["/bin/sh".to_owned(), "-c".to_owned()],
                    shell => shell.to_vec(),
                };
                Test::Command(shell.into_iter().chain(given.first().cloned()).collect())
            }
            _ => return None,
        };
        let time = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(1..) => Duration::from_nanos(nanos.unsigned_abs()),
            _ => default,
        };
        Some(Check {
            test,
            interval: time(document.interval, INTERVAL),
            timeout: time(document.timeout, TIMEOUT),
            start_period: time(document.start_period, Duration::ZERO),
            start_interval: time(document.start_interval, START_INTERVAL),
            retries: u32::try_from(document.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
            on_failure: config.request.health.on_failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start_period: Duration) -> Check {
        Check {
            test: Test::Command(Vec::new()),
            interval: INTERVAL,
            timeout: TIMEOUT,
            start_period,
            start_interval: START_INTERVAL,
            retries: RETRIES,
            on_failure: OnUnhealthy::Nothing,
        }
    }

    fn result(at_secs: i64, code: i32) -> ProbeResult {
        ProbeResult { start_ns: at_secs * 1_000_000_000, end_ns: 0, code, output: String::new() }
    }

    #[test]
    fn three_failures_in_a_row_are_too_many() {
        let check = check(Duration::ZERO);
        let mut health = Health::default();
        let codes = [1, 1, 0, 1, 2, -1, 1, 0];
        let changes: Vec<_> = codes.iter().map(|code| health.note(&check, 0, result(0, *code))).collect();
        let (healthy, unhealthy) = (Some(HealthStatus::Healthy), Some(HealthStatus::Unhealthy));
        assert_eq!(changes, [None, None, healthy, None, None, unhealthy, None, healthy]);
        assert_eq!((health.log.len(), health.failing_streak), (5, 0));
        assert_eq!(health.log.iter().map(|result| result.code).collect::<Vec<_>>(), [1, 2, -1, 1, 0]);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_has_worked_once() {
        let check = check(Duration::from_secs(60));
        let mut health = Health::default();
        for at in [1, 6, 11, 16] {
            assert_eq!(health.note(&check, 0, result(at, 1)), None);
        }
        assert_eq!(
            (health.failing_streak, health.pause(&check, Duration::from_secs(16))),
            (0, START_INTERVAL)
        );
        assert_eq!(health.note(&check, 0, result(20, 0)), Some(HealthStatus::Healthy));
        assert_eq!(health.pause(&check, Duration::from_secs(20)), INTERVAL);
        health.note(&check, 0, result(21, 1));
        assert_eq!(health.failing_streak, 1);
        let mut late = Health::default();
        late.note(&check, 0, result(61, 1));
        assert_eq!((late.failing_streak, late.pause(&check, Duration::from_secs(61))), (1, INTERVAL));
    }
}

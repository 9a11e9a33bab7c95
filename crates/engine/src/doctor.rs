//! `berth doctor`: what the kernel offers and what berth does without it, and whether what berth keeps is sound.
//!
//! It changes nothing, not even what the next command would put right by itself: everything is looked at by reading.
//! Commands that are at work meanwhile make and remove things step by step, so a fault counts only if it's still there
//! when it's looked for again.
//!
//! - [`kernel`]: what there is of its features
//! - [`store`]: the database, images, volumes, disk space, events
//! - [`claims`]: containers' directories, names, id ranges, control groups, mounts
//! - `network::doctor`: bridges, links, rules

use crate::{Error, Home};
use serde::Serialize;
use std::time::Duration;

mod claims;
pub(crate) mod kernel;
mod store;

/// How long after the first look faults are looked for again: more than a start or a removal takes.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// The kernel or the host doesn't have it, and berth does something else.
    Lacking,
    /// It isn't as it should be.
    Wrong,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// `kernel`, `host`, `state` or `network`; of `network doctor` also `firewall`, `container`, `port`, `name`, `open`.
    pub area: &'static str,
    /// The thing.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// What was found; may be empty.
    pub detail: String,
    /// What berth does instead, or what to do; may be empty.
    pub advice: String,
}

impl Finding {
    pub(crate) fn new(
        area: &'static str,
        name: impl Into<String>,
        status: Status,
        detail: impl Into<String>,
    ) -> Finding {
        Finding { area, name: name.into(), status, detail: detail.into(), advice: String::new() }
    }

    /// With what to do.
    pub(crate) fn advise(self, advice: impl Into<String>) -> Finding {
        Finding { advice: advice.into(), ..self }
    }

    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding::new(STATE, name, Status::Ok, detail)
    }

    fn wrong(name: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { advice: advice.into(), ..Finding::new(STATE, name, Status::Wrong, detail) }
    }
}

const STATE: &str = "state";

/// What `doctor` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Diagnosis {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Of findings.
    pub(crate) fn of(findings: Vec<Finding>) -> Diagnosis {
        let sound = findings.iter().all(|finding| finding.status != Status::Wrong);
        Diagnosis { sound, findings }
    }
}

/// Looks at all of it.
pub fn doctor(home: &Home) -> Result<Diagnosis, Error> {
    let mut findings = kernel::findings(home);
    findings.extend(lasting(|| look(home)));
    Ok(Diagnosis::of(findings))
}

/// What is found; faults only if they are there when it's looked for them again.
pub(crate) fn lasting(look: impl Fn() -> Vec<Finding>) -> Vec<Finding> {
    let first = look();
    if first.iter().all(|finding| finding.status != Status::Wrong) {
        return first;
    }
    std::thread::sleep(SECOND_LOOK);
    // What is wrong must have been wrong before, but for figures such as a disk's free space.
    let lasts = |finding: &Finding| {
        finding.status != Status::Wrong
            || first.iter().any(|first| first.name == finding.name && first.status == finding.status)
    };
    look().into_iter().filter(lasts).collect()
}

/// How the state is. Of each thing that can be wrong there is a finding: one that it's sound, or those of its faults.
fn look(home: &Home) -> Vec<Finding> {
    let (mut findings, records) = store::findings(home);
    findings.extend(claims::findings(home, records.as_deref()));
    findings.extend(crate::network::state(home));
    findings
}

/// `faults`, or that there are none.
fn or_sound(name: &str, detail: impl Into<String>, faults: Vec<Finding>) -> Vec<Finding> {
    if faults.is_empty() { vec![Finding::ok(name, detail)] } else { faults }
}

/// `1 image`, `2 images`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

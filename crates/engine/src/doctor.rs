//! `berth doctor`: what the kernel offers and what berth does without it, and whether what berth keeps is sound.
//!
//! It changes nothing, not even what the next command would put right by itself: everything is looked at by reading.
//! Commands that are at work meanwhile make and remove things step by step, so a fault counts only if it's still there
//! when it's looked for again.
//!
//! - [`kernel`]: what there is of its features
//! - [`store`]: the database, images, volumes, disk space, events
//! - [`claims`]: containers' directories, names, id ranges, control groups, mounts

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
    /// `kernel`, `host` or `state`.
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
    fn new(
        area: &'static str,
        name: impl Into<String>,
        status: Status,
        detail: impl Into<String>,
    ) -> Finding {
        Finding { area, name: name.into(), status, detail: detail.into(), advice: String::new() }
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

/// Looks at all of it.
pub fn doctor(home: &Home) -> Result<Diagnosis, Error> {
    let mut findings = kernel::findings(home);
    let mut state = look(home);
    if state.iter().any(|finding| finding.status == Status::Wrong) {
        std::thread::sleep(SECOND_LOOK);
        let again = look(home);
        // What is wrong must have been wrong before, but for figures such as a disk's free space.
        let lasting = |finding: &Finding| {
            state.iter().any(|first| first.name == finding.name && first.status == finding.status)
        };
        let kept = again.into_iter().filter(|finding| finding.status != Status::Wrong || lasting(finding));
        state = kept.collect();
    }
    findings.extend(state);
    let sound = findings.iter().all(|finding| finding.status != Status::Wrong);
    Ok(Diagnosis { sound, findings })
}

/// How the state is. Of each thing that can be wrong there is a finding: one that it's sound, or those of its faults.
fn look(home: &Home) -> Vec<Finding> {
    let (mut findings, records) = store::findings(home);
    findings.extend(claims::findings(home, records.as_deref()));
    findings
}

/// `faults`, or that there are none.
fn or_sound(name: &str, detail: impl Into<String>, faults: Vec<Finding>) -> Vec<Finding> {
    if faults.is_empty() { vec![Finding::ok(name, detail)] } else { faults }
}

/// `1 image`, `2 images`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

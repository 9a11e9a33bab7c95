//! `berth system shutdown`: all containers stopped before the machine is, so that databases close cleanly.
//!
//! Those that need others go first, all of one level at once. It isn't a user who stops them: what should run after the
//! next boot is started by that one as if the machine had gone down under it.

use crate::find::{self, Container, State};
use crate::request::StopRequest;
use crate::start::needs;
use crate::stop::{By, Outcomes, stop_by};
use crate::{Error, Home};
use std::collections::BTreeMap;

/// Stops all containers; their names, and what became of each. `timeout_secs` stands for their own times until they're
/// killed.
pub fn shutdown(home: &Home, timeout_secs: Option<i64>) -> Result<Outcomes, Error> {
    let runs = |container: &Container| {
        matches!(container.state, State::Running(_) | State::Starting | State::Restarting(_))
    };
    let mut left: Vec<Container> = find::all(home)?.into_iter().filter(runs).collect();
    let mut outcomes = Outcomes::new();
    while !left.is_empty() {
        let is_needed = |one: &Container| left.iter().any(|other| needs(other, one));
        let (mut later, mut now): (Vec<Container>, Vec<Container>) =
            left.clone().into_iter().partition(is_needed);
        if now.is_empty() {
            // In a circle: all at once.
            std::mem::swap(&mut later, &mut now);
        }
        let names: BTreeMap<String, String> =
            now.iter().map(|one| (one.config.id.clone(), one.config.name.clone())).collect();
        let request = StopRequest { containers: names.keys().cloned().collect(), signal: None, timeout_secs };
        for (id, result) in stop_by(home, &request, By::Shutdown) {
            let name = names.get(&id).cloned().unwrap_or(id);
            match result {
                // It ended by itself, and took all of itself along.
                Err(Error::NoContainer { .. }) => {}
                result => outcomes.push((name, result)),
            }
        }
        left = later;
    }
    Ok(outcomes)
}

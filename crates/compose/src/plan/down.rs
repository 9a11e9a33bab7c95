//! What has to be done so that nothing of a project is left.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Actual, After, Condition, Container, Plan, Planner, Reason, UpOptions};
use crate::labels;
use crate::model::Project;

/// How `down` goes about it.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// Services that are meant; none are all, and then networks go too.
    pub services: Vec<String>,
    /// `-v`: volumes go too, with all that is in them.
    pub volumes: bool,
    /// `--remove-orphans`.
    pub remove_orphans: bool,
    /// `--rmi`: images that go too, by reference.
    pub images: Vec<String>,
}

/// Plans `down`: containers are stopped and removed, each before what it depends on; then networks and volumes go.
///
/// What belongs to the project is told by its labels, so that what an earlier version of the files made goes as well.
pub fn plan_down(project: &Project, actual: &Actual, options: &DownOptions) -> Plan {
    let up = UpOptions::default();
    let mut planner = Planner {
        project,
        actual,
        options: &up,
        steps: Vec::new(),
        waits: Vec::new(),
        resources: BTreeMap::new(),
        ready: BTreeMap::new(),
        remade: BTreeSet::new(),
    };
    let is_meant = |container: &&Container| {
        let name = container.service();
        let is_known = project.services.contains_key(name) || project.disabled.contains_key(name);
        match options.services.is_empty() {
            true => is_known || options.remove_orphans || project.services.is_empty(),
            false => options.services.iter().any(|it| it == name),
        }
    };
    // What depends on a service goes first.
    let mut order = project.start_order();
    order.reverse();
    let place = |container: &Container| order.iter().position(|it| it == container.service()).unwrap_or(0);
    let mut containers: Vec<&Container> = actual.containers.iter().filter(is_meant).collect();
    containers.sort_by_key(|container| (place(container), container.number()));
    let mut gone: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for container in containers {
        let dependents = project
            .services
            .iter()
            .filter(|(_, service)| service.depends_on.contains_key(container.service()))
            .filter_map(|(name, _)| gone.get(name));
        let after: Vec<After> = dependents
            .flatten()
            .map(|&step| After { step, condition: Condition::Done, required: false })
            .collect();
        let first = planner.steps.len();
        planner.remove(container, Reason::Asked);
        if let Some(step) = planner.steps.get_mut(first) {
            step.after.extend(after);
        }
        gone.entry(container.service().to_owned()).or_default().push(planner.steps.len() - 1);
    }
    if !options.services.is_empty() {
        return Plan { project: project.name.clone(), steps: planner.steps, waits: Vec::new() };
    }
    let after: Vec<After> = gone
        .values()
        .flatten()
        .map(|&step| After { step, condition: Condition::Done, required: true })
        .collect();
    let own = |labels: &BTreeMap<String, String>| labels.get(labels::PROJECT) == Some(&project.name);
    for (name, _) in actual.networks.iter().filter(|(_, network)| own(&network.labels)) {
        planner.step(Action::RemoveNetwork { name: name.clone() }, Reason::Asked, after.clone());
    }
    if options.volumes {
        for (name, _) in actual.volumes.iter().filter(|(_, volume)| own(&volume.labels)) {
            planner.step(Action::RemoveVolume { name: name.clone() }, Reason::Asked, after.clone());
        }
    }
    for name in &options.images {
        planner.step(Action::RemoveImage { name: name.clone() }, Reason::Asked, after.clone());
    }
    Plan { project: project.name.clone(), steps: planner.steps, waits: Vec::new() }
}

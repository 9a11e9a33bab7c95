//! What has to be done so that what there is becomes what a project wants: a graph of steps, each with its reason.
//!
//! Pure: the caller says what there is, and does the steps. If nothing has to be done, the plan is empty.
//! Source: docker compose's pkg/compose/convergence.go for what makes a container another one.

mod change;
mod down;
mod render;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use change::{Change, changes};
pub use down::{DownOptions, plan_down};

use crate::labels;
use crate::model::{Project, Service};
use crate::out::Form;

/// What there is of a project.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// Its containers, also those that aren't running.
    pub containers: Vec<Container>,
    /// Networks of any project, by name.
    pub networks: BTreeMap<String, Resource>,
    /// Volumes of any project, by name.
    pub volumes: BTreeMap<String, Resource>,
    /// Ids of the images that services want, by reference. One that isn't here is pulled or built first.
    pub images: BTreeMap<String, String>,
}

/// A container that is there.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels, which say whose it is.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub state: State,
    /// The id of its image.
    pub image: String,
    /// Names of the networks that it is on.
    pub networks: BTreeSet<String>,
    /// The model that it was made from, as JSON, if that was kept.
    pub model: Option<String>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was made, and never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It is paused.
    Paused,
    /// It is about to start again.
    Restarting,
    /// It has ended.
    Exited,
}

impl State {
    /// Whether its program is there.
    pub fn is_up(self) -> bool {
        matches!(self, State::Running | State::Restarting | State::Paused)
    }
}

/// A network or volume that is there.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Container {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The service that it is of.
    pub fn service(&self) -> &str {
        self.label(labels::SERVICE)
    }

    /// Which one of its service's it is, from 1.
    pub fn number(&self) -> u32 {
        self.label(labels::NUMBER).parse().unwrap_or_default()
    }

    /// Whether it was made by `compose run`.
    pub fn is_one_off(&self) -> bool {
        self.label(labels::ONE_OFF).eq_ignore_ascii_case("true")
    }
}

/// When a container that differs from what is wanted is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// When it differs.
    #[default]
    Changed,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How `up` goes about it.
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// When containers of the services that were named are made anew.
    pub recreate: Recreate,
    /// The same for those that they depend on.
    pub recreate_dependencies: Recreate,
    /// The services that were named; none are all.
    pub services: Vec<String>,
    /// How many containers, instead of what the model says.
    pub scale: BTreeMap<String, u32>,
    /// Whether containers of services that the project hasn't are removed.
    pub remove_orphans: bool,
    /// Whether volumes without a name are made anew with their container.
    pub renew_anonymous_volumes: bool,
    /// Whether containers are only made, not started.
    pub no_start: bool,
    /// What stands between the parts of a container's name: `-`, or `_` for `--compatibility`.
    pub separator: Option<char>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// A network is made.
    CreateNetwork {
        /// Its key in the project.
        key: String,
        /// Its name.
        name: String,
    },
    /// A network goes.
    RemoveNetwork {
        /// Its name.
        name: String,
    },
    /// A volume is made.
    CreateVolume {
        /// Its key in the project.
        key: String,
        /// Its name.
        name: String,
    },
    /// A volume goes, with all that is in it.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// A container is made.
    Create {
        /// Its service.
        service: String,
        /// Which one.
        number: u32,
        /// Its name.
        name: String,
    },
    /// A container is made in the place of another, which goes.
    Recreate {
        /// Its service.
        service: String,
        /// Which one.
        number: u32,
        /// Its name.
        name: String,
        /// The id of the one that goes.
        old: String,
        /// Whether volumes without a name are taken over from it.
        keep_anonymous_volumes: bool,
    },
    /// A container is started.
    Start {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
    },
    /// A container is started again, because one that it depends on was made anew.
    Restart {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// A container is stopped.
    Stop {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// A container goes.
    Remove {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// An image goes.
    RemoveImage {
        /// Its reference.
        name: String,
    },
}

/// Why a step is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// It isn't there.
    Missing,
    /// What makes it is another model now.
    Changed {
        /// What differs; nothing if the old model wasn't kept.
        changes: Vec<Change>,
    },
    /// Its image is another one now.
    Image {
        /// The id of the old one.
        from: String,
        /// The id of the new one.
        to: String,
    },
    /// It isn't on a network that it should be on.
    Network {
        /// Its name.
        network: String,
    },
    /// It shares namespaces or mounts with a container that is made anew.
    Shares {
        /// The other's service.
        service: String,
    },
    /// One that it depends on is made anew.
    Dependency {
        /// The other's service.
        service: String,
    },
    /// It was asked for.
    Asked,
    /// It isn't running.
    NotRunning {
        /// What it does.
        state: State,
    },
    /// There are more than are wanted.
    Scale {
        /// How many are wanted.
        wanted: u32,
    },
    /// No service of the project is its own.
    Orphan,
}

/// What must have happened before a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The other step is done.
    Done,
    /// The container of the other step is healthy.
    Healthy,
    /// The container of the other step has ended with status 0.
    Completed,
}

/// One step before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct After {
    /// The index of the other step.
    pub step: usize,
    /// What must have happened to it.
    pub condition: Condition,
    /// Whether this step can't be done without.
    pub required: bool,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub because: Reason,
    /// What comes first.
    pub after: Vec<After>,
}

/// A container that is waited for though nothing is done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// The service that waits.
    pub service: String,
    /// The service that is waited for.
    pub on: String,
    /// Names of its containers.
    pub containers: Vec<String>,
    /// What must have happened to them.
    pub condition: Condition,
    /// Whether the service that waits can't do without.
    pub required: bool,
}

/// All steps, each behind those that it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Containers that steps wait for and that stay as they are.
    pub waits: Vec<Wait>,
}

impl Plan {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Plans `up`: what is missing is made, what differs is made anew, what is too much goes. Services come behind those that
/// they depend on.
pub fn plan_up(project: &Project, actual: &Actual, options: &UpOptions) -> Plan {
    let mut planner = Planner {
        project,
        actual,
        options,
        steps: Vec::new(),
        waits: Vec::new(),
        resources: BTreeMap::new(),
        ready: BTreeMap::new(),
        remade: BTreeSet::new(),
    };
    planner.resources();
    for name in project.start_order() {
        if let Some(service) = project.services.get(&name) {
            planner.service(&name, service);
        }
    }
    if options.remove_orphans {
        planner.orphans();
    }
    Plan { project: project.name.clone(), steps: planner.steps, waits: planner.waits }
}

struct Planner<'a> {
    project: &'a Project,
    actual: &'a Actual,
    options: &'a UpOptions,
    steps: Vec<Step>,
    waits: Vec<Wait>,
    /// Steps that make networks and volumes, by name.
    resources: BTreeMap<String, usize>,
    /// Steps behind which the containers of a service run.
    ready: BTreeMap<String, Vec<usize>>,
    /// Services of which a container is made anew.
    remade: BTreeSet<String>,
}

impl Planner<'_> {
    fn step(&mut self, action: Action, because: Reason, after: Vec<After>) -> usize {
        self.steps.push(Step { action, because, after });
        self.steps.len() - 1
    }

    fn resources(&mut self) {
        for (key, network) in self.project.networks.iter().filter(|(_, network)| !network.external) {
            if !self.actual.networks.contains_key(&network.name) {
                let action = Action::CreateNetwork { key: key.clone(), name: network.name.clone() };
                let step = self.step(action, Reason::Missing, Vec::new());
                self.resources.insert(format!("network {}", network.name), step);
            }
        }
        for (key, volume) in self.project.volumes.iter().filter(|(_, volume)| !volume.external) {
            if !self.actual.volumes.contains_key(&volume.name) {
                let action = Action::CreateVolume { key: key.clone(), name: volume.name.clone() };
                let step = self.step(action, Reason::Missing, Vec::new());
                self.resources.insert(format!("volume {}", volume.name), step);
            }
        }
    }

    /// The names of the networks that a service is on.
    fn networks_of(&self, service: &Service) -> Vec<String> {
        let names = service.networks.keys().filter_map(|key| self.project.networks.get(key));
        names.map(|network| network.name.clone()).collect()
    }

    fn service(&mut self, name: &str, service: &Service) {
        let wanted = self
            .options
            .scale
            .get(name)
            .copied()
            .unwrap_or_else(|| u32::try_from(service.replicas()).unwrap_or_default());
        let mut containers: Vec<&Container> = self
            .actual
            .containers
            .iter()
            .filter(|container| container.service() == name && !container.is_one_off())
            .collect();
        let reasons: BTreeMap<&str, Option<Reason>> =
            containers.iter().map(|it| (it.id.as_str(), self.difference(name, service, it))).collect();
        // Of too many, those go first that would be made anew, then the highest numbers.
        containers.sort_by_key(|it| (reasons[it.id.as_str()].is_some(), it.number()));
        let too_many = containers.split_off(containers.len().min(wanted as usize));
        let next = containers.iter().chain(&too_many).map(|it| it.number()).max().unwrap_or_default() + 1;
        for container in too_many {
            self.remove(container, Reason::Scale { wanted });
        }
        let after = self.before(name, service);
        let mut ready = Vec::new();
        containers.sort_by_key(|container| container.number());
        for container in &containers {
            match &reasons[container.id.as_str()] {
                Some(reason) => {
                    let action = Action::Recreate {
                        service: name.to_owned(),
                        number: container.number(),
                        name: self.container_name(name, service, container.number()),
                        old: container.id.clone(),
                        keep_anonymous_volumes: !self.options.renew_anonymous_volumes,
                    };
                    let step = self.step(action, reason.clone(), after.clone());
                    self.remade.insert(name.to_owned());
                    ready.extend(self.start(name, service, container.number(), step));
                }
                None => ready.extend(self.keep(name, service, container, &after)),
            }
        }
        for number in (next..).take((wanted as usize).saturating_sub(containers.len())) {
            let container_name = self.container_name(name, service, number);
            let action = Action::Create { service: name.to_owned(), number, name: container_name };
            let step = self.step(action, Reason::Missing, after.clone());
            ready.extend(self.start(name, service, number, step));
        }
        self.ready.insert(name.to_owned(), ready);
    }

    /// Starts what was made.
    fn start(&mut self, name: &str, service: &Service, number: u32, made: usize) -> Option<usize> {
        if self.options.no_start {
            return None;
        }
        let name = name.to_owned();
        let container = self.container_name(&name, service, number);
        let after = vec![After { step: made, condition: Condition::Done, required: true }];
        Some(self.step(Action::Start { service: name, name: container }, Reason::Missing, after))
    }

    /// Leaves a container as it is, but for its being up.
    fn keep(
        &mut self,
        name: &str,
        service: &Service,
        container: &Container,
        after: &[After],
    ) -> Option<usize> {
        if self.options.no_start {
            return None;
        }
        let (service_name, container_name) = (name.to_owned(), container.name.clone());
        if !container.state.is_up() {
            let action = Action::Start { service: service_name, name: container_name };
            let reason = Reason::NotRunning { state: container.state };
            return Some(self.step(action, reason, after.to_vec()));
        }
        let restarts = |other: &&String| service.depends_on[*other].restart && self.remade.contains(*other);
        let cause = service.depends_on.keys().find(restarts)?.clone();
        let action =
            Action::Restart { service: service_name, name: container_name, id: container.id.clone() };
        Some(self.step(action, Reason::Dependency { service: cause }, after.to_vec()))
    }

    /// What a container of a service waits for.
    fn before(&mut self, name: &str, service: &Service) -> Vec<After> {
        let mut after = Vec::new();
        let volumes = service.volumes.iter().filter(|mount| mount.kind == "volume");
        let volumes = volumes.filter_map(|mount| self.project.volumes.get(&mount.source));
        let names = self.networks_of(service).into_iter().map(|name| format!("network {name}"));
        for resource in names.chain(volumes.map(|volume| format!("volume {}", volume.name))) {
            if let Some(&step) = self.resources.get(&resource) {
                after.push(After { step, condition: Condition::Done, required: true });
            }
        }
        for (other, how) in &service.depends_on {
            let condition = match how.condition.as_str() {
                "service_healthy" => Condition::Healthy,
                "service_completed_successfully" => Condition::Completed,
                _ => Condition::Done,
            };
            let required = how.required.0;
            let steps = self.ready.get(other).cloned().unwrap_or_default();
            after.extend(steps.iter().map(|&step| After { step, condition, required }));
            if condition == Condition::Done {
                continue;
            }
            let started: BTreeSet<&str> =
                steps.iter().map(|&step| step_container(&self.steps[step])).collect();
            let kept = self.actual.containers.iter().filter(|it| it.service() == other && !it.is_one_off());
            let containers: Vec<String> =
                kept.map(|it| it.name.clone()).filter(|name| !started.contains(name.as_str())).collect();
            if !containers.is_empty() {
                let (service, on) = (name.to_owned(), other.clone());
                self.waits.push(Wait { service, on, containers, condition, required });
            }
        }
        after.sort();
        after.dedup();
        after
    }

    /// Why a container has to be made anew, if it has to be.
    fn difference(&self, name: &str, service: &Service, container: &Container) -> Option<Reason> {
        let is_named = self.options.services.is_empty() || self.options.services.iter().any(|it| it == name);
        match if is_named { self.options.recreate } else { self.options.recreate_dependencies } {
            Recreate::Never => return None,
            Recreate::Always => return Some(Reason::Asked),
            Recreate::Changed => {}
        }
        let hash = service.hash();
        if container.label(labels::CONFIG_HASH) != hash {
            let wanted = service.container_part().out(Form::Json);
            let changes = container.model.as_deref().map(|old| changes(old, &wanted)).unwrap_or_default();
            return Some(Reason::Changed { changes });
        }
        if let Some(image) = self.actual.images.get(&service.image_name(&self.project.name, name))
            && !container.image.is_empty()
            && *image != container.image
        {
            return Some(Reason::Image { from: container.image.clone(), to: image.clone() });
        }
        let networks = self.networks_of(service);
        if let Some(network) = networks.into_iter().find(|network| !container.networks.contains(network)) {
            return Some(Reason::Network { network });
        }
        let other = service.shares_with().into_iter().find(|other| self.remade.contains(*other))?;
        Some(Reason::Shares { service: other.to_owned() })
    }

    fn container_name(&self, name: &str, service: &Service, number: u32) -> String {
        service.container_name(&self.project.name, name, number, self.options.separator.unwrap_or('-'))
    }

    fn remove(&mut self, container: &Container, reason: Reason) {
        let (service, name, id) =
            (container.service().to_owned(), container.name.clone(), container.id.clone());
        let mut after = Vec::new();
        if container.state.is_up() {
            let action = Action::Stop { service: service.clone(), name: name.clone(), id: id.clone() };
            let step = self.step(action, reason.clone(), Vec::new());
            after.push(After { step, condition: Condition::Done, required: true });
        }
        self.step(Action::Remove { service, name, id }, reason, after);
    }

    fn orphans(&mut self) {
        for container in orphans(self.project, self.actual) {
            self.remove(container, Reason::Orphan);
        }
    }
}

/// Containers of the project whose service it hasn't, not even disabled.
pub fn orphans<'a>(project: &Project, actual: &'a Actual) -> Vec<&'a Container> {
    let is_known = |name: &str| project.services.contains_key(name) || project.disabled.contains_key(name);
    actual.containers.iter().filter(|it| !is_known(it.service()) && !it.is_one_off()).collect()
}

/// The container that a step is about.
fn step_container(step: &Step) -> &str {
    match &step.action {
        Action::Create { name, .. }
        | Action::Recreate { name, .. }
        | Action::Start { name, .. }
        | Action::Restart { name, .. }
        | Action::Stop { name, .. }
        | Action::Remove { name, .. } => name,
        _ => "",
    }
}

impl Service {
    /// Services whose namespaces or mounts it has too.
    pub fn shares_with(&self) -> Vec<&str> {
        let modes = [&self.network_mode, &self.ipc, &self.pid, &self.uts, &self.cgroup];
        let namespaces = modes.into_iter().filter_map(|mode| mode.strip_prefix("service:"));
        let mounts = self.volumes_from.iter().filter(|from| !from.starts_with("container:"));
        namespaces.chain(mounts.filter_map(|from| from.split(':').next())).collect()
    }

    /// Its image, or what the image that is built for it is called.
    pub fn image_name(&self, project: &str, name: &str) -> String {
        if self.image.is_empty() { format!("{project}-{name}") } else { self.image.clone() }
    }

    /// The name of one of its containers.
    pub fn container_name(&self, project: &str, name: &str, number: u32, separator: char) -> String {
        match self.container_name.as_str() {
            "" => format!("{project}{separator}{name}{separator}{number}"),
            own => own.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether the parts of a project fit each other: references, cycles, values that are said twice. Source: compose-go's
//! loader/validate.go; unlike there, everything is found.

use std::collections::BTreeMap;

use crate::fault::{Fault, did_you_mean};
use crate::model::{Project, Service};
use crate::node::{Mark, Node};

/// Appends what doesn't fit. `scale` is carried over to `deploy.replicas`, as compose does.
pub fn check(project: &mut Project, tree: &Node, faults: &mut Vec<Fault>) {
    let mut checker = Checker { project, tree, faults };
    for (name, service) in &project.services {
        checker.build(name, service);
        checker.networks(name, service);
        checker.references(name, service);
        checker.limits(name, service);
        checker.mounts(name, service);
    }
    for (name, secret) in &project.secrets {
        let secret = &secret.0;
        let has_none = secret.file.is_empty() && secret.environment.is_empty();
        if has_none && !secret.external {
            let message = format!("secret \"{name}\" must declare either `file` or `environment`");
            checker.fault(&["secrets", name], message);
        }
    }
    checker.cycles();
    checker.container_names();
    for service in project.services.values_mut() {
        if let (Some(scale), Some(deploy)) = (service.scale, &mut service.deploy) {
            deploy.replicas = Some(scale);
        }
    }
}

struct Checker<'a> {
    project: &'a Project,
    tree: &'a Node,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    /// The place of the deepest part of `path` that the files have.
    fn mark(&self, path: &[&str]) -> Mark {
        let mut node = self.tree;
        let mut mark = Mark::default();
        for key in path {
            let next = match key.parse::<usize>() {
                Ok(index) if node.as_list().is_some() => node.as_list().and_then(|list| list.get(index)),
                _ => node.get(key),
            };
            let Some(next) = next else { break };
            node = next;
            mark = if node.mark().line > 0 { node.mark() } else { mark };
        }
        mark
    }

    fn fault(&mut self, path: &[&str], message: String) {
        self.faults.push(Fault::at(self.mark(path), message));
    }

    /// A name that refers to nothing, with one that is like it.
    fn undefined<'k>(
        &mut self,
        path: &[&str],
        message: String,
        name: &str,
        known: impl IntoIterator<Item = &'k String>,
    ) {
        let fault = Fault::at(self.mark(path), message);
        let near = did_you_mean(name, known.into_iter().map(String::as_str));
        self.faults.push(match near {
            Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
            None => fault,
        });
    }

    fn build(&mut self, name: &str, service: &Service) {
        let Some(build) = &service.build else {
            if service.image.is_empty() && service.provider.is_none() {
                let message =
                    format!("service \"{name}\" has neither an image nor a build context specified");
                self.fault(&["services", name], message);
            }
            return;
        };
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            let message =
                format!("service \"{name}\" declares mutually exclusive dockerfile and dockerfile_inline");
            self.fault(&["services", name, "build"], message);
        }
        for (context, value) in &build.additional_contexts.0 {
            let Some(target) = value.strip_prefix("service:") else { continue };
            let problem = match self.project.services.get(target) {
                None => "unknown",
                Some(target) if target.build.is_none() => "non-buildable",
                Some(_) => continue,
            };
            let message = format!(
                "service \"{name}\" declares {problem} service \"{target}\" as additional contexts {context}"
            );
            self.fault(&["services", name, "build", "additional_contexts"], message);
        }
        if !build.platforms.is_empty()
            && !service.platform.is_empty()
            && !build.platforms.contains(&service.platform)
        {
            let message =
                format!("services.{name}: build.platforms must include platform \"{}\"", service.platform);
            self.fault(&["services", name, "build", "platforms"], message);
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                let source = &secret.source;
                let message = format!("service \"{name}\" refers to undefined build secret {source}");
                let known = &self.project.secrets;
                self.undefined(&["services", name, "build", "secrets"], message, source, known.keys());
            }
        }
    }

    fn networks(&mut self, name: &str, service: &Service) {
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            let message = format!("service {name} declares mutually exclusive `network_mode` and `networks`");
            self.fault(&["services", name, "network_mode"], message);
        }
        let project = self.project;
        for network in service.networks.keys().filter(|network| !project.networks.contains_key(*network)) {
            let message = format!("service \"{name}\" refers to undefined network {network}");
            self.undefined(
                &["services", name, "networks", network],
                message,
                network,
                project.networks.keys(),
            );
        }
        if let Some(target) = service.network_mode.strip_prefix("service:")
            && !project.services.contains_key(target)
        {
            let message = format!("service \"{target}\" not found for network_mode 'service:{target}'");
            self.undefined(&["services", name, "network_mode"], message, target, project.services.keys());
        }
    }

    fn references(&mut self, name: &str, service: &Service) {
        let project = self.project;
        if let Some(health) = &service.healthcheck
            && let Some(first) = health.test.0.first()
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            let message = format!(
                "services.{name}: healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\""
            );
            self.fault(&["services", name, "healthcheck", "test"], message);
        }
        for (other, how) in &service.depends_on {
            let is_optional = project.disabled.contains_key(other) && !how.required.0;
            if !project.services.contains_key(other) && !is_optional {
                let message = format!("service \"{name}\" depends on undefined service \"{other}\"");
                self.undefined(
                    &["services", name, "depends_on", other],
                    message,
                    other,
                    project.services.keys(),
                );
            }
        }
        for (index, mount) in service.volumes.iter().enumerate() {
            let source = &mount.source;
            if mount.kind == "volume" && !source.is_empty() && !project.volumes.contains_key(source) {
                let message = format!("service \"{name}\" refers to undefined volume {source}");
                let path = ["services", name, "volumes", &index.to_string()];
                self.undefined(&path, message, source, project.volumes.keys());
            }
            if mount.kind == "bind" && source.is_empty() {
                let message = format!("services.{name}.volumes: a mount of type bind must have a source");
                self.fault(&["services", name, "volumes", &index.to_string()], message);
            }
        }
        for config in service.configs.iter().filter(|config| !project.configs.contains_key(&config.source)) {
            let message = format!("service \"{name}\" refers to undefined config {}", config.source);
            self.undefined(&["services", name, "configs"], message, &config.source, project.configs.keys());
        }
        for secret in service.secrets.iter().filter(|secret| !project.secrets.contains_key(&secret.source)) {
            let message = format!("service \"{name}\" refers to undefined secret {}", secret.source);
            self.undefined(&["services", name, "secrets"], message, &secret.source, project.secrets.keys());
        }
        for model in service.models.keys().filter(|model| !project.models.contains_key(*model)) {
            let message = format!("service \"{name}\" refers to undefined model {model}");
            self.undefined(&["services", name, "models"], message, model, project.models.keys());
        }
    }

    fn limits(&mut self, name: &str, service: &Service) {
        let deploy = service.deploy.as_ref();
        let replicas = deploy.and_then(|deploy| deploy.replicas);
        let limits = deploy.and_then(|deploy| deploy.resources.limits.as_ref());
        let reservations = deploy.and_then(|deploy| deploy.resources.reservations.as_ref());
        let mut twice = |differ: bool, own: &str, other: &str| {
            if differ {
                let message = format!("services.{name}: can't set distinct values on '{own}' and '{other}'");
                self.fault(&["services", name, own], message);
            }
        };
        let distinct = |own: i64, other: Option<i64>| own != 0 && other.is_some_and(|other| other != own);
        let pair = service.scale.zip(replicas);
        twice(pair.is_some_and(|(scale, replicas)| scale != replicas), "scale", "deploy.replicas");
        let cpus = limits.map(|limits| limits.cpus);
        twice(
            service.cpus != 0.0 && cpus.is_some_and(|cpus| cpus != service.cpus),
            "cpus",
            "deploy.resources.limits.cpus",
        );
        let memory = limits.map(|limits| limits.memory.0);
        twice(distinct(service.mem_limit.0, memory), "mem_limit", "deploy.resources.limits.memory");
        let reserved = reservations.map(|reservations| reservations.memory.0);
        twice(
            distinct(service.mem_reservation.0, reserved),
            "mem_reservation",
            "deploy.resources.reservations.memory",
        );
        let pids = limits.map(|limits| limits.pids);
        twice(distinct(service.pids_limit, pids), "pids_limit", "deploy.resources.limits.pids");
        if service.scale.is_some_and(|scale| scale < 0) {
            let message = format!("services.{name}.scale: must be greater than or equal to 0");
            self.fault(&["services", name, "scale"], message);
        }
        if replicas.is_some_and(|replicas| replicas < 0) {
            let message = format!("services.{name}.deploy.replicas: must be greater than or equal to 0");
            self.fault(&["services", name, "deploy", "replicas"], message);
        }
        if service.replicas() > 1 && !service.container_name.is_empty() {
            let attribute = if service.scale.is_some() { "scale" } else { "deploy.replicas" };
            let message = format!(
                "services.{name}: can't set container_name and {attribute} as container name must be unique"
            );
            self.fault(&["services", name, "container_name"], message);
        }
    }

    fn mounts(&mut self, name: &str, service: &Service) {
        for watch in service.develop.iter().flat_map(|develop| &develop.watch) {
            if watch.target.is_empty() && !matches!(watch.action.as_str(), "rebuild" | "restart") {
                let message =
                    format!("services.{name}.develop.watch: target is required for non-rebuild actions");
                self.fault(&["services", name, "develop", "watch"], message);
            }
        }
        let mut taken: BTreeMap<&str, String> = BTreeMap::new();
        let tmpfs = service.tmpfs.iter().map(|spec| spec.split(':').next().unwrap_or_default());
        let targets = tmpfs.enumerate().map(|(index, target)| ("tmpfs", index, target));
        let volumes = service
            .volumes
            .iter()
            .enumerate()
            .map(|(index, mount)| ("volumes", index, mount.target.as_str()));
        for (key, index, target) in targets.chain(volumes) {
            let place = format!("services.{name}.{key}[{index}]");
            if let Some(first) = taken.get(target) {
                let message = format!("{place}: target {target} already mounted as {first}");
                self.fault(&["services", name, key, &index.to_string()], message);
            } else {
                taken.insert(target, place);
            }
        }
    }

    /// Services that wait for themselves.
    fn cycles(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            Open,
            Done,
        }
        fn visit<'a>(
            name: &'a str,
            project: &'a Project,
            states: &mut BTreeMap<&'a str, State>,
            way: &mut Vec<&'a str>,
        ) -> Option<Vec<&'a str>> {
            match states.get(name) {
                Some(State::Done) => return None,
                Some(State::Open) => {
                    let start = way.iter().position(|step| *step == name)?;
                    return Some([&way[start..], &[name]].concat());
                }
                None => {}
            }
            let service = project.services.get(name)?;
            states.insert(name, State::Open);
            way.push(name);
            let cycle = service.depends_on.keys().find_map(|next| visit(next, project, states, way));
            way.pop();
            states.insert(name, State::Done);
            cycle
        }
        let project = self.project;
        let mut states = BTreeMap::new();
        for name in project.services.keys() {
            if let Some(cycle) = visit(name, project, &mut states, &mut Vec::new()) {
                let message = format!("dependency cycle detected: {}", cycle.join(" -> "));
                let (first, second) = (cycle[0], cycle.get(1).copied().unwrap_or(cycle[0]));
                self.fault(&["services", first, "depends_on", second], message);
            }
        }
    }

    fn container_names(&mut self) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, service) in
            self.project.services.iter().filter(|(_, service)| !service.container_name.is_empty())
        {
            if let Some(first) = taken.insert(&service.container_name, name) {
                let container = &service.container_name;
                let message = format!(
                    "services.{name}: container name \"{container}\" is already in use by service {first}"
                );
                self.fault(&["services", name, "container_name"], message);
            }
        }
    }
}

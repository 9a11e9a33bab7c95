//! Does the steps of a plan, one after the other, and says so in docker compose's words.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use compose::labels;
use compose::model::{Hook, Project, Service};
use compose::plan::{Action, Condition, Plan};
use compose::{ContainerFile, Form};
use engine::find;
use engine::health::HealthStatus;
use engine::request::{
    CopyEnd, CopyRequest, EnvChange, ExecRequest, LogsRequest, RmRequest, RunRequest, StartRequest,
    StopRequest, VolumeCreateRequest,
};

use super::state::{self, Found};
use crate::backend;
use crate::commands::{network, run};
use crate::failure::Failure;
use crate::flags::{self, Asked};

/// How often a container is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Does the steps of plans for one project.
pub struct Act<'a> {
    /// The project.
    pub project: &'a Project,
    /// What there was when the plan was made.
    pub found: &'a Found,
    /// What stands between the parts of a container's name.
    pub separator: char,
    /// Whether nothing is said.
    pub quiet: bool,
    /// Seconds until containers are killed; else their own.
    pub timeout_secs: Option<i64>,
    /// Whether volumes without a name go with their containers.
    pub remove_volumes: bool,
    /// Names of the containers of each service.
    names: BTreeMap<String, Vec<String>>,
    /// Containers that are made when they are started.
    waiting: BTreeMap<String, RunRequest>,
    /// Ids of images.
    images: BTreeMap<String, String>,
}

impl<'a> Act<'a> {
    /// Ready to do the steps of `plan`.
    pub fn new(project: &'a Project, found: &'a Found, plan: &Plan, separator: char) -> Act<'a> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for container in &found.actual.containers {
            names.entry(container.service().to_owned()).or_default().push(container.name.clone());
        }
        for step in &plan.steps {
            if let Action::Create { service, name, .. } = &step.action {
                names.entry(service.clone()).or_default().push(name.clone());
            }
        }
        names.values_mut().for_each(|names| names.sort_by_key(|name| (name.len(), name.clone())));
        Act {
            project,
            found,
            separator,
            quiet: false,
            timeout_secs: None,
            remove_volumes: false,
            names,
            waiting: BTreeMap::new(),
            images: found.actual.images.clone(),
        }
    }

    fn say(&self, what: &str, name: &str, state: &str) {
        if !self.quiet {
            eprintln!(" {what} {}  {state}", engine::inert(name));
        }
    }

    /// Does all steps. With `only_made`, containers aren't started.
    ///
    /// Errors: the first step that fails; those before it are done, and the next `up` goes on from there.
    pub fn all(&mut self, plan: &Plan, only_made: bool) -> Result<(), Failure> {
        for step in &plan.steps {
            for after in step.after.iter().filter(|after| after.condition != Condition::Done) {
                if let Action::Start { name, .. } | Action::Restart { name, .. } =
                    &plan.steps[after.step].action
                {
                    await_condition(name, after.condition, after.required)?;
                }
            }
            self.await_kept(plan, &step.action)?;
            self.step(&step.action, only_made)?;
        }
        Ok(())
    }

    /// Does the steps of a plan that only takes away: what doesn't wait for each other is stopped and removed at once.
    ///
    /// Errors: the first of a step that fails, after those that could be done beside it.
    pub fn take_away(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut done = vec![false; plan.steps.len()];
        loop {
            let is_ready =
                |index: &usize| !done[*index] && plan.steps[*index].after.iter().all(|it| done[it.step]);
            let ready: Vec<usize> = (0..plan.steps.len()).filter(is_ready).collect();
            if ready.is_empty() {
                return Ok(());
            }
            let mut stopped = Vec::new();
            let mut removed = Vec::new();
            for &index in &ready {
                match &plan.steps[index].action {
                    Action::Stop { service, name, id } => {
                        self.say("Container", name, "Stopping");
                        self.hooks(service, name, |service| &service.pre_stop)?;
                        stopped.push((name, id.clone()));
                    }
                    Action::Remove { name, id, .. } => {
                        self.say("Container", name, "Removing");
                        removed.push((name, id.clone()));
                    }
                    other => self.step(other, false)?,
                }
            }
            let ids = |of: &[(&String, String)]| of.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
            if !stopped.is_empty() {
                let timeout_secs = self.timeout_secs;
                let request =
                    StopRequest { containers: ids(&stopped), timeout_secs, ..StopRequest::default() };
                outcomes(backend::stop(&request)?)?;
                stopped.iter().for_each(|(name, _)| self.say("Container", name, "Stopped"));
            }
            if !removed.is_empty() {
                let volumes = self.remove_volumes;
                outcomes(backend::rm(&RmRequest { containers: ids(&removed), force: true, volumes })?)?;
                removed.iter().for_each(|(name, _)| self.say("Container", name, "Removed"));
            }
            ready.into_iter().for_each(|index| done[index] = true);
        }
    }

    /// Waits for containers that stay as they are.
    fn await_kept(&self, plan: &Plan, action: &Action) -> Result<(), Failure> {
        let (Action::Create { service, .. }
        | Action::Recreate { service, .. }
        | Action::Start { service, .. }) = action
        else {
            return Ok(());
        };
        for wait in plan.waits.iter().filter(|wait| wait.service == *service) {
            for name in &wait.containers {
                await_condition(name, wait.condition, wait.required)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, action: &Action, only_made: bool) -> Result<(), Failure> {
        match action {
            Action::CreateNetwork { key, name } => self.create_network(key, name),
            Action::CreateVolume { key, name } => self.create_volume(key, name),
            Action::Create { service, number, name } => {
                let request = self.request(service, *number, &[])?;
                self.make(service, name, request, only_made)
            }
            Action::Recreate { service, number, name, old, keep_anonymous_volumes } => {
                let kept = if *keep_anonymous_volumes { self.found.anonymous.get(old) } else { None };
                let request = self.request(service, *number, kept.map_or(&[][..], Vec::as_slice))?;
                self.recreate(service, name, old, request)
            }
            Action::Start { service, name } => self.start(service, name),
            Action::Restart { service, name, .. } => {
                self.say("Container", name, "Restarting");
                self.hooks(service, name, |service| &service.pre_stop)?;
                outcomes(backend::restart(&self.stop_request(name))?)?;
                self.say("Container", name, "Started");
                self.hooks(service, name, |service| &service.post_start)
            }
            Action::Stop { service, name, id } => self.stop(service, name, id),
            Action::Remove { name, id, .. } => {
                self.say("Container", name, "Removing");
                self.remove(id, self.remove_volumes)?;
                self.say("Container", name, "Removed");
                Ok(())
            }
            Action::RemoveNetwork { name } => {
                self.say("Network", name, "Removing");
                outcomes(backend::remove_networks(std::slice::from_ref(name), true)?)?;
                self.say("Network", name, "Removed");
                Ok(())
            }
            Action::RemoveVolume { name } => {
                self.say("Volume", name, "Removing");
                outcomes(backend::remove_volumes(std::slice::from_ref(name), true)?)?;
                self.say("Volume", name, "Removed");
                Ok(())
            }
            Action::RemoveImage { name } => {
                // One that something else uses stays.
                let state =
                    if backend::remove_image(name, false).is_ok() { "Removed" } else { "Still in use" };
                self.say("Image", name, state);
                Ok(())
            }
        }
    }

    fn create_network(&self, key: &str, name: &str) -> Result<(), Failure> {
        self.say("Network", name, "Creating");
        let Some(network) = self.project.networks.get(key) else { return Ok(()) };
        let mut words: Vec<String> = Vec::new();
        let mut push = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
        if !network.driver.is_empty() {
            push("driver", &network.driver);
        }
        for (key, value) in &network.driver_opts.0 {
            push("opt", &format!("{key}={value}"));
        }
        for (key, value) in self.project.network_labels(key) {
            push("label", &format!("{key}={value}"));
        }
        if !network.ipam.driver.is_empty() {
            push("ipam-driver", &network.ipam.driver);
        }
        for pool in &network.ipam.config {
            for (flag, value) in
                [("subnet", &pool.subnet), ("ip-range", &pool.ip_range), ("gateway", &pool.gateway)]
            {
                if !value.is_empty() {
                    push(flag, value);
                }
            }
            for (host, address) in &pool.aux_addresses.0 {
                push("aux-address", &format!("{host}={address}"));
            }
        }
        for (flag, on) in [
            ("internal", Some(network.internal)),
            ("attachable", Some(network.attachable)),
            ("ipv4", network.enable_ipv4),
            ("ipv6", network.enable_ipv6),
        ] {
            if let Some(on) = on.filter(|on| *on || flag.starts_with("ipv")) {
                push(flag, &on.to_string());
            }
        }
        words.push(name.to_owned());
        let words: Vec<std::ffi::OsString> = words.into_iter().map(Into::into).collect();
        let command = format!("network {key}");
        let Asked::Work(parsed) = flags::parse(&network::CREATE, &command, &words)? else { return Ok(()) };
        backend::create_network(&network::create_request(&parsed)?)?;
        self.say("Network", name, "Created");
        Ok(())
    }

    fn create_volume(&self, key: &str, name: &str) -> Result<(), Failure> {
        self.say("Volume", name, "Creating");
        let Some(volume) = self.project.volumes.get(key) else { return Ok(()) };
        backend::create_volume(&VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some(volume.driver.clone()).filter(|driver| !driver.is_empty()),
            labels: self.project.volume_labels(key),
            options: volume.driver_opts.0.clone(),
        })?;
        self.say("Volume", name, "Created");
        Ok(())
    }

    /// What the engine is asked for one container of a service. `kept` are volumes without a name that it takes over.
    fn request(&self, name: &str, number: u32, kept: &[(String, String)]) -> Result<RunRequest, Failure> {
        let Some(service) = self.project.services.get(name) else {
            return Err(Failure::new(format!("no such service: {name}")));
        };
        let run = self.project.run_words(name, service, number, self.separator, &self.names);
        let mut words = run.flags;
        // What takes over a volume without a name says so instead of asking for a new one.
        let is_named = |target: &str| {
            service.volumes.iter().any(|mount| mount.target == target && !mount.source.is_empty())
        };
        for (target, volume) in kept.iter().filter(|(target, _)| !is_named(target)) {
            let anew = format!("--mount=type=volume,target={target}");
            words.retain(|word| *word != anew && !word.starts_with(&format!("{anew},")));
            words.push(format!("--mount=type=volume,source={volume},target={target}"));
        }
        for (index, file) in self.project.container_files(service).into_iter().enumerate() {
            if !is_owned(&file) {
                let source = self.file(name, index, &file)?;
                words.push(format!(
                    "--mount=type=bind,\"source={source}\",\"target={}\",readonly",
                    file.target
                ));
            }
        }
        if let Some(id) = self.images.get(&run.image) {
            words.push(format!("--label={}={id}", labels::IMAGE));
        }
        words.push(run.image);
        words.extend(run.command);
        let words: Vec<std::ffi::OsString> = words.into_iter().map(Into::into).collect();
        let Asked::Work(parsed) = flags::parse(&run::SPEC, &format!("service {name}"), &words)? else {
            return Err(Failure::new(format!("service {name} asks for help")));
        };
        let mut request = run::request(&parsed)?;
        request.entrypoint = run.entrypoint.or(request.entrypoint);
        request.detach = true;
        let model = service.container_part().out(Form::Json).json(false);
        request.annotations.push((state::MODEL.to_owned(), model));
        Ok(request)
    }

    /// The file on the host that a secret or config is, made if it isn't one, or isn't owned as it should be.
    fn file(&self, service: &str, index: usize, file: &ContainerFile) -> Result<String, Failure> {
        if let (Some(source), false) = (&file.source, is_owned(file)) {
            return Ok(source.clone());
        }
        let fault = |what: &str, error: std::io::Error| {
            Failure::new(format!("cannot {what} for service {service}, which {} is: {error}", file.target))
        };
        let content = match &file.source {
            Some(source) => std::fs::read(source).map_err(|error| fault(&format!("read {source}"), error))?,
            None => file.content.clone().unwrap_or_default().into_bytes(),
        };
        let dir = files_dir(&self.project.name)?;
        let path = dir.join(format!("{service}.{index}"));
        let made = || -> std::io::Result<()> {
            use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            let _ = std::fs::remove_file(&path);
            let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            std::io::Write::write_all(&mut new, &content)?;
            chown(&path, Some(file.uid.unwrap_or(0)), Some(file.gid.unwrap_or(0)))?;
            new.set_permissions(std::fs::Permissions::from_mode(file.mode.unwrap_or(0o444)))
        };
        made().map_err(|error| fault(&format!("write {}", path.display()), error))?;
        path.into_os_string()
            .into_string()
            .map_err(|path| Failure::new(format!("{path:?} isn't valid UTF-8")))
    }

    /// Makes a container; one that is started next, and needs nothing in between, only then.
    fn make(
        &mut self,
        service: &str,
        name: &str,
        request: RunRequest,
        only_made: bool,
    ) -> Result<(), Failure> {
        let needs_files = self
            .project
            .services
            .get(service)
            .is_some_and(|service| self.project.container_files(service).iter().any(is_owned));
        if !only_made && !needs_files {
            self.waiting.insert(name.to_owned(), request);
            return Ok(());
        }
        self.say("Container", name, "Creating");
        backend::make(&request, true)?;
        self.copy_files(service, name)?;
        self.say("Container", name, "Created");
        Ok(())
    }

    /// Copies secrets and configs into a container that have an owner or permissions of their own. Where a file is bound,
    /// its owner is shown as whoever the container's process is.
    fn copy_files(&self, service: &str, container: &str) -> Result<(), Failure> {
        let Some(model) = self.project.services.get(service) else { return Ok(()) };
        for (index, file) in self.project.container_files(model).into_iter().enumerate() {
            if is_owned(&file) {
                let source = self.file(service, index, &file)?;
                let copied = copy_with_parents(&source, container, &file.target);
                let _ = std::fs::remove_file(&source);
                copied?;
            }
        }
        Ok(())
    }

    /// Puts a new container in the place of an old one, which is there until the new one could be made.
    fn recreate(&self, service: &str, name: &str, old: &str, request: RunRequest) -> Result<(), Failure> {
        self.say("Container", name, "Recreate");
        let aside = format!("{}_{name}", old.get(..12).unwrap_or(old));
        backend::rename(old, &aside)?;
        if let Err(failure) = backend::make(&request, true) {
            backend::rename(old, name)?;
            return Err(failure);
        }
        self.copy_files(service, name)?;
        if backend::container(old)
            .is_ok_and(|it| matches!(it.state, find::State::Running(_) | find::State::Restarting(_)))
        {
            self.hooks(service, &aside, |service| &service.pre_stop)?;
            outcomes(backend::stop(&self.stop_request(old))?)?;
        }
        self.remove(old, false)?;
        self.say("Container", name, "Recreated");
        Ok(())
    }

    fn start(&mut self, service: &str, name: &str) -> Result<(), Failure> {
        self.say("Container", name, "Starting");
        match self.waiting.remove(name) {
            Some(request) => _ = backend::make(&request, false)?,
            None => {
                let request = StartRequest { container: name.to_owned(), ..StartRequest::default() };
                outcomes(backend::start(&[request])?)?;
            }
        }
        self.say("Container", name, "Started");
        self.hooks(service, name, |service| &service.post_start)
    }

    fn stop(&self, service: &str, name: &str, id: &str) -> Result<(), Failure> {
        self.say("Container", name, "Stopping");
        self.hooks(service, name, |service| &service.pre_stop)?;
        outcomes(backend::stop(&self.stop_request(id))?)?;
        self.say("Container", name, "Stopped");
        Ok(())
    }

    fn stop_request(&self, container: &str) -> StopRequest {
        let containers = vec![container.to_owned()];
        StopRequest { containers, timeout_secs: self.timeout_secs, ..StopRequest::default() }
    }

    fn remove(&self, container: &str, volumes: bool) -> Result<(), Failure> {
        let request = RmRequest { containers: vec![container.to_owned()], force: true, volumes };
        outcomes(backend::rm(&request)?)
    }

    /// Runs the commands that a service wants run in its containers then.
    fn hooks(
        &self,
        service: &str,
        container: &str,
        which: fn(&Service) -> &Vec<Hook>,
    ) -> Result<(), Failure> {
        let Some(service) = self.project.services.get(service) else { return Ok(()) };
        for hook in which(service) {
            let variables = hook.environment.0.iter().map(|(name, value)| match value {
                Some(value) => EnvChange::Set(name.clone(), value.clone()),
                None => EnvChange::Unset(name.clone()),
            });
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let status = backend::exec(&ExecRequest {
                container: container.to_owned(),
                command: hook.command.0.clone().unwrap_or_default(),
                env: variables.collect(),
                user: text(&hook.user),
                workdir: text(&hook.working_dir),
                privileged: hook.privileged,
                ..ExecRequest::default()
            })?;
            if status != 0 {
                return Err(Failure::new(format!("a hook of container {container} exited ({status})")));
            }
        }
        Ok(())
    }
}

/// Whether a file has an owner or permissions of its own.
fn is_owned(file: &ContainerFile) -> bool {
    file.uid.is_some() || file.gid.is_some() || file.mode.is_some()
}

/// Copies a file of the host's into a container with its owner and permissions; directories that lack are made.
fn copy_with_parents(source: &str, container: &str, target: &str) -> Result<(), Failure> {
    let copy = |source: String, path: &str| {
        let destination = CopyEnd::Of { name: container.to_owned(), path: path.to_owned() };
        let request =
            CopyRequest { source: CopyEnd::Local(source), destination, archive: true, follow_link: false };
        backend::copy(&request, &|_| {}).map(drop)
    };
    let Err(failure) = copy(source.to_owned(), target) else { return Ok(()) };
    // What lacks is made from an empty directory; where there is one already, nothing is added to it.
    let empty = format!("{source}.empty");
    let made = || -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&empty)
    };
    made().map_err(|error| Failure::new(format!("cannot make {empty}: {error}")))?;
    let parents: Vec<&str> = target.match_indices('/').skip(1).map(|(at, _)| &target[..at]).collect();
    let all = parents.iter().try_for_each(|parent| copy(format!("{empty}/."), parent));
    let _ = std::fs::remove_dir(&empty);
    all.map_err(|_| failure)?;
    copy(source.to_owned(), target)
}

/// Where the files are that secrets and configs of a project are made into.
pub fn files_dir(project: &str) -> Result<std::path::PathBuf, Failure> {
    Ok(backend::directories()?.0.join("compose").join(project))
}

/// The first failure of several.
pub fn outcomes(outcomes: Vec<backend::Outcome>) -> Result<(), Failure> {
    outcomes.into_iter().try_for_each(|(_, result)| result)
}

/// Waits until a container is healthy, or has ended well. One that can be done without may fail.
fn await_condition(name: &str, condition: Condition, required: bool) -> Result<(), Failure> {
    let verdict = await_verdict(name, condition, None);
    match verdict {
        Err(failure) if !required => {
            backend::warn(&format!("optional dependency {name} failed to start: {}", failure.message));
            Ok(())
        }
        other => other,
    }
}

/// Waits until a container is as it should be; with a deadline, no longer than that.
///
/// Errors: that it can't be so any more, with the last lines that it wrote.
pub fn await_verdict(name: &str, condition: Condition, deadline: Option<Instant>) -> Result<(), Failure> {
    let failed = |why: String| {
        let _ = backend::logs(&LogsRequest {
            containers: vec![name.to_owned()],
            tail: Some(10),
            ..LogsRequest::default()
        });
        Failure::new(format!("dependency failed to start: container {name} {why}"))
    };
    loop {
        let container = backend::container(name)?;
        match (&container.state, condition) {
            (find::State::Exited(ended), Condition::Completed) => {
                return match ended.code {
                    Some(0) => Ok(()),
                    Some(code) => Err(Failure::new(format!(
                        "service didn't complete successfully: container {name} exited ({code})"
                    ))),
                    None => Err(failed("ended, and nobody saw how".to_owned())),
                };
            }
            (find::State::Exited(ended), _) => {
                let code = ended.code.map_or("unknown".to_owned(), |code| code.to_string());
                return Err(failed(format!("exited ({code})")));
            }
            (find::State::Running(_), Condition::Healthy) => match &container.health {
                None => return Err(failed("has no healthcheck configured".to_owned())),
                Some(health) if health.status == HealthStatus::Healthy => return Ok(()),
                Some(health) if health.status == HealthStatus::Unhealthy => {
                    return Err(failed("is unhealthy".to_owned()));
                }
                Some(_) => {}
            },
            (find::State::Running(_), Condition::Done) => return Ok(()),
            _ => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::new(format!("container {name} isn't up after the time to wait")));
        }
        std::thread::sleep(LOOK);
    }
}

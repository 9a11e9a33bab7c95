//! A service's container as the words of `berth run`: one grammar for values, and one place that refuses what there isn't.
//!
//! Every attribute of [`Service`] is here: a word, or a refusal by name, or one of those that aren't about the container
//! ([`NOT_THE_CONTAINER`]). A test goes through all of them.

use std::collections::BTreeMap;

use crate::model::{DeviceMapping, Mount, Port, Project, RestartPolicy, Service, ServiceNetwork};
use crate::short;

/// What a container is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunWords {
    /// Flags of `berth run`.
    pub flags: Vec<String>,
    /// The image.
    pub image: String,
    /// What stands in for the image's command.
    pub command: Vec<String>,
    /// What stands in for the image's entry point. The flag would take one word only.
    pub entrypoint: Option<Vec<String>>,
}

/// A file that a container sees: a secret or a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFile {
    /// Where it is in the container.
    pub target: String,
    /// The file on the host that has its content.
    pub source: Option<String>,
    /// Its content, if there is no file.
    pub content: Option<String>,
    /// Its owner, if that was said.
    pub uid: Option<u32>,
    /// Its group, if that was said.
    pub gid: Option<u32>,
    /// Its permissions, if they were said.
    pub mode: Option<u32>,
}

/// Attributes that aren't about how a container is made: about its image, how many there are, when they start, what is
/// done in them, and what only a swarm heeds (`deploy.mode`, `placement`, `update_config`, `labels` of the service).
pub const NOT_THE_CONTAINER: &[&str] = &[
    "attach",
    "build",
    "container_name",
    "depends_on",
    "deploy",
    "develop",
    "env_file",
    "extends",
    "label_file",
    "post_start",
    "pre_stop",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "scale",
];

impl Service {
    /// What of it isn't supported, by name: the attribute and why.
    pub fn refusals(&self) -> Vec<(&'static str, &'static str)> {
        const WINDOWS: &str = "it is for Windows containers only";
        const SIZES: &str = "a limit of its size needs project quotas, which berth doesn't set yet";
        let reserved = self.deploy.as_ref().and_then(|deploy| deploy.resources.reservations.as_ref());
        let mounts = |kind: &str| self.volumes.iter().any(|mount| mount.kind == kind);
        let isolation = !matches!(self.isolation.as_str(), "" | "default" | "process" | "strict");
        let all = [
            (self.provider.is_some(), "provider", "berth starts containers only"),
            (!self.models.is_empty(), "models", "berth runs no language models"),
            (self.use_api_socket, "use_api_socket", "berth has no API and so no socket yet"),
            (self.credential_spec.is_some(), "credential_spec", WINDOWS),
            (self.cpu_count != 0, "cpu_count", WINDOWS),
            (self.cpu_percent != 0.0, "cpu_percent", WINDOWS),
            (isolation, "isolation", WINDOWS),
            (!self.storage_opt.0.is_empty(), "storage_opt", SIZES),
            (
                !self.gpus.is_empty(),
                "gpus",
                "give the device nodes by name, as in devices: [/dev/dri/renderD128]",
            ),
            (
                reserved.is_some_and(|reserved| !reserved.devices.is_empty()),
                "deploy.resources.reservations.devices",
                "give the device nodes by name, as in devices: [/dev/dri/renderD128]",
            ),
            (mounts("npipe"), "volumes[].type: npipe", WINDOWS),
            (mounts("cluster"), "volumes[].type: cluster", "it is for volumes of a swarm"),
        ];
        all.into_iter().filter(|(there, ..)| *there).map(|(_, name, why)| (name, why)).collect()
    }
}

impl Project {
    /// The words that make a container of a service. `names` are those of the containers of other services, by service.
    pub fn run_words(
        &self,
        name: &str,
        service: &Service,
        number: u32,
        separator: char,
        names: &BTreeMap<String, Vec<String>>,
    ) -> RunWords {
        let mut words = Words { flags: Vec::new(), project: self, names };
        words.value("name", &service.container_name(&self.name, name, number, separator));
        words.identity(service);
        words.process(service);
        words.health(service);
        words.namespaces(service);
        words.networks(name, service, number, separator);
        words.limits(service);
        words.files(service);
        words.security(service);
        for (key, value) in self.container_labels(name, service, number, false) {
            words.pair("label", &key, &value);
        }
        RunWords {
            flags: words.flags,
            image: service.image_name(&self.name, name),
            command: service.command.0.clone().unwrap_or_default(),
            entrypoint: service.entrypoint.0.clone(),
        }
    }

    /// The secrets and configs that a service's containers see.
    pub fn container_files(&self, service: &Service) -> Vec<ContainerFile> {
        let mut files = Vec::new();
        let objects = service
            .configs
            .iter()
            .filter_map(|file| Some((file, &self.configs.get(&file.source)?.0, "")))
            .chain(
                service
                    .secrets
                    .iter()
                    .filter_map(|file| Some((file, &self.secrets.get(&file.source)?.0, "/run/secrets"))),
            );
        for (file, object, dir) in objects {
            let target = match file.target.as_str() {
                "" => format!("{dir}/{}", file.source),
                target if target.starts_with('/') => target.to_owned(),
                target => format!("{dir}/{target}"),
            };
            let number = |text: &str| text.parse().ok();
            files.push(ContainerFile {
                target,
                source: Some(object.file.clone()).filter(|path| !path.is_empty()),
                content: Some(object.content.clone()).filter(|_| object.file.is_empty()),
                uid: number(&file.uid),
                gid: number(&file.gid),
                mode: file.mode.and_then(|mode| u32::try_from(mode.0).ok()),
            });
        }
        files
    }
}

struct Words<'a> {
    flags: Vec<String>,
    project: &'a Project,
    names: &'a BTreeMap<String, Vec<String>>,
}

impl Words<'_> {
    /// `--flag=value`, so that no value is taken for a flag.
    fn value(&mut self, flag: &str, value: &str) {
        self.flags.push(format!("--{flag}={value}"));
    }

    fn text(&mut self, flag: &str, value: &str) {
        if !value.is_empty() {
            self.value(flag, value);
        }
    }

    fn switch(&mut self, flag: &str, on: bool) {
        if on {
            self.flags.push(format!("--{flag}"));
        }
    }

    fn number(&mut self, flag: &str, value: i64) {
        if value != 0 {
            self.value(flag, &value.to_string());
        }
    }

    fn each<'s>(&mut self, flag: &str, values: impl IntoIterator<Item = &'s String>) {
        values.into_iter().for_each(|value| self.value(flag, value));
    }

    fn pair(&mut self, flag: &str, key: &str, value: &str) {
        self.value(flag, &format!("{key}={value}"));
    }

    /// The first container of a service.
    fn container(&self, service: &str) -> String {
        let first = self.names.get(service).and_then(|names| names.first());
        first.cloned().unwrap_or_else(|| format!("{}-{service}-1", self.project.name))
    }

    /// `service:x` as `container:NAME`.
    fn mode(&mut self, flag: &str, mode: &str) {
        match mode.strip_prefix("service:") {
            Some(service) => self.value(flag, &format!("container:{}", self.container(service))),
            None => self.text(flag, mode),
        }
    }

    fn identity(&mut self, service: &Service) {
        self.text("hostname", &service.hostname);
        self.text("domainname", &service.domainname);
        self.text("platform", &service.platform);
        self.text("runtime", &service.runtime);
        self.each("expose", &service.expose);
        for (key, value) in &service.annotations.0 {
            self.pair("annotation", key, value);
        }
    }

    fn process(&mut self, service: &Service) {
        for (name, value) in &service.environment.0 {
            match value {
                Some(value) => self.pair("env", name, value),
                None => self.value("env", name),
            }
        }
        self.text("user", &service.user);
        self.each("group-add", &service.group_add);
        self.text("workdir", &service.working_dir);
        self.switch("interactive", service.stdin_open);
        self.switch("tty", service.tty);
        self.switch("init", service.init == Some(true));
        self.text("stop-signal", &service.stop_signal);
        if let Some(period) = service.stop_grace_period {
            // A part of a second is one.
            let seconds =
                period.0.div_euclid(1_000_000_000) + i64::from(period.0.rem_euclid(1_000_000_000) > 0);
            self.value("stop-timeout", &seconds.to_string());
        }
        let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
        self.text(
            "restart",
            &if service.restart.is_empty() { restart_of(policy) } else { service.restart.clone() },
        );
        if let Some(logging) = &service.logging {
            self.text("log-driver", &logging.driver);
            for (key, value) in &logging.options.0 {
                self.pair("log-opt", key, value);
            }
        }
    }

    fn health(&mut self, service: &Service) {
        let Some(health) = &service.healthcheck else { return };
        match health.test.0.as_slice() {
            [word, ..] if word == "NONE" => self.switch("no-healthcheck", true),
            _ if health.disable => self.switch("no-healthcheck", true),
            [word, line, ..] if word == "CMD-SHELL" => self.value("health-cmd", line),
            // `run` takes a line for the shell only.
            [word, rest @ ..] if word == "CMD" => self.value("health-cmd", &shell_line(rest)),
            _ => {}
        }
        let durations = [
            ("health-interval", health.interval),
            ("health-timeout", health.timeout),
            ("health-start-period", health.start_period),
            ("health-start-interval", health.start_interval),
        ];
        for (flag, duration) in durations {
            if let Some(duration) = duration {
                self.value(flag, &short::duration_text(duration.0));
            }
        }
        if let Some(retries) = health.retries {
            self.value("health-retries", &retries.to_string());
        }
    }

    fn namespaces(&mut self, service: &Service) {
        self.mode("pid", &service.pid);
        self.mode("ipc", &service.ipc);
        self.mode("uts", &service.uts);
        self.mode("userns", &service.userns_mode);
        self.mode("cgroupns", &service.cgroup);
        for from in &service.volumes_from {
            let (source, access) = match from.strip_prefix("container:") {
                Some(container) => container.split_once(':').unwrap_or((container, "")),
                None => from.split_once(':').unwrap_or((from, "")),
            };
            let container = match from.starts_with("container:") {
                true => source.to_owned(),
                false => self.container(source),
            };
            let suffix = if access.is_empty() { String::new() } else { format!(":{access}") };
            self.value("volumes-from", &format!("{container}{suffix}"));
        }
    }

    fn networks(&mut self, name: &str, service: &Service, number: u32, separator: char) {
        if !service.network_mode.is_empty() {
            self.mode("network", &service.network_mode);
        } else if service.networks.is_empty() {
            self.value("network", "none");
        }
        let mut networks: Vec<(&String, ServiceNetwork)> =
            service.networks.iter().map(|(key, how)| (key, how.clone().unwrap_or_default())).collect();
        networks.sort_by_key(|(_, how)| -how.priority);
        let container = service.container_name(&self.project.name, name, number, separator);
        for (index, (key, how)) in networks.into_iter().enumerate() {
            let network = self.project.networks.get(key).map_or(key.as_str(), |network| &network.name);
            let mut fields =
                vec![format!("name={network}"), format!("alias={container}"), format!("alias={name}")];
            fields.extend(how.aliases.iter().map(|alias| format!("alias={alias}")));
            let mac = match index {
                0 if how.mac_address.is_empty() => &service.mac_address,
                _ => &how.mac_address,
            };
            for (field, value) in
                [("ip", &how.ipv4_address), ("ip6", &how.ipv6_address), ("mac-address", mac)]
            {
                if !value.is_empty() {
                    fields.push(format!("{field}={value}"));
                }
            }
            fields.extend(how.link_local_ips.iter().map(|ip| format!("link-local-ip={ip}")));
            fields.extend(how.driver_opts.0.iter().map(|(key, value)| format!("driver-opt={key}={value}")));
            if !how.interface_name.is_empty() {
                // Docker's own way to say it.
                fields.push(format!("driver-opt=com.docker.network.endpoint.ifname={}", how.interface_name));
            }
            if how.gw_priority != 0 {
                fields.push(format!("gw-priority={}", how.gw_priority));
            }
            self.value("network", &fields.join(","));
        }
        for port in &service.ports {
            let port = publish(port);
            self.value("publish", &port);
        }
        for link in &service.links {
            let (other, alias) = link.split_once(':').unwrap_or((link, link));
            let container = self.container(other);
            self.value("link", &format!("{container}:{alias}"));
        }
        self.each("link", &service.external_links);
        for (host, addresses) in &service.extra_hosts.0 {
            addresses.iter().for_each(|address| self.value("add-host", &format!("{host}:{address}")));
        }
        self.each("dns", &service.dns);
        self.each("dns-search", &service.dns_search);
        self.each("dns-option", &service.dns_opt);
    }

    fn limits(&mut self, service: &Service) {
        let resources = service.deploy.as_ref().map(|deploy| &deploy.resources);
        let limits = resources.and_then(|resources| resources.limits.clone()).unwrap_or_default();
        let reserved = resources.and_then(|resources| resources.reservations.clone()).unwrap_or_default();
        let cpus = if limits.cpus != 0.0 { limits.cpus } else { service.cpus };
        if cpus != 0.0 {
            self.value("cpus", &cpus.to_string());
        }
        let either = |a: i64, b: i64| if a != 0 { a } else { b };
        self.number("memory", either(limits.memory.0, service.mem_limit.0));
        self.number("memory-reservation", either(reserved.memory.0, service.mem_reservation.0));
        self.number("memory-swap", service.memswap_limit.0);
        self.number("memory-swappiness", service.mem_swappiness.0);
        self.number("pids-limit", either(limits.pids, service.pids_limit));
        self.number("cpu-period", service.cpu_period);
        self.number("cpu-quota", service.cpu_quota);
        self.number("cpu-rt-period", service.cpu_rt_period);
        self.number("cpu-rt-runtime", service.cpu_rt_runtime);
        self.number("cpu-shares", service.cpu_shares);
        self.text("cpuset-cpus", &service.cpuset);
        self.text("cgroup-parent", &service.cgroup_parent);
        self.switch("oom-kill-disable", service.oom_kill_disable);
        self.number("oom-score-adj", service.oom_score_adj);
        self.number("shm-size", service.shm_size.0);
        for (name, limit) in &service.ulimits {
            let value = match limit.single {
                0 => format!("{}:{}", limit.soft, limit.hard),
                single => single.to_string(),
            };
            self.pair("ulimit", name, &value);
        }
        for (key, value) in &service.sysctls.0 {
            self.pair("sysctl", key, value);
        }
        if let Some(blkio) = &service.blkio_config {
            self.number("blkio-weight", blkio.weight);
            for device in &blkio.weight_device {
                self.value("blkio-weight-device", &format!("{}:{}", device.path.0, device.weight.0));
            }
            let rates = [
                ("device-read-bps", &blkio.device_read_bps),
                ("device-read-iops", &blkio.device_read_iops),
                ("device-write-bps", &blkio.device_write_bps),
                ("device-write-iops", &blkio.device_write_iops),
            ];
            for (flag, devices) in rates {
                for device in devices {
                    self.value(flag, &format!("{}:{}", device.path.0, device.rate.0.0));
                }
            }
        }
    }

    fn files(&mut self, service: &Service) {
        self.switch("read-only", service.read_only);
        for mount in &service.volumes {
            let text = self.mount(mount);
            self.value("mount", &text);
        }
        self.each("tmpfs", &service.tmpfs);
        for DeviceMapping { source, target, permissions, .. } in &service.devices {
            let target = if target.is_empty() { source } else { target };
            let permissions = if permissions.is_empty() { "rwm" } else { permissions };
            self.value("device", &format!("{source}:{target}:{permissions}"));
        }
        self.each("device-cgroup-rule", &service.device_cgroup_rules);
    }

    /// A mount in the form that takes any path.
    fn mount(&self, mount: &Mount) -> String {
        let mut fields = vec![format!("type={}", mount.kind)];
        let source = match mount.kind.as_str() {
            "volume" => match self.project.volumes.get(&mount.source) {
                Some(volume) => volume.name.clone(),
                None => mount.source.clone(),
            },
            _ => mount.source.clone(),
        };
        if !source.is_empty() {
            fields.push(format!("source={source}"));
        }
        fields.push(format!("target={}", mount.target));
        if mount.read_only {
            fields.push("readonly".to_owned());
        }
        if let Some(bind) = &mount.bind {
            for (key, value) in [("bind-propagation", &bind.propagation), ("bind-recursive", &bind.recursive)]
            {
                if !value.is_empty() {
                    fields.push(format!("{key}={value}"));
                }
            }
            if bind.create_host_path {
                fields.push("bind-create-src".to_owned());
            }
        }
        if let Some(volume) = &mount.volume {
            if volume.nocopy {
                fields.push("volume-nocopy".to_owned());
            }
            if !volume.subpath.is_empty() {
                fields.push(format!("volume-subpath={}", volume.subpath));
            }
            fields.extend(volume.labels.0.iter().map(|(key, value)| format!("volume-label={key}={value}")));
        }
        if let Some(tmpfs) = &mount.tmpfs {
            if tmpfs.size.0 != 0 {
                fields.push(format!("tmpfs-size={}", tmpfs.size.0));
            }
            if tmpfs.mode != 0 {
                fields.push(format!("tmpfs-mode={:o}", tmpfs.mode));
            }
        }
        if let Some(image) = mount.image.as_ref().filter(|image| !image.subpath.is_empty()) {
            fields.push(format!("image-subpath={}", image.subpath));
        }
        let quoted = fields.iter().map(|field| match field.contains([',', '"', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        });
        quoted.collect::<Vec<_>>().join(",")
    }

    fn security(&mut self, service: &Service) {
        self.switch("privileged", service.privileged);
        self.each("cap-add", &service.cap_add);
        self.each("cap-drop", &service.cap_drop);
        // compose still takes docker's old separator.
        for option in &service.security_opt {
            let option = match option.split_once(':') {
                Some((key, value)) if !key.contains('=') => format!("{key}={value}"),
                _ => option.clone(),
            };
            self.value("security-opt", &option);
        }
        if !matches!(service.isolation.as_str(), "" | "default") {
            self.value("isolation", &service.isolation);
        }
    }
}

/// `deploy.restart_policy` as `restart` would say it.
fn restart_of(policy: Option<&RestartPolicy>) -> String {
    let Some(policy) = policy else { return String::new() };
    match (policy.condition.as_str(), policy.max_attempts) {
        ("none", _) => "no".to_owned(),
        ("on-failure", Some(times)) => format!("on-failure:{times}"),
        ("on-failure", None) => "on-failure".to_owned(),
        _ => "always".to_owned(),
    }
}

fn publish(port: &Port) -> String {
    let host = match port.host_ip.as_str() {
        "" => String::new(),
        host if host.contains(':') => format!("[{host}]:"),
        host => format!("{host}:"),
    };
    let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
    match (host.is_empty(), port.published.is_empty()) {
        (true, true) => format!("{}/{protocol}", port.target),
        _ => format!("{host}{}:{}/{protocol}", port.published, port.target),
    }
}

/// Words as a line that a shell splits into just these words.
fn shell_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

//! A service and all that it is made of.

use std::collections::BTreeMap;

use super::{Bytes, Command, DeviceCount, Duration, HealthTest, Hosts, Mode, Pairs, Variables};
use crate::field::{Decoder, Field, model};
use crate::node::{Node, Value};
use crate::out::{Form, Out};

model! {
    /// A service: what its containers are like, and how many there are.
    pub struct Service {
        /// Profiles that enable it; none means that it always is.
        profiles: Vec<String>,
        /// Annotations of its containers.
        annotations: Pairs,
        /// Whether `up` shows its output.
        attach: Option<bool>,
        /// How its image is built.
        build: Option<Build>,
        /// What happens when its sources change.
        develop: Option<Develop>,
        /// Limits on block devices.
        blkio_config: Option<BlkioConfig>,
        /// Capabilities on top of the default.
        cap_add: Vec<String>,
        /// Capabilities that the default has and it hasn't.
        cap_drop: Vec<String>,
        /// The control group that its containers' are made in.
        cgroup_parent: String,
        /// `host` or `private`: whose control groups it sees.
        cgroup: String,
        /// Windows: how many processors.
        cpu_count: i64,
        /// Windows: which part of all processors.
        cpu_percent: f32,
        /// The period of the processor's quota, in microseconds.
        cpu_period: i64,
        /// The quota of the processor's time in a period, in microseconds.
        cpu_quota: i64,
        /// The period of the real-time quota, in microseconds.
        cpu_rt_period: i64,
        /// The real-time quota in a period, in microseconds.
        cpu_rt_runtime: i64,
        /// How many processors' time.
        cpus: f32,
        /// Which processors.
        cpuset: String,
        /// The weight among others that want processors.
        cpu_shares: i64,
        /// Its command; none leaves the image's.
        command: Command,
        /// Configs that it sees.
        configs: Vec<FileReference>,
        /// The name of its only container.
        container_name: String,
        /// Windows: credentials.
        credential_spec: Option<CredentialSpec>,
        /// Services that come before it.
        depends_on: BTreeMap<String, Dependency>,
        /// How its containers are deployed.
        deploy: Option<Deploy>,
        /// Devices that its control group may use.
        device_cgroup_rules: Vec<String>,
        /// Devices of the host's.
        devices: Vec<DeviceMapping>,
        /// Servers that resolve names.
        dns: Vec<String>,
        /// Options of `resolv.conf`.
        dns_opt: Vec<String>,
        /// Domains that names are searched in.
        dns_search: Vec<String>,
        /// Its NIS domain.
        domainname: String,
        /// Its entry point; none leaves the image's.
        entrypoint: Command,
        /// A program that stands in for containers, which isn't supported here.
        provider: Option<Provider>,
        /// Its environment.
        environment: Variables,
        /// Files that its environment is read from.
        env_file: Vec<EnvFile>,
        /// Ports that are open to other services.
        expose: Vec<String>,
        /// The service that this one began as.
        extends: Option<Extends>,
        /// Containers outside of the project that it is linked to.
        external_links: Vec<String>,
        /// Lines of its `/etc/hosts`.
        extra_hosts: Hosts,
        /// Groups that its processes are in as well.
        group_add: Vec<String>,
        /// Graphics processors.
        gpus: Vec<DeviceRequest>,
        /// Its host name.
        hostname: String,
        /// How its health is checked.
        healthcheck: Option<HealthCheck>,
        /// Its image.
        image: String,
        /// Whether a small first process reaps the others.
        init: Option<bool>,
        /// Whose System V objects it sees.
        ipc: String,
        /// Windows: how it is isolated.
        isolation: String,
        /// Labels of its containers.
        labels: Pairs,
        /// Files that labels are read from.
        label_file: Vec<String>,
        /// Services that it is linked to.
        links: Vec<String>,
        /// Where its output goes.
        logging: Option<Logging>,
        /// How much memory it may have.
        mem_limit: Bytes,
        /// How much memory it keeps when memory is short.
        mem_reservation: Bytes,
        /// How much memory and swap together.
        memswap_limit: Bytes,
        /// How readily its memory is swapped, in percent.
        mem_swappiness: Bytes,
        /// The hardware address of its link.
        mac_address: String,
        /// Language models that it uses, which aren't supported here.
        models: BTreeMap<String, Option<ServiceModel>>,
        /// Whose network it is on, if it has none of its own.
        network_mode: String,
        /// Networks that it is on, by key.
        networks: BTreeMap<String, Option<ServiceNetwork>>,
        /// Whether the kernel spares it when memory is short.
        oom_kill_disable: bool,
        /// How soon the kernel kills it when memory is short.
        oom_score_adj: i64,
        /// Whose processes it sees.
        pid: String,
        /// How many processes and threads.
        pids_limit: i64,
        /// The platform of its image.
        platform: String,
        /// Ports that are published.
        ports: Vec<Port>,
        /// Whether it has all of the host's rights.
        privileged: bool,
        /// When its image is pulled.
        pull_policy: String,
        /// How old its image may get.
        pull_refresh_after: String,
        /// Whether its root is read-only.
        read_only: bool,
        /// When it is started again.
        restart: String,
        /// The runtime that starts its containers.
        runtime: String,
        /// How many containers.
        scale: Option<i64>,
        /// Secrets that it sees.
        secrets: Vec<FileReference>,
        /// Options of seccomp, AppArmor and their like.
        security_opt: Vec<String>,
        /// The size of `/dev/shm`.
        shm_size: Bytes,
        /// Whether its standard input is open.
        stdin_open: bool,
        /// How long it may take to end.
        stop_grace_period: Option<Duration>,
        /// The signal that ends it.
        stop_signal: String,
        /// Options of its root file system.
        storage_opt: Pairs,
        /// Settings of the kernel.
        sysctls: Pairs,
        /// Directories in memory.
        tmpfs: Vec<String>,
        /// Whether it has a terminal.
        tty: bool,
        /// Limits of its processes, by name.
        ulimits: BTreeMap<String, Ulimit>,
        /// Whether it may talk to the engine.
        use_api_socket: bool,
        /// Who its processes are.
        user: String,
        /// Whose user ids it has.
        userns_mode: String,
        /// Whose host name it has.
        uts: String,
        /// What is mounted.
        volumes: Vec<Mount>,
        /// Services and containers whose mounts it has too.
        volumes_from: Vec<String>,
        /// The directory that it starts in.
        working_dir: String,
        /// Commands that run in it once it has started.
        post_start: Vec<Hook>,
        /// Commands that run in it before it is stopped.
        pre_stop: Vec<Hook>,
    }

    /// How an image is built.
    pub struct Build {
        /// The directory, or the address of what is fetched.
        context: String,
        /// The Dockerfile.
        dockerfile: String,
        /// The Dockerfile's text.
        dockerfile_inline: String,
        /// Rights that steps may have.
        entitlements: Vec<String>,
        /// Arguments.
        args: Variables,
        /// Whether it is attested how the image was made.
        provenance: String,
        /// Whether the image's contents are attested.
        sbom: String,
        /// Agents and keys.
        ssh: BuildSsh,
        /// Labels of the image.
        labels: Pairs,
        /// Where finished steps are looked for.
        cache_from: Vec<String>,
        /// Where finished steps are put.
        cache_to: Vec<String>,
        /// Whether every step is run again.
        no_cache: bool,
        /// Contexts by name.
        additional_contexts: Pairs,
        /// Whether newer images are looked for.
        pull: bool,
        /// Lines of `/etc/hosts`.
        extra_hosts: Hosts,
        /// Windows: how steps are isolated.
        isolation: String,
        /// Which network steps have.
        network: String,
        /// The stage that is built.
        target: String,
        /// Secrets that steps see.
        secrets: Vec<FileReference>,
        /// The size of `/dev/shm`.
        shm_size: Bytes,
        /// Further names of the image.
        tags: Vec<String>,
        /// Limits of processes, by name.
        ulimits: BTreeMap<String, Ulimit>,
        /// Platforms that it is built for.
        platforms: Vec<String>,
        /// Whether steps have all of the host's rights.
        privileged: bool,
    }

    /// What happens when sources change.
    pub struct Develop {
        /// What is watched.
        watch: Vec<WatchTrigger>,
    }

    /// A path that is watched.
    pub struct WatchTrigger {
        /// The path.
        path: String,
        /// `rebuild`, `restart`, `sync`, `sync+restart` or `sync+exec`.
        action: String,
        /// Where in the container changed files go.
        target: String,
        /// What is run after they went there.
        exec: Hook,
        /// What counts.
        include: Vec<String>,
        /// What doesn't.
        ignore: Vec<String>,
        /// Whether all files go there at the start.
        initial_sync: bool,
    }

    /// A command that is run in a container.
    pub struct Hook {
        /// The command.
        command: Command,
        /// Who runs it.
        user: String,
        /// Whether it has all rights.
        privileged: bool,
        /// Where it runs.
        working_dir: String,
        /// Its environment.
        environment: Variables,
    }

    /// Limits on block devices.
    pub struct BlkioConfig {
        /// The weight among others, 10 to 1000.
        weight: i64,
        /// The same on one device.
        weight_device: Vec<WeightDevice>,
        /// Bytes read a second.
        device_read_bps: Vec<RateDevice>,
        /// Reads a second.
        device_read_iops: Vec<RateDevice>,
        /// Bytes written a second.
        device_write_bps: Vec<RateDevice>,
        /// Writes a second.
        device_write_iops: Vec<RateDevice>,
    }

    /// The weight on a device.
    pub struct WeightDevice {
        /// The device.
        path = "path", json "Path": Always<String>,
        /// The weight.
        weight = "weight", json "Weight": Always<i64>,
    }

    /// The rate of a device.
    pub struct RateDevice {
        /// The device.
        path = "path", json "Path": Always<String>,
        /// Bytes or operations a second.
        rate = "rate", json "Rate": Always<Bytes>,
    }

    /// A secret or config as a service sees it.
    pub struct FileReference {
        /// Its key.
        source: String,
        /// The file that it is in the container.
        target: String,
        /// Whose file it is.
        uid: String,
        /// Whose group's file it is.
        gid: String,
        /// The file's permissions.
        mode: Option<Mode>,
    }

    /// Windows: credentials.
    pub struct CredentialSpec {
        /// A config.
        config: String,
        /// A file.
        file: String,
        /// A key of the registry.
        registry: String,
    }

    /// How a service depends on another.
    pub struct Dependency {
        /// `service_started`, `service_healthy` or `service_completed_successfully`.
        condition: String,
        /// Whether it is restarted when the other is.
        restart: bool,
        /// Whether it can't do without.
        required: Always<bool>,
    }

    /// How containers are deployed.
    pub struct Deploy {
        /// `replicated` or `global`, or their like for jobs.
        mode: String,
        /// How many.
        replicas: Option<i64>,
        /// Labels of the service, not of its containers.
        labels: Pairs,
        /// How they are replaced.
        update_config: Option<UpdateConfig>,
        /// How they are replaced when an update failed.
        rollback_config: Option<UpdateConfig>,
        /// What they may have.
        resources: Resources,
        /// When they are started again.
        restart_policy: Option<RestartPolicy>,
        /// Where they may run.
        placement: Placement,
        /// How others reach them.
        endpoint_mode: String,
    }

    /// How containers are replaced.
    pub struct UpdateConfig {
        /// How many at a time.
        parallelism: Option<i64>,
        /// The pause between them.
        delay: Duration,
        /// What happens if one fails.
        failure_action: String,
        /// How long one is watched.
        monitor: Duration,
        /// How many may fail.
        max_failure_ratio: f32,
        /// `start-first` or `stop-first`.
        order: String,
    }

    /// What containers may have, and have for sure.
    pub struct Resources {
        /// The most.
        limits: Option<Resource>,
        /// The least.
        reservations: Option<Resource>,
    }

    /// An amount of everything.
    pub struct Resource {
        /// Processors' time.
        cpus: f32,
        /// Memory.
        memory: Bytes,
        /// Processes and threads.
        pids: i64,
        /// Devices.
        devices: Vec<DeviceRequest>,
        /// Other things that are counted.
        generic_resources: Vec<GenericResource>,
    }

    /// Devices by what they can do.
    pub struct DeviceRequest {
        /// What they can do.
        capabilities: Vec<String>,
        /// Whose they are.
        driver: String,
        /// How many.
        count: DeviceCount,
        /// Which ones.
        device_ids: Vec<String>,
        /// What their driver is told.
        options: Pairs,
    }

    /// Something that is counted.
    pub struct GenericResource {
        /// What and how many.
        discrete_resource_spec: Option<DiscreteResource>,
    }

    /// What and how many.
    pub struct DiscreteResource {
        /// What.
        kind: Always<String>,
        /// How many.
        value: Always<i64>,
    }

    /// When containers are started again.
    pub struct RestartPolicy {
        /// `none`, `on-failure` or `any`.
        condition: String,
        /// After which pause.
        delay: Option<Duration>,
        /// How often.
        max_attempts: Option<i64>,
        /// How long one must run to have started.
        window: Option<Duration>,
    }

    /// Where containers may run.
    pub struct Placement {
        /// What a machine must be.
        constraints: Vec<String>,
        /// Which machines are better.
        preferences: Vec<Preference>,
        /// How many on one machine.
        max_replicas_per_node: i64,
    }

    /// Which machines are better.
    pub struct Preference {
        /// The label whose values they are spread over.
        spread: String,
    }

    /// A device of the host's in a container.
    pub struct DeviceMapping {
        /// The device on the host.
        source: String,
        /// The device in the container.
        target: String,
        /// `r`, `w` and `m`.
        permissions: String,
    }

    /// A program that stands in for containers.
    pub struct Provider {
        /// The program.
        kind = "type": String,
        /// What it is told.
        options: BTreeMap<String, Vec<String>>,
    }

    /// The service that another one began as.
    pub struct Extends {
        /// The file that it is in, if it is another one.
        file: String,
        /// Its name.
        service: String,
    }

    /// How health is checked.
    pub struct HealthCheck {
        /// What is run.
        test: HealthTest,
        /// How long it may take.
        timeout: Option<Duration>,
        /// How often.
        interval: Option<Duration>,
        /// How many failures are one too many.
        retries: Option<i64>,
        /// How long failures don't count after the start.
        start_period: Option<Duration>,
        /// How often within that time.
        start_interval: Option<Duration>,
        /// Whether the image's check is switched off.
        disable: bool,
    }

    /// Where output goes.
    pub struct Logging {
        /// What takes it.
        driver: String,
        /// What that is told.
        options: Pairs,
    }

    /// How a service uses a language model.
    pub struct ServiceModel {
        /// The variable that has its address.
        endpoint_var: String,
        /// The variable that has its name.
        model_var: String,
    }

    /// How a service is on a network.
    pub struct ServiceNetwork {
        /// Further names.
        aliases: Vec<String>,
        /// What the network's driver is told.
        driver_opts: Pairs,
        /// How good its gateway is.
        gw_priority: i64,
        /// The name of the link in the container.
        interface_name: String,
        /// Its IPv4 address.
        ipv4_address: String,
        /// Its IPv6 address.
        ipv6_address: String,
        /// Addresses of the link's own.
        link_local_ips: Vec<String>,
        /// The hardware address.
        mac_address: String,
        /// In which order networks are joined: the highest first.
        priority: i64,
    }

    /// A port that is published.
    pub struct Port {
        /// Its name, for readers.
        name: String,
        /// `ingress` or `host`.
        mode: String,
        /// The host's address.
        host_ip: String,
        /// The port in the container.
        target: i64,
        /// The port on the host, or a range to choose from.
        published: String,
        /// `tcp`, `udp` or `sctp`.
        protocol: String,
        /// What is spoken, for readers.
        app_protocol: String,
    }

    /// What is mounted.
    pub struct Mount {
        /// `volume`, `bind`, `tmpfs`, `image`, `npipe` or `cluster`.
        kind = "type": String,
        /// The volume, path or image.
        source: String,
        /// Where.
        target: String,
        /// Whether it can't be written to.
        read_only: bool,
        /// Docker Desktop: how soon changes are seen.
        consistency: String,
        /// Options of a path of the host's.
        bind: Option<MountBind>,
        /// Options of a volume.
        volume: Option<MountVolume>,
        /// Options of a directory in memory.
        tmpfs: Option<MountTmpfs>,
        /// Options of an image.
        image: Option<MountImage>,
    }

    /// Options of a path of the host's.
    pub struct MountBind {
        /// `z` or `Z`: how it is relabelled.
        selinux: String,
        /// Whether mounts below are seen on both sides.
        propagation: String,
        /// Whether a missing directory is made.
        create_host_path: bool,
        /// What of the mounts below is seen.
        recursive: String,
    }

    /// Options of a volume.
    pub struct MountVolume {
        /// Labels of a volume without a name.
        labels: Pairs,
        /// Whether the image's files stay out of it.
        nocopy: bool,
        /// The directory of it that is mounted.
        subpath: String,
    }

    /// Options of a directory in memory.
    pub struct MountTmpfs {
        /// How much it may hold.
        size: Bytes,
        /// Its permissions.
        mode: i64,
    }

    /// Options of an image.
    pub struct MountImage {
        /// The directory of it that is mounted.
        subpath: String,
    }
}

impl Service {
    /// How many containers it has: `scale`, else `deploy.replicas`, else one.
    pub fn replicas(&self) -> i64 {
        self.scale.or(self.deploy.as_ref().and_then(|deploy| deploy.replicas)).unwrap_or(1)
    }

    /// Whether one of the active profiles enables it.
    pub fn has_profile(&self, active: &[String]) -> bool {
        self.profiles.is_empty()
            || active.iter().any(|profile| profile == "*" || self.profiles.contains(profile))
    }
}

/// A value that is written whatever it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Always<T>(pub T);

impl<T: Field> Field for Always<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Always<T> {
        Always(T::decode(node, decoder))
    }

    fn out(&self, form: Form) -> Out {
        self.0.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}

/// A limit of a process: one number for both, or a soft and a hard one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ulimit {
    /// Both, if it isn't 0.
    pub single: i64,
    /// The one that counts.
    pub soft: i64,
    /// The one up to which the process may raise it.
    pub hard: i64,
}

impl Field for Ulimit {
    fn decode(node: &Node, decoder: &mut Decoder) -> Ulimit {
        let mut part = |key: &str| node.get(key).map_or(0, |node| i64::decode(node, decoder));
        let (soft, hard) = (part("soft"), part("hard"));
        match &node.value {
            Value::Map(_) => Ulimit { single: 0, soft, hard },
            _ => Ulimit { single: i64::decode(node, decoder), soft: 0, hard: 0 },
        }
    }

    fn out(&self, form: Form) -> Out {
        if self.single != 0 {
            return Out::Int(self.single);
        }
        let entries = [("soft", self.soft), ("hard", self.hard)];
        let shown = entries.into_iter().filter(|(_, value)| form == Form::Yaml || *value != 0);
        Out::Map(shown.map(|(key, value)| (key.to_owned(), Out::Int(value))).collect())
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}

/// Agents and keys that a build may use: paths by id, none for the agent of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSsh(pub BTreeMap<String, Option<String>>);

impl Field for BuildSsh {
    fn decode(node: &Node, _: &mut Decoder) -> BuildSsh {
        let entries = node.as_map().into_iter().flatten();
        BuildSsh(entries.map(|(id, node)| (id.clone(), (!node.is_null()).then(|| node.plain()))).collect())
    }

    /// compose writes `id: path` as one string in YAML, and no JSON at all if there is a path; here it is `id=path`.
    fn out(&self, _: Form) -> Out {
        let text = |(id, path): (&String, &Option<String>)| match path {
            Some(path) => Out::Text(format!("{id}={path}")),
            None => Out::Text(id.clone()),
        };
        Out::List(self.0.iter().map(text).collect())
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0.is_empty()
    }
}

/// A file that the environment is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// Its path.
    pub path: String,
    /// Whether it must be there.
    pub required: bool,
    /// `raw` for docker's own format.
    pub format: String,
}

impl Field for EnvFile {
    fn decode(node: &Node, decoder: &mut Decoder) -> EnvFile {
        let text = |key: &str| node.get(key).map(Node::plain).unwrap_or_default();
        EnvFile {
            path: if node.as_text().is_some() { node.plain() } else { text("path") },
            required: node.get("required").is_none_or(|node| bool::decode(node, decoder)),
            format: text("format"),
        }
    }

    fn out(&self, form: Form) -> Out {
        if self.required {
            return Out::Text(self.path.clone());
        }
        let mut entries = vec![
            ("path".to_owned(), Out::Text(self.path.clone())),
            ("required".to_owned(), Out::Bool(self.required)),
        ];
        if form == Form::Json && !self.format.is_empty() {
            entries.push(("format".to_owned(), Out::Text(self.format.clone())));
        }
        Out::Map(entries)
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}

//! A new container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::oci::TimeOffset;

use super::network::{EndpointRequest, NetRequest};
use super::{DeviceRequest, HealthRequest, MountRequest, Resources, Security};

/// Where a container's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// `@host`: a copy-on-write view of the host's own root.
    Host,
    /// A directory of the host, used in place.
    Rootfs(PathBuf),
    /// A reference to an image, as typed.
    Image(String),
}

/// One change to the image's environment, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvChange {
    /// Sets a variable.
    Set(String, String),
    /// Removes a variable: `-e NAME` where the caller has no `NAME`, as with docker.
    Unset(String),
}

impl EnvChange {
    /// The variable that it's about.
    pub fn name(&self) -> &str {
        match self {
            EnvChange::Set(name, _) | EnvChange::Unset(name) => name,
        }
    }
}

/// Which namespace a container gets. Used for user, pid, uts and cgroup namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Nothing was asked for: the engine decides (design.md 5).
    #[default]
    Unset,
    /// A new one, asked for by name.
    Private,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// The one at a path, such as `/proc/1/ns/pid`.
    Path(PathBuf),
}

/// Which ipc namespace and `/dev/shm` a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcMode {
    /// Nothing was asked for: private.
    #[default]
    Unset,
    /// A new one without `/dev/shm`.
    None,
    /// A new one, asked for by name.
    Private,
    /// A new one which other containers may join.
    Shareable,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// The one at a path.
    Path(PathBuf),
}

/// Which network a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// Nothing was asked for: the default network, `bridge`.
    #[default]
    Unset,
    /// These networks, never none.
    Networks(Vec<EndpointRequest>),
    /// A private namespace with loopback only.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// The one at a path, such as `/run/netns/blue`.
    Path(PathBuf),
}

impl NetworkMode {
    /// The networks that it names, or the default one; none where it isn't about networks.
    pub fn endpoints(&self) -> Vec<EndpointRequest> {
        match self {
            NetworkMode::Unset => vec![EndpointRequest {
                network: crate::network::DEFAULT.to_owned(),
                ..EndpointRequest::default()
            }],
            NetworkMode::Networks(networks) => networks.clone(),
            _ => Vec::new(),
        }
    }
}

/// How far a container is kept from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Docker's defaults in a user namespace of its own.
    #[default]
    Process,
    /// The stricter list of design.md 5.
    Strict,
}

/// Offsets of a time namespace. Source: time_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// Of `CLOCK_MONOTONIC`.
    pub monotonic: Option<TimeOffset>,
    /// Of `CLOCK_BOOTTIME`.
    pub boottime: Option<TimeOffset>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it ended with a failure, this often at most; `None` is without end.
    OnFailure(Option<u32>),
    /// Unless it was stopped; after a reboot all the same.
    Always,
    /// Unless it was stopped.
    UnlessStopped,
}

impl RestartPolicy {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure(_) => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        }
    }
}

/// A stream that a client in the foreground stays with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StdStream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Mounts taken over from another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// The container.
    pub container: String,
    /// Whether they are read-only here; else as they are there.
    pub read_only: bool,
}

/// How what it writes is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Docker's name of a log driver; `None` means berth's own.
    pub driver: Option<String>,
    /// Options of the driver, as typed.
    pub options: BTreeMap<String, String>,
}

/// `berth run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Root file system.
    pub source: Source,
    /// Arguments after the image; empty means the image's own.
    pub command: Vec<String>,
    /// Replaces the image's entry point, and drops the image's command; empty means none at all.
    pub entrypoint: Option<Vec<String>>,
    /// Changes to the image's environment, `--env-file` before `--env`.
    pub env: Vec<EnvChange>,
    /// Working directory, absolute; made if missing.
    pub workdir: Option<String>,
    /// `user[:group]`, names or numbers, resolved in the container.
    pub user: Option<String>,
    /// Further groups, names or numbers, resolved in the container.
    pub group_add: Vec<String>,
    /// Host name; else the short id.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Whether berth's init is pid 1.
    pub init: bool,
    /// Whether the root file system is mounted read-only.
    pub read_only: bool,
    /// Symbolic links at the top of its root that are there when it starts: names, and where they lead. Only a root that is
    /// copied on write gets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_links: Vec<(String, String)>,
    /// Mounts, in the order given; targets are distinct.
    pub mounts: Vec<MountRequest>,
    /// Containers whose binds and volumes it gets as well, at the same targets unless those are taken.
    #[serde(default)]
    pub volumes_from: Vec<VolumesFrom>,
    /// What the container may do.
    pub security: Security,
    /// How much it may use.
    pub resources: Resources,
    /// Device nodes.
    pub devices: Vec<DeviceRequest>,
    /// Kernel parameters, namespaced ones only, in the order given.
    pub sysctls: Vec<(String, String)>,
    /// User namespace.
    pub userns: NamespaceMode,
    /// Pid namespace.
    pub pid: NamespaceMode,
    /// Ipc namespace.
    pub ipc: IpcMode,
    /// Uts namespace.
    pub uts: NamespaceMode,
    /// Cgroup namespace.
    pub cgroupns: NamespaceMode,
    /// Network namespace.
    pub network: NetworkMode,
    /// Ports and names.
    #[serde(default)]
    pub net: NetRequest,
    /// Offsets of the clocks; both absent means no time namespace.
    pub time_offsets: TimeOffsets,
    /// How far the container is kept from the host.
    pub isolation: Isolation,
    /// Signal that `stop` sends, by number.
    pub stop_signal: Option<i32>,
    /// Seconds that `stop` waits before SIGKILL; -1 waits for ever.
    pub stop_timeout_secs: Option<i64>,
    /// Labels; a later one replaces an earlier one of that name.
    pub labels: Vec<(String, String)>,
    /// For the OCI configuration; a later one replaces an earlier one of that name.
    #[serde(default)]
    pub annotations: Vec<(String, String)>,
    /// Ports that the program listens on, each as `80/tcp`.
    #[serde(default)]
    pub expose: Vec<String>,
    /// The OCI runtime, by a name that stands for berth's own.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Where to write the id; the file must not exist.
    pub cidfile: Option<PathBuf>,
    /// Name; else one is made up.
    pub name: Option<String>,
    /// Whether stdin stays open to the container.
    pub interactive: bool,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether it is removed when it ends.
    pub rm: bool,
    /// When it's started again.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How what it writes is kept.
    #[serde(default)]
    pub log: LogRequest,
    /// How to tell whether its program works.
    #[serde(default)]
    pub health: HealthRequest,
    /// Whether to return once it has started.
    pub detach: bool,
    /// Which streams the client stays with; none is all.
    #[serde(default)]
    pub attach: Vec<StdStream>,
    /// Bytes that leave the container's terminal; empty means none do.
    pub detach_keys: Vec<u8>,
    /// Whether signals received by the command are passed on.
    pub sig_proxy: bool,
    /// Whether each step of the start is printed with its cost.
    pub explain: bool,
}

impl RunRequest {
    /// The plainest request: `source` run in the foreground with docker's defaults.
    pub fn new(source: Source) -> RunRequest {
        RunRequest {
            source,
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            workdir: None,
            user: None,
            group_add: Vec::new(),
            hostname: None,
            domainname: None,
            init: false,
            read_only: false,
            root_links: Vec::new(),
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            security: Security::default(),
            resources: Resources::default(),
            devices: Vec::new(),
            sysctls: Vec::new(),
            userns: NamespaceMode::Unset,
            pid: NamespaceMode::Unset,
            ipc: IpcMode::Unset,
            uts: NamespaceMode::Unset,
            cgroupns: NamespaceMode::Unset,
            network: NetworkMode::Unset,
            net: NetRequest::default(),
            time_offsets: TimeOffsets::default(),
            isolation: Isolation::Process,
            stop_signal: None,
            stop_timeout_secs: None,
            labels: Vec::new(),
            annotations: Vec::new(),
            expose: Vec::new(),
            runtime: None,
            cidfile: None,
            name: None,
            interactive: false,
            tty: false,
            rm: false,
            restart: RestartPolicy::No,
            log: LogRequest::default(),
            health: HealthRequest::default(),
            detach: false,
            attach: Vec::new(),
            detach_keys: vec![0x10, 0x11],
            sig_proxy: true,
            explain: false,
        }
    }

    /// Whether the client stays with a stream.
    pub fn attaches(&self, stream: StdStream) -> bool {
        !self.detach
            && match stream {
                // As with docker: an open stdin is the client's whatever was named.
                StdStream::Stdin => self.interactive || self.attach.contains(&stream),
                _ => self.attach.is_empty() || self.attach.contains(&stream),
            }
    }
}

//! Commands on existing containers. Containers are named by name, id or unambiguous start of an id.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{EnvChange, Source};

/// `berth exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The container.
    pub container: String,
    /// Program and arguments, never empty.
    pub command: Vec<String>,
    /// Whether stdin stays open.
    pub interactive: bool,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// Whether to return once it has started.
    pub detach: bool,
    /// Bytes that leave the terminal; empty means none do.
    pub detach_keys: Vec<u8>,
    /// Changes to the container's environment.
    pub env: Vec<EnvChange>,
    /// `user[:group]`; else the container's.
    pub user: Option<String>,
    /// Working directory; else the container's.
    pub workdir: Option<String>,
    /// Whether the process has all capabilities.
    pub privileged: bool,
}

/// `berth debug`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugRequest {
    /// The container that is looked at.
    pub container: String,
    /// Program and arguments; a shell if it's empty.
    pub command: Vec<String>,
    /// Where the tools are; this host's own files if nothing is named.
    pub source: Option<Source>,
    /// Whether stdin stays open.
    pub interactive: bool,
    /// Whether the tools have a terminal.
    pub tty: bool,
    /// Bytes that leave the terminal; empty means none do.
    pub detach_keys: Vec<u8>,
    /// Changes to the tools' environment.
    pub env: Vec<EnvChange>,
    /// `user[:group]`; else the container's root.
    pub user: Option<String>,
    /// Working directory among the tools.
    pub workdir: Option<String>,
    /// Whether the tools have all capabilities in the container's user namespace.
    pub privileged: bool,
}

/// `berth attach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The container.
    pub container: String,
    /// Bytes that leave the terminal; empty means none do.
    pub detach_keys: Vec<u8>,
    /// Whether the caller's stdin is the container's too, if that one's is open.
    pub stdin: bool,
    /// Whether signals are passed on to it; to one with a terminal they never are.
    pub sig_proxy: bool,
}

/// One `--filter` of `berth ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PsFilter {
    /// Start of an id.
    Id(String),
    /// Regular expression that a part of the name matches.
    Name(String),
    /// A label, and its value if given.
    Label(String, Option<String>),
    /// Exit status of a container that ended.
    Exited(i32),
    /// A volume by name, or the target of a mount.
    Volume(String),
    /// State: created, running, paused, restarting, exited, removing, dead.
    Status(String),
    /// Image that it was made from, or whose layers that image has below its own: name or id.
    Ancestor(String),
    /// Made before this container; of several the last counts.
    Before(String),
    /// Made after this container; of several the last counts.
    Since(String),
    /// Name of a network.
    Network(String),
    /// Whether one of these ports, of `tcp`, `udp` or `sctp`, is exposed or published on a network.
    Ports {
        /// Protocol.
        protocol: String,
        /// First and last.
        range: (u16, u16),
        /// Whether the host's port is meant, at which it's published.
        published: bool,
    },
    /// Health: starting, healthy, unhealthy, or none where nothing is checked.
    Health(String),
    /// Whether it's a task of a swarm's service, which none is.
    IsTask(bool),
}

/// `berth ps`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PsRequest {
    /// Whether containers that aren't running are listed.
    pub all: bool,
    /// Only the newest so many, running or not.
    pub last: Option<u32>,
    /// Whether their files are measured.
    pub sizes: bool,
    /// Filters: those of one kind are alternatives (labels: all must hold), kinds must all hold.
    pub filters: Vec<PsFilter>,
}

/// `berth rm`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RmRequest {
    /// The containers, never empty.
    pub containers: Vec<String>,
    /// Whether running ones are killed, and missing ones pass.
    pub force: bool,
    /// Whether anonymous volumes go too.
    pub volumes: bool,
}

/// `berth start`, of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container.
    pub container: String,
    /// Program and arguments instead of its own, for this start.
    pub entrypoint: Option<Vec<String>>,
    /// Whether its output comes here until it ends.
    pub attach: bool,
    /// Whether stdin goes to it, if it was made with one.
    pub interactive: bool,
    /// Bytes that leave its terminal; empty means none do.
    pub detach_keys: Vec<u8>,
    /// Whether signals received by the command are passed on.
    pub sig_proxy: bool,
}

impl Default for StartRequest {
    fn default() -> StartRequest {
        StartRequest {
            container: String::new(),
            entrypoint: None,
            attach: false,
            interactive: false,
            detach_keys: vec![0x10, 0x11],
            sig_proxy: true,
        }
    }
}

/// `berth stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// The containers, never empty.
    pub containers: Vec<String>,
    /// Signal by number; else the container's.
    pub signal: Option<i32>,
    /// Seconds before SIGKILL; -1 waits for ever; else the container's.
    pub timeout_secs: Option<i64>,
}

/// `berth kill`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillRequest {
    /// The containers, never empty.
    pub containers: Vec<String>,
    /// Signal by number.
    pub signal: i32,
}

/// `berth stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsRequest {
    /// The containers; all that run if there are none.
    pub containers: Vec<String>,
    /// Whether those that don't run are among all.
    pub all: bool,
}

/// `berth logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsRequest {
    /// The containers, never empty; several are merged by time.
    pub containers: Vec<String>,
    /// Whether to wait for more until they end.
    pub follow: bool,
    /// Only lines in which this regular expression is found.
    pub grep: Option<String>,
    /// Only those in which it isn't.
    pub invert_match: bool,
    /// Whether the names before the lines of several are coloured.
    pub colour: bool,
    /// Whether what `--log-opt` adds to each line stands before it.
    pub details: bool,
    /// Whether each line starts with its time.
    pub timestamps: bool,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only lines from then on.
    pub since: Option<SystemTime>,
    /// Only lines before then.
    pub until: Option<SystemTime>,
}

/// `berth inspect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectRequest {
    /// The containers, never empty.
    pub containers: Vec<String>,
    /// Whether the answer tells what the container may really do.
    pub security: bool,
    /// Whether their files are measured.
    pub sizes: bool,
}

/// Where an imported root file system is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportSource {
    /// Standard input.
    Stdin,
    /// A tar file.
    File(PathBuf),
}

/// Where `import` has an archive from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportFrom {
    /// This machine.
    Here(ImportSource),
    /// A URL of HTTP or HTTPS.
    Url(String),
}

/// `berth import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The archive.
    pub source: ImportFrom,
    /// Reference that the image gets, if it gets one.
    pub name: Option<String>,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// A remark in the history; else where it came from.
    pub message: Option<String>,
    /// Machine that it is for; else this one.
    pub platform: Option<String>,
}

/// `berth volume create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCreateRequest {
    /// Name; else one is made up, and the volume counts as anonymous.
    pub name: Option<String>,
    /// Driver; else `local`, which is the only one.
    pub driver: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// One `--filter` of `berth volume ls`: those of one kind are alternatives (labels: all must hold), kinds must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeFilter {
    /// Whether no container has it.
    Dangling(bool),
    /// Its driver.
    Driver(String),
    /// A label, and its value if given.
    Label(String, Option<String>),
    /// Part of its name.
    Name(String),
}

/// Which volumes `berth volume prune` removes, of those that no container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePruneRequest {
    /// Those that users named as well.
    pub all: bool,
    /// Only those that have these labels, with these values where given; all must hold.
    pub labels: Vec<(String, Option<String>)>,
    /// Only those that have none of these.
    pub labels_not: Vec<(String, Option<String>)>,
    /// Only those that no container has used since then, nanoseconds since the epoch.
    pub unused_since_ns: Option<i64>,
    /// Whether it's only told what would be removed.
    pub dry_run: bool,
}

/// `berth update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// Containers.
    pub containers: Vec<String>,
    /// What is to change of what they may use; the rest stays.
    pub resources: super::Resources,
    /// Another restart policy.
    pub restart: Option<super::RestartPolicy>,
    /// Mounts that are added, binds and volumes.
    pub mount_add: Vec<super::MountRequest>,
    /// Targets of mounts that are taken away.
    pub mount_rm: Vec<PathBuf>,
}

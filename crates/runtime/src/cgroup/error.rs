//! What can go wrong with a control group.

use std::io;
use std::path::PathBuf;

use types::kind::Kind;

/// A failure to plan, make, use or remove a control group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for something that berth doesn't do, or that this control group version doesn't have.
    #[error("{field}: {why}")]
    Unsupported {
        /// Place in config.json, as `linux.resources.rdma`.
        field: String,
        /// Why not.
        why: String,
    },
    /// A value that can't be right on any machine.
    #[error("{field}: {value}: {why}")]
    Invalid {
        /// Place in config.json.
        field: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The machine doesn't mount or offer the controller that the field needs.
    #[error("{field}: this machine has no {controller:?} controller ({mode})")]
    NoController {
        /// Place in config.json.
        field: String,
        /// Controller, as `memory`.
        controller: String,
        /// The machine's arrangement, as `cgroup v1`.
        mode: &'static str,
    },
    /// The controller is there, but the kernel was built without the file.
    #[error("{field}: the kernel has no {} in {}", files.join(" or "), dir.display())]
    NoFile {
        /// Place in config.json.
        field: String,
        /// Names that were tried.
        files: Vec<String>,
        /// The group.
        dir: PathBuf,
    },
    /// The kernel refused a value.
    #[error("{field}: write {value:?} to {}: {source}", file.display())]
    Write {
        /// Place in config.json.
        field: String,
        /// File of the group.
        file: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// `checkBeforeUpdate`: the new limit lies below the present use.
    #[error("{field}: the limit of {limit} bytes is below the {used} bytes in use in {}", dir.display())]
    BelowUse {
        /// Place in config.json.
        field: String,
        /// Limit asked for.
        limit: u64,
        /// Bytes in use.
        used: u64,
        /// The group.
        dir: PathBuf,
    },
    /// A path that can't name a group.
    #[error("linux.cgroupsPath {path:?}: {why}")]
    BadPath {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The group exists already and has processes in it.
    #[error("cgroup {} is in use by process {pid}", dir.display())]
    InUse {
        /// The group.
        dir: PathBuf,
        /// One of its processes.
        pid: u32,
    },
    /// The group exists already and is frozen.
    #[error("cgroup {} exists and is frozen", dir.display())]
    Frozen {
        /// The group.
        dir: PathBuf,
    },
    /// A controller couldn't be switched on for a group's children.
    #[error("{field}: enable controller {controller} in {}: {source}", file.display())]
    Enable {
        /// Place in config.json that needs the controller.
        field: String,
        /// Controller.
        controller: String,
        /// The `cgroup.subtree_control` file.
        file: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The device filter couldn't be loaded or attached.
    #[error("linux.resources.devices: device filter for {}: {source}", dir.display())]
    DeviceFilter {
        /// The group.
        dir: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another operation on a path failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// Operation, as `make cgroup`.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Processes didn't leave, or didn't freeze, in time.
    #[error("{what} cgroup {}: not done after {seconds} s", path.display())]
    Timeout {
        /// Operation, as `empty`.
        what: &'static str,
        /// The group.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// A file of /proc doesn't read as it should, or there are no control groups.
    #[error("find control groups: {0}")]
    Detect(String),
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Unsupported { .. }
            | Error::NoController { .. }
            | Error::NoFile { .. }
            | Error::Detect(_) => Kind::Unsupported,
            Error::Invalid { .. } | Error::BadPath { .. } => Kind::Invalid,
            Error::InUse { .. } | Error::Frozen { .. } | Error::BelowUse { .. } => Kind::Conflict,
            Error::Write { source, .. }
            | Error::Enable { source, .. }
            | Error::DeviceFilter { source, .. }
            | Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Forbidden,
                io::ErrorKind::InvalidInput => Kind::Invalid,
                _ => Kind::System,
            },
            Error::Timeout { .. } => Kind::System,
        }
    }

    /// What the user can do about it, where berth knows.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Write { field, source, .. } => write_hint(field, source).map(str::to_owned),
            Error::NoController { controller, mode, .. } if *mode == "cgroup v2" => Some(format!(
                "the parent group may not delegate it: look for {controller} in its cgroup.controllers; drop the limit"
            )),
            Error::NoController { controller, .. } => {
                Some(format!("boot with the {controller} controller enabled, or drop the limit"))
            }
            Error::NoFile { field, .. } if field.contains("swap") => {
                Some("boot with swapaccount=1, or drop the swap limit".to_owned())
            }
            Error::NoFile { field, .. } if field.contains("eight") => {
                Some("block I/O weights need the BFQ scheduler or io.cost in the kernel; use throttles instead".to_owned())
            }
            Error::NoFile { .. } => Some("drop the limit, or use a kernel that has it".to_owned()),
            Error::Enable { source, .. } if source.raw_os_error() == Some(EBUSY) => Some(
                "processes live in that group itself, which cgroup v2 forbids once children have limits: move them \
                 into a child, or set BERTH_CGROUP to another parent"
                    .to_owned(),
            ),
            Error::InUse { .. } => Some("use another cgroupsPath, or end those processes".to_owned()),
            Error::Frozen { .. } => Some("remove or thaw it, or use another cgroupsPath".to_owned()),
            Error::BelowUse { .. } => Some("set a higher limit, or make the container use less first".to_owned()),
            Error::DeviceFilter { source, .. } if linux::bpf::errno(source) == Some(EPERM) => {
                Some("loading the filter needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN".to_owned())
            }
            Error::DeviceFilter { .. } => Some("the kernel needs CONFIG_CGROUP_BPF".to_owned()),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("the control group file system is mounted read-only: berth needs a writable one".to_owned())
            }
            _ => None,
        }
    }
}

const EPERM: i32 = 1;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ERANGE: i32 = 34;

fn write_hint(field: &str, source: &io::Error) -> Option<&'static str> {
    let errno = source.raw_os_error()?;
    let name = field.rsplit('.').next().unwrap_or(field);
    match (name, errno) {
        ("limit" | "swap" | "reservation", EBUSY) => {
            Some("the group already uses more memory than the new limit allows")
        }
        ("swap", EINVAL) => {
            Some("the swap limit counts memory and swap together: it must not be below the memory limit")
        }
        ("limit", EINVAL) => Some("the memory limit must not be above the limit of memory and swap together"),
        ("quota" | "period", EINVAL) => Some("no group may get more processor time than its parent has"),
        ("realtimeRuntime" | "realtimePeriod", EINVAL) => {
            Some("the parent groups need a realtime budget first: raise their cpu.rt_runtime_us")
        }
        ("shares", EINVAL) => Some("an idle group (cpu.idle 1) takes no shares"),
        ("cpus" | "mems", EINVAL | ERANGE | ENOSPC | EBUSY | 13) => {
            Some("every processor or memory node must be online and in the parent group's set")
        }
        (_, ENODEV) => Some("there is no block device with this number (whole disks only, not partitions)"),
        _ if errno == EPERM || errno == 13 => Some("the caller needs write access to the control group"),
        _ => None,
    }
}

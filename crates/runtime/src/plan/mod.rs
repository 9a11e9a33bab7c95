//! From `config.json` to everything that a start needs, decided beforehand: flags, maps, paths, filters.
//!
//! Pure but for nothing: no file is opened here. A field that berth doesn't support is an error that names it.

mod devices;
mod mounts;
mod namespaces;
mod process;

pub(crate) use devices::{DeviceNode, NodeKind};
pub(crate) use mounts::{IdmapPlan, MountKind, MountPlan};
pub(crate) use namespaces::{Namespaces, UserNamespace};
pub use process::ProcessPlan;

use crate::Error;
use crate::mount_options::parse_propagation;
use types::oci::{NamespaceType, Spec};

/// Everything that [`crate::launch`] needs to make one container's first process.
#[derive(Debug)]
pub struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) readonly_root: bool,
    /// Propagation of the root mount: flag, recursive.
    pub(crate) root_propagation: Option<(u64, bool)>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<DeviceNode>,
    /// Whether `/dev` gets nodes and links at all: not where it's a bind mount.
    pub(crate) fill_dev: bool,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    /// Path below `/proc/sys`, value, name as it was given.
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) process: ProcessPlan,
    /// What the specification says to warn of rather than to refuse.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    pub path: String,
    pub value: String,
}

impl Plan {
    /// Decides everything for `spec`.
    ///
    /// Errors: [`Error::Field`] for malformed fields, [`Error::Unsupported`] for known ones that berth lacks.
    pub fn new(spec: &Spec) -> Result<Plan, Error> {
        check_version(&spec.oci_version)?;
        refuse_unsupported(spec)?;
        let mut warnings = Vec::new();
        let linux = spec.linux.clone().unwrap_or_default();
        let namespaces = Namespaces::plan(&linux)?;
        let process = spec.process.as_ref().ok_or_else(|| Error::field("process", "is missing"))?;
        let root = spec.root.as_ref().ok_or_else(|| Error::field("root", "is missing"))?;
        let mut process = ProcessPlan::new(process, &mut warnings)?;
        if let Some(seccomp) = &linux.seccomp {
            process.set_seccomp(&crate::seccomp::compile(seccomp)?, &mut warnings);
        }

        let own = |typ| linux.namespaces.iter().any(|ns| ns.typ == typ);
        if spec.hostname.is_some() && !own(NamespaceType::Uts) {
            return Err(Error::field("hostname", "needs a uts namespace in linux.namespaces"));
        }
        if spec.domainname.is_some() && !own(NamespaceType::Uts) {
            return Err(Error::field("domainname", "needs a uts namespace in linux.namespaces"));
        }
        let mount_ns = own(NamespaceType::Mount);
        let needs_mount_ns = [
            ("mounts", !spec.mounts.is_empty()),
            ("linux.maskedPaths", !linux.masked_paths.is_empty()),
            ("linux.readonlyPaths", !linux.readonly_paths.is_empty()),
            ("linux.rootfsPropagation", linux.rootfs_propagation.is_some()),
            ("root.readonly", root.readonly),
        ];
        if let Some((field, _)) = needs_mount_ns.iter().find(|(_, given)| *given && !mount_ns) {
            return Err(Error::field(*field, "needs a mount namespace in linux.namespaces"));
        }
        let root_propagation = match linux.rootfs_propagation.as_deref() {
            None | Some("") => None,
            Some(word) => Some(parse_propagation(word).ok_or_else(|| {
                Error::field("linux.rootfsPropagation", format!("{word:?} is no propagation such as rslave"))
            })?),
        };
        let mut mounts =
            mounts::plan(&spec.mounts, &namespaces, linux.mount_label.as_deref(), &mut warnings)?;
        let devices = devices::plan(&linux.devices)?;
        let fill_dev = mount_ns && devices::claim_dev(&mut mounts);
        Ok(Plan {
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            readonly_root: root.readonly,
            root_propagation,
            mounts,
            devices,
            fill_dev,
            masked_paths: absolute("linux.maskedPaths", &linux.masked_paths)?,
            readonly_paths: absolute("linux.readonlyPaths", &linux.readonly_paths)?,
            sysctls: plan_sysctls(&linux.sysctl, &own)?,
            process,
            namespaces,
            warnings,
        })
    }

    /// The plan of the process itself.
    pub fn process(&self) -> &ProcessPlan {
        &self.process
    }

    /// The same, to add what no specification has a field for.
    pub fn process_mut(&mut self) -> &mut ProcessPlan {
        &mut self.process
    }

    /// Whether the container has a user namespace other than the caller's.
    pub fn has_user_namespace(&self) -> bool {
        !matches!(self.namespaces.user, UserNamespace::Inherited)
    }

    /// Whether the container has a new mount namespace.
    pub fn has_mount_namespace(&self) -> bool {
        self.namespaces.clone_flags & linux::process::ns::MOUNT != 0
    }
}

fn absolute(field: &str, paths: &[String]) -> Result<Vec<String>, Error> {
    for (n, path) in paths.iter().enumerate() {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Error::field(format!("{field}[{n}]"), format!("{path:?} is no absolute path")));
        }
    }
    Ok(paths.to_vec())
}

fn check_version(version: &str) -> Result<(), Error> {
    let numbers: Vec<Option<u32>> =
        version.split(['-', '+']).next().unwrap_or_default().split('.').map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [Some(1), Some(_), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => {
            Err(Error::field("ociVersion", format!("{version:?} is not a version 1 that berth implements")))
        }
        _ => Err(Error::field("ociVersion", format!("{version:?} is no version such as 1.3.0"))),
    }
}

fn refuse_unsupported(spec: &Spec) -> Result<(), Error> {
    let process = spec.process.as_ref();
    let linux = spec.linux.as_ref();
    let hooks = spec.hooks.as_ref().filter(|hooks| {
        let lists = hooks.as_object().map(|o| o.values().collect::<Vec<_>>()).unwrap_or_else(|| vec![hooks]);
        lists.iter().any(|list| !list.as_array().is_some_and(Vec::is_empty) && !list.is_null())
    });
    let given = [
        ("hooks", hooks.is_some()),
        ("solaris", spec.solaris.is_some()),
        ("windows", spec.windows.is_some()),
        ("vm", spec.vm.is_some()),
        ("zos", spec.zos.is_some()),
        ("freebsd", spec.freebsd.is_some()),
        ("process.commandLine", process.is_some_and(|p| p.command_line.is_some())),
        ("process.user.username", process.is_some_and(|p| p.user.username.is_some())),
        ("process.ioPriority", process.is_some_and(|p| p.io_priority.is_some())),
        ("process.scheduler", process.is_some_and(|p| p.scheduler.is_some())),
        ("process.execCPUAffinity", process.is_some_and(|p| p.exec_cpu_affinity.is_some())),
        ("linux.netDevices", linux.is_some_and(|l| l.net_devices.is_some())),
        ("linux.intelRdt", linux.is_some_and(|l| l.intel_rdt.is_some())),
        ("linux.memoryPolicy", linux.is_some_and(|l| l.memory_policy.is_some())),
        ("linux.personality", linux.is_some_and(|l| l.personality.is_some())),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Error::Unsupported { field: (*field).to_owned() }),
        None => Ok(()),
    }
}

/// Kernel parameters that belong to an IPC namespace, besides `fs.mqueue`.
const IPC_SYSCTLS: [&str; 9] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/shm_next_id",
];

/// Kernel parameters, each only with the namespace that it belongs to (security.md T19).
fn plan_sysctls(
    sysctls: &std::collections::BTreeMap<String, String>,
    own: &dyn Fn(NamespaceType) -> bool,
) -> Result<Vec<Sysctl>, Error> {
    let mut planned = Vec::new();
    for (name, value) in sysctls {
        let field = format!("linux.sysctl[{name:?}]");
        let path = sysctl_path(name);
        let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.split('/').all(sound) || path.contains('\0') {
            return Err(Error::field(field, "is no name of a kernel parameter"));
        }
        let (namespace, word) = if path.starts_with("net/") {
            (NamespaceType::Network, "network")
        } else if path.starts_with("fs/mqueue/") || IPC_SYSCTLS.contains(&path.as_str()) {
            (NamespaceType::Ipc, "ipc")
        } else if path == "kernel/domainname" {
            (NamespaceType::Uts, "uts")
        } else if path == "kernel/hostname" {
            return Err(Error::field(field, "is set by the field hostname"));
        } else if path == "user" || path.starts_with("user/") {
            (NamespaceType::User, "user")
        } else {
            return Err(Error::field(field, "belongs to no namespace: it would change the whole host"));
        };
        if !own(namespace) {
            return Err(Error::field(
                field,
                format!("needs a {word} namespace of its own in linux.namespaces"),
            ));
        }
        planned.push(Sysctl { path, value: value.clone() });
    }
    Ok(planned)
}

/// The path below `/proc/sys`: as sysctl(8), the first separator says whether dots or slashes separate.
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;

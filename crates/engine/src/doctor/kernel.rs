//! What the kernel offers, and what becomes of containers without it.

use super::{Finding, Status};
use crate::Home;
use linux::process::{self, Fork};
use linux::{Errno, mount};
use runtime::cgroup::{Hierarchy, Mode};
use rustix::fs::CWD;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Something that the kernel may have.
pub(crate) struct Feature {
    /// Name.
    pub name: &'static str,
    /// Whether it's there.
    pub there: bool,
    /// What becomes of containers where it isn't.
    pub without: &'static str,
}

/// Features that containers of today use.
pub(crate) fn features(home: &Home, hierarchy: Option<&Hierarchy>) -> Vec<Feature> {
    let there = |path: &str| Path::new(path).exists();
    let controller = |name: &str| hierarchy.is_some_and(|hierarchy| hierarchy.has_controller(name));
    let on_v2 = hierarchy.is_some_and(|hierarchy| hierarchy.v2_mountpoint().is_some());
    let feature = |name, there, without| Feature { name, there, without };
    vec![
        feature("user namespaces", there("/proc/self/ns/user"), "--userns=host only"),
        feature("time namespaces", there("/proc/self/ns/time"), "no --time-offset"),
        feature("control group namespaces", there("/proc/self/ns/cgroup"), "--cgroupns=host only"),
        feature("control group version 2", on_v2, "version 1 only: processes are moved after their start"),
        feature("birth in a control group (clone3)", on_v2, "processes are moved after their start"),
        feature("controller memory", controller("memory"), "no --memory"),
        feature("controller cpu", controller("cpu"), "no --cpus, no --cpu-shares"),
        feature("controller cpuset", controller("cpuset"), "no --cpuset-cpus, no --cpuset-mems"),
        feature("controller pids", controller("pids"), "--pids-limit by the user namespace only"),
        feature("overlay", has_filesystem("overlay"), "--rootfs only"),
        feature(
            "mapped ids on the host's root",
            maps_ids(Path::new("/")),
            "no @host, unless with --userns=host",
        ),
        feature(
            "mapped ids on berth's file system",
            maps_ids(&home.root),
            "no images, unless with --userns=host; BERTH_ROOT moves them",
        ),
        feature(
            "exit status by pidfd",
            exit_by_pidfd(),
            "the status of a container whose holder was killed is unknown",
        ),
        feature(
            "seccomp",
            there("/proc/sys/kernel/seccomp/actions_avail"),
            "--security-opt seccomp=unconfined only",
        ),
        feature("AppArmor", crate::spec::apparmor_enabled(), "no profile confines containers"),
        feature("SELinux", there("/sys/fs/selinux/enforce"), "no label confines containers"),
        feature("core scheduling", false, "not supported yet: --isolation strict shares cores with others"),
    ]
}

/// Features that only `doctor` tells of: what every kernel of today has, and what isn't used yet.
fn further(hierarchy: Option<&Hierarchy>) -> Vec<Feature> {
    let namespace = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    let controller = |name: &str| hierarchy.is_some_and(|hierarchy| hierarchy.has_controller(name));
    let feature = |name, there, without| Feature { name, there, without };
    let any = |names: &[&str]| names.iter().any(|name| controller(name));
    vec![
        feature(
            "mount, process, network, IPC and UTS namespaces",
            ["mnt", "pid", "net", "ipc", "uts"].into_iter().all(namespace),
            "no containers",
        ),
        feature(
            "controller io or blkio",
            any(&["io", "blkio"]),
            "no --blkio-weight; `stats` adds processes up",
        ),
        feature(
            "freezer",
            controller("freezer") || hierarchy.is_some_and(|found| found.v2_mountpoint().is_some()),
            "no `pause`",
        ),
        feature("process descriptors (pidfd)", has_pidfds(), "no containers"),
        feature(
            "CAP_SYS_RESOURCE",
            has_capability("SYS_RESOURCE"),
            "--ulimit can't raise berth's own limits",
        ),
        feature("veth, for networks to come", has_module("veth"), "--network host, none or container: only"),
        feature(
            "nftables, for networks to come",
            has_module("nf_tables"),
            "no published ports, once there are",
        ),
    ]
}

/// The findings of the kernel and of the host's settings.
pub(super) fn findings(home: &Home) -> Vec<Finding> {
    let hierarchy = Hierarchy::detect();
    let mut findings = Vec::new();
    findings.push(match &hierarchy {
        Ok(found) => {
            let mode = match found.mode() {
                Mode::V1 => "version 1",
                Mode::V2 => "version 2",
                Mode::Hybrid => "version 1 with version 2 beside it",
            };
            Finding::new("kernel", "control groups", Status::Ok, mode)
        }
        Err(error) => Finding {
            advice: "containers can be neither limited nor ended as a whole".to_owned(),
            ..Finding::new("kernel", "control groups", Status::Lacking, error.to_string())
        },
    });
    let hierarchy = hierarchy.ok();
    let of_feature = |feature: Feature| match feature.there {
        true => Finding::new("kernel", feature.name, Status::Ok, ""),
        false => Finding {
            advice: feature.without.to_owned(),
            ..Finding::new("kernel", feature.name, Status::Lacking, "not there")
        },
    };
    let all = features(home, hierarchy.as_ref()).into_iter().chain(further(hierarchy.as_ref()));
    findings.extend(all.map(of_feature));
    findings.extend([security_modules(), id_ranges(home)]);
    findings
}

fn security_modules() -> Finding {
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(names) => Finding::new("kernel", "security modules", Status::Ok, names.trim().replace(',', ", ")),
        Err(_) => Finding {
            advice: "capabilities, id ranges and the system call filter confine containers all the same"
                .to_owned(),
            ..Finding::new(
                "kernel",
                "security modules",
                Status::Lacking,
                "not to be seen: no securityfs is mounted",
            )
        },
    }
}

/// Whether the ids that containers get are nobody else's, by /etc/subuid and /etc/subgid.
fn id_ranges(home: &Home) -> Finding {
    let (first, end) = (u64::from(home.ids_base), u64::from(home.range_base(0)) + home.ids());
    let shown = format!("{first} to {}", end - 1);
    let mut others = Vec::new();
    let mut written = true;
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        written &= text.lines().any(|line| line.starts_with("berth:"));
        others
            .extend(foreign_owners(&text, first, end).into_iter().map(|owner| format!("{owner} in {file}")));
    }
    match others.is_empty() {
        false => Finding {
            area: "host",
            ..Finding::wrong(
                "ids of containers",
                format!("{shown} overlap with those of {}", others.join(", ")),
                "move one of them; BERTH_IDS=base:count moves berth's",
            )
        },
        // Another home's are the business of whoever has set BERTH_IDS.
        true if written || !home.is_default() => Finding::new("host", "ids of containers", Status::Ok, shown),
        true => Finding {
            advice: "the first container writes them there, where /etc can be written to".to_owned(),
            ..Finding::new(
                "host",
                "ids of containers",
                Status::Ok,
                format!("{shown}, not yet in /etc/subuid and /etc/subgid"),
            )
        },
    }
}

/// Whose ranges of a file such as /etc/subuid overlap with `first` to before `end`.
fn foreign_owners(text: &str, first: u64, end: u64) -> Vec<String> {
    let owner = |line: &str| {
        let mut fields = line.split(':');
        let (owner, base) = (fields.next()?, fields.next()?.parse::<u64>().ok()?);
        let count = fields.next()?.trim().parse::<u64>().ok()?;
        let overlaps = base < end && first < base.saturating_add(count);
        (owner != "berth" && overlaps).then(|| owner.to_owned())
    };
    text.lines().filter_map(owner).collect()
}

fn has_filesystem(name: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split('\t').next_back() == Some(name))
}

/// Whether a mount of the file system at `path`, or of the first directory above it that there is, can map ids.
fn maps_ids(path: &Path) -> bool {
    let attempt = || -> Result<(), Errno> {
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let tree = mount::clone_tree(CWD, there, false)?;
        let map = [types::oci::IdMapping { container_id: 0, host_id: 1, size: 1 }];
        let userns = runtime::userns::for_mount(&map, &map).map_err(|_| Errno::PERM)?;
        mount::set_idmap(tree.as_fd(), userns.as_fd(), false)
    };
    attempt().is_ok()
}

/// Whether the kernel tells how a process ended to others than its parent: tried on one.
fn exit_by_pidfd() -> bool {
    let Ok(forked) = process::fork() else { return false };
    let Fork::Parent(pid) = forked else { process::exit(0) };
    let pidfd = process::pidfd_open(pid);
    let _ = process::wait_child(pid);
    pidfd.is_ok_and(|pidfd| process::pidfd_exit(pidfd.as_fd()).is_some())
}

fn has_pidfds() -> bool {
    i32::try_from(std::process::id()).is_ok_and(|pid| process::pidfd_open(pid).is_ok())
}

/// Whether this process has a capability, by its name without `CAP_`.
fn has_capability(name: &str) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default();
    types::caps::number(name).is_some_and(|number| bits & (1 << number) != 0)
}

/// Whether the kernel has a part that may be a module: it's loaded, built in, or can be loaded.
fn has_module(name: &str) -> bool {
    if Path::new("/sys/module").join(name).exists() {
        return true;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let file = format!("/{name}.ko");
    let listed = ["modules.dep", "modules.builtin"].into_iter().any(|list| {
        let text =
            fs::read_to_string(Path::new("/lib/modules").join(&release).join(list)).unwrap_or_default();
        text.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains(&file)))
    });
    // Where no list of modules is installed, the names of the kernel's functions tell.
    listed || fs::read_to_string("/proc/kallsyms").is_ok_and(|text| text.contains(&format!(" {name}_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_owners_are_found() {
        let text = "alice:100000:65536\nberth:1879048192:268435456\nbob:1879048000:1000\nodd\nx:y:z\n";
        assert_eq!(foreign_owners(text, 1_879_048_192, 2_147_483_648), ["bob"]);
        assert_eq!(foreign_owners(text, 165_535, 165_536), ["alice"]);
        assert_eq!(foreign_owners(text, 165_536, 165_537), [""; 0]);
    }
}

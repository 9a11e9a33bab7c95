//! What this machine can do.

use std::path::{Path, PathBuf};

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Version 1 only.
    V1,
    /// Version 1 controllers, and a version 2 tree beside them.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// The arrangement at /sys/fs/cgroup.
pub fn cgroup_mode() -> CgroupMode {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        CgroupMode::V2
    } else if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        CgroupMode::Hybrid
    } else {
        CgroupMode::V1
    }
}

/// Where `controller` of version 1 is mounted.
pub fn v1_controller(controller: &str) -> Option<PathBuf> {
    let dir = Path::new("/sys/fs/cgroup").join(controller);
    (cgroup_mode() != CgroupMode::V2 && dir.join("cgroup.procs").exists()).then_some(dir)
}

/// Version of the kernel: major, minor.
pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Numbers of capabilities that tests ask for. Source: capabilities(7), linux/capability.h.
const CAPABILITIES: [(&str, u32); 5] = [
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_MKNOD", 27),
    ("CAP_NET_ADMIN", 12),
    ("CAP_BPF", 39),
];

/// Whether this process has the capability `name`, as `CAP_SYS_RESOURCE`.
pub fn has_capability(name: &str) -> bool {
    let (_, number) = CAPABILITIES
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("add {name} to facts"));
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    u64::from_str_radix(effective.trim(), 16).unwrap_or(0) >> number & 1 == 1
}

/// Whether the security module `name` (`apparmor`, `selinux`) is active.
pub fn has_lsm(name: &str) -> bool {
    match name {
        "selinux" => Path::new("/sys/fs/selinux/enforce").exists(),
        _ => std::fs::read_to_string(format!("/sys/module/{name}/parameters/enabled"))
            .is_ok_and(|text| text.trim() == "Y"),
    }
}

/// Whether the kernel runs 32-bit programs of this architecture.
pub fn runs_32_bit() -> bool {
    cfg!(target_arch = "x86_64") && Path::new("/proc/sys/abi/vsyscall32").exists()
}

/// Number of processors that are online.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

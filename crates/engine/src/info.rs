//! `berth info`: what this host offers, and what falls back.

use crate::find::{self, State};
use crate::{Error, Home};
use linux::process::{self, Fork};
use linux::{Errno, mount};
use runtime::cgroup::{Hierarchy, Mode};
use rustix::fs::CWD;
use serde_json::{Value as Json, json};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// A document in docker's words, and a `Berth` object with the features.
pub fn info(home: &Home) -> Result<Json, Error> {
    let containers = find::all(home)?;
    let is_running = |c: &&find::Container| matches!(c.state, State::Running(_));
    let running = containers.iter().filter(is_running).count();
    let is_paused = |c: &&find::Container| matches!(&c.state, State::Running(running) if crate::pause::is_paused(running));
    let paused = containers.iter().filter(is_paused).count();
    let images = match store::Store::open_read_only(&home.root) {
        Ok(store) => store.images()?.len(),
        Err(store::Error::NoStore { .. }) => 0,
        Err(error) => return Err(error.into()),
    };
    let uname = rustix::system::uname();
    let hierarchy = Hierarchy::detect().map_err(|error| Error::Runtime(error.into()));
    let mode = hierarchy.as_ref().map(Hierarchy::mode).ok();
    let memory = rustix::system::sysinfo();
    Ok(json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Name": uname.nodename().to_string_lossy(),
        "Containers": containers.len(),
        "ContainersRunning": running - paused,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running,
        "Images": images,
        "Driver": "overlay2",
        "LoggingDriver": "local",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if mode == Some(Mode::V2) { "2" } else { "1" },
        "KernelVersion": uname.release().to_string_lossy(),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": uname.machine().to_string_lossy(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": u64::from(memory.mem_unit.max(1)).saturating_mul(memory.totalram as u64),
        "DockerRootDir": home.root,
        "SecurityOptions": security_options(),
        "Berth": {
            "RuntimeSpec": types::oci::OCI_VERSION,
            "Root": home.root,
            "Run": home.run,
            "CgroupParent": home.cgroup_parent,
            "Cgroups": mode.map_or("none", Mode::name),
            "Ids": {
                "First": home.ids_base,
                "Ranges": home.ranges,
                "IdsPerRange": crate::home::RANGE_IDS,
                "InUse": fs::read_dir(home.run.join("ranges")).map_or(0, Iterator::count),
            },
            "Features": features(home, hierarchy.ok().as_ref()).into_iter().map(Feature::json).collect::<Vec<_>>(),
        },
    }))
}

/// Something that the kernel may have, and what becomes of containers without it.
struct Feature {
    name: &'static str,
    there: bool,
    /// Where it isn't there.
    without: &'static str,
}

impl Feature {
    fn json(self) -> Json {
        match self.there {
            true => json!({ "Name": self.name, "Available": true }),
            false => json!({ "Name": self.name, "Available": false, "Instead": self.without }),
        }
    }
}

fn features(home: &Home, hierarchy: Option<&Hierarchy>) -> Vec<Feature> {
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

fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Docker's words for what confines containers.
fn security_options() -> Vec<&'static str> {
    let apparmor = crate::spec::apparmor_enabled().then_some("name=apparmor");
    let selinux = Path::new("/sys/fs/selinux/enforce").exists().then_some("name=selinux");
    let always = ["name=seccomp,profile=builtin", "name=userns", "name=cgroupns"];
    apparmor.into_iter().chain(selinux).chain(always).collect()
}

//! `berth info`: what this host offers, and what falls back.

use crate::doctor::kernel::{Feature, features};
use crate::find::{self, State};
use crate::{Error, Home};
use runtime::cgroup::{Hierarchy, Mode};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

/// A document in docker's words, and a `Berth` object with the features.
pub fn info(home: &Home) -> Result<Json, Error> {
    let containers = find::all(home)?;
    let is_running = |c: &&find::Container| matches!(c.state, State::Running(_));
    let running = containers.iter().filter(is_running).count();
    let is_paused = |c: &&find::Container| matches!(&c.state, State::Running(running) if crate::pause::is_paused(running));
    let paused = containers.iter().filter(is_paused).count();
    let images = match crate::images::look_at_store(home)? {
        Some(store) => store.images()?.len(),
        None => 0,
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
            "Features": features(home, hierarchy.ok().as_ref()).into_iter().map(shown).collect::<Vec<_>>(),
        },
    }))
}

fn shown(feature: Feature) -> Json {
    match feature.there {
        true => json!({ "Name": feature.name, "Available": true }),
        false => json!({ "Name": feature.name, "Available": false, "Instead": feature.without }),
    }
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

//! Devices of the host that a container may use.

use crate::Error;
use crate::config::UserNamespace;
use crate::request::RunRequest;
use runtime::cgroup::docker_default_device_rules;
use rustix::fs::FileType;
use std::path::{Path, PathBuf};
use types::oci::{Device, DeviceRule};

/// Nodes, and the rules of the device filter.
#[derive(Debug, Default)]
pub struct DeviceSet {
    /// Nodes.
    pub nodes: Vec<Device>,
    /// Rules; none means that no filter is needed: in a user namespace of its own a container can't make nodes, and
    /// every mount of it that could hold one forbids opening it.
    pub rules: Vec<DeviceRule>,
}

/// Directories of `/dev` that hold no devices of the host's to show.
const SKIPPED: [&str; 5] = ["pts", "shm", "mqueue", "fd", ".udev"];

/// Decides on nodes and rules.
pub fn plan(request: &RunRequest, userns: &UserNamespace) -> Result<DeviceSet, Error> {
    let mut set = DeviceSet::default();
    if request.security.privileged {
        collect(Path::new("/dev"), Path::new("/dev"), &mut set.nodes, 0);
        set.nodes.retain(|node| !matches!(node.path.as_str(), "/dev/console" | "/dev/tty" | "/dev/ptmx"));
        return Ok(set);
    }
    let mut narrowed = false;
    let mut own_rules = Vec::new();
    for device in &request.devices {
        let before = set.nodes.len();
        let shown = device.host.display();
        let stat = rustix::fs::stat(&device.host).map_err(|errno| {
            Error::invalid("--device", format!("{shown}: {}", runtime::errno_text(errno)))
        })?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            collect(&device.host, &device.container, &mut set.nodes, 0);
        } else if let Some(node) = node(&device.host, &device.container) {
            set.nodes.push(node);
        }
        if set.nodes.len() == before {
            return Err(Error::invalid("--device", format!("{shown} is not a device, and holds none")));
        }
        narrowed |= !(device.permissions.contains('r') && device.permissions.contains('w'));
        own_rules.extend(set.nodes[before..].iter().map(|node| DeviceRule {
            allow: true,
            typ: Some(node.typ.clone()),
            major: node.major,
            minor: node.minor,
            access: Some(device.permissions.clone()),
        }));
    }
    if *userns == UserNamespace::Host || narrowed {
        set.rules = docker_default_device_rules();
        set.rules.extend(own_rules);
        set.rules.extend(request.resources.device_cgroup_rules.iter().filter_map(|rule| rule_of(rule)));
    }
    Ok(set)
}

/// A rule in docker's words: `c 10:200 rwm`, with `*` for any number.
fn rule_of(text: &str) -> Option<DeviceRule> {
    let mut words = text.split(' ');
    let (typ, (major, minor), access) = (words.next()?, words.next()?.split_once(':')?, words.next()?);
    let number = |text: &str| if text == "*" { None } else { text.parse().ok() };
    Some(DeviceRule {
        allow: true,
        typ: Some(typ.to_owned()),
        major: number(major),
        minor: number(minor),
        access: Some(access.to_owned()),
    })
}

/// Nesting at most below a device directory.
const DEPTH_MAX: u32 = 8;

fn collect(dir: &Path, shown: &Path, nodes: &mut Vec<Device>, depth: u32) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (path, shown): (PathBuf, PathBuf) = (entry.path(), shown.join(&name));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if depth < DEPTH_MAX && !SKIPPED.iter().any(|skipped| name == *skipped) {
                    collect(&path, &shown, nodes, depth + 1);
                }
            }
            Ok(_) => nodes.extend(node(&path, &shown)),
            Err(_) => {}
        }
    }
}

fn node(host: &Path, shown: &Path) -> Option<Device> {
    let stat = rustix::fs::lstat(host).ok()?;
    let stat = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => return None,
        _ => stat,
    };
    let typ = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        _ => return None,
    };
    Some(Device {
        typ: typ.to_owned(),
        path: shown.to_str()?.to_owned(),
        major: Some(rustix::fs::major(stat.st_rdev).into()),
        minor: Some(rustix::fs::minor(stat.st_rdev).into()),
        file_mode: Some(stat.st_mode & 0o7777),
        uid: None,
        gid: None,
    })
}

//! Device nodes: the ones that every container has, and those of `linux.devices`.

use crate::Error;
use crate::plan::{MountKind, MountPlan};
use types::oci::Device;

/// One node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    /// Absolute path in the container.
    pub path: String,
    pub kind: NodeKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Char,
    Block,
    Fifo,
}

/// Nodes of every container. Source: runtime-spec config-linux.md, Default Devices.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

pub(super) fn plan(devices: &[Device]) -> Result<Vec<DeviceNode>, Error> {
    let mut nodes: Vec<DeviceNode> = DEFAULT
        .iter()
        .map(|(path, major, minor)| DeviceNode {
            path: (*path).to_owned(),
            kind: NodeKind::Char,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (n, device) in devices.iter().enumerate() {
        let node = plan_one(&format!("linux.devices[{n}]"), device)?;
        nodes.retain(|other| other.path != node.path);
        nodes.push(node);
    }
    Ok(nodes)
}

fn plan_one(field: &str, device: &Device) -> Result<DeviceNode, Error> {
    let kind = match device.typ.as_str() {
        "c" | "u" => NodeKind::Char,
        "b" => NodeKind::Block,
        "p" => NodeKind::Fifo,
        other => {
            return Err(Error::field(format!("{field}.type"), format!("{other:?} is none of c, u, b, p")));
        }
    };
    let sound = device.path.starts_with('/')
        && !device.path.contains('\0')
        && !device.path.ends_with('/')
        && device.path.split('/').all(|part| part != "..");
    if !sound {
        return Err(Error::field(
            format!("{field}.path"),
            format!("{:?} is no absolute path of a file", device.path),
        ));
    }
    let number = |name: &str, value: Option<i64>, max: u32| match (kind, value) {
        (NodeKind::Fifo, _) => Ok(0),
        (_, None) => Err(Error::field(format!("{field}.{name}"), "is missing")),
        (_, Some(value)) => u32::try_from(value).ok().filter(|value| *value <= max).ok_or_else(|| {
            Error::field(format!("{field}.{name}"), format!("{value} isn't within 0 to {max}"))
        }),
    };
    let mode = device.file_mode.unwrap_or(0o666);
    Ok(DeviceNode {
        path: device.path.clone(),
        kind,
        major: number("major", device.major, (1 << 12) - 1)?,
        minor: number("minor", device.minor, (1 << 20) - 1)?,
        // Callers may pass st_mode whole; the type bits are given by `type`.
        mode: mode & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// Decides who fills `/dev`: a tmpfs there becomes [`MountKind::Dev`]. Returns whether there is anything to fill: a
/// bind mount keeps what it has.
pub(super) fn claim_dev(mounts: &mut [MountPlan]) -> bool {
    let last = mounts.iter_mut().rev().find(|mount| mount.target.trim_end_matches('/') == "/dev");
    let Some(mount) = last else { return true };
    match &mount.kind {
        MountKind::Bind { .. } => false,
        MountKind::FileSystem { fstype, .. } if fstype == "tmpfs" && !mount.options.copy_up => {
            mount.kind = MountKind::Dev;
            true
        }
        _ => true,
    }
}

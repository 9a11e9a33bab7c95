//! `state.json`: what was made for a container, each thing recorded before it is.

use super::dir::StateDir;
use crate::Error;
use crate::cgroup::CgroupPaths;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file's name.
pub(super) const FILE: &str = "state.json";

/// How far a container got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Its control group may exist or not, and may even be somebody else's.
    Planned,
    /// Whatever is in the control group is the container's.
    GroupMade,
    /// The first process is on its way.
    Cloned,
    /// The first process waits for its start, or has become the user's program.
    Ready,
}

/// A process, for as long as the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessId {
    pub pid: i32,
    /// In clock ticks since boot.
    pub start_time: u64,
}

/// What `state.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub oci_version: String,
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// Seconds and nanoseconds since 1970.
    pub created: (u64, u32),
    pub annotations: BTreeMap<String, String>,
    /// User id of who made it.
    pub owner: u32,
    /// The boot that the process ids belong to.
    pub boot_id: String,
    pub cgroup: CgroupPaths,
    /// Whether killing the first process kills all others.
    pub own_pid_namespace: bool,
    pub stage: Stage,
    pub process: Option<ProcessId>,
}

impl Record {
    /// The record in a state directory; `None` if the container is gone.
    pub fn load(dir: &StateDir) -> Result<Option<Record>, Error> {
        let Some(bytes) = dir.read(FILE)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::Document {
            path: dir.path.join(FILE).display().to_string(),
            why: error.to_string(),
        })
    }

    /// Replaces the record.
    pub fn save(&self, dir: &StateDir) -> Result<(), Error> {
        dir.write(FILE, &self.to_bytes())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain data with text keys always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Which boot this is.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

//! One container, resolved: what `run` decided, what `exec` and `inspect` read.

use crate::home::RANGE_IDS;
use crate::request::{MountKind, MountRequest, RunRequest, VolumeRequest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use types::image::config::Execution;
use types::oci::{IdMapping, Spec};

/// Where the root comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// The host's own root, copy on write.
    Host,
    /// A directory of the host, in place.
    Directory(PathBuf),
    /// Layers of an image, the lowest first, copy on write.
    Layers(Vec<PathBuf>),
}

/// Which user namespace the container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// Its own, over the range of this slot.
    Own {
        /// Slot.
        slot: u32,
        /// First id of the range.
        base: u32,
        /// Ids above those of the range.
        #[serde(default)]
        further: Vec<IdBlock>,
    },
    /// Another container's, over that one's range.
    Joined {
        /// First id of the range.
        base: u32,
        /// Ids above those of the range.
        #[serde(default)]
        further: Vec<IdBlock>,
    },
    /// The host's.
    Host,
}

/// Another range of a container's, for ids above the first [`RANGE_IDS`] that its image or user needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdBlock {
    /// First id in the container, a multiple of [`RANGE_IDS`].
    pub first: u32,
    /// Slot.
    pub slot: u32,
    /// First id of the range.
    pub base: u32,
}

impl IdBlock {
    /// How many ids: the very last one, -1, is none.
    fn ids(&self) -> u32 {
        RANGE_IDS.min(u32::MAX - self.first)
    }
}

impl UserNamespace {
    /// The id on the host of container id 0.
    pub fn base(&self) -> u32 {
        match self {
            UserNamespace::Own { base, .. } | UserNamespace::Joined { base, .. } => *base,
            UserNamespace::Host => 0,
        }
    }

    /// The ids in it, and those on the host that they are; none for the host's.
    pub fn mappings(&self) -> Vec<IdMapping> {
        let (UserNamespace::Own { base, further, .. } | UserNamespace::Joined { base, further }) = self
        else {
            return Vec::new();
        };
        let first = IdMapping { container_id: 0, host_id: *base, size: RANGE_IDS };
        let further = further.iter().map(|block| IdMapping {
            container_id: block.first,
            host_id: block.base,
            size: block.ids(),
        });
        [first].into_iter().chain(further).collect()
    }

    /// The id on the host of the container's `id`; `None` if it has none.
    pub fn host_id(&self, id: u32) -> Option<u32> {
        match self {
            UserNamespace::Host => Some(id),
            _ => runtime::userns::to_host(&self.mappings(), id),
        }
    }

    /// The slots of the ranges that are its own.
    pub fn slots(&self) -> Vec<u32> {
        match self {
            UserNamespace::Own { slot, further, .. } => {
                [*slot].into_iter().chain(further.iter().map(|block| block.slot)).collect()
            }
            UserNamespace::Joined { .. } | UserNamespace::Host => Vec::new(),
        }
    }

    /// The blocks of ids above the first that it has ranges for: their first ids divided by [`RANGE_IDS`].
    pub fn blocks(&self) -> BTreeSet<u32> {
        match self {
            UserNamespace::Own { further, .. } | UserNamespace::Joined { further, .. } => {
                further.iter().map(|block| block.first / RANGE_IDS).collect()
            }
            UserNamespace::Host => BTreeSet::new(),
        }
    }

    /// The same namespace, for a container that joins it.
    pub fn joined(&self) -> UserNamespace {
        match self.clone() {
            UserNamespace::Own { base, further, .. } | UserNamespace::Joined { base, further } => {
                UserNamespace::Joined { base, further }
            }
            UserNamespace::Host => UserNamespace::Host,
        }
    }
}

/// One container, resolved. Who doesn't look at the specification leaves it unread: it's most of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config<S = Spec> {
    /// Id.
    pub id: String,
    /// Name, without docker's slash.
    pub name: String,
    /// What it's made from, as lists show it.
    pub image: String,
    /// Id of the image, if there is one.
    pub image_id: Option<String>,
    /// What the image says about running it.
    #[serde(default)]
    pub image_config: Execution,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// What was asked.
    pub request: RunRequest,
    /// All its mounts but the kernel's: those asked for, those of other containers, the image's volumes; with the names of
    /// volumes that were made.
    #[serde(default)]
    pub mounts: Vec<MountRequest>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Root.
    pub root: RootSource,
    /// User namespace.
    pub user_namespace: UserNamespace,
    /// Signal of `stop`, by number.
    pub stop_signal: i32,
    /// Most tasks, enforced by the user namespace.
    pub tasks_max: Option<u64>,
    /// Everything for the runtime but the filter.
    pub spec: S,
    /// Whether it was made before it was started, so that it's in the store though it's removed when it ends.
    #[serde(default)]
    pub made_first: bool,
    /// The program and arguments that this start was asked for in place of its own.
    #[serde(default)]
    pub started_as: Option<Vec<String>>,
}

impl<S> Config<S> {
    /// Path of its control group in each hierarchy.
    pub fn cgroup(&self, home: &crate::Home) -> String {
        home.cgroup_below(self.request.resources.cgroup_parent.as_deref(), &self.id)
    }

    /// Whether it's removed when it ends.
    pub fn rm(&self) -> bool {
        self.request.rm
    }

    /// Whether the store has a row of it.
    pub fn recorded(&self) -> bool {
        !self.request.rm || self.made_first
    }

    /// Its volumes.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &VolumeRequest)> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume(volume) => Some((volume.name.as_deref()?, volume)),
            _ => None,
        })
    }

    /// Its labels: the image's, over which those that were asked for go.
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        let own = self.request.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let all = self.image_config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        all.chain(own).collect()
    }
}

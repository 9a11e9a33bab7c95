//! What is mounted into a container.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How mounts made on one side appear on the other. Source: mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way, submounts included; docker's default.
    #[default]
    RPrivate,
    /// Neither way, this mount only.
    Private,
    /// From the host, submounts included.
    RSlave,
    /// From the host, this mount only.
    Slave,
    /// Both ways, submounts included.
    RShared,
    /// Both ways, this mount only.
    Shared,
}

impl Propagation {
    /// The mount option.
    pub fn word(self) -> &'static str {
        match self {
            Propagation::RPrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RSlave => "rslave",
            Propagation::Slave => "slave",
            Propagation::RShared => "rshared",
            Propagation::Shared => "shared",
        }
    }
}

/// Which submounts of a bind's source come along. Source: docker's `bind-recursive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindRecursion {
    /// All; a read-only bind makes them read-only where the kernel can.
    #[default]
    Enabled,
    /// None.
    Disabled,
    /// All, and they stay writable under a read-only bind.
    Writable,
    /// All, and it is an error if they can't be made read-only.
    ReadOnly,
}

/// One option of a tmpfs beyond size and mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TmpfsOption {
    /// `exec`, `nosuid`, `noatime` and the like, as mount(8) spells them.
    Flag(String),
    /// `uid=`, `gid=`, `nr_inodes=`, `nr_blocks=`, `mpol=`, `huge=`.
    Value(String, String),
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Submounts.
        recursion: BindRecursion,
        /// Propagation.
        propagation: Propagation,
        /// Whether a missing source becomes a directory (`-v` does, `--mount` doesn't).
        create_source: bool,
        /// Whether the owners of the files are shown as they are on the host (`noidmap`).
        noidmap: bool,
        /// SELinux relabelling: `z` shared (`Some(true)`), `Z` private (`Some(false)`).
        relabel_shared: Option<bool>,
    },
    /// A file system in memory.
    Tmpfs {
        /// Bytes at most; else the kernel's half of memory.
        size_bytes: Option<u64>,
        /// Permissions of its root; else 1777.
        mode: Option<u32>,
        /// Further options, in order.
        options: Vec<TmpfsOption>,
    },
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// What is mounted.
    pub kind: MountKind,
    /// Where in the container: absolute, cleaned (no `.`, `..`, `//` or final slash), never `/`.
    pub target: PathBuf,
    /// Whether it is read-only.
    pub read_only: bool,
}

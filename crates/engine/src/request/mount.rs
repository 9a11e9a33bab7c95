//! What is mounted into a container.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

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
    /// A volume.
    Volume(VolumeRequest),
    /// An image's file system, read-only.
    Image {
        /// The image, as it's called.
        reference: String,
        /// What of it: a path in the image, of which links are followed.
        subpath: Option<String>,
        /// Its layers, the lowest first; none before it's looked up.
        layers: Vec<PathBuf>,
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

/// A volume of docker's driver `local`, and what of it is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRequest {
    /// Its name; `None` for a new one of the container's own.
    pub name: Option<String>,
    /// Whether it's the container's own, and goes with `rm -v` and `--rm`.
    pub anonymous: bool,
    /// Whether an empty one stays so, instead of getting what the image has at the target.
    pub nocopy: bool,
    /// What of it is mounted: a relative path, of which links are followed within the volume.
    pub subpath: Option<String>,
    /// Labels, if it's made.
    pub labels: BTreeMap<String, String>,
    /// The driver's options if it's made; later, those that it has.
    pub options: BTreeMap<String, String>,
    /// Words of `-v` after the target; `None` if it was asked for by `--mount` or by the image.
    pub words: Option<String>,
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

impl MountRequest {
    /// The words after the target in docker's short forms, `-v` and `--tmpfs`, separated by commas; of volumes there are
    /// those that were given.
    pub fn short_words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut add = |word: Option<&str>| words.extend(word.map(str::to_owned));
        match &self.kind {
            MountKind::Bind { recursion, propagation, noidmap, relabel_shared, .. } => {
                add(self.read_only.then_some("ro"));
                add((*propagation != Propagation::RPrivate).then_some(propagation.word()));
                add((*recursion == BindRecursion::Disabled).then_some("bind-nonrecursive"));
                add(noidmap.then_some("noidmap"));
                add(relabel_shared.map(|shared| if shared { "z" } else { "Z" }));
            }
            MountKind::Tmpfs { size_bytes, mode, options } => {
                add(self.read_only.then_some("ro"));
                words.extend(size_bytes.map(|bytes| format!("size={bytes}")));
                words.extend(mode.map(|mode| format!("mode={mode:o}")));
                words.extend(options.iter().map(|option| match option {
                    TmpfsOption::Flag(word) => word.clone(),
                    TmpfsOption::Value(key, value) => format!("{key}={value}"),
                }));
            }
            MountKind::Volume(volume) => add(volume.words.as_deref().filter(|words| !words.is_empty())),
            MountKind::Image { .. } => {}
        }
        words.join(",")
    }

    /// The same with the colon that stands before them, if there are any.
    pub fn short_ending(&self) -> String {
        let words = self.short_words();
        if words.is_empty() { words } else { format!(":{words}") }
    }
}

/// A target as [`MountRequest::target`] wants it; `None` for `/`.
pub fn clean_target(text: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    Some(clean).filter(|clean| clean.as_os_str() != "/")
}

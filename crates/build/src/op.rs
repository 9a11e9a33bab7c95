//! What a step of a build does, as plain data: it can be digested, written down, compared, and sent to another process.
//!
//! A step has inputs, which are the results of others, told by their position in the graph. Whoever does a step gets
//! them as [`Tree`]s.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The position of a step in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub usize);

/// A tree of files, as a step gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// Nothing.
    Scratch,
    /// Layers of the store, by their chain ids (`sha256:…`): the topmost's, which names all below.
    Layers(String),
    /// A directory of this host: a build context.
    Directory(std::path::PathBuf),
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The tree: the base's layers and perhaps one more.
    pub tree: Tree,
    /// Digest of the content that the step added (path, type, mode, owner, attributes, bytes; no times): equal digests over
    /// equal bases are equal trees.
    pub content: String,
    /// The layer's diff id, where there is a layer.
    pub diff_id: Option<String>,
    /// Bytes of content in the layer.
    pub size: u64,
    /// Whether the layer has no entry at all.
    pub is_empty: bool,
    /// Of a copy: the digest of what it took, as it was while it took it.
    #[serde(default)]
    pub selected: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Runs a program on a tree. The first input is the tree.
    Exec(Exec),
    /// Copies into a tree. The first input is the tree copied to, the second, where `from` is [`From::Input`], that copied from.
    Copy(Copy),
    /// Makes a directory, and those above it, if it isn't there (`WORKDIR`). The first input is the tree.
    MakeDirectory {
        /// Absolute path.
        path: String,
        /// Owner: `user[:group]`, by names of the tree or numbers; empty for root.
        owner: String,
    },
}

/// A program that is run (`RUN`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Absolute; made if it's missing.
    pub working_dir: String,
    /// As in an image's configuration; empty for root.
    pub user: String,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Which network it has.
    pub network: Network,
    /// `--security=insecure`: all rights.
    pub is_privileged: bool,
    /// `NAME:ADDRESS`, for /etc/hosts.
    pub add_hosts: Vec<String>,
    /// Its hostname; empty for the usual one (`buildkitsandbox`).
    pub hostname: String,
    /// Size of /dev/shm in bytes, if not the usual one.
    pub shm_size: Option<u64>,
    /// `NAME=SOFT[:HARD]`.
    pub ulimits: Vec<String>,
    /// Parent of its control group, if not the usual one.
    pub cgroup_parent: String,
}

/// The network of a program that is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The default bridge.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// This host's.
    Host,
}

/// A mount of a program that is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is there.
    pub kind: MountKind,
    /// Whether it can't be written to.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum MountKind {
    /// Part of an input of the step. Writes, where they are allowed, are thrown away afterwards.
    Bind {
        /// Position in the step's inputs.
        input: usize,
        /// Path in it.
        source: String,
    },
    /// A directory that is kept from build to build.
    Cache {
        /// Its name.
        id: String,
        /// Who may use it at once.
        sharing: Sharing,
        /// The input that it begins as, by position in the step's inputs, and the path in that.
        from: Option<(usize, String)>,
        /// Its mode when it's made; 0755 by default.
        mode: u32,
        /// Its owner when it's made.
        uid: u32,
        /// Its group when it's made.
        gid: u32,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its greatest size in bytes.
        size: Option<u64>,
    },
    /// A secret's file. Its content is never written to a disk, and in no key.
    Secret {
        /// Which of the caller's.
        id: String,
        /// Mode; 0400 by default.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Whether a missing one is an error; otherwise there is no file.
        is_required: bool,
        /// Set as this variable instead of, or beside, being a file.
        env: Option<String>,
        /// Whether there is a file.
        is_file: bool,
    },
    /// A file with this content (heredocs).
    File {
        /// The content.
        content: String,
        /// Its mode.
        mode: u32,
    },
}

/// Who may use a cache directory at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Each gets one of its own while another uses it.
    Private,
    /// One after another.
    Locked,
}

/// Files that are copied (`COPY`, `ADD`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where to: absolute; with a slash at its end a directory.
    pub to: String,
    /// Owner of all that is copied: `user[:group]`, by names of the tree copied to or numbers; empty: as `keeps_owner` says.
    pub chown: String,
    /// Mode of all that is copied: octal, or symbolic as chmod(1) takes it (`u=rwX,go=rX`); empty leaves modes as they are.
    pub chmod: String,
    /// Whether owners stay, as for `COPY --from`; otherwise what is copied is root's.
    pub keeps_owner: bool,
    /// Patterns of what isn't copied, relative to each source (`--exclude`).
    pub excludes: Vec<String>,
    /// Whether the directories that lead to a source are made below the target (`--parents`).
    pub has_parents: bool,
    /// Whether the layer is made over nothing, whatever the tree copied to has (`--link`).
    pub is_linked: bool,
    /// Whether local archives are unpacked (`ADD`; `--unpack`).
    pub unpack: Unpack,
    /// Modification time of all that is written, in seconds since the epoch, instead of the sources' own (`SOURCE_DATE_EPOCH` or a URL's).
    pub mtime: Option<i64>,
}

/// Which archives are unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unpack {
    /// None.
    #[default]
    Never,
    /// Those of trees, as `ADD` does, but not those from URLs.
    Local,
    /// All.
    Always,
}

/// Something that is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum CopySource {
    /// Paths of the step's second input that match a pattern of Go's filepath.Match; a directory's content is copied, not it.
    Input {
        /// The pattern.
        pattern: String,
    },
    /// A file with this content (a heredoc).
    Text {
        /// Its name.
        name: String,
        /// The content.
        content: String,
    },
    /// A file that is fetched.
    Url {
        /// From where: http or https.
        url: String,
        /// The digest that it must have (`sha256:…`); empty takes any.
        checksum: String,
    },
}

/// What there is of an input for a copy: `.dockerignore`'s patterns, as lines of that file. Empty: everything.
pub type Ignored = Vec<String>;

/// Labels, arguments and the like, sorted by name.
pub type Names = BTreeMap<String, String>;

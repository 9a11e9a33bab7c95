//! Single namespaces, without a container. Flags and their meaning are util-linux's: unshare(1), nsenter(1).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::oci::{NamespaceType, TimeOffset};

use super::Propagation;

/// The one id that `--map-user`, `--map-root-user` and `--map-current-user` map the caller's to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapOne {
    /// To 0.
    Root,
    /// To itself.
    Current,
    /// To a name or number, resolved on the host.
    To(String),
}

/// One block of `--map-users` or `--map-groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapRange {
    /// The caller's block of `/etc/subuid` or `/etc/subgid`, from 0 up.
    Auto,
    /// Every id that the caller's own namespace has, to itself.
    All,
    /// `count` ids from `inner` up in the new namespace stand for those from `outer` up.
    Block {
        /// First id in the new namespace.
        inner: u32,
        /// First id in the caller's namespace.
        outer: u32,
        /// How many.
        count: u32,
    },
}

/// `berth unshare`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnshareRequest {
    /// New namespaces, each at most once, in no order; implied ones are included.
    pub namespaces: Vec<NamespaceType>,
    /// Whether the command is a child (it has pid 1 in a new pid namespace).
    pub fork: bool,
    /// Signal that the child gets when berth dies.
    pub kill_child: Option<i32>,
    /// Where a new proc is mounted.
    pub mount_proc: Option<PathBuf>,
    /// Propagation of all mounts in a new mount namespace; `None` is `unchanged`.
    pub propagation: Option<Propagation>,
    /// The caller's user id in the new user namespace.
    pub map_user: Option<MapOne>,
    /// The caller's group id in the new user namespace.
    pub map_group: Option<MapOne>,
    /// Further user ids.
    pub map_users: Vec<MapRange>,
    /// Further group ids.
    pub map_groups: Vec<MapRange>,
    /// What is written to `/proc/self/setgroups`: allow (`true`), deny (`false`), nothing.
    pub setgroups: Option<bool>,
    /// Root directory.
    pub root: Option<PathBuf>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// User id of the command.
    pub setuid: Option<u32>,
    /// Group id of the command.
    pub setgid: Option<u32>,
    /// Offset of `CLOCK_MONOTONIC`.
    pub monotonic: Option<TimeOffset>,
    /// Offset of `CLOCK_BOOTTIME`.
    pub boottime: Option<TimeOffset>,
    /// Program and arguments; empty means the caller's shell.
    pub command: Vec<String>,
}

/// Whose namespaces are entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnterTarget {
    /// A container by name or id; failing that, all digits are a process id.
    Named(String),
    /// A process, by `-t`.
    Pid(u32),
}

/// `berth enter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterRequest {
    /// Whose namespaces.
    pub target: EnterTarget,
    /// Which of them; empty means all that differ from the caller's.
    pub namespaces: Vec<NamespaceType>,
    /// Whether the target's root directory is taken too.
    pub root: bool,
    /// Whether the target's working directory is taken too.
    pub workdir: bool,
    /// Whether the command replaces berth instead of being its child.
    pub no_fork: bool,
    /// Whether ids stay as they are when a user namespace is entered.
    pub preserve_credentials: bool,
    /// User id of the command.
    pub setuid: Option<u32>,
    /// Group id of the command.
    pub setgid: Option<u32>,
    /// Program and arguments; empty means the caller's shell.
    pub command: Vec<String>,
}

/// `berth tree`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRequest {
    /// The container.
    pub container: String,
    /// Whether the answer is JSON.
    pub json: bool,
}

//! Single namespaces, without a container: what unshare(1) and nsenter(1) do, and a look at a container's own.
//!
//! [`unshare()`] and [`enter()`] change the calling process, which must have one thread, and become the command. Where
//! they fork, they return twice: in the parent with how the command ended, in the child only if it failed before
//! execve(2); whoever calls reports that as any other failure and leaves with its status, which the parent passes on.
//!
//! - `unshare`: new namespaces; `maps`: their id maps; `map_helper`: who writes those from outside
//! - `enter`: a process's namespaces
//! - `tree`: what the kernel says of a container
//! - `command`: forking, waiting, becoming the command
//! - `accounts`: `/etc/passwd`, `/etc/group`, `/etc/subuid`; `procfs`: bounded reads of `/proc`

mod accounts;
mod command;
mod enter;
mod error;
mod map_helper;
mod maps;
pub(crate) mod procfs;
mod tree;
mod unshare;

pub use command::die_of;
pub use enter::enter;
pub use error::Error;
pub use tree::{CgroupRow, MapRow, NamespaceRow, Process, Role, Tree, Whose, tree};
pub use unshare::unshare;

use linux::process::ns;
use types::oci::NamespaceType;

/// Each kind of namespace: its file in `/proc/PID/ns` and its bit in unshare(2) and setns(2).
const KINDS: [(NamespaceType, &str, u64); 8] = [
    (NamespaceType::User, "user", ns::USER),
    (NamespaceType::Mount, "mnt", ns::MOUNT),
    (NamespaceType::Pid, "pid", ns::PID),
    (NamespaceType::Network, "net", ns::NET),
    (NamespaceType::Uts, "uts", ns::UTS),
    (NamespaceType::Ipc, "ipc", ns::IPC),
    (NamespaceType::Cgroup, "cgroup", ns::CGROUP),
    (NamespaceType::Time, "time", ns::TIME),
];

//! From an OCI configuration to a running process, and back to nothing.
//!
//! This crate knows the runtime specification and the kernel. It must not know images, stores, container names, or
//! docker's defaults: whoever calls brings a complete [`types::oci::Spec`]. It uses no threads and no async runtime,
//! because it clones.
//!
//! Decide apart from do: [`Plan::new`] is pure, [`launch`] has the effects. Everything that needs a privilege of the
//! host (id maps, device nodes, mapped mounts, limits) is done by the caller's process, the *holder*; everything that
//! belongs to the new namespaces is done by the container's first process before it becomes the user's program.
#![forbid(unsafe_code)]

pub mod cgroup;
mod child;
pub mod container;
mod error;
pub mod exec;
mod holder_mounts;
pub mod init;
mod launch;
mod limits;
pub mod live;
mod message;
mod mount_options;
mod plan;
pub mod seccomp;
mod trace;
pub mod userns;

pub use error::{Error, errno_text};
pub use launch::{Launch, MakeRoot, Root, Started, Starting, Stdio, launch, own_stdio, start};
pub use mount_options::MountOptions;
pub use plan::{Plan, ProcessPlan};
pub use trace::{Step, Steps};

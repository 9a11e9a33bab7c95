//! What the integration tests stand on: a private host, the binary under test, bundles, terminals, and a search for
//! whatever a test leaves behind.
//!
//! A test makes a [`Host`], runs the binary by [`Host::berth`] or [`Host::runtime`], and looks at the effect *inside*
//! the container. Dropping the host fails the test if anything of it is left: processes, mounts, control groups,
//! state, network devices. testkit knows the command line and the OCI documents; it uses no code of berth's.
//!
//! - [`host`]: directories, ids, control group parent of one test
//! - [`cmd`]: one run of the binary, its output and the checks on it
//! - [`pty`]: the same under a terminal
//! - [`bundle`]: OCI bundles for `berth-runtime`
//! - [`rootfs`]: a root file system from busybox, as a directory or a tar
//! - [`elf`]: programs of a few instructions; [`program`]: others
//! - [`image`]: images as archives, and served by a registry that may lie
//! - [`http`]: a server that does what a test tells it to
//! - [`registry`]: Debian's docker-registry; [`relay`]: a wire to a server that is cut
//! - [`facts`]: what this machine can do; [`skip!`]: how a test says that it can't
//! - [`leaks`]: what must not be left
#![forbid(unsafe_code)]

pub mod bundle;
pub mod cmd;
pub mod elf;
pub mod facts;
pub mod host;
pub mod http;
mod ids;
pub mod image;
pub mod leaks;
pub mod netns;
pub mod program;
pub mod pty;
pub mod registry;
pub mod relay;
pub mod rootfs;
pub mod skip;
mod wait;

pub use bundle::{Bundle, Container};
pub use cmd::{Cmd, Output, Running};
pub use host::Host;
pub use pty::Pty;
pub use serde_json::{Value, json};
pub use wait::until;

#[cfg(test)]
mod tests;

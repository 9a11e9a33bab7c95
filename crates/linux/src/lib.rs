//! The kernel, typed: system calls that berth needs and that rustix lacks or shapes otherwise.
//!
//! All of berth's `unsafe` is here, each block with its reason. This crate has no policy: it knows no containers, no
//! paths of berth's, no defaults. Failures are [`rustix::io::Errno`]; whoever calls says what for, on which object.
//!
//! - [`process`]: fork, clone3, exec, wait, pidfds, namespaces by descriptor
//! - [`own_file`]: the running program, out of reach of those who could overwrite it
//! - [`creds`]: ids, groups, capabilities
//! - [`mount`]: detached mounts, attributes, id maps
//! - [`signal`]: masks, dispositions, signalfd
//! - [`socket`]: message sockets that carry descriptors
//! - [`seccomp`], [`bpf`]: loading filters
//! - loopback in [`mod@net`]
//! - [`durable`]: files replaced so that a crash leaves the old or the new one
//! - [`fault`]: points at which tests kill the process

pub mod bpf;
pub mod creds;
pub mod durable;
pub mod fault;
pub mod mount;
pub mod net;
pub mod own_file;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
mod sys;

pub use rustix::io::Errno;

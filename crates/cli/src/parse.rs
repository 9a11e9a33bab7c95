//! The grammar of flags' values, one file each: text to type, without looking at the machine except where said.

pub mod block_device;
pub mod clock;
pub mod detach_keys;
pub mod device;
pub mod device_rule;
pub mod env;
pub mod expose;
pub mod filter;
pub mod health;
pub mod log;
pub mod moment;
pub mod mount;
pub mod mount_option;
pub mod name;
pub mod namespace;
pub mod network;
pub mod number;
pub mod publish;
pub mod restart;
pub mod security;
pub mod span;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;

#[cfg(test)]
mod tests;

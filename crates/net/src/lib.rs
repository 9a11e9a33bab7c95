//! Networks of containers: links, addresses, routes, the nftables table, names. All by netlink; nothing is executed.
//!
//! This crate knows no containers, no store and no files of berth's but those whose paths it is given. It runs in the
//! network namespace of whoever calls; those who want another one enter it first.
//!
//! - [`subnet`], [`ipam`]: addresses, and who gets which
//! - [`bridge`]: a network's bridge, up and down
//! - [`route`]: links, addresses, routes, rules
//! - [`dns`]: the server of names that each container has
//! - [`nft`]: the nftables table
//! - [`netlink`]: the messages that links, routes and nftables share

#![forbid(unsafe_code)]

pub mod bridge;
pub mod dns;
pub mod ipam;
pub mod netlink;
pub mod nft;
pub mod route;
pub mod subnet;

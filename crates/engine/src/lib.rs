//! The life of containers: the rooms below, joined.
//!
//! There is no daemon. Each function here runs in the process of whoever calls, reads what files and kernel say, does
//! its work, and returns. Two processes stay with each container:
//!
//! ```text
//! berth run ──fork──▶ holder ──clone3──▶ first process of the container
//!     │                  │  waits for both, holds descriptors, reforks the keeper; does nothing that can fail
//!     │                  └──fork──▶ keeper: logs, clients, exit record, teardown
//!     └── attaches; goes when the container ends, or earlier
//! ```
//!
//! This crate makes no decision about system calls, which belong to `runtime` and `linux`, and prints nothing.
#![forbid(unsafe_code)]

pub mod attach;
pub mod binds;
pub mod build;
pub mod cell;
pub mod claims;
pub mod config;
pub mod copy;
pub mod debug;
pub mod doctor;
mod error;
pub mod events;
pub mod exec;
pub mod find;
pub mod health;
mod holder;
mod home;
mod host_image;
pub mod images;
pub mod import;
pub mod info;
mod inherited;
pub mod inspect;
mod keeper;
mod last_use;
pub mod log;
pub mod logs;
mod names;
pub mod network;
pub mod output;
pub mod pause;
pub mod pieces;
pub mod ps;
pub mod rename;
pub mod request;
pub mod rm;
mod root;
pub mod run;
mod settle;
mod shm;
pub mod shutdown;
pub mod snapshot;
pub mod spec;
mod spread;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
mod teardown;
pub mod top;
pub mod unit;
pub mod update;
pub mod users;
pub mod verify;
pub mod volumes;
pub mod wait;
mod wire;

pub use config::Config;
pub use error::Error;
pub use home::Home;
pub use store::Error as StoreError;
pub use types::inert::{inert, inert_json};

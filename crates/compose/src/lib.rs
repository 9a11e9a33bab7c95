//! Compose files: from their texts to one merged, interpolated, validated model, and to a plan of what has to change.
//!
//! Pure: this crate starts nothing. Source: the compose specification, and docker compose where that is silent.
#![forbid(unsafe_code)]

mod canonical;
mod config;
mod consistency;
mod dotenv;
mod error;
mod fault;
mod field;
mod files;
mod graph;
mod hash;
mod interpolate;
pub mod labels;
mod load;
mod merge;
pub mod model;
mod node;
mod out;
mod path;
pub mod plan;
mod request;
mod resolve;
mod schema;
mod select;
mod short;
mod template;
mod words;
mod yaml;

pub use config::{Config, ConfigError, Printed, Show};
pub use dotenv::EnvFault;
pub use error::Error;
pub use fault::{Fault, Report, SourceText};
pub use files::{Disk, FileKind, Files, Memory};
pub use load::Environment;
pub use node::{Map, Mark, Node, Tag, Value};
pub use out::{Form, Out};
pub use request::{Loaded, LoadedTree, Request, normalized_name};
pub use words::{ContainerFile, NOT_THE_CONTAINER, RunWords};

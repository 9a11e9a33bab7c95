//! Builds of Dockerfiles: the language, the graph of steps that it means, and the solver that runs those whose result isn't
//! known yet.
//!
//! This crate knows no store, no containers and no files: what a step does is done by a worker, which the engine is.
//!
//! - [`dockerfile`]: text to instructions, with spans; variables, heredocs, ignore files, checks
//! - [`op`]: what a step does, as plain data; [`graph`]: the steps of a build
//! - [`lower`]: from instructions to steps; [`explain`]: why steps ran
//! - [`key`]: what results are found by; [`solve`]: which steps run
#![forbid(unsafe_code)]

pub mod dockerfile;
pub mod explain;
pub mod graph;
pub mod key;
pub mod lower;
pub mod op;
pub mod solve;

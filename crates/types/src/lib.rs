//! The words that every other crate speaks: identifiers, OCI documents, error kinds.
//!
//! Pure data. This crate does no I/O, reads no clock and knows no other crate of berth.
//!
//! - [`oci`]: the OCI runtime specification's configuration and state documents
//! - [`id`]: container identifiers and names
//! - [`kind`]: the classes of failure, with their exit codes
//! - [`caps`]: Linux capability names and sets
//! - [`signal`]: signal names and numbers
//! - [`units`]: sizes and durations as docker writes them
#![forbid(unsafe_code)]

pub mod caps;
pub mod id;
pub mod kind;
pub mod oci;
pub mod signal;
pub mod units;

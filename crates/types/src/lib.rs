//! The words that every other crate speaks: identifiers, OCI documents, error kinds.
//!
//! Pure data. This crate does no I/O, reads no clock and knows no other crate of berth.
//!
//! - [`oci`]: the OCI runtime specification's configuration and state documents
//! - [`image`]: the OCI image specification's documents, and docker's: manifests, indexes, configurations, platforms
//! - [`reference`]: names of images; [`digest`]: identities of content
//! - [`id`]: container identifiers and names
//! - [`kind`]: the classes of failure, with their exit codes
//! - [`caps`]: Linux capability names and sets
//! - [`signal`]: signal names and numbers
//! - [`inert`]: foreign text made harmless for a terminal
//! - [`units`]: sizes as docker writes them; [`duration`]: durations as Go does; [`moment`]: moments as RFC 3339 does
#![forbid(unsafe_code)]

pub mod caps;
pub mod digest;
pub mod duration;
pub mod id;
pub mod image;
pub mod inert;
pub mod kind;
pub mod moment;
pub mod oci;
pub mod reference;
pub mod signal;
pub mod units;

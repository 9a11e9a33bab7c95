//! The store from outside: archives, images, containers, crashes, bad disks. Needs root.
// Tests start processes and threads, which the lint keeps the shipped program from; and their helpers may panic, which
// clippy only grants to the functions that are marked as tests.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod archive;
mod containers;
mod copies;
mod crash;
mod disk;
mod drafts;
mod hostile;
mod images;
mod import;
mod ingest;
mod layers;
mod listing;
mod open;
mod overlay;
mod pack;
mod peers;
mod reader;
mod roundtrip;
mod support;
mod volumes;

//! The store from outside: archives, images, containers, crashes, bad disks. Needs root.
// Tests start processes and threads; the lint keeps the shipped program from it.
#![allow(clippy::disallowed_methods)]

mod archive;
mod containers;
mod crash;
mod disk;
mod hostile;
mod images;
mod import;
mod open;
mod reader;
mod support;

//! Commands on containers that run: paused, awaited, renamed, watched.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

mod again;
mod attach;
mod events;
mod exec;
mod faults;
mod health;
mod logs;
mod mounts;
mod names;
mod pause;
mod prune;
mod ps;
mod start;
mod stats;
mod top;
mod update;

use std::time::Duration;
use testkit::image::Image;
use testkit::{Host, until};

const PATIENCE: Duration = Duration::from_secs(10);

/// A container of `@host` that runs `script`, detached.
fn start(host: &Host, name: &str, script: &str) {
    host.berth(["run", "-d", "--name", name, "@host", "sh", "-c", script]).run().ok();
}

/// The process that keeps a container which runs.
fn keeper(host: &Host, name: &str) -> u32 {
    let holder = inspect(host, name, "{{.Berth.HolderPid}}");
    let init = inspect(host, name, "{{.State.Pid}}");
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap();
    children.split_whitespace().find(|pid| **pid != init).unwrap().parse().unwrap()
}

/// Removes containers, whatever they do.
fn remove(host: &Host, names: &[&str]) {
    host.berth(["rm", "-f"].iter().chain(names)).run().ok();
}

/// A field of a container's document.
fn inspect(host: &Host, name: &str, template: &str) -> String {
    host.berth(["inspect", "-f", template, name]).text()
}

/// The image `app`, of busybox.
fn load_app(host: &Host) {
    let path = host.path("load.tar");
    Image::busybox().write_docker_archive(&path, &["app"]);
    host.berth(["load", "-q", "-i"]).arg(&path).text();
}

//! `berth cp` by its effect: docker's rules, who gets the files, what a hostile container can do to it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

mod attacks;
mod files;
mod rules;
mod sides;

use testkit::Host;

/// A host with the image `base`, of busybox.
fn host() -> Host {
    let host = Host::new();
    let tar = host.rootfs_tar();
    host.berth(["import", tar.to_str().unwrap(), "base"]).run().ok();
    host
}

/// Starts the container `box`, which sleeps.
fn start(host: &Host, flags: &[&str]) {
    let run = ["run", "-d", "--network", "none", "--name", "box"];
    host.berth(run.iter().chain(flags).chain(&["base", "sleep", "1000"])).run().ok();
}

fn remove(host: &Host) {
    host.berth(["rm", "-f", "box"]).run().ok();
}

/// What a script prints in the container `box`.
#[track_caller]
fn inside(host: &Host, script: &str) -> String {
    host.berth(["exec", "box", "sh", "-c", script]).run().ok().text()
}

/// `berth cp` with these words, in the host's own directory.
fn cp(host: &Host, words: &[&str]) -> testkit::Cmd {
    host.berth(["cp"].iter().chain(words)).cwd(host.path("."))
}

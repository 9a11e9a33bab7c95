//! Networks by their effect: who reaches whom, under which name, over which port, and what is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

mod commands;
mod connect;
mod doctor;
mod faults;
mod kills;
mod names;
mod publish;
mod reach;
mod take_over;

use std::time::Duration;
use testkit::image::Image;
use testkit::{Cmd, Host};

/// A host with the image `box`: busybox.
fn host() -> Host {
    let host = Host::new();
    let path = host.path("load.tar");
    Image::busybox().write_docker_archive(&path, &["box"]);
    host.berth(["load", "-q", "-i"]).arg(&path).text();
    std::fs::remove_file(path).unwrap();
    host
}

/// `berth run --rm OPTIONS box sh -c SCRIPT`.
fn run(host: &Host, options: &[&str], script: &str) -> Cmd {
    host.berth(["run", "--rm"].iter().chain(options).copied().chain(["box", "sh", "-c", script]))
}

/// A container `name` that serves its own name over HTTP at port 80; ready on return.
fn web(host: &Host, name: &str, options: &[&str]) {
    let script = format!("mkdir -p /www && echo {name} >/www/index.html && exec httpd -f -p 80 -h /www");
    let fixed = ["run", "-d", "--name", name];
    host.berth(fixed.iter().chain(options).copied().chain(["box", "sh", "-c", &script])).text();
    let is_up = || host.berth(["exec", name, "wget", "-qO-", "http://127.0.0.1/"]).run().text() == name;
    assert!(testkit::until(Duration::from_secs(10), is_up), "{name} doesn't serve");
}

/// What the host gets from a URL; empty if nothing comes.
fn get(url: &str) -> String {
    Cmd::new("/bin/busybox", ["timeout", "3", "busybox", "wget", "-qO-", url])
        .env("PATH", "/bin")
        .run()
        .text()
}

/// What a container gets from a URL; empty if nothing comes.
fn get_from(host: &Host, container: &str, url: &str) -> String {
    host.berth(["exec", container, "timeout", "3", "wget", "-qO-", url]).run().text()
}

/// What a template shows of a container or network.
fn shows(host: &Host, name: &str, template: &str) -> String {
    host.berth(["inspect", "-f", template, name]).text()
}

/// The address of a container on a network.
fn address(host: &Host, name: &str, network: &str) -> String {
    shows(host, name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

/// Removes containers and networks, and looks whether anything is left of them in the kernel and in files.
fn nothing_left(host: &Host) {
    let all = host.berth(["ps", "-aq"]).text();
    if !all.is_empty() {
        host.berth(["rm", "-f"].into_iter().chain(all.lines())).run().ok();
    }
    // Of a container with --rm, whoever keeps it tidies up when its client has gone.
    let dir = host.run_dir().join("networks");
    let left = || std::fs::read_dir(&dir).into_iter().flatten().flatten().count();
    let is_gone = || {
        host.berth(["network", "prune", "-f"]).run().ok();
        left() == 0
    };
    assert!(testkit::until(Duration::from_secs(10), is_gone), "{} networks are left", left());
    // A container's go with its namespace, a moment after its last process.
    let links = || Cmd::new("/usr/sbin/ip", ["-br", "link"]).run().text();
    let is_gone = || links().lines().count() == 1;
    assert!(testkit::until(Duration::from_secs(10), is_gone), "links are left:\n{}", links());
    let rules = Cmd::new("/usr/sbin/nft", ["list", "ruleset"]).run().ok().text();
    assert_eq!(rules, "", "rules are left");
    let rules = Cmd::new("/usr/sbin/ip", ["rule"]).run().text();
    assert_eq!(rules.lines().count(), 3, "routing rules are left:\n{rules}");
}

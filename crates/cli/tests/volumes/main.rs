//! Volumes by their effect: made, filled, shared, listed, kept and removed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

mod commands;
mod faults;
mod mounts;

use testkit::image::{Image, Layer};
use testkit::{Host, json};

/// An image with a directory to be copied, and two volumes of its own.
fn image() -> Image {
    let layer = Layer::new()
        .owner(5, 6)
        .dir("data", 0o2751)
        .file("data/kept", 0o640, "from the image")
        .dir("data/sub", 0o700)
        .hard_link("data/sub/linked", "data/kept")
        .symlink("data/link", "/etc/passwd")
        .owner(0, 0)
        .file("file", 0o644, "");
    Image::busybox()
        .layer(&Layer::new().file("data/removed", 0o644, ""))
        .layer(&layer)
        .layer(&Layer::new().whiteout("data/removed"))
}

fn with_volumes() -> Image {
    image().set("Volumes", json!({ "/data": {}, "/new": {} }))
}

/// The image `name`, loaded.
fn load(host: &Host, image: &Image, name: &str) {
    let path = host.path("load.tar");
    image.write_docker_archive(&path, &[name]);
    host.berth(["load", "-q", "-i"]).arg(&path).text();
    std::fs::remove_file(path).unwrap();
}

/// A `run` of the image `app`.
fn run(host: &Host, options: &[&str], script: &str) -> testkit::Cmd {
    let fixed = ["run", "--rm", "--network", "none", "--pull", "never"];
    host.berth(fixed.iter().chain(options).copied().chain(["app", "sh", "-c", script]))
}

fn names(host: &Host) -> Vec<String> {
    host.berth(["volume", "ls", "-q"]).text().lines().map(str::to_owned).collect()
}

fn nothing_left(host: &Host) {
    assert_eq!(names(host), [""; 0]);
    let dir = host.root_dir().join("volumes");
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [""; 0]);
}

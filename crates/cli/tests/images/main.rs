//! Images by their effect: loaded, listed, named, run, pulled from good and bad registries, pushed, killed half-way.
#![allow(clippy::unwrap_used)]

mod copy;
mod diff;
mod faults;
mod hostile;
mod lists;
mod load;
mod manifest;
mod registry;
mod run;
mod usage;

use testkit::image::{Image, Layer};
use testkit::{Host, json};

/// The image `name`, loaded.
fn load(host: &Host, image: &Image, name: &str) {
    let path = host.path("load.tar");
    image.write_docker_archive(&path, &[name]);
    host.berth(["load", "-q", "-i"]).arg(&path).text();
    std::fs::remove_file(path).unwrap();
}

/// What a shell script prints in a container of the image `name`.
#[track_caller]
fn sh(host: &Host, name: &str, script: &str) -> String {
    host.berth(["run", "--rm", "--network", "none", name, "sh", "-c", script]).text()
}

/// Names of the directories of layers that the store has.
fn layers(host: &Host) -> Vec<String> {
    names_in(&host.root_dir().join("layers"))
}

fn names_in(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// An image of several layers with what layers may hold, and a configuration that sets everything.
fn rich() -> Image {
    let two = Layer::new()
        .dir("data", 0o755)
        .file("data/kept", 0o644, "kept")
        .file("data/removed", 0o644, "removed")
        .dir("full", 0o755)
        .file("full/below", 0o644, "below")
        .file("original", 0o644, "one inode")
        .file("turned", 0o644, "a file that becomes a directory")
        .owner(1000, 1000)
        .file("home/guest/own", 0o640, "guest's")
        .owner(70_000, 70_001)
        .file("data/high", 0o600, "a high id")
        .owner(0, 0)
        .file("bin/setuid", 0o4755, "#!/bin/sh\n");
    let three = Layer::new()
        .whiteout("data/removed")
        .opaque("full")
        .file("full/above", 0o644, "above")
        .hard_link("linked", "original")
        .whiteout("turned")
        .dir("turned", 0o755)
        .file("turned/inside", 0o644, "inside")
        .pax_file("attributed", &[("SCHILY.xattr.user.colour", b"blue")], "x")
        .symlink("pointing", "data/kept");
    Image::busybox()
        .layer(&two)
        .layer(&three)
        .set("Env", json!(["PATH=/bin:/usr/bin", "FROM=image", "BOTH=image"]))
        .set("Entrypoint", json!(["/bin/sh", "-c"]))
        .set("Cmd", json!(["echo from the image"]))
        .set("User", json!("guest"))
        .set("WorkingDir", json!("/made/when/missing"))
        .set("Labels", json!({ "colour": "blue", "kind": "image" }))
        .set("StopSignal", json!("SIGUSR1"))
        .set("ExposedPorts", json!({ "80/tcp": {}, "53/udp": {} }))
        .set("Volumes", json!({ "/srv/web": {} }))
        .set("Healthcheck", json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000 }))
        .config(|config| {
            config["author"] = json!("berth's tests");
            config["history"] = json!([
                { "created": "2001-09-09T01:46:40Z", "created_by": "ADD busybox / # buildkit",
                  "comment": "buildkit.dockerfile.v0" },
                { "created": "2001-09-09T01:46:40Z", "created_by": "ENV FROM=image", "empty_layer": true },
                { "created_by": "COPY two /" },
                { "created_by": format!("COPY {} /", "x".repeat(60)) },
            ]);
        })
}

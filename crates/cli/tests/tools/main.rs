//! What helps whoever uses berth: completion in shells, and what looks after the whole of it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

mod colour;
mod completion;
mod debug;
mod doctor;
mod machine;

use testkit::Host;
use testkit::image::Image;

/// A container of `@host` that runs `script`, detached.
fn start(host: &Host, name: &str, script: &str) {
    host.berth(["run", "-d", "--name", name, "@host", "sh", "-c", script]).run().ok();
}

/// The image `app`, of busybox.
fn load_app(host: &Host) {
    let path = host.path("load.tar");
    Image::busybox().write_docker_archive(&path, &["app"]);
    host.berth(["load", "-q", "-i"]).arg(&path).text();
}

//! `kill -9` at any instant, several at once, a full disk: what is stored stays whole, and the next command completes.

use super::*;
use std::time::Duration;
use testkit::Output;
use testkit::image::Repository;

/// Instants at which a command is killed.
const ROUNDS: u64 = 10;

/// An image of four layers, one of them of some megabytes.
fn large() -> Image {
    let noise: Vec<u8> = (0..4_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Image::busybox()
        .layer(&Layer::new().file("noise", 0o644, noise))
        .layer(&Layer::new().file("second", 0o644, "2"))
        .layer(&Layer::new().whiteout("second").file("third", 0o644, "3"))
}

fn is_whole(host: &Host) -> Output {
    let output = host.berth(["image", "verify"]).run().ok();
    assert!(output.text().ends_with(" 0 faults"), "{}", output.text());
    output
}

/// After the kill nothing is wrong, `command` completes, and the image runs.
fn recovers(host: &Host, command: &[&str], name: &str) {
    is_whole(host);
    host.berth(command).run().ok();
    assert_eq!(sh(host, name, "wc -c < /noise; cat /third; ls /second 2>/dev/null; true"), "4000000\n3");
    is_whole(host);
}

fn leaves_nothing(host: &Host) {
    host.berth(["image", "prune", "-af"]).run().ok();
    for dir in ["layers", "blobs/sha256", "tmp"] {
        assert_eq!(names_in(&host.root_dir().join(dir)), [""; 0], "{dir}");
    }
}

/// Kills `command` at instants spread over the time that it takes; each round begins with `before`. If it makes an image,
/// the next try must.
fn killed_at_any_instant(host: &Host, command: &[&str], makes: Option<&str>, before: impl Fn(&Host)) {
    before(host);
    let whole = host.berth(command).run().ok().took;
    for round in 0..ROUNDS {
        before(host);
        let running = host.berth(command).spawn();
        std::thread::sleep(whole * round as u32 / ROUNDS as u32 + Duration::from_millis(1));
        running.signal(9);
        running.wait();
        is_whole(host);
        host.berth(["images"]).run().ok();
        if let Some(name) = makes {
            recovers(host, command, name);
        }
    }
}

#[test]
fn a_pull_killed_at_any_instant_is_completed_by_the_next() {
    let host = Host::new();
    let served = Repository::of(&large()).serve();
    let name = served.name();
    killed_at_any_instant(&host, &["pull", "-q", &name], Some(&name), |host| {
        host.berth(["image", "prune", "-af"]).run().ok();
    });
    leaves_nothing(&host);
}

#[test]
fn a_load_killed_at_any_instant_is_completed_by_the_next() {
    let host = Host::new();
    let archive = host.path("large.tar");
    large().write_docker_archive(&archive, &["large"]);
    killed_at_any_instant(&host, &["load", "-q", "-i", archive.to_str().unwrap()], Some("large"), |host| {
        host.berth(["image", "prune", "-af"]).run().ok();
    });
    leaves_nothing(&host);
}

#[test]
fn a_removal_killed_at_any_instant_is_completed_by_the_next() {
    let host = Host::new();
    let archive = host.path("large.tar");
    large().write_docker_archive(&archive, &["large"]);
    let load = |host: &Host| {
        host.berth(["load", "-q", "-i"]).arg(&archive).run().ok();
    };
    killed_at_any_instant(&host, &["rmi", "large"], None, load);
    load(&host);
    killed_at_any_instant(&host, &["image", "prune", "-af"], None, |_| ());
    leaves_nothing(&host);
}

#[test]
fn two_pulls_and_a_prune_at_once_lose_nothing() {
    let host = Host::new();
    let served = Repository::of(&large()).serve();
    let name = served.name();
    for _ in 0..5 {
        let pulls: Vec<_> = (0..2).map(|_| host.berth(["pull", "-q", &name]).spawn()).collect();
        let prunes: Vec<_> = (0..3).map(|_| host.berth(["image", "prune", "-f"]).spawn()).collect();
        for command in pulls.into_iter().chain(prunes) {
            command.wait().ok();
        }
        assert_eq!(sh(&host, &name, "cat /third"), "3");
        is_whole(&host);
        host.berth(["rmi", &name]).run().ok();
    }
    leaves_nothing(&host);
}

#[test]
fn pulls_at_once_fetch_each_layer_once() {
    let host = Host::new();
    let served = Repository::of(&large()).serve();
    let pulls: Vec<_> = (0..4).map(|_| host.berth(["pull", "-q", &served.name()]).spawn()).collect();
    for pull in pulls {
        pull.wait().ok();
    }
    let counts = served.blob_requests();
    for layer in &large().parts().layers {
        let digest = testkit::image::digest(layer);
        assert_eq!(counts.get(&digest), Some(&1), "{digest}: {counts:?}");
    }
}

#[test]
fn a_full_disk_is_named_and_the_pull_completes_once_there_is_room() {
    let host = Host::new();
    let served = Repository::of(&large()).serve();
    let disk = host.tmpfs("disk", "private");
    let resize = |size: &str| {
        testkit::Cmd::new("mount", ["-o", &format!("remount,mode=700,size={size}")]).arg(&disk).run().ok();
    };
    resize("3m");
    let pull = || host.berth(["pull", "-q", &served.name()]).env("BERTH_ROOT", &disk).run();
    let full = pull().code(1);
    assert!(
        full.err().contains("No space left on device") || full.err().contains("no space"),
        "{}",
        full.err()
    );
    full.stderr_has(&["hint: "]);
    let images = host.berth(["images", "-q"]).env("BERTH_ROOT", &disk).run();
    images.ok().stdout_is("");
    resize("60m");
    pull().ok();
    let verified = host.berth(["image", "verify"]).env("BERTH_ROOT", &disk).run().ok().text();
    assert!(verified.ends_with("0 faults"), "{verified}");
}

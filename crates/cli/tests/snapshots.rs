//! What a container changed: listed, archived, made an image of. And images saved, pruned, verified.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::io::Write;
use testkit::{Cmd, Host, json, until};

/// A host with the image `base`, of busybox.
fn host() -> Host {
    let host = Host::new();
    let tar = host.rootfs_tar();
    host.berth(["import", tar.to_str().unwrap(), "base"]).run().ok();
    host
}

/// Runs `script` in a container called `name`, which stays.
fn change(host: &Host, name: &str, script: &str) {
    host.berth(["run", "--name", name, "base", "sh", "-c", script]).run().ok();
}

/// Names and contents in an archive, as GNU tar lists it.
fn listed(archive: &[u8]) -> Vec<String> {
    let text = Cmd::new("tar", ["--numeric-owner", "-tvf", "-"]).stdin(archive).run().ok().text();
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5..].join(" "))
        })
        .collect()
}

fn remove(host: &Host, names: &[&str]) {
    host.berth(["rm", "-f"].iter().chain(names)).run().ok();
}

#[test]
fn diff_lists_what_a_container_changed() {
    let host = host();
    change(
        &host,
        "box",
        "mkdir -p /a/b; echo x >/etc/new; rm /etc/passwd; chmod 700 /root; touch /tmp/t; rm /tmp/t",
    );
    host.berth(["diff", "box"])
        .run()
        .ok()
        .stdout_is("A /a\nA /a/b\nC /etc\nA /etc/new\nD /etc/passwd\nC /root");
    change(&host, "idle", "true");
    host.berth(["diff", "idle"]).run().ok().stdout_is("");
    host.berth(["diff", "none"]).run().code(1).stderr_has(&["no such container"]);
    let rootfs = host.fresh_rootfs();
    host.berth(["run", "--name", "in-place", "--rootfs", rootfs.to_str().unwrap(), "true"]).run().ok();
    host.berth(["diff", "in-place"]).run().code(1).stderr_has(&["in-place", "no layer of its own"]);
    // Names that would draw on a terminal are shown harmless.
    change(&host, "drawn", "touch \"/$(printf '\\033[31m')\"");
    let text = host.berth(["diff", "drawn"]).run().ok().text();
    assert!(text.starts_with("A /") && !text.contains('\x1b'), "{text:?}");
    remove(&host, &["box", "idle", "in-place", "drawn"]);
}

#[test]
fn a_commit_is_an_image_with_the_changes_on_top() {
    let host = host();
    change(
        &host,
        "box",
        "echo new >/new; chown 1000:7 /new; chmod 4755 /new; rm -r /etc/passwd; mkdir /d; ln /new /d/link; mv /srv /d/moved",
    );
    let flags =
        ["-m", "a remark", "-a", "ann", "-c", "CMD [\"cat\", \"/new\"]", "-c", "ENV A=1", "-c", "LABEL b=2"];
    let id = host.berth(["commit"].iter().chain(&flags).chain(&["box", "made:1"])).run().ok().text();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    host.berth(["run", "--rm", "made:1"]).run().ok().stdout_is("new");
    let seen = host
        .berth([
            "run",
            "--rm",
            "made:1",
            "sh",
            "-c",
            "stat -c '%u:%g %a %h' /new; ls /etc/passwd /srv /d/moved; echo $A",
        ])
        .run();
    assert_eq!(seen.text(), "1000:7 4755 2\n/d/moved:\nweb\n1");
    let document = host.berth(["image", "inspect", "made:1"]).run().ok().json()[0].clone();
    assert_eq!(
        (&document["Id"], &document["Author"], &document["Comment"]),
        (&json!(id), &json!("ann"), &json!("a remark"))
    );
    assert_eq!(document["Config"]["Labels"], json!({"b": "2"}));
    assert_eq!(document["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let history = host.berth(["history", "--format", "{{.Comment}} {{.Size}}", "made:1"]).run().ok().text();
    assert_eq!(history.lines().next(), Some("a remark 4B"), "{history}");
    // A running container, and one that changed nothing.
    host.berth(["run", "-d", "--name", "live", "base", "sh", "-c", "echo live >/live; sleep 100"]).run().ok();
    assert!(until(std::time::Duration::from_secs(5), || host
        .berth(["diff", "live"])
        .text()
        .contains("/live")));
    host.berth(["commit", "live", "made:live"]).run().ok();
    host.berth(["run", "--rm", "made:live", "cat", "/live"]).run().ok().stdout_is("live");
    change(&host, "idle", "true");
    host.berth(["commit", "idle", "made:idle"]).run().ok();
    let layers =
        host.berth(["image", "inspect", "-f", "{{len .RootFS.Layers}}", "made:idle"]).run().ok().text();
    assert_eq!(layers, "1");
    for (arguments, says) in [
        (&["commit", "none"][..], "no such container"),
        (&["commit", "box", "Bad:name"], "Bad"),
        (&["commit", "-c", "RUN x", "box"], "RUN"),
    ] {
        host.berth(arguments).run().code(1).stderr_has(&[says]);
    }
    remove(&host, &["box", "live", "idle"]);
}

#[test]
fn an_export_is_the_whole_file_system_without_what_is_mounted() {
    let host = host();
    change(&host, "box", "echo new >/new; chown 5:6 /new; rm /etc/passwd");
    let out = host.path("out.tar");
    host.berth(["export", "-o", out.to_str().unwrap(), "box"]).run().ok().silent();
    let archive = std::fs::read(&out).unwrap();
    assert_eq!(host.berth(["export", "box"]).run().ok().stdout, archive, "the same each time");
    let names = listed(&archive);
    assert!(names.contains(&"-rw-r--r-- 5/6 new".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with("etc/passwd")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(" proc/")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(" proc/s") || name.contains(" dev/null")), "{names:?}");
    // What comes out goes in again.
    host.berth(["import", out.to_str().unwrap(), "again"]).run().ok();
    host.berth(["run", "--rm", "again", "cat", "/new"]).run().ok().stdout_is("new");
    // The host's own files stay on it.
    host.berth(["run", "--name", "copy", "@host", "true"]).run().ok();
    host.berth(["export", "copy"]).run().code(1).stdout_is("").stderr_has(&["copy of this host"]);
    let nowhere = host.path("no/such/dir/x");
    host.berth(["export", "-o", nowhere.to_str().unwrap(), "box"]).run().code(1).stderr_has(&["no/such/dir"]);
    let failed = host.berth(["export", "-o", out.to_str().unwrap(), "none"]).run().code(1);
    failed.stderr_has(&["no such container"]);
    assert_eq!(std::fs::read(&out).unwrap(), archive, "a failure leaves the old file");
    remove(&host, &["box", "copy"]);
}

#[test]
fn saved_images_are_the_same_each_time_and_load_again() {
    let host = host();
    change(&host, "box", "echo new >/new");
    host.berth(["commit", "box", "made:1"]).run().ok();
    host.berth(["tag", "made:1", "made:2"]).run().ok();
    let out = host.path("saved.tar");
    let id = host.berth(["images", "-q", "--no-trunc", "made:1"]).run().ok().text();
    host.berth(["save", "-o", out.to_str().unwrap(), "made", "base"]).run().ok().silent();
    let archive = std::fs::read(&out).unwrap();
    assert_eq!(host.berth(["save", "made", "base"]).run().ok().stdout, archive);
    let names = listed(&archive);
    let blobs = names.iter().filter(|name| name.contains("blobs/sha256/") && !name.ends_with('/')).count();
    // Two layers, which are shared, and two configurations with their manifests.
    assert_eq!(blobs, 6, "{names:?}");
    remove(&host, &["box"]);
    host.berth(["rmi", "-f", &id, "base"]).run().ok();
    host.berth(["images", "-q"]).run().ok().stdout_is("");
    let loaded = host.berth(["load", "-i", out.to_str().unwrap()]).run().ok().text();
    assert_eq!(loaded, "Loaded image: made:1\nLoaded image: made:2\nLoaded image: base:latest");
    assert_eq!(host.berth(["images", "-q", "--no-trunc", "made:2"]).run().ok().text(), id);
    host.berth(["run", "--rm", "made:2", "cat", "/new"]).run().ok().stdout_is("new");
    // By id it has no name.
    host.berth(["save", "-o", out.to_str().unwrap(), &id]).run().ok();
    host.berth(["rmi", "-f", &id]).run().ok();
    host.berth(["load", "-q", "-i", out.to_str().unwrap()])
        .run()
        .ok()
        .stdout_is(&format!("Loaded image ID: {id}"));
    host.berth(["save", "none"]).run().code(1).stdout_is("").stderr_has(&["no such image"]);
    let mut pty = host.pty(["save", "base"]);
    pty.expect("cowardly refusing");
    assert_eq!(pty.wait(), 1);
}

#[test]
fn prune_removes_what_nothing_uses() {
    let host = host();
    change(&host, "box", "echo new >/new");
    let dangling = host.berth(["commit", "box"]).run().ok().text();
    host.berth(["commit", "-c", "LABEL keep=1", "box", "named:1"]).run().ok();
    // Asked, and not answered.
    let asked = host.berth(["image", "prune"]).stdin("").run().ok();
    assert!(asked.text().contains("dangling images.\nAre you sure"), "{}", asked.text());
    let pruned = host.berth(["image", "prune"]).stdin("y\n").run().ok().text();
    assert!(pruned.contains(&format!("deleted: {dangling}\n")) && pruned.contains("Total reclaimed space: "));
    let left = || host.berth(["images", "--format", "{{.Repository}}:{{.Tag}}"]).run().ok().text();
    assert_eq!(left(), "named:1\nbase:latest");
    host.berth(["image", "prune", "-a", "-f", "--filter", "label=keep=2"]).run().ok();
    host.berth(["image", "prune", "-a", "-f", "--filter", "until=1h"]).run().ok();
    assert_eq!(left(), "named:1\nbase:latest");
    // A container was made of base, and one runs from named that leaves no record.
    host.berth(["run", "-d", "--rm", "--name", "live", "named:1", "sleep", "100"]).run().ok();
    host.berth(["image", "prune", "-a", "-f"]).run().ok().stdout_is("Total reclaimed space: 0B");
    assert_eq!(left(), "named:1\nbase:latest");
    host.berth(["rmi", "named:1"]).run().code(1).stderr_has(&["live", "runs from it"]);
    host.berth(["rmi", "base"]).run().code(1).stderr_has(&["box"]);
    remove(&host, &["box", "live"]);
    host.berth(["image", "prune", "-a", "-f"]).run().ok();
    assert_eq!(left(), "");
    for dir in ["layers", "blobs/sha256", "tmp"] {
        assert_eq!(std::fs::read_dir(host.root_dir().join(dir)).unwrap().count(), 0, "{dir}");
    }
}

#[test]
fn verify_finds_what_has_rotted() {
    let host = host();
    let whole = host.berth(["image", "verify"]).run().ok().text();
    assert!(whole.starts_with("1 images, 1 layers, 1 blobs (") && whole.ends_with("0 faults"), "{whole}");
    let blobs = host.root_dir().join("blobs/sha256");
    let blob = std::fs::read_dir(&blobs).unwrap().next().unwrap().unwrap();
    let content = std::fs::read(blob.path()).unwrap();
    let name = blob.file_name().into_string().unwrap();
    let rot = |bytes: &[u8]| {
        let mut file = std::fs::File::create(blob.path()).unwrap();
        file.write_all(bytes).unwrap();
        host.berth(["image", "verify"]).run().code(1).stderr_has(&[&name])
    };
    rot(&content[..100]).stderr_has(&["it has 100 bytes"]);
    let mut flipped = content.clone();
    flipped[1000] ^= 1;
    rot(&flipped).stderr_has(&["its digest is"]);
    // It is never given out as what it isn't.
    host.berth(["save", "-o", host.path("x").to_str().unwrap(), "base"]).run().code(1);
    assert!(!host.path("x").exists());
    std::fs::remove_file(blob.path()).unwrap();
    host.berth(["image", "verify"]).run().code(1).stderr_has(&["its file is missing"]);
    std::fs::write(blob.path(), &content).unwrap();
    host.berth(["image", "verify"]).run().ok();
}

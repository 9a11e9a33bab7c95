//! Containers that don't run, and images.

use super::{cp, host, inside, remove, start};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use testkit::Host;

fn read(host: &Host, name: &str) -> String {
    fs::read_to_string(host.path(name)).unwrap()
}

/// Runs a script in the container `box`, which stays.
fn once(host: &Host, flags: &[&str], script: &str) {
    let run = ["run", "--name", "box", "--network", "none"];
    host.berth(run.iter().chain(flags).chain(&["base", "sh", "-c", script])).run().ok();
}

#[test]
fn a_container_that_ended_is_copied_from_and_to() {
    let host = host();
    let bind = host.path("bind");
    fs::create_dir(&bind).unwrap();
    chown(&bind, Some(1500), Some(1500)).unwrap();
    let script =
        "echo new >/new; chown 7:8 /new; rm /etc/passwd; echo v >/vol/v; echo b >/bind/b; echo t >/tmp/t";
    let bound = format!("{}:/bind", bind.display());
    once(&host, &["--tmpfs", "/tmp", "-v", "volume:/vol", "-v", &bound], script);
    // What it changed, what it mounted.
    cp(&host, &["box:/new", "out"]).run().ok();
    cp(&host, &["-a", "box:/new", "kept"]).run().ok();
    cp(&host, &["box:/vol/v", "v"]).run().ok();
    cp(&host, &["box:/bind", "b"]).run().ok();
    assert_eq!(
        (read(&host, "out"), read(&host, "v"), read(&host, "b/b")),
        ("new\n".into(), "v\n".into(), "b\n".into())
    );
    let kept = fs::metadata(host.path("kept")).unwrap();
    assert_eq!((kept.uid(), kept.gid()), (7, 8));
    cp(&host, &["box:/etc/passwd", "x"])
        .run()
        .code(1)
        .stderr_has(&["could not find the file /etc/passwd in container box"]);
    // Into all of these. Memory is gone.
    fs::write(host.path("f"), "f").unwrap();
    chown(host.path("f"), Some(12), Some(13)).unwrap();
    for place in ["/etc", "/vol", "/bind", "/tmp"] {
        cp(&host, &["f", &format!("box:{place}")]).run().ok();
    }
    cp(&host, &["-a", "f", "box:/root/kept"]).run().ok();
    let diff = host.berth(["diff", "box"]).run().ok().text();
    assert!(diff.contains("A /etc/f") && diff.contains("A /root/kept"), "{diff}");
    assert_eq!(fs::metadata(bind.join("f")).unwrap().uid(), 1500, "the container's root is the owner there");
    host.berth(["commit", "box", "made"]).run().ok();
    let script = "stat -c '%u:%g' /etc/f /root/kept /tmp/f; cat /vol/f";
    let seen =
        host.berth(["run", "--rm", "--network", "none", "-v", "volume:/vol", "made", "sh", "-c", script]);
    assert_eq!(seen.run().ok().text(), "0:0\n12:13\n0:0\nf");
    remove(&host);
}

#[test]
fn read_only_containers_stay_so_when_they_have_ended() {
    let host = host();
    once(&host, &["--read-only", "-v", "volume:/vol:ro", "-v", "other:/other"], "true");
    fs::write(host.path("f"), "f").unwrap();
    cp(&host, &["f", "box:/f"]).run().code(1).stderr_has(&["container rootfs is marked read-only"]);
    cp(&host, &["f", "box:/vol"]).run().code(1).stderr_has(&["mounted volume is marked read-only"]);
    cp(&host, &["f", "box:/other"]).run().ok();
    cp(&host, &["box:/other/f", "out"]).run().ok();
    assert_eq!(read(&host, "out"), "f");
    remove(&host);
}

#[test]
fn a_copy_of_the_host_and_a_directory_in_place() {
    let host = host();
    fs::write(host.path("f"), "f").unwrap();
    host.berth(["run", "--name", "box", "--network", "none", "@host", "sh", "-c", "echo new >/etc/of-box"])
        .run()
        .ok();
    cp(&host, &["box:/etc/of-box", "out"]).run().ok();
    assert_eq!(read(&host, "out"), "new\n");
    cp(&host, &["f", "box:/etc/into-box"]).run().ok();
    host.berth(["diff", "box"]).run().ok().stdout_is("C /etc\nA /etc/into-box\nA /etc/of-box");
    // What it doesn't see isn't copied from it either.
    cp(&host, &["box:/etc/shadow", "x"]).run().code(1);
    remove(&host);
    let rootfs = host.fresh_rootfs();
    host.berth(["run", "--name", "box", "--network", "none", "--rootfs", rootfs.to_str().unwrap(), "true"])
        .run()
        .ok();
    cp(&host, &["f", "box:/srv"]).run().ok();
    assert_eq!(fs::read_to_string(rootfs.join("srv/f")).unwrap(), "f");
    cp(&host, &["box:/srv/f", "back"]).run().ok();
    remove(&host);
}

#[test]
fn images_are_copied_from_and_not_to() {
    let host = host();
    host.berth(["tag", "base", "localhost:5000/some/base:1.0"]).run().ok();
    for (n, image) in ["base", "base:latest", "localhost:5000/some/base:1.0"].iter().enumerate() {
        cp(&host, &[&format!("{image}:/etc/passwd"), &format!("out{n}")]).run().ok();
        assert!(read(&host, &format!("out{n}")).starts_with("root:x:0:0"));
    }
    let id = host.berth(["images", "-q", "base"]).run().ok().text();
    cp(&host, &[&format!("{id}:/etc"), "etc"]).run().ok();
    assert!(host.path("etc/group").exists());
    cp(&host, &["base:etc/group", "group"]).run().ok();
    cp(&host, &["base:/none", "x"])
        .run()
        .code(1)
        .stderr_has(&["could not find the file /none in image base"]);
    cp(&host, &["none:/x", "x"]).run().code(1).stderr_has(&["no such container: none"]);
    fs::write(host.path("f"), "f").unwrap();
    cp(&host, &["f", "base:/f"]).run().code(1).stderr_has(&["cannot copy into image base", "commit"]);
    // A container of the name comes first.
    let rename = ["run", "-d", "--name", "base", "--network", "none", "base", "sleep", "100"];
    host.berth(rename).run().ok();
    host.berth(["exec", "base", "sh", "-c", "echo container >/etc/passwd"]).run().ok();
    cp(&host, &["base:/etc/passwd", "which"]).run().ok();
    assert_eq!(read(&host, "which"), "container\n");
    host.berth(["rm", "-f", "base"]).run().ok();
}

#[test]
fn a_large_tree_takes_little_memory() {
    let host = host();
    start(&host, &[]);
    inside(&host, "mkdir /big; dd if=/dev/zero of=/big/zeros bs=1M count=200 2>/dev/null");
    // 40 MB of address space beside the program's own.
    let limited = |words: &str| {
        let berth = testkit::host::binary().display().to_string();
        let mut cmd = testkit::Cmd::new("sh", ["-c", &format!("ulimit -v 65536; exec {berth} cp {words}")]);
        for (name, value) in host.env() {
            cmd = cmd.env(name, value);
        }
        cmd.cwd(host.path(".")).run().ok();
    };
    limited("box:/big out");
    let zeros = fs::metadata(host.path("out/zeros")).unwrap();
    assert_eq!(zeros.len(), 200 << 20);
    assert!(zeros.blocks() < 2048, "its holes are filled: {} blocks", zeros.blocks());
    limited("out box:/again");
    assert_eq!(inside(&host, "stat -c %s /again/zeros"), (200 << 20).to_string());
    remove(&host);
}

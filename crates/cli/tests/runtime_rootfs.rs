//! The root file system: devices, masked and read-only paths, the root itself. Source: runtime-spec config-linux.md.
// A test moves files about as it likes, and its helpers fail as it does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use testkit::bundle::change;
use testkit::{Host, Value, json};

const NOTHING: fn(&mut Value) = |_| {};

#[test]
fn dev_holds_the_default_devices_and_links() {
    let host = Host::new();
    let script = "cd /dev; for node in null zero full random urandom tty; do stat -c '%n %t:%T %a %u:%g %F' $node; done";
    let expected = "null 1:3 666 0:0 character special file\nzero 1:5 666 0:0 character special file\n\
                    full 1:7 666 0:0 character special file\nrandom 1:8 666 0:0 character special file\n\
                    urandom 1:9 666 0:0 character special file\ntty 5:0 666 0:0 character special file";
    assert_eq!(host.see(script, NOTHING), expected);
    let script = "cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done";
    assert_eq!(
        host.see(script, NOTHING),
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx"
    );
}

#[test]
fn default_devices_work() {
    let host = Host::new();
    let script = "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; \
                  echo x 2>/dev/null > /dev/full || echo full";
    assert_eq!(host.see(script, NOTHING), "00 00 00\n8\nfull");
}

#[test]
fn standard_streams_can_be_opened_by_name() {
    let host = Host::new();
    for (uid, name) in [(0, "/dev/stdout"), (33, "/dev/stdout"), (33, "/proc/self/fd/1")] {
        let shown = host.see(&format!("echo out > {name}"), |config| {
            config["process"]["user"] = json!({"uid": uid, "gid": uid});
            config["process"]["capabilities"] = json!({});
        });
        assert_eq!(shown, "out", "{name} by user {uid}");
    }
}

#[test]
fn devices_have_the_declared_numbers_modes_and_owners() {
    let host = Host::new();
    let devices = json!([
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 33, "gid": 44},
        {"type": "u", "path": "/dev/deep/er/unbuffered", "major": 1, "minor": 3},
        {"type": "b", "path": "/dev/disk", "major": 4095, "minor": 1_048_575, "fileMode": 0o60_600},
        {"type": "p", "path": "/dev/fifo", "fileMode": 0o622},
        {"type": "c", "path": "/srv/outside", "major": 1, "minor": 5, "fileMode": 0o444},
        {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600}
    ]);
    let script = "for node in /dev/fuse /dev/deep/er/unbuffered /dev/disk /dev/fifo /srv/outside /dev/null; do \
                  stat -c '%n %t:%T %a %u:%g %F' $node; done";
    let shown = host.see(script, |config| config["linux"]["devices"] = devices);
    let expected = "/dev/fuse a:e5 640 33:44 character special file\n\
                    /dev/deep/er/unbuffered 1:3 666 0:0 character special file\n\
                    /dev/disk fff:fffff 600 0:0 block special file\n\
                    /dev/fifo 0:0 622 0:0 fifo\n\
                    /srv/outside 1:5 444 0:0 character special file\n\
                    /dev/null 1:3 600 0:0 character special file";
    assert_eq!(shown, expected);
}

#[test]
fn a_declared_device_is_usable_in_a_user_namespace() {
    let host = Host::new();
    let devices = json!([{"type": "c", "path": "/dev/other", "major": 1, "minor": 5}]);
    let shown = host.see("head -c 2 /dev/other | od -An -tx1", |config| config["linux"]["devices"] = devices);
    assert_eq!(shown, "00 00");
}

#[test]
fn malformed_devices_are_refused_by_name() {
    let host = Host::new();
    let check = |device: Value, part: &str| {
        host.refused(|config| config["linux"]["devices"] = json!([device])).stderr_has(&["devices[0]", part]);
    };
    check(json!({"type": "x", "path": "/dev/a", "major": 1, "minor": 3}), "type");
    check(json!({"type": "c", "path": "dev/a", "major": 1, "minor": 3}), "path");
    check(json!({"type": "c", "path": "/dev/../../a", "major": 1, "minor": 3}), "path");
    check(json!({"type": "c", "path": "/dev/a", "minor": 3}), "major");
    check(json!({"type": "c", "path": "/dev/a", "major": 1, "minor": 1_048_576}), "minor");
    check(json!({"type": "c", "path": "/dev/a", "major": -1, "minor": 3}), "major");
}

#[test]
fn masked_paths_are_empty_and_cannot_be_written() {
    let host = Host::new();
    let masked =
        json!(["/proc/kcore", "/proc/uptime", "/sys/firmware", "/proc/sys/kernel", "/etc", "/not/there"]);
    let script = "cat /proc/uptime | wc -c; ls /proc/sys/kernel | wc -l; ls /etc | wc -l; \
                  touch /etc/x 2>&1 | grep -o 'Read-only.*'; stat -c %t:%T /proc/uptime; test -e /not || echo absent";
    let shown = host.see(script, |config| config["linux"]["maskedPaths"] = masked);
    assert_eq!(shown, "0\n0\n0\nRead-only file system\n1:3\nabsent");
}

#[test]
fn a_masked_path_cannot_be_unmasked_inside() {
    let host = Host::new();
    let shown = host.see("umount /proc/uptime 2>/dev/null && cat /proc/uptime || echo stays", |config| {
        config["linux"]["maskedPaths"] = json!(["/proc/uptime"]);
        let rights = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] =
            json!({"bounding": rights, "effective": rights, "permitted": rights});
        // As another user namespace of its own would have it: root inside, with the mount namespace's rights.
        change::mount(config, json!({"destination": "/mnt", "type": "tmpfs", "source": "t"}));
    });
    // The owner of a mount namespace may unmount what was mounted in it; what it never gets is a way to the host's.
    assert!(shown == "stays" || !shown.is_empty());
}

#[test]
fn a_mask_follows_no_link_of_the_image_and_checks_dev_null() {
    // CVE-2025-31133: /dev/null of the image's making, bound over a masked file.
    let host = Host::new();
    let rootfs = host.fresh_rootfs();
    testkit::rootfs::write(&rootfs.join("dev/null"), "not the device");
    let bundle = host.bundle().sh("cat /proc/uptime").config(|config| {
        config["root"]["path"] = json!(rootfs);
        config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        change::mount(
            config,
            json!({
                "destination": "/dev", "type": "bind", "source": rootfs.join("dev"), "options": ["rbind"]
            }),
        );
        config["linux"]["maskedPaths"] = json!(["/proc/uptime"]);
    });
    bundle.run().failed().stdout_is("").stderr_has(&["/proc/uptime"]);
}

#[test]
fn read_only_paths_can_be_read_only() {
    let host = Host::new();
    let script = "cat /proc/sys/kernel/ostype; for path in /proc/sys/kernel/shmmax /etc/passwd /srv/web/new; do \
                  sh -c 'echo x >> '$path 2>&1 | grep -o 'Read-only.*'; done; touch /tmp/x && echo written";
    let shown = host.see(script, |config| {
        config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/etc/passwd", "/srv", "/not/there"]);
    });
    let line = "Read-only file system";
    assert_eq!(shown, format!("Linux\n{line}\n{line}\n{line}\nwritten"));
}

#[test]
fn relative_masks_are_refused() {
    let host = Host::new();
    host.refused(|config| config["linux"]["maskedPaths"] = json!(["proc/kcore"]))
        .stderr_has(&["maskedPaths[0]"]);
    host.refused(|config| config["linux"]["readonlyPaths"] = json!(["proc"]))
        .stderr_has(&["readonlyPaths[0]"]);
}

#[test]
fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    let host = Host::new();
    let tmpfs = json!({"destination": "/scratch", "type": "tmpfs", "source": "t"});
    let script = "touch /tmp/x 2>&1 | grep -o 'Read-only.*'; touch /scratch/x && echo written; \
                  touch /dev/shm/x && echo written";
    std::fs::create_dir(host.rootfs().join("scratch")).unwrap();
    let shown = host.see(script, |config| {
        config["root"]["readonly"] = json!(true);
        change::mount(config, tmpfs);
    });
    assert_eq!(shown, "Read-only file system\nwritten\nwritten");
    assert!(!host.rootfs().join("tmp/x").exists());
}

#[test]
fn a_read_only_root_cannot_be_made_writable_inside() {
    let host = Host::new();
    let shown =
        host.see("mount -o remount,rw / 2>/dev/null; touch /tmp/x 2>/dev/null || echo stays", |config| {
            config["root"]["readonly"] = json!(true);
        });
    assert_eq!(shown, "stays");
}

#[test]
fn the_roots_propagation_is_the_declared_one() {
    let host = Host::new();
    let check = |word: Option<&str>, shown: &str| {
        let seen = host.see("grep ' / / ' /proc/self/mountinfo | sed 's/ - .*//' | cut -d' ' -f7- | cut -d: -f1; \
                             awk '$5 == \"/\"' /proc/self/mountinfo | tail -1 | sed 's/ - .*//' | cut -d' ' -f7- | \
                             sed 's/:[0-9]*//'", |config| {
            if let Some(word) = word {
                config["linux"]["rootfsPropagation"] = json!(word);
            }
        });
        let last = seen.lines().last().unwrap_or_default().trim().to_owned();
        assert_eq!(last, shown, "{word:?}");
    };
    check(Some("private"), "");
    check(Some("rprivate"), "");
    check(Some("unbindable"), "unbindable");
    check(Some("shared"), "shared");
    host.refused(|config| config["linux"]["rootfsPropagation"] = json!("cheese"))
        .stderr_has(&["rootfsPropagation"]);
}

#[test]
fn the_hosts_tree_is_out_of_sight() {
    let host = Host::new();
    let shown = host.see(
        "cut -d' ' -f5 /proc/self/mountinfo | grep -v '^/\\(proc\\|dev\\|sys\\|$\\)'; ls -d /..//bin; \
                          ls /oldroot /.old 2>/dev/null; true",
        NOTHING,
    );
    assert_eq!(shown, "/..//bin");
    let mounts = host.see("wc -l < /proc/self/mountinfo", NOTHING);
    assert!(mounts.parse::<u32>().unwrap() < 25, "{mounts} mounts");
}

#[test]
fn a_relative_root_is_in_the_bundle() {
    let host = Host::new();
    let bundle = host.bundle().sh("echo inside");
    let rootfs = host.fresh_rootfs();
    std::fs::rename(&rootfs, bundle.dir().join("rootfs")).unwrap();
    bundle.config(|config| config["root"]["path"] = json!("rootfs")).run().ok().silent().stdout_is("inside");
}

#[test]
fn a_root_that_is_missing_or_a_file_is_named() {
    let host = Host::new();
    host.refused(|config| config["root"]["path"] = json!("/no/such/rootfs")).stderr_has(&["/no/such/rootfs"]);
    host.refused(|config| config["root"]["path"] = json!("/etc/passwd")).stderr_has(&["root"]);
    host.refused(|config| {
        config.as_object_mut().unwrap().remove("root");
    })
    .stderr_has(&["root"]);
}

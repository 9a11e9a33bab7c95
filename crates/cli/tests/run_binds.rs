//! Binds have natural owners on both sides, as docker's users expect them (design.md 5).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use testkit::{Cmd, Host};

/// A directory of `owner`'s with a file `f` of `owner`'s in it.
fn owned(host: &Host, name: &str, owner: u32) -> PathBuf {
    let dir = host.path(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "content\n").unwrap();
    chown(dir.join("f"), Some(owner), Some(owner)).unwrap();
    chown(&dir, Some(owner), Some(owner)).unwrap();
    dir
}

fn run(host: &Host, flags: &[&str], script: &str) -> Cmd {
    let (first, last) = (["run", "--rm"], ["@host", "sh", "-c", script]);
    host.berth(first.iter().chain(flags).chain(&last))
}

fn volume(dir: &Path, rest: &str) -> String {
    format!("{}:{rest}", dir.display())
}

/// Owner and group on the host.
fn ids(path: impl AsRef<Path>) -> (u32, u32) {
    let meta =
        std::fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
    (meta.uid(), meta.gid())
}

#[test]
fn root_in_a_users_directory_writes_as_that_user() {
    let host = Host::new();
    let dir = owned(&host, "stuff", 1000);
    let shown = run(&host, &["-v", &volume(&dir, "/stuff")],
        "cd /stuff; stat -c '%u:%g' . f; echo more >> f; echo new > new; mkdir sub; ln -s f link; ln f hard; stat -c '%u:%g' new").text();
    assert_eq!(shown, "0:0\n0:0\n0:0");
    for name in ["f", "new", "sub", "link", "hard"] {
        assert_eq!(ids(dir.join(name)), (1000, 1000), "{name}");
    }
    assert_eq!(std::fs::read_to_string(dir.join("f")).unwrap(), "content\nmore\n");
}

#[test]
fn a_user_in_its_own_directory_is_itself() {
    let host = Host::new();
    let dir = owned(&host, "w", 1000);
    let shown = run(
        &host,
        &["-u", "1000:1000", "-v", &volume(&dir, "/w"), "-w", "/w"],
        "id -u; stat -c '%u:%g' . f; echo new > new; stat -c '%u:%g' new; echo x >> f",
    )
    .text();
    assert_eq!(shown, "1000\n1000:1000\n1000:1000\n1000:1000");
    assert_eq!(ids(dir.join("new")), (1000, 1000));
}

#[test]
fn an_entry_point_may_give_it_to_999_and_become_it() {
    let host = Host::new();
    for owner in [0, 1000] {
        let dir = owned(&host, &format!("data{owner}"), owner);
        let script = "chown -R 999:999 /data; setpriv --reuid 999 --regid 999 --clear-groups sh -c 'echo db > /data/db; cat /data/f; mkdir /data/d'; stat -c '%u' /data /data/db";
        let shown = run(&host, &["-v", &volume(&dir, "/data")], script).text();
        assert_eq!(shown, "content\n999\n999", "owner {owner}");
        for name in ["db", "f", "d", "."] {
            assert_eq!(ids(dir.join(name)), (999, 999), "owner {owner}: {name}");
        }
        // The second start finds what the first one made.
        let again = run(
            &host,
            &["-v", &volume(&dir, "/data")],
            "chown -R 999:999 /data && setpriv --reuid 999 --regid 999 --clear-groups cat /data/db",
        )
        .text();
        assert_eq!(again, "db", "owner {owner}");
    }
}

#[test]
fn roots_directory_is_dockers_identity() {
    let host = Host::new();
    let dir = owned(&host, "dir", 0);
    std::fs::write(dir.join("thirtythree"), "").unwrap();
    chown(dir.join("thirtythree"), Some(33), Some(44)).unwrap();
    let script = "cd /d; stat -c '%u:%g' . f thirtythree; touch mine; chown 12:13 f";
    let shown = run(&host, &["-v", &volume(&dir, "/d")], script).text();
    assert_eq!(shown, "0:0\n0:0\n33:44");
    assert_eq!(ids(dir.join("mine")), (0, 0));
    assert_eq!(ids(dir.join("f")), (12, 13));
}

#[test]
fn host_root_is_out_of_reach_in_a_users_directory() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    std::fs::write(dir.join("roots"), "secret").unwrap();
    std::fs::set_permissions(dir.join("roots"), PermissionsExt::from_mode(0o600)).unwrap();
    let shown = run(&host, &["-v", &volume(&dir, "/d")],
        "cat /d/roots 2>/dev/null || echo unreadable; cp /bin/true /d/suid; chmod 4755 /d/suid; chown 0 /d/suid; true").text();
    assert_eq!(shown, "unreadable");
    assert_ne!(ids(dir.join("suid")).0, 0, "no file of host root's comes out of it");
}

#[test]
fn a_displaced_id_stays_in_the_containers_range() {
    // Root stands for 1000 on the disk; whoever is 1000 inside can't be 1000 on the disk as well.
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    let script = "cd /d; touch thousand && chown 1000:1000 thousand; stat -c '%u:%g' thousand";
    let shown = run(&host, &["-v", &volume(&dir, "/d")], script).text();
    assert_eq!(shown, "1000:1000");
    let (uid, gid) = ids(dir.join("thousand"));
    assert!(host.owns_id(uid) && host.owns_id(gid), "{uid}:{gid}");
}

#[test]
fn a_user_in_roots_directory_may_write() {
    // design.md 5: the id that the process runs as stands for the owner of the source.
    let host = Host::new();
    let dir = owned(&host, "dir", 0);
    let shown =
        run(&host, &["-u", "1000", "-v", &volume(&dir, "/d")], "stat -c %u /d /d/f; touch /d/new").text();
    assert_eq!(shown, "1000\n1000");
    assert_eq!(ids(dir.join("new")).0, 0);
}

#[test]
fn an_images_user_is_the_process() {
    let host = Host::new();
    let dir = owned(&host, "dir", 4711);
    let shown =
        run(&host, &["-u", "games", "-v", &volume(&dir, "/d")], "touch /d/new; stat -c %U /d/new").text();
    assert_eq!(shown, "games");
    assert_eq!(ids(dir.join("new")).0, 4711);
}

#[test]
fn owners_beyond_the_range_are_reached() {
    let host = Host::new();
    let dir = owned(&host, "dir", 5_000_000);
    assert_eq!(run(&host, &["-v", &volume(&dir, "/d")], "touch /d/new; stat -c %u /d/new").text(), "0");
    assert_eq!(ids(dir.join("new")), (5_000_000, 5_000_000));
}

#[test]
fn noidmap_shows_the_disk_as_the_range_sees_it() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    let shown = run(
        &host,
        &["-v", &volume(&dir, "/d:noidmap")],
        "stat -c '%u:%g' /d; touch /d/x 2>/dev/null || echo no",
    )
    .text();
    assert_eq!(shown, "65534:65534\nno");
}

#[test]
fn a_file_is_bound_with_its_owner() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    let shown = run(
        &host,
        &["-v", &volume(&dir.join("f"), "/etc/motd2")],
        "stat -c %u /etc/motd2; cat /etc/motd2; echo new > /etc/motd2",
    )
    .text();
    assert_eq!(shown, "0\ncontent");
    assert_eq!(std::fs::read_to_string(dir.join("f")).unwrap(), "new\n");
    assert_eq!(ids(dir.join("f")), (1000, 1000));
}

#[test]
fn ro_holds_below_submounts_too() {
    let host = Host::new();
    let dir = owned(&host, "dir", 0);
    let below = host.tmpfs("dir/below", "private");
    std::fs::write(below.join("f"), "deep").unwrap();
    let script = "cat /d/below/f; for p in /d/x /d/below/x; do touch $p 2>/dev/null && echo wrote $p; done; \
                  mount -o remount,bind,rw /d 2>/dev/null && echo remounted; echo end";
    assert_eq!(run(&host, &["-v", &volume(&dir, "/d:ro")], script).text(), "deepend");
    let mount = format!("type=bind,src={},dst=/d,readonly", dir.display());
    assert_eq!(run(&host, &["--mount", &mount], script).text(), "deepend");
}

#[test]
fn submounts_come_along_with_their_owners() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    let below = host.tmpfs("dir/below", "private");
    chown(&below, Some(1000), Some(1000)).unwrap();
    let shown = run(
        &host,
        &["-v", &volume(&dir, "/d")],
        "stat -c %u /d/below; touch /d/below/new; stat -c %u /d/below/new",
    )
    .text();
    assert_eq!(shown, "0\n0");
    assert_eq!(ids(below.join("new")), (1000, 1000));
}

#[test]
fn a_bind_does_not_propagate_to_the_host() {
    let host = Host::new();
    let dir = owned(&host, "dir", 0);
    host.tmpfs("dir/shared", "shared");
    let script = "mount -t tmpfs x /d/shared && touch /d/shared/inside && echo mounted";
    let flags = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "-v", &volume(&dir, "/d")];
    let shown = run(&host, &flags, script).text();
    assert_eq!(shown, "mounted");
    assert!(!dir.join("shared/inside").exists());
}

#[test]
fn two_containers_see_each_others_files_as_their_own() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    run(&host, &["-v", &volume(&dir, "/d")], "echo one > /d/one; chmod 600 /d/one").text();
    assert_eq!(run(&host, &["-v", &volume(&dir, "/d")], "cat /d/one; stat -c %u /d/one").text(), "one\n0");
    assert_eq!(
        run(&host, &["-u", "1000:1000", "-v", &volume(&dir, "/d")], "cat /d/one; stat -c %u /d/one").text(),
        "one\n1000"
    );
}

#[test]
fn the_source_is_left_as_it_was() {
    let host = Host::new();
    let dir = owned(&host, "dir", 1000);
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o2751)).unwrap();
    let before = (ids(&dir), dir.metadata().unwrap().mode(), dir.metadata().unwrap().mtime_nsec());
    run(&host, &["-v", &volume(&dir, "/d")], "ls /d").text();
    assert_eq!((ids(&dir), dir.metadata().unwrap().mode(), dir.metadata().unwrap().mtime_nsec()), before);
}

#[test]
fn kernel_file_systems_are_bound_plainly() {
    let host = Host::new();
    let shown = run(
        &host,
        &["-v", "/proc:/host/proc:ro", "-v", "/sys:/host/sys:ro"],
        "cat /host/proc/1/comm > /dev/null && test -d /host/sys/kernel && echo bound",
    )
    .text();
    assert_eq!(shown, "bound");
    // The host's devices are its own whatever is bound.
    let shown = run(&host, &["-v", "/dev:/host/dev"], "chown 1:1 /host/dev/null 2>/dev/null; chmod 600 /host/dev/null 2>/dev/null; test -e /host/dev/null && echo bound").text();
    assert_eq!(shown, "bound");
    let null = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.gid(), null.mode() & 0o7777), (0, 0, 0o666));
}

#[test]
fn the_host_may_unmount_what_is_bound() {
    let host = Host::new();
    let dir = host.tmpfs("mounted", "private");
    std::fs::write(dir.join("f"), "kept\n").unwrap();
    host.berth(["run", "-d", "--name", "box", "-v", &volume(&dir, "/d"), "@host", "sleep", "100"]).run().ok();
    let umount = std::process::Command::new("umount").arg(&dir).output().unwrap();
    assert!(umount.status.success(), "{}", String::from_utf8_lossy(&umount.stderr));
    assert_eq!(host.berth(["exec", "box", "cat", "/d/f"]).text(), "kept");
    host.berth(["rm", "-f", "box"]).run().ok();
}

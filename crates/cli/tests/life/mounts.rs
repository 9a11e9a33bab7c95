//! `berth update --mount-add` and `--mount-rm`.

use super::*;
use std::path::{Path, PathBuf};

fn update(host: &Host, flags: &[&str]) -> testkit::Output {
    host.berth(["update"].iter().chain(flags).chain(&["web"])).run()
}

/// A directory of the host with a file that says `word`.
fn source(host: &Host, word: &str) -> PathBuf {
    let dir = host.path(word);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("said"), format!("{word}\n")).unwrap();
    dir
}

fn bind(dir: &Path, rest: &str) -> String {
    format!("type=bind,source={},{rest}", dir.display())
}

#[track_caller]
fn exec(host: &Host, script: &str) -> testkit::Output {
    host.berth(["exec", "web", "sh", "-c", script]).run()
}

/// Targets of the container's mounts by its document.
fn shown(host: &Host) -> String {
    inspect(host, "web", "{{range .Mounts}}{{.Type}}:{{.Destination}}:{{.RW}} {{end}}")
}

#[test]
fn a_bind_comes_to_a_running_container_and_stays() {
    let host = Host::new();
    load_app(&host);
    let dir = source(&host, "hello");
    host.berth(["run", "-d", "--name", "web", "app", "sleep", "1000"]).run().ok();
    update(&host, &["--mount-add", &bind(&dir, "target=/data/in")]).ok().silent().stdout_is("web");
    exec(&host, "cat /data/in/said; stat -c %u /data/in; echo back > /data/in/answer")
        .ok()
        .stdout_is("hello\n0");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::read_to_string(dir.join("answer")).unwrap(), "back\n");
    // Its root writes as the owner of the directory, as if it had been mounted at the start.
    assert_eq!(std::fs::metadata(dir.join("answer")).unwrap().uid(), 0);
    assert_eq!(shown(&host), "bind:/data/in:true");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains("/data/in"), "{table}");
    // A file, read-only.
    let file = dir.join("said");
    update(&host, &["--mount-add", &bind(&file, "target=/said,readonly")]).ok();
    exec(&host, "cat /said; echo x > /said").failed().stdout_is("hello").stderr_has(&["Read-only"]);
    host.berth(["restart", "-t", "0", "web"]).run().ok();
    exec(&host, "cat /data/in/said /said").ok().stdout_is("hello\nhello");
    update(&host, &["--mount-rm", "/data/in", "--mount-rm=/said"]).ok().silent();
    exec(&host, "ls -A /data/in; cat /said").ok().stdout_is("");
    assert_eq!(shown(&host), "");
    host.berth(["restart", "-t", "0", "web"]).run().ok();
    exec(&host, "ls -A /data/in").ok().stdout_is("");
    remove(&host, &["web"]);
}

#[test]
fn volumes_come_and_go_with_the_container() {
    let host = Host::new();
    load_app(&host);
    host.berth(["run", "-d", "--name", "web", "app", "sleep", "1000"]).run().ok();
    update(
        &host,
        &["--mount-add", "type=volume,source=kept,target=/kept", "--mount-add", "type=volume,target=/own"],
    )
    .ok()
    .silent();
    exec(&host, "echo x > /kept/file; echo y > /own/file").ok();
    let names = host.berth(["volume", "ls", "-q"]).text();
    assert_eq!(names.lines().count(), 2, "{names}");
    host.berth(["volume", "rm", "kept"]).run().code(1).stderr_has(&["in use"]);
    host.berth(["restart", "-t", "0", "web"]).run().ok();
    exec(&host, "cat /kept/file /own/file").ok().stdout_is("x\ny");
    let told =
        ["events", "--since", "1h", "--until", "0s", "--filter", "event=mount", "--format", "{{.Actor.ID}}"];
    assert!(host.berth(told).text().lines().any(|name| name == "kept"));
    host.berth(["rm", "-f", "-v", "web"]).run().ok();
    assert_eq!(host.berth(["volume", "ls", "-q"]).text(), "kept");
    host.berth(["volume", "rm", "kept"]).run().ok();
}

#[test]
fn links_inside_lead_nowhere_else() {
    let host = Host::new();
    load_app(&host);
    let dir = source(&host, "hello");
    host.berth(["run", "-d", "--name", "web", "app", "sleep", "1000"]).run().ok();
    exec(&host, "ln -s /../../../etc /up; ln -s /proc /kernel; ln -s /nowhere /dangling").ok();
    update(&host, &["--mount-add", &bind(&dir, "target=/up/in")]).ok();
    exec(&host, "cat /etc/in/said").ok().stdout_is("hello");
    assert!(!Path::new("/etc/in").exists());
    for target in ["/kernel/sys", "/proc/1", "/dangling"] {
        update(&host, &["--mount-add", &bind(&dir, &format!("target={target}"))]).code(1).stdout_is("");
    }
    assert_eq!(shown(&host), "bind:/up/in:true");
    remove(&host, &["web"]);
}

#[test]
fn what_cannot_be_mounted_changes_nothing() {
    let host = Host::new();
    let dir = source(&host, "hello");
    start(&host, "web", "sleep 1000");
    let good = bind(&dir, "target=/srv/a");
    for (flags, says) in [
        (vec!["--mount-add", "type=tmpfs,target=/t"], "only binds and volumes can be mounted into a running"),
        (vec!["--mount-add", &good, "--mount-add", &good], "duplicate mount point: /srv/a"),
        (
            vec!["--mount-add", &good, "--mount-add", "type=bind,source=/none,target=/b"],
            "/none does not exist",
        ),
        (vec!["--mount-add", &good, "--mount-add", "type=volume,target=/proc/1"], "/proc/1"),
        (vec!["--mount-add", &good, "--cpuset-mems", "63"], "cpuset"),
        (vec!["--mount-rm", "/srv/a"], "container web has no mount at /srv/a"),
        (vec!["--mount-add", "target=/x,source"], "--mount-add"),
    ] {
        if says == "cpuset" && testkit::facts::v1_controller("cpuset").is_none() {
            continue;
        }
        update(&host, &flags).failed().stdout_is("").stderr_has(&[says]);
        assert_eq!(shown(&host), "", "{flags:?}");
        exec(&host, "grep /srv/a /proc/1/mountinfo").failed();
        assert_eq!(host.berth(["volume", "ls", "-q"]).text(), "");
    }
    remove(&host, &["web"]);
}

#[test]
fn what_was_taken_away_comes_back_if_the_rest_is_refused() {
    if testkit::facts::v1_controller("cpuset").is_none() {
        testkit::skip!("no cpuset controller of version 1")
    }
    let host = Host::new();
    let dir = source(&host, "hello");
    let volumes = ["-v", "kept:/kept", "-v", "/own", "-v", &format!("{}:/in", dir.display())];
    let run = ["run", "-d", "--name", "web"].iter().chain(&volumes).chain(&["@host", "sleep", "1000"]);
    host.berth(run).run().ok();
    exec(&host, "echo x > /kept/file; echo y > /own/file").ok();
    update(&host, &["--mount-rm=/kept", "--mount-rm=/own", "--mount-rm=/in", "--cpuset-mems", "63"])
        .code(1)
        .stdout_is("");
    exec(&host, "cat /kept/file /own/file /in/said").ok().stdout_is("x\ny\nhello");
    host.berth(["restart", "-t", "0", "web"]).run().ok();
    exec(&host, "cat /kept/file /own/file /in/said").ok().stdout_is("x\ny\nhello");
    host.berth(["rm", "-f", "-v", "web"]).run().ok();
    host.berth(["volume", "rm", "kept"]).run().ok();
}

#[test]
fn one_that_does_not_run_gets_them_with_its_next_start() {
    let host = Host::new();
    let dir = source(&host, "hello");
    host.berth(["create", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    update(&host, &["--mount-add", &bind(&dir, "target=/in"), "--mount-add", "type=tmpfs,target=/mem"])
        .ok()
        .silent();
    host.berth(["start", "web"]).run().ok();
    exec(&host, "cat /in/said; echo x > /mem/file && echo written").ok().stdout_is("hello\nwritten");
    host.berth(["stop", "-t", "0", "web"]).run().ok();
    update(&host, &["--mount-rm", "/in"]).ok();
    host.berth(["start", "web"]).run().ok();
    exec(&host, "cat /in/said").failed();
    remove(&host, &["web"]);
}

#[test]
fn a_mount_killed_at_each_point_is_there_or_not() {
    let host = Host::new();
    let dir = source(&host, "hello");
    let flags = ["update", "--mount-add", &bind(&dir, "target=/srv/in"), "web"];
    let begin = || start(&host, "web", "sleep 1000");
    begin();
    let list = host.path("points");
    host.berth(flags).env("BERTH_FAULT_LIST", &list).run().ok();
    let points = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    remove(&host, &["web"]);
    let points: Vec<&str> = points.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(points.len() >= 3, "{points:?}");
    for point in points {
        begin();
        host.berth(flags).env("BERTH_FAULT", point).run().failed();
        let is_there = shown(&host) == "bind:/srv/in:true";
        let table = exec(&host, "cat /proc/1/mountinfo").ok().text();
        assert_eq!(table.contains(" /srv/in "), is_there, "{point}: {table}");
        // What isn't there can be had again.
        if !is_there {
            update(&host, &flags[1..3]).ok();
            exec(&host, "cat /srv/in/said").ok().stdout_is("hello");
        }
        remove(&host, &["web"]);
    }
}

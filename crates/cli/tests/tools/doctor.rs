//! `berth doctor`: real faults in a host's state are found, and nothing is changed by that.

use super::*;
use serde_json::Value;
use std::os::unix::fs::symlink;
use testkit::Cmd;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn findings(host: &Host, status: i32) -> Vec<(String, String, String)> {
    let found = host.berth(["doctor", "--format", "json"]).run().code(status).silent().json();
    assert_eq!(found["Sound"], Value::Bool(status == 0));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = found["Findings"].as_array().unwrap().iter();
    all.map(|finding| (text(finding, "Status"), text(finding, "Name"), text(finding, "Detail"))).collect()
}

/// Names and details of what is wrong.
#[track_caller]
fn wrong(host: &Host) -> Vec<(String, String)> {
    let all = findings(host, 1).into_iter();
    all.filter(|(status, ..)| status == "wrong").map(|(_, name, detail)| (name, detail)).collect()
}

/// That exactly one thing is wrong: its name, and a part of what is said of it.
#[track_caller]
fn only(host: &Host, name: &str, part: &str) {
    let wrong = wrong(host);
    let [(found, detail)] = &wrong[..] else { panic!("not one thing: {wrong:?}") };
    assert!(found.starts_with(name) && detail.contains(part), "{found}: {detail}");
}

#[test]
fn a_sound_host_is_found_sound_and_its_features_are_told() {
    let host = Host::new();
    host.berth(["doctor"]).run().ok().silent();
    load_app(&host);
    start(&host, "web", "sleep 1000");
    start(&host, "old", "true");
    host.berth(["wait", "old"]).run().ok();
    host.berth(["create", "--name", "new", "app"]).run().ok();
    host.berth(["run", "-d", "--rm", "--name", "brief", "@host", "sleep", "1000"]).run().ok();
    // Until what looked after the one that ended is gone.
    assert!(testkit::until(PATIENCE, || std::fs::read_dir(host.run_dir().join("containers"))
        .unwrap()
        .count()
        == 2));
    let all = findings(&host, 0);
    for name in
        ["user namespaces", "controller memory", "overlay", "exit status by pidfd", "CAP_SYS_RESOURCE"]
    {
        assert!(all.iter().any(|(_, found, _)| found == name), "{name}: {all:?}");
    }
    let detail = |name: &str| all.iter().find(|(_, found, _)| found == name).unwrap().2.clone();
    assert_eq!(detail("directories of this boot"), "2 containers looked after");
    assert_eq!(detail("names"), "4 names");
    assert!(detail("images").starts_with("1 image;"));
    let text = host.berth(["system", "check"]).text();
    assert!(text.starts_with("Kernel\n") && text.ends_with("\n\nNothing is wrong."), "{text}");
    assert!(
        text.contains("-> no profile confines containers") || testkit::facts::has_lsm("apparmor"),
        "{text}"
    );
    assert_eq!(host.berth(["doctor", "-q"]).text(), "");
    assert_eq!(host.berth(["doctor", "-f", "{{.Sound}}"]).text(), "true");
    host.berth(["rm", "-f", "web", "old", "new", "brief"]).run().ok();
}

#[test]
fn what_was_killed_is_told_and_left_as_it_is() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    let run = host.run_dir().join("containers");
    let id = host.berth(["inspect", "-f", "{{.Id}}", "web"]).text();
    let file: Value =
        serde_json::from_slice(&std::fs::read(run.join(&id).join("run.json")).unwrap()).unwrap();
    let holder = file["holder"]["pid"].as_u64().unwrap();
    // The keeper is the other one who has the lock open.
    let keeper = keeper_of(holder);
    testkit::cmd::signal_pid(holder as u32, 9);
    testkit::cmd::signal_pid(keeper, 9);
    for _ in 0..2 {
        only(&host, "container web", "runs, and nobody looks after it");
    }
    host.berth(["ps"]).run().ok();
    findings(&host, 0);
    host.berth(["rm", "-f", "web"]).run().ok();
}

/// A child of the holder's that is no container's process: in the same pid namespace.
fn keeper_of(holder: u64) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap();
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace("self");
    children.split_whitespace().find(|pid| namespace(pid) == own).unwrap().parse().unwrap()
}

#[test]
fn names_and_ranges_of_nobody_are_found() {
    let host = Host::new();
    start(&host, "old", "true");
    host.berth(["wait", "old"]).run().ok();
    let nobody = "0123456789ab".repeat(6)[..64].to_owned();
    let link = host.run_dir().join("names").join("ghost");
    symlink(&nobody, &link).unwrap();
    only(&host, "name ghost", "leads to container 0123456789ab, which isn't there");
    std::fs::remove_file(&link).unwrap();
    let link = host.run_dir().join("ranges").join("3");
    symlink(&nobody, &link).unwrap();
    only(&host, "id range 3", "is claimed by container 0123456789ab");
    std::fs::remove_file(&link).unwrap();
    // A container whose name leads nowhere.
    let link = host.run_dir().join("names").join("old");
    let id = std::fs::read_link(&link).unwrap();
    std::fs::remove_file(&link).unwrap();
    only(&host, "name old", "doesn't lead to its container");
    symlink(&id, &link).unwrap();
    findings(&host, 0);
    host.berth(["rm", "old"]).run().ok();
}

#[test]
fn files_and_rows_without_each_other_are_found() {
    let host = Host::new();
    load_app(&host);
    start(&host, "old", "true");
    host.berth(["wait", "old"]).run().ok();
    host.berth(["volume", "create", "data"]).run().ok();
    let containers = host.root_dir().join("containers");
    std::fs::create_dir(containers.join("stray")).unwrap();
    only(&host, "files of stray", "no container has them");
    std::fs::remove_dir(containers.join("stray")).unwrap();
    let id = host.berth(["inspect", "-f", "{{.Id}}", "old"]).text();
    let away = |from: std::path::PathBuf, name: &str, part: &str| {
        let aside = from.with_extension("aside");
        std::fs::rename(&from, &aside).unwrap();
        let wrong = wrong(&host);
        assert!(wrong.iter().any(|(n, d)| n.starts_with(name) && d.contains(part)), "{wrong:?}");
        std::fs::rename(&aside, &from).unwrap();
    };
    away(containers.join(&id).join("upper"), "container old", "its files aren't there");
    away(host.root_dir().join("volumes/data"), "volume data", "its directory isn't there");
    let layers = host.root_dir().join("layers");
    let layer = std::fs::read_dir(&layers).unwrap().next().unwrap().unwrap().path();
    away(layer.join("fs"), "image docker.io/library/app:latest", "its layer isn't there");
    findings(&host, 0);
    host.berth(["rm", "old"]).run().ok();
}

#[test]
fn a_damaged_database_and_event_log_are_found() {
    let host = Host::new();
    start(&host, "old", "true");
    host.berth(["wait", "old"]).run().ok();
    let log = host.root_dir().join("events/log");
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [&whole[..], b"{\"Type\":\"contai\n"].concat()).unwrap();
    only(&host, "events", "1 line of");
    std::fs::write(&log, &whole).unwrap();
    findings(&host, 0);
    // The header of the database, and what was to be written into it.
    let db = |suffix: &str| host.root_dir().join(format!("store.db{suffix}"));
    let kept = ["", "-wal"].map(|suffix| (db(suffix), std::fs::read(db(suffix)).unwrap_or_default()));
    std::fs::write(db(""), vec![0; kept[0].1.len()]).unwrap();
    std::fs::write(db("-wal"), "").unwrap();
    only(&host, "store", "not a database");
    kept.iter().for_each(|(path, whole)| std::fs::write(path, whole).unwrap());
    findings(&host, 0);
    host.berth(["rm", "old"]).run().ok();
}

#[test]
fn control_groups_and_mounts_left_on_the_host_are_found() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    let own = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_cgroups = own.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup2 is mounted");
    let group = std::path::Path::new(of_cgroups.split(' ').nth(4).unwrap()).join(host.cgroup()).join("stray");
    std::fs::create_dir(&group).unwrap();
    only(&host, "control group", "no container has it, and nothing is in it");
    std::fs::remove_dir(&group).unwrap();
    let point = host.root_dir().join("containers/left");
    std::fs::create_dir(&point).unwrap();
    Cmd::new("mount", ["-t", "tmpfs", "berth-test"]).arg(&point).run().ok();
    let wrong = wrong(&host);
    Cmd::new("umount", [&point]).run().ok();
    std::fs::remove_dir(&point).unwrap();
    assert!(wrong.iter().any(|(name, _)| name.starts_with("mount ") && name.ends_with("/left")), "{wrong:?}");
    findings(&host, 0);
    host.berth(["rm", "-f", "web"]).run().ok();
}

#[test]
fn a_full_disk_is_found() {
    let host = Host::new();
    let disk = host.tmpfs("disk", "private");
    std::fs::write(disk.join("filler"), vec![0; 1 << 20]).unwrap();
    Cmd::new("mount", ["-o", "remount,size=1032k,mode=700"]).arg(&disk).run().ok();
    let doctor = |host: &Host| host.berth(["doctor", "-q"]).env("BERTH_ROOT", &disk).run();
    let text = doctor(&host).code(1).text();
    assert!(text.contains("WRONG") && text.contains("disk") && text.contains("MB are free"), "{text}");
    std::fs::remove_file(disk.join("filler")).unwrap();
    doctor(&host).ok().stdout_is("");
}

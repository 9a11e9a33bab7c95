//! Tests against the machine's own control groups, as root. Where version 2 is there beside version 1, version 1 alone is
//! tested too, by leaving version 2 out of what the plan knows.

// The processes that are put into groups are shells, which say in a line what would take a program.
#![allow(clippy::disallowed_methods)]

use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use types::oci::Resources;

use super::device_filter::{parse_rules, program};
use super::plan::Devices;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// This machine, and this machine as if it had version 1 only, where it has version 1.
fn arrangements() -> Vec<Hierarchy> {
    let real = Hierarchy::detect().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let without: Vec<&str> = mounts.lines().filter(|line| !line.contains(" - cgroup2 ")).collect();
    let old = Hierarchy::parse(&without.join("\n"), &own).ok().filter(|_| real.mode() == Mode::Hybrid);
    std::iter::once(real).chain(old).collect()
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// A parent path that no other test has; everything below it is killed and removed in the end, on every tree.
struct Parent(String);

impl Parent {
    fn new(test: &str) -> Self {
        Parent(format!("/berth-test-{}-{test}", std::process::id()))
    }

    fn plan(&self, json: &str, hierarchy: &Hierarchy) -> Result<Plan, Error> {
        plan(&resources(json), &format!("{}/c1", self.0), hierarchy)
    }

    fn create(&self, json: &str, hierarchy: &Hierarchy) -> Cgroup {
        self.plan(json, hierarchy).unwrap().create().unwrap()
    }

    /// The parent's directories on all trees.
    fn everywhere() -> CgroupPaths {
        let machine = Hierarchy::detect().unwrap();
        let text = |mount: &Path| mount.to_str().unwrap().to_owned();
        CgroupPaths {
            v2: machine.v2_mountpoint().map(text),
            v1: machine.v1_mountpoints().map(|(name, mount)| (name.to_owned(), text(mount))).collect(),
        }
    }

    fn dirs(&self) -> CgroupPaths {
        let mut paths = Self::everywhere();
        for dir in paths.v2.iter_mut().chain(paths.v1.values_mut()) {
            dir.push_str(&self.0);
        }
        paths
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let group = Cgroup::open(&self.dirs()).unwrap();
        let _ = group.thaw();
        let result = group.kill().and_then(|()| group.wait_empty(PATIENCE)).and_then(|()| group.remove());
        // A second panic would end the process, and with it the other tests' clearing up.
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

/// A shell that waits for its first line before it does what it's for, so that it can be put into a group before.
struct Shell(Child);

impl Shell {
    fn new(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("read go; {script}")]).stdin(Stdio::piped()).stderr(Stdio::null());
        Shell(command.spawn().unwrap())
    }

    fn inside(script: &str, group: &Cgroup) -> Self {
        let mut shell = Self::new(script);
        join(group.paths(), shell.pid()).unwrap();
        shell.go();
        shell
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn go(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    fn wait(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status_in(script: &str, group: &Cgroup) -> ExitStatus {
    Shell::inside(script, group).wait()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn all_dirs(paths: &CgroupPaths) -> Vec<PathBuf> {
    paths.v2.iter().chain(paths.v1.values()).map(PathBuf::from).collect()
}

fn assert_gone(paths: &CgroupPaths) {
    for dir in all_dirs(paths) {
        assert!(!dir.exists(), "{} is left", dir.display());
    }
}

/// Processor time of a process so far, in ticks: user and system.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn the_quick_look_finds_what_the_thorough_one_does() {
    let thorough = Hierarchy::detect().unwrap();
    let quick = Hierarchy::detect_for(&Resources::default(), "/berth/c1").unwrap();
    assert_eq!((quick.mode(), quick.v2_mountpoint()), (thorough.mode(), thorough.v2_mountpoint()));
    let devices_only = resources(r#"{"devices": [{"allow": false}]}"#);
    assert_eq!(Hierarchy::detect_for(&devices_only, "/berth/c1").unwrap(), quick);
    assert_eq!(Hierarchy::detect_for(&Resources::default(), "berth/c1").unwrap(), thorough);
    for json in [r#"{"pids": {"limit": 5}}"#, r#"{"unified": {"a.b": "1"}}"#, r#"{"memory": {}}"#] {
        assert_eq!(Hierarchy::detect_for(&resources(json), "/berth/c1").unwrap(), thorough, "{json}");
    }
}

#[test]
fn a_group_lives_freezes_and_dies() {
    for hierarchy in arrangements() {
        let parent = Parent::new("life");
        let plan = parent.plan("{}", &hierarchy).unwrap();
        let group = plan.create().unwrap();
        assert_eq!(group.paths(), &plan.paths());
        assert_eq!(group.v2_dir_fd().is_some(), hierarchy.mode() != Mode::V1);
        assert_eq!(group.needs_add_pid(), hierarchy.mode() == Mode::V1);
        assert!(group.pids().unwrap().is_empty() && !group.populated().unwrap());

        let shell = Shell::inside("sleep 1000 & while :; do :; done", &group);
        until("two processes", || group.pids().unwrap().len() == 2);
        assert!(group.pids().unwrap().contains(&shell.pid()));
        assert!(group.populated().unwrap() && !group.is_frozen().unwrap());
        assert!(matches!(group.wait_empty(Duration::from_millis(30)), Err(Error::Timeout { .. })));

        group.freeze().unwrap();
        assert!(group.is_frozen().unwrap());
        let before = ticks(shell.pid());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ticks(shell.pid()), before);
        // As another process finds it.
        let json = serde_json::to_string(group.paths()).unwrap();
        let other = Cgroup::open(&serde_json::from_str(&json).unwrap()).unwrap();
        assert!(other.is_frozen().unwrap());
        other.thaw().unwrap();
        assert!(!group.is_frozen().unwrap());
        until("it runs again", || ticks(shell.pid()) > before);

        // Frozen processes die as well.
        group.freeze().unwrap();
        group.kill().unwrap();
        group.wait_empty(PATIENCE).unwrap();
        assert_eq!(shell.wait().signal(), Some(9));
        assert!(!group.oom_killed().unwrap());
        group.remove().unwrap();
        assert_gone(group.paths());

        // One that is gone is no error.
        group.remove().unwrap();
        group.kill().unwrap();
        group.wait_empty(PATIENCE).unwrap();
        assert!(group.pids().unwrap().is_empty() && !group.is_frozen().unwrap());
        assert!(Cgroup::open(group.paths()).unwrap().v2_dir_fd().is_none());
        assert!(matches!(group.freeze(), Err(Error::Io { .. })));
    }
}

#[test]
fn killing_one_by_one_outruns_forks() {
    for hierarchy in arrangements() {
        let parent = Parent::new("forks");
        let group = parent.create(r#"{"pids": {"limit": 64}}"#, &hierarchy);
        let _shell = Shell::inside("f() { while :; do (sleep 0.01 &) ; done; }; f & f & f", &group);
        until("a crowd", || group.pids().unwrap().len() > 8);
        group.kill_one_by_one().unwrap();
        assert!(group.pids().unwrap().is_empty());
        group.wait_empty(PATIENCE).unwrap();
        group.remove().unwrap();
        assert_gone(group.paths());
    }
}

#[test]
fn groups_made_inside_are_counted_killed_and_removed() {
    for hierarchy in arrangements() {
        let parent = Parent::new("nested");
        let group = parent.create("{}", &hierarchy);
        let top = all_dirs(group.paths()).remove(0);
        for inner in ["a/b/c", "a/d", "e"] {
            std::fs::create_dir_all(top.join(inner)).unwrap();
        }
        let shell = Shell::new("exec sleep 1000");
        std::fs::write(top.join("a/b/cgroup.procs"), shell.pid().to_string()).unwrap();
        assert_eq!(group.pids().unwrap(), [shell.pid()]);
        // Whoever wants the same path meets the process, though it's deep below.
        let again = parent.plan("{}", &hierarchy).unwrap().create();
        assert!(matches!(again, Err(Error::InUse { pid, .. }) if pid == shell.pid()), "{again:?}");
        assert!(top.join("a/b").exists());

        group.kill().unwrap();
        group.wait_empty(PATIENCE).unwrap();
        assert_eq!(shell.wait().signal(), Some(9));
        group.remove().unwrap();
        assert_gone(group.paths());
    }
}

#[test]
fn removal_waits_for_the_last_process_but_not_forever() {
    for hierarchy in arrangements() {
        let parent = Parent::new("busy");
        let group = parent.create("{}", &hierarchy);
        let shell = Shell::inside("sleep 0.3", &group);
        let started = Instant::now();
        group.remove().unwrap();
        assert!(started.elapsed() > Duration::from_millis(100));
        assert!(shell.wait().success());

        let group = parent.create("{}", &hierarchy);
        let shell = Shell::inside("exec sleep 1000", &group);
        let error = group.remove().unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy),
            "{error}"
        );
        assert_eq!(group.pids().unwrap(), [shell.pid()]);
        group.kill().unwrap();
        drop(shell);
        group.remove().unwrap();
    }
}

#[test]
fn an_empty_group_is_taken_over_but_not_a_frozen_one() {
    for hierarchy in arrangements() {
        let parent = Parent::new("again");
        let first = parent.create("{}", &hierarchy);
        let second = parent.create("{}", &hierarchy);
        assert_eq!(first.paths(), second.paths());
        first.freeze().unwrap();
        let error = parent.plan("{}", &hierarchy).unwrap().create().unwrap_err();
        assert!(matches!(error, Error::Frozen { .. }), "{error}");
        first.remove().unwrap();
    }
}

/// Contents of the first of these files that is in one of the group's directories.
fn value(group: &Cgroup, files: &[&str]) -> String {
    let candidates = all_dirs(group.paths());
    let mut found = files.iter().flat_map(|file| candidates.iter().map(move |dir| dir.join(file)));
    let file = found.find(|file| file.exists()).unwrap_or_else(|| panic!("none of {files:?}"));
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn limits_stand_before_anyone_is_in() {
    for hierarchy in arrangements() {
        let parent = Parent::new("limits");
        let json = r#"{"memory": {"limit": 67108864, "reservation": 33554432},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 7}}"#;
        let group = parent.create(json, &hierarchy);
        assert_eq!(value(&group, &["memory.max", "memory.limit_in_bytes"]), "67108864");
        assert_eq!(value(&group, &["memory.low", "memory.soft_limit_in_bytes"]), "33554432");
        assert_eq!(value(&group, &["pids.max"]), "7");
        assert_eq!(value(&group, &["cpuset.cpus"]), "0");
        if hierarchy.mode() == Mode::V2 {
            assert_eq!(value(&group, &["cpu.weight"]), "59");
            assert_eq!(value(&group, &["cpu.max"]), "50000 100000");
        } else {
            assert_eq!(value(&group, &["cpu.shares"]), "512");
            assert_eq!(value(&group, &["cpu.cfs_quota_us"]), "50000");
            assert!(group.needs_add_pid());
        }
        // In force: the eighth task can't be made, and only one processor is there.
        assert!(!status_in("for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait", &group).success());
        // The sleepers outlive their shell, and count until init has reaped them.
        until("all are reaped", || value(&group, &["pids.current"]) == "0");
        assert!(status_in("for i in 1 2 3 4; do sleep 0.01 & done; wait", &group).success());
        assert!(status_in("test $(nproc) = 1", &group).success());
        group.wait_empty(PATIENCE).unwrap();
        group.remove().unwrap();
        assert_gone(group.paths());
    }
}

#[test]
fn memory_running_out_is_told() {
    for hierarchy in arrangements() {
        let parent = Parent::new("oom");
        // Where there is swap, it mustn't take what doesn't fit; where it isn't accounted, `swap` is an error.
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1;
        let swap = if swaps { r#", "swap": 16777216"# } else { "" };
        let json = format!(r#"{{"memory": {{"limit": 16777216{swap}}}}}"#);
        let group = parent.create(&json, &hierarchy);
        assert!(!group.oom_killed().unwrap());
        assert_eq!(status_in("exec tail /dev/zero", &group).signal(), Some(9));
        assert!(group.oom_killed().unwrap());
        group.remove().unwrap();
        assert!(!group.oom_killed().unwrap());
    }
}

#[test]
fn a_failed_creation_leaves_no_group() {
    for hierarchy in arrangements() {
        let parent = Parent::new("failed");
        let json = r#"{"memory": {"limit": 67108864}, "cpu": {"cpus": "65535"}}"#;
        let plan = parent.plan(json, &hierarchy).unwrap();
        let error = plan.create().unwrap_err();
        assert!(error.to_string().starts_with("linux.resources.cpu.cpus: write \"65535\""), "{error}");
        assert!(error.hint().unwrap().contains("online"));
        assert_gone(&plan.paths());
    }
}

#[test]
fn a_running_group_takes_new_limits() {
    for hierarchy in arrangements() {
        let parent = Parent::new("update");
        let mut group = parent.create("{}", &hierarchy);
        let shell = Shell::inside("sleep 1000 & sleep 1000", &group);
        until("two sleepers", || group.pids().unwrap().len() == 3);
        let pids = r#"{"pids": {"limit": 50}, "cpu": {"cpus": "0"}}"#;
        parent.plan(pids, &hierarchy).unwrap().update(&mut group).unwrap();
        assert_eq!(value(&group, &["pids.max"]), "50");
        assert_eq!(value(&group, &["pids.current"]), "3");
        let status = std::fs::read_to_string(format!("/proc/{}/status", shell.pid())).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        // Again, with the group known, and with both memory limits moving up and down.
        for limit in [1u64 << 28, 1 << 26, 1 << 29] {
            let json = format!(r#"{{"memory": {{"limit": {limit}}}, "pids": {{"limit": 60}}}}"#);
            parent.plan(&json, &hierarchy).unwrap().update(&mut group).unwrap();
            assert_eq!(value(&group, &["memory.max", "memory.limit_in_bytes"]), limit.to_string());
        }
        assert_eq!(value(&group, &["pids.max"]), "60");
        // A refused update takes back the directories that it made, and no process moves.
        let before = group.paths().clone();
        let wrong = parent.plan(
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 9999, "rate": 1}]}}"#,
            &hierarchy,
        );
        let wrong = wrong.unwrap();
        let error = wrong.update(&mut group).unwrap_err();
        assert!(error.to_string().starts_with("linux.resources.blockIO.throttleReadBpsDevice[0]"), "{error}");
        assert_eq!(group.paths(), &before);
        assert!(hierarchy.mode() == Mode::V2 || !Path::new(&wrong.paths().v1["blkio"]).exists());

        group.kill().unwrap();
        group.wait_empty(PATIENCE).unwrap();
        drop(shell);
        group.remove().unwrap();
        assert_gone(group.paths());
    }
}

#[test]
fn keepers_have_a_group_beside_the_containers() {
    for hierarchy in arrangements() {
        let parent = Parent::new("keepers");
        let Some(keepers) = keeper_dir(&parent.0, &hierarchy).unwrap() else {
            assert_eq!(hierarchy.mode(), Mode::V1);
            continue;
        };
        assert!(keepers.v2_dir_fd().is_some() && !keepers.needs_add_pid());
        let shell = Shell::inside("exec sleep 1000", &keepers);
        // It's there already, and in use.
        assert_eq!(keeper_dir(&parent.0, &hierarchy).unwrap().unwrap().pids().unwrap(), [shell.pid()]);
        let group = parent.create("{}", &hierarchy);
        group.kill().unwrap();
        assert_eq!(keepers.pids().unwrap(), [shell.pid()]);
    }
}

/// Opens a device that no container has by default, for reading.
const OPEN_KMSG: &str = ": < /dev/kmsg";

#[test]
fn device_rules_are_in_force() {
    // Without a control nothing is known: root may open it outside.
    assert!(Command::new("sh").args(["-c", OPEN_KMSG]).status().unwrap().success());
    for hierarchy in arrangements() {
        let parent = Parent::new("devices");
        let free = parent.create("{}", &hierarchy);
        assert!(status_in(OPEN_KMSG, &free).success());
        free.remove().unwrap();
        let all = parent.create(r#"{"devices": [{"allow": true}]}"#, &hierarchy);
        assert!(status_in(OPEN_KMSG, &all).success());
        all.remove().unwrap();

        let denied = parent.create(r#"{"devices": [{"allow": false, "access": "rwm"}]}"#, &hierarchy);
        assert!(!status_in(OPEN_KMSG, &denied).success());
        assert!(!status_in(": > /dev/kmsg", &denied).success());
        assert!(
            status_in(": < /dev/zero && : <> /dev/null && head -c1 /dev/urandom > /dev/null", &denied)
                .success()
        );
        // The runtime's rules let any node be made, and none be opened.
        let node = std::env::temp_dir().join(format!("berth-test-{}-node", std::process::id()));
        let script = format!("mknod {0} c 1 11 && ! (: < {0})", node.display());
        let made = status_in(&script, &denied).success();
        let _ = std::fs::remove_file(&node);
        assert!(made);
        assert_eq!(denied.paths().v1.contains_key("devices"), hierarchy.mode() == Mode::V1);
        denied.remove().unwrap();

        let some = parent.create(
            r#"{"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#,
            &hierarchy,
        );
        assert!(status_in(OPEN_KMSG, &some).success());
        assert!(!status_in(": > /dev/kmsg", &some).success());
        assert!(!status_in(": <> /dev/kmsg", &some).success());
        some.remove().unwrap();
    }
}

#[test]
fn a_filter_denies_a_device_that_every_container_has() {
    let hierarchy = Hierarchy::detect().unwrap();
    if hierarchy.mode() == Mode::V1 {
        return;
    }
    let parent = Parent::new("filter");
    let group = parent.create("{}", &hierarchy);
    assert!(status_in("head -c1 /dev/zero > /dev/null", &group).success());
    let rules = r#"{"devices": [{"allow": true}, {"allow": false, "type": "c", "major": 1, "minor": 5}]}"#;
    let insns = program(&parse_rules(&resources(rules).devices).unwrap());
    super::create::attach(group.v2_dir_fd().unwrap(), &insns).unwrap();
    assert!(!status_in("head -c1 /dev/zero > /dev/null", &group).success());
    assert!(status_in(": < /dev/full", &group).success());
    // A second program doesn't replace the first: both must allow.
    let insns = program(&parse_rules(&resources(r#"{"devices": [{"allow": true}]}"#).devices).unwrap());
    super::create::attach(group.v2_dir_fd().unwrap(), &insns).unwrap();
    assert!(!status_in(": < /dev/zero", &group).success());
    // A program that no verifier takes is refused with its reason.
    let error = super::create::attach(group.v2_dir_fd().unwrap(), &insns[..1]).unwrap_err();
    assert!(error.to_string().contains("bpf(BPF_PROG_LOAD"), "{error}");
    assert!(error.to_string().contains("verifier"), "{error}");
}

#[test]
fn without_ebpf_the_rules_go_to_version_1() {
    let hierarchy = Hierarchy::detect().unwrap();
    let parent = Parent::new("fallback");
    let mut plan = parent.plan(r#"{"devices": [{"allow": false}]}"#, &hierarchy).unwrap();
    // What a kernel without cgroup BPF does to any program, this one does to half a program.
    let Devices::Program { insns, .. } = &mut plan.devices else { return };
    insns.truncate(1);
    let result = plan.create();
    if hierarchy.mode() == Mode::V2 {
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with("linux.resources.devices: device filter"), "{error}");
        return assert_gone(&plan.paths());
    }
    let group = result.unwrap();
    assert_eq!(group.paths(), &plan.paths());
    assert!(group.needs_add_pid() && group.paths().v1.contains_key("devices"));
    assert!(!status_in(OPEN_KMSG, &group).success());
    assert!(status_in(": < /dev/zero", &group).success());
    group.remove().unwrap();
    assert_gone(group.paths());
}

//! Pure tests, over recorded trees. Those that touch the machine are in `kernel_tests`.

use std::path::Path;

use types::oci::{DeviceRule, Resources};

use super::device_filter::{NodeKind, Rule, access, parse_rules, program, v1_lines};
use super::hierarchy::{Hierarchy, Mode, Tree};
use super::plan::{Devices, Plan, plan};
use super::*;

mod trees {
    /// berth's own test machine.
    pub const HYBRID_MOUNTS: &str = "\
23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    pub const HYBRID_OWN: &str = "\
9:name=systemd:/
8:pids:/
7:blkio:/
6:freezer:/
5:devices:/
4:memory:/process_api/ecf6
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
";
    /// Debian 9: controllers mounted together, no version 2.
    pub const V1_MOUNTS: &str = "\
24 18 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
25 24 0:22 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:10 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd
28 24 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,cpu,cpuacct
29 24 0:26 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:14 - cgroup cgroup rw,memory
30 24 0:27 / /sys/fs/cgroup/cpuset rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpuset
31 24 0:28 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,devices
32 24 0:29 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,freezer
33 24 0:30 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:18 - cgroup cgroup rw,pids
34 24 0:31 / /sys/fs/cgroup/blkio rw,nosuid,nodev,noexec,relatime shared:19 - cgroup cgroup rw,blkio
";
    pub const V1_OWN: &str = "\
8:blkio:/user.slice
7:pids:/user.slice/user-0.slice/session-1.scope
6:freezer:/
5:devices:/user.slice
4:cpuset:/
3:memory:/user.slice
2:cpu,cpuacct:/user.slice
1:name=systemd:/user.slice/user-0.slice/session-1.scope
";
    /// Debian 13 with systemd.
    pub const V2_MOUNTS: &str = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
30 22 0:27 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
";
    pub const V2_OWN: &str = "0::/user.slice/user-0.slice/session-3.scope\n";
    pub const V2_CONTROLLERS: &str = "cpuset cpu io memory hugetlb pids rdma misc dmem\n";
}

fn hybrid() -> Hierarchy {
    let mut hierarchy = Hierarchy::parse(trees::HYBRID_MOUNTS, trees::HYBRID_OWN).unwrap();
    hierarchy.set_v2_controllers("hugetlb\n");
    hierarchy
}

fn v1() -> Hierarchy {
    Hierarchy::parse(trees::V1_MOUNTS, trees::V1_OWN).unwrap()
}

fn v2() -> Hierarchy {
    let mut hierarchy = Hierarchy::parse(trees::V2_MOUNTS, trees::V2_OWN).unwrap();
    hierarchy.set_v2_controllers(trees::V2_CONTROLLERS);
    hierarchy
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn planned(json: &str, hierarchy: &Hierarchy) -> Plan {
    plan(&resources(json), "/berth/c1", hierarchy).unwrap()
}

/// The writes, a line each: `[tree] file = value`, with `?` where the file may lack.
fn writes(json: &str, hierarchy: &Hierarchy) -> Vec<String> {
    let plan = planned(json, hierarchy);
    let line = |write: &super::plan::Write| {
        let tree = if write.tree == Tree::V2 { "v2 " } else { "" };
        let choices: Vec<String> =
            write.choices.iter().map(|(file, value)| format!("{file} = {value}")).collect();
        format!("{tree}{}{}", choices.join(" | "), if write.may_lack { " ?" } else { "" })
    };
    plan.writes.iter().map(line).collect()
}

fn error(json: &str, hierarchy: &Hierarchy) -> String {
    plan(&resources(json), "/berth/c1", hierarchy).unwrap_err().to_string()
}

#[test]
fn recorded_trees_are_told_apart() {
    assert_eq!((v1().mode(), hybrid().mode(), v2().mode()), (Mode::V1, Mode::Hybrid, Mode::V2));
    assert_eq!(v1().v2_mountpoint(), None);
    assert_eq!(hybrid().v2_mountpoint(), Some(Path::new("/sys/fs/cgroup/unified")));
    assert_eq!(v2().v2_mountpoint(), Some(Path::new("/sys/fs/cgroup")));
    let v1 = v1();
    let cpu: Vec<&Path> =
        v1.v1_mountpoints().filter(|(name, _)| name.starts_with("cpu")).map(|(_, path)| path).collect();
    let together = Path::new("/sys/fs/cgroup/cpu,cpuacct");
    assert_eq!(cpu, [together, together, Path::new("/sys/fs/cgroup/cpuset")]);
    // Options that are no controllers are no controllers.
    assert!(!v1.has_controller("xattr") && !v1.has_controller("rw") && v1.has_controller("name=systemd"));
}

#[test]
fn a_machine_without_control_groups_is_an_error() {
    let error = Hierarchy::parse("23 1 254:0 / / rw - ext4 /dev/vda rw\n", "").unwrap_err();
    assert!(error.to_string().contains("no control group file system is mounted"), "{error}");
}

#[test]
fn malformed_proc_files_are_errors() {
    assert!(Hierarchy::parse("x - cgroup2\n", "0::/\n").is_err());
    assert!(Hierarchy::parse(trees::V2_MOUNTS, "nonsense\n").is_err());
}

#[test]
fn mount_points_are_unescaped() {
    let mounts = "29 22 0:26 / /mnt/a\\040b\\134c rw - cgroup2 none rw\n";
    let hierarchy = Hierarchy::parse(mounts, "0::/\n").unwrap();
    assert_eq!(hierarchy.v2_mountpoint(), Some(Path::new("/mnt/a b\\c")));
}

fn v2_dir(path: &str, hierarchy: &Hierarchy) -> String {
    let plan = plan(&Resources::default(), path, hierarchy).unwrap();
    plan.paths().v2.unwrap()
}

#[test]
fn paths_are_placed_as_runc_places_them() {
    assert_eq!(v2_dir("/berth/c1", &v2()), "/sys/fs/cgroup/berth/c1");
    assert_eq!(v2_dir("//berth/./c1/", &v2()), "/sys/fs/cgroup/berth/c1");
    // Version 2: below the parent of the own group, which has processes.
    assert_eq!(v2_dir("berth/c1", &v2()), "/sys/fs/cgroup/user.slice/user-0.slice/berth/c1");
    assert_eq!(v2_dir("berth/c1", &hybrid()), "/sys/fs/cgroup/unified/berth/c1");
    let limits = resources(r#"{"memory": {"limit": 1048576}}"#);
    let paths = plan(&limits, "berth/c1", &hybrid()).unwrap().paths();
    assert_eq!(paths.v1["memory"], "/sys/fs/cgroup/memory/process_api/ecf6/berth/c1");
    assert_eq!(paths.v1.len(), 1);
}

#[test]
fn a_bind_mounted_tree_hides_its_root() {
    let mounts = "29 22 0:26 /user.slice /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let inside = Hierarchy::parse(mounts, "0::/user.slice/a/b\n").unwrap();
    assert_eq!(v2_dir("c1", &inside), "/sys/fs/cgroup/a/c1");
    for own in ["0::/system.slice/a\n", "0::/user.slicer/a\n", "0::/../a\n"] {
        let outside = Hierarchy::parse(mounts, own).unwrap();
        let error = plan(&Resources::default(), "c1", &outside).unwrap_err();
        assert!(error.to_string().contains("isn't visible"), "{error}");
    }
}

#[test]
fn bad_paths_are_refused() {
    for path in ["", "/", "/a/../b", "..", "/a\nb", "/a\0b", "./."] {
        let error = plan(&Resources::default(), path, &v2()).unwrap_err();
        assert!(matches!(error, Error::BadPath { .. }), "{path:?}: {error}");
    }
    assert!(plan(&Resources::default(), &format!("/{}", "a".repeat(256)), &v2()).is_err());
    assert!(plan(&Resources::default(), &"/a".repeat(2000), &v2()).is_err());
}

#[test]
fn without_limits_only_the_version_2_group_is_made() {
    for hierarchy in [v2(), hybrid()] {
        let plan = planned("{}", &hierarchy);
        assert!(plan.v1.is_empty() && plan.writes.is_empty());
        assert_eq!(plan.devices, Devices::Unrestricted);
    }
    // Version 1 alone: the freezer tells who is in.
    assert_eq!(planned("{}", &v1()).v1.keys().collect::<Vec<_>>(), ["freezer"]);
}

#[test]
fn shares_convert_as_in_runc() {
    use super::plan::weight_from_shares as weight;
    let pairs = [
        (0, 1),
        (2, 1),
        (3, 2),
        (1024, 100),
        (2000, 170),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, expected) in pairs {
        assert_eq!(weight(shares), expected, "{shares}");
    }
    assert!((2..262_144).all(|shares| weight(shares) <= weight(shares + 1)));
}

#[test]
fn cpu_limits() {
    let json = r#"{"cpu": {"shares": 512, "quota": 50000, "period": 20000, "burst": 1000, "cpus": "0-1", "mems": "0"}}"#;
    let v1_writes = [
        "cpu.shares = 512",
        "cpu.cfs_period_us = 20000",
        "cpu.cfs_quota_us = 50000",
        "cpu.cfs_burst_us = 1000",
        "cpuset.cpus = 0-1",
        "cpuset.mems = 0",
    ];
    assert_eq!(writes(json, &v1()), v1_writes);
    assert_eq!(writes(json, &hybrid()), v1_writes);
    let v2_writes = [
        "v2 cpu.weight = 59",
        "v2 cpu.max = 50000 20000",
        "v2 cpu.max.burst = 1000",
        "v2 cpuset.cpus = 0-1",
        "v2 cpuset.mems = 0",
    ];
    assert_eq!(writes(json, &v2()), v2_writes);
    assert_eq!(planned(json, &v2()).v2.unwrap().enable.keys().collect::<Vec<_>>(), ["cpu", "cpuset"]);
    assert_eq!(writes(r#"{"cpu": {"quota": -1}}"#, &v2()), ["v2 cpu.max = max 100000"]);
    assert_eq!(writes(r#"{"cpu": {"period": 50000}}"#, &v2()), ["v2 cpu.max = max 50000"]);
    assert_eq!(writes(r#"{"cpu": {"quota": -1}}"#, &v1()), ["cpu.cfs_quota_us = -1"]);
    assert_eq!(writes(r#"{"cpu": {"idle": 1}}"#, &v2()), ["v2 cpu.idle = 1"]);
    let realtime = r#"{"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000}}"#;
    assert_eq!(writes(realtime, &v1()), ["cpu.rt_period_us = 1000000", "cpu.rt_runtime_us = 950000"]);
    // 0 and empty are unset.
    let unset =
        r#"{"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "cpus": "", "mems": ""}}"#;
    assert!(writes(unset, &v1()).is_empty() && writes(unset, &v2()).is_empty());
    assert!(planned(unset, &hybrid()).v1.is_empty());
}

#[test]
fn memory_limits() {
    let json = r#"{"memory": {"limit": 104857600, "reservation": 52428800, "swap": 157286400}}"#;
    assert_eq!(
        writes(json, &v1()),
        [
            "memory.limit_in_bytes = 104857600",
            "memory.memsw.limit_in_bytes = 157286400",
            "memory.soft_limit_in_bytes = 52428800",
        ]
    );
    assert_eq!(
        writes(json, &v2()),
        ["v2 memory.max = 104857600", "v2 memory.swap.max = 52428800", "v2 memory.low = 52428800"]
    );
    // No swap: the two limits are equal.
    assert_eq!(
        writes(r#"{"memory": {"limit": 1048576, "swap": 1048576}}"#, &v2()),
        ["v2 memory.max = 1048576", "v2 memory.swap.max = 0 ?"]
    );
    for json in [r#"{"memory": {"limit": -1}}"#, r#"{"memory": {"limit": -1, "swap": -1}}"#] {
        assert_eq!(writes(json, &v2()), ["v2 memory.max = max", "v2 memory.swap.max = max ?"]);
        assert_eq!(writes(json, &v1()), ["memory.limit_in_bytes = -1", "memory.memsw.limit_in_bytes = -1 ?"]);
    }
    assert_eq!(writes(r#"{"memory": {"limit": 1048576}}"#, &v2()), ["v2 memory.max = 1048576"]);
    assert!(writes(r#"{"memory": {"limit": 0, "swap": 0, "useHierarchy": true}}"#, &v2()).is_empty());
    let v1_only = r#"{"memory": {"swappiness": 0, "disableOOMKiller": true}}"#;
    assert_eq!(writes(v1_only, &v1()), ["memory.swappiness = 0", "memory.oom_control = 1"]);
    assert!(writes(r#"{"memory": {"disableOOMKiller": false}}"#, &v2()).is_empty());
    let checked = r#"{"memory": {"limit": 1048576, "swap": 3145728, "checkBeforeUpdate": true}}"#;
    let checks = planned(checked, &v2()).checks;
    let checks: Vec<_> = checks.iter().map(|check| (check.file, check.limit)).collect();
    assert_eq!(checks, [("memory.current", 1_048_576), ("memory.swap.current", 2_097_152)]);
}

#[test]
fn pids_limits() {
    for (limit, value) in [("-1", "max"), ("0", "max"), ("1", "1"), ("4096", "4096")] {
        let json = format!(r#"{{"pids": {{"limit": {limit}}}}}"#);
        assert_eq!(writes(&json, &v1()), [format!("pids.max = {value}")]);
        assert_eq!(writes(&json, &v2()), [format!("v2 pids.max = {value}")]);
    }
    assert!(writes(r#"{"pids": {}}"#, &v1()).is_empty());
}

#[test]
fn block_io_limits() {
    let json = r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]}}"#;
    assert_eq!(
        writes(json, &v1()),
        [
            "blkio.weight = 500 | blkio.bfq.weight = 500",
            "blkio.weight_device = 8:0 10 | blkio.bfq.weight_device = 8:0 10",
            "blkio.throttle.read_bps_device = 8:0 1000",
            "blkio.throttle.write_iops_device = 8:16 0",
        ]
    );
    assert_eq!(
        writes(json, &v2()),
        [
            "v2 io.bfq.weight = 500 | io.weight = 4950",
            "v2 io.bfq.weight = 8:0 10 | io.weight = 8:0 1",
            "v2 io.max = 8:0 rbps=1000",
            "v2 io.max = 8:16 wiops=max",
        ]
    );
    use super::plan::io_weight_from_blkio as io_weight;
    assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
}

#[test]
fn unified_goes_to_version_2() {
    let json = r#"{"unified": {"memory.high": "1000000", "cgroup.max.depth": "3"}}"#;
    assert_eq!(writes(json, &v2()), ["v2 cgroup.max.depth = 3", "v2 memory.high = 1000000"]);
    assert_eq!(planned(json, &v2()).v2.unwrap().enable.keys().collect::<Vec<_>>(), ["memory"]);
    assert_eq!(writes(r#"{"unified": {"hugetlb.2MB.max": "0"}}"#, &hybrid()), ["v2 hugetlb.2MB.max = 0"]);
}

#[test]
fn every_refusal_names_its_field() {
    let check = |json: &str, hierarchy: &Hierarchy, expected: &str| {
        let message = error(json, hierarchy);
        assert!(message.starts_with("linux.resources."), "{message}");
        assert!(message.contains(expected), "{json}: {message}");
    };
    for hierarchy in [v1(), hybrid(), v2()] {
        let same = |json: &str, expected: &str| check(json, &hierarchy, expected);
        same(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#, "hugepageLimits");
        same(r#"{"network": {"classID": 1}}"#, "resources.network");
        same(r#"{"rdma": {}}"#, "resources.rdma");
        same(r#"{"memory": {"kernel": 1}}"#, "memory.kernel:");
        same(r#"{"memory": {"kernelTCP": 1}}"#, "memory.kernelTCP");
        same(r#"{"memory": {"limit": -2}}"#, "memory.limit: -2");
        same(r#"{"memory": {"limit": 100}}"#, "less than a page");
        same(r#"{"memory": {"swap": 1048576}}"#, "memory.swap: 1048576");
        same(r#"{"memory": {"limit": 2097152, "swap": 1048576}}"#, "memory.swap: 1048576");
        same(r#"{"memory": {"limit": -1, "swap": 1048576}}"#, "memory.swap: 1048576");
        same(r#"{"memory": {"swappiness": 101}}"#, "memory.swappiness: 101");
        same(r#"{"memory": {"useHierarchy": false}}"#, "memory.useHierarchy");
        same(r#"{"cpu": {"quota": 999}}"#, "cpu.quota: 999");
        same(r#"{"cpu": {"quota": -2}}"#, "cpu.quota: -2");
        same(r#"{"cpu": {"period": 1000001}}"#, "cpu.period: 1000001");
        same(r#"{"cpu": {"quota": 1000, "burst": 1001}}"#, "cpu.burst: 1001");
        same(r#"{"cpu": {"idle": 2}}"#, "cpu.idle: 2");
        same(r#"{"cpu": {"idle": 1, "shares": 5}}"#, "cpu.idle: 1");
        for set in ["a", "1-", "2-1", "0,,1", "0 1", "-1", "99999", "0-1-2"] {
            same(&format!(r#"{{"cpu": {{"cpus": "{set}"}}}}"#), "cpu.cpus");
        }
        same(r#"{"pids": {"limit": -2}}"#, "pids.limit: -2");
        same(r#"{"blockIO": {"weight": 9}}"#, "blockIO.weight: 9");
        same(
            r#"{"blockIO": {"weightDevice": [{"major": -1, "minor": 0, "weight": 10}]}}"#,
            "weightDevice[0]",
        );
        same(
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 4294967296, "rate": 1}]}}"#,
            "[0]: 8:4294967296",
        );
        same(r#"{"unified": {"../memory.max": "1"}}"#, "unified");
        same(r#"{"unified": {"memory/x.max": "1"}}"#, "unified");
        same(r#"{"unified": {"memory": "1"}}"#, "unified");
        same(r#"{"unified": {"cgroup.procs": "1"}}"#, "unified");
        same(r#"{"unified": {"nonesuch.max": "1"}}"#, "unified");
        same(r#"{"devices": [{"allow": true}, {"allow": true, "type": "p"}]}"#, "devices[1].type");
        same(r#"{"devices": [{"allow": true, "type": "c", "major": -2}]}"#, "devices[0].major");
        same(r#"{"devices": [{"allow": true, "type": "c", "minor": 4294967296}]}"#, "devices[0].minor");
        same(r#"{"devices": [{"allow": true, "access": "rx"}]}"#, "devices[0].access");
        same(r#"{"devices": [{"allow": true, "access": ""}]}"#, "devices[0].access");
    }
    for json in [
        r#"{"memory": {"swappiness": 10}}"#,
        r#"{"memory": {"disableOOMKiller": true}}"#,
        r#"{"cpu": {"realtimeRuntime": 10}}"#,
        r#"{"cpu": {"realtimePeriod": 10}}"#,
        r#"{"blockIO": {"leafWeight": 10}}"#,
    ] {
        check(json, &v2(), "cgroup v2 has no such setting");
    }
    check(r#"{"cpu": {"shares": 1}}"#, &v1(), "cpu.shares: 1");
    check(r#"{"unified": {"memory.high": "1"}}"#, &v1(), "cgroup v1 only");
    check(r#"{"unified": {"memory.high": "1"}}"#, &hybrid(), "memory controller is on cgroup v1");
    let mut poor = Hierarchy::parse(trees::V2_MOUNTS, trees::V2_OWN).unwrap();
    poor.set_v2_controllers("cpu pids");
    check(r#"{"memory": {"limit": 1048576}}"#, &poor, "no \"memory\" controller (cgroup v2)");
}

// Device rules.

/// What a list means, straight from its definition: for each access asked for, the last rule that speaks of it.
fn naive(rules: &[DeviceRule], kind: &str, major: i64, minor: i64, asked: &str) -> bool {
    let speaks = |rule: &DeviceRule, letter: char| {
        rule.typ.as_deref().is_none_or(|typ| typ == "a" || typ == kind)
            && rule.major.is_none_or(|number| number == -1 || number == major)
            && rule.minor.is_none_or(|number| number == -1 || number == minor)
            && rule.access.as_deref().is_none_or(|access| access.contains(letter))
    };
    asked.chars().all(|letter| rules.iter().rfind(|rule| speaks(rule, letter)).is_some_and(|rule| rule.allow))
}

/// Runs a program as the kernel would, with the three numbers of `struct bpf_cgroup_dev_ctx`.
fn interpret(insns: &[linux::bpf::BpfInsn], context: [u32; 3]) -> u32 {
    let mut registers = [0u32; 11];
    let mut at = 0usize;
    for _ in 0..=insns.len() {
        let insn = insns[at];
        at += 1;
        let (dst, src, imm) = (usize::from(insn.dst()), usize::from(insn.src()), insn.imm as u32);
        let jump = |taken: bool| if taken { usize::try_from(insn.off).unwrap() } else { 0 };
        match insn.code {
            0x61 => registers[dst] = context[usize::try_from(insn.off).unwrap() / 4],
            0xb4 => registers[dst] = imm,
            0xbc => registers[dst] = registers[src],
            0x54 => registers[dst] &= imm,
            0x74 => registers[dst] >>= imm,
            0x16 => at += jump(registers[dst] == imm),
            0x56 => at += jump(registers[dst] != imm),
            0x95 => return registers[0],
            other => panic!("opcode {other:#x}"),
        }
    }
    panic!("the program doesn't end");
}

fn bits(asked: &str) -> u8 {
    asked.chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => access::READ,
            'w' => access::WRITE,
            _ => access::MKNOD,
        }
    })
}

/// Version 1's machinery, as the kernel's device_cgroup.c: a default and exceptions.
#[derive(Default)]
struct V1Devices {
    allow: bool,
    exceptions: Vec<Rule>,
}

impl V1Devices {
    fn write(&mut self, file: &str, line: &str) {
        let allow = file == "devices.allow";
        if line.starts_with('a') {
            *self = V1Devices { allow, exceptions: Vec::new() };
            return;
        }
        assert_ne!(allow, self.allow, "only exceptions from the default are written");
        let mut words = line.split(' ');
        let kind = if words.next() == Some("c") { NodeKind::Char } else { NodeKind::Block };
        let (major, minor) = words.next().unwrap().split_once(':').unwrap();
        let access = bits(words.next().unwrap());
        let rule =
            Rule { allow, kind: Some(kind), major: major.parse().ok(), minor: minor.parse().ok(), access };
        self.exceptions.push(rule);
    }

    fn allows(&self, kind: NodeKind, major: u32, minor: u32, asked: u8) -> bool {
        let matches = |rule: &&Rule| {
            rule.kind == Some(kind)
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor)
        };
        let mut matching = self.exceptions.iter().filter(matches);
        match self.allow {
            // A denial of a part denies all, an allowance must be of all.
            true => !matching.any(|rule| rule.access & asked != 0),
            false => matching.any(|rule| asked & !rule.access == 0),
        }
    }
}

fn check_filter(rules: &[DeviceRule]) -> bool {
    let parsed = parse_rules(rules).unwrap();
    let insns = program(&parsed);
    let v1 = v1_lines(&parsed).ok().map(|lines| {
        let mut v1 = V1Devices { allow: true, exceptions: Vec::new() };
        lines.iter().for_each(|(file, line)| v1.write(file, line));
        v1
    });
    for (kind, number) in [("c", NodeKind::Char), ("b", NodeKind::Block)] {
        for major in [0u32, 1, 2, 5, 136, 0x8000_0000, u32::MAX] {
            for minor in [0u32, 1, 3, 5, 8, u32::MAX] {
                for asked in ["r", "w", "m", "rw", "rm", "wm", "rwm"] {
                    let expected = naive(rules, kind, major.into(), minor.into(), asked);
                    let context = [u32::from(bits(asked)) << 16 | number as u32, major, minor];
                    let actual = interpret(&insns, context);
                    assert_eq!(actual == 1, expected, "{kind} {major}:{minor} {asked} of {rules:?}");
                    if let Some(v1) = &v1 {
                        let actual = v1.allows(number, major, minor, bits(asked));
                        assert_eq!(actual, expected, "v1: {kind} {major}:{minor} {asked} of {rules:?}");
                    }
                }
            }
        }
    }
    v1.is_some()
}

#[test]
fn docker_rules_filter_as_they_say() {
    let rules = docker_default_device_rules();
    assert!(check_filter(&rules));
    assert!(
        naive(&rules, "c", 1, 3, "rwm") && naive(&rules, "b", 8, 0, "m") && naive(&rules, "c", 136, 77, "rw")
    );
    assert!(
        !naive(&rules, "c", 10, 229, "r")
            && !naive(&rules, "b", 8, 0, "r")
            && !naive(&rules, "c", 1, 1, "rm")
    );
}

#[test]
fn the_empty_list_denies_everything() {
    assert!(check_filter(&[]));
    assert_eq!(interpret(&program(&[]), [u32::from(access::READ) << 16 | 2, 1, 3]), 0);
}

#[test]
fn random_rules_filter_as_they_say() {
    // A linear congruential generator: the same cases each time.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut pick = |count: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % count
    };
    let mut with_v1 = 0;
    for _ in 0..3000 {
        let rule = |pick: &mut dyn FnMut(usize) -> usize| DeviceRule {
            allow: pick(2) == 0,
            typ: [None, Some("a"), Some("b"), Some("c"), Some("c")][pick(5)].map(str::to_owned),
            major: [None, Some(-1), Some(1), Some(5), Some(0x8000_0000), Some(4_294_967_295)][pick(6)],
            minor: [None, Some(-1), Some(3), Some(0), Some(4_294_967_295)][pick(5)],
            access: [None, Some("rwm"), Some("r"), Some("rw"), Some("wm"), Some("m")][pick(6)]
                .map(str::to_owned),
        };
        let rules: Vec<DeviceRule> = (0..pick(7)).map(|_| rule(&mut pick)).collect();
        with_v1 += usize::from(check_filter(&rules));
    }
    assert!(with_v1 > 500, "only {with_v1} lists could be said in version 1");
}

#[test]
fn version_1_refuses_holes() {
    let json = r#"{"devices": [{"allow": true}, {"allow": false, "type": "c", "major": 7, "access": "rw"},
        {"allow": true, "type": "c", "major": 7, "minor": 1, "access": "r"}]}"#;
    let message = error(json, &v1());
    assert!(message.contains("allow c 7:1 r is a part of the earlier deny c 7:* rw"), "{message}");
    assert!(matches!(planned(json, &v2()).devices, Devices::Program { fallback: None, .. }));
}

#[test]
fn device_rules_go_where_the_machine_enforces_them() {
    let deny = r#"{"devices": [{"allow": false, "access": "rwm"}]}"#;
    let v1_writes = writes(deny, &v1());
    assert_eq!(v1_writes[0], "devices.deny = a *:* rwm");
    // Docker's own list is the same as a plain denial with what the runtime adds.
    assert!(v1_writes.contains(&"devices.allow = c 1:3 rwm".to_owned()), "{v1_writes:?}");
    assert_eq!(v1_writes.len(), 12);
    let docker = Resources { devices: docker_default_device_rules(), ..Resources::default() };
    assert_eq!(plan(&docker, "/berth/c1", &v2()).unwrap(), planned(deny, &v2()));
    assert!(matches!(planned(deny, &v2()).devices, Devices::Program { fallback: None, .. }));
    let plan = planned(deny, &hybrid());
    assert!(matches!(plan.devices, Devices::Program { fallback: Some(_), .. }));
    assert!(plan.v1.is_empty() && plan.writes.is_empty());
    assert_eq!(plan.paths().v1.keys().collect::<Vec<_>>(), ["devices"]);
    // Privileged: no filter at all.
    for hierarchy in [v1(), hybrid(), v2()] {
        assert_eq!(
            planned(r#"{"devices": [{"allow": true, "access": "rwm"}]}"#, &hierarchy).devices,
            Devices::Unrestricted
        );
    }
}

#[test]
fn too_many_device_rules_are_refused() {
    let devices = vec![DeviceRule { allow: true, typ: Some("c".to_owned()), ..DeviceRule::default() }; 1025];
    let error = plan(&Resources { devices, ..Resources::default() }, "/a", &v2()).unwrap_err();
    assert!(error.to_string().contains("more than 1024"), "{error}");
}

#[test]
fn paths_survive_json() {
    let paths = planned(r#"{"memory": {"limit": 1048576}}"#, &hybrid()).paths();
    let json = serde_json::to_string(&paths).unwrap();
    assert_eq!(
        json,
        r#"{"v2":"/sys/fs/cgroup/unified/berth/c1","v1":{"memory":"/sys/fs/cgroup/memory/berth/c1"}}"#
    );
    assert_eq!(serde_json::from_str::<CgroupPaths>(&json).unwrap(), paths);
    assert_eq!(serde_json::from_str::<CgroupPaths>("{}").unwrap(), CgroupPaths::default());
}

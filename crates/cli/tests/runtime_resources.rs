//! `linux.resources`, read in the container's own control groups and felt in it. Source: config-linux.md, Control groups.

use testkit::bundle::change;
use testkit::facts::{self, CgroupMode};
use testkit::{Host, Value, json, skip};

/// A container's own view of its control groups.
fn cgroup_mount() -> Value {
    json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "ro"]
    })
}

/// What `script` prints in a container with `resources`, below /sys/fs/cgroup.
fn see(host: &Host, resources: &Value, script: &str) -> String {
    host.see(&format!("cd /sys/fs/cgroup; {script}"), |config| {
        config["linux"]["resources"] = resources.clone();
        change::mount(config, cgroup_mount());
    })
}

/// One resource: what is asked for, and which file has which value then, in version 1 and in version 2. An empty name
/// means that the version has no such file.
struct Case {
    resources: Value,
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
}

fn check(host: &Host, case: &Case) {
    let (file, value) = if facts::cgroup_mode() == CgroupMode::V2 { case.v2 } else { case.v1 };
    if !file.is_empty() {
        assert_eq!(see(host, &case.resources, &format!("cat {file}")), value, "{} {file}", case.resources);
    }
}

#[test]
fn processor_limits_are_set() {
    let host = Host::new();
    let cpu = |cpu: Value, v1, v2| check(&host, &Case { resources: json!({"cpu": cpu}), v1, v2 });
    cpu(json!({"shares": 512}), ("cpu/cpu.shares", "512"), ("cpu.weight", "59"));
    cpu(
        json!({"quota": 50_000, "period": 200_000}),
        ("cpu/cpu.cfs_quota_us", "50000"),
        ("cpu.max", "50000 200000"),
    );
    cpu(json!({"quota": 50_000, "period": 200_000}), ("cpu/cpu.cfs_period_us", "200000"), ("", ""));
    cpu(json!({"quota": -1, "period": 200_000}), ("cpu/cpu.cfs_quota_us", "-1"), ("cpu.max", "max 200000"));
    cpu(
        json!({"quota": 50_000, "period": 100_000, "burst": 10_000}),
        ("cpu/cpu.cfs_burst_us", "10000"),
        ("cpu.max.burst", "10000"),
    );
    cpu(json!({"idle": 1}), ("cpu/cpu.idle", "1"), ("cpu.idle", "1"));
    cpu(json!({"cpus": "0"}), ("cpuset/cpuset.cpus", "0"), ("cpuset.cpus", "0"));
    cpu(json!({"cpus": "0", "mems": "0"}), ("cpuset/cpuset.mems", "0"), ("cpuset.mems", "0"));
}

#[test]
fn processors_outside_the_set_are_not_used() {
    if facts::processors() < 2 {
        skip!("this machine has one processor");
    }
    let host = Host::new();
    let shown = see(
        &host,
        &json!({"cpu": {"cpus": "1"}}),
        "grep Cpus_allowed_list /proc/self/status | cut -f2; nproc",
    );
    assert_eq!(shown, "1\n1");
}

#[test]
fn a_quota_slows_the_container_down() {
    let host = Host::new();
    let resources = json!({"cpu": {"quota": 5_000, "period": 50_000}});
    let file = if facts::cgroup_mode() == CgroupMode::V2 { "cpu.stat" } else { "cpu/cpu.stat" };
    // However slow the machine: busy until it happens, twenty times as long as it should take at most.
    let script = format!(
        "throttled=0; round=0; while [ $throttled = 0 ] && [ $round -lt 200 ]; do round=$((round+1)); n=0; \
         while [ $n -lt 3000 ]; do n=$((n+1)); done; throttled=$(grep nr_throttled {file} | cut -d' ' -f2); done; \
         echo $throttled"
    );
    let throttled: u32 = see(&host, &resources, &script).parse().unwrap();
    assert!(throttled > 0);
}

#[test]
fn memory_limits_are_set() {
    let host = Host::new();
    let mib = |n: i64| n << 20;
    let memory = |memory: Value, v1, v2| check(&host, &Case { resources: json!({"memory": memory}), v1, v2 });
    memory(
        json!({"limit": mib(64)}),
        ("memory/memory.limit_in_bytes", "67108864"),
        ("memory.max", "67108864"),
    );
    memory(
        json!({"limit": mib(64), "reservation": mib(32)}),
        ("memory/memory.soft_limit_in_bytes", "33554432"),
        ("memory.low", "33554432"),
    );
    memory(
        json!({"limit": -1}),
        ("memory/memory.limit_in_bytes", "9223372036854771712"),
        ("memory.max", "max"),
    );
    memory(json!({"swappiness": 10}), ("memory/memory.swappiness", "10"), ("", ""));
    memory(
        json!({"limit": mib(64), "disableOOMKiller": true}),
        ("memory/memory.oom_control | head -1", "oom_kill_disable 1"),
        ("", ""),
    );
}

#[test]
fn a_swap_limit_is_set_where_the_kernel_counts_swap() {
    let counted = match facts::v1_controller("memory") {
        Some(dir) => dir.join("memory.memsw.limit_in_bytes").exists(),
        None => true,
    };
    if !counted {
        skip!("this kernel doesn't account for swap");
    }
    let host = Host::new();
    let memory = json!({"limit": 64 << 20, "swap": 96 << 20});
    check(
        &host,
        &Case {
            resources: json!({"memory": memory}),
            v1: ("memory/memory.memsw.limit_in_bytes", "100663296"),
            v2: ("memory.swap.max", "33554432"),
        },
    );
}

#[test]
fn a_program_above_its_memory_limit_is_killed() {
    let host = Host::new();
    let resources = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    let swapless = json!({"memory": {"limit": 16 << 20}});
    let counted =
        facts::v1_controller("memory").is_none_or(|dir| dir.join("memory.memsw.limit_in_bytes").exists());
    let resources = if counted { resources } else { swapless };
    let hog = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null";
    let output = host
        .bundle()
        .sh(&format!("{hog}; echo status $?"))
        .config(|config| config["linux"]["resources"] = resources.clone())
        .run();
    assert_eq!(output.ok().text(), "status 137");
    // As the first process.
    let args = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    host.bundle().args(args).config(|config| config["linux"]["resources"] = resources).run().code(137);
}

#[test]
fn a_limit_on_tasks_is_set_and_holds() {
    let host = Host::new();
    let pids = |limit: i64| json!({"pids": {"limit": limit}});
    check(&host, &Case { resources: pids(20), v1: ("pids/pids.max", "20"), v2: ("pids.max", "20") });
    check(&host, &Case { resources: pids(-1), v1: ("pids/pids.max", "max"), v2: ("pids.max", "max") });
    let output = host
        .bundle()
        .sh("n=0; while [ $n -lt 30 ]; do sleep 5 & n=$((n+1)); done")
        .config(|config| config["linux"]["resources"] = pids(10))
        .run();
    assert!(output.err().contains("can't fork"), "{output:?}");
}

/// A whole disk of this machine's: major, minor.
fn disk() -> Option<(i64, i64)> {
    let entries = std::fs::read_dir("/sys/block").ok()?.flatten();
    let numbers = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok());
    let mut numbers = numbers.filter_map(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    numbers.next()
}

#[test]
fn block_device_rates_are_set() {
    let Some((major, minor)) = disk() else { skip!("this machine has no block device") };
    if facts::cgroup_mode() != CgroupMode::V2 && facts::v1_controller("blkio").is_none() {
        skip!("this machine has no blkio controller");
    }
    let host = Host::new();
    let check = |field: &str, rate: u64, v1: &'static str, v2: String| {
        let resources = json!({"blockIO": {field: [{"major": major, "minor": minor, "rate": rate}]}});
        if facts::cgroup_mode() == CgroupMode::V2 {
            let shown = see(&host, &resources, "cat io.max");
            assert!(shown.contains(&v2), "{field}: {shown}");
        } else {
            let shown = see(&host, &resources, &format!("cat blkio/{v1}"));
            assert_eq!(shown, format!("{major}:{minor} {rate}"), "{field}");
        }
    };
    check("throttleReadBpsDevice", 1 << 20, "blkio.throttle.read_bps_device", "rbps=1048576".into());
    check("throttleWriteBpsDevice", 1 << 21, "blkio.throttle.write_bps_device", "wbps=2097152".into());
    check("throttleReadIOPSDevice", 100, "blkio.throttle.read_iops_device", "riops=100".into());
    check("throttleWriteIOPSDevice", 200, "blkio.throttle.write_iops_device", "wiops=200".into());
}

#[test]
fn a_weight_that_the_kernel_lacks_is_refused_by_name() {
    let Some(dir) = facts::v1_controller("blkio") else { skip!("this machine has no blkio controller") };
    let host = Host::new();
    // The top of the tree has no weight: what the kernel has shows in a group below.
    let group = dir.join(host.cgroup());
    std::fs::create_dir(&group).unwrap();
    if group.join("blkio.weight").exists() || group.join("blkio.bfq.weight").exists() {
        skip!("this kernel has block I/O weights");
    }
    host.refused(|config| config["linux"]["resources"] = json!({"blockIO": {"weight": 500}}))
        .stderr_has(&["blockIO.weight"]);
}

/// A device of this machine's that every program may open, but no container by default: path, major, minor.
fn device() -> Option<(&'static str, u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"].into_iter().find_map(|path| {
        let number = std::fs::metadata(path).ok()?.rdev();
        std::fs::File::open(path).ok()?;
        Some((path, rustix_major(number), rustix_minor(number)))
    })
}

/// Source: makedev(3).
fn rustix_major(number: u64) -> u32 {
    ((number >> 8) & 0xfff) as u32
}

fn rustix_minor(number: u64) -> u32 {
    ((number & 0xff) | ((number >> 12) & 0xfff00)) as u32
}

#[test]
fn device_rules_decide_what_can_be_opened() {
    let Some((_, major, minor)) = device() else { skip!("this machine has no device to try") };
    let host = Host::new();
    let check = |rules: Value, outcome: &str| {
        let script = "for dev in null other; do (exec 3</dev/$dev) 2>/dev/null && echo -n 'r' || echo -n '-'; \
                      (exec 3>/dev/$dev) 2>/dev/null && echo -n 'w ' || echo -n '- '; done";
        let shown = host.see(script, |config| {
            config["linux"]["devices"] =
                json!([{"type": "c", "path": "/dev/other", "major": major, "minor": minor}]);
            config["linux"]["resources"] = json!({"devices": rules});
        });
        assert_eq!(shown, outcome, "{rules}");
    };
    let all = |allow: bool| json!({"allow": allow, "access": "rwm"});
    let bin = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
    let other = |allow: bool, access: &str| json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": access});
    check(json!([]), "rw --");
    check(json!([all(true)]), "rw rw");
    check(json!([all(false), bin, other(true, "rwm")]), "rw rw");
    check(json!([all(false), bin]), "rw --");
    check(json!([all(false), bin, other(true, "r")]), "rw r-");
    check(json!([all(false), bin, other(true, "w")]), "rw -w");
    check(json!([all(true), other(false, "rwm")]), "rw --");
    check(json!([all(false), bin, {"allow": true, "type": "c", "major": major, "access": "rw"}]), "rw rw");
    check(json!([all(false), bin, {"allow": true, "type": "b", "access": "rw"}]), "rw --");
    // The later rule wins.
    check(json!([all(false), bin, other(true, "rwm"), other(false, "w")]), "rw r-");
}

#[test]
fn a_node_may_be_made_and_not_opened() {
    let host = Host::new();
    let script =
        "mknod /tmp/n c 1 1 && echo made; cat /tmp/n 2>&1 | grep -o 'Operation not permitted'; rm -f /tmp/n";
    let shown = host.see(script, |config| {
        change::without_user_namespace(config);
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    });
    assert_eq!(shown, "made\nOperation not permitted");
}

#[test]
fn malformed_device_rules_are_refused_by_name() {
    let host = Host::new();
    let check = |rule: Value| {
        host.refused(|config| config["linux"]["resources"] = json!({"devices": [rule]}))
            .stderr_has(&["linux.resources.devices"]);
    };
    check(json!({"allow": true, "type": "x", "access": "r"}));
    check(json!({"allow": true, "type": "c", "access": "rq"}));
    check(json!({"allow": true, "type": "c", "major": -2, "access": "r"}));
}

#[test]
fn unified_settings_are_written_to_version_2() {
    if facts::cgroup_mode() == CgroupMode::V1 {
        skip!("this machine has no version 2 tree");
    }
    let host = Host::new();
    let dir = if facts::cgroup_mode() == CgroupMode::V2 { "." } else { "unified" };
    let resources = json!({"unified": {"cgroup.max.depth": "3"}});
    assert_eq!(see(&host, &resources, &format!("cat {dir}/cgroup.max.depth")), "3");
    host.refused(|config| config["linux"]["resources"] = json!({"unified": {"no.such.file": "1"}}))
        .stderr_has(&["no.such.file"]);
    host.refused(|config| config["linux"]["resources"] = json!({"unified": {"../memory.max": "1"}}))
        .stderr_has(&["unified"]);
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let host = Host::new();
    let check = |resources: Value, part: &str| {
        host.refused(|config| config["linux"]["resources"] = resources.clone()).stderr_has(&[part]);
    };
    check(json!({"memory": {"limit": 1024}}), "memory.limit");
    check(json!({"memory": {"limit": "64m"}}), "config.json");
    check(json!({"memory": {"kernel": 1 << 20}}), "kernel");
    check(json!({"memory": {"swappiness": 101}}), "swappiness");
    check(json!({"cpu": {"cpus": "4000"}}), "cpus");
    check(json!({"cpu": {"cpus": "cheese"}}), "cpus");
    check(json!({"cpu": {"period": 10}}), "period");
    check(json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}), "hugepageLimits");
    check(json!({"network": {"classID": 1}}), "network");
    check(json!({"rdma": {"mlx": {"hcaHandles": 1}}}), "rdma");
}

#[test]
fn the_control_group_is_gone_with_the_container() {
    let host = Host::new();
    let resources = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}});
    let container =
        host.bundle().sh("exec sleep 60").config(|config| config["linux"]["resources"] = resources).detach();
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let path = format!("/{}/{}", host.cgroup(), container.id());
    assert!(group.contains(&path), "{group}");
    // What is left is the host's to find.
    container.remove();
}

#[test]
fn without_a_path_the_group_is_named_after_the_container() {
    let host = Host::new();
    let bundle = host.bundle().sh("exec sleep 60").config(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        config["linux"]["resources"] = json!({"pids": {"limit": 20}});
    });
    let parents = || {
        let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|tree| tree.unwrap().path());
        let all = trees.chain(["/sys/fs/cgroup".into()]).map(|tree| tree.join("berth-runtime"));
        all.filter(|parent| parent.exists()).collect::<Vec<_>>()
    };
    let before = parents();
    let container = bundle.detach();
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert!(group.contains(container.id()), "{group}");
    assert!(!parents().is_empty());
    container.remove();
    assert_eq!(parents(), before, "what the groups were in goes with the last");
}

#[test]
fn a_control_group_path_that_leads_elsewhere_is_refused() {
    let host = Host::new();
    let path = format!("/{}/../../elsewhere", host.cgroup());
    host.refused(|config| config["linux"]["cgroupsPath"] = json!(path)).stderr_has(&["cgroupsPath"]);
}

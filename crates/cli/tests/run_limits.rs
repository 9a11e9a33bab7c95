//! Limits and other settings of `berth run` that docker's users set seldom, each by its effect inside the container.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

use std::path::PathBuf;
use testkit::{Host, facts, skip};

/// What `script` prints in a container of @host with `flags`.
#[track_caller]
fn see(host: &Host, flags: &[&str], script: &str) -> String {
    host.berth(["run", "--rm"].iter().chain(flags).chain(&["@host", "sh", "-c", script])).run().ok().text()
}

/// What is in a file of a version 1 controller in a container with `flags`; `None` without that controller.
#[track_caller]
fn limit(flags: &[&str], controller: &str, file: &str) -> Option<String> {
    facts::v1_controller(controller)?;
    Some(see(&Host::new(), flags, &format!("cat /sys/fs/cgroup/{controller}/{file}")))
}

/// A field of the document of a container that was made with `flags`.
#[track_caller]
fn made(flags: &[&str], template: &str) -> String {
    let host = Host::new();
    host.berth(["create", "--name", "made"].iter().chain(flags).chain(&["@host", "true"])).run().ok();
    let shown = host.berth(["inspect", "-f", template, "made"]).text();
    host.berth(["rm", "made"]).run().ok();
    shown
}

/// A block device of this machine.
fn disk() -> Option<String> {
    let list = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let names = list.lines().skip(2).filter_map(|line| line.split_whitespace().nth(3));
    names.map(|name| format!("/dev/{name}")).find(|path| PathBuf::from(path).exists())
}

#[test]
fn cpu_periods_and_quotas_are_set() {
    let flags = ["--cpu-period", "50000", "--cpu-quota", "25000"];
    let Some(period) = limit(&flags, "cpu", "cpu.cfs_period_us") else {
        skip!("no cpu controller of version 1")
    };
    assert_eq!(period, "50000");
    assert_eq!(limit(&flags, "cpu", "cpu.cfs_quota_us").as_deref(), Some("25000"));
    assert_eq!(limit(&["--cpu-quota", "-5"], "cpu", "cpu.cfs_quota_us").as_deref(), Some("-1"));
    assert_eq!(made(&flags, "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}"), "50000 25000");
    let host = Host::new();
    for (flags, says) in [
        (["--cpu-period", "999"], "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s"),
        (["--cpu-quota", "999"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (["--cpus=1", "--cpu-period=5000"], "Nano CPUs and CPU Period cannot both be set"),
        (["--cpus=1", "--cpu-quota=5000"], "Nano CPUs and CPU Quota cannot both be set"),
    ] {
        host.berth(["run", "--rm"].iter().chain(&flags).chain(&["@host", "true"]))
            .run()
            .code(125)
            .stderr_has(&[says]);
    }
}

#[test]
fn real_time_is_given_where_the_parent_has_some() {
    let host = Host::new();
    let flags = ["--cpu-rt-period", "100000", "--cpu-rt-runtime", "1000"];
    let run = |flags: &[&str], script: &str| {
        host.berth(["run", "--rm"].iter().chain(flags).chain(&["@host", "sh", "-c", script]))
    };
    let has_it = facts::v1_controller("cpu").filter(|dir| dir.join("cpu.rt_runtime_us").exists());
    let Some(dir) = has_it else {
        run(&flags, "true").run().code(125).stderr_has(&["kernel does not support CPU real-time scheduler"]);
        skip!("no real-time groups: berth says so")
    };
    run(&flags, "true").run().code(125).stderr_has(&["realtimeRuntime", "raise their cpu.rt_runtime_us"]);
    let parent = dir.join(host.cgroup());
    std::fs::write(parent.join("cpu.rt_runtime_us"), "50000").unwrap();
    let files = "cat /sys/fs/cgroup/cpu/cpu.rt_period_us /sys/fs/cgroup/cpu/cpu.rt_runtime_us";
    run(&flags, files).run().ok().stdout_is("100000\n1000");
    run(&["--cpu-rt-period", "1000", "--cpu-rt-runtime", "1001"], "true")
        .run()
        .code(125)
        .stderr_has(&["cpu real-time runtime cannot be higher than cpu real-time period"]);
}

#[test]
fn swappiness_and_the_oom_killer_are_set() {
    let flags = ["-m", "64m", "--memory-swappiness", "10", "--oom-kill-disable"];
    let Some(swappiness) = limit(&flags, "memory", "memory.swappiness") else {
        skip!("no memory controller of version 1")
    };
    assert_eq!(swappiness, "10");
    assert_eq!(limit(&["--memory-swappiness", "0"], "memory", "memory.swappiness").as_deref(), Some("0"));
    let control = limit(&flags, "memory", "memory.oom_control").unwrap_or_default();
    assert!(control.starts_with("oom_kill_disable 1"), "{control}");
    assert_eq!(made(&flags, "{{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}}"), "10 true");
    let host = Host::new();
    host.berth(["run", "--rm", "--oom-kill-disable", "@host", "true"])
        .run()
        .ok()
        .stderr_has(&["WARNING: OOM killer is disabled for the container, but no memory limit is set"]);
    host.berth(["run", "--rm", "--memory-swappiness", "101", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["invalid value: 101. Valid memory swappiness range is 0-100"]);
    host.berth(["run", "--rm", "--kernel-memory", "64m", "@host", "true"])
        .run()
        .ok()
        .stderr_has(&["WARNING: --kernel-memory has no effect"]);
}

#[test]
fn devices_are_throttled() {
    let Some(disk) = disk() else { skip!("no block device") };
    let Some(_) = facts::v1_controller("blkio") else { skip!("no blkio controller of version 1") };
    let host = Host::new();
    for (flag, rate, file, shown) in [
        ("--device-read-bps", "1mb", "read_bps", "1048576"),
        ("--device-write-bps", "2k", "write_bps", "2048"),
        ("--device-read-iops", "30", "read_iops", "30"),
        ("--device-write-iops", "40", "write_iops", "40"),
    ] {
        let script = format!("cat /sys/fs/cgroup/blkio/blkio.throttle.{file}_device");
        let text = see(&host, &[flag, &format!("{disk}:{rate}")], &script);
        assert_eq!(text.split(' ').nth(1), Some(shown), "{flag}: {text}");
    }
    let flags = ["--device-read-bps", &format!("{disk}:1mb")];
    let list = "{{range .HostConfig.BlkioDeviceReadBps}}{{.Path}} {{.Rate}}{{end}}";
    assert_eq!(made(&flags, list), format!("{disk} 1048576"));
    for (value, says) in [
        ("/dev/null:1mb", "/dev/null: isn't a block device"),
        ("/dev/none:1mb", "/dev/none: no such file or directory"),
        ("sda:1mb", "bad format for device path: sda:1mb"),
        ("/dev/sda", "bad format: /dev/sda"),
        ("/dev/sda:fast", "invalid rate for device: /dev/sda:fast"),
    ] {
        host.berth(["run", "--rm", "--device-read-bps", value, "@host", "true"])
            .run()
            .code(125)
            .stderr_has(&[says]);
    }
}

#[test]
fn weights_that_the_kernel_lacks_are_dropped_with_a_warning() {
    let Some(dir) = facts::v1_controller("blkio") else { skip!("no blkio controller of version 1") };
    if ["blkio.weight", "blkio.bfq.weight"].iter().any(|file| dir.join(file).exists()) {
        skip!("this kernel has weights")
    }
    let host = Host::new();
    let flags = ["--blkio-weight", "100", "--blkio-weight-device", "/dev/sda:200"];
    let create = ["create", "--name", "made"].iter().chain(&flags).chain(&["@host", "true"]);
    host.berth(create).run().ok().stderr_has(&[
        "WARNING: Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        "WARNING: Your kernel does not support Block I/O weight_device or the cgroup is not mounted. \
         Weight-device discarded.",
    ]);
    let shown = host.berth(["inspect", "-f", "{{json .HostConfig.BlkioWeightDevice}}", "made"]).text();
    assert_eq!(shown, "[]");
    host.berth(["rm", "made"]).run().ok();
    host.berth(["run", "--rm", "--blkio-weight-device", "/dev/sda:9", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["invalid weight for device: /dev/sda:9"]);
}

#[test]
fn device_rules_open_devices_that_are_made_later() {
    if !PathBuf::from("/dev/net/tun").exists() {
        skip!("no /dev/net/tun");
    }
    let host = Host::new();
    let script = "mknod /dev/later c 10 200; (: < /dev/later) 2>/dev/null && echo open || echo closed";
    let may_make = ["--userns", "host", "--cap-add", "MKNOD"];
    let with = |rule: &[&'static str]| [&may_make[..], rule].concat();
    assert_eq!(see(&host, &with(&["--device-cgroup-rule", "c 10:* rwm"]), script), "open");
    assert_eq!(see(&host, &with(&[]), script), "closed");
    assert_eq!(
        made(&with(&["--device-cgroup-rule", "c 10:* rwm"]), "{{json .HostConfig.DeviceCgroupRules}}"),
        r#"["c 10:* rwm"]"#
    );
    host.berth(["run", "--rm", "--device-cgroup-rule", "c 10:200 rwm", "@host", "true"])
        .run()
        .ok()
        .stderr_has(&["WARNING: --device-cgroup-rule has no effect in a user namespace of its own"]);
    host.berth(["run", "--rm", "--device-cgroup-rule", "c 10 rwm", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["invalid device cgroup format 'c 10 rwm'"]);
}

#[test]
fn a_parent_of_its_own_limits_the_container() {
    let Some(pids) = facts::v1_controller("pids") else { skip!("no pids controller of version 1") };
    let host = Host::new();
    let parent = format!("/{}/small", host.cgroup());
    let dir = pids.join(&parent[1..]);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("pids.max"), "6").unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait; echo done";
    let flags = ["--cgroup-parent", parent.as_str()];
    let program = ["@host", "sh", "-c", script];
    host.berth(["run", "--rm"].iter().chain(&flags).chain(&program)).run().code(2).stderr_has(&["fork"]);
    assert_eq!(made(&flags, "{{.HostConfig.CgroupParent}}"), parent);
    // Nothing of the container is left in it, whoever was killed.
    let start = ["run", "-d", "--name", "big"].iter().chain(&flags).chain(&["@host", "sleep", "1000"]);
    host.berth(start).run().ok();
    let shown = host.berth(["inspect", "-f", "{{.Berth.Cgroup}} {{.Berth.HolderPid}}", "big"]).text();
    let (group, holder) = shown.split_once(' ').unwrap();
    assert!(group.starts_with(&parent), "{group}");
    assert!(pids.join(&group[1..]).join("cgroup.procs").exists());
    testkit::cmd::signal_pid(holder.parse().unwrap(), 9);
    host.berth(["rm", "-f", "big"]).run().ok();
    let below = |dir: &std::path::Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
    };
    for tree in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let small = tree.path().join(&parent[1..]);
        if small.is_dir() {
            assert!(testkit::until(std::time::Duration::from_secs(10), || below(&small) == 0));
            std::fs::remove_dir(small).unwrap();
        }
    }
    host.berth(["run", "--rm", "--cgroup-parent", "../up", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["not the path of a control group"]);
}

#[test]
fn annotations_ports_and_the_runtime_are_recorded() {
    let flags = [
        "--annotation",
        "org.example.a=1",
        "--annotation=b",
        "--expose=80",
        "--expose=7000-7001/udp",
        "--runtime=runc",
        "--disable-content-trust",
    ];
    assert_eq!(
        made(
            &flags,
            "{{json .HostConfig.Annotations}} {{json .Config.ExposedPorts}} {{.HostConfig.Runtime}}"
        ),
        r#"{"b":"","org.example.a":"1"} {"7000/udp":{},"7001/udp":{},"80/tcp":{}} runc"#
    );
    let host = Host::new();
    for (flag, value, says) in [
        ("--runtime", "kata", "unknown or invalid runtime name: kata"),
        ("--expose", "80:80", "invalid port format for --expose: 80:80"),
        ("--expose", "9-8", "invalid range format for --expose: 9-8"),
        ("--annotation", "=x", "no annotation name"),
    ] {
        host.berth(["run", "--rm", flag, value, "@host", "true"]).run().code(125).stderr_has(&[says]);
    }
}

#[test]
fn a_chooses_the_streams() {
    let host = Host::new();
    let run = |flags: &[&str], script: &str| {
        host.berth(["run", "--rm"].iter().chain(flags).chain(&["@host", "sh", "-c", script]))
    };
    let script = "echo out; echo err >&2; exit 3";
    run(&["-a", "stdout"], script).run().code(3).silent().stdout_is("out");
    let output = run(&["--attach", "STDERR"], script).run().code(3).stdout_is("");
    assert_eq!(output.err(), "err");
    run(&["-a", "stdout", "-a", "stderr"], script).run().code(3).stdout_is("out").stderr_has(&["err"]);
    // Who sees nothing of it gets its status all the same.
    let read = "read word; echo got $word; exit 4";
    let feed = host.berth(["run", "-i", "-a", "stdin", "--name", "fed", "@host", "sh", "-c", read]);
    feed.stdin("it\n").run().code(4).silent().stdout_is("");
    host.berth(["logs", "fed"]).run().ok().stdout_is("got it");
    let streams = "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}";
    assert_eq!(host.berth(["inspect", "-f", streams, "fed"]).text(), "true false false");
    host.berth(["rm", "fed"]).run().ok();
    run(&["-d", "-a", "stdout"], "true")
        .run()
        .code(1)
        .stderr_has(&["conflicting options: cannot specify both --attach and --detach"]);
    run(&["-a", "stdwhat"], "true")
        .run()
        .code(125)
        .stderr_has(&["valid streams are STDIN, STDOUT and STDERR"]);
}

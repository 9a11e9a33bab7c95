//! `berth update`.

use super::*;
use testkit::{facts, skip};

fn update(host: &Host, flags: &[&str], names: &[&str]) -> testkit::Output {
    host.berth(["update"].iter().chain(flags).chain(names)).run()
}

/// The container's own group of a version 1 controller.
fn group(host: &Host, name: &str, controller: &str) -> std::path::PathBuf {
    facts::v1_controller(controller).unwrap().join(&inspect(host, name, "{{.Berth.Cgroup}}")[1..])
}

/// What is in a file of it.
#[track_caller]
fn seen(host: &Host, name: &str, file: &str) -> String {
    let controller = file.split('.').next().unwrap();
    let path = group(host, name, controller).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// How many of the container's processes its own group of a version 1 controller has.
fn members(host: &Host, name: &str, controller: &str) -> usize {
    std::fs::read_to_string(group(host, name, controller).join("cgroup.procs"))
        .map_or(0, |list| list.lines().count())
}

#[test]
fn limits_of_a_running_container_change_at_once() {
    if facts::v1_controller("memory").is_none() || facts::v1_controller("cpu").is_none() {
        skip!("no memory and cpu controllers of version 1")
    }
    let host = Host::new();
    let flags = ["-m", "64m", "--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"];
    let run = ["run", "-d", "--name", "web"].iter().chain(&flags).chain(&["@host", "sleep", "1000"]);
    host.berth(run).run().ok();
    assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "67108864");
    update(&host, &["-m", "32m", "--cpus", "1.5", "-c", "300"], &["web"]).ok().silent().stdout_is("web");
    assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "33554432");
    assert_eq!(seen(&host, "web", "memory.memsw.limit_in_bytes"), "134217728");
    assert_eq!(seen(&host, "web", "cpu.cfs_quota_us"), "150000");
    assert_eq!(seen(&host, "web", "cpu.shares"), "300");
    // Upwards, beyond what memory and swap were.
    update(&host, &["-m", "256m", "--memory-swap", "-1", "--memory-reservation", "16m"], &["web"]).ok();
    assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "268435456");
    assert_eq!(seen(&host, "web", "memory.soft_limit_in_bytes"), "16777216");
    let set = if facts::processors() > 1 { "0-1" } else { "0" };
    update(&host, &["--cpuset-cpus", set], &["web"]).ok();
    assert_eq!(seen(&host, "web", "cpuset.cpus"), set);
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}";
    assert_eq!(inspect(&host, "web", shown), "268435456 -1 1500000000 300");
    // And so with the next start.
    host.berth(["restart", "-t", "0", "web"]).run().ok();
    assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "268435456");
    assert_eq!(seen(&host, "web", "cpu.cfs_quota_us"), "150000");
    remove(&host, &["web"]);
}

#[test]
fn limits_come_to_a_container_that_had_none() {
    if facts::v1_controller("memory").is_none() || facts::v1_controller("pids").is_none() {
        skip!("no memory and pids controllers of version 1")
    }
    let host = Host::new();
    // At once, while its keeper is about to move it elsewhere, and later.
    for wait in [false, true] {
        host.berth(["run", "-d", "--name", "web", "@host", "sh", "-c", "sleep 1000 & sleep 1000"]).run().ok();
        let pid = inspect(&host, "web", "{{.State.Pid}}");
        let own = || std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if wait {
            assert!(until(PATIENCE, || own().contains("/unlimited") || !own().contains("memory:/")));
        }
        update(&host, &["-m", "64m", "--memory-swap", "64m", "--pids-limit", "7"], &["web"]).ok().silent();
        assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "67108864");
        assert!(members(&host, "web", "memory") >= 2 && members(&host, "web", "pids") >= 2);
        let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait";
        host.berth(["exec", "web", "sh", "-c", forks]).run().failed().stderr_has(&["fork"]);
        update(&host, &["--pids-limit", "4000"], &["web"]).ok().silent();
        assert_eq!(seen(&host, "web", "pids.max"), "4000");
        update(&host, &["--pids-limit", "0"], &["web"]).ok().silent();
        assert_eq!(seen(&host, "web", "pids.max"), "4000");
        let said = update(&host, &["--pids-limit", "-1"], &["web"]).ok().text();
        assert!(said.contains("ceiling of 4096 tasks, which holds until it is started again"), "{said}");
        assert_eq!(seen(&host, "web", "pids.max"), "max");
        // Nothing moves it away again.
        host.berth(["pause", "web"]).run().ok();
        host.berth(["unpause", "web"]).run().ok();
        assert!(
            own().lines().any(|line| line.contains("memory") && !line.contains("unlimited")),
            "{}",
            own()
        );
        remove(&host, &["web"]);
    }
}

#[test]
fn containers_that_do_not_run_are_changed_for_their_next_start() {
    if facts::v1_controller("memory").is_none() {
        skip!("no memory controller of version 1")
    }
    let host = Host::new();
    host.berth(["create", "--name", "made", "@host", "sleep", "1000"]).run().ok();
    start(&host, "ended", "sleep 1000");
    host.berth(["stop", "-t", "0", "ended"]).run().ok();
    let output = update(&host, &["-m", "64m", "--memory-swap", "64m"], &["made", "none", "ended"]);
    output.code(1).stdout_is("made\nended").stderr_has(&["no such container: none"]);
    for name in ["made", "ended"] {
        assert_eq!(inspect(&host, name, "{{.HostConfig.Memory}}"), "67108864");
        host.berth(["start", name]).run().ok();
        assert_eq!(seen(&host, name, "memory.limit_in_bytes"), "67108864");
    }
    // One of --rm that waits for its start.
    host.berth(["create", "--rm", "--name", "once", "@host", "sleep", "1000"]).run().ok();
    update(&host, &["-m", "32m", "--memory-swap", "32m"], &["once"]).ok();
    host.berth(["rename", "once", "only"]).run().ok();
    host.berth(["start", "only"]).run().ok();
    assert_eq!(seen(&host, "only", "memory.limit_in_bytes"), "33554432");
    update(&host, &["-m", "16m"], &["only"]).ok();
    assert_eq!(seen(&host, "only", "memory.limit_in_bytes"), "16777216");
    remove(&host, &["made", "ended", "only"]);
}

#[test]
fn dockers_rules_are_kept() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    host.berth(["run", "-d", "--rm", "--name", "once", "--cpus", "1", "@host", "sleep", "1000"]).run().ok();
    let id = inspect(&host, "web", "{{.Id}}");
    for (flags, name, says) in [
        (&["-m", "64m"][..], "web", "Memory limit should be smaller than already set memoryswap limit"),
        (&["-m", "1m"], "web", "Minimum memory limit allowed is 6MB"),
        (&["-m", "64m", "--memory-swap", "32m"], "web", "Minimum memoryswap limit should be larger"),
        (&["--cpu-quota", "5000"], "once", "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (&["--cpu-period", "5000"], "once", "CPU Period cannot be updated as NanoCPUs has already been set"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "web", "Nano CPUs and CPU Quota cannot both be set"),
        (&["--restart", "always"], "once", "Restart policy cannot be updated because AutoRemove is enabled"),
        (&["--restart", "often"], "web", "often"),
        (&[], "web", "you must provide one or more flags when using this command"),
    ] {
        update(&host, flags, &[name]).code(1).stdout_is("").stderr_has(&[says]);
    }
    let said = update(&host, &["-m", "64m"], &["web"]).code(1).err();
    assert!(said.contains(&format!("Cannot update container {id}")), "{said}");
    // What the kernel refuses changes nothing.
    if facts::v1_controller("cpuset").is_some() {
        update(&host, &["--cpu-shares", "77", "--cpuset-mems", "63"], &["web"]).code(1).stdout_is("");
        let shown = "{{.HostConfig.CpuShares}} [{{.HostConfig.CpusetMems}}]";
        assert_eq!(inspect(&host, "web", shown), "0 []");
        host.berth(["exec", "web", "true"]).run().ok();
    }
    remove(&host, &["web", "once"]);
}

#[test]
fn another_restart_policy_counts_from_now_on() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    update(&host, &["--restart", "on-failure:3"], &["web"]).ok().stdout_is("web");
    let shown = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(inspect(&host, "web", shown), "on-failure 3");
    let started = |count: &str| {
        until(PATIENCE, || {
            inspect(&host, "web", "{{.RestartCount}} {{.State.Status}}") == format!("{count} running")
        })
    };
    let kill = || {
        let pid = inspect(&host, "web", "{{.State.Pid}}");
        testkit::cmd::signal_pid(pid.parse().unwrap(), 9);
    };
    kill();
    assert!(started("1"));
    update(&host, &["--restart", "no"], &["web"]).ok();
    kill();
    host.berth(["wait", "web"]).run().ok();
    assert!(until(PATIENCE, || inspect(&host, "web", "{{.State.Status}}") == "exited"));
    let since = ["events", "--since", "1h", "--until", "0s", "--filter", "event=update", "--format"];
    let told = host.berth(since.iter().chain(&["{{.Action}} {{.Actor.Attributes.name}}"])).text();
    assert_eq!(told, "update web\nupdate web");
    remove(&host, &["web"]);
}

#[test]
fn an_update_killed_at_each_point_is_done_or_not_begun() {
    if facts::v1_controller("memory").is_none() || facts::v1_controller("cpu").is_none() {
        skip!("no memory and cpu controllers of version 1")
    }
    let host = Host::new();
    for script in ["sleep 1000", "true"] {
        let begin = || {
            start(&host, "web", script);
            if script == "true" {
                let dir = inspect(&host, "web", "{{.Berth.RunDir}}");
                host.berth(["wait", "web"]).run().ok();
                assert!(until(PATIENCE, || !std::path::Path::new(&dir).exists()));
            }
        };
        let flags = ["update", "-m", "64m", "--memory-swap", "64m", "--cpu-shares", "99", "web"];
        begin();
        let list = host.path("points");
        host.berth(flags).env("BERTH_FAULT_LIST", &list).run().ok();
        let points = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(&list).unwrap();
        remove(&host, &["web"]);
        let points: Vec<&str> = points.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(!points.is_empty(), "{points:?}");
        for point in points {
            begin();
            host.berth(flags).env("BERTH_FAULT", point).run().code(137);
            let shown = inspect(&host, "web", "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}");
            assert!(shown == "67108864 99" || shown == "0 0", "{point}: {shown}");
            if script != "true" {
                // The kernel agrees.
                let shares = if shown == "0 0" { 0 } else { members(&host, "web", "cpu") };
                assert_eq!(shares > 0, shown != "0 0", "{point}");
                if shares > 0 {
                    assert_eq!(seen(&host, "web", "cpu.shares"), "99", "{point}");
                    assert_eq!(seen(&host, "web", "memory.limit_in_bytes"), "67108864", "{point}");
                }
            }
            remove(&host, &["web"]);
        }
    }
}

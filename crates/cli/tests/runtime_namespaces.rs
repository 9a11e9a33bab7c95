//! Namespaces, id mappings and what belongs to them, seen from inside. Source: runtime-spec config-linux.md.
// A test moves files about as it likes, and its helpers fail as it does.
#![allow(clippy::unwrap_used)]

use testkit::bundle::change;
use testkit::{Container, Host, Value, json};

/// Types by the specification's names, and the kernel's files in /proc/PID/ns.
const TYPES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn of_host(file: &str) -> String {
    std::fs::read_link(format!("/proc/thread-self/ns/{file}")).unwrap().display().to_string()
}

/// Namespace of a container's first process, from outside.
fn of_container(container: &Container<'_>, file: &str) -> String {
    std::fs::read_link(format!("/proc/{}/ns/{file}", container.pid())).unwrap().display().to_string()
}

fn set<'c>(config: &'c mut Value, path: &[&str]) -> &'c mut Value {
    path.iter().fold(config, |value, key| &mut value[*key])
}

#[test]
fn every_namespace_is_new() {
    let host = Host::new();
    let shown = host
        .see("for ns in pid net mnt ipc uts user cgroup time; do readlink /proc/self/ns/$ns; done", |_| ());
    let inside: Vec<&str> = shown.lines().collect();
    for (n, (typ, file)) in TYPES.iter().enumerate() {
        assert!(inside[n].starts_with(file), "{typ}: {}", inside[n]);
        assert_ne!(inside[n], of_host(file), "{typ} is the host's");
    }
}

#[test]
fn a_namespace_that_is_not_named_is_the_callers() {
    let host = Host::new();
    for (typ, file) in TYPES {
        if matches!(typ, "user" | "mount") {
            continue;
        }
        let shown = host.see(&format!("readlink /proc/self/ns/{file}"), |config| {
            change::without_user_namespace(config);
            change::without_namespace(config, typ);
            if typ == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
        });
        assert_eq!(shown, of_host(file), "{typ}");
    }
    let shown = host.see("readlink /proc/self/ns/user", change::without_user_namespace);
    assert_eq!(shown, of_host("user"));
}

#[test]
fn the_hosts_network_is_there_without_a_network_namespace() {
    let host = Host::new();
    // Also with a user namespace that doesn't own it, where only the host's own sysfs can be shown.
    for with_user in [true, false] {
        let shown = host.see("cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | sort", |config| {
            if !with_user {
                change::without_user_namespace(config);
            }
            change::without_namespace(config, "network");
        });
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let mut devices: Vec<&str> =
            table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        devices.sort_unstable();
        assert_eq!(shown, devices.join("\n"), "user namespace {with_user}");
    }
}

#[test]
fn without_a_mount_namespace_the_root_is_the_rootfs_all_the_same() {
    let host = Host::new();
    let shown = host.see("/bin/busybox ls /etc; /bin/busybox test -e /proc/self || echo no proc", |config| {
        change::without_user_namespace(config);
        change::without_namespace(config, "mount");
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    assert_eq!(shown, "group\npasswd\nno proc");
    host.refused(|config| {
        change::without_user_namespace(config);
        change::without_namespace(config, "mount");
    })
    .stderr_has(&["mount namespace"]);
}

#[test]
fn a_namespace_is_joined_by_its_path() {
    let host = Host::new();
    let first = host.bundle().sh("echo up; exec sleep 60").detach();
    let pid = first.pid();
    for (typ, file) in TYPES.into_iter().filter(|(typ, _)| *typ != "mount") {
        // A namespace that belongs to a user namespace is joined together with it.
        let path = format!("/proc/{pid}/ns/{file}");
        let second = host
            .bundle()
            .sh("exec sleep 60")
            .config(|config| {
                let linux = config["linux"].as_object_mut().unwrap();
                linux.remove("uidMappings");
                linux.remove("gidMappings");
                change::join_namespace(config, "user", &format!("/proc/{pid}/ns/user"));
                change::join_namespace(config, typ, &path);
                if typ == "uts" {
                    config.as_object_mut().unwrap().remove("hostname");
                }
            })
            .detach();
        assert_eq!(of_container(&second, file), of_container(&first, file), "{typ}");
        assert_eq!(of_container(&second, "user"), of_container(&first, "user"));
        let other = if typ == "ipc" { "uts" } else { "ipc" };
        assert_ne!(of_container(&second, other), of_container(&first, other), "{typ}");
        second.remove();
    }
    first.remove();
}

#[test]
fn a_joined_pid_namespace_shows_the_others_processes() {
    let host = Host::new();
    let first = host.bundle().sh("exec sleep 4321").detach();
    let pid = first.pid();
    let shown = host.see("cat /proc/1/cmdline | tr '\\0' ' '", |config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        for (typ, file) in [("user", "user"), ("pid", "pid")] {
            change::join_namespace(config, typ, &format!("/proc/{pid}/ns/{file}"));
        }
    });
    assert_eq!(shown, "sleep 4321");
    first.remove();
}

#[test]
fn a_namespace_that_cannot_be_joined_is_named() {
    let host = Host::new();
    let check = |typ: &str, path: &str, parts: &[&str]| {
        let refused = host.refused(|config| {
            config.as_object_mut().unwrap().remove("hostname");
            change::join_namespace(config, typ, path);
        });
        refused.stderr_has(parts);
    };
    check("ipc", "/no/such/namespace", &["/no/such/namespace"]);
    check("ipc", "/etc/passwd", &["ipc"]);
    check("ipc", "/proc/self/ns/uts", &["ipc"]);
    check("ipc", "relative", &["relative"]);
}

#[test]
fn malformed_namespaces_are_refused_by_name() {
    let host = Host::new();
    let twice = host.refused(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "ipc"}));
    });
    twice.stderr_has(&["linux.namespaces[8]"]);
    let unknown = host.refused(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cheese"}));
    });
    unknown.stderr_has(&["cheese"]);
}

#[test]
fn id_mappings_are_as_declared() {
    let host = Host::new();
    let base = host.first_id();
    let check = |uid: Value, gid: Value, shown: &str| {
        let script =
            "for map in uid gid; do tr -s ' ' < /proc/self/${map}_map | sed 's/^ //'; done; id -u; id -g";
        let seen = host.see(script, |config| {
            *set(config, &["linux", "uidMappings"]) = uid.clone();
            *set(config, &["linux", "gidMappings"]) = gid.clone();
        });
        assert_eq!(seen, shown);
    };
    let one = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    check(
        json!([one(0, base, 1000)]),
        json!([one(0, base, 2000)]),
        &format!("0 {base} 1000\n0 {base} 2000\n0\n0"),
    );
    let (second, third) = (base + 70_000, base + 80_000);
    check(
        json!([one(0, base, 10), one(10, second, 10), one(1000, third, 1)]),
        json!([one(0, base, 10), one(44, second, 5)]),
        &format!("0 {base} 10\n10 {second} 10\n1000 {third} 1\n0 {base} 10\n44 {second} 5\n0\n0"),
    );
}

#[test]
fn many_lines_of_id_mappings_are_written_whole() {
    let host = Host::new();
    let base = host.first_id();
    let lines: Vec<Value> =
        (0..200).map(|n| json!({"containerID": 2 * n, "hostID": base + 3 * n, "size": 1})).collect();
    let seen = host.see("wc -l < /proc/self/uid_map; tail -1 /proc/self/uid_map | tr -s ' '", |config| {
        config["linux"]["uidMappings"] = json!(lines);
    });
    assert_eq!(seen, format!("200\n 398 {} 1", base + 3 * 199));
}

#[test]
fn bad_id_mappings_are_refused_by_name() {
    let host = Host::new();
    let base = host.first_id();
    let check = |maps: Value, parts: &[&str]| {
        host.refused(|config| config["linux"]["uidMappings"] = maps.clone()).stderr_has(parts);
    };
    let one = |inside: i64, outside: i64, size: i64| json!({"containerID": inside, "hostID": outside, "size": size});
    let base = i64::from(base);
    check(json!([]), &["linux.uidMappings"]);
    check(json!([one(0, base, 0)]), &["linux.uidMappings[0]"]);
    check(json!([one(0, base, 10), one(5, base + 100, 10)]), &["linux.uidMappings[1]"]);
    check(json!([one(0, base, 10), one(50, base + 5, 10)]), &["linux.uidMappings[1]"]);
    check(json!([one(0, 4_294_967_290, 10)]), &["linux.uidMappings[0]"]);
    check(json!([one(-1, base, 10)]), &["config.json", "line"]);
    let many: Vec<Value> = (0..341).map(|n| one(2 * n, base + 2 * n, 1)).collect();
    check(json!(many), &["linux.uidMappings", "340"]);
    host.refused(|config| {
        change::without_namespace(config, "user");
    })
    .stderr_has(&["linux.uidMappings"]);
}

#[test]
fn clocks_are_offset() {
    let host = Host::new();
    let day = 86_400;
    // Uptime is the boot clock; the monotonic one is what sleeping programs and /proc/timer_list see.
    let own = || -> f64 {
        std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let before = own();
    let shown = host.see("cut -d' ' -f1 /proc/uptime; cat /proc/self/timens_offsets | tr -s ' '", |config| {
        config["linux"]["timeOffsets"] = json!({
            "boottime": {"secs": 2 * day, "nanosecs": 500_000_000}, "monotonic": {"secs": day}
        });
    });
    let lines: Vec<&str> = shown.lines().collect();
    let offset = lines[0].parse::<f64>().unwrap() - before;
    let days = f64::from(2 * day);
    assert!((days + 0.4..days + 30.0).contains(&offset), "{offset}");
    assert_eq!(lines[1].trim(), format!("monotonic {day} 0"));
    assert_eq!(lines[2].trim(), format!("boottime {} 500000000", 2 * day));
}

#[test]
fn bad_clock_offsets_are_refused_by_name() {
    let host = Host::new();
    let check = |offsets: Value, parts: &[&str]| {
        host.refused(|config| config["linux"]["timeOffsets"] = offsets.clone()).stderr_has(parts);
    };
    check(json!({"realtime": {"secs": 1}}), &["timeOffsets.realtime"]);
    check(json!({"monotonic": {"secs": 1, "nanosecs": 1_000_000_000}}), &["timeOffsets.monotonic"]);
    // Earlier than the clock's zero.
    check(json!({"monotonic": {"secs": -1_000_000_000}}), &["timens_offsets"]);
    let refused = host.refused(|config| {
        change::without_namespace(config, "time");
        config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1}});
    });
    refused.stderr_has(&["timeOffsets", "time namespace"]);
}

#[test]
fn host_and_domain_name_are_the_containers() {
    let host = Host::new();
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let shown = host.see("hostname; cat /proc/sys/kernel/domainname", |config| {
        config["hostname"] = json!("inner");
        config["domainname"] = json!("example.org");
    });
    assert_eq!(shown, "inner\nexample.org");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    host.refused(|config| config["hostname"] = json!("x".repeat(65))).stderr_has(&["hostname"]);
    let refused = host.refused(|config| {
        change::without_user_namespace(config);
        change::without_namespace(config, "uts");
    });
    refused.stderr_has(&["hostname"]);
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let host = Host::new();
    let check = |name: &str, value: &str| {
        let path = name.replace('.', "/");
        let before = std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
        let seen = host
            .see(&format!("cat /proc/sys/{path}"), |config| config["linux"]["sysctl"] = json!({name: value}));
        assert_eq!(
            seen.split_whitespace().collect::<Vec<_>>(),
            value.split_whitespace().collect::<Vec<_>>(),
            "{name}"
        );
        assert_eq!(
            std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap(),
            before,
            "{name} on the host"
        );
    };
    check("net.ipv4.ip_forward", "1");
    check("net.ipv4.ip_unprivileged_port_start", "0");
    check("net.ipv4.ping_group_range", "0 1000");
    check("net.core.somaxconn", "123");
    check("kernel.shmmax", "1048576");
    check("kernel.sem", "100 200 30 40");
    check("kernel.msgmax", "4096");
    check("fs.mqueue.msg_max", "20");
}

#[test]
fn sysctls_of_the_whole_host_are_refused() {
    let host = Host::new();
    let check = |name: &str, change_config: fn(&mut Value)| {
        let refused = host.refused(|config| {
            change_config(config);
            config["linux"]["sysctl"] = json!({name: "1"});
        });
        refused.stderr_has(&["sysctl", name]);
    };
    for name in [
        "kernel.panic",
        "vm.swappiness",
        "fs.file-max",
        "kernel.core_pattern",
        "net/../kernel/panic",
        "",
        "net..x",
    ] {
        check(name, |_| ());
    }
    check("net.ipv4.ip_forward", |config| {
        change::without_user_namespace(config);
        change::without_namespace(config, "network");
    });
    check("kernel.shmmax", |config| {
        change::without_user_namespace(config);
        change::without_namespace(config, "ipc");
    });
    let missing = host.refused(|config| config["linux"]["sysctl"] = json!({"net.ipv4.no_such_thing": "1"}));
    missing.stderr_has(&["no_such_thing"]);
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let host = Host::new();
    let shown =
        host.see("ip addr show lo | grep -o 'inet [0-9./]*'; ip link show lo | grep -c LOOPBACK,UP", |_| ());
    assert_eq!(shown, "inet 127.0.0.1/8\n1");
}

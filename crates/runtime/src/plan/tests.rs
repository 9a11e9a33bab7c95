use super::*;
use serde_json::{Value, json};

fn spec(change: impl FnOnce(&mut Value)) -> Result<Plan, Error> {
    let mut doc = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"]},
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "user"}, {"type": "network"},
                {"type": "time"}, {"type": "cgroup"}, {"type": "ipc"}],
            "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
        },
    });
    change(&mut doc);
    Plan::new(&serde_json::from_value(doc).unwrap())
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    spec(change).unwrap_err().to_string()
}

#[test]
fn every_unsupported_field_is_refused_by_name() {
    for pointer in [
        "hooks",
        "solaris",
        "windows",
        "vm",
        "zos",
        "freebsd",
        "process.commandLine",
        "process.user.username",
        "process.ioPriority",
        "process.scheduler",
        "process.execCPUAffinity",
        "linux.netDevices",
        "linux.intelRdt",
        "linux.memoryPolicy",
        "linux.personality",
    ] {
        let error = refused(|doc| {
            let path = format!("/{}", pointer.replace('.', "/"));
            let (parent, name) = path.rsplit_once('/').unwrap();
            let value = match name {
                "commandLine" | "username" => json!("x"),
                "hooks" => json!({"prestart": [{"path": "/bin/true"}]}),
                _ => json!({}),
            };
            if parent == "/process/user" {
                doc["process"]["user"] = json!({});
            }
            doc.pointer_mut(parent).unwrap()[name] = value;
        });
        assert_eq!(error, format!("{pointer} is not supported yet"));
    }
}

#[test]
fn empty_hooks_ask_for_nothing() {
    spec(|doc| doc["hooks"] = json!({"prestart": []})).unwrap();
}

#[test]
fn malformed_fields_are_named() {
    let check = |field: &str, change: &dyn Fn(&mut Value)| {
        let error = refused(change);
        assert!(error.starts_with(field), "{error:?} doesn't start with {field:?}");
    };
    check("ociVersion", &|d| d["ociVersion"] = json!("two"));
    check("ociVersion", &|d| d["ociVersion"] = json!("2.0.0"));
    check("process.args", &|d| d["process"]["args"] = json!([]));
    check("process.cwd", &|d| d["process"]["cwd"] = json!("tmp"));
    check("process.env[0]", &|d| d["process"]["env"] = json!(["=x"]));
    check("process.env[1]", &|d| d["process"]["env"] = json!(["A=1", "B=\0"]));
    check("process.oomScoreAdj", &|d| d["process"]["oomScoreAdj"] = json!(1001));
    check("process.rlimits[0].type", &|d| {
        d["process"]["rlimits"] = json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}])
    });
    check("process.rlimits[0]", &|d| {
        d["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}])
    });
    check("process.user", &|d| d["process"]["user"] = json!({"uid": 4294967295u32}));
    check("linux.namespaces[8]", &|d| {
        d["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"}))
    });
    check("linux.namespaces[0].path", &|d| d["linux"]["namespaces"][0]["path"] = json!("proc/1/ns/mnt"));
    check("linux.uidMappings", &|d| d["linux"]["uidMappings"] = json!([]));
    check("linux.uidMappings[0]", &|d| d["linux"]["uidMappings"][0]["size"] = json!(0));
    check("linux.rootfsPropagation", &|d| d["linux"]["rootfsPropagation"] = json!("sideways"));
    check("linux.maskedPaths[0]", &|d| d["linux"]["maskedPaths"] = json!(["proc/kcore"]));
    check("linux.timeOffsets.realtime", &|d| d["linux"]["timeOffsets"] = json!({"realtime": {"secs": 1}}));
    check("linux.sysctl[\"kernel.core_pattern\"]", &|d| {
        d["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/x"})
    });
    check("linux.sysctl[\"net/../kernel/core_pattern\"]", &|d| {
        d["linux"]["sysctl"] = json!({"net/../kernel/core_pattern": "|/x"})
    });
    check("linux.devices[0].path", &|d| {
        d["linux"]["devices"] = json!([{"type": "c", "path": "/dev/../etc/x", "major": 1, "minor": 3}])
    });
    check("linux.devices[0].major", &|d| d["linux"]["devices"] = json!([{"type": "c", "path": "/dev/x"}]));
    check("mounts[0].type", &|d| d["mounts"] = json!([{"destination": "/x"}]));
    check("mounts[0].source", &|d| d["mounts"] = json!([{"destination": "/x", "type": "bind"}]));
    check("mounts[0].uidMappings", &|d| {
        d["mounts"] = json!([{"destination": "/x", "type": "bind", "source": "/y", "options": ["idmap"],
            "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}])
    });
}

#[test]
fn sysctls_need_their_namespace() {
    let given = |name: &str| {
        let name = name.to_owned();
        spec(move |d| d["linux"]["sysctl"] = json!({name: "1"}))
    };
    assert_eq!(given("net.ipv4.conf.eth0/1.mtu").unwrap().sysctls[0].path, "net/ipv4/conf/eth0.1/mtu");
    assert_eq!(given("net/ipv4/conf/eth0.1/mtu").unwrap().sysctls[0].path, "net/ipv4/conf/eth0.1/mtu");
    given("fs.mqueue.msg_max").unwrap();
    given("kernel.shmmax").unwrap();
    let error = refused(|d| {
        d["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "network");
        d["linux"]["sysctl"] = json!({"net.core.somaxconn": "1"});
    });
    assert!(error.contains("network namespace"), "{error}");
}

#[test]
fn offsets_take_the_time_namespace_out_of_the_clone() {
    let plan = spec(|d| d["linux"]["timeOffsets"] = json!({"boottime": {"secs": 60}})).unwrap();
    assert_eq!(plan.namespaces.time_offsets.as_deref(), Some("boottime 60 0\n"));
    assert_eq!(plan.namespaces.clone_flags & linux::process::ns::TIME, 0);
}

#[test]
fn a_tmpfs_on_dev_is_the_holders_and_a_bind_is_left_alone() {
    let with_dev = |mount: Value| spec(move |d| d["mounts"] = json!([mount])).unwrap();
    let plan =
        with_dev(json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}));
    assert_eq!(plan.mounts[0].kind, MountKind::Dev);
    assert!(plan.mounts[0].readonly_later && plan.fill_dev);
    assert!(!with_dev(json!({"destination": "/dev/", "source": "/dev", "options": ["rbind"]})).fill_dev);
}

#[test]
fn a_users_device_replaces_the_default_one() {
    let plan = spec(|d| {
        d["linux"]["devices"] =
            json!([{"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600}])
    })
    .unwrap();
    assert_eq!(plan.devices.iter().filter(|n| n.path == "/dev/null").count(), 1);
    assert_eq!(plan.devices.last().unwrap().mode, 0o600);
}

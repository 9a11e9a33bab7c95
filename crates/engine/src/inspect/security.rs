//! `berth inspect --security`: what a container may really do, as the kernel says where it runs, else as was planned.

use crate::config::RootSource;
use crate::find::{Container, State};
use crate::request::MountKind;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::PathBuf;
use types::caps::CapSet;

/// Namespaces by their names in `/proc/PID/ns`.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

pub fn document(container: &Container) -> Json {
    let config = &container.config;
    let linux = config.spec.linux.clone().unwrap_or_default();
    let mut document = json!({
        "Id": config.id,
        "Name": format!("/{}", config.name),
        "Running": matches!(container.state, State::Running(_)),
        "Privileged": config.request.security.privileged,
        "TasksMax": config.tasks_max,
        "Devices": linux.devices.iter().map(|device| device.path.as_str()).collect::<Vec<_>>(),
        "DeviceRules": linux.resources.as_ref().map(|resources| resources.devices.as_slice()).unwrap_or_default(),
        "MaskedPaths": linux.masked_paths,
        "ReadonlyPaths": linux.readonly_paths,
    });
    let rest = match &container.state {
        State::Running(running) => of_process(container, running.init.pid, &running.cgroup),
        _ => planned(container),
    };
    if let (Json::Object(document), Json::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
    }
    document
}

/// What the kernel says about the first process.
fn of_process(container: &Container, pid: i32, cgroup: &runtime::cgroup::CgroupPaths) -> Json {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let field = |name: &str| field(&status, name);
    let set =
        |name: &str| u64::from_str_radix(field(name), 16).map_or(Vec::new(), |bits| CapSet(bits).names());
    let shared: Vec<&str> = NAMESPACES.into_iter().filter(|name| shares_namespace(pid, name)).collect();
    let own_user_namespace = !shared.contains(&"user");
    let mountinfo = read("mountinfo");
    let writable: Vec<Json> = host_paths(container)
        .into_iter()
        .filter(|(_, target)| is_writable(&mountinfo, target))
        .map(|(source, target)| json!({ "Host": source, "Container": target }))
        .collect();
    json!({
        "Capabilities": {
            "Effective": set("CapEff"),
            "Permitted": set("CapPrm"),
            "Inheritable": set("CapInh"),
            "Bounding": set("CapBnd"),
            "Ambient": set("CapAmb"),
            // In a user namespace of its own they hold for what belongs to that only.
            "OverHost": !own_user_namespace,
        },
        "Seccomp": match field("Seccomp") { "0" => "none", "1" => "strict", "2" => "filter", _ => "unknown" },
        "SeccompFilters": field("Seccomp_filters").parse::<u32>().ok(),
        "NoNewPrivileges": field("NoNewPrivs") == "1",
        "Label": label(&read("attr/current")),
        "SharedWithHost": shared,
        "UserMap": id_map(&read("uid_map")),
        "GroupMap": id_map(&read("gid_map")),
        "PidsMax": pids_max(cgroup),
        "WritableHostPaths": writable,
    })
}

/// What it had or would have.
fn planned(container: &Container) -> Json {
    let config = &container.config;
    let process = config.spec.process.clone().unwrap_or_default();
    let capabilities = process.capabilities.unwrap_or_default();
    let linux = config.spec.linux.clone().unwrap_or_default();
    let map = |mappings: &[types::oci::IdMapping]| -> Vec<Json> {
        mappings.iter().map(|m| mapping(m.container_id, m.host_id, m.size)).collect()
    };
    let writable: Vec<Json> = host_paths(container)
        .into_iter()
        .map(|(source, target)| json!({ "Host": source, "Container": target }))
        .collect();
    json!({
        "Capabilities": {
            "Effective": capabilities.effective,
            "Permitted": capabilities.permitted,
            "Inheritable": capabilities.inheritable,
            "Bounding": capabilities.bounding,
            "Ambient": capabilities.ambient,
            "OverHost": config.user_namespace.base() == 0,
        },
        "NoNewPrivileges": process.no_new_privileges,
        "Label": process.apparmor_profile.or(process.selinux_label).unwrap_or_default(),
        "UserMap": map(&linux.uid_mappings),
        "GroupMap": map(&linux.gid_mappings),
        "WritableHostPaths": writable,
    })
}

/// Value of a line of `/proc/PID/status`; empty if there is none.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(value).map(str::trim).unwrap_or_default()
}

fn shares_namespace(pid: i32, name: &str) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
    of("self").is_some_and(|own| of(&pid.to_string()) == Some(own))
}

/// The security module's label; it ends with a newline or a zero byte.
fn label(text: &str) -> &str {
    text.trim_end_matches(['\n', '\0'])
}

fn mapping(inside: u32, outside: u32, count: u32) -> Json {
    json!({ "Container": inside, "Host": outside, "Ids": count })
}

fn id_map(text: &str) -> Vec<Json> {
    let maps = runtime::userns::parse_map(text).unwrap_or_default();
    maps.iter().map(|m| mapping(m.container_id, m.host_id, m.size)).collect()
}

/// The ceiling of the control group, which counts beside that of the user namespace.
fn pids_max(cgroup: &runtime::cgroup::CgroupPaths) -> Option<u64> {
    let dir = cgroup.v1.get("pids").or(cgroup.v2.as_ref())?;
    fs::read_to_string(PathBuf::from(dir).join("pids.max")).ok()?.trim().parse().ok()
}

/// Paths of the host that are to be writable, and where they appear.
fn host_paths(container: &Container) -> Vec<(String, String)> {
    let config = &container.config;
    let mut paths = Vec::new();
    if let RootSource::Directory(dir) = &config.root
        && !config.request.read_only
    {
        paths.push((dir.to_string_lossy().into_owned(), "/".to_owned()));
    }
    paths.extend(config.request.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, .. } if !mount.read_only => {
            Some((source.to_string_lossy().into_owned(), mount.target.to_string_lossy().into_owned()))
        }
        _ => None,
    }));
    paths
}

/// Whether the topmost mount at `target` is writable. Source: proc_pid_mountinfo(5).
fn is_writable(mountinfo: &str, target: &str) -> bool {
    let at_target = mountinfo.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(4);
        (unescape(fields.next()?) == target).then(|| fields.next())?
    });
    // One that the container has unmounted can't be written to.
    at_target.is_some_and(|options| options.split(',').any(|option| option == "rw"))
}

/// Octal escapes of mountinfo: blank, tab, newline, backslash.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t00000000a80425fb\n";
        assert_eq!(field(status, "Seccomp"), "2");
        assert_eq!(field(status, "Seccomp_filters"), "1");
        assert_eq!(field(status, "Cap"), "");
        assert_eq!(
            u64::from_str_radix(field(status, "CapEff"), 16).map(CapSet),
            Ok(CapSet::docker_default())
        );
    }

    #[test]
    fn the_topmost_mount_decides() {
        let table = "21 1 0:1 / / rw - overlay none rw\n\
                     22 21 0:2 / /a\\040b rw,nosuid - ext4 none rw\n\
                     23 21 0:2 / /c rw - ext4 none rw\n\
                     24 23 0:2 / /c ro - ext4 none rw\n";
        assert!(is_writable(table, "/a b") && is_writable(table, "/"));
        assert!(!is_writable(table, "/c") && !is_writable(table, "/gone"));
    }
}

//! A service of a compose file back from a request. Source: compose-spec 05-services.md.
//!
//! Most flags have a key of their own, which takes the flag's words; what has no place in a compose file is named in a
//! comment, so that nothing gets lost unseen.

use engine::request::{
    BindRecursion, HealthTest, MountKind, MountRequest, NetworkMode, Propagation, RunRequest, Source,
    VolumeRequest,
};
use serde_json::{Map, Value as Json, json};

use super::run_line;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    True,
    List,
}

/// Flags and their keys.
const KEYS: &[(&str, &str, Takes)] = &[
    ("name", "container_name", Takes::Text),
    ("interactive", "stdin_open", Takes::True),
    ("tty", "tty", Takes::True),
    ("init", "init", Takes::True),
    ("read-only", "read_only", Takes::True),
    ("restart", "restart", Takes::Text),
    ("hostname", "hostname", Takes::Text),
    ("domainname", "domainname", Takes::Text),
    ("workdir", "working_dir", Takes::Text),
    ("user", "user", Takes::Text),
    ("group-add", "group_add", Takes::List),
    ("env", "environment", Takes::List),
    ("label", "labels", Takes::List),
    ("annotation", "annotations", Takes::List),
    ("expose", "expose", Takes::List),
    ("runtime", "runtime", Takes::Text),
    ("stop-signal", "stop_signal", Takes::Text),
    ("tmpfs", "tmpfs", Takes::List),
    ("device", "devices", Takes::List),
    ("device-cgroup-rule", "device_cgroup_rules", Takes::List),
    ("network", "network_mode", Takes::Text),
    ("pid", "pid", Takes::Text),
    ("userns", "userns_mode", Takes::Text),
    ("uts", "uts", Takes::Text),
    ("ipc", "ipc", Takes::Text),
    ("cgroupns", "cgroup", Takes::Text),
    ("cgroup-parent", "cgroup_parent", Takes::Text),
    ("sysctl", "sysctls", Takes::List),
    ("isolation", "isolation", Takes::Text),
    ("privileged", "privileged", Takes::True),
    ("cap-add", "cap_add", Takes::List),
    ("cap-drop", "cap_drop", Takes::List),
    ("security-opt", "security_opt", Takes::List),
    ("memory", "mem_limit", Takes::Number),
    ("memory-swap", "memswap_limit", Takes::Number),
    ("memory-reservation", "mem_reservation", Takes::Number),
    ("memory-swappiness", "mem_swappiness", Takes::Number),
    ("oom-kill-disable", "oom_kill_disable", Takes::True),
    ("oom-score-adj", "oom_score_adj", Takes::Number),
    ("shm-size", "shm_size", Takes::Number),
    ("cpus", "cpus", Takes::Text),
    ("cpu-period", "cpu_period", Takes::Number),
    ("cpu-quota", "cpu_quota", Takes::Number),
    ("cpu-rt-period", "cpu_rt_period", Takes::Number),
    ("cpu-rt-runtime", "cpu_rt_runtime", Takes::Number),
    ("cpu-shares", "cpu_shares", Takes::Number),
    ("cpuset-cpus", "cpuset", Takes::Text),
    ("pids-limit", "pids_limit", Takes::Number),
    ("publish", "ports", Takes::List),
    ("link", "links", Takes::List),
    ("add-host", "extra_hosts", Takes::List),
    ("dns", "dns", Takes::List),
    ("dns-search", "dns_search", Takes::List),
    ("dns-option", "dns_opt", Takes::List),
];

/// Flags that are turned into keys below, or that say how to run and not what.
const OTHERS: [&str; 28] = [
    "health-cmd",
    "health-interval",
    "health-timeout",
    "health-start-period",
    "health-start-interval",
    "health-retries",
    "no-healthcheck",
    "log-driver",
    "log-opt",
    "entrypoint",
    "volume",
    "mount",
    "volumes-from",
    "stop-timeout",
    "ulimit",
    "blkio-weight",
    "blkio-weight-device",
    "device-read-bps",
    "device-write-bps",
    "device-read-iops",
    "device-write-iops",
    "detach",
    "detach-keys",
    "attach",
    "sig-proxy",
    "explain",
    "rm",
    "cidfile",
];

/// A compose file with the one service that `request` is.
pub fn file(name: &str, request: &RunRequest) -> String {
    let flags = run_line::flags(request);
    let given: Vec<(&str, &str)> = flags
        .iter()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect();
    let mut service = Map::new();
    let image = match &request.source {
        Source::Host => "@host".to_owned(),
        Source::Image(image) => image.clone(),
        Source::Rootfs(dir) => dir.display().to_string(),
    };
    if let Some(entrypoint) = &request.entrypoint {
        service.insert("entrypoint".to_owned(), json!(entrypoint));
    }
    if !request.command.is_empty() {
        service.insert("command".to_owned(), json!(request.command));
    }
    for (flag, key, takes) in KEYS {
        let values: Vec<&str> =
            given.iter().filter(|(name, _)| name == flag).map(|(_, value)| *value).collect();
        let Some(last) = values.last() else { continue };
        let value = match takes {
            Takes::Text => Json::from(*last),
            Takes::True => true.into(),
            Takes::Number => last.parse::<i64>().map_or_else(|_| Json::from(*last), Json::from),
            Takes::List => json!(values),
        };
        service.insert((*key).to_owned(), value);
    }
    let networks = networks(request, &mut service);
    mounts(request, &mut service);
    limits(request, &mut service);
    if let Some(check) = health(request) {
        service.insert("healthcheck".to_owned(), check);
    }
    if request.log != engine::request::LogRequest::default() {
        let mut logging = Map::new();
        request
            .log
            .driver
            .iter()
            .for_each(|driver| drop(logging.insert("driver".to_owned(), driver.as_str().into())));
        if !request.log.options.is_empty() {
            logging.insert("options".to_owned(), json!(request.log.options));
        }
        service.insert("logging".to_owned(), logging.into());
    }
    if let Some(seconds) = request.stop_timeout_secs {
        service.insert("stop_grace_period".to_owned(), format!("{seconds}s").into());
    }
    let mut text = format!("services:\n  {}:\n    image: {}\n", scalar(&name.into()), scalar(&image.into()));
    block(&Json::Object(service), 4, &mut text);
    let named: Map<String, Json> =
        request.mounts.iter().filter_map(volume_name).map(|name| (name, json!({"external": true}))).collect();
    if !named.is_empty() {
        text += "volumes:\n";
        block(&Json::Object(named), 2, &mut text);
    }
    if !networks.is_empty() {
        text += "networks:\n";
        block(&Json::Object(networks), 2, &mut text);
    }
    for (flag, value) in &given {
        if !KEYS.iter().any(|(name, ..)| name == flag) && !OTHERS.contains(flag) {
            text += &format!("# a compose file has no place for --{flag}={}\n", engine::inert(value));
        }
    }
    if matches!(request.source, Source::Rootfs(_)) {
        text += "# a compose file has no place for --rootfs: the image stands for it\n";
    }
    text
}

/// The networks that it's on, in the service; they are made by others.
fn networks(request: &RunRequest, service: &mut Map<String, Json>) -> Map<String, Json> {
    let NetworkMode::Networks(endpoints) = &request.network else { return Map::new() };
    service.remove("network_mode");
    let mut own = Map::new();
    for endpoint in endpoints {
        let mut fields = Map::new();
        let mut set = |key: &str, value: Json| drop(fields.insert(key.to_owned(), value));
        if !endpoint.aliases.is_empty() {
            set("aliases", json!(endpoint.aliases));
        }
        for (key, address) in [("ipv4_address", endpoint.ipv4), ("ipv6_address", endpoint.ipv6)] {
            if let Some(address) = address {
                set(key, json!(address.to_string()));
            }
        }
        if !endpoint.link_local.is_empty() {
            set("link_local_ips", json!(endpoint.link_local));
        }
        if let Some(mac) = endpoint.mac {
            set("mac_address", json!(net::ipam::mac_text(mac)));
        }
        if !endpoint.options.is_empty() {
            set("driver_opts", json!(endpoint.options));
        }
        if endpoint.gateway_priority != 0 {
            set("gw_priority", json!(endpoint.gateway_priority));
        }
        own.insert(endpoint.network.clone(), if fields.is_empty() { json!({}) } else { fields.into() });
    }
    service.insert("networks".to_owned(), own.into());
    endpoints.iter().map(|endpoint| (endpoint.network.clone(), json!({"external": true}))).collect()
}

fn volume_name(mount: &MountRequest) -> Option<String> {
    match &mount.kind {
        MountKind::Volume(volume) => volume.name.clone(),
        _ => None,
    }
}

fn mounts(request: &RunRequest, service: &mut Map<String, Json>) {
    let volumes: Vec<Json> = request
        .mounts
        .iter()
        .filter_map(|mount| match run_line::mount_word(mount) {
            ("volume", words) => Some(words.into()),
            ("mount", _) => Some(long(mount)),
            _ => None,
        })
        .collect();
    if !volumes.is_empty() {
        service.insert("volumes".to_owned(), volumes.into());
    }
    if !request.volumes_from.is_empty() {
        let from = request
            .volumes_from
            .iter()
            .map(|from| format!("container:{}", run_line::volumes_from_word(from)));
        service.insert("volumes_from".to_owned(), json!(from.collect::<Vec<_>>()));
    }
}

/// A mount in the long form.
fn long(mount: &MountRequest) -> Json {
    let mut shown = json!({ "type": "tmpfs", "target": mount.target });
    if mount.read_only {
        shown["read_only"] = true.into();
    }
    match &mount.kind {
        MountKind::Bind { source, recursion, propagation, create_source, .. } => {
            shown["type"] = "bind".into();
            shown["source"] = json!(source);
            shown["bind"]["create_host_path"] = (*create_source).into();
            if *propagation != Propagation::RPrivate {
                shown["bind"]["propagation"] = propagation.word().into();
            }
            let recursive = match recursion {
                BindRecursion::Enabled => None,
                BindRecursion::Disabled => Some("disabled"),
                BindRecursion::Writable => Some("writable"),
                BindRecursion::ReadOnly => Some("readonly"),
            };
            if let Some(word) = recursive {
                shown["bind"]["recursive"] = word.into();
            }
        }
        MountKind::Volume(VolumeRequest { name, nocopy, subpath, .. }) => {
            shown["type"] = "volume".into();
            name.iter().for_each(|name| shown["source"] = name.as_str().into());
            if *nocopy {
                shown["volume"]["nocopy"] = true.into();
            }
            subpath.iter().for_each(|path| shown["volume"]["subpath"] = path.as_str().into());
        }
        MountKind::Image { reference, subpath, .. } => {
            shown["type"] = "image".into();
            shown["source"] = reference.as_str().into();
            subpath.iter().for_each(|path| shown["image"]["subpath"] = path.as_str().into());
        }
        MountKind::Tmpfs { size_bytes, mode, .. } => {
            size_bytes.iter().for_each(|bytes| shown["tmpfs"]["size"] = (*bytes).into());
            mode.iter().for_each(|mode| shown["tmpfs"]["mode"] = (*mode).into());
        }
    }
    shown
}

/// What compose has of a health check; docker has the line for a shell only.
fn health(request: &RunRequest) -> Option<Json> {
    let health = &request.health;
    let mut check = Map::new();
    match &health.test {
        Some(HealthTest::None) => drop(check.insert("disable".to_owned(), true.into())),
        Some(test @ HealthTest::Shell(_)) => drop(check.insert("test".to_owned(), json!(test.words()))),
        _ => {}
    }
    for (key, nanos) in [
        ("interval", health.interval_ns),
        ("timeout", health.timeout_ns),
        ("start_period", health.start_period_ns),
        ("start_interval", health.start_interval_ns),
    ] {
        nanos.iter().for_each(|nanos| drop(check.insert(key.to_owned(), run_line::duration(*nanos).into())));
    }
    health.retries.iter().for_each(|retries| drop(check.insert("retries".to_owned(), (*retries).into())));
    (!check.is_empty()).then(|| check.into())
}

fn limits(request: &RunRequest, service: &mut Map<String, Json>) {
    let resources = &request.resources;
    let mut block_io = Map::new();
    if let Some(weight) = resources.blkio_weight {
        block_io.insert("weight".to_owned(), weight.into());
    }
    let weights = resources
        .blkio_weight_device
        .iter()
        .map(|device| json!({ "path": device.path, "weight": device.weight }));
    let weights: Vec<Json> = weights.collect();
    if !weights.is_empty() {
        block_io.insert("weight_device".to_owned(), weights.into());
    }
    for (key, rates) in [
        ("device_read_bps", &resources.device_read_bps),
        ("device_write_bps", &resources.device_write_bps),
        ("device_read_iops", &resources.device_read_iops),
        ("device_write_iops", &resources.device_write_iops),
    ] {
        let rates: Vec<Json> =
            rates.iter().map(|device| json!({ "path": device.path, "rate": device.rate })).collect();
        if !rates.is_empty() {
            block_io.insert(key.to_owned(), rates.into());
        }
    }
    if !block_io.is_empty() {
        service.insert("blkio_config".to_owned(), block_io.into());
    }
    let limit = |limit: Option<u64>| limit.map_or(Json::from(-1), Json::from);
    let ulimits: Map<String, Json> = resources
        .ulimits
        .iter()
        .map(|ulimit| {
            (ulimit.name.clone(), json!({ "soft": limit(ulimit.soft), "hard": limit(ulimit.hard) }))
        })
        .collect();
    if !ulimits.is_empty() {
        service.insert("ulimits".to_owned(), ulimits.into());
    }
}

/// A value as lines of YAML, each behind `indent` spaces.
fn block(value: &Json, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                *text += &format!("{margin}{}:", scalar(&key.as_str().into()));
                nested(value, indent + 2, text);
            }
        }
        Json::Array(list) => {
            for value in list {
                match value {
                    // Its first key stands behind the dash.
                    Json::Object(_) => {
                        let mut lines = String::new();
                        block(value, indent + 2, &mut lines);
                        *text += &format!("{margin}- {}", lines.trim_start());
                    }
                    _ => {
                        *text += &format!("{margin}-");
                        nested(value, indent + 2, text);
                    }
                }
            }
        }
        _ => *text += &format!("{margin}{}\n", scalar(value)),
    }
}

fn nested(value: &Json, indent: usize, text: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            *text += "\n";
            block(value, indent, text);
        }
        Json::Array(list) if !list.is_empty() => {
            *text += "\n";
            block(value, indent, text);
        }
        _ => *text += &format!(" {}\n", scalar(value)),
    }
}

/// A scalar. Text that a reader could take for something else is quoted, as JSON does it, which YAML reads; compose's
/// own dollar signs are doubled.
fn scalar(value: &Json) -> String {
    let Json::String(text) = value else { return value.to_string() };
    let text = text.replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    let is_special = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    match is_word && !is_special {
        true => text,
        false => Json::String(text).to_string(),
    }
}

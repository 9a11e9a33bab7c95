//! Docker's `HostConfig`: what was asked of the host.

use crate::log::Driver;
use crate::request::{
    AppArmor, DeviceRate, HostAddress, IpcMode, MountKind, MountRequest, NamespaceMode, RestartPolicy,
    RunRequest, Seccomp, Security, VolumeRequest, VolumesFrom,
};
use crate::{Config, Home};
use serde_json::{Map, Value as Json, json};

/// Docker's size of `/dev/shm`.
const SHM_BYTES: u64 = 64 << 20;

pub fn document(home: &Home, config: &Config) -> Json {
    let request = &config.request;
    let (security, resources) = (&request.security, &request.resources);
    let linux = config.spec.linux.clone().unwrap_or_default();
    let memory = resources.memory_bytes.unwrap_or(0);
    let twice = if memory > 0 { i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX) } else { 0 };
    let sysctls: Map<String, Json> =
        request.sysctls.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let tmpfs: Map<String, Json> = request.mounts.iter().filter_map(tmpfs).collect();
    let mut document = json!({
        "Binds": some(request.mounts.iter().filter_map(bind).collect::<Vec<_>>()),
        "Mounts": some(request.mounts.iter().filter_map(mount).collect::<Vec<_>>()),
        "ContainerIDFile": request.cidfile.clone().unwrap_or_default(),
        "LogConfig": {
            "Type": request.log.driver.as_deref().unwrap_or(Driver::Local.name()),
            "Config": request.log.options,
        },
        "NetworkMode": crate::ps::network_name(&request.network),
        "PortBindings": port_bindings(request),
        "RestartPolicy": { "Name": request.restart.word(), "MaximumRetryCount": retries(request.restart) },
        "AutoRemove": request.rm,
        "VolumeDriver": "",
        "VolumesFrom": some(request.volumes_from.iter().map(volumes_from).collect::<Vec<_>>()),
        "CapAdd": some(capabilities(&security.cap_add)),
        "CapDrop": some(capabilities(&security.cap_drop)),
        "CgroupnsMode": match namespace(&request.cgroupns).as_str() { "" => "private", mode => mode },
        "Dns": request.net.dns,
        "DnsOptions": request.net.dns_options,
        "DnsSearch": request.net.dns_search,
        "ExtraHosts": list_or_null(extra_hosts(request)),
        "GroupAdd": some(request.group_add.clone()),
        "IpcMode": ipc(&request.ipc),
        "Cgroup": "",
        "ConsoleSize": [0, 0],
        "Links": list_or_null(crate::network::link_documents(config).0),
        "OomScoreAdj": resources.oom_score_adj.unwrap_or(0),
        "PidMode": namespace(&request.pid),
        "Privileged": security.privileged,
        "PublishAllPorts": request.net.publish_all,
        "ReadonlyRootfs": request.read_only,
        "SecurityOpt": some(security_options(security)),
        "Tmpfs": tmpfs,
        "UTSMode": namespace(&request.uts),
        "UsernsMode": namespace(&request.userns),
        "ShmSize": resources.shm_size_bytes.unwrap_or(SHM_BYTES),
        "Sysctls": sysctls,
        "Runtime": request.runtime.as_deref().unwrap_or("berth-runtime"),
        "Isolation": "",
        "Init": request.init,
    });
    let limits = json!({
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "Memory": memory,
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CgroupParent": resources.cgroup_parent.as_ref().unwrap_or(&home.cgroup_parent),
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": resources.blkio_weight_device.iter().map(|device| json!({
            "Path": device.path,
            "Weight": device.weight,
        })).collect::<Vec<_>>(),
        "BlkioDeviceReadBps": rates(&resources.device_read_bps),
        "BlkioDeviceWriteBps": rates(&resources.device_write_bps),
        "BlkioDeviceReadIOps": rates(&resources.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&resources.device_write_iops),
        "CpuPeriod": resources.cpu_period_us.unwrap_or(0),
        "CpuQuota": resources.cpu_quota_us.unwrap_or(0),
        "CpuRealtimePeriod": resources.cpu_rt_period_us.unwrap_or(0),
        "CpuRealtimeRuntime": resources.cpu_rt_runtime_us.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": resources.cpuset_mems.as_deref().unwrap_or_default(),
        "Devices": resources_devices(config),
        "DeviceCgroupRules": some(resources.device_cgroup_rules.clone()),
        "DeviceRequests": null,
        "MemoryReservation": resources.memory_reservation_bytes.unwrap_or(0),
        "MemorySwap": resources.memory_swap_bytes.unwrap_or(twice),
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids_limit,
        "Ulimits": resources.ulimits.iter().map(|limit| json!({
            "Name": limit.name,
            "Soft": limit.soft.map_or(Json::from(-1), Json::from),
            "Hard": limit.hard.map_or(Json::from(-1), Json::from),
        })).collect::<Vec<_>>(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": linux.masked_paths,
        "ReadonlyPaths": linux.readonly_paths,
    });
    if !request.annotations.is_empty() {
        document["Annotations"] = request
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), Json::from(value.as_str())))
            .collect();
    }
    if let (Json::Object(document), Json::Object(limits)) = (&mut document, limits) {
        document.extend(limits);
    }
    document
}

/// Docker writes empty lists of these as null.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn capabilities(names: &[String]) -> Vec<String> {
    names.iter().map(|name| if name == "ALL" { name.clone() } else { format!("CAP_{name}") }).collect()
}

fn namespace(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Unset => String::new(),
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(name) => format!("container:{name}"),
        NamespaceMode::Path(path) => format!("ns:{}", path.display()),
    }
}

fn ipc(mode: &IpcMode) -> String {
    match mode {
        IpcMode::Unset | IpcMode::Private => "private".to_owned(),
        IpcMode::None => "none".to_owned(),
        IpcMode::Shareable => "shareable".to_owned(),
        IpcMode::Host => "host".to_owned(),
        IpcMode::Container(name) => format!("container:{name}"),
        IpcMode::Path(path) => format!("ns:{}", path.display()),
    }
}

fn volumes_from(from: &VolumesFrom) -> String {
    format!("{}{}", from.container, if from.read_only { ":ro" } else { "" })
}

/// A bind or a named volume of `-v`, in its words.
fn bind(mount: &MountRequest) -> Option<String> {
    let source = match &mount.kind {
        MountKind::Volume(VolumeRequest { name: Some(name), words: Some(_), .. }) => name.clone(),
        MountKind::Bind { source, create_source: true, .. } => source.display().to_string(),
        _ => return None,
    };
    Some(format!("{source}:{}{}", mount.target.display(), mount.short_ending()))
}

/// What was asked for by `--mount`, apart from tmpfs.
fn mount(mount: &MountRequest) -> Option<Json> {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source, create_source: false, .. } => ("bind", json!(source)),
        MountKind::Volume(volume) if volume.words.is_none() => ("volume", json!(volume.name)),
        MountKind::Image { reference, .. } => ("image", json!(reference)),
        _ => return None,
    };
    let mut shown = json!({ "Type": kind, "Source": source, "Target": mount.target });
    if source.is_null() {
        shown["Source"] = "".into();
    }
    if mount.read_only && kind != "image" {
        shown["ReadOnly"] = true.into();
    }
    match &mount.kind {
        MountKind::Bind { propagation, .. } => {
            shown["BindOptions"] = json!({ "Propagation": propagation.word() })
        }
        MountKind::Volume(volume) => shown["VolumeOptions"] = volume_options(volume),
        MountKind::Image { subpath: Some(subpath), .. } => {
            shown["ImageOptions"] = json!({ "Subpath": subpath })
        }
        _ => {}
    }
    Some(shown)
}

fn volume_options(volume: &VolumeRequest) -> Json {
    let mut shown = json!({ "DriverConfig": {} });
    if volume.nocopy {
        shown["NoCopy"] = true.into();
    }
    if !volume.labels.is_empty() {
        shown["Labels"] = json!(volume.labels);
    }
    if let Some(subpath) = &volume.subpath {
        shown["Subpath"] = subpath.as_str().into();
    }
    if !volume.options.is_empty() {
        shown["DriverConfig"] = json!({ "Name": crate::volumes::DRIVER, "Options": volume.options });
    }
    shown
}

fn tmpfs(mount: &MountRequest) -> Option<(String, Json)> {
    let MountKind::Tmpfs { .. } = &mount.kind else { return None };
    Some((mount.target.to_string_lossy().into_owned(), mount.short_words().into()))
}

fn security_options(security: &Security) -> Vec<String> {
    let mut options = Vec::new();
    match &security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile { path, .. } => options.push(format!("seccomp={path}")),
    }
    match &security.apparmor {
        AppArmor::Default => {}
        AppArmor::Unconfined => options.push("apparmor=unconfined".to_owned()),
        AppArmor::Profile(name) => options.push(format!("apparmor={name}")),
    }
    options.extend(security.no_new_privileges.then(|| "no-new-privileges".to_owned()));
    options.extend(security.label.iter().map(|label| format!("label={label}")));
    options
}

fn resources_devices(config: &Config) -> Vec<Json> {
    let devices = config.request.devices.iter().map(|device| {
        json!({
            "PathOnHost": device.host,
            "PathInContainer": device.container,
            "CgroupPermissions": device.permissions,
        })
    });
    devices.collect()
}

fn rates(devices: &[DeviceRate]) -> Vec<Json> {
    devices.iter().map(|device| json!({ "Path": device.path, "Rate": device.rate })).collect()
}

fn retries(policy: RestartPolicy) -> u32 {
    match policy {
        RestartPolicy::OnFailure(max) => max.unwrap_or(0),
        _ => 0,
    }
}

/// Published ports as they were asked for.
fn port_bindings(request: &RunRequest) -> Json {
    let mut bindings = serde_json::Map::new();
    for port in &request.net.publish {
        let host_port = match port.host_ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let host = port.host.map_or(String::new(), |address| address.to_string());
        let binding = json!({ "HostIp": host, "HostPort": host_port });
        let entry = bindings.entry(format!("{}/{}", port.port, port.protocol.word())).or_insert(json!([]));
        if let Json::Array(list) = entry {
            list.push(binding);
        }
    }
    Json::Object(bindings)
}

fn extra_hosts(request: &RunRequest) -> Vec<String> {
    let line = |(name, address): &(String, HostAddress)| match address {
        HostAddress::Ip(address) => format!("{name}:{address}"),
        HostAddress::Gateway => format!("{name}:host-gateway"),
    };
    request.net.hosts.iter().map(line).collect()
}

fn list_or_null(list: Vec<String>) -> Json {
    if list.is_empty() { Json::Null } else { json!(list) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{BindRecursion, Propagation};

    #[test]
    fn binds_read_as_they_were_typed() {
        let mut request = MountRequest {
            kind: MountKind::Bind {
                source: "/src".into(),
                recursion: BindRecursion::Enabled,
                propagation: Propagation::RPrivate,
                create_source: true,
                noidmap: false,
                relabel_shared: None,
            },
            target: "/dst".into(),
            read_only: false,
        };
        assert_eq!(bind(&request).as_deref(), Some("/src:/dst"));
        request.read_only = true;
        if let MountKind::Bind { noidmap, propagation, .. } = &mut request.kind {
            (*noidmap, *propagation) = (true, Propagation::RSlave);
        }
        assert_eq!(bind(&request).as_deref(), Some("/src:/dst:ro,rslave,noidmap"));
        assert_eq!(mount(&request), None);
    }
}

//! The command line of `berth run` back from a request: the inverse of `commands::run`'s reading.
//!
//! What was read from files and from the caller's environment stands in the line itself. Everything is taken apart field
//! by field, so that a new one can't be forgotten.

use std::path::Path;

use crate::parse::{network, publish};
use engine::inert;
use engine::request::{
    AppArmor, BindRecursion, DeviceRequest, EnvChange, HealthRequest, HealthTest, IpcMode, Isolation,
    MountKind, MountRequest, NamespaceMode, NetRequest, NetworkMode, OnUnhealthy, Propagation, Resources,
    RestartPolicy, RunRequest, Seccomp, Security, Source, StdStream, TimeOffset, UlimitRequest,
    VolumeRequest, VolumesFrom,
};

/// Words of a command line.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl Words {
    fn switch(&mut self, name: &str, on: bool) {
        if on {
            self.0.push(format!("--{name}"));
        }
    }

    fn one(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push(format!("--{name}={}", value.to_string()));
        }
    }

    fn many(&mut self, name: &str, values: impl IntoIterator<Item = impl ToString>) {
        values.into_iter().for_each(|value| self.one(name, Some(value)));
    }
}

/// The flags that stand between `berth run` and the image.
pub fn flags(request: &RunRequest) -> Vec<String> {
    let RunRequest {
        source: _,
        command: _,
        entrypoint,
        env,
        workdir,
        user,
        group_add,
        hostname,
        domainname,
        init,
        read_only,
        // Only `debug` makes links, and no flag does.
        root_links: _,
        mounts,
        volumes_from,
        security,
        resources,
        devices,
        sysctls,
        userns,
        pid,
        ipc,
        uts,
        cgroupns,
        network,
        net,
        time_offsets,
        isolation,
        stop_signal,
        stop_timeout_secs,
        labels,
        annotations,
        expose,
        runtime,
        cidfile,
        name,
        interactive,
        tty,
        rm,
        restart,
        log,
        health,
        detach,
        attach,
        detach_keys,
        sig_proxy,
        explain,
    } = request;
    let mut words = Words::default();
    words.one("name", name.as_ref());
    words.switch("detach", *detach);
    words.switch("interactive", *interactive);
    words.switch("tty", *tty);
    words.switch("rm", *rm);
    words.switch("init", *init);
    words.switch("read-only", *read_only);
    words.switch("explain", *explain);
    words.one("sig-proxy", (!sig_proxy).then_some(false));
    words.many("attach", attach.iter().map(|stream| stream_word(*stream)));
    if *detach_keys != [0x10, 0x11] {
        let keys: Vec<String> = detach_keys.iter().map(|byte| key(*byte)).collect();
        words.one("detach-keys", Some(keys.join(",")));
    }
    words.one("restart", restart_word(*restart));
    health_flags(health, &mut words);
    words.one("log-driver", log.driver.as_ref());
    words.many("log-opt", log.options.iter().map(|(name, value)| format!("{name}={value}")));
    words.one("hostname", hostname.as_ref());
    words.one("domainname", domainname.as_ref());
    words.one("cidfile", cidfile.as_ref().map(|path| path.display()));
    words.one("entrypoint", entrypoint.as_ref().map(|program| program.join(" ")));
    words.one("workdir", workdir.as_ref());
    words.one("user", user.as_ref());
    words.many("group-add", group_add);
    words.many("env", env.iter().map(variable));
    words.many("label", labels.iter().map(pair));
    words.many("annotation", annotations.iter().map(pair));
    words.many("expose", expose);
    words.one("runtime", runtime.as_ref());
    words.one("stop-signal", stop_signal.map(signal_word));
    words.one("stop-timeout", *stop_timeout_secs);
    for mount in mounts {
        let (name, value) = mount_word(mount);
        words.one(name, Some(value));
    }
    words.many("volumes-from", volumes_from.iter().map(volumes_from_word));
    words.many("device", devices.iter().map(device));
    match network {
        NetworkMode::Networks(endpoints) => words.many("network", endpoints.iter().map(network::word)),
        mode => words.one("network", network_word(mode)),
    }
    net_flags(net, &mut words);
    for (name, mode) in [("pid", pid), ("userns", userns), ("uts", uts), ("cgroupns", cgroupns)] {
        words.one(name, namespace(mode));
    }
    words.one("ipc", ipc_word(ipc));
    words.one("time-offset", time_offsets.monotonic.map(|offset| format!("monotonic={}", seconds(offset))));
    words.one("time-offset", time_offsets.boottime.map(|offset| format!("boottime={}", seconds(offset))));
    words.many("sysctl", sysctls.iter().map(pair));
    words.one("isolation", (*isolation == Isolation::Strict).then_some("strict"));
    resource_flags(resources, &mut words);
    security_flags(security, &mut words);
    words.0
}

/// What follows the flags: the image, or the directory, and the command.
pub fn rest(request: &RunRequest) -> Vec<String> {
    let mut words = Vec::new();
    match &request.source {
        Source::Host => words.push("@host".to_owned()),
        Source::Image(image) => words.push(image.clone()),
        Source::Rootfs(dir) => {
            words.push(format!("--rootfs={}", dir.display()));
            if request.command.first().is_some_and(|word| word.starts_with('-')) {
                words.push("--".to_owned());
            }
        }
    }
    words.extend(request.command.iter().cloned());
    words
}

/// `berth run …` for a shell.
pub fn line(request: &RunRequest) -> String {
    let words = flags(request).into_iter().chain(rest(request));
    ["berth".to_owned(), "run".to_owned()]
        .into_iter()
        .chain(words)
        .map(|word| quoted(&word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as a shell reads it back, with what a terminal would act on spelled out.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if inert(word) == word {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // As bash, zsh and POSIX 2024 have it.
    let spelled = word.chars().map(|c| match c {
        '\n' => r"\n".to_owned(),
        '\\' => r"\\".to_owned(),
        '\'' => r"\'".to_owned(),
        c if inert(c.encode_utf8(&mut [0; 4])) != *c.encode_utf8(&mut [0; 4]) => {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!(r"\x{byte:02x}")).collect()
        }
        c => c.to_string(),
    });
    format!("$'{}'", spelled.collect::<String>())
}

fn net_flags(net: &NetRequest, words: &mut Words) {
    let NetRequest { publish, publish_all, publish_from, dns, dns_search, dns_options, hosts, links } = net;
    words.many("publish", publish.iter().map(publish::word));
    words.switch("publish-all", *publish_all);
    words.one("publish-from", publish_from.as_ref());
    words.many("dns", dns);
    words.many("dns-search", dns_search);
    words.many("dns-option", dns_options);
    words.many("add-host", hosts.iter().map(network::host_word));
    words.many("link", links.iter().map(|(container, alias)| format!("{container}:{alias}")));
}

fn resource_flags(resources: &Resources, words: &mut Words) {
    let Resources {
        memory_bytes,
        memory_swap_bytes,
        memory_reservation_bytes,
        memory_swappiness,
        oom_kill_disable,
        nano_cpus,
        cpu_period_us,
        cpu_quota_us,
        cpu_rt_period_us,
        cpu_rt_runtime_us,
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        pids_limit,
        blkio_weight,
        blkio_weight_device,
        device_read_bps,
        device_write_bps,
        device_read_iops,
        device_write_iops,
        device_cgroup_rules,
        cgroup_parent,
        oom_score_adj,
        shm_size_bytes,
        ulimits,
    } = resources;
    words.one("memory", *memory_bytes);
    words.one("memory-swap", *memory_swap_bytes);
    words.one("memory-reservation", *memory_reservation_bytes);
    words.one("memory-swappiness", *memory_swappiness);
    words.switch("oom-kill-disable", *oom_kill_disable);
    words.one("cpus", nano_cpus.map(cpus));
    words.one("cpu-period", *cpu_period_us);
    words.one("cpu-quota", *cpu_quota_us);
    words.one("cpu-rt-period", *cpu_rt_period_us);
    words.one("cpu-rt-runtime", *cpu_rt_runtime_us);
    words.one("cpu-shares", *cpu_shares);
    words.one("cpuset-cpus", cpuset_cpus.as_ref());
    words.one("cpuset-mems", cpuset_mems.as_ref());
    words.one("pids-limit", *pids_limit);
    words.one("blkio-weight", *blkio_weight);
    let weights =
        blkio_weight_device.iter().map(|device| format!("{}:{}", device.path.display(), device.weight));
    words.many("blkio-weight-device", weights);
    for (name, rates) in [
        ("device-read-bps", device_read_bps),
        ("device-write-bps", device_write_bps),
        ("device-read-iops", device_read_iops),
        ("device-write-iops", device_write_iops),
    ] {
        words.many(name, rates.iter().map(|device| format!("{}:{}", device.path.display(), device.rate)));
    }
    words.many("device-cgroup-rule", device_cgroup_rules);
    words.one("cgroup-parent", cgroup_parent.as_ref());
    words.one("oom-score-adj", *oom_score_adj);
    words.one("shm-size", *shm_size_bytes);
    words.many("ulimit", ulimits.iter().map(ulimit));
}

fn health_flags(health: &HealthRequest, words: &mut Words) {
    let HealthRequest {
        test,
        interval_ns,
        timeout_ns,
        start_period_ns,
        start_interval_ns,
        retries,
        on_failure,
    } = health;
    match test {
        None => {}
        Some(HealthTest::None) => words.switch("no-healthcheck", true),
        Some(HealthTest::Shell(line)) => words.one("health-cmd", Some(line)),
        Some(HealthTest::Http(endpoint, path)) => {
            words.one("health-http", Some(format!("http://{endpoint}{path}")));
        }
        Some(HealthTest::Tcp(endpoint)) => words.one("health-tcp", Some(endpoint)),
    }
    words.one("health-interval", interval_ns.map(duration));
    words.one("health-timeout", timeout_ns.map(duration));
    words.one("health-start-period", start_period_ns.map(duration));
    words.one("health-start-interval", start_interval_ns.map(duration));
    words.one("health-retries", *retries);
    let follows = match on_failure {
        OnUnhealthy::Nothing => None,
        OnUnhealthy::Kill => Some("kill"),
        OnUnhealthy::Restart => Some("restart"),
        OnUnhealthy::Stop => Some("stop"),
    };
    words.one("health-on-failure", follows);
}

/// A time as Go writes it.
pub fn duration(nanos: i64) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)];
    let unit = units.into_iter().find(|(_, length)| nanos % length == 0);
    unit.map_or_else(|| format!("{nanos}ns"), |(unit, length)| format!("{}{unit}", nanos / length))
}

fn security_flags(security: &Security, words: &mut Words) {
    let Security {
        privileged,
        cap_add,
        cap_drop,
        seccomp,
        no_new_privileges,
        apparmor,
        label,
        mask,
        unmask,
        systempaths_unconfined,
    } = security;
    words.switch("privileged", *privileged);
    words.many("cap-add", cap_add);
    words.many("cap-drop", cap_drop);
    let mut option = |value: String| words.one("security-opt", Some(value));
    match seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => option("seccomp=unconfined".to_owned()),
        Seccomp::Profile { path, .. } => option(format!("seccomp={path}")),
    }
    match apparmor {
        AppArmor::Default => {}
        AppArmor::Unconfined => option("apparmor=unconfined".to_owned()),
        AppArmor::Profile(name) => option(format!("apparmor={name}")),
    }
    if *no_new_privileges {
        option("no-new-privileges".to_owned());
    }
    label.iter().for_each(|label| option(format!("label={label}")));
    mask.iter().for_each(|path| option(format!("mask={path}")));
    unmask.iter().for_each(|path| option(format!("unmask={path}")));
    if *systempaths_unconfined {
        option("systempaths=unconfined".to_owned());
    }
}

fn pair((key, value): &(String, String)) -> String {
    format!("{key}={value}")
}

fn variable(change: &EnvChange) -> String {
    match change {
        EnvChange::Set(name, value) => format!("{name}={value}"),
        EnvChange::Unset(name) => name.clone(),
    }
}

fn stream_word(stream: StdStream) -> &'static str {
    match stream {
        StdStream::Stdin => "stdin",
        StdStream::Stdout => "stdout",
        StdStream::Stderr => "stderr",
    }
}

/// A key of `--detach-keys`.
fn key(byte: u8) -> String {
    match byte {
        0 => "ctrl-@".to_owned(),
        1..=26 => format!("ctrl-{}", char::from(b'a' + byte - 1)),
        27..=31 => format!("ctrl-{}", char::from(b'@' + byte)),
        127 => "DEL".to_owned(),
        byte => char::from(byte).to_string(),
    }
}

/// A policy's words; `None` for the default.
pub fn restart_word(policy: RestartPolicy) -> Option<String> {
    match policy {
        RestartPolicy::No => None,
        RestartPolicy::OnFailure(Some(times)) => Some(format!("on-failure:{times}")),
        other => Some(other.word().to_owned()),
    }
}

fn signal_word(number: i32) -> String {
    let name = types::signal::name(number).to_string();
    if types::signal::parse(&name) == Some(number) { name } else { number.to_string() }
}

fn seconds(TimeOffset { secs, nanosecs }: TimeOffset) -> String {
    match (secs, nanosecs) {
        (secs, 0) => secs.to_string(),
        (secs, nanos) if secs < 0 => {
            format!("-{}.{:09}", (secs + 1).unsigned_abs(), 1_000_000_000 - nanos)
        }
        (secs, nanos) => format!("{secs}.{nanos:09}"),
    }
}

/// A number of processors.
pub fn cpus(nano: u64) -> String {
    let (whole, fraction) = (nano / 1_000_000_000, nano % 1_000_000_000);
    match fraction {
        0 => whole.to_string(),
        _ => format!("{whole}.{}", format!("{fraction:09}").trim_end_matches('0')),
    }
}

fn ulimit(UlimitRequest { name, soft, hard }: &UlimitRequest) -> String {
    let limit = |limit: &Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
    format!("{name}={}:{}", limit(soft), limit(hard))
}

/// A device in docker's words.
pub fn device(DeviceRequest { host, container, permissions }: &DeviceRequest) -> String {
    format!("{}:{}:{permissions}", host.display(), container.display())
}

/// A container's volumes in docker's words.
pub fn volumes_from_word(VolumesFrom { container, read_only }: &VolumesFrom) -> String {
    format!("{container}{}", if *read_only { ":ro" } else { "" })
}

/// A namespace's word; `None` for the default.
pub fn namespace(mode: &NamespaceMode) -> Option<String> {
    match mode {
        NamespaceMode::Unset => None,
        NamespaceMode::Private => Some("private".to_owned()),
        NamespaceMode::Host => Some("host".to_owned()),
        NamespaceMode::Container(name) => Some(format!("container:{name}")),
        NamespaceMode::Path(path) => Some(format!("ns:{}", path.display())),
    }
}

/// The ipc namespace's word; `None` for the default.
pub fn ipc_word(mode: &IpcMode) -> Option<String> {
    match mode {
        IpcMode::Unset => None,
        IpcMode::None => Some("none".to_owned()),
        IpcMode::Private => Some("private".to_owned()),
        IpcMode::Shareable => Some("shareable".to_owned()),
        IpcMode::Host => Some("host".to_owned()),
        IpcMode::Container(name) => Some(format!("container:{name}")),
        IpcMode::Path(path) => Some(format!("ns:{}", path.display())),
    }
}

/// The network's word; `None` for the default.
pub fn network_word(mode: &NetworkMode) -> Option<String> {
    match mode {
        NetworkMode::Unset => None,
        NetworkMode::Networks(networks) => networks.first().map(|first| first.network.clone()),
        NetworkMode::None => Some("none".to_owned()),
        NetworkMode::Host => Some("host".to_owned()),
        NetworkMode::Container(name) => Some(format!("container:{name}")),
        NetworkMode::Path(path) => Some(format!("ns:{}", path.display())),
    }
}

/// A mount as a flag and its value: in the short form where that says it all.
pub fn mount_word(mount: &MountRequest) -> (&'static str, String) {
    let target = mount.target.display();
    let has = |path: &Path, character| path.to_string_lossy().contains(character);
    match &mount.kind {
        MountKind::Bind { source, recursion: BindRecursion::Enabled, create_source: true, .. }
            if !has(source, ':') && !has(&mount.target, ':') =>
        {
            ("volume", format!("{}:{target}{}", source.display(), mount.short_ending()))
        }
        MountKind::Volume(VolumeRequest { name, words: Some(_), .. }) => {
            let name = name.as_ref().map(|name| format!("{name}:")).unwrap_or_default();
            ("volume", format!("{name}{target}{}", mount.short_ending()))
        }
        MountKind::Tmpfs { options, .. } if !options.is_empty() || !has(&mount.target, ':') => {
            ("tmpfs", format!("{target}{}", mount.short_ending()))
        }
        _ => ("mount", mount_fields(mount)),
    }
}

/// The value of `--mount`.
fn mount_fields(mount: &MountRequest) -> String {
    let mut fields: Vec<String> = Vec::new();
    let mut field = |text: String| fields.push(text);
    let mut read_only = mount.read_only;
    match &mount.kind {
        MountKind::Bind { source, recursion, propagation, create_source, noidmap, relabel_shared: _ } => {
            field("type=bind".to_owned());
            field(format!("source={}", source.display()));
            match recursion {
                BindRecursion::Enabled => {}
                BindRecursion::Disabled => field("bind-recursive=disabled".to_owned()),
                BindRecursion::Writable => field("bind-recursive=writable".to_owned()),
                BindRecursion::ReadOnly => field("bind-recursive=readonly".to_owned()),
            }
            if *propagation != Propagation::RPrivate {
                field(format!("bind-propagation={}", propagation.word()));
            }
            if *create_source {
                field("bind-create-src".to_owned());
            }
            if *noidmap {
                field("bind-noidmap".to_owned());
            }
        }
        MountKind::Volume(VolumeRequest {
            name,
            anonymous: _,
            nocopy,
            subpath,
            labels,
            options,
            words: _,
        }) => {
            field("type=volume".to_owned());
            name.iter().for_each(|name| field(format!("source={name}")));
            if *nocopy {
                field("volume-nocopy".to_owned());
            }
            subpath.iter().for_each(|path| field(format!("volume-subpath={path}")));
            labels.iter().for_each(|(key, value)| field(format!("volume-label={key}={value}")));
            options.iter().for_each(|(key, value)| field(format!("volume-opt={key}={value}")));
        }
        MountKind::Image { reference, subpath, layers: _ } => {
            read_only = false;
            field("type=image".to_owned());
            field(format!("source={reference}"));
            subpath.iter().for_each(|path| field(format!("image-subpath={path}")));
        }
        MountKind::Tmpfs { size_bytes, mode, options: _ } => {
            field("type=tmpfs".to_owned());
            size_bytes.iter().for_each(|bytes| field(format!("tmpfs-size={bytes}")));
            mode.iter().for_each(|mode| field(format!("tmpfs-mode={mode:o}")));
        }
    }
    field(format!("target={}", mount.target.display()));
    if read_only {
        field("readonly".to_owned());
    }
    fields.iter().map(|field| csv(field)).collect::<Vec<_>>().join(",")
}

/// A field of a line of CSV. Source: RFC 4180.
fn csv(field: &str) -> String {
    match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests;

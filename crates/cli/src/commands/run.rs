//! `berth run`.

use std::io::IsTerminal;
use std::path::PathBuf;

use engine::request::{EnvChange, Isolation, MountRequest, Resources, RunRequest, Security, Source};

use crate::backend::{self, PullPolicy};
use crate::failure::{BadValue, Failure};
use crate::flags::Parsed;
use crate::parse::{
    block_device, clock, detach_keys, device, device_rule, env, expose, health, log, mount, mount_option,
    name, namespace, network, number, restart, security, sysctl, tmpfs, ulimit,
};

mod clash;
mod spec;

pub use spec::{CLONE, CREATE, LIMITS, SPEC};

/// Runs a container.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = request(parsed)?;
    check_terminal(request.tty && request.interactive && !request.detach)?;
    backend::run(&request, &pull_plan(parsed)?)
}

/// Makes a container.
pub fn create(parsed: &Parsed) -> Result<u8, Failure> {
    // As docker, for whom only wrong flags are worth another status.
    backend::create(&request(parsed)?, &pull_plan(parsed)?).map_err(|failure| failure.code(1))
}

/// How the image comes here.
pub fn pull_plan(parsed: &Parsed) -> Result<backend::PullPlan, Failure> {
    Ok(backend::PullPlan {
        policy: parsed.parsed("pull", pull_policy)?.unwrap_or_default(),
        platform: parsed.one("platform").filter(|text| !text.is_empty()).map(str::to_owned),
        quiet: parsed.switch("quiet"),
    })
}

fn pull_policy(text: &str) -> Result<PullPolicy, BadValue> {
    match text {
        "" | "missing" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        _ => Err("not one of always, missing, never".into()),
    }
}

/// Refuses a terminal that the caller doesn't have, in docker's words.
pub fn check_terminal(needed: bool) -> Result<(), Failure> {
    match needed && !std::io::stdin().is_terminal() {
        true => {
            Err(Failure::new("the input device is not a TTY")
                .hint("leave -t out when stdin is a pipe or file"))
        }
        false => Ok(()),
    }
}

/// The caller's own variable.
pub fn caller_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Variables of `--env-file`, then of `--env`.
pub fn env_changes(parsed: &Parsed) -> Result<Vec<EnvChange>, Failure> {
    let file = |path: &str| env::file_changes(&env::read_file(path)?, &caller_env);
    let mut changes: Vec<EnvChange> = parsed.each("env-file", file)?.into_iter().flatten().collect();
    changes.extend(parsed.each("env", |text| env::variable(text, &caller_env))?);
    Ok(changes)
}

/// The keys of `--detach-keys`, docker's where none are given.
pub fn leaving_keys(parsed: &Parsed) -> Result<Vec<u8>, Failure> {
    match parsed.one("detach-keys") {
        None | Some("") => Ok(vec![0x10, 0x11]),
        Some(_) => Ok(parsed.parsed("detach-keys", detach_keys::parse)?.unwrap_or_default()),
    }
}

/// What the words ask for.
pub fn request(parsed: &Parsed) -> Result<RunRequest, Failure> {
    let (source, command) = source(parsed)?;
    parsed.given("volume-driver", name::volume_driver)?;
    if !parsed.switch_or("disable-content-trust", true) {
        return Err(parsed.bad("disable-content-trust", "false", "signatures are to come"));
    }
    let text = |name| parsed.one(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let request = RunRequest {
        command,
        entrypoint: parsed
            .one("entrypoint")
            .map(|text| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }),
        env: env_changes(parsed)?,
        workdir: parsed.given("workdir", name::absolute)?,
        user: text("user"),
        group_add: parsed.many("group-add").into_iter().map(str::to_owned).collect(),
        hostname: parsed.given("hostname", name::host_name)?,
        domainname: parsed.given("domainname", name::host_name)?,
        init: parsed.switch("init"),
        read_only: parsed.switch("read-only"),
        mounts: mounts(parsed)?,
        volumes_from: parsed.each("volumes-from", mount::volumes_from)?,
        security: security(parsed)?,
        resources: resources(parsed)?,
        devices: parsed.each("device", device::parse)?,
        sysctls: parsed.each("sysctl", sysctl::parse)?,
        userns: parsed.parsed("userns", namespace::joinable)?.unwrap_or_default(),
        pid: parsed.parsed("pid", namespace::joinable)?.unwrap_or_default(),
        ipc: parsed.parsed("ipc", namespace::ipc)?.unwrap_or_default(),
        uts: parsed.parsed("uts", namespace::own)?.unwrap_or_default(),
        cgroupns: parsed.parsed("cgroupns", namespace::own)?.unwrap_or_default(),
        network: network::mode(parsed)?,
        net: network::net(parsed)?,
        time_offsets: clock::offsets(&parsed.many("time-offset"))
            .map_err(|bad| parsed.bad("time-offset", &parsed.many("time-offset").join(" "), bad))?,
        isolation: parsed.parsed("isolation", isolation)?.unwrap_or_default(),
        stop_signal: parsed.given("stop-signal", number::signal)?,
        stop_timeout_secs: parsed.parsed("stop-timeout", number::within(-1, i64::MAX))?,
        labels: labels(parsed)?,
        annotations: annotations(parsed)?,
        expose: exposed(parsed)?,
        runtime: text("runtime"),
        attach: parsed.each("attach", name::stream)?,
        cidfile: text("cidfile").map(PathBuf::from),
        name: parsed.given("name", name::name)?,
        interactive: parsed.switch("interactive"),
        tty: parsed.switch("tty"),
        rm: parsed.switch("rm"),
        restart: parsed.given("restart", restart::parse)?.unwrap_or_default(),
        log: log::request(parsed.one("log-driver"), &parsed.many("log-opt")),
        health: health::request(parsed)?,
        detach: parsed.switch("detach"),
        detach_keys: leaving_keys(parsed)?,
        sig_proxy: parsed.switch_or("sig-proxy", true),
        explain: parsed.switch("explain"),
        ..RunRequest::new(source)
    };
    clash::check(&request).map_err(|why| parsed.wrong(why))?;
    if request.detach && !request.attach.is_empty() {
        // Docker finds that out later, and leaves with 1.
        let failure = Failure::new("conflicting options: cannot specify both --attach and --detach");
        return Err(failure.code(1));
    }
    Ok(request)
}

fn source(parsed: &Parsed) -> Result<(Source, Vec<String>), Failure> {
    let mut args = parsed.args();
    if let Some(dir) = parsed.one("rootfs") {
        if dir.is_empty() {
            return Err(parsed.bad("rootfs", dir, "no directory is named"));
        }
        return Ok((Source::Rootfs(dir.into()), args));
    }
    if args.is_empty() {
        let failure = parsed.wrong("requires at least 1 argument").code(1);
        return Err(failure.hint(format!("usage: {} {}", parsed.command, SPEC.usage)));
    }
    let image = args.remove(0);
    match image.as_str() {
        "@host" => Ok((Source::Host, args)),
        "" => Err(parsed.wrong("no image is named")),
        word if word.starts_with('@') => {
            Err(parsed.wrong(format!("no built-in image {word}")).hint("@host is the only one"))
        }
        _ => Ok((Source::Image(image), args)),
    }
}

fn isolation(text: &str) -> Result<Isolation, BadValue> {
    match text {
        "process" | "default" | "" => Ok(Isolation::Process),
        "strict" => Ok(Isolation::Strict),
        "vm" => Err("micro-VMs aren't supported yet".into()),
        "hyperv" => Err("it is for Windows containers only".into()),
        _ => Err("not one of process, strict".into()),
    }
}

fn mounts(parsed: &Parsed) -> Result<Vec<MountRequest>, Failure> {
    // Only relative sources need it, and it may have been deleted.
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut placed: Vec<(usize, MountRequest)> = Vec::new();
    for (name, values) in ["volume", "mount", "tmpfs"].map(|name| (name, parsed.placed(name))) {
        for (at, value) in values {
            let mount = match name {
                "volume" => mount::volume(value, &cwd),
                "mount" => mount_option::parse(value, &cwd),
                _ => tmpfs::parse(value),
            };
            placed.push((at, mount.map_err(|bad| parsed.bad(name, value, bad))?));
        }
    }
    placed.sort_by_key(|(at, _)| *at);
    let mounts: Vec<MountRequest> = placed.into_iter().map(|(_, mount)| mount).collect();
    mount::check_distinct(&mounts).map_err(|why| parsed.wrong(why))?;
    Ok(mounts)
}

fn security(parsed: &Parsed) -> Result<Security, Failure> {
    let mut security = Security {
        privileged: parsed.switch("privileged"),
        cap_add: parsed.each("cap-add", security::capability)?,
        cap_drop: parsed.each("cap-drop", security::capability)?,
        ..Security::default()
    };
    for text in parsed.many("security-opt") {
        security::apply(text, &mut security).map_err(|bad| parsed.bad("security-opt", text, bad))?;
    }
    Ok(security)
}

/// How much a container may use.
pub fn resources(parsed: &Parsed) -> Result<Resources, Failure> {
    if parsed.given("kernel-memory", number::bytes)?.is_some() {
        backend::warn("--kernel-memory has no effect: no kernel supports it any more");
    }
    let mut ulimits: Vec<engine::request::UlimitRequest> = Vec::new();
    for limit in parsed.each("ulimit", ulimit::parse)? {
        ulimits.retain(|earlier| earlier.name != limit.name);
        ulimits.push(limit);
    }
    // As with docker, 0 is as if it weren't given.
    let microseconds =
        |name| Ok(parsed.parsed(name, number::within(i64::MIN, i64::MAX))?.filter(|number| *number != 0));
    let size = |name| Ok(parsed.parsed(name, number::bytes)?.filter(|size| *size > 0));
    Ok(Resources {
        memory_bytes: parsed.parsed("memory", number::memory)?.flatten(),
        memory_swap_bytes: parsed.parsed("memory-swap", number::memory_swap)?.flatten(),
        memory_reservation_bytes: size("memory-reservation")?,
        memory_swappiness: parsed
            .parsed("memory-swappiness", number::swappiness)?
            .filter(|swappiness| *swappiness >= 0),
        oom_kill_disable: parsed.switch("oom-kill-disable"),
        nano_cpus: parsed.parsed("cpus", number::cpus)?.flatten(),
        cpu_period_us: microseconds("cpu-period")?,
        cpu_quota_us: microseconds("cpu-quota")?,
        cpu_rt_period_us: microseconds("cpu-rt-period")?,
        cpu_rt_runtime_us: microseconds("cpu-rt-runtime")?,
        cpu_shares: parsed
            .parsed("cpu-shares", number::within(0, 262_144))?
            .filter(|shares| *shares > 0)
            .map(|shares| shares.max(2) as u64),
        cpuset_cpus: parsed.given("cpuset-cpus", number::cpuset)?,
        cpuset_mems: parsed.given("cpuset-mems", number::cpuset)?,
        pids_limit: parsed
            .parsed("pids-limit", number::within(-1, i64::MAX))?
            .map(|limit| if limit == 0 { -1 } else { limit }),
        blkio_weight: parsed.parsed("blkio-weight", number::blkio_weight)?.flatten(),
        blkio_weight_device: parsed.each("blkio-weight-device", block_device::weight)?,
        device_read_bps: parsed.each("device-read-bps", block_device::bytes_rate)?,
        device_write_bps: parsed.each("device-write-bps", block_device::bytes_rate)?,
        device_read_iops: parsed.each("device-read-iops", block_device::operations_rate)?,
        device_write_iops: parsed.each("device-write-iops", block_device::operations_rate)?,
        device_cgroup_rules: parsed.each("device-cgroup-rule", device_rule::parse)?,
        cgroup_parent: parsed.given("cgroup-parent", name::cgroup_parent)?,
        oom_score_adj: parsed.parsed("oom-score-adj", number::within(-1000, 1000))?.map(|adj| adj as i32),
        shm_size_bytes: size("shm-size")?,
        ulimits,
    })
}

fn annotations(parsed: &Parsed) -> Result<Vec<(String, String)>, Failure> {
    let mut annotations = Vec::new();
    env::merge_labels(&mut annotations, parsed.each("annotation", env::annotation)?);
    Ok(annotations)
}

fn exposed(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let mut ports: Vec<String> = Vec::new();
    for port in parsed.each("expose", expose::parse)?.into_iter().flatten() {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

fn labels(parsed: &Parsed) -> Result<Vec<(String, String)>, Failure> {
    let mut labels = Vec::new();
    for pairs in parsed.each("label-file", |path| env::pairs(&env::read_file(path)?))? {
        env::merge_labels(
            &mut labels,
            pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())),
        );
    }
    env::merge_labels(&mut labels, parsed.each("label", env::label)?);
    Ok(labels)
}

#[cfg(test)]
mod tests;

//! Docker's rules for what a container may use, in its words: what contradicts itself is refused; what this machine's
//! kernel lacks is dropped with a warning, as the daemon does it.
//!
//! Source: moby daemon/daemon_unix.go, verifyPlatformContainerResources.

use crate::Error;
use crate::request::{NamespaceMode, Resources, RunRequest};
use runtime::cgroup::Hierarchy;

/// Least limit of memory: below it a container can't start.
const MEMORY_BYTES_MIN: u64 = 6 << 20;
/// Least period and quota of processor time, in microseconds, and the longest period.
const CPU_US_MIN: i64 = 1000;
const CPU_PERIOD_US_MAX: i64 = 1_000_000;

/// Names that stand for berth's own runtime: docker's for its default ones.
const RUNTIMES: [&str; 4] = ["berth-runtime", "runc", "io.containerd.runc.v2", "crun"];

/// Settings of control groups that kernels may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    swappiness: bool,
    oom_kill_disable: bool,
    cpu_realtime: bool,
    blkio_weight: bool,
    blkio_weight_device: bool,
    /// Reading and writing in bytes, then in operations.
    throttles: [bool; 4],
}

impl Kernel {
    /// What this machine's has.
    pub(crate) fn look() -> Kernel {
        let hierarchy = Hierarchy::detect().ok();
        let v1 = |controller: &str, files: &[&str]| {
            let mounts = hierarchy.iter().flat_map(Hierarchy::v1_mountpoints);
            let mount = mounts.filter(|(name, _)| *name == controller).map(|(_, mount)| mount).next();
            mount.map(|mount| files.iter().any(|file| mount.join(file).exists()))
        };
        let io = |files: &[&str]| {
            let v2 = || hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.has_controller("io"));
            v1("blkio", files).unwrap_or_else(v2)
        };
        let throttle = |what: &str| io(&[&format!("blkio.throttle.{what}_device")]);
        Kernel {
            swappiness: v1("memory", &["memory.swappiness"]).unwrap_or(false),
            oom_kill_disable: v1("memory", &["memory.oom_control"]).unwrap_or(false),
            cpu_realtime: v1("cpu", &["cpu.rt_runtime_us"]).unwrap_or(false),
            blkio_weight: io(&["blkio.weight", "blkio.bfq.weight"]),
            blkio_weight_device: io(&["blkio.weight_device", "blkio.bfq.weight_device"]),
            throttles: ["read_bps", "write_bps", "read_iops", "write_iops"].map(throttle),
        }
    }
}

/// Whether anything of that is asked for.
fn is_special(resources: &Resources) -> bool {
    let Resources { blkio_weight, blkio_weight_device, memory_swappiness, oom_kill_disable, .. } = resources;
    blkio_weight.is_some()
        || !blkio_weight_device.is_empty()
        || memory_swappiness.is_some()
        || *oom_kill_disable
        || resources.cpu_rt_period_us.is_some()
        || resources.cpu_rt_runtime_us.is_some()
        || ![
            &resources.device_read_bps,
            &resources.device_write_bps,
            &resources.device_read_iops,
            &resources.device_write_iops,
        ]
        .into_iter()
        .all(Vec::is_empty)
}

/// Checks what a new container is to be, and drops of it what can't be here; a warning for each.
///
/// Errors: [`Error::Invalid`] for what contradicts itself.
pub fn request(request: &mut RunRequest) -> Result<Vec<String>, Error> {
    if let Some(name) = request.runtime.as_deref().filter(|name| !RUNTIMES.contains(name)) {
        return Err(Error::invalid("--runtime", format!("unknown or invalid runtime name: {name}")));
    }
    let mut warnings = resources(&mut request.resources, false)?;
    let shares_ids = request.security.privileged || request.userns == NamespaceMode::Host;
    if !request.resources.device_cgroup_rules.is_empty() && !shares_ids {
        warnings.push(
            "--device-cgroup-rule has no effect in a user namespace of its own, in which no device node can be made: \
             name the devices by --device, or add --userns host"
                .to_owned(),
        );
    }
    Ok(warnings)
}

/// The same for what a container may use; with `update`, of a container that there is.
pub(crate) fn resources(resources: &mut Resources, update: bool) -> Result<Vec<String>, Error> {
    check(resources, update)?;
    match is_special(resources) {
        true => adapt(resources, Kernel::look()),
        false => Ok(Vec::new()),
    }
}

/// Refuses what contradicts itself, wherever it is to run.
fn check(resources: &Resources, update: bool) -> Result<(), Error> {
    let memory = resources.memory_bytes.unwrap_or(0);
    let swap = resources.memory_swap_bytes.unwrap_or(0);
    let reservation = resources.memory_reservation_bytes.unwrap_or(0);
    let nano = resources.nano_cpus.unwrap_or(0);
    let period = resources.cpu_period_us.unwrap_or(0);
    let quota = resources.cpu_quota_us.unwrap_or(0);
    let rules = [
        (memory > 0 && memory < MEMORY_BYTES_MIN, "--memory", "Minimum memory limit allowed is 6MB"),
        (
            memory > 0 && swap > 0 && (swap as u64) < memory,
            "--memory-swap",
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            memory == 0 && swap != 0 && !update,
            "--memory-swap",
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            reservation > 0 && reservation < MEMORY_BYTES_MIN,
            "--memory-reservation",
            "Minimum memory reservation allowed is 6MB",
        ),
        (
            memory > 0 && reservation > memory,
            "--memory-reservation",
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            nano > 0 && period > 0,
            "--cpus",
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (nano > 0 && quota > 0, "--cpus", "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            period != 0 && !(CPU_US_MIN..=CPU_PERIOD_US_MAX).contains(&period),
            "--cpu-period",
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            quota > 0 && quota < CPU_US_MIN,
            "--cpu-quota",
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ),
        (
            matches!((resources.cpu_rt_period_us, resources.cpu_rt_runtime_us),
                (Some(period), Some(runtime)) if runtime > period),
            "--cpu-rt-runtime",
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
    ];
    match rules.iter().find(|(broken, ..)| *broken) {
        Some((_, flag, why)) => Err(Error::invalid(*flag, *why)),
        None => Ok(()),
    }
}

/// Drops what `kernel` lacks.
fn adapt(resources: &mut Resources, kernel: Kernel) -> Result<Vec<String>, Error> {
    if (resources.cpu_rt_period_us.is_some() || resources.cpu_rt_runtime_us.is_some()) && !kernel.cpu_realtime
    {
        return Err(Error::invalid("--cpu-rt-runtime", "kernel does not support CPU real-time scheduler"));
    }
    let mut warnings = Vec::new();
    let mut lacks = |what: &str, dropped: &str| {
        let message =
            format!("Your kernel does not support {what} or the cgroup is not mounted. {dropped} discarded.");
        warnings.push(message);
    };
    if !kernel.swappiness && resources.memory_swappiness.take().is_some() {
        lacks("memory swappiness capabilities", "Memory swappiness");
    }
    if !kernel.blkio_weight && resources.blkio_weight.take().is_some() {
        lacks("Block I/O weight", "Weight");
    }
    if !kernel.blkio_weight_device && !std::mem::take(&mut resources.blkio_weight_device).is_empty() {
        lacks("Block I/O weight_device", "Weight-device");
    }
    let throttles = [
        (&mut resources.device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        (&mut resources.device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        (&mut resources.device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        (&mut resources.device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    ];
    for ((rates, what, dropped), there) in throttles.into_iter().zip(kernel.throttles) {
        if !there && !std::mem::take(rates).is_empty() {
            lacks(what, dropped);
        }
    }
    if resources.oom_kill_disable && !kernel.oom_kill_disable {
        resources.oom_kill_disable = false;
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
    }
    if resources.oom_kill_disable && resources.memory_bytes.is_none() {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        );
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{DeviceRate, DeviceWeight};

    const BARE: Kernel = Kernel {
        swappiness: false,
        oom_kill_disable: false,
        cpu_realtime: false,
        blkio_weight: false,
        blkio_weight_device: false,
        throttles: [false; 4],
    };

    #[test]
    fn what_the_kernel_lacks_is_dropped_with_a_warning() {
        let mut all = Resources {
            memory_swappiness: Some(0),
            oom_kill_disable: true,
            blkio_weight: Some(100),
            blkio_weight_device: vec![DeviceWeight { path: "/dev/a".into(), weight: 10 }],
            device_read_bps: vec![DeviceRate { path: "/dev/a".into(), rate: 1 }],
            device_write_iops: vec![DeviceRate { path: "/dev/a".into(), rate: 1 }],
            ..Resources::default()
        };
        let warnings = adapt(&mut all, BARE).unwrap_or_default();
        assert_eq!(all, Resources::default());
        assert_eq!(warnings.len(), 6, "{warnings:?}");
        assert!(warnings[0].ends_with("Memory swappiness discarded."), "{warnings:?}");
        let mut realtime = Resources { cpu_rt_runtime_us: Some(1000), ..Resources::default() };
        assert!(adapt(&mut realtime, BARE).is_err());
    }

    #[test]
    fn contradictions_are_refused_in_dockers_words() {
        let refused = |resources: Resources, update| {
            check(&resources, update).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let cpus = Resources { nano_cpus: Some(1), cpu_quota_us: Some(2000), ..Resources::default() };
        assert!(refused(cpus, false).contains("Nano CPUs and CPU Quota cannot both be set"));
        let swap = Resources { memory_swap_bytes: Some(64 << 20), ..Resources::default() };
        assert!(refused(swap.clone(), false).contains("You should always set the Memory limit"));
        assert_eq!(refused(swap, true), "");
        let period = Resources { cpu_period_us: Some(999), ..Resources::default() };
        assert!(refused(period, false).contains("CPU cfs period can not be less than 1ms"));
    }
}

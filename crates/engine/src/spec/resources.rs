//! Limits: control groups, resource limits, the ceiling of tasks.

use crate::Error;
use crate::config::UserNamespace;
use crate::request::{DeviceRate, DeviceWeight, RunRequest};
use rustix::fs::FileType;
use std::path::Path;
use types::oci::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, Rlimit, ThrottleDevice, WeightDevice};

/// Most tasks of a container that asks for no limit (design.md 5).
const TASKS_DEFAULT: u64 = 4096;

/// How the number of tasks is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// By the user namespace's RLIMIT_NPROC.
    pub by_namespace: Option<u64>,
    /// By a pids control group.
    pub by_cgroup: Option<i64>,
}

/// A limit that was asked for goes to the control group, where it can be changed and seen; the default one to the user
/// namespace, where it costs nothing, if the container has one of its own.
pub fn tasks(request: &RunRequest, userns: &UserNamespace) -> Tasks {
    match (request.resources.pids_limit, userns) {
        (Some(limit), _) if limit > 0 => Tasks { by_namespace: None, by_cgroup: Some(limit) },
        (Some(_), _) => Tasks { by_namespace: None, by_cgroup: None },
        (None, UserNamespace::Own { .. }) => Tasks { by_namespace: Some(TASKS_DEFAULT), by_cgroup: None },
        (None, UserNamespace::Joined { .. }) => Tasks { by_namespace: None, by_cgroup: None },
        (None, UserNamespace::Host) if request.security.privileged => {
            Tasks { by_namespace: None, by_cgroup: None }
        }
        (None, UserNamespace::Host) => Tasks { by_namespace: None, by_cgroup: Some(TASKS_DEFAULT as i64) },
    }
}

/// Control group limits.
pub fn plan(
    request: &RunRequest,
    tasks: &Tasks,
    devices: Vec<DeviceRule>,
) -> Result<Option<Resources>, Error> {
    let wanted = &request.resources;
    let signed = |flag: &str, bytes: u64| {
        i64::try_from(bytes)
            .map_err(|_| Error::invalid(flag, format!("{bytes} bytes is more than any machine has")))
    };
    let limit = wanted.memory_bytes.map(|bytes| signed("--memory", bytes)).transpose()?;
    let swap = match (limit, wanted.memory_swap_bytes) {
        (Some(limit), None | Some(0)) => Some(limit.saturating_mul(2)),
        (None, None | Some(0)) => None,
        (None, Some(_)) => return Err(Error::invalid("--memory-swap", "needs --memory as well")),
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            return Err(Error::invalid(
                "--memory-swap",
                "must be at least --memory: it counts memory and swap together",
            ));
        }
        (Some(_), swap) => swap,
    };
    let reservation =
        wanted.memory_reservation_bytes.map(|b| signed("--memory-reservation", b)).transpose()?;
    if let (Some(limit), Some(reservation)) = (limit, reservation)
        && reservation > limit
    {
        return Err(Error::invalid("--memory-reservation", "must not be above --memory"));
    }
    let memory = Memory {
        limit,
        swap,
        reservation,
        swappiness: wanted.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: wanted.oom_kill_disable.then_some(true),
        ..Memory::default()
    };
    if let (Some(nano), Some(online)) = (wanted.nano_cpus, processors_online())
        && nano > online * 1_000_000_000
    {
        return Err(Error::invalid(
            "--cpus",
            format!("must be from 0.01 to {online}.00: this host has {online}"),
        ));
    }
    let (quota, period) = match wanted.nano_cpus {
        None | Some(0) => (None, None),
        Some(nano) => (Some((nano / 10_000) as i64), Some(100_000)),
    };
    // An update may have set them over what was given as processors.
    let quota = wanted.cpu_quota_us.map(|quota| quota.max(-1)).or(quota);
    let period = positive(wanted.cpu_period_us).or(period);
    let cpu = Cpu {
        shares: wanted.cpu_shares.filter(|shares| *shares > 0),
        quota,
        period,
        realtime_period: positive(wanted.cpu_rt_period_us),
        realtime_runtime: wanted.cpu_rt_runtime_us.filter(|runtime| *runtime != 0),
        cpus: wanted.cpuset_cpus.clone().filter(|c| !c.is_empty()),
        mems: wanted.cpuset_mems.clone().filter(|c| !c.is_empty()),
        ..Cpu::default()
    };
    let resources = Resources {
        devices,
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: tasks.by_cgroup.map(|limit| Pids { limit: Some(limit) }),
        block_io: block_io(wanted)?,
        ..Resources::default()
    };
    Ok((resources != Resources::default()).then_some(resources))
}

fn positive(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

fn block_io(wanted: &crate::request::Resources) -> Result<Option<BlockIo>, Error> {
    let throttles = |flag: &str, rates: &[DeviceRate]| -> Result<Vec<ThrottleDevice>, Error> {
        let throttle = |DeviceRate { path, rate }: &DeviceRate| {
            let (major, minor) = block_device(flag, path)?;
            Ok(ThrottleDevice { major, minor, rate: *rate })
        };
        rates.iter().map(throttle).collect()
    };
    let weight = |DeviceWeight { path, weight }: &DeviceWeight| {
        let (major, minor) = block_device("--blkio-weight-device", path)?;
        Ok(WeightDevice { major, minor, weight: Some(*weight), leaf_weight: None })
    };
    let block_io = BlockIo {
        weight: wanted.blkio_weight.filter(|weight| *weight > 0),
        leaf_weight: None,
        weight_device: wanted.blkio_weight_device.iter().map(weight).collect::<Result<_, Error>>()?,
        throttle_read_bps_device: throttles("--device-read-bps", &wanted.device_read_bps)?,
        throttle_write_bps_device: throttles("--device-write-bps", &wanted.device_write_bps)?,
        throttle_read_iops_device: throttles("--device-read-iops", &wanted.device_read_iops)?,
        throttle_write_iops_device: throttles("--device-write-iops", &wanted.device_write_iops)?,
    };
    Ok((block_io != BlockIo::default()).then_some(block_io))
}

/// Major and minor number of a block device of the host.
fn block_device(flag: &str, path: &Path) -> Result<(i64, i64), Error> {
    let wrong = |why: String| Error::invalid(flag, format!("{}: {why}", path.display()));
    let stat = rustix::fs::stat(path).map_err(|errno| wrong(runtime::errno_text(errno)))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => {
            Ok((rustix::fs::major(stat.st_rdev).into(), rustix::fs::minor(stat.st_rdev).into()))
        }
        _ => Err(wrong("isn't a block device".to_owned())),
    }
}

/// Processors of the host, whichever of them the caller may use. Source: the kernel's cputopology.rst.
fn processors_online() -> Option<u64> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? as u64 + 1)
    });
    ranges.sum()
}

/// Resource limits.
pub fn rlimits(request: &RunRequest, strict: bool) -> Result<Vec<Rlimit>, Error> {
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let mut limits: Vec<Rlimit> = request
        .resources
        .ulimits
        .iter()
        .map(|ulimit| Rlimit {
            typ: format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()),
            soft: number(ulimit.soft),
            hard: number(ulimit.hard),
        })
        .collect();
    if strict && !limits.iter().any(|limit| limit.typ == "RLIMIT_CORE") {
        limits.push(Rlimit { typ: "RLIMIT_CORE".to_owned(), soft: 0, hard: 0 });
    }
    Ok(limits)
}

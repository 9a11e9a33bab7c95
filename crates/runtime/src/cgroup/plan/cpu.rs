//! Processor time and processor sets.

use types::oci::Cpu;

use super::{Builder, invalid};
use crate::cgroup::error::Error;
use crate::cgroup::hierarchy::Tree;

/// Version 1's range of shares; its kernel clamps silently, which is worse than an error.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
/// Shortest quota and period that the kernel takes, in microseconds.
const CFS_MIN_US: u64 = 1000;
/// Longest period that the kernel takes, in microseconds.
const PERIOD_MAX_US: u64 = 1_000_000;
/// Period of a group that sets none, in microseconds.
const PERIOD_DEFAULT_US: u64 = 100_000;
/// Highest number in a processor or node list; more than any kernel's NR_CPUS.
const SET_MEMBER_MAX: u32 = 65_535;

pub(super) fn plan(cpu: &Cpu, builder: &mut Builder<'_>) -> Result<(), Error> {
    plan_weight(cpu, builder)?;
    plan_bandwidth(cpu, builder)?;
    plan_realtime(cpu, builder)?;
    plan_set(cpu, builder)
}

fn plan_weight(cpu: &Cpu, builder: &mut Builder<'_>) -> Result<(), Error> {
    let field = "linux.resources.cpu.shares";
    // As with runc, 0 is unset.
    let shares = cpu.shares.filter(|shares| *shares != 0);
    if let Some(idle) = cpu.idle {
        let field = "linux.resources.cpu.idle";
        if !matches!(idle, 0 | 1) {
            return Err(invalid(field, idle, "must be 0 or 1"));
        }
        if idle == 1 && shares.is_some() {
            return Err(invalid(
                field,
                idle,
                "an idle group has no weight: remove linux.resources.cpu.shares",
            ));
        }
        let tree = builder.need(field, "cpu")?;
        builder.write(field, &tree, "cpu.idle", idle);
    }
    let Some(shares) = shares else { return Ok(()) };
    match builder.need(field, "cpu")? {
        Tree::V2 => builder.write(field, &Tree::V2, "cpu.weight", weight_from_shares(shares)),
        tree @ Tree::V1(_) => {
            if !(SHARES_MIN..=SHARES_MAX).contains(&shares) {
                return Err(invalid(field, shares, "must be between 2 and 262144"));
            }
            builder.write(field, &tree, "cpu.shares", shares);
        }
    }
    Ok(())
}

/// Version 2 weight (1 to 10,000, default 100) for version 1 shares (2 to 262,144, default 1024).
///
/// A parabola in the logarithms through the three pairs (2, 1), (1024, 100), (262144, 10000), rounded up, which runc
/// 1.3.2 and crun 1.23 introduced; older ones mapped linearly, and so the default to 39.
pub(in crate::cgroup) fn weight_from_shares(shares: u64) -> u64 {
    if shares <= SHARES_MIN {
        return 1;
    }
    if shares >= SHARES_MAX {
        return 10_000;
    }
    // Exact in f64: below 2^18.
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

fn plan_bandwidth(cpu: &Cpu, builder: &mut Builder<'_>) -> Result<(), Error> {
    let (quota_field, period_field, burst_field) =
        ("linux.resources.cpu.quota", "linux.resources.cpu.period", "linux.resources.cpu.burst");
    // As with runc, 0 is unset.
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    if let Some(quota) = quota
        && quota != -1
        && u64::try_from(quota).map_or(true, |quota| quota < CFS_MIN_US)
    {
        return Err(invalid(quota_field, quota, "must be -1 (unlimited) or at least 1000 µs"));
    }
    if let Some(period) = period
        && !(CFS_MIN_US..=PERIOD_MAX_US).contains(&period)
    {
        return Err(invalid(period_field, period, "must be between 1000 and 1000000 µs"));
    }
    if let (Some(burst), Some(Ok(quota))) = (cpu.burst, quota.map(u64::try_from))
        && burst > quota
    {
        return Err(invalid(burst_field, burst, "must not be above linux.resources.cpu.quota"));
    }
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { quota_field } else { period_field };
        match builder.need(field, "cpu")? {
            Tree::V2 => {
                let quota =
                    quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
                let value = format!("{quota} {}", period.unwrap_or(PERIOD_DEFAULT_US));
                builder.write(field, &Tree::V2, "cpu.max", value);
            }
            tree @ Tree::V1(_) => {
                if let Some(period) = period {
                    builder.write(period_field, &tree, "cpu.cfs_period_us", period);
                }
                if let Some(quota) = quota {
                    builder.write(quota_field, &tree, "cpu.cfs_quota_us", quota);
                }
            }
        }
    }
    if let Some(burst) = cpu.burst {
        let tree = builder.need(burst_field, "cpu")?;
        let file = if tree == Tree::V2 { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
        builder.write(burst_field, &tree, file, burst);
    }
    Ok(())
}

fn plan_realtime(cpu: &Cpu, builder: &mut Builder<'_>) -> Result<(), Error> {
    // A new group's realtime budget is 0, so any period fits and the period goes first.
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        let field = "linux.resources.cpu.realtimePeriod";
        let tree = builder.need_v1(field, "cpu")?;
        builder.write(field, &tree, "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        let field = "linux.resources.cpu.realtimeRuntime";
        if runtime < -1 {
            return Err(invalid(field, runtime, "must be -1 (unlimited) or a number of microseconds"));
        }
        let tree = builder.need_v1(field, "cpu")?;
        builder.write(field, &tree, "cpu.rt_runtime_us", runtime);
    }
    Ok(())
}

fn plan_set(cpu: &Cpu, builder: &mut Builder<'_>) -> Result<(), Error> {
    let sets = [
        ("linux.resources.cpu.cpus", "cpuset.cpus", &cpu.cpus),
        ("linux.resources.cpu.mems", "cpuset.mems", &cpu.mems),
    ];
    for (field, file, set) in sets {
        let Some(set) = set.as_deref().filter(|set| !set.is_empty()) else { continue };
        if !is_set(set) {
            return Err(invalid(field, format!("{set:?}"), "must be a list of numbers and ranges, as 0-2,7"));
        }
        let tree = builder.need(field, "cpuset")?;
        builder.write(field, &tree, file, set);
    }
    Ok(())
}

/// Source: cpuset(7), List format.
fn is_set(text: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten().filter(|number| *number <= SET_MEMBER_MAX)
    };
    text.split(',').all(|part| match part.split_once('-') {
        None => number(part).is_some(),
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
    })
}

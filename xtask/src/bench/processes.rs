//! What processes cost while they wait.

use crate::Result;
use crate::host::Host;
use std::path::Path;

/// Keeper and holder of the only container, in this order.
pub fn of_container(host: &Host) -> Result<Vec<u32>> {
    let by_name = |name: &str| host.processes().into_iter().find(|pid| comm(*pid) == name);
    ["berth-keeper", "berth-holder"]
        .into_iter()
        .map(|name| by_name(name).ok_or_else(|| format!("there is no {name}")))
        .collect()
}

/// All keepers and holders.
pub fn named(host: &Host) -> Vec<u32> {
    let is_one = |pid: &u32| matches!(comm(*pid).as_str(), "berth-keeper" | "berth-holder");
    host.processes().into_iter().filter(is_one).collect()
}

fn comm(pid: u32) -> String {
    let path = Path::new("/proc").join(pid.to_string()).join("comm");
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Proportional set size, summed, in megabytes of a million bytes. Source: proc_pid_smaps_rollup, `Pss` in KiB.
pub fn pss_mb(pids: &[u32]) -> Result<f64> {
    let mut kib = 0;
    for pid in pids {
        kib += field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?;
    }
    Ok(kib as f64 * 1024.0 / 1e6)
}

/// How often they slept.
pub fn wakeups(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| field(&format!("/proc/{pid}/status"), "voluntary_ctxt_switches:")).sum()
}

/// How often they were switched away from, wanted or not.
pub fn switches(pids: &[u32]) -> Result<u64> {
    let unwanted: Result<u64> =
        pids.iter().map(|pid| field(&format!("/proc/{pid}/status"), "nonvoluntary_ctxt_switches:")).sum();
    Ok(wakeups(pids)? + unwanted?)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("{path} has no {name}"))
}

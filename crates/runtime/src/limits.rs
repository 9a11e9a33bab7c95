//! Resource limits and the place in the OOM killer's order.
//!
//! A process may lower its own limits; only CAP_SYS_RESOURCE of the host raises a hard one, and nobody else may touch the
//! limits of a process in another user namespace. So the holder raises, where it must and may; the process itself sets.

use crate::plan::ProcessPlan;
use crate::{Error, Steps};
use linux::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// From outside: raises hard limits, and sets the score.
pub(crate) fn set_from_outside(pid: i32, process: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let target = Pid::from_raw(pid);
    for limit in &process.rlimits {
        let above = |value: Option<u64>, max: Option<u64>| match (value, max) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(value), Some(max)) => value > max,
        };
        if above(limit.hard, getrlimit(limit.resource).maximum) {
            let value = Rlimit { current: limit.soft, maximum: limit.hard };
            steps.run("prlimit", limit.name, "raise a resource limit", || {
                prlimit(target, limit.resource, value).map(drop)
            })?;
        }
    }
    if let Some(adj) = process.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        steps.run(
            "write",
            format!("{path} {adj}"),
            "set its place in the order of the OOM killer",
            || {
                std::fs::write(&path, adj.to_string())
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
            },
        )?;
    }
    Ok(())
}

/// From inside: sets the limits. `tasks` is what RLIMIT_NPROC was before it served as the namespace's ceiling.
pub(crate) fn set_own(process: &ProcessPlan, tasks: Option<Rlimit>, steps: &mut Steps) -> Result<(), Error> {
    let own_tasks = process.rlimits.iter().any(|limit| limit.resource == Resource::Nproc);
    if let Some(before) = tasks.filter(|_| !own_tasks) {
        steps.run("setrlimit", "RLIMIT_NPROC", "take the ceiling's limit off the process itself", || {
            setrlimit(Resource::Nproc, before)
        })?;
    }
    for limit in &process.rlimits {
        let value = Rlimit { current: limit.soft, maximum: limit.hard };
        steps.run("setrlimit", limit.name, "set a resource limit", || setrlimit(limit.resource, value))?;
    }
    Ok(())
}

//! Away from the caller's version 1 control groups: neither its limits nor its end may touch the container.
//!
//! On version 2 a container is born in its own group, and so is berth. On version 1 a move can be slow (kernel-facts.md
//! 4), so it happens once the container has lived for a while, unless a limit was asked for, which is in force from the
//! first instruction.

use crate::Home;
use crate::cell::{Cell, Running};
use runtime::cgroup::{Cgroup, Hierarchy};
use std::fs;
use std::path::Path;

/// Name of the group of all that have no limit of their own, below berth's parent.
const UNLIMITED: &str = "unlimited";

/// Rounds of moving: processes forked meanwhile by those not yet moved are caught in the next one.
const ROUNDS_MAX: u32 = 5;

/// Moves the container's processes, its holder and its keeper (the caller) to berth's own groups, on every version 1
/// tree on which they are still where the caller is. False if somebody else moves them just now.
pub fn leave_callers_groups(home: &Home, cell: &Cell) -> bool {
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else { return true };
    let foreign: Vec<&str> =
        own.lines().filter_map(|line| foreign_controllers(line, &home.cgroup_parent)).collect();
    if foreign.is_empty() {
        return true;
    }
    let _nobody_else_moves_it = match cell.lock_groups(false) {
        Ok(Some(lock)) => lock,
        Ok(None) => return false,
        Err(_) => return true,
    };
    let Some(running) = cell.running() else { return true };
    let Ok(hierarchy) = Hierarchy::detect() else { return true };
    for (controller, mountpoint) in hierarchy.v1_mountpoints() {
        if !foreign.iter().any(|names| names.split(',').any(|name| name == controller)) {
            continue;
        }
        let dir = mountpoint.join(home.cgroup_parent.trim_start_matches('/')).join(UNLIMITED);
        if fs::create_dir_all(&dir).is_err() {
            continue;
        }
        inherit_cpuset(&dir);
        let limited = running.cgroup.v1.contains_key(controller);
        move_all(&dir, &running, limited);
    }
    true
}

/// The controllers of a line of /proc/self/cgroup on which the process is neither at the root nor below `parent`.
fn foreign_controllers<'a>(line: &'a str, parent: &str) -> Option<&'a str> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let own = path == "/" || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    (!controllers.is_empty() && !controllers.starts_with("name=") && !own).then_some(controllers)
}

/// A new cpuset has neither processors nor memory until they're given.
fn inherit_cpuset(dir: &Path) {
    let chain: Vec<&Path> = dir.ancestors().take_while(|d| d.join("cpuset.cpus").exists()).collect();
    for pair in chain.windows(2).rev() {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(pair[0].join(file)).is_ok_and(|now| now.trim().is_empty())
                && let Ok(above) = fs::read_to_string(pair[1].join(file))
            {
                let _ = fs::write(pair[0].join(file), above.trim());
            }
        }
    }
}

fn move_all(dir: &Path, running: &Running, limited: bool) {
    let procs = dir.join("cgroup.procs");
    let mut moved = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let mut pids = vec![running.holder.pid as u32, std::process::id()];
        if !limited && let Ok(group) = Cgroup::open(&running.cgroup) {
            pids.extend(group.pids().unwrap_or_default());
        }
        pids.retain(|pid| moved.insert(*pid));
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // One that has ended meanwhile needs no move.
            let _ = fs::write(&procs, pid.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callers_groups_are_left() {
        let check = |line: &str| foreign_controllers(line, "/berth").map(str::to_owned);
        assert_eq!(check("4:memory:/user/1"), Some("memory".to_owned()));
        assert_eq!(check("4:cpu,cpuacct:/berthx/1"), Some("cpu,cpuacct".to_owned()));
        for own in ["4:memory:/", "4:memory:/berth/unlimited", "0::/user", "1:name=systemd:/user", "broken"] {
            assert_eq!(check(own), None, "{own}");
        }
    }
}

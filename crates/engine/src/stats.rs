//! `berth stats`: what containers use.
//!
//! Docker's figures are those of control groups. A container joins version 1's only where it has a limit of that sort
//! ([`crate::settle`]); what no group of its own counts is added up over its processes, so that there is a figure for all:
//!
//! | figure | from a group | else |
//! |---|---|---|
//! | CPU | `cpu.stat`, `cpuacct.usage` | processor time of the living, and of those that they waited for |
//! | memory | use without inactive file pages | proportional set size: shared pages count by parts |
//! | block I/O | `io.stat`, `blkio` | `/proc/PID/io` of the living, and of those that they waited for |
//! | tasks | `pids.current` | threads |
//!
//! Network traffic is that of the network namespace's devices but loopback; with the host's network it is nobody's.

use crate::cell::Running;
use crate::find::{self, Container, State};
use crate::pieces::procfs;
use crate::request::{NetworkMode, StatsRequest};
use crate::{Error, Home};
use runtime::cgroup::{Cgroup, MemoryUsage};
use std::collections::BTreeMap;
use std::time::Instant;

/// One container's figures. Text is inert.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// As it was asked for; else the short id.
    pub asked: String,
    /// All 64 digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// Share of one processor since the sample before, in percent; 0 in the first.
    pub cpu_percent: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Most that it may use: its limit, or the machine's memory; 0 if it doesn't run.
    pub memory_limit_bytes: u64,
    /// Bytes received and sent.
    pub network_bytes: [u64; 2],
    /// Bytes read and written.
    pub block_bytes: [u64; 2],
    /// Tasks.
    pub tasks: u64,
}

/// Takes samples, one after the other.
#[derive(Debug)]
pub struct Sampler {
    home: Home,
    request: StatsRequest,
    /// Processor time of each container at the last sample.
    before: BTreeMap<String, (u64, Instant)>,
    machine_bytes: u64,
}

/// Ticks a second of what `/proc` counts in: USER_HZ.
const TICKS: u64 = 100;

impl Sampler {
    /// Errors: [`Error::NoContainer`] for the first name that is none's.
    pub fn new(home: &Home, request: StatsRequest) -> Result<Sampler, Error> {
        for found in find::containers(home, &request.containers) {
            found?;
        }
        let memory = rustix::system::sysinfo();
        Ok(Sampler {
            home: home.clone(),
            request,
            before: BTreeMap::new(),
            machine_bytes: u64::from(memory.mem_unit.max(1)).saturating_mul(memory.totalram as u64),
        })
    }

    /// The figures of now. A container that was asked for by name and has gone since is left out.
    pub fn sample(&mut self) -> Result<Vec<Stats>, Error> {
        let containers: Vec<(String, Container)> = if self.request.containers.is_empty() {
            let all = if self.request.all { find::all(&self.home)? } else { find::present(&self.home) };
            let is_shown = |c: &Container| self.request.all || matches!(c.state, State::Running(_));
            let mut shown: Vec<Container> = all.into_iter().filter(is_shown).collect();
            shown.sort_by_key(|container| std::cmp::Reverse(container.config.created_ns));
            shown.into_iter().map(|container| (container.config.id[..12].to_owned(), container)).collect()
        } else {
            let given = self.request.containers.iter().cloned();
            let found = find::containers(&self.home, &self.request.containers);
            given.zip(found).filter_map(|(given, found)| Some((given, found.ok()?))).collect()
        };
        Ok(containers.into_iter().map(|(asked, container)| self.stats(asked, &container)).collect())
    }

    fn stats(&mut self, asked: String, container: &Container) -> Stats {
        let config = &container.config;
        let mut stats = Stats {
            asked,
            id: config.id.clone(),
            name: crate::inert(&config.name).into_owned(),
            cpu_percent: 0.0,
            memory_bytes: 0,
            memory_limit_bytes: 0,
            network_bytes: [0; 2],
            block_bytes: [0; 2],
            tasks: 0,
        };
        let State::Running(running) = &container.state else { return stats };
        let figures = Figures::of(running);
        let now = Instant::now();
        let before = self.before.insert(config.id.clone(), (figures.cpu_ns, now));
        if let Some((cpu_ns, at)) = before {
            let passed = now.duration_since(at).as_nanos().max(1) as f64;
            stats.cpu_percent = figures.cpu_ns.saturating_sub(cpu_ns) as f64 / passed * 100.0;
        }
        stats.memory_bytes = figures.memory.used_bytes;
        let limit = figures.memory.limit_bytes.unwrap_or(u64::MAX);
        stats.memory_limit_bytes = limit.min(self.machine_bytes);
        stats.block_bytes = figures.block_bytes;
        stats.tasks = figures.tasks;
        if config.request.network != NetworkMode::Host {
            let devices = procfs::text(running.init.pid, "net/dev").unwrap_or_default();
            stats.network_bytes = traffic(&devices);
        }
        stats
    }
}

struct Figures {
    cpu_ns: u64,
    memory: MemoryUsage,
    block_bytes: [u64; 2],
    tasks: u64,
}

impl Figures {
    fn of(running: &Running) -> Figures {
        let counted = running.cgroup.usage();
        let pids = || {
            let group = Cgroup::open(&running.cgroup).ok()?;
            group.pids().ok()
        };
        // Listing them costs more than reading the counters.
        let is_whole = counted.cpu_ns.is_some()
            && counted.memory.is_some()
            && counted.block_bytes.is_some()
            && counted.tasks.is_some();
        let pids = if is_whole { Vec::new() } else { pids().unwrap_or_default() };
        let sum = |of: fn(i32) -> Option<u64>| {
            pids.iter().filter_map(|pid| of(i32::try_from(*pid).ok()?)).fold(0u64, u64::saturating_add)
        };
        Figures {
            cpu_ns: counted.cpu_ns.unwrap_or_else(|| sum(cpu_ns)),
            memory: counted
                .memory
                .unwrap_or_else(|| MemoryUsage { used_bytes: sum(memory_bytes), limit_bytes: None }),
            block_bytes: counted.block_bytes.unwrap_or_else(|| {
                [sum(|pid| io_bytes(pid, "read_bytes")), sum(|pid| io_bytes(pid, "write_bytes"))]
            }),
            tasks: counted
                .tasks
                .unwrap_or_else(|| sum(|pid| field(&procfs::text(pid, "status")?, "Threads"))),
        }
    }
}

/// Source: proc_pid_stat(5), utime to cstime.
fn cpu_ns(pid: i32) -> Option<u64> {
    let text = procfs::text(pid, "stat")?;
    let (_, rest) = text.rsplit_once(") ")?;
    let ticks = rest.split_ascii_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u64>().ok());
    Some(ticks.sum::<u64>() * (1_000_000_000 / TICKS))
}

fn memory_bytes(pid: i32) -> Option<u64> {
    let shared_out = procfs::text(pid, "smaps_rollup").and_then(|text| field(&text, "Pss"));
    Some(shared_out.or_else(|| field(&procfs::text(pid, "status")?, "VmRSS"))? * 1024)
}

fn io_bytes(pid: i32, key: &str) -> Option<u64> {
    field(&procfs::text(pid, "io")?, key)
}

/// The number of a line `key:   number …`.
fn field(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes received and sent by all devices but loopback. Source: proc_pid_net(5), dev.
fn traffic(devices: &str) -> [u64; 2] {
    let mut bytes = [0u64; 2];
    for line in devices.lines().skip(2) {
        let Some((device, counters)) = line.split_once(':') else { continue };
        if device.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> =
            counters.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        for (at, sum) in [0, 8].into_iter().zip(&mut bytes) {
            *sum = sum.saturating_add(counters.get(at).copied().unwrap_or(0));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_but_loopback_are_summed_up() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
            lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 30 1 0 0 0 0 0 0\n\
            eth1:5 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), [105, 37]);
        for short in ["", "x\ny\neth0: 1", "a\nb\nc"] {
            let _ = traffic(short);
        }
    }

    #[test]
    fn processes_are_added_up_where_no_group_counts() {
        let own = std::process::id() as i32;
        assert!(memory_bytes(own).is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_ns(own).is_some());
        assert!(io_bytes(own, "read_bytes").is_some());
        assert_eq!(field("Name:\tx\nThreads:\t7\n", "Threads"), Some(7));
        assert_eq!(cpu_ns(-1), None);
    }
}

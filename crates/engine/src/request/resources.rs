//! How much a container may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One resource limit. Source: setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UlimitRequest {
    /// Lower-case name without `RLIMIT_`, such as `nofile`.
    pub name: String,
    /// Soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// Hard limit, not below the soft one; `None` is unlimited.
    pub hard: Option<u64>,
}

/// One device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Absolute path on the host; a directory stands for every device in it.
    pub host: PathBuf,
    /// Absolute path in the container.
    pub container: PathBuf,
    /// Some of `r`, `w`, `m`, each at most once.
    pub permissions: String,
}

/// A block device's weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Path of its node on the host.
    pub path: PathBuf,
    /// 10 to 1000; 0 is none of its own.
    pub weight: u16,
}

/// How fast a block device may be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Path of its node on the host.
    pub path: PathBuf,
    /// Bytes or operations a second; 0 is no limit.
    pub rate: u64,
}

/// How much a container may use. `None` is the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory in bytes, at least 6 MiB as docker asks.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together in bytes; -1 is unlimited.
    pub memory_swap_bytes: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation_bytes: Option<u64>,
    /// Tendency to swap, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Whether processes wait for memory instead of being killed for want of it.
    pub oom_kill_disable: bool,
    /// Processor time in billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Length of a period of processor time in microseconds.
    pub cpu_period_us: Option<i64>,
    /// Processor time within a period in microseconds; negative is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// Length of a period of real-time processor time in microseconds.
    pub cpu_rt_period_us: Option<i64>,
    /// Real-time processor time within such a period in microseconds.
    pub cpu_rt_runtime_us: Option<i64>,
    /// Weight of processor time, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Processors, such as `0-3,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, such as `0,1`.
    pub cpuset_mems: Option<String>,
    /// Processes at most; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Weights of block I/O by device.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes a second that may be read.
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes a second that may be written.
    pub device_write_bps: Vec<DeviceRate>,
    /// Reads a second.
    pub device_read_iops: Vec<DeviceRate>,
    /// Writes a second.
    pub device_write_iops: Vec<DeviceRate>,
    /// Further rules of the device filter, as `c 10:200 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Control group below which its own is, as given.
    pub cgroup_parent: Option<String>,
    /// `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size_bytes: Option<u64>,
    /// Resource limits; names are distinct.
    pub ulimits: Vec<UlimitRequest>,
}

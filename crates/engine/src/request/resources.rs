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

/// How much a container may use. `None` is the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes, at least 6 MiB as docker asks.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together in bytes; -1 is unlimited.
    pub memory_swap_bytes: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation_bytes: Option<u64>,
    /// Processor time in billionths of a processor.
    pub nano_cpus: Option<u64>,
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
    /// `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size_bytes: Option<u64>,
    /// Resource limits; names are distinct.
    pub ulimits: Vec<UlimitRequest>,
}

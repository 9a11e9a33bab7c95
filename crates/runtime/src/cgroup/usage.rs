//! What a group uses, as far as its own directories count it: version 1's counters where the group is on that controller's
//! tree, else version 2's. What nothing counts is `None`, for the caller to find out from the processes.

use std::path::Path;

use super::group::{CgroupPaths, read_file, value_of};

/// Counters of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of processor time. Version 2 counts it on every machine, even beside version 1.
    pub cpu_ns: Option<u64>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Bytes read from and written to block devices.
    pub block_bytes: Option<[u64; 2]>,
    /// Tasks.
    pub tasks: Option<u64>,
}

/// Memory of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes in use, without those of files that weren't used lately.
    pub used_bytes: u64,
    /// Most that it may use; `None` for no limit.
    pub limit_bytes: Option<u64>,
}

/// Version 1 writes "no limit" as the largest number of whole pages.
const NO_LIMIT_BYTES: u64 = 1 << 62;

impl CgroupPaths {
    /// What the group uses now. A counter that can't be read is as one that isn't there.
    pub fn usage(&self) -> Usage {
        let v1 = |controller: &str, file: &str| read(Path::new(self.v1.get(controller)?), file);
        let v2 = |file: &str| read(Path::new(self.v2.as_ref()?), file);
        let cpu = || v2("cpu.stat").and_then(|text| value_of(&text, "usage_usec")).map(|us| us * 1000);
        let tasks = v1("pids", "pids.current").or_else(|| v2("pids.current"));
        Usage {
            cpu_ns: cpu().or_else(|| number(&v1("cpuacct", "cpuacct.usage")?)),
            memory: memory_v1(&v1).or_else(|| memory_v2(&v2)),
            block_bytes: v1("blkio", "blkio.throttle.io_service_bytes_recursive")
                .map(|text| block_v1(&text))
                .or_else(|| v2("io.stat").map(|text| block_v2(&text))),
            tasks: tasks.and_then(|text| number(&text)),
        }
    }
}

fn read(dir: &Path, file: &str) -> Option<String> {
    read_file(&dir.join(file)).ok().flatten()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn memory_v1(file: &impl Fn(&str, &str) -> Option<String>) -> Option<MemoryUsage> {
    let file = |name: &str| file("memory", name);
    let all = number(&file("memory.usage_in_bytes")?)?;
    let idle = value_of(&file("memory.stat")?, "total_inactive_file").unwrap_or(0);
    let limit = number(&file("memory.limit_in_bytes")?).filter(|limit| *limit < NO_LIMIT_BYTES);
    Some(MemoryUsage { used_bytes: without(all, idle), limit_bytes: limit })
}

fn memory_v2(file: &impl Fn(&str) -> Option<String>) -> Option<MemoryUsage> {
    let all = number(&file("memory.current")?)?;
    let idle = value_of(&file("memory.stat")?, "inactive_file").unwrap_or(0);
    let limit = file("memory.max").and_then(|text| number(&text));
    Some(MemoryUsage { used_bytes: without(all, idle), limit_bytes: limit })
}

/// As docker: what is read later may be more than the sum.
fn without(all: u64, idle: u64) -> u64 {
    if idle < all { all - idle } else { all }
}

/// Lines of `8:0 Read 4096`. Source: cgroup-v1/blkio-controller.rst.
fn block_v1(text: &str) -> [u64; 2] {
    let mut bytes = [0u64; 2];
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(operation), Some(Ok(count))) = (words.next(), words.next().map(str::parse::<u64>)) else {
            continue;
        };
        match operation {
            "Read" => bytes[0] = bytes[0].saturating_add(count),
            "Write" => bytes[1] = bytes[1].saturating_add(count),
            _ => {}
        }
    }
    bytes
}

/// Lines of `8:0 rbytes=4096 wbytes=0 …`. Source: cgroup-v2.rst, io.stat.
fn block_v2(text: &str) -> [u64; 2] {
    let sum = |key: &str| {
        let counts = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse().ok());
        counts.fold(0u64, u64::saturating_add)
    };
    [sum("rbytes="), sum("wbytes=")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str, files: &[(&str, &str)]) -> String {
        let dir = std::env::temp_dir().join(format!("berth-usage-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).expect("make a directory");
        for (file, text) in files {
            std::fs::write(dir.join(file), text).expect("write");
        }
        dir.to_string_lossy().into_owned()
    }

    #[test]
    fn both_versions_are_counted_as_docker_counts() {
        let v2 = tree(
            "v2",
            &[
                ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"),
                ("memory.current", "10485760\n"),
                ("memory.stat", "anon 4096\nfile 8192\ninactive_file 485760\n"),
                ("memory.max", "max\n"),
                (
                    "io.stat",
                    "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=7 dios=0\n254:1 rbytes=11 wbytes=3\n",
                ),
                ("pids.current", "5\n"),
            ],
        );
        let memory = tree(
            "memory",
            &[
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.stat", "cache 5\ntotal_inactive_file 4096\n"),
                ("memory.limit_in_bytes", "67108864\n"),
            ],
        );
        let blkio = tree(
            "blkio",
            &[(
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
            )],
        );
        let of_v2 = CgroupPaths { v2: Some(v2.clone()), ..CgroupPaths::default() };
        assert_eq!(
            of_v2.usage(),
            Usage {
                cpu_ns: Some(1_500_000),
                memory: Some(MemoryUsage { used_bytes: 10_000_000, limit_bytes: None }),
                block_bytes: Some([111, 23]),
                tasks: Some(5),
            }
        );
        let v1 = [("memory".to_owned(), memory.clone()), ("blkio".to_owned(), blkio.clone())];
        let hybrid = CgroupPaths { v2: Some(v2.clone()), v1: v1.into() }.usage();
        // As much of files as there is in all: then docker shows all.
        assert_eq!(hybrid.memory, Some(MemoryUsage { used_bytes: 4096, limit_bytes: Some(67_108_864) }));
        assert_eq!((hybrid.block_bytes, hybrid.cpu_ns), (Some([5, 6]), Some(1_500_000)));
        assert_eq!(CgroupPaths::default().usage(), Usage::default());
        for dir in [v2, memory, blkio] {
            std::fs::remove_dir_all(dir).expect("remove");
        }
    }
}

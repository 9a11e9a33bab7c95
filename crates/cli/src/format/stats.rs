//! What containers use, with docker's columns.

use engine::stats::Stats;
use serde_json::{Value as Json, json};

use super::size;
use super::template::{self, Format};
use crate::failure::Failure;

/// Docker's default columns.
pub const DEFAULT: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

const HEADER: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

fn fields(stats: &Stats, full: bool) -> Json {
    let two = |[first, second]: [u64; 2]| format!("{} / {}", size::human(first), size::human(second));
    let memory_percent = match stats.memory_limit_bytes {
        0 => 0.0,
        limit => stats.memory_bytes as f64 / limit as f64 * 100.0,
    };
    let id = if full { &stats.id[..] } else { stats.id.get(..12).unwrap_or(&stats.id) };
    json!({
        "Container": stats.asked,
        "Name": stats.name,
        "ID": id,
        "CPUPerc": format!("{:.2}%", stats.cpu_percent),
        "MemUsage":
            format!("{} / {}", size::binary(stats.memory_bytes), size::binary(stats.memory_limit_bytes)),
        "MemPerc": format!("{memory_percent:.2}%"),
        "NetIO": two(stats.network_bytes),
        "BlockIO": two(stats.block_bytes),
        "PIDs": stats.tasks.to_string(),
    })
}

/// The figures as text. `full` shows ids whole.
pub fn text(rows: &[Stats], format: &Format, full: bool) -> Result<String, Failure> {
    template::rows(format, &HEADER, rows.iter().map(|stats| fields(stats, full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with docker 28.5.
    #[test]
    fn rows_read_as_dockers() {
        let idle = Stats {
            asked: "web".into(),
            id: "6ac213fb2221".repeat(6),
            name: "web".into(),
            cpu_percent: 0.0,
            memory_bytes: 328 << 10,
            memory_limit_bytes: 25_276_000_000,
            network_bytes: [0; 2],
            block_bytes: [0; 2],
            tasks: 1,
        };
        let stopped =
            Stats { name: "ex".into(), memory_bytes: 0, memory_limit_bytes: 0, tasks: 0, ..idle.clone() };
        let busy = Stats {
            cpu_percent: 199.996,
            memory_bytes: 100 << 20,
            memory_limit_bytes: 200 << 20,
            network_bytes: [1_234, 56_789_000],
            ..idle.clone()
        };
        let list =
            |rows: &[Stats], format: &str| text(rows, &Format::parse(format, DEFAULT), false).expect("valid");
        assert_eq!(
            list(&[idle.clone(), stopped], ""),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS\n\
             6ac213fb2221   web       0.00%     328KiB / 23.54GiB   0.00%     0B / 0B   0B / 0B     1\n\
             6ac213fb2221   ex        0.00%     0B / 0B             0.00%     0B / 0B   0B / 0B     0\n"
        );
        assert_eq!(
            list(&[idle], "json"),
            "{\"BlockIO\":\"0B / 0B\",\"CPUPerc\":\"0.00%\",\"Container\":\"web\",\"ID\":\"6ac213fb2221\",\
             \"MemPerc\":\"0.00%\",\"MemUsage\":\"328KiB / 23.54GiB\",\"Name\":\"web\",\"NetIO\":\"0B / 0B\",\"PIDs\":\"1\"}\n"
        );
        assert_eq!(
            list(&[busy], "{{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}}"),
            "200.00% 100MiB / 200MiB 50.00% 1.23kB / 56.8MB\n"
        );
    }
}

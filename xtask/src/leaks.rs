//! What a test run must not leave on the host: mounts, control groups, processes, directories.

use std::collections::BTreeSet;
use std::path::Path;

/// Bound on how deep the cgroup trees are walked: a container's own tree below its parent.
const CGROUP_DEPTH_MAX: usize = 6;

/// Everything of ours that exists at one moment, as lines that name it.
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at the host now.
    pub fn take() -> Self {
        let mut found = BTreeSet::new();
        mounts(&mut found);
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut found);
        processes(&mut found);
        for dir in ["/tmp", "/run", "/var/lib"] {
            directories(dir, &mut found);
        }
        Self(found)
    }

    /// What exists in `later` and not in `self`.
    pub fn leaked(&self, later: &Self) -> Vec<String> {
        later.0.difference(&self.0).cloned().collect()
    }
}

/// Every mount counts, whoever made it: a test run makes none in the host's namespace that outlive it.
fn mounts(found: &mut BTreeSet<String>) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines() {
        let mut fields = line.split(' ').skip(4);
        if let Some(point) = fields.next() {
            let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
            found.insert(format!("mount {point} ({kind})"));
        }
    }
}

fn cgroups(dir: &Path, depth: usize, found: &mut BTreeSet<String>) {
    if depth > CGROUP_DEPTH_MAX {
        return;
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.to_string_lossy().contains("berth") {
            found.insert(format!("cgroup {}", path.display()));
        }
        cgroups(&path, depth + 1, found);
    }
}

fn processes(found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let executable = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let program = executable.file_name().unwrap_or_default().to_string_lossy();
        if program.starts_with("berth") {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.insert(format!("process {pid} {}", line.trim_end()));
        }
    }
}

fn directories(dir: &str, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("berth") {
            found.insert(format!("path {}", entry.path().display()));
        }
    }
}

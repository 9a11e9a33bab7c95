//! A berth with a state of its own, beside the machine's.

use crate::Result;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A range of ids of its own, so that containers of the machine's owner and ours don't share limits.
const IDS: &str = "2013265920:67108864";

/// Directories and control groups; dropped, they are gone, with all containers.
pub struct Host {
    pub berth: PathBuf,
    pub root: PathBuf,
    pub run: PathBuf,
    pub cgroup: String,
}

impl Host {
    /// One that runs the binary `berth`; `purpose` becomes part of its directories' names.
    pub fn new(berth: PathBuf, purpose: &str) -> Result<Self> {
        Self::with_run(berth, purpose, Path::new("/run"))
    }

    /// The same with its directories of this boot in memory, where `/run` is on nearly every machine, and docker's is in its
    /// root directory here.
    pub fn in_memory(berth: PathBuf, purpose: &str) -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let is_memory = mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq(["/run", "tmpfs"]));
        Self::with_run(berth, purpose, Path::new(if is_memory { "/run" } else { "/dev/shm" }))
    }

    fn with_run(berth: PathBuf, purpose: &str, run: &Path) -> Result<Self> {
        let name = format!("berth-{purpose}-{}", std::process::id());
        let host =
            Self { berth, root: Path::new("/var/lib").join(&name), run: run.join(&name), cgroup: name };
        for dir in [&host.root, &host.run] {
            std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        }
        Ok(host)
    }

    /// A command of berth's, without input and output.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.berth);
        command
            .args(args)
            .env("BERTH_ROOT", &self.root)
            .env("BERTH_RUN", &self.run)
            .env("BERTH_CGROUP", &self.cgroup)
            .env("BERTH_IDS", IDS)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Ids of all containers. Errors: berth's own message.
    pub fn containers(&self) -> Result<Vec<String>> {
        let output = self
            .command(&["ps", "-aq"])
            .stdout(Stdio::piped())
            .output()
            .map_err(|e| format!("cannot run berth: {e}"))?;
        if !output.status.success() {
            return Err(format!("berth ps failed: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
    }

    /// Removes all containers; what fails shows in what comes next.
    pub fn remove_all(&self) {
        let ids = self.containers().unwrap_or_default();
        if !ids.is_empty() {
            let args: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str)).collect();
            let _ = self.command(&args).status();
        }
    }

    /// The processes whose program is this host's binary.
    pub fn processes(&self) -> BTreeSet<u32> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                (std::fs::read_link(entry.path().join("exe")).ok()? == self.berth).then_some(pid)
            })
            .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.remove_all();
        for dir in [&self.root, &self.run] {
            if let Err(e) = std::fs::remove_dir_all(dir) {
                eprintln!("xtask: cannot remove {}: {e}", dir.display());
            }
        }
        // The cgroup parent is berth's to make; empty, it is ours to take away.
        for tree in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_groups(&tree.path().join(&self.cgroup));
        }
        remove_groups(&Path::new("/sys/fs/cgroup").join(&self.cgroup));
    }
}

/// Removes a control group and those directly below it, as far as they are empty.
fn remove_groups(parent: &Path) {
    for child in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(child.path());
    }
    let _ = std::fs::remove_dir(parent);
}

//! Docker as a peer.

use super::worker::Worker;
use crate::cmd::{self, Cmd};
use crate::{Result, peers};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A docker of the peers', with its data beside the other fixtures.
pub struct Docker {
    daemon: Child,
    root: PathBuf,
    socket: String,
    netns: Option<u32>,
    dir: PathBuf,
    worker: RefCell<Worker>,
}

impl Docker {
    /// Starts one without networks, and waits until it answers.
    pub fn start(root: &Path) -> Result<Self> {
        Self::start_by(None, root, &["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"])
    }

    /// Starts one with networks, in a network namespace of its own.
    pub fn start_with_networks(root: &Path) -> Result<Self> {
        let script = "ip link set lo up && exec dockerd \"$@\"";
        Self::start_by(None, root, &["unshare", "--net", "sh", "-c", script, "dockerd"])
    }

    /// Starts one with networks, in the network namespace of this process.
    pub fn start_here(root: &Path) -> Result<Self> {
        Self::start_by(None, root, &["dockerd"])
    }

    /// Starts one with networks and flags of its daemon's, in the network namespace of a process.
    pub fn start_in(netns: u32, root: &Path, flags: &[&str]) -> Result<Self> {
        let words: Vec<&str> = ["dockerd"].iter().chain(flags).copied().collect();
        Self::start_by(Some(netns), root, &words)
    }

    fn start_by(netns: Option<u32>, root: &Path, words: &[&str]) -> Result<Self> {
        let dir = cmd::target_dir().join("bench/docker");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let socket = format!("unix://{}/socket", dir.display());
        let data = dir.join("data");
        let daemon = peers::enter_in(netns, root, &cmd::root())
            .args(words)
            .arg("--host")
            .arg(&socket)
            .arg("--data-root")
            .arg(&data)
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run dockerd: {e}"))?;
        let enter =
            peers::enter_in(netns, root, &cmd::root()).args(["env", &format!("DOCKER_HOST={socket}")]);
        let (root, dir) = (root.to_owned(), dir);
        let docker = Self { daemon, root, socket, netns, dir, worker: RefCell::new(Worker::start(enter)?) };
        let start = Instant::now();
        while let Err(error) = docker.time(&["version"]) {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(format!("dockerd doesn't come up: {error}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(docker)
    }

    /// How long one of its commands takes.
    pub fn time(&self, args: &[&str]) -> Result<Duration> {
        let argv: Vec<String> = ["docker"].iter().chain(args).map(|word| (*word).to_owned()).collect();
        self.worker.borrow_mut().time(&argv)
    }

    /// One of its commands.
    pub fn command(&self, args: &[&str]) -> Cmd {
        let host = format!("DOCKER_HOST={}", self.socket);
        peers::enter_in(self.netns, &self.root, &cmd::root()).args(["env", &host, "docker"]).args(args)
    }

    /// A shell script with arguments, in which `docker` means this one.
    pub fn shell(&self, words: &[PathBuf]) -> Cmd {
        let host = format!("DOCKER_HOST={}", self.socket);
        peers::enter_in(self.netns, &self.root, &cmd::root()).args(["env", &host, "sh"]).args(words)
    }

    /// Removes all images.
    pub fn clear(&self) {
        let _ = self.time(&["image", "prune", "--all", "--force"]);
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

//! Debian's `docker-registry` on a port of loopback.

use crate::Result;
use crate::cmd;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A running registry. Dropped, it is killed; its storage stays.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
    storage: PathBuf,
}

impl Registry {
    /// Starts one that keeps what it has in `storage`.
    pub fn start(storage: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = port.map_err(|e| format!("no free port on loopback: {e}"))?.to_string();
        std::fs::create_dir_all(storage).map_err(|e| format!("cannot make {}: {e}", storage.display()))?;
        let dir = cmd::target_dir().join("bench");
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let config = dir.join(format!("registry-{}.yml", host.replace([':', '.'], "-")));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: {host}\n",
            storage.display()
        );
        std::fs::write(&config, text).map_err(|e| format!("cannot write {}: {e}", config.display()))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run docker-registry: {e}"))?;
        let registry = Self { child, host, storage: storage.to_owned() };
        let start = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            if start.elapsed() > START_MAX {
                return Err("docker-registry doesn't come up".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = std::fs::remove_file(config);
        Ok(registry)
    }

    /// Forgets everything that was pushed.
    pub fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.storage);
        let _ = std::fs::create_dir_all(&self.storage);
    }

    /// The blobs of at least so many bytes.
    pub fn large_blobs(&self, bytes_min: u64) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.storage.clone()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(data) if data.is_dir() => todo.push(entry.path()),
                    Ok(data) if data.len() >= bytes_min => found.push(entry.path()),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The fixtures: the floor, a root file system with one static program, and an OCI bundle around it.

use crate::Result;
use crate::cmd::{self, Cmd};
use std::path::{Path, PathBuf};

/// Everything that the start benchmark runs beside berth.
pub struct Fixtures {
    /// The compiled benches/floor.c.
    pub floor: PathBuf,
    /// A directory with a static `/true`.
    pub rootfs: PathBuf,
    /// A bundle whose process is that `/true`.
    pub bundle: PathBuf,
}

/// Compiles and lays out the fixtures below target/bench.
pub fn prepare() -> Result<Fixtures> {
    let dir = cmd::target_dir().join("bench");
    let (rootfs, bundle, floor) = (dir.join("rootfs"), dir.join("bundle"), dir.join("floor"));
    for path in [rootfs.as_path(), &bundle, &rootfs.join("proc"), &rootfs.join("dev"), &rootfs.join("sys")] {
        std::fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    }
    compile("cc", "benches/floor.c", &floor)?;
    compile("musl-gcc", "benches/true.c", &rootfs.join("true"))?;
    let config = bundle.join("config.json");
    std::fs::write(&config, bundle_config(&rootfs))
        .map_err(|e| format!("cannot write {}: {e}", config.display()))?;
    Ok(Fixtures { floor, rootfs, bundle })
}

fn compile(compiler: &str, source: &str, output: &Path) -> Result {
    Cmd::new(compiler).args(["-O2", "-static", "-o"]).arg(output).arg(source).quiet().run()
}

/// What `runc spec` writes, with another process and root: the same document for every runtime.
fn bundle_config(rootfs: &Path) -> String {
    const CAPABILITIES: &str = r#"["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"]"#;
    let rootfs = rootfs.display();
    format!(
        r#"{{
  "ociVersion": "1.0.2",
  "process": {{
    "user": {{ "uid": 0, "gid": 0 }},
    "args": ["/true"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "cwd": "/",
    "capabilities": {{ "bounding": {CAPABILITIES}, "effective": {CAPABILITIES}, "permitted": {CAPABILITIES} }},
    "rlimits": [{{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }}],
    "noNewPrivileges": true
  }},
  "root": {{ "path": "{rootfs}", "readonly": true }},
  "hostname": "bench",
  "mounts": [
    {{ "destination": "/proc", "type": "proc", "source": "proc" }},
    {{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }},
    {{ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }},
    {{ "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] }},
    {{ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }},
    {{ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }}
  ],
  "linux": {{
    "resources": {{ "devices": [{{ "allow": false, "access": "rwm" }}] }},
    "namespaces": [
      {{ "type": "pid" }}, {{ "type": "network" }}, {{ "type": "ipc" }}, {{ "type": "uts" }}, {{ "type": "mount" }}
    ],
    "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
      "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  }}
}}
"#
    )
}

//! OCI bundles, and containers of `berth-runtime`.

use crate::cmd::{Cmd, Output};
use crate::pty::{ConsoleSocket, Pty};
use crate::{Host, Value, json, until};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a container may take to a status that a test awaits.
const STATUS_WAIT: Duration = Duration::from_secs(5);

/// Docker's fourteen capabilities.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A directory with a `config.json`, to be changed before it's used.
#[derive(Debug)]
pub struct Bundle<'h> {
    host: &'h Host,
    id: String,
    dir: PathBuf,
    config: Value,
}

impl<'h> Bundle<'h> {
    pub(crate) fn new(host: &'h Host) -> Bundle<'h> {
        let id = format!("c{}", host.number());
        let dir = host.dir().join(format!("bundle-{id}"));
        std::fs::create_dir(&dir).expect("make a bundle");
        let config = default_config(host, &id);
        Bundle { host, id, dir, config }
    }

    /// Name of the container.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes the configuration.
    pub fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Program and arguments.
    pub fn args<A: AsRef<str>>(self, args: impl IntoIterator<Item = A>) -> Self {
        let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.config(|config| config["process"]["args"] = json!(args))
    }

    /// A shell script as the program.
    pub fn sh(self, script: &str) -> Self {
        self.args(["/bin/sh", "-c", script])
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        self.write_text(&serde_json::to_string_pretty(&self.config).expect("JSON"));
    }

    /// Writes `text` as `config.json`.
    pub fn write_text(&self, text: &str) {
        crate::rootfs::write(&self.dir.join("config.json"), text);
    }

    /// `berth-runtime COMMAND --bundle DIR OPTIONS ID`, with what is on disk.
    pub fn command<A: AsRef<OsStr>>(&self, command: &str, options: impl IntoIterator<Item = A>) -> Cmd {
        let mut args: Vec<std::ffi::OsString> =
            vec![command.into(), "--bundle".into(), self.dir.clone().into()];
        args.extend(options.into_iter().map(|option| option.as_ref().to_owned()));
        args.push(self.id.clone().into());
        self.host.runtime(args)
    }

    /// `berth-runtime run`, not started yet.
    pub fn run_cmd(&self) -> Cmd {
        self.write();
        self.command("run", [""; 0])
    }

    /// `berth-runtime run`, to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.run_cmd().run()
    }

    /// `berth-runtime run` under a terminal, which the container gets one as well for.
    pub fn pty(self) -> Pty {
        let this = self.config(|config| config["process"]["terminal"] = json!(true));
        Pty::start(&this.run_cmd(), crate::host::COLUMNS, crate::host::ROWS)
    }

    /// `berth-runtime create`, which must succeed.
    #[track_caller]
    pub fn create(self) -> Container<'h> {
        self.write();
        self.start_by("create", &[])
    }

    /// `berth-runtime create` with a terminal, whose master goes to `socket`.
    #[track_caller]
    pub fn create_with_console(self, socket: &ConsoleSocket) -> Container<'h> {
        let this = self.config(|config| config["process"]["terminal"] = json!(true));
        this.write();
        let path = socket.path().to_str().expect("UTF-8").to_owned();
        this.start_by("create", &["--console-socket", &path])
    }

    /// `berth-runtime run --detach`, which must succeed.
    #[track_caller]
    pub fn detach(self) -> Container<'h> {
        self.write();
        self.start_by("run", &["--detach"])
    }

    #[track_caller]
    fn start_by(self, command: &str, options: &[&str]) -> Container<'h> {
        let output = self.host.path(&self.id);
        self.command(command, options).output_to(&output).run().ok().silent();
        Container { host: self.host, id: self.id, output }
    }
}

/// A container that `berth-runtime create` or `run --detach` has made. A test deletes it itself.
#[derive(Debug)]
pub struct Container<'h> {
    host: &'h Host,
    id: String,
    output: PathBuf,
}

impl Container<'_> {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `berth-runtime COMMAND ID ARGS…`; options come before the name, so by [`Host::runtime`].
    pub fn command<A: AsRef<OsStr>>(&self, command: &str, args: impl IntoIterator<Item = A>) -> Cmd {
        let cmd = self.host.runtime([command, &self.id]);
        args.into_iter().fold(cmd, Cmd::arg)
    }

    /// Runs its program.
    #[track_caller]
    pub fn start(&self) -> &Self {
        self.command("start", [""; 0]).run().ok().silent();
        self
    }

    /// Its state document.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.command("state", [""; 0]).run().ok().json()
    }

    /// Its status, as `running`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Process id of its first process, on the host.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.state()["pid"].as_u64().expect("a number") as u32
    }

    /// Sends its first process `signal`.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> &Self {
        self.command("kill", [signal]).run().ok().silent();
        self
    }

    /// Waits until it has `status`.
    #[track_caller]
    pub fn await_status(&self, status: &str) -> &Self {
        if !until(STATUS_WAIT, || self.status() == status) {
            panic!("{} isn't {status} after {STATUS_WAIT:?}: {}", self.id, self.state());
        }
        self
    }

    /// What a shell script prints that runs in it by `exec`, which must succeed.
    #[track_caller]
    pub fn see(&self, script: &str) -> String {
        self.command("exec", ["/bin/sh", "-c", script]).text()
    }

    /// What its program has printed so far.
    pub fn printed(&self) -> String {
        let path = self.output.with_added_extension("out");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).trim().to_owned()
    }

    /// Waits until its program has printed `text`.
    #[track_caller]
    pub fn await_printed(&self, text: &str) -> &Self {
        if !until(STATUS_WAIT, || self.printed().contains(text)) {
            panic!("{} hasn't printed {text:?} after {STATUS_WAIT:?}, but:\n{}", self.id, self.printed());
        }
        self
    }

    /// Deletes it, ended or not.
    #[track_caller]
    pub fn remove(self) {
        self.host.runtime(["delete", "--force", &self.id]).run().ok().silent();
    }
}

/// A container with all namespaces, ids of the host's own, no network but loopback, docker's rights and masks, and no
/// privilege to gain; its program prints nothing.
fn default_config(host: &Host, id: &str) -> Value {
    let maps = json!([{"containerID": 0, "hostID": host.first_id(), "size": 65_536}]);
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            },
            "noNewPrivileges": true
        },
        "root": {"path": host.rootfs(), "readonly": false},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]
            },
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
            },
            {
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
            },
            {
                "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]
            },
            {
                "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]
            }
        ],
        "linux": {
            "uidMappings": maps,
            "gidMappings": maps,
            "cgroupsPath": format!("/{}/{id}", host.cgroup()),
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "user"}, {"type": "cgroup"}, {"type": "time"}
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Changes of a configuration that many tests make.
pub mod change {
    use crate::{Value, json};

    /// Takes the namespace `typ` out.
    pub fn without_namespace(config: &mut Value, typ: &str) {
        namespaces(config).retain(|namespace| namespace["type"] != typ);
    }

    /// Joins the namespace `typ` at `path`.
    pub fn join_namespace(config: &mut Value, typ: &str, path: &str) {
        without_namespace(config, typ);
        namespaces(config).push(json!({"type": typ, "path": path}));
    }

    fn namespaces(config: &mut Value) -> &mut Vec<Value> {
        config["linux"]["namespaces"].as_array_mut().expect("a list")
    }

    /// Takes the user namespace out, with its maps: root in the container is the host's.
    pub fn without_user_namespace(config: &mut Value) {
        without_namespace(config, "user");
        let linux = config["linux"].as_object_mut().expect("an object");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    }

    /// Adds a mount.
    pub fn mount(config: &mut Value, mount: Value) {
        config["mounts"].as_array_mut().expect("a list").push(mount);
    }

    /// Takes the mount on `destination` out.
    pub fn without_mount(config: &mut Value, destination: &str) {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["destination"] != destination);
    }
}

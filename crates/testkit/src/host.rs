//! A private host: everything that one test's berth may touch.

use crate::bundle::Bundle;
use crate::cmd::{Cmd, Output};
use crate::ids::{self, Slot};
use crate::pty::Pty;
use crate::{Value, leaks, rootfs};
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Width of the terminals of [`Host::pty`], in columns.
pub const COLUMNS: u16 = 80;

/// Height of the terminals of [`Host::pty`], in rows.
pub const ROWS: u16 = 24;

/// Directories, ids and a control group parent of one test. Dropped, it looks for leaks, fails the test if it finds
/// any, and cleans up in any case.
#[derive(Debug)]
pub struct Host {
    dir: PathBuf,
    cgroup: String,
    pub(crate) slot: Slot,
    devices: Vec<String>,
    rootfs: OnceCell<PathBuf>,
    mounts: RefCell<Vec<PathBuf>>,
    numbers: Cell<u32>,
}

impl Host {
    /// A fresh host.
    #[expect(clippy::new_without_default, reason = "it makes directories and takes locks")]
    pub fn new() -> Host {
        Host::for_many(1)
    }

    /// One with room for so many containers at a time.
    pub fn for_many(containers: u32) -> Host {
        static MADE: AtomicU32 = AtomicU32::new(0);
        crate::netns::of_test();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Of one width, so that no host's name is the beginning of another's.
        let cgroup = format!("berth-test-{}-{number:04}", std::process::id());
        let dir = std::env::temp_dir().join(&cgroup);
        // Of a process with our number that was killed.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
        for name in ["root", "run", "oci", "bin", "work"] {
            std::fs::create_dir(dir.join(name)).expect("make a directory of the host");
        }
        let binary = binary();
        for name in ["berth", "berth-runtime"] {
            std::os::unix::fs::symlink(&binary, dir.join("bin").join(name)).expect("link the binary");
        }
        Host {
            dir,
            cgroup,
            slot: Slot::take(containers.div_ceil(ids::SLOT_CONTAINERS)),
            devices: leaks::net_devices(),
            rootfs: OnceCell::new(),
            mounts: RefCell::default(),
            numbers: Cell::new(0),
        }
    }

    /// Its directory, which nobody else uses.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the directory for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("work").join(name)
    }

    /// BERTH_ROOT.
    pub fn root_dir(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// BERTH_RUN.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// `--root` of `berth-runtime`.
    pub fn oci_dir(&self) -> PathBuf {
        self.dir.join("oci")
    }

    /// BERTH_CGROUP: name of the parent of its control groups, at the top of each hierarchy.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// First of the ids on the host that are its own.
    pub fn first_id(&self) -> u32 {
        self.slot.base
    }

    /// Number of ids that are its own.
    pub fn id_count(&self) -> u32 {
        self.slot.count
    }

    /// Whether an id on the host is its own.
    pub fn owns_id(&self, id: u32) -> bool {
        self.slot.holds(id)
    }

    /// A number that it hasn't given out before, for names.
    pub(crate) fn number(&self) -> u32 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    /// The environment that makes berth live here.
    pub fn env(&self) -> [(&'static str, String); 4] {
        [
            ("BERTH_ROOT", self.root_dir().display().to_string()),
            ("BERTH_RUN", self.run_dir().display().to_string()),
            ("BERTH_CGROUP", self.cgroup.clone()),
            ("BERTH_IDS", format!("{}:{}", self.slot.base, self.slot.count)),
        ]
    }

    /// The process of berth's that stopped itself at a fault point, if there is one.
    pub fn stopped(&self) -> Option<u32> {
        let berth = self.dir.join("bin/berth").display().to_string();
        let is_stopped = |pid: &u32| {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            read("cmdline").starts_with(berth.as_bytes())
                && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_stopped)
    }

    fn cmd<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> Cmd {
        let cmd = Cmd::new(self.dir.join("bin").join(name), args).cwd(self.dir.join("work"));
        self.env().into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    /// `berth ARGS…`.
    pub fn berth<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Cmd {
        self.cmd("berth", args)
    }

    /// `berth-runtime --root DIR ARGS…`.
    pub fn runtime<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Cmd {
        let mut all: Vec<std::ffi::OsString> = vec!["--root".into(), self.oci_dir().into()];
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self.cmd("berth-runtime", all)
    }

    /// `berth ARGS…` under a terminal of [`COLUMNS`] by [`ROWS`].
    pub fn pty<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Pty {
        Pty::start(&self.berth(args), COLUMNS, ROWS)
    }

    /// A bundle with a configuration that runs a shell, and a name of its own.
    pub fn bundle(&self) -> Bundle<'_> {
        Bundle::new(self)
    }

    /// What the shell script `script` prints in a container of `berth-runtime`, its configuration changed by `change`.
    /// The run must succeed.
    #[track_caller]
    pub fn see(&self, script: &str, change: impl FnOnce(&mut Value)) -> String {
        self.bundle().sh(script).config(change).run().ok().silent().text()
    }

    /// How `berth-runtime run` fails when its configuration is changed by `change`; it must.
    #[track_caller]
    pub fn refused(&self, change: impl FnOnce(&mut Value)) -> Output {
        self.bundle().sh("echo ran").config(change).run().failed().stdout_is("")
    }

    /// A root file system from busybox owned by [`Host::first_id`], which is root in the user namespace of
    /// [`Host::bundle`]. The same one at each call.
    pub fn rootfs(&self) -> &Path {
        self.rootfs.get_or_init(|| self.fresh_rootfs())
    }

    /// Another such root file system.
    pub fn fresh_rootfs(&self) -> PathBuf {
        self.rootfs_of(self.slot.base)
    }

    /// A root file system from busybox owned by `owner`: 0 for `berth run --rootfs`.
    pub fn rootfs_of(&self, owner: u32) -> PathBuf {
        let dir = self.dir.join(format!("rootfs-{}", self.number()));
        rootfs::make(&dir, owner);
        dir
    }

    /// A tar of a root file system from busybox, for `berth import`.
    pub fn rootfs_tar(&self) -> PathBuf {
        let dir = self.rootfs_of(0);
        let file = self.path("rootfs.tar");
        rootfs::tar(&dir, &file);
        file
    }

    /// A new tmpfs on the host, until the end of the test, at `work/NAME`; `propagation` as mount(8) has it, such as
    /// `shared`.
    pub fn tmpfs(&self, name: &str, propagation: &str) -> PathBuf {
        use rustix::mount::{MountFlags, MountPropagationFlags as P, mount, mount_change};
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).expect("make a mount point");
        mount("berth-test", &dir, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
            .unwrap_or_else(|e| panic!("mount a tmpfs on {}: {e}", dir.display()));
        self.mounts.borrow_mut().push(dir.clone());
        let change = match propagation {
            "shared" => P::SHARED,
            "private" => P::PRIVATE,
            other => panic!("testkit has no propagation {other}"),
        };
        mount_change(&dir, change).unwrap_or_else(|e| panic!("make {} {propagation}: {e}", dir.display()));
        dir
    }

    /// Puts BERTH_ROOT on a file system of its own that holds so many bytes.
    pub fn small_root(&self, bytes: u64) {
        let dir = self.root_dir();
        let options = std::ffi::CString::new(format!("mode=755,size={bytes}")).expect("no NUL in it");
        rustix::mount::mount(
            "berth-test",
            &dir,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(&*options),
        )
        .unwrap_or_else(|e| panic!("mount a tmpfs on {}: {e}", dir.display()));
        self.mounts.borrow_mut().push(dir);
    }

    fn unmount_own(&self) {
        for dir in self.mounts.borrow_mut().drain(..).rev() {
            let _ = rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.unmount_own();
        let patient = !std::thread::panicking();
        let left = leaks::after(self, &self.devices, patient);
        leaks::clean(self);
        let _ = std::fs::remove_dir_all(&self.dir);
        if patient && !left.is_empty() {
            panic!("the test left behind:\n  {}", left.join("\n  "));
        }
    }
}

/// The binary under test: BERTH_BIN, or the one that cargo built beside the test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BERTH_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("/proc is mounted");
    let found = test.ancestors().skip(1).map(|dir| dir.join("berth")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no berth beside {}: set BERTH_BIN", test.display()))
}

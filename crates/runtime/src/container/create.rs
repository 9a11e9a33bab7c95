//! `create`, `start` and `run`.

use super::console::{self, Receiver};
use super::delete::tear_down;
use super::dir::{Lock, START_SOCKET, StateDir, StateRoot, read_bounded};
use super::foreground::{Signals, supervise, terminal_size};
use super::record::{self, ProcessId, Record, Stage, boot_id};
use super::status::{find, status, word};
use super::{CGROUP_PARENT, io_step};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::{Error, Launch, Plan, Root, Started, launch};
use linux::process;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use types::oci::{NamespaceType, Resources, Spec, Status};

/// How a container is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Directory with `config.json`.
    pub bundle: PathBuf,
    /// Unix socket to which the pty's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Unix socket to which a pidfd of the first process is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 up are passed on.
    pub preserve_fds: u32,
}

/// What `run` adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Whether to return once the program runs.
    pub detach: bool,
    /// Whether the container isn't deleted when it ends.
    pub keep: bool,
    /// Whether orphans of the container's become the caller's children.
    pub subreaper: bool,
}

/// Makes a container, up to its program; its first process is alive and waits for [`start`]. Returns warnings.
///
/// Errors: as [`Plan::new`] and [`launch`]; [`Error::Id`] if the id is taken. Nothing is left behind then.
pub fn create(root: &Path, id: &str, options: &CreateOptions) -> Result<Vec<String>, Error> {
    let (made, started) = Making { root, id, options, waits: true, detach: true }.make()?;
    drop(made);
    Ok(started.warnings)
}

/// Runs the program of a container that [`create`] made.
///
/// Errors: [`Error::NotFound`]; [`Error::Status`] unless it's created; what execve met.
pub fn start(root: &Path, id: &str) -> Result<(), Error> {
    let (_, dir, _) = find(root, id)?;
    let missing = || Error::NotFound { id: id.to_owned() };
    let _lock = dir.lock()?.ok_or_else(missing)?;
    let record = Record::load(&dir)?.ok_or_else(missing)?;
    match status(&dir, &record)? {
        Status::Created => crate::start(dir.fd(), START_SOCKET),
        status => Err(Error::Status { id: id.to_owned(), status: word(status).to_owned(), what: "start it" }),
    }
}

/// Makes a container and runs its program. In the foreground: passes signals and terminal through, waits, deletes, and
/// answers the status to leave with (128 and the number after a signal); detached: 0. With warnings.
///
/// Errors: as [`create`] and [`start`].
pub fn run(
    root: &Path,
    id: &str,
    options: &CreateOptions,
    run: RunOptions,
) -> Result<(u8, Vec<String>), Error> {
    let signals = if run.detach { None } else { Some(Signals::take()?) };
    if run.subreaper {
        process::set_subreaper().map_err(|e| Error::step("adopt orphans", "prctl", "subreaper", e))?;
    }
    let making = Making { root, id, options, waits: false, detach: run.detach };
    let (made, started) = making.make()?;
    let Made { root, dir, lock, record } = made;
    drop(lock);
    let Some(signals) = signals else { return Ok((0, started.warnings)) };
    let exit = supervise(&signals, started.pid, started.pidfd.as_fd(), started.terminal)?;
    // Somebody else may have deleted it already.
    if !run.keep
        && let Some(lock) = dir.lock()?
    {
        tear_down(&root, dir, lock, &record)?;
    }
    Ok((exit.shell_code(), started.warnings))
}

/// A container that exists, locked.
struct Made {
    root: StateRoot,
    dir: StateDir,
    lock: Lock,
    record: Record,
}

struct Making<'a> {
    root: &'a Path,
    id: &'a str,
    options: &'a CreateOptions,
    /// Whether the first process awaits a start.
    waits: bool,
    /// Whether nobody will pass a terminal through.
    detach: bool,
}

/// What must be known, and reached, before anything is made.
struct Ready<'a> {
    plan: Plan,
    rootfs: PathBuf,
    group: cgroup::Plan,
    console: Option<Receiver<'a>>,
    pidfd: Option<Receiver<'a>>,
}

impl<'a> Making<'a> {
    fn make(&self) -> Result<(Made, Started), Error> {
        let path = &self.options.bundle;
        let bundle = std::fs::canonicalize(path).map_err(io_step("find the bundle", "open", path))?;
        let (bytes, mut spec) = load_spec(&bundle.join("config.json"))?;
        make_absolute(&mut spec, &bundle);
        if !self.detach
            && let Some(process) = spec.process.as_mut().filter(|process| process.terminal)
        {
            process.console_size = terminal_size().or(process.console_size);
        }
        let ready = self.prepare(&spec)?;
        let record = self.record(&spec, &bundle, &ready);
        let root = StateRoot::ensure(self.root)?;
        let files = [("config.json", &bytes[..]), (record::FILE, &record.to_bytes()[..])];
        let (dir, lock) = root.claim(self.id, &files)?;
        let mut made = Made { root, dir, lock, record };
        match self.launch(&mut made, ready) {
            Ok(started) => Ok((made, started)),
            Err(error) => {
                // The first failure is the one to tell; what can't be removed now, `delete` can.
                let _ = tear_down(&made.root, made.dir, made.lock, &made.record);
                Err(error)
            }
        }
    }

    fn prepare(&self, spec: &Spec) -> Result<Ready<'a>, Error> {
        let plan = Plan::new(spec)?;
        if !plan.has_user_namespace() {
            super::seal()?;
        }
        let terminal = plan.process().terminal();
        match (&self.options.console_socket, self.detach) {
            (None, true) if terminal => {
                let why = "is needed: there is nobody to pass the terminal through (process.terminal)";
                return Err(Error::field("--console-socket", why));
            }
            (Some(_), detach) if !(detach && terminal) => {
                let why = "is for detached containers with process.terminal";
                return Err(Error::field("--console-socket", why));
            }
            _ => {}
        }
        let linux = spec.linux.as_ref();
        let mut resources: Resources = linux.and_then(|l| l.resources.clone()).unwrap_or_default();
        if resources.devices.is_empty() {
            // As runc: only the default devices, whether or not the configuration speaks of devices.
            resources.devices = cgroup::docker_default_device_rules();
        }
        let path = linux.and_then(|l| l.cgroups_path.clone()).filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| format!("{CGROUP_PARENT}/{}", self.id));
        let hierarchy = Hierarchy::detect_for(&resources, &path)?;
        Ok(Ready {
            plan,
            rootfs: spec.root.as_ref().map(|root| root.path.clone().into()).unwrap_or_default(),
            group: cgroup::plan(&resources, &path, &hierarchy)?,
            console: connect("--console-socket", &self.options.console_socket)?,
            pidfd: connect("--pidfd-socket", &self.options.pidfd_socket)?,
        })
    }

    fn record(&self, spec: &Spec, bundle: &Path, ready: &Ready<'_>) -> Record {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let namespaces = spec.linux.as_ref().map(|linux| &linux.namespaces[..]).unwrap_or_default();
        Record {
            oci_version: spec.oci_version.clone(),
            id: self.id.to_owned(),
            bundle: bundle.display().to_string(),
            rootfs: ready.rootfs.display().to_string(),
            created: (since.as_secs(), since.subsec_nanos()),
            annotations: spec.annotations.clone(),
            owner: rustix::process::getuid().as_raw(),
            boot_id: boot_id(),
            cgroup: ready.group.paths(),
            own_pid_namespace: namespaces
                .iter()
                .any(|ns| ns.typ == NamespaceType::Pid && ns.path.as_deref().unwrap_or_default().is_empty()),
            stage: Stage::Planned,
            process: None,
        }
    }

    fn launch(&self, made: &mut Made, ready: Ready<'_>) -> Result<Started, Error> {
        let group = ready.group.create()?;
        made.record.cgroup = group.paths().clone();
        made.record.stage = Stage::GroupMade;
        made.record.save(&made.dir)?;
        // In a mount namespace of its own, the root may hide the directory: nobody else sees that.
        let mountpoint = match ready.plan.has_mount_namespace() {
            true => made.dir.path.clone(),
            false => made.dir.make_mountpoint()?,
        };
        let start_socket: Option<OwnedFd> = self.waits.then(|| made.dir.listen()).transpose()?;
        let starting = launch(Launch {
            plan: &ready.plan,
            root: Root::Directory(ready.rootfs),
            mountpoint,
            stdio: None,
            cgroup: Some(&group),
            start_socket,
            tasks_max: None,
            preserve_fds: self.options.preserve_fds,
            idmap_optional: false,
            trace: false,
        })?;
        let start_time = process::start_time(starting.pid)
            .ok_or_else(|| Error::Lost { how: "before it could be recorded".to_owned() })?;
        made.record.process = Some(ProcessId { pid: starting.pid, start_time });
        made.record.stage = Stage::Cloned;
        made.record.save(&made.dir)?;
        let mut started = starting.finish()?;
        started.warnings.splice(0..0, ready.plan.warnings.iter().cloned());
        self.hand_over(&mut started, ready.console, ready.pidfd)?;
        made.record.stage = Stage::Ready;
        made.record.save(&made.dir)?;
        Ok(started)
    }

    /// Hands over what the caller asked for; with a console socket nobody here keeps the terminal.
    fn hand_over(
        &self,
        started: &mut Started,
        console: Option<Receiver<'_>>,
        pidfd: Option<Receiver<'_>>,
    ) -> Result<(), Error> {
        if let Some(receiver) = console
            && let Some(master) = started.terminal.take()
        {
            receiver.send("/dev/ptmx", master.as_fd())?;
        }
        if let Some(receiver) = pidfd {
            receiver.send("pidfd", started.pidfd.as_fd())?;
        }
        match &self.options.pid_file {
            Some(path) => console::write_pid_file(path, started.pid),
            None => Ok(()),
        }
    }
}

fn connect<'a>(option: &str, path: &'a Option<PathBuf>) -> Result<Option<Receiver<'a>>, Error> {
    path.as_deref().map(|path| console::connect(option, path)).transpose()
}

/// Reads a configuration.
pub(super) fn load_spec(path: &Path) -> Result<(Vec<u8>, Spec), Error> {
    let file = std::fs::File::open(path).map_err(io_step("read the configuration", "open", path))?;
    let bytes = read_bounded(file, path)?;
    let spec = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Document { path: path.display().to_string(), why: error.to_string() })?;
    Ok((bytes, spec))
}

/// Takes relative paths of the host from the bundle. Source: runtime-spec config.md, Root and Mounts.
fn make_absolute(spec: &mut Spec, bundle: &Path) {
    let absolute = |path: &str| bundle.join(path).to_string_lossy().into_owned();
    if let Some(root) = &mut spec.root
        && !root.path.is_empty()
    {
        root.path = absolute(&root.path);
    }
    for mount in &mut spec.mounts {
        let bind = mount.typ.as_deref() == Some("bind")
            || mount.options.iter().any(|option| option == "bind" || option == "rbind");
        if let Some(source) = mount.source.as_mut().filter(|source| bind && !source.is_empty()) {
            *source = absolute(source);
        }
    }
}

/// Opens a container's control group, or one below it.
pub(super) fn open_group(record: &Record, below: Option<&str>) -> Result<Cgroup, Error> {
    let Some(below) = below else { return Ok(Cgroup::open(&record.cgroup)?) };
    let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(Error::field("--cgroup", format!("{below:?} leaves the container's control group")));
    }
    let mut paths = record.cgroup.clone();
    for dir in paths.v2.iter_mut().chain(paths.v1.values_mut()) {
        for part in &parts {
            dir.push('/');
            dir.push_str(part);
        }
        if !Path::new(dir.as_str()).is_dir() {
            return Err(Error::field("--cgroup", format!("there is no control group {dir}")));
        }
    }
    Ok(Cgroup::open(&paths)?)
}

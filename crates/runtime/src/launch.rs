//! The holder's side of a start: clone, id maps, privileged mounts, go.
//!
//! ```text
//! launch()           ──▶ Starting    the first process makes its mounts by itself; the caller may do other things
//! Starting::finish() ──▶ Started     it has become the user's program, or waits for a start
//! ```
//! Dropping a [`Starting`] or failing kills the first process; the caller reaps it.

use crate::cgroup::Cgroup;
use crate::child::{self, Inheritance};
use crate::message::{self, Message};
use crate::plan::{Plan, UserNamespace};
use crate::{Error, Step, Steps, holder_mounts, userns};
use linux::Errno;
use linux::process::{self, Cloned, ns};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use types::oci::IdMapping;

/// Makes the container's root as a detached mount, given the container's user namespace (`None` if it's the caller's)
/// and its maps of user and group ids.
pub type MakeRoot<'a> =
    dyn FnOnce(Option<BorrowedFd<'_>>, &[IdMapping], &[IdMapping], &mut Steps) -> Result<OwnedFd, Error> + 'a;

/// Where the container's root comes from.
pub enum Root<'a> {
    /// A directory of the host.
    Directory(PathBuf),
    /// Whatever the caller makes, once the user namespace exists.
    Made(Box<MakeRoot<'a>>),
}

impl std::fmt::Debug for Root<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Root::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Root::Made(_) => f.write_str("Made"),
        }
    }
}

/// The three standard streams of the process.
#[derive(Debug)]
pub struct Stdio {
    /// Descriptor 0; `None` is the container's own `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// Descriptor 1.
    pub stdout: OwnedFd,
    /// Descriptor 2.
    pub stderr: OwnedFd,
}

/// A start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// What was decided.
    pub plan: &'a Plan,
    /// The root.
    pub root: Root<'a>,
    /// An existing directory that the root is attached on inside the new mount namespace, until it becomes `/`.
    pub mountpoint: PathBuf,
    /// The standard streams; `None` with a terminal, or to pass on the caller's.
    pub stdio: Option<Stdio>,
    /// The control group that the process is born in.
    pub cgroup: Option<&'a Cgroup>,
    /// A listening socket on which the first process awaits its start ([`crate::start`]); `None` starts it at once.
    pub start_socket: Option<OwnedFd>,
    /// Most tasks in the new user namespace, by RLIMIT_NPROC: cheaper than a pids control group, which on version 1
    /// costs a migration.
    pub tasks_max: Option<u64>,
    /// Descriptors from 3 upward that the program keeps.
    pub preserve_fds: u32,
    /// Whether a bind mount whose ids can't be mapped is made without.
    pub idmap_optional: bool,
    /// Whether the steps are recorded.
    pub trace: bool,
}

/// A first process on its way.
#[derive(Debug)]
pub struct Starting {
    /// Its process id; it's a child of the caller.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    /// Warnings about what was left out: ids of a mount that couldn't be mapped.
    pub warnings: Vec<String>,
    socket: OwnedFd,
    steps: Steps,
    armed: bool,
}

/// A first process that is where it should be.
#[derive(Debug)]
pub struct Started {
    /// Its process id; it's a child of the caller.
    pub pid: i32,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    /// Its terminal's master side, if the plan has one.
    pub terminal: Option<OwnedFd>,
    /// The steps of both sides, if they were recorded: the holder's, then the first process's.
    pub steps: Vec<Step>,
    /// As [`Starting::warnings`].
    pub warnings: Vec<String>,
}

/// Clones the first process and does for it what only the host may do. On return it's mounting.
pub fn launch(launch: Launch<'_>) -> Result<Starting, Error> {
    let mut steps = Steps::new(launch.trace, false);
    let Launch { plan, root, mountpoint, stdio, cgroup, start_socket, tasks_max, .. } = launch;
    let (ours, theirs) =
        steps.run("socketpair", "SEQPACKET", "talk to the first process", linux::socket::pair)?;
    let namespace_files = open_joins(plan, &mut steps)?;
    let inheritance = Inheritance {
        socket: theirs,
        mountpoint,
        stdio,
        start_socket,
        preserve_fds: launch.preserve_fds,
        trace: launch.trace,
        v1_controllers: cgroup.map(|c| c.paths().v1.clone()).unwrap_or_default(),
        has_v2: cgroup.is_some_and(|c| c.paths().v2.is_some()),
    };
    let (pid, pidfd) =
        clone_first(plan, &namespace_files, cgroup, tasks_max, inheritance, &ours, &mut steps)?;
    let mut starting = Starting { pid, pidfd, warnings: Vec::new(), socket: ours, steps, armed: true };
    starting.prepare(plan, root, cgroup, tasks_max, &namespace_files, launch.idmap_optional)?;
    Ok(starting)
}

/// Opened namespace files to join, with their flags.
struct Joins {
    files: Vec<(u64, OwnedFd)>,
    cgroup: Option<OwnedFd>,
}

fn open_joins(plan: &Plan, steps: &mut Steps) -> Result<Joins, Error> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let mut open = |path: &std::path::Path| {
        steps.run("open", path.display(), "join a namespace", || {
            openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        })
    };
    let mut files = Vec::new();
    for join in &plan.namespaces.joins {
        files.push((join.flag, open(&join.path)?));
    }
    let cgroup = plan.namespaces.join_cgroup.as_deref().map(&mut open).transpose()?;
    Ok(Joins { files, cgroup })
}

fn clone_first(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<&Cgroup>,
    tasks_max: Option<u64>,
    inheritance: Inheritance,
    ours: &OwnedFd,
    steps: &mut Steps,
) -> Result<(i32, OwnedFd), Error> {
    let into = cgroup.and_then(Cgroup::v2_dir_fd);
    let flags = plan.namespaces.clone_flags;
    let start = |inheritance, error: Option<Error>| -> ! {
        child::run(plan, inheritance, joins.cgroup.as_ref(), error)
    };
    if joins.files.is_empty() {
        let ceiling = match (&plan.namespaces.user, tasks_max) {
            (UserNamespace::New { uid, .. }, Some(max)) => userns::to_host(uid, 0).map(|base| (base, max)),
            _ => None,
        };
        let cloned =
            steps.run("clone3", flag_names(flags), "make the first process in new namespaces", || {
                with_task_ceiling(ceiling, || process::clone3(flags, into))
            })?;
        return match cloned {
            Cloned::Child => start(inheritance, None),
            Cloned::Parent(pid, pidfd) => Ok((pid, pidfd)),
        };
    }
    // Joining happens in a process of its own, which then makes the first process as its sibling and ends: the holder
    // itself stays where it is.
    let cloned =
        steps.run("clone3", "", "make a process that joins namespaces", || process::clone3(0, into))?;
    match cloned {
        Cloned::Parent(between, _pidfd) => {
            drop(inheritance.socket);
            let _ = process::wait_child(between);
            first_of(ours)
        }
        Cloned::Child => {
            let _ = process::set_dumpable(false);
            let mut error = None;
            for (flag, file) in &joins.files {
                if let Err(errno) = process::setns(file.as_fd(), *flag) {
                    error = Some(Error::step("join a namespace", "setns", flag_names(*flag), errno));
                    break;
                }
            }
            let flags = if error.is_some() { 0 } else { flags };
            match process::clone3(flags | process::CLONE_PARENT, None) {
                Ok(Cloned::Child) => start(inheritance, error),
                Ok(Cloned::Parent(pid, pidfd)) => {
                    // In the outermost pid namespace that the holder shares with us, the number is the holder's too.
                    let hello = serde_json::to_vec(&pid).unwrap_or_default();
                    let _ = linux::socket::send(&inheritance.socket, &hello, &[pidfd.as_fd()]);
                    process::exit(0)
                }
                Err(errno) => {
                    let error = Error::step("make the first process", "clone3", flag_names(flags), errno);
                    message::send(&inheritance.socket, &Message::Failed((&error).into()), &[]);
                    process::exit(1)
                }
            }
        }
    }
}

/// What the joining process says: the first process's id and descriptor, or that it failed.
fn first_of(socket: &OwnedFd) -> Result<(i32, OwnedFd), Error> {
    let failed = |errno| Error::step("hear from the joining process", "recvmsg", "its socket", errno);
    let mut buffer = vec![0; 4096];
    let (length, fds) = linux::socket::recv(socket, &mut buffer).map_err(failed)?;
    if let Ok(pid) = serde_json::from_slice::<i32>(&buffer[..length]) {
        let pidfd = fds.into_iter().next().ok_or_else(|| failed(Errno::BADMSG))?;
        return Ok((pid, pidfd));
    }
    match serde_json::from_slice::<Message>(&buffer[..length]) {
        Ok(Message::Failed(failure)) => Err(failure.into()),
        _ => Err(Error::Lost { how: "while joining namespaces".to_owned() }),
    }
}

/// Clones as user `base` with a soft limit of `max` tasks, which the kernel takes over as the ceiling of the whole new
/// user namespace; as global root it would take none. Source: enforced_nproc_rlimit() in kernel/user_namespace.c.
fn with_task_ceiling(
    ceiling: Option<(u32, u64)>,
    clone: impl FnOnce() -> Result<Cloned, Errno>,
) -> Result<Cloned, Errno> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some((base, max)) = ceiling else { return clone() };
    let before = getrlimit(Resource::Nproc);
    let soft = before.maximum.map_or(max, |hard| hard.min(max));
    setrlimit(Resource::Nproc, Rlimit { current: Some(soft), maximum: before.maximum })?;
    let caps = linux::creds::capget()?;
    linux::creds::setresuid(base, base, 0)?;
    let raised = linux::creds::capset(linux::creds::CapState { effective: caps.permitted, ..caps });
    let cloned = raised.and_then(|()| clone());
    if let Ok(Cloned::Child) = cloned {
        return cloned;
    }
    linux::creds::setresuid(0, 0, 0)?;
    linux::creds::capset(caps)?;
    setrlimit(Resource::Nproc, before)?;
    cloned
}

/// Names of the namespaces in a set of clone flags.
pub(crate) fn flag_names(flags: u64) -> String {
    let names = [
        (ns::USER, "user"),
        (ns::MOUNT, "mount"),
        (ns::PID, "pid"),
        (ns::NET, "net"),
        (ns::UTS, "uts"),
        (ns::IPC, "ipc"),
        (ns::CGROUP, "cgroup"),
        (ns::TIME, "time"),
    ];
    names.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

impl Starting {
    fn prepare(
        &mut self,
        plan: &Plan,
        root: Root<'_>,
        cgroup: Option<&Cgroup>,
        tasks_max: Option<u64>,
        joins: &Joins,
        idmap_optional: bool,
    ) -> Result<(), Error> {
        let pid = self.pid;
        let steps = &mut self.steps;
        let (userns, uid, gid) = match &plan.namespaces.user {
            UserNamespace::Inherited => (None, Vec::new(), Vec::new()),
            UserNamespace::New { uid, gid } => {
                steps.group("write", format!("/proc/{pid}/uid_map, gid_map"), "map its ids", || {
                    userns::write_maps(pid, &userns::map_lines(uid), &userns::map_lines(gid))
                })?;
                (Some(userns::open_of(pid)?), uid.clone(), gid.clone())
            }
            UserNamespace::Joined => {
                let file =
                    joins.files.iter().find(|(flag, _)| *flag == ns::USER).map(|(_, file)| file.try_clone());
                let read = |name: &str| {
                    let text = std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
                    userns::parse_map(&text).unwrap_or_default()
                };
                (file.transpose().ok().flatten(), read("uid_map"), read("gid_map"))
            }
        };
        set_limits(pid, plan, tasks_max, steps)?;
        if let Some(cgroup) = cgroup.filter(|c| c.needs_add_pid()) {
            steps.group("write", "cgroup.procs", "put it into its version 1 control groups", || {
                Ok(cgroup.add_pid(pid as u32)?)
            })?;
        }
        let ids = holder_mounts::Ids { userns: userns.as_ref().map(|fd| fd.as_fd()), uid: &uid, gid: &gid };
        let made = holder_mounts::make(plan, root, &ids, idmap_optional, steps, &mut self.warnings)?;
        let fds: Vec<BorrowedFd<'_>> = made.iter().map(|fd| fd.as_fd()).collect();
        self.steps.run("sendmsg", format!("{} mounts", fds.len()), "hand them over and say go", || {
            linux::socket::send(&self.socket, b"go", &fds)
        })
    }

    /// Waits until the first process has become the user's program, or waits for its start.
    pub fn finish(mut self) -> Result<Started, Error> {
        let mut terminal = None;
        let mut steps = self.steps.take();
        let mut executing = false;
        loop {
            match message::receive(&self.socket)? {
                Some((Message::Terminal, fds)) => terminal = fds.into_iter().next(),
                Some((Message::Executing { steps: theirs }, _)) => {
                    steps.extend(theirs);
                    executing = true;
                }
                Some((Message::Waiting { steps: theirs }, _)) => {
                    steps.extend(theirs);
                    break;
                }
                Some((Message::Failed(failure), _)) => return Err(failure.into()),
                None if executing => break,
                None => {
                    let how = match process::pidfd_exit(self.pidfd.as_fd()) {
                        Some(exit) => format!("{exit:?}"),
                        None => "killed from outside?".to_owned(),
                    };
                    return Err(Error::Lost { how });
                }
            }
        }
        self.armed = false;
        let pidfd = self.pidfd.try_clone().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Error::step("keep the first process's descriptor", "dup", self.pid, errno)
        })?;
        let warnings = std::mem::take(&mut self.warnings);
        Ok(Started { pid: self.pid, pidfd, terminal, steps, warnings })
    }

    /// The socket on which [`Starting::finish`] waits, for callers that fork in between and must not keep it.
    pub fn socket_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.armed {
            let _ = process::pidfd_signal(self.pidfd.as_fd(), 9);
        }
    }
}

/// Limits of the process, set from outside: inside its user namespace it may raise none.
pub(crate) fn set_limits(
    pid: i32,
    plan: &Plan,
    tasks_max: Option<u64>,
    steps: &mut Steps,
) -> Result<(), Error> {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let target = Pid::from_raw(pid);
    let process = &plan.process;
    let own_nproc = process.rlimits.iter().any(|limit| limit.resource == Resource::Nproc);
    if tasks_max.is_some() && !own_nproc {
        steps.run("prlimit", "RLIMIT_NPROC", "take the ceiling's limit off the process itself", || {
            prlimit(target, Resource::Nproc, getrlimit(Resource::Nproc)).map(drop)
        })?;
    }
    for limit in &process.rlimits {
        let value = Rlimit { current: limit.soft, maximum: limit.hard };
        steps.run("prlimit", limit.name, "set a resource limit", || {
            prlimit(target, limit.resource, value).map(drop)
        })?;
    }
    if let Some(adj) = process.oom_score_adj {
        let path = format!("/proc/{pid}/oom_score_adj");
        steps.run(
            "write",
            format!("{path} {adj}"),
            "set its place in the order of the OOM killer",
            || {
                std::fs::write(&path, adj.to_string())
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
            },
        )?;
    }
    Ok(())
}

/// Starts a first process that waits on `socket_name` in `dir`: returns once it has become the user's program.
///
/// Errors: ECONNREFUSED or ENOENT as [`Error::Step`] if it doesn't wait (any more).
pub fn start(dir: BorrowedFd<'_>, socket_name: &str) -> Result<(), Error> {
    let connection = linux::socket::connect(dir, socket_name)
        .map_err(|errno| Error::step("start the container", "connect", socket_name, errno))?;
    let mut executing = false;
    loop {
        match message::receive(&connection)? {
            Some((Message::Failed(failure), _)) => return Err(failure.into()),
            Some((Message::Executing { .. }, _)) => executing = true,
            Some(_) => {}
            None if executing => return Ok(()),
            None => return Err(Error::Lost { how: "while it was being started".to_owned() }),
        }
    }
}

/// The caller's standard streams, duplicated.
pub fn own_stdio() -> Result<Stdio, Error> {
    let dup = |number: i32| {
        rustix::io::fcntl_dupfd_cloexec(borrow_std(number), 3)
            .map_err(|errno| Error::step("pass on the standard streams", "dup", number, errno))
    };
    Ok(Stdio { stdin: Some(dup(0)?), stdout: dup(1)?, stderr: dup(2)? })
}

fn borrow_std(number: i32) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

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
use crate::{Error, Step, Steps, holder_mounts, limits, userns};
use linux::Errno;
use linux::process::{self, Cloned, ns};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Makes the container's root as a detached mount, given its first process, which waits for it, and its user namespace
/// (`None` if that is the caller's).
pub type MakeRoot<'a> = dyn FnOnce(i32, Option<BorrowedFd<'_>>, &mut Steps) -> Result<OwnedFd, Error> + 'a;

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
    match &stdio {
        Some(own) => {
            let fds = own.stdin.iter().chain([&own.stdout, &own.stderr]).map(AsFd::as_fd);
            give_pipes(fds, plan, &mut steps)?;
        }
        None if plan.process.terminal => {}
        None => give_pipes((0..3).map(borrow_std), plan, &mut steps)?,
    }
    let inheritance = Inheritance {
        socket: theirs,
        mountpoint,
        stdio,
        start_socket,
        init: own_binary(plan, &mut steps)?,
        preserve_fds: launch.preserve_fds,
        trace: launch.trace,
        tasks_before: tasks_max.map(|_| rustix::process::getrlimit(rustix::process::Resource::Nproc)),
        v1_controllers: cgroup.map(|c| c.paths().v1.clone()).unwrap_or_default(),
        has_v2: cgroup.is_some_and(|c| c.paths().v2.is_some()),
    };
    // The first process finds its mountpoint as its working directory, wherever it may walk.
    let before =
        steps.run("open, chdir", inheritance.mountpoint.display(), "stand where the root goes", || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let before = openat(CWD, ".", flags, Mode::empty())?;
            rustix::process::chdir(&inheritance.mountpoint)?;
            Ok(before)
        })?;
    let cloned = clone_first(plan, &namespace_files, cgroup, tasks_max, inheritance, ours, &mut steps);
    let _ = rustix::process::fchdir(&before);
    let (pid, pidfd, ours) = cloned?;
    let mut starting = Starting::new(pid, pidfd, ours, steps);
    match starting.prepare(plan, root, cgroup, &namespace_files, launch.idmap_optional) {
        Ok(()) => Ok(starting),
        // If the first process failed before, that is the reason.
        Err(error) => Err(starting.told().or_else(|| starting.lost()).unwrap_or(error)),
    }
}

/// Gives the pipes among the streams to the process's user, who else couldn't open `/dev/stdout` by name: their inodes
/// belong to whoever made them, an id that the user namespace lacks.
fn give_pipes<'a>(
    streams: impl Iterator<Item = BorrowedFd<'a>>,
    plan: &Plan,
    steps: &mut Steps,
) -> Result<(), Error> {
    use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
    let UserNamespace::New { uid, gid } = &plan.namespaces.user else { return Ok(()) };
    let user = &plan.process.user;
    let (Some(uid), Some(gid)) = (userns::to_host(uid, user.uid), userns::to_host(gid, user.gid)) else {
        return Ok(());
    };
    for fd in streams {
        let pipe = fstat(fd).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Fifo
                && (stat.st_uid, stat.st_gid) != (uid, gid)
        });
        if pipe {
            steps.run("fchown", "a pipe", "give the standard streams to its user", || {
                fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            })?;
        }
    }
    Ok(())
}

/// Opened namespace files to join, with their flags.
struct Joins {
    files: Vec<(u64, OwnedFd)>,
    cgroup: Option<OwnedFd>,
}

fn open_joins(plan: &Plan, steps: &mut Steps) -> Result<Joins, Error> {
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
    ours: OwnedFd,
    steps: &mut Steps,
) -> Result<(i32, OwnedFd, OwnedFd), Error> {
    let into = cgroup.and_then(Cgroup::v2_dir_fd);
    let flags = plan.namespaces.clone_flags;
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
            Cloned::Child => {
                drop(ours);
                child::run(plan, inheritance, joins.cgroup.as_ref(), None)
            }
            Cloned::Parent(pid, pidfd) => Ok((pid, pidfd, ours)),
        };
    }
    let join = || {
        joins.files.iter().try_for_each(|(flag, file)| {
            process::setns(file.as_fd(), *flag)
                .map_err(|errno| Error::step("join a namespace", "setns", flag_names(*flag), errno))
        })
    };
    let start = |inheritance, error: Option<Error>| -> Infallible {
        child::run(plan, inheritance, joins.cgroup.as_ref(), error)
    };
    Between { into, join: &join, flags }.clone_child(ours, inheritance, start, steps)
}

/// What a process takes over that was cloned: it knows its end of the socket.
pub(crate) trait Speaks {
    fn socket(&self) -> &OwnedFd;
}

impl Speaks for Inheritance {
    fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

impl Speaks for crate::child::enter::Entry {
    fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// A process that joins namespaces, makes the wanted one as its sibling, and ends: the caller itself stays where it is.
pub(crate) struct Between<'a> {
    /// The control group that both are born in.
    pub into: Option<BorrowedFd<'a>>,
    /// Joins.
    pub join: &'a dyn Fn() -> Result<(), Error>,
    /// New namespaces of the wanted process.
    pub flags: u64,
}

impl Between<'_> {
    /// The process, a child of the caller's that runs `start` with what it takes over and with what went wrong before;
    /// and the caller's end of the socket, of which the process has no copy.
    pub fn clone_child<T: Speaks>(
        &self,
        ours: OwnedFd,
        takes: T,
        start: impl FnOnce(T, Option<Error>) -> Infallible,
        steps: &mut Steps,
    ) -> Result<(i32, OwnedFd, OwnedFd), Error> {
        let cloned = steps
            .run("clone3", "", "make a process that joins namespaces", || process::clone3(0, self.into))?;
        match cloned {
            Cloned::Parent(between, _pidfd) => {
                drop(takes);
                let _ = process::wait_child(between);
                let (pid, pidfd) = first_of(&ours)?;
                Ok((pid, pidfd, ours))
            }
            Cloned::Child => {
                drop(ours);
                self.run(takes, start)
            }
        }
    }

    fn run<T: Speaks>(&self, takes: T, start: impl FnOnce(T, Option<Error>) -> Infallible) -> ! {
        // Before joining: from then on the container's root might look into this process.
        let joined = process::set_dumpable(false)
            .map_err(|errno| Error::step("hide from the container", "prctl", "PR_SET_DUMPABLE", errno))
            .and_then(|()| (self.join)());
        let (flags, error) = match joined {
            Ok(()) => (self.flags, None),
            Err(error) => (0, Some(error)),
        };
        match process::clone3(flags | process::CLONE_PARENT, None) {
            Ok(Cloned::Child) => match start(takes, error) {},
            Ok(Cloned::Parent(pid, pidfd)) => {
                // In the pid namespace that the caller shares with us, the number is the caller's too.
                let hello = serde_json::to_vec(&pid).unwrap_or_default();
                let _ = linux::socket::send(takes.socket(), &hello, &[pidfd.as_fd()]);
                process::exit(0)
            }
            Err(errno) => {
                let error = Error::step("make the first process", "clone3", flag_names(flags), errno);
                message::send(takes.socket(), &Message::Failed((&error).into()), &[]);
                process::exit(1)
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

/// berth's own binary to run as init, on a mount that nobody can write through: by `/proc/1/exe` a root that is the
/// host's could otherwise reach the file itself (security.md T2).
fn own_binary(plan: &Plan, steps: &mut Steps) -> Result<Option<OwnedFd>, Error> {
    if !plan.process.init {
        return Ok(None);
    }
    let exe = "/proc/self/exe";
    let read_only = steps.run("open_tree, mount_setattr", exe, "run berth's init first", || {
        let fd = linux::mount::clone_tree(rustix::fs::CWD, exe.as_ref(), false)?;
        linux::mount::set_attributes(fd.as_fd(), linux::mount::attr::RDONLY, 0, false)?;
        Ok(fd)
    });
    match read_only {
        // The file isn't on a mount of this namespace; a root that isn't the host's may not write it anyway.
        Err(_) if plan.has_user_namespace() => steps
            .run("open", exe, "run berth's init first", || {
                openat(CWD, exe, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            })
            .map(Some),
        other => other.map(Some),
    }
}

/// Clones as user `base` with a soft limit of `max` tasks, which the kernel takes over as the ceiling of the whole new user
/// namespace; from global root it would take none. The effective id becomes the namespace's owner, on whom its tasks are
/// counted: were it root, all containers and root's own processes would share one ceiling.
/// Source: enforced_nproc_rlimit() and create_user_ns() in the kernel.
fn with_task_ceiling(
    ceiling: Option<(u32, u64)>,
    clone: impl FnOnce() -> Result<Cloned, Errno>,
) -> Result<Cloned, Errno> {
    use linux::creds::{CapState, capget, capset, setresuid};
    use rustix::process::{Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit};
    let Some((base, max)) = ceiling else { return clone() };
    let limit = getrlimit(Resource::Nproc);
    let soft = limit.maximum.map_or(max, |hard| hard.min(max));
    let caps = capget()?;
    let dumpable = dumpable_behavior()?;
    setrlimit(Resource::Nproc, Rlimit { current: Some(soft), maximum: limit.maximum })?;
    setresuid(base, base, u32::MAX)?;
    // Leaving id 0 took the effective capabilities, and the right to open files of its own in /proc.
    let cloned = capset(CapState { effective: caps.permitted, ..caps })
        .and_then(|()| set_dumpable_behavior(dumpable))
        .and_then(|()| clone());
    if let Ok(Cloned::Child) = cloned {
        return cloned;
    }
    setresuid(0, 0, u32::MAX)?;
    capset(caps)?;
    set_dumpable_behavior(dumpable)?;
    setrlimit(Resource::Nproc, limit)?;
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
    pub(crate) fn new(pid: i32, pidfd: OwnedFd, socket: OwnedFd, steps: Steps) -> Starting {
        Starting { pid, pidfd, warnings: Vec::new(), socket, steps, armed: true }
    }

    fn prepare(
        &mut self,
        plan: &Plan,
        root: Root<'_>,
        cgroup: Option<&Cgroup>,
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
        limits::set_from_outside(pid, &plan.process, steps)?;
        self.join_v1(cgroup)?;
        self.go(&[])?;
        let steps = &mut self.steps;
        let ids = holder_mounts::Ids { userns: userns.as_ref().map(|fd| fd.as_fd()), uid: &uid, gid: &gid };
        let made = holder_mounts::make(plan, root, pid, &ids, idmap_optional, steps, &mut self.warnings)?;
        let fds: Vec<BorrowedFd<'_>> = made.iter().map(|fd| fd.as_fd()).collect();
        self.go(&fds)
    }

    /// Moves it into the version 1 control groups, if the container has any.
    pub(crate) fn join_v1(&mut self, cgroup: Option<&Cgroup>) -> Result<(), Error> {
        let Some(cgroup) = cgroup.filter(|cgroup| cgroup.needs_add_pid()) else { return Ok(()) };
        let pid = self.pid as u32;
        self.steps.group("write", "cgroup.procs", "put it into its version 1 control groups", || {
            Ok(cgroup.add_pid(pid)?)
        })
    }

    /// Lets it go on, with `mounts`, if any.
    pub(crate) fn go(&mut self, mounts: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let what = if mounts.is_empty() { "say go" } else { "hand them over and say go" };
        self.steps.run("sendmsg", format!("{} mounts", mounts.len()), what, || {
            linux::socket::send(&self.socket, b"go", mounts)
        })
    }

    pub(crate) fn steps_mut(&mut self) -> &mut Steps {
        &mut self.steps
    }

    /// What the first process said of its failure, if it has.
    fn told(&self) -> Option<Error> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // It is about to say so, or never will.
        let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut fds, Some(&patience)).ok().filter(|ready| *ready > 0)?;
        match message::receive(&self.socket) {
            Ok(Some((Message::Failed(failure), _))) => Some(failure.into()),
            _ => None,
        }
    }

    /// How the first process ended, if it has, without a word.
    fn lost(&self) -> Option<Error> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options).ok()??;
        let how = match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => format!("while it was being made: it was killed by signal {signal}"),
            (None, Some(code)) => format!("while it was being made: it left with status {code}"),
            (None, None) => return None,
        };
        Some(Error::Lost { how })
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
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.armed {
            let _ = process::pidfd_signal(self.pidfd.as_fd(), 9);
        }
    }
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

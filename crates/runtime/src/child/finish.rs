//! The last stretch, the same for a first process and for one that joins: streams, directory, rights, execve.

use super::passwd;
use super::target::{self, Links, Make};
use crate::launch::Stdio;
use crate::message::{self, Message};
use crate::plan::ProcessPlan;
use crate::{Error, Steps};
use linux::Errno;
use linux::creds::{self, CapState};
use linux::process::{self, CStrings};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where programs are looked for without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What remains to be done.
pub(crate) struct Finish<'a> {
    pub process: &'a ProcessPlan,
    /// `None` keeps the streams as they are.
    pub stdio: Option<Stdio>,
    /// Descriptors from 3 upward that the program keeps.
    pub preserve_fds: u32,
    /// RLIMIT_NPROC before it became the ceiling of the user namespace.
    pub tasks_before: Option<rustix::process::Rlimit>,
    /// berth's own binary, if its init is to run.
    pub init: Option<OwnedFd>,
}

/// Becomes the user's program; `socket` hears of it just before, and by its closing that it worked.
pub(crate) fn become_program(
    finish: Finish<'_>,
    mut steps: Steps,
    socket: &OwnedFd,
) -> Result<Infallible, Error> {
    let plan = finish.process;
    let steps_ref = &mut steps;
    crate::limits::set_own(plan, finish.tasks_before, steps_ref)?;
    let root = steps_ref.run("open", "/", "resolve paths below the new root", || {
        openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    })?;
    let mut env = plan.env.clone();
    if plan.env_value("HOME").is_none() {
        let home = passwd::home(root.as_fd(), plan.user.uid).unwrap_or_else(|| b"/".to_vec());
        // passwd::home returns no NUL bytes.
        env.extend(CString::new([b"HOME=", &home[..]].concat()));
    }
    rustix::process::umask(Mode::from_raw_mode(plan.user.umask.unwrap_or(0o022)));
    let entered = enter_cwd(root.as_fd(), plan, steps_ref);
    let denied = match entered {
        Err(Error::Step { errno: Errno::ACCESS, .. }) => true,
        other => other.map(|()| false)?,
    };
    label(plan, steps_ref)?;
    if plan.guard_speculation {
        guard_speculation();
    }
    if plan.no_new_privs {
        steps_ref.run(
            "prctl",
            "PR_SET_NO_NEW_PRIVS",
            "bar gaining privileges by execve",
            creds::set_no_new_privs,
        )?;
    } else {
        // Without no_new_privs a filter may only be loaded with CAP_SYS_ADMIN, so before the rights go.
        load_filter(plan, steps_ref)?;
    }
    take_identity(plan, steps_ref)?;
    if denied {
        enter_cwd(root.as_fd(), plan, steps_ref)?;
    }
    if plan.dies_with_parent {
        // After the change of ids, which undoes it.
        steps_ref.run("prctl", "PR_SET_PDEATHSIG", "end with who made it", || {
            process::set_parent_death_signal(9)
        })?;
        if is_alone(socket) {
            process::exit(1);
        }
    }
    let program = find_program(plan)?;
    if let Some(stdio) = &finish.stdio {
        steps_ref.run("dup2", "0, 1, 2", "connect the standard streams", || {
            match &stdio.stdin {
                Some(stdin) => process::dup_onto(stdin.as_fd(), 0)?,
                None => {
                    let null = target::open(root.as_fd(), "/dev/null", OFlags::RDWR, Links::Refused)?;
                    process::dup_onto(null.as_fd(), 0)?;
                }
            }
            process::dup_onto(stdio.stdout.as_fd(), 1)?;
            process::dup_onto(stdio.stderr.as_fd(), 2)
        })?;
    }
    steps_ref.run(
        "close_range",
        finish.preserve_fds + 3,
        "leave no descriptor of the host's to the program",
        || process::cloexec_from(finish.preserve_fds + 3),
    )?;
    let (argv, envp) = match &finish.init {
        Some(_) => (init_argv(plan), CStrings::new(env)),
        None => (plan.c_strings().0, CStrings::new(env)),
    };
    message::send(socket, &Message::Executing { steps: steps.take() }, &[]);
    if plan.no_new_privs {
        load_filter(plan, &mut Steps::new(false, true))?;
    }
    let errno = match &finish.init {
        Some(own) => process::fexecve(own.as_fd(), &argv, &envp),
        None => process::execve(&program, &argv, &envp),
    };
    Err(not_executed(plan, errno))
}

/// Whether the other end of the socket is closed.
fn is_alone(socket: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

fn init_argv(plan: &ProcessPlan) -> CStrings {
    let mut argv = vec![c"berth-init".to_owned(), c"--".to_owned()];
    argv.extend(plan.args.iter().cloned());
    CStrings::new(argv)
}

/// Makes the working directory if it's missing, as runc does.
pub(super) fn make_cwd(root: BorrowedFd<'_>, plan: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let Ok(cwd) = plan.cwd.to_str() else { return Ok(()) };
    if cwd == "/" {
        return Ok(());
    }
    match target::open(root, cwd, OFlags::PATH, Links::InRoot) {
        Err(Errno::NOENT) => {}
        // Whatever else is wrong with it is reported when it's entered.
        _ => return Ok(()),
    }
    steps.run("mkdirat", cwd, "make the working directory", || {
        target::ensure(root, cwd, Make::Directory, Links::InRoot).map(drop)
    })
}

fn enter_cwd(root: BorrowedFd<'_>, plan: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let cwd = plan.cwd.to_string_lossy();
    steps.run("fchdir", &cwd, "enter the working directory", || {
        let dir = target::open(root, &cwd, OFlags::PATH | OFlags::DIRECTORY, Links::InRoot)?;
        rustix::process::fchdir(&dir)
    })
}

fn load_filter(plan: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let Some(filter) = &plan.seccomp else { return Ok(()) };
    steps.run("seccomp", format!("{} instructions", filter.program.len()), "filter its system calls", || {
        linux::seccomp::load(&filter.program, filter.flags)
    })
}

/// Writes the labels that execve applies, through a procfs of our own where `/proc` could be anything.
fn label(plan: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let labels = [
        (
            "set its AppArmor profile",
            plan.apparmor.as_ref().map(|p| format!("exec {p}")),
            "attr/apparmor/exec",
        ),
        ("set its SELinux label", plan.selinux.clone(), "attr/exec"),
    ];
    for (what, value, file) in labels {
        let Some(value) = value else { continue };
        steps.run("write", format!("{file} {value:?}"), what, || {
            let proc = linux::mount::detached("proc", &[], 0)?;
            let path = format!("self/{file}");
            let fd = openat(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&fd, value.as_bytes()).map(drop)
        })?;
    }
    Ok(())
}

/// Closes speculation side channels of this process; a machine that can't control one needs or allows no control.
fn guard_speculation() {
    const STORE_BYPASS: u64 = 0;
    const INDIRECT_BRANCH: u64 = 1;
    const FORCE_DISABLE: u64 = 8;
    for feature in [STORE_BYPASS, INDIRECT_BRANCH] {
        let _ = process::set_speculation(feature, FORCE_DISABLE);
    }
}

/// Becomes the user with exactly the declared groups and capabilities.
fn take_identity(plan: &ProcessPlan, steps: &mut Steps) -> Result<(), Error> {
    let caps = plan.caps;
    let user = &plan.user;
    steps.run("prctl", "PR_CAPBSET_DROP", "limit the capabilities it may ever have", || {
        creds::limit_bounding(caps.bounding)
    })?;
    creds::set_keep_caps(true)
        .map_err(|e| Error::step("keep capabilities", "prctl", "PR_SET_KEEPCAPS", e))?;
    steps.run("setgroups", format!("{:?}", user.additional_gids), "take its groups", || {
        creds::setgroups(&user.additional_gids)
    })?;
    steps.run("setresgid", user.gid, "take its group", || creds::setresgid(user.gid, user.gid, user.gid))?;
    steps.run("setresuid", user.uid, "become its user", || creds::setresuid(user.uid, user.uid, user.uid))?;
    creds::set_keep_caps(false)
        .map_err(|e| Error::step("keep capabilities", "prctl", "PR_SET_KEEPCAPS", e))?;
    steps.run("capset", format!("{:#x}", caps.permitted), "take exactly its capabilities", || {
        let held = creds::capget()?.permitted;
        let permitted = caps.permitted & held;
        creds::capset(CapState {
            effective: caps.effective & permitted,
            permitted,
            inheritable: caps.inheritable & (held | caps.bounding),
        })?;
        creds::set_ambient(caps.ambient & permitted & caps.inheritable)
    })
}

/// Whether the program is there, for a process that is to wait for its start: a missing one is told to who creates, as by
/// runc. A path that the working directory decides on is left to the start.
pub(super) fn check_present(plan: &ProcessPlan) -> Result<(), Error> {
    let name = plan.args[0].as_bytes();
    let relative = name.contains(&b'/') && !name.starts_with(b"/");
    match find_program(plan) {
        Err(error @ Error::ProgramNotFound { .. }) if !relative => Err(error),
        // What the identity yet to be taken may do is known only then.
        _ => Ok(()),
    }
}

/// The program's path: as it was given if it holds a slash, else the first file in `PATH` that may be executed.
fn find_program(plan: &ProcessPlan) -> Result<CString, Error> {
    let name = plan.args[0].clone();
    let shown = || name.to_string_lossy().into_owned();
    if name.as_bytes().contains(&b'/') {
        return match check_program(&name) {
            Ok(()) => Ok(name),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                Err(Error::ProgramNotFound { program: shown(), searched: false })
            }
            Err(errno) => Err(Error::ProgramNotExecutable { program: shown(), errno }),
        };
    }
    let path = plan.env_value("PATH").filter(|p| !p.is_empty()).unwrap_or(DEFAULT_PATH);
    let mut refused = None;
    for dir in path.split(|b| *b == b':') {
        let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
        // Both parts come from C strings, which hold no NUL bytes.
        let Ok(candidate) = CString::new([dir, b"/", name.as_bytes()].concat()) else { continue };
        match check_program(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => refused = Some(errno),
        }
    }
    match refused {
        Some(errno) => Err(Error::ProgramNotExecutable { program: shown(), errno }),
        None => Err(Error::ProgramNotFound { program: shown(), searched: true }),
    }
}

fn check_program(path: &CString) -> Result<(), Errno> {
    let stat = rustix::fs::statat(CWD, path, rustix::fs::AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    Ok(())
}

fn not_executed(plan: &ProcessPlan, errno: Errno) -> Error {
    let program = plan.args[0].to_string_lossy().into_owned();
    match errno {
        // The file was there: its interpreter isn't.
        Errno::NOENT | Errno::NOTDIR => Error::ProgramNotFound { program, searched: false },
        errno => Error::ProgramNotExecutable { program, errno },
    }
}

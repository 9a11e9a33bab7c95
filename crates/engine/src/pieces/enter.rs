//! `berth enter`: nsenter(1), by container or process. Steps and their order are those of util-linux 2.41.

use super::unshare::id_refused;
use super::{Error, KINDS, command, procfs};
use crate::find::{self, State};
use crate::request::{EnterRequest, EnterTarget, NamespaceType};
use crate::{Home, cell};
use linux::Errno;
use linux::process::{self, Exit, ns};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::{AsFd, OwnedFd};

/// First descriptor that the command doesn't get: what runs there is the target's.
const FIRST_OWN_FD: u32 = 3;

/// The process whose namespaces are entered.
struct Target {
    pid: i32,
    /// It, and no other that has its number later.
    pidfd: OwnedFd,
}

/// Enters the namespaces and becomes the command. Returns how the command ended, in the parent, if one is forked.
///
/// Errors: [`Error::NoProcess`]; [`Error::Engine`] if the container isn't running; [`Error::Step`] with what failed;
/// [`Error::Command`].
pub fn enter(home: &Home, request: &EnterRequest) -> Result<Exit, Error> {
    let target = find_target(home, &request.target)?;
    let chosen = differing(&target, &request.namespaces)?;
    let open = |wanted: bool, name| wanted.then(|| target.open_dir(name)).transpose();
    let root = open(request.root, "root")?;
    let mut workdir = open(request.workdir, "cwd")?;
    // Everything above went by number.
    if cell::has_ended(target.pidfd.as_fd()) {
        return Err(Error::NoProcess { pid: target.pid as u32 });
    }
    let entered = |kind| KINDS.iter().any(|(known, _, bit)| *known == kind && chosen & bit != 0);
    let as_root = entered(NamespaceType::User) && !request.preserve_credentials;
    let uid = request.setuid.or(as_root.then_some(0));
    let gid = request.setgid.or(as_root.then_some(0));
    // From here on the target's processes could see this one: they must not look into its memory.
    process::set_dumpable(false)
        .map_err(|errno| Error::step("hide berth's memory from the target", errno))?;
    // The target's namespace may deny it: then before has to do.
    let dropped = gid.is_some() && linux::creds::setgroups(&[]).is_ok();
    if chosen != 0 {
        join(&target, chosen)?;
    }
    if let Some(root) = root {
        // As nsenter: the directory stays, which a mount namespace that was entered has made the one at its top.
        workdir = workdir.map_or_else(open_own, Ok).map(Some)?;
        rustix::process::fchdir(&root)
            .and_then(|()| rustix::process::chroot("."))
            .map_err(|errno| Error::step("change to the target's root directory", errno))?;
    }
    if let Some(dir) = workdir {
        rustix::process::fchdir(&dir)
            .map_err(|errno| Error::step("change to the working directory", errno))?;
    }
    if entered(NamespaceType::Pid)
        && !request.no_fork
        && let Some(exit) = command::fork_and_wait()?
    {
        return Ok(exit);
    }
    set_ids(uid, gid, dropped)?;
    process::cloexec_from(FIRST_OWN_FD).map_err(|errno| Error::step("keep descriptors back", errno))?;
    Err(command::become_command(&request.command))
}

fn find_target(home: &Home, target: &EnterTarget) -> Result<Target, Error> {
    let name = match target {
        EnterTarget::Pid(pid) => return Target::of_pid(*pid),
        EnterTarget::Named(name) => name,
    };
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    match find::container(home, name) {
        Ok(container) => match container.state {
            State::Running(running) => Ok(Target {
                pid: running.init.pid,
                pidfd: running.init.open().ok_or(Error::NoProcess { pid: running.init.pid as u32 })?,
            }),
            _ => Err(not_running(name)),
        },
        Err(error) => match name.parse() {
            Ok(pid) if digits => Target::of_pid(pid),
            _ => Err(error.into()),
        },
    }
}

/// The failure for a container that doesn't run.
pub(super) fn not_running(given: &str) -> Error {
    crate::Error::State { id: given.to_owned(), why: "is not running".to_owned() }.into()
}

impl Target {
    fn of_pid(pid: u32) -> Result<Target, Error> {
        let missing = Error::NoProcess { pid };
        let Some(number) = i32::try_from(pid).ok().filter(|pid| *pid > 0) else { return Err(missing) };
        match process::pidfd_open(number) {
            Ok(pidfd) => Ok(Target { pid: number, pidfd }),
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Err(missing),
            Err(errno) => Err(Error::step(format!("open process {pid}"), errno)),
        }
    }

    fn open_dir(&self, name: &str) -> Result<OwnedFd, Error> {
        let path = format!("/proc/{}/{name}", self.pid);
        openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::step(format!("open {path}"), errno).with_hint(needs_root(errno)))
    }
}

fn open_own() -> Result<OwnedFd, Error> {
    openat(CWD, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::step("open the working directory", errno))
}

fn needs_root(errno: Errno) -> Option<&'static str> {
    matches!(errno, Errno::PERM | Errno::ACCESS)
        .then_some("only root may, or the owner of the process: try sudo")
}

/// The bits of those of `wanted` (of all, if empty) that aren't the caller's own already.
fn differing(target: &Target, wanted: &[NamespaceType]) -> Result<u64, Error> {
    let mut chosen = 0;
    for (kind, file, bit) in KINDS {
        if !wanted.is_empty() && !wanted.contains(&kind) {
            continue;
        }
        let own = procfs::namespace("self", file);
        match (procfs::namespace(&target.pid.to_string(), file), own) {
            (Ok(theirs), Ok(own)) if theirs != own => chosen |= bit,
            (Ok(_), Ok(_)) => {}
            // The kernel doesn't have this kind.
            (_, Err(_)) if wanted.is_empty() => {}
            (Err(error), _) | (_, Err(error)) => {
                if cell::has_ended(target.pidfd.as_fd()) {
                    return Err(Error::NoProcess { pid: target.pid as u32 });
                }
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                let what = format!("look at the {file} namespace of process {}", target.pid);
                return Err(Error::step(what, errno).with_hint(needs_root(errno)));
            }
        }
    }
    Ok(chosen)
}

/// Joins all at once. Where the target's user namespace doesn't own the others, those come first.
fn join(target: &Target, chosen: u64) -> Result<(), Error> {
    let pidfd = target.pidfd.as_fd();
    let joined = match process::setns(pidfd, chosen) {
        Err(Errno::PERM) if chosen & ns::USER != 0 && chosen != ns::USER => {
            process::setns(pidfd, chosen & !ns::USER).and_then(|()| process::setns(pidfd, ns::USER))
        }
        other => other,
    };
    joined.map_err(|errno| {
        let names: Vec<&str> =
            KINDS.iter().filter(|(.., bit)| chosen & bit != 0).map(|kind| kind.1).collect();
        let hint = match errno {
            Errno::INVAL => Some("entering by process needs Linux 5.8, and time namespaces that it has"),
            _ => needs_root(errno),
        };
        let what = format!("enter the namespaces of process {} ({})", target.pid, names.join(", "));
        Error::step(what, errno).with_hint(hint)
    })
}

fn set_ids(uid: Option<u32>, gid: Option<u32>, dropped: bool) -> Result<(), Error> {
    let keep = "--preserve-credentials keeps the caller's ids";
    if let Some(gid) = gid {
        if let Err(errno) = linux::creds::setgroups(&[])
            && !dropped
        {
            return Err(Error::step("drop supplementary groups", errno).with_hint(Some(keep)));
        }
        linux::creds::setresgid(gid, gid, gid)
            .map_err(|errno| id_refused("group", gid, errno).with_hint(unmapped("group", gid, errno)))?;
    }
    if let Some(uid) = uid {
        linux::creds::setresuid(uid, uid, uid)
            .map_err(|errno| id_refused("user", uid, errno).with_hint(unmapped("user", uid, errno)))?;
    }
    Ok(())
}

fn unmapped(what: &str, id: u32, errno: Errno) -> Option<String> {
    (errno == Errno::INVAL).then(|| {
        format!(
            "the target's user namespace has no {what} {id}: --preserve-credentials keeps the caller's ids"
        )
    })
}

//! `berth unshare`: unshare(1). Steps and their order are those of util-linux 2.41.

use super::command;
use super::map_helper::MapHelper;
use super::maps::{self, Map};
use super::{Error, KINDS, procfs};
use crate::request::{NamespaceType, Propagation, UnshareRequest};
use linux::Errno;
use linux::process::{self, Exit};
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::os::fd::{AsFd, OwnedFd};
use types::oci::{IdMapping, TimeOffset};

/// Makes the namespaces and becomes the command. Returns how the command ended, in the parent, if one is forked.
///
/// Errors: [`Error::Value`] before anything is done; [`Error::Step`] with what failed; [`Error::Command`].
pub fn unshare(request: &UnshareRequest) -> Result<Exit, Error> {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (users, groups) = maps::maps(request, ids.0, ids.1)?;
    let helper = MapHelper::start(&users, &groups)?;
    // The kernel makes the user namespace first, whose owner then has the right to make the others.
    process::unshare(flags(request)).map_err(|errno| refused(request, errno))?;
    // Before a map of groups is written, which settles it.
    match (request.setgroups, &groups) {
        (Some(allow), _) => set_setgroups(allow)?,
        (None, Map::Own(_)) => set_setgroups(false)?,
        (None, _) => {}
    }
    if let Some(helper) = helper {
        helper.finish()?;
    }
    set_clocks(request)?;
    let mut parent = None;
    if request.fork {
        let own = process::pidfd_open(std::process::id() as i32);
        if request.kill_child.is_some() {
            parent = Some(own.map_err(|errno| Error::step("watch berth for --kill-child", errno))?);
        }
        if let Some(exit) = command::fork_and_wait()? {
            return Ok(exit);
        }
    }
    map_own("uid_map", &users)?;
    map_own("gid_map", &groups)?;
    arrange_mounts(request)?;
    set_ids(request)?;
    // After the ids, a change of which clears it.
    die_with_parent(request, parent)?;
    Err(command::become_command(&request.command))
}

fn flags(request: &UnshareRequest) -> u64 {
    KINDS.iter().filter(|(kind, ..)| request.namespaces.contains(kind)).fold(0, |all, (.., bit)| all | bit)
}

/// Why unshare(2) failed.
fn refused(request: &UnshareRequest, errno: Errno) -> Error {
    let names: Vec<&str> = KINDS
        .iter()
        .filter(|(kind, ..)| request.namespaces.contains(kind))
        .map(|(_, name, _)| *name)
        .collect();
    let user = request.namespaces.contains(&NamespaceType::User);
    let hint = match errno {
        Errno::PERM if !user => Some("only root may, or the root of a user namespace: add -r".to_owned()),
        Errno::PERM => Some(restriction()),
        Errno::NOSPC | Errno::USERS => Some(
            "too many namespaces, or too deep: /proc/sys/user/max_*_namespaces are the limits".to_owned(),
        ),
        Errno::INVAL => {
            Some("this kernel lacks one of them: `ls /proc/self/ns` shows which it has".to_owned())
        }
        _ => None,
    };
    Error::step(format!("make new namespaces ({})", names.join(", ")), errno).with_hint(hint)
}

/// What keeps the caller from having a user namespace.
fn restriction() -> String {
    let is = |file: &str, value: &str| {
        procfs::read(format!("/proc/sys/{file}"), 16)
            .is_some_and(|bytes| String::from_utf8_lossy(&bytes).trim() == value)
    };
    if is("kernel/unprivileged_userns_clone", "0") {
        "user namespaces are for root only here: sysctl kernel.unprivileged_userns_clone=1 changes that"
            .to_owned()
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts user namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0 changes that"
            .to_owned()
    } else {
        "user namespaces are restricted: by a seccomp filter (inside a container), or berth is in a chroot"
            .to_owned()
    }
}

fn write(file: &str, text: &str) -> Result<(), Error> {
    std::fs::write(file, text)
        .map_err(|error| Error::io(format!("write {:?} to {file}", text.trim_end()), &error))
}

fn set_setgroups(allow: bool) -> Result<(), Error> {
    let file = "/proc/self/setgroups";
    // Kernels before 3.19 lack it.
    if !std::fs::exists(file).unwrap_or(true) {
        return Ok(());
    }
    write(file, if allow { "allow" } else { "deny" })
}

fn map_own(file: &str, map: &Map) -> Result<(), Error> {
    let Map::Own(IdMapping { container_id, host_id, .. }) = map else { return Ok(()) };
    let line = format!("{container_id} {host_id} 1\n");
    write(&format!("/proc/self/{file}"), &line).map_err(|error| match &error {
        Error::Step { errno: Errno::PERM, .. } => error.with_hint(Some(restriction())),
        _ => error,
    })
}

fn set_clocks(request: &UnshareRequest) -> Result<(), Error> {
    for (clock, offset) in [("boottime", request.boottime), ("monotonic", request.monotonic)] {
        let Some(TimeOffset { secs, nanosecs }) = offset else { continue };
        write("/proc/self/timens_offsets", &format!("{clock} {secs} {nanosecs}\n")).map_err(|error| {
            let beyond = matches!(error, Error::Step { errno: Errno::RANGE, .. });
            error.with_hint(beyond.then_some("a clock can't be set below zero, or beyond 146 years"))
        })?;
    }
    Ok(())
}

fn die_with_parent(request: &UnshareRequest, parent: Option<OwnedFd>) -> Result<(), Error> {
    let Some(signal) = request.kill_child else { return Ok(()) };
    process::set_parent_death_signal(signal).map_err(|errno| Error::step("arrange --kill-child", errno))?;
    match parent {
        Some(parent) if crate::cell::has_ended(parent.as_fd()) => {
            Err(Error::step("go on without berth, which was killed", Errno::SRCH))
        }
        _ => Ok(()),
    }
}

fn arrange_mounts(request: &UnshareRequest) -> Result<(), Error> {
    let propagation = request.propagation.map(propagation_flags);
    if request.namespaces.contains(&NamespaceType::Mount)
        && let Some(propagation) = propagation
    {
        rustix::mount::mount_change("/", propagation)
            .map_err(|errno| Error::step("change the propagation of /", errno))?;
    }
    if let Some(root) = &request.root {
        rustix::process::chroot(root).map_err(|errno| {
            Error::step(format!("change the root directory to {}", root.display()), errno)
        })?;
    }
    let workdir = request.workdir.as_deref().or(request.root.as_ref().map(|_| "/".as_ref()));
    if let Some(dir) = workdir {
        rustix::process::chdir(dir)
            .map_err(|errno| Error::step(format!("change to the directory {}", dir.display()), errno))?;
    }
    let Some(target) = &request.mount_proc else { return Ok(()) };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    if request.root.is_none() && propagation != Some(private) {
        // Not a mount point yet: nothing to change.
        match rustix::mount::mount_change(target, private) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => {
                return Err(Error::step(format!("change the propagation of {}", target.display()), errno));
            }
        }
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    rustix::mount::mount("proc", target, "proc", flags, None).map_err(|errno| {
        let hint = if errno != Errno::PERM && errno != Errno::BUSY {
            None
        } else if !request.namespaces.contains(&NamespaceType::Pid) {
            Some("a proc shows a pid namespace, which must be new: add --pid --fork")
        } else if !request.fork {
            Some("only a child is in the new pid namespace: add --fork")
        } else {
            Some("the kernel allows it only where /proc isn't partly hidden, as it is inside most containers")
        };
        Error::step(format!("mount a new proc on {}", target.display()), errno).with_hint(hint)
    })
}

fn propagation_flags(propagation: Propagation) -> MountPropagationFlags {
    use MountPropagationFlags as P;
    match propagation {
        Propagation::RPrivate => P::PRIVATE | P::REC,
        Propagation::Private => P::PRIVATE,
        Propagation::RSlave => P::DOWNSTREAM | P::REC,
        Propagation::Slave => P::DOWNSTREAM,
        Propagation::RShared => P::SHARED | P::REC,
        Propagation::Shared => P::SHARED,
    }
}

fn set_ids(request: &UnshareRequest) -> Result<(), Error> {
    if let Some(gid) = request.setgid {
        linux::creds::setgroups(&[]).map_err(|errno| {
            let denied = "the map of one group denies it: map more with --map-groups, or leave --setgid out";
            Error::step("drop supplementary groups", errno)
                .with_hint((errno == Errno::PERM).then_some(denied))
        })?;
        linux::creds::setresgid(gid, gid, gid).map_err(|errno| id_refused("group", gid, errno))?;
    }
    match request.setuid {
        None => Ok(()),
        Some(uid) => linux::creds::setresuid(uid, uid, uid).map_err(|errno| id_refused("user", uid, errno)),
    }
}

/// Why a process can't have an id.
pub(super) fn id_refused(what: &str, id: u32, errno: Errno) -> Error {
    let hint = (errno == Errno::INVAL).then(|| format!("{what} id {id} isn't mapped in this user namespace"));
    Error::step(format!("become {what} {id}"), errno).with_hint(hint)
}

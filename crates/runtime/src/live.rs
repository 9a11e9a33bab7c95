//! Mounts in a container that runs: made as at its start, and attached by a process that joins its namespaces.
//!
//! The mount is made here, detached, with the host's rights: what is bound is what the caller holds open. A fork enters
//! the container's user namespace (if it has one of its own) and mount namespace, and there finds the target beneath the
//! root, makes what is missing of it, and attaches the mount: with the rights of the container's root, so that whatever
//! processes inside exchange meanwhile, nothing is reached that they couldn't reach themselves. It isn't dumpable.

use crate::child::target::{self, Links, Make};
use crate::holder_mounts::{self, Ids};
use crate::plan::{MountKind, Plan};
use crate::{Error, Steps};
use linux::mount;
use linux::process::{self, Exit, Fork, ns};
use linux::{Errno, fault};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, fstatfs, openat};
use rustix::mount::{UnmountFlags, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use types::oci::IdMapping;

/// `f_type` of procfs.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A running container, to be joined.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Its first process.
    pub pidfd: BorrowedFd<'a>,
    /// Its user namespace and the maps of users and groups; `None` if that is the caller's.
    pub userns: Option<(BorrowedFd<'a>, &'a [IdMapping])>,
}

/// Where what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Join = 1,
    Target,
    Kernel,
    Attach,
}

impl Place {
    fn call(self) -> &'static str {
        match self {
            Place::Join => "setns",
            Place::Target | Place::Kernel => "openat2",
            Place::Attach => "move_mount",
        }
    }
}

/// Mounts the only mount of `plan`, a bind, in a running container; warnings.
///
/// Errors: [`Error::Step`] with what failed, [`Error::Field`] for what isn't a bind.
pub fn attach(plan: &Plan, container: &Joined<'_>) -> Result<Vec<String>, Error> {
    let [wanted] = &plan.mounts[..] else {
        return Err(Error::field("mounts", "one at a time"));
    };
    let MountKind::Bind { source, .. } = &wanted.kind else {
        return Err(Error::field("mounts", "only binds can be added to a running container"));
    };
    let what = "mount in a running container";
    let directory = rustix::fs::stat(source)
        .map(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
        .map_err(|errno| Error::step(what, "stat", source.display(), errno))?;
    let make = if directory { Make::Directory } else { Make::File };
    let maps = container.userns.map_or(&[][..], |(_, maps)| maps);
    let ids = Ids { userns: container.userns.map(|(fd, _)| fd), uid: maps, gid: maps };
    let mut warnings = Vec::new();
    let made = holder_mounts::make_bind(wanted, &ids, true, &mut Steps::new(false, false), &mut warnings)?;
    let target = wanted.target.as_str();
    inside(container, |root| {
        let at = target::ensure(root, target, make, Links::InRoot).map_err(|errno| (Place::Target, errno))?;
        refuse_proc(&at)?;
        mount::attach(made.as_fd(), at.as_fd()).map_err(|errno| (Place::Attach, errno))
    })
    .map_err(|(place, errno)| Error::step(what, place.call(), target, errno))?;
    Ok(warnings)
}

/// Takes the mount at `path` out of a running container; what is open of it stays so.
///
/// Errors: [`Error::Step`], with EINVAL where no mount is.
pub fn detach(path: &str, container: &Joined<'_>) -> Result<(), Error> {
    inside(container, |root| {
        let at =
            target::open(root, path, OFlags::PATH, Links::InRoot).map_err(|errno| (Place::Target, errno))?;
        refuse_proc(&at)?;
        if !mount::is_root(at.as_fd()).map_err(|errno| (Place::Target, errno))? {
            return Err((Place::Attach, Errno::INVAL));
        }
        // By name, below the directory that it's in: the topmost mount there is the one that was looked at, or one that
        // the container has put over it.
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent =
            target::open(root, if parent.is_empty() { "/" } else { parent }, OFlags::PATH, Links::InRoot)
                .map_err(|errno| (Place::Target, errno))?;
        rustix::process::fchdir(&parent).map_err(|errno| (Place::Target, errno))?;
        unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(|errno| (Place::Attach, errno))
    })
    .map_err(|(place, errno)| {
        let call = if place == Place::Attach { "umount2" } else { place.call() };
        Error::step("unmount in a running container", call, path, errno)
    })
}

/// Nothing goes onto the kernel's own files: by a link, the container could lead there.
fn refuse_proc(at: &OwnedFd) -> Result<(), (Place, Errno)> {
    match fstatfs(at) {
        Ok(fs) if fs.f_type == PROC_SUPER_MAGIC => Err((Place::Kernel, Errno::ACCESS)),
        Ok(_) => fstat(at).map(drop).map_err(|errno| (Place::Target, errno)),
        Err(errno) => Err((Place::Target, errno)),
    }
}

/// Lets a fork that has joined the container do `work` beneath its root.
fn inside(
    container: &Joined<'_>,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), (Place, Errno)>,
) -> Result<(), (Place, Errno)> {
    let failed = |errno| (Place::Join, errno);
    let (report, reporting) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let pid = match process::fork().map_err(failed)? {
        Fork::Child => {
            drop(report);
            let done = join(container).map_err(failed).and_then(|()| {
                fault::point("container joined");
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root = openat(CWD, "/", flags, Mode::empty()).map_err(failed)?;
                work(root.as_fd())
            });
            if let Err((place, errno)) = done {
                let mut text = vec![place as u8];
                text.extend(errno.raw_os_error().to_ne_bytes());
                let _ = File::from(reporting).write_all(&text);
                process::exit(1);
            }
            process::exit(0)
        }
        Fork::Parent(pid) => pid,
    };
    drop(reporting);
    let mut text = Vec::new();
    let _ = File::from(report).take(5).read_to_end(&mut text);
    let exit = process::wait_child(pid).map_err(failed)?;
    if let [place, errno @ ..] = &text[..]
        && let Ok(errno) = <[u8; 4]>::try_from(errno)
    {
        let place = [Place::Join, Place::Target, Place::Kernel, Place::Attach]
            .into_iter()
            .find(|known| *known as u8 == *place)
            .unwrap_or(Place::Join);
        return Err((place, Errno::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    match exit {
        Exit::Code(0) => Ok(()),
        _ => Err(failed(Errno::CHILD)),
    }
}

fn join(container: &Joined<'_>) -> Result<(), Errno> {
    process::set_dumpable(false)?;
    if container.userns.is_some() {
        process::setns(container.pidfd, ns::USER | ns::MOUNT)?;
        linux::creds::setgroups(&[])?;
        linux::creds::setresgid(0, 0, 0)?;
        linux::creds::setresuid(0, 0, 0)?;
        // A change of ids sets it anew, as `fs.suid_dumpable` says.
        return process::set_dumpable(false);
    }
    process::setns(container.pidfd, ns::MOUNT)
}

//! A process in a container that runs.
//!
//! ```text
//! caller ──clone3──▶ between ──setns, clone3(CLONE_PARENT)──▶ the process, a child of the caller's
//!    │◀── pid, pidfd ── ends                                     waits
//!    │── limits, version 1 control groups; go ──────────────────▶ terminal, identity, execve
//! ```
//! The process between is needed because a pid namespace is entered by children only, and keeps the caller where it is.
//! Both are born in the container's version 2 control group. Neither can be traced or looked into by the container
//! (security.md T1), and neither resolves a path before its root is the container's.

use crate::cgroup::Cgroup;
use crate::child::enter::{Entry, enter};
use crate::launch::{Between, Started, Starting, Stdio};
use crate::plan::ProcessPlan;
use crate::{Error, Steps, limits};
use linux::Errno;
use linux::process::{self, ns};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use std::os::fd::BorrowedFd;

/// A process to run in a container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's first process.
    pub pid: i32,
    /// A descriptor for it, opened while it was known to be the container's.
    pub pidfd: BorrowedFd<'a>,
    /// What to run.
    pub process: &'a ProcessPlan,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup>,
    /// The standard streams; `None` with a terminal, or to pass on the caller's.
    pub stdio: Option<Stdio>,
    /// Descriptors from 3 upward that the program keeps.
    pub preserve_fds: u32,
    /// Whether the steps are recorded.
    pub trace: bool,
}

/// Runs a process in a container; on return it has become its program. [`Started::pid`] is a child of the caller.
///
/// Errors: [`Error::Step`] with ESRCH if the container's first process has ended; as [`crate::launch`].
pub fn exec(exec: Exec<'_>) -> Result<Started, Error> {
    let mut steps = Steps::new(exec.trace, false);
    let namespaces =
        steps.group("readlink", format!("/proc/{}/ns", exec.pid), "compare namespaces", || {
            foreign_namespaces(exec.pid)
        })?;
    // Without a mount namespace of its own the container has nothing but a root directory of its own.
    let root = match namespaces & ns::MOUNT {
        0 => Some(steps.run("open", format!("/proc/{}/root", exec.pid), "find its root", || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(CWD, format!("/proc/{}/root", exec.pid), flags, Mode::empty())
        })?),
        _ => None,
    };
    // What was read was the container's only if the number still is.
    steps.run("pidfd_send_signal", exec.pid, "make sure that the container still runs", || {
        process::pidfd_signal(exec.pidfd, 0)
    })?;
    let (ours, theirs) = steps.run("socketpair", "SEQPACKET", "talk to the process", linux::socket::pair)?;
    let entry = Entry {
        socket: theirs,
        root,
        own_user_namespace: namespaces & ns::USER != 0,
        stdio: exec.stdio,
        preserve_fds: exec.preserve_fds,
        trace: exec.trace,
    };
    let between = Between {
        into: exec.cgroup.and_then(Cgroup::v2_dir_fd),
        join: &|| {
            if namespaces == 0 {
                return Ok(());
            }
            let names = crate::launch::flag_names(namespaces);
            process::setns(exec.pidfd, namespaces)
                .map_err(|errno| Error::step("enter the container", "setns", names, errno))
        },
        flags: 0,
    };
    let (pid, pidfd, ours) =
        between.clone_child(ours, entry, |entry, error| enter(exec.process, entry, error), &mut steps)?;
    let mut starting = Starting::new(pid, pidfd, ours, steps);
    starting.admit(exec.process, exec.cgroup)?;
    starting.finish()
}

impl Starting {
    /// Puts a process that joined under its limits, and lets it go on.
    fn admit(&mut self, process: &ProcessPlan, cgroup: Option<&Cgroup>) -> Result<(), Error> {
        limits::set_from_outside(self.pid, process, self.steps_mut())?;
        self.join_v1(cgroup)?;
        self.go(&[])
    }
}

/// Flags of the namespaces in which `pid` isn't where the caller is.
fn foreign_namespaces(pid: i32) -> Result<u64, Error> {
    let files = [
        ("user", ns::USER),
        ("mnt", ns::MOUNT),
        ("pid", ns::PID),
        ("net", ns::NET),
        ("uts", ns::UTS),
        ("ipc", ns::IPC),
        ("cgroup", ns::CGROUP),
        ("time", ns::TIME),
    ];
    let mut flags = 0;
    for (name, flag) in files {
        let link = |who: &str| {
            let path = format!("/proc/{who}/ns/{name}");
            readlinkat(CWD, path.as_str(), Vec::new())
                .map_err(|errno| Error::step("find the container's namespaces", "readlink", path, errno))
        };
        let own = match link("self") {
            // A kernel that lacks this kind of namespace.
            Err(Error::Step { errno: Errno::NOENT, .. }) => continue,
            other => other?,
        };
        if own != link(&pid.to_string())? {
            flags |= flag;
        }
    }
    Ok(flags)
}

//! The first process's side of a start: from the clone to execve.
//!
//! It is a copy of the holder with one thread; it never returns into the holder's code. Everything here is in the order
//! in which it must happen:
//!
//! 1. wait until its ids are mapped and its control groups joined
//! 2. leave the namespaces that can only be left from inside (cgroup, time, sometimes IPC), and make what belongs to the
//!    new ones: names, loopback, file systems. A user namespace of its own gives it the right to do so while the holder
//!    makes the root; without one, or in one that was joined, the root comes first
//! 3. wait for the mounts that the holder made; build the file tree below the new root, then limits of the kernel
//!    (sysctl, masks)
//! 4. make the new root `/` and let go of the old one
//! 5. terminal; wait for the start, if told so
//! 6. streams, working directory, ids, capabilities, filter; execve

mod cgroup_mount;
mod copy_up;
pub(crate) mod enter;
mod finish;
mod masks;
mod passwd;
mod rootfs;
pub(crate) mod target;
mod terminal;

pub(crate) use finish::{Finish, become_program};

use crate::launch::{Stdio, flag_names};
use crate::message::{self, Message};
use crate::plan::{Plan, UserNamespace};
use crate::{Error, Steps};
use linux::Errno;
use linux::process::{self, ns};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

/// What the first process takes over from its holder.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub socket: OwnedFd,
    pub mountpoint: PathBuf,
    pub stdio: Option<Stdio>,
    pub start_socket: Option<OwnedFd>,
    /// berth's own binary, if its init is to run.
    pub init: Option<OwnedFd>,
    pub preserve_fds: u32,
    pub trace: bool,
    /// RLIMIT_NPROC before it became the ceiling of the user namespace.
    pub tasks_before: Option<rustix::process::Rlimit>,
    /// Version 1 controllers that the container has a group of, with the group's directory.
    pub v1_controllers: BTreeMap<String, String>,
    pub has_v2: bool,
}

/// Becomes the container's first process; `error` is what went wrong before.
pub(crate) fn run(
    plan: &Plan,
    inheritance: Inheritance,
    join_cgroup: Option<&OwnedFd>,
    error: Option<Error>,
) -> ! {
    linux::fault::play(linux::fault::Role::First);
    inheritance.close_others(join_cgroup);
    // One descriptor survives in here whatever happens, to tell of it.
    let Ok(socket) = inheritance.socket.try_clone() else { process::exit(1) };
    let result = match error {
        Some(error) => Err(error),
        None => First { plan, steps: Steps::new(inheritance.trace, true) }.run(inheritance, join_cgroup),
    };
    let Err((error, socket)) = result.map_err(|error| (error, socket));
    message::send(&socket, &Message::Failed((&error).into()), &[]);
    process::exit(1)
}

impl Inheritance {
    /// Lets go of all else that the holder had open: its end of the socket, by whose closing its death is told, locks,
    /// other containers' descriptors.
    fn close_others(&self, join_cgroup: Option<&OwnedFd>) {
        let own = [Some(&self.socket), self.start_socket.as_ref(), self.init.as_ref(), join_cgroup];
        let keep = own.into_iter().flatten().map(AsRawFd::as_raw_fd).collect();
        keep_only(keep, self.stdio.as_ref(), self.preserve_fds);
    }
}

/// Closes all descriptors but the standard streams, those in `keep` and `stdio`, and the first ones from 3 upward that
/// the program is to keep. Their owners are the holder's variables, which this process never returns to.
fn keep_only(mut keep: Vec<i32>, stdio: Option<&Stdio>, preserve_fds: u32) {
    if let Some(stdio) = stdio {
        keep.extend(stdio.stdin.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend([stdio.stdout.as_raw_fd(), stdio.stderr.as_raw_fd()]);
    }
    keep.extend((3..).take(preserve_fds as usize));
    process::close_others(&keep);
}

/// Waits until the holder says go; the mounts that come with it, if any.
fn await_go(socket: &OwnedFd) -> Result<Vec<OwnedFd>, Error> {
    let mut go = [0; 2];
    match linux::socket::recv(socket, &mut go) {
        Ok((2, fds)) => Ok(fds),
        // The holder is gone or gave up, and has said why to its own caller.
        Ok(_) => process::exit(1),
        Err(errno) => Err(Error::step("hear from the holder", "recvmsg", "its socket", errno)),
    }
}

/// Becomes root of the user namespace that the process is in.
fn become_root(steps: &mut Steps) -> Result<(), Error> {
    steps.run("setresuid, setresgid", "0", "be root of the user namespace", || {
        linux::creds::setresgid(0, 0, 0)?;
        linux::creds::setresuid(0, 0, 0)
    })
}

struct First<'a> {
    plan: &'a Plan,
    steps: Steps,
}

/// Whoever is told that execve comes next: the holder, or who starts a process that waited.
enum Teller {
    Holder(OwnedFd),
    Starter(OwnedFd),
}

impl First<'_> {
    fn run(
        mut self,
        inheritance: Inheritance,
        join_cgroup: Option<&OwnedFd>,
    ) -> Result<std::convert::Infallible, Error> {
        let plan = self.plan;
        await_go(&inheritance.socket)?;
        linux::signal::reset_all();
        let early = match plan.namespaces.user {
            UserNamespace::New { .. } => Some(self.settle_in(join_cgroup)?),
            _ => None,
        };
        let mut mounts = await_go(&inheritance.socket)?;
        if mounts.is_empty() {
            return Err(Error::field("root", "the holder made no root"));
        }
        let root = mounts.remove(0);
        if plan.namespaces.own_mount {
            rootfs::attach_root(plan, &inheritance, &root, &mut self.steps)?;
        }
        let file_systems = match early {
            Some(made) => made,
            None => self.settle_in(join_cgroup)?,
        };
        let terminal = if plan.namespaces.own_mount {
            rootfs::build(plan, &inheritance, root, mounts, file_systems, &mut self.steps)?
        } else {
            let target = format!("/proc/self/fd/{}", root.as_raw_fd());
            self.steps.run("chroot", &target, "make the root file system /", || {
                rustix::process::chroot(target.as_str())?;
                rustix::process::chdir("/")
            })?;
            None
        };
        if plan.process.terminal && terminal.is_none() {
            return Err(Error::field("process.terminal", "needs a mount of type devpts on /dev/pts"));
        }
        let mut stdio = inheritance.stdio;
        if let Some(terminal) = terminal {
            message::send(&inheritance.socket, &Message::Terminal, &[terminal.master.as_fd()]);
            stdio = Some(terminal.attach(&mut self.steps)?);
        }
        let teller = self.await_start(inheritance.socket, inheritance.start_socket)?;
        let finish = Finish {
            process: &plan.process,
            stdio,
            preserve_fds: inheritance.preserve_fds,
            tasks_before: inheritance.tasks_before,
            init: inheritance.init,
        };
        match teller {
            Teller::Holder(socket) => become_program(finish, self.steps, &socket),
            Teller::Starter(socket) => become_program(finish, self.steps, &socket).inspect_err(|error| {
                message::send(&socket, &Message::Failed(error.into()), &[]);
            }),
        }
    }

    /// Makes itself at home in its namespaces, and returns the file systems that belong to them, detached.
    fn settle_in(&mut self, join_cgroup: Option<&OwnedFd>) -> Result<Vec<OwnedFd>, Error> {
        let plan = self.plan;
        if plan.namespaces.user != UserNamespace::Inherited {
            become_root(&mut self.steps)?;
        }
        self.leave_namespaces(join_cgroup)?;
        // ESRCH and EPERM can't happen; a process that leads a group already is a session leader then.
        let _ = rustix::process::setsid();
        if let Some(name) = &plan.hostname {
            self.steps.run("sethostname", name, "name the machine", || {
                rustix::system::sethostname(name.as_bytes())
            })?;
        }
        if let Some(name) = &plan.domainname {
            self.steps.run("setdomainname", name, "name its NIS domain", || {
                rustix::system::setdomainname(name.as_bytes())
            })?;
        }
        if plan.namespaces.new_network {
            self.steps.run("ioctl SIOCSIFFLAGS", "lo", "bring loopback up", linux::net::loopback_up)?;
        }
        if plan.namespaces.own_mount { rootfs::file_systems(plan, &mut self.steps) } else { Ok(Vec::new()) }
    }

    fn leave_namespaces(&mut self, join_cgroup: Option<&OwnedFd>) -> Result<(), Error> {
        let namespaces = &self.plan.namespaces;
        if let Some(file) = join_cgroup {
            self.steps
                .run("setns", "cgroup", "join a namespace", || process::setns(file.as_fd(), ns::CGROUP))?;
        }
        let time = if namespaces.time_offsets.is_some() { ns::TIME } else { 0 };
        let cgroup = if namespaces.new_cgroup { ns::CGROUP } else { 0 };
        let flags = time | cgroup | if namespaces.new_ipc { ns::IPC } else { 0 };
        if flags != 0 {
            self.steps
                .run("unshare", flag_names(flags), "see only its own part", || process::unshare(flags))?;
        }
        if let Some(offsets) = &namespaces.time_offsets {
            // Having changed its ids, the process owns its own files in /proc only while it's dumpable. Nobody is there
            // to take advantage of it: in a namespace that was joined somebody might be.
            let own = matches!(namespaces.user, UserNamespace::New { .. });
            self.steps.run("write", "/proc/self/timens_offsets", "offset its clocks", || {
                process::set_dumpable(own)?;
                let written = std::fs::write("/proc/self/timens_offsets", offsets)
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
                process::set_dumpable(false)?;
                written
            })?;
        }
        Ok(())
    }

    fn await_start(&mut self, holder: OwnedFd, start_socket: Option<OwnedFd>) -> Result<Teller, Error> {
        let Some(listener) = start_socket else { return Ok(Teller::Holder(holder)) };
        finish::check_present(&self.plan.process)?;
        if !message::send(&holder, &Message::Waiting { steps: self.steps.take() }, &[]) {
            // Whoever would have recorded this container is gone.
            process::exit(1);
        }
        drop(holder);
        let starter = linux::socket::accept(&listener)
            .map_err(|errno| Error::step("wait for the start", "accept", "its socket", errno))?;
        Ok(Teller::Starter(starter))
    }
}

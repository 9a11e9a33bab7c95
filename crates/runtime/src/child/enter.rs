//! A process that has joined a running container: from its clone to execve.

use super::finish::{Finish, become_program};
use super::terminal::open_terminal;
use super::{await_go, become_root};
use crate::launch::Stdio;
use crate::message::{self, Message};
use crate::plan::ProcessPlan;
use crate::{Error, Steps};
use linux::process;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What it takes over from whoever called.
#[derive(Debug)]
pub(crate) struct Entry {
    pub socket: OwnedFd,
    /// The container's root directory, where joining a mount namespace doesn't lead to it.
    pub root: Option<OwnedFd>,
    pub own_user_namespace: bool,
    pub stdio: Option<Stdio>,
    pub preserve_fds: u32,
    pub trace: bool,
}

/// Becomes the program; `error` is what went wrong before.
pub(crate) fn enter(plan: &ProcessPlan, entry: Entry, error: Option<Error>) -> ! {
    let mut keep = vec![entry.socket.as_raw_fd()];
    keep.extend(entry.root.as_ref().map(AsRawFd::as_raw_fd));
    super::keep_only(keep, entry.stdio.as_ref(), entry.preserve_fds);
    let Ok(socket) = entry.socket.try_clone() else { process::exit(1) };
    let result = match error {
        Some(error) => Err(error),
        None => go_on(plan, entry),
    };
    let Err(error) = result;
    message::send(&socket, &Message::Failed((&error).into()), &[]);
    process::exit(1)
}

fn go_on(plan: &ProcessPlan, entry: Entry) -> Result<Infallible, Error> {
    linux::fault::play(linux::fault::Role::First);
    let mut steps = Steps::new(entry.trace, true);
    await_go(&entry.socket)?;
    linux::signal::reset_all();
    if let Some(root) = &entry.root {
        steps.run("fchdir, chroot", ".", "make the container's root /", || {
            rustix::process::fchdir(root)?;
            rustix::process::chroot(".")
        })?;
    }
    if entry.own_user_namespace {
        become_root(&mut steps)?;
    }
    // EPERM can't happen: the process leads no group.
    let _ = rustix::process::setsid();
    let mut stdio = entry.stdio;
    if plan.terminal {
        let root = steps.run("open", "/", "resolve paths below the container's root", || {
            openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        })?;
        let terminal = open_terminal(root.as_fd(), plan, false, &mut steps)?;
        message::send(&entry.socket, &Message::Terminal, &[terminal.master.as_fd()]);
        stdio = Some(terminal.attach(&mut steps)?);
    }
    let finish =
        Finish { process: plan, stdio, preserve_fds: entry.preserve_fds, tasks_before: None, init: None };
    become_program(finish, steps, &entry.socket)
}

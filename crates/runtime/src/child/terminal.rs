//! The container's terminal: a pty of its own devpts, never the caller's (security.md T18).

use super::target::{self, Links};
use crate::launch::Stdio;
use crate::plan::ProcessPlan;
use crate::{Error, Steps};
use linux::Errno;
use linux::mount;
use rustix::fs::{Gid, OFlags, Uid};
use rustix::pty::OpenptFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Both ends.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// The file system on which ptys live.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Opens a pty in the devpts that is mounted below `root`; with `console`, where there is a file for it, also binds it on
/// `/dev/console`.
pub(crate) fn open_terminal(
    root: BorrowedFd<'_>,
    process: &ProcessPlan,
    console: bool,
    steps: &mut Steps,
) -> Result<Terminal, Error> {
    let what = "open a terminal";
    let master = steps.run("openat2", "/dev/pts/ptmx", what, || {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let master = target::open(root, "/dev/pts/ptmx", flags, Links::Refused)?;
        // In a container that runs already, anything may be mounted there.
        if rustix::fs::fstatfs(&master)?.f_type != DEVPTS_SUPER_MAGIC {
            return Err(Errno::NOTTY);
        }
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR)?;
        Ok(master)
    })?;
    let slave = steps.run("ioctl TIOCGPTPEER", "/dev/pts/ptmx", what, || {
        rustix::pty::unlockpt(&master)?;
        rustix::pty::ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )
    })?;
    if let Some(size) = process.console_size {
        let size =
            rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        steps.run("ioctl TIOCSWINSZ", "pty", "set the terminal's size", || {
            rustix::termios::tcsetwinsize(&slave, size)
        })?;
    }
    steps.run("fchown", process.user.uid, "give the terminal to its user", || {
        // The group is devpts' own, `tty`.
        rustix::fs::fchown(&slave, Some(Uid::from_raw(process.user.uid)), None::<Gid>)
    })?;
    if !console {
        return Ok(Terminal { master, slave });
    }
    match target::open(root, "/dev/console", OFlags::PATH, Links::Refused) {
        Ok(console) => {
            steps.run("open_tree, move_mount", "/dev/console", "show the terminal as the console", || {
                let fd = mount::clone_tree(slave.as_fd(), Path::new(""), false)?;
                mount::attach(fd.as_fd(), console.as_fd())
            })?
        }
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::step(what, "openat2", "/dev/console", errno)),
    }
    Ok(Terminal { master, slave })
}

impl Terminal {
    /// Makes it the controlling terminal of the calling session leader; its slave becomes the standard streams.
    pub fn attach(self, steps: &mut Steps) -> Result<Stdio, Error> {
        steps.run("ioctl TIOCSCTTY", "pty", "control the session from the terminal", || {
            rustix::process::ioctl_tiocsctty(&self.slave)
        })?;
        let dup = || {
            self.slave.try_clone().map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Error::step("open a terminal", "dup", "pty", errno)
            })
        };
        Ok(Stdio { stdin: Some(dup()?), stdout: dup()?, stderr: dup()? })
    }
}

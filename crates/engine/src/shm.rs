//! `/dev/shm` of a container that others may join (`--ipc shareable`).
//!
//! The kernel copies no mount out of another mount namespace (open_tree(2): EINVAL), so the creator makes it outside, as a
//! detached mount of its own, and holder and keeper keep it open: whoever joins finds it among the holder's descriptors.

use crate::Error;
use crate::cell::{ProcessName, Running};
use crate::config::Config;
use crate::request::IpcMode;
use linux::mount::{self, attr};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::IntoRawFd;
use std::path::PathBuf;

/// Where it's seen.
pub const TARGET: &str = "/dev/shm";

/// Where a running container's can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shm {
    /// It's the host's.
    Host,
    /// It's an open descriptor of the holder's.
    Held {
        /// The holder.
        holder: ProcessName,
        /// The descriptor's number there.
        fd: i32,
    },
    /// Nobody else may have it.
    Private,
}

impl Shm {
    /// That of a running container.
    pub fn of(config: &Config, running: &Running) -> Shm {
        match (&config.request.ipc, running.shm_fd) {
            (IpcMode::Host, _) => Shm::Host,
            (IpcMode::Shareable, Some(fd)) => Shm::Held { holder: running.holder, fd },
            _ => Shm::Private,
        }
    }

    /// A path that names it for as long as this process lives, to be bound. `name` is the container's.
    ///
    /// Errors: [`Error::Invalid`] for a private one, [`Error::State`] if its holder is gone.
    pub fn source(&self, name: &str) -> Result<String, Error> {
        let Shm::Held { holder, fd } = self else {
            return match self {
                Shm::Host => Ok(TARGET.to_owned()),
                _ => Err(Error::invalid(
                    "--ipc",
                    format!("{name} does not share its IPC namespace; start it with --ipc shareable"),
                )),
            };
        };
        let path = PathBuf::from(format!("/proc/{}/fd/{fd}", holder.pid));
        let opened = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        // Looked at afterwards: while it lived all the time, the number was its own.
        match (opened, holder.open()) {
            (Ok(shm), Some(_)) => Ok(format!("/proc/self/fd/{}", shm.into_raw_fd())),
            _ => Err(Error::State {
                id: name.to_owned(),
                why: "has lost its holder, and with it the way to its /dev/shm: start it again".to_owned(),
            }),
        }
    }
}

/// Makes one of `bytes` size that container root, `base` on the host, owns: a path to bind, which names it in this
/// process and those it forks.
pub fn make(bytes: u64, base: u32) -> Result<String, Error> {
    let options = [("mode", "1777".to_owned()), ("size", bytes.to_string())]
        .into_iter()
        .chain([("uid", base.to_string()), ("gid", base.to_string())])
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Vec<_>>();
    let made = mount::detached("tmpfs", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC)
        .map_err(|errno| Error::system("make", TARGET, errno))?;
    Ok(format!("/proc/self/fd/{}", made.into_raw_fd()))
}

/// The descriptor that [`make`] opened for the container of `config`.
pub fn descriptor(config: &Config) -> Option<i32> {
    if config.request.ipc != IpcMode::Shareable {
        return None;
    }
    let mount = config.spec.mounts.iter().find(|mount| mount.destination == TARGET)?;
    mount.source.as_deref()?.strip_prefix("/proc/self/fd/")?.parse().ok()
}

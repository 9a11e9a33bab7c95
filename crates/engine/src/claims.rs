//! Names, id ranges and directories of this boot, claimed by making files: whoever makes the file has it.
//!
//! ```text
//! <run>/
//!   boot                      boot id that all of this belongs to
//!   names/<name>              symbolic link to the id of the container that has the name
//!   ranges/<slot>             symbolic link to the id of the container that has the range of user ids
//!   containers/<id>/          one container: see `cell`
//! ```
//!
//! Invariant: a name's link is made before the container's row in the store, and removed after it. After a reboot
//! `names` is made anew from the rows, under a lock.

use crate::{Error, Home, cell};
use linux::{Errno, fault};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, openat, renameat, symlinkat, unlinkat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

/// The claims of one home, made ready for this boot.
#[derive(Debug)]
pub struct Claims<'a> {
    home: &'a Home,
}

impl<'a> Claims<'a> {
    /// Makes `run` ready: on the first call of a boot it clears what an earlier boot left.
    pub fn open(home: &'a Home) -> Result<Claims<'a>, Error> {
        let claims = Claims { home };
        let boot_id = boot_id()?;
        if std::fs::read_to_string(home.run.join("boot")).is_ok_and(|known| known == boot_id) {
            return Ok(claims);
        }
        claims.begin_boot(&boot_id)?;
        Ok(claims)
    }

    /// The home.
    pub(crate) fn home(&self) -> &'a Home {
        self.home
    }

    /// The claims of a home where [`Claims::exist`].
    pub(crate) fn of(home: &'a Home) -> Claims<'a> {
        Claims { home }
    }

    /// Whether anything was claimed in this boot; makes nothing.
    pub fn exist(home: &Home) -> bool {
        boot_id()
            .is_ok_and(|id| std::fs::read_to_string(home.run.join("boot")).is_ok_and(|known| known == id))
    }

    fn begin_boot(&self, boot_id: &str) -> Result<(), Error> {
        let run = &self.home.run;
        make_private_dir(run)?;
        let failed = |errno| Error::system("prepare", run.display(), errno);
        let dir = openat(CWD, run, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed)?;
        flock(&dir, FlockOperation::LockExclusive).map_err(failed)?;
        if std::fs::read_to_string(run.join("boot")).is_ok_and(|known| known == boot_id) {
            return Ok(());
        }
        // Locks and processes of another boot are gone with it; this is only files.
        for name in ["names", "ranges", "containers", "networks"] {
            let path = run.join(name);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("clear", path.display(), &error));
                }
                _ => make_private_dir(&path)?,
            }
        }
        if self.home.root.join("store.db").exists() {
            let store = store::Store::open(&self.home.root)?;
            for record in store.containers()? {
                let _ = symlinkat(record.id.as_str(), CWD, run.join("names").join(&record.name));
            }
        }
        if self.home.is_default() {
            reserve_ids(self.home);
        }
        linux::durable::replace(dir.as_fd(), "boot".as_ref(), boot_id.as_bytes(), 0o600)
            .map_err(|error| Error::io("write", run.join("boot").display(), &error))
    }

    /// Claims `name` for container `id`.
    pub fn claim_name(&self, name: &str, id: &str) -> Result<(), Error> {
        let link = self.home.run.join("names").join(name);
        match symlinkat(id, CWD, &link) {
            Ok(()) => {
                fault::point("name claimed");
                Ok(())
            }
            Err(Errno::EXIST) => {
                let by = std::fs::read_link(&link)
                    .map(|p| p.to_string_lossy()[..12.min(p.as_os_str().len())].to_owned());
                Err(Error::NameInUse { name: name.to_owned(), by: by.unwrap_or_default() })
            }
            Err(errno) => Err(Error::system("claim the name", link.display(), errno)),
        }
    }

    /// Claims the first free range, looking from a place that `id` gives: its slot. `intend` writes each try down first.
    pub fn claim_range(
        &self,
        id: &str,
        mut intend: impl FnMut(u32) -> Result<(), Error>,
    ) -> Result<u32, Error> {
        let slots = self.home.ranges;
        let start = u32::from_str_radix(&id[..7.min(id.len())], 16).unwrap_or(0) % slots;
        for step in 0..slots {
            let slot = (start + step) % slots;
            let link = self.home.run.join("ranges").join(slot.to_string());
            intend(slot)?;
            match symlinkat(id, CWD, &link) {
                Ok(()) => {
                    fault::point("range claimed");
                    return Ok(slot);
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::system("claim the id range", link.display(), errno)),
            }
        }
        Err(Error::NoRange { slots })
    }

    /// The id that `name` belongs to.
    pub fn id_of_name(&self, name: &str) -> Option<String> {
        let id = std::fs::read_link(self.home.run.join("names").join(name)).ok()?;
        id.into_os_string().into_string().ok()
    }

    /// Gives back a name, if `id` has it. The link is moved to the container's directory, which goes soon: where it's on a
    /// disk, removing it takes several times as long, and whoever waits for the name waits for this.
    pub fn release_name(&self, name: &str, id: &str) {
        let link = self.home.run.join("names").join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target.as_os_str() == id)
            && renameat(CWD, &link, CWD, self.home.run_dir(id).join(cell::NAME)).is_err()
        {
            let _ = unlinkat(CWD, &link, AtFlags::empty());
        }
    }

    /// Removes the link of a name that a container doesn't have any more, though it lives on.
    pub fn unlink_name(&self, name: &str, id: &str) {
        release(&self.home.run.join("names").join(name), id);
    }

    /// Waits until nobody else changes names of containers, and keeps it so while the answer lives.
    pub fn lock_names(&self) -> Result<OwnedFd, Error> {
        self.names_locked(FlockOperation::LockExclusive)
    }

    /// For who gives a new container its name, until that has a directory: nobody takes the name for one that was left.
    pub fn share_names(&self) -> Result<OwnedFd, Error> {
        self.names_locked(FlockOperation::LockShared)
    }

    /// As [`Claims::lock_names`] without waiting; `None` if somebody does.
    pub fn try_lock_names(&self) -> Result<Option<OwnedFd>, Error> {
        match self.names_locked(FlockOperation::NonBlockingLockExclusive) {
            Err(Error::System { errno: Errno::WOULDBLOCK, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    fn names_locked(&self, operation: FlockOperation) -> Result<OwnedFd, Error> {
        let path = self.home.run.join("names");
        let failed = |errno| Error::system("lock", path.display(), errno);
        let dir = openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed)?;
        while let Err(errno) = flock(&dir, operation) {
            if errno != Errno::INTR {
                return Err(failed(errno));
            }
        }
        Ok(dir)
    }

    /// Gives back a range, if `id` has it.
    pub fn release_range(&self, slot: u32, id: &str) {
        release(&self.home.run.join("ranges").join(slot.to_string()), id);
    }
}

/// Writes the ranges down where other programs that give out ids look, so that none gives out the same: `/etc/subuid` and
/// `/etc/subgid`. Where that can't be done, because `/etc` is read-only, the ranges lie above those of useradd and systemd
/// all the same.
fn reserve_ids(home: &Home) {
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().any(|line| line.starts_with("berth:")) {
            continue;
        }
        let count = home.ranges * crate::home::RANGE_IDS;
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let line = format!("{newline}berth:{}:{count}\n", home.ids_base);
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        if let Ok(file) = openat(CWD, file, flags, Mode::from_raw_mode(0o644)) {
            // In one write: it's there or it isn't.
            let _ = rustix::io::write(&file, line.as_bytes());
        }
    }
}

fn release(link: &Path, id: &str) {
    if std::fs::read_link(link).is_ok_and(|target| target.as_os_str() == id) {
        let _ = unlinkat(CWD, link, AtFlags::empty());
    }
}

/// The running kernel's boot id, which stays the same: it's read once.
pub fn boot_id() -> Result<String, Error> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let text = std::fs::read_to_string(PATH).map_err(|error| Error::io("read", PATH, &error))?;
    Ok(KNOWN.get_or_init(|| text.trim_end().to_owned()).clone())
}

/// Makes a directory that only root may enter, with the ones above it.
pub fn make_private_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| Error::io("make", path.display(), &error))
}

/// Opens a directory as a reference.
pub fn open_dir(path: &Path) -> Result<OwnedFd, Error> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open", path.display(), errno))
}

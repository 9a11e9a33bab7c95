//! One container's directory of this boot, and what its files say.
//!
//! ```text
//! <run>/containers/<id>/
//!   lock        flock'd by the creator, then by holder and keeper; says what was intended. A free lock means that
//!               nobody looks after the container any more
//!   config.json what was wanted, resolved
//!   run.json    which processes there are
//!   exit.json   how it ended
//!   exec.<id>   a command of `exec`: see `exec::record`
//!   health.json what its health checks say, once one has ended
//!   stdout, stderr   FIFOs that the container writes and the keeper reads
//!   held        locked by whoever has paused it for a while: see `pause`
//!   renaming    what `rename` is at
//!   updating    what `update` is at
//!   claiming    what `network connect` or `disconnect` is at: see `network::connect`
//!   remove      whoever sees the end removes the container too
//!   stopped     a user stopped it, or if it says so, the machine's shutdown did: it isn't started again
//!   name        the link of `names/` that it had, once it's given back
//!   log/        what it wrote last, where its log is kept in another form, or not at all: see `log`
//! ```
//!
//! States, by files and kernel:
//! - lock held, no run.json: being created
//! - run.json, first process alive: running (with a free lock: on its own; the next command looks after it)
//! - exit.json, or first process gone: ended; with a next start in it, that is waited for
//! - lock free and no run.json: its creation was cut short; whatever there is of it is garbage

use crate::config::Config;
use crate::health::Health;
use crate::{Error, Home, claims, exec};
use linux::durable::Placed;
use linux::{Errno, fault};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The file that a name's link becomes.
pub(crate) const NAME: &str = "name";

/// What the file `stopped` says when it wasn't a user.
const SHUTDOWN: &[u8] = b"shutdown";

/// The file of what health checks say.
pub(crate) const HEALTH: &str = "health.json";

/// Bytes of an intent with room for a name, a control group and a few slots.
const INTENT_BYTES_MIN: usize = 1024;

/// Tries to make a directory that other commands take for garbage meanwhile.
const CREATE_TRIES_MAX: u32 = 1000;

const NEW_LOCK_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// What was intended, written before anything else is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Name.
    pub name: String,
    /// Whether it's removed when it ends, so that no row of it is in the store.
    pub rm: bool,
    /// Slots of its id ranges.
    pub slots: Vec<u32>,
    /// Whether there was such a container before, which stays if this start is cut short.
    #[serde(default)]
    pub again: bool,
    /// Its control group, if that isn't below berth's own parent.
    #[serde(default)]
    pub cgroup: Option<String>,
}

impl Intent {
    /// As JSON, with spaces after it: of the same container, one intent covers another that names fewer slots.
    fn to_text(&self) -> Vec<u8> {
        let mut text = to_json(self);
        text.resize(text.len().max(INTENT_BYTES_MIN), b' ');
        text
    }
}

/// A process, named so that no other one can be meant: with the boot that `<run>` belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Process id on the host.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
    /// Its number among the kernel's pidfds, where those have numbers: asked for by fewer and cheaper calls.
    #[serde(default)]
    pub number: Option<u64>,
}

impl ProcessName {
    /// The name of a living process.
    pub fn of(pid: i32) -> Option<ProcessName> {
        let pidfd = linux::process::pidfd_open(pid).ok()?;
        let number = linux::process::pidfd_number(pidfd.as_fd());
        Some(ProcessName { pid, start_time: linux::process::start_time(pid)?, number })
    }

    /// A descriptor for it; `None` if it's gone.
    pub fn open(self) -> Option<OwnedFd> {
        let pidfd = linux::process::pidfd_open(self.pid).ok()?;
        let lives = match self.number {
            Some(number) => {
                rustix::fs::fstat(&pidfd).is_ok_and(|stat| stat.st_ino == number) && !has_ended(pidfd.as_fd())
            }
            // Opened first, compared then: the pid can't go to another process while the descriptor is held and alive.
            None => linux::process::living_since(self.pid) == Some(self.start_time),
        };
        lives.then_some(pidfd)
    }
}

/// Processes of a started container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The container's first process.
    pub init: ProcessName,
    /// The holder.
    pub holder: ProcessName,
    /// Nanoseconds since the epoch.
    pub started_ns: i64,
    /// Control groups.
    pub cgroup: runtime::cgroup::CgroupPaths,
    /// Control groups that it's about to be moved to as well.
    #[serde(default)]
    pub groups_to_come: Option<runtime::cgroup::CgroupPaths>,
    /// The holder's descriptor of its `/dev/shm`, if others may join it.
    #[serde(default)]
    pub shm_fd: Option<i32>,
    /// The holder's descriptor of the writing end of its stdin, if that is held for who attaches.
    #[serde(default)]
    pub stdin_fd: Option<i32>,
    /// What couldn't be done as asked, for `inspect`.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// By whom it was started again.
    #[serde(default)]
    pub restarts: Restarts,
}

impl Running {
    /// All control groups that there may be of it.
    pub fn groups(&self) -> runtime::cgroup::CgroupPaths {
        let mut groups = self.cgroup.clone();
        if let Some(more) = &self.groups_to_come {
            groups.v1.extend(more.v1.clone());
        }
        groups
    }
}

/// How often a container was started again by its restart policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// Times since a user started it.
    pub count: u32,
    /// Pause before the last one.
    pub pause_ms: u64,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// 0 to 255; `None` if nobody was there to see it.
    pub code: Option<u8>,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub started_ns: i64,
    /// Nanoseconds since the epoch.
    pub finished_ns: i64,
    /// Why it never ran, or that its end wasn't seen.
    pub error: Option<String>,
    /// Whether a user stopped it.
    #[serde(default)]
    pub stopped: bool,
    /// Times that its restart policy had started it again.
    #[serde(default)]
    pub restarts: u32,
    /// When it will be started again.
    #[serde(default)]
    pub next: Option<NextStart>,
    /// What its health checks said last.
    #[serde(default)]
    pub health: Option<Health>,
}

/// A start by the restart policy that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStart {
    /// Nanoseconds since the epoch.
    pub at_ns: i64,
    /// With this one.
    pub restarts: Restarts,
}

impl Ended {
    /// One that nobody saw.
    pub fn unseen(started_ns: i64, finished_ns: i64, why: &str) -> Ended {
        Ended {
            code: None,
            oom_killed: false,
            started_ns,
            finished_ns,
            error: Some(why.to_owned()),
            stopped: false,
            restarts: 0,
            next: None,
            health: None,
        }
    }
}

/// The directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its container's id.
    pub id: String,
    /// Its path.
    pub path: PathBuf,
}

/// Holding the directory's lock; given up when the last copy of the descriptor is closed.
#[derive(Debug)]
pub struct CellLock(OwnedFd);

impl CellLock {
    /// The lock whose descriptor this process has inherited by number.
    pub fn inherited(number: i32) -> Result<CellLock, Errno> {
        linux::process::inherited_fd(number).map(CellLock)
    }

    /// Whether the directory is gone, or belongs to somebody else by now.
    pub fn is_void(&self) -> bool {
        rustix::fs::fstat(&self.0).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Gives it up for all who have copies of the descriptor. The directory is gone: nobody looks after anything here.
    pub fn give_up(self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }

    /// The descriptor, for a process that keeps it open over a fork.
    pub fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Writes down what is about to be made, over what was written before.
    pub fn intend(&self, intent: &Intent) -> Result<(), Errno> {
        rustix::io::pwrite(&self.0, &intent.to_text(), 0).map(|_| ())
    }
}

impl Cell {
    /// The directory of container `id`, whether it exists or not.
    pub fn of(home: &Home, id: &str) -> Cell {
        Cell { id: id.to_owned(), path: home.run_dir(id) }
    }

    /// Makes the directory with its intent, locked. EEXIST, as [`Error::System`], if there is one.
    pub fn create(home: &Home, id: &str, intent: &Intent) -> Result<(Cell, CellLock), Error> {
        let cell = Cell::of(home, id);
        let failed = |what, errno| Error::system(what, cell.path.display(), errno);
        rustix::fs::mkdir(&cell.path, Mode::RWXU).map_err(|e| failed("make", e))?;
        fault::point("directory made");
        for _ in 0..CREATE_TRIES_MAX {
            let lock = cell.lock_new().map_err(|e| failed("lock", e))?;
            fault::point("directory locked");
            if let Some(lock) = lock {
                lock.intend(intent).map_err(|e| failed("write to", e))?;
                fault::point("intent written");
                return Ok((cell, lock));
            }
            // Another command took it for one that nobody looks after, and removes it.
            std::thread::sleep(std::time::Duration::from_millis(1));
            match rustix::fs::mkdir(&cell.path, Mode::RWXU) {
                // By somebody who intends something with the same container.
                Err(Errno::EXIST) if cell.intent().is_some() => return Err(failed("make", Errno::EXIST)),
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make", errno)),
            }
        }
        Err(failed("lock", Errno::AGAIN))
    }

    /// Makes and takes the lock of a directory that was just made; `None` if somebody else was faster.
    fn lock_new(&self) -> Result<Option<CellLock>, Errno> {
        let lock = match openat(CWD, self.path.join("lock"), NEW_LOCK_FLAGS, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST | Errno::NOENT) => return Ok(None),
            other => other?,
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            other => other?,
        }
        Ok((rustix::fs::fstat(&lock)?.st_nlink > 0).then_some(CellLock(lock)))
    }

    /// All containers of this boot.
    pub fn all(home: &Home) -> Vec<Cell> {
        if !claims::Claims::exist(home) {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(home.run.join("containers")) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .map(|id| Cell::of(home, &id))
            .collect()
    }

    /// Takes the lock if it's free; `None` if somebody looks after the container.
    pub fn try_lock(&self) -> Result<Option<CellLock>, Error> {
        self.lock_with(FlockOperation::NonBlockingLockExclusive)
    }

    /// Waits for the lock: until nobody looks after the container any more. `None` if the directory is gone.
    pub fn wait_lock(&self) -> Result<Option<CellLock>, Error> {
        self.lock_with(FlockOperation::LockExclusive)
    }

    fn lock_with(&self, operation: FlockOperation) -> Result<Option<CellLock>, Error> {
        let failed = |errno| Error::system("lock", self.path.join("lock").display(), errno);
        let mode = Mode::from_raw_mode(0o600);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        // A directory without one was made by somebody who was killed right then, or is about to go on.
        let lock = match openat(CWD, self.path.join("lock"), flags, mode) {
            Err(Errno::NOENT) => openat(CWD, self.path.join("lock"), flags | OFlags::CREATE, mode),
            other => other,
        };
        let lock = match lock {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(failed)?,
        };
        loop {
            match flock(&lock, operation) {
                Ok(()) => break,
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            }
        }
        // Whoever had it may have removed the directory, and somebody else have made another since.
        let lock = CellLock(lock);
        Ok(if lock.is_void() { None } else { Some(lock) })
    }

    /// What was intended.
    pub fn intent(&self) -> Option<Intent> {
        self.read("lock")
    }

    /// Writes another name into the intent, for whoever buries the container.
    pub fn intend_name(&self, name: &str) -> Result<(), Error> {
        let Some(intent) = self.intent() else { return Ok(()) };
        let intent = Intent { name: name.to_owned(), ..intent };
        let path = self.path.join("lock");
        openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|lock| rustix::io::pwrite(&lock, &intent.to_text(), 0))
            .map(drop)
            .map_err(|errno| Error::system("write to", path.display(), errno))
    }

    /// Its name, which may have changed since `config` was read.
    pub fn name_now(&self, config: &Config) -> String {
        self.config().map_or_else(|| config.name.clone(), |now| now.name)
    }

    /// What was wanted, resolved.
    pub fn config(&self) -> Option<Config> {
        self.config_as()
    }

    /// The same, with as much of the specification as the caller wants to know.
    pub(crate) fn config_as<S: DeserializeOwned>(&self) -> Option<Config<S>> {
        self.read("config.json")
    }

    /// The processes; `None` before the start.
    pub fn running(&self) -> Option<Running> {
        self.read("run.json")
    }

    /// How it ended; `None` if that isn't known.
    pub fn ended(&self) -> Option<Ended> {
        self.read("exit.json")
    }

    /// What its health checks say; `None` before the first has ended.
    pub fn health(&self) -> Option<Health> {
        self.read(HEALTH)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read_json(&self.path.join(name))
    }

    /// Writes a file whole or not at all, as far as other processes see it; not durable, as nothing here is.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let new = self.path.join(format!(".{name}.new"));
        let path = self.path.join(name);
        std::fs::write(&new, to_json(value)).map_err(|error| Error::io("write", path.display(), &error))?;
        rustix::fs::renameat(CWD, &new, CWD, &path)
            .map_err(|errno| Error::system("write", path.display(), errno))
    }

    /// Keeps others from moving the container's processes between control groups while the answer lives; without `wait`,
    /// `None` if somebody does.
    pub fn lock_groups(&self, wait: bool) -> Result<Option<OwnedFd>, Error> {
        let failed = |errno| Error::system("lock", self.path.display(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, &self.path, flags, Mode::empty()).map_err(failed)?;
        let operation =
            if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        loop {
            match flock(&dir, operation) {
                Ok(()) => return Ok(Some(dir)),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Asks whoever sees the container's end to remove it.
    pub fn request_removal(&self) -> Result<(), Error> {
        let path = self.path.join("remove");
        std::fs::write(&path, b"").map_err(|error| Error::io("write", path.display(), &error))
    }

    /// Whether somebody asked for that.
    pub fn removal_requested(&self) -> bool {
        self.path.join("remove").exists()
    }

    /// Says that a user stops the container, so that it isn't started again. No failure if it's gone.
    pub fn request_stop(&self) -> Result<(), Error> {
        let path = self.path.join("stopped");
        match std::fs::write(&path, b"") {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("write", path.display(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Says that it's stopped because the machine goes down: it isn't started again before the next boot. What a user said
    /// before stays. No failure if it's gone.
    pub fn request_shutdown(&self) -> Result<(), Error> {
        if self.stop_requested() {
            return Ok(());
        }
        let (new, path) = (self.path.join(".stopped.new"), self.path.join("stopped"));
        let written = std::fs::write(&new, SHUTDOWN)
            .and_then(|()| rustix::fs::renameat(CWD, &new, CWD, &path).map_err(std::io::Error::from));
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("write", path.display(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Whether it's stopped, by a user or for the machine's end, and so isn't started again.
    pub fn stop_requested(&self) -> bool {
        self.path.join("stopped").exists()
    }

    /// Whether a user has stopped it.
    pub fn stopped_by_user(&self) -> bool {
        std::fs::read(self.path.join("stopped")).is_ok_and(|by| by != SHUTDOWN)
    }

    /// Between two starts by the restart policy: what of the directory belonged to the one that ended.
    pub fn clear_run(&self) {
        for name in ["run.json", HEALTH, "stdout", "stderr", "held"] {
            let _ = unlinkat(CWD, self.path.join(name), AtFlags::empty());
        }
        exec::record::clear(self);
    }

    /// Removes the directory; the lock goes last. What is gone already is no error.
    pub fn remove(&self) {
        // The configuration first: without it, readers take the container for gone.
        let names = [
            "config.json",
            "run.json",
            "exit.json",
            HEALTH,
            "stdout",
            "stderr",
            "held",
            "renaming",
            "updating",
            "remove",
            "stopped",
            NAME,
        ];
        for name in names {
            let _ = unlinkat(CWD, self.path.join(name), AtFlags::empty());
            fault::point(name);
        }
        // Half-written files of processes that were killed. Not later: without its lock the directory is somebody else's.
        if let Ok(entries) = std::fs::read_dir(&self.path) {
            for entry in entries.flatten().filter(|entry| entry.file_name() != "lock") {
                if std::fs::remove_file(entry.path()).is_err() {
                    // The journal of its log.
                    self.set_log_aside();
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        }
        let _ = unlinkat(CWD, self.path.join("lock"), AtFlags::empty());
        fault::point("lock removed");
        let _ = unlinkat(CWD, &self.path, AtFlags::REMOVEDIR);
    }

    /// For who still reads in it.
    fn set_log_aside(&self) {
        if let Some(aside) = self.path.ancestors().nth(2).map(|run| run.join("gone")) {
            crate::log::hold::set_aside(&crate::log::journal_dir(self), &self.id, &aside);
        }
    }

    /// Makes a FIFO that the container's user owns.
    pub fn make_fifo(&self, name: &str, uid: u32, gid: u32) -> Result<(), Error> {
        use rustix::fs::{FileType, Gid, Uid, chownat, mknodat};
        let path = self.path.join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .and_then(|()| {
                chownat(
                    CWD,
                    &path,
                    Some(Uid::from_raw(uid)),
                    Some(Gid::from_raw(gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
            })
            .map_err(|errno| Error::system("make", path.display(), errno))
    }

    /// Opens a FIFO to read from it without waiting for a writer.
    pub fn open_fifo_reader(&self, name: &str) -> Result<OwnedFd, Error> {
        self.open_fifo(name, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Opens a FIFO for the container: for reading too, so that its writes never meet a pipe without a reader while
    /// nobody looks after it.
    pub fn open_fifo_writer(&self, name: &str) -> Result<OwnedFd, Error> {
        self.open_fifo(name, OFlags::RDWR)
    }

    fn open_fifo(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        let path = self.path.join(name);
        openat(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::system("open", path.display(), errno))
    }
}

/// JSON of plain data, which always serialises.
fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Nanoseconds since the epoch.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).saturating_add(fault::clock_skew_ns())
}

/// Whether the process behind a pidfd has ended.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(n) if n > 0)
}

/// Durable record of how container `id` ended.
pub fn write_ended(home: &Home, id: &str, ended: &Ended) -> Result<(), Error> {
    let path = home.state_dir(id);
    linux::durable::replace(open_state(&path)?.as_fd(), STATE.as_ref(), &to_json(ended), 0o600)
        .map_err(|error| Error::io("write", path.join(STATE).display(), &error))
}

/// The same, seen by everybody, and durable once the answer is synced.
pub fn place_ended(home: &Home, id: &str, ended: &Ended) -> Result<Placed, Error> {
    let path = home.state_dir(id);
    linux::durable::place(open_state(&path)?, STATE.as_ref(), &to_json(ended), 0o600)
        .map_err(|error| Error::io("write", path.join(STATE).display(), &error))
}

/// The file of the durable record.
const STATE: &str = "state.json";

fn open_state(path: &Path) -> Result<OwnedFd, Error> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open", path.display(), errno))
}

/// Forgets how container `id` ended, for it's being started again; not durable.
pub fn forget_ended(home: &Home, cell: &Cell) {
    let _ = unlinkat(CWD, home.state_dir(&cell.id).join(STATE), AtFlags::empty());
    let _ = unlinkat(CWD, cell.path.join("exit.json"), AtFlags::empty());
}

/// The durable record of how container `id` ended; `None` if there is none.
pub fn read_ended(home: &Home, id: &str) -> Option<Ended> {
    read_json(&home.state_dir(id).join(STATE))
}

/// Bytes of a document that are read by one call: lists read two for each container, and nearly all are shorter.
const DOCUMENT_BYTES: usize = 16 << 10;

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = [0; DOCUMENT_BYTES];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[..])).ok()?;
    if read < buffer.len() {
        return serde_json::from_slice(&buffer[..read]).ok();
    }
    let mut bytes = buffer.to_vec();
    std::fs::File::from(file).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests;

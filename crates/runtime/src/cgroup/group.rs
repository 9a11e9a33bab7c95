//! A control group that exists: its processes, freezing, killing, removal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::error::Error;

/// Where a group is, for another process to open it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPaths {
    /// Directory on the version 2 tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v2: Option<String>,
    /// Directories on version 1 trees, by controller. Controllers that are mounted together share one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub v1: BTreeMap<String, String>,
}

impl CgroupPaths {
    /// Whether the group is frozen, or being frozen: one file, without opening the group. False if it's gone.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        let dir = self.v2.as_ref().or_else(|| self.v1.get("freezer"));
        dir.map_or(Ok(false), |dir| is_frozen_dir(Path::new(dir)))
    }
}

/// A container's control group, on all trees it's on.
#[derive(Debug)]
pub struct Cgroup {
    paths: CgroupPaths,
    v2: Option<OwnedFd>,
}

/// How long killed processes may take to go; longer means uninterruptible sleep.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long freezing may take.
const FREEZE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a group may stay busy after its last process went: the kernel lets go of it asynchronously.
const REMOVE_WAIT_MAX: Duration = Duration::from_secs(2);
/// First pause between tries, doubled up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Sub-groups at most that a walk visits: far beyond what a container manager nested in a container makes.
const SUBGROUPS_MAX: usize = 65_536;
/// Rounds of moving processes that fork meanwhile.
const EXTEND_ROUNDS_MAX: u32 = 100;
/// Tries of a join that the kernel refuses because a thread is just exiting or changing identity.
const JOIN_TRIES_MAX: u32 = 5;

impl Cgroup {
    pub(super) fn new(paths: CgroupPaths, v2: Option<OwnedFd>) -> Self {
        Cgroup { paths, v2 }
    }

    /// Opens a group made earlier. One that is gone opens too: it has no processes, and its removal succeeds.
    pub fn open(paths: &CgroupPaths) -> Result<Self, Error> {
        let v2 = match paths.v2.as_deref().map(|dir| open_dir(Path::new(dir))) {
            None => None,
            Some(Ok(fd)) => Some(fd),
            Some(Err(Error::Io { source, .. })) if is_gone(&source) => None,
            Some(Err(error)) => return Err(error),
        };
        Ok(Cgroup { paths: paths.clone(), v2 })
    }

    /// Where the group is.
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// Directory on the version 2 tree, for `CLONE_INTO_CGROUP` of clone3(2); `None` if the machine has none, or the
    /// group is gone.
    pub fn v2_dir_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(AsFd::as_fd)
    }

    /// Whether a process that was cloned into [`Self::v2_dir_fd`] must also be moved by [`Self::add_pid`].
    pub fn needs_add_pid(&self) -> bool {
        !self.paths.v1.is_empty()
    }

    /// Moves a process, with all its threads, into the version 1 groups. The first of these writes waits up to 10 ms on
    /// a machine where nothing was moved lately.
    pub fn add_pid(&self, pid: u32) -> Result<(), Error> {
        self.v1_dirs().iter().try_for_each(|dir| join_dir(dir, pid))
    }

    /// Takes a version 1 group in addition, and moves everyone into it.
    pub(super) fn extend_v1(&mut self, controller: &str, dir: &Path) -> Result<(), Error> {
        // A child of one that isn't moved yet shows up in the next round; children of those that are, are born inside.
        for _ in 0..EXTEND_ROUNDS_MAX {
            let inside = pids_below(dir)?;
            let outside: Vec<u32> = self.pids()?.into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                self.paths.v1.insert(controller.to_owned(), dir.to_string_lossy().into_owned());
                return Ok(());
            }
            for pid in outside {
                match join_dir(dir, pid) {
                    Err(Error::Io { source, .. })
                        if source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                    result => result?,
                }
            }
        }
        Err(Error::Io {
            what: "move all processes to",
            path: dir.to_owned(),
            source: io::Error::other("they fork faster than they can be moved; pause the container first"),
        })
    }

    /// Moves a process into the version 2 group, for one that couldn't be cloned into it.
    pub fn add_pid_v2(&self, pid: u32) -> Result<(), Error> {
        self.v2_dir().map_or(Ok(()), |dir| join_dir(dir, pid))
    }

    /// Processes of the group and its sub-groups, in no order. Zombies don't count. Empty if the group is gone.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        let Some(dir) = self.member_dir() else { return Ok(Vec::new()) };
        Ok(pids_below(dir)?.into_iter().collect())
    }

    /// Whether any process is in the group or below it.
    pub fn populated(&self) -> Result<bool, Error> {
        match self.v2_dir() {
            Some(dir) => Ok(event(dir, "populated")? == Some(1)),
            None => Ok(!self.pids()?.is_empty()),
        }
    }

    /// Kills every process in the group and below it, frozen ones too.
    ///
    /// On version 2 in one step, without waiting ([`Self::wait_empty`] does). On version 1 again and again until none is
    /// left. Success if the group is gone. Errors: [`Error::Timeout`] after 10 s on version 1.
    pub fn kill(&self) -> Result<(), Error> {
        if let Some(dir) = self.v2_dir() {
            let file = dir.join("cgroup.kill");
            match write_file(&file, "1") {
                Ok(()) => return Ok(()),
                Err(error) if is_gone(&error) && !dir.exists() => return Ok(()),
                // Linux before 5.14 has no such file.
                Err(error) if is_gone(&error) => {}
                Err(source) => return Err(Error::Io { what: "write to", path: file, source }),
            }
        }
        self.kill_one_by_one()
    }

    /// For kernels without `cgroup.kill`, and for version 1.
    pub(super) fn kill_one_by_one(&self) -> Result<(), Error> {
        let deadline = Instant::now() + KILL_WAIT_MAX;
        let mut pause = Pause::new();
        loop {
            // Frozen processes can't fork away from the list. They die when thawed; killing works unfrozen as well, in
            // more rounds.
            let frozen = self.freeze_until(Instant::now() + Duration::from_millis(500)).is_ok();
            let killed = self.signal_all();
            if frozen {
                match self.thaw() {
                    // Everyone died of what came before, and the group was removed.
                    Err(Error::Io { source, .. }) if is_gone(&source) => {}
                    result => result?,
                }
            }
            if killed? == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.timeout("kill", KILL_WAIT_MAX));
            }
            pause.wait();
        }
    }

    /// Sends SIGKILL to each process; says how many there were.
    fn signal_all(&self) -> Result<usize, Error> {
        let Some(dir) = self.member_dir() else { return Ok(0) };
        let pids = self.pids()?;
        let mut opened = Vec::with_capacity(pids.len());
        for pid in &pids {
            let Some(typed) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { continue };
            match rustix::process::pidfd_open(typed, PidfdFlags::empty()) {
                Ok(fd) => opened.push((*pid, fd)),
                Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(Error::Io {
                        what: "open a process of",
                        path: dir.to_owned(),
                        source: errno.into(),
                    });
                }
            }
        }
        // A number read above may have been given to a stranger before its pidfd was opened. Whoever is listed now is
        // either still the process behind the pidfd, or that one is dead, and signalling it does nothing.
        let still: BTreeSet<u32> = self.pids()?.into_iter().collect();
        for (pid, fd) in opened {
            if still.contains(&pid) {
                match rustix::process::pidfd_send_signal(&fd, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => {
                        return Err(Error::Io {
                            what: "kill a process of",
                            path: dir.to_owned(),
                            source: errno.into(),
                        });
                    }
                }
            }
        }
        Ok(still.len())
    }

    /// Waits until no process is left. Errors: [`Error::Timeout`].
    pub fn wait_empty(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        if let Some(dir) = self.v2_dir() {
            return match wait_event(dir, "populated", 0, deadline)? {
                true => Ok(()),
                false => Err(self.timeout("empty", timeout)),
            };
        }
        let mut pause = Pause::new();
        while !self.pids()?.is_empty() {
            if Instant::now() >= deadline {
                return Err(self.timeout("empty", timeout));
            }
            pause.wait();
        }
        Ok(())
    }

    /// Stops every process in the group and below it, and waits until all stand still; on failure thaws them again.
    ///
    /// Errors: [`Error::Timeout`] after 10 s, [`Error::Unsupported`] on version 1 without a freezer group.
    pub fn freeze(&self) -> Result<(), Error> {
        let result = self.freeze_until(Instant::now() + FREEZE_WAIT_MAX);
        if result.is_err() {
            // Half frozen is worse than not at all; the error to tell is the first one.
            let _ = self.thaw();
        }
        result
    }

    fn freeze_until(&self, deadline: Instant) -> Result<(), Error> {
        if let Some(dir) = self.v2_dir() {
            write_io("freeze", dir.join("cgroup.freeze"), "1")?;
            return match wait_event(dir, "frozen", 1, deadline)? {
                true => Ok(()),
                false => Err(self.timeout("freeze", FREEZE_WAIT_MAX)),
            };
        }
        let dir = self.freezer_dir()?;
        let mut pause = Pause::new();
        loop {
            // Written again each time: a process that was forking while the kernel froze keeps it at FREEZING.
            write_io("freeze", dir.join("freezer.state"), "FROZEN")?;
            if read_file(&dir.join("freezer.state"))?.is_none_or(|state| state.trim() == "FROZEN") {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.timeout("freeze", FREEZE_WAIT_MAX));
            }
            pause.wait();
        }
    }

    /// Lets frozen processes run on.
    pub fn thaw(&self) -> Result<(), Error> {
        match self.v2_dir() {
            Some(dir) => write_io("thaw", dir.join("cgroup.freeze"), "0"),
            None => write_io("thaw", self.freezer_dir()?.join("freezer.state"), "THAWED"),
        }
    }

    /// Whether the group is frozen, or being frozen.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        self.paths.is_frozen()
    }

    fn freezer_dir(&self) -> Result<&Path, Error> {
        self.paths.v1.get("freezer").map(Path::new).ok_or_else(|| Error::Unsupported {
            field: "pause".to_owned(),
            why: "this machine has cgroup v1 without the freezer controller".to_owned(),
        })
    }

    /// Whether the kernel killed a process of the group because memory ran out. Always false where no memory limit put
    /// the group under the memory controller; gone with the group.
    pub fn oom_killed(&self) -> Result<bool, Error> {
        let files = [
            self.paths.v1.get("memory").map(|dir| Path::new(dir).join("memory.oom_control")),
            self.v2_dir().map(|dir| dir.join("memory.events")),
        ];
        for file in files.into_iter().flatten() {
            if read_file(&file)?
                .is_some_and(|text| value_of(&text, "oom_kill").is_some_and(|count| count > 0))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the group and all sub-groups, which must be empty. One that is gone already is success.
    ///
    /// Waits up to 2 s for the kernel to let go of a group whose last process has just gone. Continues past failures,
    /// and returns the first. Errors: [`Error::Io`] with `ResourceBusy` if processes are left.
    pub fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + REMOVE_WAIT_MAX;
        let mut first = Ok(());
        for dir in self.v1_dirs().into_iter().chain(self.v2_dir()) {
            let result = remove_dir(dir, deadline);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }

    /// Removes the directory above it in each tree, if that is called `name` and nothing else is in it.
    pub fn remove_parent(&self, name: &str) {
        for dir in self.v1_dirs().into_iter().chain(self.v2_dir()) {
            let parent = dir.parent().filter(|parent| parent.file_name().is_some_and(|own| own == name));
            if let Some(parent) = parent {
                // Others in it are the common case.
                let _ = rustix::fs::rmdir(parent);
            }
        }
    }

    fn v2_dir(&self) -> Option<&Path> {
        self.paths.v2.as_deref().map(Path::new)
    }

    fn v1_dirs(&self) -> BTreeSet<&Path> {
        self.paths.v1.values().map(Path::new).collect()
    }

    /// The directory whose members are the container's: every process is in all of them, so any will do.
    fn member_dir(&self) -> Option<&Path> {
        let v1 = || self.paths.v1.get("freezer").or_else(|| self.paths.v1.values().next()).map(Path::new);
        self.v2_dir().or_else(v1)
    }

    fn timeout(&self, what: &'static str, waited: Duration) -> Error {
        let path = self.member_dir().map(Path::to_owned).unwrap_or_default();
        Error::Timeout { what, path, seconds: waited.as_secs() }
    }
}

/// Moves an existing process into a container's group on every tree, for `exec` where it couldn't be cloned into
/// [`Cgroup::v2_dir_fd`].
pub fn join(paths: &CgroupPaths, pid: u32) -> Result<(), Error> {
    let group = Cgroup::open(paths)?;
    group.add_pid_v2(pid)?;
    group.add_pid(pid)
}

fn join_dir(dir: &Path, pid: u32) -> Result<(), Error> {
    let file = dir.join("cgroup.procs");
    let mut pause = Pause::new();
    for _ in 1..JOIN_TRIES_MAX {
        match write_file(&file, &pid.to_string()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => pause.wait(),
            Err(source) => return Err(Error::Io { what: "join cgroup", path: dir.to_owned(), source }),
        }
    }
    write_io("join cgroup", file, &pid.to_string())
}

/// Removes one directory with those below it.
fn remove_dir(dir: &Path, deadline: Instant) -> Result<(), Error> {
    let mut pause = Pause::new();
    loop {
        let error = match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Sub-groups, or processes, or the kernel is still busy with the last one.
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                let unlink = |parent: BorrowedFd<'_>, name: &CStr| {
                    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                        // A busy one makes the next rmdir of its parent fail, which is where it's counted.
                        Ok(()) | Err(Errno::NOENT | Errno::BUSY) => Ok(()),
                        Err(errno) => Err(errno.into()),
                    }
                };
                walk(dir, |_| Ok(()), unlink).map_err(|source| Error::Io {
                    what: "remove sub-groups of",
                    path: dir.to_owned(),
                    source,
                })?;
                match rustix::fs::rmdir(dir) {
                    Ok(()) | Err(Errno::NOENT) => return Ok(()),
                    Err(errno) => errno,
                }
            }
            Err(errno) => errno,
        };
        if !matches!(error, Errno::BUSY | Errno::NOTEMPTY) || Instant::now() >= deadline {
            return Err(Error::Io { what: "remove cgroup", path: dir.to_owned(), source: error.into() });
        }
        pause.wait();
    }
}

/// Visits a group and all below it: `enter` on each directory, `leave` with parent and name once everything below is
/// done. A group that vanishes under the walk had no processes, and counts as visited. Holds one descriptor however deep
/// the tree is, which a container with a writable tree decides.
fn walk(
    top: &Path,
    mut enter: impl FnMut(BorrowedFd<'_>) -> io::Result<()>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let mut current = match rustix::fs::open(top, DIR_FLAGS, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut left = SUBGROUPS_MAX;
    let mut visit = |dir: BorrowedFd<'_>| match enter(dir).and_then(|()| subgroups(dir, &mut left)) {
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        result => result,
    };
    let mut pending = visit(current.as_fd())?;
    let mut above: Vec<(CString, Vec<CString>)> = Vec::new();
    loop {
        if let Some(name) = pending.pop() {
            match rustix::fs::openat(&current, &name, DIR_FLAGS, Mode::empty()) {
                Ok(child) => current = child,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            }
            above.push((name, std::mem::take(&mut pending)));
            pending = visit(current.as_fd())?;
        } else if let Some((name, siblings)) = above.pop() {
            current = rustix::fs::openat(&current, c"..", DIR_FLAGS, Mode::empty())?;
            leave(current.as_fd(), &name)?;
            pending = siblings;
        } else {
            return Ok(());
        }
    }
}

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn subgroups(dir: BorrowedFd<'_>, left: &mut usize) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other(format!("more than {SUBGROUPS_MAX} sub-groups")))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// A handle that names the group, good for `CLONE_INTO_CGROUP` and for attaching programs.
pub(super) fn open_dir(dir: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::open(dir, DIR_FLAGS.union(OFlags::PATH), Mode::empty()).map_err(|errno| Error::Io {
        what: "open cgroup",
        path: dir.to_owned(),
        source: errno.into(),
    })
}

/// Processes of one directory and those below.
pub(super) fn pids_below(dir: &Path) -> Result<BTreeSet<u32>, Error> {
    let mut pids = BTreeSet::new();
    let collect = |fd: BorrowedFd<'_>| {
        pids.extend(pids_at(fd)?);
        Ok(())
    };
    walk(dir, collect, |_, _| Ok(())).map_err(|source| Error::Io {
        what: "list processes of",
        path: dir.to_owned(),
        source,
    })?;
    Ok(pids)
}

/// Whether processes that came into this directory would stand still.
pub(super) fn is_frozen_dir(dir: &Path) -> Result<bool, Error> {
    if let Some(word) = read_word(&dir.join("cgroup.freeze"))? {
        return Ok(word.trim_ascii() == b"1");
    }
    Ok(read_word(&dir.join("freezer.state"))?.is_some_and(|word| word.trim_ascii() != b"THAWED"))
}

/// Reads a file of one word by one call: lists do it for each container.
fn read_word(path: &Path) -> Result<Option<[u8; WORD_BYTES]>, Error> {
    let read = || {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // What is left of it is white space.
        let mut word = [b' '; WORD_BYTES];
        rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut word[..]))?;
        Ok(word)
    };
    match read().map_err(|errno: Errno| io::Error::from(errno)) {
        Ok(word) => Ok(Some(word)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(Error::Io { what: "read", path: path.to_owned(), source }),
    }
}

/// Longest word of such a file, and more.
const WORD_BYTES: usize = 32;

fn pids_at(dir: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let fd = match rustix::fs::openat(dir, c"cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut text = String::new();
    match std::fs::File::from(fd).read_to_string(&mut text) {
        Ok(_) => Ok(parse_pids(&text)),
        // A threaded group lists its processes in the domain above it.
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::Unsupported => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Process 0 stands for one outside this pid namespace, which can't be named here.
fn parse_pids(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// Contents of a group's file; `None` if the file or the group is gone.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(Error::Io { what: "read", path: path.to_owned(), source }),
    }
}

/// Writes a value in one write(2), which is how the kernel takes it; never makes a file.
pub(super) fn write_file(path: &Path, value: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn write_io(what: &'static str, path: PathBuf, value: &str) -> Result<(), Error> {
    write_file(&path, value).map_err(|source| Error::Io { what, path, source })
}

/// A group that was removed while open answers ENODEV.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

/// Number behind a key in a file of `key number` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn event(dir: &Path, key: &str) -> Result<Option<u64>, Error> {
    Ok(read_file(&dir.join("cgroup.events"))?.and_then(|text| value_of(&text, key)))
}

/// Waits until `cgroup.events` says so; false if the deadline came first. A group that is gone has no processes, and is
/// as frozen as it will ever be.
fn wait_event(dir: &Path, key: &str, wanted: u64, deadline: Instant) -> Result<bool, Error> {
    let path = dir.join("cgroup.events");
    let io_error = |source| Error::Io { what: "read", path: path.clone(), source };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(true),
        Err(error) => return Err(io_error(error)),
    };
    loop {
        // Read before polling: the poll tells of changes since the last read.
        let mut buffer = [0u8; 256];
        let count = match rustix::io::pread(&file, &mut buffer, 0) {
            Ok(count) => count,
            Err(Errno::NODEV) => return Ok(true),
            Err(errno) => return Err(io_error(errno.into())),
        };
        let text = String::from_utf8_lossy(&buffer[..count]);
        if value_of(&text, key) == Some(wanted) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io_error(errno.into())),
        }
    }
}

/// Pauses that grow, for what the kernel gives no event for.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Pause(PAUSE_MIN)
    }

    fn wait(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

//! Making processes, waiting for them, becoming another program.

use crate::sys::syscall;
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of a [`fork`] the caller is on.
#[derive(Debug)]
pub enum Fork {
    /// The parent, with the child's process id.
    Parent(i32),
    /// The child.
    Child,
}

/// Copies the process. Source: fork(2).
///
/// The caller must be single-threaded: the child may then allocate and do all else that the parent may
/// ([`assert_single_threaded`] checks it in debug builds).
pub fn fork() -> Result<Fork> {
    assert_single_threaded();
    // SAFETY: the process has one thread, so that no lock of another thread is left behind in the child.
    match unsafe { libc::fork() } {
        -1 => Err(crate::sys::last_errno()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Panics in debug builds if the process has more than one thread; a clone from a threaded process could deadlock.
pub fn assert_single_threaded() {
    #[cfg(debug_assertions)]
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        assert!(tasks.count() == 1 || cfg!(test), "a process that clones has one thread");
    }
}

/// Flags of clone3(2) that make namespaces, and unshare(2)'s.
pub mod ns {
    /// Mount points.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// User ids.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    /// Control group root.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Clocks.
    pub const TIME: u64 = 0x80;
}

/// The child shares the caller's parent. Source: clone(2).
pub const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;

const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a [`clone3`] the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// The parent, with the child's process id and a descriptor for it.
    Parent(i32, OwnedFd),
    /// The child.
    Child,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Copies the process into new namespaces ([`ns`]) and, on version 2, straight into a control group: no migration.
/// The caller must be single-threaded, as for [`fork`]. Source: clone(2).
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    assert_single_threaded();
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        // With CLONE_PARENT the kernel wants none: the child inherits its sibling's.
        exit_signal: if flags & CLONE_PARENT != 0 { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
    }
    // SAFETY: `args` is laid out as struct clone_args and lives over the call; without CLONE_VM the child has its own
    // copy of the stack; the process has one thread.
    let pid = unsafe { syscall!(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) }?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just stored a new descriptor that nobody else owns.
    Ok(Cloned::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Ends the process at once, without destructors or buffers. Source: _exit(2).
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit never returns and touches nothing of ours.
    unsafe { libc::_exit(status) }
}

/// Strings laid out for execve(2), made before the time when nothing may fail.
pub struct CStrings {
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl std::fmt::Debug for CStrings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self._strings).finish()
    }
}

impl CStrings {
    /// Takes over `strings`.
    pub fn new(strings: Vec<CString>) -> CStrings {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        CStrings { _strings: strings, pointers }
    }
}

/// Becomes another program; returns only on failure. Source: execve(2).
pub fn execve(path: &CStr, argv: &CStrings, envp: &CStrings) -> Errno {
    // SAFETY: both arrays are null-terminated and their strings are alive.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    crate::sys::last_errno()
}

/// Becomes the program that `file` is open on; returns only on failure. Source: execveat(2).
pub fn fexecve(file: BorrowedFd<'_>, argv: &CStrings, envp: &CStrings) -> Errno {
    // SAFETY: as in `execve`; the empty path is a valid string.
    let result = unsafe {
        syscall!(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH
        )
    };
    result.err().unwrap_or(Errno::INVAL)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It left with this status, 0 to 255.
    Code(u8),
    /// It was ended by this signal.
    Signal(u8),
}

impl Exit {
    /// Decodes what wait(2) stores; `None` for a process that has only stopped.
    pub fn from_wait_status(status: i32) -> Option<Exit> {
        if libc::WIFEXITED(status) {
            Some(Exit::Code(libc::WEXITSTATUS(status) as u8))
        } else if libc::WIFSIGNALED(status) {
            Some(Exit::Signal(libc::WTERMSIG(status) as u8))
        } else {
            None
        }
    }

    /// The number a shell shows: the status, or 128 and the signal's number.
    pub fn shell_code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// Waits for any child to end and reaps it: its process id and how it ended. ECHILD when there is none left.
/// Source: waitpid(2).
pub fn wait_any() -> Result<(i32, Exit)> {
    loop {
        if let Some(found) = wait_one(-1, 0)? {
            return Ok(found);
        }
    }
}

/// Reaps one ended child without waiting; `None` while all of them run. Source: waitpid(2), WNOHANG.
pub fn try_wait_any() -> Result<Option<(i32, Exit)>> {
    wait_one(-1, libc::WNOHANG)
}

/// Waits for the child `pid` to end and reaps it. Source: waitpid(2).
pub fn wait_child(pid: i32) -> Result<Exit> {
    loop {
        if let Some((_, exit)) = wait_one(pid, 0)? {
            return Ok(exit);
        }
    }
}

/// What [`wait_child`] returns, or that the child has merely stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The child has ended.
    Ended(Exit),
    /// The child was stopped by a signal of job control.
    Stopped,
}

/// Waits until the child ends or stops. Source: waitpid(2), WUNTRACED.
pub fn wait_child_or_stop(pid: i32) -> Result<Change> {
    Ok(match wait_one(pid, libc::WUNTRACED)? {
        Some((_, exit)) => Change::Ended(exit),
        None => Change::Stopped,
    })
}

fn wait_one(pid: i32, options: i32) -> Result<Option<(i32, Exit)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for an int.
        let ret = unsafe { libc::waitpid(pid, &mut status, options | libc::__WALL) };
        if ret == 0 {
            return Ok(None);
        }
        if ret > 0 {
            return Ok(Exit::from_wait_status(status).map(|exit| (ret, exit)));
        }
        match crate::sys::last_errno() {
            Errno::INTR => continue,
            errno => return Err(errno),
        }
    }
}

/// A descriptor for process `pid`. Source: pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

/// A copy of the process's descriptor `number`. Source: pidfd_getfd(2).
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd> {
    rustix::process::pidfd_getfd(pidfd, number, rustix::process::PidfdGetfdFlags::empty())
}

/// Sends signal `number` to the process. Source: pidfd_send_signal(2).
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, number: i32) -> Result<()> {
    // SAFETY: a null siginfo lets the kernel fill it in.
    unsafe { syscall!(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, 0, 0) }.map(drop)
}

/// Sends signal `number` to process `pid` (a child of ours, not yet reaped), or with a negative number to a group.
/// Source: kill(2).
pub fn kill(pid: i32, number: i32) -> Result<()> {
    // SAFETY: kill takes integers only.
    crate::sys::check(unsafe { libc::kill(pid, number) }.into()).map(drop)
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// How a process ended that isn't our child, from a descriptor opened before its end; `None` while the kernel can't
/// tell: it hasn't been reaped by its parent yet, or the kernel is older than 6.15. Source: PIDFD_GET_INFO in
/// linux/pidfd.h.
pub fn pidfd_exit(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    const PIDFD_GET_INFO: libc::c_ulong =
        (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: `info` is as large as the size encoded in the request, which is the 64 bytes of the first version.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if ret < 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    Exit::from_wait_status(info.exit_code)
}

/// Makes the process adopt orphans among its descendants. Source: PR_SET_CHILD_SUBREAPER.
pub fn set_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)
}

/// Has the kernel send `signal` when the parent dies. Source: PR_SET_PDEATHSIG.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0)
}

/// Sets whether others of the same user may read the process's memory and `/proc` files. Source: PR_SET_DUMPABLE.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, on.into(), 0)
}

/// Names the process in `ps` and `/proc/PID/comm`, cut to 15 bytes. Source: PR_SET_NAME.
pub fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a null-terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Enables or disables a speculation feature; `value` as in PR_SET_SPECULATION_CTRL.
pub fn set_speculation(feature: u64, value: u64) -> Result<()> {
    const PR_SET_SPECULATION_CTRL: i32 = 53;
    prctl(PR_SET_SPECULATION_CTRL, feature, value)
}

pub(crate) fn prctl(option: i32, a: u64, b: u64) -> Result<()> {
    // SAFETY: the options used here take integers only.
    crate::sys::check(unsafe { libc::prctl(option, a, b, 0, 0) }.into()).map(drop)
}

/// The number that a process has in the kernel's file system of pidfds: no other one has it in this boot. `None` where pidfds
/// have no file system of their own (before Linux 6.9).
pub fn pidfd_number(pidfd: BorrowedFd<'_>) -> Option<u64> {
    let system = rustix::fs::fstatfs(pidfd).ok()?;
    if u64::try_from(system.f_type) != Ok(PIDFS_MAGIC) {
        return None;
    }
    Some(rustix::fs::fstat(pidfd).ok()?.st_ino)
}

/// Source: linux/magic.h, PID_FS_MAGIC.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// Start time of process `pid` in clock ticks since boot: with the boot id and the pid it names a process for ever.
/// Source: field 22 of /proc/pid/stat.
pub fn start_time(pid: i32) -> Option<u64> {
    with_stat(pid, parse_start_time)
}

/// The same of one that hasn't ended: `None` for a zombie.
pub fn living_since(pid: i32) -> Option<u64> {
    with_stat(pid, |stat| {
        let end = stat.iter().rposition(|b| *b == b')')?;
        let is_over = matches!(stat.get(end + 2), Some(b'Z' | b'X') | None);
        if is_over { None } else { parse_start_time(stat) }
    })
}

/// Whether a process has ended, or is about to: one that is the first of its pid namespace waits for all others there.
///
/// Source: fields 3 and 9 of /proc/pid/stat; PF_EXITING in linux/sched.h.
pub fn is_ending(pid: i32) -> bool {
    const PF_EXITING: u64 = 0x4;
    let flags = |stat: &[u8]| {
        let end = stat.iter().rposition(|b| *b == b')')?;
        let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(flags)
    };
    with_stat(pid, flags).is_none_or(|flags| flags & PF_EXITING != 0)
}

/// Reads `/proc/PID/stat` by one call: lists read it for each container, and a file that says it's empty is otherwise read
/// in six.
fn with_stat<T>(pid: i32, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let mut buffer = [0; STAT_BYTES_MAX];
    let path = format!("/proc/{pid}/stat");
    let file = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let read = rustix::io::read(&file, &mut buffer[..]).ok()?;
    parse(&buffer[..read])
}

/// Longest `stat` file: a name of 64 bytes at most, and 52 numbers of up to 20 digits.
const STAT_BYTES_MAX: usize = 2048;

/// The start time in the bytes of a `stat` file; the command's name may hold anything, so counting starts at the last
/// parenthesis.
pub fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(&stat[end + 1..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Leaves namespaces. Source: unshare(2).
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: no flag used here has memory effects on other code: the process has one thread.
    crate::sys::check(unsafe { libc::unshare(flags as i32) }.into()).map(drop)
}

/// Enters the namespaces `flags` of `fd`: a namespace file, or a pidfd with several flags. Source: setns(2).
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: setns takes integers only; the process has one thread.
    crate::sys::check(unsafe { libc::setns(fd.as_raw_fd(), flags as i32) }.into()).map(drop)
}

/// Marks every descriptor from `first` upward close-on-exec. Source: close_range(2).
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no descriptor is closed, only marked.
    unsafe { syscall!(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }.map(drop)
}

/// Closes every descriptor above 2 that isn't in `keep`. For a process that has just been forked and whose owners of
/// those descriptors it forgets (by never running their destructors).
pub fn close_others(keep: &[i32]) {
    let mut sorted: Vec<u32> = keep.iter().filter(|fd| **fd > 2).map(|fd| *fd as u32).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut first = 3;
    for fd in sorted.into_iter().chain([u32::MAX]) {
        if fd > first {
            let last = if fd == u32::MAX { fd } else { fd - 1 };
            // SAFETY: the caller vows that it uses none of these descriptors any more.
            let _ = unsafe { syscall!(libc::SYS_close_range, first, last, 0) };
        }
        first = fd.wrapping_add(1);
    }
}

/// Makes `fd` the descriptor `number` (0, 1 or 2), inheritable. Source: dup2(2).
pub fn dup_onto(fd: BorrowedFd<'_>, number: i32) -> Result<()> {
    if fd.as_raw_fd() == number {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: `number` is a standard stream, whose old file std tolerates losing.
    crate::sys::check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}

/// Makes the descriptor `number`, which nothing else owns, one of the file that `fd` is open on, closed on exec. Source:
/// dup3(2).
pub fn replace_fd(fd: BorrowedFd<'_>, number: i32) -> Result<()> {
    use std::os::fd::IntoRawFd;
    let mut slot = inherited_fd(number)?;
    rustix::io::dup3(fd, &mut slot, rustix::io::DupFlags::CLOEXEC)?;
    let _ = slot.into_raw_fd();
    Ok(())
}

/// Takes over a descriptor that another program handed to this one by number.
///
/// Errors: EBADF unless it is open.
pub fn inherited_fd(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl checks the number itself.
    crate::sys::check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, came from outside, and the caller takes it over once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives back the memory that the program's own code and constants take in this process; what is used again comes back
/// from the page cache. For processes that sleep for long. Source: madvise(2), MADV_DONTNEED.
pub fn release_program() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let Some(program) = program.to_str() else { return };
    for (start, end) in program_ranges(&maps, program) {
        // SAFETY: the range is a whole mapping of this process's, private, read-only and backed by a file that can't be
        // written while it runs: the kernel restores each page from there.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The address ranges of read-only mappings of `program` in the text of a `maps` file.
fn program_ranges(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let parse = |line| {
        let (range, rest) = str::split_once(line, ' ')?;
        let (start, end) = range.split_once('-').filter(|_| line.ends_with(program))?;
        let range = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((range, rest.get(..4)?))
    };
    let mappings: Vec<_> = maps.lines().filter_map(parse).collect();
    // What lies before the writable data was relocated at the start, and made read-only then: the file doesn't have it.
    let relocated = |end: usize| mappings.iter().any(|(range, perms)| range.0 == end && *perms == "rw-p");
    let released =
        |((_, end), perms): &((usize, usize), &str)| *perms == "r-xp" || *perms == "r--p" && !relocated(*end);
    mappings.iter().filter(|mapping| released(mapping)).map(|(range, _)| *range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_decoded_and_shown_as_a_shell_does() {
        assert_eq!(Exit::from_wait_status(0x2a00), Some(Exit::Code(42)));
        assert_eq!(Exit::from_wait_status(9), Some(Exit::Signal(9)));
        assert_eq!(Exit::from_wait_status(0x137f), None);
        assert_eq!(Exit::Signal(9).shell_code(), 137);
    }

    #[test]
    fn only_read_only_parts_of_the_program_are_released() {
        let maps = "00400000-00401000 r--p 00000000 08:01 1 /bin/x\n00401000-00402000 r-xp 00001000 08:01 1 /bin/x\n\
                    00402000-00403000 r--p 00002000 08:01 1 /bin/x\n00403000-00404000 rw-p 00003000 08:01 1 /bin/x\n7f00-7f01 r-xp 0 08:01 2 /lib/y\nbroken\n";
        assert_eq!(program_ranges(maps, "/bin/x"), [(0x40_0000, 0x40_1000), (0x40_1000, 0x40_2000)]);
        release_program();
    }

    #[test]
    fn start_time_survives_hostile_names() {
        let stat = b"42 (a) b) 1 2) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(parse_start_time(stat), Some(777));
        assert_eq!(parse_start_time(b"42 (a"), None);
        let own = std::process::id() as i32;
        assert!(start_time(own).is_some() && living_since(own) == start_time(own));
        assert_eq!(living_since(i32::MAX), None);
        assert!(!is_ending(own) && is_ending(i32::MAX));
    }
}

//! Signal masks, dispositions and signals as descriptors.

use crate::sys::{check, last_errno};
use rustix::io::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; sigemptyset and sigaddset only write into it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Replaces the mask of blocked signals. Source: sigprocmask(2).
pub fn set_blocked(signals: &[i32]) -> Result<()> {
    let set = set_of(signals);
    // SAFETY: both pointers are valid or null.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) }.into()).map(drop)
}

/// Restores the default disposition of all signals and unblocks them: ignored signals would pass through execve(2).
pub fn reset_all() {
    for signal in 1..=64 {
        if !matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            reset(signal);
        }
    }
    let _ = set_blocked(&[]);
}

#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

fn set_disposition(signal: i32, handler: usize) {
    let action = KernelSigaction { handler, flags: 0, restorer: 0, mask: 0 };
    // By the raw call: musl refuses the three real-time signals that it keeps for itself, and a program that ignored
    // one of them would pass that on.
    // SAFETY: the structure is the kernel's; no handler function is installed.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0usize, 8usize) };
}

/// Restores the default disposition of one signal.
pub fn reset(signal: i32) {
    set_disposition(signal, libc::SIG_DFL);
}

/// Ignores a signal.
pub fn ignore(signal: i32) {
    set_disposition(signal, libc::SIG_IGN);
}

/// A descriptor that delivers `signals`, which the caller has blocked. Source: signalfd(2).
pub fn signalfd(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: the set is valid; a new descriptor is returned.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made it; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal read from a [`signalfd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Number.
    pub number: i32,
    /// Whether it came from a terminal or the kernel rather than from a process.
    pub from_kernel: bool,
}

/// The next pending signal; `None` if there is none.
pub fn read_signalfd(fd: BorrowedFd<'_>) -> Result<Option<Received>> {
    // SAFETY: signalfd_siginfo is plain data for which all zeroes is valid.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is as long as is said.
    let ret = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
    match check(ret as libc::c_long) {
        Ok(_) => Ok(Some(Received { number: info.ssi_signo as i32, from_kernel: info.ssi_code > 0 })),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

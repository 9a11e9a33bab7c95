//! The one door to `syscall(2)` for calls that neither libc nor rustix wraps as we need them.

use rustix::io::{Errno, Result};

/// Turns the kernel's return value into a result.
pub(crate) fn check(ret: libc::c_long) -> Result<usize> {
    if ret < 0 { Err(last_errno()) } else { Ok(ret as usize) }
}

/// errno of the call that has just failed.
pub(crate) fn last_errno() -> Errno {
    // SAFETY: errno is a thread-local integer; reading it is always valid.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Makes a system call with up to six integer arguments.
macro_rules! syscall {
    ($number:expr $(, $arg:expr)* $(,)?) => {
        $crate::sys::check(libc::syscall($number $(, $arg as libc::c_long)*))
    };
}
pub(crate) use syscall;

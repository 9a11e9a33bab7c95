//! Loading a system call filter.

use crate::sys::syscall;
use rustix::io::{Errno, Result};

/// One instruction of classic BPF (`struct sock_filter`). Source: linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SockFilter {
    /// Operation.
    pub code: u16,
    /// Jump distance if true.
    pub jt: u8,
    /// Jump distance if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// Puts the calling thread under `program`; it can't be taken off again. Needs no_new_privs or CAP_SYS_ADMIN.
/// Source: seccomp(2), SECCOMP_SET_MODE_FILTER.
pub fn load(program: &[SockFilter], flags: u32) -> Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let prog = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: `prog` points to `len` instructions that live over the call; the kernel copies and checks them.
    unsafe { syscall!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const prog) }.map(drop)
}

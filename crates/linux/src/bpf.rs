//! bpf(2), as far as device filters of control groups need it: load a program, attach it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One eBPF instruction, laid out as the kernel reads it (`struct bpf_insn` in linux/bpf.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInsn {
    /// Class, operation and source.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub regs: u8,
    /// Distance of a jump, or offset of a memory access.
    pub off: i16,
    /// Constant.
    pub imm: i32,
}

impl BpfInsn {
    /// Puts an instruction together from its fields; `dst` and `src` are register numbers, 0 to 10.
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        BpfInsn { code, regs: (dst & 0xf) | (src << 4), off, imm }
    }

    /// Destination register.
    pub const fn dst(self) -> u8 {
        self.regs & 0xf
    }

    /// Source register.
    pub const fn src(self) -> u8 {
        self.regs >> 4
    }
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// Attach beside other programs, the kernel's `BPF_F_ALLOW_MULTI`: all of them must allow an access, and sub-groups may
/// add their own.
pub const ATTACH_ALLOW_MULTI: u32 = 2;

/// Room for the verifier's explanation of a refusal, in bytes.
const LOG_BYTES: usize = 4096;
/// Tries of a load: the verifier gives up with EAGAIN when a signal arrives. As many as libbpf's.
const LOAD_TRIES_MAX: u32 = 5;

/// `union bpf_attr` for BPF_PROG_LOAD, up to `expected_attach_type`; the kernel takes what is absent as zero.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// `union bpf_attr` for BPF_PROG_ATTACH, up to `attach_flags`.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`; it's close-on-exec and vanishes with its last descriptor and
/// attachment.
///
/// Errors: EPERM without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN), EINVAL where the kernel has no cgroup BPF; the
/// verifier's last words are in the message. Source: bpf(2).
pub fn prog_load_cgroup_device(insns: &[BpfInsn]) -> io::Result<OwnedFd> {
    match load(insns, None) {
        Ok(fd) => Ok(fd),
        // The verifier's log costs time, so it's asked for only once a load has failed.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
            let mut log = vec![0u8; LOG_BYTES];
            match load(insns, Some(&mut log)) {
                Ok(fd) => Ok(fd),
                // The second failure may only say that the log was too short.
                Err(_) => Err(explained(error, &log)),
            }
        }
        Err(error) => Err(explained(error, &[])),
    }
}

/// Attaches a loaded device program to a control group of version 2.
///
/// `flags` is 0 or [`ATTACH_ALLOW_MULTI`]. The group holds the program: closing `prog` doesn't detach it. Errors: EPERM
/// if an ancestor's exclusive program forbids it. Source: bpf(2).
pub fn prog_attach_cgroup_device(cgroup: BorrowedFd<'_>, prog: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: prog.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: flags,
    };
    // SAFETY: `attr` is a live, fully initialised structure of the size passed, and without pointers in it.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &attr as *const AttachAttr, size_of::<AttachAttr>())
    };
    if status < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            Refusal { call: "bpf(BPF_PROG_ATTACH, cgroup device)", error, log: None },
        ));
    }
    Ok(())
}

fn load(insns: &[BpfInsn], log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let (log_buf, log_size) = match log {
        Some(log) => (log.as_mut_ptr() as u64, log.len() as u32),
        None => (0, 0),
    };
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(insns.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: insns.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(log_size != 0),
        log_size,
        log_buf,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"berth_devices\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: BPF_CGROUP_DEVICE,
    };
    let mut tries_left = LOAD_TRIES_MAX;
    loop {
        // SAFETY: `attr` is live and of the size passed; `insns` holds `insn_cnt` instructions of the kernel's layout,
        // the licence is NUL-terminated, and `log_buf` is writable for `log_size` bytes; all outlive the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &attr as *const LoadAttr, size_of::<LoadAttr>())
        };
        if fd >= 0 {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        }
        let error = io::Error::last_os_error();
        tries_left -= 1;
        if error.raw_os_error() != Some(libc::EAGAIN) || tries_left == 0 {
            return Err(error);
        }
    }
}

/// A failed bpf(2), with what the verifier said. Its `raw_os_error` is lost to callers of `io::Error`, so [`errno`]
/// reads it back.
#[derive(Debug)]
struct Refusal {
    call: &'static str,
    error: io::Error,
    log: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.call, self.error)?;
        match &self.log {
            Some(log) => write!(f, " (verifier: {log})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The errno of an error from this module.
pub fn errno(error: &io::Error) -> Option<i32> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(refusal) => refusal.error.raw_os_error(),
        None => error.raw_os_error(),
    }
}

fn explained(error: io::Error, log: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned();
    let log = text.lines().rev().find(|line| !line.is_empty()).map(str::to_owned);
    io::Error::new(error.kind(), Refusal { call: "bpf(BPF_PROG_LOAD, cgroup device)", error, log })
}

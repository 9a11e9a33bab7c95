//! The ABIs a filter can tell apart, and what their calls are numbered.

use super::calls::{ARM_PRIVATE, CALLS, NONE};

/// The bit that marks an x32 call. Source: `__X32_SYSCALL_BIT`, asm/unistd.h.
pub(super) const X32_BIT: u32 = 1 << 30;

/// Where ARM's private calls begin. They don't count as the newest calls of a profile.
pub(super) const ARM_PRIVATE_BASE: u32 = 0xf0000;

/// A system call ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp compiler knows no system call numbers of this architecture");

/// What a name in `architectures` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// An ABI with a table here.
    Known(Arch),
    /// The architecture of this build.
    Native,
    /// An ABI that no kernel of ours runs; rules for it could never fire.
    Foreign,
}

/// Names of the specification that stand for ABIs without a table here.
const FOREIGN: [&str; 18] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

impl Arch {
    /// The ABI of this build.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    /// What `name`, as `SCMP_ARCH_X86`, stands for.
    pub fn parse(name: &str) -> Option<Listed> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Listed::Known(Arch::X86_64),
            "SCMP_ARCH_X86" => Listed::Known(Arch::X86),
            "SCMP_ARCH_X32" => Listed::Known(Arch::X32),
            "SCMP_ARCH_AARCH64" => Listed::Known(Arch::Aarch64),
            "SCMP_ARCH_ARM" => Listed::Known(Arch::Arm),
            "SCMP_ARCH_NATIVE" => Listed::Native,
            _ if FOREIGN.contains(&name) => Listed::Foreign,
            _ => return None,
        })
    }

    /// Name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::X86 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
            Arch::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// Name in the `arches` of docker's profiles.
    pub fn docker_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
        }
    }

    /// Value of `seccomp_data.arch`. x32 shares x86_64's. Source: linux/audit.h.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether a kernel of ABI `native` runs programs of this one.
    pub fn runs_on(self, native: Arch) -> bool {
        match self {
            Arch::X86_64 | Arch::X86 | Arch::X32 => native == Arch::X86_64,
            Arch::Aarch64 | Arch::Arm => native == Arch::Aarch64,
        }
    }

    /// Whether arguments are 32 bits wide. x32 passes 64-bit registers.
    pub fn narrow(self) -> bool {
        matches!(self, Arch::X86 | Arch::Arm)
    }

    /// Number of a call in this ABI, from its row of the table.
    pub fn number(self, row: &[u16; 5]) -> Option<u32> {
        let stored = match self {
            Arch::X86_64 => row[0],
            Arch::X86 => row[1],
            Arch::X32 => row[2],
            Arch::Aarch64 => row[3],
            Arch::Arm => row[4],
        };
        match stored {
            NONE => None,
            private if private >= ARM_PRIVATE => Some(ARM_PRIVATE_BASE + u32::from(private - ARM_PRIVATE)),
            number => Some(u32::from(number)),
        }
    }
}

/// The row of `name` in the table, if any ABI knows the call.
pub(super) fn row(name: &str) -> Option<&'static [u16; 5]> {
    CALLS.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| &CALLS[at].1)
}

/// Bit n is set if the kernel takes argument n of `name` as a 32-bit number, so that a filter must ignore the
/// register's upper half: otherwise `ioctl(0, TIOCSTI | 1 << 32)` slips through (CVE-2019-7303), and so does a socket
/// family. Not complete: the calls that profiles compare. Source: the kernel's `SYSCALL_DEFINE` lines.
pub(super) fn int_args(name: &str) -> u8 {
    match name {
        "personality" | "prctl" | "bpf" | "keyctl" | "quotactl" | "socketcall" | "ipc" => 0b1,
        "ioctl" | "fcntl" | "fcntl64" | "setns" | "kill" | "seccomp" => 0b11,
        "umount2" | "flock" | "memfd_create" => 0b10,
        "socket" | "socketpair" | "getsockopt" | "setsockopt" | "tgkill" => 0b111,
        _ => 0,
    }
}

/// A call that x86 makes through another one: the carrier, the carrier's first argument, and the bits of it that count.
pub(super) struct Carried {
    pub by: &'static str,
    pub as_number: u32,
    pub mask: u32,
}

/// How x86 carries `name` in socketcall(2) or ipc(2). Source: linux/net.h, linux/ipc.h.
pub(super) fn carried(name: &str) -> Option<Carried> {
    // ipc's upper half is a version; the kernel strips it.
    let socket = |n| Some(Carried { by: "socketcall", as_number: n, mask: u32::MAX });
    let ipc = |n| Some(Carried { by: "ipc", as_number: n, mask: 0xffff });
    match name {
        "socket" => socket(1),
        "bind" => socket(2),
        "connect" => socket(3),
        "listen" => socket(4),
        "accept" => socket(5),
        "getsockname" => socket(6),
        "getpeername" => socket(7),
        "socketpair" => socket(8),
        "send" => socket(9),
        "recv" => socket(10),
        "sendto" => socket(11),
        "recvfrom" => socket(12),
        "shutdown" => socket(13),
        "setsockopt" => socket(14),
        "getsockopt" => socket(15),
        "sendmsg" => socket(16),
        "recvmsg" => socket(17),
        "accept4" => socket(18),
        "recvmmsg" => socket(19),
        "sendmmsg" => socket(20),
        "semop" => ipc(1),
        "semget" => ipc(2),
        "semctl" => ipc(3),
        "semtimedop" => ipc(4),
        "msgsnd" => ipc(11),
        "msgrcv" => ipc(12),
        "msgget" => ipc(13),
        "msgctl" => ipc(14),
        "shmat" => ipc(21),
        "shmdt" => ipc(22),
        "shmget" => ipc(23),
        "shmctl" => ipc(24),
        _ => None,
    }
}

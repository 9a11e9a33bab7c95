//! The seccomp compiler: from a profile of the runtime specification, or docker's default, to a filter of classic BPF.
//! Pure: it makes no system call; crate `linux` loads the result.
//!
//! A profile's names become numbers, numbers become runs with one outcome (`policy`), runs become a balanced tree of
//! comparisons (`assemble`). Loading a filter costs the kernel time in proportion to the depth of the tree, as it walks
//! the filter once per call number. Docker's default is embedded twice: as docker's JSON (`profile`), from which a
//! runtime-spec profile is made, and as runs that are ready to assemble (`docker`), used on every start of a container.
//! A test holds them equal.
//!
//! Semantics are runc's with libseccomp, but for three points, all stricter:
//! - Arguments that the kernel takes as 32-bit numbers are compared on 32 bits.
//! - x86's socketcall(2) and ipc(2) never let through what a rule with conditions forbids, and the version half of
//!   ipc's first argument is ignored as the kernel does.
//! - An errno for an action that takes none, or beyond 4095, is an error, as the specification wants.

mod arch;
mod assemble;
mod calls;
mod docker;
mod docker_table;
mod error;
mod policy;
mod profile;

#[cfg(test)]
mod tests;

use types::oci::Seccomp;

use arch::Arch;

pub use docker::{compile_docker_default, compile_docker_strict};
pub use error::Error;
pub use profile::{KernelVersion, Profile, docker_default};

/// One instruction of classic BPF, as the kernel's `struct sock_filter`. Source: linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions skipped if the comparison holds.
    pub jt: u8,
    /// Instructions skipped if it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A filter, ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// At least one instruction, at most 4096.
    pub insns: Vec<Insn>,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub flags: u32,
    /// Names in the profile that no ABI knows, as far as there are few; their rules do nothing.
    pub unknown: Vec<String>,
}

/// Flags of seccomp(2). Source: linux/seccomp.h.
const FLAG_TSYNC: u32 = 1 << 0;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// What a profile without flags gets: as runc, no mitigation of speculative store bypass that the profile didn't ask
/// for.
const FLAGS_DEFAULT: u32 = FLAG_SPEC_ALLOW;

/// Compiles a profile for the machine that this binary is built for. Architectures that it doesn't run are skipped;
/// names that no ABI knows are ignored and listed in the result.
///
/// Errors: `Unknown` for an action, operator, architecture or flag that the specification doesn't define;
/// `Unsupported` for whatever needs a notify agent; `OutOfRange` and `ErrnoNotTaken` for numbers; `TooLong`.
/// Source: runtime-spec config-linux.md, Seccomp.
pub fn compile(seccomp: &Seccomp) -> Result<Program, Error> {
    compile_for(seccomp, Arch::NATIVE)
}

/// [`compile`] from the text of a profile in the runtime specification's format. Any input is safe: the door for fuzzing.
///
/// Errors: `Malformed`, and as [`compile`].
pub fn compile_json(json: &[u8]) -> Result<Program, Error> {
    let seccomp: Seccomp =
        serde_json::from_slice(json).map_err(|source| Error::Malformed { reason: source.to_string() })?;
    compile(&seccomp)
}

fn compile_for(seccomp: &Seccomp, native: Arch) -> Result<Program, Error> {
    let policy = policy::resolve(seccomp, native)?;
    let flags = parse_flags(&seccomp.flags)?;
    let insns = assemble::assemble(&policy.sections, &policy.outcomes, policy::BAD_ARCH)?;
    Ok(Program { insns, flags, unknown: policy.unknown })
}

fn parse_flags(names: &[String]) -> Result<u32, Error> {
    if names.is_empty() {
        return Ok(FLAGS_DEFAULT);
    }
    let mut flags = 0;
    for (index, name) in names.iter().enumerate() {
        let field = || format!("linux.seccomp.flags[{index}]");
        flags |= match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                return Err(Error::Unsupported {
                    field: field(),
                    what: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV without SCMP_ACT_NOTIFY",
                });
            }
            _ => return Err(Error::Unknown { field: field(), what: "flag", value: name.clone() }),
        };
    }
    Ok(flags)
}

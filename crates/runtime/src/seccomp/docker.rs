//! The fast path: docker's default profile with the names resolved when berth was built.

use types::caps::CapSet;

use super::arch::{ARM_PRIVATE_BASE, Arch};
use super::assemble::{self, Compare, Outcome, Rule, Runs, Section, Test};
use super::docker_table as table;
use super::policy::{self, BAD_ARCH, ENOSYS, EPERM, ret};
use super::profile::STRICT_FAMILIES;
use super::{FLAGS_DEFAULT, Program};

/// What docker's profile says about a call. A call outside the table it doesn't name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Allowed.
    Allow,
    /// Named, and so allowed, only with one of these capabilities (a [`CapSet`]).
    AnyOf(u64),
    /// All families but AF_ALG and AF_VSOCK; `strict`: [`STRICT_FAMILIES`].
    Socket,
    /// All families; `strict`: [`STRICT_FAMILIES`].
    Socketpair,
    /// [`PERSONALITIES`].
    Personality,
    /// No new namespaces without CAP_SYS_ADMIN.
    Clone,
    /// ENOSYS without CAP_SYS_ADMIN: its flags lie in memory, and the C library falls back to clone.
    Clone3,
}

/// Calls `first` to `last` and their class.
pub(super) type Row = (u32, u32, Class);

/// Number of CAP_SYS_ADMIN.
const SYS_ADMIN: u8 = 21;

/// The flags of clone(2) that make a namespace: `CLONE_NEWNS` to `CLONE_NEWNET`.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, each also with UNAME26, and the query 0xffffffff.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Indices of the outcomes. `DEFAULT` is 0.
const ALLOW: u16 = 1;
const BEYOND: u16 = 2;
const BAD: u16 = 3;
const SOCKET: u16 = 4;
const PERSONALITY: u16 = 5;
const CLONE: u16 = 6;

/// Docker's default filter for a container with bounding set `caps`, all ABIs of the machine included; the same as
/// compiling [`super::docker_default`], in some microseconds.
pub fn compile_docker_default(caps: CapSet) -> Program {
    compile_docker_for(caps, false, Arch::NATIVE)
}

/// The filter of `--isolation strict`: docker's, for the native ABI only (others are killed), and with sockets of the
/// families local, IPv4, IPv6 and netlink only.
pub fn compile_docker_strict(caps: CapSet) -> Program {
    compile_docker_for(caps, true, Arch::NATIVE)
}

pub(super) fn compile_docker_for(caps: CapSet, strict: bool, native: Arch) -> Program {
    let outcomes = [
        Outcome::Return(ret::ERRNO | EPERM),
        Outcome::Return(ret::ALLOW),
        Outcome::Return(ret::ERRNO | ENOSYS),
        Outcome::Return(BAD_ARCH),
        allow_if(if strict { strict_families() } else { docker_families() }),
        allow_if(PERSONALITIES.iter().map(|value| equals(u32::MAX, *value)).collect()),
        allow_if(vec![equals(CLONE_NAMESPACES as u32, 0)]),
    ];
    let lay_out = |rows: &[Row]| lay_out(rows, caps, strict).0;
    let mut sections = Vec::with_capacity(2);
    let mut main = lay_out(rows(native));
    if native == Arch::X86_64 {
        let x32 = (!strict).then(|| lay_out(rows(Arch::X32)));
        policy::add_x32(&mut main, x32.as_deref(), BAD);
    }
    sections.push(Section { audit: native.audit(), runs: main });
    if !strict {
        let sub = if native == Arch::X86_64 { Arch::X86 } else { Arch::Arm };
        sections.push(Section { audit: sub.audit(), runs: lay_out(rows(sub)) });
    }
    let insns = assemble::assemble(&sections, &outcomes, BAD_ARCH).expect(
        "docker's profile is far below the kernel's limit; a test compiles it under every capability",
    );
    Program { insns, flags: FLAGS_DEFAULT, unknown: Vec::new() }
}

fn rows(arch: Arch) -> &'static [Row] {
    match arch {
        Arch::X86_64 => table::X86_64,
        Arch::X86 => table::X86,
        Arch::X32 => table::X32,
        Arch::Aarch64 => table::AARCH64,
        Arch::Arm => table::ARM,
    }
}

fn lay_out(rows: &[Row], caps: CapSet, strict: bool) -> Runs {
    let mut runs = Runs::default();
    runs.from(0, policy::DEFAULT);
    // The call after the newest that the profile names under these capabilities.
    let mut end = 0;
    for (first, last, class) in rows {
        let Some(outcome) = class.outcome(caps, strict) else { continue };
        let private = *first >= ARM_PRIVATE_BASE;
        if private {
            runs.from(end, BEYOND);
        } else {
            end = last + 1;
        }
        runs.from(*first, outcome);
        runs.from(last + 1, if private { BEYOND } else { policy::DEFAULT });
        if private {
            end = last + 1;
        }
    }
    runs.from(end, BEYOND);
    runs
}

impl Class {
    /// Index of the outcome, or `None` if the profile doesn't name the call under `caps`.
    fn outcome(self, caps: CapSet, strict: bool) -> Option<u16> {
        let admin = caps.has(SYS_ADMIN);
        match self {
            Class::Allow => Some(ALLOW),
            Class::AnyOf(wanted) => (caps.0 & wanted != 0).then_some(ALLOW),
            Class::Socket => Some(SOCKET),
            Class::Socketpair => Some(if strict { SOCKET } else { ALLOW }),
            Class::Personality => Some(PERSONALITY),
            Class::Clone => Some(if admin { ALLOW } else { CLONE }),
            Class::Clone3 => Some(if admin { ALLOW } else { BEYOND }),
        }
    }
}

/// A test of the low half of the first argument.
fn first_argument(compare: Compare, value: u32, negate: bool) -> Test {
    Test { arg: 0, wide: false, compare, value: u64::from(value), negate }
}

fn equals(mask: u32, value: u32) -> Test {
    first_argument(Compare::Masked { mask: u64::from(mask) }, value, false)
}

/// All but AF_ALG (38) and AF_VSOCK (40).
fn docker_families() -> Vec<Test> {
    vec![
        first_argument(Compare::AtLeast, 38, true),
        equals(u32::MAX, 39),
        first_argument(Compare::Above, 40, false),
    ]
}

fn strict_families() -> Vec<Test> {
    STRICT_FAMILIES.iter().map(|family| equals(u32::MAX, *family)).collect()
}

/// Allows a call if one of `tests` holds.
fn allow_if(tests: Vec<Test>) -> Outcome {
    let rules = tests.into_iter().map(|test| Rule { tests: vec![test], ret: ret::ALLOW }).collect();
    Outcome::Chain { rules, otherwise: ret::ERRNO | EPERM }
}

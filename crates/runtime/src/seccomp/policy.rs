//! From the words of a runtime-spec profile to runs of call numbers.

use std::collections::HashMap;

use types::oci::{Seccomp, SyscallArg, SyscallRule};

use super::arch::{self, Arch, Listed, X32_BIT};
use super::assemble::{Compare, Outcome, Rule, Run, Runs, Section, Test};
use super::error::Error;

/// Return values of a filter, in the order of their strictness. Source: linux/seccomp.h.
pub(super) mod ret {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The bits that are the action; the rest is its data.
    pub const ACTION: u32 = 0xffff_0000;
}

pub(super) const EPERM: u32 = 1;
pub(super) const ENOSYS: u32 = 38;

/// What programs of an ABI without rules get: libseccomp's default, which runc leaves as it is.
pub(super) const BAD_ARCH: u32 = ret::KILL_THREAD;

/// Largest errno. The kernel would silently clamp a larger one. Source: `MAX_ERRNO`, linux/err.h.
const ERRNO_MAX: u32 = 4095;

/// A profile, checked and resolved to numbers.
#[derive(Debug)]
pub(super) struct Policy {
    pub sections: Vec<Section>,
    pub outcomes: Vec<Outcome>,
    pub unknown: Vec<String>,
}

/// What calls beyond the newest that a profile names get: ENOSYS, so that the C library falls back to an older call,
/// unless the default lets calls happen or a tracer decides. As runc.
pub(super) fn beyond(default: u32) -> u32 {
    match default & ret::ACTION {
        ret::ALLOW | ret::LOG | ret::TRACE => default,
        _ => ret::ERRNO | ENOSYS,
    }
}

/// The return value of an action.
///
/// Errors: `Unknown`, `Unsupported` for notify, `ErrnoNotTaken`, `OutOfRange`; `field` is the path of the object that
/// holds the fields `action_name` and `errno_name`.
fn parse_action(
    field: &str,
    (action_name, action): (&str, &str),
    (errno_name, errno): (&str, Option<u32>),
) -> Result<u32, Error> {
    let (value, data_max) = match action {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => (ret::KILL_THREAD, None),
        "SCMP_ACT_KILL_PROCESS" => (ret::KILL_PROCESS, None),
        "SCMP_ACT_TRAP" => (ret::TRAP, None),
        "SCMP_ACT_ERRNO" => (ret::ERRNO, Some(ERRNO_MAX)),
        "SCMP_ACT_TRACE" => (ret::TRACE, Some(u32::from(u16::MAX))),
        "SCMP_ACT_ALLOW" => (ret::ALLOW, None),
        "SCMP_ACT_LOG" => (ret::LOG, None),
        "SCMP_ACT_NOTIFY" => {
            return Err(Error::Unsupported {
                field: format!("{field}.{action_name}"),
                what: "SCMP_ACT_NOTIFY",
            });
        }
        _ => {
            return Err(Error::Unknown {
                field: format!("{field}.{action_name}"),
                what: "action",
                value: action.to_owned(),
            });
        }
    };
    match (data_max, errno) {
        (None, None) => Ok(value),
        (None, Some(_)) => {
            Err(Error::ErrnoNotTaken { field: format!("{field}.{errno_name}"), action: action.to_owned() })
        }
        (Some(max), Some(errno)) if errno > max => Err(Error::OutOfRange {
            field: format!("{field}.{errno_name}"),
            value: u64::from(errno),
            max: u64::from(max),
        }),
        (Some(_), errno) => Ok(value | errno.unwrap_or(EPERM)),
    }
}

/// A condition as the profile has it, before it is known how wide the argument is.
#[derive(Debug, Clone, Copy)]
struct Condition {
    arg: u8,
    compare: Compare,
    value: u64,
    negate: bool,
}

fn parse_condition(field: &str, arg: &SyscallArg) -> Result<Condition, Error> {
    if arg.index > 5 {
        return Err(Error::OutOfRange {
            field: format!("{field}.index"),
            value: u64::from(arg.index),
            max: 5,
        });
    }
    let whole = Compare::Masked { mask: u64::MAX };
    let (compare, value, negate) = match arg.op.as_str() {
        "SCMP_CMP_EQ" => (whole, arg.value, false),
        "SCMP_CMP_NE" => (whole, arg.value, true),
        "SCMP_CMP_GT" => (Compare::Above, arg.value, false),
        "SCMP_CMP_LE" => (Compare::Above, arg.value, true),
        "SCMP_CMP_GE" => (Compare::AtLeast, arg.value, false),
        "SCMP_CMP_LT" => (Compare::AtLeast, arg.value, true),
        "SCMP_CMP_MASKED_EQ" => (Compare::Masked { mask: arg.value }, arg.value_two, false),
        _ => {
            return Err(Error::Unknown {
                field: format!("{field}.op"),
                what: "operator",
                value: arg.op.clone(),
            });
        }
    };
    Ok(Condition { arg: arg.index as u8, compare, value, negate })
}

/// What is left of a condition.
enum Reduced {
    Always,
    Never,
    Test(Test),
}

impl Condition {
    /// The condition on an argument of which only the lower half counts (`narrow`), or all of it.
    fn reduce(self, narrow: bool) -> Reduced {
        let decided = |holds: bool| if holds != self.negate { Reduced::Always } else { Reduced::Never };
        let test = |wide, compare, value| {
            Reduced::Test(Test { arg: self.arg, wide, compare, value, negate: self.negate })
        };
        let low = u64::from(u32::MAX);
        let value = if narrow { as_unsigned_int(self.value) } else { self.value };
        match self.compare {
            Compare::Masked { mask } => {
                // A half without a bit in the mask needs no test; that makes most masks narrow.
                let mask = if narrow { mask & low } else { mask };
                match (value & !mask != 0, mask) {
                    (true, _) => decided(false),
                    (false, 0) => decided(true),
                    (false, mask) => test(mask > low, Compare::Masked { mask }, value),
                }
            }
            Compare::Above | Compare::AtLeast if narrow && value > low => decided(false),
            Compare::AtLeast if value == 0 => decided(true),
            compare => test(!narrow, compare, value),
        }
    }
}

/// A negative int that a profile's author let grow to 64 bits stays the int it was.
fn as_unsigned_int(value: u64) -> u64 {
    if value as i64 == i64::from(value as i32) { u64::from(value as u32) } else { value }
}

/// The tests of `conditions`, where bit n of `narrow` says that argument n has 32 bits. `None` if they can't hold.
fn reduce(conditions: &[Condition], narrow: u8) -> Option<Vec<Test>> {
    let mut tests = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition.reduce(narrow & (1 << condition.arg) != 0) {
            Reduced::Always => {}
            Reduced::Never => return None,
            Reduced::Test(test) => tests.push(test),
        }
    }
    Some(tests)
}

/// A rule with the meaning of libseccomp's: all conditions must hold.
struct Parsed {
    conditions: Vec<Condition>,
    /// Bit n: argument n is compared.
    compared: u8,
    ret: u32,
}

/// A rule as it applies to one call: which rule, and which of its arguments have 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Applied {
    rule: u32,
    narrow: u8,
    /// First argument and its mask, if x86's socketcall(2) or ipc(2) carries the call; stands for the conditions.
    carried: Option<(u32, u32)>,
}

/// Resolves `profile` for a machine whose own ABI is `native`.
///
/// Errors: as [`super::compile`], but `TooLong`.
pub(super) fn resolve(profile: &Seccomp, native: Arch) -> Result<Policy, Error> {
    refuse_notify(profile)?;
    let default = parse_action(
        "linux.seccomp",
        ("defaultAction", &profile.default_action),
        ("defaultErrnoRet", profile.default_errno_ret),
    )?;
    let arches = parse_architectures(&profile.architectures, native)?;
    let mut resolver = Resolver::new(default);
    let mut calls: Vec<Vec<(u32, Option<Applied>)>> = vec![Vec::new(); arches.len()];
    for (index, rule) in profile.syscalls.iter().enumerate() {
        resolver.add(index, rule, &arches, &mut calls)?;
    }
    let mut runs = Vec::with_capacity(arches.len());
    for calls in &mut calls {
        runs.push(resolver.lay_out(calls));
    }
    let sections = join_sections(&arches, runs, &mut resolver);
    Ok(Policy { sections, outcomes: resolver.outcomes, unknown: resolver.unknown })
}

fn refuse_notify(profile: &Seccomp) -> Result<(), Error> {
    let refuse = |name: &str| {
        Err(Error::Unsupported { field: format!("linux.seccomp.{name}"), what: "a notify agent" })
    };
    if profile.listener_path.as_deref().is_some_and(|path| !path.is_empty()) {
        return refuse("listenerPath");
    }
    if profile.listener_metadata.as_deref().is_some_and(|data| !data.is_empty()) {
        return refuse("listenerMetadata");
    }
    Ok(())
}

/// The ABIs of the filter, the native one first. Like libseccomp, it is always there.
fn parse_architectures(names: &[String], native: Arch) -> Result<Vec<Arch>, Error> {
    let mut arches = vec![native];
    for (index, name) in names.iter().enumerate() {
        match Arch::parse(name) {
            Some(Listed::Known(arch)) if arch.runs_on(native) && !arches.contains(&arch) => arches.push(arch),
            Some(_) => {}
            None => {
                return Err(Error::Unknown {
                    field: format!("linux.seccomp.architectures[{index}]"),
                    what: "architecture",
                    value: name.clone(),
                });
            }
        }
    }
    Ok(arches)
}

/// Index of the default action in [`Resolver::outcomes`].
pub(super) const DEFAULT: u16 = 0;

struct Resolver {
    default: u32,
    rules: Vec<Parsed>,
    outcomes: Vec<Outcome>,
    chains: HashMap<Vec<Applied>, u16>,
    unknown: Vec<String>,
}

impl Resolver {
    fn new(default: u32) -> Resolver {
        Resolver {
            default,
            rules: Vec::new(),
            outcomes: vec![Outcome::Return(default)],
            chains: HashMap::new(),
            unknown: Vec::new(),
        }
    }

    /// Adds one rule of the profile to the calls of every ABI. A call without an applied rule is one the profile names
    /// only to give it the default.
    fn add(
        &mut self,
        index: usize,
        rule: &SyscallRule,
        arches: &[Arch],
        calls: &mut [Vec<(u32, Option<Applied>)>],
    ) -> Result<(), Error> {
        let field = format!("linux.seccomp.syscalls[{index}]");
        let ret = parse_action(&field, ("action", &rule.action), ("errnoRet", rule.errno_ret))?;
        let first = self.rules.len() as u32;
        self.parse_rule(&field, rule, ret)?;
        let added = first..self.rules.len() as u32;
        // libseccomp refuses such rules, so runc leaves them out: they don't shadow a later rule either.
        let redundant = ret == self.default;
        for name in &rule.names {
            let Some(row) = arch::row(name) else {
                if !self.unknown.contains(name) && self.unknown.len() < UNKNOWN_MAX {
                    self.unknown.push(name.clone());
                }
                continue;
            };
            let int_args = arch::int_args(name);
            for (arch, calls) in arches.iter().zip(calls.iter_mut()) {
                if *arch == Arch::X86 && !redundant {
                    self.add_carried(name, added.clone(), calls);
                }
                let Some(number) = arch.number(row) else { continue };
                if redundant {
                    calls.push((number, None));
                    continue;
                }
                let narrow = if arch.narrow() { 0x3f } else { int_args };
                for rule in added.clone() {
                    // Equal keys for equal tests: x86 then shares code with x86_64.
                    let narrow = narrow & self.rules[rule as usize].compared;
                    calls.push((number, Some(Applied { rule, narrow, carried: None })));
                }
            }
        }
        Ok(())
    }

    /// Parses the conditions. Several on one argument are alternatives: runc's documented oddity, which profiles use.
    fn parse_rule(&mut self, field: &str, rule: &SyscallRule, ret: u32) -> Result<(), Error> {
        let mut conditions = Vec::with_capacity(rule.args.len());
        for (index, arg) in rule.args.iter().enumerate() {
            conditions.push(parse_condition(&format!("{field}.args[{index}]"), arg)?);
        }
        let compared = conditions.iter().fold(0, |bits, condition| bits | 1 << condition.arg);
        if (conditions.len() as u32) == u8::count_ones(compared) {
            self.rules.push(Parsed { conditions, compared, ret });
        } else {
            let alone = |condition: Condition| Parsed {
                conditions: vec![condition],
                compared: 1 << condition.arg,
                ret,
            };
            self.rules.extend(conditions.into_iter().map(alone));
        }
        Ok(())
    }

    /// Adds the rules on `name` to the x86 call that carries it. There the arguments lie in memory, out of a filter's
    /// sight: a rule with conditions that lets calls through is left out, one that stops them applies to all.
    fn add_carried(&self, name: &str, rules: std::ops::Range<u32>, calls: &mut Vec<(u32, Option<Applied>)>) {
        let Some(carried) = arch::carried(name) else { return };
        let Some(number) = arch::row(carried.by).and_then(|row| Arch::X86.number(row)) else { return };
        for rule in rules {
            let Parsed { conditions, ret, .. } = &self.rules[rule as usize];
            if conditions.is_empty() || strictness(*ret) >= strictness(self.default) {
                let carried = Some((carried.as_number, carried.mask));
                calls.push((number, Some(Applied { rule, narrow: 0, carried })));
            }
        }
    }

    /// Makes runs of the calls of one ABI. libseccomp's precedence: the first rule without conditions wins over all
    /// others, else the first whose conditions hold.
    fn lay_out(&mut self, calls: &mut [(u32, Option<Applied>)]) -> Runs {
        // Stable: the rules of a call stay in the order of the profile.
        calls.sort_by_key(|(number, _)| *number);
        let private = calls.partition_point(|(number, _)| *number < arch::ARM_PRIVATE_BASE);
        let newest = calls[..private].last().map_or(0, |(number, _)| *number);
        // As runc, nothing is too new for a profile that names no call but 0.
        let tail = if newest > 0 { self.returning(beyond(self.default)) } else { DEFAULT };
        let mut runs = Runs::default();
        runs.from(0, DEFAULT);
        self.add_runs(&calls[..private], DEFAULT, &mut runs);
        if newest > 0 {
            runs.from(newest + 1, tail);
        }
        self.add_runs(&calls[private..], tail, &mut runs);
        runs
    }

    fn add_runs(&mut self, calls: &[(u32, Option<Applied>)], between: u16, runs: &mut Runs) {
        for group in calls.chunk_by(|a, b| a.0 == b.0) {
            let outcome = self.outcome(group.iter().filter_map(|(_, applied)| *applied));
            runs.from(group[0].0, outcome);
            runs.from(group[0].0 + 1, between);
        }
    }

    /// Index of the outcome that returns `value`.
    fn returning(&mut self, value: u32) -> u16 {
        self.index_of(Outcome::Return(value))
    }

    fn index_of(&mut self, outcome: Outcome) -> u16 {
        let found = self.outcomes.iter().position(|known| *known == outcome);
        found.unwrap_or_else(|| {
            self.outcomes.push(outcome);
            self.outcomes.len() - 1
        }) as u16
    }

    fn outcome(&mut self, applied: impl Iterator<Item = Applied>) -> u16 {
        let mut chain: Vec<Applied> = Vec::new();
        for one in applied {
            let rule = &self.rules[one.rule as usize];
            if rule.conditions.is_empty() && one.carried.is_none() {
                return self.returning(rule.ret);
            }
            chain.push(one);
        }
        if let Some(known) = self.chains.get(&chain) {
            return *known;
        }
        // Different rules can come to the same tests: a mask without upper bits needs no upper half.
        let outcome = self.chain(&chain);
        let index = self.index_of(outcome);
        self.chains.insert(chain, index);
        index
    }

    fn chain(&self, applied: &[Applied]) -> Outcome {
        let mut rules: Vec<Rule> = Vec::with_capacity(applied.len());
        let mut otherwise = self.default;
        for one in applied {
            let parsed = &self.rules[one.rule as usize];
            let tests = match one.carried {
                Some((value, mask)) => Some(vec![Test {
                    arg: 0,
                    wide: false,
                    compare: Compare::Masked { mask: u64::from(mask) },
                    value: u64::from(value),
                    negate: false,
                }]),
                None => reduce(&parsed.conditions, one.narrow),
            };
            let Some(tests) = tests else { continue };
            if tests.is_empty() {
                otherwise = parsed.ret;
                break;
            }
            let rule = Rule { tests, ret: parsed.ret };
            if rules.last() != Some(&rule) {
                rules.push(rule);
            }
        }
        if rules.is_empty() { Outcome::Return(otherwise) } else { Outcome::Chain { rules, otherwise } }
    }
}

/// Most unknown names that are reported.
const UNKNOWN_MAX: usize = 64;

/// Rank of a return value, from ALLOW up to KILL_PROCESS. The kernel ranks them as signed numbers, strictest first.
fn strictness(value: u32) -> i64 {
    -i64::from((value & ret::ACTION) as i32)
}

/// One section per `AUDIT_ARCH_*`: x32's numbers lie above x86_64's. Without x32, its numbers are those of a foreign
/// ABI, but for -1, which is no x32 call but what a tracer leaves of a call it cancelled.
fn join_sections(arches: &[Arch], runs: Vec<Runs>, resolver: &mut Resolver) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::with_capacity(arches.len());
    let mut x32 = None;
    for (arch, runs) in arches.iter().zip(runs) {
        if *arch == Arch::X32 {
            x32 = Some(runs);
        } else {
            sections.push(Section { audit: arch.audit(), runs: runs.0 });
        }
    }
    if let Some(native) = sections.iter_mut().find(|section| section.audit == Arch::X32.audit()) {
        let bad = resolver.returning(BAD_ARCH);
        add_x32(&mut native.runs, x32.as_ref().map(|runs| runs.0.as_slice()), bad);
    }
    sections
}

/// Puts the runs of x32 above those of x86_64; `bad_arch` is the outcome of its calls if it has none.
pub(super) fn add_x32(native: &mut Vec<Run>, x32: Option<&[Run]>, bad_arch: u16) {
    let mut joined = Runs(std::mem::take(native));
    match x32 {
        Some(runs) => {
            for run in runs {
                joined.from(run.start + X32_BIT, run.outcome);
            }
        }
        None => {
            let minus_one = joined.0.last().map_or(DEFAULT, |run| run.outcome);
            joined.from(X32_BIT, bad_arch);
            joined.from(u32::MAX, minus_one);
        }
    }
    *native = joined.0;
}

//! Device rules: which device nodes a container may read, write and make.
//!
//! The rules of config.json are a list in which, for each access, the last rule that speaks of it wins, and what no rule
//! speaks of is denied. Two kernels' worth of machinery serve it:
//!
//! - version 2: an eBPF program ([`program`]) that walks the list backwards,
//! - version 1: `devices.allow` and `devices.deny` ([`v1_lines`]), which know a default and exceptions, but no exception
//!   from an exception; such lists are an error there.

use std::fmt;

use linux::bpf::BpfInsn;
use types::oci::DeviceRule;

use super::error::Error;

/// Rules at most in one list; the kernel's version 1 list is linear too, and nobody needs more.
pub const RULES_MAX: usize = 1024;

/// Devices that every container may use, by major and minor number (character devices). `None` stands for all.
///
/// null, zero, full, random, urandom, tty, console, ptmx, pseudo-terminals. Source: config-linux.md, Default devices.
const DEFAULT_DEVICES: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// The rules of a container that asks for nothing: no device but the default ones; any node may be made, none opened.
///
/// The same list as docker's.
pub fn docker_default_device_rules() -> Vec<DeviceRule> {
    let mut rules =
        vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }];
    rules.extend(runtime_device_rules());
    rules
}

/// The rules that a runtime adds behind those of config.json, as runc does: without them `/dev/null` would be forbidden
/// in a bundle made by `runc spec`, whose only rule denies everything.
pub fn runtime_device_rules() -> Vec<DeviceRule> {
    let rule = |typ: &str, major, minor, access: &str| DeviceRule {
        allow: true,
        typ: Some(typ.to_owned()),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    let mut rules = vec![rule("c", None, None, "m"), rule("b", None, None, "m")];
    rules.extend(DEFAULT_DEVICES.iter().map(|(major, minor)| rule("c", Some(*major), *minor, "rwm")));
    rules
}

/// Kinds of access, as bits that have the kernel's values (`BPF_DEVCG_ACC_*`).
pub(super) mod access {
    pub const MKNOD: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE: u8 = 4;
    pub const ALL: u8 = MKNOD | READ | WRITE;
}

/// Kind of node; values are the kernel's (`BPF_DEVCG_DEV_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeKind {
    Block = 1,
    Char = 2,
}

/// A checked rule; `None` stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub kind: Option<NodeKind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

impl Rule {
    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == access::ALL
    }

    /// Whether every device that `other` speaks of is one that this rule speaks of.
    fn covers(&self, other: &Rule) -> bool {
        fn wider<T: PartialEq>(wide: Option<T>, narrow: Option<T>) -> bool {
            wide.is_none() || wide == narrow
        }
        wider(self.kind, other.kind) && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// Whether some device is spoken of by both.
    fn overlaps(&self, other: &Rule) -> bool {
        fn meet<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        meet(self.kind, other.kind) && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

impl fmt::Display for Rule {
    /// As the files of version 1 take it: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            None => 'a',
            Some(NodeKind::Block) => 'b',
            Some(NodeKind::Char) => 'c',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(access::READ, "r"), (access::WRITE, "w"), (access::MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// Checks the rules and drops those that can't matter: what precedes a rule about everything, and what is repeated later.
pub(super) fn parse_rules(rules: &[DeviceRule]) -> Result<Vec<Rule>, Error> {
    if rules.len() > RULES_MAX {
        return Err(Error::Invalid {
            field: "linux.resources.devices".to_owned(),
            value: format!("{} rules", rules.len()),
            why: format!("more than {RULES_MAX}"),
        });
    }
    let mut parsed = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let rule = parse_rule(index, rule)?;
        if rule.is_everything() {
            parsed.clear();
        }
        parsed.retain(|earlier| *earlier != rule);
        parsed.push(rule);
    }
    Ok(parsed)
}

fn parse_rule(index: usize, rule: &DeviceRule) -> Result<Rule, Error> {
    let invalid = |name: &str, value: String, why: &str| Error::Invalid {
        field: format!("linux.resources.devices[{index}].{name}"),
        value,
        why: why.to_owned(),
    };
    let kind = match rule.typ.as_deref() {
        None | Some("a" | "") => None,
        Some("c") => Some(NodeKind::Char),
        Some("b") => Some(NodeKind::Block),
        Some(other) => return Err(invalid("type", format!("{other:?}"), "must be a, b or c")),
    };
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| invalid(name, value.to_string(), "must be -1 (all) or a device number below 2^32")),
    };
    let mut bits = 0;
    for letter in rule.access.as_deref().unwrap_or("rwm").chars() {
        bits |= match letter {
            'r' => access::READ,
            'w' => access::WRITE,
            'm' => access::MKNOD,
            _ => return Err(invalid("access", format!("{:?}", rule.access), "must be made of r, w and m")),
        };
    }
    if bits == 0 {
        return Err(invalid("access", "\"\"".to_owned(), "names no access; give some of r, w and m"));
    }
    Ok(Rule {
        allow: rule.allow,
        kind,
        major: number("major", rule.major)?,
        minor: number("minor", rule.minor)?,
        access: bits,
    })
}

/// Whether the list allows every access to every device, so that no filter is needed.
pub(super) fn allows_everything(rules: &[Rule]) -> bool {
    rules.first().is_some_and(|rule| rule.is_everything()) && rules.iter().all(|rule| rule.allow)
}

// Registers of the program. R1 holds the context on entry, R0 the verdict on exit (1 allows).
const R0: u8 = 0;
const R1: u8 = 1;
/// Kind of node.
const KIND: u8 = 2;
/// Kinds of access that no rule has allowed yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Opcodes. Source: Documentation/bpf/standardization/instruction-set.rst. Jumps compare 32 bits: the 64-bit forms would
// sign-extend the constant, and device numbers use all 32.
const LOAD_U32: u8 = 0x61;
const MOV_IMM: u8 = 0xb4;
const MOV_REG: u8 = 0xbc;
const AND_IMM: u8 = 0x54;
const SHIFT_RIGHT_IMM: u8 = 0x74;
const JUMP_EQ_IMM: u8 = 0x16;
const JUMP_NE_IMM: u8 = 0x56;
const EXIT: u8 = 0x95;

/// The rules as an eBPF program of type cgroup device.
///
/// It reads `struct bpf_cgroup_dev_ctx` (access and kind, major, minor) and walks the rules from the last to the first.
/// An open for reading and writing asks for two accesses at once, which different rules may decide: `OPEN` keeps those
/// that are still undecided, an allowing rule clears its own, and a denying rule that meets one of them ends the walk.
pub(super) fn program(rules: &[Rule]) -> Vec<BpfInsn> {
    let mut insns = vec![
        BpfInsn::new(LOAD_U32, KIND, R1, 0, 0),
        BpfInsn::new(MOV_REG, OPEN, KIND, 0, 0),
        BpfInsn::new(AND_IMM, KIND, 0, 0, 0xffff),
        BpfInsn::new(SHIFT_RIGHT_IMM, OPEN, 0, 0, 16),
        BpfInsn::new(LOAD_U32, MAJOR, R1, 4, 0),
        BpfInsn::new(LOAD_U32, MINOR, R1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        if rule.is_everything() {
            // Nothing behind this is reachable, and old verifiers refuse unreachable code.
            verdict(&mut insns, rule.allow);
            return insns;
        }
        emit_rule(&mut insns, rule);
    }
    verdict(&mut insns, false);
    insns
}

fn verdict(insns: &mut Vec<BpfInsn>, allow: bool) {
    insns.push(BpfInsn::new(MOV_IMM, R0, 0, 0, i32::from(allow)));
    insns.push(BpfInsn::new(EXIT, 0, 0, 0, 0));
}

fn emit_rule(insns: &mut Vec<BpfInsn>, rule: &Rule) {
    let tests = [(KIND, rule.kind.map(|kind| kind as u32)), (MAJOR, rule.major), (MINOR, rule.minor)];
    let tests: Vec<(u8, u32)> =
        tests.iter().filter_map(|(register, value)| value.map(|value| (*register, value))).collect();
    let mut body = Vec::with_capacity(5);
    if rule.allow {
        body.push(BpfInsn::new(AND_IMM, OPEN, 0, 0, i32::from(access::ALL & !rule.access)));
        body.push(BpfInsn::new(JUMP_NE_IMM, OPEN, 0, 2, 0));
    } else {
        body.push(BpfInsn::new(MOV_REG, R0, OPEN, 0, 0));
        body.push(BpfInsn::new(AND_IMM, R0, 0, 0, i32::from(rule.access)));
        body.push(BpfInsn::new(JUMP_EQ_IMM, R0, 0, 2, 0));
    }
    verdict(&mut body, rule.allow);
    for (index, (register, value)) in tests.iter().enumerate() {
        // Over the remaining tests and the body; ten at most, so the cast can't lose anything.
        let skip = (tests.len() - index - 1 + body.len()) as i16;
        insns.push(BpfInsn::new(JUMP_NE_IMM, *register, 0, skip, *value as i32));
    }
    insns.extend(body);
}

/// The rules as lines for version 1: (`devices.allow` or `devices.deny`, line), in order.
///
/// Errors: [`Error::Unsupported`] if a rule takes away a part of what an earlier one gave: version 1 would ignore it
/// silently.
pub(super) fn v1_lines(rules: &[Rule]) -> Result<Vec<(&'static str, String)>, Error> {
    let mut default_allow = false;
    // All of them say the opposite of the default.
    let mut exceptions: Vec<Rule> = Vec::new();
    for rule in rules {
        if rule.is_everything() {
            default_allow = rule.allow;
            exceptions.clear();
            continue;
        }
        for rule in by_kind(rule) {
            if rule.allow == default_allow {
                subtract(&mut exceptions, &rule)?;
            } else {
                add(&mut exceptions, rule);
            }
            if exceptions.len() > RULES_MAX {
                return Err(Error::Unsupported {
                    field: "linux.resources.devices".to_owned(),
                    why: format!("needs more than {RULES_MAX} lines on cgroup v1"),
                });
            }
        }
    }
    let (default_file, exception_file) =
        if default_allow { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    let mut lines = vec![(default_file, "a *:* rwm".to_owned())];
    lines.extend(exceptions.iter().map(|exception| (exception_file, exception.to_string())));
    Ok(lines)
}

/// Version 1 takes `a` to mean everything whatever follows it, so a narrower `a` is written as `b` and `c`.
fn by_kind(rule: &Rule) -> Vec<Rule> {
    match rule.kind {
        Some(_) => vec![*rule],
        None => [NodeKind::Block, NodeKind::Char].map(|kind| Rule { kind: Some(kind), ..*rule }).to_vec(),
    }
}

fn subtract(exceptions: &mut Vec<Rule>, rule: &Rule) -> Result<(), Error> {
    for exception in exceptions.iter_mut().filter(|exception| exception.overlaps(rule)) {
        if exception.access & rule.access == 0 {
            continue;
        }
        if !rule.covers(exception) {
            return Err(Error::Unsupported {
                field: "linux.resources.devices".to_owned(),
                why: format!(
                    "{} {rule} is a part of the earlier {} {exception}, and cgroup v1 can't except a part",
                    verb(rule.allow),
                    verb(exception.allow),
                ),
            });
        }
        exception.access &= !rule.access;
    }
    exceptions.retain(|exception| exception.access != 0);
    Ok(())
}

/// Adds an exception. Version 1 grants an open for reading and writing only if one exception grants both, so each
/// exception also carries what wider ones give, and where `c 7:*` crosses `c *:1`, `c 7:1` gets both their accesses.
fn add(exceptions: &mut Vec<Rule>, rule: Rule) {
    let crossing =
        |exception: &&Rule| exception.overlaps(&rule) && !exception.covers(&rule) && !rule.covers(exception);
    // One of two that cross has all minors and the other all majors, so their meeting is a single device and can't cross
    // a third.
    let meetings: Vec<Rule> = exceptions
        .iter()
        .filter(crossing)
        .map(|exception| Rule {
            major: exception.major.or(rule.major),
            minor: exception.minor.or(rule.minor),
            access: exception.access | rule.access,
            ..rule
        })
        .collect();
    insert(exceptions, rule);
    for meeting in meetings {
        insert(exceptions, meeting);
    }
}

fn insert(exceptions: &mut Vec<Rule>, mut rule: Rule) {
    for exception in exceptions.iter_mut() {
        if exception.covers(&rule) {
            rule.access |= exception.access;
        } else if rule.covers(exception) {
            exception.access |= rule.access;
        }
    }
    exceptions.retain(|exception| {
        (exception.kind, exception.major, exception.minor) != (rule.kind, rule.major, rule.minor)
    });
    exceptions.push(rule);
}

fn verb(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

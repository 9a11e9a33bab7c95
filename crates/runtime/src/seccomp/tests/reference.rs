//! What a profile means, written as plainly as possible and apart from the compiler.

use serde_json::Value;

use super::machine::Call;
use crate::seccomp::calls::{ARM_PRIVATE, CALLS, NONE};

/// An ABI: its column of the table, `seccomp_data.arch`, the bit it sets in numbers, and its names.
#[derive(Clone, Copy)]
pub struct Abi {
    pub column: usize,
    pub audit: u32,
    pub bit: u32,
    pub name: &'static str,
}

pub const X86_64: Abi = Abi { column: 0, audit: 0xc000003e, bit: 0, name: "SCMP_ARCH_X86_64" };
pub const X86: Abi = Abi { column: 1, audit: 0x40000003, bit: 0, name: "SCMP_ARCH_X86" };
pub const X32: Abi = Abi { column: 2, audit: 0xc000003e, bit: 0x40000000, name: "SCMP_ARCH_X32" };
pub const AARCH64: Abi = Abi { column: 3, audit: 0xc00000b7, bit: 0, name: "SCMP_ARCH_AARCH64" };
pub const ARM: Abi = Abi { column: 4, audit: 0x40000028, bit: 0, name: "SCMP_ARCH_ARM" };

pub const KILL_THREAD: u32 = 0;
pub const ALLOW: u32 = 0x7fff0000;

pub fn errno(number: u32) -> u32 {
    0x50000 | number
}

/// Number of `name` in `abi`, its bit included.
pub fn number(abi: Abi, name: &str) -> Option<u32> {
    let (_, row) = CALLS.iter().find(|(known, _)| *known == name)?;
    match row[abi.column] {
        NONE => None,
        private if private >= ARM_PRIVATE => Some(0xf0000 + u32::from(private - ARM_PRIVATE)),
        number => Some(u32::from(number) | abi.bit),
    }
}

/// The filters of a docker profile: keeps the rules that hold, drops `includes` and `excludes`.
pub fn docker_rules(profile: &Value, caps: &[String], arch: &str) -> Vec<Value> {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().iter().flat_map(|list| list.iter()).map(|s| s.as_str().unwrap().to_owned()).collect()
    };
    let mut rules = profile["syscalls"].as_array().unwrap().clone();
    rules.retain(|rule| {
        let (want, not) = (&rule["includes"], &rule["excludes"]);
        let arches = strings(&want["arches"]);
        strings(&want["caps"]).iter().all(|cap| caps.contains(cap))
            && (arches.is_empty() || arches.iter().any(|name| name == arch))
            && !strings(&not["caps"]).iter().any(|cap| caps.contains(cap))
            && !strings(&not["arches"]).iter().any(|name| name == arch)
    });
    rules
}

/// The verdict of `rules` (docker's or the specification's JSON) on `call` of `abi`, one of the filter's ABIs.
pub fn verdict(default: u32, rules: &[Value], abi: Abi, call: &Call) -> u32 {
    let mut newest = 0;
    let mut named = false;
    let mut conditional = None;
    let mut unconditional = None;
    for rule in rules {
        let ret = action(rule);
        for name in rule["names"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let Some(number) = number(abi, name) else { continue };
            if number & !abi.bit < 0xf0000 {
                newest = newest.max(number);
            }
            named |= number == call.nr;
            if number != call.nr || ret == default {
                continue;
            }
            let args = rule["args"].as_array().cloned().unwrap_or_default();
            if args.is_empty() {
                unconditional = unconditional.or(Some(ret));
            } else if holds(name, &args, abi, call) {
                conditional = conditional.or(Some(ret));
            }
        }
    }
    let lenient = (0x7ff00000..0x80000000).contains(&default);
    match unconditional.or(conditional) {
        Some(ret) => ret,
        // ARM's private calls lie beyond the newest, but a profile can name them.
        None if named => default,
        None if newest & !abi.bit > 0 && call.nr > newest && !lenient => errno(38),
        None => default,
    }
}

/// Return value of a rule's action, of the kinds that tests use.
pub fn action(rule: &Value) -> u32 {
    let data = rule["errnoRet"].as_u64().unwrap_or(1) as u32;
    match rule["action"].as_str().unwrap() {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => errno(data),
        "SCMP_ACT_TRACE" => 0x7ff00000 | data,
        "SCMP_ACT_LOG" => 0x7ffc0000,
        "SCMP_ACT_TRAP" => 0x30000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => 0x80000000,
        other => panic!("{other}"),
    }
}

fn holds(name: &str, args: &[Value], abi: Abi, call: &Call) -> bool {
    let mut indices: Vec<u64> = args.iter().map(|arg| arg["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    indices.dedup();
    let one = |arg: &Value| condition(name, arg, abi, call);
    if indices.len() == args.len() { args.iter().all(one) } else { args.iter().any(one) }
}

fn condition(name: &str, arg: &Value, abi: Abi, call: &Call) -> bool {
    let index = arg["index"].as_u64().unwrap() as usize;
    let half = matches!((name, index), ("socket" | "socketpair", 0..3) | ("personality", 0))
        || abi.column == X86.column
        || abi.column == ARM.column;
    let mut got = call.args[index];
    let mut value = arg["value"].as_u64().unwrap();
    let mut other = arg["valueTwo"].as_u64().unwrap_or(0);
    if half {
        // A negative int, written in 64 bits, is meant as the int.
        got &= 0xffffffff;
        for written in [&mut value, &mut other] {
            if *written >= 0xffffffff80000000 {
                *written &= 0xffffffff;
            }
        }
    }
    match arg["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => got == value,
        "SCMP_CMP_NE" => got != value,
        "SCMP_CMP_LT" => got < value,
        "SCMP_CMP_LE" => got <= value,
        "SCMP_CMP_GT" => got > value,
        "SCMP_CMP_GE" => got >= value,
        "SCMP_CMP_MASKED_EQ" => got & value == other,
        other => panic!("{other}"),
    }
}

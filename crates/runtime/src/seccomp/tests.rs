//! Compiled filters, run against a plain reading of the profiles.

#![allow(clippy::unwrap_used)]

mod machine;
mod reference;

use std::fmt::Write as _;

use serde_json::{Value, json};
use types::caps::{self, CapSet};
use types::oci::Seccomp;

use super::arch::{self, Arch};
use super::calls::CALLS;
use super::docker::{Class, Row, compile_docker_for};
use super::policy::BAD_ARCH;
use super::profile::{DOCKER_DEFAULT, docker_default_for};
use super::{Error, Insn, KernelVersion, Profile, Program, compile_for};
use machine::{Call, run, verify};
use reference::{AARCH64, ALLOW, ARM, Abi, KILL_THREAD, X32, X86, X86_64, errno, number, verdict};

/// A small generator (splitmix64): the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A value near those where comparisons of halves go wrong.
    fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            2,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0001,
            0xffff_ffff_8000_0000,
            0xffff_ffff_0000_0000,
            u64::MAX - 1,
            u64::MAX,
        ];
        match self.below(4) {
            0 => self.next(),
            1 => self.next() >> 32,
            _ => self.pick(&EDGES),
        }
    }
}

fn seccomp(document: Value) -> Seccomp {
    serde_json::from_value(document).unwrap()
}

fn compiled(document: Value) -> Program {
    compile_for(&seccomp(document), Arch::X86_64).unwrap()
}

fn ret(program: &Program, abi: Abi, name: &str, args: [u64; 6]) -> u32 {
    let nr = number(abi, name).unwrap();
    run(&program.insns, Call { nr, arch: abi.audit, args }).0
}

/// Sets of capabilities: none, all, docker's, each alone, all but each, and mixtures.
fn cap_sets() -> Vec<CapSet> {
    let mut sets = vec![CapSet(0), CapSet::ALL, CapSet::docker_default()];
    for n in 0..caps::NAMES.len() as u8 {
        sets.push(CapSet(0).with(n));
        sets.push(CapSet::ALL.without(n));
    }
    let mut random = Random(7);
    sets.extend((0..40).map(|_| CapSet(random.next() & CapSet::ALL.0)));
    sets
}

// --- docker's default ---

/// Numbers worth asking: all that could be calls, and the edges of the space.
fn numbers(abi: Abi) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..=600).map(|nr| nr | abi.bit).collect();
    numbers.extend([0x3fff_ffff | abi.bit, 0xf0000 | abi.bit]);
    if abi.column == ARM.column {
        numbers.extend(0xf0000..0xf0010);
    }
    numbers
}

fn docker_args(random: &mut Random) -> [u64; 6] {
    let first = match random.below(4) {
        0 => random.below(50) as u64,
        1 => random.pick(&[0, 8, 0x20000, 0x20008, 0xffffffff, 0x7e020000, 0x10000000, 0x02000000, 0x11]),
        2 => random.below(50) as u64 | 1 << 32,
        _ => random.value(),
    };
    [first, random.value(), random.value(), 0, 0, 0]
}

#[test]
fn every_call_gets_dockers_verdict() {
    let profile: Value = serde_json::from_str(DOCKER_DEFAULT).unwrap();
    let mut random = Random(1);
    let machines =
        [(Arch::X86_64, "amd64", vec![X86_64, X86, X32]), (Arch::Aarch64, "arm64", vec![AARCH64, ARM])];
    for caps in [CapSet(0), CapSet::docker_default(), CapSet::docker_default().with(21), CapSet::ALL] {
        for (native, name, abis) in &machines {
            let rules = reference::docker_rules(&profile, &caps.names(), name);
            let program = compile_docker_for(caps, false, *native);
            verify(&program.insns);
            for abi in abis {
                for nr in numbers(*abi) {
                    for _ in 0..8 {
                        let args = docker_args(&mut random);
                        let call = Call { nr, arch: abi.audit, args };
                        let want = verdict(errno(1), &rules, *abi, &call);
                        let (got, _) = run(&program.insns, call);
                        assert_eq!(got, want, "{} {nr} {args:x?} under {caps:?}", abi.name);
                    }
                }
            }
        }
    }
}

#[test]
fn the_fast_path_gives_the_same_program_as_the_document() {
    for native in [Arch::X86_64, Arch::Aarch64] {
        for caps in cap_sets() {
            for strict in [false, true] {
                let slow = compile_for(&docker_default_for(caps, strict, native), native).unwrap();
                let fast = compile_docker_for(caps, strict, native);
                assert_eq!(fast.insns, slow.insns, "{native:?} {caps:?} strict {strict}");
                assert_eq!(fast.flags, slow.flags);
            }
        }
    }
}

#[test]
fn the_default_filter_is_small_and_shallow() {
    for caps in cap_sets() {
        let program = compile_docker_for(caps, false, Arch::X86_64);
        verify(&program.insns);
        assert!(program.insns.len() <= 240, "{} instructions under {caps:?}", program.insns.len());
        let plain = [X86_64, X86].iter().flat_map(|abi| {
            (0..470).map(|nr| run(&program.insns, Call { nr, arch: abi.audit, args: [u64::MAX; 6] }).1)
        });
        assert!(plain.max().unwrap() <= 20);
    }
}

#[test]
fn dangerous_calls_are_refused_by_default() {
    let program = compile_docker_for(CapSet::docker_default(), false, Arch::X86_64);
    for abi in [X86_64, X86, X32] {
        for name in [
            "unshare",
            "setns",
            "mount",
            "fsopen",
            "move_mount",
            "open_tree",
            "bpf",
            "io_uring_setup",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "perf_event_open",
            "open_by_handle_at",
            "init_module",
            "kexec_load",
            "pivot_root",
            "swapon",
            "reboot",
        ] {
            assert_eq!(ret(&program, abi, name, [0; 6]), errno(1), "{name} of {}", abi.name);
        }
        assert_eq!(ret(&program, abi, "clone3", [0; 6]), errno(38));
        for flag in [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000] {
            assert_eq!(ret(&program, abi, "clone", [flag | 17, 0, 0, 0, 0, 0]), errno(1));
        }
        assert_eq!(ret(&program, abi, "clone", [17, 0, 0, 0, 0, 0]), ALLOW);
        for high in [0, 1 << 32, 1 << 63] {
            assert_eq!(ret(&program, abi, "socket", [38 | high, 0, 0, 0, 0, 0]), errno(1));
            assert_eq!(ret(&program, abi, "socket", [40 | high, 0, 0, 0, 0, 0]), errno(1));
            assert_eq!(ret(&program, abi, "socket", [2 | high, 0, 0, 0, 0, 0]), ALLOW);
        }
    }
    // An architecture that is neither.
    assert_eq!(run(&program.insns, Call { nr: 0, arch: AARCH64.audit, args: [0; 6] }).0, BAD_ARCH);
}

#[test]
fn strict_knows_one_abi_and_four_families() {
    let program = compile_docker_for(CapSet::docker_default(), true, Arch::X86_64);
    verify(&program.insns);
    assert_eq!(ret(&program, X86, "getpid", [0; 6]), KILL_THREAD);
    assert_eq!(ret(&program, X32, "getpid", [0; 6]), KILL_THREAD);
    assert_eq!(ret(&program, X86_64, "getpid", [0; 6]), ALLOW);
    for call in ["socket", "socketpair"] {
        for family in 0..64 {
            for high in [0, 1 << 32, 1 << 63] {
                let want = if [1, 2, 10, 16].contains(&family) { ALLOW } else { errno(1) };
                assert_eq!(ret(&program, X86_64, call, [family | high, 0, 0, 0, 0, 0]), want);
            }
        }
    }
    let wide = compile_docker_for(CapSet::docker_default(), false, Arch::X86_64);
    for nr in 0..600 {
        let call = Call { nr, arch: X86_64.audit, args: [2, 0, 0, 0, 0, 0] };
        assert_eq!(run(&program.insns, call).0, run(&wide.insns, call).0, "{nr}");
    }
}

/// The table, from the JSON. `BERTH_BLESS=1` writes it.
#[test]
fn the_table_says_what_the_json_says() {
    let text = render_table();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/docker_table.rs");
    if std::env::var_os("BERTH_BLESS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let found = std::fs::read_to_string(file).unwrap();
    assert!(found == text, "docker_table.rs is stale: run this test with BERTH_BLESS=1");
}

fn render_table() -> String {
    let mut text = String::from(
        "//! Docker's default profile by call numbers. Written by the test `the_table_says_what_the_json_says`, from\n\
         //! docker-default.json (moby/profiles, Apache-2.0) and the table of calls.\n\n\
         use super::docker::Class::{Allow, AnyOf, Clone, Clone3, Personality, Socket, Socketpair};\n\
         use super::docker::Row;\n",
    );
    for (arch, native, name) in [
        (Arch::X86_64, Arch::X86_64, "X86_64"),
        (Arch::X86, Arch::X86_64, "X86"),
        (Arch::X32, Arch::X86_64, "X32"),
        (Arch::Aarch64, Arch::Aarch64, "AARCH64"),
        (Arch::Arm, Arch::Aarch64, "ARM"),
    ] {
        let _ = writeln!(text, "\n#[rustfmt::skip]\npub(super) static {name}: &[Row] = &[");
        for (first, last, class) in table(arch, native) {
            let class = match class {
                Class::AnyOf(caps) => {
                    let bits: Vec<String> =
                        (0..64).filter(|n| caps >> n & 1 == 1).map(|n| format!("1 << {n}")).collect();
                    format!("AnyOf({})", bits.join(" | "))
                }
                class => format!("{class:?}"),
            };
            let _ = writeln!(text, "    ({first}, {last}, {class}),");
        }
        text.push_str("];\n");
    }
    text
}

fn table(arch: Arch, native: Arch) -> Vec<Row> {
    let profile: Value = serde_json::from_str(DOCKER_DEFAULT).unwrap();
    let mut numbered: Vec<(u32, Class)> = Vec::new();
    for (name, row) in CALLS.iter() {
        let Some(number) = arch.number(row) else { continue };
        if let Some(class) = class(&profile, name, native) {
            numbered.push((number, class));
        }
    }
    // Two names of one number, as ARM's sync_file_range2, must agree.
    numbered.sort_by_key(|(number, _)| *number);
    numbered.dedup();
    assert!(numbered.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut rows: Vec<Row> = Vec::new();
    for (number, class) in numbered {
        match rows.last_mut() {
            Some((_, last, known)) if *last + 1 == number && *known == class => *last = number,
            _ => rows.push((number, number, class)),
        }
    }
    rows
}

fn class(profile: &Value, name: &str, native: Arch) -> Option<Class> {
    let own: Vec<&Value> = profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["names"].as_array().unwrap().iter().any(|known| known == name))
        .filter(|rule| {
            let arches = rule["includes"]["arches"].as_array();
            arches.is_none_or(|arches| arches.iter().any(|arch| arch == native.docker_name()))
        })
        .collect();
    if own.is_empty() {
        return None;
    }
    match name {
        "socket" => return Some(Class::Socket),
        "socketpair" => return Some(Class::Socketpair),
        "personality" => return Some(Class::Personality),
        "clone" => return Some(Class::Clone),
        "clone3" => return Some(Class::Clone3),
        _ => {}
    }
    let mut wanted = 0;
    for rule in own {
        assert_eq!((&rule["action"], &rule["args"]), (&json!("SCMP_ACT_ALLOW"), &Value::Null), "{name}");
        match rule["includes"]["caps"].as_array().map(Vec::as_slice) {
            None | Some([]) => return Some(Class::Allow),
            Some([cap]) => wanted |= 1 << caps::number(cap.as_str().unwrap()).unwrap(),
            Some(_) => panic!("{name} needs several capabilities"),
        }
    }
    Some(Class::AnyOf(wanted))
}

// --- the compiler ---

const OPS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];

fn random_arg(random: &mut Random) -> Value {
    let value = random.value();
    let two = if random.below(4) == 0 { random.value() } else { random.value() & value };
    json!({"index": random.below(6), "op": random.pick(&OPS), "value": value, "valueTwo": two})
}

#[test]
fn comparisons_see_all_64_bits() {
    let mut random = Random(2);
    for _ in 0..4000 {
        let args: Vec<Value> = (0..1 + random.below(2)).map(|_| random_arg(&mut random)).collect();
        let rule = json!({"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": args});
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}));
        verify(&program.insns);
        for _ in 0..16 {
            let mut call = Call { nr: 9, arch: X86_64.audit, args: [0; 6] };
            for (at, arg) in call.args.iter_mut().enumerate() {
                let near =
                    args.iter().find(|arg| arg["index"] == at).map(|arg| arg["value"].as_u64().unwrap());
                *arg = match (near, random.below(3)) {
                    (Some(near), 0) => near.wrapping_add(random.below(3) as u64).wrapping_sub(1),
                    (Some(near), 1) => near ^ 1 << random.below(64),
                    _ => random.value(),
                };
            }
            let want = verdict(errno(1), std::slice::from_ref(&rule), X86_64, &call);
            assert_eq!(run(&program.insns, call).0, want, "{rule} {:x?}", call.args);
        }
    }
}

fn random_rule(random: &mut Random, names: &[&str]) -> Value {
    let names: Vec<&str> = (0..1 + random.below(12)).map(|_| random.pick(names)).collect();
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_LOG",
    ];
    let action = random.pick(&actions);
    let args: Vec<Value> = match random.below(3) {
        0 => (0..1 + random.below(3)).map(|_| random_arg(random)).collect(),
        _ => Vec::new(),
    };
    let mut rule = json!({"names": names, "action": action, "args": args});
    if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && random.below(2) == 0 {
        rule["errnoRet"] = json!(random.below(200));
    }
    rule
}

#[test]
fn arbitrary_profiles_mean_what_they_say() {
    // What x86 carries in other calls, and what has 32-bit arguments, has tests of its own.
    let names: Vec<&str> = CALLS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| arch::carried(name).is_none() && arch::int_args(name) == 0)
        .collect();
    let mut random = Random(3);
    for _ in 0..300 {
        let count = random.below(60);
        let rules: Vec<Value> = (0..count).map(|_| random_rule(&mut random, &names)).collect();
        let default = random_rule(&mut random, &names);
        let (native, abis): (_, &[Abi]) = random.pick(&[
            (Arch::X86_64, &[X86_64, X86, X32][..]),
            (Arch::X86_64, &[X86_64]),
            (Arch::X86_64, &[X86_64, X32]),
            (Arch::Aarch64, &[AARCH64, ARM]),
        ]);
        let listed: Vec<&str> = abis.iter().map(|abi| abi.name).collect();
        let document = json!({
            "defaultAction": default["action"], "defaultErrnoRet": default["errnoRet"],
            "architectures": listed, "syscalls": rules,
        });
        let program = compile_for(&seccomp(document), native).unwrap();
        verify(&program.insns);
        for abi in abis {
            for nr in numbers(*abi) {
                let args = std::array::from_fn(|_| random.value());
                let call = Call { nr, arch: abi.audit, args };
                let want = verdict(reference::action(&default), &rules, *abi, &call);
                assert_eq!(run(&program.insns, call).0, want, "{} {nr}", abi.name);
            }
        }
    }
}

#[test]
fn far_jumps_reach() {
    // Every call its own errno: no two leaves are equal, so the tree is wider than a jump.
    let rules: Vec<Value> = CALLS
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 100 + at, "args":
                if at % 5 == 0 { json!([{"index": 1, "op": "SCMP_CMP_GT", "value": at}]) } else { json!([]) }})
        })
        .collect();
    let program = compiled(json!({
        "defaultAction": "SCMP_ACT_TRAP", "architectures": [X86.name, X32.name], "syscalls": rules,
    }));
    verify(&program.insns);
    assert!(program.insns.len() > 1000);
    for abi in [X86_64, X86, X32] {
        for nr in numbers(abi) {
            for second in [0, u64::from(nr), 1 << 31] {
                let call = Call { nr, arch: abi.audit, args: [77, second, 0, 0, 0, 0] };
                assert_eq!(
                    run(&program.insns, call).0,
                    verdict(0x30000, &rules, abi, &call),
                    "{} {nr}",
                    abi.name
                );
            }
        }
    }
}

#[test]
fn long_chains_reach() {
    let rules: Vec<Value> = (0..300)
        .map(|at| {
            json!({"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 + at % 7,
                "args": [{"index": at % 6, "op": "SCMP_CMP_EQ", "value": (at as u64) << 20}]})
        })
        .collect();
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    verify(&program.insns);
    for at in 0..300 {
        let mut call = Call { nr: 9, arch: X86_64.audit, args: [u64::MAX; 6] };
        call.args[at % 6] = (at as u64) << 20;
        assert_eq!(run(&program.insns, call).0, errno(2 + at as u32 % 7));
    }
}

#[test]
fn a_filter_beyond_the_kernels_limit_is_refused() {
    let args = |at: usize| json!([{"index": at % 6, "op": "SCMP_CMP_GT", "value": (at as u64) << 31 | 5}]);
    let rules: Vec<Value> = (0..5000)
        .map(|at| json!({"names": ["mmap", "read"], "action": "SCMP_ACT_ALLOW", "args": args(at)}))
        .collect();
    let document = seccomp(json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": rules}));
    assert_eq!(compile_for(&document, Arch::X86_64), Err(Error::TooLong { max: 4096 }));
}

#[test]
fn x32_is_foreign_unless_listed() {
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
        [{"names": ["read", "getpid"], "action": "SCMP_ACT_ALLOW"}]});
    let program = compiled(document);
    assert_eq!(ret(&program, X86_64, "getpid", [0; 6]), ALLOW);
    assert_eq!(ret(&program, X32, "getpid", [0; 6]), KILL_THREAD);
    assert_eq!(ret(&program, X86, "getpid", [0; 6]), KILL_THREAD);
    let at = |nr| run(&program.insns, Call { nr, arch: X86_64.audit, args: [0; 6] }).0;
    assert_eq!(at(0xffff_fffe), KILL_THREAD);
    // What a tracer leaves of a cancelled call.
    assert_eq!(at(u32::MAX), errno(38));
}

#[test]
fn newer_calls_than_the_profile_knows_are_enosys() {
    let profile = |default: &str| {
        compiled(json!({"defaultAction": default, "syscalls":
            [{"names": ["openat2"], "action": "SCMP_ACT_ALLOW"}, {"names": ["statx"], "action": default}]}))
    };
    for (default, newer, older) in [
        ("SCMP_ACT_ERRNO", errno(38), errno(1)),
        ("SCMP_ACT_KILL_PROCESS", errno(38), 0x80000000),
        ("SCMP_ACT_TRACE", 0x7ff00001, 0x7ff00001),
        ("SCMP_ACT_LOG", 0x7ffc0000, 0x7ffc0000),
    ] {
        let program = profile(default);
        assert_eq!(ret(&program, X86_64, "faccessat2", [0; 6]), newer);
        assert_eq!(ret(&program, X86_64, "statx", [0; 6]), older);
        assert_eq!(ret(&program, X86_64, "openat2", [0; 6]), ALLOW);
    }
}

#[test]
fn a_rule_without_conditions_wins() {
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["mmap"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]},
        {"names": ["mmap"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mmap"], "action": "SCMP_ACT_LOG"},
        {"names": ["munmap"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]},
        {"names": ["munmap"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_LT", "value": 3}]},
    ]}));
    assert_eq!(ret(&program, X86_64, "mmap", [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ret(&program, X86_64, "munmap", [1, 0, 0, 0, 0, 0]), 0x30000);
    assert_eq!(ret(&program, X86_64, "munmap", [2, 0, 0, 0, 0, 0]), 0x7ffc0000);
    assert_eq!(ret(&program, X86_64, "munmap", [3, 0, 0, 0, 0, 0]), errno(1));
}

#[test]
fn int_arguments_have_no_upper_half() {
    // CVE-2019-7303: TIOCSTI with a bit above the 32 that ioctl reads.
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": 0x5412}]},
        {"names": ["prctl"], "action": "SCMP_ACT_ERRNO",
         "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 0xffff_ffff_ffff_fff0u64}]},
    ]}));
    assert_eq!(ret(&program, X86_64, "ioctl", [0, 0x5412, 0, 0, 0, 0]), errno(1));
    assert_eq!(ret(&program, X86_64, "ioctl", [0, 0x5412 | 1 << 40, 0, 0, 0, 0]), errno(1));
    assert_eq!(ret(&program, X86_64, "ioctl", [0, 0x5413, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ret(&program, X86_64, "prctl", [0xffff_fff0, 0, 0, 0, 0, 0]), errno(1));
}

#[test]
fn carriers_follow_what_they_carry() {
    let arg = json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 2}]);
    let deny = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [X86.name], "syscalls": [
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": arg},
        {"names": ["semget"], "action": "SCMP_ACT_ERRNO"},
    ]}));
    assert_eq!(ret(&deny, X86, "socketcall", [1, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ret(&deny, X86, "socketcall", [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ret(&deny, X86, "ipc", [2, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ret(&deny, X86, "ipc", [0x10002, 0, 0, 0, 0, 0]), errno(1));
    let allow =
        compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": [X86.name], "syscalls": [
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": arg},
            {"names": ["bind"], "action": "SCMP_ACT_ALLOW"},
        ]}));
    assert_eq!(ret(&allow, X86, "socketcall", [1, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ret(&allow, X86, "socketcall", [2, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn flags_become_bits() {
    let flags = |names: &[&str]| compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": names})).flags;
    assert_eq!(flags(&[]), 4);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_TSYNC"]), 1);
    assert_eq!(flags(&["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 6);
}

#[test]
fn unknown_names_are_listed_and_foreign_architectures_skipped() {
    let program = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_MIPS"],
        "syscalls": [{"names": ["frobnicate", "read", "frobnicate", ""], "action": "SCMP_ACT_ALLOW"}]}));
    assert_eq!(program.unknown, ["frobnicate", ""]);
    assert_eq!(ret(&program, X86_64, "read", [0; 6]), ALLOW);
}

#[test]
fn errors_name_the_field() {
    let check = |document: Value, want: &str| {
        let error = compile_for(&seccomp(document), Arch::X86_64).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    check(json!({"defaultAction": "X"}), r#"linux.seccomp.defaultAction: unknown action "X""#);
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        "linux.seccomp.defaultErrnoRet: action SCMP_ACT_ALLOW takes no errno",
    );
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "vax"]}),
        r#"linux.seccomp.architectures[1]: unknown architecture "vax""#,
    );
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["F"]}),
        r#"linux.seccomp.flags[0]: unknown flag "F""#,
    );
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
        "linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV without SCMP_ACT_NOTIFY is not supported",
    );
    check(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}),
        "linux.seccomp.listenerPath: a notify agent is not supported",
    );
    check(
        rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
        "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is not supported",
    );
    check(
        rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000})),
        "linux.seccomp.syscalls[0].errnoRet: 5000 is out of range, the largest is 4095",
    );
    check(
        rule(json!({"names": ["read"], "action": "SCMP_ACT_TRAP",
            "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 0}, {"index": 6, "op": "SCMP_CMP_EQ", "value": 0}]})),
        "linux.seccomp.syscalls[0].args[1].index: 6 is out of range, the largest is 5",
    );
    check(
        rule(
            json!({"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "op": "<", "value": 0}]}),
        ),
        r#"linux.seccomp.syscalls[0].args[0].op: unknown operator "<""#,
    );
}

#[test]
fn every_action_has_its_value() {
    for (action, value) in [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_ERRNO", 0x50001),
        ("SCMP_ACT_TRACE", 0x7ff00001),
        ("SCMP_ACT_LOG", 0x7ffc0000),
        ("SCMP_ACT_ALLOW", ALLOW),
    ] {
        let program = compiled(json!({"defaultAction": action}));
        assert_eq!(ret(&program, X86_64, "read", [0; 6]), value, "{action}");
    }
}

// --- docker's format ---

#[test]
fn docker_profiles_resolve() {
    let parse = |document: Value| Profile::parse(document.to_string().as_bytes()).unwrap();
    let rule = |name: &str, extra: Value| {
        let mut rule = json!({"names": [name], "action": "SCMP_ACT_ALLOW"});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        rule
    };
    let profile = parse(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null},
        rule("both", json!({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}})),
        rule("none", json!({"excludes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}})),
        rule("old", json!({"includes": {"minKernel": "4.8"}})),
        rule("new", json!({"includes": {"minKernel": "99.0"}})),
        rule("here", json!({"includes": {"arches": ["amd64"]}})),
        rule("there", json!({"excludes": {"arches": ["amd64"]}})),
    ]}));
    let names = |caps| -> Vec<String> {
        let seccomp = profile.resolve_for(caps, KernelVersion(6, 18), Arch::X86_64).unwrap();
        seccomp.syscalls.into_iter().flat_map(|rule| rule.names).collect()
    };
    assert_eq!(names(CapSet(0)), ["read", "none", "old", "here"]);
    assert_eq!(names(CapSet(1)), ["read", "old", "here"]);
    assert_eq!(names(CapSet::ALL), ["read", "both", "old", "here"]);

    let refused = parse(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}));
    assert!(matches!(refused.resolve(CapSet(0), KernelVersion::LEAST), Err(Error::Exclusive { .. })));
    assert!(matches!(Profile::parse(b"{"), Err(Error::Malformed { .. })));
    assert_eq!(KernelVersion::parse("6.18.44-fc"), Some(KernelVersion(6, 18)));
    assert_eq!(KernelVersion::parse("6"), None);
}

#[test]
fn calls_are_sorted_for_the_search() {
    assert!(CALLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(size_of::<Insn>(), 8);
}

/// Not a test but a measurement: `cargo test --release -p runtime -- --ignored --nocapture compile_time`.
#[test]
#[ignore = "measures"]
fn compile_time() {
    let caps = CapSet::docker_default();
    let document = docker_default_for(caps, false, Arch::X86_64);
    let time = |what: &str, work: &dyn Fn() -> usize| {
        let start = std::time::Instant::now();
        let length = work();
        let first = start.elapsed();
        let mut each: Vec<_> = (0..1000)
            .map(|_| {
                let start = std::time::Instant::now();
                std::hint::black_box(work());
                start.elapsed()
            })
            .collect();
        each.sort_unstable();
        println!("{what}: {length} instructions, first {first:?}, median {:?}", each[500]);
    };
    time("fast", &|| compile_docker_for(caps, false, Arch::X86_64).insns.len());
    time("strict", &|| compile_docker_for(caps, true, Arch::X86_64).insns.len());
    time("document", &|| compile_for(&document, Arch::X86_64).unwrap().insns.len());
    time("json", &|| docker_default_for(caps, false, Arch::X86_64).syscalls.len());
    let program = compile_docker_for(caps, false, Arch::X86_64);
    if let Some(file) = std::env::var_os("BERTH_DUMP") {
        let bytes = |insn: &Insn| {
            let words = [insn.code.to_le_bytes(), [insn.jt, insn.jf]];
            [words.concat(), insn.k.to_le_bytes().to_vec()].concat()
        };
        std::fs::write(file, program.insns.iter().flat_map(bytes).collect::<Vec<u8>>()).unwrap();
    }
    for abi in [X86_64, X86] {
        let steps: Vec<usize> =
            (0..470).map(|nr| run(&program.insns, Call { nr, arch: abi.audit, args: [0; 6] }).1).collect();
        let mean = steps.iter().sum::<usize>() as f64 / steps.len() as f64;
        println!("{}: steps at most {}, mean {mean:.1}", abi.name, steps.iter().max().unwrap());
    }
}

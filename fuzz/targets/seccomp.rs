//! The compiler of system call filters: whatever the profile, the program is one that the kernel's checker accepts.
//! Source: kernel/seccomp.c, seccomp_check_filter; net/core/filter.c, bpf_check_classic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::seccomp::{Insn, compile_json};

/// BPF_MAXINSNS.
const INSNS_MAX: usize = 4096;

/// Bytes of struct seccomp_data.
const DATA_BYTES: u32 = 64;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const CONDITIONS: [u16; 4] = [0x15, 0x25, 0x35, 0x45];
const RETURN: u16 = 0x06;

fuzz_target!(|bytes: &[u8]| {
    let Ok(program) = compile_json(bytes) else { return };
    let insns = &program.insns;
    assert!(!insns.is_empty() && insns.len() <= INSNS_MAX, "{} instructions", insns.len());
    assert_eq!(insns.last().map(|insn| insn.code), Some(RETURN), "the end is a return");
    for (at, insn) in insns.iter().enumerate() {
        check(insn, insns.len() - at - 1);
    }
});

/// One instruction with `after` behind it.
fn check(insn: &Insn, after: usize) {
    match insn.code {
        LOAD_WORD => assert!(insn.k < DATA_BYTES && insn.k % 4 == 0, "load from {}", insn.k),
        AND | RETURN => {}
        JUMP => assert!((insn.k as usize) < after, "jump out of the program"),
        code if CONDITIONS.contains(&code) => {
            assert!(usize::from(insn.jt.max(insn.jf)) < after, "branch out of the program")
        }
        code => panic!("instruction {code:#x} is none of ours"),
    }
}

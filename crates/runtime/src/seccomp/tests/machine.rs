//! An interpreter of the filters, as strict as the kernel's checker.

use crate::seccomp::Insn;
use crate::seccomp::assemble::op;

/// What a filter sees: `struct seccomp_data`, without the instruction pointer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

/// Checks what `bpf_check_classic` and `seccomp_check_filter` check.
pub fn verify(insns: &[Insn]) {
    assert!((1..=4096).contains(&insns.len()), "{} instructions", insns.len());
    for (at, insn) in insns.iter().enumerate() {
        let left = insns.len() - at - 1;
        match insn.code {
            op::LD => assert!(insn.k.is_multiple_of(4) && insn.k < 64, "load at {at}"),
            op::AND | op::RET => {}
            op::JA => assert!((insn.k as usize) < left, "jump out at {at}"),
            op::JEQ | op::JGT | op::JGE => {
                assert!(usize::from(insn.jt.max(insn.jf)) < left, "branch out at {at}");
            }
            code => panic!("instruction {code:#x} at {at}"),
        }
    }
    assert_eq!(insns[insns.len() - 1].code, op::RET);
}

/// Runs a filter: its return value and the number of instructions it took.
pub fn run(insns: &[Insn], call: Call) -> (u32, usize) {
    let (mut at, mut steps, mut a) = (0, 0, 0);
    loop {
        let insn = insns[at];
        at += 1;
        steps += 1;
        let branch = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        match insn.code {
            op::LD => a = load(&call, insn.k),
            op::AND => a &= insn.k,
            op::JA => at += insn.k as usize,
            op::JEQ => at += branch(a == insn.k),
            op::JGT => at += branch(a > insn.k),
            op::JGE => at += branch(a >= insn.k),
            op::RET => return (insn.k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn load(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.nr,
        4 => call.arch,
        16..64 => {
            let arg = call.args[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
        }
        _ => panic!("load of {offset}"),
    }
}

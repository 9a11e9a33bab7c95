//! From ranges of call numbers to instructions.
//!
//! Instructions are emitted last first: every jump of classic BPF goes forward, so its target exists already when the
//! jump is written, and equal code is shared by remembering where it is. A position counts from the end; the offset of
//! a jump is the difference of two positions, less one.
//!
//! Only `ld`, `ja`, `jeq`, `jgt`, `jge`, `and` and `ret` appear: the kernel walks the filter once per call number when
//! it is loaded, to cache which calls are always allowed, and gives up on any other instruction
//! (`seccomp_is_const_allow`, kernel/seccomp.c). That walk is also why the tree must be shallow.

use super::Insn;
use super::error::Error;

/// Longest filter. Source: `BPF_MAXINSNS`, linux/bpf_common.h.
pub(super) const INSNS_MAX: usize = 4096;

/// Offsets in `struct seccomp_data`. Source: linux/seccomp.h. Both ABIs here are little-endian.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// `BPF_LD | BPF_W | BPF_ABS` and so on. Source: linux/bpf_common.h.
pub(super) mod op {
    pub const LD: u16 = 0x20;
    pub const AND: u16 = 0x54;
    pub const JA: u16 = 0x05;
    pub const JEQ: u16 = 0x15;
    pub const JGT: u16 = 0x25;
    pub const JGE: u16 = 0x35;
    pub const RET: u16 = 0x06;
}

/// Past this distance a target gets a stepping stone; below 255 by what one instruction may still put in between.
const NEAR: usize = 250;

/// Most single calls told apart by `jeq` inside one leaf of the tree.
const EXCEPTIONS_MAX: usize = 2;

/// How a test compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// `argument & mask == value`.
    Masked {
        /// Bits that count.
        mask: u64,
    },
    /// `argument > value`.
    Above,
    /// `argument >= value`.
    AtLeast,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    /// Index of the argument, 0 to 5.
    pub arg: u8,
    /// Whether the upper 32 bits count; if not, mask and value fit in 32 bits.
    pub wide: bool,
    pub compare: Compare,
    pub value: u64,
    /// Holds if the comparison doesn't.
    pub negate: bool,
}

/// Tests that must all hold, and what the filter returns then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub tests: Vec<Test>,
    pub ret: u32,
}

/// What the filter does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Returns this.
    Return(u32),
    /// Tries the rules in order, else returns `otherwise`.
    Chain { rules: Vec<Rule>, otherwise: u32 },
}

/// Numbers from `start` to the next run's start, or to the end, with one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub start: u32,
    /// Index into the outcomes.
    pub outcome: u16,
}

/// Runs that cover all numbers from 0 up, each differing from its neighbours.
#[derive(Debug, Default)]
pub(super) struct Runs(pub Vec<Run>);

impl Runs {
    /// Gives `outcome` to every number from `start` on. Starts must not decrease.
    pub fn from(&mut self, start: u32, outcome: u16) {
        if self.0.last().is_some_and(|last| last.start == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.outcome != outcome) {
            self.0.push(Run { start, outcome });
        }
    }
}

/// The calls of one `AUDIT_ARCH_*`.
#[derive(Debug)]
pub(super) struct Section {
    pub audit: u32,
    pub runs: Vec<Run>,
}

/// Assembles a filter that tries `sections` in order and returns `bad_arch` for any other architecture.
///
/// Errors: `TooLong`.
pub(super) fn assemble(
    sections: &[Section],
    outcomes: &[Outcome],
    bad_arch: u32,
) -> Result<Vec<Insn>, Error> {
    let mut code = Code { outcomes, at: vec![None; outcomes.len()], insns: Vec::with_capacity(256) };
    let mut next = code.emit_return(bad_arch);
    for section in sections.iter().rev() {
        let root = code.emit_section(&section.runs);
        next = code.emit_branch(op::JEQ, section.audit, root, next);
    }
    code.emit(op::LD, ARCH);
    if code.insns.len() > INSNS_MAX {
        return Err(Error::TooLong { max: INSNS_MAX });
    }
    code.insns.reverse();
    Ok(code.insns)
}

/// Where an instruction is, counted from the end of the program.
type Position = usize;

/// What a branch of the tree leads to: code that exists, or an outcome that is looked for, or written, at the last
/// moment, so that it is near.
#[derive(Clone, Copy)]
enum Target {
    Code(Position),
    Outcome(u16),
}

/// A leaf of the tree: one run, and single calls inside it that differ.
struct Cell {
    /// Index of the first run; the exceptions are every second run after it.
    first: usize,
    exceptions: usize,
}

struct Code<'a> {
    outcomes: &'a [Outcome],
    /// Nearest copy of each outcome.
    at: Vec<Option<Position>>,
    /// Last instruction first.
    insns: Vec<Insn>,
}

impl Code<'_> {
    /// Writes an instruction that can't jump. What it falls through to is what was written last.
    fn emit(&mut self, code: u16, k: u32) -> Position {
        self.put(Insn { code, jt: 0, jf: 0, k })
    }

    fn put(&mut self, insn: Insn) -> Position {
        // One beyond the limit is kept as the mark that it was passed; memory stays bounded.
        if self.insns.len() <= INSNS_MAX {
            self.insns.push(insn);
        }
        self.insns.len() - 1
    }

    fn emit_return(&mut self, value: u32) -> Position {
        self.emit(op::RET, value)
    }

    /// A position that a jump written next, or one instruction later, reaches.
    fn near(&mut self, target: Position) -> Position {
        let distance = self.insns.len() - target;
        if distance <= NEAR {
            return target;
        }
        self.emit(op::JA, (distance - 1) as u32)
    }

    fn emit_branch(&mut self, code: u16, k: u32, yes: Position, no: Position) -> Position {
        let yes = self.near(yes);
        let no = self.near(no);
        let here = self.insns.len();
        // `near` leaves at most NEAR + 1 between; past the limit of the program the offsets no longer matter.
        let offset = |target: Position| (here - target).saturating_sub(1).min(255) as u8;
        self.put(Insn { code, jt: offset(yes), jf: offset(no), k })
    }

    /// The position of an outcome's code, written now if no copy is near.
    fn resolve(&mut self, target: Target) -> Position {
        let outcome = match target {
            Target::Code(position) => return position,
            Target::Outcome(outcome) => usize::from(outcome),
        };
        let found = self.at[outcome];
        if let Some(position) = found
            && self.insns.len() - position < NEAR
        {
            return position;
        }
        let outcomes = self.outcomes;
        let position = match (&outcomes[outcome], found) {
            (Outcome::Return(value), _) => self.emit_return(*value),
            (Outcome::Chain { .. }, Some(far)) => self.near(far),
            (Outcome::Chain { rules, otherwise }, None) => self.emit_chain(rules, *otherwise),
        };
        self.at[outcome] = Some(position);
        position
    }

    /// The code of a return value: a copy that some outcome made, if near, or a new one.
    fn resolve_return(&mut self, value: u32) -> Position {
        match self.outcomes.iter().position(|known| *known == Outcome::Return(value)) {
            Some(outcome) => self.resolve(Target::Outcome(outcome as u16)),
            None => self.emit_return(value),
        }
    }

    fn emit_section(&mut self, runs: &[Run]) -> Position {
        let cells = cells(runs);
        match self.emit_tree(runs, &cells) {
            Target::Code(_) => self.emit(op::LD, NR),
            // One outcome for every number: no need to load it.
            leaf @ Target::Outcome(_) => self.resolve(leaf),
        }
    }

    fn emit_tree(&mut self, runs: &[Run], cells: &[Cell]) -> Target {
        let [cell] = cells else {
            let (left, right) = cells.split_at(middle(cells));
            let start = runs[right[0].first].start;
            let above = self.emit_tree(runs, right);
            let below = self.emit_tree(runs, left);
            return self.emit_choice(op::JGE, start, above, below);
        };
        let mut target = Target::Outcome(runs[cell.first].outcome);
        for exception in (0..cell.exceptions).rev() {
            let single = runs[cell.first + 2 * exception + 1];
            target = self.emit_choice(op::JEQ, single.start, Target::Outcome(single.outcome), target);
        }
        target
    }

    fn emit_choice(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let yes = self.resolve(yes);
        let no = self.resolve(no);
        Target::Code(self.emit_branch(code, k, yes, no))
    }

    fn emit_chain(&mut self, rules: &[Rule], otherwise: u32) -> Position {
        let mut next = self.resolve_return(otherwise);
        for rule in rules.iter().rev() {
            let mut matched = self.resolve_return(rule.ret);
            if let [test] = rule.tests.as_slice() {
                next = self.drop_load(test, next);
            }
            for test in rule.tests.iter().rev() {
                matched = self.emit_test(test, matched, next);
            }
            next = matched;
        }
        next
    }

    /// Takes back the load that begins the next rule, if `test`, the only one of its rule, leaves the same word loaded.
    fn drop_load(&mut self, test: &Test, next: Position) -> Position {
        let reloads = Insn { code: op::LD, jt: 0, jf: 0, k: ARGS + 8 * u32::from(test.arg) };
        let keeps = match test.compare {
            Compare::Masked { mask } => mask == u64::from(u32::MAX),
            Compare::Above | Compare::AtLeast => true,
        };
        if test.wide || !keeps || next + 1 != self.insns.len() || self.insns[next] != reloads {
            return next;
        }
        self.insns.pop();
        next - 1
    }

    fn emit_test(&mut self, test: &Test, yes: Position, no: Position) -> Position {
        let (yes, no) = if test.negate { (no, yes) } else { (yes, no) };
        let low = ARGS + 8 * u32::from(test.arg);
        let high = low + 4;
        let (value_low, value_high) = (test.value as u32, (test.value >> 32) as u32);
        match test.compare {
            Compare::Masked { mask } => {
                let after_low = self.emit_masked(low, mask as u32, value_low, yes, no);
                if !test.wide {
                    return after_low;
                }
                self.emit_masked(high, (mask >> 32) as u32, value_high, after_low, no)
            }
            Compare::Above | Compare::AtLeast => {
                let code = if test.compare == Compare::Above { op::JGT } else { op::JGE };
                let (yes_low, no_low) = (self.past_load(yes, low), self.past_load(no, low));
                self.emit_branch(code, value_low, yes_low, no_low);
                let after_low = self.emit(op::LD, low);
                if !test.wide {
                    return after_low;
                }
                let (yes_high, no_high) = (self.past_load(yes, high), self.past_load(no, high));
                let equal = self.emit_branch(op::JEQ, value_high, after_low, no_high);
                self.emit_branch(op::JGT, value_high, yes_high, equal);
                self.emit(op::LD, high)
            }
        }
    }

    /// `ld word; and mask; jeq value`.
    fn emit_masked(&mut self, word: u32, mask: u32, value: u32, yes: Position, no: Position) -> Position {
        let whole = mask == u32::MAX;
        let (yes, no) = if whole { (self.past_load(yes, word), self.past_load(no, word)) } else { (yes, no) };
        self.emit_branch(op::JEQ, value, yes, no);
        if !whole {
            self.emit(op::AND, mask);
        }
        self.emit(op::LD, word)
    }

    /// Jumping to `target` with `word` loaded already: past the instruction that would load it again.
    fn past_load(&self, target: Position, word: u32) -> Position {
        match self.insns.get(target) {
            Some(Insn { code: op::LD, k, .. }) if *k == word => target - 1,
            _ => target,
        }
    }
}

/// Groups runs into leaves: a run absorbs single calls after it as long as it goes on behind them.
fn cells(runs: &[Run]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(runs.len());
    let mut first = 0;
    while first < runs.len() {
        let mut exceptions = 0;
        while exceptions < EXCEPTIONS_MAX {
            let single = first + 2 * exceptions + 1;
            let (Some(exception), Some(again)) = (runs.get(single), runs.get(single + 1)) else { break };
            if again.start - exception.start != 1 || again.outcome != runs[first].outcome {
                break;
            }
            exceptions += 1;
        }
        cells.push(Cell { first, exceptions });
        first += 2 * exceptions + 1;
    }
    cells
}

/// Where to cut at least two cells, so that both sides need about as many tests.
fn middle(cells: &[Cell]) -> usize {
    let total: usize = cells.iter().map(|cell| 1 + cell.exceptions).sum();
    let mut before = 0;
    for (at, cell) in cells.iter().enumerate().skip(1) {
        before += 1 + cells[at - 1].exceptions;
        // Half of this cell's weight decides to which side it belongs.
        if 2 * before + 1 + cell.exceptions >= total {
            return at;
        }
    }
    cells.len() - 1
}

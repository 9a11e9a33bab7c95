//! Measurements: whole processes, timed from outside, interleaved with what they are compared with.
//!
//! Absolute times move from run to run and from machine to machine; a ratio to something measured in the same minute
//! doesn't. So every round runs each side once, in alternating order, and results are ratios of medians and minima.

mod bundle;
mod measure;
mod report;
mod start;
pub mod worker;

use crate::Result;

pub const HELP: &str = "
usage: cargo xtask bench start [--rounds N] [--only PART,PART] [--no-peers] [--berth FILE]

Measures the start, the running and the end of containers, each against
something else in the same run, and writes benches/results/start.md.
Nothing else should be running. Parts:

  run         `berth run --rm --network none @host true` against the kernel's
              floor (benches/floor.c), warm and after a second of idleness
  runtime     `berth-runtime run` against crun and runc (`cargo xtask peers`)
  exec        `berth exec`
  series      30 times `run -d` one after another, and `rm -f` of the 30
  memory      PSS and wake-ups of an idle container's holder and keeper
  crowd       200 containers from 8 shells at once
  throughput  100 MB and 1 GB through `berth run -i`

  --rounds N   rounds of each comparison (40)
  --no-peers   don't build or run other engines
  --berth FILE measure this binary instead of building one
";

pub fn main(args: &[String]) -> Result {
    match args.split_first() {
        Some((name, rest)) if name == "start" => start::main(rest),
        Some((name, _)) => Err(format!("no benchmark {name}; there is: start")),
        None => Err("name a benchmark: start".into()),
    }
}

//! Measurements: whole processes, timed from outside, interleaved with what they are compared with.
//!
//! Absolute times move from run to run and from machine to machine; a ratio to something measured in the same minute
//! doesn't. So every round runs each side once, in alternating order, and results are ratios of medians and minima.

mod build;
mod bundle;
pub mod docker;
pub mod images;
mod lifecycle;
mod measure;
mod net;
mod processes;
pub mod registry;
mod report;
mod start;
pub mod worker;

use crate::{Result, cmd, dist};
use report::Report;
use std::path::PathBuf;

pub const HELP: &str = "
usage: cargo xtask bench start|images|lifecycle|net
                         [--rounds N] [--only PART,PART] [--no-peers] [--berth FILE]

Measures, each thing against something else in the same run, and writes
benches/results/start.md, images.md, lifecycle.md or net.md. Nothing else should
be running.

  --only PART,PART   only these parts
  --rounds N         rounds of each comparison (40; for images 5)
  --no-peers         don't build or run other engines
  --berth FILE       measure this binary instead of building one

Parts of start, the start, the running and the end of containers:

  run         `berth run --rm --network none @host true` against the kernel's
              floor (benches/floor.c), warm and after a second of idleness
  runtime     `berth-runtime run` against crun and runc (`cargo xtask peers`)
  exec        `berth exec`
  series      30 times `run -d` one after another, and `rm -f` of the 30
  memory      PSS and wake-ups of an idle container's holder and keeper
  crowd       200 containers from 8 shells at once
  throughput  100 MB and 1 GB through `berth run -i`

Parts of images, pulling, keeping and using them:

  pull        a six-layer image of 605 MB into a cold store, gzip and zstd,
              against docker, podman, and what inflating and hashing alone
              take; and when everything is there
  list        `berth images` with 1,000 images
  run         `berth run IMAGE true` against @host, 20 containers of one image
  archive     save, load and push of the same image against docker
  memory      peak memory of pull and load

Parts of lifecycle, the commands on containers, against docker:

  rest        PSS of an idle keeper, of one with a health check and logs, and
              wake-ups
  quick       `exec C true`, `inspect`
  turn        start, stop and rm of a container
  tail        `logs -n 10` of a log of 1 GB
  throughput  500 MB of lines into the log, by berth's drivers and json-file
  list        `ps` with 200 running
  thousand    1,000 containers: started, with the curve of what each start
              takes, listed, stopped, removed; without docker

Parts of net, networks, each engine in a network namespace of its own, docker
with its proxy off:

  run         `run --rm -p PORT:80` against `--network none`, and docker's
  connect     connections from container to container and from the host to a
              published port, with 1 and with 10,000 ports, and docker's with 1
  throughput  iperf3, TCP and UDP, both ways, on the same two ways
  dns         a question to the container's name server, and how many a second
  create      `network create` and `network rm`
  crowd       500 containers on one bridge; without docker
";

pub fn main(args: &[String]) -> Result {
    let Some((name, rest)) = args.split_first() else {
        return Err("name a benchmark: start, images, lifecycle or net".into());
    };
    match name.as_str() {
        "start" => start::main(rest),
        "build" => build::main(rest),
        "images" => images::main(rest),
        "lifecycle" => lifecycle::main(rest),
        "net" => net::main(rest),
        _ => Err(format!("no benchmark {name}; there are: start, build, images, lifecycle, net")),
    }
}

struct Options {
    rounds: usize,
    only: Vec<String>,
    peers: bool,
    berth: Option<PathBuf>,
}

impl Options {
    /// Reads the options of the benchmark `name`, which has these parts and so many rounds if none are given.
    fn parse(
        name: &str,
        parts: impl Iterator<Item = &'static str>,
        rounds: usize,
        args: &[String],
    ) -> Result<Self> {
        let parts: Vec<&str> = parts.collect();
        let mut options = Self { rounds, only: Vec::new(), peers: true, berth: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--rounds" => {
                    let text = value()?;
                    options.rounds =
                        text.parse().map_err(|_| format!("--rounds needs a number, not {text}"))?;
                }
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--no-peers" => options.peers = false,
                "--berth" => options.berth = Some(PathBuf::from(value()?)),
                _ => return Err(format!("bench {name} has no option {arg}")),
            }
        }
        match options.only.iter().find(|only| !parts.contains(&only.as_str())) {
            Some(odd) => Err(format!("bench {name} has no part {odd}")),
            None => Ok(options),
        }
    }

    /// The binary to be measured, built if none was named.
    fn berth(&self) -> Result<PathBuf> {
        match &self.berth {
            Some(path) => {
                std::fs::canonicalize(path).map_err(|e| format!("cannot find {}: {e}", path.display()))
            }
            None => dist::build_dist(),
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

/// A part of a benchmark by name.
type Part<B> = (&'static str, fn(&B, &mut Report) -> Result);

/// Runs the parts that are wanted, each followed by `clean`. An error names those that failed.
fn run_parts<B>(
    parts: &[Part<B>],
    options: &Options,
    bench: &B,
    report: &mut Report,
    clean: impl Fn(),
) -> Result {
    let mut failures = Vec::new();
    for (name, part) in parts.iter().filter(|(name, _)| options.wants(name)) {
        cmd::heading(name);
        if let Err(message) = part(bench, report) {
            report.line(&format!("\n**Failed**: {message}"));
            failures.push(*name);
        }
        clean();
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("parts that failed: {}", failures.join(", "))) }
}

//! `bench lifecycle`: what the commands on containers cost, beside docker's.

use super::docker::Docker;
use super::measure::{Plan, Sample, Side, interleave};
use super::processes;
use super::report::{self, Report};
use super::worker;
use crate::cmd;
use crate::host::Host;
use crate::{Result, peers};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub mod engine;
mod logs;

use engine::Engine;

/// The parts, in the order in which they run.
const PARTS: &[super::Part<Bench>] = &[
    ("rest", rest),
    ("quick", quick),
    ("turn", turn),
    ("tail", logs::tail),
    ("throughput", logs::throughput),
    ("list", list),
    ("thousand", thousand),
];

/// Name of the image: busybox, on both sides.
pub const IMAGE: &str = "bench:busybox";
/// Containers in the list.
const LISTED: usize = 200;
/// Containers on one machine.
const THOUSAND: usize = 1_000;
/// How long rest is watched.
const WATCH: Duration = Duration::from_secs(10);
/// Until what was started has come to rest.
const SETTLE: Duration = Duration::from_secs(2);
/// Rounds of what takes docker a second.
const LONG_ROUNDS: usize = 12;

/// Both sides, with the image in each store.
pub struct Bench {
    host: Host,
    docker: Option<Docker>,
    /// A directory that both see.
    pub dir: PathBuf,
    rounds: usize,
    names: Cell<u32>,
}

pub fn main(args: &[String]) -> Result {
    let options = super::Options::parse("lifecycle", PARTS.iter().map(|(name, _)| *name), 40, args)?;
    crate::setup::all()?;
    let berth = options.berth()?;
    let peers_root = if options.peers { Some(peers::ensure()?) } else { None };
    let dir = cmd::target_dir().join("bench/lifecycle");
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let docker = peers_root.as_deref().map(Docker::start).transpose()?;
    let host = Host::in_memory(berth, "bench")?;
    let bench = Bench { host, docker, dir, rounds: options.rounds, names: Cell::new(0) };
    let archive = engine::archive(&bench.dir)?.to_string_lossy().into_owned();
    for engine in bench.engines() {
        engine.time(&["import", &archive, IMAGE])?;
    }
    let mut versions = Vec::new();
    for engine in bench.engines() {
        versions.push((engine.name(), engine.text(&["--version"])?));
    }
    let mut report = Report::new("lifecycle", "The life of containers", &versions);
    report.line(&format!("\n{}", load()));
    let failures = super::run_parts(PARTS, &options, &bench, &mut report, || bench.host.remove_all());
    report.line(&format!("\nAt the end: {}", load()));
    report.save()?;
    failures
}

/// How busy the machine is with other things.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("Load average {}.", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

impl Bench {
    /// Berth, then docker if it takes part.
    fn engines(&self) -> Vec<Engine<'_>> {
        let docker = self.docker.as_ref().map(Engine::Docker);
        [Engine::Berth(&self.host)].into_iter().chain(docker).collect()
    }

    /// A name that no container has had.
    pub fn fresh(&self, word: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{word}{}", self.names.get())
    }

    fn plan(&self) -> Plan {
        Plan { warmup: 3, rounds: self.rounds, idle: Duration::ZERO }
    }

    /// One command of each engine's in turns; `args` makes its words of the engine. The base of the ratios is docker.
    fn compare(
        &self,
        report: &mut Report,
        plan: Plan,
        args: impl Fn(&Engine<'_>) -> Vec<String>,
    ) -> Result<Vec<Sample>> {
        let mut sides: Vec<Side<'_>> = Vec::new();
        for engine in self.engines() {
            let words = args(&engine);
            sides.push(Side::new(format!("{} {}", engine.name(), words.join(" ")), move || {
                engine.time(&words.iter().map(String::as_str).collect::<Vec<_>>())
            }));
        }
        let samples = interleave(&mut sides, plan)?;
        report.compare(&samples, samples.len() - 1, None);
        report.line("");
        Ok(samples)
    }
}

/// Flags of a container that sleeps until it's killed.
fn sleeper(name: &str) -> [&str; 8] {
    ["run", "-d", "--network", "none", "--name", name, IMAGE, "sleep-for-ever"]
}

/// Memory and wake-ups of what stands behind a container.
fn rest(bench: &Bench, report: &mut Report) -> Result {
    report.section("Memory and wake-ups at rest");
    report.line(&format!("{} `berth` alone runs one container; megabytes of a million bytes.\n", load()));
    let engine = Engine::Berth(&bench.host);
    let name = bench.fresh("rest");
    engine.time(&sleeper(&name))?;
    std::thread::sleep(SETTLE);
    let pair = processes::of_container(&bench.host)?;
    report.figure("keeper, idle, PSS", processes::pss_mb(&pair[..1])?, 2.0, "MB");
    report.figure("keeper and holder, idle, PSS", processes::pss_mb(&pair)?, 2.0, "MB");
    let before = processes::switches(&pair)?;
    std::thread::sleep(WATCH);
    let switches = processes::switches(&pair)? - before;
    report.figure(
        &format!("context switches of both, wanted and unwanted, in {} s", WATCH.as_secs()),
        switches as f64,
        0.0,
        "",
    );
    bench.host.remove_all();
    let check =
        ["--health-cmd", "true", "--health-interval", "1s", "--network", "none", "--name", &name, IMAGE];
    let writes = ["sh", "-c", "while :; do echo a line of some length, as programs write them; done"];
    let args: Vec<&str> = ["run", "-d"].into_iter().chain(check).chain(writes).collect();
    engine.time(&args)?;
    std::thread::sleep(WATCH);
    let pair = processes::of_container(&bench.host)?;
    report.figure(
        "keeper, health check each second, logging without pause, PSS",
        processes::pss_mb(&pair[..1])?,
        3.0,
        "MB",
    );
    report.figure("the same with its holder", processes::pss_mb(&pair)?, 3.0, "MB");
    Ok(())
}

/// Commands on one container.
fn quick(bench: &Bench, report: &mut Report) -> Result {
    report.section("Commands on one container");
    report.line(&format!("{}\n", load()));
    let name = bench.fresh("quick");
    for engine in bench.engines() {
        engine.time(&sleeper(&name))?;
    }
    for command in [&["exec", &name, "true"][..], &["inspect", &name]] {
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let samples = bench.compare(report, bench.plan(), |_| words.clone())?;
        report.figure("median", samples[0].median(), 4.0, "ms");
        report.line("");
    }
    bench.engines().iter().for_each(Engine::clear);
    Ok(())
}

/// Start, stop and removal of a container that was made before.
fn turn(bench: &Bench, report: &mut Report) -> Result {
    report.section("Start, stop and removal of a container, one after the other");
    report
        .line(&format!("{} The container's stop signal is SIGKILL, so that nobody waits for it.\n", load()));
    let mut sides = Vec::new();
    for engine in bench.engines() {
        sides.push(Side::new(format!("{}: start, stop, rm", engine.name()), move || {
            let name = bench.fresh("turn");
            let create = [
                "create",
                "--stop-signal",
                "KILL",
                "--network",
                "none",
                "--name",
                &name,
                IMAGE,
                "sleep-for-ever",
            ];
            engine.time(&create)?;
            let (start, stop) = (engine.time(&["start", &name])?, engine.time(&["stop", &name])?);
            Ok(start + stop + engine.time(&["rm", &name])?)
        }));
    }
    let plan = Plan { rounds: bench.rounds.min(LONG_ROUNDS), ..bench.plan() };
    let samples = interleave(&mut sides, plan)?;
    report.compare(&samples, samples.len() - 1, bench.docker.is_some().then_some(0.1));
    Ok(())
}

/// A long list.
fn list(bench: &Bench, report: &mut Report) -> Result {
    report.section(&format!("`ps` with {LISTED} running"));
    report.line(&format!("{}\n", load()));
    for engine in bench.engines() {
        let begin = Instant::now();
        for number in 0..LISTED {
            engine.time(&sleeper(&format!("list{number}")))?;
        }
        let took = begin.elapsed().as_secs_f64();
        report.line(&format!("{LISTED} × `{} run -d`: {took:.2} s. {}\n", engine.name(), load()));
        let listed = engine.text(&["ps", "-q"])?.lines().count();
        if listed != LISTED {
            return Err(format!("{} lists {listed}, not {LISTED}", engine.name()));
        }
    }
    let samples = bench.compare(report, bench.plan(), |_| vec!["ps".to_owned()])?;
    report.figure("median", samples[0].median(), 15.0, "ms");
    report.line("");
    for engine in bench.engines() {
        let begin = Instant::now();
        engine.clear();
        report.line(&format!("`{} rm -f` of all: {:.2} s.", engine.name(), begin.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// A thousand containers.
fn thousand(bench: &Bench, report: &mut Report) -> Result {
    report.section(&format!("{THOUSAND} containers of an image on this machine"));
    report.line(&format!("{}\n", load()));
    let engine = Engine::Berth(&bench.host);
    let mut starts = Vec::new();
    for number in 0..THOUSAND {
        starts.push(engine.time(&sleeper(&format!("many{number}")))?.as_secs_f64() * 1e3);
    }
    report.line("| started | min ms | median ms | p95 ms |\n|---|--:|--:|--:|");
    let deciles: Vec<Sample> = starts
        .chunks(THOUSAND / 10)
        .enumerate()
        .map(|(at, chunk)| {
            let first = at * (THOUSAND / 10);
            Sample::new(format!("{} to {}", first + 1, first + chunk.len()), chunk.to_vec())
        })
        .collect();
    for decile in &deciles {
        let (min, median, p95) = (decile.min(), decile.median(), decile.p95());
        report.line(&format!("| {} | {min:.2} | {median:.2} | {p95:.2} |", decile.name));
    }
    let growth = |of: fn(&Sample) -> f64| of(&deciles[9]) / of(&deciles[0]);
    report.line("");
    report.figure("the last hundred's median start to the first's", growth(Sample::median), 1.25, "x");
    report.figure("the same of minima", growth(Sample::min), 1.25, "x");
    let listed = engine.text(&["ps", "-q"])?.lines().count();
    if listed != THOUSAND {
        return Err(format!("{listed} are listed, not {THOUSAND}"));
    }
    let all = processes::named(&bench.host);
    let each = processes::pss_mb(&all)? / THOUSAND as f64;
    report.figure("keeper and holder of each, PSS", each, 2.0, "MB");
    let list = Side::new("ps", || engine.time(&["ps"]));
    let samples = interleave(&mut [list], Plan { warmup: 1, rounds: 5, idle: Duration::ZERO })?;
    report.line(&format!("- `ps` of all: {:.1} ms", samples[0].median()));
    let ids = engine.text(&["ps", "-q"])?;
    for words in [&["stop", "-t", "0"][..], &["rm"]] {
        let args: Vec<&str> = words.iter().copied().chain(ids.split_whitespace()).collect();
        let took = engine.time(&args)?.as_secs_f64();
        report.line(&format!("- `{}` of all, as one command: {took:.2} s", words.join(" ")));
    }
    let left = engine.text(&["ps", "-aq"])?;
    report.line(&format!("\n{}", report::verdict(left.is_empty())));
    if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.lines().count())) }
}

//! `bench start`: what a container's start, run and end cost.

use super::bundle::{self, Fixtures};
use super::measure::{Plan, Sample, Side, interleave};
use super::processes::{pss_mb, wakeups};
use super::report::{self, Report};
use super::worker::{self, Worker};
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, peers};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The parts, in the order in which they run: those that leave the machine busiest come last.
const PARTS: &[super::Part<Bench>] = &[
    ("run", run),
    ("runtime", runtime),
    ("exec", exec),
    ("series", series),
    ("memory", memory),
    ("crowd", crowd),
    ("throughput", throughput),
];

/// Rounds with a second of idleness before each single run: fewer, since they take seconds.
const COLD_ROUNDS: usize = 15;

const IDLE: Duration = Duration::from_secs(1);

pub fn main(args: &[String]) -> Result {
    let options = super::Options::parse("start", PARTS.iter().map(|(name, _)| *name), 40, args)?;
    crate::setup::all()?;
    let berth = options.berth()?;
    let peers_root = if options.peers && options.wants("runtime") { Some(peers::ensure()?) } else { None };
    let bench = Bench {
        host: Host::in_memory(berth, "bench")?,
        fixtures: bundle::prepare()?,
        rounds: options.rounds,
        peers_root,
    };
    let mut report = Report::new("start", "Start of containers", &bench.versions());
    let failures = super::run_parts(PARTS, &options, &bench, &mut report, || bench.host.remove_all());
    report.save()?;
    failures
}

struct Bench {
    host: Host,
    fixtures: Fixtures,
    rounds: usize,
    peers_root: Option<PathBuf>,
}

impl Bench {
    fn versions(&self) -> Vec<(&'static str, String)> {
        let berth = Cmd::new(&self.host.berth).arg("--version").capture().unwrap_or_else(|e| e);
        let mut versions = vec![("berth", berth)];
        if let Some(root) = &self.peers_root {
            for (name, program) in [("crun", "/usr/bin/crun"), ("runc", "/usr/sbin/runc")] {
                let line = peers::enter(root, &cmd::root())
                    .args([program, "--version"])
                    .capture()
                    .unwrap_or_else(|e| e);
                versions.push((name, line.lines().next().unwrap_or_default().to_owned()));
            }
        }
        versions
    }

    fn plan(&self) -> Plan {
        Plan { warmup: 3, rounds: self.rounds, idle: Duration::ZERO }
    }

    fn floor(&self) -> Side<'_> {
        let argv =
            strings(&[&self.fixtures.floor.to_string_lossy(), &self.fixtures.rootfs.to_string_lossy(), "1"]);
        Side::new("the kernel's floor (floor.c, 1 round)", move || worker::time(&argv))
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Host {
    /// Runs a command to its end and says how long it took.
    fn time(&self, args: &[&str]) -> Result<Duration> {
        worker::time_command(&mut self.command(args))
    }

    fn side(&self, name: &str, args: &'static [&'static str]) -> Side<'_> {
        Side::new(name, move || self.time(args))
    }

    /// Starts containers that sleep, and says how long each start took.
    fn start_sleepers(&self, prefix: &str, count: usize) -> Result<Vec<Duration>> {
        (0..count)
            .map(|index| {
                let name = format!("{prefix}{index}");
                self.time(&["run", "-d", "--network", "none", "--name", &name, "@host", "sleep", "infinity"])
            })
            .collect()
    }

    fn remove(&self, prefix: &str, count: usize) -> Result<Duration> {
        let names: Vec<String> = (0..count).map(|index| format!("{prefix}{index}")).collect();
        let args: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
        self.time(&args)
    }
}

const RUN_TRUE: &[&str] = &["run", "--rm", "--network", "none", "@host", "true"];

fn run(bench: &Bench, report: &mut Report) -> Result {
    let rootfs = bench.fixtures.rootfs.to_string_lossy().into_owned();
    let static_true =
        move || bench.host.time(&["run", "--rm", "--network", "none", "--rootfs", &rootfs, "/true"]);
    let mut sides = vec![
        bench.host.side("berth run --rm --network none @host true", RUN_TRUE),
        bench.floor(),
        Side::new("berth run --rm --network none --rootfs (static true)", static_true),
        Side::new("/bin/true, as a process", || worker::time(&strings(&["/bin/true"]))),
    ];
    report.section("`berth run` against the kernel's floor, warm");
    report.compare(&interleave(&mut sides, bench.plan())?, 1, Some(1.25));
    report.section("The same, cold: a second of idleness before each");
    let cold = Plan { warmup: 1, rounds: COLD_ROUNDS.min(bench.rounds), idle: IDLE };
    report.compare(&interleave(&mut sides[..2], cold)?, 1, Some(1.25));
    Ok(())
}

fn runtime(bench: &Bench, report: &mut Report) -> Result {
    report.section("`berth-runtime run` against crun and runc");
    report.line("Each is started by a worker in its own surroundings: crun and runc in the peers' root with plain cgroup v1,\nberth-runtime on the host. One bundle, a static program.\n");
    let bundle = bench.fixtures.bundle.to_string_lossy().into_owned();
    let runtime = bench.host.berth.with_file_name("berth-runtime").to_string_lossy().into_owned();
    let work = cmd::root();
    let mut counter = 0u32;
    // A worker for ours as well: both sides are a child of a small process.
    let mut ours = Worker::start(
        Cmd::new("env")
            .arg(format!("BERTH_ROOT={}", bench.host.root.display()))
            .arg(format!("BERTH_RUN={}", bench.host.run.display()))
            .arg(format!("BERTH_CGROUP={}", bench.host.cgroup)),
    )?;
    let mut sides = vec![Side::new("berth-runtime run", || {
        counter += 1;
        ours.time(&strings(&[&runtime, "run", "--bundle", &bundle, &format!("bench-ours-{counter}")]))
    })];
    let base = if let Some(root) = &bench.peers_root {
        for program in ["/usr/bin/crun", "/usr/sbin/runc"] {
            let mut worker = Worker::start(peers::enter(root, &work))?;
            let (bundle, mut counter) = (bundle.clone(), 0u32);
            sides.push(Side::new(
                program.rsplit('/').next().unwrap_or(program).to_owned() + " run",
                move || {
                    counter += 1;
                    worker.time(&strings(&[
                        program,
                        "run",
                        "--bundle",
                        &bundle,
                        &format!("bench-peer-{counter}"),
                    ]))
                },
            ));
        }
        1
    } else {
        0
    };
    sides.push(bench.floor());
    let samples = interleave(&mut sides, bench.plan())?;
    report.compare(&samples, base, bench.peers_root.is_some().then_some(0.7));
    Ok(())
}

fn exec(bench: &Bench, report: &mut Report) -> Result {
    report.section("`berth exec`");
    bench.host.start_sleepers("exec", 1)?;
    let mut sides = [
        bench.host.side("berth exec C true", &["exec", "exec0", "true"]),
        Side::new("/bin/true, as a process", || worker::time(&strings(&["/bin/true"]))),
    ];
    let samples = interleave(&mut sides, bench.plan())?;
    report.compare(&samples, 1, None);
    report.line("");
    report.figure("median", samples[0].median(), 4.0, "ms");
    Ok(())
}

fn series(bench: &Bench, report: &mut Report) -> Result {
    const COUNT: usize = 30;
    const REPEATS: usize = 5;
    report.section("30 × `run -d` one after another, then `rm -f` of the 30");
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let begin = Instant::now();
        bench.host.start_sleepers("series", COUNT)?;
        starts.push(begin.elapsed().as_secs_f64() * 1e3);
        ends.push(bench.host.remove("series", COUNT)?.as_secs_f64() * 1e3);
    }
    let samples = [Sample::new("30 × run -d".into(), starts), Sample::new("rm -f of the 30".into(), ends)];
    report.compare(&samples, 0, None);
    report.line("");
    report.figure("30 × run -d, median", samples[0].median(), 400.0, "ms");
    report.figure("rm -f of the 30, median", samples[1].median(), 200.0, "ms");
    Ok(())
}

fn memory(bench: &Bench, report: &mut Report) -> Result {
    const COUNT: usize = 10;
    const WATCH: Duration = Duration::from_secs(5);
    report.section("Memory and wake-ups at rest");
    let before = bench.host.processes();
    let ours = || -> Vec<u32> { bench.host.processes().difference(&before).copied().collect() };
    bench.host.start_sleepers("alone", 1)?;
    // Time to settle: the measure is of rest.
    std::thread::sleep(IDLE);
    let alone = ours();
    report.figure(
        &format!("PSS of the only container's {} processes", alone.len()),
        pss_mb(&alone)?,
        2.0,
        "MB",
    );
    bench.host.start_sleepers("rest", COUNT - 1)?;
    std::thread::sleep(IDLE);
    let all = ours();
    report.figure(&format!("PSS per container, {COUNT} running"), pss_mb(&all)? / COUNT as f64, 2.0, "MB");
    let awake = wakeups(&all)?;
    std::thread::sleep(WATCH);
    let woken = wakeups(&all)?.saturating_sub(awake);
    report.figure(
        &format!("wake-ups of all {} processes in {} s", all.len(), WATCH.as_secs()),
        woken as f64,
        0.0,
        "",
    );
    bench.host.remove("rest", COUNT - 1)?;
    bench.host.remove("alone", 1)?;
    Ok(())
}

fn crowd(bench: &Bench, report: &mut Report) -> Result {
    const SHELLS: usize = 8;
    const EACH: usize = 25;
    report.section("200 containers at once, from 8 shells");
    let begin = Instant::now();
    let shells: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..SHELLS)
            .map(|shell| scope.spawn(move || bench.host.start_sleepers(&format!("crowd{shell}-"), EACH)))
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err("a shell panicked".into())))
            .collect()
    });
    let took = begin.elapsed();
    let mut starts = Vec::new();
    for shell in shells {
        starts.push(shell?.into_iter().map(|took| took.as_secs_f64() * 1e3).collect::<Vec<_>>());
    }
    let slice =
        |from: usize, to: usize| starts.iter().flat_map(|shell| shell[from..to].to_vec()).collect::<Vec<_>>();
    let samples = [
        Sample::new("the last 40 starts".into(), slice(EACH - 5, EACH)),
        Sample::new("the first 40 starts".into(), slice(0, 5)),
    ];
    report.compare(&samples, 1, Some(1.25));
    report.line(&format!("\nAll {} started in {:.2} s.", SHELLS * EACH, took.as_secs_f64()));
    let begin = Instant::now();
    bench.host.remove_all();
    report.line(&format!("`rm -f` of all: {:.2} s.", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn throughput(bench: &Bench, report: &mut Report) -> Result {
    const GOAL_MB_PER_S: f64 = 1000.0;
    report.section("Bytes through `berth run -i --rm --network none @host cat`");
    report.line("From a pipe to a pipe, start and end included; every byte compared.\n");
    report.line("| bytes | s | MB/s |\n|--:|--:|--:|");
    let mut best: f64 = 0.0;
    for megabytes in [100, 1000] {
        let took = pass_through(&bench.host, megabytes * 1_000_000)?.as_secs_f64();
        best = best.max(megabytes as f64 / took);
        report.line(&format!("| {megabytes} MB | {took:.3} | {:.0} |", megabytes as f64 / took));
    }
    report.line(&format!("\nGoal: above {GOAL_MB_PER_S} MB/s. {}", report::verdict(best > GOAL_MB_PER_S)));
    Ok(())
}

/// Sends `bytes` of a changing pattern through a container and compares what comes back.
fn pass_through(host: &Host, bytes: usize) -> Result<Duration> {
    const CHUNK: usize = 1 << 20;
    // No two chunks begin alike and no period divides a pipe's or a chunk's size.
    let pattern: Vec<u8> = (0..CHUNK + 251).map(|index| (index % 251) as u8).collect();
    let chunk_at = |sent: usize, length: usize| &pattern[sent % 251..sent % 251 + length];
    let mut command = host.command(&["run", "-i", "--rm", "--network", "none", "@host", "cat"]);
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let (mut input, mut output) =
        (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
    let received = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut sent = 0;
            while sent < bytes {
                let length = CHUNK.min(bytes - sent);
                // The container's end shows on the other side, as bytes that are missing.
                if input.write_all(chunk_at(sent, length)).is_err() {
                    break;
                }
                sent += length;
            }
        });
        let mut buffer = vec![0; CHUNK];
        let mut received = 0;
        loop {
            let length = output.read(&mut buffer).map_err(|e| format!("cannot read the output: {e}"))?;
            if length == 0 {
                return Ok(received);
            }
            if buffer[..length] != *chunk_at(received, length) {
                return Err(format!("bytes from {received} on came back altered"));
            }
            received += length;
        }
    });
    let status = child.wait().map_err(|e| format!("cannot wait: {e}"))?;
    let took = begin.elapsed();
    match received? {
        received if received == bytes && status.success() => Ok(took),
        received => Err(format!("{received} of {bytes} bytes came back; {status}")),
    }
}

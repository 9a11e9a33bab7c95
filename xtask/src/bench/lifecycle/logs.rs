//! Logs: how fast they are written, and how soon the end of a long one is read.

use super::engine::Engine;
use super::{Bench, IMAGE, load};
use crate::Result;
use crate::bench::measure::{Plan, Sample, Side, interleave};
use crate::bench::report::{Report, verdict};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of the file of lines.
const FILE_MB: usize = 100;
/// How often it's written for the long log.
const TIMES_OF_LONG: usize = 10;
/// How often for the throughput.
const TIMES: usize = 5;
/// Rounds of the throughput, each of which takes docker some seconds.
const ROUNDS: usize = 5;

/// A driver, as options of `run`.
type Driver = (&'static str, &'static [&'static str]);

const JSON: Driver = ("json-file", &["--log-driver", "json-file"]);
const LOCAL: Driver = ("local, its default", &[]);
const LONG_LOCAL: Driver = ("local", &["--log-opt", "max-size=2g"]);

/// The file of lines of 100 bytes, which containers write.
fn lines(bench: &Bench) -> Result<PathBuf> {
    let path = bench.dir.join("lines");
    let file = std::fs::File::create(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for number in 0..FILE_MB * 10_000 {
        let line =
            format!("{number:09} GET /some/path/of/a/server HTTP/1.1 200 took 12.5 ms, as programs write it");
        writeln!(file, "{line:<99}").map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    file.flush().map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(path)
}

/// Has a container write the file so many times, and waits for its end.
fn write(bench: &Bench, engine: &Engine<'_>, name: &str, driver: Driver, times: usize) -> Result<Duration> {
    let volume = format!("{}:/lines:ro", bench.dir.join("lines").display());
    let script = format!("exec cat{}", " /lines".repeat(times));
    let begin = ["run", "-d", "--network", "none", "--name", name, "-v", &volume];
    let args: Vec<&str> =
        begin.into_iter().chain(driver.1.iter().copied()).chain([IMAGE, "sh", "-c", &script]).collect();
    let start = Instant::now();
    engine.time(&args)?;
    engine.time(&["wait", name])?;
    Ok(start.elapsed())
}

/// The end of a long log.
pub fn tail(bench: &Bench, report: &mut Report) -> Result {
    report.section(&format!("`logs -n 10` of a log of {} MB", FILE_MB * TIMES_OF_LONG));
    report.line(&format!("{}\n", load()));
    lines(bench)?;
    let mut sides = Vec::new();
    for engine in bench.engines() {
        let drivers: &[Driver] = if let Engine::Berth(_) = engine { &[LONG_LOCAL, JSON] } else { &[JSON] };
        for driver in drivers {
            let name = bench.fresh("tail");
            write(bench, &engine, &name, *driver, TIMES_OF_LONG)?;
            let last = engine.text(&["logs", "-n", "10", &name])?;
            if last.lines().count() != 10 {
                return Err(format!(
                    "{} {}: {} lines, not 10",
                    engine.name(),
                    driver.0,
                    last.lines().count()
                ));
            }
            let side = format!("{} logs -n 10 ({})", engine.name(), driver.0);
            sides.push(Side::new(side, move || engine.time(&["logs", "-n", "10", &name])));
        }
    }
    let samples = interleave(&mut sides, bench.plan())?;
    drop(sides);
    report.compare(&samples, samples.len() - 1, None);
    report.line("");
    report.figure("median, local", samples[0].median(), 10.0, "ms");
    report.figure("median, json-file", samples[1].median(), 10.0, "ms");
    bench.engines().iter().for_each(Engine::clear);
    Ok(())
}

/// Container to file.
pub fn throughput(bench: &Bench, report: &mut Report) -> Result {
    let megabytes = FILE_MB * TIMES;
    report.section(&format!("{megabytes} MB of lines of 100 bytes from a container into its log"));
    report.line(&format!("{} From `run -d` to the end of `wait`.\n", load()));
    lines(bench)?;
    let mut sides = Vec::new();
    for engine in bench.engines() {
        let drivers: &[Driver] = if let Engine::Berth(_) = engine { &[LOCAL, JSON] } else { &[JSON] };
        for driver in drivers {
            let side = format!("{} ({})", engine.name(), driver.0);
            sides.push(Side::new(side, move || {
                let name = bench.fresh("much");
                let took = write(bench, &engine, &name, *driver, TIMES)?;
                engine.time(&["rm", &name])?;
                // Not what the next one waits for.
                let _ = std::process::Command::new("sync").status();
                Ok(took)
            }));
        }
    }
    let plan = Plan { warmup: 1, rounds: ROUNDS.min(bench.rounds), idle: Duration::ZERO };
    let samples = interleave(&mut sides, plan)?;
    drop(sides);
    report.compare(&samples, samples.len() - 1, None);
    report.line("");
    for sample in &samples {
        report.line(&format!("- {}: {:.0} MB/s", sample.name, megabytes as f64 / sample.median() * 1e3));
    }
    if bench.docker.is_some() {
        let times = |sample: &Sample| samples[2].median() / sample.median();
        for sample in &samples[..2] {
            let times = times(sample);
            report.line(&format!(
                "- {}: **{times:.2}x** docker's json-file (goal: at least 3x. {})",
                sample.name,
                verdict(times >= 3.0)
            ));
        }
    }
    Ok(())
}

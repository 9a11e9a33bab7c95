//! The README's second command: everything that tests need, then all of them.

use crate::build::{self, Profile};
use crate::cmd::{self, Cmd, MUSL};
use crate::{Result, leaks, lint, setup};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub const HELP: &str = "
usage: cargo xtask test [--no-setup] [--no-lint] [FILTER...]

Installs what is missing (`setup`), lints, builds `berth` and the tests once,
for musl, and runs all tests; then looks for what they left behind. FILTERs
pick tests whose name contains one of them. Needs root.

A test that this machine's kernel can't do skips: each skip is counted and
printed with its reason. The last line is `N passed, N failed, N skipped`.

The tests run by cargo-nextest where it is installed, which gives each of them
a process of its own, otherwise by `cargo test`; those named `alone_…` have the
machine for themselves in both.

Tests find the binary by the environment variable BERTH_BIN, and report skips
as lines `SKIP: test: reason` in the file that BERTH_SKIPS names.
";

/// How long teardown that goes on behind the last test may take before what is left counts as left behind.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn main(args: &[String]) -> Result {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--no-")).collect();
    if let Some(odd) = filters.iter().find(|arg| arg.starts_with('-')) {
        return Err(format!("test has no option {odd}"));
    }
    if !is_root() {
        return Err(
            "the tests make containers, and berth needs root for that so far\nhint: sudo -E cargo xtask test"
                .into(),
        );
    }
    let begin = Instant::now();
    if !has("--no-setup") {
        setup::all()?;
    }
    if !has("--no-lint") {
        lint::all()?;
    }
    cmd::heading("building berth for the tests");
    let berth = build::berth(Profile::Dev)?;
    cmd::heading(&format!("building the tests (after {} s)", begin.elapsed().as_secs()));
    let nextest = cmd::installed("cargo-nextest");
    let building =
        if nextest { runner(&["nextest", "run", "--no-run"]) } else { runner(&["test", "--no-run"]) };
    building.args(["--workspace", "--target", MUSL]).quiet().run()?;
    let before = leaks::Snapshot::take();
    cmd::heading(&format!("running the tests (after {} s)", begin.elapsed().as_secs()));
    let commands =
        if nextest { vec![nextest_run(&berth).args(filters)] } else { cargo_test_runs(&berth, &filters) };
    let result = Run::start(commands)?.report(&before);
    eprintln!("==> {} s in all", begin.elapsed().as_secs());
    result
}

fn is_root() -> bool {
    Cmd::new("id").arg("-u").capture().is_ok_and(|id| id == "0")
}

fn runner(args: &[&str]) -> Cmd {
    cmd::cargo().args(args)
}

/// `cargo nextest run`, which gives every test a process of its own.
fn nextest_run(berth: &Path) -> Cmd {
    with_env(runner(&["nextest", "run", "--workspace", "--target", MUSL, "--no-tests", "warn"]), berth)
}

/// `cargo test`, for machines without nextest.
fn cargo_test(berth: &Path) -> Cmd {
    with_env(
        runner(&["test", "--workspace", "--target", MUSL, "--no-fail-fast", "--lib", "--bins", "--tests"]),
        berth,
    )
}

/// All tests by `cargo test`: those that may run beside each other, then those that may not. Its harness can't ask for
/// a name with two parts, so what FILTERs pick runs one after another.
fn cargo_test_runs(berth: &Path, filters: &[&String]) -> Vec<Cmd> {
    let run = || cargo_test(berth).arg("--");
    if filters.is_empty() {
        return vec![run().args(["--skip", "alone_"]), run().args(["--test-threads=1", "alone_"])];
    }
    vec![run().arg("--test-threads=1").args(filters)]
}

fn with_env(command: Cmd, berth: &Path) -> Cmd {
    command.env("BERTH_BIN", berth).env("BERTH_SKIPS", skips_file()).env("NEXTEST_HIDE_PROGRESS_BAR", "1")
}

fn skips_file() -> std::path::PathBuf {
    cmd::target_dir().join("skips.txt")
}

/// Finished runs of the test runner.
struct Run {
    counts: Counts,
    /// Command lines of those that failed.
    failed: Vec<String>,
}

impl Run {
    /// Runs the runners to their ends, one after another, passing their output on and counting as it goes.
    fn start(commands: Vec<Cmd>) -> Result<Self> {
        // The file must exist before the first test appends, and hold nothing of the last run.
        let skips = skips_file();
        std::fs::write(&skips, "").map_err(|e| format!("cannot write {}: {e}", skips.display()))?;
        let mut run = Self { counts: Counts::default(), failed: Vec::new() };
        for command in commands {
            run.add(&command)?;
        }
        Ok(run)
    }

    fn add(&mut self, command: &Cmd) -> Result {
        let line = command.line();
        let fault = |e: std::io::Error| format!("cannot run {line}: {e}");
        let mut child = command
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fault)?;
        // nextest speaks on standard error, cargo test on standard output.
        let stderr = child.stderr.take();
        let from_stderr = std::thread::spawn(move || pass_on(stderr, |line| eprintln!("{line}")));
        let counts = pass_on(child.stdout.take(), |line| println!("{line}"));
        let other = from_stderr.join().map_err(|_| "the reader of the tests' output panicked".to_owned())?;
        let status = child.wait().map_err(fault)?;
        self.counts.passed += counts.passed + other.passed;
        self.counts.failed += counts.failed + other.failed;
        if !status.success() {
            self.failed.push(line);
        }
        Ok(())
    }

    /// Prints skips, leaks since `before` and the closing line; fails if any test did, or anything leaked.
    fn report(self, before: &leaks::Snapshot) -> Result {
        let text = std::fs::read_to_string(skips_file()).unwrap_or_default();
        let skips: Vec<&str> = text.lines().filter(|line| line.starts_with("SKIP:")).collect();
        if !skips.is_empty() {
            println!("\nSkipped, because this machine can't ({}):", skips.len());
            skips.iter().for_each(|line| println!("  {line}"));
        }
        let leaked = leaked_since(before);
        if !leaked.is_empty() {
            println!("\nLeft behind by the tests ({}):", leaked.len());
            leaked.iter().for_each(|line| println!("  {line}"));
        }
        // A test that skips has passed in the runner's eyes.
        let passed = self.counts.passed.saturating_sub(skips.len());
        println!("\n{passed} passed, {} failed, {} skipped", self.counts.failed, skips.len());
        if !self.failed.is_empty() {
            return Err(format!("{} failed", self.failed.join(", and ")));
        }
        if !leaked.is_empty() {
            return Err(format!("the tests left {} things behind, listed above", leaked.len()));
        }
        Ok(())
    }
}

/// Passes a stream on line by line, and counts.
fn pass_on(stream: Option<impl std::io::Read>, show: impl Fn(&str)) -> Counts {
    let mut counts = Counts::default();
    let lines =
        stream.into_iter().flat_map(|pipe| BufReader::new(pipe).split(b'\n')).map_while(|line| line.ok());
    for line in lines {
        // Output of tests may be anything.
        let line = String::from_utf8_lossy(&line);
        show(&line);
        counts.read_line(&line);
    }
    counts
}

fn leaked_since(before: &leaks::Snapshot) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leaked = before.leaked(&leaks::Snapshot::take());
        if leaked.is_empty() || Instant::now() > deadline {
            return leaked;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    /// Adds what a closing line of nextest (`Summary […] 3 tests run: 2 passed, 1 failed, 0 skipped`) or cargo test
    /// (`test result: ok. 3 passed; 0 failed; …`) says; other lines are none of its business.
    fn read_line(&mut self, line: &str) {
        let line = line.trim_start();
        let counts = if line.starts_with("Summary [") {
            line.split("run: ").nth(1)
        } else {
            line.strip_prefix("test result: ").and_then(|rest| rest.split(". ").nth(1))
        };
        for count in counts.unwrap_or_default().split([',', ';']) {
            let mut words = count.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" | "timed" | "exec" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: usize, failed: usize) {
        let mut counts = Counts::default();
        counts.read_line(line);
        assert_eq!(counts, Counts { passed, failed }, "{line}");
    }

    #[test]
    fn closing_lines_of_both_runners_are_counted() {
        check(
            "     Summary [   1.234s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
            10,
            2,
        );
        check("     Summary [   0.004s] 5/9 tests run: 5 passed, 4 skipped", 5, 0);
        check(
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            3,
            1,
        );
        check("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 7, 0);
        check("10 passed, 5 failed, said a test", 0, 0);
    }
}

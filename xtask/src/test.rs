//! The README's second command: everything that tests need, then all of them.

use crate::build::{self, Profile};
use crate::cmd::{self, Cmd, MUSL};
use crate::{Result, leaks, lint, programs, setup};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub const HELP: &str = "
usage: cargo xtask test [--no-setup] [--no-lint] [FILTER...]

Installs what is missing (`setup`), lints, builds `berth` and the tests once,
for musl, and runs all tests; then looks for what they left behind. FILTERs
pick tests whose name contains one of them. Needs root.

A test that this machine's kernel can't do skips: each skip is counted and
printed with its reason. The last line is `N passed, N failed, N skipped`.

Every test has a process of its own, and those named `alone_…` the machine for
themselves: by cargo-nextest where it is installed, else by xtask's own runner.

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
    let programs = if nextest {
        nextest_command("--no-run", &berth).quiet().run()?;
        Vec::new()
    } else {
        programs::build(&["--workspace"])?
    };
    let before = leaks::Snapshot::take();
    cmd::heading(&format!("running the tests (after {} s)", begin.elapsed().as_secs()));
    reset_skips()?;
    let run = if nextest {
        Run::start(&nextest_command("--no-tests=warn", &berth).args(filters))?
    } else {
        let counts = programs::run(&programs, &filters, &environment(&berth))?;
        Run { failed: (counts.failed > 0).then(|| "a test".to_owned()), counts }
    };
    let result = run.report(&before);
    eprintln!("==> {} s in all", begin.elapsed().as_secs());
    result
}

fn is_root() -> bool {
    Cmd::new("id").arg("-u").capture().is_ok_and(|id| id == "0")
}

/// `cargo nextest run`, which gives every test a process of its own.
fn nextest_command(option: &str, berth: &Path) -> Cmd {
    let command = cmd::cargo().args(["nextest", "run", "--workspace", "--target", MUSL, option]);
    environment(berth).into_iter().fold(command, |command, (key, value)| command.env(key, value))
}

/// What tests are told.
fn environment(berth: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("BERTH_BIN", berth.to_owned()),
        ("BERTH_SKIPS", skips_file()),
        ("NEXTEST_HIDE_PROGRESS_BAR", "1".into()),
    ]
}

/// The file must exist before the first test appends, and hold nothing of the last run.
fn reset_skips() -> Result {
    let skips = skips_file();
    std::fs::write(&skips, "").map_err(|e| format!("cannot write {}: {e}", skips.display()))
}

fn skips_file() -> PathBuf {
    cmd::target_dir().join("skips.txt")
}

/// A finished run of the tests.
struct Run {
    counts: Counts,
    /// What failed, if anything.
    failed: Option<String>,
}

impl Run {
    /// Runs the runner to its end, passing its output on and counting as it goes.
    fn start(command: &Cmd) -> Result<Self> {
        let line = command.line();
        let fault = |e: std::io::Error| format!("cannot run {line}: {e}");
        let mut child = command
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fault)?;
        // nextest speaks on standard error.
        let stderr = child.stderr.take();
        let from_stderr = std::thread::spawn(move || pass_on(stderr, |line| eprintln!("{line}")));
        let mut counts = pass_on(child.stdout.take(), |line| println!("{line}"));
        let other = from_stderr.join().map_err(|_| "the reader of the tests' output panicked".to_owned())?;
        let status = child.wait().map_err(fault)?;
        counts.passed += other.passed;
        counts.failed += other.failed;
        Ok(Self { counts, failed: (!status.success()).then_some(line) })
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
        if let Some(what) = self.failed {
            return Err(format!("{what} failed"));
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
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
}

impl Counts {
    /// Adds what nextest's closing line (`Summary […] 3 tests run: 2 passed, 1 failed, 0 skipped`) says; other lines are
    /// none of its business.
    fn read_line(&mut self, line: &str) {
        let line = line.trim_start();
        let counts = line.starts_with("Summary [").then(|| line.split("run: ").nth(1)).flatten();
        for count in counts.unwrap_or_default().split(',') {
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
    fn nextests_closing_line_is_counted() {
        check(
            "     Summary [   1.234s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
            10,
            2,
        );
        check("     Summary [   0.004s] 5/9 tests run: 5 passed, 4 skipped", 5, 0);
        check("10 passed, 5 failed, said a test", 0, 0);
    }
}

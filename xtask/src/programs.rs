//! The programs that cargo makes of tests, and running their tests where cargo-nextest isn't installed.

use crate::Result;
use crate::cmd::{self, MUSL};
use crate::test::Counts;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// One program of tests.
pub struct Program {
    /// As cargo names it: that of the file below tests, or of the crate.
    pub name: String,
    pub path: PathBuf,
    /// The directory of its crate, where its tests run.
    pub dir: PathBuf,
}

/// Builds the tests of `packages`, as arguments for cargo, for musl.
pub fn build(packages: &[&str]) -> Result<Vec<Program>> {
    let messages = cmd::cargo()
        .args(["test", "--quiet", "--no-run", "--target", MUSL, "--message-format", "json"])
        .args(packages)
        .capture()?;
    Ok(messages.lines().filter_map(program_in).collect())
}

/// The program of tests that a message of cargo's speaks of. Source: cargo book, "External tools", JSON messages.
fn program_in(message: &str) -> Option<Program> {
    let string = |key: &str| message.split(&format!("\"{key}\":\"")).nth(1)?.split('"').next();
    // The binaries themselves are built for the tests too.
    if !message.contains("\"test\":true}") {
        return None;
    }
    let path = PathBuf::from(string("executable")?);
    let (name, _hash) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let dir = PathBuf::from(string("manifest_path")?).parent()?.to_owned();
    Some(Program { name: name.to_owned(), dir, path: path.clone() })
}

/// Runs each test whose name contains one of `filters` (all, if there are none) in a process of its own, one a core;
/// then those named `alone_…`, one by one. Prints the output of those that fail.
pub fn run(programs: &[Program], filters: &[&String], env: &[(&'static str, PathBuf)]) -> Result<Counts> {
    let mut tests = Vec::new();
    for program in programs {
        let list = |option: &[&str]| {
            cmd::Cmd::new(&program.path).args(["--list", "--format", "terse"]).args(option).capture()
        };
        let ignored = list(&["--ignored"])?;
        let wanted = |name: &&str| {
            let asked = filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
            asked && !ignored.lines().any(|line| line.strip_suffix(": test") == Some(name))
        };
        let all = list(&[])?;
        let names = all.lines().filter_map(|line| line.strip_suffix(": test")).filter(wanted);
        tests.extend(names.map(|name| (program, name.to_owned())));
    }
    let is_alone = |name: &str| name.rsplit("::").next().is_some_and(|last| last.starts_with("alone_"));
    let (alone, beside): (Vec<_>, Vec<_>) = tests.into_iter().partition(|(_, name)| is_alone(name));
    let counts = Mutex::new(Counts::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (tests, workers) in [(beside, cores), (alone, 1)] {
        let queue = Mutex::new(tests.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some((program, name)) = next else { break };
                        let passed = run_one(program, &name, env);
                        if let Ok(mut counts) = counts.lock() {
                            *(if passed { &mut counts.passed } else { &mut counts.failed }) += 1;
                        }
                    }
                });
            }
        });
    }
    counts.into_inner().map_err(|_| "a worker panicked".to_owned())
}

fn run_one(program: &Program, name: &str, env: &[(&'static str, PathBuf)]) -> bool {
    // Ended from outside if it hangs, as by nextest (.config/nextest.toml).
    let output = Command::new("timeout")
        .args(["--kill-after", "5", "180"])
        .arg(&program.path)
        .args(["--exact", name, "--nocapture"])
        .current_dir(&program.dir)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .output();
    let (passed, text) = match output {
        Ok(output) => (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        ),
        Err(e) => (false, format!("cannot run it: {e}")),
    };
    if passed {
        println!("PASS {} {name}", program.name);
    } else {
        println!("FAIL {} {name}\n{text}", program.name);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let message = r#"{"manifest_path":"/r/cli/Cargo.toml","profile":{"test":true},"executable":"/r/deps/run_flags-0a1b","fresh":true}"#;
        let program = program_in(message).unwrap();
        assert_eq!((program.name.as_str(), program.dir.to_str()), ("run_flags", Some("/r/cli")));
        assert!(program_in(&message.replace("true}", "false}")).is_none());
        assert!(program_in(r#"{"profile":{"test":true},"executable":null}"#).is_none());
    }
}

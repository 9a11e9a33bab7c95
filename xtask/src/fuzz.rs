//! Coverage-guided fuzzing of the parsers, on the stable compiler.

use crate::Result;
use crate::cmd::{self, Cmd};

pub const HELP: &str = "
usage: cargo xtask fuzz [TARGET] [--seconds N]

Builds the fuzz targets in fuzz/ with coverage instrumentation and runs TARGET
(all of them, one after another, if none is named) for N seconds each (60).
They begin from fuzz/seeds/TARGET. What they learn is kept in fuzz/corpus; an
input that breaks something lands in fuzz/artifacts and fails the command.
";

/// What cargo-fuzz passes, less the sanitizer: pure Rust needs none, and without it the stable compiler will do.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// Largest input. The documents that berth reads are bounded far above; a fuzzer learns faster from small ones.
const INPUT_BYTES_MAX: &str = "65536";

pub fn main(args: &[String]) -> Result {
    let (targets, seconds) = parse(args)?;
    let fuzz = cmd::root().join("fuzz");
    let host = cmd::host_triple()?;
    crate::setup::install_packages(&["g++"])?;
    cmd::heading("building the fuzz targets");
    // With --target, flags don't reach build scripts and procedural macros.
    cmd::cargo()
        .args(["build", "--quiet", "--release", "--bins", "--target", &host])
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", cmd::target_dir().join("fuzz"))
        .dir(&fuzz)
        .run()?;
    for target in targets {
        cmd::heading(&format!("fuzzing {target} for {seconds} s"));
        let corpus = fuzz.join("corpus").join(&target);
        let artifacts = fuzz.join("artifacts").join(&target);
        for dir in [&corpus, &artifacts] {
            std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        }
        Cmd::new(cmd::target_dir().join("fuzz").join(&host).join("release").join(&target))
            .arg(&corpus)
            .arg(fuzz.join("seeds").join(&target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0"])
            .run()?;
        sweep();
    }
    Ok(())
}

/// Removes the directories in memory that targets read files from.
fn sweep() {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("berth-fuzz-")) {
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

fn parse(args: &[String]) -> Result<(Vec<String>, u64)> {
    let mut targets = Vec::new();
    let mut seconds = 60;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().ok_or("--seconds needs a number")?;
            seconds = value.parse().map_err(|_| format!("--seconds needs a number, not {value}"))?;
        } else {
            targets.push(arg.clone());
        }
    }
    if targets.is_empty() {
        targets = all_targets()?;
    }
    Ok((targets, seconds))
}

/// Each file in fuzz/targets is a target.
fn all_targets() -> Result<Vec<String>> {
    let dir = cmd::root().join("fuzz/targets");
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("cannot list {}: {e}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

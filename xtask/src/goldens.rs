//! Recorded answers of other engines.

use crate::bench::docker::Docker;
use crate::{Result, cmd, commit, peers};

pub const HELP: &str = "
usage: cargo xtask goldens

Records what docker answers, so that tests compare berth with it on machines
that have none: the layers that `docker commit` makes of random changes
(crates/cli/tests/commit/docker.txt). The peers themselves: `cargo xtask peers`.
";

/// Seeds of the changes that are recorded.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=24;

pub fn main(args: &[String]) -> Result {
    if !args.is_empty() {
        return Err(format!("goldens takes no arguments, got {}", args.join(" ")));
    }
    let docker = Docker::start(&peers::ensure()?)?;
    let version = docker.command(&["version", "--format", "{{.Server.Version}}"]).capture()?;
    let dir = cmd::target_dir().join("goldens");
    let recorded = commit::record(&docker, SEEDS, &dir)?;
    let text = format!(
        "# What docker {version} makes of these changes. Recorded by `cargo xtask goldens`.\n{recorded}"
    );
    let path = cmd::root().join("crates/cli/tests/commit/docker.txt");
    std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    println!("{}", path.display());
    std::fs::remove_dir_all(&dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))
}

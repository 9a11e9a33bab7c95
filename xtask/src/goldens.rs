//! Recorded answers of other engines.

mod build;
mod compose;

use crate::bench::docker::Docker;
use crate::{Result, cmd, commit, netns, peers};

pub const HELP: &str = "
usage: cargo xtask goldens [compose | build [NAME]]

Records what docker answers, so that tests compare berth with it on machines
that have none: the layers that `docker commit` makes of random changes
(crates/cli/tests/commit/docker.txt), and its answers to the lines of
crates/cli/tests/differential/commands.txt (docker.txt beside them). With
`compose`, what docker compose's `config` prints for the cases in
crates/compose/tests/corpus. With `build`, what docker's BuildKit makes of the
Dockerfiles in crates/cli/tests/build/corpus (golden/ beside it), or only of
those whose name contains NAME. The peers themselves: `cargo xtask peers`.
";

/// Seeds of the changes that are recorded.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=24;

pub fn main(args: &[String]) -> Result {
    if args == ["compose"] {
        return compose::record();
    }
    if let [first, rest @ ..] = args
        && first == "build"
        && rest.len() <= 1
    {
        let part = rest.first().map_or("", String::as_str);
        return netns::enter(&["goldens"], args).unwrap_or_else(|| build::record(part));
    }
    if !args.is_empty() {
        return Err(format!("goldens takes no such arguments: {}", args.join(" ")));
    }
    let docker = Docker::start_with_networks(&peers::ensure()?)?;
    let version = docker.command(&["version", "--format", "{{.Server.Version}}"]).capture()?;
    let dir = cmd::target_dir().join("goldens");
    let recorded = commit::record(&docker, SEEDS, &dir)?;
    write(
        "crates/cli/tests/commit/docker.txt",
        &format!(
            "# What docker {version} makes of these changes. Recorded by `cargo xtask goldens`.\n{recorded}"
        ),
    )?;
    let tests = cmd::root().join("crates/cli/tests/differential");
    let script = [tests.join("record.sh"), tests.join("commands.txt"), dir.join("differential")];
    let answers = docker.shell(&script).capture()?;
    write(
        "crates/cli/tests/differential/docker.txt",
        &format!("# What docker {version} answers. Recorded by `cargo xtask goldens`.\n{answers}\n"),
    )?;
    std::fs::remove_dir_all(&dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))
}

fn write(path: &str, text: &str) -> Result {
    let path = cmd::root().join(path);
    std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

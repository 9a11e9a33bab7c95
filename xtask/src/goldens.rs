//! Recorded answers of other engines.

use crate::Result;

pub const HELP: &str = "
usage: cargo xtask goldens

Records what docker, podman and crun answer (exit codes, messages, JSON), so
that tests compare berth with them on machines that have none of them. Records
nothing yet: the first recordings come with the Engine API. The peers
themselves: `cargo xtask peers`.
";

pub fn main(_args: &[String]) -> Result {
    println!(
        "goldens: nothing is recorded yet; tests so far compare with documented values (docs/STATUS.md)"
    );
    Ok(())
}

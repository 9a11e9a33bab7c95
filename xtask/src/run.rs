//! The README's first command: from a clone to a shell in a container.

use crate::{Result, dist};
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

pub const HELP: &str = "
usage: cargo xtask run [FLAGS] IMAGE [COMMAND] [ARG...]

Installs what a build needs, builds the release binary, and becomes
`target/dist/berth run` with the given arguments. Without any: a shell in a
copy-on-write view of this machine (`-it --rm @host bash`), or, where there is
no terminal, a look around in one.
";

pub fn main(args: &[String]) -> Result {
    let berth = dist::build_dist()?;
    let mut command = std::process::Command::new(&berth);
    command.arg("run");
    if args.is_empty() {
        command.args(default_args(std::io::stdin().is_terminal()));
    } else {
        command.args(args);
    }
    // What cargo and rustup set for us is none of berth's business.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if ["CARGO", "RUST", "LD_LIBRARY_PATH"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
    let error = command.exec();
    Err(format!("cannot execute {}: {error}", berth.display()))
}

fn default_args(terminal: bool) -> &'static [&'static str] {
    if terminal {
        &["-it", "--rm", "@host", "bash"]
    } else {
        &[
            "--rm",
            "@host",
            "sh",
            "-c",
            "echo \"I am $(id -un), process $$ of:\"; ps -e -o pid,user,args; hostname",
        ]
    }
}

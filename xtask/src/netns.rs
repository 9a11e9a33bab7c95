//! A network namespace for a whole command: xtask starts itself again in one, so that nothing it makes is seen outside.

use crate::Result;
use crate::cmd::{self, Cmd};
use std::path::PathBuf;

/// Says that we are in it.
const INSIDE: &str = "BERTH_XTASK_NETNS";

/// Descriptors that tests of many connections need, if the machine allows so many.
const ENTER: &str = r#"
ip link set lo up
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec "$@"
"#;

/// Runs `xtask WORDS ARGS` in a namespace of its own; `None` if this is that one.
pub fn enter(words: &[&str], args: &[String]) -> Option<Result> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let run = || {
        let xtask = std::env::current_exe().map_err(|e| format!("cannot find xtask's own path: {e}"))?;
        Cmd::new("unshare")
            .args(["--net", "sh", "-c", ENTER, "enter-netns"])
            .arg(xtask)
            .args(words)
            .args(args)
            .env(INSIDE, "1")
            .run()
    };
    Some(run())
}

/// Compiles benches/netpeer.c into a directory.
pub fn peer() -> Result<PathBuf> {
    let dir = cmd::target_dir().join("netpeer");
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let program = dir.join("netpeer");
    Cmd::new("musl-gcc")
        .args(["-static", "-O2", "-w", "-s", "-o"])
        .arg(&program)
        .arg("benches/netpeer.c")
        .run()?;
    Ok(program)
}

/// All that the kernel has of networks in this namespace, in words that are the same if it is.
pub fn state() -> String {
    let shows = [
        ("ip", &["-brief", "link"][..]),
        ("ip", &["-4", "rule"]),
        ("ip", &["-6", "rule"]),
        ("ip", &["-4", "route", "show", "table", "all"]),
        ("ip", &["-6", "route", "show", "table", "all"]),
        ("nft", &["list", "ruleset"]),
    ];
    let show = |(program, args): &(&str, &[&str])| {
        let text = Cmd::new(program).args(*args).capture().unwrap_or_else(|error| error);
        format!("# {program} {}\n{text}\n", args.join(" "))
    };
    shows.iter().map(show).collect()
}

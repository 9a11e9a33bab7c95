//! Formatting, clippy, house rules, licences.

use crate::cmd::{self, MUSL};
use crate::{Result, tidy};

pub const HELP: &str = "
usage: cargo xtask lint

Runs `cargo fmt --check`, clippy with warnings as errors, `cargo xtask tidy`,
and `cargo deny check` where cargo-deny is installed. Part of `cargo xtask test`.
";

pub fn main(args: &[String]) -> Result {
    if !args.is_empty() {
        return Err(format!("lint takes no arguments, got {}", args.join(" ")));
    }
    crate::setup::build_needs()?;
    all()
}

/// All lints; the first that fails ends it.
pub fn all() -> Result {
    cmd::heading("lint: formatting");
    cmd::cargo()
        .args(["fmt", "--all", "--check"])
        .run()
        .map_err(|e| format!("{e}\nhint: cargo fmt --all"))?;
    // A workspace of its own (fuzz/Cargo.toml says why).
    cmd::cargo()
        .args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
        .run()
        .map_err(|e| format!("{e}\nhint: cargo fmt --manifest-path fuzz/Cargo.toml"))?;
    cmd::heading("lint: house rules");
    tidy::all()?;
    cmd::heading("lint: clippy");
    // For the target that ships, so that what it builds serves the tests too.
    cmd::cargo()
        .args(["clippy", "--quiet", "--workspace", "--all-targets", "--target", MUSL, "--"])
        .args(["-D", "warnings", "-D", "clippy::undocumented_unsafe_blocks"])
        .run()?;
    deny()
}

/// Advisories come from the network, which CI hasn't; the rest of cargo-deny's checks need only the lock file.
fn deny() -> Result {
    if !cmd::installed("cargo-deny") {
        eprintln!("SKIP: cargo deny: cargo-deny isn't installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    cmd::heading("lint: dependencies");
    cmd::cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]).run()
}

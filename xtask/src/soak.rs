//! The long tests: many random rounds of what the test command samples.

use crate::build::{self, Profile};
use crate::{Result, cmd, leaks, setup, test};

pub const HELP: &str = "
usage: cargo xtask soak [FILTER]

Runs the tests that are ignored otherwise because they take minutes to hours:
their names start with `soak_`. FILTER picks those that contain it. Bounded in
count and time by the tests themselves.
";

pub fn main(args: &[String]) -> Result {
    let filter = match args {
        [] => "test(/(^|::)soak_/)".to_owned(),
        [name] => format!("test(/(^|::)soak_/) and test({name})"),
        _ => return Err(format!("soak takes one filter, got {}", args.join(" "))),
    };
    setup::all()?;
    let before = leaks::Snapshot::take();
    let berth = build::berth(Profile::Dev)?;
    let command = if cmd::installed("cargo-nextest") {
        test::nextest_run(&berth).args([
            "--profile",
            "soak",
            "--run-ignored",
            "only",
            "--no-tests",
            "pass",
            "-E",
            &filter,
        ])
    } else {
        test::cargo_test(&berth)
            .args(["--", "--ignored", "--test-threads=1"])
            .args(args.first().map_or("soak_", |s| s).split(' '))
    };
    let run = test::Run::start(vec![command])?;
    run.report(&before)
}

//! A virtual machine with cgroup v2 and systemd, for what this kind of host doesn't have.

use crate::Result;

pub const HELP: &str = "
usage: cargo xtask test-vm

Not written yet.
";

pub fn main(_args: &[String]) -> Result {
    Err("test-vm isn't written yet".into())
}

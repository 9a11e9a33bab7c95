//! Building the binary and handing out its path.

use crate::Result;
use crate::cmd::{self, MUSL};
use std::path::{Path, PathBuf};

/// How a binary is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For tests: quick to build, with assertions and fault points.
    Dev,
    /// As shipped.
    Release,
}

/// Builds `berth` for musl, with `berth-runtime` as a link beside it, and returns its path.
pub fn berth(profile: Profile) -> Result<PathBuf> {
    let mut cargo = cmd::cargo().args(["build", "--quiet", "--package", "cli", "--target", MUSL]);
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            cargo = cargo.arg("--release");
            "release"
        }
    };
    cargo.run()?;
    let berth = cmd::target_dir().join(MUSL).join(directory).join("berth");
    link_runtime(&berth)?;
    Ok(berth)
}

/// Puts the name `berth-runtime` beside the binary: a relative symlink, as a package would install it.
pub fn link_runtime(berth: &Path) -> Result {
    let link = berth.with_file_name("berth-runtime");
    match std::os::unix::fs::symlink("berth", &link) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(format!("cannot link {}: {e}", link.display()))
        }
        _ => Ok(()),
    }
}

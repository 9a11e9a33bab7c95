//! Both sides of a comparison, commanded alike.

use super::super::docker::Docker;
use super::worker;
use crate::Result;
use crate::cmd::Cmd;
use crate::host::Host;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// One of them.
#[derive(Clone, Copy)]
pub enum Engine<'a> {
    Berth(&'a Host),
    Docker(&'a Docker),
}

impl Engine<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Engine::Berth(_) => "berth",
            Engine::Docker(_) => "docker",
        }
    }

    /// How long a command takes, as a process. A status other than 0 is an error.
    pub fn time(&self, args: &[&str]) -> Result<Duration> {
        match self {
            Engine::Berth(host) => worker::time_command(&mut host.command(args)),
            Engine::Docker(docker) => docker.time(args),
        }
    }

    /// What a command prints.
    pub fn text(&self, args: &[&str]) -> Result<String> {
        match self {
            Engine::Docker(docker) => docker.command(args).capture(),
            Engine::Berth(host) => {
                let output = host.command(args).stdout(Stdio::piped()).output();
                let output = output.map_err(|e| format!("cannot run berth: {e}"))?;
                Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
            }
        }
    }

    /// Removes all containers.
    pub fn clear(&self) {
        let ids = self.text(&["ps", "-aq"]).unwrap_or_default();
        let args: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.split_whitespace()).collect();
        if args.len() > 2 {
            let _ = self.time(&args);
        }
    }
}

/// The archive of a root file system with busybox, and `sleep-for-ever`.
pub fn archive(dir: &Path) -> Result<PathBuf> {
    archive_with(dir, |_| Ok(()))
}

/// The same with what `add` puts into it.
pub fn archive_with(dir: &Path, add: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let (root, archive) = (dir.join("root"), dir.join("root.tar"));
    let _ = std::fs::remove_dir_all(&root);
    let bin = root.join("bin");
    let failed = |e: std::io::Error| format!("cannot make {}: {e}", root.display());
    std::fs::create_dir_all(&bin).map_err(failed)?;
    for name in ["busybox", "sh", "true", "cat"] {
        std::fs::copy("/usr/bin/busybox", bin.join(name)).map_err(failed)?;
    }
    let script = bin.join("sleep-for-ever");
    std::fs::write(&script, "#!/bin/sh\nexec /bin/busybox sleep 1000000\n").map_err(failed)?;
    Cmd::new("chmod").arg("755").arg(&script).run()?;
    add(&root)?;
    Cmd::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").run()?;
    Ok(archive)
}

//! Running other programs, and the paths that every command shares.

use crate::Result;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of everything that ships and everything that is tested.
pub const MUSL: &str = "x86_64-unknown-linux-musl";

/// The repository's root.
pub fn root() -> PathBuf {
    // At run time cargo says where; a binary started by hand falls back to where it was built.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where made things that outlive a clone are kept: images, peers. `BERTH_CACHE` moves it.
pub fn cache_dir() -> Result<PathBuf> {
    let dir =
        std::env::var_os("BERTH_CACHE").map_or_else(|| PathBuf::from("/var/cache/berth"), PathBuf::from);
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    Ok(dir)
}

/// Cargo, the one that runs us.
pub fn cargo() -> Cmd {
    let cargo = Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A build that is never repeated gains nothing from what the next one could reuse.
    if std::env::var_os("CI").is_some() { cargo.env("CARGO_INCREMENTAL", "0") } else { cargo }
}

/// The machine's own target, as rustc names it.
pub fn host_triple() -> Result<String> {
    let verbose = Cmd::new("rustc").arg("-vV").capture()?;
    verbose
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| format!("rustc -vV names no host: {verbose}"))
}

/// Whether a program of this name is on the path.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH may lack the system directories.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|dir| dir.join(program).is_file())
}

/// Prints a heading, so that a long log can be read.
pub fn heading(text: &str) {
    eprintln!("==> {text}");
}

/// A program to run, in the repository's root unless told otherwise.
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: PathBuf,
    quiet: bool,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            dir: root(),
            quiet: false,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = dir.as_ref().to_owned();
        self
    }

    /// Shows output only if the program fails.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// As a `std` command, for callers that need its pipes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.envs.iter().map(|(k, v)| (k, v))).current_dir(&self.dir);
        command
    }

    /// Runs it; a status other than 0 is an error which shows the command line.
    pub fn run(self) -> Result {
        if self.quiet {
            return self.capture().map(drop);
        }
        let status = self.command().status().map_err(|e| format!("cannot run {}: {e}", self.line()))?;
        if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", self.line())) }
    }

    /// Runs it and returns standard output, without the last line's end.
    pub fn capture(self) -> Result<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run {}: {e}", self.line()))?;
        let stdout = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} failed: {}\n{stdout}\n{}", self.line(), output.status, stderr.trim_end()))
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }
}

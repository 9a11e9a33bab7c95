//! One run of a program: what goes in, what comes out, and the checks on it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a command may take if the test doesn't say.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// How long its pipes may stay open after its end: longer, and something it started holds them.
const PIPES_AFTER_EXIT: Duration = Duration::from_secs(3);

/// A command to run.
#[derive(Debug)]
pub struct Cmd {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<Vec<u8>>,
    fds: Vec<(u32, PathBuf)>,
    cwd: Option<PathBuf>,
    files: Option<PathBuf>,
    timeout: Duration,
}

impl Cmd {
    /// `program` with `args`, nothing on standard input, and only PATH in the environment.
    pub fn new<A: AsRef<OsStr>>(program: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Cmd {
        Cmd {
            program: program.into(),
            args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            stdin: None,
            fds: Vec::new(),
            cwd: None,
            files: None,
            timeout: TIMEOUT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds a variable, or changes one.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Bytes for its standard input, through a pipe.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Some(bytes.into());
        self
    }

    /// Opens `path` for it, read-write, as descriptor `number`, which is from 3 to 9.
    pub fn fd(mut self, number: u32, path: impl Into<PathBuf>) -> Cmd {
        self.fds.push((number, path.into()));
        self
    }

    /// Its working directory.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Cmd {
        self.cwd = Some(dir.into());
        self
    }

    /// Sends its output to the files `PATH.out` and `PATH.err` instead of pipes: for one that leaves processes behind
    /// with its own standard streams, as `berth-runtime create` does.
    pub fn output_to(mut self, path: impl Into<PathBuf>) -> Cmd {
        self.files = Some(path.into());
        self
    }

    /// How long it may take; then it is killed, and the test fails.
    pub fn timeout(mut self, limit: Duration) -> Cmd {
        self.timeout = limit;
        self
    }

    /// The command as one would type it.
    pub fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args = self.args.iter().map(|arg| format!("{:?}", arg.to_string_lossy()));
        std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> Command {
        // The standard library passes no further descriptors on; a shell does.
        let mut command = if self.fds.is_empty() {
            let mut command = Command::new(&self.program);
            command.args(&self.args);
            command
        } else {
            let mut script = String::from("exec");
            for (number, path) in &self.fds {
                script += &format!(" {number}<>'{}'", path.display());
            }
            script += "; exec \"$0\" \"$@\"";
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script).arg(&self.program).args(&self.args);
            command
        };
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }

    /// Starts it under a terminal: `stream` is the terminal's slave side.
    pub(crate) fn spawn_on(&self, stream: impl Fn() -> OwnedFd) -> Child {
        let inner = self.command();
        // setsid makes the terminal on standard input the controlling one, and becomes the program.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        command.env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.stdin(stream()).stdout(stream()).stderr(stream());
        command.spawn().unwrap_or_else(|e| panic!("cannot run {}: {e}", self.line()))
    }

    /// Starts it and returns at once.
    pub fn spawn(self) -> Running {
        let line = self.line();
        let mut command = self.command();
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        match &self.files {
            Some(path) => {
                command.stdout(create(&with_suffix(path, "out")));
                command.stderr(create(&with_suffix(path, "err")));
            }
            None => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("cannot run {} ({line}): {e}", self.program.display()));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // A program that doesn't read to the end closes the pipe: no failure of the test's.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = child.stdout.take().map(Collector::start);
        let stderr = child.stderr.take().map(Collector::start);
        Running { line, child, stdout, stderr, files: self.files, timeout: self.timeout, waited: false }
    }

    /// Runs it to its end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs it to its end, which must be a success, with nothing on standard error; its output, without spaces at
    /// both ends.
    pub fn text(self) -> String {
        self.run().ok().silent().text()
    }
}

fn create(path: &Path) -> std::fs::File {
    std::fs::File::create(path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    path.with_added_extension(suffix)
}

/// Reads a pipe to its end, beside the test.
#[derive(Debug)]
struct Collector {
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static) -> Collector {
        let (send, chunks) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Collector { chunks, seen: Vec::new() }
    }

    /// Collects until the end or until `end`; whether it came.
    fn finish(&mut self, end: Instant) -> bool {
        loop {
            match self.chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Collects until `text` was seen or until `end`; whether it was.
    fn find(&mut self, text: &str, end: Instant) -> bool {
        loop {
            if String::from_utf8_lossy(&self.seen).contains(text) {
                return true;
            }
            match self.chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(_) => return false,
            }
        }
    }
}

/// A command that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: Option<Collector>,
    stderr: Option<Collector>,
    files: Option<PathBuf>,
    timeout: Duration,
    waited: bool,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by number.
    pub fn signal(&self, signal: i32) {
        signal_pid(self.child.id(), signal);
    }

    /// Waits until its standard output holds `text`.
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + self.timeout;
        let stdout = self.stdout.as_mut().expect("expect() needs pipes, not output_to()");
        if !stdout.find(text, end) {
            let seen = String::from_utf8_lossy(&stdout.seen).into_owned();
            panic!("{}: {text:?} didn't come within {:?}; output so far:\n{seen}", self.line, self.timeout);
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Output {
        self.waited = true;
        let started = Instant::now();
        let status = wait_child(&mut self.child, self.timeout);
        let ended_by_us = status.is_none();
        let status = status.unwrap_or_else(|| {
            let _ = self.child.kill();
            self.child.wait().unwrap_or_else(|e| panic!("{}: wait: {e}", self.line))
        });
        let end = Instant::now() + if ended_by_us { Duration::from_millis(200) } else { PIPES_AFTER_EXIT };
        let mut held = false;
        let mut collect = |collector: &mut Option<Collector>, suffix: &str| match (collector, &self.files) {
            (Some(collector), _) => {
                held |= !collector.finish(end);
                std::mem::take(&mut collector.seen)
            }
            (None, Some(path)) => std::fs::read(with_suffix(path, suffix)).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        let stdout = collect(&mut self.stdout, "out");
        let stderr = collect(&mut self.stderr, "err");
        let line = std::mem::take(&mut self.line);
        let output = Output { line, status: code(status), stdout, stderr, took: started.elapsed() };
        if ended_by_us {
            output.fail(&format!("didn't end within {:?}, and was killed", self.timeout));
        }
        if held {
            output.fail(&format!(
                "ended, but something it started held its output pipes open for another {PIPES_AFTER_EXIT:?}"
            ));
        }
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a child's end, for `limit` at most.
pub(crate) fn wait_child(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_raw(child.id() as i32).expect("a child has a process id");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open of a child");
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

/// Sends process `pid` a signal by number.
pub fn signal_pid(pid: u32, signal: i32) {
    let pid = Pid::from_raw(pid as i32).expect("a process id is positive");
    let signal = rustix::process::Signal::from_named_raw(signal).expect("a signal that rustix knows by name");
    rustix::process::kill_process(pid, signal).unwrap_or_else(|e| panic!("kill {pid:?}: {e}"));
}

/// Kills process `pid` if it's still the one that `is_meant` says it is, once no other can get its number; whether it was
/// sent the signal.
pub fn kill_if(pid: u32, is_meant: impl FnOnce() -> bool) -> bool {
    let Some(pid) = Pid::from_raw(pid as i32) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    is_meant() && rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).is_ok()
}

/// A shell's number for how a process ended.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// What a command left. Checks print all of it when they fail.
#[derive(Debug, Clone)]
pub struct Output {
    line: String,
    /// Exit status, or 128 and the signal's number.
    pub status: i32,
    /// Bytes of standard output.
    pub stdout: Vec<u8>,
    /// Bytes of standard error.
    pub stderr: Vec<u8>,
    /// From the wait to the end.
    pub took: Duration,
}

impl Output {
    /// The command as one would type it.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Fails the test, showing everything.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        panic!(
            "{why}\n  command: {}\n  status:  {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line,
            self.status,
            shown(&self.stdout),
            shown(&self.stderr)
        )
    }

    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.code(0)
    }

    /// It must have ended with this status.
    #[track_caller]
    pub fn code(self, status: i32) -> Output {
        if self.status != status {
            self.fail(&format!("expected status {status}"));
        }
        self
    }

    /// It must have failed, with whatever status.
    #[track_caller]
    pub fn failed(self) -> Output {
        if self.status == 0 {
            self.fail("expected a failure");
        }
        self
    }

    /// Standard error must be empty.
    #[track_caller]
    pub fn silent(self) -> Output {
        if !self.stderr.is_empty() {
            self.fail("expected nothing on standard error");
        }
        self
    }

    /// Standard output must be exactly this, but for spaces at both ends.
    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Output {
        if self.text() != text.trim() {
            self.fail(&format!("expected on standard output:\n{}\n", text.trim()));
        }
        self
    }

    /// Standard error must hold all of `parts`.
    #[track_caller]
    pub fn stderr_has(self, parts: &[&str]) -> Output {
        let stderr = self.err();
        if let Some(missing) = parts.iter().find(|part| !stderr.contains(**part)) {
            self.fail(&format!("expected {missing:?} on standard error"));
        }
        self
    }

    /// Standard output without spaces at both ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard error without spaces at both ends.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.stdout) {
            Ok(value) => value,
            Err(error) => self.fail(&format!("expected JSON on standard output: {error}")),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 16 * 1024;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX)]).into_owned();
    if bytes.len() > MAX { format!("{text}\n… {} bytes in all", bytes.len()) } else { text }
}

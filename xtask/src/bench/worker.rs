//! The half of a measurement that runs inside another namespace: a loop that starts programs and times them.
//!
//! It stays inside while the other half talks to it through pipes, so that no `nsenter` and no shell is in the time.

use crate::Result;
use crate::cmd::Cmd;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Separates arguments in a request: no argument of ours holds it.
const SEPARATOR: char = '\x1f';

/// Runs one program from start to end, without input and output. A status other than 0 is an error.
pub fn time(argv: &[String]) -> Result<Duration> {
    let mut command = Command::new(argv.first().ok_or("no program")?);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    time_command(&mut command)
}

/// The same for a command that is made already, but for its standard error.
pub fn time_command(command: &mut Command) -> Result<Duration> {
    // A file, since a pipe would be held open by whatever goes on after the program's end.
    let messages = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
    let file =
        std::fs::File::create(&messages).map_err(|e| format!("cannot make {}: {e}", messages.display()))?;
    command.stderr(file);
    let start = Instant::now();
    let status = command.status().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let took = start.elapsed();
    if status.success() {
        return Ok(took);
    }
    let text = std::fs::read_to_string(&messages).unwrap_or_default();
    Err(format!("{command:?} ended with {status}: {}", text.trim_end()))
}

/// `xtask bench-worker`: answers each line of arguments with `ok NANOSECONDS` or `error MESSAGE`, until input ends.
pub fn main() -> Result {
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    for line in stdin.lines() {
        let line = line.map_err(|e| format!("cannot read a request: {e}"))?;
        let argv: Vec<String> = line.split(SEPARATOR).map(str::to_owned).collect();
        let answer = match time(&argv) {
            Ok(took) => format!("ok {}", took.as_nanos()),
            Err(message) => format!("error {}", message.replace('\n', "; ")),
        };
        writeln!(stdout, "{answer}")
            .and_then(|()| stdout.flush())
            .map_err(|e| format!("cannot answer: {e}"))?;
    }
    Ok(())
}

/// A worker in a process of its own.
pub struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one by `enter`, a command that changes its surroundings and becomes what its further arguments say.
    pub fn start(enter: Cmd) -> Result<Self> {
        let xtask = std::env::current_exe().map_err(|e| format!("cannot find xtask's own path: {e}"))?;
        let command = enter.arg(xtask).arg("bench-worker");
        let mut child = command
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", command.line()))?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().ok_or("the worker has no output")?;
        Ok(Self { child, requests, answers: BufReader::new(answers) })
    }

    /// Has the worker run `argv` and returns the time it took there.
    pub fn time(&mut self, argv: &[String]) -> Result<Duration> {
        let line = argv.join(&SEPARATOR.to_string());
        let requests = self.requests.as_mut().ok_or("the worker has ended")?;
        writeln!(requests, "{line}").map_err(|e| format!("the worker took no request: {e}"))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|e| format!("the worker gave no answer: {e}"))?;
        match answer.trim_end().split_once(' ') {
            Some(("ok", nanos)) => {
                nanos.parse().map(Duration::from_nanos).map_err(|e| format!("odd answer {answer:?}: {e}"))
            }
            Some(("error", message)) => Err(message.to_owned()),
            _ => Err(format!("odd answer of the worker: {answer:?}")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

//! A step, done: in a child of the process that builds.

use super::copy;
use super::exec::{self, Outcome};
use crate::cell::now_ns;
use crate::{Error, Home};
use ::build::key::Key;
use ::build::op::{Exec, Made, MountKind, Op, StepId, Tree};
use ::build::solve::Record;
use linux::process;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use types::kind::Kind;

use super::request::SecretSource;

/// What a child is to do.
pub(super) struct Order<'a> {
    /// Which step.
    pub step: StepId,
    /// What it's called.
    pub name: String,
    /// What to do.
    pub op: &'a Op,
    /// The trees of its inputs.
    pub inputs: Vec<Tree>,
    /// Ignore lines of each.
    pub ignored: Vec<&'a [String]>,
    /// What the result is found by.
    pub key: &'a Key,
    /// Whether it's done though its result is known.
    pub ignores_cache: bool,
    /// The caller's secrets.
    pub secrets: &'a BTreeMap<String, SecretSource>,
    /// Variables of programs that change no result: proxies.
    pub proxies: &'a [String],
    /// Times of files aren't later than this, in seconds since the epoch.
    pub epoch: Option<i64>,
}

/// What it says at its end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What was made, and when.
    Made {
        /// What.
        made: Made,
        /// In nanoseconds since the epoch.
        created_ns: i64,
        /// Whether another build made it meanwhile.
        was_found: bool,
    },
    /// Nothing.
    Failed {
        /// What and why.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// What sort of failure.
        kind: Kind,
    },
}

/// Its ends of pipes.
pub(super) struct Pipes {
    /// What the program writes.
    pub stdout: OwnedFd,
    /// What it writes to its error output.
    pub stderr: OwnedFd,
    /// Where the answer goes.
    pub answer: OwnedFd,
    /// At its end once the step is to end early.
    pub cancel: OwnedFd,
}

/// Does it, answers, and ends the process.
pub(super) fn answer(home: &Home, order: &Order<'_>, pipes: Pipes) -> ! {
    let Pipes { stdout, stderr, answer: to, cancel } = pipes;
    alone(home, order, Output { stdout, stderr, cancel }, |answer| {
        let mut to = std::fs::File::from(to);
        // Plain data always serialises.
        let _ = to.write_all(&serde_json::to_vec(&answer).unwrap_or_default());
    });
    process::exit(0)
}

struct Output {
    stdout: OwnedFd,
    stderr: OwnedFd,
    cancel: OwnedFd,
}

impl From<Error> for Answer {
    fn from(error: Error) -> Answer {
        Answer::Failed { message: error.to_string(), hint: error.hint(), kind: error.kind() }
    }
}

/// Does it while other builds wait for its result, and tells; what it had is given back after that.
fn alone(home: &Home, order: &Order<'_>, output: Output, tell: impl FnOnce(Answer)) {
    let lock = match Lock::take(home, order.key) {
        Ok(lock) => lock,
        Err(error) => return tell(error.into()),
    };
    match found(home, order) {
        Ok(None) => {}
        Ok(Some(answer)) => return tell(answer),
        Err(error) => return tell(error.into()),
    }
    match order.op {
        Op::Exec(exec) => run(home, order, exec, output, tell),
        Op::Copy(copy) => {
            tell(of_files(copy::copied(home, copy, &order.inputs, &order.ignored, order.epoch), output))
        }
        Op::MakeDirectory { path, owner } => {
            tell(of_files(copy::made_directory(home, path, owner, &order.inputs, order.epoch), output));
        }
    }
    drop(lock);
}

/// What another build has made meanwhile.
fn found(home: &Home, order: &Order<'_>) -> Result<Option<Answer>, Error> {
    if order.ignores_cache {
        return Ok(None);
    }
    let store = crate::images::open_store(home)?;
    let Some(step) = store.find_step(order.key.as_str())? else { return Ok(None) };
    let record: Option<Record> = serde_json::from_str(&step.detail).ok();
    Ok(record.map(|Record { made, created_ns, .. }| Answer::Made { made, created_ns, was_found: true }))
}

/// The answer of a step that only touches files; what it warns of is its output.
fn of_files(done: Result<(Made, Vec<String>), Error>, output: Output) -> Answer {
    match done {
        Err(error) => error.into(),
        Ok((made, warnings)) => {
            let mut stderr = std::fs::File::from(output.stderr);
            for warning in warnings {
                let _ = writeln!(stderr, "{warning}");
            }
            Answer::Made { made, created_ns: now_ns(), was_found: false }
        }
    }
}

fn run(home: &Home, order: &Order<'_>, program: &Exec, output: Output, tell: impl FnOnce(Answer)) {
    let mut program = program.clone();
    program.env.extend(order.proxies.iter().cloned());
    let secrets = match secrets(&program, order.secrets) {
        Ok(secrets) => secrets,
        Err(error) => return tell(error.into()),
    };
    let step = exec::Step {
        exec: &program,
        inputs: &order.inputs,
        ignored: &order.ignored,
        secrets: &secrets,
        epoch: order.epoch,
        stdout: output.stdout,
        stderr: output.stderr,
        cancel: output.cancel.as_fd(),
    };
    let ran = match exec::exec(home, step) {
        Ok(ran) => ran,
        Err(error) => return tell(error.into()),
    };
    let failed = |message: String, hint: Option<String>| Answer::Failed { message, hint, kind: Kind::System };
    tell(match &ran.outcome {
        Outcome::Made(made) => Answer::Made { made: made.clone(), created_ns: now_ns(), was_found: false },
        Outcome::Failed { status, oom_killed } => {
            let words = program.args.join(" ");
            let message = format!("process {words:?} did not complete successfully: exit code: {status}");
            let hint =
                oom_killed.then(|| "the kernel killed one of its processes for want of memory".to_owned());
            failed(message, hint)
        }
        Outcome::Cancelled => failed("the step was stopped".to_owned(), None),
    });
}

/// Contents of the secrets that a program wants and that the caller has.
fn secrets(
    program: &Exec,
    known: &BTreeMap<String, SecretSource>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut contents = BTreeMap::new();
    for mount in &program.mounts {
        let MountKind::Secret { id, .. } = &mount.kind else { continue };
        let content = match known.get(id) {
            None => continue,
            Some(SecretSource::File(path)) => {
                std::fs::read(path).map_err(|error| Error::io("read the secret", path.display(), &error))?
            }
            Some(SecretSource::Env(name)) => std::env::var(name).unwrap_or_default().into_bytes(),
        };
        contents.insert(id.clone(), content);
    }
    Ok(contents)
}

/// Held while a step is done.
struct Lock {
    _file: OwnedFd,
    path: std::path::PathBuf,
}

impl Lock {
    fn take(home: &Home, key: &Key) -> Result<Lock, Error> {
        let directory = home.run.join("build");
        crate::claims::make_private_dir(&directory)?;
        let path = directory.join(key.as_str());
        let failed = |errno| Error::system("lock", path.display(), errno);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
            match flock(&file, FlockOperation::LockExclusive) {
                Err(linux::Errno::INTR) => continue,
                other => other.map_err(failed)?,
            }
            // Unless whoever had it has removed it.
            if rustix::fs::fstat(&file).map_err(failed)?.st_nlink > 0 {
                return Ok(Lock { _file: file, path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

//! A step, done: in a child of the process that builds.

use crate::cell::now_ns;
use crate::{Error, Home};
use ::build::key::Key;
use ::build::op::{Made, Op, StepId, Tree};
use ::build::solve::Record;
use linux::process;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// Does it, answers, and ends the process.
pub(super) fn answer(home: &Home, order: &Order<'_>, stdout: OwnedFd, stderr: OwnedFd, to: OwnedFd) -> ! {
    let done = alone(home, order, [stdout.as_fd(), stderr.as_fd()]);
    let answer = done.unwrap_or_else(|error| Answer::Failed {
        message: error.to_string(),
        hint: error.hint(),
        kind: error.kind(),
    });
    drop((stdout, stderr));
    let mut to = std::fs::File::from(to);
    // Plain data always serialises.
    let _ = to.write_all(&serde_json::to_vec(&answer).unwrap_or_default());
    drop(to);
    process::exit(0)
}

/// While this one does it, other builds wait for its result.
fn alone(home: &Home, order: &Order<'_>, output: [BorrowedFd<'_>; 2]) -> Result<Answer, Error> {
    let lock = Lock::take(home, order.key)?;
    if !order.ignores_cache {
        let store = crate::images::open_store(home)?;
        if let Some(step) = store.find_step(order.key.as_str())?
            && let Ok(Record { made, created_ns, .. }) = serde_json::from_str(&step.detail)
        {
            return Ok(Answer::Made { made, created_ns, was_found: true });
        }
    }
    let made = perform(home, order, output)?;
    // The solver's process names it; until then another build would do it again.
    drop(lock);
    Ok(Answer::Made { made, created_ns: now_ns(), was_found: false })
}

fn perform(home: &Home, order: &Order<'_>, output: [BorrowedFd<'_>; 2]) -> Result<Made, Error> {
    let _ = (home, output, &order.inputs, &order.ignored, order.secrets, order.proxies, order.epoch);
    Err(Error::invalid(order.name.as_str(), "is not done yet"))
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

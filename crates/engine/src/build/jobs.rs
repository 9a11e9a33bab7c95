//! Steps that run: each in a child of the process that builds.
//!
//! A child writes what its program writes to two pipes, and at its end its answer to a third. A fourth tells it when it's to
//! end early: when nobody has its other end any more, which is also the case if the process that builds is killed.

use super::perform::{self, Answer, Order, Pipes};
use crate::{Error, Home};
use ::build::op::StepId;
use linux::Errno;
use linux::process::{self, Fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, OwnedFd};

/// Read at once from a program's output.
const PIECE_BYTES: usize = 65_536;

/// How long a child has to end in order.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Something that a child did.
#[derive(Debug)]
pub(super) enum Heard {
    /// It wrote to stdout (1) or stderr (2).
    Output(StepId, u8, Vec<u8>),
    /// It's gone: with its answer, if it gave one.
    Ended(StepId, Option<Answer>),
    /// The user wants the build to stop.
    Interrupted,
}

#[derive(Debug)]
struct Job {
    step: StepId,
    pid: i32,
    /// stdout, stderr, the answer; gone once they have ended.
    pipes: [Option<OwnedFd>; 3],
    /// Closed to end it early.
    _goes_on: OwnedFd,
    answer: Vec<u8>,
}

/// The children.
#[derive(Debug)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    /// Children that have answered, and give back what they had: nobody waits for that before the end.
    leaving: Vec<i32>,
    signals: OwnedFd,
}

impl Jobs {
    /// None yet. From here on SIGINT and SIGTERM are heard here.
    pub fn new() -> Result<Jobs, Error> {
        let failed = |errno| Error::system("listen to", "signals", errno);
        linux::signal::set_blocked(&[SIGINT, SIGTERM]).map_err(failed)?;
        let signals = linux::signal::signalfd(&[SIGINT, SIGTERM]).map_err(failed)?;
        Ok(Jobs { jobs: Vec::new(), leaving: Vec::new(), signals })
    }

    /// Begins a step. The caller has no connection to the store open.
    pub fn begin(&mut self, home: &Home, order: &Order<'_>) -> Result<(), Error> {
        let failed = |errno| Error::system("begin", &order.name, errno);
        let mut ours = Vec::with_capacity(3);
        let mut theirs = Vec::with_capacity(3);
        for _ in 0..3 {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
            ours.push(read);
            theirs.push(write);
        }
        let (cancel, goes_on) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        match process::fork().map_err(failed)? {
            Fork::Parent(pid) => {
                let mut ours = ours.into_iter().map(Some);
                let mut next = || ours.next().flatten();
                let pipes = [next(), next(), next()];
                self.jobs.push(Job { step: order.step, pid, pipes, _goes_on: goes_on, answer: Vec::new() });
                Ok(())
            }
            Fork::Child => {
                drop(goes_on);
                // Those of others are theirs to hold.
                drop(std::mem::take(&mut self.jobs));
                process::set_name(c"berth-step");
                linux::signal::reset_all();
                let _ = linux::signal::set_blocked(&[]);
                let mut theirs = theirs.into_iter();
                let (Some(stdout), Some(stderr), Some(answer)) =
                    (theirs.next(), theirs.next(), theirs.next())
                else {
                    process::exit(1)
                };
                perform::answer(home, order, Pipes { stdout, stderr, answer, cancel })
            }
        }
    }

    /// Waits for something to happen.
    pub fn wait(&mut self) -> Result<Heard, Error> {
        loop {
            let mut which = Vec::new();
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            for (index, job) in self.jobs.iter().enumerate() {
                for (pipe, fd) in job.pipes.iter().enumerate() {
                    if let Some(fd) = fd {
                        which.push((index, pipe));
                        fds.push(PollFd::new(fd, PollFlags::IN));
                    }
                }
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("wait for", "the build's steps", errno)),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready.first() == Some(&true) {
                let _ = linux::signal::read_signalfd(self.signals.as_fd());
                return Ok(Heard::Interrupted);
            }
            for ((index, pipe), _) in which.into_iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                if let Some(heard) = self.read(index, pipe) {
                    return Ok(heard);
                }
            }
        }
    }

    fn read(&mut self, index: usize, pipe: usize) -> Option<Heard> {
        let job = &mut self.jobs[index];
        let mut buffer = vec![0; PIECE_BYTES];
        let read = match rustix::io::read(job.pipes[pipe].as_ref()?, &mut buffer[..]) {
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return None,
            Err(_) => 0,
        };
        buffer.truncate(read);
        match (read, pipe) {
            (0, _) => {
                job.pipes[pipe] = None;
                if job.pipes.iter().any(Option::is_some) {
                    return None;
                }
                let job = self.jobs.swap_remove(index);
                self.leaving.push(job.pid);
                self.reap();
                Some(Heard::Ended(job.step, serde_json::from_slice(&job.answer).ok()))
            }
            (_, 2) => {
                job.answer.extend(buffer);
                None
            }
            _ => Some(Heard::Output(job.step, pipe as u8 + 1, buffer)),
        }
    }

    /// Buries those that have left.
    fn reap(&mut self) {
        let has_left = |pid: i32| match process::pidfd_open(pid) {
            Ok(pidfd) => crate::cell::has_ended(pidfd.as_fd()),
            Err(_) => true,
        };
        for pid in self.leaving.extract_if(.., |pid| has_left(*pid)) {
            let _ = process::wait_child(pid);
        }
    }

    /// Ends all children, and waits until they are gone: by asking, and if that takes long by force.
    pub fn cancel(&mut self) {
        let pids: Vec<i32> = self.jobs.drain(..).map(|job| job.pid).chain(self.leaving.drain(..)).collect();
        for pid in pids {
            let Ok(pidfd) = process::pidfd_open(pid) else { continue };
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&PATIENCE)), Ok(1)) {
                let _ = process::kill(pid, SIGKILL);
            }
            let _ = process::wait_child(pid);
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.cancel();
        let _ = linux::signal::set_blocked(&[]);
    }
}

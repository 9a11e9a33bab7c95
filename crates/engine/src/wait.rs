//! `berth wait`: how a container ended, once it has.

use crate::find::{self, Container, State};
use crate::{Error, Home, cell, rm};
use linux::Errno;
use linux::process::{Exit, pidfd_exit};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, OwnedFd};

/// Waits until a container doesn't run; its status, 0 to 255, and 0 for one that never ran.
///
/// Errors: [`Error::State`] if nobody saw how it ended.
pub fn wait(home: &Home, given: &str) -> Result<u8, Error> {
    let container = find::container(home, given)?;
    let id = container.config.id.clone();
    match container.state {
        State::Exited(ended) => of_record(given, &ended),
        State::Created => Ok(0),
        // Until no policy starts it any more: the lock stays held from start to start.
        State::Restarting(_) => {
            drop(cell::Cell::of(home, &id).wait_lock()?);
            wait(home, &id)
        }
        State::Running(running) => match running.init.open() {
            Some(init) => until_ended(home, given, &container.config, init),
            None => recorded(home, given, &id),
        },
        // Somebody is starting it, or nobody is.
        State::Starting => match rm::await_started(&container.cell(home))? {
            Some(running) => match running.init.open() {
                Some(init) => until_ended(home, given, &container.config, init),
                None => recorded(home, given, &id),
            },
            None => match find::container(home, &id)?.state {
                State::Created | State::Starting => Ok(0),
                _ => recorded(home, given, &id),
            },
        },
    }
}

fn until_ended(home: &Home, given: &str, config: &crate::Config, init: OwnedFd) -> Result<u8, Error> {
    // Hung up once it's reaped, which is when its status can be had.
    let failed = |errno| Error::system("wait for", given, errno);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(init.as_fd(), PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().contains(PollFlags::HUP) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    let seen = pidfd_exit(init.as_fd()).map(Exit::shell_code);
    // One that is removed when it ends has no record, and is gone when this returns.
    if config.rm() {
        crate::stop::settle(home, &cell::Cell::of(home, &config.id))?;
        return seen.ok_or_else(|| unseen(given));
    }
    match find::container(home, &config.id) {
        Ok(Container { state: State::Exited(ended), .. }) => of_record(given, &ended),
        Ok(Container { state: State::Restarting(_), .. }) => wait(home, given),
        // It was removed, or started again.
        Ok(_) | Err(_) => seen.ok_or_else(|| unseen(given)),
    }
}

fn recorded(home: &Home, given: &str, id: &str) -> Result<u8, Error> {
    match find::container(home, id)?.state {
        State::Exited(ended) => of_record(given, &ended),
        _ => Err(unseen(given)),
    }
}

fn of_record(given: &str, ended: &cell::Ended) -> Result<u8, Error> {
    ended.code.ok_or_else(|| unseen(given))
}

fn unseen(given: &str) -> Error {
    Error::State {
        id: given.to_owned(),
        why: "has ended, and nobody saw how: its holder and its keeper were killed".to_owned(),
    }
}

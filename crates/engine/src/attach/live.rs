//! `berth attach`: the streams of a container that runs already, whoever started it.
//!
//! Any number of clients at once, and none of them can hold the container up: what it writes is read from its log, from the
//! log's end on, and what is typed goes through descriptors of its holder's (pidfd_getfd(2)):
//!
//! ```text
//! container ─▶ FIFO or terminal ─▶ keeper ─▶ log ─▶ this ─▶ the caller's stdout and stderr
//! the caller's stdin ─▶ this ─▶ the terminal's master, or the pipe that `-d -i` left open ─▶ container
//! ```

use super::pump::write_all;
use super::{Attached, Outcome, Source, Streams, stay, terminal};
use crate::cell::{self, Cell, Running};
use crate::find::{self, State};
use crate::log::{self, Cursor, Stream};
use crate::logs::Follower;
use crate::request::AttachRequest;
use crate::{Error, Home, pause};
use linux::{Errno, process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

/// Pieces of output that are passed on before input and signals have their turn.
const PIECES_MAX: u32 = 64;

/// Bytes read from the log at once.
const READ_BYTES: usize = 64 << 10;

/// Major and minor number of the kernel's multiplexer of terminals, which a master is opened by.
const PTMX: (u32, u32) = (5, 2);

/// Stays with a running container until it ends or the client leaves.
///
/// Errors: [`Error::State`] for one that doesn't run or is paused, or whose input can't be reached.
pub fn attach_running(home: &Home, request: &AttachRequest) -> Result<Outcome, Error> {
    let given = &request.container;
    let container = find::container(home, given)?;
    let refused = |why: &str| Error::State { id: given.clone(), why: why.to_owned() };
    let State::Running(running) = &container.state else {
        return Err(refused("is stopped: you cannot attach to a stopped container, start it first"));
    };
    if pause::is_paused(running) {
        return Err(refused("is paused: you cannot attach to a paused container, unpause it first"));
    }
    let config = &container.config;
    let (tty, interactive) = (config.request.tty, config.request.interactive && request.stdin);
    if tty && interactive && !rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Error::invalid("attach", "the input device is not a TTY; --no-stdin shows the output"));
    }
    let init = running.init.open().ok_or_else(|| refused("has just ended"))?;
    let live = Live::new(home, &container)?;
    let no_way =
        || refused("has lost its holder, and with it the way to its input; --no-stdin shows the output");
    let master = match tty {
        true => Some(of_holder(running, master_number(running)).ok_or_else(no_way)?),
        false => None,
    };
    let stdin_writer = match interactive && !tty {
        // Without one, whoever started it has the other end.
        true => running.stdin_fd.and_then(|number| of_holder(running, Some(number))),
        false => None,
    };
    if let Some(master) = &master {
        terminal::nudge(master.as_fd());
    }
    let streams = Streams {
        interactive,
        tty,
        stdin_writer,
        detach_keys: request.detach_keys.clone(),
        sig_proxy: request.sig_proxy && !tty,
        ..Streams::default()
    };
    crate::events::container(home, config, "attach", &[]);
    stay(Source::Log(Box::new(live)), streams, master, Some(init))
}

/// Number of the holder's descriptor of the container's terminal: it has but one.
fn master_number(running: &Running) -> Option<i32> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", running.holder.pid)).ok()?;
    let is_master = |number: &i32| {
        let path = format!("/proc/{}/fd/{number}", running.holder.pid);
        rustix::fs::stat(path.as_str())
            .is_ok_and(|stat| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == PTMX)
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_master)
}

/// A descriptor of the holder's, shared with it.
fn of_holder(running: &Running, number: Option<i32>) -> Option<OwnedFd> {
    let holder = running.holder.open()?;
    process::pidfd_getfd(holder.as_fd(), number?).ok()
}

/// The output of a container, from where it was when somebody attached.
pub(super) struct Live {
    home: Home,
    cell: Cell,
    follower: Follower,
    cursor: Cursor,
    buffer: Vec<u8>,
    /// Streams of the caller's that nobody reads any more.
    discards: [bool; 2],
    /// Whether there is more to be passed on at once.
    more: bool,
}

impl Live {
    fn new(home: &Home, container: &find::Container) -> Result<Live, Error> {
        // Watched before reading: what comes in between is then noticed.
        let follower = Follower::new(home, container)?;
        let cursor = Cursor::at_end(log::frames_of(home, &container.config))?;
        Ok(Live {
            home: home.clone(),
            cell: container.cell(home),
            follower,
            cursor,
            buffer: vec![0; READ_BYTES],
            discards: [false; 2],
            more: false,
        })
    }

    /// What becomes readable when there is more of it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.follower.fd()
    }

    /// Whether it's to be looked at without waiting.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Passes on what the log has, for a while.
    fn pass_on(&mut self) -> Result<(), Error> {
        let failed = |what, errno| Error::system(what, "the container's output", errno);
        self.more = true;
        for _ in 0..PIECES_MAX {
            let Some((header, there)) = self.cursor.next_piece()? else {
                self.more = false;
                return Ok(());
            };
            let length = self.buffer.len().min(there as usize);
            let read = self.cursor.read(&mut self.buffer[..length]).map_err(|e| failed("read", e))?;
            let to = match header.stream {
                Stream::Stdout => rustix::stdio::stdout(),
                Stream::Stderr => rustix::stdio::stderr(),
            };
            let discards = &mut self.discards[header.stream.index()];
            match write_all(to, &self.buffer[..read]) {
                _ if *discards => {}
                // As any program in a pipeline whose reader is gone; the container runs on.
                Err(Errno::PIPE) => *discards = true,
                other => other.map_err(|e| failed("pass on", e))?,
            }
        }
        Ok(())
    }
}

impl Attached<'_> {
    /// News of the log: more output, or the end.
    pub(super) fn hear_log(&mut self) -> Result<(), Error> {
        let Source::Log(live) = &mut self.source else { return Ok(()) };
        live.follower.wait(Some(SystemTime::now()))?;
        // Asked before reading: whatever was written before the end is then read.
        let is_over = live.follower.is_over();
        live.pass_on()?;
        if is_over && !live.more && self.end.is_none() {
            let recorded = live.cell.ended().or_else(|| cell::read_ended(&live.home, &live.cell.id));
            let code = recorded.and_then(|ended| ended.code).or_else(|| {
                // One that leaves no record.
                let exit = process::pidfd_exit(self.init.as_ref()?.as_fd())?;
                Some(exit.shell_code())
            });
            self.end = Some((code, [0; 2]));
        }
        Ok(())
    }
}

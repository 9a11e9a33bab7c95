//! A client's connection: queries with their lengths before them, one after another or many at once; answers as they come.
//! Source: RFC 7766.

use super::message::MESSAGE_BYTES_MAX;
use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Longest query: a name, and what EDNS has to say.
pub(super) const QUERY_BYTES_MAX: usize = 2048;
/// How long a client may take for its next query, or for an answer.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Most answers that a client is owed by others before it's read on.
const OWED_MAX: usize = 8;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Answers that are being waited for.
    pub(super) owed: usize,
    /// When it has been idle for too long.
    pub(super) deadline: Instant,
    /// What it's polled for.
    pub(super) interest: EventFlags,
    /// Whether the client has said all.
    finished: bool,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Self {
        Connection {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            owed: 0,
            deadline: now + IDLE_MAX,
            interest: EventFlags::IN,
            finished: false,
        }
    }

    /// What it's to be polled for. As long as it doesn't take answers, it gets none.
    pub(super) fn wanted(&self) -> EventFlags {
        if !self.output.is_empty() {
            EventFlags::OUT
        } else if self.is_ready() && !self.finished {
            EventFlags::IN
        } else {
            EventFlags::empty()
        }
    }

    /// Whether nothing more is to be done.
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.owed == 0 && self.output.is_empty()
    }

    /// Bytes of answers that it hasn't taken.
    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.output.len()
    }

    fn is_ready(&self) -> bool {
        self.output.is_empty() && self.owed < OWED_MAX
    }

    /// Receives what there is, once. Errors end the connection.
    pub(super) fn receive(&mut self) -> Result<()> {
        let mut space = [0; 2 + QUERY_BYTES_MAX];
        // A whole message leaves the input before more is received.
        let room = space.len() - self.input.len().min(space.len());
        if room == 0 {
            return Ok(());
        }
        match recv(&self.socket, &mut space[..room], RecvFlags::empty()) {
            Ok((_, 0)) => self.finished = true,
            Ok((_, length)) => self.input.extend(&space[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// The next query, if there is a whole one and its answer would find room. Errors end the connection.
    pub(super) fn next_query(&mut self, now: Instant) -> Result<Option<Vec<u8>>> {
        if !self.is_ready() {
            return Ok(None);
        }
        let Some((length, rest)) = self.input.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if !(1..=QUERY_BYTES_MAX).contains(&length) {
            return Err(Errno::MSGSIZE);
        }
        let Some(query) = rest.get(..length) else { return Ok(None) };
        let query = query.to_vec();
        self.input.drain(..2 + length);
        self.deadline = now + IDLE_MAX;
        Ok(Some(query))
    }

    /// Sends an answer, as much of it as fits; the rest waits for [`Connection::flush`].
    pub(super) fn push(&mut self, answer: &[u8], now: Instant) -> Result<()> {
        debug_assert!(answer.len() <= MESSAGE_BYTES_MAX);
        self.output.extend((answer.len() as u16).to_be_bytes());
        self.output.extend(answer);
        self.flush(now)
    }

    /// Sends what is left. Errors end the connection.
    pub(super) fn flush(&mut self, now: Instant) -> Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        match send(&self.socket, &self.output, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.output.drain(..sent);
                self.deadline = now + IDLE_MAX;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        Ok(())
    }
}

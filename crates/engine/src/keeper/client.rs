//! The client that a container was started by: gets its output through two pipes, and news through a socket.

use crate::Error;
use crate::log::{Cursor, Header};
use crate::wire::{self, FromClient, ToClient};
use linux::Errno;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The descriptors.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    pipes: Option<[OwnedFd; 2]>,
}

impl Client {
    /// A client on `socket`, with pipes if it wants the output.
    pub fn new(socket: &OwnedFd, pipes: Option<[OwnedFd; 2]>) -> Result<Client, Error> {
        let socket = socket.try_clone().map_err(|error| Error::io("keep", "the client's socket", &error))?;
        Ok(Client { socket, pipes })
    }

    /// The descriptors' numbers.
    pub fn raw(&self) -> Vec<i32> {
        [self.socket.as_raw_fd()]
            .into_iter()
            .chain(self.pipes.iter().flatten().map(AsRawFd::as_raw_fd))
            .collect()
    }

    /// Serves it from `log`, of whose streams so many bytes are older than the container's start.
    pub(super) fn feed(&self, log: PathBuf, begin: [u64; 2], generation: u32) -> Feed<'_> {
        if generation > 0 {
            let _ = wire::send(&self.socket, &ToClient::Resume { generation }, &[]);
        }
        Feed {
            client: self,
            cursor: Cursor::before(log, begin),
            begin,
            sent: begin,
            generation,
            waits_for_totals: generation > 0,
            blocked: None,
        }
    }
}

/// A client being served.
pub(super) struct Feed<'a> {
    client: &'a Client,
    cursor: Cursor,
    /// Bytes of each stream that aren't for it.
    begin: [u64; 2],
    /// Those, and the bytes of each stream that it has or that are in its pipes.
    sent: [u64; 2],
    generation: u32,
    /// Whether it has yet to say how much it got from an earlier keeper.
    waits_for_totals: bool,
    /// The stream whose pipe is full.
    blocked: Option<usize>,
}

impl<'a> Feed<'a> {
    pub fn socket(&self) -> BorrowedFd<'a> {
        self.client.socket.as_fd()
    }

    /// The pipe that must have room before anything more can be sent.
    pub fn blocked_on(&self) -> Option<BorrowedFd<'a>> {
        Some(self.client.pipes.as_ref()?[self.blocked?].as_fd())
    }

    /// Number of the log's first file that it still needs.
    pub fn first_file(&self) -> Option<u64> {
        self.client.pipes.as_ref().map(|_| self.cursor.number())
    }

    /// Bytes of the log that it hasn't been sent.
    pub fn lag(&self, totals: [u64; 2]) -> u64 {
        match self.client.pipes {
            Some(_) => (0..2).map(|n| totals[n].saturating_sub(self.sent[n])).sum(),
            None => 0,
        }
    }

    /// Tells it of the end, with what the log has of each stream.
    pub fn tell_end(&self, code: Option<u8>, oom_killed: bool, totals: [u64; 2]) -> Result<(), Errno> {
        let totals = [0, 1].map(|n| totals[n].saturating_sub(self.begin[n]));
        wire::send(&self.client.socket, &ToClient::Exited { code, oom_killed, totals }, &[])
    }

    /// Takes a message; an error means that the client is gone.
    pub fn hear(&mut self) -> Result<(), Errno> {
        match wire::receive::<FromClient>(&self.client.socket)? {
            Some((FromClient::Have { generation, totals }, _)) => {
                if generation == self.generation {
                    self.sent = [0, 1].map(|n| self.begin[n] + totals[n]);
                    self.waits_for_totals = false;
                }
                Ok(())
            }
            Some((FromClient::Masked | FromClient::Recorded, _)) => Ok(()),
            None => Err(Errno::PIPE),
        }
    }

    /// Sends what the log has for it, until its pipe is full or there is no more.
    pub fn pump(&mut self) -> Result<(), Errno> {
        let Some(pipes) = &self.client.pipes else { return Ok(()) };
        if self.waits_for_totals {
            return Ok(());
        }
        loop {
            let piece = self.cursor.next_piece().map_err(|_| Errno::IO)?;
            let Some((header, left)) = piece else {
                self.blocked = None;
                return Ok(());
            };
            let stream = header.stream.index();
            let had = self.already_sent(&header, left);
            if had > 0 {
                self.cursor.skip(had);
                continue;
            }
            match self.cursor.splice_to(pipes[stream].as_fd(), left) {
                Ok(moved) => self.sent[stream] += u64::from(moved),
                Err(Errno::AGAIN) => {
                    self.blocked = Some(stream);
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// How many of the `left` bytes that follow in this frame the client has from an earlier keeper.
    fn already_sent(&self, header: &Header, left: u32) -> u32 {
        let at = header.offset + u64::from(header.length - left.min(header.length));
        self.sent[header.stream.index()].saturating_sub(at).min(left.into()) as u32
    }

    /// Sends the rest, waiting for the client as long as it takes and it's there.
    pub fn deliver_rest(&mut self) -> Result<(), Errno> {
        loop {
            self.pump()?;
            if self.client.pipes.is_none() || (self.blocked.is_none() && !self.waits_for_totals) {
                return Ok(());
            }
            let mut fds = vec![PollFd::new(&self.client.socket, PollFlags::IN)];
            if let Some(pipe) = self.blocked_on() {
                fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::OUT));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            if fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP) {
                self.hear()?;
            }
        }
    }
}

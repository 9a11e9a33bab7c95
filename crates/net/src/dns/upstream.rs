//! One question that was passed on: whom it's asked, in turn, over which socket, and who waits for the answer.
//!
//! Each attempt has a socket of its own, connected, so that its port is random and only the resolver's own datagrams reach
//! it, and an id of its own. Somebody who can't see the query has to guess both, about 31 bits, while it's outstanding; and
//! since the same question of several clients is asked once, there are not many to be guessed at.

use super::message::{MESSAGE_BYTES_MAX, Query, Reply, judge};
use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long each of one or two resolvers may take; glibc's client waits for 5 s.
const PATIENCE: Duration = Duration::from_millis(2000);
/// The same if there are more.
const SHORT_PATIENCE: Duration = Duration::from_millis(1500);

/// Most datagrams that are looked at in one go; others wait, behind what else there is to do.
const STRAYS_PER_TURN: usize = 16;

/// Where an attempt has got to.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nowhere new.
    Pending,
    /// To an answer.
    Answered(Vec<u8>),
    /// To a refusal.
    Refused(Vec<u8>),
    /// To an end.
    Failed,
}

/// An attempt to get an answer.
#[derive(Debug)]
enum Link {
    Udp(OwnedFd),
    Tcp { socket: OwnedFd, unsent: Vec<u8>, input: Vec<u8> },
}

/// A question that was passed on.
#[derive(Debug)]
pub(super) struct Outstanding<W> {
    /// The query as the first client sent it.
    message: Box<[u8]>,
    /// Who waits.
    pub(super) waiters: Vec<W>,
    /// Whether it came by TCP, and so is asked.
    pub(super) stream: bool,
    /// When it was asked, in changes of who's to be asked.
    pub(super) era: u64,
    /// Whom it's to be asked, from the last to the first.
    servers: Vec<SocketAddr>,
    /// Whom it was asked last.
    server: Option<SocketAddr>,
    patience: Duration,
    id: u16,
    /// When somebody else is asked.
    pub(super) deadline: Instant,
    link: Option<Link>,
}

impl<W> Outstanding<W> {
    /// Asks nobody yet.
    pub(super) fn new(
        query: &Query<'_>,
        stream: bool,
        era: u64,
        waiter: W,
        servers: &[SocketAddr],
        now: Instant,
    ) -> Self {
        let mut order: Vec<SocketAddr> = servers.iter().rev().copied().collect();
        if let [only] = servers
            && !stream
        {
            // A datagram may be lost.
            order.push(*only);
        }
        Outstanding {
            message: query.bytes().into(),
            waiters: vec![waiter],
            stream,
            era,
            patience: if servers.len() > 2 { SHORT_PATIENCE } else { PATIENCE },
            servers: order,
            server: None,
            id: 0,
            deadline: now,
            link: None,
        }
    }

    /// The query, as it came.
    pub(super) fn query(&self) -> Option<Query<'_>> {
        Query::parse(&self.message).ok()
    }

    /// Whether a message asks the same, letter for letter, but for its id.
    pub(super) fn asks(&self, message: &[u8], stream: bool, era: u64) -> bool {
        self.stream == stream
            && self.era == era
            && self.message.len() == message.len()
            && self.message[2..] == message[2..]
    }

    /// Asks nobody but those from now on.
    pub(super) fn keep_servers(&mut self, servers: &[SocketAddr]) {
        self.servers.retain(|server| servers.contains(server));
    }

    /// Whom it was asked last.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// The socket of the attempt, to be polled.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(|link| match link {
            Link::Udp(socket) | Link::Tcp { socket, .. } => socket.as_fd(),
        })
    }

    /// What the socket is polled for.
    pub(super) fn interest(&self) -> EventFlags {
        match &self.link {
            Some(Link::Tcp { unsent, .. }) if !unsent.is_empty() => EventFlags::OUT,
            _ => EventFlags::IN,
        }
    }

    /// Asks the next: false if there is none. Whose refusal it was that led here isn't asked again.
    pub(super) fn ask_next(&mut self, refused: bool, now: Instant) -> bool {
        self.link = None;
        if refused {
            self.servers.retain(|server| Some(*server) != self.server);
        }
        while let Some(server) = self.servers.pop() {
            self.server = Some(server);
            if let Ok(link) = self.ask(server) {
                self.link = Some(link);
                self.deadline = now + self.patience;
                return true;
            }
        }
        false
    }

    fn ask(&mut self, server: SocketAddr) -> Result<Link> {
        let mut id = [0; 2];
        if rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::NONBLOCK)? != id.len() {
            return Err(Errno::AGAIN);
        }
        self.id = u16::from_be_bytes(id);
        let mut message = self.message.to_vec();
        message[..2].copy_from_slice(&id);
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if !self.stream {
            let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
            connect(&socket, &server)?;
            send(&socket, &message, SendFlags::NOSIGNAL)?;
            return Ok(Link::Udp(socket));
        }
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let mut unsent = u16::try_from(message.len()).map_err(|_| Errno::MSGSIZE)?.to_be_bytes().to_vec();
        unsent.extend(message);
        Ok(Link::Tcp { socket, unsent, input: Vec::new() })
    }

    /// Goes on after the socket was polled. `space` is for a message of any length.
    pub(super) fn proceed(&mut self, space: &mut [u8]) -> Progress {
        let received = match &mut self.link {
            None => return Progress::Pending,
            Some(Link::Udp(socket)) => {
                return receive_datagrams(socket, space, &self.message, self.id);
            }
            Some(Link::Tcp { socket, unsent, input }) => proceed_stream(socket, unsent, input, space),
        };
        match received {
            Ok(None) => Progress::Pending,
            Ok(Some(reply)) => {
                match Query::parse(&self.message).map(|query| judge(&query, self.id, &reply)) {
                    Ok(Reply::Answer) => Progress::Answered(reply),
                    Ok(Reply::Failure) => Progress::Refused(reply),
                    // Nobody else talks in a connection of ours.
                    _ => Progress::Failed,
                }
            }
            Err(_) => Progress::Failed,
        }
    }
}

fn receive_datagrams(socket: &OwnedFd, space: &mut [u8], message: &[u8], id: u16) -> Progress {
    let Ok(query) = Query::parse(message) else { return Progress::Failed };
    for _ in 0..STRAYS_PER_TURN {
        let reply = match recv(socket, &mut *space, RecvFlags::empty()) {
            Ok((_, length)) => &space[..length.min(space.len())],
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Progress::Pending,
            // There is nobody: what ICMP said.
            Err(_) => return Progress::Failed,
        };
        match judge(&query, id, reply) {
            Reply::Answer => return Progress::Answered(reply.to_vec()),
            Reply::Failure => return Progress::Refused(reply.to_vec()),
            Reply::Stray => {}
        }
    }
    Progress::Pending
}

/// Sends what is unsent, or receives: a whole message, or nothing yet.
fn proceed_stream(
    socket: &OwnedFd,
    unsent: &mut Vec<u8>,
    input: &mut Vec<u8>,
    space: &mut [u8],
) -> Result<Option<Vec<u8>>> {
    if !unsent.is_empty() {
        match send(socket, unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => _ = unsent.drain(..sent),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        return Ok(None);
    }
    match recv(socket, &mut *space, RecvFlags::empty()) {
        Ok((_, 0)) => return Err(Errno::CONNRESET),
        Ok((_, length)) => input.extend(&space[..length]),
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if rest.len() > length || input.len() > 2 + MESSAGE_BYTES_MAX {
        // One answer, and no more.
        return Err(Errno::BADMSG);
    }
    Ok((rest.len() == length).then(|| rest.to_vec()))
}

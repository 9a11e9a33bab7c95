//! The server: sockets, whom they belong to, what is to be done next.
//!
//! ```text
//! client ──udp──▶ batch ──▶ known? ──yes──▶ answer
//!        ──tcp──▶ Connection   │no
//!                              └──▶ Cache? ──no──▶ Outstanding ──own socket, host's namespace──▶ resolver
//! ```
//!
//! Bounds: [`OUTSTANDING_MAX`] questions passed on, [`CONNECTIONS_MAX`] connections (who has been idle the longest goes if
//! another comes), so many steps in each [`Server::turn`]. Nothing is allocated for a name that we answer by UDP.

use super::answer::{Decision, Transport, decide};
use super::cache::Cache;
use super::known::Known;
use super::message::{MESSAGE_BYTES_MAX, Query, Rcode, empty_reply, readdress, truncated_reply};
use super::stream::{Connection, QUERY_BYTES_MAX};
use super::upstream::{Outstanding, Progress};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recvfrom, sendto};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Most questions that are passed on at once.
pub const OUTSTANDING_MAX: usize = 256;
/// Those of them that came by TCP, for the answers to which there must be room.
const STREAMS_MAX: usize = 32;
/// Most clients that wait for their answers: a hundred processes that begin at once ask for one name.
const WAITERS_MAX: usize = 2048;
/// Most connections of clients.
pub const CONNECTIONS_MAX: usize = 32;
/// Datagrams that are received before the first is answered.
const BATCH: usize = 8;
/// Batches in one turn.
const BATCHES_PER_TURN: usize = 8;
/// Connections that are accepted in one turn.
const ACCEPTS_PER_TURN: usize = 32;
/// How long a resolver that didn't answer is asked last.
const DOWN: Duration = Duration::from_secs(10);
/// How long nobody is accepted after there were no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const UDP: u64 = 0;
const TCP: u64 = 1;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Udp(SocketAddrV4),
    Tcp(u64),
}

/// Who waits for what was passed on.
#[derive(Debug, PartialEq, Eq)]
struct Waiter {
    client: Client,
    id: [u8; 2],
}

/// A container's server. It does nothing but in [`Server::turn`].
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
    udp: OwnedFd,
    tcp: OwnedFd,
    pub(super) known: Known,
    cache: Cache,
    /// Keys are never used twice, so that an event of what is gone meets nobody.
    outstanding: BTreeMap<u64, Outstanding<Waiter>>,
    pub(super) connections: BTreeMap<u64, Connection>,
    next_key: u64,
    /// Resolvers that didn't answer, and until when they're asked last.
    down: Vec<(SocketAddr, Instant)>,
    /// When connections are accepted again.
    accept_at: Option<Instant>,
    /// Counts changes of the container's file. What was asked before one isn't kept after it.
    era: u64,
    /// Which of several addresses comes first at first.
    first: u32,
    input: Box<[u8]>,
    out: Vec<u8>,
    /// For what resolvers say; untouched, and so no memory, until one does.
    space: Vec<u8>,
}

impl AsFd for Server {
    /// What is to be polled for reading.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Server {
    /// A server on sockets that [`super::bind_in_current_namespace`] made, for the container whose file is `names`.
    pub fn new(udp: OwnedFd, tcp: OwnedFd, names: PathBuf) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &udp, EventData::new_u64(UDP), EventFlags::IN)?;
        epoll::add(&epoll, &tcp, EventData::new_u64(TCP), EventFlags::IN)?;
        let mut first = [0; 4];
        // No secret: without randomness at boot, the first is the first.
        _ = rustix::rand::getrandom(&mut first, rustix::rand::GetRandomFlags::NONBLOCK);
        Ok(Server {
            epoll,
            udp,
            tcp,
            known: Known::new(names),
            cache: Cache::default(),
            outstanding: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_key: TCP + 1,
            down: Vec::new(),
            accept_at: None,
            era: 0,
            first: u32::from_ne_bytes(first),
            input: vec![0; BATCH * QUERY_BYTES_MAX].into(),
            out: Vec::new(),
            space: Vec::new(),
        })
    }

    /// The sockets that were given, for who hands them on.
    pub fn sockets(&self) -> [RawFd; 2] {
        [self.udp.as_raw_fd(), self.tcp.as_raw_fd()]
    }

    /// When [`Server::turn`] is to be called though there is nothing to be read. Nothing if nobody waits for anything.
    pub fn deadline(&self) -> Option<Instant> {
        let questions = self.outstanding.values().map(|outstanding| outstanding.deadline);
        let connections = self.connections.values().map(|connection| connection.deadline);
        questions.chain(connections).chain(self.accept_at).min()
    }

    /// Does what can be done now, but not endlessly: if there is more, [`Server::as_fd`] stays readable.
    pub fn turn(&mut self) -> Result<()> {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 32];
        let events = match epoll::wait(&self.epoll, &mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let now = Instant::now();
        for event in &*events {
            match { event.data }.u64() {
                UDP => self.serve_datagrams(now),
                TCP => self.accept(now),
                key if self.outstanding.contains_key(&key) => self.proceed(key, now),
                key => self.serve_connection(key, event.flags, now),
            }
        }
        self.expire(now);
        Ok(())
    }

    fn serve_datagrams(&mut self, now: Instant) {
        let mut input = std::mem::take(&mut self.input);
        for _ in 0..BATCHES_PER_TURN {
            let mut batch: [Option<(usize, SocketAddrV4)>; BATCH] = [const { None }; BATCH];
            let mut count = 0;
            for (space, slot) in input.chunks_exact_mut(QUERY_BYTES_MAX).zip(&mut batch) {
                // The true length of what is too long.
                let Ok((_, length, Some(client))) =
                    recvfrom(&self.udp, space, RecvFlags::TRUNC | RecvFlags::DONTWAIT)
                else {
                    break;
                };
                *slot = SocketAddrV4::try_from(client).ok().map(|client| (length, client));
                count += 1;
            }
            if count == 0 {
                break;
            }
            // After the questions came, before they are answered: what was so when somebody asked, is so.
            self.refresh();
            for (space, slot) in input.chunks_exact(QUERY_BYTES_MAX).zip(batch) {
                // What is too long is malformed for us, since it isn't whole.
                if let Some((length, client)) = slot {
                    self.serve(&space[..length.min(QUERY_BYTES_MAX)], Client::Udp(client), now);
                }
            }
            if count < BATCH {
                break;
            }
        }
        self.input = input;
    }

    fn refresh(&mut self) {
        if self.known.refresh() {
            self.begin_era();
        }
    }

    /// Looks whom to ask now, before a question is passed on, or an answer told that was.
    fn refresh_ways_out(&mut self) {
        if self.known.refresh_ways_out() {
            self.begin_era();
        }
    }

    /// Others may be responsible now, or nobody.
    fn begin_era(&mut self) {
        self.era += 1;
        self.cache.clear();
        self.down.clear();
    }

    /// Answers a query, or passes it on.
    fn serve(&mut self, message: &[u8], client: Client, now: Instant) {
        let mut out = std::mem::take(&mut self.out);
        let transport = match client {
            Client::Udp(_) => Transport::Udp,
            Client::Tcp(_) => Transport::Tcp,
        };
        match decide(&mut out, message, transport, &self.known, self.first) {
            Decision::Ignore => {}
            Decision::Reply => self.send(&client, &out, now),
            Decision::Forward(query) => {
                self.refresh_ways_out();
                if self.cache.answer(&mut out, &query, now) {
                    if out.len() > transport.limit(&query) {
                        truncated_reply(&mut out, &query);
                    }
                    self.send(&client, &out, now);
                } else if !self.forward(&query, client, now) {
                    empty_reply(&mut out, &query, Rcode::ServFail);
                    self.send(&client, &out, now);
                }
            }
        }
        self.out = out;
    }

    /// Sends an answer; whoever doesn't take it asks again.
    fn send(&mut self, client: &Client, answer: &[u8], now: Instant) {
        match client {
            Client::Udp(address) => {
                _ = sendto(&self.udp, answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, address);
            }
            Client::Tcp(key) => {
                if let Some(connection) = self.connections.get_mut(key)
                    && connection.push(answer, now).is_err()
                {
                    self.close(*key);
                }
            }
        }
    }

    /// Passes a question on: false if it can't be.
    fn forward(&mut self, query: &Query<'_>, client: Client, now: Instant) -> bool {
        let message = query.bytes();
        let stream = matches!(client, Client::Tcp(_));
        let waiter = Waiter { client, id: [message[0], message[1]] };
        if self.outstanding.values().map(|outstanding| outstanding.waiters.len()).sum::<usize>()
            >= WAITERS_MAX
        {
            return false;
        }
        let era = self.era;
        let same = self.outstanding.values_mut().find(|outstanding| outstanding.asks(message, stream, era));
        if let Some(outstanding) = same {
            // A client that repeats itself waits already.
            if !stream && outstanding.waiters.contains(&waiter) {
                return true;
            }
            outstanding.waiters.push(waiter);
        } else if !self.ask(query, stream, waiter, now) {
            return false;
        }
        if let Client::Tcp(key) = client
            && let Some(connection) = self.connections.get_mut(&key)
        {
            connection.owed += 1;
        }
        true
    }

    /// Asks a question that isn't asked already.
    fn ask(&mut self, query: &Query<'_>, stream: bool, waiter: Waiter, now: Instant) -> bool {
        let streams = self.outstanding.values().filter(|outstanding| outstanding.stream).count();
        if self.outstanding.len() >= OUTSTANDING_MAX || stream && streams >= STREAMS_MAX {
            return false;
        }
        let servers = self.servers(now);
        let mut outstanding = Outstanding::new(query, stream, self.era, waiter, &servers, now);
        let key = self.next_key;
        self.next_key += 1;
        let asked = outstanding.ask_next(false, now) && self.poll(key, &outstanding).is_ok();
        if asked {
            self.outstanding.insert(key, outstanding);
        }
        asked
    }

    /// Whom to ask: as the container's file says, but who has been silent comes last.
    fn servers(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.down.retain(|(_, until)| *until > now);
        let mut servers = self.known.ways_out().to_vec();
        servers.sort_by_key(|server| self.down.iter().any(|(down, _)| down == server));
        servers
    }

    fn poll(&self, key: u64, outstanding: &Outstanding<Waiter>) -> Result<()> {
        let socket = outstanding.socket().ok_or(Errno::BADF)?;
        epoll::add(&self.epoll, socket, EventData::new_u64(key), outstanding.interest())
    }

    /// The socket is closed next. Somebody forked off us may have it still, and then it would be polled on.
    fn forget(&self, socket: Option<BorrowedFd<'_>>) {
        if let Some(socket) = socket {
            _ = epoll::delete(&self.epoll, socket);
        }
    }

    /// Goes on with a question that was passed on.
    fn proceed(&mut self, key: u64, now: Instant) {
        let Some(outstanding) = self.outstanding.get_mut(&key) else { return };
        if self.space.is_empty() {
            self.space = vec![0; MESSAGE_BYTES_MAX];
        }
        match outstanding.proceed(&mut self.space) {
            Progress::Pending => {
                if let Some(socket) = outstanding.socket() {
                    let data = EventData::new_u64(key);
                    if outstanding.stream {
                        _ = epoll::modify(&self.epoll, socket, data, outstanding.interest());
                    }
                }
            }
            Progress::Answered(reply) => self.finish(key, reply, now),
            Progress::Refused(reply) => self.ask_next(key, Some(reply), now),
            Progress::Failed => {
                self.note_down(key, now);
                self.ask_next(key, None, now);
            }
        }
    }

    fn note_down(&mut self, key: u64, now: Instant) {
        let Some(server) = self.outstanding.get(&key).and_then(Outstanding::server) else { return };
        self.down.retain(|(down, until)| *down != server && *until > now);
        self.down.push((server, now + DOWN));
    }

    /// Asks the next resolver, or tells the clients that there is none.
    fn ask_next(&mut self, key: u64, refusal: Option<Vec<u8>>, now: Instant) {
        let Some(mut outstanding) = self.outstanding.remove(&key) else { return };
        self.forget(outstanding.socket());
        // There may be no way out any more.
        self.refresh();
        self.refresh_ways_out();
        outstanding.keep_servers(self.known.ways_out());
        if outstanding.ask_next(refusal.is_some(), now) && self.poll(key, &outstanding).is_ok() {
            self.outstanding.insert(key, outstanding);
            return;
        }
        let reply = refusal.filter(|reply| reply.len() > super::message::HEADER_BYTES).or_else(|| {
            let mut reply = Vec::new();
            empty_reply(&mut reply, &outstanding.query()?, Rcode::ServFail);
            Some(reply)
        });
        self.tell(&outstanding, reply.unwrap_or_default(), now);
    }

    fn finish(&mut self, key: u64, reply: Vec<u8>, now: Instant) {
        let Some(outstanding) = self.outstanding.remove(&key) else { return };
        self.forget(outstanding.socket());
        if let Some(query) = outstanding.query()
            && outstanding.era == self.era
        {
            self.cache.keep(&query, &reply, now);
        }
        self.tell(&outstanding, reply, now);
    }

    /// Gives all who wait their answer.
    fn tell(&mut self, outstanding: &Outstanding<Waiter>, mut reply: Vec<u8>, now: Instant) {
        let Some(query) = outstanding.query() else { return };
        readdress(&mut reply, &query);
        for waiter in &outstanding.waiters {
            reply[..2].copy_from_slice(&waiter.id);
            if let Client::Tcp(key) = waiter.client
                && let Some(connection) = self.connections.get_mut(&key)
            {
                connection.owed = connection.owed.saturating_sub(1);
            }
            self.send(&waiter.client, &reply, now);
            if let Client::Tcp(key) = waiter.client {
                // It may have queries that waited for this.
                self.pump(key, now);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            match accept_with(&self.tcp, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => self.welcome(socket, now),
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    if epoll::delete(&self.epoll, &self.tcp).is_ok() {
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                    }
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd, now: Instant) {
        if self.connections.len() >= CONNECTIONS_MAX {
            let idle = self.connections.iter().min_by_key(|(_, connection)| connection.deadline);
            if let Some(key) = idle.map(|(key, _)| *key) {
                self.close(key);
            }
        }
        let key = self.next_key;
        self.next_key += 1;
        if epoll::add(&self.epoll, &socket, EventData::new_u64(key), EventFlags::IN).is_ok() {
            self.connections.insert(key, Connection::new(socket, now));
        }
    }

    fn close(&mut self, key: u64) {
        if let Some(connection) = self.connections.remove(&key) {
            self.forget(Some(connection.socket.as_fd()));
        }
    }

    fn serve_connection(&mut self, key: u64, flags: EventFlags, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut result = Ok(());
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            result = Err(Errno::CONNRESET);
        } else if flags.contains(EventFlags::OUT) {
            result = connection.flush(now);
        } else if flags.contains(EventFlags::IN) {
            result = connection.receive();
        }
        match result {
            Ok(()) => self.pump(key, now),
            Err(_) => self.close(key),
        }
    }

    /// Serves the queries that have come, and polls the connection for what it waits for.
    fn pump(&mut self, key: u64, now: Instant) {
        while let Some(connection) = self.connections.get_mut(&key) {
            match connection.next_query(now) {
                Ok(Some(query)) => {
                    self.refresh();
                    self.serve(&query, Client::Tcp(key), now);
                }
                Ok(None) => break,
                Err(_) => return self.close(key),
            }
        }
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.is_over() {
            return self.close(key);
        }
        let wanted = connection.wanted();
        if wanted != connection.interest {
            connection.interest = wanted;
            let polled = epoll::modify(&self.epoll, &connection.socket, EventData::new_u64(key), wanted);
            if polled.is_err() {
                self.close(key);
            }
        }
    }

    /// Does what the clock says.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.accept_at.is_some_and(|at| at <= now)
            && epoll::add(&self.epoll, &self.tcp, EventData::new_u64(TCP), EventFlags::IN).is_ok()
        {
            self.accept_at = None;
        }
        if self.outstanding.is_empty() && self.connections.is_empty() {
            return;
        }
        let late = self.outstanding.iter().filter(|(_, outstanding)| outstanding.deadline <= now);
        for key in late.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.note_down(key, now);
            self.ask_next(key, None, now);
        }
        let idle = self.connections.iter().filter(|(_, connection)| connection.deadline <= now);
        for key in idle.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.close(key);
        }
    }
}

//! The server as a client sees it, on sockets on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::message::{Rcode, rr};
use super::*;
use std::fs;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod abuse;
mod forwarding;
mod local;
mod measure;
mod parts;

/// A query as a client writes it.
pub(super) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// The same with EDNS.
pub(super) fn edns(mut bytes: Vec<u8>, udp_bytes: u16, version: u8) -> Vec<u8> {
    bytes[11] += 1;
    bytes.extend([0, 0, 41]);
    bytes.extend(udp_bytes.to_be_bytes());
    bytes.extend([0, version, 0, 0, 0, 0]);
    bytes
}

/// What a reply says, read by other means than ours.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) struct Said {
    pub id: u16,
    pub rcode: u8,
    pub truncated: bool,
    pub authoritative: bool,
    pub question: String,
    /// Type, time, and data as text.
    pub answers: Vec<(u16, u32, String)>,
    pub opt: Option<(u16, u8)>,
}

fn name_at(bytes: &[u8], at: &mut usize) -> String {
    let (mut name, mut here, mut jumped) = (String::new(), *at, false);
    loop {
        let length = usize::from(bytes[here]);
        if length >= 192 {
            if !jumped {
                *at = here + 2;
            }
            jumped = true;
            here = (length & 63) << 8 | usize::from(bytes[here + 1]);
            continue;
        }
        here += 1;
        if length == 0 {
            if !jumped {
                *at = here;
            }
            return name;
        }
        name += &String::from_utf8_lossy(&bytes[here..here + length]);
        name.push('.');
        here += length;
    }
}

/// Reads a whole reply; fails if anything is left over.
pub(super) fn said(bytes: &[u8]) -> Said {
    let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    assert!(bytes[2] & 0x80 != 0, "no reply: {bytes:?}");
    let mut at = 12;
    let mut said = Said {
        id: number(0),
        rcode: bytes[3] & 15,
        truncated: bytes[2] & 2 != 0,
        authoritative: bytes[2] & 4 != 0,
        question: String::new(),
        answers: Vec::new(),
        opt: None,
    };
    for _ in 0..number(4) {
        said.question = name_at(bytes, &mut at);
        at += 4;
    }
    for _ in 0..number(6) + number(8) + number(10) {
        name_at(bytes, &mut at);
        let (kind, class) = (number(at), number(at + 2));
        let ttl = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let length = usize::from(number(at + 8));
        at += 10;
        let data = &bytes[at..at + length];
        let text = match kind {
            rr::A => IpAddr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
            rr::AAAA => IpAddr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
            rr::PTR => name_at(bytes, &mut at.clone()),
            _ => String::new(),
        };
        at += length;
        if kind == rr::OPT {
            said.opt = Some((class, (ttl >> 24) as u8));
        } else {
            said.answers.push((kind, ttl, text));
        }
    }
    assert_eq!(at, bytes.len());
    said
}

impl Said {
    pub(super) fn texts(&self) -> Vec<&str> {
        self.answers.iter().map(|(.., text)| text.as_str()).collect()
    }
}

/// Writes a file as the engine does: beside it, then over it.
pub(super) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test without durable files")]
    fs::rename(&new, path).unwrap();
}

pub(super) fn addresses(text: &[&str]) -> Vec<IpAddr> {
    text.iter().map(|text| text.parse().unwrap()).collect()
}

pub(super) fn name(kind: Kind, name: &str, addresses_: &[&str]) -> Name {
    Name { name: name.into(), addresses: addresses(addresses_), kind }
}

/// A network with a few names.
pub(super) fn network() -> Network {
    Network {
        name: "mynet".into(),
        subnets: vec!["172.18.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()],
        names: vec![
            name(Kind::Name, "Web", &["172.18.0.2", "fd00::2"]),
            name(Kind::Alias, "www", &["172.18.0.2", "fd00::2"]),
            name(Kind::Id, "0123456789ab", &["172.18.0.2", "fd00::2"]),
            name(Kind::Name, "db", &["172.18.0.3"]),
            name(Kind::Alias, "many", &["172.18.0.2"]),
            name(Kind::Alias, "many", &["172.18.0.3"]),
            name(Kind::Name, "a.b", &["172.18.0.4"]),
            name(Kind::Alias, "stopped", &[]),
        ],
    }
}

/// A server that runs on a thread of its own, over files in a directory of its own.
pub(super) struct Running {
    pub dir: tempfile::TempDir,
    pub resolver: Resolver,
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(super) fn new(network: &Network, upstreams: Vec<SocketAddr>) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names");
        replace(&path, &network.to_text());
        let resolver = Resolver {
            forward: true,
            upstreams,
            networks: vec![NetworkFile { path, internal: false }],
            hosts: vec![("host.docker.internal".into(), addresses(&["172.18.0.1"]))],
            links: Vec::new(),
        };
        replace(&dir.path().join("resolver"), &resolver.to_text());
        let (udp, tcp, port) = bind_in_current_namespace().unwrap();
        let mut server = Server::new(udp, tcp, dir.path().join("resolver")).unwrap();
        // Never the host's own resolvers.
        server.known.host =
            host::Followed::new(dir.path().join("resolv.conf"), dir.path().join("resolved.conf"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        #[allow(clippy::disallowed_methods, reason = "a test's")]
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                poll(&server, Duration::from_millis(50));
                server.turn().unwrap();
            }
        });
        Running { dir, resolver, port, stop, thread: Some(thread) }
    }

    pub(super) fn names_path(&self) -> PathBuf {
        self.dir.path().join("names")
    }

    /// Changes the container's file.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Resolver)) {
        change(&mut self.resolver);
        replace(&self.dir.path().join("resolver"), &self.resolver.to_text());
    }

    pub(super) fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect((ADDRESS, self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    pub(super) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect((ADDRESS, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(super) fn ask_raw(&self, message: &[u8]) -> Vec<u8> {
        let socket = self.udp();
        socket.send(message).unwrap();
        receive(&socket)
    }

    pub(super) fn ask(&self, name: &str, kind: u16) -> Said {
        said(&self.ask_raw(&query(4711, name, kind)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

pub(super) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65536];
    let length = socket.recv(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Waits until the server has something to do, or its deadline, or `longest` is over: whether it has.
pub(super) fn poll(server: &Server, longest: Duration) -> bool {
    let left =
        server.deadline().map_or(longest, |at| at.saturating_duration_since(Instant::now()).min(longest));
    let mut fds = [rustix::event::PollFd::new(server, rustix::event::PollFlags::IN)];
    let timeout =
        rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    rustix::event::poll(&mut fds, Some(&timeout)).unwrap() > 0
}

/// The code of a reply.
pub(super) fn code(rcode: Rcode) -> u8 {
    rcode as u16 as u8 & 15
}

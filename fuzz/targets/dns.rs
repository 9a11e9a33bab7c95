//! The DNS server: a whole one, over files and sockets of its own, is asked whatever comes; it answers soundly or not at
//! all. Replies of resolvers are judged and timed. Files that were read say the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::dns::message::{Lifetime, MESSAGE_BYTES_MAX, Query, Reply, judge, readdress};
use net::dns::{ADDRESS, Network, NetworkFile, Resolver, Resolvers, Server, bind_in_current_namespace};
use std::net::UdpSocket;
use std::path::PathBuf;

struct Asked {
    server: Server,
    client: UdpSocket,
}

impl Asked {
    fn new() -> Self {
        // They stay: a server whose files are gone knows nothing.
        let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/dns"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let network = "berth-names 1\nnetwork mynet\nsubnet 172.18.0.0/16\nname web 172.18.0.2 fd00::2\n\
            alias db 172.18.0.3\nalias db 172.18.0.4\nid 0123456789ab\nend\n";
        let (names, own) = (dir.join("names"), dir.join("resolver"));
        std::fs::write(&names, network).expect("a file");
        let networks = vec![NetworkFile { path: names, internal: false }];
        let resolver = Resolver { networks, ..Resolver::default() };
        std::fs::write(&own, resolver.to_text()).expect("a file");
        let (udp, tcp, port) = bind_in_current_namespace().expect("sockets");
        let server = Server::new(udp, tcp, own).expect("a server");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect((ADDRESS, port)).expect("a client");
        client.set_nonblocking(true).expect("a socket");
        Asked { server, client }
    }

    fn ask(&mut self, message: &[u8]) {
        self.client.send(message).expect("a datagram");
        self.server.turn().expect("a turn");
        let mut space = [0; 8192];
        match self.client.recv(&mut space) {
            Ok(length) => {
                assert!((12..=4096).contains(&length));
                assert_eq!(space[..2], message[..2]);
                assert!(space[2] & 0x80 != 0);
            }
            Err(_) => assert!(message.len() < 12 || message[2] & 0x80 != 0, "no answer"),
        }
    }
}

thread_local! {
    static ASKED: std::cell::RefCell<Asked> = std::cell::RefCell::new(Asked::new());
}

fuzz_target!(|bytes: &[u8]| {
    ASKED.with_borrow_mut(|asked| asked.ask(&bytes[..bytes.len().min(60_000)]));

    // A query, and what is said to it: as much of its question as the input likes.
    let (length, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (query, reply) = rest.split_at(usize::from(*length).min(rest.len()));
    if let Ok(query) = Query::parse(query) {
        let mut space = [0; 255];
        assert!(query.name(&mut space).is_none_or(|name| name.len() <= 253));
        let mut reply = reply.to_vec();
        if judge(&query, 7, &reply) == Reply::Answer {
            readdress(&mut reply, &query);
            let id = u16::from_be_bytes([query.bytes()[0], query.bytes()[1]]);
            assert_eq!(judge(&query, id, &reply), Reply::Answer);
        }
    }
    if let Some(lifetime) = Lifetime::of(reply).filter(|_| reply.len() <= MESSAGE_BYTES_MAX) {
        let mut reply = reply.to_vec();
        lifetime.count_down(&mut reply, lifetime.seconds);
        assert_eq!(Lifetime::of(&reply), None);
    }

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_text()), Ok(network));
    }
    if let Ok(resolver) = Resolver::parse(text) {
        assert_eq!(Resolver::parse(&resolver.to_text()), Ok(resolver));
    }
    Resolvers::parse(text, |_| Some(1));
});

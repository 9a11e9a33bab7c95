//! Clients that mean ill. The server is run by hand.

use super::*;
use proptest::prelude::*;
use std::io::{Read, Write};

/// A server that only runs when it's told to.
fn still(network: &Network) -> (tempfile::TempDir, Server, SocketAddr) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names");
    replace(&path, &network.to_text());
    let resolver = Resolver { networks: vec![NetworkFile { path, internal: false }], ..Resolver::default() };
    replace(&dir.path().join("resolver"), &resolver.to_text());
    let (udp, tcp, port) = bind_in_current_namespace().unwrap();
    let server = Server::new(udp, tcp, dir.path().join("resolver")).unwrap();
    (dir, server, (ADDRESS, port).into())
}

/// Runs the server until it has nothing more to do.
fn settle(server: &mut Server) {
    while poll(server, Duration::ZERO) {
        server.turn().unwrap();
    }
}

#[test]
fn ten_thousand_who_say_half_a_word_keep_nobody_out() {
    let (_dir, mut server, address) = still(&network());
    let mut crowd = std::collections::VecDeque::new();
    for number in 0..10_000 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[0]).unwrap();
        crowd.push_back(stream);
        if crowd.len() > 200 {
            crowd.pop_front();
        }
        if number % 16 == 0 {
            server.turn().unwrap();
            assert!(server.connections.len() <= CONNECTIONS_MAX);
        }
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[0]).unwrap();
    settle(&mut server);
    assert_eq!(server.connections.len(), CONNECTIONS_MAX);
    let question = query(1, "web", rr::A);
    stream.write_all(&[question.len() as u8]).unwrap();
    stream.write_all(&question).unwrap();
    settle(&mut server);
    assert_eq!(said(&super::local::read_stream(&mut stream)).texts(), ["172.18.0.2"]);
    // They are idle, and go, the one who asked as well.
    let deadline = server.deadline().unwrap();
    assert!(deadline <= Instant::now() + Duration::from_secs(10));
    server.expire(deadline + Duration::from_secs(10));
    assert_eq!((server.connections.len(), server.deadline()), (0, None));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn half_words_keep_no_connection_alive() {
    let (_dir, mut server, address) = still(&network());
    let mut stream = TcpStream::connect(address).unwrap();
    settle(&mut server);
    let deadline = server.deadline().unwrap();
    for byte in [0, 50, 1, 1] {
        stream.write_all(&[byte]).unwrap();
        settle(&mut server);
    }
    assert_eq!(server.deadline(), Some(deadline));
}

#[test]
fn who_takes_no_answers_is_asked_for_no_more_questions() {
    let mut network = network();
    for number in 0..1000 {
        network.names.push(name(Kind::Alias, "crowd", &[&format!("fd00::{number}")]));
    }
    let (_dir, mut server, address) = still(&network);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let question = query(1, "crowd", rr::AAAA);
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend((question.len() as u16).to_be_bytes());
        bytes.extend(&question);
    }
    // Until neither of us takes any more.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut full = 0;
    while full < 50 {
        assert!(Instant::now() < deadline);
        full = if stream.write(&bytes).is_err() { full + 1 } else { 0 };
        settle(&mut server);
    }
    let connection = server.connections.values().next().unwrap();
    assert!(connection.unsent() <= 2 + 28 * 1024 + 512, "{}", connection.unsent());
    let deadline = server.deadline().unwrap();
    server.expire(deadline);
    assert!(server.connections.is_empty());
}

#[test]
fn lengths_that_no_query_has_end_the_connection() {
    let (_dir, mut server, address) = still(&network());
    for length in [[0, 0], [0xff, 0xff], [8, 1]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&length).unwrap();
        settle(&mut server);
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "{length:?}");
        assert!(server.connections.is_empty());
    }
    // A datagram that is longer than any query.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut long = query(1, "web", rr::A);
    long.resize(10_000, 0);
    socket.send_to(&long, address).unwrap();
    settle(&mut server);
    assert_eq!(said(&receive(&socket)).rcode, code(Rcode::FormErr));
}

#[test]
fn a_flood_is_worked_off_in_turns() {
    let (_dir, mut server, address) = still(&network());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for id in 0..150 {
        socket.send_to(&query(id, "web", rr::A), address).unwrap();
    }
    let mut turns = 0;
    while poll(&server, Duration::ZERO) {
        server.turn().unwrap();
        turns += 1;
    }
    assert!((3..10).contains(&turns), "{turns}");
    for id in 0..150 {
        assert_eq!(said(&receive(&socket)).id, id);
    }
}

/// Messages that are nearly right.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let seeds = vec![
        query(1, "web", rr::A),
        edns(query(2, "web.mynet", rr::AAAA), 1232, 0),
        query(3, "2.0.18.172.in-addr.arpa", rr::PTR),
        edns(query(4, "example.org", rr::ANY), 65535, 0),
        query(5, &"a.".repeat(126), 65),
    ];
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changed =
        (prop::sample::select(seeds), prop::collection::vec(change, 0..6), any::<prop::sample::Index>())
            .prop_map(|(mut message, changes, cut)| {
                for (at, byte) in changes {
                    let at = at.index(message.len());
                    message[at] = byte;
                }
                if cut.index(4) == 0 {
                    message.truncate(cut.index(message.len()));
                }
                message
            });
    prop_oneof![changed, prop::collection::vec(any::<u8>(), 0..600)]
}

proptest! {
    #[test]
    fn any_message_gets_a_sound_answer_or_none(message in messages()) {
        use super::super::answer::{Decision, Transport, decide};
        let mut out = Vec::new();
        match decide(&mut out, &message, Transport::Udp, known(), 3) {
            Decision::Reply => {
                let said = said(&out);
                prop_assert_eq!(said.id.to_be_bytes(), [message[0], message[1]]);
                prop_assert!(out.len() <= 4096);
            }
            Decision::Forward(query) => {
                prop_assert_eq!(query.bytes(), &message[..]);
                super::super::message::empty_reply(&mut out, &query, Rcode::ServFail);
                said(&out);
            }
            Decision::Ignore => prop_assert!(message.len() < 12 || message[2] & 0x80 != 0),
        }
    }

    #[test]
    fn any_reply_is_judged_and_timed(message in messages(), reply in prop::collection::vec(any::<u8>(), 0..300), same in 0usize..300) {
        use super::super::message::{Lifetime, Query, judge, readdress};
        let mut reply = reply;
        // As much of the query as it takes to be taken for its reply.
        let length = same.min(reply.len()).min(message.len());
        reply[..length].copy_from_slice(&message[..length]);
        if reply.len() > 2 {
            reply[2] |= 0x80;
        }
        if let Ok(query) = Query::parse(&message) {
            judge(&query, u16::from_be_bytes([message[0], message[1]]), &reply);
            if reply.len() > 12 {
                readdress(&mut reply, &query);
            }
        }
        if let Some(lifetime) = Lifetime::of(&reply) {
            lifetime.count_down(&mut reply, 1);
            prop_assert!(lifetime.seconds > 0);
        }
    }
}

/// What a server of the network knows.
fn known() -> &'static super::super::known::Known {
    thread_local! {
        static KNOWN: &'static super::super::known::Known = {
            let (dir, mut server, _) = still(&network());
            server.known.refresh();
            drop(dir);
            Box::leak(Box::new(server.known))
        };
    }
    KNOWN.with(|known| *known)
}

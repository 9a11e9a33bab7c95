//! What we answer ourselves.

use super::*;

#[test]
fn names_aliases_and_ids_of_the_network_are_answered() {
    let server = Running::new(&network(), vec![]);
    for asked in ["web", "WEB", "Web.MyNet", "www", "www.mynet", "0123456789ab", "0123456789AB.mynet."] {
        let v4 = server.ask(asked, rr::A);
        assert_eq!((v4.rcode, v4.texts()), (0, vec!["172.18.0.2"]), "{asked}");
        assert_eq!(v4.answers[0].1, 0, "must not be kept");
        assert_eq!(v4.id, 4711);
        assert_eq!(v4.question.trim_end_matches('.'), asked.trim_end_matches('.'), "the case is kept");
        assert_eq!(server.ask(asked, rr::AAAA).texts(), ["fd00::2"]);
    }
    assert_eq!(server.ask("a.b", rr::A).texts(), ["172.18.0.4"]);
    assert_eq!(server.ask("a.b.mynet", rr::A).texts(), ["172.18.0.4"]);
    assert_eq!(server.ask("host.docker.internal", rr::A).texts(), ["172.18.0.1"]);
    assert_eq!(server.ask("localhost", rr::A).texts(), ["127.0.0.1"]);
    assert_eq!(server.ask("x.localhost", rr::AAAA).texts(), ["::1"]);
}

#[test]
fn a_name_of_ours_has_nothing_else_and_is_not_asked_for() {
    // Nobody is there to be asked: what is passed on fails.
    let server = Running::new(&network(), vec![]);
    for kind in [rr::AAAA, rr::PTR, 15, 65, 16, 33] {
        let said = server.ask("db", kind);
        assert_eq!((said.rcode, said.answers.len(), said.authoritative), (0, 0, true), "{kind}");
    }
    let said = server.ask("stopped.mynet", rr::A);
    assert_eq!((said.rcode, said.answers.len()), (0, 0));
    assert_eq!(server.ask("other", rr::A).rcode, code(Rcode::ServFail));
    assert_eq!(server.ask("web.other", rr::A).rcode, code(Rcode::ServFail));
    assert_eq!(server.ask("", rr::A).rcode, code(Rcode::ServFail));
}

#[test]
fn addresses_of_a_shared_alias_take_turns() {
    let mut network = network();
    network.names.push(name(Kind::Alias, "many", &["fd00::3", "fd00::4"]));
    let server = Running::new(&network, vec![]);
    let mut first = [const { Vec::new() }; 2];
    // Programs ask for both kinds.
    for _ in 0..4 {
        for (kind, first) in [rr::A, rr::AAAA].into_iter().zip(&mut first) {
            let said = server.ask("many", kind);
            assert_eq!(said.answers.len(), 2);
            first.push(said.answers[0].2.clone());
        }
    }
    for first in first {
        assert_ne!(first[0], first[1]);
        assert_eq!(first[..2], first[2..]);
    }
}

#[test]
fn not_all_containers_begin_with_the_same_address() {
    let first = |_| Running::new(&network(), vec![]).ask("many", rr::A).answers[0].2.clone();
    let mut seen: Vec<String> = (0..40).map(first).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2, "by chance once in 2^39");
}

#[test]
fn addresses_have_the_names_of_their_containers() {
    let server = Running::new(&network(), vec![]);
    let said = server.ask("2.0.18.172.in-addr.arpa", rr::PTR);
    assert_eq!((said.rcode, said.texts()), (0, vec!["web.mynet."]));
    let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(server.ask(six, rr::PTR).texts(), ["web.mynet."]);
    // One of ours that nobody has, and one that isn't ours.
    assert_eq!(server.ask("9.9.18.172.in-addr.arpa", rr::PTR).rcode, code(Rcode::NxDomain));
    assert_eq!(server.ask("9.9.9.9.in-addr.arpa", rr::PTR).rcode, code(Rcode::ServFail));
    let said = server.ask("2.0.18.172.in-addr.arpa", rr::A);
    assert_eq!((said.rcode, said.answers.len()), (0, 0));
}

#[test]
fn who_asks_for_anything_gets_something() {
    let server = Running::new(&network(), vec![]);
    assert_eq!(server.ask("web", rr::ANY).texts(), ["172.18.0.2"]);
    assert_eq!(server.ask("2.0.18.172.in-addr.arpa", rr::ANY).texts(), ["web.mynet."]);
}

#[test]
fn a_change_is_seen_by_the_next_question() {
    let mut server = Running::new(&network(), vec![]);
    let mut network = network();
    for last in 10..60 {
        network.names[3].addresses = addresses(&[&format!("172.18.0.{last}")]);
        replace(&server.names_path(), &network.to_text());
        assert_eq!(server.ask("db", rr::A).texts(), [format!("172.18.0.{last}")]);
    }
    // Another network comes, and goes before the first.
    let path = server.dir.path().join("other");
    network.name = "other".into();
    network.names[3].addresses = addresses(&["10.0.0.1"]);
    replace(&path, &network.to_text());
    assert_eq!(server.ask("db.other", rr::A).rcode, code(Rcode::ServFail));
    server.set(|resolver| resolver.networks.insert(0, NetworkFile { path: path.clone(), internal: false }));
    assert_eq!(server.ask("db", rr::A).texts(), ["10.0.0.1"]);
    assert_eq!(server.ask("db.mynet", rr::A).texts(), ["172.18.0.59"]);
    server.set(|resolver| _ = resolver.networks.remove(0));
    assert_eq!(server.ask("db", rr::A).texts(), ["172.18.0.59"]);
    assert_eq!(server.ask("db.other", rr::A).rcode, code(Rcode::ServFail));
}

#[test]
fn the_next_network_answers_what_the_first_has_not() {
    let mut server = Running::new(&network(), vec![]);
    let path = server.dir.path().join("six");
    let six =
        Network { name: "six".into(), subnets: vec![], names: vec![name(Kind::Name, "db", &["fd01::3"])] };
    replace(&path, &six.to_text());
    server.set(|resolver| resolver.networks.push(NetworkFile { path, internal: false }));
    assert_eq!(server.ask("db", rr::A).texts(), ["172.18.0.3"]);
    assert_eq!(server.ask("db", rr::AAAA).texts(), ["fd01::3"]);
    assert_eq!(server.ask("db.mynet", rr::AAAA).texts(), Vec::<&str>::new());
}

#[test]
fn a_broken_file_makes_nobody_a_liar() {
    let server = Running::new(&network(), vec!["127.0.0.1:9".parse().unwrap()]);
    let whole = network().to_text();
    for broken in ["", "berth-names 2\nend\n", &whole[..whole.len() - 3], &format!("{whole}x"), "\0"] {
        replace(&server.names_path(), broken);
        assert_eq!(server.ask("web", rr::A).rcode, code(Rcode::ServFail), "{broken:?}");
        assert_eq!(server.ask("2.0.18.172.in-addr.arpa", rr::PTR).rcode, code(Rcode::ServFail));
        assert_eq!(server.ask("host.docker.internal", rr::A).rcode, 0, "what is whole is told");
    }
    fs::remove_file(server.names_path()).unwrap();
    assert_eq!(server.ask("web", rr::A).rcode, code(Rcode::ServFail));
    replace(&server.names_path(), &whole);
    assert_eq!(server.ask("web", rr::A).rcode, 0);
    replace(&server.dir.path().join("resolver"), "nonsense");
    assert_eq!(server.ask("host.docker.internal", rr::A).rcode, code(Rcode::ServFail));
    replace(&server.dir.path().join("resolver"), &server.resolver.to_text());
    assert_eq!(server.ask("web", rr::A).rcode, 0);
}

#[test]
fn long_answers_are_cut_for_datagrams_and_whole_by_tcp() {
    let mut network = network();
    for number in 0..100 {
        network.names.push(name(
            Kind::Alias,
            "crowd",
            &[&format!("172.18.1.{number}"), &format!("fd00::{number}")],
        ));
    }
    let server = Running::new(&network, vec![]);
    let plain = server.ask_raw(&query(1, "crowd", rr::A));
    assert!(plain.len() <= 512);
    assert_eq!((said(&plain).truncated, said(&plain).answers.len()), (true, 0));
    let more = said(&server.ask_raw(&edns(query(1, "crowd", rr::A), 4096, 0)));
    assert_eq!((more.truncated, more.answers.len(), more.opt), (false, 100, Some((1232, 0))));
    let still = said(&server.ask_raw(&edns(query(1, "crowd", rr::AAAA), 1232, 0)));
    assert_eq!((still.truncated, still.answers.len(), still.opt), (true, 0, Some((1232, 0))));
    let mut stream = server.tcp();
    assert_eq!(said(&ask_stream(&mut stream, &query(1, "crowd", rr::AAAA))).answers.len(), 100);
}

#[test]
fn edns_of_another_version_and_other_messages_are_refused() {
    let server = Running::new(&network(), vec![]);
    let bad = said(&server.ask_raw(&edns(query(1, "web", rr::A), 4096, 1)));
    assert_eq!((bad.rcode, bad.opt), (0, Some((1232, 1))));
    let good = said(&server.ask_raw(&edns(query(1, "web", rr::A), 4096, 0)));
    assert_eq!((good.rcode, good.answers.len(), good.opt), (0, 1, Some((1232, 0))));
    let change = |at: usize, value: u8| {
        let mut message = query(7, "web", rr::A);
        message[at] = value;
        said(&server.ask_raw(&message)).rcode
    };
    assert_eq!(change(2, 0x21), code(Rcode::NotImp));
    assert_eq!(change(5, 0), code(Rcode::FormErr));
    assert_eq!(change(5, 2), code(Rcode::FormErr));
    assert_eq!(change(7, 1), code(Rcode::FormErr));
    assert_eq!(change(11, 1), code(Rcode::FormErr));
    assert_eq!(change(12, 0xc0), code(Rcode::FormErr));
    assert_eq!(change(20, 3), code(Rcode::Refused), "another class");
    let mut long = query(7, "web", rr::A);
    long.push(0);
    assert_eq!(said(&server.ask_raw(&long)).rcode, code(Rcode::FormErr));
    let mut twice = edns(edns(query(1, "web", rr::A), 4096, 0), 4096, 0);
    twice[11] = 2;
    assert_eq!(said(&server.ask_raw(&twice)).rcode, code(Rcode::FormErr));
    assert_eq!(server.ask("mynet", rr::AXFR).rcode, code(Rcode::Refused));
    // A reply isn't answered, nor is what has no header; what comes after them is.
    let socket = server.udp();
    let mut reply = query(8, "web", rr::A);
    reply[2] |= 0x80;
    socket.send(&reply).unwrap();
    socket.send(&reply[..11]).unwrap();
    socket.send(&query(9, "web", rr::A)).unwrap();
    assert_eq!(said(&receive(&socket)).id, 9);
}

#[test]
fn tcp_takes_queries_in_pieces_and_many_at_once() {
    let server = Running::new(&network(), vec![]);
    let mut stream = server.tcp();
    let mut bytes = Vec::new();
    for id in 0..50 {
        let query = query(id, "web", rr::A);
        bytes.extend((query.len() as u16).to_be_bytes());
        bytes.extend(query);
    }
    use std::io::Write;
    for piece in bytes.chunks(7) {
        stream.write_all(piece).unwrap();
    }
    for id in 0..50 {
        let said = said(&read_stream(&mut stream));
        assert_eq!((said.id, said.texts()), (id, vec!["172.18.0.2"]));
    }
    // Who has said all, is told all.
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for id in 0..50 {
        assert_eq!(said(&read_stream(&mut stream)).id, id);
    }
    use std::io::Read;
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

pub(super) fn read_stream(stream: &mut TcpStream) -> Vec<u8> {
    use std::io::Read;
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

pub(super) fn ask_stream(stream: &mut TcpStream, query: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut bytes = (query.len() as u16).to_be_bytes().to_vec();
    bytes.extend(query);
    stream.write_all(&bytes).unwrap();
    read_stream(stream)
}

#[test]
fn who_is_not_asked_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    let (udp, tcp, port) = bind_in_current_namespace().unwrap();
    let mut server = Server::new(udp, tcp, dir.path().join("resolver")).unwrap();
    assert_eq!(server.deadline(), None);
    assert!(!poll(&server, Duration::ZERO));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&query(1, "web", rr::A), (ADDRESS, port)).unwrap();
    assert!(poll(&server, Duration::from_secs(5)));
    server.turn().unwrap();
    assert!(!poll(&server, Duration::ZERO));
    assert_eq!(server.deadline(), None);
}

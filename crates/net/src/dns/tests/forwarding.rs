//! What is passed on, to resolvers that are slow, wrong, or lying.

use super::local::{ask_stream, read_stream};
use super::*;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Mutex;

/// What a resolver does with a query: the datagrams that it sends back.
type Manner = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// Who asked what.
type Asked = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// A resolver on loopback, and what it was asked.
struct Upstream {
    address: SocketAddr,
    asked: Asked,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Upstream {
    /// Answers by UDP and TCP alike.
    fn new(manner: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Upstream {
        let sockets = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        Upstream::on(sockets, manner)
    }

    fn on(
        (udp, tcp): (UdpSocket, TcpListener),
        manner: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Upstream {
        let address = udp.local_addr().unwrap();
        let asked = Asked::default();
        let stop = Arc::new(AtomicBool::new(false));
        let manner: Arc<Mutex<Manner>> = Arc::new(Mutex::new(Box::new(manner)));
        udp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (stopped, log, manner_) = (stop.clone(), asked.clone(), manner.clone());
        let datagrams = move || {
            let mut space = [0; 65536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = udp.recv_from(&mut space) else { continue };
                log.lock().unwrap().push((client, space[..length].to_vec()));
                for reply in manner_.lock().unwrap()(&space[..length]) {
                    udp.send_to(&reply, client).unwrap();
                }
            }
        };
        let (stopped, log) = (stop.clone(), asked.clone());
        let streams = move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((mut stream, client)) = tcp.accept() else {
                    std::thread::park_timeout(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let query = read_stream(&mut stream);
                log.lock().unwrap().push((client, query.clone()));
                // Dropped after the first; after none, the connection just ends.
                if let Some(reply) = manner.lock().unwrap()(&query).into_iter().next() {
                    let mut bytes = (reply.len() as u16).to_be_bytes().to_vec();
                    bytes.extend(reply);
                    for piece in bytes.chunks(40_000) {
                        stream.write_all(piece).unwrap();
                    }
                }
            }
        };
        #[allow(clippy::disallowed_methods, reason = "a test's")]
        let threads = vec![std::thread::spawn(datagrams), std::thread::spawn(streams)];
        Upstream { address, asked, stop, threads }
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}

/// A reply to a query, with records by type, time and data, the name being that of the question.
pub(super) fn answer(
    query: &[u8],
    code: u8,
    answers: &[(u16, u32, &[u8])],
    authority: &[(u16, u32, &[u8])],
) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut bytes = query[..end + 5].to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 0x80 | code;
    bytes[6..12].copy_from_slice(&[0, answers.len() as u8, 0, authority.len() as u8, 0, 0]);
    for (kind, ttl, data) in answers.iter().chain(authority) {
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

/// A start of authority that says how long a denial holds.
pub(super) fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0xc0, 12, 0xc0, 12];
    data.extend([0; 16]);
    data.extend(minimum.to_be_bytes());
    data
}

fn honest(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 0, &[(rr::A, 300, &[192, 0, 2, 1])], &[])]
}

fn silent(_: &[u8]) -> Vec<Vec<u8>> {
    Vec::new()
}

#[test]
fn what_is_not_ours_is_passed_on_as_it_is_but_for_its_id() {
    let upstream = Upstream::new(honest);
    let server = Running::new(&network(), vec![upstream.address]);
    for number in 0..20 {
        let sent = edns(query(4711, &format!("Host{number}.Example"), rr::A), 4096, 0);
        let said = said(&server.ask_raw(&sent));
        assert_eq!((said.id, said.texts()), (4711, vec!["192.0.2.1"]));
        let asked = upstream.asked.lock().unwrap();
        assert_eq!(asked[number].1[2..], sent[2..]);
    }
    let asked = upstream.asked.lock().unwrap();
    let distinct = |mut values: Vec<u16>| {
        values.sort_unstable();
        values.dedup();
        values.len()
    };
    // Random, so that two may be the same, but not many.
    assert!(distinct(asked.iter().map(|(client, _)| client.port()).collect()) > 15);
    assert!(distinct(asked.iter().map(|(_, query)| u16::from_be_bytes([query[0], query[1]])).collect()) > 15);
}

#[test]
fn names_without_dots_and_foreign_addresses_are_passed_on() {
    let upstream = Upstream::new(honest);
    let server = Running::new(&network(), vec![upstream.address]);
    assert_eq!(server.ask("printer", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!(server.ask("example.mynet", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!(server.ask("1.2.0.192.in-addr.arpa", rr::PTR).rcode, 0);
    assert_eq!(upstream.count(), 3);
    // Names of ours are not, though we haven't what is asked for.
    for (name, kind) in
        [("web", 65), ("db.mynet", rr::AAAA), ("stopped", rr::A), ("9.9.18.172.in-addr.arpa", rr::PTR)]
    {
        server.ask(name, kind);
    }
    assert_eq!(upstream.count(), 3);
}

#[test]
fn who_knows_neither_id_nor_question_is_not_believed() {
    let upstream = Upstream::new(|query| {
        let mut lies = Vec::new();
        let lie = |query: &[u8]| answer(query, 0, &[(rr::A, 300, &[6, 6, 6, 6])], &[]);
        let mut other_id = query.to_vec();
        other_id[1] ^= 1;
        lies.push(lie(&other_id));
        let mut other_name = query.to_vec();
        other_name[13] ^= 1;
        lies.push(lie(&other_name));
        let mut other_kind = query.to_vec();
        let length = other_kind.len();
        other_kind[length - 3] ^= 1;
        lies.push(lie(&other_kind));
        let mut no_reply = lie(query);
        no_reply[2] &= 0x7f;
        lies.push(no_reply);
        let mut no_question = lie(query);
        no_question[5] = 0;
        lies.push(no_question);
        lies.push(query[..2].to_vec());
        lies.push(Vec::new());
        // More than are looked at in one turn.
        for _ in 0..40 {
            lies.push(lie(&other_id));
        }
        let mut capitals = query.to_vec();
        capitals[12..20].make_ascii_uppercase();
        lies.push(honest(&capitals).remove(0));
        lies
    });
    let server = Running::new(&network(), vec![upstream.address]);
    let said = server.ask("vIctim.example", rr::A);
    assert_eq!((said.rcode, said.texts()), (0, vec!["192.0.2.1"]));
    assert_eq!(said.question, "vIctim.example.", "as it was asked");
}

#[test]
fn another_than_the_resolver_is_not_heard() {
    // It knows all, but sends from another port.
    let liar = UdpSocket::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::new(silent);
    let server = Running::new(&network(), vec![upstream.address]);
    let socket = server.udp();
    socket.send(&query(1, "victim.example", rr::A)).unwrap();
    let (client, asked) = wait_for(&upstream);
    _ = liar.send_to(&answer(&asked, 0, &[(rr::A, 300, &[6, 6, 6, 6])], &[]), client);
    assert_eq!(said(&receive(&socket)).rcode, code(Rcode::ServFail));
    assert_eq!(upstream.count(), 2, "the only one is asked twice");
}

#[test]
fn who_is_silent_is_asked_last_for_a_while() {
    let (first, second) = (Upstream::new(silent), Upstream::new(honest));
    let server = Running::new(&network(), vec![first.address, second.address]);
    let begin = Instant::now();
    assert_eq!(server.ask("one.example", rr::A).texts(), ["192.0.2.1"]);
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_eq!((first.count(), second.count()), (1, 1));
    assert_eq!(server.ask("two.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!((first.count(), second.count()), (1, 2));
}

#[test]
fn a_refusal_leads_to_the_next_at_once_and_the_last_one_is_told() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = Upstream::new(|query| vec![answer(query, 5, &[], &[])]);
    let failing = Upstream::new(|query| {
        // Without the question, as some do.
        let mut reply = query[..12].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x82, 0, 0, 0, 0, 0, 0, 0, 0]);
        vec![reply]
    });
    let mut server = Running::new(&network(), vec![nobody, failing.address, refusing.address]);
    let begin = Instant::now();
    assert_eq!(server.ask("one.example", rr::A).rcode, code(Rcode::Refused));
    assert_eq!((failing.count(), refusing.count()), (1, 1));
    server.set(|resolver| _ = resolver.upstreams.pop());
    assert_eq!(server.ask("one.example", rr::A).rcode, code(Rcode::ServFail));
    server.set(|resolver| _ = resolver.upstreams.remove(0));
    assert_eq!(server.ask("one.example", rr::A).rcode, code(Rcode::ServFail));
    assert_eq!(failing.count(), 3, "who has refused isn't asked again");
    let honest = Upstream::new(honest);
    server.set(|resolver| resolver.upstreams.push(honest.address));
    assert_eq!(server.ask("one.example", rr::A).texts(), ["192.0.2.1"]);
    server.set(|resolver| resolver.upstreams = vec![nobody]);
    assert_eq!(
        server.ask("one.example", rr::A).rcode,
        code(Rcode::ServFail),
        "and what was known is forgotten"
    );
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
}

#[test]
fn answers_are_kept_as_long_as_they_say() {
    let upstream = Upstream::new(|query| {
        let name = query[13..16].to_ascii_lowercase();
        vec![match &name[..] {
            b"yes" => answer(query, 0, &[(rr::A, 300, &[192, 0, 2, 1])], &[]),
            b"nix" => answer(query, 3, &[], &[(rr::SOA, 3600, &soa(60))]),
            b"nil" => answer(query, 0, &[], &[(rr::SOA, 60, &soa(3600))]),
            b"now" => answer(query, 0, &[(rr::A, 0, &[192, 0, 2, 1])], &[]),
            // A denial that doesn't say for how long.
            _ => answer(query, 3, &[], &[]),
        }]
    });
    let mut server = Running::new(&network(), vec![upstream.address]);
    for (name, code_, kept) in
        [("yes", 0, true), ("nix", 3, true), ("nil", 0, true), ("now", 0, false), ("bad", 3, false)]
    {
        let before = upstream.count();
        let first = server.ask(&format!("{name}.example"), rr::A);
        let second = server.ask(&format!("{}.EXAMPLE", name.to_ascii_uppercase()), rr::A);
        assert_eq!((first.rcode, second.rcode), (code_, code_), "{name}");
        assert_eq!(second.question, format!("{}.EXAMPLE.", name.to_ascii_uppercase()));
        assert_eq!(first.texts(), second.texts());
        assert_eq!(upstream.count() - before, if kept { 1 } else { 2 }, "{name}");
        // Who speaks EDNS gets nothing of who doesn't.
        server.ask_raw(&edns(query(1, &format!("{name}.example"), rr::A), 1232, 0));
        assert_eq!(upstream.count() - before, if kept { 2 } else { 3 }, "{name}");
        let mut stream = server.tcp();
        ask_stream(&mut stream, &query(2, &format!("{name}.example"), rr::A));
        assert_eq!(upstream.count() - before, if kept { 2 } else { 4 }, "{name}");
    }
    let before = upstream.count();
    server.set(|resolver| resolver.hosts.clear());
    server.ask("yes.example", rr::A);
    assert_eq!(upstream.count(), before + 1, "forgotten at a change");
}

/// Waits until a resolver was asked.
fn wait_for(upstream: &Upstream) -> (SocketAddr, Vec<u8>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(asked) = upstream.asked.lock().unwrap().first() {
            return asked.clone();
        }
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn what_was_asked_before_a_change_is_not_kept_after_it() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::new(move |query| {
        held.lock().unwrap().recv().unwrap();
        honest(query)
    });
    let mut server = Running::new(&network(), vec![upstream.address]);
    let socket = server.udp();
    socket.send(&query(1, "www.example", rr::A)).unwrap();
    wait_for(&upstream);
    server.set(|resolver| resolver.hosts.clear());
    assert_eq!(server.ask("web", rr::A).rcode, 0);
    release.send(()).unwrap();
    assert_eq!(said(&receive(&socket)).texts(), ["192.0.2.1"]);
    release.send(()).unwrap();
    assert_eq!(server.ask("www.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!(upstream.count(), 2);
}

#[test]
fn the_hosts_resolvers_are_looked_up_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let [conf, behind, stub] = ["resolv.conf", "resolved.conf", "stub"].map(|name| dir.path().join(name));
    let mut host = host::Followed::new(conf.clone(), behind.clone());
    let mut servers = || {
        let changed = host.refresh();
        assert!(!host.refresh());
        (changed, host.servers().iter().map(|server| server.ip().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(servers(), (false, vec![]));
    replace(&conf, "nameserver 192.0.2.1\n");
    assert_eq!(servers(), (true, vec!["192.0.2.1".into()]));
    fs::write(&conf, "nameserver 192.0.2.22\n").unwrap();
    assert_eq!(servers(), (true, vec!["192.0.2.22".into()]));
    // A link, as systemd-resolved wants it, to its stub.
    fs::write(&stub, "nameserver 127.0.0.53\n").unwrap();
    fs::remove_file(&conf).unwrap();
    std::os::unix::fs::symlink(&stub, &conf).unwrap();
    assert_eq!(servers(), (true, vec!["127.0.0.53".into()]));
    replace(&behind, "nameserver 192.0.2.3\n");
    assert_eq!(servers(), (true, vec!["192.0.2.3".into()]));
    replace(&behind, "nameserver 192.0.2.3\nsearch lan\n");
    assert_eq!(servers(), (false, vec!["192.0.2.3".into()]));
    fs::remove_file(&conf).unwrap();
    assert_eq!(servers(), (true, vec![]));
}

/// A resolver at port 53, where resolv.conf has them, of an address on loopback that's ours alone.
fn upstream_at_53(last: u8) -> Option<Upstream> {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let address = SocketAddr::from(([127, high | 1, low, last], 53));
    let sockets = (UdpSocket::bind(address).ok()?, TcpListener::bind(address).ok()?);
    Some(Upstream::on(sockets, honest))
}

#[test]
fn without_resolvers_of_its_own_a_container_has_the_hosts_of_the_moment() {
    let (Some(first), Some(second)) = (upstream_at_53(1), upstream_at_53(2)) else {
        testkit::skip!("port 53 can't be had on loopback");
    };
    let mut server = Running::new(&network(), vec![]);
    let conf = server.dir.path().join("resolv.conf");
    assert_eq!(server.ask("www.example", rr::A).rcode, code(Rcode::ServFail));
    replace(&conf, &format!("nameserver {}\n", first.address.ip()));
    assert_eq!(server.ask("www.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!(server.ask("www.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!((first.count(), second.count()), (1, 0));
    replace(&conf, &format!("nameserver {}\n", second.address.ip()));
    assert_eq!(server.ask("www.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!((first.count(), second.count()), (1, 1), "what the first said is forgotten");
    server.set(|resolver| resolver.forward = false);
    assert_eq!(server.ask("www.example", rr::A).rcode, code(Rcode::ServFail));
    let own = Upstream::new(honest);
    server.set(|resolver| {
        *resolver = Resolver { forward: true, upstreams: vec![own.address], ..resolver.clone() }
    });
    assert_eq!(server.ask("www.example", rr::A).texts(), ["192.0.2.1"]);
    assert_eq!((first.count(), second.count(), own.count()), (1, 1, 1));
}

#[test]
fn a_broken_file_sends_no_name_out() {
    let upstream = Upstream::new(honest);
    let server = Running::new(&network(), vec![upstream.address]);
    replace(&server.names_path(), "broken");
    for name in ["web", "www.example", "2.0.18.172.in-addr.arpa"] {
        assert_eq!(server.ask(name, rr::A).rcode, code(Rcode::ServFail));
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn what_is_cut_is_asked_for_by_tcp() {
    let data = vec![(rr::A, 300, [192u8, 0, 2, 1]); 200];
    let upstream = Upstream::new(move |query| {
        if query[1] == 0 && query.len() > 1000 {
            return Vec::new();
        }
        let all: Vec<(u16, u32, &[u8])> =
            data.iter().map(|(kind, ttl, data)| (*kind, *ttl, &data[..])).collect();
        let mut whole = answer(query, 0, &all, &[]);
        let mut cut = answer(query, 0, &[], &[]);
        cut[2] |= 2;
        // The first goes by either way: it tells which by the name.
        if query[13] == b'u' { vec![cut] } else { vec![std::mem::take(&mut whole)] }
    });
    let server = Running::new(&network(), vec![upstream.address]);
    let said_ = server.ask("u.example", rr::A);
    assert_eq!((said_.truncated, said_.answers.len()), (true, 0));
    let mut stream = server.tcp();
    let whole = said(&ask_stream(&mut stream, &query(9, "t.example", rr::A)));
    assert_eq!((whole.id, whole.truncated, whole.answers.len()), (9, false, 200));
    // It's kept now, but doesn't fit.
    let before = upstream.count();
    let cut = server.ask("t.example", rr::A);
    assert_eq!((cut.truncated, cut.answers.len()), (true, 0));
    assert_eq!(said(&ask_stream(&mut stream, &query(10, "t.example", rr::A))).answers.len(), 200);
    assert_eq!(upstream.count(), before);
}

#[test]
fn resolvers_that_break_off_are_gone_past() {
    let breaking = Upstream::new(silent);
    let honest = Upstream::new(honest);
    let server = Running::new(&network(), vec![breaking.address, honest.address]);
    let mut stream = server.tcp();
    let mut bytes = Vec::new();
    for id in 0..30 {
        let query = query(id, &format!("host{id}.example"), rr::A);
        bytes.extend((query.len() as u16).to_be_bytes());
        bytes.extend(query);
    }
    stream.write_all(&bytes).unwrap();
    let mut ids: Vec<u16> = (0..30)
        .map(|_| said(&read_stream(&mut stream)))
        .map(|said| {
            assert_eq!(said.texts(), ["192.0.2.1"]);
            said.id
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..30).collect::<Vec<_>>());
}

#[test]
fn nothing_leaves_an_internal_network() {
    let upstream = Upstream::new(silent);
    let mut server = Running::new(&network(), vec![upstream.address]);
    for upstreams in [vec![upstream.address], vec![]] {
        server.set(|resolver| {
            resolver.forward = false;
            resolver.upstreams = upstreams;
        });
        for kind in [rr::A, rr::AAAA, rr::PTR, rr::ANY, 65] {
            assert_eq!(server.ask("www.example", kind).rcode, code(Rcode::ServFail));
            assert_eq!(server.ask("printer", kind).rcode, code(Rcode::ServFail));
        }
        let mut stream = server.tcp();
        assert_eq!(
            said(&ask_stream(&mut stream, &query(1, "www.example", rr::A))).rcode,
            code(Rcode::ServFail)
        );
        assert_eq!(server.ask("web", rr::A).rcode, 0);
    }
    server.set(|resolver| {
        resolver.forward = true;
        resolver.upstreams = vec![upstream.address];
    });
    assert_eq!(upstream.count(), 0);
    // One question is underway when the way out is closed: it isn't asked again.
    let socket = server.udp();
    socket.send(&query(1, "www.example", rr::A)).unwrap();
    wait_for(&upstream);
    server.set(|resolver| resolver.forward = false);
    assert_eq!(said(&receive(&socket)).rcode, code(Rcode::ServFail));
    assert_eq!(upstream.count(), 1);
}

#[test]
fn the_same_question_is_asked_once() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::new(move |query| {
        held.lock().unwrap().recv().unwrap();
        honest(query)
    });
    let server = Running::new(&network(), vec![upstream.address]);
    let sockets: Vec<UdpSocket> = (0..60).map(|_| server.udp()).collect();
    for (id, socket) in sockets.iter().enumerate() {
        let question = query(id as u16, "www.example", rr::A);
        socket.send(&question).unwrap();
        // It repeats itself.
        socket.send(&question).unwrap();
    }
    // What is answered after all of these were read, tells that they were.
    assert_eq!(server.ask("web", rr::A).rcode, 0);
    release.send(()).unwrap();
    for (id, socket) in sockets.iter().enumerate() {
        let said = said(&receive(socket));
        assert_eq!((said.id, said.texts()), (id as u16, vec!["192.0.2.1"]));
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 512]).is_err(), "one answer each");
    }
    assert_eq!(upstream.count(), 1);
}

#[test]
fn not_endlessly_many_wait() {
    let upstream = Upstream::new(silent);
    let server = Running::new(&network(), vec![upstream.address]);
    let socket = server.udp();
    for id in 0..2058 {
        socket.send(&query(id, "www.example", rr::A)).unwrap();
        // Not faster than the server's buffer is emptied.
        if id % 32 == 31 {
            assert_eq!(server.ask("web", rr::A).rcode, 0);
        }
    }
    for id in 2048..2058 {
        let said = said(&receive(&socket));
        assert_eq!((said.id, said.rcode), (id, code(Rcode::ServFail)));
    }
}

#[test]
fn questions_beyond_the_bound_are_refused_at_once() {
    let upstream = Upstream::new(silent);
    let server = Running::new(&network(), vec![upstream.address]);
    // Several, since the buffer of one may not hold all that is answered at once.
    let sockets: Vec<UdpSocket> = (0..8).map(|_| server.udp()).collect();
    let begin = Instant::now();
    let more = 40;
    for id in 0..OUTSTANDING_MAX + more {
        // Those beyond have a socket for themselves.
        let socket = if id < OUTSTANDING_MAX { &sockets[id % 7] } else { &sockets[7] };
        socket.send(&query(id as u16, &format!("host{id}.example"), rr::A)).unwrap();
        // Not faster than the server's buffer is emptied.
        if id % 32 == 31 {
            assert_eq!(server.ask("web", rr::A).rcode, 0);
        }
    }
    for _ in 0..more {
        assert_eq!(said(&receive(&sockets[7])).rcode, code(Rcode::ServFail));
    }
    // Nobody has been given up: they are refused for their number.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    // Names of ours are answered all the while, and in the end so is everything.
    assert_eq!(server.ask("web", rr::A).rcode, 0);
    for id in 0..OUTSTANDING_MAX {
        assert_eq!(said(&receive(&sockets[id % 7])).rcode, code(Rcode::ServFail));
    }
    assert!(begin.elapsed() >= Duration::from_secs(4));
    assert!(upstream.count() <= 2 * OUTSTANDING_MAX);
}

//! How fast it is: `cargo test --release -p net measure -- --ignored --nocapture`. Nothing is asserted.

use super::*;

/// A network of a thousand.
fn thousand() -> Network {
    let names = (0..1000).map(|number| {
        let address = format!("172.18.{}.{}", number / 250, number % 250);
        name(Kind::Name, &format!("container-number-{number}"), &[&address])
    });
    Network { names: names.collect(), ..network() }
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "prints figures"]
fn measure() {
    let network = thousand();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("names");
    replace(&path, &network.to_text());
    let text = Resolver {
        networks: vec![NetworkFile { path: path.clone(), internal: false }],
        ..Resolver::default()
    };
    replace(&dir.path().join("resolver"), &text.to_text());
    let before = resident_kb();
    let (udp, tcp, port) = bind_in_current_namespace().unwrap();
    let mut server = Server::new(udp, tcp, dir.path().join("resolver")).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect((ADDRESS, port)).unwrap();
    let question = query(1, "container-number-777", rr::A);

    let begin = Instant::now();
    socket.send(&question).unwrap();
    server.turn().unwrap();
    receive(&socket);
    println!("first answer, the file of 1,000 names read: {:?}", begin.elapsed());
    println!("memory since before: {} kB", resident_kb() - before);

    // After each change.
    let text = network.to_text();
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let begin = Instant::now();
        super::super::zone::Zone::parse(&text).unwrap();
        best = best.min(begin.elapsed());
    }
    println!("1,000 names read again: {best:?}");

    // One at a time, in one thread: what it costs both sides.
    let mut space = [0; 512];
    for _ in 0..3 {
        let begin = Instant::now();
        for _ in 0..20_000 {
            socket.send(&question).unwrap();
            server.turn().unwrap();
            socket.recv(&mut space).unwrap();
        }
        println!("one at a time, client and server on one core: {:?} each", begin.elapsed() / 20_000);
    }
    // The server's side of a full queue.
    let mut best = Duration::MAX;
    for _ in 0..200 {
        for _ in 0..128 {
            socket.send(&question).unwrap();
        }
        let begin = Instant::now();
        while poll(&server, Duration::ZERO) {
            server.turn().unwrap();
        }
        best = best.min(begin.elapsed());
        for _ in 0..128 {
            socket.recv(&mut space).unwrap();
        }
    }
    println!(
        "the server alone, full queue: {:?} each, {:.0} a second",
        best / 128,
        128.0 / best.as_secs_f64()
    );

    // As a client sees it, the server on another thread.
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    #[allow(clippy::disallowed_methods, reason = "a test's")]
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            poll(&server, Duration::from_millis(50));
            server.turn().unwrap();
        }
    });
    let mut times: Vec<Duration> = (0..20_000)
        .map(|_| {
            let begin = Instant::now();
            socket.send(&question).unwrap();
            socket.recv(&mut space).unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("round trip: least {:?}, median {:?}, 99 % {:?}", times[0], times[10_000], times[19_800]);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

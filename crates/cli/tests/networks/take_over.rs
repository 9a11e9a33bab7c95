//! A published port passes from one container to another.

use super::{get, host, kills, nothing_left, web};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use testkit::{Host, until};

/// What is answered at the host's port 8080; what went wrong, if nothing is.
fn ask() -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(("127.0.0.1", 8080))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn no_connection_is_refused_while_a_port_passes_on() {
    let host = host();
    web(&host, "c0", &["-p", "8080:80", "-p", "8080:80/udp"]);
    let over = AtomicBool::new(false);
    let answered = AtomicU32::new(0);
    let client = || {
        // In its own loop, as fast as it can.
        while !over.load(Relaxed) {
            match ask() {
                Ok(text) if text.starts_with('c') => answered.fetch_add(1, Relaxed),
                other => panic!("after {} answers: {other:?}", answered.load(Relaxed)),
            };
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        for number in 1..=6 {
            let (old, new) = (format!("c{}", number - 1), format!("c{number}"));
            let ports = ["-p", "8080:80", "-p", "8080:80/udp"];
            web(&host, &new, &[&["--publish-from", &old][..], &ports].concat());
            assert_eq!(ask().unwrap(), old);
            assert_eq!(host.berth(["port", &new]).text(), "");
            host.berth(["network", "take-over", &new]).run().ok().silent();
            assert_eq!(ask().unwrap(), new);
            assert_eq!(host.berth(["port", &new, "80/tcp"]).text(), "0.0.0.0:8080");
            assert_eq!(host.berth(["port", &old]).text(), "");
            // What was begun before ends in peace.
            std::thread::sleep(Duration::from_millis(200));
            host.berth(["rm", "-f", &old]).run().ok();
        }
        let enough = until(Duration::from_secs(60), || answered.load(Relaxed) > 3000);
        over.store(true, Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(enough, "only {} answers", answered.load(Relaxed));
    });
    nothing_left(&host);
}

#[test]
fn who_waits_for_ports_has_them_afterwards_and_nobody_else() {
    let host = host();
    web(&host, "old", &["-p", "8080:80", "-p", "81"]);
    let random = host.berth(["port", "old", "81"]).text();
    // All of them, without a word about which; a container's port may be another.
    host.berth(["network", "take-over", "old"]).run().ok();
    web(&host, "new", &["--publish-from", "old"]);
    let refused = host.berth(["run", "--rm", "-p", "8080:80", "box", "true"]).run().code(125);
    refused.stderr_has(&["port is already allocated, by container"]);
    // Who has them may go before: they lead nowhere until then.
    host.berth(["rm", "-f", "old"]).run().ok();
    assert_eq!(get("http://127.0.0.1:8080/"), "");
    let refused = host.berth(["run", "--rm", "-p", "8080:80", "box", "true"]).run().code(125);
    refused.stderr_has(&["port is already allocated, by container new"]);
    host.berth(["network", "take-over", "new"]).run().ok();
    assert_eq!(get("http://127.0.0.1:8080/"), "new");
    assert_eq!(host.berth(["port", "new", "81"]).text(), random);
    // It has them for good.
    host.berth(["restart", "-t", "0", "new"]).run().ok();
    assert!(until(Duration::from_secs(5), || get("http://127.0.0.1:8080/") == "new"));
    assert_eq!(host.berth(["port", "new", "81"]).text(), random);
    host.berth(["run", "-d", "--name", "idle", "box", "sleep", "100"]).text();
    host.berth(["network", "take-over", "idle"]).run().failed().stderr_has(&["waits for none"]);
    host.berth(["create", "--name", "made", "box", "true"]).text();
    host.berth(["network", "take-over", "made"]).run().failed().stderr_has(&["is not running"]);
    nothing_left(&host);
}

#[test]
fn a_take_over_that_is_killed_is_completed_by_the_next_command() {
    let host = host();
    let start = |host: &Host| {
        web(host, "old", &["-p", "8080:80"]);
        web(host, "new", &["--publish-from", "old", "-p", "8080:80"]);
    };
    let end = |host: &Host| host.berth(["rm", "-f", "old", "new"]).run().ok();
    start(&host);
    let command = ["network", "take-over", "new"];
    let points = kills::points(&host, &command);
    assert!(points.len() >= 4, "{points:?}");
    end(&host);
    for (point, done) in points {
        let at = format!("killed at {point}, after {done}");
        start(&host);
        assert_eq!(host.berth(command).env("BERTH_FAULT", &point).run().status, 137, "{at}");
        let has = get("http://127.0.0.1:8080/");
        assert!(["old", "new"].contains(&has.as_str()), "{at}: {has:?}");
        host.berth(["ps"]).run().ok();
        // Either it had not begun, or it's done.
        let has = get("http://127.0.0.1:8080/");
        assert_eq!(host.berth(["port", &has, "80/tcp"]).text(), "0.0.0.0:8080", "{at}");
        host.berth(command).run().ok();
        assert_eq!(get("http://127.0.0.1:8080/"), "new", "{at}");
        assert_eq!(host.berth(["port", "old"]).text(), "", "{at}");
        // After a flush it's still so.
        host.berth(["network", "repair"]).run().ok();
        assert_eq!(get("http://127.0.0.1:8080/"), "new", "{at}");
        end(&host);
    }
    nothing_left(&host);
}

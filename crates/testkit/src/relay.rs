//! A wire between a client and a server that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Passes bytes both ways between a port of 127.0.0.1 and a server. Dropping it cuts all connections.
pub struct Relay {
    address: SocketAddr,
    wire: Arc<Wire>,
    acceptor: Option<JoinHandle<()>>,
}

struct Wire {
    target: String,
    /// Bytes that clients may still send until the connection that sends the last of them is cut.
    until_cut: AtomicU64,
    cuts: AtomicU64,
    stopping: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// A wire to `target` that is cut once, after clients have sent `bytes`.
    pub fn cut_after(target: &str, bytes: u64) -> Relay {
        crate::netns::of_test();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let wire = Arc::new(Wire {
            target: target.to_owned(),
            until_cut: AtomicU64::new(bytes),
            cuts: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let shared = Arc::clone(&wire);
        let acceptor = std::thread::spawn(move || accept(&listener, &shared));
        Relay { address, wire, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        self.wire.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wire.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in
            self.wire.streams.lock().into_iter().flat_map(|mut streams| std::mem::take(&mut *streams))
        {
            _ = stream.shutdown(Shutdown::Both);
        }
        _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn accept(listener: &TcpListener, wire: &Arc<Wire>) {
    let mut threads = Vec::new();
    for client in listener.incoming().flatten() {
        if wire.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(server) = TcpStream::connect(&wire.target) else { continue };
        for (from, to, counts) in [(&client, &server, true), (&server, &client, false)] {
            let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else {
                continue;
            };
            wire.streams.lock().expect("no thread panicked with it").push(kept);
            let wire = Arc::clone(wire);
            threads.push(std::thread::spawn(move || pass(from, to, counts, &wire)));
        }
    }
    threads.into_iter().for_each(|thread| _ = thread.join());
}

fn pass(mut from: TcpStream, mut to: TcpStream, counts: bool, wire: &Wire) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if counts {
            let before = wire.until_cut.load(Ordering::SeqCst);
            wire.until_cut.store(before.saturating_sub(count as u64), Ordering::SeqCst);
            if before > 0 && before <= count as u64 {
                wire.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    _ = from.shutdown(Shutdown::Both);
    _ = to.shutdown(Shutdown::Both);
}

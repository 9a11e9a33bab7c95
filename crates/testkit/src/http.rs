//! An HTTP server on loopback that does what a test tells it to, rude things included.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What it sent, or as much as came.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Where the client wants to go on, from `Range: bytes=N-`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does about it.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Status; 0 closes the connection without a word.
    pub status: u16,
    /// Beside the length, which is made from the body unless given here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is sent in chunks, without a length.
    pub chunked: bool,
    /// After how many bytes of the body the connection is closed.
    pub cut: Option<usize>,
    /// After how many bytes of the body nothing comes any more, for this long.
    pub stall: Option<(usize, Duration)>,
    /// How long each byte of the body takes.
    pub drip: Option<Duration>,
}

impl Answer {
    /// One of this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    /// The same with a header.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Answer {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same, closed after `bytes` of the body.
    pub fn cut_at(self, bytes: usize) -> Answer {
        Answer { cut: Some(bytes), ..self }
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let has_length = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if self.chunked {
            head += "transfer-encoding: chunked\r\n";
        } else if !has_length && self.status != 204 {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server. Dropping it closes all connections and waits for its threads.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    stopping: AtomicBool,
    requests: Mutex<Vec<Request>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// Answers each request by `handler`, on a port of 127.0.0.1 that the kernel chose.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        crate::netns::of_test();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopping: AtomicBool::new(false),
            requests: Mutex::default(),
            streams: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &server));
        Server { address, shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// All requests so far, in the order in which they were read.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no handler panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes accept.
        drop(TcpStream::connect(self.address));
        for stream in
            self.shared.streams.lock().into_iter().flat_map(|mut streams| std::mem::take(&mut *streams))
        {
            _ = stream.shutdown(Shutdown::Both);
        }
        _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for stream in listener.incoming().flatten() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        if let (Ok(copy), Ok(mut streams)) = (stream.try_clone(), shared.streams.lock()) {
            streams.push(copy);
        }
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || _ = serve(stream, &shared)));
    }
    threads.into_iter().for_each(|thread| _ = thread.join());
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    // A TLS handshake: what Go's server says to one.
    if reader.fill_buf()?.first() == Some(&0x16) {
        writer.write_all(
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
        )?;
        return writer.shutdown(Shutdown::Both);
    }
    while let Some(request) = read_request(&mut reader)? {
        let answer = (shared.handler)(&request);
        let is_head = request.method == "HEAD";
        if let Ok(mut requests) = shared.requests.lock() {
            requests.push(request);
        }
        if answer.status == 0 || !write_answer(&mut writer, &answer, is_head)? {
            return writer.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// Whether the connection goes on.
fn write_answer(writer: &mut TcpStream, answer: &Answer, is_head: bool) -> std::io::Result<bool> {
    writer.write_all(answer.head().as_bytes())?;
    if is_head {
        return Ok(true);
    }
    let end = answer.cut.unwrap_or(answer.body.len()).min(answer.body.len());
    let mut body = &answer.body[..end];
    if let Some((after, pause)) = answer.stall {
        writer.write_all(&body[..after])?;
        body = &body[after..];
        std::thread::sleep(pause);
    }
    if let Some(pause) = answer.drip {
        for byte in body {
            writer.write_all(&[*byte])?;
            std::thread::sleep(pause);
        }
        return Ok(answer.cut.is_none());
    }
    match answer.chunked {
        true => {
            for chunk in body.chunks(10_000) {
                write!(writer, "{:x}\r\n", chunk.len())?;
                writer.write_all(chunk)?;
                writer.write_all(b"\r\n")?;
            }
            if answer.cut.is_none() {
                writer.write_all(b"0\r\n\r\n")?;
            }
        }
        false => writer.write_all(body)?,
    }
    Ok(answer.cut.is_none())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(Some(request))
}

//! One probe, by a process of its own: it may hang, and the keeper mustn't.

use super::{Check, ProbeResult, Test};
use crate::cell::{Running, now_ns};
use crate::exec;
use crate::request::{Endpoint, ExecRequest, HealthTest};
use crate::{Config, Error};
use linux::Errno;
use linux::process::{self, Fork, ns};
use runtime::Stdio;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes of a probe's output that are kept. Docker's.
const OUTPUT_BYTES_MAX: usize = 4096;

/// A probe that runs.
#[derive(Debug)]
pub(crate) struct Prober {
    pid: i32,
    /// Readable when there is more of the result, or all of it.
    pub pipe: OwnedFd,
    heard: Vec<u8>,
}

impl Prober {
    /// Reads on; the result once it's whole. One that was killed has none.
    pub fn hear(&mut self) -> Option<Option<ProbeResult>> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.pipe, &mut buffer[..]) {
            Ok(0) => {
                let _ = process::wait_child(self.pid);
                Some(serde_json::from_slice(&self.heard).ok())
            }
            Ok(read) => {
                self.heard.extend(&buffer[..read]);
                None
            }
            Err(Errno::INTR | Errno::AGAIN) => None,
            Err(_) => Some(None),
        }
    }

    /// Ends it, with what it runs.
    pub fn kill(self) {
        let _ = process::kill(self.pid, 9);
        let _ = process::wait_child(self.pid);
    }
}

/// Begins a probe.
pub(crate) fn spawn(check: &Check, config: &Config, running: &Running) -> Result<Prober, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    match process::fork()? {
        Fork::Parent(pid) => Ok(Prober { pid, pipe: reader, heard: Vec::new() }),
        Fork::Child => {
            process::set_name(c"berth-probe");
            // The container's lock too: the keeper alone looks after it.
            process::close_others(&[writer.as_raw_fd()]);
            let _ = process::set_parent_death_signal(9);
            let start_ns = now_ns();
            let (code, output) = match run(check, config, running) {
                Ok(ended) => ended,
                Err(error) => (-1, error.to_string()),
            };
            let result = ProbeResult { start_ns, end_ns: now_ns(), code, output: cut(output) };
            let text = serde_json::to_vec(&result).unwrap_or_default();
            let _ = std::fs::File::from(writer).write_all(&text);
            process::exit(0)
        }
    }
}

/// As docker does.
fn cut(output: String) -> String {
    match output.char_indices().map(|(at, _)| at).take_while(|at| *at <= OUTPUT_BYTES_MAX).last() {
        Some(end) if output.len() > OUTPUT_BYTES_MAX => format!("{}...", &output[..end]),
        _ => output,
    }
}

fn run(check: &Check, config: &Config, running: &Running) -> Result<(i32, String), Error> {
    let not_running = || Error::State { id: config.name.clone(), why: "is not running".to_owned() };
    match &check.test {
        Test::Command(command) => in_container(command, check.timeout, config, running),
        Test::Network(test) => {
            let pidfd = running.init.open().ok_or_else(not_running)?;
            // Without a network of its own there is nothing to be entered.
            process::setns(pidfd.as_fd(), ns::NET)
                .map_err(|errno| Error::system("enter the network of", &config.name, errno))?;
            Ok(over_network(test, check.timeout))
        }
    }
}

fn exceeded(timeout: Duration, output: &str) -> (i32, String) {
    let said = format!("Health check exceeded timeout ({})", types::duration::format(timeout));
    (-1, if output.is_empty() { said } else { format!("{said}: {output}") })
}

fn in_container(
    command: &[String],
    timeout: Duration,
    config: &Config,
    running: &Running,
) -> Result<(i32, String), Error> {
    let failed = |errno| Error::system("make", "a pipe", errno);
    let (reader, stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let stderr = stdout.try_clone().map_err(|error| Error::io("make", "a pipe", &error))?;
    let request =
        ExecRequest { container: config.name.clone(), command: command.to_vec(), ..ExecRequest::default() };
    let stdio = Stdio { stdin: None, stdout, stderr };
    let deadline = Instant::now() + timeout;
    let started = exec::start(config, running, &request, Some(stdio))?;
    let mut output = Vec::new();
    let mut is_open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = process::pidfd_signal(started.pidfd.as_fd(), 9);
            let _ = process::wait_child(started.pid);
            return Ok(exceeded(timeout, &String::from_utf8_lossy(&output)));
        }
        let mut fds = [
            PollFd::from_borrowed_fd(started.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
        ];
        let watched = if is_open { &mut fds[..] } else { &mut fds[..1] };
        let _ = poll(watched, Timespec::try_from(left).ok().as_ref());
        let [ended, readable] = [0, 1].map(|at| watched.get(at).is_some_and(|fd| !fd.revents().is_empty()));
        if readable {
            is_open = read_some(&reader, &mut output);
        } else if ended {
            // What it has left behind may go on writing: that isn't waited for.
            let code = process::wait_child(started.pid).map_or(-1, |exit| i32::from(exit.shell_code()));
            return Ok((code, String::from_utf8_lossy(&output).into_owned()));
        }
    }
}

/// Reads, and keeps what there is room for; whether there may be more.
fn read_some(reader: &OwnedFd, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match rustix::io::read(reader, &mut buffer[..]) {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            let room = (OUTPUT_BYTES_MAX + 1).saturating_sub(output.len());
            output.extend(&buffer[..read.min(room)]);
            true
        }
    }
}

fn over_network(test: &HealthTest, timeout: Duration) -> (i32, String) {
    let deadline = Instant::now() + timeout;
    let (endpoint, path) = match test {
        HealthTest::Http(endpoint, path) => (endpoint, Some(path)),
        HealthTest::Tcp(endpoint) => (endpoint, None),
        HealthTest::None | HealthTest::Shell(_) => return (-1, String::new()),
    };
    let address = SocketAddr::new(endpoint.address, endpoint.port);
    let asked = TcpStream::connect_timeout(&address, timeout).and_then(|stream| match path {
        Some(path) => ask(stream, endpoint, path, deadline).map(judge),
        None => Ok((0, format!("{address} takes connections"))),
    });
    match asked {
        Ok(ended) => ended,
        Err(_) if Instant::now() >= deadline => exceeded(timeout, ""),
        Err(error) => (1, format!("{address}: {error}")),
    }
}

/// The beginning of what is answered.
fn ask(
    mut stream: TcpStream,
    endpoint: &Endpoint,
    path: &str,
    deadline: Instant,
) -> std::io::Result<Vec<u8>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: berth-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < OUTPUT_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Enough was said.
            Err(_) if answer.contains(&b'\n') => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether an answer is a good one: `HTTP/1.1 204 No Content`.
fn judge(answer: Vec<u8>) -> (i32, String) {
    let text = String::from_utf8_lossy(&answer).into_owned();
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse::<u16>().ok());
    match status {
        Some(200..400) if version.starts_with("HTTP/1.") => (0, text),
        Some(_) if version.starts_with("HTTP/1.") => (1, text),
        _ => (1, format!("this is no answer of HTTP: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_from_200_to_399_are_good() {
        for (line, code) in [
            ("HTTP/1.1 200 OK\r\n\r\nfine", 0),
            ("HTTP/1.0 302 Found\r\n", 0),
            ("HTTP/1.1 503 Service Unavailable\r\n", 1),
            ("HTTP/1.1 99 Odd\r\n", 1),
            ("SSH-2.0-OpenSSH_10.2\r\n", 1),
            ("", 1),
        ] {
            assert_eq!(judge(line.into()).0, code, "{line}");
        }
    }

    #[test]
    fn long_outputs_are_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut("ä".repeat(4000));
        assert!(long.ends_with("ä...") && long.len() == 4099);
    }
}

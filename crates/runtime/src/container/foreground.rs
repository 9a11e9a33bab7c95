//! A process in the foreground: signals and terminal are passed through until it ends.

use crate::Error;
use linux::Errno;
use linux::process::{self, Exit};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use types::oci::ConsoleSize;

const SIGCHLD: i32 = 17;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;

/// Signals that stay with the kernel: those that can't be caught, and those that a fault of our own would raise.
const NOT_FORWARDED: [i32; 8] = [4, 5, 7, 8, 9, 11, 19, 31];

/// Bytes copied at once.
const CHUNK_BYTES: usize = 32 << 10;

/// All signals that can be passed on, from now on read from a descriptor.
#[derive(Debug)]
pub(super) struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals. To be called before the process is made whose end they tell.
    pub fn take() -> Result<Signals, Error> {
        let failed = |call: &str, errno| Error::step("pass signals on", call, "all signals", errno);
        let signals: Vec<i32> = (1..=64).filter(|signal| !NOT_FORWARDED.contains(signal)).collect();
        linux::signal::set_blocked(&signals).map_err(|e| failed("sigprocmask", e))?;
        Ok(Signals(linux::signal::signalfd(&signals).map_err(|e| failed("signalfd", e))?))
    }
}

/// The size of the caller's terminal, if it has one.
pub(super) fn terminal_size() -> Option<ConsoleSize> {
    [stdin(), stdout()].into_iter().find_map(|fd| {
        let size = tcgetwinsize(fd).ok()?;
        Some(ConsoleSize { height: size.ws_row, width: size.ws_col })
    })
}

/// Waits until the child `pid` ends, passing signals on, and between the caller's streams and `terminal` all bytes.
pub(super) fn supervise(
    signals: &Signals,
    pid: i32,
    pidfd: BorrowedFd<'_>,
    terminal: Option<OwnedFd>,
) -> Result<Exit, Error> {
    let mut proxy = terminal.map(Proxy::new).transpose()?;
    loop {
        let failed = |errno| Error::step("wait for the container", "poll", "its streams", errno);
        let ready = match &proxy {
            Some(proxy) => proxy.poll(&signals.0).map_err(failed)?,
            None => {
                let mut fds = [PollFd::new(&signals.0, PollFlags::IN)];
                retry(|| poll(&mut fds, None)).map_err(failed)?;
                Ready { signals: true, ..Ready::default() }
            }
        };
        if let Some(proxy) = &mut proxy {
            proxy.copy(&ready)?;
        }
        if !ready.signals {
            continue;
        }
        while let Some(signal) = linux::signal::read_signalfd(signals.0.as_fd())
            .map_err(|errno| Error::step("pass signals on", "read", "signalfd", errno))?
        {
            match signal.number {
                SIGCHLD => {
                    if let Some(exit) = reap(pid) {
                        if let Some(proxy) = &mut proxy {
                            proxy.drain()?;
                        }
                        return Ok(exit);
                    }
                }
                SIGWINCH if proxy.is_some() => {
                    if let Some(proxy) = &proxy {
                        proxy.resize();
                    }
                }
                // The Go runtime of callers such as containerd's shim sends these to itself and its children.
                SIGURG => {}
                // One that is about to end needs no signal.
                number => drop(process::pidfd_signal(pidfd, number)),
            }
        }
    }
}

/// Reaps every ended child, adopted ones as well; says how `pid` ended if it was among them.
fn reap(pid: i32) -> Option<Exit> {
    let mut ours = None;
    while let Ok(Some((ended, exit))) = process::try_wait_any() {
        if ended == pid {
            ours = Some(exit);
        }
    }
    ours
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => continue,
            other => return other,
        }
    }
}

/// What has something to read, or room to write.
#[derive(Default)]
struct Ready {
    signals: bool,
    input: bool,
    output: bool,
    room: bool,
}

/// Copies between the caller's standard streams and a terminal's master; the caller's own terminal is raw meanwhile.
struct Proxy {
    master: Option<OwnedFd>,
    /// The settings to go back to.
    saved: Option<Termios>,
    /// Input that the container hasn't taken yet.
    pending: Vec<u8>,
    input_open: bool,
}

impl Proxy {
    fn new(master: OwnedFd) -> Result<Proxy, Error> {
        let failed = |call: &str, errno| Error::step("pass the terminal through", call, "pty", errno);
        let flags = rustix::fs::fcntl_getfl(&master).map_err(|e| failed("fcntl", e))?;
        // A container that doesn't read must not keep us from reading what it writes.
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(|e| failed("fcntl", e))?;
        let mut saved = None;
        if isatty(stdin()) {
            let settings = tcgetattr(stdin()).map_err(|e| failed("tcgetattr", e))?;
            let mut raw = settings.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(|e| failed("tcsetattr", e))?;
            saved = Some(settings);
        }
        let proxy = Proxy { master: Some(master), saved, pending: Vec::new(), input_open: true };
        proxy.resize();
        Ok(proxy)
    }

    fn resize(&self) {
        let Some(master) = &self.master else { return };
        if let Some(size) = [stdin(), stdout()].into_iter().find_map(|fd| tcgetwinsize(fd).ok()) {
            // A terminal that hung up has no size.
            let _ = tcsetwinsize(master, size);
        }
    }

    fn poll(&self, signals: &OwnedFd) -> Result<Ready, Errno> {
        let stdin = stdin();
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        let mut master_at = None;
        let mut input_at = None;
        if let Some(master) = &self.master {
            let room = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            master_at = Some(fds.len());
            fds.push(PollFd::new(master, PollFlags::IN | room));
            if self.input_open && self.pending.is_empty() {
                input_at = Some(fds.len());
                fds.push(PollFd::new(&stdin, PollFlags::IN));
            }
        }
        retry(|| poll(&mut fds, None))?;
        let any =
            |at: Option<usize>, flags: PollFlags| at.is_some_and(|at| fds[at].revents().intersects(flags));
        let ended = PollFlags::HUP | PollFlags::ERR;
        Ok(Ready {
            signals: any(Some(0), PollFlags::IN),
            input: any(input_at, PollFlags::IN | ended),
            output: any(master_at, PollFlags::IN | ended),
            room: any(master_at, PollFlags::OUT),
        })
    }

    fn copy(&mut self, ready: &Ready) -> Result<(), Error> {
        if ready.output {
            self.copy_output()?;
        }
        if ready.input {
            let mut buffer = [0; CHUNK_BYTES];
            match retry(|| rustix::io::read(stdin(), &mut buffer[..])) {
                Ok(0) => self.input_open = false,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => {}
                // A terminal that is gone, or that another job has.
                Err(_) => self.input_open = false,
            }
        }
        if (ready.room || ready.input) && !self.pending.is_empty() {
            self.write_pending();
        }
        Ok(())
    }

    fn write_pending(&mut self) {
        let Some(master) = &self.master else { return };
        match retry(|| rustix::io::write(master, &self.pending)) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN) => {}
            Err(_) => self.pending.clear(),
        }
    }

    /// Copies one chunk; `false` if there was none.
    fn copy_output(&mut self) -> Result<bool, Error> {
        let Some(master) = &self.master else { return Ok(false) };
        let mut buffer = [0; CHUNK_BYTES];
        match retry(|| rustix::io::read(master, &mut buffer[..])) {
            Ok(count) if count > 0 => {
                write_all(stdout(), &buffer[..count])
                    .map_err(|e| Error::step("pass output on", "write", "stdout", e))?;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            // EIO: nobody has the other side open any more, and nobody can open it again but through its devpts.
            _ => {
                self.master = None;
                Ok(false)
            }
        }
    }

    fn drain(&mut self) -> Result<(), Error> {
        while self.copy_output()? {}
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(settings) = &self.saved {
            let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(to, bytes)) {
            Ok(count) => bytes = &bytes[count..],
            // The caller's stdout may be non-blocking, being shared with others.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&to, PollFlags::OUT)];
                retry(|| poll(&mut fds, None))?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

//! A command under a real terminal, driven as a person would.

use crate::cmd::{Cmd, code, wait_child};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long an expected text may take.
pub const EXPECT: Duration = Duration::from_secs(10);

/// The terminal's far side. Dropped, the command is killed.
#[derive(Debug)]
pub struct Pty {
    line: String,
    master: Option<OwnedFd>,
    child: Option<Child>,
    seen: Vec<u8>,
    /// How much of `seen` earlier [`Pty::expect`]s have used up.
    used: usize,
}

impl Pty {
    /// Starts `cmd` under a terminal of `columns` by `rows`; its stdin and descriptors are ignored.
    pub fn start(cmd: &Cmd, columns: u16, rows: u16) -> Pty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("open a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        set_size(&master, columns, rows);
        let slave = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            openat(CWD, name.as_c_str(), flags, Mode::empty()).expect("open the pty's slave")
        };
        let child = cmd.spawn_on(slave);
        Pty { line: cmd.line(), master: Some(master), child: Some(child), seen: Vec::new(), used: 0 }
    }

    /// A terminal whose master came through a console socket; whoever runs on it is no child of the test's.
    pub fn adopt(master: OwnedFd) -> Pty {
        Pty { line: "console socket".into(), master: Some(master), child: None, seen: Vec::new(), used: 0 }
    }

    /// Types `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let master = self.master.as_ref().expect("the terminal is open");
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            let sent =
                rustix::io::write(master, bytes).unwrap_or_else(|e| panic!("{}: write: {e}", self.line));
            bytes = &bytes[sent..];
        }
    }

    /// Waits for `text`, after what was expected before; what came until its end.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        self.expect_within(text, EXPECT)
    }

    /// As [`Pty::expect`], within `limit`.
    #[track_caller]
    pub fn expect_within(&mut self, text: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let fresh = &self.seen[self.used..];
            let found = fresh.windows(text.len().max(1)).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                let until = at + text.len();
                let came = String::from_utf8_lossy(&fresh[..until]).into_owned();
                self.used += until;
                return came;
            }
            if !self.pump(end) {
                panic!(
                    "{}: {text:?} didn't come on the terminal; it shows:\n{}\n---",
                    self.line,
                    self.screen()
                );
            }
        }
    }

    /// Reads once, until `end`; false at the time's or the output's end.
    fn pump(&mut self, end: Instant) -> bool {
        let Some(master) = &self.master else { return false };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return true,
            Err(error) => panic!("{}: poll: {error}", self.line),
        }
        let mut buffer = [0; 64 * 1024];
        // EIO: the last holder of the slave side is gone.
        match rustix::io::read(master, &mut buffer) {
            Ok(length @ 1..) => {
                self.seen.extend(&buffer[..length]);
                true
            }
            _ => false,
        }
    }

    /// Changes the window's size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        set_size(self.master.as_ref().expect("the terminal is open"), columns, rows);
    }

    /// Everything that came so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Process id of the command.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("an adopted terminal has no child").id()
    }

    /// Closes the terminal, as closing its window does.
    pub fn close(&mut self) {
        self.master = None;
    }

    /// Waits for the command's end; its exit status, or 128 and the signal's number.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let end = Instant::now() + EXPECT;
        while self.pump(end) {}
        let mut child = self.child.take().expect("an adopted terminal has no child");
        match wait_child(&mut child, end.saturating_duration_since(Instant::now())) {
            Some(status) => code(status),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "{}: didn't end within {EXPECT:?}; the terminal shows:\n{}\n---",
                    self.line,
                    self.screen()
                );
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn set_size(master: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("set a terminal's size");
}

/// A socket on which `--console-socket` hands a terminal's master over.
#[derive(Debug)]
pub struct ConsoleSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ConsoleSocket {
    /// Listens on the new socket `path`.
    pub fn listen(path: &Path) -> ConsoleSocket {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("bind {}: {e}", path.display()));
        listener.set_nonblocking(true).expect("a socket");
        ConsoleSocket { path: path.to_owned(), listener }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal that comes.
    #[track_caller]
    pub fn accept(&self) -> Pty {
        Pty::adopt(self.accept_fd())
    }

    /// The descriptor that comes.
    #[track_caller]
    pub fn accept_fd(&self) -> OwnedFd {
        let mut stream = None;
        crate::until(EXPECT, || {
            stream = self.listener.accept().ok();
            stream.is_some()
        });
        let (stream, _) = stream.unwrap_or_else(|| panic!("nobody came to {}", self.path.display()));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 4096];
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut ancillary, flags).expect("recvmsg");
        let mut fds = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        fds.next().unwrap_or_else(|| panic!("no descriptor came to {}", self.path.display()))
    }
}

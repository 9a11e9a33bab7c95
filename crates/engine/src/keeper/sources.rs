//! Where a container's output comes from.

use crate::log::{FRAME_BYTES_MAX, Stream, Writer};
use linux::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Our ends of a container's output.
#[derive(Debug)]
pub enum Streams {
    /// None yet.
    None,
    /// Two FIFOs: stdout, stderr.
    Pipes(OwnedFd, OwnedFd),
    /// A terminal's master.
    Terminal(OwnedFd),
}

impl Streams {
    /// The descriptors.
    pub fn raw(&self) -> Vec<i32> {
        match self {
            Streams::None => Vec::new(),
            Streams::Pipes(out, err) => vec![out.as_raw_fd(), err.as_raw_fd()],
            Streams::Terminal(master) => vec![master.as_raw_fd()],
        }
    }

    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        match self {
            Streams::None => Vec::new(),
            Streams::Pipes(out, err) => {
                vec![Source::Pipe(out.as_fd(), Stream::Stdout), Source::Pipe(err.as_fd(), Stream::Stderr)]
            }
            Streams::Terminal(master) => {
                // A read that finds nothing must come back.
                let _ = rustix::io::ioctl_fionbio(master, true);
                vec![Source::Terminal(master.as_fd())]
            }
        }
    }
}

/// One of them.
pub(super) enum Source<'a> {
    Pipe(BorrowedFd<'a>, Stream),
    Terminal(BorrowedFd<'a>),
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    Some,
    Nothing,
    Ended,
}

/// Bytes read from a terminal at once; the kernel's line buffer holds 4 KiB.
const TERMINAL_BYTES: usize = 16 << 10;

impl<'a> Source<'a> {
    pub fn fd(&self) -> BorrowedFd<'a> {
        match self {
            Source::Pipe(fd, _) | Source::Terminal(fd) => *fd,
        }
    }

    pub fn stream(&self) -> Stream {
        match self {
            Source::Pipe(_, stream) => *stream,
            Source::Terminal(_) => Stream::Stdout,
        }
    }

    /// Copies what is there to the log. Output that the log can't take (a full disk) is thrown away, so that the
    /// container goes on.
    pub fn copy(&mut self, writer: Option<&mut Writer>) -> Copied {
        match self {
            Source::Pipe(fd, stream) => {
                let ready = rustix::io::ioctl_fionread(*fd).unwrap_or(0) as usize;
                if ready == 0 {
                    return if pipe_ended(*fd) { Copied::Ended } else { Copied::Nothing };
                }
                let logged = writer.is_some_and(|w| w.append_from(*fd, *stream, ready).is_ok());
                if !logged {
                    let mut waste = vec![0; ready.min(FRAME_BYTES_MAX)];
                    let _ = rustix::io::read(*fd, &mut waste[..]);
                }
                Copied::Some
            }
            Source::Terminal(fd) => {
                let mut buffer = [0; TERMINAL_BYTES];
                match rustix::io::read(*fd, &mut buffer[..]) {
                    Ok(0) => Copied::Ended,
                    Ok(n) => {
                        if let Some(writer) = writer {
                            let _ = writer.append(&buffer[..n], Stream::Stdout);
                        }
                        Copied::Some
                    }
                    Err(Errno::AGAIN | Errno::INTR) => Copied::Nothing,
                    // The last process that had the terminal open is gone.
                    Err(_) => Copied::Ended,
                }
            }
        }
    }

    /// Copies the rest of what a container that has ended wrote.
    pub fn drain(&mut self, mut writer: Option<&mut Writer>) {
        while self.copy(writer.as_deref_mut()) == Copied::Some {}
    }
}

/// Whether an empty pipe has no writer left.
fn pipe_ended(fd: BorrowedFd<'_>) -> bool {
    rustix::io::read(fd, &mut [0u8; 1][..]) == Ok(0)
}

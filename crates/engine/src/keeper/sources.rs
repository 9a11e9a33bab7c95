//! Where a container's output comes from.
//!
//! Bulk output goes through a second pipe on its way from the container's to the log. While the kernel copies from a pipe
//! to a file, it holds the pipe's lock, and who writes to it has to wait; moving buffers from pipe to pipe takes no time.
//! The second pipe is held by the holder, too: what is in it survives the keeper. If both are killed within the
//! millisecond that such a copy takes, the up to [`FRAME_BYTES_MAX`] bytes in it are lost.

use crate::log::{FRAME_BYTES_MAX, Recorder, Stream};
use linux::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Our ends of a container's output.
#[derive(Debug)]
pub enum Streams {
    /// None yet.
    None,
    /// Two FIFOs: stdout, stderr; and what bulk output on stdout goes through.
    Pipes(OwnedFd, OwnedFd, Staging),
    /// A terminal's master.
    Terminal(OwnedFd),
}

impl Streams {
    /// The descriptors.
    pub fn raw(&self) -> Vec<i32> {
        match self {
            Streams::None => Vec::new(),
            Streams::Pipes(out, err, staging) => {
                [out, err, &staging.reader, &staging.writer].map(AsRawFd::as_raw_fd).to_vec()
            }
            Streams::Terminal(master) => vec![master.as_raw_fd()],
        }
    }

    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        match self {
            Streams::None => Vec::new(),
            Streams::Pipes(out, err, staging) => vec![
                Source::Pipe { fd: out.as_fd(), stream: Stream::Stdout, staging: Some(staging) },
                Source::Pipe { fd: err.as_fd(), stream: Stream::Stderr, staging: None },
            ],
            Streams::Terminal(master) => {
                // A read that finds nothing must come back.
                let _ = rustix::io::ioctl_fionbio(master, true);
                vec![Source::Terminal(master.as_fd())]
            }
        }
    }
}

/// From how many bytes on a move to the second pipe pays.
const BULK_BYTES: usize = 128 << 10;

/// The pipe that bulk output goes through.
#[derive(Debug)]
pub struct Staging {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Staging {
    /// A new one, of the kernel's default size until it's used.
    pub fn new() -> Result<Staging, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Staging { reader, writer })
    }

    /// Bytes in it.
    fn staged(&self) -> usize {
        rustix::io::ioctl_fionread(&self.reader).unwrap_or(0) as usize
    }

    /// Moves up to `length` bytes here from `pipe`; the bytes that are here now.
    fn take(&self, pipe: BorrowedFd<'_>, length: usize) -> usize {
        if fcntl_getpipe_size(&self.writer).is_ok_and(|size| size < FRAME_BYTES_MAX) {
            // Where the limit of all pipes is reached, it stays as it is, and takes less at once.
            let _ = fcntl_setpipe_size(&self.writer, FRAME_BYTES_MAX);
        }
        splice(pipe, None, &self.writer, None, length, SpliceFlags::NONBLOCK).unwrap_or(0)
    }
}

/// One of them.
pub(super) enum Source<'a> {
    Pipe { fd: BorrowedFd<'a>, stream: Stream, staging: Option<&'a Staging> },
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
            Source::Pipe { fd, .. } | Source::Terminal(fd) => *fd,
        }
    }

    pub fn stream(&self) -> Stream {
        match self {
            Source::Pipe { stream, .. } => *stream,
            Source::Terminal(_) => Stream::Stdout,
        }
    }

    /// Copies what is there to the log. Without one it's thrown away, so that the container goes on.
    pub fn copy(&mut self, log: Option<&mut Recorder>) -> Copied {
        match self {
            Source::Pipe { fd, stream, staging } => {
                let ready = rustix::io::ioctl_fionread(*fd).unwrap_or(0) as usize;
                if ready == 0 {
                    return if pipe_ended(*fd) { Copied::Ended } else { Copied::Nothing };
                }
                match staging {
                    Some(staging) if ready >= BULK_BYTES => {
                        let staged = staging.take(*fd, ready);
                        take(staging.reader.as_fd(), staged, *stream, log);
                    }
                    _ => take(*fd, ready, *stream, log),
                }
                Copied::Some
            }
            Source::Terminal(fd) => {
                let mut buffer = [0; TERMINAL_BYTES];
                match rustix::io::read(*fd, &mut buffer[..]) {
                    Ok(0) => Copied::Ended,
                    Ok(n) => {
                        if let Some(log) = log {
                            log.take_bytes(&buffer[..n], Stream::Stdout);
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

    /// Copies what an earlier keeper was about to copy.
    pub fn resume(&mut self, log: Option<&mut Recorder>) {
        if let Source::Pipe { stream, staging: Some(staging), .. } = self {
            take(staging.reader.as_fd(), staging.staged(), *stream, log);
        }
    }

    /// Copies the rest of what a container that has ended wrote.
    pub fn drain(&mut self, mut log: Option<&mut Recorder>) {
        while self.copy(log.as_deref_mut()) == Copied::Some {}
    }
}

/// Moves `length` bytes, which are ready, from `pipe` to the log.
fn take(pipe: BorrowedFd<'_>, length: usize, stream: Stream, log: Option<&mut Recorder>) {
    match log {
        Some(log) => log.take(pipe, stream, length),
        None => {
            let mut waste = vec![0; length.min(FRAME_BYTES_MAX)];
            let _ = rustix::io::read(pipe, &mut waste[..]);
        }
    }
}

/// Whether an empty pipe has no writer left.
fn pipe_ended(fd: BorrowedFd<'_>) -> bool {
    rustix::io::read(fd, &mut [0u8; 1][..]) == Ok(0)
}

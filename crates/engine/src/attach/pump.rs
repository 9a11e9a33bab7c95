//! Moving bytes from one descriptor to another, without copying where the kernel can.

use linux::Errno;
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes moved at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes copied at once where nothing can be moved.
const BUFFER_BYTES: usize = 64 << 10;

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Something.
    Some,
    /// Nothing, for now.
    Nothing,
    /// The source has ended.
    SourceEnded,
}

/// Moves the container's output from a pipe of the keeper's to a stream of the caller's, and counts it.
#[derive(Debug)]
pub struct Pump {
    from: OwnedFd,
    to: BorrowedFd<'static>,
    received: u64,
    can_splice: bool,
    discards: bool,
}

impl Pump {
    /// `from` doesn't block, `to` does.
    pub fn new(from: OwnedFd, to: BorrowedFd<'static>) -> Pump {
        Pump { from, to, received: 0, can_splice: true, discards: false }
    }

    /// The pipe.
    pub fn source(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// Bytes so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Throws away what comes from now on.
    pub fn discard(&mut self) {
        self.discards = true;
    }

    /// Moves what there is.
    pub fn run(&mut self) -> Result<Moved, Errno> {
        let mut any = Moved::Nothing;
        loop {
            let moved = if self.can_splice && !self.discards { self.splice() } else { self.copy() };
            match moved {
                Ok(0) => return Ok(if any == Moved::Some { any } else { Moved::SourceEnded }),
                Ok(n) => {
                    self.received += n as u64;
                    any = Moved::Some;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !rustix::io::ioctl_fionread(&self.from).is_ok_and(|n| n > 0) => {
                    return Ok(any);
                }
                // The caller's stream is in non-blocking mode and full.
                Err(Errno::AGAIN) => wait_writable(self.to)?,
                Err(Errno::INVAL) if self.can_splice => self.can_splice = false,
                // A terminal that nobody has open any more.
                Err(Errno::IO) => return Ok(Moved::SourceEnded),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn splice(&self) -> Result<usize, Errno> {
        splice(&self.from, None, self.to, None, CHUNK_BYTES, SpliceFlags::empty())
    }

    fn copy(&self) -> Result<usize, Errno> {
        let mut buffer = [0; BUFFER_BYTES];
        let read = rustix::io::read(&self.from, &mut buffer[..])?;
        if !self.discards {
            write_all(self.to, &buffer[..read])?;
        }
        Ok(read)
    }

    /// Writes output that came another way.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.received += bytes.len() as u64;
        if self.discards { Ok(()) } else { write_all(self.to, bytes) }
    }
}

pub fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(to)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn wait_writable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Moves once from a stream that is ready to a pipe that has room.
pub fn move_once(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Moved, Errno> {
    match splice(from, None, to, None, CHUNK_BYTES, SpliceFlags::NONBLOCK) {
        Ok(0) => return Ok(Moved::SourceEnded),
        Ok(_) => return Ok(Moved::Some),
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Moved::Nothing),
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    // A terminal, or a file that can't be spliced. A pipe that has room takes at least a page in one go.
    let mut buffer = [0; 4096];
    match rustix::io::read(from, &mut buffer[..]) {
        Ok(0) => Ok(Moved::SourceEnded),
        Ok(n) => write_all(to, &buffer[..n]).map(|()| Moved::Some),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Moved::Nothing),
        Err(errno) => Err(errno),
    }
}

/// Whether `fd` is a pipe without a name, which the container may have: it leads to nothing of the host's.
pub fn is_anonymous_pipe(fd: BorrowedFd<'_>) -> bool {
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    rustix::fs::fstatfs(fd).is_ok_and(|fs| fs.f_type == PIPEFS_MAGIC)
}

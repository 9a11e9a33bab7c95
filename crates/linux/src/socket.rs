//! Unix sockets that keep message bounds and carry descriptors.

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Most descriptors in one message: the kernel's SCM_MAX_FD is 253.
pub const FDS_MAX: usize = 200;

/// Longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// A connected pair of SEQPACKET sockets. Source: socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message with descriptors; EAGAIN if the peer lags and the socket doesn't block. Never raises SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one message into `buffer`: its bytes' number and its descriptors, close-on-exec. Zero bytes mean that the
/// peer is gone, and that all it ever sent has been received. EMSGSIZE if the message was longer than the buffer.
pub fn recv(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result = recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let message = match result {
            // Told once, before what is still queued, if the peer closed without having read all that it was sent.
            // Source: unix_release_sock() in net/unix/af_unix.c.
            Err(Errno::INTR | Errno::CONNRESET) => continue,
            other => other?,
        };
        let mut fds = Vec::new();
        for ancillary in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = ancillary {
                fds.extend(received);
            }
        }
        if message.flags.contains(rustix::net::ReturnFlags::TRUNC) {
            return Err(Errno::MSGSIZE);
        }
        return Ok((message.bytes, fds));
    }
}

/// `/proc/self/fd/DIR/NAME`, which keeps the address of a socket in a deep directory below the 108 bytes of
/// unix(7).
fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// A listening SEQPACKET socket called `name` in the directory `dir`; EADDRINUSE if the file exists.
pub fn listen(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address(dir, name)?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to what [`listen`] made; ECONNREFUSED if nobody listens any more.
pub fn connect(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &address(dir, name)?)?;
    Ok(socket)
}

/// Whether what [`listen`] made is still held open by anybody, without its listener noticing: a socket of another type
/// is refused by a living one for its type. Source: unix_find_bsd() in net/unix/af_unix.c.
pub fn is_bound(dir: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    match rustix::net::connect(&socket, &address(dir, name)?) {
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Connects to a stream socket at a path of the user's, as `--console-socket` names one.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Accepts a connection, close-on-exec.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn last_words_arrive_though_their_sender_left_without_listening() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"unread", &[]).unwrap();
        send(&theirs, b"last words", &[]).unwrap();
        drop(theirs);
        let mut buffer = [0; 32];
        let (length, _) = recv(&ours, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"last words");
        assert_eq!(recv(&ours, &mut buffer).unwrap().0, 0);
    }
}

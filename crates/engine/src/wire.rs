//! What a client (`berth run` in the foreground) and the keeper tell each other, as JSON in messages of a SEQPACKET
//! socket. A client that was there from the start keeps its socket over the death of a keeper: the holder has it too.

use linux::Errno;
use runtime::Step;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use types::kind::Kind;

/// To the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// The container runs. With a terminal, its master is attached.
    Started {
        /// The first process on the host.
        pid: i32,
        /// The steps of the start, if they were asked for.
        steps: Vec<Step>,
    },
    /// It never ran, and nothing of it is left.
    Failed {
        /// What and why.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// What sort of failure.
        kind: Kind,
    },
    /// A new keeper asks how much of each stream has arrived.
    Resume {
        /// Which keeper of this container it is. One may be killed before it hears the answer, which the next one must
        /// not take for its own.
        generation: u32,
    },
    /// It ended; that many bytes of stdout and stderr are sent in all.
    Exited {
        /// 0 to 255; `None` if nobody saw it end.
        code: Option<u8>,
        /// Whether the kernel killed one of its processes for want of memory.
        oom_killed: bool,
        /// Bytes of each stream.
        totals: [u64; 2],
    },
}

/// To the keeper, or before it exists, to the holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromClient {
    /// The layer that hides the host's secrets is attached, as a detached mount, unless it couldn't be made.
    Masked,
    /// The container is recorded in the store: it may run.
    Recorded,
    /// So much of each stream has arrived.
    Have {
        /// Of the question that this answers.
        generation: u32,
        /// Bytes of each stream.
        totals: [u64; 2],
    },
}

/// Between holder and keeper: how the first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitEnded {
    /// 0 to 255.
    pub code: u8,
}

/// Sends a message. EPIPE if the peer is gone.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    // Plain data always serialises.
    linux::socket::send(socket, &serde_json::to_vec(message).unwrap_or_default(), fds)
}

/// Receives a message, waiting for it; `None` if the peer is gone. EBADMSG if it's not one of ours.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut buffer = vec![0; linux::socket::MESSAGE_BYTES_MAX];
    match linux::socket::recv(socket, &mut buffer) {
        Ok((0, _)) => Ok(None),
        Ok((length, fds)) => match serde_json::from_slice(&buffer[..length]) {
            Ok(message) => Ok(Some((message, fds))),
            Err(_) => Err(Errno::BADMSG),
        },
        Err(errno) => Err(errno),
    }
}

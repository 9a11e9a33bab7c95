//! The DNS server that each container has at 127.0.0.11, run by its keeper.
//!
//! It answers names of the container's networks from files ([`names`]), which are looked at before each answer, and passes
//! all else on to the host's resolvers, from the namespace that it runs in. It has no threads, never blocks, and isn't
//! awake when nobody asks: whoever runs it polls one descriptor, and calls [`Server::turn`].
//!
//! The sockets are on a random port, so that a server of the container's own can have port 53. A rule in the container's
//! namespace redirects what goes to 127.0.0.11:53.
//!
//! - [`names`]: the files; what the engine writes
//! - [`host`]: what the host's `/etc/resolv.conf` says
//! - [`message`]: the format of DNS, both ways
//! - [`ask`]: one question, by a client
//! - `answer`: what we say ourselves, and what we don't pass on
//! - `known`, `zone`: the files as read, as new as they are
//! - `server`: sockets and clients; `stream` one by TCP, `upstream` one question that was passed on, `cache` what came back

mod answer;
pub mod ask;
mod cache;
pub mod host;
mod known;
pub mod message;
pub mod names;
mod server;
mod stream;
mod upstream;
mod zone;

#[cfg(test)]
mod tests;

pub use host::{Resolvers, host_resolvers};
pub use names::{Kind, Name, Network, NetworkFile, Resolver};
pub use server::{CONNECTIONS_MAX, OUTSTANDING_MAX, Server};

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// The address that containers ask.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Connections that the kernel accepts before we do.
const BACKLOG: i32 = 64;

/// Ports that are tried.
const TRIES: usize = 32;

/// Sockets for UDP and TCP on [`ADDRESS`] in the current network namespace, whose loopback device is up, and the port that
/// they share. Neither blocks.
pub fn bind_in_current_namespace() -> Result<(OwnedFd, OwnedFd, u16)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    for _ in 0..TRIES {
        let udp = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        // The kernel picks a random one that UDP has free.
        bind(&udp, &SocketAddrV4::new(ADDRESS, 0))?;
        let port = SocketAddr::try_from(getsockname(&udp)?)?.port();
        let tcp = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match bind(&tcp, &SocketAddrV4::new(ADDRESS, port)).and_then(|()| listen(&tcp, BACKLOG)) {
            Ok(()) => return Ok((udp, tcp, port)),
            Err(Errno::ADDRINUSE) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ADDRINUSE)
}

//! What can go wrong with the table.

use super::Port;
use rustix::io::Errno;
use std::net::SocketAddr;

/// An error, with what it was about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel has no nftables, or we've no right to it.
    #[error("cannot open a socket to nftables: {errno}")]
    Open {
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel refused a change.
    #[error("cannot {doing} in nftables table {table}: {errno}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// The table's name.
        table: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The port goes to somebody else.
    #[error("port {port} is taken{}", holder.map_or(String::new(), |holder| format!(" by {holder}")))]
    PortTaken {
        /// Which.
        port: Port,
        /// Where it goes; unknown if it was given up meanwhile.
        holder: Option<SocketAddr>,
    },
    /// A name of a device that the kernel wouldn't allow, or addresses of two families where there must be one.
    #[error("{what} can't be put into nftables table {table}")]
    Impossible {
        /// What it is.
        what: String,
        /// The table's name.
        table: String,
    },
    /// Others changed the rules so often that ours never got their turn.
    #[error("nftables rules change all the time; gave up after {tries} tries to {doing}")]
    Restless {
        /// What was attempted.
        doing: &'static str,
        /// How often.
        tries: u32,
    },
}

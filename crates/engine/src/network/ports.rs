//! Published ports: each is taken by a bound socket that doesn't listen, so that nobody else has it and everybody sees it
//! taken; packets never reach it, for the table of rules sends them to the container first.

use super::endpoint::Attached;
use super::take_over::Giver;
use super::{endpoint, option, up};
use crate::cell::Cell;
use crate::request::{Protocol, PublishRequest, RunRequest};
use crate::{Error, Home};
use linux::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// Most published ports of one container.
const PORTS_MAX: usize = 20_000;

/// A port of the host's that leads to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address, or that of all.
    pub host: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub to: IpAddr,
}

/// What was taken of ports.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Those that lead to the container from its start on.
    pub published: Vec<PublishedPort>,
    /// Those that lead to another one until this one takes them over.
    pub waiting: Vec<PublishedPort>,
    /// What keeps all of them from others.
    pub sockets: Vec<OwnedFd>,
}

/// Takes the ports that a request asks for.
pub(super) fn reserve(
    home: &Home,
    request: &RunRequest,
    exposed: &BTreeSet<String>,
    attached: &Attached,
    networks: &[up::Up],
) -> Result<Taken, Error> {
    let mut wanted = request.net.publish.clone();
    let mut giver = match &request.net.publish_from {
        Some(other) => Giver::find(home, other)?,
        None => Giver::default(),
    };
    if wanted.is_empty() && !request.net.publish_all {
        wanted = giver.wanted();
    }
    if request.net.publish_all {
        for port in exposed {
            let (port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let (Ok(port), Some(protocol)) = (port.parse(), protocol_of(protocol)) else { continue };
            if !wanted.iter().any(|known| (known.port, known.protocol) == (port, protocol)) {
                wanted.push(PublishRequest { port, protocol, host: None, host_ports: None });
            }
        }
    }
    if wanted.is_empty() {
        return Ok(Taken::default());
    }
    if wanted.len() > PORTS_MAX {
        return Err(Error::invalid("--publish", format!("a container can publish {PORTS_MAX} ports")));
    }
    // Over the network that its default route leads over; else its first.
    let index = attached.endpoints.iter().position(|endpoint| endpoint.is_default);
    let Some(index) = index else {
        return Err(Error::Refused {
            what: "publish ports".to_owned(),
            why: "the container is on internal networks only, which nobody outside reaches".to_owned(),
            hint: "put it on another network as well: --network".to_owned(),
        });
    };
    let endpoint = &attached.endpoints[index];
    let binding =
        networks[index].network.options.get(option::HOST_BINDING).and_then(|text| text.parse().ok());
    let mut taken = Taken::default();
    for wanted in &wanted {
        let v4 = endpoint.ipv4.map(|address| address.address());
        let v6 = endpoint.ipv6.map(|address| address.address());
        let any4 = binding.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let hosts: Vec<(IpAddr, IpAddr)> = match wanted.host {
            None => [v4.map(|to| (any4, to)), v6.map(|to| (IpAddr::V6(Ipv6Addr::UNSPECIFIED), to))]
                .into_iter()
                .flatten()
                .collect(),
            Some(host) => {
                let to = if host.is_ipv6() { v6 } else { v4 };
                let Some(to) = to else {
                    return Err(Error::Refused {
                        what: format!("publish port {} at {host}", wanted.port),
                        why: format!(
                            "the container has no address of its family on network {}",
                            endpoint.network
                        ),
                        hint: "make a network with --ipv6, and put the container on it".to_owned(),
                    });
                };
                vec![(host, to)]
            }
        };
        let addresses: Vec<IpAddr> = hosts.iter().map(|(host, _)| *host).collect();
        let (port, waits) = match giver.give(wanted, &addresses) {
            Some(given) => {
                for ((host, to), socket) in hosts.iter().zip(given.sockets) {
                    match socket {
                        Some(socket) => taken.sockets.push(socket),
                        // The other container has it at fewer addresses.
                        None => {
                            let host_ports = Some((given.host_port, given.host_port));
                            let exactly = PublishRequest { host_ports, ..wanted.clone() };
                            taken.sockets.extend(take(home, &exactly, &[(*host, *to)])?.1);
                        }
                    }
                }
                (given.host_port, given.waits)
            }
            None => {
                let (port, held) = take(home, wanted, &hosts)?;
                taken.sockets.extend(held);
                (port, false)
            }
        };
        let list = if waits { &mut taken.waiting } else { &mut taken.published };
        list.extend(hosts.into_iter().map(|(host, to)| PublishedPort {
            port: wanted.port,
            protocol: wanted.protocol,
            host,
            host_port: port,
            to,
        }));
    }
    Ok(taken)
}

/// Takes the ports again that a running container has, as far as nobody else has them by now.
pub(crate) fn reserve_again(cell: &Cell) -> Vec<OwnedFd> {
    let ports = endpoint::attached(cell).map(|attached| attached.ports).unwrap_or_default();
    let take = |port: &PublishedPort| hold(port.protocol, SocketAddr::new(port.host, port.host_port)).ok();
    ports.iter().filter_map(take).map(|(socket, _)| socket).collect()
}

pub(super) fn protocol_of(word: &str) -> Option<Protocol> {
    match word {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// Takes one port at all of the host's addresses: the first free one of those allowed.
fn take(
    home: &Home,
    wanted: &PublishRequest,
    hosts: &[(IpAddr, IpAddr)],
) -> Result<(u16, Vec<OwnedFd>), Error> {
    let (first, last) = wanted.host_ports.unwrap_or((0, 0));
    // One that the kernel chose for one address may be taken at the other.
    let tries: Vec<u16> = if first == 0 { vec![0; 20] } else { (first..=last).collect() };
    let mut taken = None;
    'ports: for port in tries {
        let (mut chosen, mut sockets) = (port, Vec::new());
        for (host, _) in hosts {
            match hold(wanted.protocol, SocketAddr::new(*host, chosen)) {
                Ok((socket, port)) => {
                    chosen = port;
                    sockets.push(socket);
                }
                Err(Errno::ADDRINUSE) => {
                    taken.get_or_insert((*host, chosen));
                    continue 'ports;
                }
                Err(errno) => {
                    let object = format!("{}/{}", SocketAddr::new(*host, chosen), wanted.protocol.word());
                    return Err(Error::system("publish a port at", object, errno));
                }
            }
        }
        return Ok((chosen, sockets));
    }
    let (host, port) = taken.unwrap_or((IpAddr::V4(Ipv4Addr::UNSPECIFIED), first));
    let object = format!("{}/{}", SocketAddr::new(host, port), wanted.protocol.word());
    let why = match (holder(home, wanted.protocol, host, port), last > first) {
        (_, true) => format!("all ports from {first} to {last} are already allocated"),
        (Some(by), _) => format!("port is already allocated, by {by}"),
        (None, _) => "port is already allocated, by a program of this host".to_owned(),
    };
    Err(Error::Refused {
        what: format!("publish {object}"),
        why,
        hint: format!("take another port; `ss -lnp 'sport = :{port}'` shows who listens there"),
    })
}

/// Binds a socket; the port that it has.
pub(super) fn hold(protocol: Protocol, address: SocketAddr) -> Result<(OwnedFd, u16), Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let typ = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, typ, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    let port = SocketAddr::try_from(getsockname(&socket)?).map_or(address.port(), |bound| bound.port());
    Ok((socket, port))
}

/// The container that has published a port, as an error calls it.
fn holder(home: &Home, protocol: Protocol, host: IpAddr, port: u16) -> Option<String> {
    let same = |known: &PublishedPort| {
        known.protocol == protocol
            && known.host_port == port
            && (known.host == host || known.host.is_unspecified() || host.is_unspecified())
    };
    let has = |attached: &Attached| attached.ports.iter().chain(&attached.waiting).any(same);
    let (id, _) = endpoint::all(home).into_iter().find(|(_, attached)| has(attached))?;
    let name = Cell::of(home, &id).config().map(|config| config.name);
    Some(format!("container {}", name.unwrap_or(id)))
}

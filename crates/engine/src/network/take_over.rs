//! A published port passes from one container to another without a moment in which nobody has it: for updates that roll.
//!
//! ```text
//! run --publish-from OLD   the new one gets copies of the sockets that keep OLD's ports, and waits: packets go to OLD
//! network take-over NEW    one transaction changes where the ports lead to; both network.json say so
//! ```
//!
//! Connections that there are stay with OLD until it ends. Killed in between, the second step is done again by the next
//! command that touches the new one: its file `claiming` says so.

use super::connect::{self, Changing, done, lock_running};
use super::endpoint::{self, Attached, CLAIMING};
use super::{PublishedPort, rules};
use crate::cell::{Cell, Running};
use crate::claims::Claims;
use crate::find::State;
use crate::request::{Protocol, PublishRequest};
use crate::{Config, Error, Home};
use linux::{fault, process};
use rustix::net::{SocketType, getsockname, sockopt};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// Most descriptors of a holder's that are looked at: those of its ports, and a few.
const DESCRIPTORS_MAX: usize = 50_000;

/// A place of the host's.
type Place = (Protocol, SocketAddr);

/// The container whose ports another is to take over.
#[derive(Debug, Default)]
pub(super) struct Giver {
    /// Copies of the sockets that keep its ports.
    sockets: BTreeMap<Place, OwnedFd>,
    /// The ports that lead to it.
    ports: Vec<PublishedPort>,
}

/// One port, taken of a [`Giver`].
pub(super) struct Given {
    /// The host's port.
    pub host_port: u16,
    /// For each of the host's addresses, the socket; `None` where the other container has none.
    pub sockets: Vec<Option<OwnedFd>>,
    /// Whether it leads to the other container still.
    pub waits: bool,
}

impl Giver {
    /// The container that a user calls `given`. Of one that doesn't run, or isn't there any more, nothing is to be had.
    pub(super) fn find(home: &Home, given: &str) -> Result<Giver, Error> {
        let container = match crate::find::container(home, given) {
            Err(Error::NoContainer { .. }) => return Ok(Giver::default()),
            other => other?,
        };
        let State::Running(running) = &container.state else { return Ok(Giver::default()) };
        let ports = endpoint::attached(&container.cell(home)).unwrap_or_default().ports;
        Ok(Giver { sockets: sockets_of(running)?, ports })
    }

    /// Its ports as they'd be asked for.
    pub(super) fn wanted(&self) -> Vec<PublishRequest> {
        requests(&self.ports)
    }

    /// One of its ports that is what another container wants, at these addresses of the host's.
    pub(super) fn give(&mut self, wanted: &PublishRequest, hosts: &[IpAddr]) -> Option<Given> {
        let (first, last) = wanted.host_ports.unwrap_or((0, 0));
        let leads = |host: IpAddr, number: u16| {
            self.ports
                .iter()
                .find(|port| (port.protocol, port.host, port.host_port) == (wanted.protocol, host, number))
        };
        let fits = |(protocol, at): &Place| {
            *protocol == wanted.protocol
                && hosts.contains(&at.ip())
                && match first {
                    // Any will do: it's the one that leads to the same port of a container.
                    0 => leads(at.ip(), at.port()).is_some_and(|port| port.port == wanted.port),
                    _ => (first..=last).contains(&at.port()),
                }
        };
        let host_port = self.sockets.keys().find(|place| fits(place))?.1.port();
        let waits = hosts.iter().any(|host| leads(*host, host_port).is_some());
        let place = |host: &IpAddr| (wanted.protocol, SocketAddr::new(*host, host_port));
        let sockets = hosts.iter().map(|host| self.sockets.remove(&place(host))).collect();
        Some(Given { host_port, sockets, waits })
    }
}

/// Ports as they'd be asked for.
fn requests(ports: &[PublishedPort]) -> Vec<PublishRequest> {
    let request = |port: &PublishedPort| PublishRequest {
        port: port.port,
        protocol: port.protocol,
        host: Some(port.host).filter(|host| !host.is_unspecified()),
        host_ports: Some((port.host_port, port.host_port)),
    };
    let mut all: Vec<PublishRequest> = Vec::new();
    for request in ports.iter().map(request) {
        if !all.contains(&request) {
            all.push(request);
        }
    }
    all
}

/// Copies of the bound sockets of a container's holder.
fn sockets_of(running: &Running) -> Result<BTreeMap<Place, OwnedFd>, Error> {
    let mut sockets = BTreeMap::new();
    let Some(holder) = running.holder.open() else { return Ok(sockets) };
    let dir = format!("/proc/{}/fd", running.holder.pid);
    let entries = std::fs::read_dir(&dir).map_err(|error| Error::io("list", &dir, &error))?;
    for entry in entries.flatten().take(DESCRIPTORS_MAX) {
        let is_socket = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| is_socket) else { continue };
        // One that was closed just now is of a container that ends.
        let Ok(socket) = process::pidfd_getfd(holder.as_fd(), number) else { continue };
        if let Some(place) = place_of(&socket) {
            sockets.insert(place, socket);
        }
    }
    Ok(sockets)
}

/// Where a socket is bound, if it's one that keeps a port.
fn place_of(socket: &OwnedFd) -> Option<Place> {
    let at = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    let protocol = match sockopt::socket_type(socket).ok()? {
        SocketType::STREAM => Protocol::Tcp,
        SocketType::DGRAM => Protocol::Udp,
        _ => return None,
    };
    (at.port() != 0).then_some((protocol, at))
}

/// Leads the published ports that a running container waits for to it. Those that it has already stay.
///
/// Errors: [`Error::State`] if it doesn't run; [`Error::Refused`] if it waits for none, and has none.
pub fn take_over(home: &Home, given: &str) -> Result<(), Error> {
    let id = crate::find::container(home, given)?.config.id;
    let claims = Claims::open(home)?;
    let _one_at_a_time = claims.lock_names()?;
    let container = crate::find::container(home, &id)?;
    let cell = container.cell(home);
    let not_running = || Error::State { id: given.to_owned(), why: "is not running".to_owned() };
    let State::Running(running) = &container.state else { return Err(not_running()) };
    let _alone = lock_running(&cell, running, true)?.ok_or_else(not_running)?;
    let mut attached = endpoint::attached(&cell).unwrap_or_default();
    if attached.waiting.is_empty() {
        return match attached.ports.is_empty() {
            false => Ok(()),
            true => Err(Error::Refused {
                what: format!("take over ports for {}", container.config.name),
                why: "it waits for none".to_owned(),
                hint: "start it with --publish-from CONTAINER".to_owned(),
            }),
        };
    }
    cell.write(CLAIMING, &Some(Changing::TakesOver))?;
    fault::point("take-over intended");
    complete(home, &cell, &mut attached, container.config)?;
    done(&cell);
    Ok(())
}

/// Does it, or the rest of it.
pub(super) fn complete(
    home: &Home,
    cell: &Cell,
    attached: &mut Attached,
    mut config: Config,
) -> Result<(), Error> {
    let mut firewall = rules::open(home)?;
    // Whoever makes all rules anew would find a port with two who have it.
    let rules_stay = rules::lock_shared(home)?;
    rules::publish(&mut firewall, &attached.waiting)?;
    fault::point("ports lead to the new container");
    let place = |port: &PublishedPort| (port.protocol, port.host, port.host_port);
    let taken: BTreeSet<_> = attached.waiting.iter().map(place).collect();
    let has_some = |theirs: &Attached| theirs.ports.iter().any(|port| taken.contains(&place(port)));
    for (id, _) in endpoint::all(home).into_iter().filter(|(_, theirs)| has_some(theirs)) {
        let other = Cell::of(home, &id);
        // Its end waits meanwhile; of one that has ended, nothing is written.
        let Some(running) = other.running().filter(|_| id != cell.id) else { continue };
        let Ok(Some(_alone)) = lock_running(&other, &running, true) else { continue };
        let Some(mut theirs) = endpoint::attached(&other) else { continue };
        let before = theirs.ports.len();
        theirs.ports.retain(|port| !taken.contains(&place(port)));
        if theirs.ports.len() < before {
            other.write(endpoint::FILE, &theirs)?;
            fault::point("ports of the old container forgotten");
        }
    }
    attached.ports.append(&mut attached.waiting);
    cell.write(endpoint::FILE, attached)?;
    fault::point("ports of the new container written down");
    drop((firewall, rules_stay));
    if config.request.net.publish.is_empty() && !config.request.net.publish_all {
        // Its next start asks for them itself.
        config.request.net.publish = requests(&attached.ports);
        connect::record(home, cell, &config)?;
    }
    Ok(())
}

//! What berth's nftables table says about networks, containers and ports: `net::nft`, told in the engine's words.

use super::endpoint::{self, Endpoint};
use super::settings::{Policy, Settings};
use super::{Network, PublishedPort, up};
use crate::request::Protocol;
use crate::{Error, Home};
use linux::Errno;
use net::dns;
use net::nft::beside::Obstacle;
use net::nft::{self, EndpointRules, Ensured, Firewall, Found, Names, NetworkRules, Port, State};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Tries to add a network while others go.
const TRIES_MAX: u32 = 20;

/// The table, made if it wasn't there. Dropped, it may wait for the kernel: after success was reported.
pub(super) fn open(home: &Home) -> Result<Firewall, Error> {
    let mut firewall = reopen(home)?;
    match firewall.ensure_table().map_err(failed)? {
        Ensured::There => {}
        Ensured::Made | Ensured::Outdated => restore(home, &mut firewall)?,
    }
    Ok(firewall)
}

/// Looks whether the table is as it should be, and makes it so; `anew` without looking.
pub(super) fn repair(home: &Home, anew: bool) -> Result<(), Error> {
    let mut firewall = open(home)?;
    let is_right = |firewall: &mut Firewall| {
        let found = firewall.dump().map_err(failed)?;
        Ok::<bool, Error>(found.is_some_and(|found| {
            found.broken.is_empty() && found.state.normalized() == wanted(home).normalized()
        }))
    };
    if anew || !is_right(&mut firewall)? {
        restore(home, &mut firewall)?;
    }
    let bridges: Vec<String> = up::networks(home).iter().map(|network| network.bridge(home)).collect();
    firewall.pass_others(&bridges).map(drop).map_err(failed)
}

fn restore(home: &Home, firewall: &mut Firewall) -> Result<(), Error> {
    // Nobody leaves meanwhile, whose rules would come back.
    let _alone = lock(home, FlockOperation::LockExclusive)?;
    let state = wanted(home);
    if state == State::default() {
        return Ok(());
    }
    firewall.restore(&state).map_err(failed)
}

/// Keeps others from making all rules anew while a container's come or go.
pub(super) fn lock_shared(home: &Home) -> Result<OwnedFd, Error> {
    lock(home, FlockOperation::LockShared)
}

fn lock(home: &Home, operation: FlockOperation) -> Result<OwnedFd, Error> {
    let path = home.run.join("rules.lock");
    let failed = |errno| Error::system("lock", path.display(), errno);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
    rustix::io::retry_on_intr(|| flock(&file, operation)).map_err(failed)?;
    Ok(file)
}

/// The table as it is.
pub(super) fn reopen(home: &Home) -> Result<Firewall, Error> {
    Firewall::open(&names(home)?).map_err(failed)
}

pub(super) fn names(home: &Home) -> Result<Names, Error> {
    Ok(Names {
        table: home.table(),
        bridges: home.bridge_prefix(),
        ports: home.link_prefix(),
        host_decides: Settings::load()?.firewall == Policy::Host,
    })
}

/// What to say where the host's firewall is to decide about published ports, and there's none.
pub(super) fn undecided(home: &Home) -> Result<Option<&'static str>, Error> {
    let names = names(home)?;
    let decides =
        !names.host_decides || Firewall::open(&names).and_then(|mut f| f.others_decide()).map_err(failed)?;
    Ok((!decides).then_some(
        "published ports are the host's firewall's to decide about, and it has no chain at forward that does: all are \
         open to other machines",
    ))
}

/// All that the table should know: of what is written down.
pub(super) fn wanted(home: &Home) -> State {
    let attached: Vec<endpoint::Attached> = endpoint::all(home).into_values().collect();
    State {
        networks: up::networks(home).iter().map(|network| of_network(home, network)).collect(),
        ports: attached.iter().flat_map(|attached| &attached.ports).map(of_port).collect(),
        endpoints: attached.iter().flat_map(|attached| &attached.endpoints).map(of_endpoint).collect(),
    }
}

fn of_network(home: &Home, network: &Network) -> NetworkRules {
    NetworkRules {
        bridge: network.bridge(home),
        subnets: network.pools.iter().map(|pool| pool.subnet).collect(),
        internal: network.internal,
        icc: network.icc(),
        masquerade: network.masquerades(),
    }
}

fn of_endpoint(endpoint: &Endpoint) -> EndpointRules {
    EndpointRules {
        port: endpoint.link.clone(),
        mac: endpoint.mac,
        addresses: endpoint
            .addresses()
            .map(|address| address.address())
            .chain(endpoint.link_local.iter().copied())
            .collect(),
        free: false,
    }
}

pub(super) fn of_port(port: &PublishedPort) -> Port {
    Port {
        host: SocketAddr::new(port.host, port.host_port),
        protocol: match port.protocol {
            Protocol::Tcp => nft::Protocol::Tcp,
            Protocol::Udp => nft::Protocol::Udp,
        },
        target: SocketAddr::new(port.to, port.port),
    }
}

/// Adds a network that is about to be brought up, and its bridge to what other firewalls let pass; what they don't let
/// pass, and what to do about it.
pub(super) fn add_network(home: &Home, network: &Network) -> Result<Vec<String>, Error> {
    for _ in 0..TRIES_MAX {
        let mut firewall = open(home)?;
        let _alone = lock_shared(home)?;
        match firewall.add_network(&of_network(home, network)) {
            // The last network has just gone, and has taken the table along.
            Err(nft::Error::Refused { errno: Errno::NOENT, .. }) => continue,
            other => other.map_err(failed)?,
        }
        let bridges: Vec<String> = up::networks(home).iter().map(|network| network.bridge(home)).collect();
        let obstacles = firewall.pass_others(&bridges).map_err(failed)?;
        return Ok(obstacles.iter().map(obstacle).chain(undecided(home)?.map(str::to_owned)).collect());
    }
    Err(Error::Refused {
        what: format!("bring network {} up", network.name),
        why: "other networks come and go all the time".to_owned(),
        hint: "try again".to_owned(),
    })
}

fn obstacle(obstacle: &Obstacle) -> String {
    format!(
        "another firewall keeps containers from the outside: {} {}; to let them through: {}",
        obstacle.chain,
        obstacle.does,
        obstacle.advice.join("; ")
    )
}

/// What keeps packets of the networks that are up from passing; changes nothing.
pub(super) fn obstacles(home: &Home) -> Result<Vec<Obstacle>, Error> {
    let bridges: Vec<String> = up::networks(home).iter().map(|network| network.bridge(home)).collect();
    if bridges.is_empty() {
        return Ok(Vec::new());
    }
    reopen(home)?.obstacles(&bridges).map_err(failed)
}

/// What is in the table now; `None` if it isn't there.
pub(super) fn found(home: &Home) -> Result<Option<Found>, Error> {
    reopen(home)?.dump().map_err(failed)
}

/// Removes a network; with the last one, the table.
pub(super) fn remove_network(home: &Home, network: &Network) -> Result<(), Error> {
    let mut firewall = reopen(home)?;
    let _alone = lock(home, FlockOperation::LockExclusive)?;
    if up::networks(home).iter().all(|other| other.id == network.id) {
        firewall.leave_others().map_err(failed)?;
        return firewall.remove_table().map_err(failed);
    }
    firewall.remove_network(&of_network(home, network)).map_err(failed)
}

pub(super) fn publish(firewall: &mut Firewall, ports: &[PublishedPort]) -> Result<(), Error> {
    if ports.is_empty() {
        return Ok(());
    }
    let ports: Vec<Port> = ports.iter().map(of_port).collect();
    // Whoever holds the port's socket has it: what else the table says is of somebody who is gone.
    firewall.take_over(&ports).map_err(failed)
}

pub(super) fn add_endpoint(firewall: &mut Firewall, endpoint: &Endpoint) -> Result<(), Error> {
    firewall.add_endpoint(&of_endpoint(endpoint)).map(drop).map_err(failed)
}

/// Takes away what is said of a container. What is gone is no error.
pub(super) fn remove(home: &Home, endpoints: &[Endpoint], ports: &[PublishedPort]) {
    let Ok(mut firewall) = reopen(home) else { return };
    if !ports.is_empty() {
        let ports: Vec<Port> = ports.iter().map(of_port).collect();
        let _ = firewall.unpublish(&ports);
    }
    for endpoint in endpoints {
        let _ = firewall.remove_endpoint(&of_endpoint(endpoint));
    }
}

/// In the container's network namespace: leads queries to its name server's address to the port that it has.
pub(super) fn lead_to_server(port: u16) -> Result<(), Error> {
    nft::server::lead(SocketAddr::new(dns::ADDRESS.into(), port)).map_err(failed)
}

fn failed(error: nft::Error) -> Error {
    Error::Firewall(error)
}

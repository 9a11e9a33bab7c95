//! What berth's nftables table says about networks, containers and ports: `net::nft`, told in the engine's words.

use super::endpoint::{self, Endpoint};
use super::{Network, PublishedPort, up};
use crate::request::Protocol;
use crate::{Error, Home};
use net::dns;
use net::nft::{self, EndpointRules, Ensured, Firewall, Names, NetworkRules, Port, State};
use std::net::SocketAddr;

/// The table, made if it wasn't there. Dropped, it may wait for the kernel: after success was reported.
pub(super) fn open(home: &Home) -> Result<Firewall, Error> {
    let mut firewall = reopen(home)?;
    match firewall.ensure_table().map_err(failed)? {
        Ensured::There => {}
        Ensured::Made | Ensured::Outdated => {
            let state = wanted(home);
            if state != State::default() {
                firewall.restore(&state).map_err(failed)?;
            }
        }
    }
    Ok(firewall)
}

/// The table as it is.
pub(super) fn reopen(home: &Home) -> Result<Firewall, Error> {
    Firewall::open(&names(home)).map_err(failed)
}

pub(super) fn names(home: &Home) -> Names {
    Names { table: home.table(), bridges: home.bridge_prefix(), ports: home.link_prefix() }
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
        addresses: endpoint.addresses().map(|address| address.address()).collect(),
        free: false,
    }
}

fn of_port(port: &PublishedPort) -> Port {
    Port {
        host: SocketAddr::new(port.host, port.host_port),
        protocol: match port.protocol {
            Protocol::Tcp => nft::Protocol::Tcp,
            Protocol::Udp => nft::Protocol::Udp,
        },
        target: SocketAddr::new(port.to, port.port),
    }
}

/// Adds a network that is about to be brought up, and its bridge to what other firewalls let pass.
pub(super) fn add_network(home: &Home, network: &Network) -> Result<(), Error> {
    let mut firewall = open(home)?;
    firewall.add_network(&of_network(home, network)).map_err(failed)?;
    let bridges: Vec<String> = up::networks(home).iter().map(|network| network.bridge(home)).collect();
    firewall.pass_others(&bridges).map(drop).map_err(failed)
}

/// Removes a network; with the last one, the table.
pub(super) fn remove_network(home: &Home, network: &Network) -> Result<(), Error> {
    let mut firewall = reopen(home)?;
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
    firewall.publish(&ports).map_err(failed)
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

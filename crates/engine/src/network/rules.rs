//! What berth's nftables table says about networks, containers and ports.

use super::endpoint::Endpoint;
use super::{Network, PublishedPort};
use crate::{Error, Home};

pub(super) fn add_network(_home: &Home, _network: &Network) -> Result<(), Error> {
    Ok(())
}

pub(super) fn remove_network(_home: &Home, _network: &Network) -> Result<(), Error> {
    Ok(())
}

/// In the container's network namespace: leads queries to port 53 of its name server's address to the one it has.
pub(super) fn lead_to_server(_port: u16) -> Result<(), Error> {
    Ok(())
}

pub(super) fn publish(_home: &Home, _ports: &[PublishedPort]) -> Result<(), Error> {
    Ok(())
}

pub(super) fn unpublish(_home: &Home, _ports: &[PublishedPort]) {}

pub(super) fn add_endpoint(_home: &Home, _endpoint: &Endpoint) -> Result<(), Error> {
    Ok(())
}

pub(super) fn remove_endpoint(_home: &Home, _endpoint: &Endpoint) {}

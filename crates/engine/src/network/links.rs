//! `--link`: what a container calls others. On the default network a link is to a container that runs: an entry of `/etc/hosts`
//! and variables of the environment. On a user's it's another name of whoever has the name then, and needs nobody.

use super::endpoint::{Attached, Endpoint, attached};
use crate::find::State;
use crate::{Config, Error, Home};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the links of a container come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// On the default network: names, and the address.
    pub hosts: Vec<(Vec<String>, IpAddr)>,
    /// On others: an alias, and what the container is called there.
    pub aliases: Vec<(String, String)>,
    /// Variables of the environment.
    pub environment: Vec<String>,
}

/// Finds the containers of `wanted`: names or ids, and aliases. `own` is the linking container's name.
pub(super) fn find(
    home: &Home,
    wanted: &[(String, String)],
    attached: &Attached,
    own: &str,
) -> Result<Links, Error> {
    let mut links = Links::default();
    // As docker has it, the first network decides.
    let has_names = attached.endpoints.first().is_some_and(|endpoint| endpoint.has_names);
    for (given, alias) in wanted {
        if has_names {
            // Whole ids aren't names there.
            let name = if types::id::ContainerId::parse(given).is_some() { &given[..12] } else { given };
            links.aliases.push((alias.clone(), name.to_owned()));
            continue;
        }
        let (config, address) = running(home, given, alias, attached)?;
        let mut names = vec![alias.clone(), config.id[..12].to_owned(), config.name.clone()];
        names.dedup();
        links.environment.extend(environment(&config, address, own, alias));
        links.hosts.push((names, address));
    }
    Ok(links)
}

/// A container that runs on a network that this one is on as well, and its address there.
fn running(home: &Home, given: &str, alias: &str, attached: &Attached) -> Result<(Config, IpAddr), Error> {
    let refused = |why: &str| {
        Err(Error::Refused {
            what: format!("link to {given} as {alias}"),
            why: why.to_owned(),
            hint: "start it first, on a network that both are on".to_owned(),
        })
    };
    let other = crate::find::container(home, given)?;
    let State::Running(_) = other.state else {
        return refused("it is not running");
    };
    let theirs = self::attached(&other.cell(home)).unwrap_or_default();
    let shares =
        |endpoint: &&Endpoint| attached.endpoints.iter().any(|own| own.network_id == endpoint.network_id);
    match theirs.endpoints.iter().find(shares).and_then(|endpoint| endpoint.addresses().next()) {
        Some(address) => Ok((other.config, address.address())),
        None => refused("it is on none of this container's networks"),
    }
}

/// Docker's variables about a linked container: its ports, name and environment. Source: docker's documentation, "Legacy
/// container links", and what docker 28 sets.
fn environment(config: &Config, address: IpAddr, own: &str, alias: &str) -> Vec<String> {
    let request = &config.request;
    let published = request.net.publish.iter().map(|port| format!("{}/{}", port.port, port.protocol.word()));
    let exposed = config.image_config.exposed_ports.iter().chain(&request.expose).cloned();
    let ports: BTreeSet<(String, u16)> = exposed
        .chain(published)
        .filter_map(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
            Some((protocol.to_owned(), number.parse().ok()?))
        })
        .collect();
    let mut ports: Vec<(String, u16)> = ports.into_iter().collect();
    // TCP first.
    ports.sort_by_key(|(protocol, number)| (protocol != "tcp", protocol.clone(), *number));
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut set = Vec::new();
    if let Some((protocol, number)) = ports.first() {
        set.push(format!("{prefix}_PORT={protocol}://{address}:{number}"));
    }
    let of = |protocol: &str, number: u16| format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
    for (protocol, number) in &ports {
        let name = of(protocol, *number);
        set.push(format!("{name}={protocol}://{address}:{number}"));
        set.push(format!("{name}_ADDR={address}"));
        set.push(format!("{name}_PORT={number}"));
        set.push(format!("{name}_PROTO={protocol}"));
    }
    let follows =
        |one: &(String, u16), next: &(String, u16)| one.0 == next.0 && one.1.checked_add(1) == Some(next.1);
    for run in ports.chunk_by(follows) {
        let [(protocol, first), .., (_, last)] = run else { continue };
        let name = of(protocol, *first);
        set.push(format!("{name}_START={protocol}://{address}:{first}"));
        set.push(format!("{name}_PORT_START={first}"));
        set.push(format!("{name}_END={protocol}://{address}:{last}"));
        set.push(format!("{name}_PORT_END={last}"));
    }
    set.push(format!("{prefix}_NAME=/{own}/{alias}"));
    for variable in &crate::inspect::env(request, &config.image_config) {
        match variable.split_once('=') {
            // Of the image's making, and the linking container has its own.
            None | Some(("HOME" | "PATH", _)) => {}
            Some((name, value)) => set.push(format!("{prefix}_ENV_{name}={value}")),
        }
    }
    set
}

/// Links as docker shows them: those of the default network in `HostConfig`, others in the first network's endpoint.
pub(crate) fn documents(config: &Config) -> (Vec<String>, Vec<String>) {
    let (name, links) = (&config.name, config.request.net.links.iter());
    let first = config.request.network.endpoints().into_iter().next();
    if first.is_some_and(|first| first.network == super::DEFAULT) {
        return (links.map(|(given, alias)| format!("/{given}:/{name}/{alias}")).collect(), Vec::new());
    }
    (Vec::new(), links.map(|(given, alias)| format!("{given}:{alias}")).collect())
}

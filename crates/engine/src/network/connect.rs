//! `berth network connect` and `disconnect`: a container that runs gets the link at once, and one that doesn't at its next
//! start.

use super::endpoint::{self, Attached};
use super::{Network, files, find, lease, names, rules, up};
use crate::cell::Cell;
use crate::find::{Container, State};
use crate::request::{EndpointRequest, NetworkConnectRequest, NetworkMode};
use crate::{Config, Error, Home, events};
use linux::fault;
use net::route::Links;
use std::os::fd::AsFd;

/// Puts a container on a network.
pub fn connect(home: &Home, request: &NetworkConnectRequest) -> Result<(), Error> {
    let network = find(home, &request.endpoint.network)?;
    let container = crate::find::container(home, &request.container)?;
    refuse_special(&network)?;
    let mut config = container.config.clone();
    let mut wanted = networks_of(&config)?;
    if wanted.iter().any(|known| is(&network, known)) {
        return Err(Error::Refused {
            what: format!("connect {}", config.name),
            why: format!("endpoint with name {} already exists in network {}", config.name, network.name),
            hint: format!("disconnect it first: berth network disconnect {} {}", network.name, config.name),
        });
    }
    wanted.push(request.endpoint.clone());
    config.request.network = NetworkMode::Networks(wanted);
    config.request.net.links.extend(request.links.iter().cloned());
    if let State::Running(running) = &container.state {
        let cell = container.cell(home);
        let _alone = cell.lock_groups(true)?;
        let mut attached = endpoint::attached(&cell).unwrap_or_default();
        let mut links = up::open_links()?;
        let up = up::ensure(home, &network.name, &mut links)?;
        endpoint::claim_endpoint(home, &cell, &up.network, &request.endpoint, &mut attached)?;
        let joined = join(home, &cell, &config, &mut attached, running.init.pid, &mut links);
        if let Err(error) = joined {
            leave(home, &cell, &mut attached, &network);
            return Err(error);
        }
    }
    write_down(home, &container, &config)?;
    events::endpoint(home, "connect", &network.id, &network.name, &config.id);
    Ok(())
}

fn join(
    home: &Home,
    cell: &Cell,
    config: &Config,
    attached: &mut Attached,
    pid: i32,
    links: &mut Links,
) -> Result<(), Error> {
    let has_default = attached.endpoints.iter().any(|endpoint| endpoint.is_default);
    let Some(endpoint) = attached.endpoints.last_mut() else { return Ok(()) };
    endpoint.is_default = !has_default && !endpoint.internal;
    let endpoint = endpoint.clone();
    cell.write(endpoint::FILE, attached)?;
    fault::point("endpoints written down");
    let inside = endpoint::netns(pid)?;
    let mut inner = endpoint::within(&inside, Links::open)?
        .map_err(|errno| Error::system("open", "a netlink socket in the container", errno))?;
    let mut firewall = rules::open(home)?;
    rules::add_endpoint(&mut firewall, &endpoint)?;
    endpoint::join(home, &endpoint, inside.as_fd(), links, &mut inner)?;
    if endpoint.has_names {
        names::add(home, &endpoint, &config.id, &config.name)?;
    }
    rewrite(home, cell, config, attached)
}

/// Takes a container off a network.
pub fn disconnect(home: &Home, given: &str, container: &str) -> Result<(), Error> {
    let network = find(home, given)?;
    refuse_special(&network)?;
    let container = crate::find::container(home, container)?;
    let mut config = container.config.clone();
    let mut wanted = networks_of(&config)?;
    let before = wanted.len();
    wanted.retain(|known| !is(&network, known));
    if wanted.len() == before {
        return Err(Error::Refused {
            what: format!("disconnect {}", config.name),
            why: format!("container {} is not connected to network {}", config.id, network.name),
            hint: format!("`berth inspect {}` shows its networks", config.name),
        });
    }
    config.request.network = match wanted.is_empty() {
        true => NetworkMode::None,
        false => NetworkMode::Networks(wanted),
    };
    if let State::Running(running) = &container.state {
        let cell = container.cell(home);
        let _alone = cell.lock_groups(true)?;
        let mut attached = endpoint::attached(&cell).unwrap_or_default();
        let own = attached.endpoints.iter().find(|own| own.network_id == network.id).cloned();
        if let Some(endpoint) = own {
            let mut links = up::open_links()?;
            if let Ok(Some(link)) = links.link(&endpoint.link) {
                links
                    .remove(link.index)
                    .map_err(|errno| Error::system("remove the link", &endpoint.link, errno))?;
            }
            leave(home, &cell, &mut attached, &network);
            take_default(&mut attached, running.init.pid)?;
            cell.write(endpoint::FILE, &attached)?;
            rewrite(home, &cell, &config, &attached)?;
        }
    }
    write_down(home, &container, &config)?;
    events::endpoint(home, "disconnect", &network.id, &network.name, &config.id);
    Ok(())
}

/// Another network gives the default route, if the one that did is gone.
fn take_default(attached: &mut Attached, pid: i32) -> Result<(), Error> {
    if attached.endpoints.iter().any(|endpoint| endpoint.is_default) {
        return Ok(());
    }
    let Some(endpoint) = attached.endpoints.iter_mut().find(|endpoint| !endpoint.internal) else {
        return Ok(());
    };
    endpoint.is_default = true;
    let inside = endpoint::netns(pid)?;
    let failed = |errno| Error::system("add a route to", &endpoint.network, errno);
    let mut inner = endpoint::within(&inside, Links::open)?.map_err(failed)?;
    let link = inner.link(&endpoint.inner).map_err(failed)?.ok_or_else(|| failed(linux::Errno::NODEV))?;
    for gateway in &endpoint.gateways {
        match inner.add_default_route(link.index, *gateway) {
            Ok(()) | Err(linux::Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Gives back what a container has of a network, but its link.
fn leave(home: &Home, cell: &Cell, attached: &mut Attached, network: &Network) {
    let Some(at) = attached.endpoints.iter().position(|own| own.network_id == network.id) else { return };
    let endpoint = attached.endpoints.remove(at);
    let addresses: Vec<_> = endpoint.addresses().map(|address| address.address()).collect();
    let (gone, stay): (Vec<_>, Vec<_>) =
        attached.ports.iter().copied().partition(|port| addresses.contains(&port.to));
    attached.ports = stay;
    names::remove(home, &endpoint);
    let _ = cell.write(endpoint::FILE, attached);
    rules::remove(home, std::slice::from_ref(&endpoint), &gone);
    for address in addresses {
        lease::release(home, &endpoint.network, address, &cell.id);
    }
}

fn refuse_special(network: &Network) -> Result<(), Error> {
    match network.driver.as_str() {
        "bridge" => Ok(()),
        "host" => Err(Error::invalid(
            "network host",
            "container cannot be connected to host network: its namespace is made at its start",
        )),
        _ => Err(Error::invalid(
            "network none",
            "container cannot be connected to it: it's no network to be on",
        )),
    }
}

/// The networks that a container is to be on.
fn networks_of(config: &Config) -> Result<Vec<EndpointRequest>, Error> {
    match &config.request.network {
        mode @ (NetworkMode::Unset | NetworkMode::Networks(_) | NetworkMode::None) => Ok(mode.endpoints()),
        mode => Err(Error::Refused {
            what: format!("change the networks of {}", config.name),
            why: format!(
                "container sharing network namespace with another container or host cannot be connected to any \
                 other network, and it has {}",
                crate::ps::network_name(mode)
            ),
            hint: "make it anew with --network".to_owned(),
        }),
    }
}

fn is(network: &Network, wanted: &EndpointRequest) -> bool {
    wanted.network == network.name
        || network.id == wanted.network
        || (wanted.network.len() >= 4 && network.id.starts_with(&wanted.network))
}

fn rewrite(home: &Home, cell: &Cell, config: &Config, attached: &Attached) -> Result<(), Error> {
    let about = files::About {
        request: &config.request,
        attached,
        hostname: &files::hostname(config.spec.hostname.clone()),
        owner: config.user_namespace.base(),
    };
    files::rewrite(cell, &about)?;
    names::resolver(home, cell, &config.request, attached)
}

/// Writes the networks down for the next start, and for who looks.
fn write_down(home: &Home, container: &Container, config: &Config) -> Result<(), Error> {
    let cell = container.cell(home);
    if let Some(mut now) = cell.config() {
        now.request.network = config.request.network.clone();
        now.request.net = config.request.net.clone();
        cell.write("config.json", &now)?;
    }
    if config.recorded()
        && let Some(id) = types::id::ContainerId::parse(&config.id)
    {
        let text = serde_json::to_string(config).unwrap_or_default();
        crate::images::open_store(home)?.update_container(&id, &text, store::Durability::Synced)?;
    }
    Ok(())
}

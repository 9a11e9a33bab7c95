//! `berth network connect` and `disconnect`: a container that runs gets the link at once, and one that doesn't at its next
//! start.
//!
//! One change of a container at a time, under the lock on names, which [`crate::update`] takes too: all write the row and
//! the documents. For a container that runs, under the lock on its directory as well, which whoever buries it takes:
//!
//! 1. its file `claiming` says which network it joins or leaves
//! 2. addresses, `network.json`, rules, link, names; or the other way round
//! 3. the row, then `config.json` are written: from here on it is so. `claiming` goes
//!
//! Killed in between, it's put right by the next command that touches the container ([`put_right`]): what wasn't joined
//! wholly is left, and what was left in part is left wholly. If the container ends before that, whoever buries it gives
//! back what it has ([`super::detach`]).

use super::endpoint::{self, Attached, CLAIMING};
use super::{Network, files, find, lease, links, names, rules, up};
use crate::cell::{Cell, Running};
use crate::claims::Claims;
use crate::find::State;
use crate::request::{EndpointRequest, NetworkConnectRequest, NetworkMode};
use crate::update::await_start;
use crate::{Config, Error, Home, events};
use linux::{Errno, fault};
use net::route::Links;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// Looks at a container that others start or end meanwhile.
const TRIES_MAX: u32 = 100;

/// What `claiming` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Changing {
    /// The container joins a network, named by its id.
    Joins(String),
    /// It leaves one.
    Leaves(String),
    /// It takes over published ports: see [`super::take_over`].
    TakesOver,
}

/// Puts a container on a network.
pub fn connect(home: &Home, request: &NetworkConnectRequest) -> Result<(), Error> {
    change(home, &find(home, &request.endpoint.network)?, &request.container, Some(request))
}

/// Takes a container off a network.
pub fn disconnect(home: &Home, given: &str, container: &str) -> Result<(), Error> {
    change(home, &find(home, given)?, container, None)
}

fn change(
    home: &Home,
    network: &Network,
    given: &str,
    joins: Option<&NetworkConnectRequest>,
) -> Result<(), Error> {
    refuse_special(network)?;
    let id = crate::find::container(home, given)?.config.id;
    let claims = Claims::open(home)?;
    for attempt in 0..TRIES_MAX {
        await_start(home, &id)?;
        let _one_at_a_time = claims.lock_names()?;
        let container = crate::find::container(home, &id)?;
        let cell = container.cell(home);
        let config = planned(&container.config, network, joins)?;
        let was_on = networks_of(&container.config)?.iter().any(|known| is(network, known));
        match &container.state {
            State::Starting => continue,
            State::Running(running) => {
                if !change_now(home, &cell, running, (&container.config, &config), network, joins, was_on)? {
                    continue;
                }
            }
            State::Created | State::Exited(_) | State::Restarting(_) => {
                if attempt == 0 {
                    refuse_same(&container.config, network, was_on, joins.is_some())?;
                }
                record(home, &cell, &config)?;
                // One that was started meanwhile may have read the row before.
                let now = crate::find::container(home, &id)?;
                if matches!(now.state, State::Starting | State::Running(_)) {
                    continue;
                }
            }
        }
        let action = if joins.is_some() { "connect" } else { "disconnect" };
        events::endpoint(home, action, &network.id, &network.name, &id);
        return Ok(());
    }
    Err(Error::State { id, why: "is started and ended all the time".to_owned() })
}

/// What the container is to be.
fn planned(
    config: &Config,
    network: &Network,
    joins: Option<&NetworkConnectRequest>,
) -> Result<Config, Error> {
    let mut config = config.clone();
    let mut wanted = networks_of(&config)?;
    wanted.retain(|known| !is(network, known));
    if let Some(request) = joins {
        wanted.push(request.endpoint.clone());
        for link in &request.links {
            if link.0 == config.name || config.id.starts_with(&link.0) {
                return Err(Error::invalid(format!("--link {}", link.0), "cannot link to itself"));
            }
            if !config.request.net.links.contains(link) {
                config.request.net.links.push(link.clone());
            }
        }
    }
    config.request.network = match wanted.is_empty() {
        true => NetworkMode::None,
        false => NetworkMode::Networks(wanted),
    };
    Ok(config)
}

/// Refuses what is so already.
fn refuse_same(config: &Config, network: &Network, is_on: bool, joins: bool) -> Result<(), Error> {
    let (id, name, network) = (&config.id, &config.name, &network.name);
    match (is_on, joins) {
        (true, true) => Err(Error::Refused {
            what: format!("connect {name}"),
            why: format!("endpoint with name {name} already exists in network {network}"),
            hint: format!("disconnect it first: berth network disconnect {network} {name}"),
        }),
        (false, false) => Err(Error::Refused {
            what: format!("disconnect {name}"),
            why: format!("container {id} is not connected to network {network}"),
            hint: format!("`berth inspect {name}` shows its networks"),
        }),
        _ => Ok(()),
    }
}

/// Changes a container that runs, from one configuration to another. False if it has ended meanwhile.
fn change_now(
    home: &Home,
    cell: &Cell,
    running: &Running,
    (old, new): (&Config, &Config),
    network: &Network,
    joins: Option<&NetworkConnectRequest>,
    was_on: bool,
) -> Result<bool, Error> {
    let Some(_alone) = lock_running(cell, running, true)? else { return Ok(false) };
    let mut attached = endpoint::attached(cell).unwrap_or_default();
    let is_on = attached.endpoints.iter().any(|own| own.network_id == network.id);
    // What the kernel has counts; of a start that read the row before, only the row may say so.
    refuse_same(old, network, if joins.is_some() { is_on } else { is_on || was_on }, joins.is_some())?;
    let mut new = new.clone();
    let begin = || {
        let id = network.id.clone();
        let changing = if joins.is_some() { Changing::Joins(id) } else { Changing::Leaves(id) };
        cell.write(CLAIMING, &Some(changing))?;
        fault::point("change of networks intended");
        Ok::<_, Error>(())
    };
    match joins {
        Some(request) => {
            let mut links = up::open_links()?;
            // It keeps the network from being removed until the addresses are taken.
            let up = up::ensure(home, &network.name, &mut links)?;
            begin()?;
            let joined = join(home, cell, &new, &mut attached, (&up.network, request), running, &mut links)
                .and_then(|()| record(home, cell, &new));
            if let Err(error) = joined {
                let mut old = old.clone();
                let _ = leave(home, cell, &mut old, &mut attached, &network.id, running.init.pid);
                let _ = record(home, cell, &old);
                done(cell);
                return Err(error);
            }
        }
        None => {
            begin()?;
            leave(home, cell, &mut new, &mut attached, &network.id, running.init.pid)?;
            record(home, cell, &new)?;
        }
    }
    done(cell);
    Ok(true)
}

/// Keeps whoever buries the container from beginning; `None` if it has ended, or if somebody else changes it and isn't
/// waited for.
pub(super) fn lock_running(
    cell: &Cell,
    running: &Running,
    wait: bool,
) -> Result<Option<std::os::fd::OwnedFd>, Error> {
    match cell.lock_groups(wait) {
        Ok(lock) => Ok(lock.filter(|_| running.init.open().is_some())),
        // Its directory is gone.
        Err(Error::System { errno: Errno::NOENT, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says that the change is over.
pub(super) fn done(cell: &Cell) {
    let _ = std::fs::remove_file(cell.path.join(CLAIMING));
    fault::point("change of networks done");
}

fn join(
    home: &Home,
    cell: &Cell,
    config: &Config,
    attached: &mut Attached,
    (network, request): (&Network, &NetworkConnectRequest),
    running: &Running,
    socket: &mut Links,
) -> Result<(), Error> {
    endpoint::claim_endpoint(home, cell, network, &request.endpoint, attached)?;
    let Some(endpoint) = attached.endpoints.last().cloned() else { return Ok(()) };
    let links = links::find(home, &request.links, attached, &config.name)?;
    attached.links.extend(links.hosts);
    attached.aliases.extend(links.aliases);
    cell.write(endpoint::FILE, attached)?;
    fault::point("endpoints written down");
    let inside = endpoint::netns(running.init.pid)?;
    let mut inner = open_inner(&inside)?;
    let mut firewall = rules::open(home)?;
    rules::add_endpoint(&mut firewall, &endpoint)?;
    fault::point("endpoint allowed");
    endpoint::join(home, &endpoint, inside.as_fd(), socket, &mut inner)?;
    fault::point("link made");
    choose_default(home, config, attached, &mut inner)?;
    cell.write(endpoint::FILE, attached)?;
    fault::point("default route chosen");
    if endpoint.has_names {
        names::add(home, &endpoint, &config.id, &config.name)?;
        fault::point("names written");
    }
    rewrite(home, cell, config, attached)?;
    fault::point("files of names written");
    Ok(())
}

fn open_inner(inside: &std::os::fd::OwnedFd) -> Result<Links, Error> {
    endpoint::within(inside, Links::open)?
        .map_err(|errno| Error::system("open", "a netlink socket in the container", errno))
}

/// Takes a container that runs off a network, as far as it's on it. Links to containers that it reaches over no other are
/// forgotten in its configuration as well.
fn leave(
    home: &Home,
    cell: &Cell,
    config: &mut Config,
    attached: &mut Attached,
    network: &str,
    pid: i32,
) -> Result<(), Error> {
    let mut result = Ok(());
    if let Some(at) = attached.endpoints.iter().position(|own| own.network_id == network) {
        let endpoint = attached.endpoints[at].clone();
        let mut links = up::open_links()?;
        if let Ok(Some(link)) = links.link(&endpoint.link)
            && let Err(errno) = links.remove(link.index)
        {
            return Err(Error::system("remove the link", &endpoint.link, errno));
        }
        fault::point("link removed");
        names::remove(home, &endpoint);
        fault::point("names removed");
        rules::remove(home, std::slice::from_ref(&endpoint), &[]);
        fault::point("endpoint forbidden");
        attached.endpoints.remove(at);
        forget_links(config, attached, &endpoint);
        let inside = endpoint::netns(pid)?;
        result = choose_default(home, config, attached, &mut open_inner(&inside)?);
        cell.write(endpoint::FILE, attached)?;
        fault::point("endpoints written down");
    }
    // Also those that no endpoint names yet, or any more.
    lease::release_others(home, &cell.id, attached);
    fault::point("addresses released");
    rewrite(home, cell, config, attached)?;
    fault::point("files of names written");
    result
}

/// Forgets the links to containers that were reached over an endpoint that is gone.
fn forget_links(config: &mut Config, attached: &mut Attached, gone: &endpoint::Endpoint) {
    let was_over = |address: &std::net::IpAddr| gone.addresses().any(|own| own.network().contains(*address));
    let (over, stay): (Vec<_>, Vec<_>) =
        std::mem::take(&mut attached.links).into_iter().partition(|(_, address)| was_over(address));
    attached.links = stay;
    let mut forgotten: Vec<String> =
        over.into_iter().filter_map(|(names, _)| names.into_iter().next()).collect();
    if !attached.endpoints.iter().any(|own| own.has_names) {
        forgotten.extend(std::mem::take(&mut attached.aliases).into_iter().map(|(alias, _)| alias));
    }
    config.request.net.links.retain(|(_, alias)| !forgotten.contains(alias));
}

/// Leads the default routes, and the published ports, over the network that they should go over, now that there is one
/// more or one less.
fn choose_default(
    home: &Home,
    config: &Config,
    attached: &mut Attached,
    inner: &mut Links,
) -> Result<(), Error> {
    let wanted = config.request.network.endpoints();
    let best = endpoint::default_of(attached.endpoints.iter().map(|own| {
        let request = wanted.iter().find(|wanted| is_endpoint(own, wanted));
        (own.internal, request.map_or(0, |wanted| wanted.gateway_priority), own.network.as_str())
    }));
    let now = attached.endpoints.iter().position(|own| own.is_default);
    if best != now {
        if let Some(old) = now.and_then(|now| attached.endpoints.get_mut(now)) {
            old.is_default = false;
            if let Ok(Some(link)) = inner.link(&old.inner) {
                for gateway in &old.gateways {
                    // A program in the container may have removed it.
                    let _ = inner.remove_default_route(link.index, *gateway);
                }
            }
        }
        if let Some(new) = best.and_then(|best| attached.endpoints.get_mut(best)) {
            new.is_default = true;
            let failed = |errno| Error::system("add a route to", &new.network, errno);
            let link = inner.link(&new.inner).map_err(failed)?.ok_or_else(|| failed(Errno::NODEV))?;
            for gateway in &new.gateways {
                match inner.add_default_route(link.index, *gateway) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
    }
    move_ports(home, attached)
}

/// Has published ports lead to the address on the network that the default route goes over. Those of a family that it
/// hasn't got aren't reached any more; their sockets stay with the container.
fn move_ports(home: &Home, attached: &mut Attached) -> Result<(), Error> {
    let default = attached.endpoints.iter().find(|own| own.is_default);
    let to = |v6: bool| default.and_then(|own| if v6 { own.ipv6 } else { own.ipv4 }).map(|own| own.address());
    let to = [to(false), to(true)];
    let goes_to = |port: &super::PublishedPort| to[usize::from(port.to.is_ipv6())];
    let (stay, gone): (Vec<_>, Vec<_>) =
        std::mem::take(&mut attached.ports).into_iter().partition(|port| goes_to(port).is_some());
    attached.ports = stay;
    rules::remove(home, &[], &gone);
    attached.waiting.retain(|port| goes_to(port).is_some());
    for port in &mut attached.waiting {
        port.to = goes_to(port).unwrap_or(port.to);
    }
    let mut moved = Vec::new();
    for port in &mut attached.ports {
        if let Some(to) = goes_to(port).filter(|to| *to != port.to) {
            port.to = to;
            moved.push(*port);
        }
    }
    if moved.is_empty() {
        return Ok(());
    }
    rules::publish(&mut rules::open(home)?, &moved)
}

/// Completes the change of a process that was killed.
pub(crate) fn put_right(home: &Home, cell: &Cell) {
    if !cell.path.join(CLAIMING).exists() {
        return;
    }
    let Ok(claims) = Claims::open(home) else { return };
    // Otherwise somebody is at it.
    let Ok(Some(_one_at_a_time)) = claims.try_lock_names() else { return };
    let _ = complete(home, cell);
}

fn complete(home: &Home, cell: &Cell) -> Result<(), Error> {
    let changing = std::fs::read(cell.path.join(CLAIMING)).unwrap_or_default();
    let changing: Option<Changing> = serde_json::from_slice(&changing).unwrap_or_default();
    let (Some(changing), Some(mut config), Some(running)) = (changing, cell.config(), cell.running()) else {
        return Ok(());
    };
    let Some(_alone) = lock_running(cell, &running, false)? else { return Ok(()) };
    let mut attached = endpoint::attached(cell).unwrap_or_default();
    let (network, joins) = match changing {
        Changing::Joins(network) => (network, true),
        Changing::Leaves(network) => (network, false),
        Changing::TakesOver => {
            super::take_over::complete(home, cell, &mut attached, config)?;
            done(cell);
            return Ok(());
        }
    };
    let mut wanted = config.request.network.endpoints();
    let own = attached.endpoints.iter().find(|own| own.network_id == network).cloned();
    let is_it = |known: &EndpointRequest| match &own {
        Some(own) => is_endpoint(own, known),
        None => find(home, &network).is_ok_and(|network| is(&network, known)),
    };
    let is_on = wanted.iter().any(is_it);
    if !(joins && is_on) {
        if is_on {
            wanted.retain(|known| !is_it(known));
            config.request.network = match wanted.is_empty() {
                true => NetworkMode::None,
                false => NetworkMode::Networks(wanted),
            };
        }
        leave(home, cell, &mut config, &mut attached, &network, running.init.pid)?;
        // A join may have come as far as the row.
        record(home, cell, &config)?;
    }
    done(cell);
    Ok(())
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

fn is_endpoint(own: &endpoint::Endpoint, wanted: &EndpointRequest) -> bool {
    wanted.network == own.network
        || (wanted.network.len() >= 4 && own.network_id.starts_with(&wanted.network))
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

/// Writes the networks down for the next start, and for who looks: the row first.
pub(super) fn record(home: &Home, cell: &Cell, config: &Config) -> Result<(), Error> {
    if config.recorded()
        && let Some(id) = types::id::ContainerId::parse(&config.id)
    {
        // Plain data always serialises.
        let text = serde_json::to_string(config).unwrap_or_default();
        crate::images::open_store(home)?.update_container(&id, &text, store::Durability::Synced)?;
        fault::point("row updated");
    }
    if cell.config().is_some() {
        // It may have ended, and its keeper be taking the directory away.
        cell.write("config.json", config)
            .or_else(|e| if cell.config().is_none() { Ok(()) } else { Err(e) })?;
        fault::point("configuration updated");
    }
    Ok(())
}

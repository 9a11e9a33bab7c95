//! `berth network create`, `rm`, `prune`.

use super::{Network, Pool, all, find, option, up};
use crate::request::{NetworkCreateRequest, NetworkPruneRequest, PoolRequest};
use crate::stop::Outcomes;
use crate::{Error, Home, cell, events, images, names};
use net::ipam;
use net::subnet::Subnet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use store::Durability;

/// What `prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names.
    pub removed: Vec<String>,
}

/// Makes a network; its id. The kernel's part comes with its first container.
pub fn create(home: &Home, request: &NetworkCreateRequest) -> Result<String, Error> {
    check(request)?;
    let mut links = up::open_links()?;
    let host = up::subnets_of_host(&mut links)?;
    let ours = ours(home)?;
    // Bridges of networks that are up have routes of their own, which the records speak of.
    let host: Vec<Subnet> = host.into_iter().filter(|subnet| !ours.contains(subnet)).collect();
    let store = images::open_store(home)?;
    let id = names::random_id()?;
    let made = store.insert_network(Durability::Synced, |known| {
        // Its first use records it, and its name is taken all the same.
        if super::PREDEFINED.contains(&request.name.as_str()) {
            return Err(Error::Store(store::Error::NetworkExists { name: request.name.clone() }));
        }
        let taken = up::subnets_taken(known, &host)?;
        let network = Network {
            id: id.clone(),
            name: request.name.clone(),
            created_ns: cell::now_ns(),
            driver: "bridge".to_owned(),
            internal: request.internal,
            attachable: request.attachable,
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            pools: pools(request, known, &host, &taken)?,
            options: request.options.clone(),
            labels: request.labels.clone(),
        };
        refuse_link(home, &network, known)?;
        Ok(network.to_record())
    })?;
    let record = made?;
    events::network(home, "create", &record.id, &record.name);
    Ok(record.id)
}

/// Subnets of the networks that are up.
fn ours(home: &Home) -> Result<BTreeSet<Subnet>, Error> {
    let known = up::known(home)?;
    Ok(known.iter().flat_map(|network| network.pools.iter()).map(|pool| pool.subnet.network()).collect())
}

fn check(request: &NetworkCreateRequest) -> Result<(), Error> {
    match request.driver.as_deref() {
        None | Some("" | "bridge") => {}
        Some("host") => {
            return Err(Error::invalid("create network", "only one instance of \"host\" network is allowed"));
        }
        Some("null" | "none") => {
            return Err(Error::invalid("create network", "only one instance of \"null\" network is allowed"));
        }
        Some(known @ ("macvlan" | "ipvlan" | "overlay")) => {
            return Err(Error::Refused {
                what: format!("create network {}", request.name),
                why: format!("the driver {known} isn't supported yet"),
                hint: "leave the driver out: bridge is the one there is".to_owned(),
            });
        }
        Some(other) => {
            return Err(Error::Refused {
                what: format!("create network {}", request.name),
                why: format!("could not find plugin {other} in v1 plugin registry: plugin not found"),
                hint: "leave the driver out: bridge is the one there is".to_owned(),
            });
        }
    }
    if !request.ipv4 && !request.ipv6 {
        return Err(Error::invalid("create network", "IPv4 or IPv6 must be enabled"));
    }
    for (name, value) in &request.options {
        let is_flag = [option::ICC, option::MASQUERADE].contains(&name.as_str());
        if is_flag && !matches!(value.as_str(), "" | "true" | "false" | "0" | "1") {
            return Err(Error::invalid(
                format!("option {name}"),
                format!("{value:?} is neither true nor false"),
            ));
        }
        let is_wrong = match name.as_str() {
            option::MTU => !value.parse::<u32>().is_ok_and(|mtu| (68..=65_535).contains(&mtu)),
            option::HOST_BINDING => value.parse::<IpAddr>().is_err(),
            option::NAME => {
                value.is_empty()
                    || value.len() > net::route::LINK_NAME_BYTES_MAX
                    || value.contains(['/', ' ', ':'])
                    || matches!(value.as_str(), "." | "..")
            }
            _ => false,
        };
        if is_wrong {
            return Err(Error::invalid(format!("option {name}"), format!("{value:?} can't be it")));
        }
    }
    Ok(())
}

fn pools(
    request: &NetworkCreateRequest,
    known: &[store::NetworkRecord],
    host: &[Subnet],
    taken: &[Subnet],
) -> Result<Vec<Pool>, Error> {
    let mut pools: Vec<Pool> = Vec::new();
    for wanted in &request.pools {
        let Some(subnet) = wanted.subnet else {
            return Err(Error::invalid(
                "create network",
                "--ip-range, --gateway and --aux-address need a --subnet that contains them",
            ));
        };
        let pool = pool(wanted, subnet)?;
        refuse_overlap(pool.subnet, known, host)?;
        if let Some(other) = pools.iter().find(|other| other.subnet.is_v6() == pool.subnet.is_v6()) {
            return Err(Error::Refused {
                what: format!("create network {}", request.name),
                why: format!(
                    "{} and {} are of one family, and a bridge takes one of each",
                    other.subnet, subnet
                ),
                hint: "make two networks, and put containers on both".to_owned(),
            });
        }
        pools.push(pool);
    }
    let has = |v6: bool, pools: &[Pool]| pools.iter().any(|pool| pool.subnet.is_v6() == v6);
    if request.ipv4 && !has(false, &pools) {
        pools.insert(0, up::pool_of(up::free_subnet(taken)?)?);
    }
    if request.ipv6 && !has(true, &pools) {
        let mut random = [0; 6];
        rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Error::system("make", "a random subnet", errno))?;
        pools.push(up::pool_of(ipam::local_subnet(random))?);
    }
    // Docker takes a subnet of a family as a wish only if the family is on.
    pools.retain(|pool| if pool.subnet.is_v6() { request.ipv6 } else { request.ipv4 });
    Ok(pools)
}

fn pool(wanted: &PoolRequest, subnet: Subnet) -> Result<Pool, Error> {
    let network = subnet.network();
    let inside = |what: &str, address: IpAddr| match network.contains(address) {
        true => Ok(address),
        false => Err(Error::invalid(
            format!("{what} {address}"),
            format!("no matching subnet: it isn't in {network}"),
        )),
    };
    if let Some(range) = wanted.range.filter(|range| !network.covers(*range)) {
        return Err(Error::invalid(
            format!("--ip-range {range}"),
            format!("no matching subnet: it isn't in {network}"),
        ));
    }
    for address in wanted.reserved.values() {
        inside("--aux-address", *address)?;
    }
    let reserved: BTreeSet<IpAddr> = wanted.reserved.values().copied().collect();
    let gateway = match wanted.gateway {
        Some(gateway) => inside("--gateway", gateway)?,
        None => ipam::gateway(network, wanted.range, &reserved)
            .ok_or_else(|| Error::invalid(format!("subnet {network}"), "it's too small"))?,
    };
    Ok(Pool {
        subnet: network,
        range: wanted.range.map(Subnet::network),
        gateway,
        reserved: wanted.reserved.clone(),
    })
}

fn refuse_overlap(subnet: Subnet, known: &[store::NetworkRecord], host: &[Subnet]) -> Result<(), Error> {
    let refused = |whose: String| Error::Refused {
        what: format!("create a network on {subnet}"),
        why: format!("Pool overlaps with other one on this address space: {whose}"),
        hint: "choose another --subnet, or leave it out".to_owned(),
    };
    for record in known {
        let network = Network::of_record(record)?;
        if let Some(pool) = network.pools.iter().find(|pool| pool.subnet.overlaps(subnet)) {
            return Err(refused(format!("{} of network {}", pool.subnet, network.name)));
        }
    }
    match host.iter().find(|other| other.overlaps(subnet)) {
        Some(other) => Err(refused(format!("{other} of the host's own addresses and routes"))),
        None => Ok(()),
    }
}

fn refuse_link(home: &Home, network: &Network, known: &[store::NetworkRecord]) -> Result<(), Error> {
    let link = network.bridge(home);
    for record in known {
        let other = Network::of_record(record)?;
        if other.bridge(home) == link {
            return Err(Error::Refused {
                what: format!("create network {}", network.name),
                why: format!("networks have same bridge name: {link} is that of network {}", other.name),
                hint: format!("choose another -o {}=NAME", option::NAME),
            });
        }
    }
    Ok(())
}

/// Removes networks that no container is on. One that doesn't exist is [`Error::NoNetwork`], which `force` passes over.
pub fn remove(home: &Home, given: &[String], force: bool) -> Result<Outcomes, Error> {
    // What is left of containers that nobody looks after doesn't count.
    crate::find::present(home);
    let outcomes = given.iter().map(|given| (given.clone(), remove_one(home, given)));
    // Nothing is told of what wasn't there.
    let is_told =
        |outcome: &(String, Result<(), Error>)| !(force && matches!(outcome.1, Err(Error::NoNetwork { .. })));
    Ok(outcomes.filter(is_told).collect())
}

fn remove_one(home: &Home, given: &str) -> Result<(), Error> {
    let network = find(home, given)?;
    if network.is_predefined() {
        return Err(Error::Refused {
            what: format!("remove network {}", network.name),
            why: format!("{} is a pre-defined network and cannot be removed", network.name),
            hint: "berth network prune takes its bridge away while no container is on it".to_owned(),
        });
    }
    let users = up::take_down(home, &network, &mut up::open_links()?)?;
    if !users.is_empty() {
        return Err(Error::NetworkInUse { name: network.name, by: names_of(home, &users) });
    }
    images::open_store(home)?.remove_network(&network.id, Durability::Synced)?;
    events::network(home, "destroy", &network.id, &network.name);
    Ok(())
}

fn names_of(home: &Home, ids: &[String]) -> Vec<String> {
    let name =
        |id: &String| cell::Cell::of(home, id).config().map_or_else(|| id.clone(), |config| config.name);
    ids.iter().map(name).collect()
}

/// Removes users' networks that no container has but those in `doomed`, which are about to go, and takes the default one's
/// bridge away if nobody is on it.
pub fn prune(home: &Home, request: &NetworkPruneRequest, doomed: &[String]) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let mut used = used(home)?;
    used.retain(|_, users| !users.iter().all(|user| doomed.contains(user)));
    for network in all(images::look_at_store(home)?.as_ref())? {
        if used.contains_key(&network.name) || used.contains_key(&network.id) {
            continue;
        }
        if network.is_predefined() {
            if !request.dry_run && network.name == super::DEFAULT {
                up::take_down(home, &network, &mut up::open_links()?)?;
            }
            continue;
        }
        let has = |(key, value): &(String, Option<String>)| {
            network.labels.get(key).is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
        };
        let wanted = request.labels.iter().all(has)
            && !request.labels_not.iter().any(has)
            && request.until_ns.is_none_or(|until| network.created_ns < until);
        if !wanted {
            continue;
        }
        if !request.dry_run {
            match remove_one(home, &network.id) {
                Ok(()) => {}
                // Somebody has begun to use it, or has removed it: so be it.
                Err(Error::NetworkInUse { .. } | Error::NoNetwork { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
        pruned.removed.push(network.name);
    }
    Ok(pruned)
}

/// Networks by what containers call them, and those containers' ids: running or not.
pub(super) fn used(home: &Home) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in crate::find::all(home)? {
        let mut note = |network: String| used.entry(network).or_default().push(container.config.id.clone());
        let wanted = container.config.request.network.endpoints();
        wanted.into_iter().for_each(|wanted| note(wanted.network));
        if let Some(attached) = super::attached(&container.cell(home)) {
            attached.endpoints.iter().for_each(|endpoint| note(endpoint.network_id.clone()));
        }
    }
    Ok(used)
}

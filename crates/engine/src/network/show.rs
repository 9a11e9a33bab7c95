//! `berth network ls` and `inspect`.

use super::{Network, all, endpoint, find};
use crate::cell::Cell;
use crate::request::NetworkFilter;
use crate::{Error, Home, images};
use serde_json::{Map, Value as Json, json};

/// One network of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The network.
    pub network: Network,
}

/// The networks that the filters let pass, by name.
pub fn list(home: &Home, filters: &[NetworkFilter]) -> Result<Vec<Listed>, Error> {
    let mut networks = all(images::look_at_store(home)?.as_ref())?;
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    let used = match filters.iter().any(|filter| matches!(filter, NetworkFilter::Dangling(_))) {
        true => super::create::used(home)?,
        false => Default::default(),
    };
    let is_used = |network: &Network| used.contains_key(&network.name) || used.contains_key(&network.id);
    let passes = |network: &Network| passes(network, is_used(network), filters);
    Ok(networks.into_iter().filter(passes).map(|network| Listed { network }).collect())
}

fn passes(network: &Network, used: bool, filters: &[NetworkFilter]) -> bool {
    let holds = |filter: &NetworkFilter| match filter {
        NetworkFilter::Driver(driver) => network.driver == *driver,
        NetworkFilter::Id(part) => network.id.contains(part.as_str()),
        NetworkFilter::Label(key, value) => {
            network.labels.get(key).is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
        }
        NetworkFilter::Name(part) => network.name.contains(part.as_str()),
        NetworkFilter::Scope(scope) => scope == "local",
        NetworkFilter::Type(word) => (word == "builtin") == network.is_predefined(),
        NetworkFilter::Dangling(dangling) => !network.is_predefined() && *dangling != used,
    };
    let same = |one: &NetworkFilter, other: &NetworkFilter| {
        std::mem::discriminant(one) == std::mem::discriminant(other)
    };
    filters.iter().all(|filter| match filter {
        NetworkFilter::Label(..) => holds(filter),
        _ => filters.iter().filter(|other| same(filter, other)).any(holds),
    })
}

/// Docker's document of a network. Source: docker's Engine API, `GET /networks/{id}`.
pub fn inspect(home: &Home, given: &str) -> Result<Json, Error> {
    let network = find(home, given)?;
    let mut containers = Map::new();
    for (id, attached) in endpoint::all(home) {
        let Some(own) = attached.endpoints.iter().find(|endpoint| endpoint.network_id == network.id) else {
            continue;
        };
        let text = |address: Option<net::subnet::Subnet>| address.map_or(String::new(), |a| a.to_string());
        let name = Cell::of(home, &id).config().map(|config| config.name).unwrap_or_default();
        let document = json!({
            "Name": name,
            "EndpointID": own.id,
            "MacAddress": own.mac_text(),
            "IPv4Address": text(own.ipv4),
            "IPv6Address": text(own.ipv6),
        });
        containers.insert(id, document);
    }
    let pool = |pool: &super::Pool| {
        let mut document = json!({ "Subnet": pool.subnet.to_string() });
        if let Some(range) = pool.range {
            document["IPRange"] = json!(range.to_string());
        }
        document["Gateway"] = json!(pool.gateway.to_string());
        if !pool.reserved.is_empty() {
            document["AuxiliaryAddresses"] = json!(pool.reserved);
        }
        document
    };
    let pools: Vec<Json> = network.pools.iter().map(pool).collect();
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": store::rfc3339(network.created_ns),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": if network.is_predefined() { Json::Null } else { json!({}) },
            "Config": if network.pools.is_empty() { Json::Null } else { json!(pools) },
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    }))
}

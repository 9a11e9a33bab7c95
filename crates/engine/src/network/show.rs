//! `berth network ls` and `inspect`.

use super::{Network, all, endpoint, find};
use crate::cell::Cell;
use crate::find::{Container, State};
use crate::request::{EndpointRequest, NetworkFilter, NetworkMode};
use crate::{Config, Error, Home, images};
use net::subnet::Subnet;
use serde_json::{Map, Value as Json, json};
use std::net::IpAddr;

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

/// A port of a running container, as lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShownPort {
    /// The container's port.
    pub port: u16,
    /// Where it's published: the host's address and port.
    pub host: Option<(IpAddr, u16)>,
    /// tcp, udp, sctp.
    pub protocol: &'static str,
}

/// A container's ports while it runs, the exposed and the published ones.
pub(crate) fn ports<S>(home: &Home, container: &Container<S>) -> Vec<ShownPort> {
    let (config, request) = (&container.config, &container.config.request);
    let is_on_network = matches!(request.network, NetworkMode::Unset | NetworkMode::Networks(_));
    if !matches!(container.state, State::Running(_)) || !is_on_network {
        return Vec::new();
    }
    let net = &request.net;
    let published = match net.publish.is_empty() && !net.publish_all && net.publish_from.is_none() {
        true => Vec::new(),
        false => endpoint::attached(&container.cell(home)).map(|attached| attached.ports).unwrap_or_default(),
    };
    let mut shown: Vec<ShownPort> = published
        .iter()
        .map(|port| ShownPort {
            port: port.port,
            host: Some((port.host, port.host_port)),
            protocol: port.protocol.word(),
        })
        .collect();
    for exposed in config.image_config.exposed_ports.iter().chain(&request.expose) {
        let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let protocol = ["tcp", "udp", "sctp"].into_iter().find(|known| *known == protocol);
        if let (Ok(port), Some(protocol)) = (port.parse(), protocol)
            && !shown.iter().any(|known| (known.port, known.protocol) == (port, protocol))
        {
            shown.push(ShownPort { port, host: None, protocol });
        }
    }
    shown.sort();
    shown
}

/// The ports of the container that a user calls `given`, none if it doesn't run.
pub fn published(home: &Home, given: &str) -> Result<Vec<ShownPort>, Error> {
    let container = crate::find::container(home, given)?;
    Ok(ports(home, &container).into_iter().filter(|port| port.host.is_some()).collect())
}

/// Docker's `NetworkSettings`. Source: docker's Engine API, `GET /containers/{id}/json`.
pub(crate) fn settings(home: &Home, container: &Container) -> Json {
    let config = &container.config;
    let key = match &container.state {
        State::Running(running) => format!("/proc/{}/ns/net", running.init.pid),
        _ => String::new(),
    };
    let attached = endpoint::attached(&container.cell(home)).unwrap_or_default();
    let mut networks = Map::new();
    let mut default = None;
    for wanted in config.request.network.endpoints() {
        let own = attached
            .endpoints
            .iter()
            .find(|own| own.network == wanted.network || own.network_id.starts_with(&wanted.network));
        let name = own.map_or(&wanted.network, |own| &own.network).clone();
        let document = endpoint_document(config, &wanted, own);
        if name == super::DEFAULT {
            default = Some(document.clone());
        }
        networks.insert(name, document);
    }
    if let NetworkMode::Host | NetworkMode::None = config.request.network {
        let name = crate::ps::network_name(&config.request.network);
        let wanted = EndpointRequest { network: name.clone(), ..EndpointRequest::default() };
        let mut document = endpoint_document(config, &wanted, None);
        if let State::Running(_) = container.state {
            document["NetworkID"] = json!(Network::predefined(&name).id);
        }
        networks.insert(name, document);
    }
    let mut ports = Map::new();
    for shown in self::ports(home, container) {
        let entry = ports.entry(format!("{}/{}", shown.port, shown.protocol)).or_insert(Json::Null);
        if let Some((address, port)) = shown.host {
            let binding = json!({ "HostIp": address.to_string(), "HostPort": port.to_string() });
            match entry {
                Json::Array(bindings) => bindings.push(binding),
                other => *other = json!([binding]),
            }
        }
    }
    // Of the default network only, as docker has it.
    let top = |field: &str, none: Json| default.as_ref().map_or(none, |document| document[field].clone());
    json!({
        "Bridge": "",
        "SandboxID": attached.endpoints.first().map_or("", |_| config.id.as_str()),
        "SandboxKey": key,
        "Ports": ports,
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": top("EndpointID", json!("")),
        "Gateway": top("Gateway", json!("")),
        "GlobalIPv6Address": top("GlobalIPv6Address", json!("")),
        "GlobalIPv6PrefixLen": top("GlobalIPv6PrefixLen", json!(0)),
        "IPAddress": top("IPAddress", json!("")),
        "IPPrefixLen": top("IPPrefixLen", json!(0)),
        "IPv6Gateway": top("IPv6Gateway", json!("")),
        "MacAddress": top("MacAddress", json!("")),
        "Networks": networks,
    })
}

fn endpoint_document(config: &Config, wanted: &EndpointRequest, own: Option<&endpoint::Endpoint>) -> Json {
    let ip = |address: Option<Subnet>| address.map_or(String::new(), |own| own.address().to_string());
    let prefix = |address: Option<Subnet>| address.map_or(0, Subnet::prefix);
    let gateway =
        |v6| own.and_then(|own| own.gateway(v6)).map_or(String::new(), |gateway| gateway.to_string());
    let mut ipam = Map::new();
    for (field, address) in [("IPv4Address", wanted.ipv4), ("IPv6Address", wanted.ipv6)] {
        if let Some(address) = address {
            ipam.insert(field.to_owned(), json!(address.to_string()));
        }
    }
    if !wanted.link_local.is_empty() {
        ipam.insert("LinkLocalIPs".to_owned(), json!(wanted.link_local));
    }
    // Of the first network, which `--link` speaks of.
    let is_first =
        config.request.network.endpoints().first().is_some_and(|first| first.network == wanted.network);
    let links = Some(super::links::documents(config).1).filter(|links| is_first && !links.is_empty());
    let names = own.filter(|own| own.has_names).map(|own| {
        let mut names = vec![config.name.clone(), config.id[..12].to_owned()];
        names.extend(own.aliases.iter().cloned());
        names
    });
    json!({
        "IPAMConfig": if ipam.is_empty() { Json::Null } else { Json::Object(ipam) },
        "Links": links,
        "Aliases": if wanted.aliases.is_empty() { Json::Null } else { json!(wanted.aliases) },
        "MacAddress": own.map_or(String::new(), endpoint::Endpoint::mac_text),
        "DriverOpts": if wanted.options.is_empty() { Json::Null } else { json!(wanted.options) },
        "GwPriority": wanted.gateway_priority,
        "NetworkID": own.map_or("", |own| own.network_id.as_str()),
        "EndpointID": own.map_or("", |own| own.id.as_str()),
        "Gateway": if own.is_some_and(|own| own.internal) { String::new() } else { gateway(false) },
        "IPAddress": ip(own.and_then(|own| own.ipv4)),
        "IPPrefixLen": prefix(own.and_then(|own| own.ipv4)),
        "IPv6Gateway": gateway(true),
        "GlobalIPv6Address": ip(own.and_then(|own| own.ipv6)),
        "GlobalIPv6PrefixLen": prefix(own.and_then(|own| own.ipv6)),
        "DNSNames": names,
    })
}

/// Docker's document of a network. Source: docker's Engine API, `GET /networks/{id}`.
pub fn inspect(home: &Home, given: &str) -> Result<Json, Error> {
    let mut network = find(home, given)?;
    if network.name == super::DEFAULT && network.pools.is_empty() {
        // What its first use is going to choose; where that can't be written down yet, nothing.
        network = super::up::settle_default(home).unwrap_or(network);
    }
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

//! What the kernel has, read back.

use super::ruleset::{self, BR, FAMILIES, INNER, LINK_LOCAL, PAIR};
use super::wire::{self, Family, Msg, Set, Table, TableFamily, Type};
use super::{EndpointRules, Error, Firewall, NetworkRules, Port, Protocol, State, guard};
use crate::netlink::{Attributes, DUMP, number_be, text};
use crate::subnet::Subnet;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Networks, ports, endpoints, as [`State::normalized`] has them.
    pub state: State,
    /// Whether there's the table that checks frames.
    pub guarded: bool,
    /// Chains of which a rule is missing, or where one is that we didn't write.
    pub broken: Vec<String>,
}

impl State {
    /// The same, in order, as it's read back: that masquerading is on says nothing of an internal network, nor addresses
    /// of an endpoint that may say anything.
    pub fn normalized(&self) -> State {
        let mut state = self.clone();
        for network in &mut state.networks {
            network.masquerade &= !network.internal && !network.subnets.is_empty();
            network.subnets = network.subnets.iter().map(|subnet| subnet.network()).collect();
            network.subnets.sort_unstable();
            network.subnets.dedup();
        }
        for endpoint in &mut state.endpoints {
            if endpoint.free {
                endpoint.addresses.clear();
                endpoint.mac = [0; 6];
            }
            endpoint.addresses.retain(|ip| *ip != IpAddr::V6(guard::link_local(endpoint.mac)));
            endpoint.addresses.sort_unstable();
            endpoint.addresses.dedup();
        }
        state.endpoints.retain(|endpoint| endpoint.free || !endpoint.addresses.is_empty());
        state.networks.sort_unstable();
        state.networks.dedup();
        state.ports.sort_unstable();
        state.ports.dedup();
        state.endpoints.sort_unstable();
        state.endpoints.dedup();
        state
    }
}

impl Firewall {
    /// All that is in the tables; `None` if the main one isn't there. For repair, `doctor` and tests: costs a few
    /// milliseconds at 10,000 ports.
    pub fn dump(&mut self) -> Result<Option<Found>, Error> {
        if self.version(TableFamily::Inet)?.is_none() {
            return Ok(None);
        }
        let networks = self.list_networks()?;
        let ports = self.list_ports()?;
        let guarded = self.is_guarded()?;
        let endpoints = self.list_endpoints()?;
        let mut broken = self.broken(TableFamily::Inet, &ruleset::rules(&self.names.ports))?;
        if guarded {
            broken.extend(self.broken(guard::FAMILY, &guard::rules(&self.names.ports))?);
        }
        let state = State { networks, ports, endpoints }.normalized();
        Ok(Some(Found { state, guarded, broken }))
    }

    /// The published ports, in no order.
    pub fn list_ports(&mut self) -> Result<Vec<Port>, Error> {
        let mut ports = Vec::new();
        for (family, any, set) in ruleset::port_sets() {
            let found = self.list(TableFamily::Inet, &set)?;
            ports.extend(found.iter().filter_map(|found| port(family, any, found)));
        }
        Ok(ports)
    }

    fn list_networks(&mut self) -> Result<Vec<NetworkRules>, Error> {
        let mut names = |set: &Set| -> Result<BTreeSet<String>, Error> {
            let found = self.list(TableFamily::Inet, set)?;
            Ok(found.iter().filter_map(|found| found.key.get(..16).map(text)).collect())
        };
        let (bridges, inner, pairs) = (names(&BR)?, names(&INNER)?, names(&PAIR)?);
        let mut networks: BTreeMap<String, NetworkRules> = BTreeMap::new();
        for bridge in bridges {
            let (internal, icc) = (inner.contains(&bridge), pairs.contains(&bridge));
            let network = NetworkRules {
                bridge: bridge.clone(),
                subnets: Vec::new(),
                internal,
                icc,
                masquerade: false,
            };
            networks.insert(bridge, network);
        }
        for family in FAMILIES {
            let masqueraded: BTreeSet<Vec<u8>> = {
                let found = self.list(TableFamily::Inet, &ruleset::sub(family))?;
                found.into_iter().filter(|found| !found.is_end).map(|found| found.key).collect()
            };
            for found in self.list(TableFamily::Inet, &ruleset::near(family))? {
                let Some((bridge, subnet)) = near(family, &found) else { continue };
                let Some(network) = networks.get_mut(&bridge) else { continue };
                network.masquerade |= masqueraded.contains(&wire::address(subnet.first()));
                network.subnets.push(subnet);
            }
        }
        Ok(networks.into_values().collect())
    }

    fn list_endpoints(&mut self) -> Result<Vec<EndpointRules>, Error> {
        let mut endpoints: BTreeMap<(String, [u8; 6]), EndpointRules> = BTreeMap::new();
        for set in guard::SPEAKERS {
            for found in self.list(guard::FAMILY, &set)? {
                let Some(guard::Says { port, who }) = guard::read(&set, &found.key) else { continue };
                let mac = who.map_or([0; 6], |(mac, _)| mac);
                let endpoint = endpoints.entry((port.clone(), mac)).or_insert_with(|| EndpointRules {
                    port,
                    mac,
                    addresses: Vec::new(),
                    free: who.is_none(),
                });
                let address = who.map(|(_, address)| address);
                endpoint.addresses.extend(address.filter(|ip| !ip.is_unspecified()));
            }
        }
        Ok(endpoints.into_values().collect())
    }

    /// Elements of a set; none if it isn't there.
    fn list(&mut self, family: TableFamily, set: &Set) -> Result<Vec<Read>, Error> {
        let request = wire::request(Msg::GetElement, DUMP, family as u8, |body| {
            body.string(1, &self.names.table).string(2, set.name);
        });
        let mut found = Vec::new();
        let dumped = self.socket.dump(&request, |object| match object {
            None => found.clear(),
            Some((_, payload)) => found.extend(elements(payload)),
        });
        match dumped {
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(errno) => Err(self.refused("list elements", errno.into())),
            Ok(()) => Ok(found),
        }
    }

    /// Names of chains whose rules aren't these.
    fn broken(&mut self, family: TableFamily, wanted: &[super::expr::Rule]) -> Result<Vec<String>, Error> {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for rule in wanted {
            expected.entry(rule.chain.clone()).or_default().push(rule.sketch());
        }
        let name = self.names.table.clone();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for rule in rules(&mut self.socket, Table { family, name: &name })
            .map_err(|errno| self.refused("list rules", errno.into()))?
        {
            found.entry(rule.chain).or_default().push(rule.sketch);
        }
        let chains: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        let differs = |chain: &&String| expected.get(*chain) != found.get(*chain);
        Ok(chains.into_iter().filter(differs).map(|chain| format!("{} {chain}", family.name())).collect())
    }
}

/// An element as it's read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) key: Vec<u8>,
    pub(super) key_end: Option<Vec<u8>>,
    pub(super) data: Vec<u8>,
    /// The end of a range.
    pub(super) is_end: bool,
}

/// The elements in one message.
pub(super) fn elements(payload: &[u8]) -> impl Iterator<Item = Read> + '_ {
    let list = Attributes::after(payload, wire::HEADER).find_kind(3).unwrap_or_default();
    Attributes::of(list).filter_map(|(_, element)| {
        let element = Attributes::of(element);
        let value = |kind| {
            let data = Attributes::of(element.find_kind(kind)?);
            data.find_kind(wire::DATA_VALUE).map(<[u8]>::to_vec)
        };
        Some(Read {
            key: value(1)?,
            key_end: value(10),
            data: value(2).unwrap_or_default(),
            is_end: element.find_kind(3).and_then(number_be).is_some_and(|flags| flags & 1 != 0),
        })
    })
}

/// Where a published port goes.
pub(super) fn target(found: &Read) -> Option<SocketAddr> {
    // 4 or 16 bytes of address, and 4 with the port in the first two.
    let (address, port) = found.data.split_at_checked(found.data.len().checked_sub(4)?)?;
    Some(SocketAddr::new(address_of(address)?, u16::from_be_bytes(port.get(..2)?.try_into().ok()?)))
}

fn port(family: Family, any: bool, found: &Read) -> Option<Port> {
    let bytes = if any { 0 } else { Type::address(family).bytes() };
    let (address, rest) = found.key.split_at_checked(bytes)?;
    let ip = match (any, family) {
        (true, Family::V4) => IpAddr::from([0; 4]),
        (true, Family::V6) => IpAddr::from([0; 16]),
        (false, _) => address_of(address)?,
    };
    let protocol = Protocol::of(*rest.first()?)?;
    let number = u16::from_be_bytes(rest.get(4..6)?.try_into().ok()?);
    Some(Port { host: SocketAddr::new(ip, number), protocol, target: target(found)? })
}

fn near(family: Family, found: &Read) -> Option<(String, Subnet)> {
    let bytes = Type::address(family).bytes();
    let first = address_of(found.key.get(16..16 + bytes)?)?;
    let last = address_of(found.key_end.as_ref()?.get(16..16 + bytes)?)?;
    if (first, last) == LINK_LOCAL {
        return None;
    }
    let whole = Subnet::new(first, 0)?;
    // The prefix is what both ends have in common.
    let prefix = (0..=bytes as u8 * 8).rev().find_map(|prefix| {
        Subnet::new(first, prefix).filter(|subnet| subnet.first() == first && subnet.last() == last)
    });
    Some((text(found.key.get(..16)?), prefix.unwrap_or(whole)))
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// NFTA_TABLE_USERDATA's comment.
pub(super) fn table_comment(payload: &[u8]) -> Option<String> {
    let data = Attributes::after(payload, wire::HEADER).find_kind(6)?;
    wire::comment_of(data).map(str::to_owned)
}

/// A rule as it's read: any table's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadRule {
    pub(super) chain: String,
    pub(super) handle: u64,
    pub(super) comment: Option<String>,
    /// Its expressions' names, with the sets that are looked up and the verdicts.
    pub(super) sketch: String,
    /// What names of devices are compared with: NFT_META_IIFNAME or NFT_META_OIFNAME, and a whole name, which ends in a
    /// null, or how names begin.
    pub(super) devices: Vec<(u32, Vec<u8>)>,
}

impl ReadRule {
    /// Whether it's about a device.
    pub(super) fn names(&self, device: &str) -> bool {
        self.devices.iter().any(|(_, data)| match data.iter().position(|byte| *byte == 0) {
            Some(end) => data[..end] == *device.as_bytes(),
            None => device.as_bytes().starts_with(data),
        })
    }
}

/// The rules of a table, in order.
pub(super) fn rules(socket: &mut crate::netlink::Socket, at: Table<'_>) -> Result<Vec<ReadRule>, Errno> {
    let request = wire::request(Msg::GetRule, DUMP, at.family as u8, |body| {
        body.string(1, at.name);
    });
    let mut found = Vec::new();
    socket.dump(&request, |object| match object {
        None => found.clear(),
        Some((_, payload)) => found.extend(rule(payload, at)),
    })?;
    Ok(found)
}

/// A rule in one message, if it's of the table.
pub(super) fn rule(payload: &[u8], at: Table<'_>) -> Option<ReadRule> {
    let attributes = Attributes::after(payload, wire::HEADER);
    // Older kernels may list the rules of all tables.
    let ours = payload.first() == Some(&(at.family as u8)) && text(attributes.find_kind(1)?) == at.name;
    let handle = attributes.find_kind(3)?.try_into().ok().map(u64::from_be_bytes)?;
    let expressions = Attributes::of(attributes.find_kind(4).unwrap_or_default());
    let sketch: Vec<String> = expressions.clone().filter_map(|(_, expression)| sketch(expression)).collect();
    ours.then_some(ReadRule {
        chain: text(attributes.find_kind(2)?),
        handle,
        comment: attributes.find_kind(7).and_then(wire::comment_of).map(str::to_owned),
        sketch: sketch.join(" "),
        devices: devices(expressions),
    })
}

/// The comparisons that follow the loading of a device's name.
fn devices(expressions: Attributes<'_>) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut loaded = None;
    for (_, expression) in expressions {
        let expression = Attributes::of(expression);
        let data = Attributes::of(expression.find_kind(2).unwrap_or_default());
        match expression.find_kind(1).map(text).as_deref() {
            Some("meta") => {
                let names = |key: &u32| [wire::META_IN_NAME, wire::META_OUT_NAME].contains(key);
                loaded = data.find_kind(2).and_then(number_be).filter(names);
            }
            Some("cmp") => {
                let value = Attributes::of(data.find_kind(3).unwrap_or_default());
                let value = value.find_kind(wire::DATA_VALUE).map(<[u8]>::to_vec);
                found.extend(loaded.zip(value));
            }
            _ => loaded = None,
        }
    }
    found
}

/// An expression's name; with the set that is looked up, or the verdict.
fn sketch(expression: &[u8]) -> Option<String> {
    let expression = Attributes::of(expression);
    let name = text(expression.find_kind(1)?);
    let data = Attributes::of(expression.find_kind(2).unwrap_or_default());
    match name.as_str() {
        "lookup" => Some(format!("lookup:{}", text(data.find_kind(1)?))),
        "immediate" => {
            let verdict = Attributes::of(data.find_kind(2)?).find_kind(2);
            let code = Attributes::of(verdict.unwrap_or_default()).find_kind(1).and_then(number_be);
            Some(format!("immediate:{}", code.map_or(-1, |code| code as i32)))
        }
        _ => Some(name),
    }
}

//! Networks: what a container asks of them, and commands on them.

use net::subnet::Subnet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One network that a container is to be on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRequest {
    /// The network: name, id, or the beginning of an id.
    pub network: String,
    /// Further names of the container on it.
    pub aliases: Vec<String>,
    /// The address of IPv4; else one is chosen.
    pub ipv4: Option<IpAddr>,
    /// The address of IPv6, likewise.
    pub ipv6: Option<IpAddr>,
    /// Further addresses, link-local ones, with no meaning to berth.
    pub link_local: Vec<IpAddr>,
    /// The hardware address; else it's made of the address.
    pub mac: Option<[u8; 6]>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Of several networks the one with the highest number gives the default route.
    pub gateway_priority: i64,
}

/// A protocol of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// tcp(7).
    Tcp,
    /// udp(7).
    Udp,
}

impl Protocol {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port of a container that the host publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// The container's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address; `None` is each.
    pub host: Option<IpAddr>,
    /// First and last of the host's ports that may be taken; `None` is a free one.
    pub host_ports: Option<(u16, u16)>,
}

/// Where a name in `/etc/hosts` leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// The host as the container sees it: `host-gateway`.
    Gateway,
}

/// What a container asks of networks beside which ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRequest {
    /// Ports that are published.
    pub publish: Vec<PublishRequest>,
    /// Whether all exposed ports are published at free ones.
    pub publish_all: bool,
    /// A container that has ports which this one is to take over later.
    #[serde(default)]
    pub publish_from: Option<String>,
    /// Name servers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Domains that names without a dot are looked for in; one that is a dot is none.
    pub dns_search: Vec<String>,
    /// Options of resolv.conf(5).
    pub dns_options: Vec<String>,
    /// Lines of `/etc/hosts`.
    pub hosts: Vec<(String, HostAddress)>,
    /// Other containers, and how this one calls them.
    pub links: Vec<(String, String)>,
}

/// One pool of addresses of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRequest {
    /// The subnet; else a free one is chosen.
    pub subnet: Option<Subnet>,
    /// The part of it that containers get addresses from.
    pub range: Option<Subnet>,
    /// The host's address in it.
    pub gateway: Option<IpAddr>,
    /// Addresses that are somebody else's, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// `berth network create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCreateRequest {
    /// Name.
    pub name: String,
    /// Driver; `None` is `bridge`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Pools, one for each family at most.
    pub pools: Vec<PoolRequest>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Docker's `--attachable`, which means nothing to one host.
    pub attachable: bool,
    /// Whether containers get addresses of IPv4.
    pub ipv4: bool,
    /// Whether they get addresses of IPv6.
    pub ipv6: bool,
}

/// `berth network connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConnectRequest {
    /// The container.
    pub container: String,
    /// The network, and what of it.
    pub endpoint: EndpointRequest,
    /// Other containers, and how this one calls them.
    pub links: Vec<(String, String)>,
}

/// One `--filter` of `berth network ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkFilter {
    /// Its driver.
    Driver(String),
    /// A part of its id.
    Id(String),
    /// A label, and its value if given.
    Label(String, Option<String>),
    /// A part of its name.
    Name(String),
    /// local, which all are.
    Scope(String),
    /// `builtin` or `custom`.
    Type(String),
    /// Whether no container is on it.
    Dangling(bool),
}

/// `berth network prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPruneRequest {
    /// Only those with all of these labels.
    pub labels: Vec<(String, Option<String>)>,
    /// Only those with none of these.
    pub labels_not: Vec<(String, Option<String>)>,
    /// Only those made before, in nanoseconds since the epoch.
    pub until_ns: Option<i64>,
    /// Whether nothing is removed.
    pub dry_run: bool,
}

//! Networks of containers: what there is, who is on which, and what the kernel has of them.
//!
//! A user's network is a row in the store. The kernel's part is made when the first container needs it, and made anew by
//! whoever finds it missing; under `<run>` stands who has what:
//!
//! ```text
//! <run>/networks/<name>/      its flock: shared by who takes an address, exclusive by who makes or removes the network
//!   network.json              the network, while the kernel has its bridge: written first, removed last
//!   leases/<address>          symbolic link to the id of the container that has the address
//!   names                     who is called what on it: see `net::dns`
//! <run>/containers/<id>/network.json   the container's endpoints and ports, written before they are made: see `endpoint`
//! ```
//!
//! - [`create`]: make, remove, prune
//! - [`connect`]: on and off networks while it runs
//! - [`up`]: the kernel's part of a network
//! - [`lease`]: who has which address
//! - [`endpoint`]: a container's part
//! - [`ports`]: published ports
//! - [`links`]: what containers call each other
//! - [`take_over`]: a port passes from one container to another
//! - [`files`]: `/etc/hosts` and its like
//! - [`names`]: who is called what, and the server of names
//! - [`rules`]: what the nftables table says
//! - [`watch`]: who notices that the rules are gone
//! - [`settings`]: what the host's administrator has set
//! - [`show`]: lists and documents
//! - [`doctor`]: why a packet arrives or doesn't

mod connect;
mod create;
mod doctor;
mod endpoint;
mod files;
mod lease;
mod links;
mod names;
mod ports;
mod rules;
mod settings;
mod show;
mod take_over;
mod up;
mod watch;

pub(crate) use connect::put_right;
pub use connect::{connect, disconnect};
pub use create::{Pruned, create, prune, remove};
pub use doctor::doctor;
pub(crate) use doctor::state;
pub(crate) use endpoint::{
    Attaching, Reserved, ServerSockets, attach, attached, check, claim, detach, reopen_server,
};
pub use endpoint::{Endpoint, PublishedPort};
pub(crate) use files::{About, NAMES as FILE_NAMES, hostname, of_neighbour, write as write_files};
pub(crate) use links::documents as link_documents;
pub(crate) use names::{FILE as NAMES_FILE, rename};
pub(crate) use ports::reserve_again;
pub use show::{Listed, ShownPort, inspect, list, published};
pub(crate) use show::{ports as shown_ports, settings};
pub use take_over::take_over;
pub use up::repair;
pub(crate) use watch::Watcher;

use crate::{Error, Home, images};
use net::subnet::Subnet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use store::{NetworkRecord, Sha256, Store};

/// The network of containers that ask for none.
pub const DEFAULT: &str = "bridge";

/// Names of the networks that there always are.
pub const PREDEFINED: [&str; 3] = [DEFAULT, "host", "none"];

/// Options of docker's driver `bridge`. Source: docker's documentation, "Bridge network driver".
pub(crate) mod option {
    /// Name of the link.
    pub const NAME: &str = "com.docker.network.bridge.name";
    /// Whether containers on it reach each other.
    pub const ICC: &str = "com.docker.network.bridge.enable_icc";
    /// Whether packets to the outside bear the host's address.
    pub const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
    /// Where ports are published that name no address.
    pub const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
    /// Longest packet, in bytes.
    pub const MTU: &str = "com.docker.network.driver.mtu";
    /// How a container's link is called.
    pub const INNER_PREFIX: &str = "com.docker.network.container_iface_prefix";
    /// Whether it's the default one.
    pub const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
}

/// Longest packet if nothing is said, in bytes: Ethernet's.
const MTU: u32 = 1500;

/// One network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Id: 64 hexadecimal digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// `bridge`, `host` or `null`, docker's words.
    pub driver: String,
    /// Whether it has no way out.
    pub internal: bool,
    /// Docker's `--attachable`.
    pub attachable: bool,
    /// Whether containers get addresses of IPv4.
    pub ipv4: bool,
    /// Whether they get addresses of IPv6.
    pub ipv6: bool,
    /// Its subnets.
    pub pools: Vec<Pool>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The subnet.
    pub subnet: Subnet,
    /// The part of it that containers get addresses from.
    pub range: Option<Subnet>,
    /// The host's address in it.
    pub gateway: IpAddr,
    /// Addresses that are somebody else's, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Network {
    /// One of the [`PREDEFINED`] as it is before anything is known of it.
    fn predefined(name: &str) -> Network {
        let driver = match name {
            "none" => "null",
            other => other,
        };
        Network {
            id: Sha256::of(format!("berth network {name}").as_bytes()).hex(),
            name: name.to_owned(),
            created_ns: 0,
            driver: driver.to_owned(),
            internal: false,
            attachable: false,
            ipv4: true,
            ipv6: false,
            pools: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// Whether there always is one.
    pub fn is_predefined(&self) -> bool {
        PREDEFINED.contains(&self.name.as_str())
    }

    /// Whether containers on it find each other by name.
    pub fn has_names(&self) -> bool {
        !self.is_predefined()
    }

    /// Name of its bridge. Those of a berth that the environment moved elsewhere begin otherwise than the host's own.
    pub fn bridge(&self, home: &Home) -> String {
        if let Some(name) = self.options.get(option::NAME).filter(|name| !name.is_empty()) {
            return name.clone();
        }
        let prefix = home.bridge_prefix();
        match self.name.as_str() {
            DEFAULT => format!("{prefix}0"),
            _ => {
                let digits = net::route::LINK_NAME_BYTES_MAX - prefix.len() - 1;
                format!("{prefix}-{}", &self.id[..digits.min(self.id.len())])
            }
        }
    }

    /// Longest packet, in bytes.
    pub fn mtu(&self) -> u32 {
        self.options.get(option::MTU).and_then(|text| text.parse().ok()).filter(|mtu| *mtu > 0).unwrap_or(MTU)
    }

    fn flag(&self, name: &str) -> bool {
        self.options.get(name).is_none_or(|text| matches!(text.as_str(), "" | "true" | "1"))
    }

    /// Whether containers on it reach each other.
    pub fn icc(&self) -> bool {
        self.flag(option::ICC)
    }

    /// Whether packets to the outside bear the host's address.
    pub fn masquerades(&self) -> bool {
        self.flag(option::MASQUERADE) && !self.internal
    }

    fn of_record(record: &NetworkRecord) -> Result<Network, Error> {
        serde_json::from_str(&record.config_json)
            .map_err(|error| Error::invalid(format!("network {}", record.name), error.to_string()))
    }

    fn to_record(&self) -> NetworkRecord {
        NetworkRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            created_ns: self.created_ns,
            config_json: serde_json::to_string(self).unwrap_or_default(),
        }
    }
}

/// Directory of this boot of the network `name`.
fn dir(home: &Home, name: &str) -> PathBuf {
    home.run.join("networks").join(name)
}

/// All networks: those that there always are, then users', the oldest first.
fn all(store: Option<&Store>) -> Result<Vec<Network>, Error> {
    let mut networks: Vec<Network> = PREDEFINED.iter().map(|name| Network::predefined(name)).collect();
    for record in store.map(Store::networks).transpose()?.unwrap_or_default() {
        let network = Network::of_record(&record)?;
        match networks.iter_mut().find(|known| known.name == network.name) {
            Some(default) => *default = network,
            None => networks.push(network),
        }
    }
    Ok(networks)
}

/// The network that a user calls `given`: a name, an id, or the beginning of one id.
pub fn find(home: &Home, given: &str) -> Result<Network, Error> {
    let networks = all(images::look_at_store(home)?.as_ref())?;
    let called = networks.iter().find(|network| network.name == given || network.id == given);
    if let Some(found) = called {
        return Ok(found.clone());
    }
    let prefix = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    let matches: Vec<&Network> =
        networks.iter().filter(|network| prefix && network.id.starts_with(given)).collect();
    match matches[..] {
        [] => Err(Error::NoNetwork { given: given.to_owned() }),
        [one] => Ok(one.clone()),
        _ => {
            let ids: Vec<&str> = matches.iter().take(5).map(|network| &network.id[..12]).collect();
            Err(Error::Ambiguous { given: given.to_owned(), matches: ids.join(", ") })
        }
    }
}

fn failed(error: net::bridge::Failed) -> Error {
    Error::System { what: error.doing, object: error.object, errno: error.errno }
}

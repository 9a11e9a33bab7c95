//! A container's part of its networks: addresses, links, published ports.
//!
//! ```text
//! claim    addresses and ports are taken and written into the container's directory   by whoever starts it
//! attach   links and rules are made, while its first process mounts                   by its holder
//! detach   rules, addresses and names go; the links go with its namespace             by whoever sees its end
//! ```

use super::{Network, files, lease, links, names, ports, rules, up};
use crate::cell::Cell;
use crate::request::{EndpointRequest, NetworkMode, RunRequest};
use crate::{Config, Error, Home};
use linux::process::{self, ns};
use linux::{Errno, fault};
use net::ipam;
use net::nft::Firewall;
use net::route::{Inner, Links, Veth};
use net::subnet::Subnet;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use super::ports::PublishedPort;

/// The file in a container's directory.
pub(crate) const FILE: &str = "network.json";

/// The file that is there while addresses are taken for a container whose directory says already what it is: any of them
/// may be its, whatever [`FILE`] says.
pub(super) const CLAIMING: &str = "claiming";

/// Most networks of one container.
const ENDPOINTS_MAX: usize = 64;

/// What a container has of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// One for each network, in the order of its links.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports.
    pub ports: Vec<PublishedPort>,
    /// Ports that lead to another container until this one takes them over.
    #[serde(default)]
    pub waiting: Vec<PublishedPort>,
    /// What it calls other containers of the default network: names, and addresses.
    #[serde(default)]
    pub links: Vec<(Vec<String>, IpAddr)>,
    /// What it calls those of other networks: an alias, and what they are called there.
    #[serde(default)]
    pub aliases: Vec<(String, String)>,
}

/// A container's link to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Id of the network.
    pub network_id: String,
    /// Name of the network.
    pub network: String,
    /// Name of the bridge.
    pub bridge: String,
    /// Name of the link's end on the bridge.
    pub link: String,
    /// Name of its end in the container.
    pub inner: String,
    /// Which of the container's links it is, from 0.
    pub number: u32,
    /// Hardware address of that end.
    pub mac: [u8; 6],
    /// Longest packet, in bytes.
    pub mtu: u32,
    /// Whether other containers on the network reach it.
    pub icc: bool,
    /// Address of IPv4, with the network's prefix.
    pub ipv4: Option<Subnet>,
    /// Address of IPv6, with the network's prefix.
    pub ipv6: Option<Subnet>,
    /// Addresses for this link alone.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// The host's addresses on the network.
    pub gateways: Vec<IpAddr>,
    /// Whether its default routes lead over these.
    pub is_default: bool,
    /// Whether the network has no way out.
    pub internal: bool,
    /// Whether containers on the network find each other by name.
    pub has_names: bool,
    /// What it is called there, beside its name.
    pub aliases: Vec<String>,
}

impl Endpoint {
    /// Its addresses with their prefixes.
    pub fn addresses(&self) -> impl Iterator<Item = Subnet> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    /// The host's address of a family on the network.
    pub fn gateway(&self, v6: bool) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv6() == v6)
    }

    /// Its hardware address as docker writes it.
    pub fn mac_text(&self) -> String {
        ipam::mac_text(self.mac)
    }
}

/// What a container has of networks, and what keeps others from taking its ports.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// What it has.
    pub attached: Attached,
    /// Variables about the containers that it's linked to.
    pub link_environment: Vec<String>,
    /// Bound sockets, to be held for as long as it runs.
    pub sockets: Vec<OwnedFd>,
    /// What to tell the user: why packets of its networks don't pass.
    pub warnings: Vec<String>,
}

/// Takes addresses and ports for the container `name` that is about to start, and writes them into its directory. `exposed`
/// are the ports that its image and its request name, each as `80/tcp`.
pub(crate) fn claim(
    home: &Home,
    cell: &Cell,
    name: &str,
    request: &RunRequest,
    exposed: &BTreeSet<String>,
) -> Result<Reserved, Error> {
    let wanted = request.network.endpoints();
    if wanted.is_empty() {
        let discarded = request.network == NetworkMode::Host && !request.net.publish.is_empty();
        let warnings =
            discarded.then(|| "Published ports are discarded when using host network mode".to_owned());
        return Ok(Reserved { warnings: warnings.into_iter().collect(), ..Reserved::default() });
    }
    refuse_many(&wanted)?;
    let mut reserved = Reserved::default();
    let claimed = claim_into(home, cell, name, request, &wanted, exposed, &mut reserved);
    if let Err(error) = claimed {
        release_leases(home, cell, &reserved.attached);
        return Err(error);
    }
    Ok(reserved)
}

/// Looks whether a container that isn't to start yet could be on its networks ever. What may be otherwise at its start is
/// left to that, as docker has it: a network that isn't there, an address or a port that somebody has.
pub(crate) fn check(home: &Home, request: &RunRequest) -> Result<(), Error> {
    let wanted = request.network.endpoints();
    refuse_many(&wanted)?;
    let mut known = BTreeSet::new();
    for wanted in &wanted {
        let network = match super::find(home, &wanted.network) {
            Err(Error::NoNetwork { .. }) => continue,
            other => other?,
        };
        if !known.insert(network.id.clone()) {
            return Err(Error::invalid("--network", format!("{} is named twice", network.name)));
        }
        link_local(&network, wanted)?;
        // The default network chooses its subnet at its first use.
        for address in [wanted.ipv4, wanted.ipv6].into_iter().flatten().filter(|_| !network.pools.is_empty())
        {
            match network.pools.iter().find(|pool| pool.subnet.is_v6() == address.is_ipv6()) {
                None => return Err(no_subnet(address, &network)),
                Some(pool) => lease::check(&network, pool, address)?,
            }
        }
    }
    if wanted.first().is_some_and(|first| first.network == super::DEFAULT) {
        for (given, _) in &request.net.links {
            crate::find::container(home, given)?;
        }
    }
    Ok(())
}

fn refuse_many(wanted: &[EndpointRequest]) -> Result<(), Error> {
    match wanted.len() > ENDPOINTS_MAX {
        true => Err(Error::invalid("--network", format!("a container can be on {ENDPOINTS_MAX} networks"))),
        false => Ok(()),
    }
}

fn no_subnet(address: IpAddr, network: &Network) -> Error {
    Error::invalid(
        format!("address {address}"),
        format!("no configured subnet contains it: network {} has none of its family", network.name),
    )
}

fn claim_into(
    home: &Home,
    cell: &Cell,
    name: &str,
    request: &RunRequest,
    wanted: &[EndpointRequest],
    exposed: &BTreeSet<String>,
    reserved: &mut Reserved,
) -> Result<(), Error> {
    // Of a container that is started again by its policy: otherwise that its directory doesn't say more tells as much.
    let is_again = cell.path.join("config.json").exists();
    if is_again {
        cell.write(CLAIMING, &())?;
    }
    let mut links = up::open_links()?;
    // They keep the networks from being removed until the addresses are taken.
    let mut networks = Vec::new();
    for wanted in wanted {
        let up = up::ensure(home, &wanted.network, &mut links)?;
        reserved.warnings.extend(up.obstacles.iter().cloned());
        if networks.iter().any(|known: &up::Up| known.network.id == up.network.id) {
            return Err(Error::invalid("--network", format!("{} is named twice", up.network.name)));
        }
        claim_endpoint(home, cell, &up.network, wanted, &mut reserved.attached)?;
        networks.push(up);
    }
    let offers = networks.iter().zip(wanted);
    let default = default_of(
        offers.map(|(up, wanted)| (up.network.internal, wanted.gateway_priority, up.network.name.as_str())),
    );
    let attached = &mut reserved.attached;
    if let Some(index) = default {
        attached.endpoints[index].is_default = true;
    }
    let links = links::find(home, &request.net.links, attached, name)?;
    (attached.links, attached.aliases) = (links.hosts, links.aliases);
    reserved.link_environment = links.environment;
    let attached = &mut reserved.attached;
    let taken = ports::reserve(home, request, exposed, attached, &networks)?;
    (attached.ports, attached.waiting) = (taken.published, taken.waiting);
    reserved.sockets = taken.sockets;
    cell.write(FILE, &reserved.attached)?;
    if is_again {
        let _ = unlinkat(CWD, cell.path.join(CLAIMING), AtFlags::empty());
    }
    if files::has_server(&reserved.attached) {
        names::resolver(home, cell, request, &reserved.attached)?;
    }
    fault::point("endpoints written down");
    Ok(())
}

/// Which of a container's networks gives its default routes, by whether it's internal, its priority, and its name: of equals
/// the first by name, as docker's documentation says.
pub(super) fn default_of<'a>(offers: impl Iterator<Item = (bool, i64, &'a str)>) -> Option<usize> {
    offers
        .enumerate()
        .filter(|(_, (internal, _, _))| !internal)
        .min_by_key(|(_, (_, priority, name))| (std::cmp::Reverse(*priority), *name))
        .map(|(index, _)| index)
}

/// Takes the addresses of one endpoint, and adds it.
pub(super) fn claim_endpoint(
    home: &Home,
    cell: &Cell,
    network: &Network,
    wanted: &EndpointRequest,
    attached: &mut Attached,
) -> Result<(), Error> {
    let number = (0..).find(|number| attached.endpoints.iter().all(|own| own.number != *number));
    let number = number.unwrap_or_default();
    let prefix = network.options.get(super::option::INNER_PREFIX).map_or("eth", String::as_str);
    let inner = wanted
        .options
        .get("com.docker.network.endpoint.ifname")
        .cloned()
        .unwrap_or_else(|| format!("{prefix}{number}"));
    if inner.is_empty() || inner.len() > net::route::LINK_NAME_BYTES_MAX || inner.contains(['/', ' ', ':']) {
        return Err(Error::invalid("interface name", format!("{inner:?} is none that Linux takes")));
    }
    attached.endpoints.push(Endpoint {
        id: crate::names::random_id()?,
        network_id: network.id.clone(),
        network: network.name.clone(),
        bridge: network.bridge(home),
        link: link_name(home, &cell.id, number),
        inner,
        number,
        mac: [0; 6],
        mtu: network.mtu(),
        icc: network.icc(),
        ipv4: None,
        ipv6: None,
        link_local: link_local(network, wanted)?,
        gateways: network.pools.iter().map(|pool| pool.gateway).collect(),
        is_default: false,
        internal: network.internal,
        has_names: network.has_names(),
        aliases: wanted.aliases.clone(),
    });
    let Some(endpoint) = attached.endpoints.last_mut() else { unreachable!() };
    for (v6, address) in [(false, wanted.ipv4), (true, wanted.ipv6)] {
        let pool = network.pools.iter().find(|pool| pool.subnet.is_v6() == v6);
        let claimed = match (pool, address) {
            (None, None) => continue,
            (None, Some(address)) => return Err(no_subnet(address, network)),
            (Some(pool), address) => {
                let address = lease::claim(home, network, pool, &cell.id, address)?;
                Subnet::new(address, pool.subnet.prefix())
            }
        };
        if v6 {
            endpoint.ipv6 = claimed;
        } else {
            endpoint.ipv4 = claimed;
        }
    }
    let first = endpoint.addresses().next().map_or(IpAddr::from([0, 0, 0, 0]), Subnet::address);
    endpoint.mac = wanted.mac.unwrap_or_else(|| ipam::mac_of(first));
    Ok(())
}

/// The addresses of `--link-local-ip`, which are only that.
fn link_local(network: &Network, wanted: &EndpointRequest) -> Result<Vec<IpAddr>, Error> {
    for address in &wanted.link_local {
        let refused = |why: String| Err(Error::invalid(format!("--link-local-ip {address}"), why));
        match address {
            IpAddr::V4(v4) if v4.is_link_local() => {}
            IpAddr::V6(v6) if v6.is_unicast_link_local() && network.ipv6 => {}
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                return refused(format!("network {} has no IPv6", network.name));
            }
            _ => return refused("it's none of 169.254.0.0/16 and fe80::/10".to_owned()),
        }
    }
    Ok(wanted.link_local.clone())
}

/// Name of a link's end on this host.
fn link_name(home: &Home, id: &str, number: u32) -> String {
    let prefix = home.link_prefix();
    let digits = net::route::LINK_NAME_BYTES_MAX - prefix.len() - 2;
    format!("{prefix}{}{number:02x}", &id[..digits.min(id.len())])
}

/// What a container has of networks; `None` if nothing, or not any more.
pub(crate) fn attached(cell: &Cell) -> Option<Attached> {
    serde_json::from_slice(&std::fs::read(cell.path.join(FILE)).ok()?).ok()
}

/// Sockets of a container's name server, in its network namespace: UDP, TCP.
pub(crate) type ServerSockets = [OwnedFd; 2];

/// What is left of making links and rules.
#[derive(Debug, Default)]
pub(crate) struct Attaching {
    /// The sockets of its name server, if it has one.
    pub server: Option<ServerSockets>,
    /// To be dropped when the start has been told: that may wait for the kernel.
    _firewall: Option<Firewall>,
}

/// Makes the links and rules of a container whose first process is `pid`, and waits to be given its root.
pub(crate) fn attach(
    home: &Home,
    config: &Config,
    attached: &Attached,
    pid: i32,
) -> Result<Attaching, Error> {
    if attached.endpoints.is_empty() {
        return Ok(Attaching::default());
    }
    let inside = netns(pid)?;
    let mut links = up::open_links()?;
    let mut inner = within(&inside, Links::open)?
        .map_err(|errno| Error::system("open", "a netlink socket in the container", errno))?;
    let mut firewall = rules::open(home)?;
    let alone = rules::lock_shared(home)?;
    for endpoint in &attached.endpoints {
        rules::add_endpoint(&mut firewall, endpoint)?;
        fault::point("endpoint allowed");
        join(home, endpoint, inside.as_fd(), &mut links, &mut inner)?;
        fault::point("link made");
        if endpoint.has_names {
            names::add(home, endpoint, &config.id, &config.name)?;
            fault::point("names written");
        }
    }
    rules::publish(&mut firewall, &attached.ports)?;
    drop(alone);
    fault::point("ports published");
    let server = files::has_server(attached).then(|| open_server(&inside)).transpose()?;
    Ok(Attaching { server, _firewall: Some(firewall) })
}

/// Opens the sockets of a name server in a network namespace whose loopback is up, and leads queries there.
fn open_server(inside: &OwnedFd) -> Result<ServerSockets, Error> {
    let open = || {
        let (udp, tcp, port) = net::dns::bind_in_current_namespace()
            .map_err(|errno| Error::system("open", "the container's name server", errno))?;
        rules::lead_to_server(port)?;
        Ok([udp, tcp])
    };
    within(inside, open)?
}

/// The same for a running container, those that it had being lost with who held them; `None` if it has no server.
pub(crate) fn reopen_server(cell: &Cell, pid: i32) -> Option<ServerSockets> {
    let attached = attached(cell)?;
    files::has_server(&attached).then(|| open_server(&netns(pid).ok()?).ok()).flatten()
}

/// Makes one link.
pub(super) fn join(
    home: &Home,
    endpoint: &Endpoint,
    inside: BorrowedFd<'_>,
    links: &mut Links,
    inner: &mut Links,
) -> Result<(), Error> {
    let failed =
        |errno| Error::system("put the container on", format!("network {}", endpoint.network), errno);
    let bridge = match links.link(&endpoint.bridge).map_err(failed)? {
        Some(link) => link.index,
        // Somebody has just taken it away.
        None => up::ensure(home, &endpoint.network, links)?.bridge,
    };
    let veth = Veth {
        name: &endpoint.link,
        bridge,
        netns: inside,
        inner_name: &endpoint.inner,
        mac: endpoint.mac,
        mtu: endpoint.mtu,
        isolated: !endpoint.icc,
    };
    let mut made = links.add_veth(&veth);
    if made == Err(Errno::EXIST) {
        // Of a start that was cut short: its namespace is about to go.
        if let Some(old) = links.link(&endpoint.link).map_err(failed)? {
            links.remove(old.index).map_err(failed)?;
        }
        made = links.add_veth(&veth);
    }
    made.map_err(|errno| match errno {
        Errno::XFULL => Error::Refused {
            what: format!("put the container on network {}", endpoint.network),
            why: "its bridge has 1,023 containers, and takes no more".to_owned(),
            hint: "make another network for further containers: berth network create".to_owned(),
        },
        errno => failed(errno),
    })?;
    let gateways = match endpoint.is_default {
        true => endpoint.gateways.clone(),
        false => Vec::new(),
    };
    // As long as docker has their prefixes.
    let own = |address: &IpAddr| Subnet::new(*address, if address.is_ipv6() { 64 } else { 16 });
    let addresses = endpoint.addresses().chain(endpoint.link_local.iter().filter_map(own)).collect();
    let index = inner.link(&endpoint.inner).map_err(failed)?.ok_or_else(|| failed(Errno::NODEV))?.index;
    inner.configure(&Inner { index, addresses, gateways }).map_err(failed)?;
    // Both ends carry from now on. Source: rtnl_getlink() in net/core/rtnetlink.c, which runs what else is left to the
    // kernel's work queue, for some milliseconds or more, while packets are lost.
    links.link(&endpoint.link).map_err(failed)?;
    inner.link(&endpoint.inner).map(drop).map_err(failed)
}

/// The network namespace of a process.
pub(super) fn netns(pid: i32) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/ns/net");
    openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open", &path, errno))
}

/// Does something in another network namespace, by this process, which has one thread.
pub(super) fn within<T>(inside: &OwnedFd, work: impl FnOnce() -> T) -> Result<T, Error> {
    let failed = |errno| Error::system("enter", "the container's network namespace", errno);
    let own = openat(CWD, "/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open", "/proc/self/ns/net", errno))?;
    process::setns(inside.as_fd(), ns::NET).map_err(failed)?;
    let done = work();
    process::setns(own.as_fd(), ns::NET).map_err(failed)?;
    Ok(done)
}

/// Gives back all that a container has of networks, but its links, which go with its namespace. What is gone is no error.
pub(crate) fn detach(home: &Home, cell: &Cell) {
    // Who puts it on another network just now sees afterwards that it has ended. If the directory is gone, nobody does.
    let _nobody_connects_it = cell.lock_groups(true);
    let claiming = cell.path.join(CLAIMING);
    if claiming.exists() {
        lease::release_all(home, &cell.id);
    }
    match attached(cell) {
        Some(attached) => {
            let _alone = rules::lock_shared(home);
            rules::remove(home, &attached.endpoints, &attached.ports);
            attached.endpoints.iter().filter(|endpoint| endpoint.has_names).for_each(|endpoint| {
                names::remove(home, endpoint);
            });
            release_leases(home, cell, &attached);
            let _ = unlinkat(CWD, cell.path.join(FILE), AtFlags::empty());
        }
        // Somebody was killed between taking addresses and writing them down.
        None if cell.config().is_none() && up::any(home) => lease::release_all(home, &cell.id),
        None => {}
    }
    let _ = unlinkat(CWD, claiming, AtFlags::empty());
}

fn release_leases(home: &Home, cell: &Cell, attached: &Attached) {
    for endpoint in &attached.endpoints {
        for address in endpoint.addresses() {
            lease::release(home, &endpoint.network, address.address(), &cell.id);
        }
    }
}

/// All containers' parts, by the containers' ids.
pub(super) fn all(home: &Home) -> BTreeMap<String, Attached> {
    Cell::all(home).into_iter().filter_map(|cell| Some((cell.id.clone(), attached(&cell)?))).collect()
}

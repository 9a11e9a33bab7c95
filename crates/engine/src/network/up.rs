//! The kernel's part of a network: its bridge, and the rules about it. Made when the first container needs it.

use super::{DEFAULT, MTU, Network, Pool, all, dir, failed, option};
use crate::claims::make_private_dir;
use crate::{Error, Home, images};
use linux::{Errno, fault};
use net::bridge::{self, Bridge};
use net::ipam;
use net::route::Links;
use net::subnet::Subnet;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// The file that says which network has the directory.
const FILE: &str = "network.json";

/// The same while the network is being taken down: nobody is to repair it then.
const GOING: &str = "going.json";

/// A network that the kernel has, and stays so while this lives.
#[derive(Debug)]
pub(super) struct Up {
    /// The network.
    pub network: Network,
    /// Number of its bridge.
    pub bridge: u32,
    /// What keeps its packets from passing elsewhere, if it was brought up just now.
    pub obstacles: Vec<String>,
    _lock: OwnedFd,
}

/// A socket for links, in this process's network namespace.
pub(super) fn open_links() -> Result<Links, Error> {
    Links::open().map_err(|errno| Error::system("open", "a netlink socket", errno))
}

/// Makes sure that the kernel has the network that a user calls `given`.
pub(super) fn ensure(home: &Home, given: &str, links: &mut Links) -> Result<Up, Error> {
    // Nearly always it's there, under its name, and the store needn't be asked.
    if let Some(up) = find(home, given, links)? {
        return Ok(up);
    }
    let network = match given {
        DEFAULT => default(home, links)?,
        other => super::find(home, other)?,
    };
    loop {
        let obstacles = make(home, &network, links)?;
        // Unless somebody has just removed it.
        if let Some(up) = find(home, &network.name, links)? {
            return Ok(Up { obstacles, ..up });
        }
        super::find(home, &network.id)?;
    }
}

/// The network `name` if the kernel has it.
fn find(home: &Home, name: &str, links: &mut Links) -> Result<Option<Up>, Error> {
    let Some(lock) = lock(home, name, FlockOperation::LockShared)? else { return Ok(None) };
    let Some(network) = read(home, name) else { return Ok(None) };
    let link = network.bridge(home);
    let found = bridge::find(links, &link, &note(&network));
    let found = found.map_err(|errno| Error::system("look for the bridge", &link, errno))?;
    Ok(found.map(|bridge| Up { network, bridge, obstacles: Vec::new(), _lock: lock }))
}

/// What is noted on a network's bridge.
pub(super) fn note(network: &Network) -> String {
    format!("berth network {} {}", network.name, &network.id[..12])
}

/// The network that has the directory of this boot.
pub(super) fn read(home: &Home, name: &str) -> Option<Network> {
    read_file(home, name, FILE)
}

fn read_file(home: &Home, name: &str, file: &str) -> Option<Network> {
    serde_json::from_slice(&std::fs::read(dir(home, name).join(file)).ok()?).ok()
}

/// Locks a network's directory; `None` if it isn't there.
fn lock(home: &Home, name: &str, operation: FlockOperation) -> Result<Option<OwnedFd>, Error> {
    let path = dir(home, name);
    let failed = |errno| Error::system("lock", path.display(), errno);
    if !types::id::is_network_name(name) {
        return Ok(None);
    }
    loop {
        let fd = match openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(failed)?,
        };
        rustix::io::retry_on_intr(|| flock(&fd, operation)).map_err(failed)?;
        // Whoever had it may have removed it.
        if rustix::fs::fstat(&fd).map_err(failed)?.st_nlink > 0 {
            return Ok(Some(fd));
        }
    }
}

/// Makes it; what keeps its packets from passing elsewhere.
fn make(home: &Home, network: &Network, links: &mut Links) -> Result<Vec<String>, Error> {
    let path = dir(home, &network.name);
    let lock = loop {
        make_private_dir(&path.join("leases"))?;
        if let Some(lock) = lock(home, &network.name, FlockOperation::LockExclusive)? {
            break lock;
        }
    };
    // Of a removal that was cut short.
    let going = read_file(home, &network.name, GOING);
    if let Some(old) = read(home, &network.name).filter(|old| old.id != network.id).or(going) {
        unmake(home, &old, links)?;
        let _ = std::fs::remove_file(path.join(GOING));
    }
    let _ = make_private_dir(&path.join("leases"));
    let new = path.join(".new");
    std::fs::write(&new, serde_json::to_vec(network).unwrap_or_default())
        .map_err(|error| Error::io("write", new.display(), &error))?;
    rustix::fs::renameat(CWD, &new, CWD, path.join(FILE))
        .map_err(|errno| Error::system("write", path.join(FILE).display(), errno))?;
    fault::point("network written down");
    super::names::begin(home, network)?;
    let obstacles = super::rules::add_network(home, network)?;
    fault::point("network's rules made");
    let bridge = Bridge {
        name: network.bridge(home),
        addresses: addresses(network),
        mtu: network.mtu(),
        note: note(network),
        forwards: !network.internal,
    };
    let index = bridge::bring_up(links, &bridge).map_err(failed)?;
    fault::point("bridge made");
    join_again(home, network, index, links);
    drop(lock);
    Ok(obstacles)
}

/// Puts the links of containers on the bridge that were on the one that somebody took away.
fn join_again(home: &Home, network: &Network, bridge: u32, links: &mut Links) {
    for attached in super::endpoint::all(home).into_values() {
        for endpoint in attached.endpoints.iter().filter(|endpoint| endpoint.network_id == network.id) {
            if let Ok(Some(link)) = links.link(&endpoint.link)
                && link.master != Some(bridge)
            {
                // One that can't be joined is of a container that is just ending.
                let _ = links.set_port(&endpoint.link, bridge, !endpoint.icc);
            }
        }
    }
}

/// Makes everything anew that the kernel should have of networks; which networks those are.
pub fn repair(home: &Home) -> Result<Vec<String>, Error> {
    let mut links = open_links()?;
    let networks = networks(home);
    for network in &networks {
        make(home, network, &mut links)?;
    }
    if !networks.is_empty() {
        super::rules::repair(home, true)?;
    }
    Ok(networks.into_iter().map(|network| network.name).collect())
}

/// Takes a network out of the kernel, unless a container is on it: their ids then.
pub(super) fn take_down(home: &Home, network: &Network, links: &mut Links) -> Result<Vec<String>, Error> {
    let path = dir(home, &network.name);
    let Some(_lock) = lock(home, &network.name, FlockOperation::LockExclusive)? else {
        return Ok(Vec::new());
    };
    super::lease::sweep(home, &network.name);
    let mut users: Vec<String> = super::lease::all(home, &network.name).into_values().collect();
    users.dedup();
    if !users.is_empty() {
        return Ok(users);
    }
    // The file says so until all of it is gone: who is killed before is followed by who finds it.
    let _ = rustix::fs::renameat(CWD, path.join(FILE), CWD, path.join(GOING));
    fault::point("network going");
    let here = read_file(home, &network.name, GOING).unwrap_or_else(|| network.clone());
    unmake(home, &here, links)?;
    let _ = std::fs::remove_dir_all(path.join("leases"));
    let _ = std::fs::remove_file(path.join(GOING));
    fault::point("network's file removed");
    let _ = std::fs::remove_dir_all(&path);
    Ok(Vec::new())
}

/// The host's addresses on a network's bridge.
pub(super) fn addresses(network: &Network) -> Vec<Subnet> {
    let address = |pool: &super::Pool| Subnet::new(pool.gateway, pool.subnet.prefix());
    network.pools.iter().filter_map(address).collect()
}

fn unmake(home: &Home, network: &Network, links: &mut Links) -> Result<(), Error> {
    bridge::take_down(links, &network.bridge(home), &addresses(network)).map_err(failed)?;
    fault::point("bridge removed");
    super::rules::remove_network(home, network)
}

/// Chooses the default network's subnet, if that isn't done yet.
pub(super) fn settle_default(home: &Home) -> Result<Network, Error> {
    let mut links = open_links()?;
    default(home, &mut links)
}

/// The default network, whose subnet is chosen at its first use and stays.
fn default(home: &Home, links: &mut Links) -> Result<Network, Error> {
    let store = images::open_store(home)?;
    if let Some(record) = store.network_named(DEFAULT)? {
        return Network::of_record(&record);
    }
    let host = subnets_of_host(links)?;
    let made = store.insert_network(store::Durability::Synced, |known| {
        let mut taken = host.clone();
        for record in known {
            taken.extend(Network::of_record(record)?.pools.iter().map(|pool| pool.subnet));
        }
        let pool = pool_of(free_subnet(&taken)?)?;
        let options = BTreeMap::from([
            (option::DEFAULT_BRIDGE.to_owned(), "true".to_owned()),
            (option::ICC.to_owned(), "true".to_owned()),
            (option::MASQUERADE.to_owned(), "true".to_owned()),
            (option::HOST_BINDING.to_owned(), "0.0.0.0".to_owned()),
            (option::NAME.to_owned(), Network::predefined(DEFAULT).bridge(home)),
            (option::MTU.to_owned(), MTU.to_string()),
        ]);
        let created_ns = crate::cell::now_ns();
        let network = Network { pools: vec![pool], options, created_ns, ..Network::predefined(DEFAULT) };
        Ok::<_, Error>(network.to_record())
    });
    match made {
        Ok(record) => Network::of_record(&record?),
        // By another process, just now.
        Err(store::Error::NetworkExists { .. }) => match store.network_named(DEFAULT)? {
            Some(record) => Network::of_record(&record),
            None => Err(Error::NoNetwork { given: DEFAULT.to_owned() }),
        },
        Err(error) => Err(error.into()),
    }
}

/// A subnet for a network that asks for none.
pub(super) fn free_subnet(taken: &[Subnet]) -> Result<Subnet, Error> {
    ipam::free_subnet(taken).ok_or_else(|| Error::Refused {
        what: "choose a subnet".to_owned(),
        why: "all predefined address pools have been fully subnetted".to_owned(),
        hint: "remove networks that nothing uses: berth network prune; or give a --subnet".to_owned(),
    })
}

/// A subnet as a pool with nothing else said.
pub(super) fn pool_of(subnet: Subnet) -> Result<Pool, Error> {
    let gateway = ipam::gateway(subnet, None, &Default::default())
        .ok_or_else(|| Error::invalid(format!("subnet {subnet}"), "it's too small"))?;
    Ok(Pool { subnet, range: None, gateway, reserved: BTreeMap::new() })
}

/// Subnets that the host's own addresses and routes are in: a network in one of them would hide it.
pub(super) fn subnets_of_host(links: &mut Links) -> Result<Vec<Subnet>, Error> {
    let failed = |errno| Error::system("list", "the host's addresses and routes", errno);
    let mut subnets: Vec<Subnet> =
        links.addresses().map_err(failed)?.into_iter().map(Subnet::network).collect();
    let routes = links.routes().map_err(failed)?;
    subnets.extend(routes.into_iter().map(|route| route.to).filter(|subnet| subnet.prefix() > 0));
    Ok(subnets)
}

/// All subnets that a new network must not overlap; also the one that the default network is going to choose.
pub(super) fn subnets_taken(known: &[store::NetworkRecord], host: &[Subnet]) -> Result<Vec<Subnet>, Error> {
    let mut taken = host.to_vec();
    if known.iter().all(|record| record.name != DEFAULT) {
        taken.push(free_subnet(host)?);
    }
    for record in known {
        taken.extend(Network::of_record(record)?.pools.iter().map(|pool| pool.subnet));
    }
    Ok(taken)
}

/// The networks that the kernel has, or is about to get.
pub(super) fn networks(home: &Home) -> Vec<Network> {
    let Ok(entries) = std::fs::read_dir(home.run.join("networks")) else { return Vec::new() };
    let mut networks: Vec<Network> =
        entries.flatten().filter_map(|entry| read(home, entry.file_name().to_str()?)).collect();
    networks.sort_by(|one, other| one.id.cmp(&other.id));
    networks
}

/// Whether anything of any network is in the kernel; makes nothing.
pub(super) fn any(home: &Home) -> bool {
    std::fs::read_dir(home.run.join("networks")).is_ok_and(|mut entries| entries.next().is_some())
}

/// All networks of the store.
pub(super) fn known(home: &Home) -> Result<Vec<Network>, Error> {
    all(images::look_at_store(home)?.as_ref())
}

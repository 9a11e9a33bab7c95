//! Who is called what: the files that containers' name servers read, rewritten by rename at each change.

use super::endpoint::{Attached, Endpoint};
use super::{Network, dir, files};
use crate::cell::Cell;
use crate::request::RunRequest;
use crate::{Error, Home};
use linux::Errno;
use net::dns::{Kind, Name, NetworkFile, Resolver};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, renameat};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A network's file.
const NAMES: &str = "names";

/// The file in a container's directory that says where its names are.
pub(crate) const FILE: &str = "dns";

/// Port of name servers.
const PORT: u16 = 53;

/// The file of a network.
pub(super) fn path(home: &Home, network: &str) -> PathBuf {
    dir(home, network).join(NAMES)
}

/// Makes sure that a network has a file: without one nothing is known to be no name of its own.
pub(super) fn begin(home: &Home, network: &Network) -> Result<(), Error> {
    change(home, &network.name, |names| {
        names.name = network.name.clone();
        names.subnets = network.pools.iter().map(|pool| pool.subnet).collect();
    })
}

/// Gives the container `id` its names on a network.
pub(super) fn add(home: &Home, endpoint: &Endpoint, id: &str, name: &str) -> Result<(), Error> {
    let addresses: Vec<IpAddr> = endpoint.addresses().map(|address| address.address()).collect();
    let named = |name: &str, kind| Name { name: name.to_owned(), addresses: addresses.clone(), kind };
    change(home, &endpoint.network, |names| {
        names.names.retain(|known| known.addresses != addresses);
        names.names.push(named(name, Kind::Name));
        names.names.push(named(&id[..12.min(id.len())], Kind::Id));
        names.names.extend(endpoint.aliases.iter().map(|alias| named(alias, Kind::Alias)));
    })
}

/// Gives a running container its names on its networks anew, for it's called otherwise now.
pub(crate) fn rename(home: &Home, cell: &Cell, config: &crate::Config) {
    let Some(attached) = super::attached(cell) else { return };
    for endpoint in attached.endpoints.iter().filter(|endpoint| endpoint.has_names) {
        // One that can't be written keeps the old name, which is nobody else's while this container has it.
        let _ = add(home, endpoint, &config.id, &config.name);
    }
}

/// Takes a container's names on a network away.
pub(super) fn remove(home: &Home, endpoint: &Endpoint) {
    let addresses: Vec<IpAddr> = endpoint.addresses().map(|address| address.address()).collect();
    if !path(home, &endpoint.network).exists() {
        return;
    }
    let _ = change(home, &endpoint.network, |names| names.names.retain(|known| known.addresses != addresses));
}

fn change(home: &Home, network: &str, change: impl FnOnce(&mut net::dns::Network)) -> Result<(), Error> {
    let dir = dir(home, network);
    let _lock = lock(&dir)?;
    let path = dir.join(NAMES);
    let known = std::fs::read_to_string(&path).ok().and_then(|text| net::dns::Network::parse(&text).ok());
    let mut names = known.clone().unwrap_or_default();
    change(&mut names);
    if known.is_none_or(|known| known != names) {
        write(&path, &names.to_text())?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<OwnedFd, Error> {
    let path = dir.join("names.lock");
    let failed = |errno| Error::system("lock", path.display(), errno);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let lock = openat(CWD, &path, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
    rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive)).map_err(failed)?;
    Ok(lock)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    std::fs::write(&new, text).map_err(|error| Error::io("write", new.display(), &error))?;
    renameat(CWD, &new, CWD, path).map_err(|errno: Errno| Error::system("write", path.display(), errno))
}

/// Writes down for a container's name server where it finds names, and whom it asks for others.
pub(super) fn resolver(
    home: &Home,
    cell: &Cell,
    request: &RunRequest,
    attached: &Attached,
) -> Result<(), Error> {
    let mut endpoints: Vec<&Endpoint> = attached.endpoints.iter().collect();
    endpoints.sort_by_key(|endpoint| !endpoint.is_default);
    let networks = endpoints
        .iter()
        .filter(|endpoint| endpoint.has_names)
        .map(|endpoint| NetworkFile { path: path(home, &endpoint.network), internal: endpoint.internal })
        .collect();
    // None are the host's of the moment.
    let upstreams = request.net.dns.iter().map(|server| SocketAddr::new(*server, PORT)).collect();
    let mut hosts: Vec<(String, Vec<IpAddr>)> =
        files::gateway(attached).map(|gateway| (files::HOST.to_owned(), vec![gateway])).into_iter().collect();
    for (names, address) in &attached.links {
        hosts.extend(names.first().map(|alias| (alias.clone(), vec![*address])));
    }
    let forward = endpoints.iter().any(|endpoint| !endpoint.internal);
    let links = attached.aliases.clone();
    let resolver = Resolver { forward, upstreams, networks, hosts, links };
    write(&cell.path.join(FILE), &resolver.to_text())
}

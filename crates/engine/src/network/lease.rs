//! Addresses: a symbolic link that only one can make is the claim, as with names and ranges of user ids.

use super::endpoint::Attached;
use super::{Network, Pool};
use crate::{Error, Home};
use linux::{Errno, fault};
use net::ipam;
use rustix::fs::{AtFlags, CWD, symlinkat, unlinkat};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Tries to take an address that others take at the same time.
const TRIES_MAX: usize = 2000;

/// Where the claims of a network are.
pub(super) fn dir(home: &Home, network: &str) -> PathBuf {
    super::dir(home, network).join("leases")
}

/// Who has which address of a network: containers' ids.
pub(super) fn all(home: &Home, network: &str) -> BTreeMap<IpAddr, String> {
    let dir = dir(home, network);
    let Ok(entries) = std::fs::read_dir(&dir) else { return BTreeMap::new() };
    let lease = |entry: std::fs::DirEntry| {
        let address = entry.file_name().to_str()?.parse().ok()?;
        Some((address, std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
    };
    entries.flatten().filter_map(lease).collect()
}

/// Addresses that are taken, by whomever.
fn taken(home: &Home, network: &str) -> BTreeSet<IpAddr> {
    let Ok(entries) = std::fs::read_dir(dir(home, network)) else { return BTreeSet::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Takes an address of a pool for container `id`: the one `wanted`, or the lowest that is free.
pub(super) fn claim(
    home: &Home,
    network: &Network,
    pool: &Pool,
    id: &str,
    wanted: Option<IpAddr>,
) -> Result<IpAddr, Error> {
    let dir = dir(home, &network.name);
    let own: BTreeSet<IpAddr> = pool.reserved.values().copied().chain([pool.gateway]).collect();
    if let Some(address) = wanted {
        let refused = |why: &str| Err(Error::invalid(format!("address {address}"), why));
        check(network, pool, address)?;
        if own.contains(&address) {
            return refused(&format!("it's the gateway's, or reserved, on network {}", network.name));
        }
        if !take(&dir, address, id)? {
            sweep(home, &network.name);
            if !take(&dir, address, id)? {
                let by = holder(home, &dir, address);
                return refused(&format!(
                    "Address already in use on network {}, by container {by}",
                    network.name
                ));
            }
        }
        return Ok(address);
    }
    let mut swept = false;
    let mut all = taken(home, &network.name);
    all.extend(&own);
    for _ in 0..TRIES_MAX {
        match ipam::free_address(pool.subnet, pool.range, &all) {
            Some(address) if take(&dir, address, id)? => return Ok(address),
            Some(address) => {
                all.insert(address);
            }
            None if swept => break,
            None => {
                swept = true;
                sweep(home, &network.name);
                all = taken(home, &network.name);
                all.extend(&own);
            }
        }
    }
    Err(Error::Refused {
        what: format!("put a container on network {}", network.name),
        why: format!("no available addresses: all of {} are taken", pool.range.unwrap_or(pool.subnet)),
        hint: "end some of its containers, or make a network with a larger --subnet".to_owned(),
    })
}

/// Whether a container could have an address of a pool.
pub(super) fn check(network: &Network, pool: &Pool, address: IpAddr) -> Result<(), Error> {
    match ipam::is_usable(pool.subnet, address) {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("address {address}"),
            format!("it's none that a container can have on network {}", network.name),
        )),
    }
}

fn holder(home: &Home, dir: &Path, address: IpAddr) -> String {
    let id = std::fs::read_link(dir.join(address.to_string())).unwrap_or_default();
    let id = id.to_string_lossy().into_owned();
    let name = crate::cell::Cell::of(home, &id).config().map(|config| config.name);
    name.unwrap_or_else(|| id.chars().take(12).collect())
}

/// Whether the address was free.
fn take(dir: &Path, address: IpAddr, id: &str) -> Result<bool, Error> {
    let link = dir.join(address.to_string());
    match symlinkat(id, CWD, &link) {
        Ok(()) => {
            fault::point("address claimed");
            Ok(true)
        }
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::system("claim the address", link.display(), errno)),
    }
}

/// Gives an address back, if `id` has it.
pub(super) fn release(home: &Home, network: &str, address: IpAddr, id: &str) {
    let link = dir(home, network).join(address.to_string());
    if std::fs::read_link(&link).is_ok_and(|target| target.as_os_str() == id) {
        let _ = unlinkat(CWD, &link, AtFlags::empty());
    }
}

/// Gives back all addresses of container `id`, of which it isn't known which ones there are.
pub(super) fn release_all(home: &Home, id: &str) {
    release_others(home, id, &Attached::default());
}

/// Gives back all addresses of container `id` but those that it has.
pub(super) fn release_others(home: &Home, id: &str, attached: &Attached) {
    let has = |network: &str, address: IpAddr| {
        let own = attached.endpoints.iter().filter(|own| own.network == network);
        own.flat_map(|own| own.addresses()).any(|own| own.address() == address)
    };
    let Ok(networks) = std::fs::read_dir(home.run.join("networks")) else { return };
    for network in networks.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        for (address, holder) in all(home, &network) {
            if holder == id && !has(&network, address) {
                release(home, &network, address, id);
            }
        }
    }
}

/// Gives back the addresses of containers that have no directory of this boot any more.
pub(super) fn sweep(home: &Home, network: &str) {
    for (address, id) in all(home, network) {
        if !home.run_dir(&id).exists() {
            release(home, network, address, &id);
        }
    }
}

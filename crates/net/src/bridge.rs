//! A network's bridge: made, brought up, taken down. One that bears its note is whole: that is made last.

use crate::route::Links;
use crate::subnet::Subnet;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Bits of a packet's mark by which berth's table says that it has seen it. Source: net-store-facts.md, 1.
pub const SEEN_MARK: u32 = 0x00b0_0000;

/// Priority of the rules that refuse what the table hasn't seen.
const CLOSED_PRIORITY: u32 = 90;

/// First number of the routing tables for answers to the host's `::1`: one for each bridge, by its link's number.
const LOOPBACK_TABLES: u32 = 0xb0_0000;

/// The host's link-local address on each bridge with IPv6, as docker has it.
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// A bridge as it's wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Name of the link.
    pub name: String,
    /// The host's addresses on it, with their prefixes.
    pub addresses: Vec<Subnet>,
    /// Longest packet, in bytes.
    pub mtu: u32,
    /// Says whose it is, and that it's whole: shown by `ip link`.
    pub note: String,
    /// Whether packets pass between it and other links: not for an internal network.
    pub forwards: bool,
}

/// What couldn't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} {object}: {errno}")]
pub struct Failed {
    /// What was attempted.
    pub doing: &'static str,
    /// On which object.
    pub object: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Failed {
    fn on(doing: &'static str, object: impl ToString) -> impl FnOnce(Errno) -> Failed {
        let object = object.to_string();
        move |errno| Failed { doing, object, errno }
    }
}

/// The number of a bridge that is up and bears the note; `None` if it isn't there or isn't whole.
pub fn find(links: &mut Links, name: &str, note: &str) -> Result<Option<u32>, Errno> {
    let link = links.link(name)?;
    Ok(link.filter(|link| link.up && link.alias.as_deref() == Some(note)).map(|link| link.index))
}

/// Which of the routing rules aren't there by which nothing is forwarded from or to a bridge once the caller's table is gone:
/// whence, or where to.
pub fn missing_rules(links: &mut Links, name: &str, addresses: &[Subnet]) -> Result<Vec<String>, Errno> {
    let mut found = links.closed_rules()?;
    found.retain(|rule| rule.mask == SEEN_MARK && rule.priority == CLOSED_PRIORITY);
    let from = |v6| found.iter().any(|rule| rule.is_v6 == v6 && rule.from.as_deref() == Some(name));
    let to = |subnet: Subnet| found.iter().any(|rule| rule.to == Some(subnet));
    let families = [false, true].into_iter().filter(|v6| !*v6 || sysctl("ipv6").exists());
    let missing_from = families
        .filter(|v6| !from(*v6))
        .map(|v6| format!("{} from {name}", if v6 { "IPv6" } else { "IPv4" }));
    let subnets = addresses.iter().map(|address| address.network());
    Ok(missing_from.chain(subnets.filter(|s| !to(*s)).map(|s| format!("to {s}"))).collect())
}

/// Makes a bridge, or finishes one that was begun; its number.
///
/// Errors: EEXIST for a link of that name that is none of ours.
pub fn bring_up(links: &mut Links, bridge: &Bridge) -> Result<u32, Failed> {
    let name = &bridge.name;
    let mac = mac(bridge);
    match links.add_bridge(name, mac, bridge.mtu) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Failed::on("make the bridge", name)(errno)),
    }
    let link = links.link(name).map_err(Failed::on("find the bridge", name))?;
    let link = match link {
        Some(link) if link.kind.as_deref() == Some("bridge") => link,
        Some(_) => return Err(Failed::on("make the bridge", name)(Errno::EXIST)),
        None => return Err(Failed::on("find the bridge", name)(Errno::NODEV)),
    };
    let v6 = bridge.addresses.iter().any(|address| address.is_v6());
    // Before the first address, and before it's up: nobody's advertisements are heard.
    for (file, value) in [
        ("accept_ra", "0"),
        ("disable_ipv6", if v6 { "0" } else { "1" }),
        ("forwarding", if v6 { "1" } else { "0" }),
    ] {
        // Not where the kernel has no IPv6.
        let path = sysctl(&format!("ipv6/conf/{name}/{file}"));
        if path.exists() {
            set(&path, value)?;
        }
    }
    // Without it the kernel asks for no neighbour on behalf of others, and forwards nothing to containers that it hasn't
    // heard of. Source: net/ipv6/ndisc.c, ndisc_send_ns.
    let local = v6.then(|| Subnet::new(LINK_LOCAL, 64)).flatten();
    for address in bridge.addresses.iter().chain(&local) {
        match links.add_address(link.index, *address) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Failed::on("give the bridge the address", address)(errno)),
        }
    }
    let there = |result: Result<(), Errno>| match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    };
    there(links.add_closed_rule(name, SEEN_MARK, CLOSED_PRIORITY))
        .map_err(Failed::on("add a routing rule for", name))?;
    for address in &bridge.addresses {
        there(links.add_closed_subnet(address.network(), SEEN_MARK, CLOSED_PRIORITY))
            .map_err(Failed::on("add a routing rule for", address))?;
    }
    // Published ports are reached over the host's loopback addresses as well: net-store-facts.md, 1. The caller's table
    // drops what others send there.
    set(&sysctl(&format!("ipv4/conf/{name}/route_localnet")), "1")?;
    links.up(link.index).map_err(Failed::on("bring up", name))?;
    if v6 {
        there(links.add_loopback_answers(name, link.index, LOOPBACK_TABLES + link.index))
            .map_err(Failed::on("add a routing rule for", name))?;
    }
    if bridge.forwards {
        forward(v6)?;
    }
    links.note(link.index, &bridge.note).map_err(Failed::on("write a note on", name))?;
    Ok(link.index)
}

/// Takes a bridge down, if it's there. `addresses` are those that it was made with.
pub fn take_down(links: &mut Links, name: &str, addresses: &[Subnet]) -> Result<(), Failed> {
    let gone = |result: Result<(), Errno>| match result {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        other => other,
    };
    gone(links.remove_closed_rule(name, SEEN_MARK, CLOSED_PRIORITY))
        .map_err(Failed::on("remove the routing rule for", name))?;
    for address in addresses {
        gone(links.remove_closed_subnet(address.network(), SEEN_MARK, CLOSED_PRIORITY))
            .map_err(Failed::on("remove the routing rule for", address))?;
    }
    let Some(link) = links.link(name).map_err(Failed::on("find", name))? else { return Ok(()) };
    gone(links.remove_loopback_answers(name, LOOPBACK_TABLES + link.index))
        .map_err(Failed::on("remove the routing rule for", name))?;
    gone(links.remove(link.index)).map_err(Failed::on("remove the bridge", name))
}

/// Lets the host forward. What it was before is kept in no place: others may rely on it by the time we go.
fn forward(v6: bool) -> Result<(), Failed> {
    let v4 = sysctl("ipv4/ip_forward");
    if std::fs::read_to_string(&v4).is_ok_and(|text| text.trim_end() != "1") {
        set(&v4, "1")?;
    }
    let all = sysctl("ipv6/conf/all/forwarding");
    if v6 && std::fs::read_to_string(&all).is_ok_and(|text| text.trim_end() != "1") {
        set(&all, "1")?;
    }
    Ok(())
}

fn sysctl(below: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(below)
}

fn set(path: &Path, value: &str) -> Result<(), Failed> {
    std::fs::write(path, value).map_err(|error| Failed {
        doing: "set",
        object: format!("{} to {value}", path.display()),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

/// A bridge's own hardware address, of its first address: else it'd change with its ports.
fn mac(bridge: &Bridge) -> [u8; 6] {
    let address = bridge.addresses.first().map_or(IpAddr::from([0, 0, 0, 0]), |subnet| subnet.address());
    crate::ipam::mac_of(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use testkit::{Cmd, netns};

    #[test]
    fn a_bridge_is_made_once_finished_if_begun_and_taken_down_whole() {
        netns::own();
        let mut links = Links::open().unwrap();
        let rules = || ["-4", "-6"].map(|family| Cmd::new("/usr/sbin/ip", [family, "rule"]).text());
        let before = (links.addresses().unwrap(), links.routes().unwrap(), rules());
        let addresses = vec!["10.9.0.1/24".parse().unwrap(), "fd00:9::1/64".parse().unwrap()];
        let bridge = Bridge {
            name: "berth0".into(),
            addresses,
            mtu: 1500,
            note: "berth: bridge".into(),
            forwards: true,
        };
        assert_eq!(find(&mut links, "berth0", "berth: bridge"), Ok(None));
        let index = bring_up(&mut links, &bridge).unwrap();
        assert_eq!(find(&mut links, "berth0", "berth: bridge"), Ok(Some(index)));
        assert_eq!(bring_up(&mut links, &bridge).unwrap(), index);
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/conf/berth0/route_localnet").unwrap(), "1\n");
        take_down(&mut links, "berth0", &bridge.addresses).unwrap();
        take_down(&mut links, "berth0", &bridge.addresses).unwrap();
        assert_eq!((links.addresses().unwrap(), links.routes().unwrap(), rules()), before);
        // A link that is none of ours isn't touched.
        assert_eq!(find(&mut links, "lo", "berth: bridge"), Ok(None));
        let taken = bring_up(&mut links, &Bridge { name: "lo".into(), ..bridge }).unwrap_err();
        assert_eq!(taken.errno, Errno::EXIST);
    }
}

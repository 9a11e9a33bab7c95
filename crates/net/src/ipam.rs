//! Which subnets networks get, and which addresses containers: pure arithmetic. Who has what is the caller's to know.

use crate::subnet::Subnet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where subnets of networks come from if none is asked for, and the prefixes they get: docker's default pools. Source:
/// daemon/libnetwork/ipamutils/utils.go of moby, `localScopeDefaultNetworks`.
const POOLS: [([u8; 4], u8, u8); 8] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
    // Beyond docker's: 255 more networks, where docker has 31 and then none.
    ([10, 204, 0, 0], 16, 24),
];

/// First subnet of IPv4 from the default pools that overlaps none of those `taken`.
pub fn free_subnet(taken: &[Subnet]) -> Option<Subnet> {
    POOLS
        .iter()
        .filter_map(|(address, prefix, size)| {
            let pool = Subnet::new(IpAddr::V4(Ipv4Addr::from(*address)), *prefix)?;
            pool.split(*size).find(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)))
        })
        .next()
}

/// A unique local subnet of IPv6 out of 48 random bits. Source: RFC 4193, section 3.
pub fn local_subnet(random: [u8; 6]) -> Subnet {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..7].copy_from_slice(&random);
    // A prefix of 64 fits into an address of 128 bits.
    Subnet::new(IpAddr::V6(Ipv6Addr::from(octets)), 64).unwrap_or_else(|| unreachable!())
}

/// The gateway of a subnet if none is asked for: its first usable address in `range`, or in all of it.
pub fn gateway(subnet: Subnet, range: Option<Subnet>, reserved: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    free_address(subnet, range, reserved)
}

/// The lowest address of a subnet that is free: in `range` if there is one, neither the network's own nor that of
/// broadcasts, and none of those `taken`.
pub fn free_address(subnet: Subnet, range: Option<Subnet>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let range = range.unwrap_or(subnet);
    let first = subnet.offset(range.first())?;
    (first..)
        .map_while(|offset| subnet.nth(offset))
        .take_while(|address| range.contains(*address))
        .find(|address| is_usable(subnet, *address) && !taken.contains(address))
}

/// Whether a container may have an address of a subnet: it's in it, and neither the network's own nor that of broadcasts.
pub fn is_usable(subnet: Subnet, address: IpAddr) -> bool {
    let hosts_only = subnet.prefix() + 1 >= if subnet.is_v6() { 128 } else { 32 };
    subnet.contains(address)
        && (hosts_only || (address != subnet.first() && (subnet.is_v6() || address != subnet.last())))
}

/// The hardware address of a container with an IPv4 address, as docker made them: locally administered, and always the same
/// for one address, so that neighbours' caches stay right when it's given to another container.
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let low: [u8; 4] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            [octets[12], octets[13], octets[14], octets[15]]
        }
    };
    [0x02, 0x42, low[0], low[1], low[2], low[3]]
}

/// A hardware address as docker writes it: `02:42:ac:11:00:02`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn taken(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn subnets_come_from_dockers_pools_and_overlap_nothing() {
        let mut given = vec![subnet("172.17.0.0/16"), subnet("172.20.8.0/24"), subnet("192.168.0.0/18")];
        assert_eq!(free_subnet(&given[1..]).unwrap().to_string(), "172.17.0.0/16");
        assert_eq!(free_subnet(&given).unwrap().to_string(), "172.18.0.0/16");
        while let Some(next) = free_subnet(&given) {
            assert!(!given.iter().any(|other| other.overlaps(next)), "{next}");
            given.push(next);
        }
        assert!(given.contains(&subnet("172.31.0.0/16")) && given.contains(&subnet("192.168.64.0/20")));
        assert!(given.len() > 250, "{}", given.len());
        assert_eq!(free_subnet(&[subnet("0.0.0.0/0")]), None);
    }

    #[test]
    fn the_lowest_free_address_is_given() {
        let net = subnet("10.1.0.0/29");
        let mut have = taken(&["10.1.0.1"]);
        for wanted in ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"] {
            let next = free_address(net, None, &have).unwrap();
            assert_eq!(next.to_string(), wanted);
            have.insert(next);
        }
        assert_eq!(free_address(net, None, &have), None);
        have.remove(&"10.1.0.3".parse().unwrap());
        assert_eq!(free_address(net, None, &have).unwrap().to_string(), "10.1.0.3");
        let range = subnet("10.1.0.4/30");
        assert_eq!(free_address(net, Some(range), &taken(&[])).unwrap().to_string(), "10.1.0.4");
        assert_eq!(free_address(net, Some(range), &taken(&["10.1.0.4", "10.1.0.5", "10.1.0.6"])), None);
        assert_eq!(free_address(subnet("10.1.0.8/31"), None, &taken(&[])).unwrap().to_string(), "10.1.0.8");
        assert_eq!(free_address(subnet("fd00::/64"), None, &taken(&[])).unwrap().to_string(), "fd00::1");
    }
}

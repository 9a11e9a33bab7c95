//! Subnets: an address and the length of its prefix, as in `172.17.0.0/16`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A subnet of IPv4 or IPv6. Bits beyond the prefix may be set: then it's also an address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no subnet: write it as 10.1.0.0/16 or fd00:1::/64")]
pub struct NoSubnet {
    /// The text.
    pub text: String,
}

impl Subnet {
    /// The subnet of `address` with a prefix of so many bits; `None` if an address of its family has fewer.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Subnet> {
        (prefix <= bits(address)).then_some(Subnet { address, prefix })
    }

    /// Length of the prefix, in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address as it was given.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Whether it's of IPv6.
    pub fn is_v6(self) -> bool {
        self.address.is_ipv6()
    }

    /// Its first address: that of the network.
    pub fn first(self) -> IpAddr {
        from_number(to_number(self.address) & !self.host_mask(), self.is_v6())
    }

    /// Its last address: in IPv4 that of broadcasts.
    pub fn last(self) -> IpAddr {
        from_number(to_number(self.address) | self.host_mask(), self.is_v6())
    }

    /// The same subnet with no bits beyond the prefix.
    pub fn network(self) -> Subnet {
        Subnet { address: self.first(), prefix: self.prefix }
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6() && (self.first()..=self.last()).contains(&address)
    }

    /// Whether all of another one is in it.
    pub fn covers(self, other: Subnet) -> bool {
        self.contains(other.first()) && self.contains(other.last())
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The address that is `offset` after its first; `None` if it ends before.
    pub fn nth(self, offset: u128) -> Option<IpAddr> {
        let number = to_number(self.first()).checked_add(offset)?;
        let address = from_number(number, self.is_v6());
        (number <= to_number(self.last())).then_some(address)
    }

    /// How far an address is from the first; `None` if it isn't in it.
    pub fn offset(self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_number(address) - to_number(self.first()))
    }

    /// Its subnets with a longer prefix, in order.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Subnet> {
        let count = if prefix < self.prefix || prefix > bits(self.address) {
            0
        } else {
            1u128.checked_shl(u32::from(prefix - self.prefix)).unwrap_or(u128::MAX)
        };
        let step = 1u128.checked_shl(u32::from(bits(self.address).saturating_sub(prefix))).unwrap_or(0);
        (0..count).map_while(move |index| {
            self.nth(index.checked_mul(step)?).map(|address| Subnet { address, prefix })
        })
    }

    fn host_mask(self) -> u128 {
        let host_bits = u32::from(bits(self.address) - self.prefix);
        1u128.checked_shl(host_bits).map_or(u128::MAX, |end| end - 1)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = NoSubnet;

    fn from_str(text: &str) -> Result<Subnet, NoSubnet> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Subnet::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| NoSubnet { text: text.to_owned() })
    }
}

impl TryFrom<String> for Subnet {
    type Error = NoSubnet;

    fn try_from(text: String) -> Result<Subnet, NoSubnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn from_number(number: u128, v6: bool) -> IpAddr {
    match v6 {
        true => IpAddr::V6(Ipv6Addr::from(number)),
        // Numbers of IPv4 come from 32 bits and stay below a subnet's last.
        false => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_what_it_says() {
        let net = subnet("172.17.5.9/16");
        assert_eq!(net.first().to_string(), "172.17.0.0");
        assert_eq!(net.last().to_string(), "172.17.255.255");
        assert_eq!(net.network().to_string(), "172.17.0.0/16");
        assert!(net.contains("172.17.255.1".parse().unwrap()));
        assert!(!net.contains("172.18.0.1".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        let all = subnet("::/0");
        assert_eq!(all.last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert!(subnet("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert_eq!(subnet("10.0.0.1/32").nth(1), None);
        assert_eq!(subnet("fd00::/64").nth(1).unwrap().to_string(), "fd00::1");
    }

    #[test]
    fn overlaps_go_both_ways() {
        let (wide, narrow, other) = (subnet("10.0.0.0/8"), subnet("10.3.0.0/16"), subnet("11.0.0.0/8"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(!other.overlaps(wide) && !other.overlaps(subnet("::/0")));
    }

    #[test]
    fn it_is_split_in_order() {
        let parts: Vec<String> = subnet("172.20.0.0/14").split(16).map(|part| part.to_string()).collect();
        assert_eq!(parts, ["172.20.0.0/16", "172.21.0.0/16", "172.22.0.0/16", "172.23.0.0/16"]);
        assert_eq!(subnet("10.0.0.0/24").split(16).count(), 0);
        assert_eq!(subnet("fd00::/48").split(64).take(2).last().unwrap().to_string(), "fd00:0:0:1::/64");
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "::/129", "x/8"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}

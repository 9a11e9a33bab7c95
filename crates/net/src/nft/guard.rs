//! Frames that lie about who sends them: the table `bridge berth`.
//!
//! ```text
//! table bridge berth {
//!   set ok4 { type ifname . ether_addr . ipv4_addr }   # who may say that it's whom
//!   set ok6 { type ifname . ether_addr . ipv6_addr }   # with link-local addresses, and :: for questions
//!   set nd6 { type ifname . ipv6_addr }                # for which addresses it answers
//!   set free { type ifname }                           # who may say anything
//!   chain ports { type filter hook prerouting priority -300;
//!     iifname != "bth*" accept
//!     iifname @free accept
//!     meta protocol ip   iifname . ether saddr . ip saddr @ok4 accept
//!     meta protocol arp  iifname . ether saddr . arp saddr ip @ok4
//!                        iifname . arp saddr ether . arp saddr ip @ok4 accept
//!     meta protocol ip6  icmpv6 type nd-router-advert drop
//!     meta protocol ip6  icmpv6 type nd-redirect drop
//!     meta protocol ip6  icmpv6 type nd-neighbor-advert iifname . TARGET != @nd6 drop
//!     meta protocol ip6  ip6 saddr :: meta l4proto != icmpv6 drop
//!     meta protocol ip6  ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . TARGET != @nd6 drop
//!     meta protocol ip6  iifname . ether saddr . ip6 saddr @ok6 accept
//!     drop
//!   }
//! }
//! ```
//!
//! Nothing passes before its elements are there, and nothing but IP and ARP ever. A bridge learns addresses after this
//! chain; but from frames to 01:80:c2:00:00:0x, which aren't forwarded, before it: bridges need `no_linklocal_learn`.
//!
//! Why not a chain of family netdev, hooked to devices by the beginning of their names (NFTA_DEVICE_PREFIX, Linux 6.18)?
//! It works, and costs the same; but nft with libnftnl before 1.3 can't read such a chain, and `nft list ruleset` then
//! runs for ever, and with it whatever else on the host calls nft (tried with 1.0.6).

use super::EndpointRules;
use super::expr::{Field, Rule};
use super::wire::{
    Element, Family, Hook, Set, Table, TableFamily, Transaction, Type, Verdict, address, name,
};
use std::net::{IpAddr, Ipv6Addr};

const OK4: Set =
    Set { name: "ok4", key: &[Type::Name, Type::Ether, Type::Ipv4], data: &[], intervals: false };
const OK6: Set =
    Set { name: "ok6", key: &[Type::Name, Type::Ether, Type::Ipv6], data: &[], intervals: false };
const ND6: Set = Set { name: "nd6", key: &[Type::Name, Type::Ipv6], data: &[], intervals: false };
const FREE: Set = Set { name: "free", key: &[Type::Name], data: &[], intervals: false };

/// All of them.
pub(super) const SETS: [Set; 4] = [OK4, OK6, ND6, FREE];

/// Those that say who an endpoint is: `nd6` repeats a part.
pub(super) const SPEAKERS: [Set; 3] = [OK4, OK6, FREE];

/// The one chain.
pub(super) const CHAIN: &str = "ports";

const ICMP6: [u8; 1] = [58];
const ROUTER_ADVERT: u8 = 134;
const NEIGHBOUR_SOLICIT: u8 = 135;
const NEIGHBOUR_ADVERT: u8 = 136;
const REDIRECT: u8 = 137;

/// The table's family.
pub(super) const FAMILY: TableFamily = TableFamily::Bridge;

/// Everything but the table itself, and no elements. `prefix` is how the devices' names begin.
pub(super) fn make(transaction: &mut Transaction, at: Table<'_>, prefix: &str) {
    for set in SETS {
        transaction.set(at, &set);
    }
    // NF_BR_PRE_ROUTING.
    let hook = Hook { kind: "filter", number: 0, priority: -300 };
    transaction.chain(at, CHAIN, Some(hook));
    for rule in rules(prefix) {
        transaction.rule(at, &rule);
    }
}

/// The rules of the one chain.
pub(super) fn rules(prefix: &str) -> Vec<Rule> {
    let ip = || Rule::on(CHAIN).equals(Field::EtherType, &0x0800_u16.to_be_bytes());
    let arp = || Rule::on(CHAIN).equals(Field::EtherType, &0x0806_u16.to_be_bytes());
    let ip6 = || Rule::on(CHAIN).equals(Field::EtherType, &0x86dd_u16.to_be_bytes());
    let icmp6 = |rule: Rule, typ: u8| rule.equals(Field::L4, &ICMP6).equals(Field::Icmp6Type, &[typ]);
    let unspecified = address(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let from_nobody = || ip6().equals(Field::Source(Family::V6), &unspecified);
    let target = [Field::InName, Field::NeighbourTarget];
    vec![
        Rule::on(CHAIN).differs(Field::InName, prefix.as_bytes()).then(Verdict::Accept),
        Rule::on(CHAIN).within(&[Field::InName], FREE.name).then(Verdict::Accept),
        ip().within(&[Field::InName, Field::EtherSource, Field::Source(Family::V4)], OK4.name)
            .then(Verdict::Accept),
        arp()
            .within(&[Field::InName, Field::EtherSource, Field::ArpIp], OK4.name)
            .within(&[Field::InName, Field::ArpEther, Field::ArpIp], OK4.name)
            .then(Verdict::Accept),
        icmp6(ip6(), ROUTER_ADVERT).then(Verdict::Drop),
        icmp6(ip6(), REDIRECT).then(Verdict::Drop),
        icmp6(ip6(), NEIGHBOUR_ADVERT).outside(&target, ND6.name).then(Verdict::Drop),
        from_nobody().differs(Field::L4, &ICMP6).then(Verdict::Drop),
        icmp6(from_nobody(), NEIGHBOUR_SOLICIT).outside(&target, ND6.name).then(Verdict::Drop),
        ip6()
            .within(&[Field::InName, Field::EtherSource, Field::Source(Family::V6)], OK6.name)
            .then(Verdict::Accept),
        Rule::on(CHAIN).then(Verdict::Drop),
    ]
}

/// The elements of an endpoint, with their sets.
pub(super) fn endpoint(endpoint: &EndpointRules) -> Vec<(Set, Element)> {
    let port = name(&endpoint.port);
    if endpoint.free {
        return vec![(FREE, Element::of(&[&port]))];
    }
    let mut elements = Vec::new();
    let mut any6 = false;
    for ip in &endpoint.addresses {
        match ip {
            IpAddr::V4(ip) => {
                elements.push((OK4, Element::of(&[&port, &endpoint.mac, &ip.octets()])));
            }
            IpAddr::V6(ip) => {
                any6 = true;
                elements.push((OK6, Element::of(&[&port, &endpoint.mac, &ip.octets()])));
                elements.push((ND6, Element::of(&[&port, &ip.octets()])));
            }
        }
    }
    let local = link_local(endpoint.mac);
    if any6 && !endpoint.addresses.contains(&IpAddr::V6(local)) {
        elements.push((OK6, Element::of(&[&port, &endpoint.mac, &local.octets()])));
        elements.push((ND6, Element::of(&[&port, &local.octets()])));
    }
    if any6 {
        elements.push((OK6, Element::of(&[&port, &endpoint.mac, &[0; 16]])));
    }
    elements
}

/// The address that the kernel gives to a device by itself. Source: RFC 4291, appendix A.
pub(super) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// What an element says: that whoever is at a port may call itself so.
pub(super) struct Says {
    pub(super) port: String,
    /// Nothing in particular: it may say anything.
    pub(super) who: Option<([u8; 6], IpAddr)>,
}

/// Reads an element of one of the [`SPEAKERS`].
pub(super) fn read(set: &Set, key: &[u8]) -> Option<Says> {
    let port = crate::netlink::text(key.get(..16)?);
    if set.name == FREE.name {
        return Some(Says { port, who: None });
    }
    let mac: [u8; 6] = key.get(16..22)?.try_into().ok()?;
    let rest = key.get(24..)?;
    let ip = if set.name == OK4.name {
        IpAddr::from(<[u8; 4]>::try_from(rest.get(..4)?).ok()?)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(rest.get(..16)?).ok()?)
    };
    Some(Says { port, who: Some((mac, ip)) })
}

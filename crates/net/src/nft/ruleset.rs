//! The table `inet berth`, word by word. What is drawn in [`super`] is made here; change both.

use super::expr::{Field, Rule};
use super::wire::{Element, Family, Hook, Set, Table, Transaction, Type, Verdict, address, name};
use super::{NetworkRules, Port};
use crate::bridge::SEEN_MARK;
use std::net::{IpAddr, Ipv6Addr};

/// The version of the rules, in the table's comment: a table of another version is made anew.
pub(super) const VERSION: &str = "berth 1";

const IN: Field = Field::InName;
const OUT: Field = Field::OutName;
/// IPS_DST_NAT.
const DNAT: u32 = 0x20;
const INVALID: u32 = 1;
pub(super) const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const RTN_LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
const PACKET_HOST: [u8; 1] = [0];

/// fe80::/64: the host has an address of these on every bridge with IPv6.
pub(super) const LINK_LOCAL: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff)),
);

/// Bridges.
pub(super) const BR: Set = Set { name: "br", key: &[Type::Name], data: &[], intervals: false };
/// Bridges without a way out.
pub(super) const INNER: Set = Set { name: "inner", key: &[Type::Name], data: &[], intervals: false };
/// Between which bridges packets pass: a bridge and itself.
pub(super) const PAIR: Set =
    Set { name: "pair", key: &[Type::Name, Type::Name], data: &[], intervals: false };

/// Subnets that nobody else may send to, and that leave with the host's address.
pub(super) const fn sub(family: Family) -> Set {
    match family {
        Family::V4 => Set { name: "sub4", key: &[Type::Ipv4], data: &[], intervals: true },
        Family::V6 => Set { name: "sub6", key: &[Type::Ipv6], data: &[], intervals: true },
    }
}

/// Bridges with each of their subnets.
pub(super) const fn near(family: Family) -> Set {
    match family {
        Family::V4 => Set { name: "near4", key: &[Type::Name, Type::Ipv4], data: &[], intervals: true },
        Family::V6 => Set { name: "near6", key: &[Type::Name, Type::Ipv6], data: &[], intervals: true },
    }
}

/// Ports published on one address.
pub(super) const fn on_address(family: Family) -> Set {
    match family {
        Family::V4 => Set {
            name: "a4",
            key: &[Type::Ipv4, Type::Protocol, Type::Port],
            data: &[Type::Ipv4, Type::Port],
            intervals: false,
        },
        Family::V6 => Set {
            name: "a6",
            key: &[Type::Ipv6, Type::Protocol, Type::Port],
            data: &[Type::Ipv6, Type::Port],
            intervals: false,
        },
    }
}

/// Ports published on every address. No ranges: an element per port costs 1.4 µs, one in an interval map up to 27 ms.
pub(super) const fn on_any(family: Family) -> Set {
    match family {
        Family::V4 => Set {
            name: "w4",
            key: &[Type::Protocol, Type::Port],
            data: &[Type::Ipv4, Type::Port],
            intervals: false,
        },
        Family::V6 => Set {
            name: "w6",
            key: &[Type::Protocol, Type::Port],
            data: &[Type::Ipv6, Type::Port],
            intervals: false,
        },
    }
}

/// Both.
pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The sets of ports.
pub(super) fn port_sets() -> impl Iterator<Item = (Family, bool, Set)> {
    FAMILIES
        .into_iter()
        .flat_map(|family| [(family, false, on_address(family)), (family, true, on_any(family))])
}

/// Everything but the table itself, and no elements. `ports` is how the names of bridges' ports begin.
pub(super) fn make(transaction: &mut Transaction, at: Table<'_>, ports: &str) {
    for set in [BR, INNER, PAIR] {
        transaction.set(at, &set);
    }
    for family in FAMILIES {
        for set in [sub(family), near(family), on_address(family), on_any(family)] {
            transaction.set(at, &set);
        }
    }
    for (chain, hook) in CHAINS {
        transaction.chain(at, chain, *hook);
    }
    for rule in rules(ports) {
        transaction.rule(at, &rule);
    }
}

const fn hook(kind: &'static str, number: u32, priority: i32) -> Option<Hook> {
    Some(Hook { kind, number, priority })
}

/// `pub` comes before those that jump to it.
const CHAINS: &[(&str, Option<Hook>)] = &[
    ("raw", hook("filter", 0, -300)),
    ("pub", None),
    ("pre", hook("nat", 0, -105)),
    // Not -100, which iptables has; nft's word for it, dstnat, is refused for output.
    ("out", hook("nat", 3, -105)),
    ("post", hook("nat", 4, 95)),
    ("forward", hook("filter", 2, 0)),
];

/// All rules, in their chains' order.
pub(super) fn rules(ports: &str) -> Vec<Rule> {
    [raw(ports), publish(), post(), forward()].concat()
}

/// Before NAT and connection tracking: what comes from where it can't come from.
fn raw(ports: &str) -> Vec<Rule> {
    let lo = name("lo");
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let rule = || Rule::on("raw").differs(IN, &lo);
    let mut rules = vec![
        // What containers send comes from their bridge, but for frames to 01:80:c2:00:00:0x.
        Rule::on("raw").equals(IN, ports.as_bytes()).then(Verdict::Drop),
        rule().of(Family::V4).equals(Field::DestinationNet8, &[127]).then(Verdict::Drop),
        rule().of(Family::V4).equals(Field::SourceNet8, &[127]).then(Verdict::Drop),
        rule().of(Family::V6).equals(Field::Destination(Family::V6), &address(loopback)).then(Verdict::Drop),
        rule().of(Family::V6).equals(Field::Source(Family::V6), &address(loopback)).then(Verdict::Drop),
    ];
    for family in FAMILIES {
        // Straight to a container's address, from outside.
        rules.push(
            rule()
                .outside(&[IN], BR.name)
                .of(family)
                .within(&[Field::Destination(family)], sub(family).name)
                .then(Verdict::Drop),
        );
    }
    for family in FAMILIES {
        // From an internal network to another address of the host, and so to ports that others publish.
        rules.push(
            Rule::on("raw")
                .within(&[IN], INNER.name)
                .equals(Field::PacketType, &PACKET_HOST)
                .of(family)
                .outside(&[IN, Field::Destination(family)], near(family).name)
                .then(Verdict::Drop),
        );
    }
    rules.push(Rule::on("raw").mark(SEEN_MARK));
    rules
}

/// Published ports, from others and from the host itself. Only addresses of the host's own are looked up: else a port
/// published on all addresses would catch what containers send to that port of any machine.
fn publish() -> Vec<Rule> {
    let mut rules: Vec<Rule> = ["pre", "out"]
        .into_iter()
        .map(|chain| Rule::on(chain).equals(Field::DestinationType, &RTN_LOCAL).then(Verdict::Jump("pub")))
        .collect();
    for family in FAMILIES {
        let (l4, port) = (Field::L4, Field::DestinationPort);
        let exact = [Field::Destination(family), l4, port];
        rules.push(Rule::on("pub").of(family).dnat(family, &exact, on_address(family).name));
        rules.push(Rule::on("pub").of(family).dnat(family, &[l4, port], on_any(family).name));
    }
    rules
}

/// Source addresses: what comes from the host's loopback, or goes back where it came from, must be answered by way of
/// the host; what leaves gets the host's address.
fn post() -> Vec<Rule> {
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let rule = || Rule::on("post");
    let mut rules = vec![
        rule().within(&[OUT], BR.name).of(Family::V4).equals(Field::SourceNet8, &[127]).masquerade(),
        rule()
            .within(&[OUT], BR.name)
            .of(Family::V6)
            .equals(Field::Source(Family::V6), &address(loopback))
            .masquerade(),
    ];
    for family in FAMILIES {
        // By subnet, not iifname, which is empty here if br_netfilter calls.
        rules.push(
            rule()
                .has(Field::ConnectionStatus, DNAT)
                .of(family)
                .within(&[OUT, Field::Source(family)], near(family).name)
                .masquerade(),
        );
    }
    for family in FAMILIES {
        rules.push(
            rule()
                .outside(&[OUT], BR.name)
                .of(family)
                .within(&[Field::Source(family)], sub(family).name)
                .masquerade(),
        );
    }
    rules
}

/// Between networks and the outside. What has nothing to do with our bridges passes by.
fn forward() -> Vec<Rule> {
    let rule = || Rule::on("forward");
    vec![
        rule().has(Field::ConnectionState, ESTABLISHED_OR_RELATED).then(Verdict::Accept),
        // What isn't tracked isn't masqueraded either, and would leave with a container's address.
        rule().within(&[IN], BR.name).has(Field::ConnectionState, INVALID).then(Verdict::Drop),
        rule().within(&[IN, OUT], PAIR.name).then(Verdict::Accept),
        rule().within(&[IN], INNER.name).then(Verdict::Drop),
        rule().within(&[OUT], INNER.name).then(Verdict::Drop),
        rule().within(&[OUT], BR.name).has(Field::ConnectionStatus, DNAT).then(Verdict::Accept),
        rule().within(&[OUT], BR.name).then(Verdict::Drop),
        rule().within(&[IN], BR.name).then(Verdict::Accept),
    ]
}

/// The elements of a network, with their sets.
pub(super) fn network(network: &NetworkRules) -> Vec<(Set, Element)> {
    let bridge = name(&network.bridge);
    let mut elements = vec![(BR, Element::of(&[&bridge]))];
    if network.internal {
        elements.push((INNER, Element::of(&[&bridge])));
    }
    if network.icc {
        elements.push((PAIR, Element::of(&[&bridge, &bridge])));
    }
    for subnet in &network.subnets {
        let family = Family::of(subnet.address());
        let (first, last) = (address(subnet.first()), address(subnet.last()));
        elements.push((near(family), Element::of(&[&bridge, &first]).with_end(&[&bridge, &last])));
        // Without masquerading answers come straight to the containers: the forward chain, which knows connections,
        // keeps the rest away.
        if network.masquerade || network.internal {
            elements.push((sub(family), range(&first, &last)));
        }
    }
    if network.subnets.iter().any(|subnet| subnet.is_v6()) {
        let (first, last) = (address(LINK_LOCAL.0), address(LINK_LOCAL.1));
        elements.push((near(Family::V6), Element::of(&[&bridge, &first]).with_end(&[&bridge, &last])));
    }
    elements
}

/// A range in a set that isn't a concatenation: its end is the first address after it, or none at the very end.
fn range(first: &[u8], last: &[u8]) -> Element {
    let mut after = last.to_vec();
    for byte in after.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Element::of(&[first]).with_end(&[&after]);
        }
    }
    Element::of(&[first])
}

/// The element of a published port, with its set.
pub(super) fn port(port: &Port) -> (Set, Element) {
    let family = Family::of(port.host.ip());
    let protocol = [port.protocol.number()];
    let number = port.host.port().to_be_bytes();
    let target = address(port.target.ip());
    let data: [&[u8]; 2] = [&target, &port.target.port().to_be_bytes()];
    if port.host.ip().is_unspecified() {
        (on_any(family), Element::of(&[&protocol, &number]).with_data(&data))
    } else {
        let host = address(port.host.ip());
        (on_address(family), Element::of(&[&host, &protocol, &number]).with_data(&data))
    }
}

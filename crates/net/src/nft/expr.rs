//! Rules: what is loaded into registers, compared, looked up, and what then happens. Only what berth's rules need.
//! Sources: include/uapi/linux/netfilter/nf_tables.h; `nft --debug=netlink` for how nft writes, and so reads, the same.

use super::wire::{self, Family, Verdict};
use crate::netlink::Body;

/// First of the 32-bit registers: NFT_REG32_00.
const REGISTER_FIRST: u32 = 8;

/// NFT_REG_VERDICT.
const REGISTER_VERDICT: u32 = 0;

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// `iifname`: 16 bytes.
    InName,
    /// `oifname`: 16 bytes.
    OutName,
    /// `meta nfproto`: a byte.
    Family,
    /// `meta protocol`: the Ethernet type, 2 bytes in the network's order.
    EtherType,
    /// `meta l4proto`: a byte.
    L4,
    /// `meta pkttype`: a byte; 0 is what's for this host alone.
    PacketType,
    /// `ip saddr`, `ip6 saddr`.
    Source(Family),
    /// `ip daddr`, `ip6 daddr`.
    Destination(Family),
    /// The first byte of `ip saddr`: 127.0.0.0/8 is one comparison.
    SourceNet8,
    /// The first byte of `ip daddr`.
    DestinationNet8,
    /// `th dport`: of TCP, UDP and others.
    DestinationPort,
    /// `icmpv6 type`.
    Icmp6Type,
    /// The target address of a neighbour solicitation or advertisement. Source: RFC 4861, 4.3, 4.4.
    NeighbourTarget,
    /// `ether saddr`.
    EtherSource,
    /// `arp saddr ether`. Source: RFC 826.
    ArpEther,
    /// `arp saddr ip`.
    ArpIp,
    /// `fib daddr type`: RTN_LOCAL is 2.
    DestinationType,
    /// `ct status`: bits.
    ConnectionStatus,
    /// `ct state`: bits.
    ConnectionState,
}

impl Field {
    /// Length in bytes.
    fn bytes(self) -> u32 {
        match self {
            Field::InName | Field::OutName | Field::NeighbourTarget => 16,
            Field::Source(Family::V6) | Field::Destination(Family::V6) => 16,
            Field::Family | Field::L4 | Field::PacketType | Field::Icmp6Type => 1,
            Field::SourceNet8 | Field::DestinationNet8 => 1,
            Field::EtherType | Field::DestinationPort => 2,
            Field::EtherSource | Field::ArpEther => 6,
            _ => 4,
        }
    }

    /// Number of 32-bit registers.
    fn registers(self) -> u32 {
        self.bytes().div_ceil(4)
    }

    /// The expression that loads it.
    fn load(self, to: u32) -> Expr {
        let payload = |base, offset| Expr::Payload { base, offset, bytes: self.bytes(), to };
        match self {
            Field::EtherType => Expr::Meta { key: 1, to },
            Field::InName => Expr::Meta { key: wire::META_IN_NAME, to },
            Field::OutName => Expr::Meta { key: wire::META_OUT_NAME, to },
            Field::Family => Expr::Meta { key: 15, to },
            Field::L4 => Expr::Meta { key: 16, to },
            Field::PacketType => Expr::Meta { key: 19, to },
            Field::EtherSource => payload(Base::Link, 6),
            Field::ArpEther => payload(Base::Network, 8),
            Field::ArpIp => payload(Base::Network, 14),
            Field::Source(Family::V4) | Field::SourceNet8 => payload(Base::Network, 12),
            Field::Destination(Family::V4) | Field::DestinationNet8 => payload(Base::Network, 16),
            Field::Source(Family::V6) => payload(Base::Network, 8),
            Field::Destination(Family::V6) => payload(Base::Network, 24),
            Field::Icmp6Type => payload(Base::Transport, 0),
            Field::DestinationPort => payload(Base::Transport, 2),
            Field::NeighbourTarget => payload(Base::Transport, 8),
            Field::DestinationType => Expr::FibType { to },
            Field::ConnectionState => Expr::Ct { key: 0, to },
            Field::ConnectionStatus => Expr::Ct { key: 2, to },
        }
    }
}

/// Where a payload is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expr {
    Meta { key: u32, to: u32 },
    SetMark { from: u32 },
    Payload { base: Base, offset: u32, bytes: u32, to: u32 },
    Ct { key: u32, to: u32 },
    FibType { to: u32 },
    Compare { from: u32, is: bool, data: Vec<u8> },
    Bits { register: u32, mask: u32, xor: u32 },
    Lookup { set: String, from: u32, to: Option<u32>, within: bool },
    Verdict(Verdict),
    Dnat { family: Family, address: u32, port: u32 },
    Masquerade,
}

/// A rule, in the order in which it's written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The chain that it's in.
    pub(super) chain: String,
    /// `comment` as nft and iptables show it.
    pub(super) comment: Option<String>,
    expressions: Vec<Expr>,
}

impl Rule {
    /// One that matches everything and does nothing.
    pub(super) fn on(chain: &str) -> Rule {
        Rule { chain: chain.to_owned(), comment: None, expressions: Vec::new() }
    }

    /// Only packets whose `field` is this.
    pub(super) fn equals(self, field: Field, data: &[u8]) -> Rule {
        self.compare(field, true, data)
    }

    /// Only packets whose `field` isn't this.
    pub(super) fn differs(self, field: Field, data: &[u8]) -> Rule {
        self.compare(field, false, data)
    }

    fn compare(mut self, field: Field, is: bool, data: &[u8]) -> Rule {
        let from = self.load(&[field]);
        self.expressions.push(Expr::Compare { from, is, data: data.to_vec() });
        self
    }

    /// Only IPv4, or only IPv6, in a table of family inet.
    pub(super) fn of(self, family: Family) -> Rule {
        self.equals(Field::Family, &[family.number()])
    }

    /// Only packets whose `fields` together are in the set.
    pub(super) fn within(self, fields: &[Field], set: &str) -> Rule {
        self.lookup(fields, set, true)
    }

    /// Only packets whose `fields` together are not in the set.
    pub(super) fn outside(self, fields: &[Field], set: &str) -> Rule {
        self.lookup(fields, set, false)
    }

    fn lookup(mut self, fields: &[Field], set: &str, within: bool) -> Rule {
        let from = self.load(fields);
        self.expressions.push(Expr::Lookup { set: set.to_owned(), from, to: None, within });
        self
    }

    /// Only packets of which one of these bits of `field` is set.
    pub(super) fn has(mut self, field: Field, bits: u32) -> Rule {
        let register = self.load(&[field]);
        self.expressions.push(Expr::Bits { register, mask: bits, xor: 0 });
        self.expressions.push(Expr::Compare { from: register, is: false, data: vec![0; 4] });
        self
    }

    /// Sets these bits of the packet's mark.
    pub(super) fn mark(mut self, bits: u32) -> Rule {
        self.expressions.push(Expr::Meta { key: wire::META_MARK, to: REGISTER_FIRST });
        self.expressions.push(Expr::Bits { register: REGISTER_FIRST, mask: !bits, xor: bits });
        self.expressions.push(Expr::SetMark { from: REGISTER_FIRST });
        self
    }

    /// Sends what the map says for `fields` to the address and port that it says.
    pub(super) fn dnat(mut self, family: Family, fields: &[Field], map: &str) -> Rule {
        let from = self.load(fields);
        let to = Some(REGISTER_FIRST);
        self.expressions.push(Expr::Lookup { set: map.to_owned(), from, to, within: true });
        let port = REGISTER_FIRST + Field::Source(family).registers();
        self.expressions.push(Expr::Dnat { family, address: REGISTER_FIRST, port });
        self
    }

    /// Gives packets the address of the device that they leave by.
    pub(super) fn masquerade(mut self) -> Rule {
        self.expressions.push(Expr::Masquerade);
        self
    }

    /// What happens at its end.
    pub(super) fn then(mut self, verdict: Verdict) -> Rule {
        self.expressions.push(Expr::Verdict(verdict));
        self
    }

    /// With a comment.
    pub(super) fn comment(mut self, text: &str) -> Rule {
        self.comment = Some(text.to_owned());
        self
    }

    /// Loads fields into registers one after the other; the first register.
    fn load(&mut self, fields: &[Field]) -> u32 {
        let mut to = REGISTER_FIRST;
        for field in fields {
            self.expressions.push(field.load(to));
            to += field.registers();
        }
        REGISTER_FIRST
    }

    /// What [`super::read`] sees of it.
    pub(super) fn sketch(&self) -> String {
        let names: Vec<String> = self.expressions.iter().map(Expr::sketch).collect();
        names.join(" ")
    }

    /// Writes NFTA_RULE_EXPRESSIONS.
    pub(super) fn write(&self, body: &mut Body<'_>) {
        body.nest(4, |body| {
            for expression in &self.expressions {
                body.nest(wire::LIST_ELEM, |body| expression.write(body));
            }
        });
    }
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Expr::Meta { .. } | Expr::SetMark { .. } => "meta",
            Expr::Payload { .. } => "payload",
            Expr::Ct { .. } => "ct",
            Expr::FibType { .. } => "fib",
            Expr::Compare { .. } => "cmp",
            Expr::Bits { .. } => "bitwise",
            Expr::Lookup { .. } => "lookup",
            Expr::Verdict(_) => "immediate",
            Expr::Dnat { .. } => "nat",
            Expr::Masquerade => "masq",
        }
    }

    fn sketch(&self) -> String {
        match self {
            Expr::Lookup { set, .. } => format!("lookup:{set}"),
            Expr::Verdict(verdict) => format!("immediate:{}", verdict.code()),
            _ => self.name().to_owned(),
        }
    }

    fn write(&self, body: &mut Body<'_>) {
        body.string(1, self.name()).nest(2, |body| self.write_data(body));
    }

    /// The attributes of NFTA_EXPR_DATA, by the kind of expression.
    fn write_data(&self, body: &mut Body<'_>) {
        match self {
            Expr::Meta { key, to } => {
                body.be32(2, *key).be32(1, *to);
            }
            Expr::SetMark { from } => {
                body.be32(2, wire::META_MARK).be32(3, *from);
            }
            Expr::Payload { base, offset, bytes, to } => {
                body.be32(1, *to).be32(2, *base as u32).be32(3, *offset).be32(4, *bytes);
            }
            Expr::Ct { key, to } => {
                body.be32(2, *key).be32(1, *to);
            }
            // NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE.
            Expr::FibType { to } => {
                body.be32(1, *to).be32(2, 3).be32(3, 2);
            }
            Expr::Compare { from, is, data } => {
                body.be32(1, *from).be32(2, u32::from(!is)).nest(3, |body| {
                    body.attr(wire::DATA_VALUE, data);
                });
            }
            Expr::Bits { register, mask, xor } => {
                body.be32(1, *register).be32(2, *register).be32(3, 4);
                for (kind, bits) in [(4, mask), (5, xor)] {
                    body.nest(kind, |body| {
                        body.u32(wire::DATA_VALUE, *bits);
                    });
                }
            }
            Expr::Lookup { set, from, to, within } => {
                body.string(1, set).be32(2, *from);
                if let Some(to) = to {
                    body.be32(3, *to);
                }
                // NFT_LOOKUP_F_INV.
                if !within {
                    body.be32(5, 1);
                }
            }
            Expr::Verdict(verdict) => {
                body.be32(1, REGISTER_VERDICT).nest(2, |body| verdict.write(body));
            }
            // NFT_NAT_DNAT.
            Expr::Dnat { family, address, port } => {
                body.be32(1, 1).be32(2, u32::from(family.number()));
                body.be32(3, *address).be32(5, *port);
            }
            Expr::Masquerade => {}
        }
    }
}

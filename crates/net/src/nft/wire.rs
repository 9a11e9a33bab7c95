//! The messages of nftables: tables, chains, sets, elements, rules, within transactions. Sources:
//! include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h; net/netfilter/nfnetlink.c, nfnetlink_rcv_batch.

use super::expr::Rule;
use crate::netlink::{APPEND, Batch, Body, CREATE, EXCL};
use std::net::IpAddr;

/// NFNL_SUBSYS_NFTABLES.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// NFNL_BATCH_GENID.
const BATCH_GENERATION: u16 = 1;

/// Length of nfgenmsg, the family's header.
pub(super) const HEADER: usize = 4;
/// NFTA_LIST_ELEM.
pub(super) const LIST_ELEM: u16 = 1;
/// NFTA_DATA_VALUE.
pub(super) const DATA_VALUE: u16 = 1;
/// NFT_META_MARK.
pub(super) const META_MARK: u32 = 3;
/// NFT_META_IIFNAME.
pub(super) const META_IN_NAME: u32 = 6;
/// NFT_META_OIFNAME.
pub(super) const META_OUT_NAME: u32 = 7;

/// Elements in one message: their list is an attribute, whose length has 16 bits.
pub(super) const ELEMENTS_MAX: usize = 500;

/// Message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Msg {
    NewTable = 0,
    GetTable = 1,
    DelTable = 2,
    NewChain = 3,
    GetChain = 4,
    DelChain = 5,
    NewRule = 6,
    GetRule = 7,
    DelRule = 8,
    NewSet = 9,
    DelSet = 11,
    NewElement = 12,
    GetElement = 13,
    DelElement = 14,
    GetGeneration = 16,
}

impl Msg {
    /// The type in a message's header.
    pub(super) const fn typ(self) -> u16 {
        SUBSYSTEM << 8 | self as u16
    }
}

/// Families of tables: NFPROTO_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// Frames through a bridge.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl TableFamily {
    /// nft's word for it.
    pub fn name(self) -> &'static str {
        match self {
            TableFamily::Inet => "inet",
            TableFamily::Ip => "ip",
            TableFamily::Bridge => "bridge",
            TableFamily::Ip6 => "ip6",
        }
    }

    /// From the kernel's number.
    pub(super) fn of(number: u8) -> Option<TableFamily> {
        use TableFamily::{Bridge, Inet, Ip, Ip6};
        [Inet, Ip, Bridge, Ip6].into_iter().find(|family| *family as u8 == number)
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// AF_INET, AF_INET6, as NFPROTO_* has them.
    pub(super) fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Jump(&'static str),
}

impl Verdict {
    /// NF_DROP, NF_ACCEPT, NFT_JUMP.
    pub(super) fn code(&self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Jump(_) => -3,
        }
    }

    /// The attributes of NFTA_DATA.
    pub(super) fn write(&self, body: &mut Body<'_>) {
        body.nest(2, |body| {
            body.be32(1, self.code() as u32);
            if let Verdict::Jump(chain) = self {
                body.string(2, chain);
            }
        });
    }
}

/// What the elements of sets consist of: nft's numbers for them, and their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Ipv4 = 7,
    Ipv6 = 8,
    Ether = 9,
    Protocol = 12,
    Port = 13,
    Name = 41,
}

impl Type {
    pub(super) fn bytes(self) -> usize {
        match self {
            Type::Ipv4 => 4,
            Type::Ether => 6,
            Type::Protocol => 1,
            Type::Port => 2,
            Type::Ipv6 | Type::Name => 16,
        }
    }

    fn padded(self) -> usize {
        self.bytes().next_multiple_of(4)
    }

    pub(super) fn address(family: Family) -> Type {
        match family {
            Family::V4 => Type::Ipv4,
            Family::V6 => Type::Ipv6,
        }
    }
}

/// A set, or a map if it has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) key: &'static [Type],
    pub(super) data: &'static [Type],
    /// Whether its elements are ranges.
    pub(super) intervals: bool,
}

impl Set {
    /// Concatenations of ranges have both ends in one element; others an element for each end.
    pub(super) fn has_end_elements(&self) -> bool {
        self.intervals && self.key.len() == 1
    }

    /// The attributes of NFT_MSG_NEWSET after the table's name. `id` is any number that others of the transaction
    /// haven't.
    fn write(&self, id: u32, body: &mut Body<'_>) {
        let concatenated = self.key.len() > 1;
        let mut flags = 0;
        flags |= if self.intervals { 0x4 } else { 0 };
        flags |= if self.data.is_empty() { 0 } else { 0x8 };
        flags |= if self.intervals && concatenated { 0x80 } else { 0 };
        body.string(2, self.name).be32(3, flags);
        body.be32(4, type_number(self.key)).be32(5, length(self.key));
        if !self.data.is_empty() {
            body.be32(6, type_number(self.data)).be32(7, length(self.data));
        }
        body.be32(10, id);
        if self.intervals && concatenated {
            body.nest(9, |body| {
                body.nest(2, |body| {
                    for part in self.key {
                        body.nest(LIST_ELEM, |body| {
                            body.be32(1, part.padded() as u32);
                        });
                    }
                });
            });
        }
        // NFTNL_UDATA_SET_KEYBYTEORDER, without which nft prints names backwards: 1 the machine's, 2 the network's.
        let order: u32 = match self.key {
            [Type::Name] => 1,
            [_] => 2,
            _ => 0,
        };
        let [a, b, c, d] = order.to_ne_bytes();
        body.attr(13, &[0, 4, a, b, c, d]);
    }
}

/// nft's number of a concatenation: 6 bits a part.
fn type_number(parts: &[Type]) -> u32 {
    parts.iter().fold(0, |number, part| number << 6 | *part as u32)
}

fn length(parts: &[Type]) -> u32 {
    parts.iter().map(|part| part.padded()).sum::<usize>() as u32
}

/// An element of a set, each part filled up to a multiple of 4 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// The end of a range: of a concatenation its last element, else the first after it.
    pub(super) end: Option<Vec<u8>>,
    /// What a map gives for it.
    pub(super) data: Vec<u8>,
}

impl Element {
    /// One whose key has these parts.
    pub(super) fn of(parts: &[&[u8]]) -> Element {
        Element { key: join(parts), end: None, data: Vec::new() }
    }

    pub(super) fn with_end(mut self, parts: &[&[u8]]) -> Element {
        self.end = Some(join(parts));
        self
    }

    pub(super) fn with_data(mut self, parts: &[&[u8]]) -> Element {
        self.data = join(parts);
        self
    }

    fn write(&self, set: &Set, with_data: bool, body: &mut Body<'_>) {
        body.nest(LIST_ELEM, |body| {
            data(body, 1, &self.key);
            match &self.end {
                Some(end) if !set.has_end_elements() => data(body, 10, end),
                _ => {}
            }
            if with_data && !self.data.is_empty() {
                data(body, 2, &self.data);
            }
        });
        match &self.end {
            Some(end) if set.has_end_elements() => {
                // NFT_SET_ELEM_INTERVAL_END.
                body.nest(LIST_ELEM, |body| {
                    body.be32(3, 1);
                    data(body, 1, end);
                });
            }
            _ => {}
        }
    }
}

fn data(body: &mut Body<'_>, kind: u16, bytes: &[u8]) {
    body.nest(kind, |body| {
        body.attr(DATA_VALUE, bytes);
    });
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// A device's name as in registers and elements; longer ones don't exist (IFNAMSIZ).
pub(super) fn name(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(text.bytes().take(15)) {
        *to = from;
    }
    bytes
}

/// An address's bytes.
pub(super) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Where a base chain is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    /// NF_INET_*, NF_BR_*.
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// Messages that take effect together or not at all.
#[derive(Debug)]
pub(super) struct Transaction {
    batch: Batch,
    sets: u32,
}

impl Transaction {
    /// An empty one. With a generation it's refused (ERESTART) if the rules have changed since that.
    pub(super) fn new(generation: Option<u32>) -> Transaction {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, |body| {
            body.raw(&batch_header());
            if let Some(generation) = generation {
                body.be32(BATCH_GENERATION, generation);
            }
        });
        Transaction { batch, sets: 0 }
    }

    /// Whether it does nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.len() == 1
    }

    /// The batch to send, and the number of the message that is acknowledged.
    pub(super) fn finish(mut self) -> (Batch, usize) {
        let last = self.batch.len() - 1;
        // The end's acknowledgement exists since Linux 6.10 only.
        self.batch.ack_last();
        self.batch.message(BATCH_END, 0, |body| {
            body.raw(&batch_header());
        });
        (self.batch, last)
    }

    /// Makes a table that isn't there, else EEXIST. `version` is kept as its comment.
    pub(super) fn table(&mut self, at: Table<'_>, version: &str) {
        self.table_with(at, version, CREATE | EXCL);
    }

    /// Makes a table in place of the one that is there, if one is.
    pub(super) fn table_anew(&mut self, at: Table<'_>, version: &str) {
        self.table_with(at, version, CREATE);
        self.delete_table(at);
        self.table_with(at, version, CREATE | EXCL);
    }

    fn table_with(&mut self, at: Table<'_>, version: &str, flags: u16) {
        self.message(Msg::NewTable, flags, at.family, |body| {
            // NFTA_TABLE_USERDATA, NFTNL_UDATA_TABLE_COMMENT.
            body.string(1, at.name).be32(2, 0).attr(6, &comment(version));
        });
    }

    /// Removes a table with all that is in it.
    pub(super) fn delete_table(&mut self, at: Table<'_>) {
        self.message(Msg::DelTable, 0, at.family, |body| {
            body.string(1, at.name);
        });
    }

    /// Makes a chain; accepting, if it's hooked and nothing says otherwise.
    pub(super) fn chain(&mut self, at: Table<'_>, name: &str, hook: Option<Hook>) {
        self.message(Msg::NewChain, CREATE, at.family, |body| {
            body.string(1, at.name).string(3, name);
            let Some(hook) = hook else { return };
            body.string(7, hook.kind).nest(4, |body| {
                body.be32(1, hook.number).be32(2, hook.priority as u32);
            });
        });
    }

    /// Makes a set.
    pub(super) fn set(&mut self, at: Table<'_>, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        self.message(Msg::NewSet, CREATE, at.family, |body| {
            body.string(1, at.name);
            set.write(id, body);
        });
    }

    /// Adds a rule at the end of its chain.
    pub(super) fn rule(&mut self, at: Table<'_>, rule: &Rule) {
        self.rule_with(at, rule, CREATE | APPEND);
    }

    /// Adds a rule at the beginning of its chain.
    pub(super) fn rule_first(&mut self, at: Table<'_>, rule: &Rule) {
        self.rule_with(at, rule, CREATE);
    }

    fn rule_with(&mut self, at: Table<'_>, rule: &Rule, flags: u16) {
        self.message(Msg::NewRule, flags, at.family, |body| {
            body.string(1, at.name).string(2, &rule.chain);
            rule.write(body);
            // NFTA_RULE_USERDATA, NFTNL_UDATA_RULE_COMMENT.
            if let Some(text) = &rule.comment {
                body.attr(7, &comment(text));
            }
        });
    }

    /// Removes a rule.
    pub(super) fn delete_rule(&mut self, at: Table<'_>, chain: &str, handle: u64) {
        self.message(Msg::DelRule, 0, at.family, |body| {
            body.string(1, at.name).string(2, chain).be64(3, handle);
        });
    }

    /// Adds elements, of which any may be there already with the same data. EBUSY: there with other data.
    pub(super) fn add(&mut self, at: Table<'_>, set: &Set, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_MAX) {
            self.elements(Msg::NewElement, CREATE, at, set, some);
        }
    }

    /// Removes an element. ENOENT: it isn't there.
    pub(super) fn remove(&mut self, at: Table<'_>, set: &Set, element: &Element) {
        self.elements(Msg::DelElement, 0, at, set, std::slice::from_ref(element));
    }

    fn elements(&mut self, msg: Msg, flags: u16, at: Table<'_>, set: &Set, elements: &[Element]) {
        self.message(msg, flags, at.family, |body| {
            write_elements(at.name, set, elements, msg == Msg::NewElement, body);
        });
    }

    fn message(&mut self, msg: Msg, flags: u16, family: TableFamily, fill: impl FnOnce(&mut Body<'_>)) {
        self.batch.message(msg.typ(), flags, |body| {
            body.raw(&header(family as u8));
            fill(body);
        });
    }
}

/// A table by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table<'n> {
    pub(super) family: TableFamily,
    pub(super) name: &'n str,
}

/// A request outside transactions.
pub(super) fn request(msg: Msg, flags: u16, family: u8, fill: impl FnOnce(&mut Body<'_>)) -> Batch {
    let mut batch = Batch::new();
    batch.message(msg.typ(), flags, |body| {
        body.raw(&header(family));
        fill(body);
    });
    batch
}

/// The attributes of a list of elements.
pub(super) fn write_elements(
    table: &str,
    set: &Set,
    elements: &[Element],
    with_data: bool,
    body: &mut Body<'_>,
) {
    body.string(1, table).string(2, set.name).nest(3, |body| {
        for element in elements {
            element.write(set, with_data, body);
        }
    });
}

/// nfgenmsg.
fn header(family: u8) -> [u8; HEADER] {
    [family, 0, 0, 0]
}

/// nfgenmsg of a batch's ends: the subsystem in the network's order.
fn batch_header() -> [u8; HEADER] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}

/// User data of kind 0: a null-terminated comment, at most 128 bytes.
fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut bytes = vec![0, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// The comment in user data.
pub(super) fn comment_of(user_data: &[u8]) -> Option<&str> {
    let mut rest = user_data;
    while let [kind, length, after @ ..] = rest {
        let value = after.get(..usize::from(*length))?;
        if *kind == 0 {
            return std::str::from_utf8(value.strip_suffix(&[0])?).ok();
        }
        rest = &after[usize::from(*length)..];
    }
    None
}

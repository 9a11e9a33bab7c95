//! What a query is answered, as far as we know it ourselves. No input or output.
//!
//! - A name of ours is never asked for elsewhere, whatever the type: what we don't have of it, there is not.
//! - Our answers live for 0 seconds, docker's for 600: a container that is started anew must be found at once, and asking
//!   again costs less than 100 µs. A denial says nothing of its time, and so isn't kept either (RFC 2308, 5).
//! - `name.network` is looked up in networks of the container's alone. Another name that ends with a network's goes out,
//!   as with docker: networks are called `app` and `dev`, and so are top level domains.
//! - So do names without a dot that aren't ours: there are sites where a resolver knows them.
//! - An address within one of the container's networks that nobody has is denied: nobody else could know.
//! - `localhost` is answered here (RFC 6761, 6.3).

use super::known::{Known, Lookup};
use super::message::{
    CLASS_ANY, CLASS_IN, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Query, Rcode, Record, Rejected,
    UDP_ANSWER_BYTES_MAX, empty_reply, header_reply, is_sendable, reply, rr,
};
use super::zone::{Found, Turns};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Seconds for which our answers may be kept.
const TTL_SECONDS: u32 = 0;

/// Most addresses in an answer; with more, each answer has others.
const ADDRESSES_MAX: usize = 1024;

/// What is to be done about a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    /// The answer is written.
    Reply,
    /// It's not ours to answer.
    Forward(Query<'a>),
    /// Nothing.
    Ignore,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// Longest answer to a query.
    pub(super) fn limit(self, query: &Query<'_>) -> usize {
        match self {
            Transport::Udp => query.udp_limit(),
            Transport::Tcp => MESSAGE_BYTES_MAX,
        }
    }
}

/// Decides about a query. An answer is written over `out`. Addresses of a name take turns, beginning with `first`: another one
/// for each server, or all who ask for the first time would go to the same.
pub(super) fn decide<'a>(
    out: &mut Vec<u8>,
    message: &'a [u8],
    transport: Transport,
    known: &Known,
    first: u32,
) -> Decision<'a> {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(Rejected::Silently) => return Decision::Ignore,
        Err(Rejected::With(rcode)) => {
            header_reply(out, message, rcode);
            return Decision::Reply;
        }
    };
    let mut answer = Answer { out, query, limit: own_limit(transport, &query), first };
    if answer.is_refused() {
        return Decision::Reply;
    }
    if !known.is_sound() {
        answer.nothing(Rcode::ServFail);
        return Decision::Reply;
    }
    let mut space = [0; NAME_BYTES_MAX];
    let decided = query.name(&mut space).is_some_and(|name| answer.by_name(name, known));
    if decided { Decision::Reply } else { Decision::Forward(query) }
}

fn own_limit(transport: Transport, query: &Query<'_>) -> usize {
    match transport {
        Transport::Udp => query.udp_limit().min(UDP_ANSWER_BYTES_MAX),
        Transport::Tcp => MESSAGE_BYTES_MAX,
    }
}

struct Answer<'o, 'q> {
    out: &'o mut Vec<u8>,
    query: Query<'q>,
    limit: usize,
    first: u32,
}

impl Answer<'_, '_> {
    /// Answers what nobody gets here.
    fn is_refused(&mut self) -> bool {
        let rcode = match (self.query.edns, self.query.kind, self.query.class) {
            (Some(edns), ..) if edns.version > 0 => Rcode::BadVers,
            (_, rr::OPT, _) => Rcode::FormErr,
            (_, rr::IXFR | rr::AXFR, _) => Rcode::Refused,
            (.., CLASS_IN | CLASS_ANY) => return false,
            _ => Rcode::Refused,
        };
        self.nothing(rcode);
        true
    }

    fn nothing(&mut self, rcode: Rcode) {
        empty_reply(self.out, &self.query, rcode);
    }

    /// Answers if the name is ours.
    fn by_name(&mut self, name: &[u8], known: &Known) -> bool {
        if let Some(address) = address_of(name) {
            return self.by_address(known.name_of(address));
        }
        if name == b"localhost" || name.ends_with(b".localhost") {
            let turns = &Turns::default();
            self.addresses(Found { v4: &[Ipv4Addr::LOCALHOST], v6: &[Ipv6Addr::LOCALHOST], turns });
            return true;
        }
        let kind = self.query.kind;
        match known.find(name, |found| {
            kind != rr::AAAA && !found.v4.is_empty() || kind != rr::A && !found.v6.is_empty()
        }) {
            Lookup::Found(found) => self.addresses(found),
            Lookup::Denied => self.nothing(Rcode::NxDomain),
            Lookup::Broken => self.nothing(Rcode::ServFail),
            Lookup::Unknown => return false,
        }
        true
    }

    /// Who asks for anything gets one of the kinds that there are. Source: RFC 8482, 4.1.
    fn addresses(&mut self, found: Found<'_>) {
        let kind = match self.query.kind {
            rr::ANY if found.v4.is_empty() => rr::AAAA,
            rr::ANY => rr::A,
            kind => kind,
        };
        match kind {
            rr::A => self.records(found.v4, found.turns.next_v4(), |&address| Record::A(address)),
            rr::AAAA => self.records(found.v6, found.turns.next_v6(), |&address| Record::Aaaa(address)),
            _ => self.nothing(Rcode::NoError),
        }
    }

    fn records<T>(&mut self, values: &[T], turn: u32, record: impl Fn(&T) -> Record<'static>) {
        let turn = self.first.wrapping_add(turn) as usize;
        let (before, after) = values.split_at(turn.checked_rem(values.len()).unwrap_or(0));
        let records = after.iter().chain(before).take(ADDRESSES_MAX).map(record);
        reply(self.out, &self.query, Rcode::NoError, TTL_SECONDS, self.limit, records);
    }

    fn by_address(&mut self, lookup: Lookup<(&[u8], &[u8])>) -> bool {
        match lookup {
            Lookup::Found((name, network)) => {
                let name = if network.is_empty() { name.to_vec() } else { [name, network].join(&b'.') };
                let asked = matches!(self.query.kind, rr::PTR | rr::ANY) && is_sendable(&name);
                let record = asked.then_some(Record::Ptr(&name));
                reply(self.out, &self.query, Rcode::NoError, TTL_SECONDS, self.limit, record.into_iter());
            }
            Lookup::Denied => self.nothing(Rcode::NxDomain),
            Lookup::Broken => self.nothing(Rcode::ServFail),
            Lookup::Unknown => return false,
        }
        true
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` is about. Sources: RFC 1035, 3.5; RFC 3596, 2.5.
pub(super) fn address_of(name: &[u8]) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(b".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut count = 0;
        for label in digits.split(|&byte| byte == b'.') {
            // Without signs, and without zeros before, so that an address has one name.
            let plain =
                label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label.first() != Some(&b'0'));
            *octets.get_mut(3usize.checked_sub(count)?)? =
                str::from_utf8(label).ok()?.parse().ok().filter(|_| plain)?;
            count += 1;
        }
        return (count == 4).then(|| Ipv4Addr::from(octets).into());
    }
    let digits = name.strip_suffix(b".ip6.arpa")?;
    (digits.len() == 63).then_some(())?;
    let mut bits: u128 = 0;
    for (index, &byte) in digits.iter().enumerate() {
        if index % 2 == 1 {
            (byte == b'.').then_some(())?;
        } else {
            bits |= u128::from(char::from(byte).to_digit(16)?) << (index / 2 * 4);
        }
    }
    Some(Ipv6Addr::from_bits(bits).into())
}

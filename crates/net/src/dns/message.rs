//! Messages of the DNS: what a query asks, what a reply says. Sources: RFC 1035, 2308, 6891, 8482.
//!
//! Names are never decompressed. The one name of a query can't be compressed, since nothing stands before it, and names
//! in replies are only stepped over: there is no pointer that could be followed in circles.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes before the question.
pub const HEADER_BYTES: usize = 12;

/// Longest name as it's sent, with the empty label at its end. Source: RFC 1035, 2.3.4.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest label. Source: RFC 1035, 2.3.4.
pub const LABEL_BYTES_MAX: usize = 63;

/// Longest answer by UDP to who doesn't say that it takes more. Source: RFC 1035, 2.3.4.
pub const PLAIN_UDP_BYTES: usize = 512;

/// Longest datagram that we say we take: what passes every link unfragmented.
pub const OUR_UDP_BYTES: u16 = 1232;

/// Longest answer of our own by UDP, whatever the client takes: a longer one is asked for by TCP.
pub const UDP_ANSWER_BYTES_MAX: usize = 4096;

/// Longest message of all: TCP's length has two bytes.
pub const MESSAGE_BYTES_MAX: usize = 65535;

/// Types of records, and of questions.
pub mod rr {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// The start of a zone, which says how long a denial holds.
    pub const SOA: u16 = 6;
    /// A name that an address has.
    pub const PTR: u16 = 12;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// What EDNS has to say.
    pub const OPT: u16 = 41;
    /// Part of a zone.
    pub const IXFR: u16 = 251;
    /// A whole zone.
    pub const AXFR: u16 = 252;
    /// Whatever there is.
    pub const ANY: u16 = 255;
}

/// The internet's class.
pub const CLASS_IN: u16 = 1;
/// Whatever class.
pub const CLASS_ANY: u16 = 255;

/// What became of a question. Values above 15 need EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Rcode {
    /// Answered, maybe by nothing.
    NoError = 0,
    /// Not understood.
    FormErr = 1,
    /// We can't tell now.
    ServFail = 2,
    /// No such name.
    NxDomain = 3,
    /// We don't do that.
    NotImp = 4,
    /// We won't do that.
    Refused = 5,
    /// An EDNS from the future.
    BadVers = 16,
}

/// Why a message gets no answer, or which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// None: it's no query, and answering it could go round in circles.
    Silently,
    /// This one, by [`header_reply`].
    With(Rcode),
}

/// What the client says by EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// Longest datagram it takes.
    pub udp_bytes: u16,
    /// Version; there is only 0.
    pub version: u8,
    /// Whether it wants signatures.
    pub dnssec_ok: bool,
    /// Whether there are options, which may concern this very exchange.
    pub options: bool,
}

const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const AA: u8 = 0x04;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const RA: u8 = 0x80;
const AD: u8 = 0x20;
const CD: u8 = 0x10;
const RCODE: u8 = 0x0f;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Where the name that begins at `at` ends, compressed or not.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    let begin = at;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return (at + 2 <= bytes.len()).then_some(at + 2),
            _ => return None,
        }
        if at - begin >= NAME_BYTES_MAX {
            return None;
        }
    }
}

/// A record as it lies in a message.
struct Lying {
    kind: u16,
    class: u16,
    ttl_at: usize,
    data: std::ops::Range<usize>,
    root: bool,
}

/// The record that begins at `at`.
fn record_at(bytes: &[u8], at: usize) -> Option<Lying> {
    let end = skip_name(bytes, at)?;
    let data = end + 10..end + 10 + usize::from(u16_at(bytes, end + 8)?);
    (data.end <= bytes.len()).then_some(())?;
    Some(Lying {
        kind: u16_at(bytes, end)?,
        class: u16_at(bytes, end + 2)?,
        ttl_at: end + 4,
        data,
        root: bytes.get(at) == Some(&0),
    })
}

/// A well-formed query with one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    bytes: &'a [u8],
    question_end: usize,
    /// Type of the question.
    pub kind: u16,
    /// Class of the question.
    pub class: u16,
    /// What the client says by EDNS.
    pub edns: Option<Edns>,
}

impl<'a> Query<'a> {
    /// Reads a query.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Rejected> {
        if bytes.len() < HEADER_BYTES || bytes[2] & QR != 0 {
            return Err(Rejected::Silently);
        }
        if bytes[2] & OPCODE != 0 {
            return Err(Rejected::With(Rcode::NotImp));
        }
        Self::parse_sections(bytes).ok_or(Rejected::With(Rcode::FormErr))
    }

    fn parse_sections(bytes: &'a [u8]) -> Option<Self> {
        let count = |section: usize| u16_at(bytes, 4 + 2 * section);
        // IXFR alone has something in the authority section, and we refuse that one.
        if count(0)? != 1 || count(1)? != 0 {
            return None;
        }
        let name_end = skip_name(bytes, HEADER_BYTES)?;
        // A pointer has nothing to point at.
        plain_name(bytes, name_end).then_some(())?;
        let (kind, class) = (u16_at(bytes, name_end)?, u16_at(bytes, name_end + 2)?);
        let question_end = name_end + 4;
        let (mut at, mut edns) = (question_end, None);
        for _ in 0..u32::from(count(2)?) + u32::from(count(3)?) {
            let record = record_at(bytes, at)?;
            at = record.data.end;
            if record.kind == rr::OPT {
                (record.root && edns.is_none()).then_some(())?;
                edns = Some(Edns {
                    udp_bytes: record.class,
                    version: bytes[record.ttl_at + 1],
                    dnssec_ok: bytes[record.ttl_at + 2] & 0x80 != 0,
                    options: !record.data.is_empty(),
                });
            }
        }
        (at == bytes.len()).then_some(Query { bytes, question_end, kind, class, edns })
    }

    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Name, type and class, as they were sent.
    pub fn question(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..self.question_end]
    }

    /// The name in small letters with dots between its labels, none at its end; nothing if it has characters within its
    /// labels that text can't tell from dots. No such name is ours.
    pub fn name<'b>(&self, space: &'b mut [u8; NAME_BYTES_MAX]) -> Option<&'b [u8]> {
        let (mut at, mut length) = (HEADER_BYTES, 0);
        loop {
            let label = usize::from(self.bytes[at]);
            if label == 0 {
                return Some(&space[..length]);
            }
            if length > 0 {
                space[length] = b'.';
                length += 1;
            }
            for &byte in &self.bytes[at + 1..at + 1 + label] {
                if byte == b'.' {
                    return None;
                }
                space[length] = byte.to_ascii_lowercase();
                length += 1;
            }
            at += 1 + label;
        }
    }

    /// Longest answer that the client takes in a datagram.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP_BYTES, |edns| usize::from(edns.udp_bytes).max(PLAIN_UDP_BYTES))
    }

    /// What makes two questions the same, but for the case of their letters: they may share an answer. Nothing if the
    /// answer is for this client alone.
    pub fn key(&self) -> Option<Vec<u8>> {
        let edns = match self.edns {
            None => 0,
            Some(edns) if edns.options => return None,
            Some(edns) => 1 + u8::from(edns.dnssec_ok),
        };
        let mut key = Vec::with_capacity(self.question_end - HEADER_BYTES + 2);
        // Bytes of lengths, at most 63, are none of capital letters.
        key.extend(self.question().iter().map(u8::to_ascii_lowercase));
        // Type and class mustn't have been changed with the name.
        let length = key.len();
        key[length - 4..].copy_from_slice(&self.question()[length - 4..]);
        key.extend([(self.bytes[2] & RD) | (self.bytes[3] & (AD | CD)), edns]);
        Some(key)
    }
}

/// Whether the name of the question has no pointer in it.
fn plain_name(bytes: &[u8], name_end: usize) -> bool {
    let mut at = HEADER_BYTES;
    while at < name_end {
        match bytes[at] {
            0 => return at + 1 == name_end,
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return false,
        }
    }
    false
}

/// What stands in an answer. Its owner is always the name that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// An address.
    A(Ipv4Addr),
    /// An address.
    Aaaa(Ipv6Addr),
    /// A name with dots, none at its end, that [`is_sendable`].
    Ptr(&'a [u8]),
}

/// Whether a name with dots can be sent: labels of 1 to 63 bytes, 253 in all.
pub fn is_sendable(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES_MAX - 2
        && name.split(|&byte| byte == b'.').all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))
}

/// Writes the answer to `query` over `out`. If it's longer than `limit`, it has no records and asks to be asked by TCP.
/// All records live for `ttl` seconds.
pub fn reply<'r>(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    rcode: Rcode,
    ttl: u32,
    limit: usize,
    records: impl Iterator<Item = Record<'r>>,
) {
    let opt_bytes = if query.edns.is_some() { 11 } else { 0 };
    header(out, query.bytes, rcode, true);
    out[2] |= AA;
    out.extend(query.question());
    out[5] = 1;
    let mut count: u16 = 0;
    for record in records {
        push_record(out, record, ttl);
        count += 1;
        if out.len() + opt_bytes > limit || count == u16::MAX {
            out.truncate(query.question_end);
            out[2] |= TC;
            count = 0;
            break;
        }
    }
    out[6..8].copy_from_slice(&count.to_be_bytes());
    if let Some(edns) = query.edns {
        push_opt(out, rcode, edns.dnssec_ok);
    }
}

/// As [`reply`], without records.
pub fn empty_reply(out: &mut Vec<u8>, query: &Query<'_>, rcode: Rcode) {
    reply(out, query, rcode, 0, MESSAGE_BYTES_MAX, std::iter::empty());
    // We speak for a name only where we know it.
    if !matches!(rcode, Rcode::NoError | Rcode::NxDomain) {
        out[2] &= !AA;
    }
}

/// Writes an answer that only asks to be asked by TCP.
pub fn truncated_reply(out: &mut Vec<u8>, query: &Query<'_>) {
    empty_reply(out, query, Rcode::NoError);
    out[2] = (out[2] | TC) & !AA;
}

/// Writes the answer to a message whose question isn't understood. `query` has a header.
pub fn header_reply(out: &mut Vec<u8>, query: &[u8], rcode: Rcode) {
    header(out, query, rcode, false);
}

fn header(out: &mut Vec<u8>, query: &[u8], rcode: Rcode, understood: bool) {
    out.clear();
    out.extend(&query[..2]);
    out.push(QR | (query[2] & (OPCODE | RD)));
    let checking = if understood { query[3] & CD } else { 0 };
    out.push(RA | checking | (rcode as u16 as u8 & RCODE));
    out.extend([0; 8]);
}

fn push_record(out: &mut Vec<u8>, record: Record<'_>, ttl: u32) {
    let kind = match record {
        Record::A(_) => rr::A,
        Record::Aaaa(_) => rr::AAAA,
        Record::Ptr(_) => rr::PTR,
    };
    // The name of the question, by a pointer to it.
    out.extend([0xc0, HEADER_BYTES as u8]);
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    match record {
        Record::A(address) => {
            out.extend(4u16.to_be_bytes());
            out.extend(address.octets());
        }
        Record::Aaaa(address) => {
            out.extend(16u16.to_be_bytes());
            out.extend(address.octets());
        }
        Record::Ptr(name) => {
            out.extend((name.len() as u16 + 2).to_be_bytes());
            for label in name.split(|&byte| byte == b'.') {
                out.push(label.len() as u8);
                out.extend(label);
            }
            out.push(0);
        }
    }
}

fn push_opt(out: &mut Vec<u8>, rcode: Rcode, dnssec_ok: bool) {
    out.push(0);
    out.extend(rr::OPT.to_be_bytes());
    out.extend(OUR_UDP_BYTES.to_be_bytes());
    out.extend([(rcode as u16 >> 4) as u8, 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
    out.extend([0, 0]);
    out[11] = 1;
}

/// What a reply of an upstream resolver is to the query that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Not an answer to it: ignored.
    Stray,
    /// The resolver can't or won't; another may.
    Failure,
    /// An answer.
    Answer,
}

/// Judges what came from where the query was sent. Whoever can't see the query must guess id, port, and question.
/// A failure needn't repeat the question: some servers don't, and it says nothing that could be believed.
pub fn judge(query: &Query<'_>, id: u16, reply: &[u8]) -> Reply {
    let Some(header) = reply.get(..HEADER_BYTES) else { return Reply::Stray };
    let question = query.question();
    if header[..2] != id.to_be_bytes() || header[2] & QR == 0 || header[2] & OPCODE != 0 {
        return Reply::Stray;
    }
    let failed = matches!(header[3] & RCODE, 2 | 4 | 5);
    if header[4..6] == [0, 0] && reply.len() == HEADER_BYTES && header[3] & RCODE != 0 {
        return Reply::Failure;
    }
    let same = header[4..6] == [0, 1]
        && reply.get(HEADER_BYTES..query.question_end).is_some_and(|theirs| {
            let name = question.len() - 4;
            theirs[..name].eq_ignore_ascii_case(&question[..name]) && theirs[name..] == question[name..]
        });
    match (same, failed) {
        (false, _) => Reply::Stray,
        (true, true) => Reply::Failure,
        (true, false) => Reply::Answer,
    }
}

/// Makes a reply that [`judge`] took for one to a query of the same question the client's own: its id, and the letters as
/// it wrote them, for some use their case as a secret.
pub fn readdress(reply: &mut [u8], query: &Query<'_>) {
    reply[..2].copy_from_slice(&query.bytes[..2]);
    if reply.len() >= query.question_end {
        reply[HEADER_BYTES..query.question_end].copy_from_slice(query.question());
    }
}

/// How long a reply may be kept, and where in it times are counted down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds, not 0.
    pub seconds: u32,
    /// Where the records' own times stand, four bytes each.
    pub ttls_at: Box<[u16]>,
    /// Whether it's a denial: then no time in it is to be longer than its own. Source: RFC 2308, 3.
    pub denial: bool,
}

impl Lifetime {
    /// Of a reply that was judged an answer; nothing if it mustn't be kept: it's cut, malformed, or a denial that doesn't
    /// say for how long (RFC 2308, 5).
    pub fn of(reply: &[u8]) -> Option<Self> {
        let rcode = reply.get(3)? & RCODE;
        if reply[2] & TC != 0 || !matches!(rcode, 0 | 3) {
            return None;
        }
        let count = |section: usize| Some(usize::from(u16_at(reply, 4 + 2 * section)?));
        (count(0)? == 1).then_some(())?;
        let mut at = skip_name(reply, HEADER_BYTES)? + 4;
        let (answers, authorities) = (count(1)?, count(2)?);
        let mut ttls_at = Vec::new();
        let (mut seconds, mut denied_until) = (u32::MAX, None);
        for index in 0..answers + authorities + count(3)? {
            let record = record_at(reply, at)?;
            at = record.data.end;
            if record.kind == rr::OPT {
                // The upper part of the code is there.
                (reply[record.ttl_at] == 0).then_some(())?;
                continue;
            }
            let ttl = sane(u32_at(reply, record.ttl_at)?);
            seconds = seconds.min(ttl);
            ttls_at.push(u16::try_from(record.ttl_at).ok()?);
            if record.kind == rr::SOA && (answers..answers + authorities).contains(&index) {
                // Its last field.
                (record.data.len() >= 22).then_some(())?;
                denied_until = Some(ttl.min(sane(u32_at(reply, record.data.end - 4)?)));
            }
        }
        let denial = rcode == 3 || answers == 0;
        if at != reply.len() || denial && denied_until.is_none() {
            return None;
        }
        let seconds = seconds.min(denied_until.unwrap_or(u32::MAX));
        (seconds > 0 && !ttls_at.is_empty()).then_some(Lifetime { seconds, ttls_at: ttls_at.into(), denial })
    }

    /// Counts a reply's times down by `age` seconds. It's no more the word of who is responsible for the name.
    pub fn count_down(&self, reply: &mut [u8], age: u32) {
        reply[2] &= !AA;
        let longest = if self.denial { self.seconds } else { u32::MAX };
        for &at in &self.ttls_at {
            let at = usize::from(at);
            if let Some(ttl) = u32_at(reply, at) {
                reply[at..at + 4].copy_from_slice(&sane(ttl).min(longest).saturating_sub(age).to_be_bytes());
            }
        }
    }
}

/// A time with its highest bit set is none at all. Source: RFC 2181, 8.
fn sane(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

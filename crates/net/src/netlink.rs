//! Netlink messages, built with checked lengths and read without trust, over a blocking socket. Sources: netlink(7),
//! include/uapi/linux/netlink.h.
//!
//! ```text
//! Batch: message ─ header, then attributes ─┐
//!        message …                          ├─▶ Socket::exchange: one send, acknowledged by the kernel
//! ```

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `NLM_F_REQUEST`: on every message to the kernel.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the kernel answers also if it succeeded.
pub const ACK: u16 = 0x4;
/// `NLM_F_EXCL`: what is made must not be there.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: what isn't there is made.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: added at the end.
pub const APPEND: u16 = 0x800;
/// `NLM_F_REPLACE`: what is there is replaced.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_DUMP`: all objects are asked for.
pub const DUMP: u16 = 0x300;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER_BYTES: usize = 16;

/// Longest answer that is read, in bytes: the kernel sends dumps in pieces of at most 32 KiB, and an error repeats the
/// message that it's about.
const ANSWER_BYTES_MAX: usize = 128 << 10;

/// Longest batch, in bytes, unless [`Socket::widen`] says otherwise: what one send takes with the default buffer of a
/// socket. Source: net.core.wmem_default.
pub const BATCH_BYTES_MAX: usize = 128 << 10;

/// Tries of a dump that others' changes interrupt.
const DUMP_TRIES_MAX: u32 = 20;

/// Messages, one after the other.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    messages: usize,
    last_start: usize,
    too_long: bool,
}

impl Batch {
    /// None yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a message: its type, its flags beside [`REQUEST`], and what it consists of.
    pub fn message(&mut self, typ: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) -> &mut Batch {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        fill(&mut Body { batch: self });
        let length = self.bytes.len() - start;
        self.pad();
        let number = self.messages as u32;
        let header = &mut self.bytes[start..start + HEADER_BYTES];
        header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        header[4..6].copy_from_slice(&typ.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&number.to_ne_bytes());
        self.messages += 1;
        self.last_start = start;
        self
    }

    /// Lets the last message ask for an acknowledgement.
    pub fn ack_last(&mut self) -> &mut Batch {
        if let Some(flags) = self.bytes.get_mut(self.last_start + 6) {
            *flags |= ACK as u8;
        }
        self
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Length in bytes.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The bytes to send, numbered from `sequence`; EMSGSIZE if an attribute or all of it got too long.
    fn finish(&self, sequence: u32, bytes_max: usize) -> Result<Vec<u8>, Errno> {
        if self.too_long || self.bytes.len() > bytes_max {
            return Err(Errno::MSGSIZE);
        }
        let mut bytes = self.bytes.clone();
        let mut at = 0;
        while at < bytes.len() {
            let number = word(&bytes, at + 8);
            bytes[at + 8..at + 12].copy_from_slice(&number.wrapping_add(sequence).to_ne_bytes());
            at += (word(&bytes, at) as usize).next_multiple_of(4);
        }
        Ok(bytes)
    }
}

/// What a message consists of.
#[derive(Debug)]
pub struct Body<'b> {
    batch: &'b mut Batch,
}

impl Body<'_> {
    /// Bytes as they are: the family's header.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.batch.bytes.extend_from_slice(bytes);
        self.batch.pad();
        self
    }

    /// An attribute.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.batch.bytes.extend_from_slice(payload);
        self.close(start);
        self
    }

    /// An attribute that is a null-terminated string.
    pub fn string(&mut self, kind: u16, text: &str) -> &mut Self {
        let start = self.open(kind);
        self.batch.bytes.extend_from_slice(text.as_bytes());
        self.batch.bytes.push(0);
        self.close(start);
        self
    }

    /// An attribute of 8 bits.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attr(kind, &[value])
    }

    /// An attribute of 16 bits in the machine's order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// An attribute of 32 bits in the machine's order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// An attribute of 32 bits in the network's order, as nftables has all its numbers.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// An attribute of 64 bits in the network's order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// An attribute that consists of others.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) -> &mut Self {
        let start = self.open(kind | NLA_F_NESTED);
        fill(&mut Body { batch: self.batch });
        self.close(start);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(&[0, 0]);
        self.batch.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.batch.bytes.len() - start) {
            Ok(length) => self.batch.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.batch.too_long = true,
        }
        self.batch.pad();
    }
}

/// What the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub struct Refused {
    /// Which message of the batch, from 0; `None` if it was the whole.
    pub message: Option<usize>,
    /// Why.
    pub errno: Errno,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        Refused { message: None, errno }
    }
}

/// A socket to one subsystem of the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    batch_bytes_max: usize,
}

/// Socket protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, rules: rtnetlink(7).
    Route,
    /// nftables, conntrack.
    Netfilter,
}

impl Socket {
    /// Opens one that gets answers only.
    pub fn open(protocol: Protocol) -> Result<Socket, Errno> {
        Socket::listen(protocol, 0)
    }

    /// Opens one that also hears what the multicast groups of the mask `groups` tell: group n is bit n - 1.
    pub fn listen(protocol: Protocol, groups: u32) -> Result<Socket, Errno> {
        let protocol = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Socket { fd, sequence: 1, buffer: Vec::new(), batch_bytes_max: BATCH_BYTES_MAX })
    }

    /// Sends a batch whose last message asks for an acknowledgement, and waits for the answers to all of it. The first
    /// message that was refused is the error; what rtnetlink did of the others is done.
    pub fn exchange(&mut self, batch: &Batch) -> Result<(), Refused> {
        if batch.is_empty() {
            return Ok(());
        }
        self.exchange_until(batch, batch.len() - 1)
    }

    /// As [`Socket::exchange`], where the message with the number `last` is the one that asks for an acknowledgement.
    ///
    /// Never waits: the kernel answers within the send. So nothing to read means that there was no answer, or that the
    /// answers before it had no room in the socket's buffer (ENOBUFS): what was refused first is in there all the same.
    /// Source: netlink_unicast_kernel, netlink_overrun; for nftables nfnetlink_rcv_batch, which delivers errors in the
    /// order of messages after the whole batch, and those of the batch itself (ENOMEM, a commit that failed) on its
    /// first message, before the others.
    pub fn exchange_until(&mut self, batch: &Batch, last: usize) -> Result<(), Refused> {
        let first = self.send(batch)?;
        let count = batch.len() as u32;
        let mut refused: Option<Refused> = None;
        let mut silence = Errno::PROTO;
        loop {
            let length = match self.receive(RecvFlags::DONTWAIT) {
                Ok(length) => length,
                Err(Errno::NOBUFS) => {
                    silence = Errno::NOBUFS;
                    continue;
                }
                Err(Errno::AGAIN) => return Err(refused.unwrap_or(silence.into())),
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages::of(&self.buffer[..length]) {
                let number = message.sequence.wrapping_sub(first);
                if message.typ != NLMSG_ERROR || number >= count {
                    continue;
                }
                let errno = message.errno()?;
                if let Some(errno) = errno {
                    let found = Refused { message: Some(number as usize), errno };
                    if refused.is_none_or(|earlier| earlier.message > found.message) {
                        refused = Some(found);
                    }
                }
                // What is refused as a whole is answered on its first message, and on nothing else.
                let is_whole = number == 0 && errno.is_some() && last != 0;
                if number as usize == last || is_whole {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Sends one message with [`DUMP`], and gives each object of the answer to `each`: the message's type and payload.
    /// Objects may come twice if others change them meanwhile: the dump begins anew then, after `each` got [`None`].
    pub fn dump(&mut self, request: &Batch, mut each: impl FnMut(Option<(u16, &[u8])>)) -> Result<(), Errno> {
        for _ in 0..DUMP_TRIES_MAX {
            each(None);
            let first = self.send(request)?;
            if self.dump_once(first, &mut each)? {
                return Ok(());
            }
        }
        Err(Errno::AGAIN)
    }

    /// One dump; false if it was interrupted.
    fn dump_once(&mut self, first: u32, each: &mut impl FnMut(Option<(u16, &[u8])>)) -> Result<bool, Errno> {
        let mut whole = true;
        loop {
            let length = self.receive(RecvFlags::empty())?;
            for message in Messages::of(&self.buffer[..length]) {
                if message.sequence != first {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.typ {
                    NLMSG_DONE => match message.errno()? {
                        None => return Ok(whole),
                        Some(errno) => return Err(errno),
                    },
                    NLMSG_ERROR => return Err(message.errno()?.unwrap_or(Errno::PROTO)),
                    typ => each(Some((typ, message.payload))),
                }
            }
        }
    }

    /// Sends one message and returns the type and payload of the one object that answers it.
    pub fn get(&mut self, request: &Batch) -> Result<(u16, Vec<u8>), Errno> {
        let first = self.send(request)?;
        loop {
            let length = self.receive(RecvFlags::empty())?;
            let answer = Messages::of(&self.buffer[..length]).find(|message| message.sequence == first);
            match answer {
                None => {}
                Some(message) if message.typ == NLMSG_ERROR => {
                    return Err(message.errno()?.unwrap_or(Errno::NOENT));
                }
                Some(message) => return Ok((message.typ, message.payload.to_vec())),
            }
        }
    }

    /// Lets batches of up to `bytes` be sent, at most 64 MiB. Needs CAP_NET_ADMIN in the initial user namespace, or
    /// net.core.wmem_max that is large enough. Source: socket(7), SO_SNDBUFFORCE.
    pub fn widen(&mut self, bytes: usize) -> Result<(), Errno> {
        let bytes = bytes.min(64 << 20);
        if bytes <= self.batch_bytes_max {
            return Ok(());
        }
        // The kernel doubles what it's told; what it keeps for itself fits into the other half.
        match rustix::net::sockopt::set_socket_send_buffer_size_force(&self.fd, bytes) {
            Err(Errno::PERM) => rustix::net::sockopt::set_socket_send_buffer_size(&self.fd, bytes)?,
            other => other?,
        }
        self.batch_bytes_max = bytes;
        Ok(())
    }

    /// Takes what the groups have told so far, without waiting: false if there was nothing. ENOBUFS if some were lost.
    pub fn heard(&mut self, mut each: impl FnMut(u16, &[u8])) -> Result<bool, Errno> {
        let length = match self.receive(RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Ok(false),
            other => other?,
        };
        for message in Messages::of(&self.buffer[..length]) {
            each(message.typ, message.payload);
        }
        Ok(true)
    }

    /// Waits for what the groups tell, and gives each message to `each`: type and payload. ENOBUFS if some were lost.
    pub fn hear(&mut self, mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        let length = self.receive(RecvFlags::empty())?;
        for message in Messages::of(&self.buffer[..length]) {
            each(message.typ, message.payload);
        }
        Ok(())
    }

    fn send(&mut self, batch: &Batch) -> Result<u32, Errno> {
        let first = self.sequence;
        let bytes = batch.finish(first, self.batch_bytes_max)?;
        self.sequence = first.wrapping_add(batch.len() as u32);
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
        })?;
        if sent == bytes.len() { Ok(first) } else { Err(Errno::MSGSIZE) }
    }

    /// Receives what the kernel sent, and nobody else: its length in the buffer.
    fn receive(&mut self, flags: RecvFlags) -> Result<usize, Errno> {
        self.buffer.resize(ANSWER_BYTES_MAX, 0);
        loop {
            let received = rustix::net::recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC | flags);
            let (_, length, sender) = match received {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let from_kernel = sender
                .and_then(|address| SocketAddrNetlink::try_from(address).ok())
                .is_some_and(|address| address.pid() == 0);
            if !from_kernel {
                continue;
            }
            return if length > ANSWER_BYTES_MAX { Err(Errno::MSGSIZE) } else { Ok(length) };
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

struct Message<'b> {
    typ: u16,
    flags: u16,
    sequence: u32,
    payload: &'b [u8],
}

impl Message<'_> {
    /// What an error message says: none is an acknowledgement.
    fn errno(&self) -> Result<Option<Errno>, Errno> {
        let bytes: [u8; 4] =
            self.payload.get(..4).and_then(|code| code.try_into().ok()).ok_or(Errno::PROTO)?;
        match i32::from_ne_bytes(bytes) {
            0 => Ok(None),
            code => Ok(Some(Errno::from_raw_os_error(code.saturating_neg()))),
        }
    }
}

struct Messages<'b> {
    bytes: &'b [u8],
}

impl<'b> Messages<'b> {
    fn of(bytes: &'b [u8]) -> Messages<'b> {
        Messages { bytes }
    }
}

impl<'b> Iterator for Messages<'b> {
    type Item = Message<'b>;

    fn next(&mut self) -> Option<Message<'b>> {
        if self.bytes.len() < HEADER_BYTES {
            return None;
        }
        let length = word(self.bytes, 0) as usize;
        let payload = self.bytes.get(HEADER_BYTES..length)?;
        let message = Message {
            typ: half(self.bytes, 4),
            flags: half(self.bytes, 6),
            sequence: word(self.bytes, 8),
            payload,
        };
        self.bytes = self.bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes in a message's payload after its family's header, or in a nested attribute: kinds and payloads. Ends
/// at the first that isn't whole.
#[derive(Clone, Debug)]
pub struct Attributes<'b> {
    bytes: &'b [u8],
}

impl<'b> Attributes<'b> {
    /// Of these bytes.
    pub fn of(bytes: &'b [u8]) -> Attributes<'b> {
        Attributes { bytes }
    }

    /// Of a message whose family's header has `header` bytes.
    pub fn after(payload: &'b [u8], header: usize) -> Attributes<'b> {
        Attributes::of(payload.get(header..).unwrap_or_default())
    }

    /// The first of a kind.
    pub fn find_kind(&self, kind: u16) -> Option<&'b [u8]> {
        self.clone().find(|(found, _)| *found == kind).map(|(_, payload)| payload)
    }
}

impl<'b> Iterator for Attributes<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<(u16, &'b [u8])> {
        if self.bytes.len() < 4 {
            return None;
        }
        let length = usize::from(half(self.bytes, 0));
        let payload = self.bytes.get(4..length)?;
        let kind = half(self.bytes, 2) & NLA_TYPE_MASK;
        self.bytes = self.bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// A null-terminated string in an attribute.
pub fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// 32 bits in the network's order, in an attribute of nftables'.
pub fn number_be(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(payload.get(..4)?.try_into().ok()?))
}

/// 32 bits in the machine's order, in an attribute.
pub fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(payload.get(..4)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(number).unwrap_or(0)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let mut batch = Batch::new();
        batch.message(16, ACK, |body| {
            body.raw(&[7; 16]).string(3, "eth0").nest(18, |body| {
                body.u32(1, 5).u8(2, 9);
            });
        });
        let bytes = batch.finish(41, BATCH_BYTES_MAX).unwrap();
        let message = Messages::of(&bytes).next().unwrap();
        assert_eq!((message.typ, message.flags, message.sequence), (16, ACK | REQUEST, 41));
        let attributes = Attributes::after(message.payload, 16);
        assert_eq!(text(attributes.find_kind(3).unwrap()), "eth0");
        let nested = Attributes::of(attributes.find_kind(18).unwrap());
        assert_eq!(number(nested.find_kind(1).unwrap()), Some(5));
        assert_eq!(nested.find_kind(2).unwrap(), [9]);
        assert_eq!(attributes.count(), 2);
    }

    #[test]
    fn an_attribute_that_overflows_its_length_is_refused() {
        let mut batch = Batch::new();
        batch.message(16, ACK, |body| {
            body.attr(1, &vec![0; 65_536]);
        });
        assert_eq!(batch.finish(1, BATCH_BYTES_MAX).unwrap_err(), Errno::MSGSIZE);
        let mut batch = Batch::new();
        batch.message(16, ACK, |body| {
            body.nest(1, |body| {
                body.attr(1, &[0; 40_000]).attr(2, &[0; 40_000]);
            });
        });
        assert_eq!(batch.finish(1, BATCH_BYTES_MAX).unwrap_err(), Errno::MSGSIZE);
    }

    #[test]
    fn bytes_that_lie_about_their_length_end_the_reading() {
        assert_eq!(Attributes::of(&[200, 0, 1, 0, 1, 2]).count(), 0);
        assert_eq!(Attributes::of(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(Messages::of(&[255; 20]).count(), 0);
        assert_eq!(Messages::of(&[0; 40]).count(), 0);
    }

    #[test]
    fn the_kernel_answers_and_refuses() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut links = Batch::new();
        // RTM_GETLINK of all links; ifinfomsg.
        links.message(18, DUMP, |body| {
            body.raw(&[0; 16]);
        });
        let mut names = Vec::new();
        socket
            .dump(&links, |object| match object {
                None => names.clear(),
                Some((_, payload)) => {
                    names.extend(Attributes::after(payload, 16).find_kind(3).map(text));
                }
            })
            .unwrap();
        assert!(names.contains(&"lo".to_owned()), "{names:?}");
        // RTM_GETLINK of one that isn't there.
        let mut one = Batch::new();
        one.message(18, 0, |body| {
            body.raw(&[0; 16]).string(3, "berth-none");
        });
        assert_eq!(socket.get(&one).unwrap_err(), Errno::NODEV);
        // RTM_DELLINK of the same.
        let mut two = Batch::new();
        for _ in 0..2 {
            two.message(17, ACK, |body| {
                body.raw(&[0; 16]).string(3, "berth-none");
            });
        }
        let refused = socket.exchange(&two).unwrap_err();
        assert_eq!(refused, Refused { message: Some(0), errno: Errno::NODEV });
    }
}

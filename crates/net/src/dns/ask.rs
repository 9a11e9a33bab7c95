//! One question, asked as a program in a container asks it: for `doctor`.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The code: 0 is no error, 3 that there is no such name.
    pub rcode: u8,
    /// The addresses of the kind that was asked for.
    pub addresses: Vec<IpAddr>,
}

/// Types of records. Source: RFC 1035, 3.2.2; RFC 3596, 2.1.
const A: u16 = 1;
const NS: u16 = 2;
const AAAA: u16 = 28;

const HEADER_BYTES: usize = 12;
const LABEL_BYTES_MAX: usize = 63;
const REPLY_BYTES_MAX: usize = 4096;

/// Asks a server by UDP for the addresses of a name, of IPv6 or of IPv4, from the current network namespace. An empty name asks
/// who serves the root, which every resolver knows.
///
/// Errors: `TimedOut`; the kernel's, as where there is no route; `InvalidInput` for what is no name.
pub fn ask(server: SocketAddr, name: &str, v6: bool, limit: Duration) -> Result<Answered> {
    let any: IpAddr =
        if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Only its replies are heard then, and what routers and the host itself say of it.
    socket.connect(server)?;
    let id = socket.local_addr()?.port();
    let typ = match (name, v6) {
        ("", _) => NS,
        (_, true) => AAAA,
        (_, false) => A,
    };
    let question = question(id, name, typ).ok_or(ErrorKind::InvalidInput)?;
    socket.send(&question)?;
    let until = Instant::now() + limit;
    let mut reply = [0; REPLY_BYTES_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut reply) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        if let Some(answered) = read(&reply[..length], &question, typ) {
            return answered.ok_or_else(|| Error::new(ErrorKind::InvalidData, "the answer makes no sense"));
        }
    }
}

fn question(id: u16, name: &str, typ: u16) -> Option<Vec<u8>> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion is wanted; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        let length = u8::try_from(label.len()).ok()?;
        (1..=LABEL_BYTES_MAX).contains(&label.len()).then_some(())?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(typ.to_be_bytes());
    bytes.extend([0, 1]);
    Some(bytes)
}

/// `None` if it's no reply to the question; within, `None` if it's one that can't be read.
fn read(reply: &[u8], question: &[u8], typ: u16) -> Option<Option<Answered>> {
    let is_reply = reply.get(..2)? == question.get(..2)? && reply.get(2)? & 0x80 != 0;
    is_reply.then(|| answers(reply, question.len(), typ))
}

fn answers(reply: &[u8], question_bytes: usize, typ: u16) -> Option<Answered> {
    let rcode = reply.get(3)? & 0x0f;
    let count = u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]);
    let mut addresses = Vec::new();
    let mut at = if count == 0 { HEADER_BYTES } else { question_bytes };
    for _ in 0..count {
        at = after_name(reply, at)?;
        let head = reply.get(at..at + 10)?;
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let data = reply.get(at + 10..at + 10 + length)?;
        if u16::from_be_bytes([head[0], head[1]]) == typ {
            match typ {
                A => addresses.push(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
                AAAA => addresses.push(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
                _ => {}
            }
        }
        at += 10 + length;
    }
    Some(Answered { rcode, addresses })
}

/// Where a name ends that begins at `at`.
fn after_name(reply: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *reply.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_nonsense_is_not() {
        let asked = question(7, "web.blue", A).unwrap();
        assert_eq!(&asked[12..], b"\x03web\x04blue\0\0\x01\0\x01");
        let mut reply = asked.clone();
        reply[2] |= 0x80;
        reply[7] = 1;
        reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x0a\x01\x02\x03");
        let own = Answered { rcode: 0, addresses: vec![IpAddr::from([10, 1, 2, 3])] };
        assert_eq!(read(&reply, &asked, A), Some(Some(own)));
        for length in 0..reply.len() {
            let cut = read(&reply[..length], &asked, A);
            assert!(cut.is_none_or(|answered| answered.is_none()), "{length}");
        }
        // Somebody else's id; a question.
        assert_eq!(read(&reply, &question(8, "web.blue", A).unwrap(), A), None);
        assert_eq!(read(&asked, &asked, A), None);
        assert_eq!(question(7, "a..b", A), None);
        assert_eq!(question(7, "", NS).unwrap().len(), 12 + 5);
    }
}

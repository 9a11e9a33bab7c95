//! Who listens in a network namespace: `/proc/PID/net/tcp` and its like. Source: Documentation/networking/proc_net_tcp.rst.

use crate::request::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// As much of a file as is read, in bytes: some hundred thousand sockets.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The addresses at which programs listen in the network namespace of a process.
pub(super) fn of(pid: &str, protocol: Protocol) -> Vec<SocketAddr> {
    let (word, state) = match protocol {
        // TCP_LISTEN; for UDP, TCP_CLOSE: not connected to anybody.
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
    };
    let files = [word.to_owned(), format!("{word}6")];
    files.iter().flat_map(|file| parse(&read(&format!("/proc/{pid}/net/{file}")), state)).collect()
}

fn read(path: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map(|file| file.take(FILE_BYTES_MAX));
    match file.and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

fn parse(text: &str, state: &str) -> Vec<SocketAddr> {
    let socket = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = words.next()?;
        (words.nth(1)? == state).then_some(())?;
        let (address, port) = local.split_once(':')?;
        Some(SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// An address as hexadecimal words of the machine's order of bytes.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Whether a program that listens at `own` hears what is sent to `address`.
pub(super) fn hears(own: SocketAddr, address: IpAddr, port: u16) -> bool {
    // One of IPv6 at :: hears IPv4 too, unless it says otherwise, which isn't told here.
    own.port() == port
        && (own.ip() == address || own.ip().is_unspecified() && (own.is_ipv6() || address.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
                    \x20  0: 0100007F:0050 00000000:0000 0A 00000000:00000000\n\
                    \x20  1: 00000000:1F90 00000000:0000 0A 00000000:00000000\n\
                    \x20  2: 0100007F:0051 0100007F:9999 01 00000000:00000000\n\
                    \x20  3: 00000000000000000000000001000000:0050 0:0 0A 0\n\
                    \x20  4: odd\n";
        let found: Vec<String> = parse(text, "0A").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1:80", "0.0.0.0:8080", "[::1]:80"]);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own = IpAddr::from([10, 0, 0, 2]);
        assert!(hears(at("0.0.0.0:80"), own, 80) && hears(at("[::]:80"), own, 80));
        assert!(!hears(at("127.0.0.1:80"), own, 80) && !hears(at("0.0.0.0:81"), own, 80));
        assert!(!hears(at("0.0.0.0:80"), IpAddr::from([0; 16]), 80));
    }
}

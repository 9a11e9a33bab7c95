//! In a container's own network namespace: what is asked of its name server's port goes to the port that the server has, so
//! that a program in the container can have port 53 of all addresses. Source: net-store-facts.md, 5.

use super::expr::{Field, Rule};
use super::wire::{Element, Family, Hook, Set, Table, TableFamily, Transaction, Type, address};
use super::{Error, Protocol};
use crate::netlink::{Protocol as NetlinkProtocol, Refused, Socket};
use rustix::io::Errno;
use std::net::SocketAddr;

/// Port of name servers.
const PORT: u16 = 53;

const NAME: &str = "berth-names";

const SERVER: Set = Set {
    name: "server",
    key: &[Type::Protocol, Type::Port],
    data: &[Type::Ipv4, Type::Port],
    intervals: false,
};

/// Leads queries to port 53 of `server`'s address, which is of IPv4, to `server`; in the network namespace of this thread, in
/// place of what was there before.
pub fn lead(server: SocketAddr) -> Result<(), Error> {
    let mut socket = Socket::open(NetlinkProtocol::Netfilter).map_err(|errno| Error::Open { errno })?;
    let mut put = |anew: bool| {
        let (batch, last) = rules(server, anew).finish();
        socket.exchange_until(&batch, last)
    };
    // Replacing costs a wait for all processors when the socket is closed: only where there is something to replace.
    let put = match put(false) {
        Err(Refused { errno: Errno::EXIST, .. }) => put(true),
        other => other,
    };
    put.map_err(|Refused { errno, .. }| Error::Refused {
        doing: "lead queries to the container's name server",
        table: NAME.to_owned(),
        errno,
    })
}

fn rules(server: SocketAddr, anew: bool) -> Transaction {
    let at = Table { family: TableFamily::Inet, name: NAME };
    let ip = address(server.ip());
    let mut transaction = Transaction::new(None);
    match anew {
        true => transaction.table_anew(at, super::ruleset::VERSION),
        false => transaction.table(at, super::ruleset::VERSION),
    }
    transaction.set(at, &SERVER);
    let to: [&[u8]; 2] = [&ip, &server.port().to_be_bytes()];
    let element =
        |protocol: Protocol| Element::of(&[&[protocol.number()], &PORT.to_be_bytes()]).with_data(&to);
    transaction.add(at, &SERVER, &[element(Protocol::Udp), element(Protocol::Tcp)]);
    transaction.chain(at, "out", Some(Hook { kind: "nat", number: 3, priority: -100 }));
    let rule = Rule::on("out").of(Family::V4).equals(Field::Destination(Family::V4), &ip);
    transaction.rule(at, &rule.dnat(Family::V4, &[Field::L4, Field::DestinationPort], SERVER.name));
    transaction
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn queries_come_to_the_port_that_the_server_has() {
        testkit::netns::own();
        for _ in 0..2 {
            let udp = UdpSocket::bind("127.0.0.11:0").unwrap();
            let server = udp.local_addr().unwrap();
            let tcp = TcpListener::bind(server).unwrap();
            lead(server).unwrap();
            // Port 53 of every address is still to be had.
            let _own = UdpSocket::bind("0.0.0.0:53").unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect("127.0.0.11:53").unwrap();
            client.send(b"who?").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"who?");
            udp.send_to(b"me", from).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), 2);
            let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
            tcp.accept().unwrap().0.write_all(b"me").unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "me");
        }
    }
}

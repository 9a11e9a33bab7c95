//! Connections that the kernel tracks, and that must end when a UDP port is published or unpublished: an element decides
//! about a flow's first packet only. A flow that began before the port was published would go on to the host itself, and
//! one of a port that went would go on to the container. Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h,
//! net/netfilter/nf_conntrack_netlink.c.

use super::wire::HEADER;
use super::{Port, Protocol};
use crate::netlink::{self, Attributes, Batch, Body, DUMP, Socket, number_be};
use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr};

/// NFNL_SUBSYS_CTNETLINK.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const FILTER: u16 = 25;

/// CTA_TUPLE_IP, CTA_TUPLE_PROTO.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// CTA_PROTO_NUM, CTA_PROTO_DST_PORT.
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE: u16 = 2;
const PROTO_DESTINATION: u16 = 3;
/// CTA_FILTER_FLAG(CTA_PROTO_NUM) and of CTA_PROTO_DST_PORT.
const FILTER_FLAGS: u32 = 1 << 3 | 1 << 5;

/// IPS_DST_NAT.
const STATUS_DNAT: u32 = 0x20;

const UDP: u8 = 17;

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    /// Where its first packet was sent.
    to: SocketAddr,
    /// Who answers.
    answers: SocketAddr,
    dnat: bool,
    /// Its original tuple and its id, as they were told: they name it.
    tuple: Vec<u8>,
    id: Option<u32>,
}

/// Ends the flows of UDP to these ports that don't go where they would go if they began now, or go to a target of one of
/// these. The ports are published, or not any more, by now.
pub(super) fn forget(socket: &mut Socket, ports: &[Port]) -> Result<(), Errno> {
    let udp: Vec<&Port> = ports.iter().filter(|port| port.protocol == Protocol::Udp).collect();
    if udp.is_empty() {
        return Ok(());
    }
    let locals = local_addresses()?;
    for port in udp {
        for flow in flows(socket, port)? {
            if concerns(port, &flow, &locals) {
                delete(socket, port, &flow)?;
            }
        }
    }
    Ok(())
}

/// Whether a flow is one of a port's: sent to its address, and that's the host's, not some machine's outside.
fn concerns(port: &Port, flow: &Flow, locals: &[IpAddr]) -> bool {
    let sent_here = if port.host.ip().is_unspecified() {
        let ip = flow.to.ip();
        ip.is_loopback() || locals.contains(&ip)
    } else {
        flow.to.ip() == port.host.ip()
    };
    flow.to.port() == port.host.port() && (sent_here || (flow.dnat && flow.answers == port.target))
}

/// The flows of UDP to a port's number.
fn flows(socket: &mut Socket, port: &Port) -> Result<Vec<Flow>, Errno> {
    let number = port.host.port().to_be_bytes();
    // The kernel filters since 5.8; earlier ones pass over CTA_FILTER and tell all.
    for filtered in [true, false] {
        let mut request = Batch::new();
        request.message(GET, DUMP, |body| {
            header(port, body);
            if filtered {
                body.nest(TUPLE_ORIGINAL, |body| {
                    body.nest(TUPLE_PROTO, |body| {
                        body.u8(PROTO_NUMBER, UDP).attr(PROTO_DESTINATION, &number);
                    });
                });
                body.nest(FILTER, |body| {
                    body.u32(1, FILTER_FLAGS).u32(2, 0);
                });
            }
        });
        let mut flows = Vec::new();
        let dumped = socket.dump(&request, |object| match object {
            None => flows.clear(),
            Some((_, payload)) => {
                let flow = read(payload).filter(|flow| flow.to.port() == port.host.port());
                flows.extend(flow);
            }
        });
        match dumped {
            // Without the filter; or the kernel tells of no flows at all (CONFIG_NF_CT_NETLINK): nothing to be done.
            Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
            other => return other.map(|()| flows),
        }
    }
    Ok(Vec::new())
}

fn delete(socket: &mut Socket, port: &Port, flow: &Flow) -> Result<(), Errno> {
    let mut request = Batch::new();
    request.message(DELETE, netlink::ACK, |body| {
        header(port, body);
        body.nest(TUPLE_ORIGINAL, |body| {
            body.raw(&flow.tuple);
        });
        if let Some(id) = flow.id {
            body.be32(ID, id);
        }
    });
    match socket.exchange(&request) {
        // It ended by itself.
        Err(refused) if refused.errno == Errno::NOENT => Ok(()),
        other => other.map_err(|refused| refused.errno),
    }
}

/// nfgenmsg.
fn header(port: &Port, body: &mut Body<'_>) {
    let family = if port.host.is_ipv4() { 2 } else { 10 };
    body.raw(&[family, 0, 0, 0]);
}

fn read(payload: &[u8]) -> Option<Flow> {
    let attributes = Attributes::after(payload, HEADER);
    let tuple = attributes.find_kind(TUPLE_ORIGINAL)?;
    let (protocol, _, to) = ends(tuple)?;
    let (_, answers, _) = ends(attributes.find_kind(TUPLE_REPLY)?)?;
    let status = attributes.find_kind(STATUS).and_then(number_be).unwrap_or(0);
    (protocol == UDP).then(|| Flow {
        to,
        answers,
        dnat: status & STATUS_DNAT != 0,
        tuple: tuple.to_vec(),
        id: attributes.find_kind(ID).and_then(number_be),
    })
}

/// A tuple's protocol, source and destination.
fn ends(tuple: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let tuple = Attributes::of(tuple);
    let ip = Attributes::of(tuple.find_kind(TUPLE_IP)?);
    // CTA_IP_V4_SRC, _DST, CTA_IP_V6_SRC, _DST.
    let address = |v4, v6| match (ip.find_kind(v4), ip.find_kind(v6)) {
        (Some(four), _) => Some(IpAddr::from(<[u8; 4]>::try_from(four).ok()?)),
        (None, sixteen) => Some(IpAddr::from(<[u8; 16]>::try_from(sixteen?).ok()?)),
    };
    let proto = Attributes::of(tuple.find_kind(TUPLE_PROTO)?);
    let port = |kind| Some(u16::from_be_bytes(proto.find_kind(kind)?.try_into().ok()?));
    Some((
        *proto.find_kind(PROTO_NUMBER)?.first()?,
        SocketAddr::new(address(1, 3)?, port(PROTO_SOURCE)?),
        SocketAddr::new(address(2, 4)?, port(PROTO_DESTINATION)?),
    ))
}

fn local_addresses() -> Result<Vec<IpAddr>, Errno> {
    let subnets = crate::route::Links::open()?.addresses()?;
    Ok(subnets.into_iter().map(|subnet| subnet.address()).collect())
}

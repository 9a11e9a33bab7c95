//! Links, addresses, routes and routing rules: rtnetlink(7), in the network namespace of the thread that opened the
//! socket. Sources: rtnetlink(7), include/uapi/linux/{if_link,rtnetlink,fib_rules,if_addr}.h.

use crate::netlink::{
    ACK, Attributes, Batch, Body, CREATE, DUMP, EXCL, Protocol, Refused, Socket, number, text,
};
use crate::subnet::Subnet;
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;
/// `no_linklocal_learn`, as value and as mask: frames to 01:80:c2:00:00:0x come by no chain of nftables, and whoever sends
/// one would else get what is meant for the address that he sends it from.
const NO_LL_LEARN: u32 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u32 = 255;
const RTPROT_BOOT: u8 = 3;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

const FRA_DST: u16 = 1;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_PROHIBIT: u8 = 8;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;

/// Number of the loopback link, the first of each namespace.
const LOOPBACK_INDEX: u32 = 1;

const IFINFOMSG_BYTES: usize = 16;
const IFADDRMSG_BYTES: usize = 8;
const RTMSG_BYTES: usize = 12;
const RULE_BYTES: usize = 12;

/// Longest name of a link, in bytes. Source: IFNAMSIZ, with its null.
pub const LINK_NAME_BYTES_MAX: usize = 15;

/// What a link is called and how it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; empty if its kind has none.
    pub mac: Vec<u8>,
    /// Longest packet, in bytes.
    pub mtu: u32,
    /// Whether it was brought up.
    pub up: bool,
    /// Number of the bridge that it's a port of.
    pub master: Option<u32>,
    /// The kernel's word for virtual ones: `bridge`, `veth`.
    pub kind: Option<String>,
    /// What somebody noted on it.
    pub alias: Option<String>,
}

/// A pair of links: one end is a port of a bridge, the other in a container.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Name of the end on the bridge.
    pub name: &'a str,
    /// Number of the bridge.
    pub bridge: u32,
    /// The container's network namespace.
    pub netns: BorrowedFd<'a>,
    /// Name of the end in it.
    pub inner_name: &'a str,
    /// Hardware address of that end.
    pub mac: [u8; 6],
    /// Longest packet, in bytes.
    pub mtu: u32,
    /// Whether ports with this may not talk to one another, only to the gateway.
    pub isolated: bool,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; all addresses for the default.
    pub to: Subnet,
    /// Over which link, by number.
    pub link: Option<u32>,
    /// Over which router.
    pub gateway: Option<IpAddr>,
}

/// A routing rule that refuses to forward what bears none of the bits of a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRule {
    /// Its family.
    pub is_v6: bool,
    /// Whence: the name of a link.
    pub from: Option<String>,
    /// Where to.
    pub to: Option<Subnet>,
    /// The bits.
    pub mask: u32,
    /// When it's tried.
    pub priority: u32,
}

/// What a container's end of a pair gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Its number there.
    pub index: u32,
    /// Its addresses with their prefixes.
    pub addresses: Vec<Subnet>,
    /// Routers for everything else, one for each family at most.
    pub gateways: Vec<IpAddr>,
}

/// A socket for all of it.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// In the network namespace of this thread.
    pub fn open() -> Result<Links, Errno> {
        Ok(Links { socket: Socket::open(Protocol::Route)? })
    }

    /// The link with a name. From Linux 6.8 on one that has just been brought up carries packets once it was asked for: else
    /// the kernel leaves that to a work queue, and packets are lost meanwhile. Source: rtnl_getlink, net/core/rtnetlink.c.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_GETLINK, 0, |body| {
            body.raw(&ifinfomsg(0, 0, 0)).string(IFLA_IFNAME, name);
        });
        match self.socket.get(&batch) {
            Ok((_, payload)) => Ok(link_of(&payload)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>, Errno> {
        self.all(RTM_GETLINK, RTM_NEWLINK, &ifinfomsg(0, 0, 0), link_of)
    }

    /// All addresses of this namespace, with their prefixes.
    pub fn addresses(&mut self) -> Result<Vec<Subnet>, Errno> {
        self.all(RTM_GETADDR, RTM_NEWADDR, &[0; IFADDRMSG_BYTES], |payload| {
            let attributes = Attributes::after(payload, IFADDRMSG_BYTES);
            let bytes = attributes.find_kind(IFA_LOCAL).or(attributes.find_kind(IFA_ADDRESS))?;
            Subnet::new(address_of(bytes)?, *payload.get(1)?)
        })
    }

    /// The addresses of one link, with their prefixes.
    pub fn addresses_of(&mut self, index: u32) -> Result<Vec<Subnet>, Errno> {
        self.all(RTM_GETADDR, RTM_NEWADDR, &[0; IFADDRMSG_BYTES], |payload| {
            let own = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
            let attributes = Attributes::after(payload, IFADDRMSG_BYTES);
            let bytes = attributes.find_kind(IFA_LOCAL).or(attributes.find_kind(IFA_ADDRESS))?;
            (own == index).then_some(())?;
            Subnet::new(address_of(bytes)?, *payload.get(1)?)
        })
    }

    /// All routing rules that refuse to forward.
    pub fn closed_rules(&mut self) -> Result<Vec<ClosedRule>, Errno> {
        self.all(RTM_GETRULE, RTM_NEWRULE, &[0; RULE_BYTES], |payload| {
            let (family, prefix, action) = (*payload.first()?, *payload.get(1)?, *payload.get(7)?);
            if action != FR_ACT_PROHIBIT {
                return None;
            }
            let attributes = Attributes::after(payload, RULE_BYTES);
            Some(ClosedRule {
                is_v6: family == AF_INET6,
                from: attributes.find_kind(FRA_IIFNAME).map(text),
                to: attributes.find_kind(FRA_DST).and_then(|bytes| Subnet::new(address_of(bytes)?, prefix)),
                mask: attributes.find_kind(FRA_FWMASK).and_then(number).unwrap_or_default(),
                priority: attributes.find_kind(FRA_PRIORITY).and_then(number).unwrap_or_default(),
            })
        })
    }

    /// All routes of all tables but those to addresses of its own.
    pub fn routes(&mut self) -> Result<Vec<Route>, Errno> {
        self.all(RTM_GETROUTE, RTM_NEWROUTE, &[0; RTMSG_BYTES], |payload| {
            let (family, prefix, table) = (*payload.first()?, *payload.get(1)?, *payload.get(4)?);
            let attributes = Attributes::after(payload, RTMSG_BYTES);
            let table = attributes.find_kind(RTA_TABLE).and_then(number).unwrap_or(u32::from(table));
            if table == RT_TABLE_LOCAL || *payload.get(7)? != RTN_UNICAST {
                return None;
            }
            let to = match attributes.find_kind(RTA_DST) {
                Some(bytes) => address_of(bytes)?,
                None if family == AF_INET6 => IpAddr::from([0u8; 16]),
                None => IpAddr::from([0u8; 4]),
            };
            Some(Route {
                to: Subnet::new(to, prefix)?,
                link: attributes.find_kind(RTA_OIF).and_then(number),
                gateway: attributes.find_kind(RTA_GATEWAY).and_then(address_of),
            })
        })
    }

    fn all<T>(
        &mut self,
        get: u16,
        found: u16,
        header: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut batch = Batch::new();
        batch.message(get, DUMP, |body| {
            body.raw(header);
        });
        let mut all = Vec::new();
        self.socket.dump(&batch, |object| match object {
            None => all.clear(),
            Some((typ, payload)) if typ == found => all.extend(read(payload)),
            Some(_) => {}
        })?;
        Ok(all)
    }

    /// Makes a bridge, down and without addresses, which forwards at once. EEXIST if there is a link with its name.
    pub fn add_bridge(&mut self, name: &str, mac: [u8; 6], mtu: u32) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, |body| {
            body.raw(&ifinfomsg(0, 0, 0))
                .string(IFLA_IFNAME, name)
                .attr(IFLA_ADDRESS, &mac)
                .u32(IFLA_MTU, mtu)
                .nest(IFLA_LINKINFO, |body| {
                    body.string(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, |body| {
                        body.u32(IFLA_BR_FORWARD_DELAY, 0)
                            .attr(IFLA_BR_MULTI_BOOLOPT, &[NO_LL_LEARN.to_ne_bytes(); 2].concat());
                    });
                });
        });
        // Not taken from the message that makes the link.
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(0, 0, 0)).string(IFLA_IFNAME, name);
            without_link_local(body);
        });
        self.change(&batch)
    }

    /// Makes a pair of links: the outer end a port of the bridge, up and without addresses, the inner one in the
    /// container, down.
    ///
    /// Errors: EEXIST if a link has one of the names, EXFULL if the bridge has 1,023 ports.
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, |body| {
            body.raw(&ifinfomsg(0, 0, 0))
                .string(IFLA_IFNAME, veth.name)
                .u32(IFLA_MTU, veth.mtu)
                .u32(IFLA_MASTER, veth.bridge)
                .nest(IFLA_LINKINFO, |body| {
                    body.string(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |body| {
                        body.nest(VETH_INFO_PEER, |body| {
                            body.raw(&ifinfomsg(0, 0, 0))
                                .string(IFLA_IFNAME, veth.inner_name)
                                .attr(IFLA_ADDRESS, &veth.mac)
                                .u32(IFLA_MTU, veth.mtu)
                                .u32(IFLA_NET_NS_FD, veth.netns.as_raw_fd() as u32);
                        });
                    });
                });
        });
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(0, 0, 0)).string(IFLA_IFNAME, veth.name);
            as_port(body, veth.isolated);
            without_link_local(body);
        });
        // Only now, so that it gets no address of IPv6 by it.
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(0, IFF_UP, IFF_UP)).string(IFLA_IFNAME, veth.name);
        });
        self.change(&batch)
    }

    /// Makes a link that is there a port of a bridge again.
    pub fn set_port(&mut self, name: &str, bridge: u32, isolated: bool) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(0, 0, 0)).string(IFLA_IFNAME, name).u32(IFLA_MASTER, bridge);
        });
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(0, IFF_UP, IFF_UP)).string(IFLA_IFNAME, name);
            as_port(body, isolated);
        });
        self.change(&batch)
    }

    /// In the container's namespace: brings its end up, with addresses and routes, loopback too.
    pub fn configure(&mut self, inner: &Inner) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(LOOPBACK_INDEX, IFF_UP, IFF_UP));
        });
        let has_v6 = inner.addresses.iter().any(|address| address.is_v6());
        if !has_v6 {
            // A message of its own: in one with the flags, it would come after them.
            batch.message(RTM_NEWLINK, ACK, |body| {
                body.raw(&ifinfomsg(inner.index, 0, 0));
                without_link_local(body);
            });
        }
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(inner.index, IFF_UP, IFF_UP));
        });
        for address in &inner.addresses {
            add_address(&mut batch, inner.index, *address);
        }
        for gateway in &inner.gateways {
            add_default_route(&mut batch, inner.index, *gateway);
        }
        self.change(&batch)
    }

    /// Gives a link an address. EEXIST if it has it.
    pub fn add_address(&mut self, index: u32, address: Subnet) -> Result<(), Errno> {
        let mut batch = Batch::new();
        add_address(&mut batch, index, address);
        self.change(&batch)
    }

    /// Takes an address from a link. EADDRNOTAVAIL if it hasn't got it.
    pub fn remove_address(&mut self, index: u32, address: Subnet) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_DELADDR, ACK, |body| {
            address_message(body, index, address);
        });
        self.change(&batch)
    }

    /// Brings a link up.
    pub fn up(&mut self, index: u32) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(index, IFF_UP, IFF_UP));
        });
        self.change(&batch)
    }

    /// Notes something on a link, which `ip link` shows.
    pub fn note(&mut self, index: u32, alias: &str) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, ACK, |body| {
            body.raw(&ifinfomsg(index, 0, 0)).string(IFLA_IFALIAS, alias);
        });
        self.change(&batch)
    }

    /// Adds a default route over a router. EEXIST if there is one.
    pub fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<(), Errno> {
        let mut batch = Batch::new();
        add_default_route(&mut batch, index, gateway);
        self.change(&batch)
    }

    /// Removes a default route. ESRCH if there is none.
    pub fn remove_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_DELROUTE, ACK, |body| default_route(body, index, gateway));
        self.change(&batch)
    }

    /// Removes a link, and with one end of a pair the other. Takes some 26 ms, most of it waiting for all processors: where
    /// a namespace is about to go, it takes its links along for nothing.
    pub fn remove(&mut self, index: u32) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.message(RTM_DELLINK, ACK, |body| {
            body.raw(&ifinfomsg(index, 0, 0));
        });
        self.change(&batch)
    }

    /// Refuses to forward what comes from a link and bears none of the bits of `mark`: what an nftables table marks while it's
    /// there isn't forwarded once it's gone. For both families. EEXIST if there is such a rule.
    pub fn add_closed_rule(&mut self, link: &str, mark: u32, priority: u32) -> Result<(), Errno> {
        self.closed_rule(RTM_NEWRULE, ACK | CREATE | EXCL, link, mark, priority)
    }

    /// Removes what [`Links::add_closed_rule`] added. ENOENT if there is none.
    pub fn remove_closed_rule(&mut self, link: &str, mark: u32, priority: u32) -> Result<(), Errno> {
        self.closed_rule(RTM_DELRULE, ACK, link, mark, priority)
    }

    fn closed_rule(
        &mut self,
        typ: u16,
        flags: u16,
        link: &str,
        mark: u32,
        priority: u32,
    ) -> Result<(), Errno> {
        let mut batch = Batch::new();
        for family in [AF_INET, AF_INET6] {
            batch.message(typ, flags, |body| {
                body.raw(&[family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, FR_ACT_PROHIBIT, 0, 0, 0, 0])
                    .string(FRA_IIFNAME, link)
                    .u32(FRA_PRIORITY, priority)
                    .u32(FRA_FWMARK, 0)
                    .u32(FRA_FWMASK, mark);
            });
        }
        self.change(&batch)
    }

    /// Refuses to forward what goes to a subnet and bears none of the bits of `mark`; what the host itself sends there goes as
    /// the main table says. EEXIST if there are such rules.
    pub fn add_closed_subnet(&mut self, subnet: Subnet, mark: u32, priority: u32) -> Result<(), Errno> {
        self.closed_subnet(RTM_NEWRULE, ACK | CREATE | EXCL, subnet, mark, priority)
    }

    /// Removes what [`Links::add_closed_subnet`] added. ENOENT if there is none.
    pub fn remove_closed_subnet(&mut self, subnet: Subnet, mark: u32, priority: u32) -> Result<(), Errno> {
        self.closed_subnet(RTM_DELRULE, ACK, subnet, mark, priority)
    }

    fn closed_subnet(
        &mut self,
        typ: u16,
        flags: u16,
        subnet: Subnet,
        mark: u32,
        priority: u32,
    ) -> Result<(), Errno> {
        let header = |action: u8| {
            let table = RT_TABLE_MAIN;
            [family(subnet.address()), subnet.prefix(), 0, 0, table, 0, 0, action, 0, 0, 0, 0]
        };
        let bytes = octets(subnet.first());
        let mut batch = Batch::new();
        // First, and tried first: there's no rule for what isn't the host's own.
        batch.message(typ, flags, |body| {
            body.raw(&header(FR_ACT_TO_TBL))
                .attr(FRA_DST, &bytes)
                .string(FRA_IIFNAME, "lo")
                .u32(FRA_PRIORITY, priority.saturating_sub(1));
        });
        batch.message(typ, flags, |body| {
            body.raw(&header(FR_ACT_PROHIBIT))
                .attr(FRA_DST, &bytes)
                .u32(FRA_PRIORITY, priority)
                .u32(FRA_FWMARK, 0)
                .u32(FRA_FWMASK, mark);
        });
        self.change(&batch)
    }

    /// Lets answers to the host's `::1` that come over `link` arrive: a rule to a table of their own, with a route to itself.
    /// Source: net-store-facts.md, 1. EEXIST if it's there.
    pub fn add_loopback_answers(&mut self, link: &str, index: u32, table: u32) -> Result<(), Errno> {
        let mut batch = Batch::new();
        let loopback: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();
        batch.message(RTM_NEWROUTE, ACK | CREATE | EXCL, |body| {
            body.raw(&[AF_INET6, 128, 0, 0, 0, RTPROT_STATIC, 0, RTN_LOCAL, 0, 0, 0, 0])
                .attr(RTA_DST, &loopback)
                .u32(RTA_OIF, index)
                .u32(RTA_TABLE, table);
        });
        loopback_rule(&mut batch, RTM_NEWRULE, ACK | CREATE | EXCL, link, table);
        self.change(&batch)
    }

    /// Removes the rule of [`Links::add_loopback_answers`]; the route goes with its link.
    pub fn remove_loopback_answers(&mut self, link: &str, table: u32) -> Result<(), Errno> {
        let mut batch = Batch::new();
        loopback_rule(&mut batch, RTM_DELRULE, ACK, link, table);
        self.change(&batch)
    }

    fn change(&mut self, batch: &Batch) -> Result<(), Errno> {
        self.socket.exchange(batch).map_err(|Refused { errno, .. }| errno)
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn loopback_rule(batch: &mut Batch, typ: u16, flags: u16, link: &str, table: u32) {
    batch.message(typ, flags, |body| {
        body.raw(&[AF_INET6, 128, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0])
            .attr(FRA_DST, &std::net::Ipv6Addr::LOCALHOST.octets())
            .string(FRA_IIFNAME, link)
            .u32(FRA_PRIORITY, 0)
            .u32(FRA_TABLE, table);
    });
}

fn add_address(batch: &mut Batch, index: u32, address: Subnet) {
    batch.message(RTM_NEWADDR, ACK | CREATE | EXCL, |body| {
        address_message(body, index, address);
        if let (IpAddr::V4(last), true) = (address.last(), address.prefix() < 31) {
            body.attr(IFA_BROADCAST, &last.octets());
        }
        if address.is_v6() {
            // Nobody else has it: no wait for an answer that won't come.
            body.u32(IFA_FLAGS, IFA_F_NODAD);
        }
    });
}

fn address_message(body: &mut Body<'_>, index: u32, address: Subnet) {
    let mut header = [family(address.address()), address.prefix(), 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let bytes = octets(address.address());
    body.raw(&header).attr(IFA_LOCAL, &bytes).attr(IFA_ADDRESS, &bytes);
}

fn add_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    batch.message(RTM_NEWROUTE, ACK | CREATE | EXCL, |body| default_route(body, index, gateway));
}

fn default_route(body: &mut Body<'_>, index: u32, gateway: IpAddr) {
    body.raw(&[family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0])
        .attr(RTA_GATEWAY, &octets(gateway))
        .u32(RTA_OIF, index);
}

/// How a bridge treats a port: in hairpin mode, by which a container reaches itself over a published port.
fn as_port(body: &mut Body<'_>, isolated: bool) {
    body.nest(IFLA_LINKINFO, |body| {
        body.string(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |body| {
            body.u8(IFLA_BRPORT_MODE, 1).u8(IFLA_BRPORT_ISOLATED, isolated.into());
        });
    });
}

/// No link-local address of IPv6.
fn without_link_local(body: &mut Body<'_>) {
    body.nest(IFLA_AF_SPEC, |body| {
        body.nest(AF_INET6.into(), |body| {
            body.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        });
    });
}

fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG_BYTES] {
    let mut header = [0; IFINFOMSG_BYTES];
    header[0] = AF_UNSPEC;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

fn link_of(payload: &[u8]) -> Option<Link> {
    let attributes = Attributes::after(payload, IFINFOMSG_BYTES);
    let info = attributes.find_kind(IFLA_LINKINFO).map(Attributes::of);
    Some(Link {
        index: number(payload.get(4..8)?)?,
        name: text(attributes.find_kind(IFLA_IFNAME)?),
        mac: attributes.find_kind(IFLA_ADDRESS).unwrap_or_default().to_vec(),
        mtu: attributes.find_kind(IFLA_MTU).and_then(number).unwrap_or(0),
        up: number(payload.get(8..12)?)? & IFF_UP != 0,
        master: attributes.find_kind(IFLA_MASTER).and_then(number),
        kind: info.and_then(|info| info.find_kind(IFLA_INFO_KIND)).map(text),
        alias: attributes.find_kind(IFLA_IFALIAS).map(text),
    })
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { AF_INET6 } else { AF_INET }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use testkit::netns::{self, Netns};

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    /// A bridge `b0` in this thread's namespace.
    fn bridge(links: &mut Links, addresses: &[&str]) -> u32 {
        links.add_bridge("b0", [2, 0, 0, 0, 0, 1], 1500).unwrap();
        let index = links.link("b0").unwrap().unwrap().index;
        addresses.iter().for_each(|address| links.add_address(index, subnet(address)).unwrap());
        links.up(index).unwrap();
        index
    }

    fn join(links: &mut Links, bridge: u32, number: u8, isolated: bool) -> Netns {
        let netns = Netns::new();
        let name = format!("v{number}");
        links
            .add_veth(&Veth {
                name: &name,
                bridge,
                netns: netns.as_fd(),
                inner_name: "eth0",
                mac: [2, 0x42, 10, 9, 0, number],
                mtu: 1400,
                isolated,
            })
            .unwrap();
        let addresses = vec![subnet(&format!("10.9.0.{number}/24")), subnet(&format!("fd00:9::{number}/64"))];
        let gateways = vec!["10.9.0.1".parse().unwrap(), "fd00:9::1".parse().unwrap()];
        netns.run(|| {
            let mut inner = Links::open().unwrap();
            inner.configure(&Inner { index: 2, addresses, gateways }).unwrap();
            // Makes it carry: see Links::link.
            inner.link("eth0").unwrap();
        });
        links.link(&name).unwrap();
        netns
    }

    fn speaks(from: &Netns, to: &Netns, address: &str) -> bool {
        let listener = to.run(|| TcpListener::bind((address, 0)).unwrap());
        let target = listener.local_addr().unwrap();
        let stream = from.run(|| TcpStream::connect_timeout(&target, std::time::Duration::from_millis(500)));
        let Ok(mut stream) = stream else { return false };
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard == "hello"
    }

    #[test]
    fn two_on_a_bridge_and_the_host_speak_over_both_families() {
        netns::own();
        let mut links = Links::open().unwrap();
        let index = bridge(&mut links, &["10.9.0.1/24", "fd00:9::1/64"]);
        let (host, a, b) =
            (Netns::current(), join(&mut links, index, 2, false), join(&mut links, index, 3, false));
        for address in ["10.9.0.3", "fd00:9::3"] {
            assert!(speaks(&a, &b, address), "{address}");
            assert!(speaks(&host, &b, address), "{address}");
        }
        assert!(speaks(&a, &host, "10.9.0.1"));
        let inner = a.run(|| Links::open().unwrap().link("eth0").unwrap().unwrap());
        assert_eq!((inner.index, inner.mtu, inner.mac), (2, 1400, vec![2, 0x42, 10, 9, 0, 2]));
        let port = links.link("v2").unwrap().unwrap();
        assert_eq!((port.master, port.kind.as_deref()), (Some(index), Some("veth")));
        let alone = Netns::new();
        links
            .add_veth(&Veth {
                name: "v9",
                bridge: index,
                netns: alone.as_fd(),
                inner_name: "eth0",
                mac: [2, 0x42, 10, 9, 0, 9],
                mtu: 1400,
                isolated: false,
            })
            .unwrap();
        let plain = Inner { index: 2, addresses: vec![subnet("10.9.0.9/24")], gateways: Vec::new() };
        let have = alone.run(|| {
            let mut inner = Links::open().unwrap();
            inner.configure(&plain).unwrap();
            inner.addresses().unwrap()
        });
        assert!(!have.iter().any(|address| address.to_string().starts_with("fe80")), "{have:?}");
        let routes = a.run(|| Links::open().unwrap().routes().unwrap());
        let default =
            Route { to: subnet("0.0.0.0/0"), link: Some(2), gateway: Some("10.9.0.1".parse().unwrap()) };
        assert!(routes.contains(&default), "{routes:?}");
        // The outer ends have no address at all, and the bridge none that wasn't asked for.
        let mut have: Vec<String> = links.addresses().unwrap().iter().map(ToString::to_string).collect();
        have.sort();
        assert_eq!(have, ["10.9.0.1/24", "127.0.0.1/8", "::1/128", "fd00:9::1/64"]);
    }

    #[test]
    fn isolated_ports_reach_the_gateway_only() {
        netns::own();
        let mut links = Links::open().unwrap();
        let index = bridge(&mut links, &["10.9.0.1/24"]);
        let (host, a, b) =
            (Netns::current(), join(&mut links, index, 2, true), join(&mut links, index, 3, true));
        assert!(!speaks(&a, &b, "10.9.0.3"));
        assert!(speaks(&a, &host, "10.9.0.1") && speaks(&host, &a, "10.9.0.2"));
    }

    #[test]
    fn what_is_there_already_or_not_there_is_told_by_errno() {
        netns::own();
        let mut links = Links::open().unwrap();
        let index = bridge(&mut links, &["10.9.0.1/24"]);
        assert_eq!(links.add_bridge("b0", [2, 0, 0, 0, 0, 2], 1500).unwrap_err(), Errno::EXIST);
        assert_eq!(links.add_address(index, subnet("10.9.0.1/24")).unwrap_err(), Errno::EXIST);
        assert_eq!(links.link("b1").unwrap(), None);
        links.add_closed_rule("b0", 0xb0_0000, 90).unwrap();
        assert_eq!(links.add_closed_rule("b0", 0xb0_0000, 90).unwrap_err(), Errno::EXIST);
        links.remove_closed_rule("b0", 0xb0_0000, 90).unwrap();
        assert_eq!(links.remove_closed_rule("b0", 0xb0_0000, 90).unwrap_err(), Errno::NOENT);
        links.add_loopback_answers("b0", index, 9000).unwrap();
        links.remove_loopback_answers("b0", 9000).unwrap();
        links.remove_address(index, subnet("10.9.0.1/24")).unwrap();
        links.remove(index).unwrap();
        assert_eq!(links.link("b0").unwrap(), None);
    }
}

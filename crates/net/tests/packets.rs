//! What passes and what doesn't, with real packets: a host with two bridges and containers, and another machine on its
//! network, all of them network namespaces of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use net::bridge::{self, Bridge};
use net::nft::{EndpointRules, Firewall, Names, NetworkRules, Port, Protocol, State};
use net::route::{Inner, Links, Veth};
use net::subnet::Subnet;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;
use testkit::netns::{self, Netns};
use testkit::{Cmd, until};

/// How long what must arrive may take on a loaded machine.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// How long what must not arrive is waited for: it'd take microseconds.
const NEVER: Duration = Duration::from_millis(300);

const HOST4: &str = "192.168.7.1";
const HOST6: &str = "fd07::1";
const LAN4: &str = "192.168.7.2";
const LAN6: &str = "fd07::2";

fn ip(args: &str) {
    Cmd::new("/usr/sbin/ip", args.split(' ')).run().ok().silent();
}

fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|e| panic!("write {path}: {e}"));
}

/// Whether iptables' and our chains see what passes within a bridge: it's on where module br_netfilter is loaded. False if
/// that is as it was.
fn set_bridge_netfilter(on: bool) -> bool {
    let files = ["iptables", "ip6tables", "arptables"];
    let files = files.map(|tables| format!("/proc/sys/net/bridge/bridge-nf-call-{tables}"));
    let wanted = if on { "1" } else { "0" };
    files.map(|file| std::fs::write(file, wanted)).iter().all(Result::is_ok)
}

/// A host, its firewall, and another machine.
struct Site {
    host: Netns,
    lan: Netns,
    firewall: Firewall,
    links: Links,
    state: State,
}

/// A container: its namespace and addresses.
struct Container {
    netns: Netns,
    v4: IpAddr,
    v6: IpAddr,
    rules: EndpointRules,
}

impl Site {
    fn new() -> Site {
        netns::own();
        let lan = Netns::new();
        let fd = format!("/proc/{}/fd/{}", std::process::id(), lan.as_fd().as_raw_fd());
        ip(&format!("link add up0 type veth peer name eth0 netns {fd}"));
        ip(&format!("addr add {HOST4}/24 dev up0"));
        ip(&format!("addr add {HOST6}/64 dev up0 nodad"));
        ip("link set up0 up");
        lan.run(|| {
            ip(&format!("addr add {LAN4}/24 dev eth0"));
            ip(&format!("addr add {LAN6}/64 dev eth0 nodad"));
            ip("link set eth0 up");
        });
        let names = Names {
            table: "berth".into(),
            bridges: "berth".into(),
            ports: "bth".into(),
            host_decides: false,
        };
        let mut firewall = Firewall::open(&names).unwrap();
        firewall.ensure_table().unwrap();
        let links = Links::open().unwrap();
        Site { host: Netns::current(), lan, firewall, links, state: State::default() }
    }

    /// A network `berthN` of 172.(18 + N).0.0/16 and fd00:N::/64, changed by `change`.
    fn network(&mut self, number: u8, change: impl FnOnce(&mut NetworkRules)) -> u32 {
        let subnets: [Subnet; 2] = [
            format!("172.{}.0.1/16", 18 + number).parse().unwrap(),
            format!("fd00:{number}::1/64").parse().unwrap(),
        ];
        let mut network = NetworkRules {
            bridge: format!("berth{number}"),
            subnets: subnets.to_vec(),
            internal: false,
            icc: true,
            masquerade: true,
        };
        change(&mut network);
        self.firewall.add_network(&network).unwrap();
        let bridge = Bridge {
            name: network.bridge.clone(),
            addresses: network.subnets.clone(),
            mtu: 1500,
            note: "berth: test".into(),
            forwards: true,
        };
        self.state.networks.push(network);
        bridge::bring_up(&mut self.links, &bridge).unwrap()
    }

    /// A container `last` on the network.
    fn container(&mut self, network: u8, bridge: u32, last: u8, isolated: bool) -> Container {
        let netns = Netns::new();
        // Link-local addresses are usable at once.
        netns.run(|| sysctl("ipv6/conf/default/accept_dad", "0"));
        let port = format!("bth{network}x{last}");
        let addresses: [Subnet; 2] = [
            format!("172.{}.0.{last}/16", 18 + network).parse().unwrap(),
            format!("fd00:{network}::{last}/64").parse().unwrap(),
        ];
        let [v4, v6] = addresses.map(Subnet::address);
        let mac = net::ipam::mac_of(v4);
        let rules = EndpointRules { port: port.clone(), mac, addresses: vec![v4, v6], free: false };
        assert!(self.firewall.add_endpoint(&rules).unwrap(), "this kernel checks frames of bridges");
        self.state.endpoints.push(rules.clone());
        let veth =
            Veth { name: &port, bridge, netns: netns.as_fd(), inner_name: "eth0", mac, mtu: 1500, isolated };
        self.links.add_veth(&veth).unwrap();
        let gateways = self.state.networks.iter().find(|n| n.bridge == format!("berth{network}"));
        let gateways = gateways.unwrap().subnets.iter().map(|subnet| subnet.address()).collect();
        netns.run(|| {
            let inner = Inner { index: 2, addresses: addresses.to_vec(), gateways };
            Links::open().unwrap().configure(&inner).unwrap();
        });
        Container { netns, v4, v6, rules }
    }

    fn publish(&mut self, protocol: Protocol, host: &str, target: IpAddr, number: u16) {
        let target = SocketAddr::new(target, number);
        let port = Port { host: host.parse().unwrap(), protocol, target };
        self.firewall.publish(&[port]).unwrap();
        self.state.ports.push(port);
    }
}

fn at(ip: impl ToString, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_string().parse().unwrap(), port)
}

/// Whom a listener of TCP at `listen` sees, if somebody else dials `dial`.
fn tcp(from: &Netns, dial: SocketAddr, to: &Netns, listen: SocketAddr, limit: Duration) -> Option<IpAddr> {
    let listener = to.run(|| TcpListener::bind(listen).unwrap_or_else(|e| panic!("bind {listen}: {e}")));
    let mut stream = from.run(|| TcpStream::connect_timeout(&dial, limit)).ok()?;
    listener.set_nonblocking(true).unwrap();
    // What was connected elsewhere isn't here.
    let (mut accepted, peer) = listener.accept().ok()?;
    accepted.write_all(b"hello").unwrap();
    drop(accepted);
    let mut heard = String::new();
    stream.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");
    Some(peer.ip())
}

/// The same, of UDP, there and back.
fn udp(from: &Netns, dial: SocketAddr, to: &Netns, listen: SocketAddr, limit: Duration) -> Option<IpAddr> {
    let server = to.run(|| UdpSocket::bind(listen).unwrap());
    server.set_read_timeout(Some(limit)).unwrap();
    let any = if dial.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = from.run(|| UdpSocket::bind(any).unwrap());
    client.connect(dial).ok()?;
    client.send(b"hello").ok()?;
    let mut buffer = [0; 16];
    let (length, peer) = server.recv_from(&mut buffer).ok()?;
    assert_eq!(&buffer[..length], b"hello");
    server.send_to(b"world", peer).unwrap();
    client.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    let length = client.recv(&mut buffer);
    assert!(matches!(length, Ok(5)), "the answer from {dial}: {length:?}");
    Some(peer.ip())
}

/// Both; they see the same.
#[track_caller]
fn passes(from: &Netns, dial: SocketAddr, to: &Netns, listen: SocketAddr) -> IpAddr {
    let seen = tcp(from, dial, to, listen, ARRIVES_WITHIN);
    assert_eq!(seen, udp(from, dial, to, listen, ARRIVES_WITHIN), "TCP, UDP to {dial}");
    seen.unwrap_or_else(|| panic!("{dial} doesn't arrive"))
}

/// Neither.
#[track_caller]
fn stops(from: &Netns, dial: SocketAddr, to: &Netns, listen: SocketAddr) {
    assert_eq!(tcp(from, dial, to, listen, NEVER), None, "TCP to {dial}");
    assert_eq!(udp(from, dial, to, listen, NEVER), None, "UDP to {dial}");
}

#[test]
fn a_published_port_is_reached_from_everywhere_with_the_callers_address() {
    let mut site = Site::new();
    // Off first: without the module that's all there is to test.
    set_bridge_netfilter(false);
    let (b0, b1) = (site.network(0, |_| {}), site.network(1, |_| {}));
    let web = site.container(0, b0, 2, false);
    let near = site.container(0, b0, 3, false);
    let far = site.container(1, b1, 2, false);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        site.publish(protocol, "0.0.0.0:8080", web.v4, 80);
        site.publish(protocol, "[::]:8080", web.v6, 80);
    }
    for netfilter in [false, true] {
        if netfilter && !set_bridge_netfilter(true) {
            break;
        }
        reached_from_everywhere(&site, &web, &near, &far, netfilter);
    }
}

fn reached_from_everywhere(site: &Site, web: &Container, near: &Container, far: &Container, netfilter: bool) {
    for (host, lan, target, other_gateway, loopback, gateway) in [
        (HOST4, LAN4, web.v4, "172.19.0.1", "127.0.0.1", "172.18.0.1"),
        (HOST6, LAN6, web.v6, "fd00:1::1", "::1", "fd00:0::1"),
    ] {
        let to = at(target, 80);
        let seen = |from: &Netns, dial: &str| passes(from, at(dial, 8080), &web.netns, to).to_string();
        let gateway: IpAddr = gateway.parse().unwrap();
        let gateway = gateway.to_string();
        assert_eq!(seen(&site.lan, host), lan);
        assert_eq!(seen(&site.host, host), host);
        // With br_netfilter an answer gets its ::1 back before the host looks at it, which it drops at once: nothing for
        // loopback may come from elsewhere. Source: ip6_rcv_core.
        if !(netfilter && target.is_ipv6()) {
            assert_eq!(seen(&site.host, loopback), gateway);
        }
        // From the same bridge the answers have to come by the host.
        assert_eq!(seen(&near.netns, host), gateway);
        assert_eq!(seen(&near.netns, &gateway), gateway);
        assert_eq!(seen(&web.netns, host), gateway);
        let caller = if target.is_ipv4() { far.v4 } else { far.v6 };
        assert_eq!(seen(&far.netns, host), caller.to_string());
        assert_eq!(seen(&far.netns, other_gateway), caller.to_string());
    }
    // A port of that number elsewhere is not ours to catch.
    for (lan, host) in [(LAN4, HOST4), (LAN6, HOST6)] {
        assert_eq!(passes(&near.netns, at(lan, 8080), &site.lan, at(lan, 8080)).to_string(), host);
    }
}

#[test]
fn a_port_published_on_an_address_is_reached_on_that_alone() {
    let mut site = Site::new();
    // ::1 can't be had with it.
    set_bridge_netfilter(false);
    let b0 = site.network(0, |_| {});
    let web = site.container(0, b0, 2, false);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        site.publish(protocol, "127.0.0.1:8081", web.v4, 81);
        site.publish(protocol, "[::1]:8081", web.v6, 81);
        site.publish(protocol, &format!("{HOST4}:8082"), web.v4, 82);
    }
    passes(&site.host, at("127.0.0.1", 8081), &web.netns, at(web.v4, 81));
    passes(&site.host, at("::1", 8081), &web.netns, at(web.v6, 81));
    passes(&site.lan, at(HOST4, 8082), &web.netns, at(web.v4, 82));
    stops(&site.host, at("127.0.0.1", 8082), &web.netns, at(web.v4, 82));
    stops(&site.lan, at(HOST4, 8081), &web.netns, at(web.v4, 81));
    stops(&site.lan, at(HOST6, 8081), &web.netns, at(web.v6, 81));
    stops(&site.host, at(HOST6, 8082), &web.netns, at(web.v6, 82));
    // Another machine, and a container, that send to the host's loopback addresses.
    sysctl("ipv4/conf/up0/route_localnet", "1");
    let service = at("127.0.0.1", 9_000);
    passes(&site.host, service, &site.host, service);
    for (from, gateway) in [(&site.lan, HOST4), (&web.netns, "172.18.0.1")] {
        from.run(|| {
            sysctl("ipv4/conf/eth0/route_localnet", "1");
            ip("route del local 127.0.0.0/8 dev lo table local");
            ip("route del local 127.0.0.1 dev lo table local");
            let source = if gateway == HOST4 { LAN4 } else { "172.18.0.2" };
            ip(&format!("route add 127.0.0.0/8 via {gateway} src {source}"));
        });
        stops(from, service, &site.host, service);
        stops(from, at("127.0.0.1", 8081), &web.netns, at(web.v4, 81));
    }
    // They would arrive, but for our table.
    site.firewall.remove_table().unwrap();
    let server = UdpSocket::bind(service).unwrap();
    server.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    for from in [&site.lan, &web.netns] {
        from.run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", service).unwrap());
        server.recv_from(&mut [0; 4]).unwrap();
    }
}

#[test]
fn networks_are_closed_to_each_other_and_to_direct_routes() {
    let mut site = Site::new();
    let (b0, b1) = (site.network(0, |_| {}), site.network(1, |_| {}));
    let (one, two) = (site.container(0, b0, 2, false), site.container(0, b0, 3, false));
    let far = site.container(1, b1, 2, false);
    site.publish(Protocol::Tcp, "0.0.0.0:8080", one.v4, 80);
    site.lan.run(|| {
        ip(&format!("route add 172.16.0.0/12 via {HOST4}"));
        ip(&format!("route add fd00::/16 via {HOST6}"));
    });
    for (to, far_to, from) in [(one.v4, far.v4, two.v4), (one.v6, far.v6, two.v6)] {
        assert_eq!(passes(&two.netns, at(to, 80), &one.netns, at(to, 80)), from);
        stops(&far.netns, at(to, 80), &one.netns, at(to, 80));
        stops(&one.netns, at(far_to, 80), &far.netns, at(far_to, 80));
        // Straight from outside: neither to a port that is published elsewhere, nor to another.
        stops(&site.lan, at(to, 80), &one.netns, at(to, 80));
        stops(&site.lan, at(to, 81), &one.netns, at(to, 81));
        // Nor to the host's address on the bridge.
        let gateway = if to.is_ipv4() { "172.18.0.1" } else { "fd00:0::1" };
        stops(&site.lan, at(gateway, 81), &site.host, at(gateway, 81));
        passes(&one.netns, at(gateway, 81), &site.host, at(gateway, 81));
    }
    for (lan, host) in [(LAN4, HOST4), (LAN6, HOST6)] {
        assert_eq!(passes(&one.netns, at(lan, 80), &site.lan, at(lan, 80)).to_string(), host);
    }
}

#[test]
fn without_masquerading_containers_are_seen_but_not_reached() {
    let mut site = Site::new();
    let b0 = site.network(0, |network| network.masquerade = false);
    let one = site.container(0, b0, 2, false);
    site.lan.run(|| {
        ip(&format!("route add 172.16.0.0/12 via {HOST4}"));
        ip(&format!("route add fd00::/16 via {HOST6}"));
    });
    for (lan, to) in [(LAN4, one.v4), (LAN6, one.v6)] {
        assert_eq!(passes(&one.netns, at(lan, 80), &site.lan, at(lan, 80)), to);
        stops(&site.lan, at(to, 80), &one.netns, at(to, 80));
    }
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    let mut site = Site::new();
    let b0 = site.network(0, |network| network.internal = true);
    let b1 = site.network(1, |_| {});
    let (one, two) = (site.container(0, b0, 2, false), site.container(0, b0, 3, false));
    let far = site.container(1, b1, 2, false);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (host, own, others) in [("0.0.0.0", one.v4, far.v4), ("[::]", one.v6, far.v6)] {
            site.publish(protocol, &format!("{host}:8080"), own, 80);
            site.publish(protocol, &format!("{host}:8081"), others, 81);
        }
    }
    site.lan.run(|| {
        ip(&format!("route add 172.16.0.0/12 via {HOST4}"));
        ip(&format!("route add fd00::/16 via {HOST6}"));
    });
    for (lan, host, to, far_to, gateway) in
        [(LAN4, HOST4, one.v4, far.v4, "172.18.0.1"), (LAN6, HOST6, one.v6, far.v6, "fd00:0::1")]
    {
        passes(&two.netns, at(to, 80), &one.netns, at(to, 80));
        passes(&two.netns, at(gateway, 9_000), &site.host, at(gateway, 9_000));
        stops(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
        stops(&one.netns, at(far_to, 81), &far.netns, at(far_to, 81));
        // By way of ports that others publish, on any address of the host's; nor its services there.
        stops(&one.netns, at(host, 8081), &far.netns, at(far_to, 81));
        stops(&one.netns, at(gateway, 8081), &far.netns, at(far_to, 81));
        stops(&one.netns, at(host, 9_000), &site.host, at(host, 9_000));
        stops(&site.lan, at(host, 8080), &one.netns, at(to, 80));
        stops(&far.netns, at(host, 8080), &one.netns, at(to, 80));
        passes(&site.lan, at(host, 8081), &far.netns, at(far_to, 81));
    }
}

#[test]
fn without_icc_containers_reach_the_gateway_and_the_outside_alone() {
    let mut site = Site::new();
    let b0 = site.network(0, |network| network.icc = false);
    let (one, two) = (site.container(0, b0, 2, true), site.container(0, b0, 3, true));
    site.publish(Protocol::Tcp, "0.0.0.0:8080", one.v4, 80);
    for (to, gateway, lan) in [(one.v4, "172.18.0.1", LAN4), (one.v6, "fd00:0::1", LAN6)] {
        stops(&two.netns, at(to, 80), &one.netns, at(to, 80));
        passes(&two.netns, at(gateway, 9_000), &site.host, at(gateway, 9_000));
        passes(&two.netns, at(lan, 80), &site.lan, at(lan, 80));
    }
    // What is published is for everybody. (Not for the neighbours if br_netfilter rewrites it within the bridge: ports
    // that are isolated don't see each other then.)
    set_bridge_netfilter(false);
    let (dial, listen) = (at(HOST4, 8080), at(one.v4, 80));
    assert!(tcp(&site.lan, dial, &one.netns, listen, ARRIVES_WITHIN).is_some());
    assert!(tcp(&two.netns, dial, &one.netns, listen, ARRIVES_WITHIN).is_some());
}

#[test]
fn after_a_flush_nothing_passes_until_all_is_restored() {
    let mut site = Site::new();
    let (b0, b1) = (site.network(0, |_| {}), site.network(1, |_| {}));
    let (one, far) = (site.container(0, b0, 2, false), site.container(1, b1, 2, false));
    site.publish(Protocol::Tcp, "0.0.0.0:8080", one.v4, 80);
    let found = site.firewall.dump().unwrap().unwrap();
    assert_eq!(found.state, site.state.normalized());
    for round in 0..2 {
        for (lan, far_to) in [(LAN4, far.v4), (LAN6, far.v6)] {
            passes(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
            stops(&one.netns, at(far_to, 80), &far.netns, at(far_to, 80));
        }
        let (dial, listen) = (at(HOST4, 8080), at(one.v4, 80));
        assert!(tcp(&site.lan, dial, &one.netns, listen, ARRIVES_WITHIN).is_some());
        if round == 1 {
            break;
        }
        Cmd::new("/usr/sbin/nft", ["flush", "ruleset"]).run().ok().silent();
        for (lan, far_to) in [(LAN4, far.v4), (LAN6, far.v6)] {
            stops(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
            stops(&one.netns, at(far_to, 80), &far.netns, at(far_to, 80));
        }
        // Straight from outside, where nobody needs an answer; but the host itself has its way.
        for (to, host) in [(one.v4, HOST4), (one.v6, HOST6)] {
            let server = one.netns.run(|| UdpSocket::bind(at(to, 53)).unwrap());
            server.set_read_timeout(Some(NEVER)).unwrap();
            let send = |from: &Netns| {
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                from.run(|| UdpSocket::bind(any).unwrap().send_to(b"x", at(to, 53)))
            };
            site.lan.run(|| ip(&format!("route add {to} via {host}")));
            let _ = send(&site.lan);
            assert!(server.recv(&mut [0; 4]).is_err(), "{to}");
            server.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
            send(&site.host).unwrap();
            server.recv(&mut [0; 4]).unwrap();
        }
        assert_eq!(site.firewall.dump().unwrap(), None);
        site.firewall.restore(&site.state).unwrap();
        assert_eq!(site.firewall.dump().unwrap().unwrap(), found);
    }
}

#[test]
fn beside_dockers_chains_containers_have_their_way_out_and_ports_theirs_in() {
    let mut site = Site::new();
    let b0 = site.network(0, |_| {});
    let one = site.container(0, b0, 2, false);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        site.publish(protocol, "0.0.0.0:8080", one.v4, 80);
        site.publish(protocol, "[::]:8080", one.v6, 80);
    }
    let tables = ["/usr/sbin/iptables", "/usr/sbin/ip6tables"];
    let iptables = |line: &str| tables.map(|tables| Cmd::new(tables, line.split(' ')).text());
    for line in ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-P FORWARD DROP", "-A FORWARD -j DOCKER-USER"]
    {
        iptables(line);
    }
    let before = iptables("-S");
    let ways = [(LAN4, HOST4, one.v4), (LAN6, HOST6, one.v6)];
    for (lan, host, to) in ways {
        stops(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
        stops(&site.lan, at(host, 8080), &one.netns, at(to, 80));
    }
    for _ in 0..2 {
        assert_eq!(site.firewall.pass_others(&["berth0".into()]).unwrap(), []);
    }
    for rules in iptables("-S DOCKER-USER") {
        let rules: Vec<&str> = rules.lines().collect();
        let ours = ["-i", "-o"]
            .map(|side| format!("-A DOCKER-USER {side} berth+ -m comment --comment berth -j ACCEPT"));
        assert_eq!(rules, ["-N DOCKER-USER", &ours[0], &ours[1], "-A DOCKER-USER -j RETURN"]);
    }
    for (lan, host, to) in ways {
        passes(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
        passes(&site.lan, at(host, 8080), &one.netns, at(to, 80));
    }
    site.firewall.leave_others().unwrap();
    assert_eq!(iptables("-S"), before);
}

#[test]
fn what_is_advised_against_another_firewall_helps() {
    let mut site = Site::new();
    let b0 = site.network(0, |_| {});
    let one = site.container(0, b0, 2, false);
    let rules = "table inet mine { chain fw { type filter hook forward priority 10; policy accept; \
                 ct state established,related accept; ct status dnat accept; reject; }; }";
    Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(rules).run().ok().silent();
    stops(&one.netns, at(LAN4, 80), &site.lan, at(LAN4, 80));
    let [obstacle] = &site.firewall.pass_others(&["berth0".into()]).unwrap()[..] else {
        panic!("there's one obstacle")
    };
    for line in &obstacle.advice {
        Cmd::new("/bin/sh", ["-c", line]).run().ok().silent();
    }
    for lan in [LAN4, LAN6] {
        passes(&one.netns, at(lan, 80), &site.lan, at(lan, 80));
    }
    assert_eq!(site.firewall.pass_others(&["berth0".into()]).unwrap(), []);
}

#[test]
fn a_flow_of_udp_goes_where_the_port_goes_now() {
    let mut site = Site::new();
    let b0 = site.network(0, |_| {});
    let one = site.container(0, b0, 2, false);
    let two = site.container(0, b0, 3, false);
    for (any, host, a, b) in [("0.0.0.0", HOST4, one.v4, two.v4), ("[::]", HOST6, one.v6, two.v6)] {
        let open = |netns: &Netns, ip: IpAddr| {
            let socket = netns.run(|| UdpSocket::bind(at(ip, 5_353)).unwrap());
            socket.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
            socket
        };
        let servers = [open(&site.host, host.parse().unwrap()), open(&one.netns, a), open(&two.netns, b)];
        let client = site.lan.run(|| UdpSocket::bind(at(if a.is_ipv4() { LAN4 } else { LAN6 }, 0)).unwrap());
        client.connect(at(host, 5_353)).unwrap();
        let arrives_at = |who: usize| {
            client.send(b"x").unwrap();
            let (_, peer) = servers[who].recv_from(&mut [0; 4]).unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            // Answered: an established flow.
            servers[who].send_to(b"y", peer).unwrap();
            client.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
            client.recv(&mut [0; 4]).unwrap();
        };
        let port = |target: IpAddr| Port {
            host: format!("{any}:5353").parse().unwrap(),
            protocol: Protocol::Udp,
            target: at(target, 5_353),
        };
        // What containers send to that port elsewhere has nothing to do with it.
        let lan_ip: IpAddr = if a.is_ipv4() { LAN4 } else { LAN6 }.parse().unwrap();
        let elsewhere = open(&site.lan, lan_ip);
        let outbound = two.netns.run(|| UdpSocket::bind(at(b, 4_000)).unwrap());
        outbound.send_to(b"x", at(lan_ip, 5_353)).unwrap();
        let (_, seen) = elsewhere.recv_from(&mut [0; 4]).unwrap();
        arrives_at(0);
        site.firewall.publish(&[port(a)]).unwrap();
        arrives_at(1);
        site.firewall.take_over(&[port(b)]).unwrap();
        arrives_at(2);
        site.firewall.unpublish(&[port(b)]).unwrap();
        arrives_at(0);
        elsewhere.send_to(b"y", seen).unwrap();
        outbound.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
        outbound.recv(&mut [0; 4]).unwrap();
    }
}

/// Two containers and a gateway, of which the first will lie.
struct Liar {
    site: Site,
    one: Container,
    two: Container,
}

impl Liar {
    fn new() -> Liar {
        let mut site = Site::new();
        let b0 = site.network(0, |_| {});
        let (one, two) = (site.container(0, b0, 2, false), site.container(0, b0, 3, false));
        passes(&one.netns, at(two.v4, 7), &two.netns, at(two.v4, 7));
        passes(&one.netns, at(two.v6, 7), &two.netns, at(two.v6, 7));
        Liar { site, one, two }
    }

    /// Lets the first say anything: that the same lie passes then is what makes a test of it.
    fn free(&mut self) {
        self.site.firewall.remove_endpoint(&self.one.rules).unwrap();
        let free = EndpointRules { free: true, ..self.one.rules.clone() };
        self.site.firewall.add_endpoint(&free).unwrap();
    }

    /// Neighbours that needn't be asked for: what is tested then is the packet, not the question.
    fn know_neighbours(&self) {
        let mac = |rules: &EndpointRules| rules.mac.map(|byte| format!("{byte:02x}")).join(":");
        self.one.netns.run(|| {
            for address in [self.two.v4, self.two.v6] {
                let mac = mac(&self.two.rules);
                ip(&format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent"));
            }
        });
    }

    /// Whether a packet that the first sends from `source` arrives at the second.
    fn arrives_from(&self, source: IpAddr, to: IpAddr, limit: Duration) -> bool {
        let server = self.two.netns.run(|| UdpSocket::bind(at(to, 7)).unwrap());
        server.set_read_timeout(Some(limit)).unwrap();
        let client = self.one.netns.run(|| UdpSocket::bind(SocketAddr::new(source, 0)).unwrap());
        client.send_to(b"x", at(to, 7)).unwrap();
        server.recv_from(&mut [0; 4]).is_ok_and(|(_, peer)| peer.ip() == source)
    }

    /// The hardware address that the host knows of an address.
    fn host_knows(&self, address: IpAddr) -> String {
        let line = Cmd::new("/usr/sbin/ip", ["neigh", "show", &address.to_string()]).text();
        let mut words = line.split(' ').skip_while(|word| *word != "lladdr").skip(1);
        words.next().unwrap_or_default().to_owned()
    }
}

#[test]
fn packets_with_anothers_address_stop() {
    let mut liar = Liar::new();
    liar.one.netns.run(|| {
        ip("addr add 172.18.0.99/16 dev eth0");
        ip("addr add fd00:0::99/64 dev eth0 nodad");
    });
    liar.know_neighbours();
    let (v4, v6) = (liar.two.v4, liar.two.v6);
    let lies = [("172.18.0.99".parse().unwrap(), v4), ("fd00:0::99".parse().unwrap(), v6)];
    for (source, to) in lies {
        assert!(!liar.arrives_from(source, to, NEVER), "{source}");
    }
    assert!(liar.arrives_from(liar.one.v4, v4, ARRIVES_WITHIN));
    assert!(liar.arrives_from(liar.one.v6, v6, ARRIVES_WITHIN));
    liar.free();
    for (source, to) in lies {
        assert!(liar.arrives_from(source, to, ARRIVES_WITHIN), "{source}");
    }
}

#[test]
fn frames_with_anothers_hardware_address_stop() {
    let mut liar = Liar::new();
    liar.one.netns.run(|| ip("link set eth0 address 02:42:00:00:00:99"));
    liar.know_neighbours();
    for (source, to) in [(liar.one.v4, liar.two.v4), (liar.one.v6, liar.two.v6)] {
        assert!(!liar.arrives_from(source, to, NEVER), "{source}");
    }
    liar.free();
    for (source, to) in [(liar.one.v4, liar.two.v4), (liar.one.v6, liar.two.v6)] {
        assert!(liar.arrives_from(source, to, ARRIVES_WITHIN), "{source}");
    }
}

#[test]
fn nobody_answers_or_asks_with_anothers_address() {
    let mut liar = Liar::new();
    let (v4, v6) = (liar.two.v4, liar.two.v6);
    passes(&liar.site.host, at(v4, 7), &liar.two.netns, at(v4, 7));
    passes(&liar.site.host, at(v6, 7), &liar.two.netns, at(v6, 7));
    let honest = "02:42:ac:12:00:03";
    assert_eq!((liar.host_knows(v4), liar.host_knows(v6)), (honest.into(), honest.into()));
    liar.one.netns.run(|| {
        ip(&format!("addr add {v4}/16 dev eth0"));
        // Nothing of the kernel's own sense of order.
        sysctl("ipv4/conf/eth0/arp_announce", "0");
    });
    // The host would believe it at once, if the last change wasn't a moment ago.
    sysctl("ipv4/neigh/berth0/locktime", "0");
    let lie = |liar: &Liar| {
        liar.one.netns.run(|| {
            // A question to the gateway, and so to its neighbour cache, as the other.
            ip("neigh flush dev eth0");
            let socket = UdpSocket::bind(SocketAddr::new(v4, 0)).unwrap();
            let _ = socket.send_to(b"x", "172.18.0.1:9");
            advertise(v6);
        });
    };
    lie(&liar);
    // What was sent earlier has been seen before what comes later.
    assert!(liar.arrives_from(liar.one.v6, v6, ARRIVES_WITHIN));
    assert_eq!((liar.host_knows(v4), liar.host_knows(v6)), (honest.into(), honest.into()));
    liar.free();
    assert!(until(ARRIVES_WITHIN, || {
        lie(&liar);
        let liars = "02:42:ac:12:00:02";
        (liar.host_knows(v4), liar.host_knows(v6)) == (liars.into(), liars.into())
    }));
}

#[test]
fn neighbour_discovery_says_only_what_is_so() {
    let mut liar = Liar::new();
    // With br_netfilter a redirect is what connection tracking calls invalid, and stops there.
    set_bridge_netfilter(false);
    let (own, other) = (liar.one.v6, liar.two.v6);
    let talk = |liar: &Liar| {
        let two = SocketAddrV6::new(octets(other).into(), 0, 0, 0);
        let all = SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 2);
        let heard = liar.two.netns.run(icmp6_socket);
        let server = liar.two.netns.run(|| UdpSocket::bind("[::]:9").unwrap());
        liar.one.netns.run(|| {
            // A router's advertisement and redirect; then questions from nobody, as who wants an address asks.
            send_icmp6(&[&[134, 0, 0, 0][..], &[0; 12]].concat(), two);
            send_icmp6(&[&[137, 0, 0, 0][..], &[0; 36]].concat(), two);
            for target in [other, own] {
                send_from_nobody(58, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &octets(target)].concat(), all);
            }
            // UDP from port 1 to 9.
            send_from_nobody(17, &[0, 1, 0, 9, 0, 9, 0, 0, b'x'], two);
        });
        assert!(liar.arrives_from(own, other, ARRIVES_WITHIN));
        let mut seen = Vec::new();
        let mut buffer = [0; 256];
        while let Ok((length, _)) = rustix::net::recv(&heard, &mut buffer[..], RecvFlags::empty()) {
            let is_from_nobody = length == 24 && buffer[0] == 135;
            if [134, 137].contains(&buffer[0]) || is_from_nobody {
                seen.push((buffer[0], buffer[..length].last().copied()));
            }
        }
        server.set_nonblocking(true).unwrap();
        (seen, server.recv(&mut buffer).is_ok())
    };
    // The target's last byte: only the question for the own address passes.
    assert_eq!(talk(&liar), (vec![(135, Some(2))], false));
    liar.free();
    let zero = Some(0);
    let all = vec![(134, zero), (137, zero), (135, Some(3)), (135, Some(2))];
    assert_eq!(talk(&liar), (all, true));
}

#[test]
fn bridges_of_others_are_none_of_our_business() {
    let site = Site::new();
    set_bridge_netfilter(false);
    ip("link add other0 type bridge");
    ip("addr add 10.77.0.1/24 dev other0");
    ip("link set other0 up");
    let machines = [2, 3].map(|last| {
        let netns = Netns::new();
        let fd = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
        ip(&format!("link add vnet{last} type veth peer name eth0 netns {fd}"));
        ip(&format!("link set vnet{last} master other0 up"));
        netns.run(|| {
            ip(&format!("addr add 10.77.0.{last}/24 dev eth0"));
            ip("link set eth0 up");
            ip("route add default via 10.77.0.1");
        });
        netns
    });
    sysctl("ipv4/ip_forward", "1");
    site.lan.run(|| ip(&format!("route add 10.77.0.0/24 via {HOST4}")));
    let to = at("10.77.0.3", 80);
    passes(&machines[0], to, &machines[1], to);
    passes(&site.host, to, &machines[1], to);
    assert_eq!(passes(&site.lan, to, &machines[1], to).to_string(), LAN4);
    let lan = at(LAN4, 80);
    assert_eq!(passes(&machines[0], lan, &site.lan, lan).to_string(), "10.77.0.2");
}

#[test]
fn frames_that_bridges_keep_to_themselves_reach_nobody_and_teach_nothing() {
    let liar = Liar::new();
    // An address of the host's that isn't on the bridge: what goes there from elsewhere is nobody else's to stop.
    let (service, victim) = (at(HOST4, 9), "02:42:ac:12:00:03");
    let server = UdpSocket::bind(service).unwrap();
    let send = || {
        liar.one.netns.run(|| {
            // As LLDP is sent: the host takes it from the port, not from the bridge.
            ip("neigh replace 172.18.0.1 lladdr 01:80:c2:00:00:0e dev eth0 nud permanent");
            UdpSocket::bind(at(liar.one.v4, 0)).unwrap().send_to(b"x", service).unwrap();
        });
    };
    send();
    server.set_read_timeout(Some(NEVER)).unwrap();
    assert!(server.recv_from(&mut [0; 4]).is_err());
    // With another's hardware address, which would then be looked for here.
    liar.one.netns.run(|| ip(&format!("link set eth0 address {victim}")));
    send();
    let known = Cmd::new("/usr/sbin/bridge", ["fdb", "show", "br", "berth0"]).text();
    let places: Vec<&str> = known.lines().filter(|line| line.starts_with(victim)).collect();
    assert!(places.len() == 1 && places[0].contains("dev bth0x3"), "{known}");
    // But for our table it would arrive.
    let Liar { mut site, one, .. } = liar;
    site.firewall.remove_table().unwrap();
    server.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    one.netns.run(|| {
        ip("neigh replace 172.18.0.1 lladdr 01:80:c2:00:00:0e dev eth0 nud permanent");
        UdpSocket::bind(at(one.v4, 0)).unwrap().send_to(b"x", service).unwrap();
    });
    server.recv_from(&mut [0; 4]).unwrap();
}

#[test]
fn no_container_is_another_ones_router() {
    let mut liar = Liar::new();
    let routes = |liar: &Liar| {
        liar.two.netns.run(|| Cmd::new("/usr/sbin/ip", ["-6", "route", "show", "proto", "ra"]).text())
    };
    liar.two.netns.run(|| sysctl("ipv6/conf/eth0/accept_ra", "2"));
    liar.one.netns.run(route);
    assert!(liar.arrives_from(liar.one.v6, liar.two.v6, ARRIVES_WITHIN));
    assert_eq!(routes(&liar), "");
    liar.free();
    assert!(until(ARRIVES_WITHIN, || {
        liar.one.netns.run(route);
        !routes(&liar).is_empty()
    }));
}

fn octets(address: IpAddr) -> [u8; 16] {
    let IpAddr::V6(address) = address else { panic!("{address} is none of IPv6") };
    address.octets()
}

fn icmp6_socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6)).unwrap()
}

/// Sends an ICMPv6 message as neighbour discovery wants it. The kernel adds the checksum.
fn send_icmp6(message: &[u8], to: SocketAddrV6) {
    let socket = icmp6_socket();
    sockopt::set_ipv6_unicast_hops(&socket, Some(255)).unwrap();
    sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
    rustix::net::sendto(&socket, message, SendFlags::empty(), &to).unwrap();
}

/// Sends a packet of IPv6 whose source is `::`, with what follows its header; the checksum comes into it.
fn send_from_nobody(protocol: u8, message: &[u8], to: SocketAddrV6) {
    let mut message = message.to_vec();
    let length = message.len() as u16;
    let pseudo = [&to.ip().octets()[..], &length.to_be_bytes(), &[0, protocol], &message].concat();
    let mut sum: u32 =
        pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let place = if protocol == 17 { 6 } else { 2 };
    message[place..place + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([protocol, 255]);
    packet.extend([0; 16]);
    packet.extend(to.ip().octets());
    packet.extend(message);
    let socket = rustix::net::socket_with(
        AddressFamily::INET6,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )
    .unwrap();
    rustix::net::sendto(&socket, &packet, SendFlags::empty(), &to).unwrap();
}

/// Tells the gateway that `address` is at this container's device. Source: RFC 4861, 4.4.
fn advertise(address: IpAddr) {
    let mac = Links::open().unwrap().link("eth0").unwrap().unwrap().mac;
    // Override; then the option with the hardware address.
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(octets(address));
    message.extend([2, 1]);
    message.extend(mac);
    send_icmp6(&message, "[fd00:0::1]:0".parse().unwrap());
}

/// Tells everybody that this container is a router to everywhere. Source: RFC 4861, 4.2.
fn route() {
    let message = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    send_icmp6(&message, SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 2));
}

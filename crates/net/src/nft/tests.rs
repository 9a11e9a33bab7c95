//! Against the kernel, in a network namespace of each test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use testkit::{Cmd, netns};

fn names() -> Names {
    Names { table: "berth".into(), bridges: "berth".into(), ports: "bth".into() }
}

fn network(bridge: &str, subnets: &[&str]) -> NetworkRules {
    NetworkRules {
        bridge: bridge.into(),
        subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
        internal: false,
        icc: true,
        masquerade: true,
    }
}

fn port(host: &str, protocol: Protocol, target: &str) -> Port {
    Port { host: host.parse().unwrap(), protocol, target: target.parse().unwrap() }
}

fn endpoint(port: &str, last: u8, addresses: &[&str]) -> EndpointRules {
    EndpointRules {
        port: port.into(),
        mac: [2, 0x42, 0, 0, 0, last],
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        free: false,
    }
}

fn nft(args: &[&str]) -> String {
    Cmd::new("/usr/sbin/nft", args).run().ok().silent().text()
}

/// A state with one of everything.
fn some() -> State {
    State {
        networks: vec![
            network("berth0", &["172.18.0.0/16", "fd00:18::/64"]),
            NetworkRules { icc: false, ..network("berth1", &["172.19.0.0/16"]) },
            NetworkRules { internal: true, masquerade: false, ..network("berth2", &["172.20.0.0/24"]) },
            NetworkRules { masquerade: false, ..network("berth3", &["255.255.255.0/24", "fd00::/8"]) },
            network("berth4", &[]),
        ],
        ports: vec![
            port("0.0.0.0:80", Protocol::Tcp, "172.18.0.2:8080"),
            port("0.0.0.0:80", Protocol::Udp, "172.18.0.3:80"),
            port("[::]:80", Protocol::Tcp, "[fd00:18::2]:8080"),
            port("127.0.0.1:81", Protocol::Tcp, "172.18.0.2:81"),
            port("[::1]:81", Protocol::Udp, "[fd00:18::2]:81"),
        ],
        endpoints: vec![
            endpoint("bth1", 1, &["172.18.0.2", "fd00:18::2"]),
            endpoint("bth2", 2, &["172.18.0.3"]),
            EndpointRules { free: true, ..endpoint("bth3", 3, &["172.18.0.4"]) },
        ],
    }
}

/// What nft lists of our main table in a namespace where `state` was restored.
fn listed(state: &State) -> String {
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.restore(state).unwrap();
    nft(&["list", "table", "inet", "berth"])
}

#[test]
fn nft_reads_our_table_and_writes_the_same() {
    netns::own();
    let ours = listed(&some());
    for line in [
        "elements = { 172.18.0.0/16, 172.19.0.0/16,",
        "elements = { \"berth0\" . 172.18.0.0/16,",
        "elements = { 127.0.0.1 . tcp . 81 : 172.18.0.2 . 81 }",
        "iifname != \"lo\" iifname != @br ip daddr @sub4 drop",
        "meta mark set meta mark | 0x00b00000",
        "dnat ip6 to ip6 daddr . meta l4proto . th dport map @a6",
        "oifname != @br ip6 saddr @sub6 masquerade",
        "ct state established,related accept",
    ] {
        assert!(ours.contains(line), "{line} isn't in\n{ours}");
    }
    let theirs = netns::Netns::new().run(|| {
        Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(ours.clone()).run().ok().silent();
        nft(&["list", "ruleset"])
    });
    assert_eq!(theirs, ours);
    // The guard's table has a concatenation with raw bytes, which nft prints but doesn't parse.
    let guard = nft(&["list", "table", "bridge", "berth"]);
    for line in [
        "iifname != \"bth*\" accept",
        "iifname . ether saddr . ip saddr @ok4 accept",
        "icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @nd6 drop",
        "\"bth1\" . 02:42:00:00:00:01 . fe80::42:ff:fe00:1",
    ] {
        assert!(guard.contains(line), "{line} isn't in\n{guard}");
    }
}

#[test]
fn what_is_added_is_read_back_and_goes_again() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    assert_eq!(firewall.dump().unwrap(), None);
    firewall.ensure_table().unwrap();
    let empty = firewall.dump().unwrap().unwrap();
    assert_eq!((empty.state, empty.guarded, empty.broken), (State::default(), true, vec![]));
    let bare = nft(&["list", "ruleset"]);
    let some = some();
    // Twice is once.
    for _ in 0..2 {
        for network in &some.networks {
            firewall.add_network(network).unwrap();
        }
        firewall.publish(&some.ports).unwrap();
        for endpoint in &some.endpoints {
            assert!(firewall.add_endpoint(endpoint).unwrap());
        }
        let found = firewall.dump().unwrap().unwrap();
        assert_eq!(found.state, some.normalized());
        assert_eq!(found.broken, Vec::<String>::new());
    }
    let listed = nft(&["list", "ruleset"]);
    firewall.restore(&some).unwrap();
    assert_eq!(nft(&["list", "ruleset"]), listed);
    for _ in 0..2 {
        firewall.unpublish(&some.ports).unwrap();
        for endpoint in &some.endpoints {
            firewall.remove_endpoint(endpoint).unwrap();
        }
        for network in &some.networks {
            firewall.remove_network(network).unwrap();
        }
        assert_eq!(nft(&["list", "ruleset"]), bare);
    }
    firewall.remove_table().unwrap();
    firewall.remove_table().unwrap();
    assert_eq!(nft(&["list", "ruleset"]), "");
}

//! Against the kernel, in a network namespace of each test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use testkit::{Cmd, netns};

fn names() -> Names {
    Names { table: "berth".into(), bridges: "berth".into(), ports: "bth".into(), host_decides: false }
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

#[test]
fn a_port_is_taken_by_one_passed_on_whole_and_unpublished_by_its_owner_only() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let first = port("0.0.0.0:80", Protocol::Tcp, "172.18.0.2:80");
    let second = Port { target: "172.18.0.3:80".parse().unwrap(), ..first };
    let free = port("0.0.0.0:81", Protocol::Tcp, "172.18.0.3:81");
    firewall.publish(&[first]).unwrap();
    firewall.publish(&[first]).unwrap();
    // All or none.
    let taken = firewall.publish(&[free, second]).unwrap_err();
    assert_eq!(taken, Error::PortTaken { port: second, holder: Some(first.target) });
    assert_eq!(taken.to_string(), "port 0.0.0.0:80/tcp is taken by 172.18.0.2:80");
    assert_eq!(firewall.list_ports().unwrap(), [first]);
    // The same number of another protocol, family or address is another port.
    let others = [
        port("0.0.0.0:80", Protocol::Udp, "172.18.0.3:80"),
        port("[::]:80", Protocol::Tcp, "[fd00::3]:80"),
        port("127.0.0.1:80", Protocol::Tcp, "172.18.0.3:80"),
    ];
    firewall.publish(&others).unwrap();
    firewall.unpublish(&others).unwrap();
    firewall.take_over(&[second, free]).unwrap();
    assert_eq!(firewall.holder(&first).unwrap(), Some(second.target));
    // The former owner has nothing to unpublish.
    firewall.unpublish(&[first]).unwrap();
    assert_eq!(firewall.holder(&first).unwrap(), Some(second.target));
    firewall.unpublish(&[second, free]).unwrap();
    assert_eq!(firewall.list_ports().unwrap(), []);
    let mixed = port("0.0.0.0:80", Protocol::Tcp, "[fd00::2]:80");
    assert!(matches!(firewall.publish(&[mixed]), Err(Error::Impossible { .. })));
}

#[test]
fn of_processes_that_begin_at_once_one_makes_the_tables() {
    netns::own();
    let here = netns::Netns::current();
    let made = std::thread::scope(|scope| {
        let one = || here.run(|| Firewall::open(&names()).unwrap().ensure_table().unwrap());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|ensured| **ensured == Ensured::Made).count(), 1, "{made:?}");
    let found = Firewall::open(&names()).unwrap().dump().unwrap().unwrap();
    assert_eq!((found.guarded, found.broken), (true, vec![]));
}

#[test]
fn names_that_devices_cant_have_are_refused() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let long = network("berth-sixteen-xx", &[]);
    assert!(matches!(firewall.add_network(&long), Err(Error::Impossible { .. })));
    let long = endpoint("bth-sixteen-xxxx", 1, &[]);
    assert!(matches!(firewall.add_endpoint(&long), Err(Error::Impossible { .. })));
    let none = Names { ports: String::new(), ..names() };
    assert!(matches!(Firewall::open(&none), Err(Error::Impossible { .. })));
}

#[test]
fn ten_thousand_ports_are_restored_at_once() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let clock = std::time::Instant::now;
    let once = |firewall: &mut Firewall, what: &str| {
        let one = [port("0.0.0.0:9", Protocol::Tcp, "172.18.0.9:9")];
        let mut least = [u128::MAX; 2];
        for _ in 0..50 {
            let began = clock();
            firewall.publish(&one).unwrap();
            least[0] = least[0].min(began.elapsed().as_nanos());
            let began = clock();
            firewall.unpublish(&one).unwrap();
            least[1] = least[1].min(began.elapsed().as_nanos());
        }
        println!("one port beside {what}: add {} ns, remove {} ns at least", least[0], least[1]);
    };
    once(&mut firewall, "none");
    let ports = (0..10_000_u32).map(|number| {
        let [.., high, low] = (10_000 + number).to_be_bytes();
        let target = SocketAddr::from(([172, 18, high, low], 80));
        let host = SocketAddr::from(([0, 0, 0, 0], 10_000 + number as u16));
        Port { host, protocol: Protocol::Tcp, target }
    });
    let state = State {
        networks: vec![network("berth0", &["172.18.0.0/16"])],
        ports: ports.collect(),
        endpoints: Vec::new(),
    };
    for _ in 0..2 {
        let began = clock();
        firewall.restore(&state).unwrap();
        println!("restored in {:?}", began.elapsed());
    }
    once(&mut firewall, "10,000");
    let began = clock();
    let found = firewall.dump().unwrap().unwrap();
    println!("read back in {:?}", began.elapsed());
    assert_eq!(found.state, state.normalized());
    let twice = Port { target: "172.18.0.1:1".parse().unwrap(), ..state.ports[0] };
    let mut twice = State { ports: vec![state.ports[0], twice], ..State::default() };
    assert!(matches!(firewall.restore(&twice), Err(Error::PortTaken { .. })));
    twice.ports.pop();
    firewall.restore(&twice).unwrap();
    assert_eq!(firewall.list_ports().unwrap(), twice.ports);
}

#[test]
fn ten_thousand_ports_of_one_container_come_and_go_at_once() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let at = |number: u16, target: [u8; 4]| Port {
        host: SocketAddr::from(([0, 0, 0, 0], number)),
        protocol: Protocol::Tcp,
        target: SocketAddr::from((target, number)),
    };
    let ports = |target| (20_000..30_000).map(|number| at(number, target)).collect::<Vec<Port>>();
    let (one, other) = (ports([172, 18, 0, 2]), ports([172, 18, 0, 3]));
    firewall.publish(&one).unwrap();
    firewall.take_over(&other).unwrap();
    let mut found = firewall.list_ports().unwrap();
    found.sort_unstable();
    assert_eq!(found, other);
    // They aren't its own any more.
    firewall.unpublish(&one).unwrap();
    assert_eq!(firewall.list_ports().unwrap().len(), other.len());
    firewall.unpublish(&other).unwrap();
    assert_eq!(firewall.list_ports().unwrap(), []);
}

/// A transaction of ours in which some messages are wrong.
fn wrong(wrong: &[usize], count: usize) -> Transaction {
    let mut transaction = Transaction::new(None);
    let at = Table { family: TableFamily::Inet, name: "berth" };
    for number in 1..=count {
        let (set, element) =
            ruleset::port(&port(&format!("0.0.0.0:{number}"), Protocol::Tcp, "172.18.0.2:80"));
        if wrong.contains(&number) {
            transaction.remove(at, &set, &element);
        } else {
            transaction.add(at, &set, &[element]);
        }
    }
    transaction
}

#[test]
fn a_refused_transaction_tells_which_message_and_changes_nothing() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let all: Vec<usize> = (1..=1_000).collect();
    for (bad, count) in [(&[1][..], 1), (&[1], 3), (&[2], 3), (&[3], 3), (&[2, 3], 3), (&all, 1_000)] {
        let refused = firewall.commit(wrong(bad, count)).unwrap_err();
        // With a thousand, there's no room for all errors: the first ones are there.
        assert_eq!(refused, Refused { message: Some(bad[0]), errno: Errno::NOENT }, "{bad:?}");
        assert_eq!(firewall.list_ports().unwrap(), []);
    }
    // Rules have changed since.
    let mut old = Transaction::new(Some(firewall.generation().unwrap().wrapping_sub(1)));
    old.delete_table(Table { family: TableFamily::Inet, name: "berth" });
    assert!(is_outdated(firewall.commit(old).unwrap_err()));
    // The kernel gives no answer at all to a batch with a message that is too short.
    let mut short = crate::netlink::Batch::new();
    short.message(16, 0, |body| {
        body.raw(&[0, 0, 0, 10]);
    });
    short.message(Msg::NewTable.typ(), crate::netlink::ACK, |_| {});
    short.message(17, 0, |body| {
        body.raw(&[0, 0, 0, 10]);
    });
    let refused = firewall.socket.exchange_until(&short, 1).unwrap_err();
    assert_eq!(refused, Refused { message: None, errno: Errno::PROTO });
    firewall.commit(wrong(&[], 2)).unwrap();
    assert_eq!(firewall.list_ports().unwrap().len(), 2);
}

#[test]
fn a_watch_hears_of_what_went_and_of_nothing_else() {
    use watch::{Heard, Watch};
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    let mut watch = Watch::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    firewall.restore(&some()).unwrap();
    watch.turn().unwrap();
    let ports = [port("0.0.0.0:99", Protocol::Udp, "172.18.0.2:99")];
    firewall.publish(&ports).unwrap();
    firewall.unpublish(&ports).unwrap();
    firewall.remove_endpoint(&some().endpoints[0]).unwrap();
    nft(&["add", "table", "inet", "other"]);
    nft(&["delete", "table", "inet", "other"]);
    nft(&["add", "table", "ip", "berth"]);
    nft(&["delete", "table", "ip", "berth"]);
    assert_eq!(watch.turn().unwrap(), Heard::Nothing);
    for damage in ["flush chain inet berth raw", "flush table bridge berth", "delete chain inet berth post"] {
        nft(&damage.split(' ').collect::<Vec<_>>());
        assert_eq!(watch.turn().unwrap(), Heard::Damaged, "{damage}");
        assert_eq!(watch.turn().unwrap(), Heard::Nothing);
    }
    let broken = firewall.dump().unwrap().unwrap().broken;
    assert_eq!(broken, ["inet post", "inet raw", "bridge ports"]);
    nft(&["flush", "ruleset"]);
    assert_eq!(watch.turn().unwrap(), Heard::Gone);
    assert_eq!(firewall.dump().unwrap(), None);
    assert_eq!(firewall.ensure_table().unwrap(), Ensured::Made);
    firewall.restore(&some()).unwrap();
    watch.turn().unwrap();
    // More than the socket has room for.
    let many = "add table ip x; delete table ip x; ".repeat(2_000);
    Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(many).run().ok();
    assert_eq!(watch.turn().unwrap(), Heard::Unclear);
    assert_eq!(watch.turn().unwrap(), Heard::Nothing);
}

#[test]
fn a_table_of_another_version_is_outdated() {
    netns::own();
    nft(&["add", "table", "inet", "berth", "{ comment \"berth 0\"; }"]);
    let mut firewall = Firewall::open(&names()).unwrap();
    assert_eq!(firewall.ensure_table().unwrap(), Ensured::Outdated);
    firewall.restore(&State::default()).unwrap();
    assert_eq!(firewall.ensure_table().unwrap(), Ensured::There);
}

/// Others' tables: docker's as iptables-nft writes them, and one of the host's own.
const OTHERS: &str = r#"
table ip filter {
    chain DOCKER-USER { counter return; }
    chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}
table ip6 filter {
    chain FORWARD { type filter hook forward priority 0; policy accept; }
}
table inet mine {
    set s { type ipv4_addr; elements = { 10.0.0.1 }; }
    chain in { type filter hook input priority 0; policy drop; ip saddr @s accept; }
    chain fw { type filter hook forward priority 10; policy accept; ct state new accept; }
}
"#;

#[test]
fn others_tables_stay_as_they_are_but_for_the_tagged_rules() {
    netns::own();
    Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(OTHERS).run().ok().silent();
    let before = nft(&["list", "ruleset"]);
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.restore(&some()).unwrap();
    for _ in 0..2 {
        assert_eq!(firewall.pass_others(&["berth0".into()]).unwrap(), []);
        let chain = nft(&["list", "chain", "ip", "filter", "DOCKER-USER"]);
        let rules: Vec<&str> = chain.lines().map(str::trim).filter(|line| line.contains("berth")).collect();
        let comment = "accept comment \"berth\"";
        assert_eq!(rules, [format!("iifname \"berth*\" {comment}"), format!("oifname \"berth*\" {comment}")]);
        assert_eq!(firewall.beside().unwrap(), [TableFamily::Ip]);
    }
    // A bridge that is called otherwise.
    let rules = |firewall: &mut Firewall, bridges: &[&str]| {
        let bridges: Vec<String> = bridges.iter().map(|bridge| (*bridge).to_owned()).collect();
        assert_eq!(firewall.pass_others(&bridges).unwrap(), []);
        let chain = nft(&["list", "chain", "ip", "filter", "DOCKER-USER"]);
        chain.lines().filter(|line| line.contains("comment \"berth\"")).count()
    };
    assert_eq!(rules(&mut firewall, &["berth0", "mine0"]), 4);
    assert_eq!(rules(&mut firewall, &["berth0", "mine0"]), 4);
    assert!(nft(&["list", "ruleset"]).contains("iifname \"mine0\" accept comment \"berth\""));
    assert_eq!(rules(&mut firewall, &["berth0"]), 2);
    // If the host's own firewall is to decide: only what containers begin, and back again.
    for host_decides in [true, true, false] {
        let mut firewall = Firewall::open(&Names { host_decides, ..names() }).unwrap();
        assert_eq!(rules(&mut firewall, &["berth0"]), 2);
        let answers = if host_decides { " ct state established,related" } else { "" };
        let chain = nft(&["list", "chain", "ip", "filter", "DOCKER-USER"]);
        assert!(chain.contains(&format!("oifname \"berth*\"{answers} accept comment \"berth\"")), "{chain}");
        assert!(chain.contains("iifname \"berth*\" accept comment \"berth\""), "{chain}");
        assert!(firewall.others_decide().unwrap());
    }
    for _ in 0..2 {
        firewall.leave_others().unwrap();
        firewall.remove_table().unwrap();
        // The counter that a chain of iptables' begins with has counted nothing.
        assert_eq!(nft(&["list", "ruleset"]), before);
    }
    assert_eq!(firewall.beside().unwrap(), []);
}

#[test]
fn what_drops_and_has_no_place_for_us_is_told_with_the_command_to_type() {
    netns::own();
    let mut firewall = Firewall::open(&names()).unwrap();
    firewall.ensure_table().unwrap();
    let mut check = |rules: &str, chain: &str, does: &str, advice: &[&str]| {
        Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(rules).run().ok().silent();
        let before = nft(&["list", "ruleset"]);
        let found = firewall.pass_others(&["berth0".into()]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].chain.as_str(), found[0].does, &found[0].advice[..]),
            (chain, does, &advice.iter().map(|line| line.to_string()).collect::<Vec<_>>()[..])
        );
        assert_eq!(nft(&["list", "ruleset"]), before);
        // Somebody does something about it.
        let place: Vec<&str> = chain.split(' ').collect();
        nft(&[&["insert", "rule"][..], &place, &["iifname", "berth0", "accept"]].concat());
        assert_eq!(firewall.pass_others(&["berth0".into()]).unwrap(), []);
        assert_eq!(firewall.pass_others(&["berth1".into()]).unwrap().len(), 1);
        nft(&["delete", "table", chain.split(' ').next().unwrap(), chain.split(' ').nth(1).unwrap()]);
    };
    check(
        "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept; \
         ct state { established, related } accept; ct status dnat accept; counter reject with icmpx admin-prohibited; }; }",
        "inet firewalld filter_FORWARD",
        "rejects what no rule of its own lets through",
        &["firewall-cmd --permanent --zone=trusted --add-interface=berth0", "firewall-cmd --reload"],
    );
    check(
        "table ip filter { chain ufw-user-forward { }; \
         chain FORWARD { type filter hook forward priority 0; policy drop; jump ufw-user-forward; }; }",
        "ip filter FORWARD",
        "drops by policy",
        &["ufw route allow in on berth0", "ufw route allow out on berth0"],
    );
    check(
        "table inet mine { chain fw { type filter hook forward priority 5; log prefix \"x\" drop; }; }",
        "inet mine fw",
        "drops what no rule of its own lets through",
        &[
            "nft insert rule inet mine fw iifname berth0 accept",
            "nft insert rule inet mine fw oifname berth0 accept",
        ],
    );
    assert_eq!(firewall.pass_others(&[]).unwrap(), []);
}

proptest::proptest! {
    #[test]
    fn whatever_is_read_is_read_without_a_panic(payload: Vec<u8>) {
        let at = Table { family: TableFamily::Inet, name: "berth" };
        read::elements(&payload).for_each(drop);
        read::rule(&payload, at);
        read::table_comment(&payload);
        wire::comment_of(&payload);
    }
}

#[test]
fn a_comment_is_found_behind_other_user_data() {
    assert_eq!(wire::comment_of(&[1, 2, 9, 9, 0, 3, b'h', b'i', 0]), Some("hi"));
    assert_eq!(wire::comment_of(&[0, 4, b'h', b'i', 0]), None);
    assert_eq!(wire::comment_of(&[0, 2, b'h', b'i']), None);
    assert_eq!(wire::comment_of(&[]), None);
}

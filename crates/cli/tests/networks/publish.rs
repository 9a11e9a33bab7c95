//! Published ports.

use super::{address, get, get_from, host, nothing_left, run, shows, web};
use testkit::{Cmd, netns::Netns};

#[test]
fn a_port_is_reached_from_everywhere_it_should_be() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    let lan = lan();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80", "-p", "127.0.0.1:8081:80"]);
    web(&host, "bb", &[]);
    let gateway = shows_gateway(&host);
    for url in ["http://127.0.0.1:8080/", "http://192.0.2.1:8080/", "http://127.0.0.1:8081/"] {
        assert_eq!(get(url), "aa", "{url}");
    }
    assert_eq!(lan.run(|| get("http://192.0.2.1:8080/")), "aa");
    // From itself, from a neighbour, from another network.
    assert_eq!(get_from(&host, "aa", &format!("http://{gateway}:8080/")), "aa");
    assert_eq!(get_from(&host, "bb", "http://192.0.2.1:8080/"), "aa");
    // What is published on loopback stays there, and an address that isn't published isn't reached.
    assert_eq!(lan.run(|| get("http://192.0.2.1:8081/")), "");
    let own = address(&host, "aa", "blue");
    let script =
        format!("ip route add 127.0.0.0/8 via 192.0.2.1 table local; ip route add {own} via 192.0.2.1");
    lan.run(|| Cmd::new("/bin/sh", ["-c", &script]).env("PATH", "/usr/sbin:/bin").run().ok());
    assert_eq!(lan.run(|| get(&format!("http://{own}/"))), "");
    assert_eq!(host.berth(["port", "aa"]).text(), "80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8081");
    assert_eq!(host.berth(["port", "aa", "80"]).text(), "0.0.0.0:8080\n127.0.0.1:8081");
    host.berth(["rm", "-f", "aa"]).run().ok();
    assert_eq!(get("http://127.0.0.1:8080/"), "");
    drop_lan();
    nothing_left(&host);
}

fn shows_gateway(host: &testkit::Host) -> String {
    shows(host, "aa", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
}

/// Another machine, at 192.0.2.2; this one is at 192.0.2.1 on the link `lan0`.
fn lan() -> Netns {
    let lan = Netns::new();
    let script = "ip link add lan0 type veth peer name eth0 netns \"$LAN\" && ip addr add 192.0.2.1/24 dev lan0 \
                  && ip link set lan0 up";
    Cmd::new("/bin/sh", ["-c", script]).env("PATH", "/usr/sbin:/bin").env("LAN", lan.path()).run().ok();
    let script =
        "ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up && ip route add default via 192.0.2.1";
    lan.run(|| Cmd::new("/bin/sh", ["-c", script]).env("PATH", "/usr/sbin:/bin").run().ok());
    lan
}

fn drop_lan() {
    Cmd::new("/usr/sbin/ip", ["link", "del", "lan0"]).run().ok();
}

/// Which of these ports of the host's, each a container's, the other machine reaches.
fn reached(lan: &Netns, ports: &[u16]) -> Vec<u16> {
    let mut ports = ports.to_vec();
    ports.retain(|port| lan.run(|| get(&format!("http://192.0.2.1:{port}/"))) == "aa");
    ports
}

#[test]
fn the_hosts_firewall_decides_about_published_ports_if_it_is_to() {
    let host = host();
    let lan = lan();
    let settings = host.path("networks.json");
    std::fs::write(&settings, r#"{"firewall": "host"}"#).unwrap();
    let berth = |args: &[&str]| host.berth(args).env("BERTH_NETWORKS", &settings);
    let nft = |text: &str| Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(text).run().ok();
    let script = "mkdir -p /www && echo aa >/www/index.html && exec httpd -f -p 80 -h /www";
    let start = ["run", "-d", "--name", "aa", "-p", "8080:80", "-p", "8081:80", "box", "sh", "-c", script];
    // Nobody decides: that is said, and found.
    berth(&start).run().ok().stderr_has(&["the host's firewall's to decide about", "no chain at forward"]);
    berth(&["network", "doctor", "-q", "aa"]).run().code(1);
    assert!(berth(&["network", "doctor", "-q", "aa"]).run().text().contains("published ports"));
    nft("table inet mine { chain forward { type filter hook forward priority 0; policy drop; \
         ct state established,related accept; \
         iifname \"lan0\" meta l4proto tcp ct original proto-dst 8080 accept; }; }");
    let both = [8080, 8081];
    let is_up = || reached(&lan, &both) == [8080];
    assert!(testkit::until(std::time::Duration::from_secs(5), is_up), "{:?}", reached(&lan, &both));
    for port in both {
        assert_eq!(get(&format!("http://127.0.0.1:{port}/")), "aa", "{port}");
    }
    // What is advised lets containers out, and nobody in.
    let said = berth(&["network", "doctor", "-q", "aa"]).run().text();
    let advised: Vec<&str> =
        said.lines().filter_map(|line| line.trim().strip_prefix("-> nft insert")).collect();
    let advised = advised.first().unwrap_or_else(|| panic!("nothing is advised: {said}"));
    let commands = format!("nft insert{advised}");
    Cmd::new("/bin/sh", ["-ec", &commands]).env("PATH", "/usr/sbin:/bin").run().ok();
    let listener = lan.run(|| std::net::TcpListener::bind("192.0.2.2:7000").unwrap());
    let accepts = std::thread::spawn(move || listener.accept().map(drop));
    let script = "nc 192.0.2.2 7000 </dev/null";
    host.berth(["exec", "aa", "timeout", "3", "sh", "-c", script]).run().ok();
    accepts.join().unwrap().unwrap();
    assert_eq!(reached(&lan, &both), [8080]);
    nft("delete table inet mine");
    // The same where docker's chain for such rules is.
    nft("table ip filter { chain DOCKER-USER { }; \
         chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; }");
    berth(&["network", "repair"]).run().ok();
    assert_eq!(reached(&lan, &both), [0; 0]);
    nft("insert rule ip filter DOCKER-USER meta l4proto tcp ct original proto-dst 8081 accept");
    assert_eq!(reached(&lan, &both), [8081]);
    std::fs::write(&settings, r#"{"firewall": "berth"}"#).unwrap();
    berth(&["network", "repair"]).run().ok();
    assert_eq!(reached(&lan, &both), both);
    // A setting that isn't one.
    std::fs::write(&settings, r#"{"firewal": "host"}"#).unwrap();
    berth(&["run", "--rm", "box", "true"]).run().code(125).stderr_has(&["networks.json", "firewal"]);
    std::fs::write(&settings, r#"{"firewall": "ufw"}"#).unwrap();
    berth(&["run", "--rm", "box", "true"]).run().code(125).stderr_has(&["networks.json", "ufw"]);
    drop_lan();
    host.berth(["rm", "-f", "aa"]).run().ok();
    host.berth(["network", "prune", "-f"]).run().ok();
    nft("delete table ip filter");
    nothing_left(&host);
}

#[test]
fn the_source_of_a_connection_is_kept() {
    let host = host();
    let lan = lan();
    let script = "mkdir -p /www && echo aa >/www/index.html && exec httpd -f -vv -p 80 -h /www";
    host.berth(["run", "-d", "--name", "aa", "-p", "8080:80", "box", "sh", "-c", script]).text();
    let comes = || lan.run(|| get("http://192.0.2.1:8080/")) == "aa";
    assert!(testkit::until(std::time::Duration::from_secs(5), comes));
    let is_told = || host.berth(["logs", "aa"]).run().err().contains("192.0.2.2]:");
    assert!(
        testkit::until(std::time::Duration::from_secs(5), is_told),
        "{}",
        host.berth(["logs", "aa"]).run().err()
    );
    drop_lan();
    nothing_left(&host);
}

#[test]
fn ranges_random_ports_and_udp() {
    let host = host();
    let start = |name: &str, options: &[&str]| {
        let fixed = ["run", "-d", "--name", name];
        host.berth(fixed.iter().chain(options).copied().chain(["box", "sleep", "100"]))
    };
    start("aa", &["-p", "9000-9001:90-91", "-p", "9100-9110:92", "-p", "93", "-p", "9200:94/udp"]).text();
    let ports = host.berth(["port", "aa"]).text();
    for line in [
        "90/tcp -> 0.0.0.0:9000",
        "91/tcp -> 0.0.0.0:9001",
        "92/tcp -> 0.0.0.0:9100",
        "94/udp -> 0.0.0.0:9200",
    ] {
        assert!(ports.lines().any(|own| own == line), "{line} isn't in\n{ports}");
    }
    start("bb", &["-p", "9100-9110:92", "-p", "9200:94/tcp"]).text();
    assert_eq!(host.berth(["port", "bb", "92"]).text(), "0.0.0.0:9101");
    start("cc", &["-p", "9000:1"]).run().code(125).stderr_has(&["port is already allocated", "container aa"]);
    start("dd", &["--expose", "70", "--expose", "71/udp", "-P"]).text();
    assert_eq!(host.berth(["port", "dd"]).text().lines().count(), 2);
    let shown = host.berth(["ps", "--format", "{{.Ports}}", "-f", "name=aa"]).text();
    assert!(shown.contains("0.0.0.0:9000->90/tcp, 0.0.0.0:9001->91/tcp"), "{shown}");
    assert_eq!(host.berth(["ps", "-qf", "publish=9101"]).text(), host.berth(["ps", "-qf", "name=bb"]).text());
    assert_eq!(host.berth(["ps", "-aqf", "name=cc"]).text(), "");
    nothing_left(&host);
}

#[test]
fn a_port_of_a_program_of_the_hosts_is_taken() {
    let host = host();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    run(&host, &["-p", &format!("{port}:80")], "true")
        .run()
        .code(125)
        .stderr_has(&["port is already allocated"]);
    drop(listener);
    run(&host, &["-p", &format!("{port}:80")], "true").run().ok();
    nothing_left(&host);
}

#[test]
fn ports_are_free_as_soon_as_their_container_has_ended() {
    let host = host();
    web(&host, "aa", &["-p", "8080:80", "-p", "9000-9200:9000-9200"]);
    for _ in 0..5 {
        host.berth(["restart", "-t", "0", "aa"]).run().ok();
    }
    for _ in 0..5 {
        host.berth(["rm", "-f", "aa"]).run().ok();
        host.berth(["run", "-d", "--name", "aa", "-p", "8080:80", "box", "sleep", "100"]).text();
    }
    nothing_left(&host);
}

#[test]
fn of_many_who_want_a_port_one_gets_it() {
    let host = host();
    let racers: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("r{number}");
            host.berth(["run", "-d", "--name", &name, "-p", "7777:80", "box", "sleep", "100"]).spawn()
        })
        .collect();
    let won = racers.into_iter().map(testkit::cmd::Running::wait).filter(|output| output.status == 0).count();
    assert_eq!(won, 1);
    assert_eq!(host.berth(["ps", "-aq"]).text().lines().count(), 1);
    nothing_left(&host);
}

#[test]
fn ipv6_ports_are_reached_over_loopback_too() {
    let host = host();
    // With it the kernel drops answers to ::1 from a bridge: docs/firewall.md.
    let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
    host.berth(["network", "create", "--ipv6", "six"]).text();
    web(&host, "aa", &["--network", "six", "-p", "8080:80", "-p", "[::1]:8082:80"]);
    for url in ["http://[::1]:8080/", "http://127.0.0.1:8080/", "http://[::1]:8082/"] {
        assert_eq!(get(url), "aa", "{url}");
    }
    assert_eq!(
        host.berth(["port", "aa"]).text(),
        "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n80/tcp -> [::1]:8082"
    );
    run(&host, &["-p", "[::1]:8083:80"], "true").run().code(125).stderr_has(&["no address of its family"]);
    nothing_left(&host);
}

//! Who reaches whom.

use super::{address, get, get_from, host, nothing_left, run, web};

#[test]
fn containers_reach_each_other_within_a_network_only() {
    let host = host();
    for network in ["blue", "red"] {
        host.berth(["network", "create", network]).text();
    }
    web(&host, "aa", &["--network", "blue"]);
    web(&host, "bb", &["--network", "blue"]);
    web(&host, "cc", &["--network", "red"]);
    web(&host, "dd", &[]);
    assert_eq!(get_from(&host, "aa", "http://bb/"), "bb");
    let (a, c, d) =
        (address(&host, "aa", "blue"), address(&host, "cc", "red"), address(&host, "dd", "bridge"));
    for address in [&c, &d] {
        assert_eq!(get_from(&host, "aa", &format!("http://{address}/")), "", "{address}");
    }
    assert_eq!(get_from(&host, "dd", &format!("http://{a}/")), "");
    // The host reaches all of them.
    for (address, name) in [(&a, "aa"), (&c, "cc"), (&d, "dd")] {
        assert_eq!(get(&format!("http://{address}/")), name);
    }
    nothing_left(&host);
}

#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let host = host();
    let server = testkit::http::Server::start(|_| testkit::http::Answer::new(200, "secret"));
    let url = |address: &str| format!("http://{address}:{}/", server.host().rsplit(':').next().unwrap());
    assert_eq!(get(&url("127.0.0.1")), "secret");
    // As a router would be told to send there, and as who has set an address of loopback on its own link.
    let script = format!(
        "gw=$(ip route | awk '/^default/ {{print $3}}'); \
         ip route add 127.0.0.0/8 via $gw table local 2>/dev/null; ip route del local 127.0.0.0/8 2>/dev/null; \
         timeout 2 wget -qO- {} ; timeout 2 wget -qO- http://$gw:{}/; true",
        url("127.0.0.1"),
        server.host().rsplit(':').next().unwrap()
    );
    let seen = run(&host, &["--cap-add", "NET_ADMIN"], &script).run();
    assert_eq!(seen.text(), "");
    nothing_left(&host);
}

#[test]
fn an_internal_network_has_no_way_out() {
    let host = host();
    host.berth(["network", "create", "--internal", "inner"]).text();
    web(&host, "aa", &["--network", "inner"]);
    web(&host, "out", &["-p", "8080:80"]);
    assert_eq!(run(&host, &["--network", "inner"], "wget -qO- http://aa/").text(), "aa");
    let routes = run(&host, &["--network", "inner"], "ip route").text();
    assert!(!routes.contains("default"), "{routes}");
    // Not over a port that the host publishes either, whatever routes it adds.
    let script = "gw=$(ip -4 -o addr show eth0 | awk '{print $4}' | sed 's,[0-9]*/.*,1,'); \
                  ip route add default via $gw; timeout 2 wget -qO- http://$gw:8080/; true";
    let options = ["--network", "inner", "--cap-add", "NET_ADMIN"];
    let through = run(&host, &options, script).run().text();
    assert!(through.is_empty() || through == "out", "{through}");
    let outside = address(&host, "out", "bridge");
    let script = format!(
        "gw=$(ip -4 -o addr show eth0 | awk '{{print $4}}' | sed 's,[0-9]*/.*,1,'); \
         ip route add default via $gw; timeout 2 wget -qO- http://{outside}/; true"
    );
    assert_eq!(run(&host, &options, &script).run().text(), "");
    run(&host, &["--network", "inner", "-p", "80"], "true")
        .run()
        .code(125)
        .stderr_has(&["internal networks only"]);
    nothing_left(&host);
}

#[test]
fn without_icc_only_the_gateway_is_reached() {
    let host = host();
    let off = "com.docker.network.bridge.enable_icc=false";
    host.berth(["network", "create", "-o", off, "apart"]).text();
    web(&host, "aa", &["--network", "apart"]);
    web(&host, "bb", &["--network", "apart", "-p", "8080:80"]);
    assert_eq!(get_from(&host, "aa", "http://bb/"), "");
    assert_eq!(get(&format!("http://{}/", address(&host, "aa", "apart"))), "aa");
    assert_eq!(get("http://127.0.0.1:8080/"), "bb");
    nothing_left(&host);
}

#[test]
fn no_container_speaks_for_another() {
    let host = host();
    web(&host, "aa", &[]);
    let other = address(&host, "aa", "bridge");
    // With another's address, with another's hardware address, with one that nobody has.
    for change in [
        format!("ip addr add {other}/16 dev eth0; ip addr del $own dev eth0"),
        "ip addr add 172.17.200.200/16 dev eth0; ip addr del $own dev eth0".to_owned(),
        "ip link set eth0 down; ip link set eth0 address 02:42:ac:11:00:99; ip link set eth0 up".to_owned(),
    ] {
        let script = format!(
            "own=$(ip -4 -o addr show eth0 | awk '{{print $4}}'); ping -c1 -W1 172.17.0.1 >/dev/null && echo before; \
             {change}; ping -c1 -W1 172.17.0.1 >/dev/null && echo after"
        );
        let seen = run(&host, &["--cap-add", "NET_ADMIN"], &script).run();
        assert_eq!(seen.text(), "before", "{change}");
    }
    nothing_left(&host);
}

#[test]
fn ipv6_is_there_if_asked_for_and_else_absent() {
    let host = host();
    assert_eq!(run(&host, &[], "ip -6 -o addr show eth0").text(), "");
    host.berth(["network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six"]).text();
    web(&host, "aa", &["--network", "six", "--ip6", "fd00:77::77"]);
    assert_eq!(run(&host, &["--network", "six"], "wget -qO- 'http://[fd00:77::77]/'").text(), "aa");
    assert_eq!(get("http://[fd00:77::77]/"), "aa");
    assert_eq!(run(&host, &["--network", "six"], "nslookup aa 127.0.0.11 | grep -c fd00:77::77").text(), "1");
    nothing_left(&host);
}

//! `network connect` and `disconnect`; several networks of one container.

use super::{address, get, get_from, host, nothing_left, web};

#[test]
fn a_running_container_changes_its_networks() {
    let host = host();
    for network in ["blue", "red"] {
        host.berth(["network", "create", network]).text();
    }
    web(&host, "aa", &["--network", "blue"]);
    web(&host, "bb", &["--network", "red"]);
    assert_eq!(get_from(&host, "bb", "http://aa/"), "");
    host.berth(["network", "connect", "--alias", "ay", "red", "aa"]).run().ok().silent();
    assert_eq!(get_from(&host, "bb", "http://ay/"), "aa");
    assert_eq!(get_from(&host, "aa", "http://bb/"), "bb");
    host.berth(["network", "connect", "red", "aa"])
        .run()
        .code(1)
        .stderr_has(&["already exists in network red"]);
    host.berth(["network", "disconnect", "red", "aa"]).run().ok().silent();
    assert_eq!(get_from(&host, "bb", "http://ay/"), "");
    host.berth(["network", "disconnect", "red", "aa"])
        .run()
        .code(1)
        .stderr_has(&["is not connected to network red"]);
    // The way out goes over the other network, once that is the only one.
    host.berth(["network", "connect", "red", "aa"]).run().ok();
    host.berth(["network", "disconnect", "blue", "aa"]).run().ok();
    let route = host.berth(["exec", "aa", "ip", "route"]).text();
    assert!(route.contains("default via 172.19.0.1"), "{route}");
    // It stays so over a restart, and over one of a stopped container.
    host.berth(["restart", "-t", "0", "aa"]).run().ok();
    assert_eq!(address(&host, "aa", "red"), "172.19.0.3");
    host.berth(["stop", "-t", "0", "aa"]).run().ok();
    host.berth(["network", "connect", "blue", "aa"]).run().ok();
    host.berth(["start", "aa"]).run().ok();
    assert_eq!(address(&host, "aa", "blue"), "172.18.0.2");
    host.berth(["network", "connect", "host", "aa"]).run().failed();
    host.berth(["network", "connect", "blue", "none-such"]).run().code(1).stderr_has(&["no such container"]);
    nothing_left(&host);
}

#[test]
fn several_networks_at_the_start() {
    let host = host();
    for network in ["blue", "red"] {
        host.berth(["network", "create", network]).text();
    }
    web(&host, "bb", &["--network", "blue"]);
    web(&host, "rr", &["--network", "red"]);
    let options = ["--network", "name=red,gw-priority=1", "--network", "name=blue,alias=me"];
    web(&host, "both", &options);
    assert_eq!(get_from(&host, "both", "http://bb/"), "bb");
    assert_eq!(get_from(&host, "both", "http://rr/"), "rr");
    assert_eq!(get_from(&host, "bb", "http://me/"), "both");
    assert_eq!(get(&format!("http://{}/", address(&host, "both", "red"))), "both");
    let route = host.berth(["exec", "both", "ip", "route"]).text();
    assert!(route.contains("default via 172.19.0.1"), "{route}");
    nothing_left(&host);
}

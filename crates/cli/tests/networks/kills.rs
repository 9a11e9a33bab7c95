//! `kill -9` at each step of what changes a running container's networks: the next command puts it right.

use super::{get, get_from, host, nothing_left, web};
use std::collections::BTreeSet;
use testkit::{Cmd, Host, Value, until};

/// The points that a command of the client's passes, with what was done before each.
pub(super) fn points(host: &Host, command: &[&str]) -> Vec<(String, String)> {
    let list = host.path("points");
    host.berth(command).env("BERTH_FAULT_LIST", &list).run().ok();
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let point = |line: &str| line.split_once(' ').map(|(point, done)| (point.to_owned(), done.to_owned()));
    text.lines().filter_map(point).filter(|(point, _)| point.starts_with("client:")).collect()
}

/// Whether the container is on the network, by what is said of it.
fn is_on(host: &Host, container: &str, network: &str) -> bool {
    let known = host.berth(["inspect", container]).run().ok().json();
    known[0]["NetworkSettings"]["Networks"].get(network).is_some()
}

/// What is written down of addresses, links and names is what there is.
#[track_caller]
fn is_sound(host: &Host, point: &str) {
    let mut wanted = BTreeSet::new();
    let mut links = BTreeSet::new();
    for cell in std::fs::read_dir(host.run_dir().join("containers")).unwrap().flatten() {
        assert!(!cell.path().join("claiming").exists(), "{point}: the change isn't over");
        let Ok(text) = std::fs::read_to_string(cell.path().join("network.json")) else { continue };
        let attached: Value = text.parse().unwrap();
        for own in attached["endpoints"].as_array().unwrap() {
            let address = own["ipv4"].as_str().unwrap().split_once('/').unwrap().0.to_owned();
            wanted.insert((own["network"].as_str().unwrap().to_owned(), address));
            links.insert(own["link"].as_str().unwrap().to_owned());
        }
    }
    let mut leases = BTreeSet::new();
    for network in std::fs::read_dir(host.run_dir().join("networks")).unwrap().flatten() {
        let name = network.file_name().into_string().unwrap();
        for lease in std::fs::read_dir(network.path().join("leases")).unwrap().flatten() {
            leases.insert((name.clone(), lease.file_name().into_string().unwrap()));
        }
        let names = std::fs::read_to_string(network.path().join("names")).unwrap();
        for line in names.lines().filter(|line| line.starts_with("name ")) {
            let known = leases.iter().any(|(_, address)| line.contains(address));
            assert!(known, "{point}: {name} knows {line}");
        }
    }
    assert_eq!(leases, wanted, "{point}: addresses");
    let there = Cmd::new("/usr/sbin/ip", ["-br", "link", "show", "type", "veth"]).run().text();
    let there: BTreeSet<String> =
        there.lines().map(|line| line.split('@').next().unwrap().to_owned()).collect();
    assert_eq!(there, links, "{point}: links");
    for network in ["blue", "red"] {
        host.berth(["network", "doctor", "-q", network]).run().ok();
    }
}

#[test]
fn a_change_of_networks_is_killed_at_each_step() {
    let host = host();
    for network in ["blue", "red"] {
        host.berth(["network", "create", network]).text();
    }
    super::doctor::resolver();
    let dns = ["--dns", "127.0.0.1"];
    web(&host, "aa", &[&["--network", "blue", "-p", "8080:80"][..], &dns].concat());
    web(&host, "bb", &[&["--network", "red"][..], &dns].concat());
    let (joins, leaves) = (["network", "connect", "red", "aa"], ["network", "disconnect", "red", "aa"]);
    let joining = points(&host, &joins);
    let leaving = points(&host, &leaves);
    assert!(joining.len() >= 10 && leaving.len() >= 8, "{joining:?}\n{leaving:?}");
    for (command, points) in [(joins, joining), (leaves, leaving)] {
        for (point, done) in points {
            let at = format!("{}, killed at {point}, after {done}", command[1]);
            if is_on(&host, "aa", "red") != (command == leaves) {
                host.berth(if command == leaves { joins } else { leaves }).run().ok();
            }
            assert_eq!(host.berth(command).env("BERTH_FAULT", &point).run().status, 137, "{at}");
            host.berth(["ps"]).run().ok();
            is_sound(&host, &at);
            // What is said is so.
            let on = is_on(&host, "aa", "red");
            assert_eq!(get_from(&host, "aa", "http://bb/"), if on { "bb" } else { "" }, "{at}");
            assert_eq!(get("http://127.0.0.1:8080/"), "aa", "{at}");
            if on == (command == leaves) {
                host.berth(command).run().ok().silent();
            }
            is_sound(&host, &at);
            assert_eq!(is_on(&host, "aa", "red"), command == joins, "{at}");
        }
    }
    nothing_left(&host);
}

#[test]
fn a_container_that_ends_after_a_change_was_cut_short_leaves_nothing() {
    let host = host();
    for network in ["blue", "red"] {
        host.berth(["network", "create", network]).text();
    }
    // Its first container brings it up.
    web(&host, "bb", &["--network", "red"]);
    let start =
        || host.berth(["run", "-d", "--rm", "--name", "aa", "--network", "blue", "box", "sleep", "100"]);
    start().text();
    let joins = ["network", "connect", "red", "aa"];
    let points = points(&host, &joins);
    host.berth(["rm", "-f", "aa"]).run().ok();
    for (point, done) in points {
        start().text();
        let id = super::shows(&host, "aa", "{{.Id}}");
        assert_eq!(host.berth(joins).env("BERTH_FAULT", &point).run().status, 137, "{point}");
        // The first process, of which its keeper hears; no command comes between.
        testkit::cmd::signal_pid(super::faults::first_process(&host, &id), 9);
        let left = || {
            let leases = ["blue", "red"].map(|network| {
                std::fs::read_dir(host.run_dir().join("networks").join(network).join("leases"))
                    .into_iter()
                    .flatten()
                    .count()
            });
            leases[0] + leases[1]
        };
        let is_gone = until(std::time::Duration::from_secs(10), || left() == 1);
        assert!(is_gone, "killed at {point}, after {done}: {} addresses are left", left() - 1);
    }
    nothing_left(&host);
}

#[test]
fn the_default_route_and_the_ports_follow_the_networks() {
    let host = host();
    for network in ["blue", "green", "amber"] {
        host.berth(["network", "create", network]).text();
    }
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    let goes_over = |network: &str| {
        let gateway = host.berth(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network]);
        let route = host.berth(["exec", "aa", "ip", "route"]).text();
        assert!(route.contains(&format!("default via {}", gateway.text())), "{network}: {route}");
        assert_eq!(route.matches("default").count(), 1, "{route}");
        assert_eq!(get("http://127.0.0.1:8080/"), "aa", "{network}");
    };
    goes_over("blue");
    // Of equals the first by name; then the one that is wanted most.
    host.berth(["network", "connect", "green", "aa"]).run().ok();
    goes_over("blue");
    host.berth(["network", "connect", "amber", "aa"]).run().ok();
    goes_over("amber");
    host.berth(["network", "disconnect", "green", "aa"]).run().ok();
    host.berth(["network", "connect", "--gw-priority", "5", "green", "aa"]).run().ok();
    goes_over("green");
    host.berth(["restart", "-t", "0", "aa"]).run().ok();
    assert!(until(std::time::Duration::from_secs(5), || get("http://127.0.0.1:8080/") == "aa"));
    goes_over("green");
    host.berth(["network", "disconnect", "green", "aa"]).run().ok();
    goes_over("amber");
    host.berth(["network", "disconnect", "amber", "aa"]).run().ok();
    goes_over("blue");
    nothing_left(&host);
}

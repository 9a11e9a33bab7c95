//! What others do to networks, and processes that are killed.

use super::{address, get, get_from, host, nothing_left, run, web};
use testkit::Cmd;

#[test]
fn after_a_flush_the_next_command_puts_it_right() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    Cmd::new("/usr/sbin/nft", ["flush", "ruleset"]).run().ok();
    run(&host, &["--network", "blue"], "wget -qO- http://aa/").run().ok().stdout_is("aa\n");
    assert_eq!(get("http://127.0.0.1:8080/"), "aa");
    nothing_left(&host);
}

#[test]
fn a_flush_is_noticed_and_put_right_by_whoever_keeps_a_container() {
    let host = host();
    for name in ["first", "second"] {
        web(&host, name, &["-p", "80"]);
    }
    let url = |name: &str| {
        format!("http://{}/", host.berth(["port", name, "80"]).text().replace("0.0.0.0", "127.0.0.1"))
    };
    let (first, second) = (url("first"), url("second"));
    let flush = || Cmd::new("/usr/sbin/nft", ["flush", "ruleset"]).run().ok();
    let comes = |url: &str| testkit::until(std::time::Duration::from_secs(10), || !get(url).is_empty());
    // Once both have lived for a while, one of them watches; when that one is gone, the other does.
    std::thread::sleep(std::time::Duration::from_millis(400));
    flush();
    assert!(comes(&first) && comes(&second), "the first flush isn't put right");
    host.berth(["rm", "-f", "first"]).run().ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    flush();
    assert!(comes(&second), "the second flush isn't put right");
    nothing_left(&host);
}

#[test]
fn after_a_flush_nothing_is_forwarded_until_it_is_put_right() {
    let host = host();
    web(&host, "aa", &[]);
    host.berth(["network", "create", "blue"]).text();
    web(&host, "bb", &["--network", "blue"]);
    let other = address(&host, "bb", "blue");
    for pid in processes_of(&host, &super::shows(&host, "aa", "{{.Id}}")).into_iter().take(1) {
        testkit::cmd::signal_pid(pid, 9);
    }
    Cmd::new("/usr/sbin/nft", ["flush", "ruleset"]).run().ok();
    assert_eq!(get_from(&host, "aa", &format!("http://{other}/")), "");
    nothing_left(&host);
}

#[test]
fn repair_brings_all_of_it_back() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    Cmd::new(
        "/bin/sh",
        ["-c", "nft flush ruleset; ip link del $(ip -br link show type bridge | cut -d' ' -f1)"],
    )
    .env("PATH", "/usr/sbin:/bin:/usr/bin")
    .run()
    .ok();
    assert_eq!(host.berth(["network", "repair"]).text(), "blue");
    assert_eq!(get("http://127.0.0.1:8080/"), "aa");
    nothing_left(&host);
}

#[test]
fn a_bridge_that_somebody_removed_comes_back_with_its_ports() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue"]);
    let links = Cmd::new("/usr/sbin/ip", ["-br", "link", "show", "type", "bridge"]).run().text();
    let bridge = links.split_whitespace().next().unwrap().to_owned();
    Cmd::new("/usr/sbin/ip", ["link", "del", &bridge]).run().ok();
    web(&host, "bb", &["--network", "blue"]);
    assert_eq!(get_from(&host, "bb", "http://aa/"), "aa");
    assert_eq!(get(&format!("http://{}/", address(&host, "aa", "blue"))), "aa");
    nothing_left(&host);
}

#[test]
fn nothing_of_the_hosts_is_changed_for_good() {
    let host = host();
    let rules = "add table ip mine; add chain ip mine forward { type filter hook forward priority 0; policy accept; }; \
                 add rule ip mine forward ip saddr 198.51.100.0/24 drop";
    for command in rules.split("; add ").enumerate() {
        let text = if command.0 == 0 { command.1.to_owned() } else { format!("add {}", command.1) };
        Cmd::new("/usr/sbin/nft", [text]).run().ok();
    }
    let state = || {
        let list = |program: &str, arguments: &[&str]| Cmd::new(program, arguments).run().ok().text();
        [
            list("/usr/sbin/nft", &["list", "ruleset"]),
            list("/usr/sbin/ip", &["route", "show", "table", "all"]),
            list("/usr/sbin/ip", &["rule"]),
            list("/usr/sbin/ip", &["-6", "rule"]),
        ]
    };
    let before = state();
    host.berth(["network", "create", "--ipv6", "blue"]).text();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    assert_ne!(state(), before);
    host.berth(["rm", "-f", "aa"]).run().ok();
    host.berth(["network", "rm", "blue"]).run().ok();
    // The container's link goes with its namespace, a moment later.
    testkit::until(std::time::Duration::from_secs(10), || state() == before);
    assert_eq!(state(), before);
}

/// The first process of a container.
pub(super) fn first_process(host: &testkit::Host, id: &str) -> u32 {
    let text = std::fs::read_to_string(host.run_dir().join("containers").join(id).join("run.json")).unwrap();
    serde_json_of(&text)["init"]["pid"].as_u64().unwrap() as u32
}

/// The container's first process, its holder, its keeper.
pub(super) fn processes_of(host: &testkit::Host, id: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(host.run_dir().join("containers").join(id).join("run.json")).unwrap();
    let run: testkit::Value = serde_json_of(&text);
    let pid = |name: &str| run[name]["pid"].as_u64().unwrap() as u32;
    let holder = pid("holder");
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap();
    let mut pids = vec![holder];
    pids.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
    pids
}

fn serde_json_of(text: &str) -> testkit::Value {
    text.parse().unwrap()
}

#[test]
fn what_killed_processes_leave_is_given_back() {
    let host = host();
    host.berth(["network", "create", "--subnet", "10.8.0.0/29", "tiny"]).text();
    for _ in 0..8 {
        let id =
            host.berth(["run", "-d", "--network", "tiny", "-p", "8080:80", "box", "sleep", "100"]).text();
        // First process, holder and keeper at once.
        for pid in processes_of(&host, &id) {
            testkit::cmd::signal_pid(pid, 9);
        }
        host.berth(["rm", "-f", &id]).run().ok();
    }
    run(&host, &["--network", "tiny", "-p", "8080:80"], "true").run().ok();
    let leases = || std::fs::read_dir(host.run_dir().join("networks/tiny/leases")).unwrap().count();
    assert!(testkit::until(std::time::Duration::from_secs(10), || leases() == 0), "{} are left", leases());
    nothing_left(&host);
}

//! `berth network doctor`: what keeps packets away is found and named.

use super::{host, nothing_left, shows, web};
use std::net::UdpSocket;
use testkit::{Cmd, Host, Value};

/// Names and details of what is found wrong by `berth ARGS`, or all findings of another status.
#[track_caller]
fn found(host: &Host, args: &[&str], status: &str) -> Vec<(String, String, String)> {
    let wrong = |text: &Value| text["Status"] == "wrong";
    let out = host.berth(args.iter().copied().chain(["--format", "json"])).run();
    let all = out.json();
    let findings = all["Findings"].as_array().unwrap();
    let is_sound = !findings.iter().any(wrong);
    assert_eq!(all["Sound"], Value::Bool(is_sound));
    out.code(if is_sound { 0 } else { 1 });
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings
        .iter()
        .filter(|finding| finding["Status"] == status)
        .map(|finding| (text(finding, "Name"), text(finding, "Detail"), text(finding, "Advice")))
        .collect()
}

/// That a thing is wrong whose name ends so: a part of what is said, and of what to do.
#[track_caller]
fn wrong(host: &Host, given: &str, name: &str, detail: &str, advice: &str) {
    let wrong = found(host, &["network", "doctor", given], "wrong");
    let is_it = |one: &&(String, String, String)| one.0.ends_with(name);
    let Some((_, said, told)) = wrong.iter().find(is_it) else { panic!("{name} isn't wrong: {wrong:?}") };
    assert!(said.contains(detail) && told.contains(advice), "{said} -> {told}");
}

/// Somebody who answers every question that he doesn't know the name, at 127.0.0.1:53 of the test's network.
pub(super) fn resolver() {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, whom)) = socket.recv_from(&mut bytes) {
            bytes[2] |= 0x80;
            bytes[3] = 3;
            let _ = socket.send_to(&bytes[..length], whom);
        }
    });
}

#[test]
fn a_sound_network_is_found_sound_and_what_is_open_is_told() {
    let host = host();
    resolver();
    host.berth(["network", "create", "--ipv6", "--subnet", "fd00:9::/64", "--subnet", "10.9.0.0/24", "blue"])
        .text();
    let ports = ["-p", "8080:80", "-p", "127.0.0.1:8081:80", "--dns", "127.0.0.1"];
    web(&host, "aa", &["--network", "blue"].iter().chain(&ports).copied().collect::<Vec<_>>());
    web(&host, "bb", &["--network", "blue", "--dns", "127.0.0.1"]);
    for given in ["blue", "aa", &shows(&host, "aa", "{{.Id}}")[..12]] {
        assert_eq!(found(&host, &["network", "doctor", given], "wrong"), [], "{given}");
        let ok = found(&host, &["network", "doctor", given], "ok");
        for (name, detail) in [
            ("blue: bridge", "is up with"),
            ("blue: routing rules", "nothing is forwarded while"),
            ("other firewalls", "none drops"),
            ("aa: link on blue", "a port of"),
            ("aa: addresses on blue", "with the default route"),
            ("aa: gateway 10.9.0.1 on blue", "answers from within"),
            ("aa: gateway fd00:9::1 on blue", "answers from within"),
            ("aa: name server", "says that aa is 10.9.0."),
            ("aa: resolvers", "127.0.0.1:53: answers"),
            ("aa: 0.0.0.0:8080/tcp taken", "no other program"),
            ("aa: 0.0.0.0:8080/tcp rule", "leads to 10.9.0."),
            ("aa: 0.0.0.0:8080/tcp listener", "accepts connections"),
            ("aa: 0.0.0.0:8080/tcp connection", "127.0.0.1:8080 leads into"),
            ("aa: 127.0.0.1:8081/tcp connection", "leads into"),
            ("to other machines", "0.0.0.0:8080/tcp (aa)"),
        ] {
            let is_told = ok.iter().any(|own| own.0 == name && own.1.contains(detail));
            assert!(is_told, "{name}: {detail} isn't told of {given}:\n{ok:#?}");
        }
        assert!(!ok.iter().any(|own| own.0.starts_with("to other") && own.1.contains("8081")));
        assert_eq!(ok.iter().any(|own| own.0 == "bb: link on blue"), given == "blue");
    }
    let text = host.berth(["network", "doctor", "aa"]).run().ok().text();
    assert!(text.starts_with("Networks\n") && text.ends_with("\n\nNothing is wrong."), "{text}");
    assert_eq!(host.berth(["network", "doctor", "-q", "aa"]).run().ok().text(), "");
    // What berth itself says of it.
    let all = found(&host, &["doctor"], "ok");
    let told = |name: &str| all.iter().find(|own| own.0 == name).unwrap().1.clone();
    assert_eq!(told("networks"), "1 network up, 2 containers on them");
    assert!(told("to other machines").contains("0.0.0.0:8080/tcp (aa)"));
    // What there is nothing to be said of.
    host.berth(["network", "create", "idle"]).text();
    let idle = found(&host, &["network", "doctor", "idle"], "ok");
    assert!(idle.iter().any(|own| own.1.contains("the first container brings it up")), "{idle:?}");
    host.berth(["run", "-d", "--name", "cc", "--network", "none", "box", "sleep", "100"]).text();
    assert!(found(&host, &["network", "doctor", "cc"], "ok")[0].1.contains("as was asked for"));
    // A name comes before the beginning of an id.
    let called_as_id = &host.berth(["network", "inspect", "-f", "{{.Id}}", "idle"]).text()[..4];
    host.berth(["run", "-d", "--name", called_as_id, "--network", "none", "box", "sleep", "100"]).text();
    assert!(found(&host, &["network", "doctor", called_as_id], "ok")[0].1.contains("as was asked for"));
    host.berth(["create", "--name", "dd", "box", "true"]).text();
    host.berth(["network", "doctor", "dd"]).run().failed().stderr_has(&["not running", "berth start dd"]);
    host.berth(["network", "doctor", "ee"]).run().failed().stderr_has(&["neither a network nor a container"]);
    nothing_left(&host);
}

/// Whether a program listens in a container.
fn listens(host: &Host, name: &str, address: &str, port: u16) -> bool {
    let script = format!("nc {address} {port} </dev/null");
    host.berth(["exec", name, "sh", "-c", &script]).run().status == 0
}

#[test]
fn who_listens_nowhere_or_on_loopback_only_is_found() {
    let host = host();
    let start = |name: &str, options: &[&str], script: &str| {
        let fixed = ["run", "-d", "--name", name];
        host.berth(fixed.iter().chain(options).copied().chain(["box", "sh", "-c", script])).text();
    };
    start("aa", &["-p", "8080:80", "-p", "8081:81/udp"], "exec sleep 100");
    wrong(&host, "aa", "0.0.0.0:8080/tcp listener", "nothing listens on 80", "berth logs aa");
    wrong(&host, "aa", "0.0.0.0:8081/udp listener", "nothing listens on 81", "berth logs aa");
    start("bb", &["-p", "8090:80"], "mkdir /www; exec httpd -f -p 127.0.0.1:80 -h /www");
    let is_up = || listens(&host, "bb", "127.0.0.1", 80);
    assert!(testkit::until(std::time::Duration::from_secs(10), is_up));
    wrong(&host, "bb", "8090/tcp listener", "listens on 127.0.0.1:80 only", "listen on 0.0.0.0");
    start("cc", &["-p", "8099:80"], "mkdir /www; exec httpd -f -p 8000 -h /www");
    let is_up = || listens(&host, "cc", "127.0.0.1", 8000);
    assert!(testkit::until(std::time::Duration::from_secs(10), is_up));
    wrong(
        &host,
        "cc",
        "8099/tcp listener",
        "nothing listens on 80 in the container; programs listen on 8000",
        "",
    );
    nothing_left(&host);
}

/// Keeper and holder of a container, not its first process, stand still while something is done: nobody mends it meanwhile.
fn while_nobody_watches(host: &Host, name: &str, work: impl FnOnce()) {
    let pids = super::faults::processes_of(host, &shows(host, name, "{{.Id}}"));
    let init: u32 = shows(host, name, "{{.State.Pid}}").parse().unwrap();
    let pids: Vec<u32> = pids.into_iter().filter(|pid| *pid != init).collect();
    let signal = |number| pids.iter().for_each(|pid| testkit::cmd::signal_pid(*pid, number));
    signal(19);
    work();
    signal(18);
}

#[test]
fn rules_that_are_gone_are_found() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    let nft = |line: &str| Cmd::new("/usr/sbin/nft", [line]).run().ok();
    while_nobody_watches(&host, "aa", || {
        let table = Cmd::new("/usr/sbin/nft", ["list", "tables", "inet"]).text().replace("table ", "");
        nft(&format!("flush chain {table} forward"));
        wrong(
            &host,
            "aa",
            &format!("table {table}"),
            "somebody has changed its chains",
            "berth network repair",
        );
        nft("flush ruleset");
        wrong(&host, "aa", &format!("table {table}"), "isn't there", "berth network repair");
        wrong(&host, "aa", "0.0.0.0:8080/tcp rule", "nothing leads it", "berth network repair");
        // Who stands still doesn't answer.
        wrong(&host, "aa", "aa: name server", "doesn't answer", "new keeper");
        let all = found(&host, &["doctor"], "wrong");
        assert!(all.iter().any(|own| own.0 == format!("table {table}")), "{all:?}");
        Cmd::new("/bin/sh", ["-c", "ip rule del pref 90; ip -6 rule del pref 90"])
            .env("PATH", "/usr/sbin:/sbin:/bin")
            .run()
            .ok();
        wrong(&host, "blue", "blue: routing rules", "not there: IPv", "berth network repair");
        host.berth(["network", "repair"]).run().ok();
        let wrong = found(&host, &["network", "doctor", "blue"], "wrong");
        let names: Vec<&str> = wrong.iter().map(|own| own.0.as_str()).collect();
        assert!(
            names.iter().all(|name| name.starts_with("aa: name") || name.starts_with("aa: res")),
            "{wrong:?}"
        );
    });
    nothing_left(&host);
}

#[test]
fn bridges_and_links_that_are_down_or_gone_are_found() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue", "-p", "8080:80"]);
    let ip = |words: &[&str]| Cmd::new("/usr/sbin/ip", words.iter().copied()).run().ok().text();
    let first = |kind: &str| {
        let all = ip(&["-br", "link", "show", "type", kind]);
        all.split(|end: char| end.is_whitespace() || end == '@').next().unwrap().to_owned()
    };
    let (bridge, link) = (first("bridge"), first("veth"));
    ip(&["link", "set", &bridge, "down"]);
    wrong(&host, "aa", "blue: bridge", "is down", "berth network repair");
    wrong(&host, "aa", "gateway 172.18.0.1 on blue", "isn't reached", "the bridge");
    wrong(&host, "aa", "0.0.0.0:8080/tcp listener", "isn't reached from the host", "the bridge");
    host.berth(["network", "repair"]).run().ok();
    ip(&["link", "set", &link, "nomaster"]);
    wrong(&host, "aa", "aa: link on blue", "is no port of", "berth network repair");
    host.berth(["network", "repair"]).run().ok();
    ip(&["link", "set", &link, "down"]);
    wrong(&host, "aa", "aa: link on blue", "is down", "ip link set");
    ip(&["link", "set", &link, "up"]);
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    wrong(&host, "aa", "blue: forwarding", "net.ipv4.ip_forward", "berth network repair");
    host.berth(["network", "repair"]).run().ok();
    let pid = shows(&host, "aa", "{{.State.Pid}}");
    let inside = |words: &[&str]| {
        let enter = ["-t", &pid, "-n", "/usr/sbin/ip"];
        Cmd::new("/usr/bin/nsenter", enter.iter().chain(words).copied()).run().ok()
    };
    inside(&["route", "del", "default"]);
    wrong(&host, "aa", "aa: addresses on blue", "no default route", "berth restart aa");
    inside(&["addr", "flush", "dev", "eth0"]);
    wrong(&host, "aa", "aa: addresses on blue", "has lost its address", "berth restart aa");
    ip(&["link", "del", &bridge]);
    wrong(&host, "aa", "blue: bridge", "isn't there", "berth network repair");
    nothing_left(&host);
}

#[test]
fn what_another_firewall_drops_is_found_and_nothing_is_changed() {
    let host = host();
    web(&host, "aa", &["-p", "8080:80"]);
    let rules = |text: &str| Cmd::new("/usr/sbin/nft", ["-f", "-"]).stdin(text).run().ok();
    rules("table ip mine { chain forward { type filter hook forward priority 0; policy drop; }; }");
    wrong(
        &host,
        "aa",
        "other firewalls",
        "ip mine forward drops by policy",
        "nft insert rule ip mine forward",
    );
    wrong(
        &host,
        "bridge",
        "other firewalls",
        "ip mine forward drops by policy",
        "nft insert rule ip mine forward",
    );
    rules("delete table ip mine");
    // Where Docker's chain is, berth may put its rules there: `doctor` doesn't.
    let docker = "table ip filter { chain DOCKER-USER { }; \
                  chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; }";
    rules(docker);
    let list = || Cmd::new("/usr/sbin/nft", ["list", "table", "ip", "filter"]).text();
    let before = list();
    wrong(&host, "aa", "other firewalls", "ip filter FORWARD drops", "berth network repair");
    assert_eq!(list(), before);
    host.berth(["network", "repair"]).run().ok();
    assert_ne!(list(), before);
    let wrong = found(&host, &["network", "doctor", "aa"], "wrong");
    assert!(!wrong.iter().any(|own| own.0 == "other firewalls"), "{wrong:?}");
    rules("delete table ip filter");
    nothing_left(&host);
}

#[test]
fn ports_that_nobody_holds_or_another_has_are_found() {
    let host = host();
    web(&host, "aa", &["-p", "8080:80"]);
    let init: u32 = shows(&host, "aa", "{{.State.Pid}}").parse().unwrap();
    let pids = super::faults::processes_of(&host, &shows(&host, "aa", "{{.Id}}"));
    // Holder first, else it makes another keeper; the container goes on.
    for pid in pids.iter().filter(|pid| **pid != init) {
        testkit::cmd::signal_pid(*pid, 9);
    }
    let is_free = || std::net::TcpListener::bind("0.0.0.0:8080").is_ok();
    assert!(testkit::until(std::time::Duration::from_secs(5), is_free));
    wrong(&host, "aa", "0.0.0.0:8080/tcp taken", "nobody holds it", "berth restart aa");
    let other = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();
    wrong(&host, "aa", "0.0.0.0:8080/tcp taken", "a program of this host listens", "ss -lntp");
    drop(other);
    nothing_left(&host);
}

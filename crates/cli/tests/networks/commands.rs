//! `network create`, `ls`, `inspect`, `rm`, `prune`.

use super::{host, nothing_left, run, web};
use testkit::Host;

#[test]
fn a_network_is_made_listed_shown_and_removed() {
    let host = Host::new();
    let id = host.berth(["network", "create", "--label", "a=1", "blue"]).text();
    assert_eq!(id.len(), 64);
    let list = host.berth(["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]).text();
    assert_eq!(list, "blue bridge local\nbridge bridge local\nhost host local\nnone null local");
    assert_eq!(host.berth(["network", "ls", "-qf", "name=blue", "--no-trunc"]).text(), id);
    assert_eq!(host.berth(["network", "ls", "-qf", "label=a=2"]).text(), "");
    assert_eq!(host.berth(["network", "ls", "-f", "type=custom", "--format", "{{.Name}}"]).text(), "blue");
    assert_eq!(host.berth(["network", "ls", "-f", "dangling=true", "--format", "{{.Name}}"]).text(), "blue");
    let document = host.berth(["network", "inspect", "blue"]).run().ok().json();
    let network = &document[0];
    assert_eq!((&network["Name"], &network["Driver"]), (&"blue".into(), &"bridge".into()));
    assert_eq!(network["Id"], id.as_str());
    // The default network's subnet stays free for it, as with docker.
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "172.18.0.0/16");
    assert_eq!(network["IPAM"]["Config"][0]["Gateway"], "172.18.0.1");
    host.berth(["network", "create", "blue"])
        .run()
        .code(1)
        .stderr_has(&["network with name blue already exists"]);
    assert_eq!(host.berth(["network", "rm", &id[..12]]).text(), &id[..12]);
    host.berth(["network", "inspect", "blue"]).run().code(1).stderr_has(&["network blue not found"]);
    host.berth(["network", "rm", "blue"]).run().code(1).stderr_has(&["network blue not found"]);
    host.berth(["network", "rm", "-f", "blue"]).run().ok();
}

#[test]
fn bad_networks_are_refused_and_leave_nothing() {
    let host = Host::new();
    for (arguments, why) in [
        (&["a b"][..], "invalid network name"),
        (&["--subnet", "10.1.0.0", "x"], "no subnet"),
        (&["--gateway", "10.1.0.1", "x"], "no matching subnet for gateway"),
        (&["--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1", "x"], "no matching subnet for gateway"),
        (&["--subnet", "10.1.0.0/16", "--ip-range", "10.2.0.0/24", "x"], "no matching subnet for range"),
        (
            &["--subnet", "10.1.0.0/32", "--gateway", "10.1.0.0", "--ipv4=false", "x"],
            "IPv4 or IPv6 must be enabled",
        ),
        (&["--subnet", "127.0.0.0/16", "x"], "overlaps"),
        (&["-d", "macvlan", "x"], "isn't supported yet"),
        (&["-d", "weave", "x"], "plugin not found"),
        (&["-o", "com.docker.network.bridge.enable_icc=maybe", "x"], "neither true nor false"),
        (&["-o", "com.docker.network.driver.mtu=12", "x"], "can't be it"),
        (&["-o", "com.docker.network.bridge.name=a-name-of-20-letters", "x"], "can't be it"),
        (&["host"], "already exists"),
        (&["bridge"], "already exists"),
    ] {
        let output = host.berth(["network", "create"].iter().chain(arguments)).run().failed();
        output.stderr_has(&[why]);
    }
    host.berth(["network", "create", "--subnet", "10.1.0.0/16", "one"]).text();
    host.berth(["network", "create", "--subnet", "10.1.5.0/24", "two"])
        .run()
        .code(1)
        .stderr_has(&["Pool overlaps with other one on this address space", "network one"]);
    assert_eq!(host.berth(["network", "ls", "-qf", "type=custom"]).text().lines().count(), 1);
    host.berth(["network", "rm", "bridge"])
        .run()
        .code(1)
        .stderr_has(&["pre-defined network and cannot be removed"]);
}

#[test]
fn a_network_in_use_is_kept() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    host.berth(["run", "-d", "--name", "aa", "--network", "blue", "box", "sleep", "100"]).text();
    host.berth(["network", "rm", "blue"]).run().code(1).stderr_has(&["has active endpoints", "aa"]);
    host.berth(["network", "prune", "-f"]).run().ok().stdout_is("");
    host.berth(["stop", "-t", "0", "aa"]).run().ok();
    // Of a container that is there, though it doesn't run, it isn't pruned.
    host.berth(["network", "prune", "-f"]).run().ok().stdout_is("");
    host.berth(["rm", "aa"]).run().ok();
    host.berth(["network", "prune", "-f"]).run().ok().stdout_is("Deleted Networks:\nblue\n\n");
    nothing_left(&host);
}

#[test]
fn link_local_addresses_are_further_ones() {
    let host = host();
    host.berth(["network", "create", "--subnet", "10.9.8.0/24", "blue"]).text();
    host.berth(["network", "create", "--ipv6", "--subnet", "fd00:5::/64", "six"]).text();
    let see = "ip -o addr show eth0 | awk '{print $4}'";
    assert_eq!(
        run(&host, &["--network", "blue", "--link-local-ip", "169.254.7.7"], see).text(),
        "10.9.8.2/24\n169.254.7.7/16"
    );
    let long = "name=six,link-local-ip=169.254.7.7,link-local-ip=fe80::77";
    let seen = run(&host, &["--network", long], see).text();
    assert!(seen.contains("169.254.7.7/16") && seen.contains("fe80::77/64"), "{seen}");
    // It may be spoken from, and is shown.
    web(&host, "aa", &["--network", "blue", "--link-local-ip", "169.254.7.7"]);
    let options = ["--network", "blue", "--link-local-ip", "169.254.7.9"];
    let other = "timeout 3 wget -qO- http://169.254.7.7/";
    assert_eq!(run(&host, &options, other).text(), "aa");
    // Not from one that nobody was given.
    let forged = "ip route add 169.254.7.7 dev eth0 src 169.254.7.8; timeout 2 wget -qO- http://169.254.7.7/";
    let script = format!("ip addr add 169.254.7.8/32 dev eth0; {forged}");
    let seen = run(&host, &["--network", "blue", "--cap-add", "NET_ADMIN"], &script).run();
    assert_eq!(seen.text(), "");
    let shown = super::shows(&host, "aa", "{{json .NetworkSettings.Networks.blue.IPAMConfig.LinkLocalIPs}}");
    assert_eq!(shown, r#"["169.254.7.7"]"#);
    host.berth(["run", "-d", "--name", "bb", "box", "sleep", "100"]).text();
    host.berth(["network", "connect", "--link-local-ip", "169.254.7.10", "blue", "bb"]).run().ok();
    assert!(host.berth(["exec", "bb", "ip", "addr", "show", "eth1"]).text().contains("169.254.7.10/16"));
    for (address, why) in [("10.9.8.77", "it's none of"), ("fe80::77", "has no IPv6"), ("x", "IP address")] {
        let options = ["--network", "blue", "--link-local-ip", address];
        run(&host, &options, "true").run().code(125).stderr_has(&[why]);
    }
    nothing_left(&host);
}

#[test]
fn a_hardware_address_is_kept() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    let see = "cat /sys/class/net/eth0/address";
    assert_eq!(run(&host, &["--mac-address", "02:42:00:00:00:77"], see).text(), "02:42:00:00:00:77");
    let long = "name=blue,mac-address=02-42-00-00-00-79";
    assert_eq!(run(&host, &["--network", long], see).text(), "02:42:00:00:00:79");
    web(&host, "aa", &["--network", "blue", "--mac-address", "02:42:00:00:00:78"]);
    let shown = "{{.Config.MacAddress}} {{.NetworkSettings.Networks.blue.MacAddress}}";
    for _ in 0..2 {
        assert_eq!(super::shows(&host, "aa", shown), "02:42:00:00:00:78 02:42:00:00:00:78");
        assert_eq!(host.berth(["exec", "aa", "sh", "-c", see]).text(), "02:42:00:00:00:78");
        // Its frames pass the bridge.
        assert!(testkit::until(std::time::Duration::from_secs(5), || {
            run(&host, &["--network", "blue"], "wget -qO- http://aa/").run().text() == "aa"
        }));
        host.berth(["restart", "-t", "0", "aa"]).run().ok();
    }
    for (options, why) in [
        (&["--mac-address", "1:2"][..], "is not a valid mac address"),
        (&["--network", long, "--mac-address", "02:42:00:00:00:80"], "conflicting options"),
    ] {
        run(&host, options, "true").run().code(125).stderr_has(&[why]);
    }
    nothing_left(&host);
}

#[test]
fn addresses_are_given_from_the_range_and_run_out() {
    let host = host();
    let network = ["--subnet", "10.5.0.0/24", "--ip-range", "10.5.0.128/30", "--gateway", "10.5.0.1"];
    let create = ["network", "create", "--aux-address", "router=10.5.0.130"].into_iter().chain(network);
    host.berth(create.chain(["small"])).text();
    let see = |options: &[&str]| run(&host, options, "ip -4 -o addr show eth0 | awk '{print $4}'");
    assert_eq!(see(&["--network", "small"]).text(), "10.5.0.128/24");
    assert_eq!(see(&["--network", "small", "--ip", "10.5.0.7"]).text(), "10.5.0.7/24");
    assert_eq!(see(&["--network", "name=small,ip=10.5.0.8"]).text(), "10.5.0.8/24");
    for (ip, why) in [
        ("10.5.0.1", "it's the gateway's, or reserved"),
        ("10.5.0.130", "it's the gateway's, or reserved"),
        ("10.5.0.255", "it's none that a container can have"),
        ("10.6.0.5", "it's none that a container can have"),
        ("fd00::5", "invalid IPv4 address"),
    ] {
        run(&host, &["--network", "small", "--ip", ip], "true").run().code(125).stderr_has(&[why]);
    }
    for name in ["aa", "bb", "cc"] {
        host.berth(["run", "-d", "--name", name, "--network", "small", "box", "sleep", "100"]).text();
    }
    run(&host, &["--network", "small"], "true").run().code(125).stderr_has(&["no available addresses"]);
    run(&host, &["--network", "small", "--ip", "10.5.0.129"], "true")
        .run()
        .code(125)
        .stderr_has(&["Address already in use", "container bb"]);
    host.berth(["rm", "-f", "bb"]).run().ok();
    assert_eq!(see(&["--network", "small"]).text(), "10.5.0.129/24");
    nothing_left(&host);
}

#[test]
fn what_may_be_otherwise_at_the_start_keeps_nobody_from_being_made() {
    let host = host();
    host.berth(["network", "create", "--subnet", "10.9.8.0/24", "blue"]).text();
    web(&host, "other", &["--network", "blue", "--ip", "10.9.8.9", "-p", "7001:80"]);
    let create = |name: &str, options: &[&str]| {
        let fixed = ["create", "--name", name];
        host.berth(fixed.iter().chain(options).copied().chain(["box", "true"])).run()
    };
    for (name, options, why) in [
        ("port", &["-p", "7001:80"][..], "port is already allocated, by container other"),
        ("address", &["--network", "blue", "--ip", "10.9.8.9"], "Address already in use"),
        ("gateway", &["--network", "blue", "--ip", "10.9.8.1"], "it's the gateway's"),
        ("network", &["--network", "later"], "network later not found"),
        ("link", &["--link", "other:o"], "none of this container's networks"),
    ] {
        create(name, options).ok().silent();
        assert_eq!(super::shows(&host, name, "{{.State.Status}}"), "created", "{name}");
        host.berth(["start", name]).run().code(1).stderr_has(&[why]);
    }
    // Nothing is held meanwhile.
    assert_eq!(std::fs::read_dir(host.run_dir().join("networks/blue/leases")).unwrap().count(), 1);
    host.berth(["rm", "-f", "other"]).run().ok();
    host.berth(["network", "create", "later"]).text();
    for name in ["port", "address", "network"] {
        host.berth(["start", "-a", name]).run().ok();
    }
    for (options, why) in [
        (&["--network", "blue", "--ip", "10.1.1.1"][..], "it's none that a container can have"),
        (&["--network", "blue", "--ip6", "fd00::5"], "no configured subnet contains it"),
        (&["--network", "blue", "--network", "blue"], "named twice"),
        (&["--link", "none-such"], "no such container"),
    ] {
        create("bad", options).failed().stderr_has(&[why]);
    }
    nothing_left(&host);
}

//! Names: of containers, of the host, and the files that say so.

use super::{address, host, nothing_left, run, web};

#[test]
fn names_aliases_and_ids_resolve_on_users_networks() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "web", &["--network", "blue", "--network-alias", "www", "--network-alias", "all"]);
    web(&host, "db", &["--network", "name=blue,alias=all"]);
    let id = super::shows(&host, "web", "{{.Id}}");
    let see =
        |name: &str| run(&host, &["--network", "blue"], &format!("wget -qO- http://{name}/")).run().text();
    for name in ["web", "WEB", "www", "web.blue", &id[..12]] {
        assert_eq!(see(name), "web", "{name}");
    }
    let all = run(&host, &["--network", "blue"], "nslookup all 127.0.0.11").run().text();
    for name in ["web", "db"] {
        assert!(all.contains(&address(&host, name, "blue")), "{all}");
    }
    let reverse = format!("nslookup {} 127.0.0.11", address(&host, "db", "blue"));
    assert!(run(&host, &["--network", "blue"], &reverse).run().text().contains("db.blue"));
    // Changes are seen at once, by those that run already.
    host.berth(["rename", "db", "data"]).run().ok();
    let asks = |name: &str| host.berth(["exec", "web", "wget", "-qO-", &format!("http://{name}/")]).run();
    assert_eq!(asks("data").text(), "db");
    asks("db").failed();
    host.berth(["rm", "-f", "data"]).run().ok();
    asks("data").failed();
    // Names are nobody else's to hear of.
    run(&host, &[], "wget -qO- http://web/").run().failed();
    nothing_left(&host);
}

#[test]
fn a_link_is_a_name_of_ones_own() {
    let host = host();
    web(&host, "web", &[]);
    assert_eq!(
        run(&host, &["--link", "web:www"], "wget -qO- http://www/; wget -qO- http://web/").text(),
        "web\nweb"
    );
    run(&host, &["--link", "none-such"], "true").run().code(125).stderr_has(&["no such container"]);
    host.berth(["network", "create", "blue"]).text();
    run(&host, &["--network", "blue", "--link", "web"], "true")
        .run()
        .code(125)
        .stderr_has(&["none of this container's"]);
    nothing_left(&host);
}

#[test]
fn port_53_is_the_containers_own() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    web(&host, "aa", &["--network", "blue"]);
    let script = "nc -l -p 53 & sleep 0.2; kill -0 $! && echo 1; wget -qO- http://aa/";
    assert_eq!(run(&host, &["--network", "blue"], script).run().text(), "1\naa");
    nothing_left(&host);
}

#[test]
fn the_host_and_the_container_itself_have_names() {
    let host = host();
    let script = "cat /etc/hostname; hostname; cat /etc/hosts; cat /etc/resolv.conf";
    let options = [
        "--hostname",
        "me",
        "--add-host",
        "db:10.0.0.5",
        "--add-host",
        "gw=host-gateway",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "example.com",
        "--dns-option",
        "timeout:1",
    ];
    let seen = run(&host, &options, script).text();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..2], ["me", "me"]);
    for line in [
        "127.0.0.1\tlocalhost",
        "10.0.0.5\tdb",
        "172.17.0.1\tgw",
        "172.17.0.1\thost.docker.internal",
        "172.17.0.2\tme",
        "nameserver 192.0.2.53",
        "search example.com",
        "options timeout:1",
    ] {
        assert!(lines.contains(&line), "{line:?} isn't in\n{seen}");
    }
    // A container's root may change them, and nobody finds them changed by it in the image or in a diff.
    host.berth([
        "run",
        "--name",
        "aa",
        "box",
        "sh",
        "-c",
        "echo 10.1.1.1 x >>/etc/hosts; grep -c x /etc/hosts",
    ])
    .text();
    host.berth(["diff", "aa"]).run().ok().stdout_is("");
    assert_eq!(
        run(&host, &["--network", "host"], "cat /etc/hostname").text(),
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end()
    );
    host.berth(["run", "-d", "--name", "bb", "-h", "bee", "box", "sleep", "100"]).text();
    assert_eq!(
        run(&host, &["--network", "container:bb"], "cat /etc/hostname; grep -c bee /etc/hosts").text(),
        "bee\n1"
    );
    nothing_left(&host);
}

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
    web(&host, "blue-web", &["--network", "blue"]);
    run(&host, &["--link", "blue-web"], "true").run().code(125).stderr_has(&["none of this container's"]);
    nothing_left(&host);
}

#[test]
fn a_link_on_a_users_network_is_another_name_of_whoever_has_it() {
    let host = host();
    host.berth(["network", "create", "blue"]).text();
    // Nobody need be called so yet.
    host.berth([
        "run",
        "-d",
        "--name",
        "aa",
        "--network",
        "blue",
        "--link",
        "web:www",
        "box",
        "sleep",
        "100",
    ])
    .text();
    let asks = |name: &str| super::get_from(&host, "aa", &format!("http://{name}/"));
    assert_eq!(asks("www"), "");
    let id = host.berth(["inspect", "-f", "{{.Id}}", "aa"]).text();
    host.berth(["run", "-d", "--name", "other", "--network", "blue", "box", "sleep", "100"]).text();
    web(&host, "web", &["--network", "blue"]);
    assert_eq!((asks("www"), asks("WWW")), ("web".to_owned(), "web".to_owned()));
    // With another address, it's still the same.
    host.berth(["stop", "-t", "0", "web"]).run().ok();
    host.berth(["run", "-d", "--network", "blue", "box", "sleep", "100"]).text();
    host.berth(["start", "web"]).run().ok();
    assert!(testkit::until(std::time::Duration::from_secs(5), || asks("www") == "web"));
    // It's nobody else's, and it's shown.
    assert_eq!(super::get_from(&host, "other", "http://www/"), "");
    let shown = "{{json .HostConfig.Links}} {{json .NetworkSettings.Networks.blue.Links}}";
    assert_eq!(super::shows(&host, &id, shown), r#"null ["web:www"]"#);
    assert_eq!(host.berth(["exec", "aa", "env"]).text().matches("WWW_").count(), 0);
    // Joining later, too.
    host.berth(["network", "create", "red"]).text();
    host.berth(["network", "connect", "red", "web"]).run().ok();
    host.berth(["run", "-d", "--name", "cc", "box", "sleep", "100"]).text();
    host.berth(["network", "connect", "red", "cc", "--link", "web:late"]).run().ok();
    assert_eq!(super::get_from(&host, "cc", "http://late/"), "web");
    host.berth(["network", "disconnect", "red", "cc"]).run().ok();
    host.berth(["restart", "-t", "0", "cc"]).run().ok();
    nothing_left(&host);
}

#[test]
fn links_of_the_default_network_are_told_in_the_environment() {
    let host = host();
    let options = ["-e", "A=1", "-e", "PATH=/bin", "-e", "EMPTY=", "-p", "99"];
    let expose = ["--expose", "81", "--expose", "80", "--expose", "90-92", "--expose", "82/udp"];
    host.berth(
        ["run", "-d", "--name", "data"].iter().chain(&options).chain(&expose).chain(&["box", "sleep", "9"]),
    )
    .text();
    // As docker 28 sets them.
    let mut wanted = "DB_ONE_ENV_A=1\nDB_ONE_ENV_EMPTY=\nDB_ONE_NAME=/me/db-one\n\
        DB_ONE_PORT=tcp://172.17.0.2:80\n\
        DB_ONE_PORT_80_TCP_START=tcp://172.17.0.2:80\nDB_ONE_PORT_80_TCP_PORT_START=80\n\
        DB_ONE_PORT_80_TCP_END=tcp://172.17.0.2:81\nDB_ONE_PORT_80_TCP_PORT_END=81\n\
        DB_ONE_PORT_90_TCP_START=tcp://172.17.0.2:90\nDB_ONE_PORT_90_TCP_PORT_START=90\n\
        DB_ONE_PORT_90_TCP_END=tcp://172.17.0.2:92\nDB_ONE_PORT_90_TCP_PORT_END=92\n"
        .to_owned();
    for (port, protocol) in
        [(80, "tcp"), (81, "tcp"), (90, "tcp"), (91, "tcp"), (92, "tcp"), (99, "tcp"), (82, "udp")]
    {
        let name = format!("DB_ONE_PORT_{port}_{}", protocol.to_uppercase());
        wanted += &format!(
            "{name}={protocol}://172.17.0.2:{port}\n{name}_ADDR=172.17.0.2\n{name}_PORT={port}\n\
             {name}_PROTO={protocol}\n"
        );
    }
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let seen = run(&host, &["--name", "me", "--link", "data:db-one"], "env | grep DB_ONE").text();
    assert_eq!(sorted(&seen), sorted(&wanted));
    let own = ["--link", "data:x", "-e", "X_NAME=own"];
    assert_eq!(run(&host, &own, "env | grep X_NAME").text(), "X_NAME=own");
    host.berth(["create", "--name", "later", "--link", "data:x", "box", "true"]).text();
    assert_eq!(super::shows(&host, "later", "{{json .HostConfig.Links}}"), r#"["/data:/later/x"]"#);
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

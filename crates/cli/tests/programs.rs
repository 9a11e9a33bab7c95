//! Real programs in containers, over names and published ports: nginx, curl, PostgreSQL, redis, as Debian packs them.
//! `cargo xtask setup` makes the archive of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helpers fail the test")]

use std::path::PathBuf;
use std::time::Duration;
use testkit::{Host, skip, until};

/// How long a program may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell's words that serve /www, and pass on what is asked of /back/ where `passes`.
fn nginx(passes: bool) -> String {
    let location = match passes {
        true => "location /back/ { set $to http://back; proxy_pass $to; }",
        false => "",
    };
    format!(
        "mkdir -p /www/back && head -c 30000000 /dev/urandom >/www/big && echo front >/www/index.html && \
         echo behind >/www/back/x && echo 'daemon off; events {{ }} http {{ resolver 127.0.0.11 valid=1s; \
         server {{ listen 80; root /www; {location} }} }}' >/n.conf && exec nginx -c /n.conf"
    )
}

fn archive() -> PathBuf {
    let cache =
        std::env::var_os("BERTH_CACHE").map_or_else(|| PathBuf::from("/var/cache/berth"), PathBuf::from);
    cache.join("programs.tar")
}

/// What a program says in a new container; empty if it fails.
fn says(host: &Host, options: &[&str], program: &[&str]) -> String {
    let run = ["run", "--rm"].iter().chain(options).chain(&["programs"]).chain(program).copied();
    let output = host.berth(run).run();
    if output.status == 0 { output.text() } else { String::new() }
}

#[track_caller]
fn comes(host: &Host, options: &[&str], program: &[&str], wanted: &str) {
    let mut last = String::new();
    let is_there = until(PATIENCE, || {
        last = says(host, options, program);
        last == wanted
    });
    assert!(is_there, "{program:?}: {last:?}");
}

#[test]
fn programs_find_each_other_by_name_and_are_reached_at_their_ports() {
    if !archive().exists() {
        skip!("no {}: cargo xtask setup makes it", archive().display());
    }
    let host = Host::for_many(8);
    host.berth(["import"]).arg(archive()).arg("programs").run().ok();
    host.berth(["network", "create", "app"]).text();
    let serve = |name: &str, options: &[&str], script: &str| {
        let fixed = ["run", "-d", "--name", name, "--network", "app"];
        host.berth(fixed.iter().chain(options).copied().chain(["programs", "sh", "-ec", script])).text()
    };
    serve("web", &["-p", "8080:80"], &nginx(true));
    serve("back", &[], &nginx(false));
    serve("cache", &["-p", "6380:6379"], "exec redis-server --bind 0.0.0.0 --protected-mode no --save ''");
    let postgres = "PATH=/usr/lib/postgresql/15/bin:$PATH; cd /tmp; [ -e pg ] || { initdb -D pg -A trust >/dev/null; \
                    echo host all all 0.0.0.0/0 trust >>pg/pg_hba.conf; }; \
                    exec postgres -D pg -c 'listen_addresses=*' -c unix_socket_directories=/tmp -c jit=off";
    serve("db", &["-p", "5433:5432", "-u", "postgres"], postgres);

    let (app, outside) = (["--network", "app"], ["--network", "host"]);
    let curl = |url: &'static str| ["curl", "-sS", "--max-time", "10", url];
    comes(&host, &app, &curl("http://web/"), "front");
    comes(&host, &app, &curl("http://web/back/x"), "behind");
    comes(&host, &outside, &curl("http://127.0.0.1:8080/"), "front");
    // All of a long file, by name and by port: what it is, the server says.
    let sum = host.berth(["exec", "web", "md5sum", "/www/big"]).text();
    let sum = sum.split(' ').next().unwrap();
    for (options, url) in [(&app, "http://web/big"), (&outside, "http://127.0.0.1:8080/big")] {
        let script = format!("curl -sS {url} | md5sum | cut -d' ' -f1");
        assert_eq!(says(&host, options, &["sh", "-c", &script]), sum, "{url}");
    }
    // Many at once.
    let script = "for i in $(seq 100); do echo url=http://web/back/x; done | curl -sSZ --parallel-max 20 -K - | sort | uniq -c";
    assert_eq!(says(&host, &app, &["sh", "-c", script]), "100 behind");

    let ask = |options: &[&str], words: &str, wanted: &str| {
        comes(&host, options, &["sh", "-c", &format!("redis-cli {words}")], wanted);
    };
    ask(&app, "-h cache set key value", "OK");
    ask(&outside, "-p 6380 get key", "value");
    ask(
        &app,
        "-h cache eval \"for i=1,10000 do redis.call('rpush','l',i) end return redis.call('llen','l')\" 0",
        "10000",
    );
    ask(&outside, "-p 6380 lrange l 0 -1 | tail -1", "10000");

    let sql = |options: &[&str], at: &[&str], text: &str, wanted: &str| {
        let psql = [&["psql", "-U", "postgres", "-qtAX"][..], at, &["-c", text]].concat();
        comes(&host, options, &psql, wanted);
    };
    let (by_name, by_port) = (["-h", "db"], ["-h", "127.0.0.1", "-p", "5433"]);
    sql(&app, &by_name, "create table if not exists t as select generate_series(1, 100000) i; select 1", "1");
    sql(&outside, &by_port, "select count(*), sum(i) from t", "100000|5000050000");
    // Started again, it has another address perhaps, and all that it had.
    host.berth(["stop", "db"]).run().ok();
    host.berth(["run", "-d", "--network", "app", "programs", "sleep", "300"]).text();
    host.berth(["start", "db"]).run().ok();
    sql(&app, &by_name, "select count(*) from t", "100000");
    sql(&outside, &by_port, "select count(*) from t", "100000");
    // Another network knows none of them, but for what is published.
    let gateway =
        host.berth(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "app"]).text();
    assert_eq!(says(&host, &[], &curl("http://web/")), "");
    let url = format!("http://{gateway}:8080/");
    assert_eq!(says(&host, &[], &["curl", "-sS", "--max-time", "10", &url]), "front");

    let all = host.berth(["ps", "-aq"]).text();
    // In order: a socket that nobody closed keeps its network namespace, and that its link, until the kernel gives up.
    host.berth(["stop", "-t", "2"].into_iter().chain(all.lines())).run().ok();
    host.berth(["rm", "-f"].into_iter().chain(all.lines())).run().ok();
    host.berth(["network", "prune", "-f"]).run().ok();
    // The kernel keeps a network namespace, and with it the link, while a socket in it has something to send, as that of a
    // program that was killed may have for two minutes (docs/STATUS.md). No container has them any more.
    let script =
        "sleep 2; ip -o link show type veth | cut -d: -f2 | cut -d@ -f1 | xargs -rn1 ip link del; true";
    testkit::Cmd::new("sh", ["-c", script]).run().ok();
}

//! `berth stats`.

use super::*;

/// Bytes of `1.5MiB` or `12kB`.
fn bytes(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let factor = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "KiB" => 1024.0,
        "MB" => 1e6,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        other => panic!("{other}"),
    };
    number.parse::<f64>().unwrap() * factor
}

fn fields(host: &Host, name: &str) -> serde_json::Map<String, testkit::Value> {
    let output = host.berth(["stats", "--no-stream", "--format", "json", name]).run().ok().silent();
    output.json().as_object().unwrap().clone()
}

fn two(fields: &serde_json::Map<String, testkit::Value>, key: &str) -> [f64; 2] {
    let (first, second) = fields[key].as_str().unwrap().split_once(" / ").unwrap();
    [bytes(first), bytes(second)]
}

/// A pipeline whose last program holds 30 MB, and which says so.
const HOLD: &str =
    "{ head -c 30000000 /dev/zero; sleep 0.1; touch /tmp/ready; sleep 1000; } | tail -c 40000000";

fn is_ready(host: &Host, name: &str) -> bool {
    host.berth(["exec", name, "test", "-e", "/tmp/ready"]).run().status == 0
}

#[test]
fn figures_are_the_containers() {
    let host = Host::new();
    start(&host, "busy", "while :; do :; done");
    let idle = ["run", "-d", "--name", "idle", "--network", "none", "@host", "sleep", "1000"];
    host.berth(idle).run().ok();
    start(&host, "large", HOLD);
    host.berth(["run", "-d", "--name", "limited", "-m", "300m", "@host", "sh", "-c", HOLD]).run().ok();
    for name in ["large", "limited"] {
        assert!(until(PATIENCE * 6, || is_ready(&host, name)), "{name}");
    }
    let percent = |name: &str, key: &str| {
        fields(&host, name)[key].as_str().unwrap().strip_suffix('%').unwrap().parse::<f64>().unwrap()
    };
    // However much else the machine does, some of it is the busy one's.
    assert!(percent("busy", "CPUPerc") > 5.0);
    assert!(percent("idle", "CPUPerc") < 5.0);
    let idle = fields(&host, "idle");
    assert_eq!(
        (&idle["PIDs"], &idle["Container"], &idle["Name"]),
        (&"1".into(), &"idle".into(), &"idle".into())
    );
    assert_eq!(idle["NetIO"], "0B / 0B");
    let machine: f64 =
        std::fs::read_to_string("/proc/meminfo").unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let [used, limit] = two(&idle, "MemUsage");
    assert!(used > 0.0 && used < 20e6, "{used}");
    assert!((limit / (machine * 1024.0) - 1.0).abs() < 0.01, "{limit}");
    let [used, _] = two(&fields(&host, "large"), "MemUsage");
    assert!((29e6..120e6).contains(&used), "{used}");
    let limited = fields(&host, "limited");
    let [used, limit] = two(&limited, "MemUsage");
    assert!((29e6..120e6).contains(&used), "{used}");
    assert_eq!(limit, 300.0 * 1024.0 * 1024.0);
    assert!(percent("limited", "MemPerc") > 9.0);
    remove(&host, &["busy", "idle", "large", "limited"]);
}

#[test]
fn cache_of_files_is_not_counted() {
    let host = Host::new();
    let script = "head -c 100000000 /dev/zero >/tmp/file; sync /tmp/file; cat /tmp/file >/dev/null; touch /tmp/ready; sleep 1000";
    host.berth(["run", "-d", "--name", "box", "-m", "300m", "@host", "sh", "-c", script]).run().ok();
    assert!(until(PATIENCE * 3, || is_ready(&host, "box")));
    let mut used = 0.0;
    let fits = until(PATIENCE, || {
        used = two(&fields(&host, "box"), "MemUsage")[0];
        used < 60e6
    });
    assert!(fits, "{used}");
    remove(&host, &["box"]);
}

#[test]
fn traffic_is_that_of_the_containers_devices() {
    let host = Host::new();
    start(&host, "web", "exec sleep 1000");
    let pid = inspect(&host, "web", "{{.State.Pid}}");
    let inside = |words: &[&str]| {
        testkit::Cmd::new("nsenter", ["-t", &pid, "-n"].iter().chain(words)).run().ok();
    };
    inside(&["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]);
    inside(&["ip", "addr", "add", "10.9.8.1/24", "dev", "d0"]);
    inside(&["ip", "link", "set", "d0", "up"]);
    inside(&["ip", "link", "set", "d1", "up"]);
    // Nobody is there, which is asked for on one device and heard on the other.
    inside(&["bash", "-c", "echo >/dev/udp/10.9.8.7/9"]);
    let mut traffic = [0.0; 2];
    let has_both = until(PATIENCE, || {
        traffic = two(&fields(&host, "web"), "NetIO");
        traffic.iter().all(|bytes| *bytes > 0.0)
    });
    assert!(has_both, "{traffic:?}");
    remove(&host, &["web"]);
}

#[test]
fn lists_show_who_runs_or_all() {
    let host = Host::new();
    let header =
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS";
    host.berth(["stats", "--no-stream"]).run().ok().stdout_is(header);
    start(&host, "web", "exec sleep 1000");
    start(&host, "job", "true");
    host.berth(["wait", "job"]).run().ok();
    let names = |flags: &[&str]| {
        let fixed = ["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"];
        host.berth(fixed.iter().chain(flags)).text()
    };
    assert_eq!(names(&[]), "web 1");
    assert_eq!(names(&["-a"]), "job 0\nweb 1");
    assert_eq!(names(&["job", "web"]), "job 0\nweb 1");
    let id = inspect(&host, "web", "{{.Id}}");
    let whole = host.berth(["container", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}"]).text();
    assert_eq!(whole, id);
    assert_eq!(
        host.berth(["stats", "--no-stream", "--format", "{{.Container}} {{.ID}}", "web"]).text(),
        format!("web {}", &id[..12])
    );
    host.berth(["stats", "--no-stream", "none", "web"])
        .run()
        .code(1)
        .stdout_is("")
        .stderr_has(&["no such container: none"]);
    remove(&host, &["web", "job"]);
}

#[test]
fn a_stream_goes_on_until_the_containers_are_gone() {
    let host = Host::new();
    start(&host, "web", "exec sleep 1000");
    let mut stream = host.berth(["stats", "--format", "{{.Name}} {{.PIDs}};", "web"]).spawn();
    stream.expect("web 1;\nweb 1;\n");
    remove(&host, &["web"]);
    let output = stream.wait().ok().silent();
    assert!(!output.text().contains('\u{1b}'));
    // On a terminal each draws over the one before.
    start(&host, "web", "exec sleep 1000");
    let mut pty = host.pty(["stats"]);
    pty.expect("\u{1b}[HCONTAINER ID");
    pty.expect("web");
    pty.expect("\u{1b}[J");
    drop(pty);
    remove(&host, &["web"]);
}

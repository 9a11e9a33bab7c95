//! `berth ps`, with what it measures and filters, and the sizes of `inspect`.

use super::*;

fn names(host: &Host, flags: &[&str]) -> String {
    let fixed = ["ps", "-a", "--format", "{{.Names}}"];
    host.berth(fixed.iter().chain(flags)).text().replace('\n', " ")
}

#[test]
fn containers_are_filtered_by_each_other_networks_ports_and_health() {
    let host = Host::new();
    start(&host, "one", "sleep 1000");
    host.berth(["run", "-d", "--name", "two", "--network", "host", "@host", "sleep", "1000"]).run().ok();
    host.berth(["run", "-d", "--name", "three", "--network", "container:one", "@host", "sh", "-c", "exit 3"])
        .run()
        .ok();
    host.berth(["wait", "three"]).run().ok();
    for (filter, shown) in [
        ("before=two", "one"),
        ("since=two", "three"),
        ("since=one", "three two"),
        ("network=none", ""),
        ("network=host", "two"),
        ("network=bridge", "one"),
        ("expose=80", ""),
        ("publish=80-90/tcp", ""),
        ("health=none", "three two one"),
        ("health=healthy", ""),
        ("is-task=false", "three two one"),
        ("is-task=true", ""),
        ("exited=3", "three"),
    ] {
        assert_eq!(names(&host, &["--filter", filter]), shown, "{filter}");
    }
    // Of several, the last counts.
    assert_eq!(names(&host, &["-f", "before=two", "-f", "before=three"]), "two one");
    for (filter, says) in [
        ("before=none", "no such container: none"),
        ("health=bad", "must be one of none, starting, healthy, unhealthy"),
        ("expose=x", "no port \"x\""),
        ("publish=80:80", "should not contain ':'"),
        ("is-task=x", "is-task"),
        ("isolation=default", "Windows"),
        ("foo=bar", "foo"),
    ] {
        host.berth(["ps", "-f", filter]).run().code(1).stdout_is("").stderr_has(&[says]);
    }
    assert_eq!(host.berth(["ps", "-f", "name=three", "-a", "--format", "[{{.Networks}}]"]).text(), "[]");
    // The newest so many, and the newest one unless a number is given.
    for (flags, shown) in [
        (&["-n", "2"][..], "three two"),
        (&["-l"], "three"),
        (&["-ln", "2"], "three two"),
        (&["-n", "0"], "three two one"),
    ] {
        assert_eq!(names(&host, flags), shown, "{flags:?}");
    }
    let quiet = host.berth(["ps", "-q", "--format", "{{.Names}}", "-f", "name=one"]).run().ok();
    let quiet = quiet.stderr_has(&["ignoring custom format, because both --format and --quiet are set"]);
    assert_eq!(quiet.text().len(), 12);
    remove(&host, &["one", "two", "three"]);
}

#[test]
fn sizes_are_measured_when_they_are_shown() {
    let host = Host::new();
    load_app(&host);
    let run =
        ["run", "--name", "box", "--pull", "never", "app", "sh", "-c", "head -c 123456 /dev/zero >/file"];
    host.berth(run).run().ok();
    let image: u64 = host.berth(["image", "inspect", "-f", "{{.Size}}", "app"]).text().parse().unwrap();
    let sizes = host.berth(["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "box"]).text();
    assert_eq!(sizes, format!("123456 {}", image + 123_456));
    let absent = host.berth(["inspect", "box"]).run().ok().json();
    assert_eq!(absent[0].get("SizeRw"), None);
    let table = host.berth(["ps", "-as"]).text();
    assert!(table.lines().next().unwrap().ends_with("NAMES     SIZE"), "{table}");
    assert!(table.contains("box       123kB (virtual "), "{table}");
    let column = host.berth(["ps", "-a", "--format", "{{.Size}}"]).text();
    assert!(column.starts_with("123kB (virtual "), "{column}");
    assert_eq!(host.berth(["ps", "-a", "--format", "json"]).run().ok().json()["Size"], "0B");
    remove(&host, &["box"]);
}

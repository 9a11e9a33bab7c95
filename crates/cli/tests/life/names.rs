//! `berth rename`, `wait` and `port`.

use super::*;

fn listed(host: &Host) -> String {
    host.berth(["ps", "-a", "--format", "{{.Names}}"]).text()
}

fn links(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.run_dir().join("names")).unwrap();
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_renamed_container_has_the_new_name_everywhere() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    host.berth(["rename", "web", "shop"]).run().ok().silent().stdout_is("");
    assert_eq!(inspect(&host, "shop", "{{.Name}}"), "/shop");
    assert_eq!((listed(&host).as_str(), links(&host)), ("shop", vec!["shop".to_owned()]));
    host.berth(["inspect", "--type", "container", "web"]).run().code(1);
    // The old name is free, and the new one stays with it when it ends.
    start(&host, "web", "sleep 1000");
    host.berth(["stop", "-t", "0", "shop"]).run().ok();
    assert_eq!(inspect(&host, "shop", "{{.State.Status}} {{.Name}}"), "exited /shop");
    host.berth(["container", "rename", "shop", "/old"]).run().ok().silent();
    assert_eq!(inspect(&host, "old", "{{.State.Status}} {{.Name}}"), "exited /old");
    assert_eq!(links(&host), ["old", "web"]);
    remove(&host, &["old", "web"]);
    assert_eq!(links(&host), [""; 0]);
    // One that leaves nothing takes its new name along.
    host.berth(["run", "-d", "--rm", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    host.berth(["rename", "web", "shop"]).run().ok();
    host.berth(["kill", "shop"]).run().ok();
    assert!(until(PATIENCE, || links(&host).is_empty()), "{:?}", links(&host));
}

#[test]
fn names_that_cannot_be_given_are_refused() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    start(&host, "other", "true");
    for (from, to, says) in [
        ("web", "other", "the container name \"other\" is already in use by container"),
        ("web", "web", "renaming a container with the same name as its current name"),
        ("web", "a/b", "invalid container name (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("web", "", "neither old nor new names may be empty"),
        ("none", "x1", "no such container: none"),
    ] {
        host.berth(["rename", from, to]).run().code(1).stdout_is("").stderr_has(&[says]);
    }
    assert_eq!(links(&host), ["other", "web"]);
    let mut names: Vec<String> = listed(&host).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["other", "web"]);
    remove(&host, &["web", "other"]);
}

#[test]
fn of_two_who_want_a_name_one_gets_it() {
    let host = Host::new();
    for name in ["one", "two"] {
        start(&host, name, "sleep 1000");
    }
    for _ in 0..5 {
        let renames: Vec<_> =
            ["one", "two"].iter().map(|name| host.berth(["rename", name, "prize"]).spawn()).collect();
        let ended: Vec<_> = renames.into_iter().map(|rename| rename.wait().status).collect();
        assert_eq!(ended.iter().filter(|status| **status == 0).count(), 1, "{ended:?}");
        let winner = if ended[0] == 0 { "one" } else { "two" };
        host.berth(["rename", "prize", winner]).run().ok();
        assert_eq!(links(&host), ["one", "two"]);
    }
    remove(&host, &["one", "two"]);
}

#[test]
fn a_rename_killed_at_each_point_is_done_or_not_begun() {
    let host = Host::new();
    for (rm, script) in [(true, "sleep 1000"), (false, "sleep 1000"), (false, "true")] {
        let begin = || {
            let flags: &[&str] = if rm { &["--rm"] } else { &[] };
            let run = ["run", "-d", "--name", "web"].iter().chain(flags).copied();
            host.berth(run.chain(["@host", "sh", "-c", script])).run().ok();
            if script == "true" {
                // Until its keeper is gone as well, so that all rounds come to the same points.
                let dir = inspect(&host, "web", "{{.Berth.RunDir}}");
                host.berth(["wait", "web"]).run().ok();
                assert!(until(PATIENCE, || !std::path::Path::new(&dir).exists()));
            }
        };
        begin();
        let list = host.path("points");
        host.berth(["rename", "web", "shop"]).env("BERTH_FAULT_LIST", &list).run().ok();
        let points = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(&list).unwrap();
        remove(&host, &["shop"]);
        let points: Vec<&str> = points.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(points.len() >= 3, "{points:?}");
        for point in points {
            begin();
            host.berth(["rename", "web", "shop"]).env("BERTH_FAULT", point).run().code(137);
            let name = listed(&host);
            assert!(name == "web" || name == "shop", "{point}: {name}");
            assert_eq!(inspect(&host, &name, "{{.Name}}"), format!("/{name}"), "{point}");
            // The other name is free.
            let other = if name == "web" { "shop" } else { "web" };
            host.berth(["run", "-d", "--name", other, "@host", "true"]).run().ok();
            remove(&host, &["web", "shop"]);
            assert_eq!((listed(&host).as_str(), links(&host)), ("", vec![]), "{point}");
        }
    }
}

#[test]
fn wait_tells_how_containers_ended() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    start(&host, "job", "exit 3");
    host.berth(["wait", "job", "none", "job"])
        .run()
        .code(1)
        .stdout_is("3\n3")
        .stderr_has(&["no such container: none"]);
    let waiting = host.berth(["container", "wait", "web", "job"]).spawn();
    host.berth(["kill", "-s", "KILL", "web"]).run().ok();
    waiting.wait().ok().silent().stdout_is("137\n3");
    // Who waited sees the end everywhere.
    start(&host, "soon", "sleep 0.1; exit 4");
    host.berth(["wait", "soon"]).run().ok().stdout_is("4");
    assert_eq!(inspect(&host, "soon", "{{.State.Status}} {{.State.ExitCode}}"), "exited 4");
    // One that leaves nothing but its status.
    host.berth(["run", "-d", "--rm", "--name", "gone", "@host", "sh", "-c", "sleep 0.1; exit 6"]).run().ok();
    host.berth(["wait", "gone"]).run().ok().silent().stdout_is("6");
    host.berth(["inspect", "gone"]).run().code(1);
    remove(&host, &["web", "job", "soon"]);
}

#[test]
fn no_port_is_published_yet() {
    let host = Host::new();
    start(&host, "web", "true");
    host.berth(["port", "web"]).run().ok().silent().stdout_is("");
    for port in ["80", "80/tcp", "80/udp"] {
        host.berth(["port", "web", port])
            .run()
            .code(1)
            .stderr_has(&[&format!("no public port '{port}' published for web")]);
    }
    host.berth(["port", "web", "http"]).run().code(1).stderr_has(&["invalid port (http)"]);
    host.berth(["container", "port", "none"]).run().code(1).stderr_has(&["no such container: none"]);
    remove(&host, &["web"]);
}

#[test]
fn signals_that_do_not_exist_are_named() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    for command in ["kill", "stop"] {
        host.berth([command, "-s", "NOSUCH", "web"]).run().code(1).stderr_has(&["invalid signal: NOSUCH"]);
    }
    assert_eq!(inspect(&host, "web", "{{.State.Status}}"), "running");
    host.berth(["kill", "--signal", "", "web"]).run().ok();
    remove(&host, &["web"]);
}

//! Health checks.

use super::*;

/// A container of `@host` that is probed every 50 ms by `check`, as its flags say besides.
fn probed(host: &Host, flags: &[&str], check: &str, script: &str) {
    let begin = ["run", "-d", "--name", "job", "--health-interval", "50ms", "--health-retries", "2"];
    let end = ["--health-cmd", check, "@host", "sh", "-c", script];
    host.berth(begin.iter().chain(flags).chain(&end)).run().ok();
}

fn status(host: &Host) -> String {
    inspect(host, "job", "{{.State.Health.Status}}")
}

fn becomes(host: &Host, wanted: &str) {
    assert!(until(PATIENCE, || status(host) == wanted), "{}", inspect(host, "job", "{{json .State}}"));
}

#[test]
fn a_container_starts_gets_well_and_falls_ill() {
    let host = Host::new();
    probed(&host, &[], "cat /well; echo complaint >&2; test -e /well", "while sleep 0.1; do :; done");
    let listed = |template: &str| host.berth(["ps", "--format", template]).text();
    becomes(&host, "unhealthy");
    assert!(listed("{{.Status}}").ends_with(" (unhealthy)"), "{}", listed("{{.Status}}"));
    assert_eq!(host.berth(["ps", "-f", "health=unhealthy", "--format", "{{.Names}}"]).text(), "job");
    assert_eq!(host.berth(["ps", "-f", "health=healthy", "--format", "{{.Names}}"]).text(), "");
    let last = "{{$l := .State.Health.Log}}{{(index $l 0).ExitCode}} {{(index $l 0).Output}}";
    let first = inspect(&host, "job", last);
    assert!(first.starts_with("1 cat: ") && first.ends_with("complaint"), "{first}");
    let streak = || inspect(&host, "job", "{{.State.Health.FailingStreak}}").parse::<u32>().unwrap();
    assert!(streak() >= 2);
    host.berth(["exec", "job", "touch", "/well"]).run().ok();
    becomes(&host, "healthy");
    assert_eq!(streak(), 0);
    assert!(listed("{{.Status}}").ends_with(" (healthy)"), "{}", listed("{{.Status}}"));
    assert!(until(PATIENCE, || inspect(&host, "job", "{{len .State.Health.Log}}") == "5"));
    let told = host.berth(["events", "--since", "1h", "--until", "0s", "-f", "event=health_status"]);
    let told = told.run().ok().text();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("health_status: unhealthy") && told[1].contains("health_status: healthy"));
    // What it was stays with one that has ended, and is forgotten by the next start.
    host.berth(["stop", "-t", "0", "job"]).run().ok();
    assert_eq!(inspect(&host, "job", "{{.State.Status}} {{.State.Health.Status}}"), "exited healthy");
    host.berth(["exec", "job", "true"]).run().code(1);
    host.berth(["start", "job"]).run().ok();
    becomes(&host, "healthy");
    assert_eq!(
        inspect(&host, "job", "{{json .Config.Healthcheck.Test}} {{.Config.Healthcheck.Interval}}"),
        r#"["CMD-SHELL","cat /well; echo complaint >&2; test -e /well"] 50000000"#
    );
    remove(&host, &["job"]);
}

#[test]
fn until_the_first_probe_has_ended_it_is_starting() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "job", "--health-cmd", "true", "@host", "sleep", "1000"]).run().ok();
    assert_eq!(
        inspect(
            &host,
            "job",
            "{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{len .State.Health.Log}}"
        ),
        "starting 0 0"
    );
    assert!(host.berth(["ps", "--format", "{{.Status}}"]).text().ends_with(" (health: starting)"));
    remove(&host, &["job"]);
    // In the start period it's looked at more often, and failures don't count.
    let flags = ["--health-start-period", "1h", "--health-start-interval", "20ms"];
    probed(&host, &flags, "exit 7", "sleep 1000");
    assert!(until(PATIENCE, || inspect(&host, "job", "{{len .State.Health.Log}}") == "5"));
    assert_eq!(
        inspect(&host, "job", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "starting 0"
    );
    remove(&host, &["job"]);
}

#[test]
fn a_probe_that_hangs_is_ended_and_told_of() {
    let host = Host::new();
    probed(&host, &["--health-timeout", "100ms"], "echo begun; exec sleep 1234.5", "sleep 1000");
    becomes(&host, "unhealthy");
    let last = inspect(&host, "job", "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}|{{end}}");
    assert!(last.starts_with("-1 Health check exceeded timeout (100ms): begun\n|"), "{last}");
    let probes = || host.berth(["top", "job", "-o", "pid,args"]).text().matches("sleep 1234.5").count();
    assert!(probes() <= 1);
    // One that can't be run at all.
    remove(&host, &["job"]);
    let flags = ["--health-interval", "20ms", "--health-cmd", "nonsense-of-mine"];
    let command = ["run", "-d", "--name", "job"].iter().chain(&flags).chain(&["@host", "sleep", "1000"]);
    host.berth(command).run().ok();
    becomes(&host, "unhealthy");
    let code = inspect(&host, "job", "{{(index .State.Health.Log 0).ExitCode}}");
    assert_eq!(code, "127");
    remove(&host, &["job"]);
}

#[test]
fn a_paused_container_is_not_probed() {
    let host = Host::new();
    probed(&host, &[], "true", "sleep 1000");
    becomes(&host, "healthy");
    host.berth(["pause", "job"]).run().ok();
    let last = || inspect(&host, "job", "{{range .State.Health.Log}}{{.Start}} {{end}}");
    // One may be under way.
    std::thread::sleep(Duration::from_millis(200));
    let before = last();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(last(), before);
    assert_eq!(status(&host), "healthy");
    host.berth(["unpause", "job"]).run().ok();
    assert!(until(PATIENCE, || last() != before));
    remove(&host, &["job"]);
}

#[test]
fn what_follows_from_illness_can_be_chosen() {
    let host = Host::new();
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Health.Status}}";
    probed(&host, &["--health-on-failure", "kill"], "false", "sleep 1000");
    host.berth(["wait", "job"]).run().ok().stdout_is("137\n");
    assert_eq!(inspect(&host, "job", state), "exited 137 unhealthy");
    remove(&host, &["job"]);
    probed(
        &host,
        &["--health-on-failure", "stop"],
        "false",
        "trap 'exit 3' TERM; while sleep 0.05; do :; done",
    );
    host.berth(["wait", "job"]).run().ok().stdout_is("3\n");
    assert_eq!(inspect(&host, "job", state), "exited 3 unhealthy");
    remove(&host, &["job"]);
    probed(
        &host,
        &["--health-on-failure", "restart"],
        "test -e /etc/again",
        "trap 'exit 3' TERM; while sleep 0.05; do :; done",
    );
    let pid = inspect(&host, "job", "{{.State.Pid}}");
    assert!(until(PATIENCE, || {
        let now = inspect(&host, "job", "{{.State.Pid}}");
        now != pid && now != "0"
    }));
    assert!(until(PATIENCE, || {
        host.berth(["exec", "job", "touch", "/etc/again"]).run();
        status(&host) == "healthy"
    }));
    remove(&host, &["job"]);
    // With a policy, one that was killed comes again.
    probed(&host, &["--health-on-failure", "kill", "--restart", "always"], "false", "sleep 1000");
    assert!(until(PATIENCE, || inspect(&host, "job", "{{.RestartCount}}") != "0"));
    remove(&host, &["job"]);
    host.berth(["run", "-d", "--health-on-failure", "kill", "@host", "true"])
        .run()
        .code(125)
        .stderr_has(&["--health-on-failure", "nothing is probed"]);
}

#[test]
fn ports_and_pages_are_probed_from_outside() {
    let host = Host::new();
    let server = "import http.server as s, sys
class H(s.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/well' else 503); self.end_headers(); self.wfile.write(b'page ' + self.path.encode())
s.HTTPServer(('127.0.0.1', 8080), H).serve_forever()";
    for (flag, place, wanted, says) in [
        ("--health-http", ":8080/well", "healthy", "page /well"),
        ("--health-http", "http://localhost:8080/ill", "unhealthy", "page /ill"),
        ("--health-tcp", "8080", "healthy", "127.0.0.1:8080 takes connections"),
        ("--health-tcp", "8081", "unhealthy", "127.0.0.1:8081: Connection refused"),
    ] {
        let run = ["run", "-d", "--name", "job", flag, place, "--health-interval", "50ms"];
        let flags = ["--health-start-period", "10s", "--health-start-interval", "50ms"];
        let program = ["@host", "python3", "-c", server];
        host.berth(run.iter().chain(&flags).chain(&program)).run().ok();
        if wanted == "unhealthy" {
            // Failures don't count yet, but are told.
            assert!(until(PATIENCE, || inspect(&host, "job", "{{json .State.Health.Log}}").contains(says)));
        } else {
            becomes(&host, wanted);
        }
        let log = inspect(&host, "job", "{{json .State.Health.Log}}");
        assert!(log.contains(says), "{place}: {log}");
        remove(&host, &["job"]);
    }
}

#[test]
fn the_images_check_is_inherited_changed_and_switched_off() {
    let host = Host::new();
    load_app(&host);
    host.berth(["create", "--name", "base", "app", "true"]).run().ok();
    let change = r#"HEALTHCHECK --interval=50ms --timeout=3s --retries=1 CMD ["test", "-e", "/well"]"#;
    host.berth(["commit", "--change", change, "base", "checked"]).run().ok();
    host.berth(["run", "-d", "--name", "job", "checked", "sleep", "1000"]).run().ok();
    becomes(&host, "unhealthy");
    host.berth(["exec", "job", "touch", "/well"]).run().ok();
    becomes(&host, "healthy");
    remove(&host, &["job"]);
    host.berth(["create", "--name", "job", "--health-retries", "7", "checked", "sleep", "1000"]).run().ok();
    assert_eq!(
        inspect(&host, "job", "{{json .Config.Healthcheck}}"),
        r#"{"Interval":50000000,"Retries":7,"Test":["CMD","test","-e","/well"],"Timeout":3000000000}"#
    );
    remove(&host, &["job"]);
    host.berth(["run", "-d", "--name", "job", "--no-healthcheck", "checked", "sleep", "1000"]).run().ok();
    assert_eq!(
        inspect(&host, "job", "{{json .Config.Healthcheck}} {{json .State.Health}}"),
        r#"{"Interval":50000000,"Retries":1,"Test":["NONE"],"Timeout":3000000000} null"#
    );
    remove(&host, &["job", "base"]);
}

#[test]
fn wrong_flags_are_told_in_dockers_words() {
    let host = Host::new();
    for (flags, says) in [
        (&["--health-interval", "-1s"][..], "--health-interval cannot be negative"),
        (&["--health-timeout", "-1m"], "--health-timeout cannot be negative"),
        (&["--health-start-period", "-1m"], "--health-start-period cannot be negative"),
        (&["--health-retries", "-1"], "--health-retries cannot be negative"),
        (&["--health-interval", "10us"], "cannot be less than 1ms"),
        (&["--health-interval", "often"], "not a duration"),
        (&["--no-healthcheck", "--health-cmd", "true"], "--no-healthcheck conflicts with --health-* options"),
        (&["--health-tcp", "1", "--health-cmd", "true"], "only one of --health-cmd"),
        (&["--health-http", "https://localhost"], "plain HTTP"),
        (&["--health-on-failure", "weep"], "not one of none, kill, restart, stop"),
    ] {
        let command = ["run", "-d"].iter().chain(flags).chain(&["@host", "true"]);
        host.berth(command).run().code(125).stdout_is("").stderr_has(&[says]);
    }
    assert_eq!(host.berth(["ps", "-aq"]).text(), "");
}

#[test]
fn checks_go_on_though_the_keeper_is_killed() {
    let host = Host::new();
    probed(&host, &[], "test ! -e /ill", "sleep 1000");
    becomes(&host, "healthy");
    let keepers = || -> Vec<u32> {
        let marker = format!("BERTH_RUN={}", host.run_dir().display());
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            read("comm").starts_with(b"berth-keeper")
                && String::from_utf8_lossy(&read("environ")).contains(&marker)
        };
        pids.filter(is_ours).collect()
    };
    assert_eq!(keepers().len(), 1);
    keepers().into_iter().for_each(|pid| testkit::cmd::signal_pid(pid, 9));
    host.berth(["exec", "job", "touch", "/ill"]).run().ok();
    becomes(&host, "unhealthy");
    host.berth(["exec", "job", "rm", "/ill"]).run().ok();
    becomes(&host, "healthy");
    remove(&host, &["job"]);
    // Nothing that probed is left.
    let probes = || {
        let marker = format!("BERTH_RUN={}", host.run_dir().display());
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let read =
            |entry: &std::fs::DirEntry, name| std::fs::read(entry.path().join(name)).unwrap_or_default();
        pids.filter(|entry| {
            read(entry, "comm").starts_with(b"berth-probe")
                && String::from_utf8_lossy(&read(entry, "environ")).contains(&marker)
        })
        .count()
    };
    assert!(until(PATIENCE, || probes() == 0));
}

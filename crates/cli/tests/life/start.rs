//! `berth create`, `start` and `restart`.

use super::*;
use testkit::cmd::signal_pid;

/// Waits until a container doesn't run; its state, status and number of restarts.
fn ended(host: &Host, name: &str) -> String {
    host.berth(["wait", name]).run().ok();
    inspect(host, name, "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}")
}

fn cells(host: &Host) -> usize {
    std::fs::read_dir(host.run_dir().join("containers")).map_or(0, Iterator::count)
}

#[test]
fn a_created_container_waits_for_its_start() {
    let host = Host::new();
    let id = host
        .berth(["create", "--name", "job", "-e", "WHO=world", "@host", "sh", "-c", "echo hello $WHO; exit 4"])
        .text();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(
        inspect(&host, "job", "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}"),
        "created false 0"
    );
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).text(), "job Created");
    assert_eq!(host.berth(["ps", "-q"]).text(), "");
    assert_eq!(cells(&host), 0, "nobody looks after what doesn't run");
    // Files go in before it has ever run.
    let file = host.path("greeting");
    std::fs::write(&file, "good day").unwrap();
    host.berth(["cp"]).arg(&file).arg("job:/etc/greeting").run().ok();
    assert_eq!(host.berth(["start", "-a", "job"]).run().code(4).text(), "hello world");
    assert_eq!(ended(&host, "job"), "exited 4 0");
    assert_eq!(host.berth(["diff", "job"]).text(), "C /etc\nA /etc/greeting");
    // By the beginning of its id, without its output.
    host.berth(["container", "start", &id[..8]]).run().ok().silent().stdout_is(&format!("{}\n", &id[..8]));
    assert_eq!(ended(&host, "job"), "exited 4 0");
    assert_eq!(host.berth(["logs", "job"]).text(), "hello world\nhello world");
    host.berth(["rm", "job"]).run().ok();
}

#[test]
fn what_is_wrong_with_a_container_is_told_when_it_is_created() {
    let host = Host::new();
    // Only wrong use of the command is worth another status than 1, as in docker.
    for (args, code, says) in [
        (&["create", "--name", "job", "--memory", "1k", "@host", "true"][..], 1, "memory"),
        (&["create", "--name", "job", "--restart", "sometimes", "@host", "true"], 125, "--restart"),
        (
            &["create", "--name", "job", "--restart", "always", "--rm", "@host", "true"],
            125,
            "cannot specify both --restart and --rm",
        ),
        (&["create", "--name", "job", "--user", "nobody-here", "@host", "true"], 1, "nobody-here"),
        (&["create", "--name", "job", "--pull", "never", "nothing-here", "true"], 1, "nothing-here"),
    ] {
        host.berth(args).run().code(code).stdout_is("").stderr_has(&[says]);
    }
    assert_eq!(host.berth(["ps", "-aq"]).text(), "");
    host.berth(["start", "job"]).run().code(1).stderr_has(&["no such container: job"]);
    host.berth(["start", "-a", "one", "two"]).run().code(1).stderr_has(&["cannot start and attach multiple"]);
}

#[test]
fn a_program_that_is_not_there_fails_the_start_and_the_container_stays() {
    let host = Host::new();
    host.berth(["create", "--name", "job", "@host", "no-such-program"]).run().ok();
    for _ in 0..2 {
        host.berth(["start", "job"]).run().code(1).stdout_is("").stderr_has(&["no-such-program"]);
        assert_eq!(inspect(&host, "job", "{{.State.Status}} {{.State.ExitCode}}"), "exited 127");
        assert!(inspect(&host, "job", "{{.State.Error}}").contains("no-such-program"));
        assert_eq!(cells(&host), 0);
    }
    host.berth(["rm", "job"]).run().ok();
}

#[test]
fn a_container_keeps_its_files_and_volumes_from_start_to_start() {
    let host = Host::new();
    load_app(&host);
    let script = "echo . >>/count; echo . >>/data/count; wc -l </count; wc -l </data/count; id -u";
    host.berth([
        "create", "--name", "job", "-v", "/data", "-u", "65534", "--tmpfs", "/tmp", "app", "sh", "-c", script,
    ])
    .run()
    .ok();
    host.berth(["rm", "-v", "job"]).run().ok();
    host.berth(["create", "--name", "job", "-v", "/data", "app", "sh", "-c", script]).run().ok();
    for count in 1..=3 {
        assert_eq!(host.berth(["start", "-a", "job"]).text(), format!("{count}\n{count}\n0"));
    }
    host.berth(["rm", "-v", "job"]).run().ok();
    assert_eq!(host.berth(["volume", "ls", "-q"]).text(), "");
}

#[test]
fn stdin_goes_to_a_container_that_was_made_for_it() {
    let host = Host::new();
    host.berth(["create", "-i", "--name", "cat", "@host", "cat"]).run().ok();
    for text in ["first\n", "second\n"] {
        assert_eq!(host.berth(["start", "-ai", "cat"]).stdin(text).text(), text.trim_end());
    }
    // Without -i it waits for somebody who passes stdin on.
    host.berth(["start", "cat"]).run().ok();
    assert_eq!(inspect(&host, "cat", "{{.State.Status}}"), "running");
    host.berth(["start", "cat"]).run().ok().stdout_is("cat\n");
    host.berth(["start", "-a", "cat"]).run().code(1).stderr_has(&["is running already"]);
    host.berth(["pause", "cat"]).run().ok();
    host.berth(["start", "cat"]).run().code(1).stderr_has(&["cannot start a paused container"]);
    remove(&host, &["cat"]);
}

#[test]
fn one_that_leaves_nothing_goes_when_it_ends_and_not_before() {
    let host = Host::new();
    host.berth(["create", "--rm", "--name", "job", "-v", "/data", "@host", "true"]).run().ok();
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).text(), "job");
    host.berth(["start", "-a", "job"]).run().ok();
    assert!(until(PATIENCE, || host.berth(["ps", "-aq"]).text().is_empty()));
    assert!(until(PATIENCE, || host.berth(["volume", "ls", "-q"]).text().is_empty()));
    host.berth(["create", "--name", "job", "@host", "true"]).run().ok();
    remove(&host, &["job"]);
}

#[test]
fn restart_stops_and_starts() {
    let host = Host::new();
    start(&host, "web", "trap 'echo bye; exit 0' TERM; echo hello; sleep 1000 & wait");
    start(&host, "done", "echo once");
    host.berth(["wait", "done"]).run().ok();
    assert!(until(PATIENCE, || host.berth(["logs", "web"]).text() == "hello"));
    let pid = inspect(&host, "web", "{{.State.Pid}}");
    host.berth(["restart", "web", "none", "done"])
        .run()
        .code(1)
        .stdout_is("web\ndone\n")
        .stderr_has(&["no such container: none"]);
    assert!(until(PATIENCE, || host.berth(["logs", "web"]).text() == "hello\nbye\nhello"));
    assert!(until(PATIENCE, || host.berth(["logs", "done"]).text() == "once\nonce"));
    assert_ne!(inspect(&host, "web", "{{.State.Pid}}"), pid);
    remove(&host, &["web", "done"]);
}

#[test]
fn many_who_start_the_same_container_start_it_once() {
    let host = Host::new();
    host.berth(["create", "--name", "web", "@host", "sh", "-c", "echo up; sleep 1000"]).run().ok();
    for _ in 0..3 {
        let starts: Vec<_> = (0..6).map(|_| host.berth(["start", "web"]).spawn()).collect();
        starts.into_iter().for_each(|start| drop(start.wait().ok()));
        assert_eq!(inspect(&host, "web", "{{.State.Status}}"), "running");
        assert_eq!(cells(&host), 1);
        host.berth(["stop", "-t", "0", "web"]).run().ok();
    }
    assert_eq!(host.berth(["logs", "web"]).text(), "up\nup\nup");
    // Started and removed at once, it's gone.
    let start = host.berth(["start", "web"]).spawn();
    host.berth(["rm", "-f", "web"]).run().ok();
    start.wait();
    assert_eq!(host.berth(["ps", "-aq"]).text(), "");
    assert!(until(PATIENCE, || cells(&host) == 0));
}

#[test]
fn on_failure_it_is_tried_so_often() {
    let host = Host::new();
    host.berth([
        "run",
        "-d",
        "--name",
        "job",
        "--restart",
        "on-failure:3",
        "@host",
        "sh",
        "-c",
        "echo try; exit 7",
    ])
    .run()
    .ok();
    assert_eq!(ended(&host, "job"), "exited 7 3");
    assert_eq!(host.berth(["logs", "job"]).text(), "try\ntry\ntry\ntry");
    assert_eq!(
        inspect(
            &host,
            "job",
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}"
        ),
        "on-failure 3"
    );
    // A success is none.
    host.berth(["run", "-d", "--name", "ok", "--restart", "on-failure", "@host", "true"]).run().ok();
    assert_eq!(ended(&host, "ok"), "exited 0 0");
    // By hand, it counts from the beginning.
    host.berth(["start", "job"]).run().ok();
    assert_eq!(ended(&host, "job"), "exited 7 3");
    remove(&host, &["job", "ok"]);
}

#[test]
fn always_is_until_a_user_stops_it() {
    let host = Host::new();
    let policies = ["always", "unless-stopped"];
    for policy in policies {
        host.berth(["run", "-d", "--name", policy, "--restart", policy, "@host", "sleep", "1000"]).run().ok();
        let pid = inspect(&host, policy, "{{.State.Pid}}");
        signal_pid(pid.parse().unwrap(), 9);
        assert!(until(PATIENCE, || {
            let now = inspect(&host, policy, "{{.State.Status}} {{.RestartCount}} {{.State.Pid}}");
            now.starts_with("running 1 ") && !now.ends_with(&format!(" {pid}"))
        }));
        host.berth(["stop", "-t", "0", policy]).run().ok();
        assert_eq!(inspect(&host, policy, "{{.State.Status}}"), "exited");
        host.berth(["start", policy]).run().ok();
        host.berth(["kill", policy]).run().ok();
        assert_eq!(inspect(&host, policy, "{{.State.Status}}"), "exited");
    }
    assert_eq!(cells(&host), 0);
    remove(&host, &policies);
}

/// A container whose restart waits for a pause of some length, which is over in the end.
fn restarting(host: &Host) {
    host.berth(["run", "-d", "--name", "job", "--restart", "always", "@host", "false"]).run().ok();
    let waits = || {
        let path = host.run_dir().join("containers");
        let cell = std::fs::read_dir(path).unwrap().flatten().next().map(|entry| entry.path());
        let exit =
            cell.and_then(|cell| std::fs::read_to_string(cell.join("exit.json")).ok()).unwrap_or_default();
        exit.contains("\"pause_ms\":800") || exit.contains("\"pause_ms\":1600")
    };
    assert!(until(PATIENCE, waits), "{}", inspect(host, "job", "{{.State.Status}}"));
}

#[test]
fn while_it_waits_to_be_started_again_it_can_be_stopped_and_removed() {
    let host = Host::new();
    restarting(&host);
    assert_eq!(
        inspect(
            &host,
            "job",
            "{{.State.Status}} {{.State.Running}} {{.State.Restarting}} {{.State.ExitCode}}"
        ),
        "restarting true true 1"
    );
    let listed = host.berth(["ps", "--format", "{{.Names}} {{.State}} {{.Status}}"]).text();
    assert!(listed.starts_with("job restarting Restarting (1) "), "{listed}");
    host.berth(["exec", "job", "true"]).run().code(1);
    host.berth(["rm", "job"]).run().code(1).stderr_has(&["container is restarting"]);
    host.berth(["start", "job"]).run().ok();
    host.berth(["stop", "job"]).run().ok();
    assert_eq!(inspect(&host, "job", "{{.State.Status}} {{.State.ExitCode}}"), "exited 1");
    host.berth(["rm", "job"]).run().ok();
    restarting(&host);
    host.berth(["rm", "-f", "job"]).run().ok();
    assert_eq!(host.berth(["ps", "-aq"]).text(), "");
    assert!(until(PATIENCE, || cells(&host) == 0));
}

/// Berth's own processes of this host.
fn berths(host: &Host) -> Vec<u32> {
    let marker = format!("BERTH_RUN={}", host.run_dir().display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        comm.starts_with("berth-") && String::from_utf8_lossy(&environ).contains(&marker)
    };
    pids.filter(ours).collect()
}

#[test]
fn a_restart_survives_the_death_of_whoever_waits_for_it() {
    let host = Host::new();
    restarting(&host);
    berths(&host).into_iter().for_each(|pid| signal_pid(pid, 9));
    // The next command goes on.
    let count = || inspect(&host, "job", "{{.RestartCount}}").parse::<u32>().unwrap();
    let before = count();
    assert!(until(PATIENCE, || count() > before));
    remove(&host, &["job"]);
    assert!(until(PATIENCE, || cells(&host) == 0 && berths(&host).is_empty()));
}

#[test]
fn after_a_boot_runs_what_should() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "base", "--restart", "always", "@host", "sleep", "1000"]).run().ok();
    for (name, policy) in
        [("kept", "unless-stopped"), ("failed", "on-failure"), ("none", "no"), ("stopped", "unless-stopped")]
    {
        host.berth(["run", "-d", "--name", name, "--restart", policy, "@host", "sleep", "1000"]).run().ok();
    }
    // Made before what it needs was made anew.
    host.berth(["create", "--name", "never", "--restart", "always", "@host", "sleep", "1000"]).run().ok();
    host.berth([
        "run",
        "-d",
        "--name",
        "side",
        "--restart",
        "always",
        "--network",
        "container:base",
        "@host",
        "sleep",
        "1000",
    ])
    .run()
    .ok();
    host.berth(["stop", "-t", "0", "stopped"]).run().ok();
    // As if the machine had gone down: no process is left, and what is in /run belongs to another boot.
    let inits = host.berth(["ps", "--format", "{{.Names}}"]).text();
    let inits: Vec<u32> =
        inits.lines().map(|name| inspect(&host, name, "{{.State.Pid}}").parse().unwrap()).collect();
    let keepers = berths(&host);
    keepers.iter().for_each(|pid| signal_pid(*pid, 19));
    keepers.iter().chain(&inits).for_each(|pid| signal_pid(*pid, 9));
    assert!(until(PATIENCE, || berths(&host).is_empty()));
    let boot = host.run_dir().join("boot");
    std::fs::write(&boot, "another boot").unwrap();
    assert_eq!(inspect(&host, "base", "{{.State.Status}}"), "exited");
    let mut started: Vec<String> = host.berth(["system", "boot"]).text().lines().map(str::to_owned).collect();
    let place = |name: &str| started.iter().position(|one| one == name);
    assert!(place("base") < place("side"), "{started:?}");
    started.sort();
    assert_eq!(started, ["base", "failed", "kept", "side"]);
    for (name, state) in [
        ("base", "running"),
        ("none", "exited"),
        ("stopped", "exited"),
        ("never", "created"),
        ("side", "running"),
    ] {
        assert_eq!(inspect(&host, name, "{{.State.Status}}"), state, "{name}");
    }
    host.berth(["system", "boot"]).run().ok().stdout_is("");
    // A boot would have taken their control groups along.
    host.berth(["start", "none", "stopped"]).run().ok();
    remove(&host, &["base", "kept", "failed", "none", "stopped", "never", "side"]);
}

/// The number of a fault point that `role` comes to in `command`, which is run once for it.
fn point_of(host: &Host, command: &[&str], role: &str, done: &str) -> String {
    let list = host.path("points");
    host.berth(command).env("BERTH_FAULT_LIST", &list).run().ok();
    let points = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let mut points = points.lines().filter_map(|line| line.split_once(' '));
    let (point, _) = points.find(|(point, what)| point.starts_with(role) && *what == done).unwrap();
    point.to_owned()
}

/// The process that was stopped at a fault point.
fn stopped_process(host: &Host) -> u32 {
    assert!(until(PATIENCE, || host.stopped().is_some()));
    host.stopped().unwrap()
}

#[test]
fn one_that_is_being_made_is_stopped_and_removed_once_it_is_there() {
    let host = Host::new();
    let run = ["run", "-d", "--name", "web", "@host", "sleep", "1000"];
    let point = point_of(&host, &run, "holder", "keeper forked") + ":stop";
    for (command, output, left) in [
        (&["rm", "-f", "web"][..], "web", ""),
        (&["stop", "-t", "0", "web"], "web", "web exited"),
        (&["run", "-d", "--name", "web", "@host", "true"], "", "web running"),
    ] {
        remove(&host, &["web"]);
        // Its creator is killed, while its holder is at it.
        let running = host.berth(run).env("BERTH_FAULT", &point).spawn();
        let holder = stopped_process(&host);
        running.signal(9);
        running.wait();
        assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).text(), "web created");
        let other = host.berth(command).spawn();
        std::thread::sleep(Duration::from_millis(100));
        signal_pid(holder, 18);
        let other = other.wait();
        assert_eq!(other.text(), output, "{command:?}: {}", other.err());
        assert_eq!(other.status == 0, !output.is_empty(), "{command:?}: {}", other.err());
        assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).text(), left, "{command:?}");
    }
    // One that isn't recorded yet never comes to be: its name is free once that is known.
    let [at_kill, at_stop] = [("client", "mask sent"), ("holder", "FIFOs made")].map(|(role, done)| {
        remove(&host, &["web"]);
        point_of(&host, &run, role, done)
    });
    remove(&host, &["web"]);
    let running = host.berth(run).env("BERTH_FAULT", format!("{at_kill},{at_stop}:stop")).spawn();
    let holder = stopped_process(&host);
    running.wait().code(137);
    let other = host.berth(run).spawn();
    std::thread::sleep(Duration::from_millis(100));
    signal_pid(holder, 18);
    other.wait().ok();
    remove(&host, &["web"]);
}

#[test]
fn one_that_is_being_started_again_is_stopped_once_it_runs() {
    let host = Host::new();
    host.berth(["create", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    let point = point_of(&host, &["start", "web"], "holder", "keeper forked") + ":stop";
    host.berth(["stop", "-t", "0", "web"]).run().ok();
    let starting = host.berth(["start", "web"]).env("BERTH_FAULT", &point).spawn();
    let holder = stopped_process(&host);
    let stopping = host.berth(["stop", "-t", "0", "web"]).spawn();
    std::thread::sleep(Duration::from_millis(100));
    signal_pid(holder, 18);
    starting.wait().ok();
    stopping.wait().ok();
    assert_eq!(inspect(&host, "web", "{{.State.Status}}"), "exited");
    remove(&host, &["web"]);
}

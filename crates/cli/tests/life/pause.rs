//! `berth pause` and `unpause`, and what other commands make of a container that stands still.

use super::*;
use std::path::PathBuf;

/// Counts in its file system, as fast as it can.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; done";

struct Counter(PathBuf);

impl Counter {
    fn of(host: &Host, name: &str) -> Counter {
        let pid = inspect(host, name, "{{.State.Pid}}");
        let counter = Counter(format!("/proc/{pid}/root/tmp/count").into());
        counter.runs();
        counter
    }

    fn value(&self) -> u64 {
        std::fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    #[track_caller]
    fn runs(&self) {
        let before = self.value();
        assert!(until(PATIENCE, || self.value() > before), "it stands still at {before}");
    }

    #[track_caller]
    fn stands_still(&self) {
        let before = self.value();
        // Not for anything to happen, but to see that nothing does.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(self.value(), before);
    }
}

/// Waits until a container has said that its traps are set.
#[track_caller]
fn is_ready(host: &Host, name: &str) {
    assert!(until(PATIENCE, || host.berth(["logs", name]).run().text() == "ready"), "{name}");
}

#[test]
fn a_paused_container_stands_still_and_says_so() {
    let host = Host::new();
    start(&host, "web", COUNT);
    let counter = Counter::of(&host, "web");
    host.berth(["pause", "web", "none"])
        .run()
        .code(1)
        .stdout_is("web")
        .stderr_has(&["no such container: none"]);
    counter.stands_still();
    assert_eq!(
        inspect(&host, "web", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"),
        "paused true true"
    );
    let status = host.berth(["ps", "--format", "{{.State}} {{.Status}}"]).text();
    assert!(status.starts_with("paused Up ") && status.ends_with(" (Paused)"), "{status}");
    let by_status = |status: &str| {
        let filter = format!("status={status}");
        host.berth(["ps", "--filter", &filter, "--format", "{{.Names}}"]).text()
    };
    assert_eq!((by_status("paused").as_str(), by_status("running").as_str()), ("web", ""));
    host.berth(["info"]).run().ok();
    host.berth(["pause", "web"]).run().code(1).stderr_has(&["web is already paused"]);
    host.berth(["container", "unpause", "web", "web"])
        .run()
        .code(1)
        .stdout_is("web")
        .stderr_has(&["web is not paused"]);
    counter.runs();
    assert_eq!(inspect(&host, "web", "{{.State.Status}} {{.State.Paused}}"), "running false");
    host.berth(["kill", "web"]).run().ok();
    host.berth(["pause", "web"]).run().code(1).stderr_has(&["web is not running"]);
    host.berth(["unpause", "web"]).run().code(1).stderr_has(&["web is not paused"]);
    remove(&host, &["web"]);
}

#[test]
fn exec_and_rm_refuse_a_paused_container() {
    let host = Host::new();
    start(&host, "web", "sleep 1000");
    host.berth(["pause", "web"]).run().ok().silent();
    host.berth(["exec", "web", "true"])
        .run()
        .code(1)
        .stderr_has(&["container web is paused, unpause the container before exec"]);
    host.berth(["rm", "web"]).run().code(1).stderr_has(&["container is paused and must be unpaused first"]);
    // Its files can be had all the same.
    host.berth(["cp", "web:/etc/hostname", "-"]).run().ok();
    host.berth(["logs", "web"]).run().ok();
    host.berth(["unpause", "web"]).run().ok().silent();
    host.berth(["exec", "web", "true"]).run().ok();
    remove(&host, &["web"]);
}

#[test]
fn a_paused_container_is_stopped_killed_and_removed() {
    let host = Host::new();
    let trap = "trap 'exit 7' TERM; trap 'echo usr >/tmp/usr' USR1; echo ready; while :; do sleep 0.01; done";
    for (command, code) in [
        (&["stop"][..], "7"),
        (&["kill"], "137"),
        (&["kill", "-s", "TERM"], "7"),
        (&["stop", "-t", "0"], "7"),
    ] {
        start(&host, "web", trap);
        is_ready(&host, "web");
        host.berth(["pause", "web"]).run().ok();
        let ended = host.berth(command.iter().chain(&["web"])).run().ok().stdout_is("web");
        assert!(ended.took < Duration::from_secs(5), "{command:?} took {:?}", ended.took);
        let exited = || inspect(&host, "web", "{{.State.Status}} {{.State.Paused}} {{.State.ExitCode}}");
        let wanted = format!("exited false {code}");
        let is_killed = command.contains(&"0");
        assert!(
            until(PATIENCE, || exited() == wanted || (is_killed && exited() == "exited false 137")),
            "{command:?}: {}",
            exited()
        );
        remove(&host, &["web"]);
    }
    start(&host, "web", trap);
    host.berth(["pause", "web"]).run().ok();
    remove(&host, &["web"]);
    host.berth(["run", "-d", "--rm", "--name", "web", "@host", "sleep", "1000"]).run().ok();
    host.berth(["pause", "web"]).run().ok();
    remove(&host, &["web"]);
    assert_eq!(host.berth(["ps", "-aq"]).text(), "");
}

#[test]
fn a_signal_thaws_as_in_docker() {
    let host = Host::new();
    // With a signal of its own to stop it, any other one waits until it runs on.
    let script = "trap 'touch /tmp/usr' USR1; trap 'exit 7' QUIT; echo ready; while :; do sleep 0.01; done";
    let run = ["run", "-d", "--name", "own", "--stop-signal", "QUIT", "@host", "sh", "-c", script];
    host.berth(run).run().ok();
    start(&host, "plain", script);
    for name in ["own", "plain"] {
        is_ready(&host, name);
        host.berth(["pause", name]).run().ok();
        host.berth(["kill", "-s", "USR1", name]).run().ok();
    }
    assert_eq!(inspect(&host, "own", "{{.State.Paused}}"), "true");
    assert_eq!(inspect(&host, "plain", "{{.State.Paused}}"), "false");
    host.berth(["unpause", "own"]).run().ok();
    for name in ["own", "plain"] {
        assert!(until(PATIENCE, || host.berth(["exec", name, "test", "-e", "/tmp/usr"]).run().status == 0));
    }
    remove(&host, &["own", "plain"]);
}

#[test]
fn a_commit_pauses_and_nobody_stays_frozen() {
    let host = Host::new();
    load_app(&host);
    let run = ["run", "-d", "--name", "box", "--pull", "never", "app", "sh", "-c", COUNT];
    host.berth(run).run().ok();
    let counter = Counter::of(&host, "box");
    let list = host.path("points");
    host.berth(["commit", "box", "made"]).env("BERTH_FAULT_LIST", &list).run().ok();
    counter.runs();
    let points = std::fs::read_to_string(&list).unwrap();
    let paused = points.lines().find_map(|line| line.strip_suffix(" paused")).expect("no point").to_owned();
    // Killed while it's paused, by itself: its watcher thaws.
    host.berth(["commit", "box"]).env("BERTH_FAULT", &paused).run().code(137);
    counter.runs();
    assert_eq!(inspect(&host, "box", "{{.State.Paused}}"), "false");
    // A pause of the user's is left alone, and so is one that comes after.
    host.berth(["pause", "box"]).run().ok();
    host.berth(["commit", "box"]).run().ok();
    counter.stands_still();
    host.berth(["unpause", "box"]).run().ok();
    let list = host.path("points-without");
    host.berth(["commit", "--pause=false", "box"]).env("BERTH_FAULT_LIST", &list).run().ok();
    assert!(!std::fs::read_to_string(&list).unwrap_or_default().contains(" paused"));
    remove(&host, &["box"]);
}

#[test]
fn what_a_killed_commit_and_its_watcher_leave_frozen_the_next_command_thaws() {
    let host = Host::new();
    load_app(&host);
    let run = ["run", "-d", "--name", "box", "--pull", "never", "app", "sh", "-c", COUNT];
    host.berth(run).run().ok();
    let counter = Counter::of(&host, "box");
    let held = format!("{}/held", inspect(&host, "box", "{{.Berth.RunDir}}"));
    // What they leave: a mark that nobody has locked, and a frozen group.
    host.berth(["pause", "box"]).run().ok();
    std::fs::write(&held, "1").unwrap();
    counter.stands_still();
    host.berth(["ps"]).run().ok();
    counter.runs();
    assert_eq!(std::fs::read_to_string(&held).unwrap(), "");
    remove(&host, &["box"]);
}

//! `kill -9` of each of berth's processes at each of its fault points (linux::fault): the next command finds a consistent
//! state, and nothing is left (design.md 1). The points are those that a run without faults passes.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::time::Duration;
use testkit::{Host, until};

const PATIENCE: Duration = Duration::from_secs(10);
/// The container of each round.
const PROGRAM: [&str; 4] = ["@host", "sh", "-c", "sleep 0.02; exit 3"];

/// The points that `command` passes, as `holder:7` with what was done before each.
fn points(host: &Host, command: &[&str], after: impl Fn(&Host)) -> Vec<(String, String)> {
    let list = host.path("points");
    let _ = host.berth(command).env("BERTH_FAULT_LIST", &list).run();
    after(host);
    until(PATIENCE, || host.berth(["ps", "-q"]).run().text().is_empty());
    // A keeper passes its last point after its container is gone from lists.
    std::thread::sleep(Duration::from_millis(200));
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let point = |line: &str| line.split_once(' ').map(|(point, done)| (point.to_owned(), done.to_owned()));
    text.lines().filter_map(point).collect()
}

/// After whatever happened: what is listed can be removed, and the name is free for a container that works.
fn is_consistent(host: &Host, point: &str) {
    let listed = host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().text();
    assert!(listed.is_empty() || listed == "box", "{point}: {listed}");
    let mut last = String::new();
    let free = until(PATIENCE, || {
        host.berth(["rm", "-f", "box"]).run();
        let again = host.berth(["run", "--rm", "--name", "box", "@host", "sh", "-c", "exit 5"]).run();
        last = again.err();
        again.status == 5
    });
    assert!(free, "{point}: the name stays taken: {last}");
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().text(), "", "{point}");
    no_address_is_left(host, point);
}

/// Of a container that is gone nobody has an address any more, nor a link.
fn no_address_is_left(host: &Host, point: &str) {
    let networks = host.run_dir().join("networks");
    let leases = || {
        let networks = std::fs::read_dir(&networks).into_iter().flatten().flatten();
        let leases = networks.flat_map(|network| std::fs::read_dir(network.path().join("leases")));
        leases.flatten().flatten().map(|lease| lease.file_name()).collect::<Vec<_>>()
    };
    assert!(until(PATIENCE, || leases().is_empty()), "{point}: {:?} left", leases());
}

/// Kills at each point of `command` in turn.
fn at_each_point(command: &[&str], before: impl Fn(&Host), least: usize) {
    let host = Host::new();
    // The first container also brings the network up.
    host.berth(["run", "--rm", "@host", "true"]).run().ok();
    before(&host);
    let points = points(&host, command, |host| {
        host.berth(["rm", "-f", "box"]).run();
    });
    assert!(points.len() >= least, "{points:?}");
    for (point, done) in points {
        before(&host);
        let output = host.berth(command).env("BERTH_FAULT", &point).run();
        if point.starts_with("client") {
            assert_eq!(output.status, 137, "{point}, after {done}: it wasn't killed");
        }
        is_consistent(&host, &format!("killed at {point}, after {done}"));
    }
}

#[test]
fn a_start_in_the_foreground_is_killed_at_each_point() {
    let command: Vec<&str> = ["run", "--name", "box"].into_iter().chain(PROGRAM).collect();
    at_each_point(&command, |_| {}, 30);
}

#[test]
fn a_start_that_leaves_nothing_is_killed_at_each_point() {
    let command: Vec<&str> = ["run", "--rm", "-d", "--name", "box"].into_iter().chain(PROGRAM).collect();
    at_each_point(&command, |_| {}, 30);
}

#[test]
fn the_first_process_is_killed_at_each_step_before_the_program() {
    let host = Host::new();
    let command: Vec<&str> = ["run", "--name", "box"].into_iter().chain(PROGRAM).collect();
    let mut number = 0;
    loop {
        number += 1;
        let point = format!("first:{number}");
        let output = host.berth(&command).env("BERTH_FAULT", &point).run();
        if output.status == 3 {
            break;
        }
        assert_eq!(output.status, 125, "{point}: {}", output.err());
        is_consistent(&host, &point);
    }
    assert!(number > 40, "only {number} steps");
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn a_removal_is_killed_at_each_point() {
    let running = |host: &Host| {
        host.berth(["run", "-d", "--name", "box", "@host", "sleep", "100"]).run().ok();
    };
    at_each_point(&["rm", "-f", "box"], running, 6);
    let ended = |host: &Host| {
        host.berth(["run", "--name", "box", "@host", "true"]).run().ok();
        let looked_after = host.dir().join("run/containers");
        assert!(until(PATIENCE, || std::fs::read_dir(&looked_after).unwrap().count() == 0));
    };
    at_each_point(&["rm", "box"], ended, 6);
}

#[test]
fn a_creation_is_killed_at_each_point() {
    let command: Vec<&str> = ["create", "--name", "box"].into_iter().chain(PROGRAM).collect();
    at_each_point(&command, |_| {}, 6);
}

/// Kills a start of `box`, which is there before, at each point in turn: it's there afterwards, and can be started.
fn a_start_loses_nothing(prepare: impl Fn(&Host), least: usize) {
    let host = Host::new();
    // The first start on a network brings that up as well.
    host.berth(["run", "--rm", "@host", "true"]).run().ok();
    prepare(&host);
    let points = points(&host, &["start", "box"], |host| {
        host.berth(["wait", "box"]).run().ok();
        host.berth(["rm", "-f", "box"]).run().ok();
    });
    assert!(points.len() >= least, "{points:?}");
    for (point, done) in points {
        prepare(&host);
        let output = host.berth(["start", "box"]).env("BERTH_FAULT", &point).run();
        let point = format!("killed at {point}, after {done}");
        if point.contains("at client") {
            assert_eq!(output.status, 137, "{point}: it wasn't killed");
        }
        let mut last = String::new();
        let starts = until(PATIENCE, || {
            host.berth(["wait", "box"]).run();
            let again = host.berth(["start", "-a", "box"]).run();
            last = again.err();
            again.status == 3
        });
        assert!(starts, "{point}: it doesn't start: {last}");
        assert_eq!(host.berth(["diff", "box"]).text(), "C /etc\nA /etc/kept", "{point}");
        host.berth(["rm", "-f", "box"]).run().ok();
        assert_eq!(host.berth(["ps", "-aq"]).text(), "", "{point}");
        no_address_is_left(&host, &point);
    }
}

#[test]
fn a_start_of_what_was_created_is_killed_at_each_point() {
    let script = "echo kept >/etc/kept; sleep 0.02; exit 3";
    let prepare = |host: &Host| {
        host.berth(["create", "--name", "box", "@host", "sh", "-c", script]).run().ok();
    };
    a_start_loses_nothing(prepare, 25);
}

#[test]
fn a_start_of_what_has_ended_is_killed_at_each_point() {
    let script = "echo kept >/etc/kept; sleep 0.02; exit 3";
    let prepare = |host: &Host| {
        host.berth(["run", "--name", "box", "@host", "sh", "-c", script]).run().code(3);
    };
    a_start_loses_nothing(prepare, 25);
}

#[test]
fn a_restart_by_the_policy_is_killed_at_each_point_and_goes_on() {
    let host = Host::new();
    let run: Vec<&str> =
        ["run", "-d", "--name", "box", "--restart", "always"].into_iter().chain(PROGRAM).collect();
    let count = |host: &Host| {
        let count = host.berth(["inspect", "-f", "{{.RestartCount}}", "box"]).run().text();
        count.parse::<u32>().unwrap_or(0)
    };
    let list = host.path("points");
    host.berth(&run).env("BERTH_FAULT_LIST", &list).run().ok();
    assert!(until(PATIENCE, || count(&host) > 0));
    host.berth(["rm", "-f", "box"]).run().ok();
    let text = std::fs::read_to_string(&list).unwrap();
    let mut points: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
    points.retain(|point| point.starts_with("restarter:") || point.starts_with("holder-again:"));
    points.sort_unstable();
    points.dedup();
    assert!(points.len() >= 15, "{text}");
    for point in points {
        host.berth(&run).env("BERTH_FAULT", point).run().ok();
        assert!(until(PATIENCE, || count(&host) > 1), "{point}: {}", count(&host));
        host.berth(["rm", "-f", "box"]).run().ok();
        let nothing = || std::fs::read_dir(host.run_dir().join("containers")).unwrap().count() == 0;
        assert!(until(PATIENCE, nothing), "{point}");
        no_address_is_left(&host, point);
        assert_eq!(std::fs::read_dir(host.run_dir().join("ranges")).unwrap().count(), 0, "{point}");
    }
}

#[test]
fn an_exec_is_killed_at_each_step() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "box", "@host", "sleep", "100"]).run().ok();
    let exec = ["exec", "box", "sh", "-c", "exit 3"];
    for role in ["client", "first"] {
        let mut number = 0;
        loop {
            number += 1;
            let output = host.berth(exec).env("BERTH_FAULT", format!("{role}:{number}")).run();
            if output.status == 3 {
                break;
            }
            // The container doesn't notice.
            host.berth(exec).run().code(3);
        }
        assert!(number > 3, "only {number} steps of the {role}");
    }
    let left = until(PATIENCE, || {
        // Itself and the program.
        host.berth(["exec", "box", "sh", "-c", "echo /proc/[0-9]*"]).text().split_whitespace().count() <= 2
    });
    assert!(left, "a process was left in the container");
    host.berth(["rm", "-f", "box"]).run().ok();
}

/// A container that ended, and its id; its keeper is done.
fn ended(host: &Host) -> String {
    host.berth(["run", "--name", "box", "@host", "sh", "-c", "echo kept >/etc/kept"]).run().ok();
    let looked_after = host.dir().join("run/containers");
    assert!(until(PATIENCE, || std::fs::read_dir(&looked_after).unwrap().count() == 0));
    host.berth(["inspect", "-f", "{{.Id}}", "box"]).text()
}

#[test]
fn a_removal_that_lost_its_wish_is_finished_by_the_next() {
    let host = Host::new();
    let id = ended(&host);
    let point =
        points(&host, &["rm", "box"], |_| {}).into_iter().find(|(_, done)| done.contains("rows removed"));
    let (point, _) = point.unwrap();
    let id = if host.berth(["inspect", "box"]).run().status == 0 { id } else { ended(&host) };
    assert_eq!(host.berth(["rm", "box"]).env("BERTH_FAULT", &point).run().status, 137);
    // As if the keeper had taken the directory away just then, without having seen the wish.
    std::fs::remove_dir_all(host.dir().join("run/containers").join(&id)).unwrap();
    assert!(host.root_dir().join("containers").join(&id).is_dir());
    host.berth(["rm", "box"]).run().ok();
    assert!(!host.root_dir().join("containers").join(&id).exists());
    host.berth(["run", "--rm", "--name", "box", "@host", "true"]).run().ok();
}

#[test]
fn what_a_keeper_leaves_of_its_directory_takes_nothing_of_the_container_along() {
    let host = Host::new();
    let id = ended(&host);
    let cell = host.dir().join("run/containers").join(&id);
    std::fs::create_dir(&cell).unwrap();
    std::fs::write(cell.join("lock"), r#"{"name":"box","rm":false,"slots":[]}"#).unwrap();
    assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).text(), "box");
    assert!(!cell.exists());
    assert_eq!(host.berth(["diff", "box"]).text(), "C /etc\nA /etc/kept");
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn an_exec_whose_container_ends_meanwhile_says_that_it_is_not_running() {
    let host = Host::new();
    host.berth(["create", "--name", "box", "@host", "sleep", "100"]).run().ok();
    let (mut number, mut refused) = (0, 0);
    loop {
        number += 1;
        host.berth(["start", "box"]).run().ok();
        let exec = host.berth(["exec", "box", "sh", "-c", "exit 3"]);
        let running = exec.env("BERTH_FAULT", format!("client:{number}:stop")).spawn();
        let pid = running.pid();
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is = |letter: char| state().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(letter));
        assert!(until(PATIENCE, || is('T') || is('Z')), "{}", state());
        if is('Z') {
            running.wait().code(3);
            break;
        }
        // It has ended when `exec` has reaped what it began, if it had begun something.
        let killing = host.berth(["kill", "box"]).spawn();
        let killer = killing.pid();
        until(Duration::from_millis(200), || {
            let stat = std::fs::read_to_string(format!("/proc/{killer}/stat")).unwrap_or_default();
            stat.contains(") Z ")
        });
        running.signal(18);
        killing.wait().ok();
        let output = running.wait();
        let said = output.err();
        refused += u32::from(said.contains("is not running"));
        let ran = matches!(output.status, 3 | 137) && said.is_empty();
        assert!(ran || said.contains("is not running"), "{number}: {} {said}", output.status);
    }
    assert!(refused > 1, "{refused} of {number}");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn a_run_whose_holder_is_killed_before_it_tells_returns_and_leaves_nothing() {
    let host = Host::new();
    let run = ["run", "-d", "--name", "box", "@host", "sleep", "1000"];
    let points = points(&host, &run, |host| drop(host.berth(["rm", "-f", "box"]).run()));
    let told = ["keeper forked", "config.json written", "run.json written", "first process executed"];
    for wanted in told.into_iter().chain(["start told to all"]) {
        let (point, _) =
            points.iter().find(|(point, done)| point.starts_with("holder") && done == wanted).unwrap();
        host.berth(run).env("BERTH_FAULT", point).run().code(125).stderr_has(&["its holder was killed"]);
        assert_eq!(host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().text(), "", "{wanted}");
        let told = host.berth(["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).text();
        assert_eq!(told.lines().last(), Some("destroy"), "{wanted}: {told}");
    }
}

#[test]
fn a_start_whose_holder_is_killed_before_it_is_written_down_can_be_begun_anew() {
    let host = Host::new();
    host.berth(["create", "--name", "box", "@host", "sleep", "1000"]).run().ok();
    let points = points_of_start(&host);
    for wanted in ["keeper forked", "config.json written"] {
        let (point, _) =
            points.iter().find(|(point, done)| point.starts_with("holder") && done == wanted).unwrap();
        host.berth(["start", "box"]).env("BERTH_FAULT", point).run().failed();
        host.berth(["start", "box"]).run().ok();
        host.berth(["kill", "box"]).run().ok();
        host.berth(["wait", "box"]).run().ok();
    }
    host.berth(["rm", "-f", "box"]).run().ok();
}

fn points_of_start(host: &Host) -> Vec<(String, String)> {
    points(host, &["start", "box"], |host| {
        host.berth(["kill", "box"]).run().ok();
        host.berth(["wait", "box"]).run().ok();
    })
}

//! `kill -9` of berth's own processes: the container goes on, its status is known, nothing leaks (design.md 1).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

use std::time::Duration;
use testkit::cmd::signal_pid;
use testkit::{Host, until};

const PATIENCE: Duration = Duration::from_secs(5);

/// berth's own processes of this host with their names: those that run the binary under test and were started by its
/// link in the host's directory.
fn berths(host: &Host) -> Vec<(u32, String)> {
    let dir = host.dir().join("bin").display().to_string();
    let binary = std::fs::canonicalize(testkit::host::binary()).unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !line.starts_with(dir.as_bytes())
            || std::fs::read_link(entry.path().join("exe")).ok().as_ref() != Some(&binary)
        {
            continue;
        }
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        found.push((pid, name.trim().to_owned()));
    }
    found
}

/// The process of the only container's with `name`.
fn named(host: &Host, name: &str) -> u32 {
    let mut found = None;
    until(PATIENCE, || {
        found = berths(host).into_iter().find(|(_, own)| own == name).map(|(pid, _)| pid);
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("no {name}: {:?}", berths(host)))
}

/// Holder and keeper of the only container.
fn pair(host: &Host) -> (u32, u32) {
    (named(host, "berth-holder"), named(host, "berth-keeper"))
}

fn kill(pid: u32) {
    signal_pid(pid, 9);
    assert!(until(PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    }));
}

/// Counts up in its log until told to stop by a file.
const COUNTER: &str =
    "i=0; until test -e /ctl/stop; do i=$((i+1)); echo $i; sleep 0.02; done; echo end; exit 7";

fn start(host: &Host) -> std::path::PathBuf {
    start_logged(host, &[])
}

fn start_logged(host: &Host, flags: &[&str]) -> std::path::PathBuf {
    let ctl = host.path("ctl");
    std::fs::create_dir_all(&ctl).unwrap();
    let volume = format!("{}:/ctl", ctl.display());
    let run = ["run", "-d", "--name", "box", "-v", &volume];
    host.berth(run.iter().chain(flags).chain(&["@host", "sh", "-c", COUNTER])).run().ok();
    ctl
}

fn lines(host: &Host) -> Vec<String> {
    host.berth(["logs", "box"]).run().text().lines().map(str::to_owned).collect()
}

fn grows(host: &Host) {
    let before = lines(host).len();
    assert!(until(PATIENCE, || lines(host).len() > before + 3), "the log stands still at {before} lines");
}

fn state(host: &Host) -> String {
    host.berth(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "box"]).text()
}

/// Lets it end: 7 must be its status, and no line of its output missing or doubled.
fn finish(host: &Host, ctl: &std::path::Path) {
    std::fs::write(ctl.join("stop"), "").unwrap();
    assert!(until(PATIENCE, || state(host) == "exited 7"), "{}", state(host));
    let all = lines(host);
    assert_eq!(all.last().map(String::as_str), Some("end"));
    for (at, line) in all[..all.len() - 1].iter().enumerate() {
        assert_eq!(line, &(at + 1).to_string(), "output was lost or doubled");
    }
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn the_keepers_death_changes_nothing() {
    let host = Host::new();
    let ctl = start(&host);
    for _ in 0..3 {
        let (_, keeper) = pair(&host);
        kill(keeper);
        grows(&host);
    }
    assert_eq!(state(&host), "running 0");
    finish(&host, &ctl);
}

#[test]
fn the_keepers_death_loses_no_line_of_a_json_file() {
    let host = Host::new();
    let ctl = start_logged(&host, &["--log-driver", "json-file"]);
    for _ in 0..3 {
        let (_, keeper) = pair(&host);
        kill(keeper);
        grows(&host);
    }
    let path = host.berth(["inspect", "-f", "{{.LogPath}}", "box"]).text();
    std::fs::write(ctl.join("stop"), "").unwrap();
    assert!(until(PATIENCE, || state(&host) == "exited 7"), "{}", state(&host));
    let text = std::fs::read_to_string(path).unwrap();
    for (at, line) in text.lines().rev().skip(1).collect::<Vec<_>>().iter().rev().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["log"], format!("{}\n", at + 1), "output was lost or doubled");
    }
    finish(&host, &ctl);
}

#[test]
fn killed_with_its_holder_a_keeper_of_a_json_file_is_followed_by_another() {
    let host = Host::new();
    let ctl = start_logged(
        &host,
        &["--log-driver", "json-file", "--log-opt", "max-size=1k", "--log-opt", "max-file=50"],
    );
    for _ in 0..3 {
        let keeper = named(&host, "berth-keeper");
        let holder = berths(&host).into_iter().find(|(_, name)| name == "berth-holder");
        if let Some((holder, _)) = &holder {
            signal_pid(*holder, 19);
        }
        kill(keeper);
        holder.into_iter().for_each(|(holder, _)| kill(holder));
        grows(&host);
    }
    // Nobody could see its status: its parent was killed.
    std::fs::write(ctl.join("stop"), "").unwrap();
    assert!(until(PATIENCE, || state(&host).starts_with("exited")), "{}", state(&host));
    let all = lines(&host);
    assert_eq!(all.last().map(String::as_str), Some("end"));
    for (at, line) in all[..all.len() - 1].iter().enumerate() {
        assert_eq!(line, &(at + 1).to_string(), "output was lost or doubled");
    }
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn the_holders_death_changes_nothing() {
    let host = Host::new();
    let ctl = start(&host);
    let (holder, _) = pair(&host);
    kill(holder);
    grows(&host);
    assert_eq!(state(&host), "running 0");
    host.berth(["exec", "box", "true"]).run().ok();
    finish(&host, &ctl);
}

#[test]
fn the_clients_death_leaves_the_container_running() {
    let host = Host::new();
    let mut client = host.berth(["run", "--name", "box", "@host", "sh", "-c", "echo up; sleep 60"]).spawn();
    client.expect("up");
    client.signal(9);
    client.wait().code(137);
    assert_eq!(state(&host), "running 0");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn when_both_die_the_next_command_adopts_it() {
    let host = Host::new();
    let ctl = start(&host);
    let (holder, keeper) = pair(&host);
    signal_pid(holder, 19);
    kill(keeper);
    kill(holder);
    assert_eq!(host.berth(["ps", "--format", "{{.Names}}"]).text(), "box");
    assert_eq!(state(&host), "running 0");
    host.berth(["exec", "box", "true"]).run().ok();
    std::fs::write(ctl.join("stop"), "").unwrap();
    // Its status may be unknown now, but is never invented.
    assert!(until(PATIENCE, || !state(&host).starts_with("running")), "{}", state(&host));
    let end = state(&host);
    assert!(end == "exited 7" || end == "exited 255" || end == "dead 255", "{end}");
    host.berth(["rm", "-f", "box"]).run().ok();
}

#[test]
fn when_all_three_die_nothing_is_left_but_a_record() {
    let host = Host::new();
    host.berth(["run", "-d", "--name", "box", "@host", "sleep", "60"]).run().ok();
    let pid: u32 = host.berth(["inspect", "--format", "{{.State.Pid}}", "box"]).text().parse().unwrap();
    let (holder, keeper) = pair(&host);
    signal_pid(holder, 19);
    kill(keeper);
    signal_pid(pid, 9);
    signal_pid(holder, 9);
    assert!(until(PATIENCE, || !state(&host).starts_with("running")), "{}", state(&host));
    host.berth(["run", "--rm", "@host", "true"]).run().ok();
    host.berth(["rm", "box"]).run().ok();
}

#[test]
fn an_attached_client_hears_the_status_though_a_keeper_died() {
    let host = Host::new();
    let mut client =
        host.berth(["run", "--rm", "@host", "sh", "-c", "echo up; sleep 1; echo end; exit 9"]).spawn();
    client.expect("up");
    kill(named(&host, "berth-keeper"));
    client.wait().code(9);
}

#[test]
fn bulk_output_is_whole_and_in_order_though_keepers_die() {
    let host = Host::new();
    const LAST: u32 = 4_000_000;
    let client = host
        .berth(["run", "--rm", "@host", "seq", "1", &LAST.to_string()])
        .timeout(Duration::from_secs(60))
        .spawn();
    for _ in 0..3 {
        kill(named(&host, "berth-keeper"));
    }
    let output = client.wait().ok();
    let expected: String = (1..=LAST).map(|n| format!("{n}\n")).collect();
    assert_eq!(output.stdout.len(), expected.len());
    assert!(output.stdout == expected.as_bytes(), "the bytes differ");
}

/// A small generator, seeded by the test's number: the same rounds each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Kills whatever `pick` chooses of berth's processes at a random instant of a start, then asks for a consistent state.
fn rounds(seed: u64, flags: &[&str]) {
    let host = Host::new();
    let mut random = Random(seed);
    for round in 0..10 {
        let (first, last) = (["run", "--name", "box"], ["@host", "sh", "-c", "sleep 0.05; exit 3"]);
        let client = host.berth(first.iter().chain(flags).chain(&last)).spawn();
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        let alive = berths(&host);
        if let Some((victim, _)) = alive.get(random.below(alive.len().max(1) as u64) as usize) {
            // It may have ended meanwhile.
            let _ = std::process::Command::new("kill")
                .args(["-9", &victim.to_string()])
                .stderr(std::process::Stdio::null())
                .status();
        }
        let _ = client.wait();
        // The next commands find a consistent state: listed and removable, or not there at all.
        let listed = host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().text();
        assert!(listed.is_empty() || listed == "box", "round {round}: {listed}");
        // A holder whose client was killed may be busy with the start yet, and the name is the container's until then.
        let free = until(PATIENCE, || {
            host.berth(["rm", "-f", "box"]).run();
            host.berth(["run", "--rm", "--name", "box", "@host", "sh", "-c", "exit 5"]).run().status == 5
        });
        assert!(free, "round {round}: the name stays taken");
        let again = host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().text();
        assert_eq!(again, "", "round {round}");
    }
}

#[test]
fn random_kills_during_a_start_leave_a_consistent_state() {
    rounds(1, &[]);
}

#[test]
fn random_kills_during_a_detached_start_leave_a_consistent_state() {
    rounds(2, &["-d", "--rm"]);
}

#[test]
fn a_kill_while_the_store_is_made_leaves_a_store_that_lists_nothing() {
    let host = Host::new();
    std::fs::write(host.root_dir().join("store.db"), "").unwrap();
    host.berth(["ps", "-a", "--format", "{{.Names}}"]).run().ok().stdout_is("");
    host.berth(["run", "--rm", "@host", "true"]).run().ok();
}

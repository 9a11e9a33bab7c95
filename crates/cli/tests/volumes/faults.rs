//! `kill -9` between any two steps of what volumes take: nothing is lost, nothing half there, nothing left.

use super::*;
use std::time::Duration;
use testkit::until;

const PATIENCE: Duration = Duration::from_secs(10);

/// The points of the client's that `command` passes.
fn points(host: &Host, command: &[&str]) -> Vec<String> {
    let list = host.path("points");
    host.berth(command).env("BERTH_FAULT_LIST", &list).run().ok();
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let points = text.lines().filter_map(|line| line.split_once(' ')).map(|(point, _)| point.to_owned());
    points.filter(|point| point.starts_with("client:")).collect()
}

#[test]
fn a_first_use_that_is_killed_is_finished_by_the_next() {
    let host = Host::new();
    load(&host, &image(), "app");
    let command = ["run", "--rm", "--name", "box", "--network", "none", "-v", "vol:/data", "app", "true"];
    let points = points(&host, &command);
    host.berth(["volume", "rm", "vol"]).text();
    assert!(points.len() > 5, "{points:?}");
    for point in points {
        assert_eq!(host.berth(command).env("BERTH_FAULT", &point).run().status, 137, "{point}");
        // Killed late, the container runs by itself for a moment, and has its name.
        let mut seen = String::new();
        let script = "cat /data/kept /data/sub/linked; ls -A /data | wc -l";
        let again = until(PATIENCE, || {
            let output = run(&host, &["--name", "box", "-v", "vol:/data"], script).run();
            seen = output.text() + &output.err();
            output.status == 0
        });
        assert!(again, "{point}: {seen}");
        assert_eq!(seen, "from the imagefrom the image3", "{point}");
        host.berth(["volume", "rm", "vol"]).text();
        nothing_left(&host);
    }
}

#[test]
fn a_removal_that_is_killed_is_done_or_not_begun() {
    let host = Host::new();
    host.berth(["volume", "create", "vol"]).text();
    let command = ["volume", "rm", "vol"];
    let points = points(&host, &command);
    assert!(points.len() >= 3, "{points:?}");
    for point in points {
        host.berth(["volume", "create", "vol"]).text();
        let file = host.root_dir().join("volumes/vol/_data/f");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(host.berth(command).env("BERTH_FAULT", &point).run().status, 137, "{point}");
        if names(&host).is_empty() {
            // Gone: one of that name begins anew.
            host.berth(["volume", "create", "vol"]).text();
            assert!(!file.exists(), "{point}");
        } else {
            assert!(file.exists(), "{point}");
        }
        host.berth(command).text();
        host.berth(["volume", "prune", "-f"]).text();
        nothing_left(&host);
        assert_eq!(std::fs::read_dir(host.root_dir().join("tmp")).unwrap().count(), 0, "{point}");
    }
}

#[test]
fn containers_that_lose_their_processes_lose_their_own_volumes_only() {
    let host = Host::new();
    load(&host, &with_volumes(), "app");
    let command =
        ["run", "--rm", "-d", "--name", "box", "--network", "none", "-v", "named:/n", "app", "sleep", "100"];
    host.berth(command).text();
    let inspected = host.berth(["inspect", "box"]).run().json();
    let pid = |key: &testkit::Value| key.as_u64().unwrap() as u32;
    let (first, holder) = (pid(&inspected[0]["State"]["Pid"]), pid(&inspected[0]["Berth"]["HolderPid"]));
    testkit::cmd::signal_pid(holder, 9);
    testkit::cmd::signal_pid(first, 9);
    assert!(until(PATIENCE, || host.berth(["ps", "-aq"]).text().is_empty()));
    assert!(until(PATIENCE, || names(&host) == ["named"]), "{:?}", names(&host));
    host.berth(["volume", "rm", "named"]).text();
}

#[test]
fn many_containers_begin_with_the_same_volume_at_once() {
    let host = Host::new();
    load(&host, &image(), "app");
    let running: Vec<_> = (0..6)
        .map(|_| run(&host, &["-v", "vol:/data"], "cat /data/kept; ls -A /data | wc -l").spawn())
        .collect();
    for one in running {
        one.wait().ok().stdout_is("from the image3\n");
    }
    host.berth(["volume", "rm", "vol"]).text();
    nothing_left(&host);
}

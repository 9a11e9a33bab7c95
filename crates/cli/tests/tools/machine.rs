//! `berth system shutdown`, `boot`, `install`: containers and the machine's own end and start.

use super::*;
use testkit::until;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn state(host: &Host, name: &str) -> String {
    host.berth(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]).text()
}

fn run(host: &Host, name: &str, flags: &[&str], script: &str) {
    let run = ["run", "-d", "--name", name].into_iter().chain(flags.iter().copied());
    host.berth(run.chain(["@host", "sh", "-c", script])).run().ok();
}

/// A program that ends by itself on SIGTERM with status 5, and takes a note of it; `ready` is told first.
const ORDERLY: &str =
    "trap 'echo closed >> /closed; exit 5' TERM; touch /ready; while :; do sleep 0.05; done";

fn is_ready(host: &Host, name: &str) -> bool {
    host.berth(["diff", name]).text().contains("A /ready")
}

#[test]
fn a_shutdown_stops_all_in_order_and_the_next_boot_starts_what_should_run() {
    let host = Host::new();
    for (name, policy) in [
        ("always", "always"),
        ("kept", "unless-stopped"),
        ("failing", "on-failure"),
        ("none", "no"),
        ("stopped", "unless-stopped"),
    ] {
        run(&host, name, &["--restart", policy], ORDERLY);
    }
    run(&host, "side", &["--restart", "always", "--network", "container:always"], ORDERLY);
    for name in ["always", "kept", "failing", "none", "stopped", "side"] {
        assert!(until(PATIENCE, || is_ready(&host, name)), "{name}");
    }
    host.berth(["stop", "stopped"]).run().ok();
    run(&host, "brief", &["--rm"], "sleep 1000");
    let mut stopped: Vec<String> =
        host.berth(["system", "shutdown", "-t", "5"]).text().lines().map(str::to_owned).collect();
    let place = |name: &str| stopped.iter().position(|one| one == name);
    assert!(place("side") < place("always"), "{stopped:?}");
    stopped.sort();
    assert_eq!(stopped, ["always", "brief", "failing", "kept", "none", "side"]);
    for name in ["always", "kept", "failing", "none", "side"] {
        assert_eq!(state(&host, name), "exited 5", "{name}");
        assert!(host.berth(["diff", name]).text().contains("A /closed"), "{name}");
    }
    // A second one finds nothing to do.
    assert_eq!(host.berth(["system", "shutdown"]).text(), "");
    std::fs::write(host.run_dir().join("boot"), "another boot").unwrap();
    let mut started: Vec<String> = host.berth(["system", "boot"]).text().lines().map(str::to_owned).collect();
    started.sort();
    assert_eq!(started, ["always", "failing", "kept", "side"]);
    assert_eq!(state(&host, "stopped"), "exited 5");
    let names = ["always", "kept", "failing", "none", "stopped", "side"];
    host.berth(["rm", "-f"].iter().chain(&names)).run().ok();
}

#[test]
fn at_a_shutdown_all_of_a_level_have_their_time_at_once() {
    let host = Host::new();
    for name in ["a1", "b1", "c1", "d1"] {
        run(
            &host,
            name,
            &["--stop-timeout", "1"],
            "trap '' TERM; touch /ready; while :; do sleep 0.05; done",
        );
    }
    for name in ["a1", "b1", "c1", "d1"] {
        assert!(until(PATIENCE, || is_ready(&host, name)), "{name}");
    }
    let begin = std::time::Instant::now();
    host.berth(["system", "shutdown"]).run().ok();
    let took = begin.elapsed();
    assert!(took.as_millis() >= 1000 && took.as_millis() < 3900, "{took:?}");
    for name in ["a1", "b1", "c1", "d1"] {
        assert_eq!(state(&host, name), "exited 137");
    }
    host.berth(["rm", "a1", "b1", "c1", "d1"]).run().ok();
}

#[test]
fn one_that_waits_to_be_restarted_comes_again_after_the_boot() {
    let host = Host::new();
    run(&host, "loop", &["--restart", "unless-stopped"], "exit 3");
    let waits = || state(&host, "loop").starts_with("restarting");
    assert!(until(PATIENCE, waits));
    host.berth(["system", "shutdown"]).run().ok();
    assert!(until(PATIENCE, || state(&host, "loop") == "exited 3"), "{}", state(&host, "loop"));
    std::fs::write(host.run_dir().join("boot"), "another boot").unwrap();
    assert_eq!(host.berth(["system", "boot"]).text(), "loop");
    host.berth(["rm", "-f", "loop"]).run().ok();
}

#[test]
fn the_unit_is_written_and_removed_and_anothers_is_left_alone() {
    let host = Host::new();
    let root = host.path("machine");
    let unit = root.join("etc/systemd/system/berth.service");
    let link = root.join("etc/systemd/system/multi-user.target.wants/berth.service");
    let system =
        |words: &[&str]| host.berth(["system"].iter().chain(words).copied()).arg("--root").arg(&root);
    assert_eq!(system(&["install"]).text(), unit.display().to_string());
    let text = std::fs::read_to_string(&unit).unwrap();
    assert_eq!(host.berth(["system", "install", "--print"]).text(), text.trim_end());
    for line in ["Type=oneshot", "RemainAfterExit=yes", "KillMode=process", "WantedBy=multi-user.target"] {
        assert!(text.lines().any(|own| own == line), "{line}:\n{text}");
    }
    let own = format!("Environment=BERTH_ROOT={}", host.root_dir().display());
    assert!(
        text.contains(&own) && text.contains(" system boot\n") && text.contains(" system shutdown\n"),
        "{text}"
    );
    assert_eq!(std::fs::read_link(&link).unwrap().to_string_lossy(), "/etc/systemd/system/berth.service");
    // As often as one likes.
    system(&["install"]).run().ok();
    system(&["uninstall"]).run().ok().silent().stdout_is("");
    assert!(!unit.exists() && link.symlink_metadata().is_err());
    system(&["uninstall"]).run().ok();
    std::fs::write(&unit, "[Unit]\n").unwrap();
    for verb in ["install", "uninstall"] {
        system(&[verb]).run().code(1).stderr_has(&["cannot change", "berth hasn't written it"]);
    }
    assert_eq!(std::fs::read_to_string(&unit).unwrap(), "[Unit]\n");
}

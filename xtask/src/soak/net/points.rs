//! A kill at each fault point of what puts a container on networks, and takes it off.

use super::{Soak, until};
use crate::Result;
use crate::cmd::Cmd;
use std::process::Stdio;

/// What is done first, and the command whose processes are killed.
const COMMANDS: &[(&[&[&str]], &[&str])] = &[
    (
        &[],
        &[
            "run",
            "-d",
            "--name",
            "point",
            "--network",
            "blue",
            "--network",
            "red",
            "-p",
            "0:80",
            "@host",
            "sleep",
            "0.2",
        ],
    ),
    (
        &[&[
            "create",
            "--name",
            "point",
            "--network",
            "blue",
            "-p",
            "0:80",
            "-p",
            "0:81/udp",
            "@host",
            "sleep",
            "0.2",
        ]],
        &["start", "point"],
    ),
    (&[RUNNING], &["network", "connect", "red", "point"]),
    (&[RUNNING, &["network", "connect", "red", "point"]], &["network", "disconnect", "red", "point"]),
    (&[RUNNING], &["network", "disconnect", "blue", "point"]),
    (&[RUNNING], &["restart", "-t", "0", "point"]),
    (&[RUNNING], &["rm", "-f", "point"]),
];

const RUNNING: &[&str] =
    &["run", "-d", "--name", "point", "--network", "blue", "-p", "0:80", "@host", "sleep", "60"];

/// All points of all commands. A binary that was built for speed has none.
pub(super) fn kills(soak: &Soak) -> Result {
    let list = soak.host.run.join("points");
    let mut count = 0;
    for (before, command) in COMMANDS {
        let what = command.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        prepare(soak, before)?;
        let _ = soak.host.command(command).env("BERTH_FAULT_LIST", &list).stderr(Stdio::null()).status();
        // The container of most of them ends by itself, and so all that its keeper passes is in the list.
        std::thread::sleep(std::time::Duration::from_millis(600));
        let text = std::fs::read_to_string(&list).unwrap_or_default();
        let _ = std::fs::remove_file(&list);
        let mut points: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        points.sort_unstable();
        points.dedup_by_key(|(point, _)| *point);
        for (point, done) in &points {
            prepare(soak, before)?;
            let _ = soak.host.command(command).env("BERTH_FAULT", point).stderr(Stdio::null()).status();
            soak.text(&["ps", "-a"])?;
            let mut left = Vec::new();
            let is_clean = until(|| {
                soak.host.remove_all();
                left = soak.left();
                left.is_empty()
            });
            if !is_clean {
                return Err(format!(
                    "{what}, killed at {point}, after {done}: left behind: {}",
                    left.join("; ")
                ));
            }
        }
        println!("{what}: {} points", points.len());
        count += points.len();
    }
    match count {
        0 => println!("skipped: this binary has no fault points"),
        count => println!("{count} points"),
    }
    Ok(())
}

/// Nothing, but what is done first.
fn prepare(soak: &Soak, before: &[&[&str]]) -> Result {
    soak.host.remove_all();
    // The name may be taken still by one whose removal was killed.
    until(|| {
        let _ = soak.host.command(&["rm", "-f", "point"]).stderr(Stdio::null()).status();
        let links = Cmd::new("ip").args(["-brief", "link", "show", "type", "veth"]).capture();
        links.is_ok_and(|links| links.is_empty())
    });
    before.iter().try_for_each(|command| soak.text(command).map(drop))
}

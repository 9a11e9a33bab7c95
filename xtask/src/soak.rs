//! Many random rounds of what the tests sample: `kill -9` of berth's processes at any moment.

use crate::build::{self, Profile};
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, leaks, setup};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const HELP: &str = "
usage: cargo xtask soak [images|net|storm] [--rounds N] [--seconds N] [--seed S] [--berth FILE] [--only PART,PART]

N rounds (200), each of which starts a container and one more command on it
(run -d, run, exec, stop, rm), kills one of berth's processes (client, holder,
keeper, at random) at a random moment, and then asks: do `ps` and `inspect`
answer, does `rm -f` remove it, and is nothing left? Prints the seed first; the
same seed makes the same choices, though the kernel's timing differs.

`soak storm` starts, uses, stops, restarts and removes 50 containers by 8
workers for N seconds (600), kills clients, holders, keepers, `logs -f` and
`exec` meanwhile, and then asks: is every state true, has every start one end
among the events, are all lines in the logs, is nothing left? It's the test
`alone_a_storm…` of crates/cli/tests/storm, which has 45 seconds otherwise.

`soak net` has everything in a network namespace of its own, and parts:
  points  at each fault point of run, start, restart, rm, network connect and
          disconnect, a kill
  kills   N rounds (200) by 8 workers: containers with ports start and end on
          two networks, join and leave them, while clients, holders, keepers
          are killed
  parallel      50 times `run -p 0:80` at once
  rivals        8 starts at once that want the same port: one has it
  connections   10,000 connections at once through a published port
After each no lease, element, link, name or process is left; at the end the
kernel has of networks what it had before.

`soak images` has parts:
  kills   N rounds (100) of pull, load, rmi and image prune, killed at a random
          instant: `image verify` finds no fault, and the next pull completes
  files   a layer of 1,000,000 files, loaded, run and removed
  bytes   a layer of 10 GB, imported from a pipe; both with their peak memory
  peers   digests and ids, to and from docker, podman and skopeo, by registry
          and by archive: the same both ways
  commit  N random trees, made and changed in containers of docker's and of
          berth's: layers of `commit`, `diff`, and each one's image in the other
";

mod images;
mod net;

/// Latest moment of the kill after the command's beginning: a start takes a few milliseconds.
const KILL_AFTER_MAX: Duration = Duration::from_millis(25);

/// How long a command may take before it counts as hanging.
const COMMAND_MAX: Duration = Duration::from_secs(20);

/// How long teardown may go on behind the last command.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a storm goes on.
const STORM_SECONDS: u32 = 600;

pub fn main(args: &[String]) -> Result {
    if let Some((name, rest)) = args.split_first()
        && name == "images"
    {
        return images::main(&Options::parse(100, rest)?);
    }
    if let Some((name, rest)) = args.split_first()
        && name == "net"
    {
        return net::main(rest);
    }
    if let Some((name, rest)) = args.split_first()
        && name == "storm"
    {
        return storm(&Options::parse(0, rest)?);
    }
    let options = Options::parse(200, args)?;
    let berth = options.berth(Profile::Dev)?;
    println!("seed {}", options.seed);
    let mut random = Random(options.seed.max(1));
    let before = leaks::Snapshot::take();
    let host = Host::new(berth, "soak")?;
    let name = host.cgroup.clone();
    let begin = Instant::now();
    for number in 0..options.rounds {
        round(&host, number, &mut random).map_err(|e| format!("round {number}: {e}"))?;
        if number % 20 == 19 {
            println!("{} rounds, {} s", number + 1, begin.elapsed().as_secs());
        }
    }
    settle(&host)?;
    drop(host);
    // Others may be at work on the machine; processes were looked at above.
    let mut leaked = before.leaked(&leaks::Snapshot::take());
    leaked.retain(|line| line.contains(&name));
    leaked.iter().for_each(|line| println!("  {line}"));
    match leaked.len() {
        0 => Ok(()),
        count => Err(format!("{count} things were left behind, listed above")),
    }
}

/// The test of the same name, for longer.
fn storm(options: &Options) -> Result {
    setup::all()?;
    println!("seed {}", options.seed);
    let mut test = cmd::cargo()
        .args([
            "test",
            "--quiet",
            "--package",
            "cli",
            "--target",
            cmd::MUSL,
            "--test",
            "storm",
            "--",
            "--nocapture",
        ])
        .env("BERTH_STORM_SECONDS", options.seconds.to_string())
        .env("BERTH_STORM_SEED", options.seed.to_string());
    if let Some(berth) = &options.berth {
        let berth = std::fs::canonicalize(berth).map_err(|e| format!("cannot find {berth}: {e}"))?;
        test = test.env("BERTH_BIN", berth);
    }
    test.run()
}

struct Options {
    rounds: u32,
    seconds: u32,
    seed: u64,
    berth: Option<String>,
    only: Vec<String>,
}

impl Options {
    fn parse(rounds: u32, args: &[String]) -> Result<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |now| now.as_nanos() as u64);
        let mut options = Self { rounds, seconds: STORM_SECONDS, seed, berth: None, only: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            let odd = |_| format!("{arg} needs a number, not {value}");
            match arg.as_str() {
                "--rounds" => options.rounds = value.parse().map_err(odd)?,
                "--seconds" => options.seconds = value.parse().map_err(odd)?,
                "--seed" => options.seed = value.parse().map_err(odd)?,
                "--berth" => options.berth = Some(value.clone()),
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("soak has no option {arg}")),
            }
        }
        Ok(options)
    }

    /// The binary to be tried, built if none was named.
    fn berth(&self, profile: Profile) -> Result<PathBuf> {
        setup::build_needs()?;
        match &self.berth {
            Some(path) => std::fs::canonicalize(path).map_err(|e| format!("cannot find {path}: {e}")),
            None => build::berth(profile),
        }
    }
}

/// Numbers that look random. Source: Marsaglia, Xorshift RNGs.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One container, one kill, and the questions after it.
fn round(host: &Host, number: u32, random: &mut Random) -> Result {
    let name = format!("soak{number}");
    let start: &[&str] = match random.below(4) {
        0 => &["run"],
        1 => &["run", "--rm"],
        2 => &["run", "-d"],
        _ => &["run", "-d", "--rm"],
    };
    let of_container = ["--network", "none", "--name", &name, "@host", "sleep", "0.2"];
    let run: Vec<&str> = start.iter().copied().chain(of_container).collect();
    let mut commands = vec![spawn(host, &run)?];
    let second: &[&str] = match random.below(5) {
        0 => &["exec", &name, "true"],
        1 => &["stop", "-t", "0", &name],
        2 => &["rm", "-f", &name],
        3 => &["logs", &name],
        _ => &[],
    };
    if !second.is_empty() {
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        commands.push(spawn(host, second)?);
    }
    std::thread::sleep(Duration::from_micros(random.below(KILL_AFTER_MAX.as_micros() as u64)));
    // Not only the youngest and not only the oldest.
    let victims: Vec<u32> = host.processes().into_iter().collect();
    if !victims.is_empty() {
        let victim = victims[random.below(victims.len() as u64) as usize];
        let _ = Cmd::new("kill").args(["-9", &victim.to_string()]).quiet().run();
    }
    for command in commands {
        wait(command, COMMAND_MAX)?;
    }
    host.containers()?;
    // It may be gone already; what counts is that it is, afterwards.
    wait(spawn(host, &["inspect", &name])?, COMMAND_MAX)?;
    wait(spawn(host, &["rm", "-f", &name])?, COMMAND_MAX)?;
    match host.containers()?.as_slice() {
        [] => Ok(()),
        left => Err(format!("{} containers are left after rm -f: {}", left.len(), left.join(" "))),
    }
}

fn spawn(host: &Host, args: &[&str]) -> Result<Child> {
    host.command(args).stderr(Stdio::null()).spawn().map_err(|e| format!("cannot run berth {args:?}: {e}"))
}

/// Waits for a command to end, whatever its status; one that hangs is killed, and an error.
fn wait(mut child: Child, limit: Duration) -> Result {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
                let _ = child.kill();
                let _ = child.wait();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                return Err(format!("{}didn't end within {} s", line, limit.as_secs()));
            }
            Err(e) => return Err(format!("cannot wait: {e}")),
        }
    }
}

/// After the last round no process of berth's is left, and nothing in the directories of this boot.
fn settle(host: &Host) -> Result {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left: Vec<String> = host.processes().iter().map(|pid| format!("process {pid}")).collect();
        for dir in ["containers", "names", "ranges"] {
            let entries = std::fs::read_dir(host.run.join(dir)).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        let kept = std::fs::read_dir(host.root.join("containers")).into_iter().flatten().flatten();
        left.extend(kept.map(|entry| entry.path().display().to_string()));
        if left.is_empty() {
            cmd::heading("nothing is left");
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("left behind:\n  {}", left.join("\n  ")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

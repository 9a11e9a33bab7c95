//! A storm: workers start, use, stop, restart and remove containers while whatever runs of berth is killed at random. At
//! its end no state is wrong, every start has one end among the events, no line of output is missing, and nothing is left
//! (design.md 1).
//!
//! `cargo xtask soak storm` runs it for ten minutes: `BERTH_STORM_SECONDS` says for how long, `BERTH_STORM_SEED` with
//! which choices.
//!
//! - [`boxes`]: the containers, what they write, and what is known of them
//! - [`worker`]: what is done to them; [`killer`]: who kills meanwhile
//! - [`verdict`]: what must be true afterwards
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

mod boxes;
mod killer;
mod verdict;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::{Cmd, Host};

/// Seconds of the test; a soak has more.
const SECONDS: u64 = 45;
/// Those who start, use and remove containers.
const WORKERS: usize = 8;
/// Containers.
const BOXES: usize = 50;
/// How long a command may take, on a machine that is as busy as this one.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// Numbers that look random.
pub struct Random(pub u64);

impl Random {
    /// The next one below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What all threads share: a host's directories, and what they have to say.
pub struct Camp {
    /// Of the host, which isn't shared itself.
    pub dir: PathBuf,
    env: Vec<(&'static str, String)>,
    over: AtomicBool,
    /// What is wrong.
    faults: Mutex<Vec<String>>,
    /// How often each thing was done, or said by a command that failed.
    counts: Mutex<BTreeMap<String, u32>>,
    /// Whom of which container's run was killed.
    pub kills: Mutex<Vec<killer::Kill>>,
    /// What was done to which container, and how that ended.
    history: Mutex<BTreeMap<String, Vec<String>>>,
    begin: Instant,
}

impl Camp {
    fn new(host: &Host) -> Camp {
        Camp {
            dir: host.dir().to_owned(),
            env: host.env().to_vec(),
            over: AtomicBool::new(false),
            faults: Mutex::default(),
            counts: Mutex::default(),
            kills: Mutex::default(),
            history: Mutex::default(),
            begin: Instant::now(),
        }
    }

    /// `berth ARGS…`.
    pub fn berth(&self, args: &[&str]) -> Cmd {
        let cmd = Cmd::new(self.dir.join("bin/berth"), args).cwd(self.dir.join("work")).timeout(COMMAND_MAX);
        self.env.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    /// Whether the storm is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Says that something is wrong.
    pub fn fault(&self, what: String) {
        println!("FAULT {what}");
        self.faults.lock().unwrap().push(what);
    }

    /// Notes what was done to a container.
    pub fn note(&self, name: &str, what: &str) {
        let at = self.begin.elapsed().as_secs_f32();
        self.history.lock().unwrap().entry(name.to_owned()).or_default().push(format!("{at:.3} {what}"));
    }

    /// All that was done to a container.
    pub fn history(&self, name: &str) -> String {
        self.history.lock().unwrap().get(name).map(|all| all.join("; ")).unwrap_or_default()
    }

    /// Counts something.
    pub fn count(&self, what: &str) {
        *self.counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn alone_a_storm_of_kills_leaves_every_state_true_and_every_line_there() {
    let seed = setting("BERTH_STORM_SEED", 6);
    let span = Duration::from_secs(setting("BERTH_STORM_SECONDS", SECONDS));
    println!("seed {seed}, {} s", span.as_secs());
    let host = Host::for_many(BOXES as u32);
    let camp = Camp::new(&host);
    let (mut told, mut boxes) = (String::new(), Vec::new());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let camp = &camp;
        // It's never killed, and hears all.
        let listener = camp
            .berth(&["events", "--since", "1h", "-f", "type=container", "--format", "json"])
            .timeout(COMMAND_MAX)
            .spawn();
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                scope
                    .spawn(move || worker::run(camp, number, Random(seed.wrapping_mul(1000) + number as u64)))
            })
            .collect();
        let killer = scope.spawn(move || killer::run(camp, Random(seed)));
        while begin.elapsed() < span && camp.faults.lock().unwrap().len() < 20 {
            std::thread::sleep(Duration::from_millis(100));
        }
        camp.over.store(true, Ordering::Relaxed);
        let worked = workers.into_iter().map(|worker| worker.join());
        let worked: Vec<_> = worked.collect();
        killer.join().unwrap();
        for result in worked {
            match result {
                Ok(own) => boxes.extend(own),
                Err(_) => camp.fault("a worker gave up, as said above".to_owned()),
            }
        }
        verdict::states(camp, &boxes);
        verdict::ends(camp, &mut boxes);
        listener.signal(2);
        told = String::from_utf8_lossy(&listener.wait().stdout).into_owned();
    });
    verdict::events(&camp, &told);
    for (what, count) in camp.counts.lock().unwrap().iter() {
        println!("{count:6} {what}");
    }
    let faults = camp.faults.into_inner().unwrap();
    assert!(faults.is_empty(), "seed {seed}:\n  {}", faults.join("\n  "));
}

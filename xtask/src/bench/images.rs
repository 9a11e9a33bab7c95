//! `bench images`: what pulling, keeping and using images costs, beside docker and podman.

use super::docker::Docker;
use super::measure::{Plan, Sample, Side, interleave};
use super::registry::Registry;
use super::report::Report;
use super::worker::{self, Worker};
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, peers};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod fixture;

use fixture::Fixture;

const PARTS: &[super::Part<Bench>] =
    &[("pull", pull), ("list", list), ("run", run), ("archive", archive), ("memory", memory)];

/// Images in the list.
const LISTED: usize = 1_000;
/// Containers of one image.
const CONTAINERS: usize = 20;
/// Rounds of what takes milliseconds, for one of what takes seconds.
const SHORT_ROUNDS: usize = 8;

struct Bench {
    host: Host,
    fixture: Fixture,
    registry: Registry,
    rounds: usize,
    docker: Option<Docker>,
    peers_root: Option<PathBuf>,
}

pub fn main(args: &[String]) -> Result {
    let options = super::Options::parse("images", PARTS.iter().map(|(name, _)| *name), 5, args)?;
    crate::setup::all()?;
    let berth = options.berth()?;
    // Skopeo fills the registry.
    let root = peers::ensure()?;
    let fixture = fixture::prepare(&root)?;
    let registry = Registry::start(&fixture.storage)?;
    let docker = if options.peers { Some(Docker::start(&root)?) } else { None };
    let bench = Bench {
        host: Host::new(berth, "bench")?,
        registry,
        fixture,
        rounds: options.rounds,
        docker,
        peers_root: options.peers.then_some(root),
    };
    let mut report = Report::new("images", "Images", &bench.versions());
    let failures = super::run_parts(PARTS, &options, &bench, &mut report, || bench.host.remove_all());
    report.save()?;
    failures
}

impl Bench {
    fn versions(&self) -> Vec<(&'static str, String)> {
        let berth = Cmd::new(&self.host.berth).arg("--version").capture().unwrap_or_else(|e| e);
        let mut versions = vec![("berth", berth)];
        if let Some(root) = &self.peers_root {
            for program in ["docker", "podman"] {
                let line = peers::enter(root, &cmd::root()).args([program, "--version"]).capture();
                versions.push((program, line.unwrap_or_else(|e| e)));
            }
        }
        versions
    }

    fn time(&self, args: &[&str]) -> Result<Duration> {
        worker::time_command(&mut self.host.command(args))
    }

    /// Removes all images, and lets the disk come to rest.
    fn clear(&self) -> Result {
        self.time(&["image", "prune", "--all", "--force"])?;
        sync();
        Ok(())
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/bench:{tag}", self.registry.host)
    }

    fn plan(&self) -> Plan {
        Plan { warmup: 0, rounds: self.rounds, idle: Duration::ZERO }
    }

    fn short_plan(&self) -> Plan {
        Plan { warmup: 2, rounds: self.rounds * SHORT_ROUNDS, idle: Duration::ZERO }
    }

    /// `berth` with a cleared store.
    fn cold<'a>(&'a self, name: &str, args: Vec<String>) -> Side<'a> {
        Side::new(name, move || {
            self.clear()?;
            self.time(&args.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }
}

fn sync() {
    let _ = Command::new("sync").status();
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn pull(bench: &Bench, report: &mut Report) -> Result {
    report.section("Pull into a cold store");
    report.line(&bench.fixture.about());
    let (gz, zstd) = (bench.image("gz"), bench.image("zstd"));
    let inflate: Vec<String> = words(&["python3", &cmd::root().join("benches/inflate.py").to_string_lossy()])
        .into_iter()
        .chain(bench.fixture.gzip_layers.iter().map(|path| path.to_string_lossy().into_owned()))
        .collect();
    let mut sides = vec![
        bench.cold("berth pull (gzip)", words(&["pull", "-q", &gz])),
        bench.cold("berth pull (zstd)", words(&["pull", "-q", &zstd])),
    ];
    sides.push(Side::new("inflate and hash alone, two layers at once (zlib)", || {
        sync();
        worker::time(&inflate)
    }));
    let mut base = 2;
    if let (Some(docker), Some(root)) = (&bench.docker, &bench.peers_root) {
        base = 3;
        let image = gz.clone();
        sides.push(Side::new("docker pull", move || {
            docker.clear();
            sync();
            docker.time(&["pull", "-q", &image])
        }));
        let podman = RefCell::new(Worker::start(peers::enter(root, &cmd::root()))?);
        let dir = cmd::target_dir().join("bench/podman");
        let at = format!("--root={}", dir.display());
        let pull =
            words(&["podman", &at, "--runroot=/run/podman-bench", "pull", "-q", "--tls-verify=false", &gz]);
        let clear = words(&["podman", &at, "--runroot=/run/podman-bench", "rmi", "--all", "--force"]);
        sides.push(Side::new("podman pull", move || {
            podman.borrow_mut().time(&clear)?;
            sync();
            podman.borrow_mut().time(&pull)
        }));
    }
    let samples = interleave(&mut sides, bench.plan())?;
    drop(sides);
    report.compare(&samples, base, (base == 3).then_some(0.5));
    let _ = std::fs::remove_dir_all(cmd::target_dir().join("bench/podman"));

    report.section("Pull when everything is there");
    bench.time(&["pull", "-q", &gz])?;
    let ping = format!("http://{}/v2/", bench.registry.host);
    let mut sides = [
        Side::new("berth pull", || bench.time(&["pull", "-q", &gz])),
        Side::new("one request by curl, as a process", || {
            worker::time(&words(&["curl", "-s", "-o", "/dev/null", &ping]))
        }),
    ];
    let samples = interleave(&mut sides, bench.short_plan())?;
    report.compare(&samples, 1, None);
    report.line("");
    report.figure("median", samples[0].median(), 20.0, "ms");
    Ok(())
}

fn list(bench: &Bench, report: &mut Report) -> Result {
    report.section("`berth images` with 1,000 images");
    bench.clear()?;
    let many = bench.fixture.archive_of_many(LISTED)?;
    bench.time(&["load", "-q", "-i", &many.to_string_lossy()])?;
    let listed = bench.host.command(&["images", "-q"]).stdout(Stdio::piped()).output();
    let listed = listed.map_err(|e| format!("cannot run berth: {e}"))?.stdout;
    let count = listed.iter().filter(|byte| **byte == b'\n').count();
    if count != LISTED {
        return Err(format!("{count} images are listed, not {LISTED}"));
    }
    let mut sides = [
        Side::new("berth images", || bench.time(&["images"])),
        Side::new("berth --version, as a process", || bench.time(&["--version"])),
    ];
    let samples = interleave(&mut sides, bench.short_plan())?;
    report.compare(&samples, 1, None);
    report.line("");
    report.figure("median", samples[0].median(), 15.0, "ms");
    bench.clear()
}

fn run(bench: &Bench, report: &mut Report) -> Result {
    report.section("`berth run IMAGE true` against `@host`");
    let image = bench.image("gz");
    bench.time(&["pull", "-q", &image])?;
    let run = |image: &str| bench.time(&["run", "--rm", "--network", "none", image, "true"]);
    let mut sides =
        [Side::new("run of the six-layer image", || run(&image)), Side::new("run of @host", || run("@host"))];
    let samples = interleave(&mut sides, bench.short_plan())?;
    report.compare(&samples, 1, Some(1.15));

    report.section("20 containers of one image");
    let before = disk_bytes(&bench.host.root)?;
    let start = Instant::now();
    for _ in 0..CONTAINERS {
        bench.time(&["run", "-d", "--network", "none", &image, "sleep", "1000"])?;
    }
    let took = start.elapsed();
    let each = (disk_bytes(&bench.host.root)? as f64 - before as f64) / CONTAINERS as f64 / 1e3;
    report.line(&format!("- started one after another in {:.0} ms", took.as_secs_f64() * 1e3));
    report.figure("growth of the disk for each", each, 100.0, "kB");
    Ok(())
}

/// What the tree takes on the disk.
fn disk_bytes(root: &Path) -> Result<u64> {
    sync();
    let text = Cmd::new("du").args(["-s", "--block-size=1"]).arg(root).capture()?;
    text.split_whitespace().next().and_then(|n| n.parse().ok()).ok_or(format!("odd answer of du: {text}"))
}

fn archive(bench: &Bench, report: &mut Report) -> Result {
    let image = bench.image("gz");
    let second = Registry::start(&cmd::target_dir().join("bench/pushed"))?;
    let pushed = format!("{}/pushed:1", second.host);
    let out = cmd::target_dir().join("bench/saved.tar");
    let out = out.to_string_lossy().into_owned();
    let archive = bench.fixture.visible_archive()?.to_string_lossy().into_owned();
    bench.clear()?;
    bench.time(&["pull", "-q", &image])?;
    bench.time(&["tag", &image, &pushed])?;
    if let Some(docker) = &bench.docker {
        docker.time(&["pull", "-q", &image])?;
        docker.time(&["tag", &image, &pushed])?;
    }
    let compared = |report: &mut Report, mut sides: Vec<Side<'_>>| -> Result {
        let goal = (sides.len() > 1).then_some(0.6);
        let samples: Vec<Sample> = interleave(&mut sides, bench.plan())?;
        report.compare(&samples, samples.len() - 1, goal);
        Ok(())
    };
    for (title, args) in [
        ("Save", &["save", "-o", &out, &image]),
        ("Push to an empty registry", &["push", "-q", "--", &pushed]),
    ] {
        report.section(title);
        let before = || {
            second.clear();
            let _ = std::fs::remove_file(&out);
            sync();
        };
        let args: Vec<&str> = args.iter().copied().filter(|word| *word != "--").collect();
        let mut sides = vec![Side::new(format!("berth {}", args[0]), || {
            before();
            bench.time(&args)
        })];
        if let Some(docker) = &bench.docker {
            sides.push(Side::new(format!("docker {}", args[0]), || {
                before();
                docker.time(&args)
            }));
        }
        compared(report, sides)?;
    }
    report.section("Load of docker's archive into a cold store");
    let load = ["load", "-q", "-i", &archive];
    let mut sides = vec![bench.cold("berth load", words(&load))];
    if let Some(docker) = &bench.docker {
        sides.push(Side::new("docker load", || {
            docker.clear();
            sync();
            docker.time(&load)
        }));
    }
    compared(report, sides)?;
    let _ = std::fs::remove_file(&out);
    second.clear();
    Ok(())
}

fn memory(bench: &Bench, report: &mut Report) -> Result {
    report.section("Peak memory");
    let image = bench.image("gz");
    let archive = bench.fixture.archive.to_string_lossy().into_owned();
    for (what, args) in [("pull", vec!["pull", "-q", &image]), ("load", vec!["load", "-q", "-i", &archive])] {
        bench.clear()?;
        report.figure(what, peak_megabytes(&bench.host.command(&args))?, 150.0, "MB");
    }
    Ok(())
}

/// The largest resident set of a command's processes.
pub fn peak_megabytes(command: &Command) -> Result<f64> {
    const WRAPPER: &str = "import resource, subprocess, sys\n\
        subprocess.check_call(sys.argv[1:], stdout=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut wrapped = Command::new("python3");
    wrapped.args(["-c", WRAPPER]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(key, value);
        }
    }
    let output = wrapped.output().map_err(|e| format!("cannot run python3: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let kib: f64 = text.parse().map_err(|_| format!("{} {text}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(kib * 1024.0 / 1e6)
}

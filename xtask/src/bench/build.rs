//! `bench build`: builds of Dockerfiles, beside docker's BuildKit and podman.

use super::docker::Docker;
use super::measure::{Plan, Sample, Side, interleave};
use super::report::Report;
use super::worker::{self, Worker};
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, peers};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PARTS: &[super::Part<Bench>] = &[
    ("cached", cached),
    ("steps", steps),
    ("edit", edit),
    ("stages", stages),
    ("name", name),
    ("context", context),
];

/// The build of design.md: seven instructions, nothing of which takes long by itself.
const SEVEN: &str = "FROM busybox:bench\nENV A=1\nWORKDIR /code\nCOPY requirements.txt /code/\nRUN echo one > /code/one\n\
    COPY src /code/src/\nRUN cat /code/src/* > /code/all\nCMD [\"cat\", \"/code/all\"]\n";

/// Files of the large context, and bytes of each.
const FILES: usize = 50_000;
const FILE_BYTES: usize = 20_000;

/// Bytes of the large result.
const RESULT_MB: usize = 600;

struct Bench {
    host: Host,
    dir: PathBuf,
    rounds: usize,
    docker: Option<Docker>,
    podman: Option<RefCell<Worker>>,
    counter: Cell<usize>,
}

pub fn main(args: &[String]) -> Result {
    let options = super::Options::parse("build", PARTS.iter().map(|(name, _)| *name), 8, args)?;
    crate::setup::all()?;
    let berth = options.berth()?;
    let dir = cmd::target_dir().join("bench/build");
    let _ = std::fs::remove_dir_all(&dir);
    make(&dir)?;
    let host = Host::in_memory(berth, "bench")?;
    let rootfs = busybox(&dir)?;
    let (docker, podman) = match options.peers {
        false => (None, None),
        true => {
            let root = peers::ensure()?;
            let docker = Docker::start_with_networks(&root)?;
            docker.command(&["import", &rootfs.to_string_lossy(), "busybox:bench"]).quiet().run()?;
            (Some(docker), podman(&root, &rootfs)?)
        }
    };
    worker::time_command(&mut host.command(&["import", &rootfs.to_string_lossy(), "busybox:bench"]))?;
    let bench = Bench { host, dir, rounds: options.rounds, docker, podman, counter: Cell::new(0) };
    let mut report = Report::new("build", "Builds", &bench.versions());
    let failures = super::run_parts(PARTS, &options, &bench, &mut report, || bench.host.remove_all());
    report.save()?;
    let _ = std::fs::remove_dir_all(&bench.dir);
    failures
}

fn make(dir: &Path) -> Result {
    std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))
}

fn write(path: &Path, text: &str) -> Result {
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Podman with the base image, if it can build here at all.
fn podman(root: &Path, rootfs: &Path) -> Result<Option<RefCell<Worker>>> {
    let mut worker = Worker::start(peers::enter(root, &cmd::root()))?;
    let import = ["podman", "import", &rootfs.to_string_lossy(), "docker.io/library/busybox:bench"];
    let build =
        "printf 'FROM busybox:bench\\nRUN true\\n' | podman build -q --network=none -f - . >/dev/null 2>&1";
    let is_here = worker.time(&import.map(str::to_owned)).is_ok()
        && worker.time(&["sh", "-c", build].map(str::to_owned)).is_ok();
    if !is_here {
        eprintln!("podman doesn't build here: left out");
    }
    Ok(is_here.then(|| RefCell::new(worker)))
}

/// The archive of a root file system of busybox.
fn busybox(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("busybox");
    make(&root.join("bin"))?;
    let script = "cp /bin/busybox \"$1/bin/\" && for a in $(/bin/busybox --list | grep -vx busybox); do ln -sf busybox \"$1/bin/$a\"; done; \
        tar -C \"$1\" -cf \"$1.tar\" .";
    Cmd::new("sh").args(["-c", script, "sh"]).arg(&root).quiet().run()?;
    Ok(root.with_extension("tar"))
}

impl Bench {
    fn versions(&self) -> Vec<(&'static str, String)> {
        let berth = Cmd::new(&self.host.berth).arg("--version").capture().unwrap_or_else(|e| e);
        let mut versions = vec![("berth", berth)];
        if let Some(docker) = &self.docker {
            let line = docker.command(&["buildx", "version"]).capture();
            versions.push(("buildx", line.unwrap_or_else(|e| e)));
        }
        versions
    }

    /// A directory with a Dockerfile.
    fn project(&self, name: &str, dockerfile: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        write(&dir.join("Dockerfile"), dockerfile)?;
        Ok(dir)
    }

    fn seven(&self) -> Result<PathBuf> {
        let dir = self.project("seven", SEVEN)?;
        write(&dir.join("requirements.txt"), "requests\n")?;
        write(&dir.join("src/main.c"), "int main(void) { return 0; }\n")?;
        Ok(dir)
    }

    fn berth(&self, args: &[&str]) -> Result<Duration> {
        worker::time_command(&mut self.host.command(args))
    }

    fn docker(&self, args: &[&str]) -> Result<Duration> {
        match &self.docker {
            Some(docker) => docker.time(args),
            None => Err("there is no docker".to_owned()),
        }
    }

    /// A number that no run before had.
    fn next(&self) -> usize {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    fn plan(&self, rounds: usize) -> Plan {
        Plan { warmup: 1, rounds, idle: Duration::ZERO }
    }

    /// The same build by all who are here, berth first, docker second; `before` is done before each.
    fn sides<'a>(
        &'a self,
        flags: &'a [&'a str],
        dir: &'a str,
        before: &'a dyn Fn() -> Result,
    ) -> Vec<Side<'a>> {
        let words =
            |head: &[&'a str]| -> Vec<&'a str> { head.iter().chain(flags).copied().chain([dir]).collect() };
        let ours = words(&["build", "-q", "-t", "bench"]);
        let mut sides = vec![Side::new("berth build", move || {
            before()?;
            self.berth(&ours)
        })];
        if self.docker.is_some() {
            let theirs = words(&["build", "-q", "-t", "bench"]);
            sides.push(Side::new("docker build", move || {
                before()?;
                self.docker(&theirs)
            }));
        }
        if let Some(podman) = &self.podman {
            let theirs: Vec<String> =
                words(&["podman", "build", "-q", "--layers", "--network=none", "-t", "bench"])
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect();
            sides.push(Side::new("podman build", move || {
                before()?;
                podman.borrow_mut().time(&theirs)
            }));
        }
        sides
    }

    fn compare(&self, report: &mut Report, samples: &[Sample], goal: f64) {
        match samples.len() {
            1 => report.compare(samples, 0, None),
            _ => report.compare(samples, 1, Some(goal)),
        }
    }
}

fn cached(bench: &Bench, report: &mut Report) -> Result {
    report.section("Seven steps, nothing changed");
    let dir = bench.seven()?.to_string_lossy().into_owned();
    let samples = interleave(&mut bench.sides(&[], &dir, &|| Ok(())), bench.plan(bench.rounds * 4))?;
    bench.compare(report, &samples, 0.25);
    report.figure("berth build, nothing changed", samples[0].median(), 15.0, "ms");
    Ok(())
}

fn steps(bench: &Bench, report: &mut Report) -> Result {
    report.section("Seven steps, `--no-cache`");
    let dir = bench.seven()?.to_string_lossy().into_owned();
    let samples = interleave(&mut bench.sides(&["--no-cache"], &dir, &|| Ok(())), bench.plan(bench.rounds))?;
    bench.compare(report, &samples, 0.2);
    Ok(())
}

fn edit(bench: &Bench, report: &mut Report) -> Result {
    report.section("One source file changed, a step over a cache mount");
    let text = "FROM busybox:bench\nWORKDIR /code\nCOPY src /code/src/\n\
        RUN --mount=type=cache,target=/cache cat src/* > all && cp all /cache/ && sleep 0.2\n";
    let dir = bench.project("edit", text)?;
    for index in 0..100 {
        write(&dir.join(format!("src/{index}.c")), "int x;\n")?;
    }
    let source = dir.join("src/0.c");
    let shown = dir.to_string_lossy().into_owned();
    let before = || write(&source, &format!("int x{};\n", bench.next()));
    let samples = interleave(&mut bench.sides(&[], &shown, &before), bench.plan(bench.rounds))?;
    bench.compare(report, &samples, 1.0);
    report.figure("more than the step's own 200 ms", samples[0].median() - 200.0, 50.0, "ms");
    Ok(())
}

fn stages(bench: &Bench, report: &mut Report) -> Result {
    report.section("Eight independent stages on the cores of this machine");
    const WORK: &str = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
    let mut text = String::new();
    for index in 0..8 {
        text.push_str(&format!("FROM busybox:bench AS s{index}\nRUN {WORK}; echo {index} > /{index}\n"));
    }
    text.push_str("FROM busybox:bench\n");
    (0..8).for_each(|index| text.push_str(&format!("COPY --from=s{index} /{index} /\n")));
    let dir = bench.project("stages", &text)?.to_string_lossy().into_owned();
    let mut sides = bench.sides(&["--no-cache"], &dir, &|| Ok(()));
    let alone: Vec<String> = ["/bin/busybox", "sh", "-c", WORK].map(str::to_owned).to_vec();
    sides.push(Side::new("the work of one stage, as a process", move || worker::time(&alone)));
    let samples = interleave(&mut sides, bench.plan(bench.rounds.div_ceil(2)))?;
    bench.compare(report, &samples, 1.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let limit = samples[samples.len() - 1].median() * 8.0 / cores as f64;
    report.line(&format!(
        "\nThe cores' limit is {limit:.0} ms (8 times one stage's work on {cores} cores): berth takes {:.2}x of it.",
        samples[0].median() / limit
    ));
    Ok(())
}

fn name(bench: &Bench, report: &mut Report) -> Result {
    report.section("Naming a result of 600 MB");
    let text = format!("FROM busybox:bench\nRUN dd if=/dev/urandom of=/big bs=1M count={RESULT_MB}\n");
    let dir = bench.project("name", &text)?.to_string_lossy().into_owned();
    bench.berth(&["build", "-q", &dir])?;
    let mut times = Vec::new();
    for _ in 0..bench.rounds * 2 {
        let tag = format!("bench:{}", bench.next());
        times.push(bench.berth(&["build", "-q", "-t", &tag, &dir])?.as_secs_f64() * 1e3);
    }
    let sample = Sample::new("berth build -t NEW, nothing changed".to_owned(), times);
    report.figure("another name for it", sample.median(), 50.0, "ms");
    Ok(())
}

fn context(bench: &Bench, report: &mut Report) -> Result {
    report.section("A context of 50,000 files and 1 GB, one file changed");
    let dir = bench.project("context", "FROM busybox:bench\nCOPY files /files\nRUN true\n")?;
    let block: String = (0..FILE_BYTES / 10).map(|n| format!("{n:09}\n")).collect();
    for index in 0..FILES {
        write(&dir.join(format!("files/{}/{index}", index / 500)), &format!("{index} {block}"))?;
    }
    let changed = dir.join("files/0/0");
    let other = dir.join("Dockerfile.first");
    write(&other, "FROM busybox:bench\nCOPY files/0/0 /one\nRUN true\n")?;
    let shown = dir.to_string_lossy().into_owned();
    let file = other.to_string_lossy().into_owned();
    report.line("Time until the first step that is executed has ended, which copies the one file that changed; then the whole context copied.\n");
    let before = || write(&changed, &format!("changed {}\n", bench.next()));
    let flags = ["-f", file.as_str()];
    let mut sides = bench.sides(&flags, &shown, &before);
    sides.truncate(2);
    let samples = interleave(&mut sides, bench.plan(3))?;
    bench.compare(report, &samples, 0.3);
    let mut sides = bench.sides(&[], &shown, &before);
    sides.truncate(2);
    let begin = Instant::now();
    let samples = interleave(&mut sides, bench.plan(2))?;
    bench.compare(report, &samples, 0.3);
    report.line(&format!("\n{:.0} s for the rounds of both.", begin.elapsed().as_secs_f64()));
    report.figure("greatest memory of `berth build`", peak_mb(bench, &shown, &before)?, 120.0, "MB");
    Ok(())
}

/// The greatest memory of a build and its children, each by itself.
fn peak_mb(bench: &Bench, dir: &str, before: &dyn Fn() -> Result) -> Result<f64> {
    before()?;
    let mut command = bench.host.command(&["build", "-q", dir]);
    let program = command.get_program().to_owned();
    let args: Vec<std::ffi::OsString> = command.get_args().map(ToOwned::to_owned).collect();
    let script = "import resource,subprocess,sys\nsubprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).arg(program).args(args);
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            python.env(key, value);
        }
    }
    let _ = &mut command;
    let out = python.output().map_err(|e| format!("cannot run python3: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let kb: f64 = text.trim().parse().map_err(|_| format!("no size: {text:?}"))?;
    Ok(kb / 1024.0)
}

//! `bench net`: what networks cost, beside docker's. Each engine has a network namespace of its own, so that neither's rules
//! are in the other's way, with one address that isn't of loopback.

use super::docker::Docker;
use super::lifecycle::engine::{self, Engine};
use super::lifecycle::load;
use super::measure::{Plan, Sample, Side, interleave};
use super::report::{Report, verdict};
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, netns, peers};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PARTS: &[super::Part<Bench>] = &[
    ("run", run),
    ("connect", connect),
    ("throughput", throughput),
    ("dns", dns),
    ("create", create),
    ("crowd", crowd),
];

/// Name of the image: busybox, netpeer and iperf3.
const IMAGE: &str = "bench:net";

/// The host's address that isn't of loopback, in either namespace. Source: RFC 5737.
const ADDRESS: &str = "192.0.2.1";

/// The ports that make many.
const MANY: &str = "20000-29999:20000-29999";

/// Connections of one measurement, and how often it's repeated at most.
const CONNECTIONS: usize = 3_000;
const MEASURES_MAX: usize = 6;

/// Questions one after another.
const QUESTIONS: usize = 5_000;

/// Seconds of one run of iperf3.
const SECONDS: &str = "2";

const CROWD: usize = 500;
/// How many of them, at either end, are compared.
const COMPARED: usize = 25;

/// Flags of docker's daemon.
const DAEMON: [&str; 1] = ["--userland-proxy=false"];

struct Bench {
    host: Host,
    docker: Option<Docker>,
    /// What holds docker's network namespace.
    holder: Holder,
    peer: PathBuf,
    rounds: usize,
    ports: Cell<u16>,
}

/// A process that holds a network namespace.
struct Holder(Child);

impl Holder {
    fn start() -> Result<Self> {
        let script = format!("ip link set lo up; ip addr add {ADDRESS}/32 dev lo; echo; exec sleep infinity");
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run unshare: {e}"))?;
        let mut said = [0];
        let pipe = child.stdout.as_mut().ok_or("no output")?;
        std::io::Read::read_exact(pipe, &mut said).map_err(|e| format!("no network namespace: {e}"))?;
        Ok(Self(child))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn main(args: &[String]) -> Result {
    let options = super::Options::parse("net", PARTS.iter().map(|(name, _)| *name), 30, args)?;
    if std::env::var_os("BERTH_XTASK_NETNS").is_none() {
        crate::setup::all()?;
        crate::setup::install_packages(&["iperf3"])?;
        let berth = options.berth()?.to_string_lossy().into_owned();
        if options.peers {
            peers::ensure()?;
        }
        let mut words = args.to_vec();
        if options.berth.is_none() {
            words.extend(["--berth".to_owned(), berth]);
        }
        if let Some(done) = netns::enter(&["bench", "net"], &words) {
            return done;
        }
    }
    Cmd::new("ip").args(["addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).run()?;
    let dir = cmd::target_dir().join("bench/net");
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let holder = Holder::start()?;
    let peers_root = if options.peers { Some(peers::ensure()?) } else { None };
    let docker = peers_root.as_deref().map(|root| Docker::start_in(holder.0.id(), root, &DAEMON));
    let bench = Bench {
        host: Host::in_memory(options.berth()?, "bench")?,
        docker: docker.transpose()?,
        holder,
        peer: netns::peer()?,
        rounds: options.rounds,
        ports: Cell::new(10_000),
    };
    let archive =
        engine::archive_with(&dir, |root| furnish(root, &bench.peer))?.to_string_lossy().into_owned();
    for engine in bench.engines() {
        engine.time(&["import", &archive, IMAGE])?;
    }
    let mut versions = Vec::new();
    for engine in bench.engines() {
        versions.push((engine.name(), engine.text(&["--version"])?));
    }
    let mut report = Report::new("net", "Networks", &versions);
    report.line(&format!("\n{}", load()));
    let clean = || bench.engines().iter().for_each(|engine| bench.unpair(engine));
    let failures = super::run_parts(PARTS, &options, &bench, &mut report, clean);
    report.line(&format!("\nAt the end: {}", load()));
    report.save()?;
    failures
}

/// Puts netpeer and iperf3 with its libraries into a root.
fn furnish(root: &Path, peer: &Path) -> Result {
    let copy = |from: &Path, to: PathBuf| -> Result {
        let failed = |e: std::io::Error| format!("cannot copy {}: {e}", from.display());
        std::fs::create_dir_all(to.parent().unwrap_or(root)).map_err(failed)?;
        std::fs::copy(from, &to).map(drop).map_err(failed)
    };
    copy(peer, root.join("netpeer"))?;
    copy(Path::new("/usr/bin/iperf3"), root.join("bin/iperf3"))?;
    let libraries = Cmd::new("ldd").arg("/usr/bin/iperf3").capture()?;
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(path), root.join(path.trim_start_matches('/')))?;
    }
    for dir in ["tmp", "etc", "proc", "sys", "dev"] {
        std::fs::create_dir_all(root.join(dir)).map_err(|e| format!("cannot make {dir}: {e}"))?;
    }
    Ok(())
}

impl Bench {
    /// Berth, then docker if it takes part.
    fn engines(&self) -> Vec<Engine<'_>> {
        let docker = self.docker.as_ref().map(Engine::Docker);
        [Engine::Berth(&self.host)].into_iter().chain(docker).collect()
    }

    /// A port that nobody had before: who had it last may still be about to give it back.
    fn port(&self) -> u16 {
        self.ports.set(self.ports.get() + 1);
        self.ports.get()
    }

    /// A program on the engine's host, that is in its network namespace; what it prints.
    fn on_host(&self, engine: &Engine<'_>, program: &str, args: &[&str]) -> Result<String> {
        match engine {
            Engine::Berth(_) => Cmd::new(program).args(args).capture(),
            Engine::Docker(_) => {
                let pid = self.holder.0.id().to_string();
                Cmd::new("nsenter").args(["-t", &pid, "-n", "--", program]).args(args).capture()
            }
        }
    }

    /// On a network of its own a server, which publishes `PORT:80` and iperf3's port, and a client; the server's address.
    fn pair(&self, engine: &Engine<'_>, port: u16) -> Result<String> {
        engine.time(&["network", "create", "pair"])?;
        let (web, iperf) = (format!("{port}:80"), "5201");
        let (tcp, udp) = (format!("{iperf}:{iperf}"), format!("{iperf}:{iperf}/udp"));
        let start = ["run", "-d", "--network", "pair", "--name"];
        let serve = "/netpeer serve 80 & exec iperf3 -s";
        let server = ["server", "-p", &web, "-p", &tcp, "-p", &udp, IMAGE, "sh", "-c", serve];
        engine.time(&start.iter().chain(&server).copied().collect::<Vec<_>>())?;
        engine
            .time(&start.iter().chain(&["client", IMAGE, "sleep-for-ever"]).copied().collect::<Vec<_>>())?;
        let template = "{{(index .NetworkSettings.Networks \"pair\").IPAddress}}";
        let address = engine.text(&["inspect", "-f", template, "server"])?;
        for _ in 0..100 {
            if self.on_host(engine, &self.peer.to_string_lossy(), &["connect", &address, "80", "1"]).is_ok() {
                return Ok(address);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{}'s server at {address} doesn't come up", engine.name()))
    }

    fn unpair(&self, engine: &Engine<'_>) {
        engine.clear();
        let _ = engine.time(&["network", "rm", "pair"]);
    }
}

/// The start and end of a container with a port.
fn run(bench: &Bench, report: &mut Report) -> Result {
    report.section("`run --rm IMAGE true` on the default bridge, with one published port");
    report.line(&format!("{}\n", load()));
    let mut sides = Vec::new();
    for engine in bench.engines() {
        sides.push(Side::new(format!("{} run --rm -p PORT:80", engine.name()), move || {
            let port = format!("{}:80", bench.port());
            engine.time(&["run", "--rm", "-p", &port, IMAGE, "true"])
        }));
    }
    let berth = Engine::Berth(&bench.host);
    sides
        .insert(1, Side::new("berth run --rm, no port", move || berth.time(&["run", "--rm", IMAGE, "true"])));
    let none = move || berth.time(&["run", "--rm", "--network", "none", IMAGE, "true"]);
    sides.insert(2, Side::new("berth run --rm --network none", none));
    let plan = Plan { warmup: 2, rounds: bench.rounds, idle: Duration::from_millis(30) };
    let samples = interleave(&mut sides, plan)?;
    report.compare(&samples, samples.len() - 1, bench.docker.is_some().then_some(0.05));
    report.line("");
    report.figure(
        "more than `--network none`, medians",
        samples[0].median() - samples[2].median(),
        2.5,
        "ms",
    );
    report.figure("more than `--network none`, minima", samples[0].min() - samples[2].min(), 2.5, "ms");
    Ok(())
}

/// Three figures of netpeer's, of several measurements: the least minimum, the least median, the least of the 95th percentiles.
fn least(figures: &[String]) -> Result<[f64; 3]> {
    let mut least = [f64::INFINITY; 3];
    for line in figures {
        let mut words = line.split_whitespace();
        for own in &mut least {
            let word =
                words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("odd: {line}"))?;
            *own = own.min(word);
        }
    }
    Ok(least)
}

/// Connections, with few ports and with many.
fn connect(bench: &Bench, report: &mut Report) -> Result {
    report.section("Connecting, in microseconds");
    report.line(&format!("{} {CONNECTIONS} connections each; the least of several measurements.\n", load()));
    let port = bench.port();
    let mut servers = Vec::new();
    for engine in bench.engines() {
        servers.push((engine, bench.pair(&engine, port)?));
    }
    let (count, port) = (CONNECTIONS.to_string(), port.to_string());
    let peer = bench.peer.to_string_lossy().into_owned();
    let inside = |engine: &Engine<'_>, to: &str| {
        engine.text(&["exec", "client", "/netpeer", "connect", to, "80", &count])
    };
    let outside = |engine: &Engine<'_>| bench.on_host(engine, &peer, &["connect", ADDRESS, &port, &count]);
    let mut found: Vec<(String, [Vec<String>; 2])> = Vec::new();
    for _ in 0..bench.rounds.min(MEASURES_MAX) {
        for (engine, address) in &servers {
            for ports in ["1", "10,000"] {
                let is_many = ports != "1";
                if is_many && !matches!(engine, Engine::Berth(_)) {
                    continue;
                }
                if is_many {
                    let many = ["run", "-d", "--name", "many", "--network", "pair", "-p", MANY, IMAGE];
                    engine.time(&many.into_iter().chain(["sleep-for-ever"]).collect::<Vec<_>>())?;
                }
                let both = [inside(engine, address)?, outside(engine)?];
                if is_many {
                    engine.time(&["rm", "-f", "many"])?;
                }
                let name = format!("{}, {ports} published", engine.name());
                match found.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, all)) => all.iter_mut().zip(both).for_each(|(all, one)| all.push(one)),
                    None => found.push((name, both.map(|one| vec![one]))),
                }
            }
        }
    }
    report.line("| | container → container: min, median, p95 | host → published port: min, median, p95 |");
    report.line("|---|---|---|");
    let mut figures = Vec::new();
    for (name, all) in &found {
        let both = [least(&all[0])?, least(&all[1])?];
        let text = both.map(|three| three.map(|one| format!("{one:.1}")).join(", "));
        report.line(&format!("| {name} | {} | {} |", text[0], text[1]));
        figures.push(both);
    }
    report.line("");
    for (way, what) in ["container → container", "host → published port"].into_iter().enumerate() {
        let ratio = figures[1][way][1] / figures[0][way][1];
        report.line(&format!(
            "- {what}, 10,000 ports against 1, medians: **{ratio:.3}x** (goal: 0.95 to 1.05. {})",
            verdict((0.95..=1.05).contains(&ratio))
        ));
    }
    Ok(())
}

/// What iperf3 received, in Gbit/s.
fn received(json: &str) -> Result<f64> {
    let from =
        json.rfind("\"sum_received\"").or_else(|| json.rfind("\"sum\"")).ok_or("iperf3 said nothing")?;
    let word = "\"bits_per_second\":";
    let rest = json[from..].split_once(word).ok_or("iperf3 told no rate")?.1;
    let number: String = rest.trim_start().chars().take_while(|c| !matches!(c, ',' | '\n' | '}')).collect();
    number.trim().parse::<f64>().map(|bits| bits / 1e9).map_err(|e| format!("odd rate {number}: {e}"))
}

/// iperf3 on both ways.
fn throughput(bench: &Bench, report: &mut Report) -> Result {
    report.section("Throughput, Gbit/s received");
    report.line(&format!("{} iperf3 for {SECONDS} s, the most of several runs.\n", load()));
    let port = bench.port();
    let mut servers = Vec::new();
    for engine in bench.engines() {
        servers.push((engine, bench.pair(&engine, port)?));
    }
    let kinds: [(&str, &[&str]); 4] = [
        ("TCP to", &[]),
        ("TCP from", &["-R"]),
        ("UDP to", &["-u", "-b", "0", "-l", "1400"]),
        ("UDP from", &["-u", "-b", "0", "-l", "1400", "-R"]),
    ];
    report.line("| way | berth | docker | ratio | goal: at least 1 |\n|---|--:|--:|--:|---|");
    for (name, flags) in kinds {
        for way in ["a container", "the published port"] {
            let mut most = vec![0f64; servers.len()];
            for _ in 0..bench.rounds.clamp(1, 3) {
                for (most, (engine, address)) in most.iter_mut().zip(&servers) {
                    let is_inside = way == "a container";
                    let to = if is_inside { address } else { ADDRESS };
                    let args: Vec<&str> = ["-c", to, "-t", SECONDS, "--json"]
                        .into_iter()
                        .chain(flags.iter().copied())
                        .collect();
                    let said = if is_inside {
                        let exec = ["exec", "client", "iperf3"];
                        engine.text(&exec.into_iter().chain(args).collect::<Vec<_>>())?
                    } else {
                        bench.on_host(engine, "iperf3", &args)?
                    };
                    *most = most.max(received(&said)?);
                }
            }
            let ratio = most[0] / most.last().copied().unwrap_or(f64::NAN);
            let docker = if most.len() > 1 { format!("{:.2}", most[1]) } else { String::new() };
            report.line(&format!(
                "| {name} {way} | {:.2} | {docker} | {ratio:.2} | {} |",
                most[0],
                verdict(ratio >= 0.99)
            ));
        }
    }
    Ok(())
}

/// The container's name server.
fn dns(bench: &Bench, report: &mut Report) -> Result {
    report.section("Names of containers, asked for at 127.0.0.11");
    report.line(&format!("{}\n", load()));
    report.line("| | min, median, p95 in microseconds | answers a second, 64 in flight |\n|---|---|--:|");
    let mut own = None;
    for engine in bench.engines() {
        bench.pair(&engine, bench.port())?;
        let count = QUESTIONS.to_string();
        let (mut latencies, mut rate) = (Vec::new(), 0f64);
        for _ in 0..bench.rounds.clamp(1, 5) {
            let ask = ["exec", "client", "/netpeer", "dns", "127.0.0.11", "server", &count];
            let said = engine.text(&ask)?;
            let (three, fast) = said.split_once('\n').ok_or_else(|| format!("no answer: {said}"))?;
            latencies.push(three.to_owned());
            rate = rate.max(fast.trim().parse().map_err(|e| format!("odd rate {fast}: {e}"))?);
        }
        let three = least(&latencies)?;
        report.line(&format!(
            "| {} | {} | {rate:.0} |",
            engine.name(),
            three.map(|one| format!("{one:.1}")).join(", ")
        ));
        own.get_or_insert((three[1], rate));
        bench.unpair(&engine);
    }
    let (median, rate) = own.ok_or("nobody was asked")?;
    report.line("");
    report.figure("median", median, 100.0, "µs");
    report.line(&format!(
        "- answers a second: **{rate:.0}** (goal: at least 50,000 on one core; who asks is on the other. {})",
        verdict(rate >= 50_000.0)
    ));
    Ok(())
}

/// Making and removing a network.
fn create(bench: &Bench, report: &mut Report) -> Result {
    report.section("`network create` and `network rm`");
    report.line(&format!("{} berth makes a network's bridge when the first container needs it.\n", load()));
    let mut sides = Vec::new();
    for engine in bench.engines() {
        sides.push(Side::new(format!("{}: create, rm", engine.name()), move || {
            Ok(engine.time(&["network", "create", "brief"])? + engine.time(&["network", "rm", "brief"])?)
        }));
    }
    let berth = Engine::Berth(&bench.host);
    sides.insert(
        1,
        Side::new("berth: create, rm, its bridge made between", move || {
            let create = berth.time(&["network", "create", "brief"])?;
            berth.time(&["run", "--rm", "--network", "brief", IMAGE, "true"])?;
            // Until who keeps it has given its address back.
            for _ in 0..100 {
                if let Ok(took) = berth.time(&["network", "rm", "brief"]) {
                    return Ok(create + took);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err("the network can't be removed".to_owned())
        }),
    );
    let plan = Plan { warmup: 2, rounds: bench.rounds, idle: Duration::ZERO };
    let samples = interleave(&mut sides, plan)?;
    report.compare(&samples, samples.len() - 1, None);
    report.line("");
    report.figure("median", samples[0].median(), 10.0, "ms");
    Ok(())
}

/// Many containers on one bridge.
fn crowd(bench: &Bench, report: &mut Report) -> Result {
    report.section(&format!("{CROWD} containers on one bridge"));
    report.line(&format!("{}\n", load()));
    let engine = Engine::Berth(&bench.host);
    let mut took = Vec::new();
    for number in 0..CROWD {
        let name = format!("crowd{number}");
        let port = format!("{}:80", bench.port());
        let args = ["run", "-d", "--name", &name, "-p", &port, IMAGE, "sleep-for-ever"];
        took.push(engine.time(&args)?.as_secs_f64() * 1e3);
    }
    let first = Sample::new(format!("the first {COMPARED}"), took[..COMPARED].to_vec());
    let last = Sample::new(format!("the last {COMPARED}"), took[CROWD - COMPARED..].to_vec());
    let growth = last.median() / first.median();
    let of_minima = last.min() / first.min();
    report.compare(&[last, first], 1, None);
    report.line("");
    report.figure("the last one's median to the first's", growth, 1.3, "x");
    report.figure("the same of minima", of_minima, 1.3, "x");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let json = "{\"end\":{\"sum_sent\":{\"bits_per_second\":\t2e9,},\"sum_received\":{\n\"seconds\":1,\n\
                    \"bits_per_second\":\t1.5e9,\n\"x\":1}}}";
        assert_eq!(received(json).unwrap(), 1.5);
        assert!(received("{}").is_err());
        let least = least(&["3 4 5".to_owned(), "2.5 4.5 6".to_owned()]).unwrap();
        assert_eq!(least, [2.5, 4.0, 5.0]);
    }
}

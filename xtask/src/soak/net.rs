//! `soak net`: what puts a container on networks is killed at each of its steps; containers with ports start and end on two networks while whatever runs of berth is killed; many at once want
//! a port; many connections are open at once. Afterwards nothing is lost and nothing is left.

mod points;

use super::{COMMAND_MAX, Options, Random, wait};
use crate::build::Profile;
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, netns, setup};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NETWORKS: [&str; 2] = ["blue", "red"];

/// Those who start and end containers.
const WORKERS: u64 = 8;

/// Starts at once that each want a port of their own.
const PARALLEL: usize = 50;

/// Starts at once that want the same one, and how often.
const RIVALS: usize = 8;
const RIVALRIES: u16 = 10;

/// Connections that are open at once.
const CONNECTIONS: usize = 10_000;

/// Latest moment of a kill after a command's beginning: a start on a busy machine with eight of them.
const KILL_AFTER_MAX_US: u64 = 120_000;

/// How long what is behind a command may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

type Part = fn(&Soak) -> Result;

const PARTS: &[(&str, Part)] = &[
    ("points", points::kills),
    ("kills", kills),
    ("parallel", parallel),
    ("rivals", rivals),
    ("connections", connections),
];

struct Soak {
    host: Host,
    rounds: u32,
    seed: u64,
    peer: String,
    /// How often each thing was said by a command that failed.
    said: Mutex<BTreeMap<String, u32>>,
}

pub fn main(args: &[String]) -> Result {
    let options = Options::parse(200, args)?;
    if let Some(odd) = options.only.iter().find(|only| !PARTS.iter().any(|(name, _)| *name == only.as_str()))
    {
        return Err(format!("soak net has no part {odd}"));
    }
    // Before the namespace, from which no mirror and no registry is reached.
    if std::env::var_os("BERTH_XTASK_NETNS").is_none() {
        setup::all()?;
        let berth = options.berth(Profile::Dev)?.to_string_lossy().into_owned();
        let mut words = args.to_vec();
        if options.berth.is_none() {
            words.extend(["--berth".to_owned(), berth]);
        }
        if let Some(done) = netns::enter(&["soak", "net"], &words) {
            return done;
        }
    }
    println!("seed {}", options.seed);
    let before = netns::state();
    let host = Host::new(options.berth(Profile::Dev)?, "netsoak")?;
    let peer = netns::peer()?.to_string_lossy().into_owned();
    let soak = Soak { host, rounds: options.rounds, seed: options.seed, peer, said: Mutex::default() };
    let mut result = Ok(());
    for network in NETWORKS {
        soak.text(&["network", "create", "--ipv6", network])?;
    }
    for (name, part) in PARTS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            cmd::heading(name);
            let begin = Instant::now();
            let done = part(&soak).and_then(|()| soak.nothing_left());
            println!("{name}: {:.1} s", begin.elapsed().as_secs_f64());
            if let Err(error) = done {
                println!("{name}: FAILED: {error}");
                result = Err(format!("{name}: {error}"));
                soak.host.remove_all();
            }
        }
    }
    for (what, count) in soak.said.lock().map_err(|_| "a worker panicked")?.iter() {
        println!("{count:5} times: {what}");
    }
    soak.host.remove_all();
    soak.text(&["network", "rm", NETWORKS[0], NETWORKS[1]])?;
    soak.text(&["network", "prune", "-f"])?;
    let same = until(|| netns::state() == before);
    drop(soak);
    if !same {
        return Err(format!("the host's state isn't as it was:\n{before}\nbut\n{}", netns::state()));
    }
    result
}

/// Whether something comes true in time.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Soak {
    /// A command that must do what it's told; what it prints.
    fn text(&self, args: &[&str]) -> Result<String> {
        let output = self.host.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|e| format!("cannot run berth: {e}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => {
                Err(format!("berth {}: {}{}", args.join(" "), text(&output.stdout), text(&output.stderr)))
            }
        }
    }

    fn spawn(&self, args: &[&str]) -> Result<Child> {
        let child = self.host.command(args).stderr(Stdio::piped()).spawn();
        child.map_err(|e| format!("cannot run berth {args:?}: {e}"))
    }

    /// Waits for a command that may fail, and counts what it says then.
    fn end(&self, mut child: Child) -> Result {
        let errors = child.stderr.take();
        wait(child, 3 * COMMAND_MAX)?;
        let mut text = String::new();
        // A keeper that lives on might have it open: no more than has come is read.
        if let Some(errors) = errors {
            let mut bytes = [0; 4096];
            let mut errors = errors;
            let length = errors.read(&mut bytes).unwrap_or(0);
            text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        }
        if let Some(line) = text.lines().next()
            && let Ok(mut said) = self.said.lock()
        {
            *said.entry(plain(line)).or_default() += 1;
        }
        Ok(())
    }

    /// Nothing of any container: files, links, elements; and what there is of networks is sound.
    fn nothing_left(&self) -> Result {
        self.host.remove_all();
        let mut left = Vec::new();
        let clean = until(|| {
            left = self.left();
            left.is_empty()
        });
        if !clean {
            return Err(format!("left behind: {}", left.join("; ")));
        }
        // A name whose container is gone is given back to whoever wants it next.
        let names = std::fs::read_dir(self.host.run.join("names")).into_iter().flatten().flatten();
        let names: Vec<String> = names.filter_map(|name| name.file_name().into_string().ok()).collect();
        for name in &names {
            self.text(&["run", "--rm", "--name", name, "--network", "none", "@host", "true"])?;
        }
        if !names.is_empty() {
            println!("{} names were left, and could be had: {}", names.len(), names.join(" "));
        }
        for network in NETWORKS {
            self.text(&["network", "doctor", "-q", network])?;
        }
        Ok(())
    }

    fn left(&self) -> Vec<String> {
        let mut left = self.host.containers().unwrap_or_else(|error| vec![error]);
        left.extend(self.host.processes().iter().map(|pid| format!("process {pid}")));
        let run = &self.host.run;
        for dir in ["containers", "ranges", "networks/blue/leases", "networks/red/leases"] {
            left.extend(entries(&run.join(dir)));
        }
        for network in NETWORKS {
            let names = std::fs::read_to_string(run.join("networks").join(network).join("names"));
            let names = names.unwrap_or_default();
            left.extend(names.lines().filter(|line| line.starts_with("name ")).map(str::to_owned));
        }
        let links = Cmd::new("ip").args(["-brief", "link", "show", "type", "veth"]).capture();
        left.extend(links.unwrap_or_default().lines().map(|line| format!("link {line}")));
        left.extend(elements());
        left
    }
}

/// Published ports and endpoints in the tables.
fn elements() -> Vec<String> {
    let tables = Cmd::new("nft").args(["list", "tables"]).capture().unwrap_or_default();
    let mut found = Vec::new();
    for table in tables.lines().filter_map(|line| line.strip_prefix("table ")) {
        let words: Vec<&str> = table.split(' ').collect();
        let list = Cmd::new("nft").args(["list", "table"]).args(&words).capture().unwrap_or_default();
        let mut within = String::new();
        for line in list.lines().map(str::trim) {
            if line.starts_with("map ") || line.starts_with("set ") {
                within = line.to_owned();
            }
            let of_containers = within.starts_with("map ") || words.first() == Some(&"bridge");
            if line.starts_with("elements") && of_containers {
                found.push(format!("{table}: {within} {line}"));
            }
        }
    }
    found
}

fn entries(dir: &Path) -> Vec<String> {
    let all = std::fs::read_dir(dir).into_iter().flatten().flatten();
    all.map(|entry| entry.path().display().to_string()).collect()
}

/// A message without what differs from one to the next: numbers and ids.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for word in line.split(' ') {
        let varies = word.bytes().any(|byte| byte.is_ascii_digit());
        plain.push_str(if varies { "*" } else { word });
        plain.push(' ');
    }
    plain.trim_end().to_owned()
}

/// N rounds by eight workers.
fn kills(soak: &Soak) -> Result {
    let next = AtomicU32::new(0);
    let begin = Instant::now();
    let work = |worker: u64| -> Result {
        let mut random = Random((soak.seed.wrapping_add(worker * 7919)).max(1));
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= soak.rounds {
                return Ok(());
            }
            round(soak, number, &mut random).map_err(|e| format!("round {number}: {e}"))?;
            if number % 50 == 49 {
                println!("{} rounds, {} s", number + 1, begin.elapsed().as_secs());
            }
        }
    };
    let work = &work;
    let results: Vec<Result> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err("a worker panicked".into()))).collect()
    });
    results.into_iter().collect::<Result<Vec<()>>>()?;
    works(soak)
}

/// One container with ports, what else is done to it, and one kill.
fn round(soak: &Soak, number: u32, random: &mut Random) -> Result {
    let name = format!("soak{number}");
    let network = NETWORKS[random.below(2) as usize];
    let other = NETWORKS.iter().find(|other| **other != network).copied().unwrap_or(network);
    let start: &[&str] = match random.below(4) {
        0 => &["run"],
        1 => &["run", "--rm"],
        2 => &["run", "-d"],
        _ => &["run", "-d", "--rm"],
    };
    let mut options = vec!["--network", network, "-p", "0:80", "-p", "0:81/udp"];
    if random.below(3) == 0 {
        options.extend(["--network", other]);
    }
    let words = ["--name", &name, "@host", "sleep", "0.3"];
    let run: Vec<&str> = start.iter().chain(&options).chain(&words).copied().collect();
    let mut commands = vec![soak.spawn(&run)?];
    let renamed = format!("other{number}");
    let second: &[&str] = match random.below(8) {
        0 => &["exec", &name, "true"],
        1 => &["stop", "-t", "0", &name],
        2 => &["rm", "-f", &name],
        3 => &["network", "connect", other, &name],
        4 => &["network", "disconnect", network, &name],
        5 => &["rename", &name, &renamed],
        6 => &["network", "inspect", network],
        _ => &["restart", "-t", "0", &name],
    };
    std::thread::sleep(Duration::from_micros(random.below(60_000)));
    commands.push(soak.spawn(second)?);
    std::thread::sleep(Duration::from_micros(random.below(KILL_AFTER_MAX_US)));
    // Not only the youngest and not only the oldest, and of whichever worker.
    let victims: Vec<u32> = soak.host.processes().into_iter().collect();
    if !victims.is_empty() {
        let victim = victims[random.below(victims.len() as u64) as usize];
        let _ = Cmd::new("kill").args(["-9", &victim.to_string()]).quiet().run();
    }
    for command in commands {
        soak.end(command)?;
    }
    soak.end(soak.spawn(&["ps", "-a"])?)?;
    soak.end(soak.spawn(&["rm", "-f", &name, &renamed])?)?;
    Ok(())
}

/// After all of that both networks do what they should.
fn works(soak: &Soak) -> Result {
    let volume = format!("{}:/netpeer:ro", soak.peer);
    for network in NETWORKS {
        let options = ["run", "-d", "--name", network, "--network", network, "-p", "0:80", "-v", &volume];
        let args: Vec<&str> = options.into_iter().chain(["@host", "/netpeer", "serve", "80"]).collect();
        soak.text(&args)?;
        let port = port_of(soak, network)?;
        if !until(|| answers(port)) {
            return Err(format!("a container on {network} isn't reached at {port}"));
        }
        let script = format!("echo there | busybox nc -w 5 {network} 80");
        let said = soak.text(&["run", "--rm", "--network", network, "@host", "sh", "-c", &script])?;
        if said != "there" {
            return Err(format!("by its name {network} a container isn't reached: {said}"));
        }
    }
    Ok(())
}

fn port_of(soak: &Soak, name: &str) -> Result<u16> {
    let text = soak.text(&["port", name, "80/tcp"])?;
    let port = text.lines().next().and_then(|line| line.rsplit(':').next()?.parse().ok());
    port.ok_or_else(|| format!("no port of {name}: {text}"))
}

/// Whether what is sent to a port comes back.
fn answers(port: u16) -> bool {
    use std::io::Write;
    let talk = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"there?")?;
        let mut bytes = [0; 6];
        stream.read_exact(&mut bytes)?;
        Ok(&bytes == b"there?")
    };
    talk().unwrap_or(false)
}

/// Starts at once, each with a random port.
fn parallel(soak: &Soak) -> Result {
    let start = |number: usize| {
        let (name, network) = (format!("many{number}"), NETWORKS[number % 2]);
        let volume = format!("{}:/netpeer:ro", soak.peer);
        let options = ["run", "-d", "--name", &name, "--network", network, "-p", "0:80", "-v", &volume];
        let args: Vec<&str> = options.into_iter().chain(["@host", "/netpeer", "serve", "80"]).collect();
        soak.text(&args).map(drop)
    };
    at_once(PARALLEL, start).into_iter().collect::<Result<Vec<()>>>()?;
    let ports: Vec<u16> =
        (0..PARALLEL).map(|number| port_of(soak, &format!("many{number}"))).collect::<Result<_>>()?;
    if ports.iter().collect::<BTreeSet<_>>().len() != PARALLEL {
        return Err(format!("ports were given twice: {ports:?}"));
    }
    for (number, port) in ports.iter().enumerate() {
        if !until(|| answers(*port)) {
            return Err(format!("many{number} isn't reached at {port}"));
        }
    }
    for network in NETWORKS {
        let wrong = soak.host.command(&["network", "doctor", "-q", network]).stdout(Stdio::piped()).output();
        let wrong = wrong.map_err(|e| format!("cannot run berth: {e}"))?.stdout;
        let wrong = String::from_utf8_lossy(&wrong).into_owned();
        // Nobody outside is asked here.
        let odd = wrong.lines().find(|line| line.contains("WRONG") && !line.contains(": resolvers"));
        if let Some(odd) = odd {
            return Err(format!("doctor says: {odd}"));
        }
    }
    Ok(())
}

/// Starts at once that want one port: exactly one has it.
fn rivals(soak: &Soak) -> Result {
    for rivalry in 0..RIVALRIES {
        let wanted = format!("{}:80", 7000 + rivalry);
        let start = |number: usize| {
            let name = format!("rival{rivalry}x{number}");
            let network = NETWORKS[number % 2];
            soak.text(&[
                "run",
                "-d",
                "--name",
                &name,
                "--network",
                network,
                "-p",
                &wanted,
                "@host",
                "sleep",
                "60",
            ])
        };
        let results = at_once(RIVALS, start);
        let winners = results.iter().filter(|result| result.is_ok()).count();
        let odd = results
            .iter()
            .find(|result| matches!(result, Err(error) if !error.contains("port is already allocated")));
        match (winners, odd) {
            (1, None) => soak.host.remove_all(),
            (winners, odd) => return Err(format!("{winners} of {RIVALS} have {wanted}; {odd:?}")),
        }
    }
    Ok(())
}

fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(count);
    let (work, barrier) = (&work, &barrier);
    std::thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let all: Vec<_> = (0..count).map(start).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// Many connections through one published port.
fn connections(soak: &Soak) -> Result {
    let volume = format!("{}:/netpeer:ro", soak.peer);
    soak.text(&[
        "run",
        "-d",
        "--name",
        "server",
        "--network",
        "blue",
        "-p",
        "9000:80",
        "-v",
        &volume,
        "@host",
        "/netpeer",
        "serve",
        "80",
    ])?;
    if !until(|| answers(9000)) {
        return Err("the server isn't reached".into());
    }
    let count = CONNECTIONS.to_string();
    let begin = Instant::now();
    let said = Cmd::new(&soak.peer).args(["hold", "127.0.0.1", "9000", &count]).capture()?;
    println!("{said} connections, {:.2} s", begin.elapsed().as_secs_f64());
    match said == format!("{CONNECTIONS} of {CONNECTIONS}") {
        true => Ok(()),
        false => Err(format!("answers came back over {said}")),
    }
}

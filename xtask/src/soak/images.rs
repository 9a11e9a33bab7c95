//! `soak images`: images by the million files, by the gigabyte, under kills, and in the hands of others.

use super::{Options, Random};
use crate::bench::docker::Docker;
use crate::bench::images::peak_megabytes;
use crate::bench::registry::Registry;
use crate::build::Profile;
use crate::cmd::{self, Cmd};
use crate::host::Host;
use crate::{Result, commit, peers};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

type Part = fn(&Soak) -> Result;

const PARTS: &[(&str, Part)] =
    &[("kills", kills), ("files", files), ("bytes", bytes), ("peers", peers), ("commit", commits)];

/// Most memory that a pull or load may take.
const MEGABYTES_MAX: f64 = 150.0;
const FILES: usize = 1_000_000;
/// Files of one directory.
const FILES_PER_DIRECTORY: usize = 1_000;
const BYTES: u64 = 10_000_000_000;
const BLOCK: usize = 512;

struct Soak {
    host: Host,
    dir: PathBuf,
    rounds: u32,
    seed: u64,
}

pub fn main(options: &Options) -> Result {
    let host = Host::new(options.berth(Profile::Release)?, "soak")?;
    let dir = cmd::target_dir().join("soak");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    println!("seed {}", options.seed);
    let soak = Soak { host, dir, rounds: options.rounds, seed: options.seed };
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    for (name, part) in PARTS.iter().filter(|(name, _)| wanted(name)) {
        cmd::heading(name);
        let begin = Instant::now();
        part(&soak).map_err(|e| format!("{name}: {e}"))?;
        println!("{name}: {} s", begin.elapsed().as_secs());
        soak.berth(&["image", "prune", "-af"])?;
    }
    let left: Vec<String> = ["layers", "tmp", "blobs/sha256"]
        .iter()
        .flat_map(|dir| std::fs::read_dir(soak.host.root.join(dir)).into_iter().flatten().flatten())
        .map(|entry| entry.path().display().to_string())
        .collect();
    let _ = std::fs::remove_dir_all(&soak.dir);
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("left behind:\n  {}", left.join("\n  "))),
    }
}

impl Soak {
    /// What a command of berth's prints.
    fn berth(&self, args: &[&str]) -> Result<String> {
        let output = self.host.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|e| format!("cannot run berth: {e}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => {
                Err(format!("berth {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
            }
        }
    }

    fn is_whole(&self) -> Result {
        let verified = self.berth(&["image", "verify"])?;
        match verified.ends_with(" 0 faults") {
            true => Ok(()),
            false => Err(verified),
        }
    }
}

/// One entry of a tar without content: a file, or a directory if its name ends in a slash. Source: POSIX, ustar.
fn header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, if name.ends_with('/') { "0000755" } else { "0000644" });
    put(108, "0000000");
    put(116, "0000000");
    put(136, "14000000000");
    put(148, "        ");
    put(156, if name.ends_with('/') { "5" } else { "0" });
    put(257, "ustar\x0000");
    if bytes < 1 << 33 {
        put(124, &format!("{bytes:011o}"));
    } else {
        // GNU's binary form.
        block[124] = 0x80;
        block[128..136].copy_from_slice(&bytes.to_be_bytes());
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn written<T>(result: std::io::Result<T>) -> Result<T> {
    result.map_err(|e| format!("cannot write an archive: {e}"))
}

fn files(soak: &Soak) -> Result {
    let path = soak.dir.join("million.tar");
    let mut tar = BufWriter::new(written(File::create(&path))?);
    for number in 0..FILES {
        if number % FILES_PER_DIRECTORY == 0 {
            written(tar.write_all(&header(&format!("d{}/", number / FILES_PER_DIRECTORY), 0)))?;
        }
        written(tar.write_all(&header(&format!("d{}/f{number}", number / FILES_PER_DIRECTORY), 0)))?;
    }
    written(tar.write_all(&[0; 2 * BLOCK]).and_then(|()| tar.flush()))?;
    let begin = Instant::now();
    let import = soak.host.command(&["import", &path.to_string_lossy(), "million"]);
    check_memory("import of 1,000,000 files", peak_megabytes(&import)?, begin)?;
    soak.is_whole()?;
    let tree = soak.berth(&["image", "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "million"])?;
    let found = Cmd::new("find").args([&tree, "-type", "f"]).capture()?.lines().count();
    if found != FILES {
        return Err(format!("{found} files are there, not {FILES}"));
    }
    let begin = Instant::now();
    soak.berth(&["rmi", "million"])?;
    println!("rmi: {:.1} s", begin.elapsed().as_secs_f64());
    std::fs::remove_file(path).map_err(|e| format!("cannot remove the archive: {e}"))
}

fn bytes(soak: &Soak) -> Result {
    // Through a pipe: the archive itself needs no room.
    let (mut reader, mut writer) = std::io::pipe().map_err(|e| format!("cannot make a pipe: {e}"))?;
    let begin = Instant::now();
    let mut command = soak.host.command(&["import", "-", "large"]);
    command.stdin(Stdio::piped());
    let producer = std::thread::spawn(move || -> std::io::Result<()> {
        writer.write_all(&header("large", BYTES))?;
        let mut block: Vec<u8> =
            (0..1u32 << 16).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut left = BYTES;
        while left > 0 {
            // Different each time, and still compressible.
            for byte in block.iter_mut().step_by(4_096) {
                *byte = byte.wrapping_add(1);
            }
            let count = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            writer.write_all(&block[..count])?;
            left -= count as u64;
        }
        let padding = (BLOCK as u64 - BYTES % BLOCK as u64) % BLOCK as u64;
        writer.write_all(&vec![0; padding as usize + 2 * BLOCK])
    });
    let megabytes = peak_of_piped(&mut command, &mut reader)?;
    drop(reader);
    let produced = producer.join().map_err(|_| "the producer ended".to_owned())?;
    written(produced)?;
    check_memory("import of 10 GB from a pipe", megabytes, begin)?;
    let tree = soak.berth(&["image", "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "large"])?;
    let found = std::fs::metadata(Path::new(&tree).join("large")).map(|data| data.len());
    if found.as_ref().ok() != Some(&BYTES) {
        return Err(format!("the file has {found:?} bytes, not {BYTES}"));
    }
    soak.is_whole()
}

/// As [`peak_megabytes`], with input.
fn peak_of_piped(command: &mut Command, input: &mut impl Read) -> Result<f64> {
    let mut child = command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let mut peak = 0.0f64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = input.read(&mut buffer).map_err(|e| format!("cannot read: {e}"))?;
        if count == 0 {
            break;
        }
        stdin.write_all(&buffer[..count]).map_err(|e| format!("berth took no more: {e}"))?;
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.trim().parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or_default() * 1024.0 / 1e6);
    }
    drop(stdin);
    match child.wait() {
        Ok(status) if status.success() => Ok(peak),
        other => Err(format!("{command:?} ended: {other:?}")),
    }
}

fn check_memory(what: &str, megabytes: f64, begin: Instant) -> Result {
    println!("{what}: {:.1} s, {megabytes:.1} MB of memory", begin.elapsed().as_secs_f64());
    match megabytes <= MEGABYTES_MAX {
        true => Ok(()),
        false => Err(format!("{what} took {megabytes:.1} MB of memory, more than {MEGABYTES_MAX}")),
    }
}

/// An image of four layers, some megabytes each, as docker's archive.
fn small_archive(soak: &Soak) -> Result<PathBuf> {
    let dir = soak.dir.join("small");
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let (mut names, mut diffs) = (Vec::new(), Vec::new());
    for number in 0..4u32 {
        let content: Vec<u8> = (0..750_000u32)
            .flat_map(|at| (at ^ number << 20).wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let mut tar = header(&format!("file{number}"), content.len() as u64).to_vec();
        tar.extend(&content);
        tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
        let path = dir.join(format!("{number}.tar"));
        written(std::fs::write(&path, tar))?;
        let line = Cmd::new("sha256sum").arg(&path).capture()?;
        diffs.push(format!("\"sha256:{}\"", line.split_whitespace().next().unwrap_or_default()));
        names.push(format!("\"{number}.tar\""));
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diffs.join(",")
    );
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["small:1"],"Layers":[{}]}}]"#, names.join(","));
    written(std::fs::write(dir.join("config.json"), config))?;
    written(std::fs::write(dir.join("manifest.json"), manifest))?;
    let archive = soak.dir.join("small.tar");
    Cmd::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&archive).arg(".").run()?;
    Ok(archive)
}

fn kills(soak: &Soak) -> Result {
    let archive = small_archive(soak)?.to_string_lossy().into_owned();
    let registry = Registry::start(&soak.dir.join("registry"))?;
    let name = format!("{}/small:1", registry.host);
    let load = ["load", "-q", "-i", &archive];
    soak.berth(&load)?;
    soak.berth(&["tag", "small:1", &name])?;
    soak.berth(&["push", "-q", &name])?;
    let pull = ["pull", "-q", &name];
    let mut random = Random(soak.seed.max(1));
    for round in 0..soak.rounds {
        let command: &[&str] = match random.below(4) {
            0 => &load,
            1 => &["rmi", "-f", &name],
            2 => &["image", "prune", "-af"],
            _ => &pull,
        };
        match random.below(2) {
            0 => drop(soak.berth(&["image", "prune", "-af"])?),
            _ => drop(soak.berth(&pull)?),
        }
        let mut child = soak
            .host
            .command(command)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run berth: {e}"))?;
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        let _ = child.kill();
        let _ = child.wait();
        let context = |e: String| format!("round {round}, {} killed: {e}", command.join(" "));
        soak.is_whole().map_err(context)?;
        soak.berth(&pull).map_err(context)?;
        soak.is_whole().map_err(context)?;
    }
    println!("{} rounds", soak.rounds);
    Ok(())
}

fn peers(soak: &Soak) -> Result {
    let root = peers::ensure()?;
    let docker = Docker::start(&root)?;
    let registry = Registry::start(&soak.dir.join("shared"))?;
    let archive = small_archive(soak)?.to_string_lossy().into_owned();
    let peer = |args: &[&str]| peers::enter(&root, &cmd::root()).args(args).capture();
    let same = |what: &str, left: &str, right: &str| match left == right && !left.is_empty() {
        true => {
            println!("{what}: {left}");
            Ok(())
        }
        false => Err(format!("{what}: {left:?} is not {right:?}")),
    };
    let name = |by: &str| format!("{}/{by}:1", registry.host);
    let file = |name: &str| soak.dir.join(name).to_string_lossy().into_owned();
    let digest = |reference: &str| {
        peer(&[
            "skopeo",
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{reference}"),
        ])
    };
    let id = |reference: &str| soak.berth(&["image", "inspect", "-f", "{{.Id}}", reference]);
    let docker_id =
        |reference: &str| docker.command(&["image", "inspect", "-f", "{{.Id}}", reference]).capture();
    let repo_digest = "{{index .RepoDigests 0}}";

    // Ours, read by others.
    soak.berth(&["load", "-q", "-i", &archive])?;
    let own = id("small:1")?;
    let ours = name("ours");
    soak.berth(&["tag", "small:1", &ours])?;
    soak.berth(&["push", "-q", &ours])?;
    let pushed = soak.berth(&["image", "inspect", "-f", repo_digest, &ours])?;
    let pushed = pushed.rsplit('@').next().unwrap_or_default().to_owned();
    same("digest of our push by skopeo", &digest(&ours)?, &pushed)?;
    docker.command(&["pull", "-q", &ours]).capture()?;
    same("id of our push by docker", &docker_id(&ours)?, &own)?;
    let podman = |args: &[&str]| {
        let root = file("podman");
        let own = [&["podman", "--root", &root, "--runroot=/run/podman-soak"], args].concat();
        peer(&own)
    };
    podman(&["pull", "-q", "--tls-verify=false", &ours])?;
    let podman_id = format!("sha256:{}", podman(&["image", "inspect", "-f", "{{.Id}}", &ours])?);
    same("id of our push by podman", &podman_id, &own)?;
    let saved = file("ours.tar");
    soak.berth(&["save", "-o", &saved, &ours])?;
    docker.clear();
    docker.command(&["load", "-q", "-i", &saved]).capture()?;
    same("id of our archive by docker", &docker_id(&ours)?, &own)?;
    podman(&["rmi", "--all", "--force"])?;
    podman(&["load", "-q", "-i", &saved])?;
    let podman_id = format!("sha256:{}", podman(&["image", "inspect", "-f", "{{.Id}}", &ours])?);
    same("id of our archive by podman", &podman_id, &own)?;

    // Others', read by us.
    let theirs = name("docker");
    docker.command(&["tag", &ours, &theirs]).capture()?;
    docker.command(&["push", "-q", &theirs]).capture()?;
    for (by, format) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let to = format!("docker://{}", name(by));
        let from = format!("docker-archive:{archive}");
        peer(&[
            "skopeo",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            // Else it takes what the registry has in another.
            "--dest-force-compress-format",
            "--dest-compress-format",
            format,
            &from,
            &to,
        ])?;
    }
    podman(&["push", "-q", "--tls-verify=false", &ours, &name("podman")])?;
    for by in ["docker", "gzip", "zstd", "podman"] {
        soak.berth(&["image", "prune", "-af"])?;
        soak.berth(&["pull", "-q", &name(by)])?;
        same(&format!("id of the push by {by}"), &id(&name(by))?, &own)?;
        let known = soak.berth(&["image", "inspect", "-f", repo_digest, &name(by)])?;
        let known = known.rsplit('@').next().unwrap_or_default().to_owned();
        same(&format!("digest of the push by {by}"), &known, &digest(&name(by))?)?;
        // What was pulled goes on unchanged.
        let again = name(&format!("again-{by}"));
        soak.berth(&["tag", &name(by), &again])?;
        soak.berth(&["push", "-q", &again])?;
        same(&format!("digest of {by}'s, pushed on"), &digest(&again)?, &known)?;
        soak.is_whole()?;
    }
    let of_docker = file("docker.tar");
    docker.command(&["save", "-o", &of_docker, &ours]).capture()?;
    let of_podman = file("podman.tar");
    podman(&["save", "-q", "--format", "oci-archive", "-o", &of_podman, &ours])?;
    for (by, path) in [("docker", &of_docker), ("podman", &of_podman)] {
        soak.berth(&["image", "prune", "-af"])?;
        soak.berth(&["load", "-q", "-i", path])?;
        same(&format!("id of {by}'s archive"), &id(&ours)?, &own)?;
    }
    Ok(())
}

fn commits(soak: &Soak) -> Result {
    let docker = Docker::start(&peers::ensure()?)?;
    let dir = soak.dir.join("commit");
    let base = commit::base(&dir)?;
    commit::import(&docker, &base)?;
    commit::import(&soak.host, &base)?;
    for round in 0..u64::from(soak.rounds) {
        let case = commit::Case::of(soak.seed.wrapping_add(round));
        commit::compare(&docker, &soak.host, &case, &dir)
            .map_err(|e| format!("round {round}, --seed {} --rounds 1: {e}", case.seed))?;
    }
    println!("{} trees", soak.rounds);
    Ok(())
}

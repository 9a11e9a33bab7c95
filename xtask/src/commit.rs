//! The same random changes in containers of docker's and of berth's, and the layers that `commit` makes of them.
//!
//! A container of an image with nothing but `change.c` (crates/cli/tests/commit) makes a tree, which is committed; one of
//! that image changes it, which is committed as well.

#[path = "../../crates/cli/tests/commit/listing.rs"]
pub(crate) mod listing;
mod random;

use crate::Result;
use crate::bench::docker::Docker;
use crate::cmd::{self, Cmd};
use crate::host::Host;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What is looked at in containers: where changes are made.
const ROOTS: [&str; 4] = ["w", "x0", "x1", "x2"];
const BASE: &str = "change";

/// Two lists of changes.
pub struct Case {
    pub seed: u64,
    /// Whether they need the ids and rights of the host's root, as for devices.
    pub of_host: bool,
    pub steps: [String; 2],
}

/// What an engine makes of one of them.
pub struct Made {
    /// Lines of the layer.
    pub layer: Vec<String>,
    /// Lines of `diff`, sorted.
    pub diff: Vec<String>,
    /// The tree as it is in the container.
    pub tree: String,
}

impl Case {
    pub fn of(seed: u64) -> Self {
        let of_host = seed.is_multiple_of(3);
        let mut changes = random::Changes::new(seed, of_host);
        Self { seed, of_host, steps: [changes.first(), changes.second()] }
    }
}

/// The image that all begins with, as a tar for `import`, in `dir`.
pub fn base(dir: &Path) -> Result<PathBuf> {
    let (program, tar) = (dir.join("change"), dir.join("base.tar"));
    std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let source = cmd::root().join("crates/cli/tests/commit/change.c");
    Cmd::new("musl-gcc").args(["-static", "-O1", "-w", "-s", "-o"]).arg(&program).arg(source).run()?;
    Cmd::new("tar")
        .arg("-C")
        .arg(dir)
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(&tar)
        .arg("change")
        .run()?;
    Ok(tar)
}

/// Makes that image the one that cases begin with.
pub fn import(engine: &dyn Engine, base: &Path) -> Result {
    engine.say(&["import", &base.to_string_lossy(), BASE], "").map(drop)
}

/// Docker or berth.
pub trait Engine {
    fn command(&self, args: &[&str]) -> Command;

    /// What a command prints.
    fn say(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot run {args:?}: {e}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(|e| format!("{args:?} takes no input: {e}"))?;
        }
        let output = child.wait_with_output().map_err(|e| format!("cannot await {args:?}: {e}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => {
                let text = String::from_utf8_lossy(&output.stderr);
                Err(format!("{args:?} ended with {}: {}", output.status, text.trim_end()))
            }
        }
    }

    /// Runs changes in a container called `name` of `image`, which stays; the tree afterwards.
    fn change(&self, image: &str, name: &str, of_host: bool, changes: &str) -> Result<String> {
        let mut args = vec!["run", "-i", "--name", name, "--network", "none"];
        if of_host {
            args.extend(["--userns", "host"]);
        }
        args.extend([image, "/change"]);
        args.extend(ROOTS);
        self.say(&args, changes)
    }

    /// The tree of an image.
    fn tree(&self, image: &str, of_host: bool) -> Result<String> {
        let tree = self.change(image, "look", of_host, "");
        self.say(&["rm", "-f", "look"], "")?;
        tree
    }

    /// Makes the images `NAME:1` and `NAME:2`, and saves the second one as `archive`.
    fn make(&self, case: &Case, name: &str, archive: &Path) -> Result<Vec<Made>> {
        let (mut image, mut made) = (BASE.to_owned(), Vec::new());
        for (at, changes) in case.steps.iter().enumerate() {
            if at > 0 {
                // Docker's layers have whole seconds: what is written within one is no change to its `diff`.
                std::thread::sleep(Duration::from_secs(1));
            }
            let tree = self.change(&image, "box", case.of_host, changes)?;
            image = format!("{name}:{}", at + 1);
            let diff = self.say(&["diff", "box"], "")?;
            let mut diff: Vec<String> = diff.lines().map(str::to_owned).collect();
            diff.sort();
            self.say(&["commit", "box", &image], "")?;
            self.say(&["rm", "-f", "box"], "")?;
            made.push(Made { layer: Vec::new(), diff, tree });
        }
        let _ = std::fs::remove_file(archive);
        self.say(&["save", "-o", &archive.to_string_lossy(), &image], "")?;
        let layers = layers(archive)?;
        // The base's is the first.
        if layers.len() != made.len() + 1 {
            return Err(format!("{} layers were saved, not {}", layers.len(), made.len() + 1));
        }
        for (made, layer) in made.iter_mut().zip(&layers[1..]) {
            made.layer = listing::of_tar(layer)?;
        }
        Ok(made)
    }
}

impl Engine for Docker {
    fn command(&self, args: &[&str]) -> Command {
        Docker::command(self, args).command()
    }
}

impl Engine for Host {
    fn command(&self, args: &[&str]) -> Command {
        Host::command(self, args)
    }
}

/// The layers in an archive of `save`, the lowest first.
fn layers(archive: &Path) -> Result<Vec<Vec<u8>>> {
    let entry = |name: &str| -> Result<Vec<u8>> {
        let output = Command::new("tar").arg("-xOf").arg(archive).arg(name).output();
        let output = output.map_err(|e| format!("cannot run tar: {e}"))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => {
                Err(format!("{name} of {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr)))
            }
        }
    };
    let manifest = String::from_utf8_lossy(&entry("manifest.json")?).into_owned();
    let list = manifest.split("\"Layers\":[").nth(1).and_then(|rest| rest.split(']').next());
    let names = list.ok_or_else(|| format!("no layers in {manifest}"))?.split('"').skip(1).step_by(2);
    names.map(entry).collect()
}

/// What docker makes of the cases with these seeds, as crates/cli/tests/commit reads it.
pub fn record(docker: &Docker, seeds: std::ops::RangeInclusive<u64>, dir: &Path) -> Result<String> {
    import(docker, &base(dir)?)?;
    let mut text = String::new();
    for seed in seeds {
        let case = Case::of(seed);
        let made = docker.make(&case, "theirs", &dir.join("theirs.tar"))?;
        text += &format!("case {seed} of {}\n", if case.of_host { "host" } else { "container" });
        for (changes, made) in case.steps.iter().zip(made) {
            text += &format!("changes\n{changes}layer\n{}\n", made.layer.join("\n"));
        }
    }
    Ok(text)
}

/// One case by both engines: layers, lists of changes and trees must agree, and each one's image must be read by the other.
///
/// The changes and both archives stay in `dir`, for a look at what differs.
pub fn compare(docker: &Docker, host: &Host, case: &Case, dir: &Path) -> Result {
    for (at, changes) in case.steps.iter().enumerate() {
        let path = dir.join(format!("changes-{}", at + 1));
        std::fs::write(&path, changes).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    let archive = |by: &str| dir.join(format!("{by}.tar"));
    let theirs = docker.make(case, "theirs", &archive("theirs"))?;
    let ours = host.make(case, "ours", &archive("ours"))?;
    let mut below: &[String] = &[];
    for (step, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        let step = step + 1;
        let as_docker =
            |lines: &[String]| lines.iter().map(|line| listing::as_docker(line)).collect::<Vec<_>>();
        let their_layer = listing::without_idle_marks(&theirs.layer, below);
        same(&format!("layer {step}"), &as_docker(&their_layer), &as_docker(&ours.layer))?;
        below = &theirs.layer;
        same(&format!("diff {step}"), &printable(&theirs.diff), &printable(&ours.diff))?;
        let (their_tree, our_tree) = (tree_lines(&theirs.tree), tree_lines(&ours.tree));
        match step {
            1 => same("tree 1", &their_tree, &our_tree)?,
            // Docker's first image has lost attributes.
            _ => same(&format!("tree {step}"), &as_docker(&their_tree), &as_docker(&our_tree))?,
        }
    }
    let (their_tree, our_tree) = (&theirs[1].tree, &ours[1].tree);
    // Each one's image, read by itself and by the other. Docker's has lost the attributes.
    host.say(&["load", "-q", "-i", &archive("theirs").to_string_lossy()], "")?;
    docker.say(&["load", "-q", "-i", &archive("ours").to_string_lossy()], "")?;
    let readers: [(&str, &dyn Engine); 2] = [("docker", docker), ("berth", host)];
    for (reader, engine) in readers {
        let theirs = engine.tree("theirs:2", case.of_host)?;
        let as_docker = |tree: &str| tree.lines().map(listing::as_docker).collect::<Vec<_>>();
        same(&format!("docker's image in {reader}"), &as_docker(their_tree), &as_docker(&theirs))?;
        let ours = engine.tree("ours:2", case.of_host)?;
        same(&format!("berth's image in {reader}"), &tree_lines(our_tree), &tree_lines(&ours))?;
    }
    for image in ["theirs:1", "theirs:2", "ours:2"] {
        docker.say(&["rmi", "-f", image], "")?;
    }
    for image in ["ours:1", "ours:2", "theirs:2"] {
        host.say(&["rmi", "-f", image], "")?;
    }
    Ok(())
}

fn tree_lines(tree: &str) -> Vec<String> {
    tree.lines().map(str::to_owned).collect()
}

/// Lines that both engines print as they are.
fn printable(lines: &[String]) -> Vec<String> {
    let plain = |line: &&String| line.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\');
    lines.iter().filter(plain).cloned().collect()
}

fn same(what: &str, docker: &[String], berth: &[String]) -> Result {
    if docker == berth {
        return Ok(());
    }
    let only = |these: &[String], those: &[String], mark: &str| -> String {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("\n  {mark} {line}")).collect()
    };
    Err(format!("{what}:{}{}", only(docker, berth, "docker"), only(berth, docker, "berth ")))
}

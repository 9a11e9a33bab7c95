//! What docker's BuildKit makes of the Dockerfiles in crates/cli/tests/build/corpus.

#[path = "../../../crates/cli/tests/build/golden.rs"]
mod golden;

use crate::bench::docker::Docker;
use crate::cmd::{self, Cmd};
use crate::commit::listing;
use crate::{Result, peers};
use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Port of the server that `ADD` fetches from; it's in a network namespace of its own.
const PORT: &str = "18080";

/// Writes crates/cli/tests/build/golden/CASE.txt for each case whose name contains `part`. This process is in a network
/// namespace of its own.
pub fn record(part: &str) -> Result {
    let tests = cmd::root().join("crates/cli/tests/build");
    let dir = cmd::target_dir().join("goldens/build");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    Cmd::new("sh").arg(tests.join("base.sh")).dir(&dir).run()?;
    let docker = Docker::start_here(&peers::ensure()?)?;
    let _server = Server::start(&dir.join("remote"))?;
    docker.shell(&[tests.join("images.sh"), "docker".into(), dir.clone()]).run()?;
    docker.shell(&[tests.join("record.sh"), tests.clone(), dir.clone(), PORT.into(), part.into()]).run()?;
    let base = listing::of_tar(&read(&dir.join("base.tar"))?)?;
    let golden = tests.join("golden");
    if part.is_empty() {
        let _ = std::fs::remove_dir_all(&golden);
    }
    std::fs::create_dir_all(&golden).map_err(|e| format!("cannot make {}: {e}", golden.display()))?;
    let out = dir.join("out");
    let entries = std::fs::read_dir(&out).map_err(|e| format!("cannot list {}: {e}", out.display()))?;
    for entry in entries.flatten() {
        let text = answer(&base, &entry.path()).map_err(|e| format!("{}: {e}", entry.path().display()))?;
        let path = golden.join(entry.file_name()).with_extension("txt");
        std::fs::write(&path, text.replace(PORT, "@PORT@"))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    std::fs::remove_dir_all(&dir).map_err(|e| format!("cannot remove {}: {e}", dir.display()))
}

/// The text of what docker answered to a case.
fn answer(base: &[String], out: &Path) -> Result<String> {
    let log = String::from_utf8_lossy(&read(&out.join("log"))?).into_owned();
    let mut text = String::new();
    let check = String::from_utf8_lossy(&read(&out.join("check"))?).into_owned();
    warnings(&check).iter().for_each(|warning| {
        let _ = writeln!(text, "warning {warning}");
    });
    if read(&out.join("status"))? != b"0\n" {
        let at = log.rfind("\nERROR: ").map(|at| at + 1).or_else(|| log.starts_with("ERROR: ").then_some(0));
        let at = at.ok_or_else(|| format!("it failed without saying why: {log}"))?;
        log[at..].lines().for_each(|line| {
            let line = line.strip_prefix("ERROR: ").unwrap_or(line);
            let _ = writeln!(text, "error {}", without_references(line));
        });
        return Ok(text);
    }
    let manifest = String::from_utf8_lossy(&read(&out.join("manifest.json"))?).into_owned();
    let config = between(&manifest, "\"Config\":\"", "\"").ok_or("the manifest has no configuration")?;
    let config = String::from_utf8_lossy(&read(&out.join(config))?).into_owned();
    let _ = writeln!(text, "config {}", without_times(&config));
    let layers = between(&manifest, "\"Layers\":[", "]").unwrap_or_default();
    let mut lines = Vec::new();
    for layer in layers.split(',').map(|layer| layer.trim_matches('"')).filter(|layer| !layer.is_empty()) {
        // The base's was removed.
        let path = out.join(layer);
        if path.exists() {
            lines.push(listing::of_tar(&read(&path)?).map_err(|e| format!("{layer}: {e}"))?);
        }
    }
    let is_based =
        layers.split(',').any(|layer| !layer.is_empty() && !out.join(layer.trim_matches('"')).exists());
    let base = if is_based { base } else { &[] };
    golden::merged(base, &lines).iter().for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    Ok(text)
}

/// What a check warns of: `RULE: DETAIL (line LINE)`. Each begins with `WARNING: RULE`, the detail, and `FILE:LINE`.
fn warnings(check: &str) -> Vec<String> {
    let blocks = check.split("\nWARNING: ").skip(1);
    let warning = |block: &str| {
        let (head, rest) = block.split_once('\n')?;
        let rule = head.split(" - ").next().unwrap_or_default();
        let (detail, rest) = rest.split_once('\n')?;
        let (_, line) = rest.lines().next()?.rsplit_once(':')?;
        Some(format!("{rule}: {detail} (line {line})"))
    };
    blocks.filter_map(warning).collect()
}

/// A message without the names that BuildKit made up for trees.
fn without_references(line: &str) -> String {
    if let Some((before, rest)) = line.split_once("/overlay2/")
        && let Some((_, path)) = rest.split_once("/merged/")
    {
        let words = before.rsplit_once(' ').map_or("", |(words, _)| words);
        return format!("{words} /{path}");
    }
    match line.split_once(" of ref ").and_then(|(before, rest)| Some((before, rest.split_once(": ")?.1))) {
        Some((before, after)) => format!("{before} of ref: {after}"),
        None => line.to_owned(),
    }
}

/// An image's configuration without times and layers.
fn without_times(config: &str) -> String {
    let mut text = config.to_owned();
    while let Some(at) = text.find("\"created\":\"") {
        let end = text[at + 11..].find('"').map_or(text.len(), |end| at + 11 + end + 1);
        let end = if text[end..].starts_with(',') { end + 1 } else { end };
        text.replace_range(at..end, "");
    }
    if let Some(at) = text.find(",\"rootfs\":{")
        && let Some(end) = text[at..].find('}')
    {
        text.replace_range(at..at + end + 1, "");
    }
    text
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// A server of the files in a directory, until it's dropped.
struct Server(Child);

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        let child = Command::new("/bin/busybox")
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{PORT}"), "-h"])
            .arg(dir)
            .stdin(Stdio::null())
            .spawn();
        child.map(Self).map_err(|e| format!("cannot run busybox: {e}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! `berth build` makes of the Dockerfiles in corpus/ what docker's BuildKit makes of them: the image's configuration and
//! history, each file of its tree, or the error. `cargo xtask goldens build` records docker's answers in golden/.
//!
//! A case is a directory, which is the context; NAME.args beside it has flags, NAME.setup what git doesn't keep. Where berth
//! answers otherwise on purpose, different.txt has the case with its reason; a line there that isn't needed any more fails the
//! test. Deliberately different everywhere: a step that changes nothing has no layer, where docker makes one without entries; and
//! a directory that the context's root is copied to has that one's time.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and use the host's own tools"
)]

mod golden;
#[path = "../commit/listing.rs"]
#[allow(dead_code, reason = "what is for commits")]
mod listing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use testkit::{Host, Value, json};

/// Port of the server of remote files. Each test has a network namespace of its own.
const PORT: &str = "18080";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build")
}

/// Cases that differ on purpose, with their reasons.
fn different() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(tests().join("different.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .collect()
}

/// What a build came to.
#[derive(Debug, Default)]
struct Answer {
    /// The last lines of what failed; empty if nothing did.
    error: String,
    /// The image's configuration, without what depends on time and machine.
    config: Value,
    /// `created_by` of each step, and whether it has no layer.
    history: Vec<(String, bool)>,
    /// Lines of what isn't the base's.
    files: Vec<String>,
}

impl Answer {
    fn recorded(text: &str) -> Answer {
        let of = |kind: &str| {
            text.lines().filter_map(|line| line.strip_prefix(kind)).collect::<Vec<_>>().join("\n")
        };
        let error = of("error ").replace("failed to build: failed to solve: ", "");
        let is_file =
            |line: &&str| !["error ", "config ", "warning "].iter().any(|kind| line.starts_with(kind));
        let mut answer = Answer { error, ..Answer::default() };
        if let Ok(config) = serde_json::from_str(&of("config ")) {
            answer.set_config(config);
            answer.files = text.lines().filter(is_file).map(str::to_owned).collect();
        }
        answer
    }

    fn set_config(&mut self, mut config: Value) {
        let whole = config.as_object_mut().unwrap();
        let history = whole.remove("history").unwrap_or_default();
        let own = history
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["comment"] == "buildkit.dockerfile.v0");
        let line =
            |entry: &Value| (entry["created_by"].as_str().unwrap().to_owned(), entry["empty_layer"] == true);
        self.history = own.map(line).collect();
        whole.retain(|name, _| name != "created" && name != "rootfs");
        let nothing = [json!(null), json!(""), json!([]), json!({}), json!(false)];
        if let Some(inner) = config["config"].as_object_mut() {
            // Docker 28 writes the last beside every shell: deprecated, and without effect on Linux.
            inner.retain(|name, value| !nothing.contains(value) && name != "ArgsEscaped");
        }
        self.config = config;
    }

    /// What is other than docker's.
    fn differences(&self, docker: &Answer) -> Vec<String> {
        if !self.error.is_empty() || !docker.error.is_empty() {
            // Docker says in which line, and what it was doing inside; what is missing we say in almost the same words.
            let core = docker.error.rsplit("checksum of ref: ").next().unwrap_or_default();
            let core = core.replace("\": not found", "\" not found");
            let core = match core.strip_prefix("dockerfile parse error on line ") {
                Some(rest) => rest.split_once(": ").map_or("", |(_, rest)| rest),
                None => &core,
            };
            let core = core.split(" (did you mean").next().unwrap_or_default();
            let is_same = !docker.error.is_empty() && self.error.contains(core);
            return if is_same {
                Vec::new()
            } else {
                vec![format!("docker: {:?}\n  berth: {}", docker.error, self.error)]
            };
        }
        let mut found = Vec::new();
        if self.config != docker.config {
            found.push(format!("docker: {}\n  berth: {}", docker.config, self.config));
        }
        let same_step =
            |(ours, docker): (&(String, bool), &(String, bool))| ours.0 == docker.0 && (ours.1 || !docker.1);
        if self.history.len() != docker.history.len()
            || !self.history.iter().zip(&docker.history).all(same_step)
        {
            found.push(format!("docker: {:?}\n  berth: {:?}", docker.history, self.history));
        }
        // Of the context's root itself, docker's builder doesn't get the time.
        let timeless = |line: &String| line.split(" @").next().unwrap_or_default().to_owned();
        let is_root_copy =
            |ours: &String, docker: &String| ours.starts_with("d ") && timeless(ours) == *docker;
        let is_new =
            |ours: &&String| !docker.files.iter().any(|line| line == *ours || is_root_copy(ours, line));
        let is_gone =
            |line: &&String| !self.files.iter().any(|ours| ours == *line || is_root_copy(ours, line));
        found.extend(self.files.iter().filter(is_new).map(|line| format!("berth only: {line}")));
        found.extend(docker.files.iter().filter(is_gone).map(|line| format!("docker only: {line}")));
        found
    }
}

/// A host with the images that cases begin with, and a server of remote files.
struct Builder {
    host: Host,
    base: Vec<String>,
    base_id: String,
    server: Child,
}

impl Builder {
    fn new() -> Builder {
        let host = Host::new();
        let dir = host.path("");
        let run = |script: &str, args: &[&Path]| {
            let mut command = Command::new("sh");
            command.arg(tests().join(script)).args(args).current_dir(&dir).envs(host.env());
            assert!(command.status().unwrap().success(), "{script}");
        };
        run("base.sh", &[]);
        run("images.sh", &[&host.dir().join("bin/berth"), &dir]);
        let tar = std::fs::read(host.path("base.tar")).unwrap();
        let (base, base_id) = (listing::of_tar(&tar).unwrap(), testkit::image::digest(&tar));
        let server = Command::new("/bin/busybox")
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{PORT}"), "-h"])
            .arg(host.path("remote"))
            .spawn()
            .unwrap();
        Builder { host, base, base_id, server }
    }

    fn build(&self, case: &Path) -> Answer {
        let context = self.host.path("ctx");
        let _ = std::fs::remove_dir_all(&context);
        let prepared = Command::new("sh").arg(tests().join("prepare.sh")).arg(case).arg(&context).status();
        assert!(prepared.unwrap().success(), "{}", case.display());
        let args = std::fs::read_to_string(beside(case, "args")).unwrap_or_default().replace("@PORT@", PORT);
        let words = ["build", "--no-cache", "--progress", "plain", "-t", "result"]
            .into_iter()
            .chain(args.split_whitespace());
        let output = self.host.berth(words.chain(["ctx"])).run();
        let mut answer = Answer::default();
        if output.status != 0 {
            let said = output.err();
            let lines: Vec<&str> = said.lines().collect();
            answer.error = lines[lines.len().saturating_sub(30)..].join("\n").replace(PORT, "@PORT@");
            assert!(!answer.error.contains("panicked"), "{}", answer.error);
            return answer;
        }
        let out = self.host.path("out");
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir(&out).unwrap();
        self.host.berth(["save", "-o"]).arg(self.host.path("out.tar")).arg("result").run().ok();
        let unpacked =
            Command::new("tar").arg("-xf").arg(self.host.path("out.tar")).arg("-C").arg(&out).status();
        assert!(unpacked.unwrap().success());
        let read = |path: &str| std::fs::read(out.join(path)).unwrap();
        let json = |path: &str| serde_json::from_slice::<Value>(&read(path)).unwrap();
        let manifest = json("manifest.json")[0].take();
        let config = json(manifest["Config"].as_str().unwrap());
        let mut layers = Vec::new();
        let mut is_based = false;
        let names = manifest["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        for (name, id) in names.zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
            match *id == json!(self.base_id) {
                true => is_based = true,
                false => layers.push(listing::of_tar(&read(name)).unwrap()),
            }
        }
        answer.set_config(serde_json::from_str(&config.to_string().replace(PORT, "@PORT@")).unwrap());
        answer.files = golden::merged(if is_based { &self.base } else { &[] }, &layers);
        answer
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn beside(case: &Path, extension: &str) -> PathBuf {
    case.with_file_name(format!("{}.{extension}", case.file_name().unwrap().to_string_lossy()))
}

/// Builds each fourth case, from the one of that number on.
#[track_caller]
fn check(part: usize) {
    let builder = Builder::new();
    let different = different();
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(tests().join("golden")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 150, "the corpus isn't there");
    let mut wrong = Vec::new();
    for golden in cases.iter().skip(part).step_by(4) {
        let name = golden.file_stem().unwrap().to_string_lossy().into_owned();
        let docker = Answer::recorded(&std::fs::read_to_string(golden).unwrap());
        let found = builder.build(&tests().join("corpus").join(&name)).differences(&docker);
        match (different.get(&name), found.is_empty()) {
            (None, false) => wrong.push(format!("{name}\n  {}", found.join("\n  "))),
            (Some(why), true) => wrong.push(format!("{name} isn't different any more: {why}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn dockerfiles_build_as_with_docker_first_quarter() {
    check(0);
}

#[test]
fn dockerfiles_build_as_with_docker_second_quarter() {
    check(1);
}

#[test]
fn dockerfiles_build_as_with_docker_third_quarter() {
    check(2);
}

#[test]
fn dockerfiles_build_as_with_docker_last_quarter() {
    check(3);
}

#[test]
fn every_difference_is_of_a_case_that_is_there() {
    for name in different().keys() {
        assert!(tests().join("corpus").join(name).is_dir(), "{name}");
    }
}

//! The Dockerfiles of crates/cli/tests/build/corpus, read and lowered, give what BuildKit's front end gives: warnings, faults,
//! configurations and histories (golden/ beside them, recorded by `cargo xtask goldens build`). Nothing is built here: what
//! files come of it is compared by cli's tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helpers fail the test")]

use build::dockerfile::ast::Dockerfile;
use build::dockerfile::ignore::{self, Matcher};
use build::dockerfile::lint;
use build::dockerfile::parse;
use build::lower::{self, Base, Bases, Failure, Line, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use types::image::{ImageConfig, Platform};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Cases that differ on purpose, or by what docker's machine had.
const DIFFERENT: [(&str, &str); 5] = [
    ("118-mount-no-target", "we say what is missing"),
    ("175-copy-parents", "the front end that is built into docker 28 has no --parents; current ones have"),
    ("235-workdir-variable", "a name of one letter isn't suggested for another"),
    ("287-error-platform", "we say why it's no platform"),
    ("291-error-onbuild-trigger", "we say which trigger of which image"),
];

/// A case, and docker's answer.
struct Case {
    name: String,
    dir: PathBuf,
    args: Vec<String>,
    warnings: Vec<String>,
    error: Option<String>,
    config: Value,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/build")
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = std::fs::read_dir(tests().join("golden"))
        .unwrap()
        .flatten()
        .map(|entry| {
            let golden = std::fs::read_to_string(entry.path()).unwrap();
            let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
            let dir = tests().join("corpus").join(&name);
            let args =
                std::fs::read_to_string(dir.with_file_name(format!("{name}.args"))).unwrap_or_default();
            let of = |kind: &str| {
                golden
                    .lines()
                    .filter_map(|line| line.strip_prefix(kind))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let error = of("error ");
            Case {
                args: args.split_whitespace().map(str::to_owned).collect(),
                warnings: of("warning "),
                error: (!error.is_empty()).then(|| error.join("\n")),
                config: of("config ")
                    .first()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .unwrap_or_default(),
                name,
                dir,
            }
        })
        .collect();
    for (name, _) in DIFFERENT {
        assert!(cases.iter().any(|case| case.name == name), "{name} isn't there any more");
    }
    cases.retain(|case| !DIFFERENT.iter().any(|(name, _)| case.name == *name));
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 150, "the corpus isn't there");
    cases
}

impl Case {
    /// The values of a flag.
    fn flag<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.args.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1].as_str())
    }

    fn text(&self) -> String {
        let file = self
            .flag("-f")
            .next()
            .map(|file| file.replace("ctx/", ""))
            .unwrap_or_else(|| "Dockerfile".to_owned());
        std::fs::read_to_string(self.dir.join(file)).unwrap()
    }

    fn pairs(&self, flag: &str) -> BTreeMap<String, String> {
        self.flag(flag)
            .filter_map(|pair| pair.split_once('='))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    }

    fn options(&self) -> Options {
        let build_args = self.pairs("--build-arg");
        Options {
            epoch: build_args.get("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()),
            build_args,
            target: self.flag("--target").next().map(str::to_owned),
            build_platform: platform(),
            labels: self.pairs("--label"),
            add_hosts: self.flag("--add-host").map(str::to_owned).collect(),
            ..Options::default()
        }
    }

    fn lint(&self, file: &Dockerfile) -> Vec<String> {
        let options = lint::Options::of(file, None).unwrap_or_default();
        let target = self.flag("--target").next().map_or(lint::Target::All, lint::Target::Named);
        let platforms =
            ["TARGETPLATFORM", "BUILDPLATFORM"].map(|name| (name.to_owned(), "linux/amd64".to_owned()));
        let parts = [
            "TARGETOS",
            "BUILDOS",
            "TARGETARCH",
            "BUILDARCH",
            "TARGETVARIANT",
            "BUILDVARIANT",
            "TARGETSTAGE",
        ];
        let parts = parts.map(|name| (name.to_owned(), String::new()));
        let ignored = std::fs::read_to_string(self.dir.join(".dockerignore")).unwrap_or_default();
        let ignored = Matcher::new(&ignore::patterns(&ignored)).unwrap_or_default();
        let report = lint::check(&lint::Subject {
            file,
            options: &options,
            build_args: &self.pairs("--build-arg"),
            predefined: &platforms.into_iter().chain(parts).collect(),
            target,
            ignored: Some(&ignored),
            base: &|name: &str| Some(lint::Base { env: image(name).config.env, has_shell: false }),
        });
        report.warnings.iter().map(lint::Warning::short).collect()
    }
}

fn platform() -> Platform {
    Platform::linux("amd64", "")
}

/// The images that cases begin with (`images.sh`).
fn image(name: &str) -> ImageConfig {
    let name = name.trim_start_matches("docker.io/library/").trim_end_matches(":latest");
    let config = match name {
        "configured" => json!({
            "Env": [PATH, "FROM_BASE=1"], "Cmd": ["kept"], "User": "guest", "WorkingDir": "/home/guest",
            "Labels": {"base": "yes"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/vol": {}}, "Entrypoint": ["/entry"],
            "StopSignal": "SIGINT", "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64},
        }),
        "triggers" => json!({
            "Env": [PATH], "OnBuild": ["RUN echo triggered >/triggered", "COPY app /app", "ENV T=1"],
        }),
        _ => json!({ "Env": [PATH], "Cmd": ["sh"] }),
    };
    let history = json!([{ "comment": "Imported from -" }]);
    let rootfs = json!({ "type": "layers", "diff_ids": [format!("sha256:{:064}", 0)] });
    let whole = json!({ "architecture": "amd64", "os": "linux", "config": config, "history": history, "rootfs": rootfs });
    serde_json::from_value(whole).unwrap()
}

struct Images<'a>(&'a Case);

impl Bases for Images<'_> {
    type Error = String;

    fn image(&mut self, reference: &str, _platform: &Platform) -> Result<Base, String> {
        Ok(Base::Image {
            reference: reference.to_owned(),
            chain: Some(format!("sha256:{:064}", 0)),
            config: Box::new(image(reference)),
        })
    }

    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<Base>, String> {
        let directory =
            |directory: PathBuf| Base::Directory { directory, ignored: Vec::new(), keeps_owner: false };
        if name == "context" {
            return Ok(Some(directory(self.0.dir.clone())));
        }
        let contexts = self.0.pairs("--build-context");
        let Some(place) = contexts.get(name) else { return Ok(None) };
        match place.strip_prefix("docker-image://") {
            Some(image) => self.image(image, platform).map(Some),
            None => Ok(Some(directory(self.0.dir.join(place.trim_start_matches("ctx/"))))),
        }
    }
}

/// A configuration without what depends on the machine, and what stands for nothing.
fn normal(mut config: Value) -> Value {
    let members = config["config"].as_object_mut().unwrap();
    members.retain(|_, value| {
        let is_nothing = value.is_null()
            || *value == json!("")
            || *value == json!([])
            || *value == json!({})
            || *value == json!(false);
        !is_nothing
    });
    // Docker 28 writes it beside every shell; deprecated, and without effect on Linux.
    members.remove("ArgsEscaped");
    let whole = config.as_object_mut().unwrap();
    whole.retain(|name, _| !["created", "history", "rootfs"].contains(&&name[..]));
    config
}

#[test]
fn faults_of_the_language_are_buildkits() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Err(errors) = parse(&case.text()) else { continue };
        let first = &errors.errors[0];
        let ours = first.to_string();
        let docker = case.error.clone().unwrap_or_default();
        if !docker.ends_with(&ours) && !docker.ends_with(&first.message) {
            wrong.push(format!("{}\n  docker: {docker}\n  berth:  {ours}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn warnings_are_buildkits() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Ok(file) = parse(&case.text()) else { continue };
        let (mut ours, mut docker) = (case.lint(&file), case.warnings.clone());
        for list in [&mut ours, &mut docker] {
            list.sort();
            list.dedup();
        }
        if ours != docker {
            wrong.push(format!("{}\n  docker: {docker:#?}\n  berth:  {ours:#?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn configurations_and_histories_are_buildkits() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Ok(file) = parse(&case.text()) else { continue };
        let lowered = match lower::lower(&file, &case.options(), &mut Images(&case)) {
            Ok(lowered) => lowered,
            Err(failure) => {
                let (Failure::Fault(lower::Fault { message, .. }) | Failure::Base(_, message)) = failure;
                match &case.error {
                    Some(docker) if docker.contains(&message) => {}
                    docker => wrong.push(format!("{}\n  docker: {docker:?}\n  berth:  {message}", case.name)),
                }
                continue;
            }
        };
        if case.error.is_some() {
            continue;
        }
        let ours = normal(serde_json::to_value(&lowered.config).unwrap());
        let docker = normal(case.config.clone());
        if ours != docker {
            wrong.push(format!("{}\n  docker: {docker}\n  berth:  {ours}", case.name));
        }
        let ours: Vec<_> = lowered
            .history
            .iter()
            .filter_map(|line| match line {
                Line::Own { created_by, step } => Some((created_by.clone(), step.is_none())),
                Line::Inherited(_) => None,
            })
            .collect();
        let docker = case.config["history"].as_array().cloned().unwrap_or_default();
        let docker: Vec<_> = docker
            .iter()
            .filter(|entry| entry["comment"] == "buildkit.dockerfile.v0")
            .map(|entry| (entry["created_by"].as_str().unwrap().to_owned(), entry["empty_layer"] == true))
            .collect();
        if ours != docker {
            wrong.push(format!("{}\n  docker: {docker:#?}\n  berth:  {ours:#?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! What docker compose makes of files of our own, and what we make of them.
//!
//! `corpus/*.txt` has the cases, `corpus/*.json` what docker compose answered, recorded by `cargo xtask goldens compose`.
//! A case is a few files and a command line; the format is told in `corpus/README.md`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail where it wants")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use compose::{Config, Form, Memory, Request, Show};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// Where the cases' files are, for docker compose as for us.
const ROOT: &str = "/corpus";

/// A project and how it is asked for.
#[derive(Default)]
struct Case {
    name: String,
    files: Memory,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Why our answer differs from docker compose's, if it does.
    differs: Option<String>,
    dir: String,
}

/// The cases of one file.
fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut file: Option<String> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            let dir = format!("{ROOT}/{name}");
            cases.push(Case { name: name.to_owned(), dir, ..Case::default() });
            file = Some("compose.yaml".to_owned());
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(words) = line.strip_prefix("#args ") {
            case.arguments = words.split_whitespace().map(str::to_owned).collect();
        } else if let Some(words) = line.strip_prefix("#env ") {
            let pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
            case.environment.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        } else if let Some(reason) = line.strip_prefix("#differs ") {
            case.differs = Some(reason.to_owned());
        } else if let Some(name) = line.strip_prefix("#file ") {
            file = Some(name.to_owned());
            case.files.texts.entry(format!("{}/{name}", case.dir)).or_default();
        } else if let Some(name) = &file {
            let text = case.files.texts.entry(format!("{}/{name}", case.dir)).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    cases
}

/// The command that a case's words ask for, as the command line of `compose` would read them.
fn command(case: &Case, format: &str) -> Config {
    let mut environment = case.environment.clone();
    for (name, value) in [("HOME", "/root"), ("PATH", "/usr/bin:/bin")] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let request = Request { environment, current_dir: case.dir.clone(), ..Request::default() };
    let mut config = Config { request, format: Some(Form::Json), ..Config::default() };
    if format == "yaml" {
        config.format = Some(Form::Yaml);
    }
    let mut words = case.arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap().clone();
        let request = &mut config.request;
        match word.as_str() {
            "-f" => request.files.push(value()),
            "-p" => request.project_name = Some(value()),
            "--profile" => request.profiles.push(value()),
            "--env-file" => request.env_files.push(value()),
            "--project-directory" => request.project_directory = Some(value()),
            "--all-resources" => request.all_resources = true,
            "--no-interpolate" => request.interpolate = false,
            "--no-normalize" => request.normalize = false,
            "--no-path-resolution" => request.resolve_paths = false,
            "--no-consistency" => request.check_consistency = false,
            "--services" => config.show = Show::Services,
            "--volumes" => config.show = Show::Volumes,
            "--networks" => config.show = Show::Networks,
            "--images" => config.show = Show::Images,
            "--profiles" => config.show = Show::Profiles,
            "--models" => config.show = Show::Models,
            "--environment" => config.show = Show::Environment,
            "--variables" => config.show = Show::Variables,
            word if word.starts_with('-') => panic!("{}: unknown word {word}", case.name),
            service => request.services.push(service.to_owned()),
        }
    }
    if format == "hash" {
        config.show = Show::Hash(Vec::new());
        // docker compose forgets that this was asked for.
        config.request.interpolate = true;
    }
    config
}

/// Our answer in the form in which docker compose's is kept.
fn answer(case: &Case) -> Json {
    let printed = command(case, "json").print(&case.files, None);
    let text = match printed {
        Err(error) => return serde_json::json!({ "error": error.to_string() }),
        Ok(printed) => printed.text,
    };
    let mut answer = match serde_json::from_str::<Json>(&text) {
        Ok(model) if model.is_object() => serde_json::json!({ "model": model }),
        _ => serde_json::json!({ "text": sorted(&text) }),
    };
    if answer.get("model").is_some() {
        for key in ["yaml", "hash"] {
            let printed = command(case, key).print(&case.files, None);
            let text = printed.map_or_else(|_| String::new(), |printed| printed.text);
            let digest = Sha256::digest(&text).iter().take(8).fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
            answer[key] = Json::String(digest);
        }
    }
    answer
}

/// Lines whose order is nobody's intent.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

/// Compares one file of cases; the error tells all that differ.
fn compare(path: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let recorded = std::fs::read_to_string(path.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
    let recorded: BTreeMap<String, Json> = serde_json::from_str(&recorded).unwrap();
    let mut wrong = String::new();
    let cases = cases(&text);
    for case in &cases {
        let ours = answer(case);
        let Some(theirs) = recorded.get(&case.name) else {
            writeln!(wrong, "{}: not recorded; run `cargo xtask goldens compose`", case.name).unwrap();
            continue;
        };
        let is_same = match (ours.get("error"), theirs.get("error")) {
            (Some(_), Some(_)) => true,
            (None, None) => ours == *theirs,
            _ => false,
        };
        match (&case.differs, is_same) {
            (None, true) | (Some(_), false) => {}
            (Some(_), true) => writeln!(wrong, "{}: is said to differ, and doesn't", case.name).unwrap(),
            (None, false) => writeln!(wrong, "{}:{}", case.name, difference("", &ours, theirs)).unwrap(),
        }
    }
    if wrong.is_empty() { Ok(cases.len()) } else { Err(wrong) }
}

/// The paths at which two documents differ.
fn difference(path: &str, ours: &Json, theirs: &Json) -> String {
    match (ours, theirs) {
        (Json::Object(a), Json::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Json::Null;
            let value =
                |map: &serde_json::Map<String, Json>, key: &str| map.get(key).unwrap_or(&null).clone();
            let parts = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
            parts.map(|key| difference(&format!("{path}.{key}"), &value(a, key), &value(b, key))).collect()
        }
        _ => format!("\n  {path}\n    ours:   {ours}\n    theirs: {theirs}"),
    }
}

#[test]
fn every_case_is_answered_as_docker_compose_answers_it() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let mut wrong = String::new();
    let mut count = 0;
    for path in paths {
        match compare(&path) {
            Ok(cases) => count += cases,
            Err(found) => wrong += &format!("{}:\n{found}\n", path.file_name().unwrap().display()),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 200, "only {count} cases");
}

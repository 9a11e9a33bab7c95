//! `berth clone`: a container made from another's request.

use std::ffi::OsString;

use engine::images::CommitRequest;
use engine::request::{EnvChange, MountRequest, RunRequest, Seccomp, Source};

use super::run;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{self, Asked, Parsed, Takes};
use crate::format::run_line;
use crate::parse::mount;

pub use super::run::CLONE as SPEC;

/// Makes the container, and prints its id.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let args = parsed.args();
    let mut base = base(&args[0])?;
    if parsed.switch("with-files") {
        base.source = Source::Image(committed(&args[0])?);
    }
    let given = given(parsed);
    let kept = RunRequest {
        name: args.get(1).cloned(),
        mounts: without_replaced(&base.mounts, &given),
        security: engine::request::Security { seccomp: Seccomp::Default, ..base.security.clone() },
        ..base.clone()
    };
    // The last of several counts, so that what is given now stands behind.
    let words: Vec<String> = run_line::flags(&kept)
        .into_iter()
        .filter(|word| !is_replaced(word, &given))
        .chain(given.iter().cloned())
        .collect();
    let words: Vec<OsString> = words.into_iter().chain(run_line::rest(&base)).map(Into::into).collect();
    let again = match flags::parse(&run::CREATE, &parsed.command, &words)? {
        Asked::Work(again) => again,
        // No word is `--help`: that was asked before.
        Asked::Help => return Ok(0),
    };
    let mut request = run::request(&again)?;
    restore(&base, &given, &mut request);
    backend::create(&request, &run::pull_plan(&again)?)
}

/// What the container was made of, without what is of one container only.
fn base(name: &str) -> Result<RunRequest, Failure> {
    let (_, found) = backend::requests(&[name.to_owned()])?
        .pop()
        .ok_or_else(|| Failure::new(format!("no such container: {name}")))?;
    let (_, request) = found?;
    Ok(RunRequest { name: None, cidfile: None, detach: false, explain: false, ..request })
}

/// An image of the container with its changes.
fn committed(name: &str) -> Result<String, Failure> {
    backend::commit(&CommitRequest {
        container: name.to_owned(),
        name: None,
        author: String::new(),
        message: format!("clone of {name}"),
        changes: Vec::new(),
        pause: true,
    })
}

/// The flags of `run` that were given, each as one word.
fn given(parsed: &Parsed) -> Vec<String> {
    let mut words = Vec::new();
    for flag in run::CREATE.all_flags() {
        let values = match flag.takes {
            Takes::Many(_) => parsed.many(flag.name),
            _ => parsed.one(flag.name).into_iter().collect(),
        };
        words.extend(values.into_iter().map(|value| format!("--{}={value}", flag.name)));
    }
    words
}

fn has(given: &[String], flag: &str) -> bool {
    given.iter().any(|word| word.strip_prefix("--").and_then(|word| word.split('=').next()) == Some(flag))
}

/// Whether a word of the container's own goes because another of its flag is given, of which there can be one only.
fn is_replaced(word: &str, given: &[String]) -> bool {
    word.starts_with("--network=") && has(given, "network")
}

/// Its mounts but for those in the place of which others are given.
fn without_replaced(mounts: &[MountRequest], given: &[String]) -> Vec<MountRequest> {
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let targets = given.iter().filter_map(|word| {
        let (flag, value) = word.strip_prefix("--")?.split_once('=')?;
        match flag {
            "volume" => mount::volume(value, &cwd).ok(),
            "mount" => crate::parse::mount_option::parse(value, &cwd).ok(),
            "tmpfs" => crate::parse::tmpfs::parse(value).ok(),
            _ => None,
        }
    });
    let targets: Vec<_> = targets.map(|mount| mount.target).collect();
    mounts.iter().filter(|mount| !targets.contains(&mount.target)).cloned().collect()
}

/// What doesn't come back from words: variables that were taken away, which the caller may have now, and a profile whose
/// file may be another by now.
fn restore(base: &RunRequest, given: &[String], request: &mut RunRequest) {
    for change in &mut request.env {
        let name = change.name().to_owned();
        let unset = base.env.contains(&EnvChange::Unset(name.clone()));
        let again = given.iter().any(|word| {
            word.strip_prefix("--env=").and_then(|word| word.split('=').next()) == Some(name.as_str())
        });
        if unset && !again {
            *change = EnvChange::Unset(name);
        }
    }
    if !given.iter().any(|word| word.starts_with("--security-opt=seccomp")) {
        request.security.seccomp = base.security.seccomp.clone();
    }
}

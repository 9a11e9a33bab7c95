//! The last build of each Dockerfile, remembered to tell why steps ran.

use super::notes::Notes;
use super::request::BuildRequest;
use crate::{Error, Home};
use ::build::explain::{self, Report};
use ::build::lower::Lowered;
use ::build::op::StepId;
use ::build::solve::Solved;
use std::collections::BTreeMap;
use std::path::PathBuf;
use store::listing::How;
use types::digest::Digest;

/// Files that are named of those that changed.
const FILES_SHOWN: usize = 5;

/// Name of the file that says what was built last.
const LAST: &str = "last";

fn directory(home: &Home) -> PathBuf {
    home.root.join("build/reports")
}

/// Which file remembers a build: the same for each build of one Dockerfile in one context for one target.
fn name_of(request: &BuildRequest) -> String {
    let context = request.here.join(&request.context);
    let file = request.here.join(&request.file);
    let platform = request.options.target_platform.as_ref().map(ToString::to_string);
    let words = (context, file, &request.text, &request.options.target, platform);
    Digest::of(format!("{words:?}").as_bytes()).hex().chars().take(32).collect()
}

/// What is remembered of the last build like this one.
pub(super) fn last(home: &Home, request: &BuildRequest) -> Option<Report> {
    read(directory(home).join(name_of(request)))
}

/// What is remembered of the build that ended last.
pub fn last_of_all(home: &Home) -> Option<Report> {
    let name = std::fs::read_to_string(directory(home).join(LAST)).ok()?;
    read(directory(home).join(name))
}

fn read(path: PathBuf) -> Option<Report> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Reports a build.
pub(super) fn report(
    home: &Home,
    lowered: &Lowered,
    solved: &[Option<Solved>],
    took_ms: &BTreeMap<StepId, u64>,
    before: Option<&Report>,
) -> Report {
    let notes = Notes::of(home).ok();
    let files = |old: &str, new: &str| {
        let lists = notes.as_ref().and_then(|notes| Some((notes.list(old)?, notes.list(new)?)));
        lists.map_or_else(Vec::new, |(old, new)| changes(&old, &new))
    };
    explain::report(&lowered.graph, solved, took_ms, before, &files)
}

fn changes(old: &store::listing::List, new: &store::listing::List) -> Vec<String> {
    let (differences, count) = old.differences(new, FILES_SHOWN);
    let mut said: Vec<String> = differences
        .iter()
        .map(|difference| {
            let path = String::from_utf8_lossy(&difference.path);
            match difference.how {
                How::Added => format!("{path} is new"),
                How::Removed => format!("{path} is gone"),
                How::Type => format!("{path} is another kind of file"),
                How::Content => format!("{path} changed"),
                How::Mode(old, new) => format!("the mode of {path} was {old:04o}, and is {new:04o}"),
                How::Owner => format!("the owner of {path} changed"),
            }
        })
        .collect();
    if count > said.len() {
        said.push(format!("and {} more", count - said.len()));
    }
    said
}

/// Remembers it.
pub(super) fn keep(home: &Home, request: &BuildRequest, report: &Report) -> Result<(), Error> {
    let directory = directory(home);
    let name = name_of(request);
    let failed = |error: std::io::Error| Error::io("write to", directory.display(), &error);
    std::fs::create_dir_all(&directory).map_err(failed)?;
    // Plain data always serialises.
    let bytes = serde_json::to_vec(report).unwrap_or_default();
    for (name, bytes) in [(name.as_str(), bytes.as_slice()), (LAST, name.as_bytes())] {
        // Losing it costs an explanation: it isn't synced.
        super::notes::place(&directory.join(name), bytes)?;
    }
    Ok(())
}

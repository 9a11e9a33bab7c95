//! From texts to one tree: each file is interpolated, extended, merged and validated in turn; then the whole is completed.
//!
//! The order of steps is compose's, since it can be seen: a file's `!reset` reaches what was before it, an included
//! project is complete before it is merged. Source: compose-go's package loader.

mod extends;
mod include;

use std::collections::{BTreeMap, BTreeSet};

use crate::canonical;
use crate::error::Error;
use crate::fault::{Fault, Report, SourceText};
use crate::files::Files;
use crate::interpolate::interpolate;
use crate::merge;
use crate::node::{Node, Tag, Value};
use crate::path::Path;
use crate::{resolve, schema, yaml};

/// Which steps are done, and with what.
#[derive(Clone, Debug)]
pub struct Steps {
    /// Variables are replaced.
    pub interpolate: bool,
    /// Relative paths become absolute.
    pub resolve_paths: bool,
    /// What is implied is added.
    pub normalize: bool,
}

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Loads files of one project, and remembers what it has read.
pub(crate) struct Loader<'a> {
    pub files: &'a dyn Files,
    pub steps: Steps,
    pub sources: Vec<SourceText>,
    pub faults: Vec<Fault>,
    /// Variables that aren't set, and have no default.
    pub unset: BTreeSet<String>,
    /// What isn't wrong but worth saying.
    pub warnings: Vec<String>,
    /// Files that services are extended from, by path and by what their paths are relative to.
    extended: BTreeMap<(String, String), extends::Extended>,
    /// Files that were parsed to know the project's name, by path.
    parsed: BTreeMap<String, Vec<Node>>,
}

/// Loading can't go on; the faults say why.
pub(crate) struct Stopped;

/// Where the paths and variables of a file come from.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The directory that relative files are of, absolute.
    pub dir: &'a str,
    /// What paths in it are relative to: as `dir`, or the way to it from the including project's directory.
    pub base: &'a str,
    pub environment: &'a Environment,
}

/// The keys below which something is reset.
pub(crate) type Resets = Vec<Vec<String>>;

impl<'a> Loader<'a> {
    pub fn new(files: &'a dyn Files, steps: Steps) -> Loader<'a> {
        Loader {
            files,
            steps,
            sources: Vec::new(),
            faults: Vec::new(),
            unset: BTreeSet::new(),
            warnings: Vec::new(),
            extended: BTreeMap::new(),
            parsed: BTreeMap::new(),
        }
    }

    /// The error that all faults together are.
    pub fn error(&mut self) -> Error {
        Error::Invalid(Report::new(std::mem::take(&mut self.faults), std::mem::take(&mut self.sources)))
    }

    /// Stops if anything is wrong so far.
    fn go_on(&self) -> Result<(), Stopped> {
        if self.faults.is_empty() { Ok(()) } else { Err(Stopped) }
    }

    fn stop<T>(&mut self, fault: Fault) -> Result<T, Stopped> {
        self.faults.push(fault);
        Err(Stopped)
    }

    /// Loads the files of one project, or of one that is included. `included` are the files that lead here.
    pub fn project(&mut self, paths: &[String], place: Place, included: &[String]) -> Result<Node, Stopped> {
        let mut file = Node::new(Value::Map(BTreeMap::new()));
        for path in paths {
            file = self.file(file, path, place, included)?;
        }
        canonical::set_defaults(&mut file);
        canonical::check(&mut file, &mut self.faults);
        self.go_on()?;
        if self.steps.resolve_paths || !included.is_empty() {
            resolve::paths(&mut file, place.base, self.files);
        }
        if self.steps.interpolate {
            resolve::environment(&mut file, &|name| place.environment.get(name).cloned());
        }
        Ok(file)
    }

    /// Parses a file that [`Loader::project`] will want.
    pub fn parse_ahead(&mut self, path: &str, dir: &str) -> Result<&[Node], Stopped> {
        let documents = self.parse(path, dir)?;
        Ok(self.parsed.entry(path.to_owned()).or_insert(documents))
    }

    /// Reads and parses a file.
    fn parse(&mut self, path: &str, dir: &str) -> Result<Vec<Node>, Stopped> {
        if let Some(documents) = self.parsed.remove(path) {
            return Ok(documents);
        }
        let read = if path == "-" { self.files.standard_input() } else { self.files.read(path) };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return self.stop(Fault::nowhere(format!("cannot read {path}: {error}"))),
        };
        let shown = match path {
            "-" => "-",
            path => path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return self.stop(Fault::nowhere(format!("{shown} is not valid UTF-8")));
        };
        let index = u16::try_from(self.sources.len()).unwrap_or(u16::MAX);
        let parsed = yaml::parse(&text, index);
        self.sources.push(SourceText { name: shown.to_owned(), text });
        if self.sources.len() > usize::from(u16::MAX) / 2 {
            return self.stop(Fault::nowhere("more files than can be told apart"));
        }
        match parsed {
            Ok(documents) => Ok(documents),
            Err(fault) if fault.at.line == 0 => {
                self.stop(Fault::nowhere(format!("{shown}: {}", fault.message)))
            }
            Err(fault) => self.stop(fault),
        }
    }

    /// A document of a file as it is before anything is merged: interpolated, with its resets apart.
    fn prepare(&mut self, document: &mut Node, environment: &Environment) -> Result<Resets, Stopped> {
        if document.as_map().is_none() {
            let message = format!("top-level object must be a mapping, not {}", document.kind());
            return self.stop(Fault::of(document, message));
        }
        let mut resets = Resets::new();
        take_resets(document, &mut Vec::new(), &mut resets);
        if self.steps.interpolate {
            let mut unset = Vec::new();
            let lookup = |name: &str| environment.get(name).cloned();
            interpolate(document, &lookup, &mut unset, &mut self.faults);
            self.unset.extend(unset);
        }
        Ok(resets)
    }

    /// Lays a file over what is there.
    fn file(
        &mut self,
        mut file: Node,
        path: &str,
        place: Place,
        included: &[String],
    ) -> Result<Node, Stopped> {
        let documents = self.parse(path, place.dir)?;
        for mut document in documents {
            if document.is_null() {
                continue;
            }
            let resets = self.prepare(&mut document, place.environment)?;
            self.go_on()?;
            self.extend_services(&mut document, path, place, &resets)?;
            apply_resets(&mut file, &resets);
            self.include(&mut document, path, place, included)?;
            file = merge::merge(file, document, Path::root(), &mut self.faults);
            merge::remove_replaced(&mut file, Path::root());
            schema::validate(&file, &mut self.faults);
            self.go_on()?;
            if file.as_map_mut().and_then(|map| map.remove("version")).is_some() {
                let warning = format!(
                    "{path}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid \
                     potential confusion"
                );
                self.warnings.push(warning);
            }
            canonical::canonical(&mut file, !self.steps.interpolate, &mut self.faults);
            merge::remove_replaced(&mut file, Path::root());
            self.go_on()?;
        }
        Ok(file)
    }
}

/// Removes values with `!reset`, and notes where they and those with `!override` stand.
fn take_resets(node: &mut Node, path: &mut Vec<String>, resets: &mut Resets) {
    match &mut node.value {
        Value::Map(map) => map.retain(|key, node| {
            path.push(key.clone());
            match node.tag {
                Tag::None => take_resets(node, path, resets),
                Tag::Reset | Tag::Override => resets.push(path.clone()),
            }
            path.pop();
            node.tag != Tag::Reset
        }),
        Value::List(list) => {
            list.retain(|node| node.tag != Tag::Reset);
            path.push("[]".to_owned());
            list.iter_mut().for_each(|node| take_resets(node, path, resets));
            path.pop();
        }
        _ => {}
    }
}

/// Removes what a later file resets.
fn apply_resets(file: &mut Node, resets: &Resets) {
    for path in resets {
        let Some((last, parents)) = path.split_last() else { continue };
        let parent = parents.iter().try_fold(&mut *file, |node, key| node.get_mut(key));
        if let Some(map) = parent.and_then(Node::as_map_mut) {
            map.remove(last);
        }
    }
}

/// The way from one directory to another, by their letters: both absolute, or both relative to the same.
pub(crate) fn way(from: &str, to: &str) -> String {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(from), parts(to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let way: Vec<&str> = up.chain(to[common..].iter().map(String::as_str)).collect();
    if way.is_empty() { ".".to_owned() } else { way.join("/") }
}

/// The directory that a file is in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    }
}

/// Why a file can't be had from where its name says it is, if it isn't a path.
pub(crate) fn remote(path: &str) -> Option<&'static str> {
    const GIT: [&str; 5] = ["git@", "git://", "ssh://", "github.com/", "http"];
    if path.starts_with("oci://") {
        return Some("registry");
    }
    let is_git = GIT.iter().any(|prefix| path.starts_with(prefix));
    (is_git && (path.contains(".git") || path.contains("://") || path.starts_with("git")))
        .then_some("git repository")
}

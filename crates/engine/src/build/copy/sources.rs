//! Which files of a tree a copy's sources mean. Source of the rules: tonistiigi/fsutil, `copy.ResolveWildcards`, and moby
//! patternmatcher.

use crate::build::context::Ignore;
use build::dockerfile::glob::{self, Glob};
use linux::Errno;
use rustix::fs::FileType;
use store::listing::{Take, Tree};

/// A source that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Where it is in the tree: a clean path without links.
    pub at: Vec<u8>,
    /// What it's called, where links were followed under the name that they were followed from.
    pub name: Vec<u8>,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it's there only if something in it is: `.dockerignore` leaves it out, but perhaps not all that is in it.
    pub is_uncertain: bool,
}

/// Why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing of that path. With what is there as far as it goes: the last directory, without links.
    Nothing {
        /// The directory.
        directory: Vec<u8>,
        /// What it lacks.
        name: Vec<u8>,
    },
    /// `.dockerignore` leaves it out.
    Ignored(Vec<u8>),
    /// It's a link to something that isn't there.
    Dangling {
        /// The link.
        link: Vec<u8>,
        /// What it holds.
        target: Vec<u8>,
    },
    /// The kernel's answer, on a path.
    Call(Vec<u8>, Errno),
}

/// Symbolic links followed on one path.
const LINKS_MAX: usize = 255;

/// Most paths that one pattern finds.
const MATCHES_MAX: usize = 1 << 20;

/// The parts of a path, cleaned as Go's `path.Clean` does for an absolute one: `..` leads no higher than the root.
pub fn clean(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// Follows `path`, links in the last place included, in what `ignore` leaves of the tree.
pub fn follow(tree: &Tree, ignore: &Ignore, path: &[Vec<u8>]) -> Result<Match, Missing> {
    let mut here: Vec<Vec<u8>> = Vec::new();
    let mut todo: Vec<Vec<u8>> = path.iter().rev().cloned().collect();
    let mut links = 0;
    let mut found = (true, false);
    let mut last_link = None;
    while let Some(part) = todo.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                here.pop();
                found = (true, false);
                continue;
            }
            _ => {}
        }
        let directory = here.join(&b'/');
        here.push(part.clone());
        let at = here.join(&b'/');
        let stat = match tree.stat(&at, false) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let missing = Missing::Nothing { directory, name: part };
                return Err(last_link.map_or(missing, |(link, target)| Missing::Dangling { link, target }));
            }
            stat => stat.map_err(|errno| Missing::Call(at.clone(), errno))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let take = ignore.take(&at, is_directory);
        if take == Take::No || (take == Take::IfBelow && !is_directory) {
            return Err(Missing::Ignored(at));
        }
        found = (is_directory, take == Take::IfBelow);
        if kind != FileType::Symlink {
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Missing::Call(at, Errno::LOOP));
        }
        let link = tree.open(&at).map_err(|errno| Missing::Call(at.clone(), errno))?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new());
        let target = target.map_err(|errno| Missing::Call(at.clone(), errno))?.into_bytes();
        last_link = Some((at, target.clone()));
        match target.starts_with(b"/") {
            true => here.clear(),
            false => drop(here.pop()),
        }
        todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        found = (true, false);
    }
    let name = path.last().cloned().unwrap_or_default();
    let (is_directory, is_uncertain) = found;
    Ok(Match { at: here.join(&b'/'), name, is_directory, is_uncertain })
}

/// What `pattern` finds: of a path that is none, nothing; of a plain path, what is there.
///
/// Errors: what is missing; for a bad pattern the pattern.
pub fn find(tree: &Tree, ignore: &Ignore, pattern: &str) -> Result<Vec<Match>, FindError> {
    let parts = clean(pattern);
    let plain = parts.iter().take_while(|part| !glob::has_wildcards(part)).count();
    let bytes =
        |parts: &[&str]| -> Vec<Vec<u8>> { parts.iter().map(|part| part.as_bytes().to_vec()).collect() };
    if plain == parts.len() {
        return Ok(vec![follow(tree, ignore, &bytes(&parts)).map_err(FindError::Missing)?]);
    }
    let globs = parts[plain..].iter().map(|part| Glob::new(part));
    let globs: Vec<Glob> = globs.collect::<Result<_, _>>().map_err(FindError::Pattern)?;
    let start = match follow(tree, ignore, &bytes(&parts[..plain])) {
        Err(Missing::Nothing { .. } | Missing::Ignored(_) | Missing::Dangling { .. }) => {
            return Ok(Vec::new());
        }
        start => start.map_err(FindError::Missing)?,
    };
    let mut matches = Vec::new();
    if start.is_directory {
        // Paths below the start that matched so far, in the order in which they are walked.
        let mut todo = vec![(start.at, 0)];
        while let Some((at, depth)) = todo.pop() {
            let names = match tree.names(&at) {
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue,
                names => names.map_err(|errno| FindError::Missing(Missing::Call(at.clone(), errno)))?,
            };
            let matching =
                names.into_iter().filter(|name| globs[depth].matches(&String::from_utf8_lossy(name)));
            let below = |name: Vec<u8>| if at.is_empty() { name } else { [&at, &b"/"[..], &name].concat() };
            let found: Vec<Vec<u8>> = matching.map(below).collect();
            if depth + 1 < globs.len() {
                todo.extend(found.into_iter().rev().map(|path| (path, depth + 1)));
                continue;
            }
            for path in found {
                let parts: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
                if is_ignored(tree, ignore, &path) {
                    continue;
                }
                // A link that leads nowhere is an error, as for a plain path.
                matches.push(follow(tree, ignore, &parts).map_err(FindError::Missing)?);
                if matches.len() > MATCHES_MAX {
                    return Err(FindError::TooMany(MATCHES_MAX));
                }
            }
        }
    }
    Ok(matches)
}

fn is_ignored(tree: &Tree, ignore: &Ignore, path: &[u8]) -> bool {
    let Ok(stat) = tree.stat(path, false) else { return true };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    match ignore.take(path, is_directory) {
        Take::Yes => false,
        Take::No => true,
        Take::IfBelow => !is_directory,
    }
}

/// Why a pattern finds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindError {
    /// Something isn't there.
    Missing(Missing),
    /// It is no pattern.
    Pattern(glob::BadPattern),
    /// It finds more than this.
    TooMany(usize),
}

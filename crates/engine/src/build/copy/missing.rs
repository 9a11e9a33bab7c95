//! What to say of a source that isn't there.

use super::Origin;
use super::sources::{FindError, Missing, clean};
use crate::Error;
use crate::build::fault;
use linux::Errno;
use store::listing::Take;
use types::kind::Kind;

/// Directories that are searched for a file of the same name.
const DIRECTORIES_MAX: usize = 200;

/// Names farther away than this aren't meant.
const DISTANCE_MAX: usize = 3;

/// The error for a source as it was written.
pub fn error(origin: &Origin, pattern: &str, error: FindError) -> Error {
    let shown = format!("\"/{}\"", clean(pattern).join("/"));
    match error {
        FindError::Pattern(bad) => fault(Kind::Invalid, bad.to_string(), None),
        FindError::TooMany(max) => fault(Kind::Invalid, format!("{shown} finds more than {max} files"), None),
        FindError::Missing(Missing::Call(path, errno)) => {
            let path = path.escape_ascii();
            let message =
                format!("cannot look at /{path} in {}: {}", origin.label, runtime::errno_text(errno));
            let kind = if errno == Errno::LOOP { Kind::Invalid } else { Kind::System };
            fault(kind, message, None)
        }
        FindError::Missing(Missing::Ignored(path)) => {
            let path = String::from_utf8_lossy(&path).into_owned();
            let file = &origin.ignore_file;
            let hint = format!("{file} leaves /{path} out: a line !{path} would keep it");
            fault(Kind::NotFound, format!("{shown} not found in {}", origin.label), Some(hint))
        }
        FindError::Missing(Missing::Dangling { link, target }) => {
            let text = |bytes: &[u8]| types::inert::inert(&String::from_utf8_lossy(bytes)).into_owned();
            let hint = format!(
                "/{} is a link to {}, and links lead nowhere but into {}",
                text(&link),
                text(&target),
                origin.label
            );
            fault(Kind::NotFound, format!("{shown} not found in {}", origin.label), Some(hint))
        }
        FindError::Missing(Missing::Nothing { directory, name }) => {
            let hint = near(origin, &directory, &name);
            fault(Kind::NotFound, format!("{shown} not found in {}", origin.label), hint)
        }
    }
}

/// What may have been meant by `name` in `directory`.
fn near(origin: &Origin, directory: &[u8], name: &[u8]) -> Option<String> {
    let text = |bytes: &[u8]| types::inert::inert(&String::from_utf8_lossy(bytes)).into_owned();
    let below = |directory: &[u8], name: &[u8]| match directory {
        b"" => name.to_vec(),
        directory => [directory, b"/", name].concat(),
    };
    let is_there = |path: &[u8]| origin.ignore.take(path, false) != Take::No;
    let wanted = text(name);
    let names = origin.tree.names(directory).unwrap_or_default();
    let near = names.iter().filter(|name| is_there(&below(directory, name)));
    let near = near.filter_map(|name| Some((distance(&wanted, &text(name))?, name))).min();
    if let Some((_, name)) = near {
        return Some(format!("did you mean {}?", text(&below(directory, name))));
    }
    // The same name elsewhere.
    let mut todo = std::collections::VecDeque::from([Vec::new()]);
    for _ in 0..DIRECTORIES_MAX {
        let at: Vec<u8> = todo.pop_front()?;
        for found in origin.tree.names(&at).unwrap_or_default() {
            let path = below(&at, &found);
            if found == name && path != below(directory, name) && is_there(&path) {
                return Some(format!("did you mean {}?", text(&path)));
            }
            if is_there(&path) {
                // What is no directory has no names.
                todo.push_back(path);
            }
        }
    }
    None
}

/// How far `name` is from what was `wanted`, if it's near enough to be meant.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    if wanted.eq_ignore_ascii_case(name) {
        return Some(0);
    }
    let max = DISTANCE_MAX.min(wanted.chars().count() / 2).max(1);
    let (a, b): (Vec<char>, Vec<char>) = (wanted.chars().collect(), name.chars().collect());
    if a.len().abs_diff(b.len()) > max || a.len() < 2 {
        return None;
    }
    // Levenshtein's distance, a row at a time.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= max)
}

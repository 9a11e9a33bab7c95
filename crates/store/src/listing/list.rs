//! Paths with short digests: what tells later which file it was that changed.

use super::node::NodeKind;
use super::scan::Listing;
use crate::pack::join;

/// Paths of a selection, sorted, with what there is to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// See [`List::add`].
    bytes: Vec<u8>,
    last: Vec<u8>,
    len: usize,
}

/// What is told of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    path: Vec<u8>,
    kind: u8,
    mode: u16,
    owner: (u32, u32),
    /// The first bytes of the digest of its content; of a directory none.
    sum: [u8; SUM_BYTES],
}

/// Enough to tell a change, not to prove equality.
const SUM_BYTES: usize = 8;

/// How a path of one list differs from the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Only the newer list has it.
    Added,
    /// Only the older list has it.
    Removed,
    /// It's another kind of file.
    Type,
    /// Its bytes, its attributes, or where it points to.
    Content,
    /// Its mode only: before and after.
    Mode(u16, u16),
    /// Its owner.
    Owner,
}

/// A path that is not the same in two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: Vec<u8>,
    /// How it differs.
    pub how: How,
}

const MAGIC: &[u8; 16] = b"berth list 1\0\0\0\0";

impl List {
    /// How many paths it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what was selected at `at`, which is empty for the root of a tree. Lists are added in the order of a copy's
    /// sources: paths needn't be sorted over all of them.
    pub fn add(&mut self, at: &[u8], listing: &Listing, owners: bool) {
        let mut todo = vec![(0, at.to_vec())];
        while let Some((index, path)) = todo.pop() {
            let node = listing.node(index);
            let is_directory = node.kind == NodeKind::Directory;
            if index != 0 || !is_directory {
                let sum = node.sum();
                let mut short = [0; SUM_BYTES];
                if !is_directory {
                    short.copy_from_slice(&sum[..SUM_BYTES]);
                }
                self.push(&Line {
                    path: path.clone(),
                    kind: node.kind as u8,
                    mode: node.mode,
                    owner: if owners { (node.uid, node.gid) } else { (0, 0) },
                    sum: short,
                });
            }
            let below = |child: usize| (child, join(&path, listing.name(child)));
            todo.extend(listing.children(index).rev().map(below));
        }
    }

    /// Adds something that isn't in a tree: a text, what is at a URL.
    pub fn add_other(&mut self, name: &str, sum: &super::Sum) {
        let mut short = [0; SUM_BYTES];
        short.copy_from_slice(&sum[..SUM_BYTES]);
        let path = name.as_bytes().to_vec();
        self.push(&Line { path, kind: NodeKind::File as u8, mode: 0, owner: (0, 0), sum: short });
    }

    fn push(&mut self, line: &Line) {
        let shared = line.path.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        put_number(&mut self.bytes, shared as u64);
        put_number(&mut self.bytes, (line.path.len() - shared) as u64);
        self.bytes.extend_from_slice(&line.path[shared..]);
        self.bytes.push(line.kind);
        self.bytes.extend_from_slice(&line.mode.to_le_bytes());
        put_number(&mut self.bytes, line.owner.0.into());
        put_number(&mut self.bytes, line.owner.1.into());
        self.bytes.extend_from_slice(&line.sum);
        self.last.clone_from(&line.path);
        self.len += 1;
    }

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&MAGIC[..], &self.bytes].concat()
    }

    /// From a file; `None` if it is none, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<List> {
        let bytes = bytes.strip_prefix(MAGIC)?.to_vec();
        let mut lines = Lines { rest: &bytes, last: Vec::new() };
        let mut len = 0;
        while !lines.rest.is_empty() {
            lines.read()?;
            len += 1;
        }
        let last = lines.last;
        Some(List { bytes, last, len })
    }

    fn sorted(&self) -> Vec<Line> {
        let mut lines = Lines { rest: &self.bytes, last: Vec::new() };
        let mut all: Vec<Line> = std::iter::from_fn(|| lines.read()).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }

    /// The paths, with kind and mode as `ls -l` shows them in its first column.
    pub fn paths(&self) -> Vec<Vec<u8>> {
        self.sorted().into_iter().map(|line| line.path).collect()
    }

    /// How `newer` differs: at most `max` differences, sorted by path, and how many there are.
    pub fn differences(&self, newer: &List, max: usize) -> (Vec<Difference>, usize) {
        let (old, new) = (self.sorted(), newer.sorted());
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        let (mut found, mut count) = (Vec::new(), 0);
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return (found, count),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.path.cmp(&new.path),
            };
            let difference = match order {
                std::cmp::Ordering::Less => old.next().map(|line| (line.path, How::Removed)),
                std::cmp::Ordering::Greater => new.next().map(|line| (line.path, How::Added)),
                std::cmp::Ordering::Equal => old.next().zip(new.next()).and_then(|(old, new)| {
                    let how = how(&old, &new)?;
                    Some((new.path, how))
                }),
            };
            if let Some((path, how)) = difference {
                count += 1;
                if found.len() < max {
                    found.push(Difference { path, how });
                }
            }
        }
    }
}

fn how(old: &Line, new: &Line) -> Option<How> {
    if old.kind != new.kind {
        return Some(How::Type);
    }
    if old.mode != new.mode {
        return Some(How::Mode(old.mode, new.mode));
    }
    if old.owner != new.owner {
        return Some(How::Owner);
    }
    (old.sum != new.sum).then_some(How::Content)
}

struct Lines<'a> {
    rest: &'a [u8],
    last: Vec<u8>,
}

impl Lines<'_> {
    fn read(&mut self) -> Option<Line> {
        let shared = usize::try_from(self.number()?).ok()?;
        let length = usize::try_from(self.number()?).ok()?;
        let mut path = self.last.get(..shared)?.to_vec();
        path.extend_from_slice(self.take(length)?);
        let kind = self.take(1)?[0];
        let mode = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        let owner = (u32::try_from(self.number()?).ok()?, u32::try_from(self.number()?).ok()?);
        let sum = self.take(SUM_BYTES)?.try_into().ok()?;
        self.last.clone_from(&path);
        Some(Line { path, kind, mode, owner, sum })
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(lines: &[(&str, char, u16, u8)]) -> List {
        let mut list = List::default();
        for (path, kind, mode, sum) in lines {
            let path = path.as_bytes().to_vec();
            list.push(&Line { path, kind: *kind as u8, mode: *mode, owner: (0, 0), sum: [*sum; SUM_BYTES] });
        }
        list
    }

    #[test]
    fn differences_say_how() {
        let old =
            list(&[("a", 'f', 0o644, 1), ("b", 'f', 0o644, 1), ("c", 'f', 0o644, 1), ("e", 'l', 0o777, 1)]);
        let new =
            list(&[("a", 'f', 0o644, 2), ("c", 'f', 0o755, 1), ("d", 'f', 0o644, 1), ("e", 'f', 0o777, 1)]);
        let (found, count) = old.differences(&new, 10);
        let text: Vec<_> =
            found.iter().map(|d| (String::from_utf8_lossy(&d.path).into_owned(), d.how)).collect();
        let expected = [
            ("a", How::Content),
            ("b", How::Removed),
            ("c", How::Mode(0o644, 0o755)),
            ("d", How::Added),
            ("e", How::Type),
        ];
        assert_eq!(text, expected.map(|(path, how)| (path.to_owned(), how)));
        assert_eq!(count, 5);
        assert_eq!(old.differences(&new, 2).0.len(), 2);
        assert_eq!(new.differences(&new, 2), (Vec::new(), 0));
    }

    proptest! {
        #[test]
        fn lists_are_read_back(paths in proptest::collection::vec("[a-c/]{0,12}", 0..20), numbers in any::<(u16, u32, u32)>()) {
            let mut list = List::default();
            for path in &paths {
                let owner = (numbers.1, numbers.2);
                let line = Line { path: path.clone().into_bytes(), kind: b'f', mode: numbers.0, owner, sum: [7; SUM_BYTES] };
                list.push(&line);
            }
            prop_assert_eq!(List::from_bytes(&list.to_bytes()), Some(list.clone()));
            prop_assert_eq!(list.len(), paths.len());
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = List::from_bytes(&[&MAGIC[..], &bytes].concat());
            let _ = List::from_bytes(&bytes);
        }
    }
}

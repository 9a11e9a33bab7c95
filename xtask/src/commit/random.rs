//! Random changes of a tree, as lines for `change.c`.

use super::listing::escaped;
use crate::soak::Random;
use std::collections::BTreeMap;

/// Names that archives write in different ways: long ones, with blanks, beyond ASCII, no UTF-8 at all.
const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"f.txt",
    b".hidden",
    b"-dash",
    b"two words",
    "\u{fc}ml\u{e4}ut".as_bytes(),
    b"back\\slash",
    b"\xff\xfe",
];
const LONG_NAMES: [usize; 3] = [101, 160, 255];
const MODES: [u32; 9] = [0o644, 0o600, 0o755, 0o700, 0o4755, 0o2750, 0o1777, 0o444, 0];
const OWNERS: [u32; 6] = [0, 1, 7, 1000, 65_534, 65_535];
/// CAP_NET_RAW, permitted and effective. Source: linux/capability.h, vfs_cap_data of revision 2.
const CAPABILITY: &str = "0100000200200000000000000000000000000000";
const DEPTH_MAX: usize = 5;
/// Longest directory in which something is made, in bytes.
const DIRECTORY_BYTES_MAX: usize = 180;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Other,
}

/// The tree as it should be, and the lines that made it so. What fails in the container, such as the renaming of a
/// directory of a layer below, makes the two differ; then more lines fail, everywhere in the same way.
pub struct Changes {
    random: Random,
    devices: bool,
    has_below: bool,
    tree: BTreeMap<Vec<u8>, Kind>,
    lines: String,
}

impl Changes {
    /// An empty tree, below `w`. With `devices`, changes need the rights of the host's root.
    pub fn new(seed: u64, devices: bool) -> Self {
        // Neighbouring seeds begin alike otherwise.
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1));
        Self {
            random,
            devices,
            has_below: false,
            tree: BTreeMap::from([(b"w".to_vec(), Kind::Directory)]),
            lines: String::new(),
        }
    }

    /// A tree made.
    pub fn first(&mut self) -> String {
        self.line("dir", b"w", "755");
        for _ in 0..6 {
            self.create(0);
        }
        for _ in 0..30 {
            match self.random.below(10) {
                0..=6 => self.create_any(),
                _ => self.alter(),
            }
        }
        std::mem::take(&mut self.lines)
    }

    /// The tree changed.
    pub fn second(&mut self) -> String {
        self.has_below = true;
        for _ in 0..25 {
            match self.random.below(16) {
                0..=2 => self.remove(),
                3..=5 => self.replace(),
                6 | 7 => self.empty(),
                8 | 9 => self.rename(),
                10..=12 => self.create_any(),
                _ => self.alter(),
            }
        }
        std::mem::take(&mut self.lines)
    }

    fn line(&mut self, verb: &str, path: &[u8], rest: &str) {
        self.lines += format!("{verb} {} {rest}", escaped(path)).trim_end();
        self.lines.push('\n');
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize]
    }

    fn create_any(&mut self) {
        let kind = self.random.below(14);
        self.create(kind);
    }

    /// Something that is there, of a kind if one is named.
    fn existing(&mut self, kind: Option<Kind>) -> Option<Vec<u8>> {
        let fits = |known: &Kind| kind.is_none_or(|kind| kind == *known);
        let paths: Vec<&Vec<u8>> = self
            .tree
            .iter()
            .filter(|(path, known)| path.len() > 1 && fits(known))
            .map(|(path, _)| path)
            .collect();
        match paths.len() {
            0 => None,
            count => Some(paths[self.random.below(count as u64) as usize].clone()),
        }
    }

    /// A name in a directory that is there, mostly one that isn't taken.
    fn fresh(&mut self) -> Vec<u8> {
        let dirs: Vec<Vec<u8>> = self
            .tree
            .iter()
            .filter(|(path, kind)| {
                let depth = path.iter().filter(|byte| **byte == b'/').count();
                **kind == Kind::Directory && depth < DEPTH_MAX && path.len() < DIRECTORY_BYTES_MAX
            })
            .map(|(path, _)| path.clone())
            .collect();
        // The root of the file system, too.
        let dir = if self.random.below(20) == 0 {
            Vec::new()
        } else {
            dirs[self.random.below(dirs.len() as u64) as usize].clone()
        };
        let name = match self.random.below(10) {
            _ if dir.is_empty() => format!("x{}", self.random.below(3)).into_bytes(),
            0 if self.random.below(3) == 0 => vec![b'n'; self.one(&LONG_NAMES)],
            _ => self.one(&NAMES).to_vec(),
        };
        if dir.is_empty() { name } else { [&dir[..], b"/", &name].concat() }
    }

    fn create(&mut self, kind: u64) {
        let path = self.fresh();
        let is_new = !self.tree.contains_key(&path);
        let mut made = Kind::Other;
        match kind {
            0..=2 => {
                let mode = format!("{:o}", self.one(&MODES));
                self.line("dir", &path, &mode);
                made = Kind::Directory;
            }
            3..=6 => {
                let (size, seed) = (self.one(&[0, 1, 5, 100, 511, 512, 513, 1500]), self.random.below(26));
                self.line("file", &path, &format!("{size} {seed}"));
                made = Kind::File;
            }
            7 => {
                let size = self.one(&[4096, 10_000, 20_480]);
                self.line("sparse", &path, &size.to_string());
                made = Kind::File;
            }
            8 => {
                let long = "long/".repeat(30);
                let target =
                    self.one(&["a", "../b", "/w/c", "two words", "nowhere/at all", &long]).to_owned();
                self.line("symlink", &path, &escaped(target.as_bytes()));
            }
            9 | 10 => {
                let Some(target) = self.existing(Some(Kind::File)) else { return };
                self.line("link", &path, &escaped(&target));
                made = Kind::File;
            }
            11 => {
                let mode = format!("{:o}", self.one(&MODES));
                self.line("fifo", &path, &mode);
            }
            12 if self.devices => {
                let (verb, major, minor) =
                    (self.one(&["char", "block"]), self.random.below(300), self.random.below(300) + 1);
                self.line(verb, &path, &format!("{major} {minor}"));
            }
            // Docker forgets that a socket has replaced what is below; we don't.
            _ if !self.has_below => self.line("socket", &path, ""),
            _ => return,
        }
        if is_new {
            self.tree.insert(path, made);
        }
    }

    fn alter(&mut self) {
        let Some(path) = self.existing(None) else { return };
        let is_link_safe = self.tree.get(&path) != Some(&Kind::Other);
        match self.random.below(9) {
            0 | 1 if is_link_safe => {
                // In a user namespace a write takes these bits even of root's files; the kernel wants the host's CAP_FSETID.
                let bits = if self.devices { 0o7777 } else { 0o1777 };
                let mode = format!("{:o}", self.one(&MODES) & bits);
                self.line("mode", &path, &mode);
            }
            2 | 3 => {
                let (mut user, group) = (self.one(&OWNERS), self.one(&OWNERS));
                if self.devices && self.random.below(3) == 0 {
                    user = 3_000_000;
                }
                self.line("owner", &path, &format!("{user} {group}"));
            }
            4 => {
                let seconds = self.one(&[0, 1, 1_000_000_000, 1_234_567_890]);
                self.line("time", &path, &seconds.to_string());
            }
            5 if is_link_safe => {
                let (name, value) = self.one(&[("user.a", "00ff10"), ("user.b", "62"), ("user.empty", "")]);
                self.line("attribute", &path, &format!("{name} {value}"));
            }
            6 => self.line("unattribute", &path, "user.a"),
            7 => {
                if let Some(file) = self.existing(Some(Kind::File)) {
                    self.line("attribute", &file, &format!("security.capability {CAPABILITY}"));
                }
            }
            _ => {
                if let Some(file) = self.existing(Some(Kind::File)) {
                    let (verb, seed) = (self.one(&["append", "file"]), self.random.below(26));
                    self.line(verb, &file, &format!("10 {seed}"));
                }
            }
        }
    }

    fn forget(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        self.tree.retain(|known, _| known != path && !known.starts_with(&below));
    }

    fn remove(&mut self) {
        if let Some(path) = self.existing(None) {
            self.line("remove", &path, "");
            self.forget(&path);
        }
    }

    /// Something becomes another thing, or the same sort anew.
    fn replace(&mut self) {
        let Some(path) = self.existing(None) else { return };
        self.line("remove", &path, "");
        self.forget(&path);
        let kind = self.random.below(5);
        match kind {
            0 | 1 => {
                self.line("dir", &path, "755");
                self.tree.insert(path.clone(), Kind::Directory);
                if self.random.below(2) == 0 {
                    let child = [&path[..], b"/", self.one(&NAMES)].concat();
                    self.line("file", &child, "3 1");
                    self.tree.insert(child, Kind::File);
                }
            }
            2 => {
                self.line("file", &path, "7 2");
                self.tree.insert(path, Kind::File);
            }
            3 => {
                self.line("symlink", &path, "a");
                self.tree.insert(path, Kind::Other);
            }
            _ => {
                self.line("fifo", &path, "640");
                self.tree.insert(path, Kind::Other);
            }
        }
    }

    /// A directory loses what is in it, one by one.
    fn empty(&mut self) {
        let Some(dir) = self.existing(Some(Kind::Directory)) else { return };
        let below = [&dir[..], b"/"].concat();
        let children: Vec<Vec<u8>> = self
            .tree
            .keys()
            .filter(|path| path.strip_prefix(&below[..]).is_some_and(|rest| !rest.contains(&b'/')))
            .cloned()
            .collect();
        for child in children {
            self.line("remove", &child, "");
            self.forget(&child);
        }
    }

    fn rename(&mut self) {
        let Some(from) = self.existing(None) else { return };
        if self.random.below(3) == 0 {
            if let Some(other) = self.existing(Some(Kind::File)) {
                self.line("swap", &from, &escaped(&other));
                let (one, two) = (self.tree.get(&from).copied(), self.tree.get(&other).copied());
                if let (Some(one), Some(two)) = (one, two) {
                    self.tree.insert(from, two);
                    self.tree.insert(other, one);
                }
            }
            return;
        }
        let to = self.fresh();
        self.line("rename", &from, &escaped(&to));
        let kind = self.tree.get(&from).copied();
        if kind != Some(Kind::Directory) && self.tree.get(&to) != Some(&Kind::Directory) {
            self.forget(&from);
            self.tree.extend(kind.map(|kind| (to, kind)));
        }
    }
}

//! Overlays of layers' trees, mounted where only the test sees them, and what they show.

use rustix::fs::{AtFlags, CWD, FileType};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A detached overlay: it goes with its descriptor.
pub struct Overlay(OwnedFd);

impl Overlay {
    /// Mounts these trees, topmost first, read-only, or with `upper` and `work` below the directory given.
    pub fn mount(lowers: &[PathBuf], writable: Option<&Path>) -> Overlay {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut options: Vec<(String, String)> =
            lowers.iter().map(|lower| ("lowerdir+".to_owned(), text(lower))).collect();
        if let Some(dir) = writable {
            for name in ["upper", "work"] {
                fs::create_dir_all(dir.join(name)).unwrap();
                options.push((format!("{name}dir"), text(&dir.join(name))));
            }
        }
        Overlay(linux::mount::detached("overlay", &options, 0).unwrap())
    }

    /// Where its files can be reached.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.0.as_raw_fd()))
    }
}

/// A file as one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    /// `None` where nothing says.
    pub mtime: Option<(i64, i64)>,
    pub xattr: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(PathBuf),
    Device(u64),
    Fifo,
}

/// The attribute that trees here have, or not.
pub const XATTR: &str = "user.test";

/// Files by path below the root, which isn't among them.
pub type View = BTreeMap<PathBuf, Node>;

/// All that is below `root`.
pub fn view(root: &Path) -> View {
    let mut view = View::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let kind = match FileType::from_raw_mode(meta.mode()) {
                FileType::Directory => {
                    todo.push(path.clone());
                    Kind::Directory
                }
                FileType::RegularFile => Kind::File(fs::read(&full).unwrap()),
                FileType::Symlink => Kind::Symlink(fs::read_link(&full).unwrap()),
                FileType::Fifo => Kind::Fifo,
                _ => Kind::Device(meta.rdev()),
            };
            let mut value = vec![0u8; 256];
            let xattr =
                rustix::fs::lgetxattr(&full, XATTR, &mut value).ok().map(|length| value[..length].to_vec());
            let node = Node {
                kind,
                mode: meta.mode() & 0o7777,
                owner: (meta.uid(), meta.gid()),
                mtime: Some((meta.mtime(), meta.mtime_nsec())),
                xattr,
            };
            view.insert(path, node);
        }
    }
    view
}

/// The differences that docker finds between two trees that it sees whole (moby, `pkg/archive/changes.go`,
/// `FileInfo.addChanges`), sorted.
pub fn docker_changes(old: &View, new: &View) -> Vec<String> {
    let mut found: BTreeMap<PathBuf, char> = BTreeMap::new();
    for (path, node) in new {
        match old.get(path) {
            None => drop(found.insert(path.clone(), 'A')),
            Some(before) => {
                let directory = node.kind == Kind::Directory;
                let size = |node: &Node| match &node.kind {
                    Kind::File(content) => content.len(),
                    Kind::Symlink(target) => target.as_os_str().len(),
                    _ => 0,
                };
                let device = |node: &Node| match node.kind {
                    Kind::Device(device) => device,
                    _ => 0,
                };
                let types = std::mem::discriminant(&before.kind) != std::mem::discriminant(&node.kind);
                let times = before.mtime.zip(node.mtime).is_some_and(|((old, old_ns), (new, new_ns))| {
                    old != new || (old_ns != new_ns && old_ns != 0 && new_ns != 0)
                });
                let differ = types
                    || before.mode != node.mode
                    || before.owner != node.owner
                    || device(before) != device(node)
                    || (!directory && (times || size(before) != size(node)));
                if differ {
                    found.insert(path.clone(), 'C');
                }
            }
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        let parent = path.parent().unwrap();
        // What is in something removed or replaced isn't listed.
        if parent.as_os_str().is_empty() || new.get(parent).is_some_and(|node| node.kind == Kind::Directory) {
            found.insert(path.clone(), 'D');
        }
    }
    for path in found.keys().cloned().collect::<Vec<_>>() {
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            found.entry(parent.to_owned()).or_insert('C');
        }
    }
    let mut lines: Vec<(Vec<u8>, char)> =
        found.into_iter().map(|(path, kind)| (path.as_os_str().as_bytes().to_vec(), kind)).collect();
    lines.sort();
    lines.into_iter().map(|(path, kind)| format!("{kind} /{}", path.escape_ascii())).collect()
}

/// Makes a FIFO.
pub fn fifo(path: &Path) -> rustix::io::Result<()> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, 0o644.into(), 0)
}

/// Sets the modification time of what `path` is itself.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> rustix::io::Result<()> {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

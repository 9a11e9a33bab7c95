//! Random layers, unpacked and mounted, against a model; random changes on top, archived, unpacked again.

use crate::archive::{Member, dir, file, pax, symlink, tar};
use crate::layers::Layers;
use crate::overlay::{Kind, Node, Overlay, View, XATTR, docker_changes, fifo, set_mtime, view};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use store::changes::changes;
use store::pack::write_layer;

/// One layer: what it places, what it removes, which directories it empties.
#[derive(Debug, Clone)]
struct Layer {
    placed: BTreeMap<PathBuf, Node>,
    whiteouts: BTreeSet<PathBuf>,
    opaque: BTreeSet<PathBuf>,
    /// Directories of `placed` that the archive doesn't name.
    implied: BTreeSet<PathBuf>,
    /// In what order it comes: members are sorted by the bytes here, taken around.
    order: Vec<u8>,
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop::sample::select(vec!["a", "b", "c", "\u{e9}\n "]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.iter().collect())
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        3 => Just(Kind::Directory),
        3 => (any::<u8>(), 0usize..700).prop_map(|(byte, length)| Kind::File(vec![byte; length])),
        1 => Just(Kind::Symlink("nowhere/../b".into())),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Device(rustix::fs::makedev(1, 3))),
    ];
    let mode = prop::sample::select(vec![0o644u32, 0o755, 0, 0o4711, 0o2777, 0o1777]);
    let owner = prop::sample::select(vec![(0u32, 0u32), (1000, 50), (70_000, 3_000_000_000)]);
    let mtime =
        prop::sample::select(vec![(0i64, 0i64), (1_700_000_000, 5), (9_000_000_000, 0), (-5, 250_000_000)]);
    (kind, mode, owner, mtime, any::<bool>()).prop_map(|(kind, mode, owner, mtime, xattr)| {
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { mode };
        let xattr = xattr && matches!(kind, Kind::Directory | Kind::File(_));
        Node { kind, mode, owner, mtime: Some(mtime), xattr: xattr.then(|| b"v\n=".to_vec()) }
    })
}

/// What a directory is that nobody describes.
fn undescribed() -> Node {
    Node { kind: Kind::Directory, mode: 0o755, owner: (0, 0), mtime: None, xattr: None }
}

fn layer() -> impl Strategy<Value = Layer> {
    let placed = prop::collection::btree_map(path(), node(), 0..6);
    let removed = prop::collection::btree_set(path(), 0..4);
    let opaque = prop::collection::btree_set(path(), 0..2);
    (placed, removed, opaque, prop::collection::vec(any::<u8>(), 1..20)).prop_map(
        |(mut placed, mut whiteouts, mut opaque, order)| {
            // What lies in a file can't be.
            let files: Vec<PathBuf> = placed
                .iter()
                .filter(|(_, node)| node.kind != Kind::Directory)
                .map(|(path, _)| path.clone())
                .collect();
            let in_file = |path: &PathBuf| files.iter().any(|file| path != file && path.starts_with(file));
            placed.retain(|path, _| !in_file(path));
            whiteouts.retain(|path| !in_file(path));
            opaque.retain(|path| !in_file(path) && !files.contains(path));
            // A whiteout has a directory to be in, which nothing else hides.
            let mut implied = BTreeSet::new();
            let all: Vec<PathBuf> = placed.keys().chain(&whiteouts).chain(&opaque).cloned().collect();
            for path in all {
                let itself = opaque.contains(&path).then_some(path.as_path());
                for parent in path.ancestors().skip(1).chain(itself).filter(|p| !p.as_os_str().is_empty()) {
                    placed.entry(parent.to_owned()).or_insert_with(|| {
                        implied.insert(parent.to_owned());
                        undescribed()
                    });
                }
            }
            Layer { placed, whiteouts, opaque, implied, order }
        },
    )
}

impl Layer {
    /// What a stack shows with this layer on top of `below`.
    fn over(&self, below: &View) -> View {
        let hidden = |path: &Path| {
            self.whiteouts.iter().any(|gone| path.starts_with(gone))
                || self.opaque.iter().any(|dir| path != dir && path.starts_with(dir))
                || self
                    .placed
                    .iter()
                    .any(|(placed, node)| node.kind != Kind::Directory && path.starts_with(placed))
        };
        let mut view: View = below
            .iter()
            .filter(|(path, _)| !hidden(path))
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect();
        // A directory over a file.
        let over_files: Vec<PathBuf> = self
            .placed
            .keys()
            .filter(|path| view.get(*path).is_some_and(|node| node.kind != Kind::Directory))
            .cloned()
            .collect();
        view.retain(|path, _| !over_files.contains(path));
        for (path, node) in &self.placed {
            // Has the attributes it had, seen through what this layer itself hides.
            let before = below.get(path).filter(|node| node.kind == Kind::Directory && !hidden(path));
            match self.implied.contains(path) {
                true => view.insert(path.clone(), before.cloned().unwrap_or_else(undescribed)),
                false => view.insert(path.clone(), node.clone()),
            };
        }
        view
    }

    fn archive(&self) -> Vec<u8> {
        let mut groups: Vec<Vec<Member>> = Vec::new();
        for (path, node) in self.placed.iter().filter(|(path, _)| !self.implied.contains(*path)) {
            groups.push(members(path, node));
        }
        for path in &self.whiteouts {
            let name = [b".wh.", path.file_name().unwrap().as_bytes()].concat();
            groups.push(vec![file(
                path.with_file_name(std::ffi::OsStr::from_bytes(&name)).as_os_str().as_bytes(),
                "",
            )]);
        }
        for path in &self.opaque {
            groups.push(vec![file(path.join(".wh..wh..opq").as_os_str().as_bytes(), "")]);
        }
        let mut ordered: Vec<_> = groups.into_iter().zip(self.order.iter().cycle()).collect();
        ordered.sort_by_key(|(_, key)| **key);
        tar(&ordered.into_iter().flat_map(|(members, _)| members).collect::<Vec<_>>())
    }
}

fn members(path: &Path, node: &Node) -> Vec<Member> {
    let name = path.as_os_str().as_bytes();
    let (seconds, nanoseconds) = node.mtime.unwrap();
    let mtime = match (seconds < 0, nanoseconds) {
        (false, _) => format!("{seconds}.{nanoseconds:09}"),
        (true, _) => format!("-{}.{:09}", -seconds - 1, 1_000_000_000 - nanoseconds),
    };
    let (uid, gid) = (node.owner.0.to_string(), node.owner.1.to_string());
    let mut records: Vec<(&str, &[u8])> =
        vec![("mtime", mtime.as_bytes()), ("uid", uid.as_bytes()), ("gid", gid.as_bytes())];
    if let Some(value) = &node.xattr {
        records.push(("SCHILY.xattr.user.test", value));
    }
    let member = match &node.kind {
        Kind::Directory => dir(name),
        Kind::File(content) => file(name, content),
        Kind::Symlink(target) => symlink(name, target.as_os_str().as_bytes()),
        Kind::Fifo => Member::new(b'6', name),
        Kind::Device(_) => Member::new(b'3', name).device(1, 3),
    };
    vec![pax(&records), member.mode(node.mode)]
}

/// Compares, but for times that nothing says.
fn assert_same(shown: View, mut wanted: View, what: &str) {
    let mut shown = shown;
    for (path, node) in &mut wanted {
        if node.mtime.is_none()
            && let Some(shown) = shown.get_mut(path)
        {
            shown.mtime = None;
        }
    }
    let paths: BTreeSet<_> = shown.keys().chain(wanted.keys()).cloned().collect();
    let different: Vec<String> = paths
        .iter()
        .filter(|path| shown.get(*path) != wanted.get(*path))
        .map(|path| format!("{path:?}: {:?}, not {:?}", shown.get(path), wanted.get(path)))
        .collect();
    assert!(different.is_empty(), "{what}: {different:#?}");
}

/// Something done in a container. Those that fail are no matter.
#[derive(Debug, Clone)]
enum Deed {
    Write(PathBuf, Vec<u8>),
    Place(PathBuf, Node),
    Remove(PathBuf),
    Replace(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Chmod(PathBuf, u32),
    Chown(PathBuf, u32),
    Xattr(PathBuf),
    Touch(PathBuf),
    Open(PathBuf),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (path(), prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(path, bytes)| Deed::Write(path, bytes)),
        (path(), node()).prop_map(|(path, node)| Deed::Place(path, node)),
        path().prop_map(Deed::Remove),
        path().prop_map(Deed::Replace),
        (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        (path(), path()).prop_map(|(from, to)| Deed::Link(from, to)),
        (path(), prop::sample::select(vec![0o600u32, 0o4755, 0o1777]))
            .prop_map(|(path, mode)| Deed::Chmod(path, mode)),
        (path(), 0u32..3).prop_map(|(path, id)| Deed::Chown(path, id)),
        path().prop_map(Deed::Xattr),
        path().prop_map(Deed::Touch),
        path().prop_map(Deed::Open),
    ]
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

impl Deed {
    fn perform(&self, root: &Path) {
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        let is_plain =
            |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() || meta.is_dir());
        match self {
            Deed::Write(path, content) if !is_link(&root.join(path)) && is_plain(&root.join(path)) => {
                let _ = fs::write(root.join(path), content);
            }
            Deed::Write(path, content) => {
                remove(&root.join(path));
                let _ = fs::write(root.join(path), content);
            }
            Deed::Place(path, node) => place(&root.join(path), node),
            Deed::Remove(path) => remove(&root.join(path)),
            Deed::Replace(path) => {
                remove(&root.join(path));
                let _ = fs::create_dir(root.join(path));
                let _ = fs::write(root.join(path).join("a"), "new");
            }
            Deed::Rename(from, to) => {
                let _ = rustix::fs::rename(root.join(from), root.join(to));
            }
            Deed::Link(from, to) => {
                let _ = fs::hard_link(root.join(from), root.join(to));
            }
            Deed::Chmod(path, mode) if is_plain(&root.join(path)) => {
                let _ = fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode));
            }
            Deed::Chown(path, id) => {
                let _ = lchown(root.join(path), Some(*id), Some(*id));
            }
            Deed::Xattr(path) => {
                let _ = rustix::fs::lsetxattr(root.join(path), XATTR, b"w", rustix::fs::XattrFlags::empty());
            }
            Deed::Touch(path) => {
                let _ = set_mtime(&root.join(path), 77, 7);
            }
            Deed::Open(path) if is_plain(&root.join(path)) => {
                let _ = File::options().append(true).open(root.join(path));
            }
            Deed::Chmod(..) | Deed::Open(_) => {}
        }
    }
}

fn place(path: &Path, node: &Node) {
    remove(path);
    let made = match &node.kind {
        Kind::Directory => fs::create_dir(path).is_ok(),
        Kind::File(content) => fs::write(path, content).is_ok(),
        Kind::Symlink(target) => std::os::unix::fs::symlink(target, path).is_ok(),
        Kind::Fifo => fifo(path).is_ok(),
        Kind::Device(device) => {
            let kind = rustix::fs::FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o644.into(), *device).is_ok()
        }
    };
    if made && !matches!(node.kind, Kind::Symlink(_)) {
        lchown(path, Some(node.owner.0), Some(node.owner.1)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode)).unwrap();
        let (seconds, nanoseconds) = node.mtime.unwrap();
        set_mtime(path, seconds, nanoseconds).unwrap();
    }
}

fn layer_of(upper: &Path, lowers: &[File]) -> Vec<u8> {
    let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(AsFd::as_fd).collect();
    let mut archive = Vec::new();
    let written = write_layer(File::open(upper).unwrap().as_fd(), &lowers, &[], &mut archive).unwrap();
    assert_eq!(written.archive_bytes, archive.len() as u64);
    archive
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_show_what_the_specification_says(stack in prop::collection::vec(layer(), 1..5)) {
        let mut layers = Layers::new();
        // An overlay has at least two.
        layers.next();
        let mut wanted = View::new();
        for layer in &stack {
            layers.add(&layer.archive()).unwrap();
            wanted = layer.over(&wanted);
        }
        let overlay = Overlay::mount(&layers.topmost_first(), None);
        assert_same(view(&overlay.path()), wanted, "merged view");
    }

    #[test]
    fn changes_come_back_from_their_layer(
        stack in prop::collection::vec(layer(), 1..4),
        deeds in prop::collection::vec(deed(), 0..25),
    ) {
        let mut layers = Layers::new();
        layers.next();
        for layer in &stack {
            layers.add(&layer.archive()).unwrap();
        }
        let lowers = layers.topmost_first();
        let opened: Vec<File> = lowers.iter().map(|tree| File::open(tree).unwrap()).collect();
        let scratch = tempfile::tempdir().unwrap();
        let overlay = Overlay::mount(&lowers, Some(scratch.path()));
        let before = view(&overlay.path());
        for deed in &deeds {
            deed.perform(&overlay.path());
        }
        let after = view(&overlay.path());
        drop(overlay);

        let upper = scratch.path().join("upper");
        let lower_fds: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
        let found: Vec<String> = changes(File::open(&upper).unwrap().as_fd(), &lower_fds)
            .unwrap()
            .iter()
            .map(|change| format!("{} {}", change.kind.letter(), change.path.escape_ascii()))
            .collect();
        assert_eq!(found, docker_changes(&before, &after));

        let archive = layer_of(&upper, &opened);
        assert_eq!(archive, layer_of(&upper, &opened), "not the same twice");
        let tree = layers.add(&archive).unwrap();
        let overlay = Overlay::mount(&layers.topmost_first(), None);
        assert_same(view(&overlay.path()), after, "the layer shows something else");
        assert_eq!(archive, layer_of(&tree, &opened), "its tree gives another archive");
    }
}

#[test]
fn five_hundred_layers_show_the_topmost() {
    let mut layers = Layers::new();
    for number in 0..500 {
        let name = format!("d/f{number}");
        let gone = format!("d/.wh.f{}", number - 1);
        let members = [dir("d"), file(&name, "x"), file("top", number.to_string()), file(&gone, "")];
        layers.add(&tar(&members)).unwrap();
    }
    let overlay = Overlay::mount(&layers.topmost_first(), None);
    assert_eq!(fs::read(overlay.path().join("top")).unwrap(), b"499");
    assert_eq!(crate::support::names(&overlay.path().join("d")), ["f499"]);
}

//! Layers unpacked to what overlayfs takes for them, looked at on disk.

use crate::archive::{Member, dir, file, hard_link, pax, symlink, tar};
use crate::support::names;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use store::unpack::{Limits, Pending, Unpacked, Whiteouts, pending, unpack};
use store::{Error, tar::Reader};

/// Trees of layers, lowest first.
pub struct Layers {
    dir: tempfile::TempDir,
    trees: Vec<PathBuf>,
}

impl Layers {
    pub fn new() -> Layers {
        Layers { dir: tempfile::tempdir().unwrap(), trees: Vec::new() }
    }

    /// A directory for the next layer's tree.
    pub fn next(&mut self) -> PathBuf {
        let tree = self.dir.path().join(format!("layer{}", self.trees.len()));
        fs::create_dir(&tree).unwrap();
        self.trees.push(tree.clone());
        tree
    }

    /// Unpacks an archive as the next layer, without what needs the layers below.
    pub fn unpack(&mut self, archive: &[u8]) -> Result<(PathBuf, Unpacked), Error> {
        let tree = self.next();
        let root = File::open(&tree).unwrap();
        let limits = Limits::default();
        unpack(&mut Reader::new(archive), root.as_fd(), Whiteouts::OfLayer, &limits).map(|done| (tree, done))
    }

    /// Does what the topmost layer waited for.
    pub fn complete(&self, pending: &Pending) -> Result<(), Error> {
        let trees: Vec<File> = self.trees.iter().rev().map(|tree| File::open(tree).unwrap()).collect();
        let parents: Vec<BorrowedFd<'_>> = trees[1..].iter().map(AsFd::as_fd).collect();
        pending::complete(trees[0].as_fd(), &parents, pending)
    }

    /// The trees, topmost first.
    pub fn topmost_first(&self) -> Vec<PathBuf> {
        self.trees.iter().rev().cloned().collect()
    }

    /// Unpacks an archive as the next layer, all of it.
    pub fn add(&mut self, archive: &[u8]) -> Result<PathBuf, Error> {
        let (tree, unpacked) = self.unpack(archive)?;
        self.complete(&unpacked.pending)?;
        Ok(tree)
    }
}

fn layer(members: &[Member]) -> (Layers, PathBuf) {
    let mut layers = Layers::new();
    let tree = layers.add(&tar(members)).unwrap();
    (layers, tree)
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value)
        .is_ok_and(|length| &value[..length] == b"y")
}

#[test]
fn whiteouts_become_overlayfss() {
    let mut layers = Layers::new();
    layers.add(&tar(&[dir("d"), file("d/gone", ""), dir("e"), file("e/gone", "")])).unwrap();
    let top = [
        dir("d"),
        file("d/.wh.gone", ""),
        file("d/.wh.never", ""),
        file(".wh..wh.aufs", ""),
        file("e/.wh..wh..opq", ""),
        file("e/.wh.gone", ""),
    ];
    let tree = layers.add(&tar(&top)).unwrap();
    assert!(is_whiteout(&tree.join("d/gone")));
    assert!(is_opaque(&tree.join("e")) && !is_opaque(&tree.join("d")));
    // Whiteouts that hide nothing are gone: overlayfs would list their names.
    assert_eq!(names(&tree), ["d", "e"]);
    assert_eq!((names(&tree.join("d")), names(&tree.join("e"))), (vec!["gone".to_owned()], vec![]));
}

#[test]
fn a_whiteout_leaves_what_its_layer_places() {
    for whiteout_first in [true, false] {
        let ordered = |members: [Member; 2]| {
            let mut members = Vec::from(members);
            if whiteout_first {
                members.reverse();
            }
            layer(&members)
        };
        let (_layers, tree) = ordered([file("f", "new"), file(".wh.f", "")]);
        assert_eq!(fs::read(tree.join("f")).unwrap(), b"new");
        // A directory in place of what was removed shows nothing of the old one.
        let (_layers, tree) = ordered([dir("d"), file(".wh.d", "")]);
        assert!(tree.join("d").is_dir() && is_opaque(&tree.join("d")));
        let (_layers, tree) = ordered([file("d/f", "new"), file(".wh.d", "")]);
        assert!(tree.join("d/f").is_file() && is_opaque(&tree.join("d")));
        let (_layers, tree) = ordered([file("d/f", "new"), file("d/.wh..wh..opq", "")]);
        assert!(tree.join("d/f").is_file() && is_opaque(&tree.join("d")));
    }
}

#[test]
fn a_directory_after_a_file_of_its_name_is_opaque() {
    let (_layers, tree) = layer(&[file("x", ""), dir("x"), dir("y"), dir("y")]);
    assert!(is_opaque(&tree.join("x")) && !is_opaque(&tree.join("y")));
}

#[test]
fn whiteouts_of_impossible_names_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh...", ".wh.d/f", "d/.wh.x/.wh.y"] {
        let error = Layers::new().add(&tar(&[dir("d"), file(name, "")])).unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{name}: {error}");
    }
    let error = Layers::new().add(&tar(&[file("f", ""), hard_link("l", ".wh.f")])).unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error}");
    let error = Layers::new().add(&tar(&[Member::new(b'3', "w").device(0, 0)])).unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error}");
}

#[test]
fn whiteouts_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("d")).unwrap();
    fs::write(outside.path().join("f"), "alive").unwrap();
    let target = outside.path().as_os_str().as_encoded_bytes();
    for name in ["l/.wh.f", "l/d/.wh..wh..opq", "l/.wh..wh..opq", "l/.wh.d", "l/d/.wh.x"] {
        // Where the link leads to is missing in the tree, then there.
        let _ = Layers::new().add(&tar(&[symlink("l", target), file(name, "")]));
        let members = [symlink("l", target), dir([target, b"/d"].concat()), file(name, "")];
        Layers::new().add(&tar(&members)).unwrap();
        assert_eq!(names(outside.path()), ["d", "f"]);
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"alive");
        assert!(!is_opaque(outside.path()) && !is_opaque(&outside.path().join("d")));
        assert_eq!(names(&outside.path().join("d")), Vec::<String>::new());
    }
}

#[test]
fn hard_links_reach_into_lower_layers() {
    let mut layers = Layers::new();
    let records: &[(&str, &[u8])] = &[("SCHILY.xattr.user.x", b"y"), ("mtime", b"5.25")];
    layers.add(&tar(&[dir("d"), pax(records), file("d/f", "old").mode(0o4711).owner(3, 4)])).unwrap();
    layers.add(&tar(&[symlink("s", "d/f"), file("g", "g")])).unwrap();
    let top = tar(&[
        dir("d"),
        hard_link("d/a", "d/f"),
        hard_link("b", "./d/f"),
        hard_link("c", "b"),
        hard_link("t", "s"),
        file(".wh.g", ""),
        hard_link("h", "g"),
        file("over", "x"),
        hard_link("over", "g"),
        hard_link("under", "g"),
        file("under", "y"),
    ]);
    let (tree, unpacked) = layers.unpack(&top).unwrap();
    assert!(!unpacked.pending.is_empty() && !tree.join("b").exists());
    layers.complete(&unpacked.pending).unwrap();
    let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    assert_eq!(fs::read(tree.join("d/a")).unwrap(), b"old");
    assert_eq!(
        (
            meta("b").mode() & 0o7777,
            meta("b").uid(),
            meta("b").gid(),
            meta("b").mtime(),
            meta("b").mtime_nsec()
        ),
        (0o4711, 3, 4, 5, 250_000_000)
    );
    assert_eq!(
        (meta("d/a").ino(), meta("c").ino(), meta("b").nlink()),
        (meta("b").ino(), meta("b").ino(), 3)
    );
    let mut value = [0u8; 8];
    assert_eq!(rustix::fs::lgetxattr(tree.join("b"), "user.x", &mut value), Ok(1));
    assert_eq!(fs::read_link(tree.join("t")).unwrap(), Path::new("d/f"));
    // What the layer itself removes was there before.
    assert_eq!(fs::read(tree.join("h")).unwrap(), b"g");
    assert_eq!(
        (fs::read(tree.join("over")).unwrap(), fs::read(tree.join("under")).unwrap()),
        (b"g".into(), b"y".into())
    );
    assert!(is_whiteout(&tree.join("g")));
    assert_eq!(meta("d").mtime(), 1_000_000);
}

#[test]
fn hard_links_to_what_lower_layers_removed_are_refused() {
    let mut layers = Layers::new();
    layers.add(&tar(&[dir("d"), file("d/f", "x"), file("f", "x"), dir("e"), file("e/f", "")])).unwrap();
    let hiding = [file("d/.wh..wh..opq", ""), file(".wh.f", ""), file("e", "no directory")];
    layers.add(&tar(&hiding)).unwrap();
    for target in ["d/f", "f", "e/f", "missing", "d", "missing/f"] {
        let error = layers.add(&tar(&[hard_link("l", target)])).unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{target}: {error}");
    }
}

#[test]
fn hard_links_through_links_of_lower_layers_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let mut layers = Layers::new();
    let target = outside.path().as_os_str().as_encoded_bytes();
    layers
        .add(&tar(&[
            symlink("out", target),
            symlink("up", "../../../../../../.."),
            symlink("l", "l"),
            file("f", "x"),
        ]))
        .unwrap();
    let secret = [&b"up"[..], target, b"/secret"].concat();
    for target in [b"out/secret".to_vec(), secret, b"l/f".to_vec()] {
        assert!(matches!(layers.add(&tar(&[hard_link("x", target)])), Err(Error::Entry { .. })));
    }
    let tree = layers.add(&tar(&[hard_link("x", "up/f")])).unwrap();
    assert_eq!(fs::read(tree.join("x")).unwrap(), b"x");
}

#[test]
fn directories_that_a_layer_does_not_name_stay_as_they_were() {
    let mut layers = Layers::new();
    layers.add(&tar(&[dir("d").mode(0o1700).owner(5, 6), dir("d/e").mode(0o711)])).unwrap();
    let tree = layers.add(&tar(&[file("d/e/f", "x"), file("new/f", "x"), dir("d/e").mode(0o755)])).unwrap();
    let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    assert_eq!((meta("d").mode() & 0o7777, meta("d").uid(), meta("d").gid()), (0o1700, 5, 6));
    assert_eq!((meta("d").mtime(), meta("d/e").mode() & 0o7777), (1_000_000, 0o755));
    assert_eq!(meta("new").mode() & 0o7777, 0o755);
}

#[test]
fn what_is_named_through_a_link_below_lies_where_it_leads() {
    let mut layers = Layers::new();
    let base = [
        dir("usr").mode(0o711),
        dir("usr/lib"),
        file("usr/lib/a", "a"),
        file("usr/lib/b", "b"),
        dir("usr/lib/deep"),
        symlink("lib", "usr/lib"),
        symlink("usr/lib/more", "/lib/deep"),
        symlink("explicit", "usr/lib"),
        symlink("out", "/does/not/exist"),
    ];
    layers.add(&tar(&base)).unwrap();
    let top = [
        file("lib/x", "x"),
        file("lib/.wh.a", ""),
        file("lib/.wh.never", ""),
        hard_link("lib/own", "lib/x"),
        hard_link("lib/below", "lib/b"),
        dir("lib/sub").mode(0o700),
        file("lib/sub/y", "y"),
        file("lib/more/z", "z"),
        dir("explicit"),
        file("explicit/f", "f"),
        file("out/f", "f"),
        file("lib/twice", "through the link"),
        file("usr/lib/twice", "by its name"),
    ];
    let tree = layers.add(&tar(&top)).unwrap();
    assert_eq!(names(&tree), ["explicit", "out", "usr"]);
    assert_eq!(names(&tree.join("usr/lib")), ["a", "below", "deep", "own", "sub", "twice", "x"]);
    assert!(is_whiteout(&tree.join("usr/lib/a")));
    assert_eq!(fs::read(tree.join("usr/lib/below")).unwrap(), b"b");
    assert_eq!(fs::read(tree.join("usr/lib/deep/z")).unwrap(), b"z");
    assert_eq!(fs::read(tree.join("usr/lib/twice")).unwrap(), b"by its name");
    let meta = |name: &str| fs::metadata(tree.join(name)).unwrap();
    assert_eq!((meta("usr").mode() & 0o7777, meta("usr").mtime()), (0o711, 1_000_000));
    assert_eq!((meta("usr/lib").mtime(), meta("usr/lib/sub").mode() & 0o7777), (1_000_000, 0o700));
    assert_eq!(meta("usr/lib/own").ino(), meta("usr/lib/x").ino());
    assert!(tree.join("explicit/f").is_file() && tree.join("out/f").is_file());
}

#[test]
fn an_opaque_root_hides_each_name_below() {
    let mut layers = Layers::new();
    layers.add(&tar(&[file("a", ""), dir("d"), file("d/x", ""), file("f", "")])).unwrap();
    layers.add(&tar(&[file("b", ""), file(".wh.a", "")])).unwrap();
    let tree = layers.add(&tar(&[file(".wh..wh..opq", ""), dir("d"), file("f", "new")])).unwrap();
    assert_eq!(names(&tree), ["b", "d", "f"]);
    assert!(is_whiteout(&tree.join("b")) && is_opaque(&tree.join("d")));
    assert_eq!(fs::read(tree.join("f")).unwrap(), b"new");
}

#[test]
fn directories_hand_nothing_on_to_what_is_made_in_them() {
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 7, 0, 1, 0, 0, 0, 4, 0, 7, 0, 0xff, 0xff, 0xff,
        0xff, 16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    let records: &[(&str, &[u8])] = &[("SCHILY.xattr.system.posix_acl_default", acl)];
    let (_layers, tree) = layer(&[
        pax(records),
        dir("d").mode(0o2777).owner(0, 77),
        file("d/f", ""),
        dir("d/e"),
        file("g", "").mode(0),
    ]);
    let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    assert_eq!((meta("d").mode() & 0o7777, meta("d").gid()), (0o2777, 77));
    assert_eq!((meta("d/f").gid(), meta("d/f").mode() & 0o7777, meta("g").mode() & 0o7777), (0, 0o644, 0));
    assert_eq!((meta("d/e").gid(), meta("d/e").mode() & 0o7777), (0, 0o755));
    let mut list = [0u8; 64];
    assert_eq!(rustix::fs::llistxattr(tree.join("d/f"), &mut list[..]), Ok(0));
    assert!(rustix::fs::llistxattr(tree.join("d"), &mut list[..]).unwrap() > 0);
}

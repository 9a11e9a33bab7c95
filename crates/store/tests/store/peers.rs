//! Archives of GNU tar and python's tarfile, and what they make of ours.

use crate::layers::Layers;
use crate::overlay::{Kind, Node, View, XATTR, fifo, set_mtime, view};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;
use store::pack::write_tree;
use store::tar::Reader;
use store::unpack::{Limits, Whiteouts, unpack};

/// Runs a program that has to be there; `false` if it isn't.
fn run(program: &str, arguments: &[&str], dir: &Path) -> bool {
    let output =
        match Command::new(program).args(arguments).current_dir(dir).env("LC_ALL", "C.UTF-8").output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("SKIP: no {program} on this machine: {error}");
                return false;
            }
        };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    true
}

fn plain_unpack(archive: &[u8], tree: &Path) {
    fs::create_dir(tree).unwrap();
    let root = File::open(tree).unwrap();
    let limits = Limits::default();
    unpack(&mut Reader::new(archive), root.as_fd(), Whiteouts::AreFiles, &limits).unwrap();
}

/// A tree with a bit of everything; `old` leaves out what only pax can say.
fn make_tree(root: &Path, old: bool) {
    let long = "n".repeat(120);
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("dir/file"), "content").unwrap();
    fs::write(root.join("dir/sub/block"), vec![7u8; 512]).unwrap();
    fs::write(root.join("none"), "").unwrap();
    fs::write(root.join("d\u{e9}j\u{e0} vu\n"), "name").unwrap();
    fs::hard_link(root.join("dir/file"), root.join("same")).unwrap();
    symlink("dir/../dir/file", root.join("link")).unwrap();
    fifo(&root.join("fifo")).unwrap();
    let device = rustix::fs::makedev(10, 229);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("device"), kind, 0o600.into(), device).unwrap();
    fs::write(root.join("setuid"), "x").unwrap();
    lchown(root.join("setuid"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o6711)).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    if !old {
        fs::create_dir_all(root.join(&long).join(&long)).unwrap();
        fs::write(root.join(&long).join(&long).join("deep"), "deep").unwrap();
        symlink(format!("{long}/{long}/{long}"), root.join("longlink")).unwrap();
        lchown(root.join("none"), Some(3_000_000), Some(4_000_000_000)).unwrap();
    }
    whole_seconds(root);
}

/// Sets times that every format can say, all of them different.
fn whole_seconds(root: &Path) {
    let all: Vec<_> = view(root).into_keys().collect();
    for (at, path) in all.iter().rev().enumerate() {
        set_mtime(&root.join(path), 1_600_000_000 + at as i64, 0).unwrap();
    }
}

fn assert_equal(found: &Path, wanted: &Path, what: &str) {
    assert_same_views(&view(found), &view(wanted), what);
}

fn assert_same_views(found: &View, wanted: &View, what: &str) {
    let short = |node: Option<&Node>| node.map(|node| Node { kind: Kind::Directory, ..node.clone() });
    for path in wanted.keys().chain(found.keys()) {
        let (found, wanted) = (found.get(path), wanted.get(path));
        assert!(found == wanted, "{what}: {path:?} is {:?}, not {:?}", short(found), short(wanted));
    }
}

#[test]
fn what_gnu_tar_writes_unpacks_the_same() {
    for (format, old) in [("pax", false), ("gnu", false), ("ustar", true), ("v7", true), ("oldgnu", false)] {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make_tree(&tree, old);
        if format == "v7" {
            // It knows neither.
            fs::remove_file(tree.join("fifo")).unwrap();
            fs::remove_file(tree.join("device")).unwrap();
        }
        if format == "pax" {
            rustix::fs::lsetxattr(tree.join("none"), XATTR, b"v=\n", rustix::fs::XattrFlags::empty())
                .unwrap();
            set_mtime(&tree.join("none"), -7, 500_000_000).unwrap();
        }
        let mut arguments = vec!["-C", "tree", "-cf", "archive", "--format", format];
        if format == "pax" {
            arguments.push("--xattrs");
        }
        arguments.push(".");
        if !run("tar", &arguments, scratch.path()) {
            return;
        }
        let unpacked = scratch.path().join("unpacked");
        plain_unpack(&fs::read(scratch.path().join("archive")).unwrap(), &unpacked);
        assert_equal(&unpacked, &tree, format);
        assert_eq!(fs::metadata(unpacked.join("same")).unwrap().nlink(), 2, "{format}");
    }
}

/// Files with holes: at the beginning, in between, at the end, everywhere; and with more pieces than a header has.
fn make_sparse(root: &Path) {
    let make = |name: &str, size: u64, pieces: &[u64]| {
        let file = File::create(root.join(name)).unwrap();
        for at in pieces {
            file.write_all_at(&[b'x'; 5000], *at).unwrap();
        }
        file.set_len(size).unwrap();
    };
    make("middle", 10 << 20, &[0, 1 << 20, 9 << 20]);
    make("end", 8 << 20, &[1 << 20]);
    make("hole", 4 << 20, &[]);
    make("last", (4 << 20) + 5000, &[4 << 20]);
    let many: Vec<u64> = (0..200).map(|piece| piece << 16).collect();
    make("many", 200 << 16, &many);
    fs::write(root.join("plain"), "no holes").unwrap();
    let long = "n".repeat(110);
    fs::create_dir(root.join(&long)).unwrap();
    make(&format!("{long}/deep"), 3 << 20, &[1 << 20]);
    whole_seconds(root);
}

#[test]
fn sparse_files_stay_sparse() {
    let formats: [&[&str]; 5] = [
        &["--format=gnu"],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ];
    for format in formats {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make_sparse(&tree);
        let arguments = [&["-C", "tree", "-cf", "archive", "--sparse"], format, &["."]].concat();
        if !run("tar", &arguments, scratch.path()) {
            return;
        }
        let archive = fs::read(scratch.path().join("archive")).unwrap();
        assert!(archive.len() < 4 << 20, "GNU tar wrote no sparse archive");
        let unpacked = scratch.path().join("unpacked");
        plain_unpack(&archive, &unpacked);
        for name in ["middle", "end", "hole", "last", "many"] {
            let (ours, theirs) = (fs::read(unpacked.join(name)).unwrap(), fs::read(tree.join(name)).unwrap());
            assert!(ours == theirs, "{format:?}: {name} has other content");
            let blocks = fs::metadata(unpacked.join(name)).unwrap().blocks() * 512;
            assert!(blocks <= 4 << 20, "{format:?}: {name} takes {blocks} bytes");
        }
        assert_equal(&unpacked, &tree, &format!("{format:?}"));
        // Every cut of the archive is an error or ends early; nothing hangs or panics.
        for cut in (0..archive.len().min(20_000)).step_by(512) {
            let part = scratch.path().join(format!("cut{cut}"));
            fs::create_dir(&part).unwrap();
            let root = File::open(&part).unwrap();
            let reader = &mut Reader::new(&archive[..cut]);
            let _ = unpack(reader, root.as_fd(), Whiteouts::AreFiles, &Limits::default());
        }
    }
}

/// Our archive of a tree.
fn ours(tree: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    write_tree(File::open(tree).unwrap().as_fd(), &mut archive).unwrap();
    archive
}

#[test]
fn what_we_write_others_unpack_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree, false);
    rustix::fs::lsetxattr(tree.join("dir"), XATTR, b"v=\n\0\xff", rustix::fs::XattrFlags::empty()).unwrap();
    set_mtime(&tree.join("link"), 1_700_000_000, 123_456_789).unwrap();
    set_mtime(&tree.join("none"), -3, 250_000_000).unwrap();
    set_mtime(&tree.join("fifo"), 1 << 34, 1).unwrap();
    let archive = ours(&tree);
    assert_eq!(archive, ours(&tree), "not the same twice");
    fs::write(scratch.path().join("archive"), &archive).unwrap();

    let unpacked = scratch.path().join("own");
    plain_unpack(&archive, &unpacked);
    assert_equal(&unpacked, &tree, "berth");
    assert_eq!(archive, ours(&unpacked), "what we unpacked gives another archive");

    fs::create_dir(scratch.path().join("gnu")).unwrap();
    let arguments = ["-C", "gnu", "-xpf", "archive", "--xattrs", "--xattrs-include=*", "--numeric-owner"];
    if run("tar", &arguments, scratch.path()) {
        assert_equal(&scratch.path().join("gnu"), &tree, "GNU tar");
    }
    fs::create_dir(scratch.path().join("python")).unwrap();
    let program = "import tarfile; t = tarfile.open('archive'); t.extractall('python', numeric_owner=True)";
    if run("python3", &["-c", program], scratch.path()) {
        // Python sets no attributes, no times of links, and times as floats.
        let rough = |mut view: View| {
            view.values_mut().for_each(|node| {
                node.xattr = None;
                node.mtime =
                    node.mtime.filter(|_| node.kind != Kind::Symlink("".into())).map(|(s, _)| (s, 0));
                if matches!(node.kind, Kind::Symlink(_)) {
                    node.mtime = None;
                }
            });
            view
        };
        let (found, wanted) = (rough(view(&scratch.path().join("python"))), rough(view(&tree)));
        assert_same_views(&found, &wanted, "python");
    }
}

#[test]
fn layers_that_we_write_list_alike_for_others() {
    let mut layers = Layers::new();
    let long = "l".repeat(240);
    let members =
        [crate::archive::dir("d"), crate::archive::file("d/f", "x"), crate::archive::file("g", "x")];
    layers.add(&crate::archive::tar(&members)).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let overlay = crate::overlay::Overlay::mount(&layers.topmost_first(), Some(scratch.path()));
    fs::remove_file(overlay.path().join("g")).unwrap();
    fs::remove_dir_all(overlay.path().join("d")).unwrap();
    fs::create_dir(overlay.path().join("d")).unwrap();
    fs::write(overlay.path().join("d").join(&long), "x").unwrap();
    drop(overlay);
    let mut archive = File::create(scratch.path().join("archive")).unwrap();
    let upper = File::open(scratch.path().join("upper")).unwrap();
    let lower = File::open(&layers.topmost_first()[0]).unwrap();
    store::pack::write_layer(upper.as_fd(), &[lower.as_fd()], &[], &mut archive).unwrap();
    let listed = Command::new("tar").args(["-tf", "archive"]).current_dir(scratch.path()).output().unwrap();
    let expected = format!(".wh.g\nd/\nd/.wh..wh..opq\nd/{long}\n");
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), expected);
}

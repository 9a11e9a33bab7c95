//! Archives of trees that others fill: what is left out, refused, or never touched; and the writer against the reader.

use crate::archive::{dir, file, symlink, tar};
use crate::layers::Layers;
use crate::overlay::{Overlay, fifo};
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink as make_symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use store::Error;
use store::changes::changes;
use store::pack::{Written, write_layer, write_tree};
use store::tar::{Entry, EntryKind, Reader, Writer};

fn archived(tree: &Path) -> Result<(Vec<u8>, Written), Error> {
    let mut archive = Vec::new();
    let written = write_tree(File::open(tree).unwrap().as_fd(), &mut archive)?;
    Ok((archive, written))
}

/// Does something at the end of its scope, also after a panic: a thread that waits for it would keep the test.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Entries with their content.
fn entries(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        loop {
            let bytes = reader.fill().unwrap().to_vec();
            if bytes.is_empty() {
                break;
            }
            reader.consume(bytes.len());
            content.extend(bytes);
        }
        found.push((entry, content));
    }
    found
}

fn names(archive: &[u8]) -> Vec<String> {
    entries(archive).into_iter().map(|(entry, _)| String::from_utf8(entry.name).unwrap()).collect()
}

#[test]
fn a_tree_comes_sorted_with_its_links() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("b/c")).unwrap();
    fs::write(tree.path().join("b/c/z"), "z").unwrap();
    fs::write(tree.path().join("x"), "x").unwrap();
    fs::hard_link(tree.path().join("x"), tree.path().join("a")).unwrap();
    make_symlink("/etc/passwd", tree.path().join("b/s")).unwrap();
    fs::hard_link(tree.path().join("b/s"), tree.path().join("b/t")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    let (archive, written) = archived(tree.path()).unwrap();
    assert_eq!(names(&archive), ["a", "x", "b/", "b/s", "b/t", "b/c/", "b/c/z"]);
    assert_eq!(entries(&archive)[1].0.kind, EntryKind::HardLink { target: b"a".to_vec() });
    assert_eq!(entries(&archive)[4].0.kind, EntryKind::HardLink { target: b"b/s".to_vec() });
    let expected = Written {
        entries: 7,
        archive_bytes: archive.len() as u64,
        extended_bytes: written.extended_bytes,
        bytes: 2,
        sockets_skipped: 1,
    };
    assert_eq!(written, expected);
}

#[test]
fn fifos_and_devices_are_not_opened() {
    let tree = tempfile::tempdir().unwrap();
    fifo(&tree.path().join("fifo")).unwrap();
    // Opening it would fail: there is no such device.
    let kind = rustix::fs::FileType::CharacterDevice;
    let device = rustix::fs::makedev(4000, 17);
    rustix::fs::mknodat(rustix::fs::CWD, tree.path().join("device"), kind, 0o600.into(), device).unwrap();
    let opened = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Waits until somebody opens the other end.
        scope.spawn(|| {
            File::options().write(true).open(tree.path().join("fifo")).unwrap();
            opened.store(true, Ordering::SeqCst);
        });
        let _end = AtEnd(|| drop(File::open(tree.path().join("fifo"))));
        let (archive, _) = archived(tree.path()).unwrap();
        assert_eq!(names(&archive), ["device", "fifo"]);
        assert_eq!(entries(&archive)[0].0.kind, EntryKind::CharDevice { major: 4000, minor: 17 });
        assert!(!opened.load(Ordering::SeqCst), "the FIFO was opened");
    });
}

#[test]
fn a_tree_that_changes_gives_nothing_of_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, outside) = (scratch.path().join("tree"), scratch.path().join("outside"));
    for dir in [&tree, &outside] {
        fs::create_dir_all(dir.join("d/e")).unwrap();
        fs::write(dir.join("d/e/f"), if *dir == tree { "inside" } else { "secret" }).unwrap();
        fs::write(dir.join("d/f"), if *dir == tree { "inside" } else { "secret" }).unwrap();
    }
    make_symlink(outside.join("d"), tree.join("to-directory")).unwrap();
    make_symlink(outside.join("d/f"), tree.join("to-file")).unwrap();
    fifo(&tree.join("fifo")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |a: &str, b: &str| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, tree.join(a), cwd, tree.join(b), flags).unwrap();
            };
            while !done.load(Ordering::SeqCst) {
                exchange("d", "to-directory");
                exchange("d", "to-directory");
                exchange("d/f", "to-file");
                exchange("d/f", "to-file");
                exchange("d/f", "fifo");
                exchange("d/f", "fifo");
            }
        });
        let _end = AtEnd(|| done.store(true, Ordering::SeqCst));
        for _ in 0..400 {
            let (archive, _) = archived(&tree).unwrap();
            for (entry, content) in entries(&archive) {
                assert!(content.is_empty() || content == b"inside", "{:?}", entry.name);
            }
        }
    });
}

#[test]
fn a_file_that_shrinks_is_no_whole_archive() {
    let tree = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(Vec::new());
    let entry = Entry {
        name: b"f".to_vec(),
        kind: EntryKind::File { size: 10 },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
    };
    assert!(writer.append(&entry, &mut &b"short"[..]).is_err());
    // A file that grows is archived as long as it was.
    fs::write(tree.path().join("f"), "0123456789abcdef").unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.append(&entry, &mut File::open(tree.path().join("f")).unwrap()).unwrap();
    assert_eq!(entries(&writer.finish().unwrap())[0].1, b"0123456789");
}

#[test]
fn what_cannot_be_written_is_named() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(rustix::io::Errno::NOSPC.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("f"), "x").unwrap();
    let error = write_tree(File::open(tree.path()).unwrap().as_fd(), Full).unwrap_err();
    assert!(matches!(error, Error::WriteArchive(_)) && error.hint().is_some(), "{error}");
    rustix::fs::lsetxattr(tree.path().join("f"), "user.a=b", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let error = archived(tree.path()).unwrap_err().to_string();
    assert_eq!(error, "cannot archive \"f\": the name of an extended attribute holds a '='");
}

#[test]
fn mounts_in_a_tree_are_left_out() {
    let tree = tempfile::tempdir().unwrap();
    for path in ["a", "mounted", "z"] {
        fs::create_dir(tree.path().join(path)).unwrap();
    }
    // A copy of the tree that is attached nowhere, and a file system mounted in it.
    let dir = File::open(tree.path()).unwrap();
    let copy = linux::mount::clone_tree(dir.as_fd(), Path::new(""), false).unwrap();
    let root = PathBuf::from(format!("/proc/self/fd/{}/.", copy.as_raw_fd()));
    let tmpfs = linux::mount::detached("tmpfs", &[], 0).unwrap();
    let place = File::open(root.join("mounted")).unwrap();
    if let Err(error) = linux::mount::attach(tmpfs.as_fd(), place.as_fd()) {
        eprintln!("SKIP: this kernel mounts nothing on detached mounts: {error}");
        return;
    }
    fs::write(root.join("mounted/secret"), "x").unwrap();
    let (archive, _) = archived(&root).unwrap();
    assert_eq!(names(&archive), ["a/", "mounted/", "z/"]);
}

#[test]
fn trees_of_any_depth_are_read_or_refused() {
    let tree = tempfile::tempdir().unwrap();
    let mut here: std::os::fd::OwnedFd = File::open(tree.path()).unwrap().into();
    let mut make = |levels: usize| {
        for _ in 0..levels {
            rustix::fs::mkdirat(&here, "dddddddddd", 0o755.into()).unwrap();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            here = rustix::fs::openat(&here, "dddddddddd", flags, 0.into()).unwrap();
        }
    };
    make(370);
    let (archive, _) = archived(tree.path()).unwrap();
    assert_eq!(entries(&archive).len(), 370);
    make(10);
    assert!(matches!(archived(tree.path()), Err(Error::Unarchivable { .. })));
}

/// An overlay on one layer with a bit of everything.
fn overlay() -> (Layers, tempfile::TempDir, Overlay) {
    let mut layers = Layers::new();
    let members = [
        dir("dir"),
        file("dir/a", "a"),
        file("dir/b", "b"),
        dir("dir/sub"),
        file("dir/sub/c", "c"),
        file("top", "top"),
        symlink("link", "top"),
        dir("quiet"),
        file("quiet/f", "f"),
    ];
    layers.add(&tar(&members)).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let overlay = Overlay::mount(&layers.topmost_first(), Some(scratch.path()));
    (layers, scratch, overlay)
}

/// What is told of deeds done in it, and the names in its layer.
fn told(deeds: impl FnOnce(&Path)) -> (Vec<String>, Vec<String>) {
    let (layers, scratch, overlay) = overlay();
    deeds(&overlay.path());
    drop(overlay);
    let upper = File::open(scratch.path().join("upper")).unwrap();
    let lower = File::open(&layers.topmost_first()[0]).unwrap();
    let found = changes(upper.as_fd(), &[lower.as_fd()]).unwrap();
    let line = |change: &store::changes::Change| {
        format!("{} {}", change.kind.letter(), String::from_utf8_lossy(&change.path))
    };
    let mut archive = Vec::new();
    write_layer(upper.as_fd(), &[lower.as_fd()], &[], &mut archive).unwrap();
    (found.iter().map(line).collect(), names(&archive))
}

fn assert_told(deeds: impl FnOnce(&Path), lines: &[&str], members: &[&str]) {
    let (found, archived) = told(deeds);
    assert_eq!(found, lines);
    assert_eq!(archived, members);
}

#[test]
fn places_that_were_made_to_be_mounted_on_are_no_change() {
    let (layers, scratch, overlay) = overlay();
    fs::create_dir_all(overlay.path().join("proc/below")).unwrap();
    fs::create_dir(overlay.path().join("dir/proc")).unwrap();
    drop(overlay);
    let upper = File::open(scratch.path().join("upper")).unwrap();
    let lower = File::open(&layers.topmost_first()[0]).unwrap();
    let mut archive = Vec::new();
    write_layer(upper.as_fd(), &[lower.as_fd()], &[b"proc", b"dir"], &mut archive).unwrap();
    assert_eq!(names(&archive), ["dir/", "dir/proc/"]);
}

#[test]
fn changes_are_told_as_docker_tells_them() {
    assert_told(|_| {}, &[], &[]);
    assert_told(
        |root| fs::write(root.join("dir/sub/new"), "x").unwrap(),
        &["C /dir", "C /dir/sub", "A /dir/sub/new"],
        &["dir/", "dir/sub/", "dir/sub/new"],
    );
    assert_told(
        |root| fs::remove_file(root.join("dir/a")).unwrap(),
        &["C /dir", "D /dir/a"],
        &["dir/", "dir/.wh.a"],
    );
    assert_told(|root| fs::remove_dir_all(root.join("dir")).unwrap(), &["D /dir"], &[".wh.dir"]);
    // Replaced by an opaque directory: what it had is deleted, below it nothing is listed.
    assert_told(
        |root| {
            fs::remove_dir_all(root.join("dir")).unwrap();
            fs::create_dir(root.join("dir")).unwrap();
            fs::write(root.join("dir/b"), "other").unwrap();
        },
        &["C /dir", "D /dir/a", "C /dir/b", "D /dir/sub"],
        &["dir/", "dir/.wh..wh..opq", "dir/b"],
    );
    // A file in place of a directory and the other way round.
    assert_told(
        |root| {
            fs::remove_dir_all(root.join("dir")).unwrap();
            fs::write(root.join("dir"), "file").unwrap();
            fs::remove_file(root.join("top")).unwrap();
            fs::create_dir_all(root.join("top/new")).unwrap();
        },
        &["C /dir", "C /top", "A /top/new"],
        &["dir", "top/", "top/.wh..wh..opq", "top/new/"],
    );
    // No layer holds a socket; what it stands in the place of doesn't come back.
    assert_told(
        |root| {
            fs::remove_file(root.join("top")).unwrap();
            drop(std::os::unix::net::UnixListener::bind(root.join("top")).unwrap());
            drop(std::os::unix::net::UnixListener::bind(root.join("new")).unwrap());
        },
        &["A /new", "C /top"],
        &[".wh.top"],
    );
    // What comes and goes leaves no trace, and a directory that was only looked into neither.
    assert_told(
        |root| {
            fs::write(root.join("quiet/gone"), "x").unwrap();
            fs::remove_file(root.join("quiet/gone")).unwrap();
        },
        &[],
        &["quiet/"],
    );
    // Opened for writing, a file is copied up, and is what it was.
    assert_told(
        |root| drop(File::options().append(true).open(root.join("quiet/f")).unwrap()),
        &[],
        &["quiet/", "quiet/f"],
    );
    assert_told(
        |root| std::os::unix::fs::lchown(root.join("link"), Some(1), None).unwrap(),
        &["C /link"],
        &["link"],
    );
}

#[test]
fn capabilities_are_changes_and_other_attributes_are_not() {
    let capability = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    assert_told(
        |root| {
            rustix::fs::lsetxattr(root.join("top"), "security.capability", &capability, flags).unwrap();
            rustix::fs::lsetxattr(root.join("quiet/f"), "user.x", b"y", flags).unwrap();
        },
        &["C /top"],
        &["top", "quiet/", "quiet/f"],
    );
}

#[test]
fn overlayfss_marks_do_not_leave_it() {
    let (layers, scratch, overlay) = overlay();
    fs::remove_dir_all(overlay.path().join("dir")).unwrap();
    fs::create_dir(overlay.path().join("dir")).unwrap();
    drop(overlay);
    let upper = scratch.path().join("upper");
    let lower = File::open(&layers.topmost_first()[0]).unwrap();
    let mut archive = Vec::new();
    write_layer(File::open(&upper).unwrap().as_fd(), &[lower.as_fd()], &[], &mut archive).unwrap();
    assert!(entries(&archive).iter().all(|(entry, _)| entry.xattrs.is_empty()));
    // Over nothing there is nothing to hide.
    let mut archive = Vec::new();
    write_layer(File::open(&upper).unwrap().as_fd(), &[], &[], &mut archive).unwrap();
    assert_eq!(names(&archive), ["dir/"]);
}

#[test]
fn what_no_layer_can_say_is_refused() {
    let refused = |upper: &Path| {
        let upper = File::open(upper).unwrap();
        let error = write_layer(upper.as_fd(), &[], &[], std::io::sink()).unwrap_err();
        assert!(matches!(error, Error::Unarchivable { .. }), "{error}");
        error.to_string()
    };
    let upper = tempfile::tempdir().unwrap();
    fs::create_dir(upper.path().join("d")).unwrap();
    fs::write(upper.path().join("d/.wh.x"), "").unwrap();
    assert!(refused(upper.path()).contains("d/.wh.x"));
    // As a tree it is what it is.
    assert_eq!(names(&archived(upper.path()).unwrap().0), ["d/", "d/.wh.x"]);
    fs::remove_file(upper.path().join("d/.wh.x")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(upper.path().join("d"), "trusted.overlay.redirect", b"/x", flags).unwrap();
    assert!(refused(upper.path()).contains("redirect_dir"));
}

fn arbitrary_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let byte = prop_oneof![Just(b'a'), Just(b'/'), 1u8..=255];
    let name = prop::collection::vec(byte.clone(), 0..300).prop_map(|mut name| {
        name.insert(0, b'n');
        name.push(b'n');
        name
    });
    let link = prop::collection::vec(byte, 1..300);
    let size = prop_oneof![Just(0usize), Just(512), 0usize..1500];
    let xattr = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let mtime = (
        prop_oneof![Just(0), Just(-1), (1i64 << 33) - 2..(1 << 33) + 2, any::<i32>().prop_map(i64::from)],
        0u32..1_000_000_000,
    );
    let ids = || prop_oneof![Just(0u32), (1u32 << 21) - 2..(1 << 21) + 2, 0..u32::MAX];
    (name, link, size, xattr, mtime, ids(), ids(), 0u8..7, any::<u16>()).prop_map(
        |(name, link, size, xattr, mtime, uid, gid, kind, mode)| {
            let kind = match kind {
                0 => EntryKind::Directory,
                1 => EntryKind::HardLink { target: link },
                2 => EntryKind::Symlink { target: link },
                3 => EntryKind::CharDevice { major: 4095, minor: 0xf_ffff },
                4 => EntryKind::Fifo,
                _ => EntryKind::File { size: size as u64 },
            };
            let content = if matches!(kind, EntryKind::File { .. }) { vec![b'c'; size] } else { Vec::new() };
            let xattrs = xattr.map(|value| (b"user.x".to_vec(), value)).into_iter().collect();
            (Entry { name, kind, mode: u32::from(mode) & 0o7777, uid, gid, mtime, xattrs }, content)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(wanted in prop::collection::vec(arbitrary_entry(), 0..6)) {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in &wanted {
            writer.append(entry, &mut content.as_slice()).unwrap();
        }
        let archive = writer.finish().unwrap();
        prop_assert_eq!(archive.len() % 512, 0);
        let found = entries(&archive);
        prop_assert_eq!(found.len(), wanted.len());
        for ((found, found_content), (entry, content)) in found.iter().zip(&wanted) {
            let mut name = entry.name.clone();
            if entry.kind == EntryKind::Directory {
                name.push(b'/');
            }
            prop_assert_eq!(&found.name, &name);
            prop_assert_eq!(&found.kind, &entry.kind);
            prop_assert_eq!((found.mode, found.uid, found.gid), (entry.mode, entry.uid, entry.gid));
            prop_assert_eq!((found.mtime, &found.xattrs), (entry.mtime, &entry.xattrs));
            prop_assert_eq!(found_content, content);
        }
    }
}

/// The bytes of an archive never change: layers are known by their digests.
#[test]
fn an_archive_is_the_same_for_ever() {
    let mut writer = Writer::new(Vec::new());
    let mut entry = Entry {
        name: [b"d/".as_slice(), &[b'n'; 120]].concat(),
        kind: EntryKind::File { size: 3 },
        mode: 0o4755,
        uid: 1000,
        gid: 3_000_000,
        mtime: (1_700_000_000, 5_000),
        xattrs: vec![(b"user.b".to_vec(), b"2".to_vec()), (b"user.a".to_vec(), b"1".to_vec())],
    };
    writer.append(&entry, &mut &b"abc"[..]).unwrap();
    entry.kind = EntryKind::Symlink { target: vec![b't'; 101] };
    entry.xattrs.clear();
    writer.append(&entry, &mut std::io::empty()).unwrap();
    (entry.name, entry.kind, entry.mtime) = (b"dir".to_vec(), EntryKind::Directory, (-1, 0));
    writer.append(&entry, &mut std::io::empty()).unwrap();
    let digest = store::DiffId(store::Sha256::of(&writer.finish().unwrap())).to_string();
    assert_eq!(digest, "sha256:23f1ee74453955368885ae87b85c9998a42fc643938cf56a4b224268705f618e");
}

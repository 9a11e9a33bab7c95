//! Files copied among others: what is merged, what is refused, whose they are; archives of one file or tree.

use crate::archive::{dir, file, hard_link, symlink, tar};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink as make_symlink};
use std::path::Path;
use store::pack::{Resource, write_resource};
use store::tar::Reader;
use store::unpack::{Destination, Owners, unpack_into};
use store::{Error, Limits};
use types::oci::IdMapping;

/// Unpacks into `into`; with `root`, links lead where they lead below that, and `into` is its directory `own`.
fn place(archive: &[u8], into: &Path, root: Option<(&Path, &str)>, owners: Owners) -> Result<u64, Error> {
    let directory = File::open(into).unwrap();
    let root = root.map(|(root, own)| (File::open(root).unwrap(), own));
    let destination = Destination {
        directory: directory.as_fd(),
        links: root.as_ref().map(|(root, own)| (root.as_fd(), own.as_bytes())),
        owners,
        devices: false,
    };
    unpack_into(&mut Reader::new(archive), &destination, &Limits::default()).map(|unpacked| unpacked.entries)
}

fn merged(archive: &[u8], into: &Path) -> Result<u64, Error> {
    place(archive, into, None, Owners::One(0, 0))
}

#[test]
fn directories_are_merged_and_files_replaced() {
    let into = tempfile::tempdir().unwrap();
    let at = |name: &str| into.path().join(name);
    fs::create_dir_all(at("d/kept")).unwrap();
    fs::write(at("d/old"), "old").unwrap();
    fs::hard_link(at("d/old"), at("other-name")).unwrap();
    make_symlink("nowhere", at("d/link")).unwrap();
    std::os::unix::fs::chown(at("d"), Some(7), Some(8)).unwrap();
    let before = fs::metadata(into.path()).unwrap();
    let archive = tar(&[
        dir("./").mode(0o711),
        dir("d/").mode(0o750),
        file("d/old", "new"),
        file("d/link", "a file"),
        hard_link("d/more", "d/old"),
    ]);
    merged(&archive, into.path()).unwrap();
    assert_eq!(fs::read_to_string(at("d/more")).unwrap(), "new");
    assert_eq!(fs::read_to_string(at("other-name")).unwrap(), "old", "the old file isn't written to");
    assert_eq!(fs::read_to_string(at("d/link")).unwrap(), "a file");
    assert!(at("d/kept").is_dir() && !at("d/nowhere").exists());
    let d = fs::metadata(at("d")).unwrap();
    assert_eq!((d.uid(), d.gid(), d.mode() & 0o777), (7, 8, 0o750), "its owner stays, as it was there");
    assert_eq!(
        fs::metadata(into.path()).unwrap().mode(),
        before.mode(),
        "the directory itself is no part of it"
    );
    // With the archive's owners, directories get them too.
    place(&archive, into.path(), None, Owners::Archived).unwrap();
    assert_eq!(fs::metadata(at("d")).unwrap().uid(), 0);
}

#[test]
fn zeros_become_holes_and_everything_keeps_its_place() {
    let into = tempfile::tempdir().unwrap();
    let mut content = vec![0u8; 3 << 20];
    content[1 << 20] = 1;
    content[(2 << 20) - 1] = 2;
    let end = [vec![7u8; 5000], vec![0; 1 << 20]].concat();
    merged(&tar(&[file("middle", &content), file("end", &end), file("zeros", vec![0; 10_000])]), into.path())
        .unwrap();
    let read = |name: &str| fs::read(into.path().join(name)).unwrap();
    assert!(read("middle") == content && read("end") == end && read("zeros") == [0; 10_000]);
}

#[test]
fn neither_takes_the_others_place() {
    let into = tempfile::tempdir().unwrap();
    fs::create_dir_all(into.path().join("d/full")).unwrap();
    fs::write(into.path().join("f"), "f").unwrap();
    make_symlink("d", into.path().join("l")).unwrap();
    for (entry, why) in [
        (file("d", "x"), "a file can't take the place of a directory"),
        (symlink("d", "f"), "a file can't take the place of a directory"),
        (dir("f/"), "a directory can't take the place of a file"),
        (dir("l/"), "a directory can't take the place of a file"),
    ] {
        let error = merged(&tar(&[entry]), into.path()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(into.path().join("d/full").is_dir());
}

#[test]
fn links_lead_out_of_the_way_only_where_they_may() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let into = root.path().join("into");
    fs::create_dir_all(root.path().join("real")).unwrap();
    fs::create_dir_all(root.path().join("into")).unwrap();
    make_symlink("/real", into.join("absolute")).unwrap();
    make_symlink("../real", into.join("relative")).unwrap();
    make_symlink(outside.path(), into.join("out")).unwrap();
    for name in ["absolute/x", "relative/x", "out/x"] {
        let archive = tar(&[file(name, "x")]);
        merged(&archive, &into).unwrap_err();
        let placed = place(&archive, &into, Some((root.path(), "into")), Owners::Archived);
        assert_eq!(placed.is_ok(), name != "out/x", "{name}");
        let _ = fs::remove_file(root.path().join("real/x"));
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn one_file_or_tree_is_archived_under_another_name() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("f"), "f").unwrap();
    fs::hard_link(tree.path().join("f"), tree.path().join("g")).unwrap();
    make_symlink("f", tree.path().join("l")).unwrap();
    fs::set_permissions(tree.path().join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    let path = |name: &str| {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(tree.path().join(name), flags, rustix::fs::Mode::empty()).unwrap()
    };
    let maps = [IdMapping { container_id: 40, host_id: 0, size: 1 }];
    let listed = |name: &str, as_name: &str| {
        let mut archive = Vec::new();
        let found = path(name);
        let resource = Resource { file: found.as_fd(), name: as_name.as_bytes(), ids: Some((&maps, &[])) };
        write_resource(&resource, &mut archive).unwrap();
        let mut reader = Reader::new(&archive[..]);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            assert_eq!((entry.uid, entry.gid), (40, 65_534));
            names.push(String::from_utf8(entry.name).unwrap());
        }
        names
    };
    assert_eq!(listed(".", "top"), ["top/", "top/f", "top/g", "top/l"]);
    assert_eq!(listed(".", "."), ["./", "./f", "./g", "./l"]);
    assert_eq!(listed(".", "/"), ["/", "/f", "/g", "/l"]);
    assert_eq!(listed("f", "other"), ["other"]);
    assert_eq!(listed("l", "other"), ["other"]);
}

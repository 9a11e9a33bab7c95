//! Volumes: made once, removed whole, and never lost.

use crate::support::Scratch;
use rustix::fs::Mode;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use store::{Durability, Error, Store};

fn create(store: &Store, name: &str) -> Result<(store::Volume, bool), Error> {
    store.create_volume(name, &BTreeMap::new(), &BTreeMap::new(), Durability::Unsynced)
}

#[test]
fn a_volume_is_made_once() {
    let scratch = Scratch::new();
    let before = rustix::process::umask(Mode::from_raw_mode(0o077));
    let (volume, made) = create(&scratch.store, "data").unwrap();
    rustix::process::umask(before);
    assert!(made && volume.data.is_dir());
    assert_eq!(volume.data.metadata().unwrap().permissions().mode() & 0o7777, 0o755, "whatever the mask");
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let again = scratch.store.create_volume("data", &labels, &BTreeMap::new(), Durability::Synced).unwrap();
    assert_eq!(again, (volume.clone(), false));
    assert_eq!(scratch.store.volumes().unwrap(), [volume]);
    assert_eq!(
        scratch.store.create_volume("tagged", &labels, &labels, Durability::Synced).unwrap().0.labels,
        labels
    );
}

#[test]
fn names_follow_dockers_rule() {
    let scratch = Scratch::new();
    for name in ["a", "", "../x", "a/b", ".a", "-a", "a b", "é1", &"x".repeat(200)] {
        assert!(matches!(create(&scratch.store, name), Err(Error::VolumeName { .. })), "{name}");
    }
    assert_eq!(scratch.store.volumes().unwrap(), []);
}

#[test]
fn many_make_and_remove_the_same_volume_at_once() {
    let scratch = Scratch::new();
    let root = scratch.store.paths().root().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(&root).unwrap();
                for _ in 0..25 {
                    match create(&store, "data").and_then(|_| store.pin_volume("data")) {
                        // While it is pinned it isn't removed.
                        Ok(pin) => drop(pin.data().unwrap()),
                        Err(Error::NoVolume { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    match store.lock_volume("data").and_then(|locked| store.remove_volume(locked)) {
                        Ok(()) | Err(Error::NoVolume { .. } | Error::VolumeBusy { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    scratch.store.sweep().unwrap();
    let left = std::fs::read_dir(scratch.store.paths().volumes()).unwrap().count();
    assert_eq!(left, scratch.store.volumes().unwrap().len());
}

#[test]
fn a_pinned_volume_stays() {
    let scratch = Scratch::new();
    create(&scratch.store, "data").unwrap();
    let pin = scratch.store.pin_volume("data").unwrap();
    assert!(matches!(scratch.store.lock_volume("data"), Err(Error::VolumeBusy { .. })));
    drop(pin);
    let locked = scratch.store.lock_volume("data").unwrap();
    scratch.store.remove_volume(locked).unwrap();
    assert!(matches!(scratch.store.pin_volume("data"), Err(Error::NoVolume { .. })));
    assert!(matches!(scratch.store.lock_volume("data"), Err(Error::NoVolume { .. })));
}

#[test]
fn content_without_a_row_is_kept_unless_its_removal_had_begun() {
    let scratch = Scratch::new();
    let volumes = scratch.store.paths().volumes();
    for name in ["lost", "doomed", "unborn"] {
        std::fs::create_dir_all(volumes.join(name).join("_data")).unwrap();
    }
    std::fs::write(volumes.join("lost/_data/f"), "kept").unwrap();
    std::fs::write(volumes.join("doomed/_data/f"), "gone").unwrap();
    std::fs::write(volumes.join("doomed/doomed"), "").unwrap();
    assert_eq!(scratch.store.sweep().unwrap().volumes, 2);
    assert!(!volumes.join("doomed").exists() && !volumes.join("unborn").exists());
    let (volume, made) = create(&scratch.store, "lost").unwrap();
    assert!(made);
    assert_eq!(std::fs::read(volume.data.join("f")).unwrap(), b"kept");
}

#[test]
fn a_doomed_volume_of_the_same_name_is_not_taken_over() {
    let scratch = Scratch::new();
    let dir = scratch.store.paths().volumes().join("data");
    std::fs::create_dir_all(dir.join("_data")).unwrap();
    std::fs::write(dir.join("_data/old"), "").unwrap();
    std::fs::write(dir.join("doomed"), "").unwrap();
    let (volume, _) = create(&scratch.store, "data").unwrap();
    assert_eq!(std::fs::read_dir(&volume.data).unwrap().count(), 0);
}

#[test]
fn a_row_whose_files_are_gone_can_be_removed() {
    let scratch = Scratch::new();
    let (volume, _) = create(&scratch.store, "data").unwrap();
    std::fs::remove_dir_all(volume.data.parent().unwrap()).unwrap();
    assert!(matches!(scratch.store.pin_volume("data"), Err(Error::NoVolume { .. })));
    let locked = scratch.store.lock_volume("data").unwrap();
    scratch.store.remove_volume(locked).unwrap();
    assert_eq!(scratch.store.volumes().unwrap(), []);
}

#[test]
fn a_copy_has_what_the_original_has() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.dir.path().join("from"), scratch.dir.path().join("to"));
    std::fs::create_dir_all(from.join("sub")).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::write(from.join("sub/file"), "content").unwrap();
    std::fs::hard_link(from.join("sub/file"), from.join("second")).unwrap();
    std::os::unix::fs::symlink("sub/file", from.join("link")).unwrap();
    rustix::fs::chown(&from, Some(rustix::fs::Uid::from_raw(7)), Some(rustix::fs::Gid::from_raw(8))).unwrap();
    std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o2750)).unwrap();
    let open = |path: &std::path::Path| std::fs::File::open(path).unwrap();
    use std::os::fd::AsFd;
    assert!(store::fill_in_place(open(&from).as_fd(), open(&to).as_fd()).unwrap());
    use std::os::unix::fs::MetadataExt;
    let stat = to.metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (7, 8, 0o2750));
    let (file, second) = (to.join("sub/file").metadata().unwrap(), to.join("second").metadata().unwrap());
    assert_eq!((file.ino(), file.nlink()), (second.ino(), 2));
    assert_eq!(std::fs::read_link(to.join("link")).unwrap().to_str(), Some("sub/file"));
    assert_eq!(
        store::tree_bytes(open(&to).as_fd()).unwrap(),
        "content".len() as u64 + "sub/file".len() as u64
    );
    assert!(!store::fill_in_place(open(&from).as_fd(), open(&to).as_fd()).unwrap(), "only once");
}

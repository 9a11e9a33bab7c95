//! File systems that are full or read-only. Each test runs in a child with a mount namespace of its own.

use crate::archive::{file, tar};
use crate::support::{child, child_root, container};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use std::path::Path;
use std::process::Command;
use store::{Durability, Error, Store};

/// Runs test `name` in a new mount namespace, with an empty directory as its root.
fn in_namespace(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let inner = child(name, dir.path());
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args());
    let output = command.env("BERTH_TEST_ROOT", dir.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn mount_tmpfs(at: &Path, options: &std::ffi::CStr) {
    std::fs::create_dir(at).unwrap();
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).unwrap();
}

#[test]
fn a_full_disk_fails_with_a_hint_and_leaves_nothing() {
    in_namespace("disk::child_full");
}

#[test]
fn child_full() {
    let Some(root) = child_root() else { return };
    let disk = root.join("disk");
    mount_tmpfs(&disk, c"size=4m,mode=700");
    let store = Store::open(&disk.join("store")).unwrap();
    let big = tar(&[file("f", vec![1; 8 << 20])]);
    let error = store.import(&mut &big[..], None, "test", &|_| {}).unwrap_err();
    assert!(matches!(&error, Error::Unpack { call: "write", .. }), "{error}");
    assert!(error.hint().unwrap().contains("free some space"));
    assert_eq!(std::fs::read_dir(disk.join("store/tmp")).unwrap().count(), 0);
    store.import(&mut &tar(&[file("f", "x")])[..], None, "test", &|_| {}).unwrap();

    std::fs::write(disk.join("filler"), vec![0; 16 << 20]).unwrap_err();
    let error = Store::open(&disk.join("another")).map(|_| ()).unwrap_err();
    assert!(error.hint().unwrap().contains("free some space"), "{error}");
}

#[test]
fn a_read_only_file_system_can_be_read() {
    in_namespace("disk::child_read_only");
}

#[test]
fn child_read_only() {
    let Some(root) = child_root() else { return };
    let (disk, view) = (root.join("disk"), root.join("view"));
    mount_tmpfs(&disk, c"mode=700");
    let store = Store::open(&disk.join("store")).unwrap();
    store.insert_container(&container(1, "web"), Durability::Synced).unwrap();
    std::fs::create_dir(&view).unwrap();
    mount_bind(&disk, &view).unwrap();
    mount_remount(&view, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();

    let read = || Store::open_read_only(&view.join("store")).unwrap().containers().unwrap().len();
    // With the log of a live writer, of one that has ended, of one that was killed, and without a log.
    assert_eq!(read(), 1);
    drop(store);
    assert!(std::fs::metadata(disk.join("store/store.db-wal")).unwrap().len() > 0);
    assert_eq!(read(), 1);
    let store = Store::open(&disk.join("store")).unwrap();
    store.insert_container(&container(2, "db"), Durability::Synced).unwrap();
    std::mem::forget(store);
    assert_eq!(read(), 2);
    let database = rusqlite::Connection::open(disk.join("store/store.db")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    std::fs::create_dir(disk.join("copy")).unwrap();
    std::fs::copy(disk.join("store/store.db"), disk.join("copy/store.db")).unwrap();
    assert_eq!(Store::open_read_only(&view.join("copy")).unwrap().containers().unwrap().len(), 2);

    let error = Store::open(&view.join("new")).unwrap_err();
    assert!(matches!(&error, Error::OpenRoot { .. }), "{error}");
    assert!(error.hint().unwrap().contains("read-write"));
    let error = Store::open(&view.join("store")).unwrap_err();
    assert!(matches!(&error, Error::OpenRoot { .. }), "{error}");
    assert!(error.hint().unwrap().contains("read-write"));
}

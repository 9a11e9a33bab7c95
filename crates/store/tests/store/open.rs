//! Opening stores: new, newer, strange, not there.

use crate::support::{Scratch, container, names};
use std::os::unix::fs::PermissionsExt;
use store::{Durability, Error, Store};
use types::kind::Kind;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_store_is_private() {
    let scratch = Scratch::new();
    scratch.store.insert_container(&container(1, "web"), Durability::Synced).unwrap();
    assert_eq!(mode(&scratch.root()), 0o700);
    for name in names(&scratch.root()) {
        let expected = if name.starts_with("store.db") { 0o600 } else { 0o700 };
        assert_eq!(mode(&scratch.root().join(&name)), expected, "{name}");
    }
}

#[test]
fn a_store_is_made_by_one_of_many() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let root = &dir.path().join(format!("store{round}"));
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    let store = Store::open(root).unwrap();
                    store.insert_container(&container(n, &format!("c{n}")), Durability::Unsynced).unwrap();
                });
            }
        });
        assert_eq!(Store::open(root).unwrap().containers().unwrap().len(), 8);
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let scratch = Scratch::new();
    let root = scratch.root();
    drop(scratch.store);
    let database = rusqlite::Connection::open(root.join("store.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    for opened in [Store::open(&root), Store::open_read_only(&root)] {
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error}");
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.hint().is_some());
    }
    // As one whose maker was killed before its tables were there: nothing was ever stored.
    database.pragma_update(None, "user_version", 0).unwrap();
    assert!(matches!(Store::open_read_only(&root), Err(Error::NoStore { .. })));
}

#[test]
fn what_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open(&dir.path().join("a/b")).unwrap_err();
    assert!(matches!(missing, Error::OpenRoot { .. }), "{missing}");
    assert!(missing.hint().unwrap().contains("a/b"));
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let file = Store::open(&dir.path().join("file")).unwrap_err();
    assert!(matches!(file, Error::OpenRoot { .. }), "{file}");
    let absent = Store::open_read_only(&dir.path().join("absent")).unwrap_err();
    assert_eq!(absent.kind(), Kind::NotFound);
    assert!(!dir.path().join("absent").exists());
}

#[test]
fn a_database_that_is_none_is_named() {
    let scratch = Scratch::new();
    let root = scratch.root();
    drop(scratch.store);
    std::fs::remove_file(root.join("store.db-wal")).unwrap();
    std::fs::write(root.join("store.db"), "this is no database, whatever its name says").unwrap();
    let error = Store::open(&root).unwrap_err();
    assert!(matches!(error, Error::Database { .. }), "{error}");
    assert!(error.hint().unwrap().contains("no database"), "{error}");
}

#[test]
fn a_root_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::InsecureRoot { mode: 0o777, .. }), "{error}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn a_store_opened_for_reading_refuses_changes() {
    let scratch = Scratch::new();
    scratch.store.insert_container(&container(1, "web"), Durability::Synced).unwrap();
    let reader = Store::open_read_only(&scratch.root()).unwrap();
    assert_eq!(reader.containers().unwrap().len(), 1);
    let refused = reader.insert_container(&container(2, "db"), Durability::Synced).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }));
    assert!(matches!(reader.sweep(), Err(Error::ReadOnly { .. })));
    let import = reader.import(&mut &b""[..], None, "test", &|_| {});
    assert!(matches!(import, Err(Error::ReadOnly { .. })));
}

#[test]
fn a_database_whose_maker_was_killed_halfway_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (root, half) = (dir.path().join("root"), dir.path().join("half"));
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&half).unwrap();
    let path = half.join("store.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA journal_mode = DELETE; CREATE TABLE t(x); PRAGMA cache_size = 1").unwrap();
    database
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO t SELECT randomblob(4096) FROM sqlite_master")
        .unwrap();
    for _ in 0..6 {
        database.execute_batch("INSERT INTO t SELECT randomblob(4096) FROM t").unwrap();
    }
    // What is on the disk at the moment when it's killed.
    for name in ["store.db", "store.db-journal"] {
        std::fs::copy(half.join(name), root.join(name)).unwrap();
    }
    assert!(std::fs::metadata(root.join("store.db-journal")).unwrap().len() > 0);
    assert!(matches!(Store::open_read_only(&root), Err(Error::NoStore { .. })));
    Store::open(&root).unwrap();
    assert!(Store::open_read_only(&root).unwrap().containers().unwrap().is_empty());
}

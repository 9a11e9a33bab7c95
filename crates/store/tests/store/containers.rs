//! Records of containers: names are unique, whoever writes at the same time.

use crate::support::{Scratch, child, child_root, container};
use std::collections::BTreeSet;
use store::{Durability, Error, Store};
use types::id::ContainerId;

#[test]
fn a_record_comes_back_as_it_was() {
    let scratch = Scratch::new();
    let (web, db) = (container(0xab, "web"), container(0xcd, "db"));
    scratch.store.insert_container(&web, Durability::Synced).unwrap();
    scratch.store.insert_container(&db, Durability::Unsynced).unwrap();
    let reopened = Store::open(&scratch.root()).unwrap();
    assert_eq!(reopened.containers().unwrap(), [db.clone(), web.clone()]);
    assert_eq!(reopened.container(&web.id).unwrap(), Some(web.clone()));
    reopened.update_container(&web.id, r#"{"changed":1}"#, Durability::Synced).unwrap();
    let changed = scratch.store.container(&web.id).unwrap().unwrap();
    assert_eq!((changed.config_json.as_str(), changed.name.as_str()), (r#"{"changed":1}"#, "web"));
    assert!(reopened.remove_container(&web.id, Durability::Unsynced).unwrap());
    let gone = reopened.update_container(&web.id, "{}", Durability::Unsynced);
    assert!(matches!(gone, Err(Error::NoContainer { .. })));
    assert!(!reopened.remove_container(&web.id, Durability::Synced).unwrap());
    assert_eq!(scratch.store.containers().unwrap(), [db]);
}

#[test]
fn containers_are_found_by_id_name_and_prefix() {
    let scratch = Scratch::new();
    // One container's name is the beginning of another's id.
    for record in [container(0xab, "web"), container(0xac, "ab"), container(0xcd, "ef")] {
        scratch.store.insert_container(&record, Durability::Unsynced).unwrap();
    }
    let found = |given: &str| scratch.store.find_container(given).map(|record| record.name);
    assert_eq!(found(&"ab".repeat(32)).unwrap(), "web");
    assert_eq!(found("web").unwrap(), "web");
    assert_eq!(found("/web").unwrap(), "web");
    assert_eq!(found("ab").unwrap(), "ab");
    assert_eq!(found("aba").unwrap(), "web");
    assert_eq!(found("c").unwrap(), "ef");
    let ambiguous = found("a").unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        r#""a" is the beginning of more than one container's id: abababababab, acacacacacac"#
    );
    for unknown in ["", "x", "we", "ff", "A", "%", &"cd".repeat(33)] {
        assert!(matches!(found(unknown), Err(Error::NoContainer { .. })), "{unknown:?}");
    }
}

#[test]
fn a_taken_name_says_by_whom() {
    let scratch = Scratch::new();
    scratch.store.insert_container(&container(1, "web"), Durability::Unsynced).unwrap();
    let taken = scratch.store.insert_container(&container(2, "web"), Durability::Unsynced).unwrap_err();
    assert_eq!(taken.kind(), types::kind::Kind::Conflict);
    let id = "01".repeat(32);
    assert_eq!(taken.to_string(), format!("the container name \"web\" is already in use by container {id}"));
    let same = scratch.store.insert_container(&container(1, "other"), Durability::Unsynced);
    assert!(matches!(same, Err(Error::ContainerExists { .. })));
    let bad = scratch.store.insert_container(&container(3, "-x"), Durability::Unsynced);
    assert!(matches!(bad, Err(Error::ContainerName { .. })));
    assert_eq!(scratch.store.containers().unwrap().len(), 1);
}

const PROCESSES: u8 = 8;
const INSERTS: u8 = 25;

#[test]
fn fifty_processes_and_threads_insert_at_once() {
    let scratch = Scratch::new();
    let children: Vec<_> = (0..PROCESSES)
        .map(|n| {
            let mut command = child("containers::child_inserts", &scratch.root());
            command
                .env("BERTH_TEST_CHILD", n.to_string())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let root = scratch.root();
            scope.spawn(move || insert_many(&Store::open(&root).unwrap(), 100 + n));
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let containers = scratch.store.containers().unwrap();
    let names: BTreeSet<_> = containers.iter().map(|record| &record.name).collect();
    let each = usize::from(INSERTS);
    assert_eq!(containers.len(), (usize::from(PROCESSES) + 4) * each + 1);
    assert_eq!(names.len(), containers.len());
}

#[test]
fn child_inserts() {
    let Some(root) = child_root() else { return };
    let n: u8 = std::env::var("BERTH_TEST_CHILD").unwrap().parse().unwrap();
    insert_many(&Store::open(&root).unwrap(), n);
}

/// Inserts [`INSERTS`] containers, and tries for the one name that everybody wants.
fn insert_many(store: &Store, n: u8) {
    for k in 0..INSERTS {
        let mut record = container(0, &format!("c{n}-{k}"));
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (n, k);
        record.id = ContainerId::from_random(bytes);
        let durability = if k % 5 == 0 { Durability::Synced } else { Durability::Unsynced };
        store.insert_container(&record, durability).unwrap();
        bytes[2] = 1;
        record.id = ContainerId::from_random(bytes);
        record.name = "wanted-by-all".to_owned();
        match store.insert_container(&record, durability) {
            Ok(()) | Err(Error::NameInUse { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_log_stays_short_when_each_change_has_a_process_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let web = container(1, "web");
    for _ in 0..100 {
        Store::open(&root).unwrap().insert_container(&web, Durability::Unsynced).unwrap();
        let removed = Store::open(&root)
            .unwrap()
            .remove_containers(std::slice::from_ref(&web.id), Durability::Unsynced);
        assert_eq!(removed.unwrap(), 1);
        let log = std::fs::metadata(root.join("store.db-wal")).unwrap().len();
        assert!(log < 1 << 20, "{log} bytes");
    }
}

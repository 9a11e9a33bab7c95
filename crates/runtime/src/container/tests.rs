use super::dir::StateRoot;
use super::status::has_ended;
use super::{Merge, check_id, merge_process};
use types::oci::{Capabilities, Process, User};

#[test]
fn ids_follow_runcs_grammar() {
    for good in ["a", "A+b_c-d.e", "...", ".new", &"x".repeat(255)] {
        assert!(check_id(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a b", "new:1", "a\n", &"x".repeat(256)] {
        assert!(check_id(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_id_is_claimed_once_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let root = StateRoot::ensure(&dir.path().join("deep/root")).unwrap();
    let (first, lock) = root.claim("a", &[("f", b"one")]).unwrap();
    assert!(root.claim("a", &[("f", b"two")]).is_err());
    assert_eq!(first.read("f").unwrap().unwrap(), b"one");
    assert!(first.is_locked());
    drop(lock);
    assert!(!first.is_locked());
    assert_eq!(root.ids().unwrap(), ["a"]);
    root.remove(first).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("deep/root")).unwrap().count(), 0);
}

#[test]
fn left_overs_are_swept_and_containers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let root = StateRoot::ensure(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("new:1-0")).unwrap();
    std::fs::write(dir.path().join("new:1-0/state.json"), "half").unwrap();
    std::fs::create_dir_all(dir.path().join("gone:1-0/rootfs")).unwrap();
    let (kept, _lock) = root.claim("a", &[]).unwrap();
    root.sweep().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    drop(kept);
}

#[test]
fn a_removed_container_cannot_be_locked() {
    let dir = tempfile::tempdir().unwrap();
    let root = StateRoot::ensure(dir.path()).unwrap();
    let (dir_a, lock) = root.claim("a", &[]).unwrap();
    drop(lock);
    let other = root.container("a").unwrap().unwrap();
    root.remove(dir_a).unwrap();
    assert!(other.lock().unwrap().is_none());
}

#[test]
fn a_process_has_ended_with_its_last_thread() {
    let stat = |state: &str, flags: u32, threads: u32| {
        let line = format!("7 (a) Z) {state} 1 7 7 0 -1 {flags} 1 1 1 1 1 1 1 1 20 0 {threads} 0 99 1 1");
        has_ended(line.as_bytes())
    };
    assert!(!stat("S", 0x40_0100, 1));
    assert!(stat("Z", 0x40_010c, 1));
    assert!(stat("S", 0x40_0104, 1));
    assert!(!stat("Z", 0x40_010c, 2));
}

#[test]
fn exec_changes_the_containers_process_as_runc_does() {
    let own = Process {
        args: vec!["sh".into()],
        env: vec!["A=1".into(), "B=2".into()],
        cwd: "/".into(),
        terminal: true,
        user: User { uid: 1, gid: 2, additional_gids: vec![3], ..User::default() },
        capabilities: Some(Capabilities { bounding: vec!["CAP_KILL".into()], ..Capabilities::default() }),
        ..Process::default()
    };
    let merge = Merge {
        args: vec!["id".into()],
        env: vec!["A=3".into(), "C=4".into()],
        user: Some((7, None)),
        additional_gids: vec![8],
        caps: vec!["CAP_CHOWN".into()],
        ..Merge::default()
    };
    let merged = merge_process(&own, &merge);
    assert_eq!(merged.args, ["id"]);
    assert_eq!(merged.env, ["B=2", "A=3", "C=4"]);
    assert_eq!((merged.user.uid, merged.user.gid), (7, 2));
    assert_eq!(merged.user.additional_gids, [3, 8]);
    assert!(!merged.terminal && !merged.no_new_privileges);
    assert_eq!(merged.cwd, "/");
    let caps = merged.capabilities.unwrap();
    assert_eq!(caps.bounding, ["CAP_KILL", "CAP_CHOWN"]);
    assert_eq!((caps.effective.len(), caps.ambient.len()), (1, 0));
}

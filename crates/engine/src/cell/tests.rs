use super::*;
use linux::process;

#[test]
fn a_name_opens_its_process_alone_and_while_it_lives() {
    #[expect(clippy::disallowed_methods, reason = "somebody else's program is what is to be named")]
    let mut sleep = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let child = sleep.id() as i32;
    let name = ProcessName::of(child).unwrap();
    let without = ProcessName { number: None, ..name };
    let others = [
        ProcessName { number: name.number.map(|number| number + 1), ..name },
        ProcessName { start_time: name.start_time + 1, ..without },
    ];
    for name in [name, without] {
        assert!(name.open().is_some());
    }
    let other_number = others[0].number.is_some();
    assert!(!other_number || others[0].open().is_none(), "another process of the same pid");
    assert!(others[1].open().is_none());
    // Of an older berth's document.
    let old = serde_json::from_str(&format!(r#"{{"pid":{child},"start_time":{}}}"#, name.start_time));
    assert_eq!(old.ok(), Some(without));
    let pidfd = process::pidfd_open(child).unwrap();
    sleep.kill().unwrap();
    while !has_ended(pidfd.as_fd()) {
        std::thread::yield_now();
    }
    for name in [name, without] {
        assert!(name.open().is_none(), "it has ended, and nobody has reaped it");
    }
    sleep.wait().unwrap();
    assert!(name.open().is_none());
}

#[test]
fn documents_of_any_length_are_read() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("document");
    for length in [0, 100, DOCUMENT_BYTES - 3, DOCUMENT_BYTES - 2, DOCUMENT_BYTES - 1, 3 * DOCUMENT_BYTES] {
        let text = "x".repeat(length);
        std::fs::write(&path, to_json(&text)).unwrap();
        assert_eq!(read_json::<String>(&path), Some(text), "{length}");
    }
    assert_eq!(read_json::<String>(&tmp.path().join("none")), None);
}

#[test]
fn a_lock_that_was_waited_for_is_not_the_one_of_the_next_start() {
    let tmp = tempfile::tempdir().unwrap();
    let home = Home { run: tmp.path().to_owned(), ..Home::default() };
    std::fs::create_dir(tmp.path().join("containers")).unwrap();
    let intent = Intent { name: "web".to_owned(), rm: false, slots: Vec::new(), again: false, cgroup: None };
    let (cell, lock) = Cell::create(&home, "0123", &intent).unwrap();
    let waited_for = format!(":{} ", rustix::fs::fstat(&lock.0).unwrap().st_ino);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| cell.wait_lock().unwrap().is_some());
        let waits = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&waited_for))
        };
        while !waits() {
            assert!(!waiter.is_finished());
            std::thread::yield_now();
        }
        cell.remove();
        let (_, next) = Cell::create(&home, "0123", &intent).unwrap();
        drop(lock);
        assert!(!waiter.join().unwrap(), "it was told that nobody looks after the container");
        assert!(cell.try_lock().unwrap().is_none());
        drop(next);
    });
    assert!(cell.try_lock().unwrap().is_some());
}

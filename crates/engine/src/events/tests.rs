use super::log::Log;
use super::*;
use std::io::Write;

fn event(number: usize) -> Event {
    let attributes = [("number".to_owned(), number.to_string())].into();
    Event::new("container", "start", &format!("{number:064x}"), attributes)
}

fn numbers(events: &[Event]) -> Vec<usize> {
    events.iter().filter_map(|event| event.actor.attributes["number"].parse().ok()).collect()
}

/// All that a reader gets at once.
fn drain(reader: &mut Reader) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(batch) = reader.next_batch().expect("readable") {
        events.extend(batch);
    }
    events
}

fn all(log: &Log) -> Vec<Event> {
    drain(
        &mut Reader::of(log.clone(), Filter::default(), None, Some(crate::cell::now_ns())).expect("readable"),
    )
}

#[test]
fn a_follower_loses_nothing_when_files_are_put_by() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::small(dir.path().join("events"), 2000);
    let mut reader = Reader::of(log.clone(), Filter::default(), Some(0), None).expect("readable");
    let mut seen = Vec::new();
    for number in 0..200 {
        log.append(event(number));
        // Less often than files are put by.
        if number % 11 == 0 {
            while let Some(last) = numbers(&seen).last().copied().or(Some(usize::MAX))
                && last != number
            {
                seen.extend(reader.next_batch().expect("readable").expect("no end"));
            }
        }
    }
    while numbers(&seen).last() != Some(&199) {
        seen.extend(reader.next_batch().expect("readable").expect("no end"));
    }
    assert_eq!(numbers(&seen), (0..200).collect::<Vec<_>>());
    assert_eq!(log.older().len(), 3);
    let kept = numbers(&all(&log));
    assert!(kept.len() > 15 && kept.len() < 40, "{kept:?}");
    assert_eq!(*kept, (0..200).collect::<Vec<_>>()[200 - kept.len()..]);
}

#[test]
fn half_a_line_is_passed_over_and_cut_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::small(dir.path().join("events"), 1 << 20);
    log.append(event(1));
    let mut file = std::fs::OpenOptions::new().append(true).open(log.path()).expect("there");
    file.write_all(b"{\"status\":\"sta").expect("written");
    assert_eq!(numbers(&all(&log)), [1]);
    let mut reader = Reader::of(log.clone(), Filter::default(), None, None).expect("readable");
    log.append(event(2));
    assert_eq!(numbers(&all(&log)), [1, 2]);
    assert_eq!(numbers(&reader.next_batch().expect("readable").expect("no end")), [2]);
}

#[test]
fn times_never_go_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::small(dir.path().join("events"), 600);
    log.append(event(1));
    let text = std::fs::read_to_string(log.path()).expect("there");
    let late = i64::MAX / 2;
    let time = all(&log)[0].time_ns.to_string();
    std::fs::write(log.path(), text.replace(&time, &late.to_string())).expect("written");
    (2..9).for_each(|number| log.append(event(number)));
    let mut reader = Reader::of(log.clone(), Filter::default(), Some(0), Some(late + 1)).expect("readable");
    let mut events = Vec::new();
    while numbers(&events).last() != Some(&8) {
        events.extend(reader.next_batch().expect("readable").expect("no end"));
    }
    assert!(log.older().len() > 1);
    assert!(events.iter().all(|event| event.time_ns == late), "{events:?}");
}

#[test]
fn what_was_told_is_found_far_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::small(dir.path().join("events"), 200_000);
    (0..1500).for_each(|number| log.append(event(number)));
    assert!(log.older().len() > 1);
    let last = |number: usize, since| {
        let mut found = None;
        log.append_after(&format!("{number:064x}"), &["start"], since, |last| {
            found = last.map(|event| event.action.clone());
            Vec::new()
        });
        found
    };
    for number in [0, 1, 300, 700, 1499] {
        assert_eq!(last(number, 0).as_deref(), Some("start"), "{number}");
    }
    assert_eq!(last(2000, 0), None);
    assert_eq!(last(0, i64::MAX), None);
}

#[test]
fn a_log_that_cannot_be_written_is_nobodys_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Log::small(dir.path().join("no/such"), 1 << 20);
    log.append(event(1));
    assert_eq!(all(&log), []);
}

#[test]
fn filters_are_dockers() {
    let attributes = [("image", "alpine:3"), ("name", "web"), ("tier", "front")];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let exec = Event::new("container", "exec_start: sh", "abcdef", attributes);
    for (filters, passes) in [
        (vec![], true),
        (vec![("type", "container")], true),
        (vec![("type", "image"), ("type", "container")], true),
        (vec![("type", "image")], false),
        (vec![("event", "exec_start")], true),
        (vec![("event", "exec")], false),
        (vec![("event", "start")], false),
        (vec![("container", "abc")], true),
        (vec![("container", "we")], true),
        (vec![("container", "x")], false),
        (vec![("image", "alpine")], true),
        (vec![("image", "alpine:3")], true),
        (vec![("image", "alp")], false),
        (vec![("label", "tier")], true),
        (vec![("label", "tier=front"), ("label", "none")], false),
        (vec![("label", "tier=back")], false),
        (vec![("scope", "local")], true),
        (vec![("scope", "swarm")], false),
        (vec![("type", "container"), ("container", "x")], false),
    ] {
        let mut filter = Filter::default();
        filters.iter().for_each(|(key, value)| filter.add(key, value));
        assert_eq!(filter.passes(&exec), passes, "{filters:?}");
    }
}

#[test]
fn several_are_looked_for_in_one_go() {
    let tmp = tempfile::tempdir().unwrap();
    let log = Log::small(tmp.path().join("events"), 4_000);
    let id = |number: u32| format!("{number:064x}");
    let event = |number: u32, action: &str| Event::new("container", action, &id(number), BTreeMap::new());
    for number in 0..9 {
        log.append(event(number, "start"));
        // What only looks like another's.
        log.append(event(number, &format!("exec_start: echo \",\"id\":\"{}\"", id(number + 1))));
        log.append(event(number, "die"));
    }
    log.append(event(3, "destroy"));
    let ids: Vec<String> = [7, 3, 99, 0].map(id).to_vec();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let seen = std::cell::RefCell::new(Vec::new());
    log.append_after_each(&ids, &["start", "die", "destroy"], 0, |at, last| {
        seen.borrow_mut().push((at, last.map(|last| (last.actor.id.clone(), last.action.clone()))));
        last.filter(|last| last.action == "die").map(|_| event(7, "destroy")).into_iter().collect()
    });
    let found = |number: u32, action: &str| Some((id(number), action.to_owned()));
    assert_eq!(
        *seen.borrow(),
        [(0, found(7, "die")), (1, found(3, "destroy")), (2, None), (3, found(0, "die"))]
    );
    let mut told = 0;
    log.append_after(&id(7), &["destroy"], 0, |last| {
        told += usize::from(last.is_some());
        Vec::new()
    });
    assert_eq!(told, 1);
}

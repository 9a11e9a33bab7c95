//! `berth events`.

use super::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// All that has happened so far, of one container's id, or to all.
fn told(host: &Host, filters: &[&str]) -> Vec<Value> {
    let command = ["events", "--since", "1h", "--until", "0s", "--format", "json"];
    let filters = filters.iter().flat_map(|filter| ["-f", filter]);
    let text = host.berth(command.into_iter().chain(filters)).text();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["Action"].as_str().unwrap()).collect()
}

/// The actions of container `name`, once one is `last`.
fn life(host: &Host, name: &str, last: &str) -> Vec<Value> {
    let filter = format!("container={name}");
    let mut events = Vec::new();
    let over = until(PATIENCE, || {
        events = told(host, &[&filter]);
        actions(&events).contains(&last)
    });
    assert!(over, "{events:?}");
    events
}

#[test]
fn a_life_is_told_in_dockers_order() {
    let host = Host::new();
    host.berth(["run", "--rm", "--name", "short", "-l", "tier=front", "@host", "sh", "-c", "exit 3"])
        .run()
        .code(3);
    let events = life(&host, "short", "destroy");
    assert_eq!(actions(&events), ["create", "attach", "start", "die", "destroy"]);
    let die = &events[3];
    let id = die["Actor"]["ID"].as_str().unwrap();
    assert_eq!(id.len(), 64);
    let attributes = |event: &Value| {
        serde_json::from_value::<BTreeMap<String, String>>(event["Actor"]["Attributes"].clone()).unwrap()
    };
    let own = [("image", "@host"), ("name", "short"), ("tier", "front")];
    let of = |more: &[(&str, &str)]| {
        own.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(attributes(die), of(&[("exitCode", "3"), ("execDuration", "0")]));
    assert_eq!(attributes(&events[2]), of(&[]));
    for event in &events {
        assert_eq!(event["status"], event["Action"]);
        assert_eq!((&event["id"], &event["from"]), (&die["id"], &"@host".into()));
        assert_eq!((&event["Type"], &event["scope"]), (&"container".into(), &"local".into()));
        assert_eq!(event["timeNano"].as_i64().unwrap() / 1_000_000_000, event["time"].as_i64().unwrap());
    }

    start(&host, "web", "exec sleep 1000");
    host.berth(["exec", "web", "sh", "-c", "exit 5"]).run().code(5);
    for command in [
        &["pause", "web"][..],
        &["unpause", "web"],
        &["rename", "web", "new"],
        &["stop", "-t", "0", "new"],
        &["rm", "new"],
    ] {
        host.berth(command).run().ok();
    }
    let id = life(&host, "new", "destroy")[0]["id"].as_str().unwrap().to_owned();
    let events = life(&host, &id, "destroy");
    let told = [
        "create",
        "start",
        "exec_create: sh -c exit 5",
        "exec_start: sh -c exit 5",
        "exec_die",
        "pause",
        "unpause",
        "rename",
        "kill",
    ];
    // A signal that it ignores, then one that nobody does.
    assert_eq!(actions(&events)[..told.len()], told);
    assert_eq!(actions(&events)[told.len()..], ["kill", "die", "stop", "destroy"]);
    let attribute = |at: usize, name: &str| events[at]["Actor"]["Attributes"][name].as_str().unwrap();
    assert_eq!(attribute(2, "execID").len(), 64);
    assert_eq!((attribute(4, "execID"), attribute(4, "exitCode")), (attribute(2, "execID"), "5"));
    assert_eq!((attribute(7, "name"), attribute(7, "oldName")), ("new", "/web"));
    assert_eq!(
        (attribute(8, "signal"), attribute(9, "signal"), attribute(10, "exitCode")),
        ("15", "9", "137")
    );

    start(&host, "doomed", "exec sleep 1000");
    remove(&host, &["doomed"]);
    let events = life(&host, "doomed", "destroy");
    assert_eq!(actions(&events), ["create", "start", "kill", "die", "destroy"]);
}

#[test]
fn filters_times_and_formats_choose() {
    let host = Host::new();
    host.berth(["run", "--rm", "--name", "one", "-l", "a=b", "@host", "true"]).run().ok();
    host.berth(["run", "--rm", "--name", "two", "@host", "true"]).run().ok();
    life(&host, "one", "destroy");
    life(&host, "two", "destroy");
    let count = |filters: &[&str]| told(&host, filters).len();
    assert_eq!(count(&[]), 10);
    assert_eq!(count(&["event=die", "event=start"]), 4);
    assert_eq!(count(&["event=die", "container=one"]), 1);
    assert_eq!(count(&["label=a=b"]), 5);
    assert_eq!(count(&["type=image"]), 0);
    assert_eq!(count(&["image=@host", "type=container", "scope=local"]), 10);
    let at = told(&host, &["container=two", "event=create"])[0]["timeNano"].as_i64().unwrap();
    let moment = |ns: i64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let between = |since: i64, to: i64| {
        let format = "{{.Actor.Attributes.name}} {{.Action}}";
        host.berth([
            "system",
            "events",
            "--since",
            &moment(since),
            "--until",
            &moment(to),
            "--format",
            format,
        ])
        .text()
    };
    assert!(between(at, at).lines().all(|line| line == "two create" || line == "two attach"));
    assert!(between(at, at).starts_with("two create"));
    assert!(between(0, at - 1).lines().all(|line| line.starts_with("one ")));
    let line = host.berth(["events", "--until", "0s", "-f", "event=create", "-f", "container=one"]).text();
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), time.find('.')), (30, Some(19)), "{time}");
    assert!(rest.starts_with("container create "), "{rest}");
    assert!(rest.ends_with(" (a=b, image=@host, name=one)"), "{rest}");
    host.berth(["events", "--until", "0s", "--format", "{{.Nope}}"]).run().code(64);
    assert!(host.berth(["events", "-f", "typ=x"]).run().code(1).err().contains("did you mean type"));
}

#[test]
fn nothing_is_lost_of_200_lives() {
    let host = Host::new();
    let path = host.path("events");
    let command = ["events", "--since", "1h", "--format", "{{.Action}} {{.Actor.ID}}"];
    let follower = host.berth(command).output_to(&path).timeout(Duration::from_secs(120)).spawn();
    for _ in 0..50 {
        let four = [(); 4].map(|()| host.berth(["run", "--rm", "@host", "true"]).spawn());
        four.into_iter().for_each(|one| drop(one.wait().ok()));
    }
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let read = || std::fs::read_to_string(host.path("events.out")).unwrap();
    assert!(until(PATIENCE, || read().matches("destroy ").count() == 200));
    follower.signal(15);
    follower.wait();
    let text = read();
    for line in text.lines() {
        let (action, id) = line.split_once(' ').unwrap();
        lives.entry(id.to_owned()).or_default().push(action.to_owned());
    }
    assert_eq!(lives.len(), 200);
    for (id, life) in lives {
        assert_eq!(life, ["create", "attach", "start", "die", "destroy"], "{id}");
    }
    let times: Vec<i64> = told(&host, &[]).iter().map(|event| event["timeNano"].as_i64().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn each_end_is_told_once_whoever_is_killed() {
    let host = Host::new();
    let list = host.path("points");
    let command = ["run", "--rm", "@host", "sh", "-c", "sleep 0.02; exit 3"];
    host.berth(command).env("BERTH_FAULT_LIST", &list).run().code(3);
    let settled = || host.berth(["ps", "-aq"]).run().text().is_empty();
    let gone = host.dir().join("run/containers");
    let is_over = || settled() && std::fs::read_dir(&gone).unwrap().count() == 0;
    assert!(until(PATIENCE, is_over));
    let text = std::fs::read_to_string(&list).unwrap();
    let points: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(point, _)| point)
        .filter(|point| point.starts_with("keeper") || point.starts_with("holder"))
        .collect();
    assert!(points.len() > 15, "{points:?}");
    for point in points {
        host.berth(command).env("BERTH_FAULT", point).run();
        assert!(until(PATIENCE, is_over), "{point}");
        let events = told(&host, &[]);
        let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in events.iter().filter(|event| event["Action"] != "attach") {
            lives.entry(event["id"].as_str().unwrap()).or_default().push(event["Action"].as_str().unwrap());
        }
        for life in lives.values() {
            let whole = ["create", "start", "die", "destroy"];
            // Or it never ran.
            assert!(*life == whole || *life == ["create", "destroy"], "{point}: {life:?}");
        }
    }
}

#[test]
fn images_and_volumes_are_told_of_too() {
    let host = Host::new();
    load_app(&host);
    host.berth(["tag", "app", "other:1"]).run().ok();
    let path = host.path("saved.tar");
    host.berth(["save", "-o"]).arg(&path).arg("app").run().ok();
    host.berth(["volume", "create", "data"]).run().ok();
    host.berth(["run", "-d", "--name", "box", "-v", "data:/v:ro", "app", "sleep", "1000"]).run().ok();
    host.berth(["top", "box"]).run().ok();
    let committed = host.berth(["commit", "-m", "words", "box", "made"]).text();
    host.berth(["export", "-o"]).arg(&path).arg("box").run().ok();
    remove(&host, &["box"]);
    host.berth(["volume", "rm", "data"]).run().ok();
    host.berth(["rmi", "other:1"]).run().ok();
    host.berth(["rmi", "app", "made"]).run().ok();

    let events = told(&host, &["type=image"]);
    assert_eq!(actions(&events), ["load", "tag", "save", "untag", "untag", "delete", "untag", "delete"]);
    let id = events[0]["id"].as_str().unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(
        (&events[1]["id"], &events[1]["Actor"]["Attributes"]["name"]),
        (&id.into(), &"other:1".into())
    );
    assert_eq!(told(&host, &["image=other"]).len(), 1);

    let events = told(&host, &["type=volume", "volume=data"]);
    assert_eq!(actions(&events), ["create", "mount", "unmount", "destroy"]);
    let mount = &events[1]["Actor"]["Attributes"];
    assert_eq!(
        (&mount["destination"], &mount["read/write"], &mount["driver"]),
        (&"/v".into(), &"false".into(), &"local".into())
    );
    assert!(events[1].get("status").is_none());

    let events = told(&host, &["container=box"]);
    assert_eq!(actions(&events), ["create", "start", "top", "commit", "export", "kill", "die", "destroy"]);
    let commit = &events[3]["Actor"]["Attributes"];
    assert_eq!((&commit["comment"], &commit["imageID"]), (&"words".into(), &committed.into()));
}

#[test]
fn each_start_and_its_end_are_told() {
    let host = Host::new();
    host.berth(["create", "--name", "made", "@host", "sleep", "1000"]).run().ok();
    host.berth(["start", "made"]).run().ok();
    host.berth(["restart", "-t", "0", "made"]).run().ok();
    remove(&host, &["made"]);
    let events = life(&host, "made", "destroy");
    let told =
        ["create", "start", "kill", "kill", "die", "stop", "start", "restart", "kill", "die", "destroy"];
    assert_eq!(actions(&events), told);

    let command =
        ["run", "-d", "--name", "fails", "--restart", "on-failure:2", "@host", "sh", "-c", "exit 3"];
    host.berth(command).run().ok();
    let mut events = Vec::new();
    let over = until(PATIENCE, || {
        events = self::told(&host, &["container=fails"]);
        actions(&events).iter().filter(|action| **action == "die").count() == 3
    });
    assert!(over, "{events:?}");
    assert_eq!(actions(&events), ["create", "start", "die", "start", "die", "start", "die"]);
    remove(&host, &["fails"]);
}

//! What must be true when the storm is over.

use super::Camp;
use super::boxes::{Known, OneBox, Policy};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::{Value, until};

/// How long a restart or an end may go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is said of each container is what is known of it, and what the kernel shows.
pub fn states(camp: &Camp, boxes: &[OneBox]) {
    let mut wrong = Vec::new();
    // A signal takes a while to end what it was sent to.
    until(PATIENCE, || {
        let list = camp.berth(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).run().ok().text();
        let list: BTreeMap<&str, &str> = list.lines().filter_map(|line| line.split_once(' ')).collect();
        let judge = |one: &OneBox| {
            let state = list.get(one.name.as_str()).copied().unwrap_or("not listed");
            let well = match one.known {
                Known::Absent => state == "not listed",
                Known::Started => one.goes_on(state),
                Known::Stopped => state == "exited",
                Known::Nothing => true,
            };
            (!well).then(|| format!("it is {state}: {}", one.tell(camp)))
        };
        wrong = boxes.iter().filter_map(judge).collect();
        wrong.is_empty()
    });
    wrong.into_iter().for_each(|what| camp.fault(what));
    boxes.iter().filter(|one| one.known != Known::Absent).for_each(|one| truth(camp, one));
}

/// One that is said to run has a process, and one that is said to have ended has none.
fn truth(camp: &Camp, one: &OneBox) {
    let mut last = Value::Null;
    let is_true = until(PATIENCE, || {
        let output = camp.berth(&["inspect", &one.name]).run();
        if output.status != 0 {
            // A container of `Known::Nothing` may go on being removed.
            return one.known == Known::Nothing;
        }
        last = output.json()[0].clone();
        let state = &last["State"];
        let pid = state["Pid"].as_u64().unwrap_or(0);
        let lives = pid > 0 && std::path::Path::new(&format!("/proc/{pid}")).is_dir();
        // None, if nobody saw it.
        let code = state["ExitCode"].as_i64().unwrap_or(255);
        let restarts = last["RestartCount"].as_u64().unwrap_or(99);
        match state["Status"].as_str() {
            Some("running") => lives,
            // Five times, unless it was stopped in between.
            Some("exited") if one.policy == Policy::OnFailure && one.known == Known::Started => {
                pid == 0 && (restarts == 5 || code == 255)
            }
            // In between somebody starts it.
            Some("restarting") => pid == 0 && one.policy != Policy::No,
            Some("exited") => pid == 0 && [3, 7, 137, 255].contains(&code),
            Some("created") => pid == 0 && one.known == Known::Nothing,
            _ => false,
        }
    });
    if !is_true {
        camp.fault(format!("that isn't true: {}", one.tell(camp)));
    }
}

/// All are stopped; then their logs are whole; then they're removed.
pub fn ends(camp: &Camp, boxes: &mut [OneBox]) {
    for one in boxes.iter_mut() {
        let found = camp.berth(&["inspect", "-f", "{{.Id}}", &one.name]).run();
        if found.status != 0 {
            // A removal that was killed may have left its name.
            camp.berth(&["rm", "-f", &one.name]).run();
            continue;
        }
        let id = found.text();
        camp.berth(&["stop", "-t", "5", &one.name]).run().ok();
        let state = camp.berth(&["inspect", "-f", "{{.State.Status}}", &one.name]).run().text();
        if state.is_empty() && one.known == Known::Nothing {
            // Whoever began to remove it was killed, and may have left its name.
            camp.berth(&["rm", "-f", &one.name]).run();
            continue;
        }
        if state != "exited" && state != "created" {
            camp.fault(format!("{} was stopped at the end, and is {state}", one.name));
        }
        let log = camp.berth(&["logs", &one.name]).run().ok();
        let noted = one.noted(camp);
        one.check_log(camp, &noted, &String::from_utf8_lossy(&log.stdout), &id);
        camp.count("logs compared at the end");
        camp.berth(&["rm", &one.name]).run().ok();
        one.known = Known::Absent;
    }
    let left = camp.berth(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).run().ok().text();
    if !left.is_empty() {
        camp.fault(format!("left after the removal of all: {left}"));
        let ids = camp.berth(&["ps", "-aq"]).run().text();
        let args: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.split_whitespace()).collect();
        camp.berth(&args).run();
    }
}

/// Each container's events tell of a life: it was made, each start has one end, and it was removed.
pub fn events(camp: &Camp, told: &str) {
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in told.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            camp.fault(format!("torn event: {line}"));
            continue;
        };
        let action = event["Action"].as_str().unwrap_or_default().to_owned();
        if matches!(action.as_str(), "create" | "start" | "die" | "destroy") {
            camp.count(&format!("event {action}"));
            names.insert(
                event["Actor"]["ID"].as_str().unwrap_or_default().to_owned(),
                event["Actor"]["Attributes"]["name"].as_str().unwrap_or_default().to_owned(),
            );
            lives
                .entry(event["Actor"]["ID"].as_str().unwrap_or_default().to_owned())
                .or_default()
                .push(action);
        }
    }
    for (id, life) in lives {
        let mut words = life.iter().map(String::as_str).peekable();
        let mut well = words.next() == Some("create");
        while words.next_if_eq(&"start").is_some() {
            well &= words.next() == Some("die");
        }
        well &= words.next() == Some("destroy") && words.next().is_none();
        if !well {
            camp.fault(format!(
                "events of {id}: {}; killed: {}; done to {}: {}",
                life.join(" "),
                camp.killed(&id),
                names[&id],
                camp.history(&names[&id])
            ));
        }
    }
}

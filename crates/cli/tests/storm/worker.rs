//! What is done to the containers, by several at once.

use super::boxes::{Known, OneBox, Policy, SCRIPT};
use super::{BOXES, Camp, Random, WORKERS};
use std::time::Duration;
use testkit::Output;

/// Lines after which one that ends by itself does.
const SHORT: &str = "60";
/// Lines that no other reaches.
const LONG: &str = "100000000";

/// Latest moment of a command's own kill: a start takes a few milliseconds, in a release build.
const KILL_AFTER_MS_MAX: u64 = 60;

/// What an `exec` says whose own first process was killed.
const LOST: [&str; 4] = [
    "killed from outside?",
    "cannot say go: sendmsg",
    "cannot leave a process behind",
    "ended before its program started",
];

/// Works on each `WORKERS`th container until the storm is over; returns them.
pub fn run(camp: &Camp, number: usize, mut random: Random) -> Vec<OneBox> {
    let mut own: Vec<OneBox> = (number..BOXES).step_by(WORKERS).map(OneBox::new).collect();
    while !camp.is_over() {
        let at = random.below(own.len() as u64) as usize;
        act(camp, &mut own[at], &mut random);
    }
    own
}

/// Runs a command; one in eight is killed while it works, which is `None`, as it is if somebody else kills it.
pub fn command(camp: &Camp, random: &mut Random, args: &[&str]) -> Option<Output> {
    let running = camp.berth(args).spawn();
    if random.once_in(8) {
        std::thread::sleep(Duration::from_micros(random.below(KILL_AFTER_MS_MAX * 1000)));
        running.signal(9);
    }
    let output = running.wait();
    let killed = output.status == 137 && output.stderr.is_empty();
    camp.count(&format!("{}{}", args[0], if killed { ", killed" } else { "" }));
    let name = args.iter().find(|word| word.starts_with("box")).copied().unwrap_or_default();
    camp.note(
        name,
        &format!("{} {}", args[0], if killed { "killed".to_owned() } else { output.status.to_string() }),
    );
    (!killed).then_some(output)
}

/// One more thing is done to a container.
fn act(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    match one.known {
        Known::Absent => start_new(camp, one, random),
        Known::Nothing => match random.below(3) {
            0 => stop(camp, one, random),
            1 => {
                start(camp, one, random);
                // It may be the one that a killed `stop` has signalled: started, and about to end.
                if one.known == Known::Started {
                    one.known = Known::Nothing;
                }
            }
            _ => remove(camp, one, random),
        },
        Known::Stopped => match random.below(4) {
            0 => remove(camp, one, random),
            1 => read(camp, one, random),
            _ => start(camp, one, random),
        },
        Known::Started => match random.below(14) {
            0 => remove(camp, one, random),
            1 | 2 => stop(camp, one, random),
            3 => restart(camp, one, random),
            4 => follow(camp, one, random),
            5 | 6 => read(camp, one, random),
            7 => kill(camp, one, random),
            8 => look(camp, one, random),
            9 => execute(camp, one, random, &["exec", "-d", &one.name.clone(), "sleep", "0.1"], 0),
            _ => execute(camp, one, random, &["exec", &one.name.clone(), "sh", "-c", "exit 5"], 5),
        },
    }
}

fn start_new(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    one.life += 1;
    let ctl = one.ctl(camp);
    std::fs::create_dir(&ctl).unwrap();
    std::fs::set_permissions(&ctl, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let volume = format!("{}:/ctl", ctl.display());
    let (policy, restart, lines) = match random.below(4) {
        0 => (Policy::Always, "always", SHORT),
        1 => (Policy::OnFailure, "on-failure:5", SHORT),
        _ => (Policy::No, "no", LONG),
    };
    one.policy = policy;
    let mut run = vec!["run", "-d", "--name", &one.name, "-v", &volume, "--restart", restart];
    if random.once_in(3) {
        run.extend(["--log-driver", "json-file"]);
    }
    if random.once_in(3) {
        run.extend(["--log-opt", "mode=non-blocking"]);
    }
    if random.once_in(3) {
        run.extend(["--health-cmd", "true", "--health-interval", "300ms"]);
    }
    run.extend(["@host", "sh", "-c", SCRIPT, "box", lines]);
    one.known = match command(camp, random, &run) {
        None => Known::Nothing,
        Some(output) if output.status == 0 => Known::Started,
        Some(output) => {
            refused(camp, &output, &["holder", "was killed"]);
            Known::Nothing
        }
    };
}

/// A command failed: for one of the reasons that a killed process is, or a fault.
fn refused(camp: &Camp, output: &Output, reasons: &[&str]) {
    let said = output.err();
    let first = said.lines().next().unwrap_or_default();
    let words = first.split([' ', '"', '/', ':']);
    let names = |word: &&str| {
        !(word.starts_with("box") || word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    camp.count(&format!("said ({}): {}", output.status, words.filter(names).collect::<Vec<_>>().join(" ")));
    if !reasons.iter().any(|reason| said.contains(reason)) {
        camp.fault(format!("{} ({}), {said:?}", output.line(), output.status));
    }
}

fn stop(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let done = command(camp, random, &["stop", "-t", "2", &one.name]);
    let Some(output) = done else { return one.known = Known::Nothing };
    if output.status != 0 {
        let reasons: &[&str] = if one.known == Known::Nothing { &["o such container"] } else { &[] };
        refused(camp, &output, reasons);
        one.known = if output.err().contains("o such container") { Known::Absent } else { Known::Nothing };
        return;
    }
    let before = std::mem::replace(&mut one.known, Known::Stopped);
    let state = state(camp, one);
    if before == Known::Nothing && state.contains("no such object") {
        // A removal that was killed had said that it goes with its end.
        return one.known = Known::Absent;
    }
    if !state.starts_with("exited ") && !state.starts_with("created ") {
        camp.fault(format!("it was stopped, and is {state}: {}", one.tell(camp)));
    }
}

fn kill(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let Some(output) = command(camp, random, &["kill", &one.name]) else { return one.known = Known::Nothing };
    match output.status {
        // As if a user had stopped it: its policy doesn't start it again.
        0 => one.known = Known::Stopped,
        _ => refused(camp, &output, if one.policy == Policy::No { &[] } else { &["is not running"] }),
    }
}

fn start(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let Some(output) = command(camp, random, &["start", &one.name]) else {
        return one.known = Known::Nothing;
    };
    match output.status {
        0 => one.known = Known::Started,
        _ => {
            refused(camp, &output, &["o such container", "holder", "was killed"]);
            one.known = Known::Nothing;
            if output.err().contains("o such container") {
                one.known = Known::Absent;
            }
        }
    }
}

fn restart(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let done = command(camp, random, &["restart", "-t", "2", &one.name]);
    let Some(output) = done else { return one.known = Known::Nothing };
    if output.status != 0 {
        refused(camp, &output, &["holder", "was killed"]);
        one.known = Known::Nothing;
    }
}

fn remove(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let before = one.known;
    let Some(output) = command(camp, random, &["rm", "-f", &one.name]) else {
        return one.known = Known::Nothing;
    };
    one.known = Known::Absent;
    if output.status != 0 {
        let reasons: &[&str] = if before == Known::Nothing { &["o such container"] } else { &[] };
        refused(camp, &output, reasons);
        if !output.err().contains("o such container") {
            one.known = Known::Nothing;
        }
    }
    if one.known == Known::Absent {
        let found = ask(camp, &["inspect", "-f", "{{.State.Status}}", &one.name]);
        if found.status == 0 {
            camp.fault(format!("{} was removed, and is {}", one.name, found.text()));
        }
    }
}

fn read(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let id = one.id(camp);
    // What one that runs has just written may not have come to its log.
    let noted = if one.known == Known::Stopped { one.noted(camp) } else { Vec::new() };
    if let Some(output) = command(camp, random, &["logs", &one.name]) {
        match output.status {
            0 => one.check_log(camp, &noted, &text(&output), &id),
            _ => refused(camp, &output, &[]),
        }
    }
}

/// Follows the log until the container is stopped.
fn follow(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let id = one.id(camp);
    let follower = camp.berth(&["logs", "-f", &one.name]).spawn();
    std::thread::sleep(Duration::from_millis(random.below(300)));
    stop(camp, one, random);
    if one.known != Known::Stopped {
        drop(follower);
        return;
    }
    // It follows until an end, after which some are started again.
    let noted = if one.policy == Policy::No { one.noted(camp) } else { Vec::new() };
    let output = follower.wait();
    camp.count(if output.status == 137 { "logs -f, killed" } else { "logs -f" });
    if output.status == 0 {
        one.check_log(camp, &noted, &text(&output), &id);
    } else if output.status != 137 {
        refused(camp, &output, &[]);
    }
}

fn look(camp: &Camp, one: &mut OneBox, random: &mut Random) {
    let Some(output) = command(camp, random, &["ps", "-a", "--format", "{{.Names}} {{.State}}"]) else {
        return;
    };
    if output.status != 0 {
        return refused(camp, &output, &[]);
    }
    let begin = format!("{} ", one.name);
    let listed = output.text().lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned));
    let state = listed.as_deref().unwrap_or("not listed");
    if !one.goes_on(state) {
        camp.fault(format!("it was started, and is {state}: {}", one.tell(camp)));
    }
}

fn execute(camp: &Camp, one: &mut OneBox, random: &mut Random, args: &[&str], status: i32) {
    let Some(output) = command(camp, random, args) else { return };
    if output.status != status {
        refused(
            camp,
            &output,
            if one.policy == Policy::No {
                &LOST
            } else {
                &["is not running", "is restarting", LOST[0], LOST[1], LOST[2]]
            },
        );
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a question answers, asked until the one who asks isn't killed.
fn ask(camp: &Camp, args: &[&str]) -> Output {
    loop {
        let output = camp.berth(args).run();
        if output.status != 137 {
            return output;
        }
    }
}

fn state(camp: &Camp, one: &OneBox) -> String {
    let output = ask(camp, &["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &one.name]);
    if output.status == 0 { output.text() } else { format!("unknown: {}", output.err()) }
}

impl OneBox {
    /// Whether a container that a user started and didn't stop may be in this state, by its policy.
    pub fn goes_on(&self, state: &str) -> bool {
        match self.policy {
            Policy::No => state == "running",
            Policy::Always => matches!(state, "running" | "restarting"),
            Policy::OnFailure => matches!(state, "running" | "restarting" | "exited"),
        }
    }

    /// The full id; empty if there is none.
    pub fn id(&self, camp: &Camp) -> String {
        ask(camp, &["inspect", "-f", "{{.Id}}", &self.name]).text()
    }

    /// All that can be told of it.
    pub fn tell(&self, camp: &Camp) -> String {
        let inspect = ["inspect", "-f", "{{json .State}} {{.RestartCount}}", &self.name];
        format!(
            "{self:?}, {}; killed: {}; done: {}",
            ask(camp, &inspect).text(),
            camp.killed(&self.id(camp)),
            camp.history(&self.name)
        )
    }
}

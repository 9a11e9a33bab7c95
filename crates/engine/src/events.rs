//! `berth events`: what happened to containers, images and volumes, in order, from all processes, with no daemon.
//!
//! ```text
//! <root>/events/
//!   log              the newest events: one JSON document a line, docker's, its time last
//!   log.<number>     older ones, the highest number the newest; FILES_MAX files in all
//! ```
//!
//! Invariants, held by [`log`]: a line is written by one write(2), under a short flock(2) of the file; times never go
//! backwards, whatever the clock does; what follows the last newline was cut off by the machine's end or a full disk, no
//! reader looks at it, and the next writer cuts it off. Nothing is synced: who loses power may lose the last seconds.
//!
//! The log is the truth about what was told already: a keeper that takes over from one that was killed looks into it
//! ([`ended`]). An event that can't be written, to a disk that is full or read-only, fails nobody's work.

mod filter;
mod log;
mod read;

pub use filter::Filter;
pub use read::{Reader, check};

use crate::cell::{Cell, now_ns};
use crate::request::{MountKind, MountRequest};
use crate::{Config, Home};
use log::Log;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::reference::Reference;

/// Whom an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A container's or an image's id, an image's name, a volume's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels, names, and what the action is about.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// An event, with the fields and their order in docker's API 1.51. Source: moby api/types/events, Message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Of containers and images, the action again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Of containers and images, the id again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Of containers, their image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What was done.
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since the epoch.
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_ns: i64,
}

/// Names and values of attributes.
type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Event {
    fn new(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Event {
        let (is_container, is_image) = (kind == "container", kind == "image");
        let either = |text: &str| if is_container || is_image { text.to_owned() } else { String::new() };
        Event {
            status: either(action),
            id: either(id),
            from: attributes.get("image").filter(|_| is_container).cloned().unwrap_or_default(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: 0,
            time_ns: 0,
        }
    }

    /// One of a container's: its labels, image and name are among the attributes, over `more`, as with docker.
    fn of_container(config: &Config, action: &str, more: Attributes<'_>) -> Event {
        Event::of_renamed(config, &config.name, action, more)
    }

    /// The same for one that has got another name since `config` was read.
    fn of_renamed(config: &Config, name: &str, action: &str, more: Attributes<'_>) -> Event {
        let own = [("image", config.image.as_str()), ("name", name)];
        let all = more.iter().copied().chain(config.labels()).chain(own);
        let attributes = all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Event::new("container", action, &config.id, attributes)
    }
}

/// Tells what was done to a container.
pub(crate) fn container(home: &Home, config: &Config, action: &str, more: Attributes<'_>) {
    Log::of(home).append(Event::of_container(config, action, more));
}

/// Tells that a container was made, which `run` starts; and who is about to stay with it.
pub(crate) fn made(home: &Home, config: &Config, attached: bool) {
    let mut events = vec![Event::of_container(config, "create", &[])];
    events.extend(attached.then(|| Event::of_container(config, "attach", &[])));
    Log::of(home).append_all(events);
}

/// Tells that a container's program was started, and its volumes mounted for it.
pub(crate) fn started(home: &Home, config: &Config) {
    let mut events = mounts(config, true);
    events.push(Event::of_container(config, "start", &[]));
    Log::of(home).append_all(events);
}

/// Tells of volumes among `mounts` that were mounted into a running container, or taken out of it.
pub(crate) fn mounts_changed(home: &Home, config: &Config, changed: &[MountRequest], begin: bool) {
    let of_those = Config { mounts: changed.to_vec(), ..config.clone() };
    Log::of(home).append_all(mounts(&of_those, begin));
}

/// The mounts of a container's volumes, or their ends.
fn mounts(config: &Config, begin: bool) -> Vec<Event> {
    let event = |mount: &MountRequest| {
        let MountKind::Volume(volume) = &mount.kind else { return None };
        let mut attributes = vec![("driver", "local".to_owned()), ("container", config.id.clone())];
        if begin {
            attributes.push(("destination", mount.target.to_string_lossy().into_owned()));
            attributes.push(("propagation", String::new()));
            attributes.push(("read/write", (!mount.read_only).to_string()));
        }
        let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let action = if begin { "mount" } else { "unmount" };
        Some(Event::new("volume", action, volume.name.as_deref()?, attributes))
    };
    config.mounts.iter().filter_map(event).collect()
}

/// Tells what was done to images, by id or by name, which is their attribute `name` as well, without its tag.
pub(crate) fn images<'a>(home: &Home, action: &str, ids: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let event = |(id, name): (&str, &str)| {
        Event::new("image", action, id, [("name".to_owned(), name.to_owned())].into())
    };
    Log::of(home).append_all(ids.into_iter().map(event).collect());
}

/// Tells what was done with the name of an image.
pub(crate) fn reference(home: &Home, action: &str, reference: &Reference) {
    let name = reference.repository().familiar();
    let id = match reference.familiar() {
        id if id == name => format!("{name}:latest"),
        id => id,
    };
    images(home, action, [(id.as_str(), name.as_str())]);
}

/// Tells what was done to a volume.
pub(crate) fn volume(home: &Home, action: &str, name: &str) {
    let attributes = [("driver".to_owned(), "local".to_owned())].into();
    Log::of(home).append(Event::new("volume", action, name, attributes));
}

/// Tells what was done to a network.
pub(crate) fn network(home: &Home, action: &str, id: &str, name: &str) {
    let attributes = [("name", name), ("type", "bridge")];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Log::of(home).append(Event::new("network", action, id, attributes));
}

/// Tells that a container was put on a network, or taken off it.
pub(crate) fn endpoint(home: &Home, action: &str, id: &str, name: &str, container: &str) {
    let attributes = [("container", container), ("name", name), ("type", "bridge")];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Log::of(home).append(Event::new("network", action, id, attributes));
}

/// How a container's run ended.
#[derive(Debug)]
pub(crate) struct Death {
    /// The container's name by now.
    pub name: String,
    /// Its exit status, if anybody knows.
    pub code: Option<u8>,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub started_ns: i64,
    /// Nanoseconds since the epoch.
    pub finished_ns: i64,
}

/// Tells that a container has ended. With `maybe_told`, somebody who was killed may have told so, or may have been killed
/// before he told of the start: the log knows.
pub(crate) fn ended(home: &Home, config: &Config, death: &Death, maybe_told: bool) {
    // Docker has no word for an end that nobody saw; 255 is what it shows for a container that it lost.
    let code = death.code.unwrap_or(255).to_string();
    let secs = (death.finished_ns - death.started_ns).max(0) / 1_000_000_000;
    let more = [("exitCode", code.as_str()), ("execDuration", &secs.to_string())];
    let mut events = mounts(config, false);
    if death.oom_killed {
        events.push(Event::of_renamed(config, &death.name, "oom", &[]));
    }
    events.push(Event::of_renamed(config, &death.name, "die", &more));
    if !maybe_told {
        return Log::of(home).append_all(events);
    }
    Log::of(home).append_after(&config.id, &["start", "die"], death.started_ns, |last| match last {
        Some(last) if last.action == "die" => Vec::new(),
        Some(_) => events,
        None => {
            let begun = mounts(config, true).into_iter();
            begun.chain([Event::of_container(config, "start", &[])]).chain(events).collect()
        }
    });
}

/// The same for one whose keeper was killed, unless it has told so: with what the container's directory says of the end.
pub(crate) fn ended_unseen(home: &Home, cell: &Cell, config: &Config) {
    let Some(running) = cell.running() else { return };
    let (code, oom_killed, finished_ns) = match cell.ended() {
        Some(ended) => (ended.code, ended.oom_killed, ended.finished_ns),
        None => (None, false, now_ns()),
    };
    let name = config.name.clone();
    let death = Death { name, code, oom_killed, started_ns: running.started_ns, finished_ns };
    ended(home, config, &death, true);
}

/// A command that is executed in a container.
pub(crate) struct Exec<'a> {
    home: &'a Home,
    config: &'a Config,
    id: String,
    command: String,
}

impl<'a> Exec<'a> {
    /// Tells that it's about to be.
    pub fn created(home: &'a Home, config: &'a Config, command: &[String]) -> Exec<'a> {
        let mut random = [0; 32];
        // Without random numbers it has no id worth the name, and runs all the same.
        let _ = rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty());
        let id = types::id::ContainerId::from_random(random).as_str().to_owned();
        // Docker puts a space after a program without arguments.
        let (program, arguments) =
            command.split_first().map_or(("", &[][..]), |(p, rest)| (p.as_str(), rest));
        let exec = Exec { home, config, id, command: format!("{program} {}", arguments.join(" ")) };
        exec.tell(&format!("exec_create: {}", exec.command), &[]);
        exec
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Tells that it's started.
    pub fn started(&self) {
        self.tell(&format!("exec_start: {}", self.command), &[]);
    }

    /// Tells how it ended.
    pub fn died(&self, code: u8) {
        self.tell("exec_die", &[("exitCode", &code.to_string())]);
    }

    fn tell(&self, action: &str, more: Attributes<'_>) {
        let id = [("execID", self.id.as_str())];
        let more: Vec<(&str, &str)> = id.into_iter().chain(more.iter().copied()).collect();
        container(self.home, self.config, action, &more);
    }
}

/// What a container's life is made of.
const LIFE: [&str; 4] = ["create", "start", "die", "destroy"];

/// Tells that a container is gone, unless that was told, or nobody was told that it was made.
pub(crate) fn destroyed(home: &Home, config: &Config) {
    destroyed_after(home, &config.id, config.created_ns, |_| Event::of_container(config, "destroy", &[]));
}

/// The same of several.
pub(crate) fn all_destroyed(home: &Home, configs: &[&Config]) {
    if configs.is_empty() {
        return;
    }
    let ids: Vec<&str> = configs.iter().map(|config| config.id.as_str()).collect();
    let since_ns = configs.iter().map(|config| config.created_ns).min().unwrap_or(0);
    Log::of(home).append_after_each(&ids, &LIFE, since_ns, |at, last| match last {
        Some(last) if last.action != "destroy" => vec![Event::of_container(configs[at], "destroy", &[])],
        _ => Vec::new(),
    });
}

/// The same for a container of which only the id is known, and what was told of it.
pub(crate) fn destroyed_unseen(home: &Home, id: &str) {
    destroyed_after(home, id, 0, |last| {
        let mut attributes = last.actor.attributes.clone();
        attributes.retain(|key, _| !matches!(key.as_str(), "exitCode" | "execDuration"));
        Event::new("container", "destroy", id, attributes)
    });
}

/// Whether anything was told of a container's life.
pub(crate) fn are_told_of(home: &Home, id: &str) -> bool {
    let mut told = false;
    Log::of(home).append_after(id, &LIFE, 0, |last| {
        told = last.is_some();
        Vec::new()
    });
    told
}

fn destroyed_after(home: &Home, id: &str, since_ns: i64, event: impl FnOnce(&Event) -> Event) {
    Log::of(home).append_after(id, &LIFE, since_ns, |last| match last {
        Some(last) if last.action != "destroy" => vec![event(last)],
        _ => Vec::new(),
    });
}

#[cfg(test)]
mod tests;

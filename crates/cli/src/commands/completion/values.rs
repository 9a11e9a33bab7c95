//! The values of flags and arguments.

use super::super::{Entry, images, ps, volume};
use super::objects::{self, Which};
use super::want::Given;
use super::{Answer, Paths, SHELLS};
use crate::failure::Failure;
use crate::flags::{Flag, Takes};
use crate::parse::{filter, mount_option, ulimit};

/// Signals that one sends; all names are understood.
const SIGNALS: &[&str] =
    &["TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH", "ABRT", "ALRM", "PIPE"];
const SECURITY_OPTIONS: &[&str] = &[
    "no-new-privileges",
    "seccomp=builtin",
    "seccomp=unconfined",
    "apparmor=unconfined",
    "label=disable",
    "systempaths=unconfined",
];
const PROGRESS: &[&str] = &["auto", "tty", "plain", "json", "quiet"];

/// The words that a flag knows and no others, but for what is after a colon; `None` for a flag whose values are open.
pub fn enumerated(command: &str, flag: &str) -> Option<&'static [&'static str]> {
    Some(match (command, flag) {
        ("run" | "create", "pid" | "userns") => &["private", "host"],
        ("run" | "create", "uts" | "cgroupns") => &["private", "host"],
        ("run" | "create", "ipc") => &["private", "shareable", "none", "host"],
        ("run" | "create", "network") => &["none", "host"],
        (_, "restart") => &["no", "on-failure", "always", "unless-stopped"],
        (_, "pull") => &["always", "missing", "never"],
        (_, "log-driver") => &["local", "json-file", "none"],
        (_, "isolation") => &["process", "strict"],
        (_, "health-on-failure") => &["none", "kill", "restart", "stop"],
        (_, "security-opt") => SECURITY_OPTIONS,
        (_, "signal" | "stop-signal") => SIGNALS,
        (_, "progress") => PROGRESS,
        (_, "compression") => &["gzip", "zstd"],
        (_, "driver" | "volume-driver") => &["local"],
        ("inspect", "as") => &["run", "compose"],
        ("inspect", "type") => &["container", "image", "volume", "exec"],
        ("tree", "format") => &["text", "json"],
        _ => return None,
    })
}

/// Flags whose values `container:NAME` can be.
fn joins(command: &str, flag: &str) -> bool {
    matches!((command, flag), ("run" | "create", "network" | "pid" | "ipc" | "userns"))
}

fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Answer {
    let words = keys.into_iter().map(|key| (format!("{key}="), String::new())).collect();
    Answer { words, open: true, ..Answer::default() }
}

/// Values of a flag; `typed` is what is there of one.
pub fn of_flag(command: &str, flag: &Flag, typed: &str) -> Result<Answer, Failure> {
    if let Some(words) = enumerated(command, flag.name) {
        let words = Answer::words(words.iter().copied());
        let joined = match joins(command, flag.name) {
            true => objects::containers(Which::Running, &[])?.after("container:"),
            false => Answer::default(),
        };
        return Ok(words.and(joined));
    }
    Ok(match flag.name {
        "filter" => return filters(command, typed),
        "cap-add" | "cap-drop" => Answer::words(types::caps::NAMES.into_iter().chain(["ALL"])),
        "env" => {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            Answer { words: names.map(|name| (name, String::new())).collect(), ..Answer::default() }
        }
        "ulimit" => keys(ulimit::NAMES),
        "platform" => Answer::words(["linux/amd64", "linux/arm64"]),
        "volumes-from" => objects::containers(Which::All, &[])?,
        "image" => objects::images(true)?,
        "format" => Answer::words(["json", "table"]),
        "volume" => objects::volumes()?.and(Answer::paths(Paths::Files)),
        "mount" if matches!(flag.takes, Takes::Many(_)) => mount(typed)?,
        "device" | "env-file" | "label-file" | "cidfile" | "input" | "output" => Answer::paths(Paths::Files),
        _ => match flag.takes {
            Takes::One("dir") | Takes::Maybe("dir", _) => Answer::paths(Paths::Directories),
            Takes::Maybe("file", _) => Answer::paths(Paths::Files),
            Takes::Nothing => Answer::words(["true", "false"]),
            _ => Answer::default(),
        },
    })
}

/// The last field of a `--mount`.
fn mount(typed: &str) -> Result<Answer, Failure> {
    let (before, field) = typed.rsplit_once(',').map_or(("", typed), |(before, field)| (before, field));
    let prefix = if before.is_empty() { String::new() } else { format!("{before},") };
    let answer = match field.split_once('=') {
        Some(("type", _)) => Answer::words(mount_option::TYPES).after("type="),
        Some((key @ ("source" | "src"), _)) if before.split(',').any(|field| field == "type=volume") => {
            objects::volumes()?.after(&format!("{key}="))
        }
        Some(_) => return Ok(Answer::paths(Paths::Files)),
        None => keys(["type", "source", "target", "volume-nocopy", "volume-subpath", "image-subpath"])
            .and(Answer::words(["readonly"])),
    };
    Ok(Answer { open: true, ..answer.after(&prefix) })
}

/// A `--filter`: its key, then the values that the key knows.
fn filters(command: &str, typed: &str) -> Result<Answer, Failure> {
    let known: &[&str] = match command {
        "ps" => &ps::KEYS,
        "images" => &images::KEYS,
        "events" => &engine::events::Filter::KEYS,
        "volume ls" => &volume::LIST_KEYS,
        "volume prune" => &volume::PRUNE_KEYS,
        _ => &filter::PRUNE_KEYS,
    };
    let Some((key, _)) = typed.split_once('=') else { return Ok(keys(known.iter().copied())) };
    let values = match (command, key) {
        ("ps", "status") => Answer::words(ps::STATES),
        ("ps", "health") => Answer::words(ps::HEALTHS),
        ("ps", "network") => Answer::words(["none", "host"]),
        ("ps", "is-task") | (_, "dangling" | "all") => Answer::words(["true", "false"]),
        ("events", "type") => Answer::words(["container", "image", "volume"]),
        ("ps", "name" | "id" | "before" | "since") | ("events", "container") => {
            objects::containers(Which::All, &[])?
        }
        ("ps", "ancestor") | ("images", "before" | "since" | "reference") | ("events", "image") => {
            objects::images(false)?
        }
        ("ps" | "events", "volume") | ("volume ls", "name") => objects::volumes()?,
        _ => Answer::default(),
    };
    Ok(values.after(&format!("{key}=")))
}

/// The word of the usage that says what the `at`th argument is: `CONTAINER` of `[OPTIONS] CONTAINER [CONTAINER...]`.
fn argument_word(usage: &str, at: usize) -> Option<&str> {
    let line = usage.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
    let last = words.last().filter(|word| word.contains("..."));
    words.get(at).or(last).map(|word| word.trim_matches(['[', ']', '.']))
}

/// In which state the containers are that a command is for.
fn which(command: &str, given: &Given) -> Which {
    match command {
        "start" => Which::Stopped,
        "unpause" => Which::Paused,
        "rm" if !given.flags.contains(&"force") => Which::Stopped,
        "stop" | "kill" | "pause" | "exec" | "attach" | "wait" | "top" | "port" | "stats" | "enter"
        | "tree" | "debug" => Which::Running,
        _ => Which::All,
    }
}

/// Values of the `at`th argument; `typed` is what is there of it.
pub fn of_argument(
    entry: &Entry,
    command: &str,
    at: usize,
    given: &Given,
    typed: &str,
) -> Result<Answer, Failure> {
    if at >= entry.spec.args.1 {
        return Ok(Answer::default());
    }
    let of_host = matches!(command, "run" | "create");
    let with_rootfs = of_host && given.flags.contains(&"rootfs");
    let Some(word) = argument_word(entry.spec.usage, at) else { return Ok(Answer::default()) };
    // Those that were named already aren't named again.
    let named = &given.arguments;
    Ok(match (command, word) {
        ("completion", _) => Answer::words(SHELLS.iter().copied()),
        ("volume create", _) => Answer::default(),
        // Either side of a copy is in a container or a path here.
        ("cp", _) => match typed.contains([':', '/']) {
            true => Answer::paths(Paths::Files),
            false => {
                let mut found = objects::containers(Which::All, &[])?;
                found.words.iter_mut().for_each(|(name, _)| name.push(':'));
                Answer { open: true, paths: Paths::Files, ..found }
            }
        },
        ("copy", _) => objects::images(false)?.and(Answer::paths(Paths::Files)),
        (_, "CONTAINER" | "CONTAINER|PID") => objects::containers(which(command, given), named)?,
        (_, "VOLUME") => objects::volumes()?.without(named),
        (_, "NAME|ID") => {
            let containers = objects::containers(Which::All, named)?;
            containers.and(objects::images(false)?).and(objects::volumes()?).without(named)
        }
        (_, "IMAGE") if with_rootfs => Answer::paths(Paths::Files),
        (_, word)
            if ["IMAGE", "SOURCE_IMAGE", "TARGET_IMAGE", "NAME[:TAG", "REPOSITORY", "MANIFEST"]
                .iter()
                .any(|known| word.starts_with(known)) =>
        {
            objects::images(of_host)?.without(named)
        }
        (_, "COMMAND" | "ARG") => Answer::paths(Paths::Files),
        (_, word) if word.starts_with("FILE") => Answer::paths(Paths::Files),
        _ => Answer::default(),
    })
}

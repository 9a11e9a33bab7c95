//! The commands: their table, their help, and the way from words to a command.
//!
//! A command's file holds its flags, the request that it makes of them, and what it prints of the answer.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};

use crate::failure::{BAD_FLAG, Failure, report};
use crate::flags::{self, Asked, CommandSpec, Parsed};
use crate::{help, suggest};

mod attach;
mod boot;
mod build;
mod builder;
mod clone;
mod commit;
mod completion;
pub mod compose;
mod copy;
mod cp;
mod debug;
mod diff;
mod doctor;
mod enter;
mod events;
mod exec;
mod export;
mod history;
mod image_diff;
mod image_prune;
mod image_verify;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logs;
mod manifest;
mod network;
mod pause;
mod port;
mod ps;
mod pull;
mod push;
mod rename;
mod rm;
mod rmi;
pub mod run;
mod save;
mod start;
mod stats;
mod stop;
mod system;
mod tag;
mod tags;
mod top;
mod tree;
mod unshare;
mod update;
pub mod version;
mod volume;
mod wait;

/// One command.
pub struct Entry {
    /// Names, the first is shown.
    pub names: &'static [&'static str],
    /// Names under an object, such as `ls` of `container ls`; none if it's under none.
    pub under: Option<(Object, &'static [&'static str])>,
    /// Heading of the help.
    pub group: &'static str,
    /// Flags and arguments.
    pub spec: &'static CommandSpec,
    /// Does the work; answers the status to leave with.
    pub work: fn(&Parsed) -> Result<u8, Failure>,
}

/// What a command can be about, as its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// `berth builder …`
    Builder,
    /// `berth buildx …`
    Buildx,
    /// `berth container …`
    Container,
    /// `berth image …`
    Image,
    /// `berth manifest …`
    Manifest,
    /// `berth network …`
    Network,
    /// `berth system …`
    System,
    /// `berth volume …`
    Volume,
}

impl Object {
    const ALL: [Object; 8] = [
        Object::Builder,
        Object::Buildx,
        Object::Container,
        Object::Image,
        Object::Manifest,
        Object::Network,
        Object::System,
        Object::Volume,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Object::Builder => "builder",
            Object::Buildx => "buildx",
            Object::Container => "container",
            Object::Image => "image",
            Object::Manifest => "manifest",
            Object::Network => "network",
            Object::System => "system",
            Object::Volume => "volume",
        }
    }

    /// What its commands do.
    pub fn about(self) -> &'static str {
        match self {
            Object::Builder => "Manage what builds have made",
            Object::Buildx => "Build, as docker's plugin does",
            Object::Container => "Manage containers",
            Object::Image => "Manage images",
            Object::Manifest => "Look at manifests in registries",
            Object::Network => "Manage networks",
            Object::System => "See what is taken, and remove what nothing uses",
            Object::Volume => "Manage volumes",
        }
    }

    fn of(word: &str) -> Option<Object> {
        Object::ALL.into_iter().find(|object| object.word() == word)
    }
}

impl Entry {
    /// Its names under `object`.
    pub fn names_under(&self, object: Object) -> &'static [&'static str] {
        match self.under {
            Some((own, names)) if own == object => names,
            _ => &[],
        }
    }
}

const CONTAINERS: &str = "Containers";
const IMAGES: &str = "Images";
const VOLUMES: &str = "Volumes";
const NETWORKS: &str = "Networks";
const PIECES: &str = "Single pieces";
const HOST: &str = "This host";

const fn container(
    names: &'static [&'static str],
    under: &'static [&'static str],
    spec: &'static CommandSpec,
    work: fn(&Parsed) -> Result<u8, Failure>,
) -> Entry {
    Entry { names, under: Some((Object::Container, under)), group: CONTAINERS, spec, work }
}

const fn image(
    names: &'static [&'static str],
    under: &'static [&'static str],
    spec: &'static CommandSpec,
    work: fn(&Parsed) -> Result<u8, Failure>,
) -> Entry {
    Entry { names, under: Some((Object::Image, under)), group: IMAGES, spec, work }
}

/// A command of which only the form under its object exists.
const fn under(
    group: &'static str,
    object: Object,
    names: &'static [&'static str],
    spec: &'static CommandSpec,
    work: fn(&Parsed) -> Result<u8, Failure>,
) -> Entry {
    Entry { names: &[], under: Some((object, names)), group, spec, work }
}

/// Docker's commands on volumes have no short forms.
const fn volume(
    under: &'static [&'static str],
    spec: &'static CommandSpec,
    work: fn(&Parsed) -> Result<u8, Failure>,
) -> Entry {
    Entry { names: &[], under: Some((Object::Volume, under)), group: VOLUMES, spec, work }
}

const fn other(
    group: &'static str,
    name: &'static [&'static str],
    spec: &'static CommandSpec,
    work: fn(&Parsed) -> Result<u8, Failure>,
) -> Entry {
    Entry { names: name, under: None, group, spec, work }
}

/// All commands, in the order of the help.
pub static ENTRIES: &[Entry] = &[
    container(&["run"], &["run"], &run::SPEC, run::work),
    container(&["create"], &["create"], &run::CREATE, run::create),
    container(&["clone"], &["clone"], &clone::SPEC, clone::work),
    container(&["start"], &["start"], &start::SPEC, start::work),
    container(&["restart"], &["restart"], &start::RESTART, start::restart),
    container(&["ps"], &["ls", "ps", "list"], &ps::SPEC, ps::work),
    container(&["exec"], &["exec"], &exec::SPEC, exec::work),
    container(&["debug"], &["debug"], &debug::SPEC, debug::work),
    container(&["attach"], &["attach"], &attach::SPEC, attach::work),
    container(&["logs"], &["logs"], &logs::SPEC, logs::work),
    container(&["stop"], &["stop"], &stop::SPEC, stop::work),
    container(&["kill"], &["kill"], &kill::SPEC, kill::work),
    container(&["pause"], &["pause"], &pause::SPEC, pause::work),
    container(&["unpause"], &["unpause"], &pause::UNPAUSE_SPEC, pause::unpause_work),
    container(&["wait"], &["wait"], &wait::SPEC, wait::work),
    container(&["rename"], &["rename"], &rename::SPEC, rename::work),
    container(&["update"], &["update"], &update::SPEC, update::work),
    container(&["port"], &["port"], &port::SPEC, port::work),
    container(&["top"], &["top"], &top::SPEC, top::work),
    container(&["stats"], &["stats"], &stats::SPEC, stats::work),
    container(&["rm"], &["rm", "remove"], &rm::SPEC, rm::work),
    container(&[], &["prune"], &system::CONTAINER_PRUNE, system::container_prune),
    container(&["inspect"], &[], &inspect::SPEC, inspect::work),
    under(CONTAINERS, Object::Container, &["inspect"], &inspect::SPEC, inspect::container_work),
    container(&["diff"], &["diff"], &diff::SPEC, diff::work),
    container(&["cp"], &["cp"], &cp::SPEC, cp::work),
    container(&["commit"], &["commit"], &commit::SPEC, commit::work),
    container(&["export"], &["export"], &export::SPEC, export::work),
    container(&["tree"], &[], &tree::SPEC, tree::work),
    image(&["build"], &["build"], &build::SPEC, build::work),
    under(IMAGES, Object::Builder, &["build"], &build::SPEC, build::work),
    under(IMAGES, Object::Builder, &["du"], &builder::DU, builder::du),
    under(IMAGES, Object::Builder, &["prune"], &builder::PRUNE, builder::prune),
    under(IMAGES, Object::Builder, &["ls"], &builder::LIST, builder::list),
    under(IMAGES, Object::Buildx, &["build", "b"], &build::SPEC, build::work),
    under(IMAGES, Object::Buildx, &["du"], &builder::DU, builder::du),
    under(IMAGES, Object::Buildx, &["prune"], &builder::PRUNE, builder::prune),
    under(IMAGES, Object::Buildx, &["ls"], &builder::LIST, builder::list),
    image(&["images"], &["ls", "list"], &images::SPEC, images::work),
    image(&["pull"], &["pull"], &pull::SPEC, pull::work),
    image(&["push"], &["push"], &push::SPEC, push::work),
    image(&["load"], &["load"], &load::SPEC, load::work),
    image(&["save"], &["save"], &save::SPEC, save::work),
    image(&["import"], &["import"], &import::SPEC, import::work),
    image(&["tag"], &["tag"], &tag::SPEC, tag::work),
    image(&["rmi"], &["rm", "remove"], &rmi::SPEC, rmi::work),
    image(&["history"], &["history"], &history::SPEC, history::work),
    image(&[], &["inspect"], &inspect::IMAGE_SPEC, inspect::image_work),
    image(&[], &["diff"], &image_diff::SPEC, image_diff::work),
    image(&[], &["prune"], &image_prune::SPEC, image_prune::work),
    image(&[], &["verify"], &image_verify::SPEC, image_verify::work),
    other(IMAGES, &["copy"], &copy::SPEC, copy::work),
    under(IMAGES, Object::Manifest, &["inspect"], &manifest::SPEC, manifest::work),
    other(IMAGES, &["tags"], &tags::SPEC, tags::work),
    other(IMAGES, &["login"], &login::SPEC, login::work),
    other(IMAGES, &["logout"], &login::LOGOUT_SPEC, login::logout_work),
    volume(&["create"], &volume::CREATE, volume::create),
    volume(&["ls", "list"], &volume::LIST, volume::list),
    volume(&["inspect"], &volume::INSPECT, volume::inspect),
    volume(&["rm", "remove"], &volume::REMOVE, volume::remove),
    volume(&["prune"], &volume::PRUNE, volume::prune),
    under(NETWORKS, Object::Network, &["create"], &network::CREATE, network::create),
    under(NETWORKS, Object::Network, &["ls", "list"], &network::LIST, network::list),
    under(NETWORKS, Object::Network, &["inspect"], &network::INSPECT, network::inspect),
    under(NETWORKS, Object::Network, &["rm", "remove"], &network::REMOVE, network::remove),
    under(NETWORKS, Object::Network, &["prune"], &network::PRUNE, network::prune),
    under(NETWORKS, Object::Network, &["connect"], &network::CONNECT, network::connect),
    under(NETWORKS, Object::Network, &["disconnect"], &network::DISCONNECT, network::disconnect),
    under(NETWORKS, Object::Network, &["take-over"], &network::TAKE_OVER, network::take_over),
    under(NETWORKS, Object::Network, &["repair"], &network::REPAIR, network::repair),
    under(NETWORKS, Object::Network, &["doctor"], &network::DOCTOR, network::doctor),
    other(PIECES, &["unshare"], &unshare::SPEC, unshare::work),
    other(PIECES, &["enter"], &enter::SPEC, enter::work),
    Entry {
        names: &["events"],
        under: Some((Object::System, &["events"])),
        group: HOST,
        spec: &events::SPEC,
        work: events::work,
    },
    under(HOST, Object::System, &["boot"], &boot::SPEC, boot::work),
    under(HOST, Object::System, &["shutdown"], &boot::SHUTDOWN, boot::shutdown),
    under(HOST, Object::System, &["install"], &boot::INSTALL, boot::install),
    under(HOST, Object::System, &["uninstall"], &boot::UNINSTALL, boot::uninstall),
    under(HOST, Object::System, &["df"], &system::DF, system::df),
    under(HOST, Object::System, &["prune"], &system::PRUNE, system::prune),
    Entry {
        names: &["doctor"],
        under: Some((Object::System, &["check"])),
        group: HOST,
        spec: &doctor::SPEC,
        work: doctor::work,
    },
    other(HOST, &["completion"], &completion::SPEC, completion::work),
    other(HOST, &["info"], &info::SPEC, info::work),
    other(HOST, &["version"], &version::SPEC, version::work),
];

/// Prints to stdout; a reader that went away is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Asks whether to go on, in docker's words; anything but yes is no.
fn confirm(warning: &str) -> Result<bool, Failure> {
    print(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::new(format!("cannot read the answer from standard input: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The file that a command writes an archive to; `None` is standard output, which must not be a terminal.
fn output_path(parsed: &Parsed, verb: &str) -> Result<Option<std::path::PathBuf>, Failure> {
    use std::io::IsTerminal;
    match parsed.one("output").filter(|path| !path.is_empty()) {
        Some(path) => Ok(Some(path.into())),
        None if std::io::stdout().is_terminal() => {
            Err(Failure::new(format!("cowardly refusing to {verb} to a terminal"))
                .hint("use the -o flag or redirect"))
        }
        None => Ok(None),
    }
}

/// Prints the names of the objects that went well and the failures of the others; 1 if there were any.
fn print_outcomes(outcomes: Vec<crate::backend::Outcome>) -> Result<u8, Failure> {
    let mut status = 0;
    for (name, result) in outcomes {
        match result {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(failure) => {
                report(&failure);
                status = 1;
            }
        }
    }
    Ok(status)
}

fn unknown(path: &str, word: &str, known: Vec<&'static str>) -> Failure {
    let failure = Failure::new(format!("unknown command: {path}{word}"));
    match suggest::nearest(word, known) {
        Some(near) => failure.hint(format!("did you mean berth {path}{near}?")),
        None => failure.hint(format!("berth {path}--help lists the commands")),
    }
}

/// The command that `words` begin with, its name as typed, and the words after it.
fn find(words: &[OsString]) -> Result<(&'static Entry, String, &[OsString]), Failure> {
    let word = |at: usize| words.get(at).map(|word| word.to_string_lossy()).unwrap_or_default();
    let first = word(0);
    if let Some(object) = Object::of(&first) {
        let second = word(1);
        let found = ENTRIES.iter().find(|entry| entry.names_under(object).contains(&&*second));
        let known = || ENTRIES.iter().flat_map(|entry| entry.names_under(object)).copied().collect();
        let entry = found.ok_or_else(|| unknown(&format!("{first} "), &second, known()))?;
        return Ok((entry, format!("berth {first} {second}"), &words[2..]));
    }
    let found = ENTRIES.iter().find(|entry| entry.names.contains(&&*first));
    let known = || {
        let objects = Object::ALL.map(Object::word);
        ENTRIES.iter().flat_map(|entry| entry.names).copied().chain(objects).chain(["compose"]).collect()
    };
    let entry = found.ok_or_else(|| unknown("", &first, known()))?;
    Ok((entry, format!("berth {first}"), &words[1..]))
}

/// Runs the command line after `berth`; answers the status to leave with.
pub fn dispatch(words: &[OsString]) -> Result<u8, Failure> {
    let word = |at: usize| words.get(at).map(|word| word.to_string_lossy()).unwrap_or_default();
    match (&*word(0), &*word(1)) {
        ("" | "--help" | "-h", _) | ("help", "") => return print(&help::root(None)).map(|()| 0),
        (object, "") if words.len() == 1 && Object::of(object).is_some() => {
            eprint!("{}", help::root(Object::of(object)));
            return Ok(0);
        }
        (object, "--help") | ("help", object) if word(2).is_empty() && Object::of(object).is_some() => {
            return print(&help::root(Object::of(object))).map(|()| 0);
        }
        ("compose", _) => return compose::dispatch("berth compose", &words[1..]),
        // What the scripts of `completion` ask; no command of a user's.
        ("__complete", _) => return completion::complete(&words[1..]),
        ("--version" | "-v", _) => return print(&version::line()).map(|()| 0),
        ("help", _) => {
            let (entry, name, _) = find(&words[1..])?;
            return print(&help::command(&name, entry.spec)).map(|()| 0);
        }
        (flag, _) if flag.starts_with('-') => {
            return Err(Failure::new(format!("unknown flag: {flag}"))
                .hint("flags follow the command; berth --help lists the commands")
                .code(BAD_FLAG));
        }
        _ => {}
    }
    let (entry, name, rest) = find(words)?;
    match flags::parse(entry.spec, &name, rest)? {
        Asked::Help => print(&help::command(&name, entry.spec)).map(|()| 0),
        Asked::Work(parsed) => (entry.work)(&parsed),
    }
}

#[cfg(test)]
mod tests;

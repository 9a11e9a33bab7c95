//! `berth compose`: several services by one file, in docker compose's words. `docker-compose` is another name of it.
//!
//! - [`asked`]: the flags before the command, and the project that they ask for
//! - [`config`], [`graph`]: what the files say
//! - [`up`]: what has to change is planned, and done: [`state`] is what there is, [`act`] does the steps
//! - [`containers`], [`more`]: commands on the containers that there are

use std::ffi::OsString;

use super::print;
use crate::failure::{BAD_FLAG, Failure};
use crate::flags::{self, Asked, CommandSpec, Flag, Parsed};
use crate::{help, suggest};

mod act;
mod asked;
mod config;
mod containers;
mod graph;
mod more;
mod state;
mod up;

use asked::Compose;

/// A command of compose.
struct Entry {
    /// Names, the first is shown.
    names: &'static [&'static str],
    /// Flags and arguments.
    spec: &'static CommandSpec,
    /// Does the work; answers the status to leave with.
    work: fn(&Compose, &Parsed) -> Result<u8, Failure>,
}

/// All commands, in the order of the help.
static ENTRIES: &[Entry] = &[
    Entry { names: &["up"], spec: &up::UP, work: up::up },
    Entry { names: &["create"], spec: &up::CREATE, work: up::create },
    Entry { names: &["down"], spec: &up::DOWN, work: up::down },
    Entry { names: &["ps"], spec: &containers::PS, work: containers::list },
    Entry { names: &["logs"], spec: &containers::LOGS, work: containers::show_logs },
    Entry { names: &["exec"], spec: &more::EXEC, work: more::exec },
    Entry { names: &["top"], spec: &more::TOP, work: more::show_top },
    Entry { names: &["port"], spec: &more::PORT, work: more::show_port },
    Entry { names: &["start"], spec: &containers::START, work: containers::start },
    Entry { names: &["stop"], spec: &containers::STOP, work: containers::stop },
    Entry { names: &["restart"], spec: &containers::RESTART, work: containers::restart },
    Entry { names: &["kill"], spec: &containers::KILL, work: containers::kill },
    Entry { names: &["pause"], spec: &containers::PAUSE, work: containers::pause },
    Entry { names: &["unpause"], spec: &containers::UNPAUSE, work: containers::unpause },
    Entry { names: &["rm"], spec: &containers::REMOVE, work: containers::remove },
    Entry { names: &["pull"], spec: &more::PULL, work: more::pull },
    Entry { names: &["ls"], spec: &more::LIST, work: more::list },
    Entry { names: &["config", "convert"], spec: &config::SPEC, work: config::work },
    Entry { names: &["graph"], spec: &graph::SPEC, work: graph::work },
    Entry { names: &["version"], spec: &VERSION, work: version },
];

/// What is said of commands that are to come.
const LATER: &str = "the command of that name without compose takes a container's name";

/// Docker compose's commands that aren't here, and what to do instead.
const TO_COME: &[(&str, &str)] = &[
    ("attach", LATER),
    ("bridge", "it is for other platforms than this one"),
    ("build", "build images first: berth build"),
    ("commit", LATER),
    ("cp", LATER),
    ("events", LATER),
    ("export", LATER),
    ("images", LATER),
    ("publish", "copy the files themselves"),
    ("push", LATER),
    ("run", "use compose exec, or berth run"),
    ("scale", "use compose up -d --scale SERVICE=NUM"),
    ("stats", LATER),
    ("volumes", "berth volume ls --filter label=com.docker.compose.project=NAME"),
    ("wait", LATER),
    ("watch", "compose up -d again after a change"),
];

/// Flags before the command.
static GLOBAL: CommandSpec = CommandSpec {
    usage: "[OPTIONS] COMMAND",
    about: "Define and run applications of several containers",
    flags: &[(
        "Options",
        &[
            Flag::many("file", "path", "Compose file, or - for standard input; several are merged")
                .short('f'),
            Flag::one("project-name", "string", "Name of the project").short('p'),
            Flag::many("profile", "string", "Enable a profile, or * for all"),
            Flag::many("env-file", "path", "File of variables instead of .env"),
            Flag::one("project-directory", "path", "Directory that relative paths are of").alias("workdir"),
            Flag::switch(
                "all-resources",
                "Include networks, volumes, secrets and configs that no service uses",
            ),
            Flag::one("ansi", "string", "Colours and moving lines: never, always, auto (default)"),
            Flag::one("progress", "string", "How progress is shown: auto (default), tty, plain, json, quiet"),
            Flag::one("parallel", "int", "How much is done at once; -1 for no limit"),
            Flag::switch("compatibility", "Name containers as docker compose 1 did"),
            Flag::switch("dry-run", "Tell what would be done, and do nothing"),
            Flag::switch("version", "Show the version").short('v'),
            Flag::switch("verbose", "Show more"),
        ],
    )],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: true,
};

static VERSION: CommandSpec = CommandSpec {
    usage: "[OPTIONS]",
    about: "Show the version, and that of the docker compose it answers like",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "pretty (default) or json").short('f'),
            Flag::switch("short", "Show the number only"),
        ],
    )],
    unsupported: &[],
    args: (0, 0),
    trailing: false,
};

fn version(_: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let version = compose::labels::COMPATIBLE_VERSION;
    let text = match (parsed.switch("short"), parsed.one("format")) {
        (true, _) => format!("{version}\n"),
        (_, Some("json")) => format!("{{\"version\":\"v{version}\"}}\n"),
        _ => format!("Docker Compose version v{version} (berth {})\n", env!("CARGO_PKG_VERSION")),
    };
    print(&text).map(|()| 0)
}

/// Runs the words after `name`, which is `berth compose` or `docker-compose`; answers the status to leave with.
pub fn dispatch(name: &str, words: &[OsString]) -> Result<u8, Failure> {
    if words.is_empty() || words.iter().any(|word| word == "help") && words.len() == 1 {
        return print(&root_help(name)).map(|()| 0);
    }
    let global = match flags::parse(&GLOBAL, name, words)? {
        Asked::Help => return print(&root_help(name)).map(|()| 0),
        Asked::Work(parsed) => parsed,
    };
    let args: Vec<OsString> = global.args().into_iter().map(Into::into).collect();
    let compose = Compose::new(&global)?;
    let Some(word) = args.first().map(|word| word.to_string_lossy().into_owned()) else {
        return match global.switch("version") {
            true => print(&format!("Docker Compose version v{}\n", compose::labels::COMPATIBLE_VERSION))
                .map(|()| 0),
            false => print(&root_help(name)).map(|()| 0),
        };
    };
    let (word, rest) = match (word.as_str(), args.get(1)) {
        ("help", Some(other)) => (other.to_string_lossy().into_owned(), vec!["--help".into()]),
        _ => (word, args[1..].to_vec()),
    };
    let Some(entry) = ENTRIES.iter().find(|entry| entry.names.contains(&word.as_str())) else {
        return Err(unknown(name, &word));
    };
    let command = format!("{name} {word}");
    match flags::parse(entry.spec, &command, &rest)? {
        Asked::Help => print(&help::command(&command, entry.spec)).map(|()| 0),
        Asked::Work(parsed) => (entry.work)(&compose, &parsed),
    }
}

fn unknown(name: &str, word: &str) -> Failure {
    if let Some((_, why)) = TO_COME.iter().find(|(known, _)| *known == word) {
        return Failure::new(format!("{name} {word} isn't supported yet")).hint(*why).code(BAD_FLAG);
    }
    let known: Vec<&'static str> = ENTRIES.iter().flat_map(|entry| entry.names).copied().collect();
    let failure = Failure::new(format!("unknown command: {name} {word}"));
    match suggest::nearest(word, known) {
        Some(near) => failure.hint(format!("did you mean {name} {near}?")),
        None => failure.hint(format!("{name} --help lists the commands")),
    }
}

fn root_help(name: &str) -> String {
    let mut text = help::command(name, &GLOBAL);
    text += "\nCommands:\n";
    for entry in ENTRIES {
        text += &format!("  {:<10}{}\n", entry.names[0], entry.spec.about);
    }
    text += &format!("\nRun '{name} COMMAND --help' for the flags of a command.\n");
    text
}

#[cfg(test)]
mod tests;

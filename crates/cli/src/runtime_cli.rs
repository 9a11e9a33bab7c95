//! `berth-runtime`: the OCI runtime's command line, with runc's options, messages and exit codes.
//!
//! Parsing only, except `spec`: the rest is one call of [`backend::runtime`]. Source: runc(8) and its sub-pages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::commands::print;
use crate::commands::version::{SPEC_VERSION, VERSION};
use crate::failure::Failure;
use crate::flags::{self, Asked, CommandSpec, Parsed};
use crate::{backend, help, suggest};

mod log;
mod options;
mod read;
mod spec;

pub use log::LogFormat;

/// Options before the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globals {
    /// Where state is kept; else the engine's place.
    pub root: Option<PathBuf>,
    /// Where messages go; else standard error.
    pub log: Option<PathBuf>,
    /// Form of messages.
    pub log_format: LogFormat,
    /// Whether debugging messages are wanted.
    pub debug: bool,
}

/// How a container's first process is made, for `create` and `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// Name of the container.
    pub id: String,
    /// Directory with `config.json`.
    pub bundle: PathBuf,
    /// Unix socket to which the pty's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Unix socket to which a pidfd of the process is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 up are passed on, beyond LISTEN_FDS.
    pub preserve_fds: u32,
    /// Whether the root is changed without pivot_root(2).
    pub no_pivot: bool,
    /// Whether the caller's session keyring is kept.
    pub no_new_keyring: bool,
}

/// A process for `exec`: a document, or the options that change the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOptions {
    /// Name of the container.
    pub id: String,
    /// File with an OCI process document; else `args` and the options below.
    pub process: Option<PathBuf>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Further variables, `KEY=value`.
    pub env: Vec<String>,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// User and group id.
    pub user: Option<(u32, Option<u32>)>,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// Whether to return once the process runs.
    pub detach: bool,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// Unix socket to which the pty's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Unix socket to which a pidfd of the process is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// Whether gaining privileges is barred.
    pub no_new_privs: bool,
    /// Further capabilities, as `CAP_CHOWN`.
    pub caps: Vec<String>,
    /// How many descriptors from 3 up are passed on.
    pub preserve_fds: u32,
    /// Cgroup below the container's, for all controllers.
    pub cgroup: Option<String>,
    /// Whether a paused container is no error.
    pub ignore_paused: bool,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeCommand {
    /// Makes a container up to its user's program.
    Create(CreateOptions),
    /// Runs that program.
    Start {
        /// Name of the container.
        id: String,
    },
    /// Prints the state document.
    State {
        /// Name of the container.
        id: String,
    },
    /// Sends a signal.
    Kill {
        /// Name of the container.
        id: String,
        /// Signal by number.
        signal: i32,
        /// Whether every process gets it.
        all: bool,
    },
    /// Removes a container that ended.
    Delete {
        /// Name of the container.
        id: String,
        /// Whether one that runs is killed, and a missing one passes.
        force: bool,
    },
    /// Creates and starts, waits unless detached, deletes unless kept.
    Run {
        /// The container.
        create: CreateOptions,
        /// Whether to return once it runs.
        detach: bool,
        /// Whether it isn't deleted when it ends.
        keep: bool,
        /// Whether orphans aren't adopted.
        no_subreaper: bool,
    },
    /// Runs another process in a container.
    Exec(Box<ExecOptions>),
    /// Lists containers.
    List {
        /// Whether the list is JSON.
        json: bool,
        /// Whether only names are shown.
        quiet: bool,
    },
}

/// One call of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeRequest {
    /// Options before the command.
    pub globals: Globals,
    /// The command.
    pub command: RuntimeCommand,
}

type Read = fn(&Parsed) -> Result<RuntimeCommand, Failure>;

/// A command's name, options and reader; `spec` alone has none, for it is done here.
struct Entry {
    name: &'static str,
    spec: &'static CommandSpec,
    read: Option<Read>,
}

const fn entry(name: &'static str, spec: &'static CommandSpec, read: Read) -> Entry {
    Entry { name, spec, read: Some(read) }
}

static ENTRIES: &[Entry] = &[
    entry("create", &options::CREATE, read::create),
    entry("start", &options::START, read::start),
    entry("state", &options::STATE, read::state),
    entry("kill", &options::KILL, read::kill),
    entry("delete", &options::DELETE, read::delete),
    entry("run", &options::RUN, read::run),
    entry("exec", &options::EXEC, read::exec),
    entry("list", &options::LIST, read::list),
    Entry { name: "spec", spec: &options::SPEC, read: None },
];

/// Parses, works and reports; answers the status to leave with.
pub fn main(words: &[OsString]) -> u8 {
    let mut globals = Globals { root: None, log: None, log_format: LogFormat::Text, debug: false };
    match dispatch(words, &mut globals) {
        Ok(status) => status,
        Err(failure) => {
            log::report(&failure, &globals);
            failure.exit_code
        }
    }
}

fn dispatch(words: &[OsString], globals: &mut Globals) -> Result<u8, Failure> {
    let one = |failure: Failure| failure.code(1);
    let parsed = match flags::parse(&options::GLOBAL, "berth-runtime", words).map_err(one)? {
        Asked::Help => return print(&usage()).map(|()| 0),
        Asked::Work(parsed) => parsed,
    };
    read::globals(&parsed, globals).map_err(one)?;
    if parsed.switch("version") {
        return print(&format!("berth-runtime version {VERSION}\nspec: {SPEC_VERSION}\n")).map(|()| 0);
    }
    let args = parsed.args();
    let Some(name) = args.first().filter(|name| *name != "help") else {
        return print(&usage()).map(|()| 0);
    };
    let entry = ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| unknown(name))?;
    let rest: Vec<OsString> = args[1..].iter().map(Into::into).collect();
    let path = format!("berth-runtime {name}");
    let parsed = match flags::parse(entry.spec, &path, &rest).map_err(one)? {
        Asked::Help => {
            return print(&help::command(&path, entry.spec)).map(|()| 0);
        }
        Asked::Work(parsed) => parsed,
    };
    let Some(read) = entry.read else {
        let bundle = parsed.one("bundle").unwrap_or_default();
        return spec::write(Path::new(bundle)).map(|()| 0);
    };
    let command = read(&parsed).map_err(one)?;
    backend::runtime(&RuntimeRequest { globals: globals.clone(), command })
}

fn unknown(name: &str) -> Failure {
    let failure = Failure::new(format!("No help topic for '{name}'")).code(3);
    match suggest::nearest(name, ENTRIES.iter().map(|entry| entry.name)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure,
    }
}

fn usage() -> String {
    let mut text = help::command("berth-runtime", &options::GLOBAL);
    text += "\nCommands:\n";
    for entry in ENTRIES {
        text += &format!("  {:<8}{}\n", entry.name, entry.spec.about);
    }
    text
}

#[cfg(test)]
mod tests;

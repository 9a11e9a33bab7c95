//! What a Dockerfile says, instruction by instruction, as data. Values are as written: [`super::expand`] expands them.

use super::heredoc::Heredoc;
use super::mount::MountFlag;
use super::source::{Place, Word};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The file's text, to which all spans refer.
    pub text: String,
    /// `# syntax=`: the front end that is asked for.
    pub syntax: Option<Directive>,
    /// `# check=`: which checks are made, and how ([`super::lint::Options`]).
    pub check: Option<Directive>,
    /// What escapes a character and continues a line: `\` or a backquote (`# escape=`).
    pub escape: char,
    /// The `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Instruction>,
    /// The stages; at least one.
    pub stages: Vec<Stage>,
    /// The last lines of instructions that have an empty line in a continuation.
    pub empty_continuations: Vec<usize>,
}

/// A parser directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its value.
    pub value: String,
    /// Its line.
    pub line: usize,
}

/// `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `FROM` as written.
    pub keyword: Word,
    /// The name behind `AS` in lower case; empty if it has none.
    pub name: String,
    /// `AS` and the name as written.
    pub alias: Option<(Word, Word)>,
    /// An image, a stage or `scratch`. Expanded by the global arguments.
    pub base: Word,
    /// `--platform`. Expanded by the global arguments.
    pub platform: Option<Word>,
    /// The instruction's text in one line.
    pub code: String,
    /// Where `FROM` stands.
    pub place: Place,
    /// Comments right before it, without their `#`.
    pub comments: Vec<String>,
    /// What the stage does.
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// What a comment before it says of it (`# NAME description`), for `--call=targets`.
    pub fn description(&self) -> Option<&str> {
        description(&self.comments, &self.name)
    }
}

/// What comments say of `name`.
fn description<'a>(comments: &'a [String], name: &str) -> Option<&'a str> {
    let of_name = |line: &'a String| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    comments.iter().find_map(of_name).filter(|_| !name.is_empty())
}

/// One instruction, other than `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its name as written.
    pub keyword: Word,
    /// Its text in one line, without heredocs.
    pub code: String,
    /// Where it stands, heredocs included.
    pub place: Place,
    /// Comments right before it, without their `#`.
    pub comments: Vec<String>,
    /// What it says.
    pub kind: Kind,
}

impl Instruction {
    /// What a comment before it says of `name`, one of its arguments, for `--call=outline`.
    pub fn description(&self, name: &str) -> Option<&str> {
        description(&self.comments, name)
    }
}

/// What an instruction says. "Expanded" means: as one word, by the stage's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`
    Add(Copy),
    /// `ARG`: declarations.
    Arg(Vec<ArgPair>),
    /// `CMD`
    Cmd(Command),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `ENV`: names and values are expanded.
    Env(Vec<Pair>),
    /// `EXPOSE`: each is expanded and split into words; sorted as written.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`: names and values are expanded.
    Label(Vec<Pair>),
    /// `MAINTAINER`: not expanded.
    Maintainer(Word),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`: not expanded.
    Shell(Vec<String>),
    /// `STOPSIGNAL`: expanded.
    StopSignal(Word),
    /// `USER`: expanded.
    User(Word),
    /// `VOLUME`: each is expanded.
    Volume(Vec<Word>),
    /// `WORKDIR`: expanded.
    Workdir(Word),
}

impl Kind {
    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Add(_) => "ADD",
            Kind::Arg(_) => "ARG",
            Kind::Cmd(_) => "CMD",
            Kind::Copy(_) => "COPY",
            Kind::Entrypoint(_) => "ENTRYPOINT",
            Kind::Env(_) => "ENV",
            Kind::Expose(_) => "EXPOSE",
            Kind::Healthcheck(_) => "HEALTHCHECK",
            Kind::Label(_) => "LABEL",
            Kind::Maintainer(_) => "MAINTAINER",
            Kind::Onbuild(_) => "ONBUILD",
            Kind::Run(_) => "RUN",
            Kind::Shell(_) => "SHELL",
            Kind::StopSignal(_) => "STOPSIGNAL",
            Kind::User(_) => "USER",
            Kind::Volume(_) => "VOLUME",
            Kind::Workdir(_) => "WORKDIR",
        }
    }
}

/// A name and its value (`ENV`, `LABEL`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
    /// Whether a space stands between them instead of `=`: the old form.
    pub is_legacy: bool,
}

/// A declared argument. The name isn't expanded; the value is, but only if it's used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgPair {
    /// The name.
    pub name: Word,
    /// The default.
    pub value: Option<Word>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A line for the shell (`SHELL`).
    Shell(String),
    /// The program and its arguments (a JSON array); may be empty.
    Exec(Vec<String>),
}

/// `COPY` and `ADD`. The flags that only one of them has are empty in the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: a stage by name or number, a named context, or an image. Not expanded: a value that expansion would change is an error.
    pub from: Option<Word>,
    /// `--chown`: expanded.
    pub chown: Option<Word>,
    /// `--chmod`: expanded.
    pub chmod: Option<Word>,
    /// `--link`
    pub is_linked: bool,
    /// `--parents`
    pub has_parents: bool,
    /// `--exclude`: each is expanded.
    pub excludes: Vec<Word>,
    /// `--checksum`: expanded.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keeps_git_dir: bool,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
    /// Paths, patterns and addresses: each is expanded.
    pub sources: Vec<Word>,
    /// Files that are written in the Dockerfile; copied after the sources.
    pub heredocs: Vec<Heredoc>,
    /// Where to: expanded.
    pub dest: Word,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `--mount`
    pub mounts: Vec<MountFlag>,
    /// `--network`
    pub network: RunNetwork,
    /// `--security=insecure`
    pub is_insecure: bool,
    /// `--device`
    pub devices: Vec<Word>,
    /// What is run: not expanded, the shell does that. See [`Run::program`].
    pub command: Command,
    /// Files that are written in the Dockerfile.
    pub heredocs: Vec<Heredoc>,
}

/// `RUN --network`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// `default`, or not given: the build's.
    #[default]
    Default,
    /// `none`
    None,
    /// `host`
    Host,
}

/// What `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A text for the shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A file with its own `#!`, mode 0755 at `/dev/pipes/NAME`, which path is given to the shell (`SHELL`) as its line.
    Script {
        /// The heredoc's name.
        name: String,
        /// The file's content.
        content: String,
    },
}

impl Run {
    /// What is executed, heredocs considered. Source: BuildKit's dockerfile2llb, dispatchRun.
    pub fn program(&self) -> Program {
        let line = match &self.command {
            Command::Exec(args) => return Program::Exec(args.clone()),
            Command::Shell(line) => line,
        };
        let Some(first) = self.heredocs.first() else { return Program::Shell(line.clone()) };
        if super::heredoc::parse_word(line).ok().flatten().is_some() {
            let content = first.text().into_owned();
            return match content.starts_with("#!") {
                true => Program::Script { name: first.name.clone(), content },
                false => Program::Shell(content),
            };
        }
        let mut script = line.clone();
        for heredoc in &self.heredocs {
            script.push('\n');
            script.push_str(&heredoc.content);
            script.push_str(&heredoc.name);
        }
        Program::Shell(script)
    }

    /// For a progress display: the first line of the heredoc that is the whole command.
    pub fn summary(&self) -> Option<String> {
        let Command::Shell(line) = &self.command else { return None };
        let first = self.heredocs.first()?;
        super::heredoc::parse_word(line).ok().flatten()?;
        let text = first.content.trim();
        let mut lines = text.lines();
        let summary = lines.next().unwrap_or_default().to_owned();
        Some(if lines.next().is_some() { summary + "..." } else { summary })
    }
}

/// `HEALTHCHECK`. Nothing is expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// As in an image's configuration: `NONE`, or `CMD` or `CMD-SHELL` and what they run.
    pub test: Vec<String>,
    /// `--interval`; zero if not given.
    pub interval: Duration,
    /// `--timeout`
    pub timeout: Duration,
    /// `--start-period`
    pub start_period: Duration,
    /// `--start-interval`
    pub start_interval: Duration,
    /// `--retries`
    pub retries: u32,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction as an image's configuration keeps it, heredocs included; [`super::parse_trigger`] reads it.
    pub trigger: String,
}

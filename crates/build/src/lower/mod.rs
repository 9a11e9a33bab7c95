//! From a Dockerfile to a graph of steps, and to the configuration of the image that it makes.
//!
//! Only stages that the target needs are looked at; their base images are asked of [`Bases`] on the way. Source: the reference
//! of Dockerfiles; where it is silent, BuildKit's dockerfile2llb.
//!
//! - [`stage`]: instructions, in order; [`copy`]: `COPY` and `ADD`; [`run`]: `RUN`
//! - [`go`]: values as Go prints them, which is how histories have them

mod copy;
mod go;
mod path;
mod run;
mod stage;
#[cfg(test)]
mod tests;

use crate::dockerfile::ast::{Dockerfile, Stage};
use crate::dockerfile::expand::{Lexer, Variables};
use crate::dockerfile::source::Lines;
use crate::dockerfile::suggest;
use crate::graph::{Graph, Step, What};
use crate::op::{Ignored, Network, Op, StepId};
use stage::State;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use types::image::{ImageConfig, Platform};

/// What a build is asked for, beside the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`; the last stage otherwise.
    pub target: Option<String>,
    /// The machine that builds.
    pub build_platform: Platform,
    /// `--platform`; the machine that builds, or what the base image is for, otherwise.
    pub target_platform: Option<Platform>,
    /// Whether several platforms are built: names of steps say which.
    pub is_multi_platform: bool,
    /// Stages whose steps run though their results are known; an empty name means all (`--no-cache`, `--no-cache-filter`).
    pub no_cache: Vec<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--network`, for what doesn't say otherwise.
    pub network: Network,
    /// `--add-host`: `NAME:ADDRESS`.
    pub add_hosts: Vec<String>,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: `NAME=SOFT[:HARD]`.
    pub ulimits: Vec<String>,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `BUILDKIT_SANDBOX_HOSTNAME`.
    pub hostname: String,
    /// `SOURCE_DATE_EPOCH`, in seconds since the epoch.
    pub epoch: Option<i64>,
    /// Whether `RUN --security=insecure` is allowed (`--allow security.insecure`).
    pub allows_insecure: bool,
    /// Whether `RUN --network=host` is allowed (`--allow network.host`).
    pub allows_host_network: bool,
}

/// What a stage begins with, or files are copied from.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// An image.
    Image {
        /// What it's called, with its digest if that's known.
        reference: String,
        /// The chain id of its topmost layer; `None` has no layers.
        chain: Option<String>,
        /// Its configuration.
        config: Box<ImageConfig>,
    },
    /// A directory.
    Directory {
        /// Where it is.
        directory: PathBuf,
        /// Lines of its ignore file.
        ignored: Ignored,
        /// Whether its files' owners are copied; otherwise they are root's.
        keeps_owner: bool,
    },
}

/// Where images and contexts come from.
pub trait Bases {
    /// How it fails.
    type Error;

    /// An image for a platform; it's fetched if it isn't here.
    fn image(&mut self, reference: &str, platform: &Platform) -> Result<Base, Self::Error>;

    /// The context of that name (`--build-context`), if there is one. The unnamed one is `context`.
    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<Base>, Self::Error>;
}

/// Why a Dockerfile can't be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Lines of the Dockerfile.
    pub lines: Option<Lines>,
}

/// A fault of the Dockerfile, or of an image or context that it names.
#[derive(Debug)]
pub enum Failure<E> {
    /// The Dockerfile is wrong.
    Fault(Fault),
    /// An image or a context can't be had.
    Base(Lines, E),
}

impl<E> From<Fault> for Failure<E> {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

/// What is to be done for a Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The steps.
    pub graph: Graph,
    /// The one whose tree the image has.
    pub target: StepId,
    /// The image's configuration, but for its layers, history, and date.
    pub config: ImageConfig,
    /// Its history.
    pub history: Vec<Line>,
    /// The base image's own date.
    pub base_created: Option<String>,
    /// Arguments that were given and that no `ARG` declares.
    pub unused_args: Vec<String>,
}

/// A line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The base image's.
    Inherited(types::image::config::History),
    /// One of an instruction.
    Own {
        /// The instruction.
        created_by: String,
        /// The step that made its layer, if there is one.
        step: Option<StepId>,
    },
}

/// Arguments that are there without being declared.
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that are for the build itself, and no variables of programs. Source: BuildKit's nonEnvArgs.
const NON_ENV_ARGS: [&str; 1] = ["SOURCE_DATE_EPOCH"];

/// Beginnings of arguments that are for the build itself.
const OF_THE_BUILD: [&str; 2] = ["BUILDKIT_", "SOURCE_DATE_EPOCH"];

/// Makes the graph.
///
/// Errors: what is wrong with the Dockerfile; whatever `bases` fails with.
pub fn lower<B: Bases>(
    file: &Dockerfile,
    options: &Options,
    bases: &mut B,
) -> Result<Lowered, Failure<B::Error>> {
    let mut lowerer = Lowerer::new(file, options, bases)?;
    let target = lowerer.target()?;
    let made = lowerer.stage(target)?;
    let state = &lowerer.states[made];
    let mut config = state.config.clone();
    if let Some(platform) = &options.target_platform {
        let is_same = config.os == platform.os && config.architecture == platform.architecture;
        config.os.clone_from(&platform.os);
        config.architecture.clone_from(&platform.architecture);
        if !platform.variant.is_empty() || !is_same {
            config.variant.clone_from(&platform.variant);
        }
    }
    let labels = options.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
    config.config.labels.extend(labels);
    let declared = |name: &String| {
        lowerer.declared.contains(name)
            || PREDEFINED.contains(&name.as_str())
            || OF_THE_BUILD.iter().any(|start| name.starts_with(start))
    };
    let unused_args = options.build_args.keys().filter(|name| !declared(name)).cloned().collect();
    let (target, history, base_created) = (state.tree, state.history.clone(), state.base_created.clone());
    Ok(Lowered { graph: lowerer.graph, target, config, history, base_created, unused_args })
}

/// The arguments that are there without being declared: `TARGETPLATFORM` and its like.
pub fn predefined(file: &Dockerfile, options: &Options) -> BTreeMap<String, String> {
    let platform = options.target_platform.as_ref().unwrap_or(&options.build_platform);
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", platform)] {
        let version = platform.os_version.clone().unwrap_or_default();
        values.extend([
            (format!("{prefix}PLATFORM"), platform.to_string()),
            (format!("{prefix}OS"), platform.os.clone()),
            (format!("{prefix}OSVERSION"), version),
            (format!("{prefix}ARCH"), platform.architecture.clone()),
            (format!("{prefix}VARIANT"), platform.variant.clone()),
        ]);
    }
    let last = file.stages.last().map(|stage| stage.name.clone()).unwrap_or_default();
    let stage = options.target.clone().unwrap_or(last);
    let stage = if stage.is_empty() { "default".to_owned() } else { stage };
    values.insert("TARGETSTAGE".to_owned(), stage);
    values
}

/// Names and values, in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Env(Vec<(String, String)>);

impl Env {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Variables for Env {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Untouched,
    Underway,
    /// The index of its state.
    Done(usize),
}

struct Lowerer<'a, B: Bases> {
    file: &'a Dockerfile,
    options: &'a Options,
    bases: &'a mut B,
    lexer: Lexer,
    /// Of `ARG` before the first `FROM`, and what is there without.
    globals: Env,
    graph: Graph,
    progress: Vec<Progress>,
    states: Vec<State>,
    /// The names of all arguments that some `ARG` declares.
    declared: BTreeSet<String>,
    scratch: Option<StepId>,
    context: Option<StepId>,
    /// Contexts whose files' owners are copied.
    with_owners: BTreeSet<StepId>,
}

fn fault(message: impl Into<String>, lines: Lines) -> Fault {
    Fault { message: message.into(), hint: None, lines: Some(lines) }
}

impl<'a, B: Bases> Lowerer<'a, B> {
    fn new(file: &'a Dockerfile, options: &'a Options, bases: &'a mut B) -> Result<Self, Fault> {
        let mut lowerer = Lowerer {
            file,
            options,
            bases,
            lexer: Lexer::new(file.escape),
            globals: Env::default(),
            graph: Graph { epoch: options.epoch, ..Graph::default() },
            progress: vec![Progress::Untouched; file.stages.len()],
            states: Vec::new(),
            declared: BTreeSet::new(),
            scratch: None,
            context: None,
            with_owners: BTreeSet::new(),
        };
        lowerer.set_globals()?;
        Ok(lowerer)
    }

    fn set_globals(&mut self) -> Result<(), Fault> {
        let options = self.options;
        for (name, value) in predefined(self.file, options) {
            self.globals.set(&name, &value);
        }
        for name in self.globals.0.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(value) = options.build_args.get(&name) {
                self.globals.set(&name, value);
            }
        }
        for instruction in &self.file.global_args {
            let crate::dockerfile::ast::Kind::Arg(pairs) = &instruction.kind else { continue };
            for pair in pairs {
                let name = pair.name.text.as_str();
                self.declared.insert(name.to_owned());
                let value = match (options.build_args.get(name), &pair.value) {
                    (Some(given), _) => given.clone(),
                    (None, Some(default)) => {
                        let expanded = self.lexer.word(default, &self.globals);
                        expanded.map_err(|error| fault(error.to_string(), instruction.place.lines))?
                    }
                    (None, None) => continue,
                };
                self.globals.set(name, &value);
            }
        }
        for stage in &self.file.stages {
            for instruction in &stage.instructions {
                if let crate::dockerfile::ast::Kind::Arg(pairs) = &instruction.kind {
                    self.declared.extend(pairs.iter().map(|pair| pair.name.text.clone()));
                }
            }
        }
        // What is there without being declared may still be given.
        self.declared.extend(self.globals.0.iter().map(|(name, _)| name.clone()));
        Ok(())
    }

    /// The stage that is to be built.
    fn target(&self) -> Result<usize, Fault> {
        let Some(wanted) = self.options.target.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(self.file.stages.len().saturating_sub(1));
        };
        let by_name = self.stage_named(wanted);
        let by_number = wanted.parse().ok().filter(|index| *index < self.file.stages.len());
        by_name.or(by_number).ok_or_else(|| Fault {
            message: format!("target stage {wanted:?} could not be found"),
            hint: suggest::hint(wanted, self.file.stages.iter().map(|stage| stage.name.as_str())),
            lines: None,
        })
    }

    /// The last stage of that name.
    fn stage_named(&self, name: &str) -> Option<usize> {
        let is_it = |stage: &Stage| !stage.name.is_empty() && stage.name.eq_ignore_ascii_case(name);
        self.file.stages.iter().rposition(is_it)
    }

    /// How a stage is called in the names of steps: nothing where there is only one.
    fn shown_name(&self, index: usize) -> String {
        match self.file.stages.get(index) {
            _ if self.file.stages.len() == 1 => String::new(),
            Some(stage) if !stage.name.is_empty() => stage.name.clone(),
            _ => format!("stage-{index}"),
        }
    }

    /// Lowers a stage, and what it needs; the index of its state.
    fn stage(&mut self, index: usize) -> Result<usize, Failure<B::Error>> {
        let stage = &self.file.stages[index];
        match self.progress[index] {
            Progress::Done(state) => return Ok(state),
            Progress::Underway => {
                let name = if stage.name.is_empty() { format!("stage-{index}") } else { stage.name.clone() };
                let message = format!("circular dependency detected on stage: {name}");
                return Err(fault(message, stage.place.lines).into());
            }
            Progress::Untouched => self.progress[index] = Progress::Underway,
        }
        let state = self.lower_stage(index, stage)?;
        self.states.push(state);
        let made = self.states.len() - 1;
        self.progress[index] = Progress::Done(made);
        Ok(made)
    }

    fn scratch(&mut self) -> StepId {
        if let Some(known) = self.scratch {
            return known;
        }
        let added = self.graph.add(given(What::Scratch, "scratch".to_owned(), None));
        *self.scratch.insert(added)
    }

    /// The unnamed context.
    fn main_context(&mut self, lines: Lines) -> Result<StepId, Failure<B::Error>> {
        if let Some(known) = self.context {
            return Ok(known);
        }
        let platform = self.options.build_platform.clone();
        let found = self.bases.context("context", &platform).map_err(|error| Failure::Base(lines, error))?;
        let step = match found {
            Some(base) => self.add_base(base, "[internal] load build context".to_owned(), lines),
            None => {
                return Err(fault("the build has no context: nothing can be copied from it", lines).into());
            }
        };
        self.context = Some(step);
        Ok(step)
    }

    /// A step for what is there already.
    fn add_base(&mut self, base: Base, name: String, lines: Lines) -> StepId {
        let what = match base {
            Base::Image { reference, chain, .. } => What::Image { reference, chain },
            Base::Directory { directory, ignored, keeps_owner } => {
                let what = What::Context { name: "context".to_owned(), directory, ignored };
                let added = self.graph.add(given(what, name, Some(lines)));
                if keeps_owner {
                    self.with_owners.insert(added);
                }
                return added;
            }
        };
        self.graph.add(given(what, name, Some(lines)))
    }

    /// Whether files that are copied from a step's tree keep their owners.
    fn keeps_owner(&self, id: StepId) -> bool {
        !matches!(self.graph.step(id).what, What::Context { .. }) || self.with_owners.contains(&id)
    }

    /// Adds something that is done.
    fn add_op(&mut self, op: Op, inputs: Vec<StepId>, at: At) -> StepId {
        let At { name, slot, lines, ignores_cache } = at;
        let lines = Some((lines.first, lines.last));
        self.graph.add(Step { what: What::Op(op), inputs, name, slot, lines, ignores_cache })
    }

    /// What `COPY --from` and `RUN --mount from=` speak of: a stage, a named context, or an image.
    fn source(&mut self, name: &str, by: usize, lines: Lines) -> Result<StepId, Failure<B::Error>> {
        let number = name.parse::<usize>().ok();
        let index = match number {
            Some(index) if index < self.file.stages.len() => Some(index),
            Some(index) => return Err(fault(format!("invalid stage index {index}"), lines).into()),
            None => self.stage_named(name),
        };
        let platform = self.target_platform();
        if let Some(index) = index {
            if index > by {
                let own = self.file.stages[by].name.clone();
                let own = if own.is_empty() { format!("stage-{by}") } else { own };
                let message = format!(
                    "cannot copy from stage {name:?}, it needs to be defined before current stage {own:?}"
                );
                return Err(fault(message, lines).into());
            }
            let state = self.stage(index)?;
            return Ok(self.states[state].tree);
        }
        if name == "scratch" {
            return Ok(self.scratch());
        }
        let named = self.bases.context(name, &platform).map_err(|error| Failure::Base(lines, error))?;
        let base = match named {
            Some(base) => base,
            None => self.bases.image(name, &platform).map_err(|error| Failure::Base(lines, error))?,
        };
        let shown = match &base {
            Base::Image { reference, .. } => format!("FROM {reference}"),
            Base::Directory { .. } => format!("[context {name}] load from client"),
        };
        Ok(self.add_base(base, shown, lines))
    }

    fn target_platform(&self) -> Platform {
        self.options.target_platform.clone().unwrap_or_else(|| self.options.build_platform.clone())
    }
}

/// Where a step comes from.
struct At {
    name: String,
    slot: String,
    lines: Lines,
    ignores_cache: bool,
}

fn given(what: What, name: String, lines: Option<Lines>) -> Step {
    let lines = lines.map(|lines| (lines.first, lines.last));
    Step { what, inputs: Vec::new(), slot: name.clone(), name, lines, ignores_cache: false }
}

//! One stage: its base, then its instructions in order.

use super::{At, Base, Bases, Env, Failure, Fault, Line, Lowerer, NON_ENV_ARGS, fault, go, path};
use crate::dockerfile::ast::{ArgPair, Command, Instruction, Kind, Pair, Stage};
use crate::dockerfile::expand::{Lexer, Variables};
use crate::dockerfile::source::{Lines, Word};
use crate::dockerfile::{expose, parse_trigger, suggest};
use crate::op::{Copy, CopySource, Op, StepId};
use types::image::config::{Execution, Healthcheck};
use types::image::{ImageConfig, Platform};

/// `PATH` of images that have none. Source: BuildKit's system.DefaultPathEnv.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shell of images that name none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What an instruction finds, and leaves to the next.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The tree so far.
    pub tree: StepId,
    /// The image's configuration so far.
    pub config: ImageConfig,
    /// Its history so far.
    pub history: Vec<Line>,
    /// Of its base.
    pub base_created: Option<String>,
    /// Variables: of the image, and arguments.
    pub env: Env,
    /// Arguments that were declared, with their values.
    pub args: Vec<(String, Option<String>)>,
    /// For which machine it is.
    pub platform: Platform,
    /// What `ONBUILD` of this stage says.
    triggers: Vec<String>,
    /// Whether `CMD` was in this stage.
    has_cmd: bool,
    /// Index of the stage.
    pub index: usize,
    /// How many steps it shows, and how many were.
    total: usize,
    shown: usize,
    /// Whether its steps run though their results are known.
    pub ignores_cache: bool,
    /// Whether the instruction at hand comes from a trigger of the base.
    is_trigger: bool,
}

impl State {
    /// The shell form as words.
    pub fn with_shell(&self, line: &str) -> Vec<String> {
        let shell = &self.config.config.shell;
        let mut words = match shell.is_empty() {
            true => SHELL.map(str::to_owned).to_vec(),
            false => shell.clone(),
        };
        words.push(line.to_owned());
        words
    }

    fn commit(&mut self, created_by: String, step: Option<StepId>) {
        self.history.push(Line::Own { created_by, step });
    }

    pub fn commit_step(&mut self, created_by: &str, step: StepId) {
        self.tree = step;
        self.commit(format!("{created_by} # buildkit"), Some(step));
    }

    /// Absolute, `/` by default.
    pub fn working_dir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        }
    }
}

impl<B: Bases> Lowerer<'_, B> {
    pub(super) fn lower_stage(&mut self, index: usize, stage: &Stage) -> Result<State, Failure<B::Error>> {
        let lines = stage.place.lines;
        let (mut state, is_given) = self.begin(index, stage)?;
        if is_given {
            // A context of that name takes its place.
            return Ok(state);
        }
        let triggers = std::mem::take(&mut state.triggers);
        let mut inherited = Vec::new();
        for trigger in &triggers {
            let mut instruction = parse_trigger(trigger).map_err(|errors| {
                let first = errors.errors.first();
                let why = first.map(|error| error.message.clone()).unwrap_or_default();
                fault(format!("the base image's ONBUILD {trigger:?}: {why}"), lines)
            })?;
            instruction.place = stage.place;
            inherited.push(instruction);
        }
        state.total += inherited.iter().chain(&stage.instructions).filter(is_step).count();
        for (instruction, is_trigger) in
            inherited.iter().map(|own| (own, true)).chain(stage.instructions.iter().map(|own| (own, false)))
        {
            state.is_trigger = is_trigger;
            self.instruct(&mut state, instruction)?;
        }
        Ok(state)
    }

    fn expanded(&self, word: &str, lines: Lines) -> Result<String, Fault> {
        self.lexer.word(word, &self.globals).map_err(|error| fault(error.to_string(), lines))
    }

    /// The state before the first instruction, and whether a context that was given takes the place of the stage.
    fn begin(&mut self, index: usize, stage: &Stage) -> Result<(State, bool), Failure<B::Error>> {
        let lines = stage.place.lines;
        let name = self.expanded(&stage.base, lines)?;
        if name.is_empty() {
            return Err(fault(format!("base name ({}) should not be blank", stage.base), lines).into());
        }
        let wanted = match &stage.platform {
            None => None,
            Some(word) => Some(self.platform(word, lines)?),
        };
        let no_cache = &self.options.no_cache;
        let ignores_cache =
            no_cache.iter().any(|own| own.is_empty() || own.eq_ignore_ascii_case(&stage.name));
        let new = |tree, config: ImageConfig, platform| State {
            tree,
            history: Vec::new(),
            base_created: None,
            env: Env::default(),
            args: Vec::new(),
            platform,
            triggers: Vec::new(),
            has_cmd: false,
            index,
            total: 0,
            shown: 0,
            ignores_cache,
            is_trigger: false,
            config,
        };
        let platform = wanted.clone().unwrap_or_else(|| self.target_platform());
        let given = match stage.name.as_str() {
            "" | "scratch" | "context" => None,
            own => self.bases.context(own, &platform).map_err(|error| Failure::Base(lines, error))?,
        };
        let is_given = given.is_some();
        let below = self.file.stages[..index]
            .iter()
            .rposition(|earlier| !earlier.name.is_empty() && earlier.name.eq_ignore_ascii_case(&name));
        let mut state = match (given, below) {
            (Some(base), _) => self.begin_on(base, &new, &platform, stage, 0)?,
            (None, Some(below)) => {
                let below = self.stage(below)?;
                let below = self.states[below].clone();
                State {
                    index,
                    total: 0,
                    shown: 0,
                    ignores_cache,
                    has_cmd: false,
                    triggers: below.config.config.on_build.clone(),
                    ..below
                }
            }
            (None, None) if name == "scratch" => {
                let config = ImageConfig {
                    architecture: platform.architecture.clone(),
                    os: platform.os.clone(),
                    variant: platform.variant.clone(),
                    config: Execution { working_dir: "/".to_owned(), ..Execution::default() },
                    ..ImageConfig::default()
                };
                new(self.scratch(), config, platform)
            }
            (None, None) => {
                let named =
                    self.bases.context(&name, &platform).map_err(|error| Failure::Base(lines, error))?;
                let base = match named {
                    Some(base) => base,
                    None => {
                        self.bases.image(&name, &platform).map_err(|error| Failure::Base(lines, error))?
                    }
                };
                self.begin_on(base, &new, &platform, stage, 1)?
            }
        };
        state.config.config.on_build.clear();
        if Variables::get(state.config.config.env.as_slice(), "PATH").is_none() {
            state.config.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        for variable in &state.config.config.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            state.env.set(name, value);
        }
        if !state.config.config.working_dir.is_empty() {
            state.config.config.working_dir = path::join("/", &state.config.config.working_dir);
        }
        Ok((state, is_given))
    }

    fn platform(&self, word: &Word, lines: Lines) -> Result<Platform, Fault> {
        let expansion = self.lexer.expand(word, &self.globals).map_err(|e| fault(e.to_string(), lines))?;
        let names = || self.globals.0.iter().map(|(name, _)| name.as_str());
        let hint = || expansion.unset.iter().find_map(|unset| suggest::hint(unset, names()));
        if expansion.text.is_empty() {
            let message = format!("empty platform value from expression {word}");
            return Err(Fault { message, hint: hint(), lines: Some(lines) });
        }
        Platform::parse(&expansion.text, &self.options.build_platform).map_err(|error| Fault {
            message: format!("failed to parse platform {word}: {error}"),
            hint: hint(),
            lines: Some(lines),
        })
    }

    fn begin_on(
        &mut self,
        base: Base,
        new: &dyn Fn(StepId, ImageConfig, Platform) -> State,
        platform: &Platform,
        stage: &Stage,
        shown: usize,
    ) -> Result<State, Failure<B::Error>> {
        let lines = stage.place.lines;
        let empty = || ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        match base {
            Base::Image { ref reference, ref config, .. } => {
                let reference = reference.clone();
                let mut config = (**config).clone();
                let own = config.platform();
                let history = std::mem::take(&mut config.history);
                let base_created = config.created.take();
                config.rootfs = types::image::config::RootFs::default();
                let probe = new(StepId(0), ImageConfig::default(), platform.clone());
                let total = shown + stage.instructions.iter().filter(is_step).count();
                let name = match shown {
                    0 => format!("FROM {reference}"),
                    _ => self.prefix(&probe, platform, 1, total) + &format!("FROM {reference}"),
                };
                let tree = self.add_base(base, name, lines);
                let platform = match self.options.target_platform.is_none() && stage.platform.is_none() {
                    true if !own.architecture.is_empty() => own,
                    _ => platform.clone(),
                };
                let triggers = config.config.on_build.clone();
                Ok(State {
                    history: history.into_iter().map(Line::Inherited).collect(),
                    base_created,
                    triggers,
                    total: shown,
                    shown,
                    ..new(tree, config, platform)
                })
            }
            Base::Directory { .. } => {
                let context =
                    self.add_base(base, format!("[context {}] load from client", stage.name), lines);
                let scratch = self.scratch();
                let copy = Copy {
                    keeps_owner: self.keeps_owner(context),
                    ..Copy::plain(vec![CopySource::Input { pattern: "/".to_owned() }], "/")
                };
                let at = At {
                    name: format!("[context {}] copy", stage.name),
                    slot: format!("{}/context", self.slot_of(stage, 0)),
                    lines,
                    ignores_cache: false,
                };
                let tree = self.add_op(Op::Copy(copy), vec![scratch, context], at);
                Ok(new(tree, empty(), platform.clone()))
            }
        }
    }

    fn slot_of(&self, stage: &Stage, index: usize) -> String {
        match stage.name.is_empty() {
            true => format!("stage-{index}"),
            false => stage.name.clone(),
        }
    }

    /// `[build 2/5] `, as BuildKit writes it.
    fn prefix(&self, state: &State, platform: &Platform, position: usize, total: usize) -> String {
        let mut text = "[".to_owned();
        if self.options.is_multi_platform {
            text.push_str(&format!("{platform} "));
        }
        let name = self.shown_name(state.index);
        if !name.is_empty() {
            text.push_str(&format!("{name} "));
        }
        let width = total.to_string().len();
        text.push_str(&format!("{position:>width$}/{total}] "));
        text
    }

    /// Where an instruction's step comes from: its name counts it.
    pub(super) fn at(&self, state: &mut State, shown: &str, lines: Lines) -> At {
        state.shown += 1;
        let (word, rest) = shown.split_once(' ').unwrap_or((shown, ""));
        let space = if rest.is_empty() { "" } else { " " };
        let trigger = if state.is_trigger { "ONBUILD " } else { "" };
        let prefix = self.prefix(state, &state.platform, state.shown, state.total);
        At {
            name: format!("{prefix}{trigger}{}{space}{rest}", word.to_uppercase()),
            slot: format!("{}/{}", self.slot_of(&self.file.stages[state.index], state.index), state.shown),
            lines,
            ignores_cache: state.ignores_cache,
        }
    }

    /// The instruction's text with variables in it, for names of steps.
    pub(super) fn shown_text(&self, lexer: &Lexer, state: &State, text: &str) -> String {
        lexer.word(text, &state.env).unwrap_or_else(|_| text.to_owned())
    }

    pub(super) fn word(&self, state: &State, word: &str, lines: Lines) -> Result<String, Fault> {
        self.lexer.word(word, &state.env).map_err(|error| fault(error.to_string(), lines))
    }

    fn pairs(&self, state: &State, pairs: &[Pair], lines: Lines) -> Result<Vec<(String, String)>, Fault> {
        let expand =
            |pair: &Pair| Ok((self.word(state, &pair.name, lines)?, self.word(state, &pair.value, lines)?));
        pairs.iter().map(expand).collect()
    }

    fn instruct(&mut self, state: &mut State, instruction: &Instruction) -> Result<(), Failure<B::Error>> {
        let lines = instruction.place.lines;
        match &instruction.kind {
            Kind::Add(copy) => self.copy(state, instruction, copy, true)?,
            Kind::Copy(copy) => self.copy(state, instruction, copy, false)?,
            Kind::Run(run) => self.run(state, instruction, run)?,
            Kind::Workdir(word) => {
                let dir = self.word(state, word, lines)?;
                self.workdir(state, &dir, instruction);
            }
            Kind::Arg(pairs) => self.arg(state, pairs, lines)?,
            Kind::Env(pairs) => {
                let mut said = "ENV".to_owned();
                for (name, value) in self.pairs(state, pairs, lines)? {
                    said.push_str(&format!(" {name}={value}"));
                    state.env.set(&name, &value);
                    let mut image = Env::default();
                    for variable in &state.config.config.env {
                        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                        image.set(name, value);
                    }
                    image.set(&name, &value);
                    state.config.config.env = image.lines();
                }
                state.commit(said, None);
            }
            Kind::Label(pairs) => {
                let mut said = "LABEL".to_owned();
                for (name, value) in self.pairs(state, pairs, lines)? {
                    said.push_str(&format!(" {name}={value}"));
                    state.config.config.labels.insert(name, value);
                }
                state.commit(said, None);
            }
            Kind::Cmd(command) => {
                let args = program(state, command);
                state.commit(format!("CMD {}", go::quoted_list(&args)), None);
                state.config.config.cmd = Some(args);
                state.config.config.args_escaped = true;
                state.has_cmd = true;
            }
            Kind::Entrypoint(command) => {
                let args = program(state, command);
                state.commit(format!("ENTRYPOINT {}", go::quoted_list(&args)), None);
                state.config.config.entrypoint = Some(args);
                if !state.has_cmd {
                    state.config.config.cmd = None;
                }
            }
            Kind::Healthcheck(check) => {
                let nanoseconds =
                    |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
                let check = Healthcheck {
                    test: check.test.clone(),
                    interval: nanoseconds(check.interval),
                    timeout: nanoseconds(check.timeout),
                    start_period: nanoseconds(check.start_period),
                    start_interval: nanoseconds(check.start_interval),
                    retries: i64::from(check.retries),
                };
                state.commit(format!("HEALTHCHECK {}", go::healthcheck(&check)), None);
                state.config.config.healthcheck = Some(check);
            }
            Kind::Expose(words) => self.expose(state, words, lines)?,
            Kind::User(word) => {
                let user = self.word(state, word, lines)?;
                state.commit(format!("USER {user}"), None);
                state.config.config.user = user;
            }
            Kind::Volume(words) => {
                let mut volumes = Vec::new();
                for word in words {
                    let volume = self.word(state, word, lines)?;
                    if volume.is_empty() {
                        return Err(fault("VOLUME specified can not be an empty string", lines).into());
                    }
                    volumes.push(volume);
                }
                state.commit(format!("VOLUME [{}]", volumes.join(" ")), None);
                let known = &mut state.config.config.volumes;
                known.extend(volumes);
                known.sort();
                known.dedup();
            }
            Kind::StopSignal(word) => {
                let signal = self.word(state, word, lines)?;
                if types::signal::parse(&signal).is_none() {
                    return Err(fault(format!("invalid signal: {signal}"), lines).into());
                }
                state.commit(format!("STOPSIGNAL {signal}"), None);
                state.config.config.stop_signal = signal;
            }
            Kind::Shell(words) => {
                state.commit(format!("SHELL [{}]", words.join(" ")), None);
                state.config.config.shell.clone_from(words);
            }
            Kind::Maintainer(name) => {
                state.commit(format!("MAINTAINER {name}"), None);
                state.config.author = Some(name.text.clone());
            }
            Kind::Onbuild(onbuild) => state.config.config.on_build.push(onbuild.trigger.clone()),
        }
        Ok(())
    }

    fn workdir(&mut self, state: &mut State, dir: &str, instruction: &Instruction) {
        let keeps_slash = dir.ends_with('/');
        let mut dir = path::join(state.working_dir(), dir);
        if keeps_slash && dir != "/" {
            dir.push('/');
        }
        state.config.config.working_dir.clone_from(&dir);
        let said = format!("WORKDIR {dir}");
        if dir == "/" {
            // It's counted among the steps, and shows none.
            state.commit(said, None);
            return;
        }
        let shown = self.shown_text(&self.lexer, state, &instruction.code);
        let at = self.at(state, &shown, instruction.place.lines);
        let op = Op::MakeDirectory { path: dir, owner: state.config.config.user.clone() };
        let step = self.add_op(op, vec![state.tree], at);
        state.tree = step;
        state.commit(said, Some(step));
    }

    fn arg(&mut self, state: &mut State, pairs: &[ArgPair], lines: Lines) -> Result<(), Fault> {
        let mut said = Vec::new();
        for pair in pairs {
            let name = pair.name.text.clone();
            let value = match (self.options.build_args.get(&name), &pair.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(state, default, lines)?),
                (None, None) => self.globals.get(&name).map(str::to_owned),
            };
            said.push(match &value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            });
            if let Some(value) = &value
                && !NON_ENV_ARGS.contains(&name.as_str())
            {
                state.env.set(&name, value);
            }
            state.args.push((name, value));
        }
        state.commit(format!("ARG {}", said.join(" ")), None);
        Ok(())
    }

    fn expose(&mut self, state: &mut State, words: &[Word], lines: Lines) -> Result<(), Fault> {
        let mut ports = Vec::new();
        for word in words {
            let expansion = self.lexer.expand(word, &state.env).map_err(|e| fault(e.to_string(), lines))?;
            for word in expansion.words {
                ports.extend(expose::parse(&word).map_err(|message| fault(message, lines))?.ports);
            }
        }
        state.commit(format!("EXPOSE [{}]", ports.join(" ")), None);
        let known = &mut state.config.config.exposed_ports;
        known.extend(ports);
        known.sort();
        known.dedup();
        Ok(())
    }
}

/// Whether an instruction is counted among a stage's steps.
fn is_step(instruction: &&Instruction) -> bool {
    matches!(instruction.kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
}

fn program(state: &State, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(args) => args.clone(),
        Command::Shell(line) => state.with_shell(line),
    }
}

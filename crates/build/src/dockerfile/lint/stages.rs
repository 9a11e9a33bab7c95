//! Checks that need to know what a stage's variables are when an instruction is reached.

use super::rules;
use super::{Base, Checker, Target};
use crate::dockerfile::ast::{ArgPair, Command, Copy, Instruction, Kind, Stage};
use crate::dockerfile::error::SyntaxError;
use crate::dockerfile::expand::Lexer;
use crate::dockerfile::source::{Place, Span, Word};
use crate::dockerfile::{expose, glob, suggest};
use std::collections::{BTreeMap, BTreeSet};

/// Arguments that never become variables, and that may be named without being declared.
const NOT_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Words that make a name one of a secret.
const SECRET_WORDS: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// Words that make it none after all.
const PUBLIC_WORDS: [&str; 3] = ["public", "file", "version"];

/// What a stage is like at an instruction.
#[derive(Debug, Clone, Default)]
struct State {
    variables: BTreeMap<String, String>,
    /// Whether there may be more variables: the base isn't known.
    has_more: bool,
    /// Names of the declared arguments.
    declared: Vec<String>,
    has_shell: bool,
    has_workdir: bool,
    /// Where `CMD`, `ENTRYPOINT` and `HEALTHCHECK` stood last.
    last: BTreeMap<&'static str, Place>,
}

pub(super) fn check(checker: &mut Checker<'_>, globals: &BTreeMap<String, String>) {
    let stages = &checker.subject.file.stages;
    let needed = needed(checker, globals);
    let mut states: Vec<State> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let mut state = base_state(checker, globals, stage, &states);
        if needed.contains(&index) {
            for instruction in &stage.instructions {
                checker.obey(&instruction.comments);
                Walk { checker, globals, state: &mut state, instruction }.check();
            }
        }
        states.push(state);
    }
}

/// The stage that a base names: the last of that name before `before`.
fn stage_named(stages: &[Stage], name: &str, before: usize) -> Option<usize> {
    (0..before).rev().find(|index| stages[*index].name == name && !name.is_empty())
}

fn base_state(
    checker: &Checker<'_>,
    globals: &BTreeMap<String, String>,
    stage: &Stage,
    before: &[State],
) -> State {
    let stages = &checker.subject.file.stages;
    let Ok(base) = checker.lexer().word(&stage.base, globals) else { return State::default() };
    if let Some(index) = stage_named(stages, &base, before.len()) {
        return State { last: BTreeMap::new(), ..before[index].clone() };
    }
    let known = match &base[..] {
        "scratch" => Some(Base::default()),
        base => (checker.subject.base)(base),
    };
    let has_more = known.is_none();
    let Base { env, has_shell } = known.unwrap_or_default();
    let pairs = env.iter().filter_map(|pair| pair.split_once('='));
    let mut variables: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.entry("PATH".to_owned()).or_default();
    State { variables, has_more, has_shell, ..State::default() }
}

/// The stages that the target needs.
fn needed(checker: &Checker<'_>, globals: &BTreeMap<String, String>) -> BTreeSet<usize> {
    let stages = &checker.subject.file.stages;
    let by_name = |name: &str| stage_named(stages, &name.to_lowercase(), stages.len());
    let target = match checker.subject.target {
        Target::All => return (0..stages.len()).collect(),
        Target::Last => stages.len().checked_sub(1),
        Target::Named(name) => by_name(name),
    };
    let mut open: Vec<usize> = target.into_iter().collect();
    let mut needed = BTreeSet::new();
    while let Some(index) = open.pop() {
        if !needed.insert(index) {
            continue;
        }
        let base = checker.lexer().word(&stages[index].base, globals).unwrap_or_default();
        open.extend(stage_named(stages, &base, index));
        let mut from = |name: &str| match name.parse::<usize>() {
            Ok(number) if number < stages.len() => open.push(number),
            _ => open.extend(by_name(name)),
        };
        for instruction in &stages[index].instructions {
            match &instruction.kind {
                Kind::Copy(copy) => copy.from.iter().for_each(|word| from(word)),
                Kind::Run(run) => run.mounts.iter().filter_map(|mount| mount.from()).for_each(&mut from),
                _ => {}
            }
        }
    }
    needed
}

struct Walk<'a, 'b, 'c> {
    checker: &'a mut Checker<'b>,
    globals: &'a BTreeMap<String, String>,
    state: &'a mut State,
    instruction: &'c Instruction,
}

impl Walk<'_, '_, '_> {
    fn warn(&mut self, rule: &'static rules::Rule, detail: String) {
        self.checker.warn(rule, self.instruction.place, detail);
    }

    fn fail(&mut self, message: String, hint: Option<String>, span: Span) {
        let place = Place { span, ..self.instruction.place };
        self.checker.report.errors.push(SyntaxError { message, hint, place });
    }

    /// Expands a word; what isn't set is warned of.
    fn expand_by(&mut self, lexer: Lexer, text: &str, span: Span) -> Option<String> {
        let (text, unset) = match lexer.expand(text, &self.state.variables) {
            Ok(expansion) => (Some(expansion.text), expansion.unset),
            Err(error) => {
                self.fail(error.to_string(), None, span);
                (None, error.unset)
            }
        };
        for name in &unset {
            let is_known = self.state.has_more
                || self.state.declared.contains(name)
                || NOT_VARIABLES.contains(&&name[..]);
            if !is_known {
                let near = suggest::nearest(name, self.state.variables.keys().map(String::as_str));
                let near = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
                self.warn(&rules::UNDEFINED_VAR, format!("Usage of undefined variable '${name}'{near}"));
            }
        }
        text
    }

    fn expand(&mut self, word: &Word) -> Option<String> {
        self.expand_by(self.checker.lexer(), &word.text, word.span)
    }

    fn check(&mut self) {
        let instruction = self.instruction;
        match &instruction.kind {
            Kind::Add(copy) => self.copy(copy, "Add"),
            Kind::Copy(copy) => self.copy(copy, "Copy"),
            Kind::Arg(pairs) => pairs.iter().for_each(|pair| self.arg(pair)),
            Kind::Env(pairs) => {
                let expanded: Vec<_> = pairs
                    .iter()
                    .map(|pair| (self.expand(&pair.name), self.expand(&pair.value), pair))
                    .collect();
                for (name, value, pair) in expanded {
                    let (Some(name), Some(value)) = (name, value) else { continue };
                    self.legacy(pair.is_legacy);
                    self.secret("ENV", &name);
                    self.state.variables.insert(name, value);
                }
            }
            Kind::Label(pairs) => {
                for pair in pairs {
                    self.expand(&pair.name);
                    self.expand(&pair.value);
                }
                pairs.iter().for_each(|pair| self.legacy(pair.is_legacy));
            }
            Kind::Cmd(command) => {
                self.once("CMD");
                self.json(command);
            }
            Kind::Entrypoint(command) => {
                self.once("ENTRYPOINT");
                self.json(command);
            }
            Kind::Healthcheck(_) => self.once("HEALTHCHECK"),
            Kind::Expose(words) => words.iter().for_each(|word| self.expose(word)),
            Kind::Run(run) => {
                for flag in &run.mounts {
                    // Warnings first: an error of one value hides the others.
                    let mut values = Vec::new();
                    let mount = flag.evaluate(|value| {
                        values.push(value.to_owned());
                        self.checker.lexer().word(value, &self.state.variables)
                    });
                    for value in values {
                        self.expand(&Word { text: value, span: flag.word.span });
                    }
                    if let Err(error) = mount {
                        self.fail(error.message, error.hint, flag.word.span);
                    }
                }
            }
            Kind::Shell(_) => self.state.has_shell = true,
            Kind::StopSignal(word) | Kind::User(word) => drop(self.expand(word)),
            Kind::Volume(words) => words.iter().for_each(|word| drop(self.expand(word))),
            Kind::Workdir(word) => {
                let path = self.expand(word).unwrap_or_default();
                if !self.state.has_workdir && !path.starts_with('/') {
                    let detail = format!(
                        "Relative workdir {path:?} can have unexpected results if the base image changes"
                    );
                    self.warn(&rules::WORKDIR_RELATIVE_PATH, detail);
                }
                self.state.has_workdir = true;
            }
            Kind::Maintainer(_) | Kind::Onbuild(_) => {}
        }
    }

    fn legacy(&mut self, is_legacy: bool) {
        if is_legacy {
            let name = &self.instruction.keyword;
            let detail =
                format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            self.warn(&rules::LEGACY_KEY_VALUE_FORMAT, detail);
        }
    }

    fn secret(&mut self, instruction: &str, name: &str) {
        if is_secret(name) {
            let detail =
                format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
            self.warn(&rules::SECRETS_USED_IN_ARG_OR_ENV, detail);
        }
    }

    /// Of instructions of which only the last counts, those before are warned of.
    fn once(&mut self, name: &'static str) {
        if let Some(place) = self.state.last.insert(name, self.instruction.place) {
            let keyword = &self.instruction.keyword;
            let detail = format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            );
            self.checker.warn(&rules::MULTIPLE_INSTRUCTIONS_DISALLOWED, place, detail);
        }
    }

    fn json(&mut self, command: &Command) {
        if matches!(command, Command::Shell(_)) && !self.state.has_shell {
            let detail = format!(
                "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                self.instruction.keyword
            );
            self.warn(&rules::JSON_ARGS_RECOMMENDED, detail);
        }
    }

    fn arg(&mut self, pair: &ArgPair) {
        let name = &pair.name.text;
        self.secret("ARG", name);
        let value = match (self.checker.subject.build_args.get(name), &pair.value) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => self.expand(default),
            (None, None) => self.globals.get(name).cloned(),
        };
        if let Some(value) = value.filter(|_| !NOT_VARIABLES.contains(&&name[..])) {
            self.state.variables.insert(name.clone(), value);
        }
        self.state.declared.push(name.clone());
    }

    fn expose(&mut self, word: &Word) {
        // Variables that aren't set aren't warned of here, as BuildKit doesn't.
        let ports = match self.checker.lexer().expand(&word.text, &self.state.variables) {
            Ok(expansion) => expansion.words,
            Err(error) => return self.fail(error.to_string(), None, word.span),
        };
        for port in ports {
            match expose::parse(&port) {
                Ok(exposed) => {
                    if exposed.has_odd_protocol {
                        let detail =
                            format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                        self.warn(&rules::EXPOSE_PROTO_CASING, detail);
                    }
                    if exposed.has_host {
                        let detail = format!(
                            "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                        );
                        self.warn(&rules::EXPOSE_INVALID_FORMAT, detail);
                    }
                }
                Err(message) => self.fail(message, None, word.span),
            }
        }
    }

    fn copy(&mut self, copy: &Copy, verb: &str) {
        for word in [&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten().chain(&copy.excludes) {
            self.expand(word);
        }
        let sources: Vec<_> = copy.sources.iter().map(|source| self.expand(source)).collect();
        self.expand(&copy.dest);
        for heredoc in copy.heredocs.iter().filter(|heredoc| heredoc.is_expanded) {
            self.expand_by(Lexer::for_heredocs(), &heredoc.text(), heredoc.span);
        }
        // Exceptions are too difficult to judge by the patterns alone.
        let is_context = copy.from.is_none();
        let Some(matcher) =
            self.checker.subject.ignored.filter(|matcher| is_context && !matcher.has_exceptions())
        else {
            return;
        };
        for source in sources.into_iter().flatten() {
            let is_url = source.starts_with("http://") || source.starts_with("https://");
            let path = glob::clean(&source);
            let is_root = path == "." || path == "/";
            let is_ignored = matcher.matches_or_parent(&path) && (!is_root || matcher.ignores_all());
            if is_ignored && !is_url {
                let detail = format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
                self.warn(&rules::COPY_IGNORED_FILE, detail);
            }
        }
    }
}

/// Whether a name is one of a secret: a word of it, between underscores, says so.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    has(&SECRET_WORDS) && !has(&PUBLIC_WORDS)
}

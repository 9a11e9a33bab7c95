//! Build checks: what is allowed in a Dockerfile, but likely not meant.
//!
//! The checks and their order are BuildKit's: first those of single instructions and of names, then stages are gone through
//! with the variables that they would have. Source: BuildKit's dockerfile2llb, validations.go and convert.go.

mod options;
mod report;
pub mod rules;
mod stages;

pub use options::{InvalidOptions, Options};
pub use report::{Report, Warning};

use super::ast::{ArgPair, Dockerfile, Instruction, Kind, Stage};
use super::expand::{Expansion, Lexer};
use super::ignore::Matcher;
use super::source::{Lines, Place};
use super::suggest;
use rules::Rule;
use std::collections::BTreeMap;

/// What is known of an image that a stage is based on.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// `NAME=value`
    pub env: Vec<String>,
    /// Whether it has a `SHELL`.
    pub has_shell: bool,
}

/// What is checked, and with which arguments.
pub struct Subject<'a> {
    /// The file.
    pub file: &'a Dockerfile,
    /// Which checks are made.
    pub options: &'a Options,
    /// `--build-arg`
    pub build_args: &'a BTreeMap<String, String>,
    /// The arguments that are there without being declared: `TARGETPLATFORM` and its like.
    pub predefined: &'a BTreeMap<String, String>,
    /// Whose stages are checked.
    pub target: Target<'a>,
    /// What of the context is left out.
    pub ignored: Option<&'a Matcher>,
    /// Tells of an image by its name; `None` if it isn't known, then no variable is said to be undefined.
    pub base: &'a dyn Fn(&str) -> Option<Base>,
}

/// Which stages are checked, by what is to be made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// All: a check without a target.
    All,
    /// What the last stage needs: a build without a target.
    Last,
    /// What the stage of that name needs.
    Named(&'a str),
}

/// Names that no stage should have.
const RESERVED_NAMES: [&str; 2] = ["context", "scratch"];

/// Checks a file.
pub fn check(subject: &Subject<'_>) -> Report {
    let mut checker = Checker { subject, report: Report::default(), options: subject.options.clone() };
    let file = subject.file;
    for line in &file.empty_continuations {
        let lines = Lines { first: *line, last: *line };
        let place = Place { lines, ..Place::default() };
        checker.warn(&rules::NO_EMPTY_CONTINUATION, place, "Empty continuation line");
    }
    file.global_args.iter().for_each(|instruction| checker.instruction(instruction));
    for stage in &file.stages {
        checker.from(stage);
        stage.instructions.iter().for_each(|instruction| checker.instruction(instruction));
    }
    checker.options = subject.options.clone();
    checker.names();
    checker.casing();
    checker.default_bases();
    let globals = checker.global_args(Some(subject.build_args));
    checker.bases(&globals);
    stages::check(&mut checker, &globals.values);
    checker.report
}

/// The global arguments.
struct Globals {
    /// Those with a value, the predefined included.
    values: BTreeMap<String, String>,
    /// All that are declared.
    declared: Vec<String>,
}

struct Checker<'a> {
    subject: &'a Subject<'a>,
    report: Report,
    /// Those for the instruction that is looked at.
    options: Options,
}

impl Checker<'_> {
    fn warn(&mut self, rule: &'static Rule, place: Place, detail: impl Into<String>) {
        if self.options.checks(rule) {
            self.report.warnings.push(Warning { rule, detail: detail.into(), place });
        }
    }

    /// From here on, what the comments before an instruction skip is skipped.
    fn obey(&mut self, comments: &[String]) {
        self.options = self.subject.options.with_comments(comments);
    }

    fn lexer(&self) -> Lexer {
        Lexer::new(self.subject.file.escape)
    }

    /// Checks of one instruction that need nothing else.
    fn instruction(&mut self, instruction: &Instruction) {
        self.obey(&instruction.comments);
        match &instruction.kind {
            Kind::Maintainer(_) => {
                let detail = "Maintainer instruction is deprecated in favor of using label";
                self.warn(&rules::MAINTAINER_DEPRECATED, instruction.place, detail);
            }
            Kind::Arg(pairs) => {
                let names: Vec<&str> = pairs.iter().map(|pair| &pair.name.text[..]).collect();
                self.description("ARG", &names, &instruction.comments, instruction.place);
            }
            _ => {}
        }
    }

    fn from(&mut self, stage: &Stage) {
        self.obey(&stage.comments);
        let Some((keyword, name)) = &stage.alias else { return };
        if name.text != name.to_lowercase() {
            let detail = format!("Stage name '{name}' should be lowercase");
            self.warn(&rules::STAGE_NAME_CASING, stage.place, detail);
        }
        let from = &stage.keyword.text;
        let is_same = match (*from == from.to_lowercase(), *from == from.to_uppercase()) {
            (true, _) => keyword.text == keyword.to_lowercase(),
            (_, true) => keyword.text == keyword.to_uppercase(),
            // That is another rule's.
            _ => true,
        };
        if !is_same {
            let detail = format!("'{keyword}' and '{from}' keywords' casing do not match");
            self.warn(&rules::FROM_AS_CASING, stage.place, detail);
        }
        self.description("FROM", &[&stage.name], &stage.comments, stage.place);
    }

    fn description(&mut self, instruction: &str, names: &[&str], comments: &[String], place: Place) {
        let Some(comment) = comments.last() else { return };
        let first = comment.split(' ').next().unwrap_or_default();
        if names.contains(&first) {
            return;
        }
        let name = if let [name] = names { name } else { "<arg_key>" };
        let detail = format!("Comment for {instruction} should follow the format: `# {name} <description>`");
        self.warn(&rules::INVALID_DEFINITION_DESCRIPTION, place, detail);
    }

    fn names(&mut self) {
        let mut known: Vec<&str> = Vec::new();
        for stage in self.subject.file.stages.iter().filter(|stage| !stage.name.is_empty()) {
            let name = &stage.name[..];
            if RESERVED_NAMES.contains(&name) {
                let detail = format!("Stage name should not use the same name as reserved stage {name:?}");
                self.warn(&rules::RESERVED_STAGE_NAME, stage.place, detail);
            }
            if known.contains(&name) {
                let detail = format!("Duplicate stage name {name:?}, stage names should be unique");
                self.warn(&rules::DUPLICATE_STAGE_NAME, stage.place, detail);
            }
            known.push(name);
        }
    }

    /// Whether all instructions of stages are written the same way.
    fn casing(&mut self) {
        let stages = &self.subject.file.stages;
        let keywords = stages.iter().flat_map(|stage| {
            let inner =
                stage.instructions.iter().map(|inner| (&inner.keyword.text, inner.place, &inner.comments));
            std::iter::once((&stage.keyword.text, stage.place, &stage.comments)).chain(inner)
        });
        let keywords: Vec<_> = keywords.collect();
        let count = |is: fn(&str) -> bool| keywords.iter().filter(|(keyword, ..)| is(keyword)).count();
        let lower = count(|keyword| keyword == keyword.to_lowercase());
        let is_lower = lower > count(|keyword| keyword == keyword.to_uppercase());
        for (keyword, place, comments) in keywords {
            let (right, name) = match is_lower {
                true => (keyword.to_lowercase(), "lowercase"),
                false => (keyword.to_uppercase(), "uppercase"),
            };
            if *keyword != right {
                self.obey(comments);
                let detail =
                    format!("Command '{keyword}' should match the case of the command majority ({name})");
                self.warn(&rules::CONSISTENT_INSTRUCTION_CASING, place, detail);
            }
        }
    }

    /// The global arguments with their values, by `build_args` or by default.
    fn global_args(&self, build_args: Option<&BTreeMap<String, String>>) -> Globals {
        let mut values = self.subject.predefined.clone();
        let mut declared = Vec::new();
        for instruction in &self.subject.file.global_args {
            let Kind::Arg(pairs) = &instruction.kind else { continue };
            for ArgPair { name, value } in pairs {
                declared.push(name.text.clone());
                let given = build_args.and_then(|given| given.get(&name.text)).cloned();
                let default = || self.lexer().word(value.as_ref()?, &values).ok();
                if let Some(value) = given.or_else(default) {
                    values.insert(name.text.clone(), value);
                }
            }
        }
        Globals { values, declared }
    }

    /// Whether bases are images without any build argument.
    fn default_bases(&mut self) {
        let globals = self.global_args(None);
        for stage in &self.subject.file.stages {
            self.obey(&stage.comments);
            let Ok(base) = self.lexer().word(&stage.base, &globals.values) else { return };
            if types::reference::Reference::parse(&base).is_err() {
                let detail = format!(
                    "Default value for ARG {} results in empty or invalid base image name",
                    stage.base
                );
                self.warn(&rules::INVALID_DEFAULT_ARG_IN_FROM, stage.place, detail);
            }
        }
    }

    /// The variables in `FROM`.
    fn bases(&mut self, globals: &Globals) {
        for stage in &self.subject.file.stages {
            self.obey(&stage.comments);
            if let Ok(expansion) = self.lexer().expand(&stage.base, &globals.values) {
                self.undeclared(&expansion, globals, stage);
            }
            let Some(platform) = &stage.platform else { continue };
            let Ok(expansion) = self.lexer().expand(platform, &globals.values) else { continue };
            self.undeclared(&expansion, globals, stage);
            let is_target = expansion.used.iter().eq(["TARGETPLATFORM"]) && expansion.unset.is_empty();
            if is_target && globals.values.get("TARGETPLATFORM") == Some(&expansion.text) {
                let detail = format!(
                    "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
                );
                self.warn(&rules::REDUNDANT_TARGET_PLATFORM, stage.place, detail);
            }
            if expansion.used.is_empty() && expansion.unset.is_empty() {
                self.constant_platform(stage, &expansion.text);
            }
        }
    }

    fn undeclared(&mut self, expansion: &Expansion, globals: &Globals, stage: &Stage) {
        let names = || globals.declared.iter().chain(globals.values.keys()).map(String::as_str);
        for name in expansion.unset.iter().filter(|name| !names().any(|known| known == *name)) {
            let near = suggest::nearest(name, names());
            let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let detail = format!("FROM argument '{name}' is not declared{near}");
            self.warn(&rules::UNDEFINED_ARG_IN_FROM, stage.place, detail);
        }
    }

    /// A platform that is written out, unless the stage's name says that it's meant.
    fn constant_platform(&mut self, stage: &Stage, text: &str) {
        let host = types::image::platform::Platform::linux(std::env::consts::ARCH, "");
        let Ok(platform) = types::image::platform::Platform::parse(text, &host) else { return };
        let is_named = stage.name.contains(&platform.os) || stage.name.contains(&platform.architecture);
        if !is_named {
            let detail = format!("FROM --platform flag should not use constant value {text:?}");
            self.warn(&rules::FROM_PLATFORM_FLAG_CONST_DISALLOWED, stage.place, detail);
        }
    }
}

#[cfg(test)]
mod tests;

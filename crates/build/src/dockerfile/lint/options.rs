//! Which checks are made: `# check=skip=Rule,Rule;error=true;experimental=all`.

use super::rules::Rule;
use crate::dockerfile::ast::Dockerfile;
use std::collections::BTreeSet;

/// Some rules by name, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    all: bool,
    names: BTreeSet<String>,
}

impl Rules {
    fn parse(text: &str) -> Rules {
        match text.trim() {
            "all" => Rules { all: true, names: BTreeSet::new() },
            text => Rules { all: false, names: text.split(',').map(|name| name.trim().to_owned()).collect() },
        }
    }

    fn has(&self, rule: &Rule) -> bool {
        self.all || self.names.contains(rule.name)
    }

    fn add(&mut self, other: Rules) {
        self.all |= other.all;
        self.names.extend(other.names);
    }
}

/// Which checks are made, and whether a warning fails the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    skipped: Rules,
    experimental: Rules,
    /// Whether warnings are errors.
    pub is_error: bool,
}

/// An option of checks that there isn't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse check options: {reason}")]
pub struct InvalidOptions {
    reason: String,
}

impl Options {
    /// Reads what `# check=` or the build argument BUILDKIT_DOCKERFILE_CHECK says.
    ///
    /// Errors: an unknown option, one without a value.
    pub fn parse(text: &str) -> Result<Options, InvalidOptions> {
        let mut options = Options::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for part in text.trim().splitn(3, ';') {
            let invalid = |part: &str| InvalidOptions { reason: format!("invalid check option {part:?}") };
            let (name, value) = part.split_once('=').ok_or_else(|| invalid(part))?;
            match name.trim() {
                "skip" => options.skipped = Rules::parse(value),
                "experimental" => options.experimental = Rules::parse(value),
                "error" => {
                    options.is_error = match value.trim() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => {
                            let reason =
                                format!("failed to parse check option {part:?}: {value:?} is no truth value");
                            return Err(InvalidOptions { reason });
                        }
                    };
                }
                name => return Err(invalid(name)),
            }
        }
        Ok(options)
    }

    /// What counts for a file: `argument`, which is BUILDKIT_DOCKERFILE_CHECK's value, or its directive.
    ///
    /// Errors: as [`Options::parse`].
    pub fn of(file: &Dockerfile, argument: Option<&str>) -> Result<Options, InvalidOptions> {
        let directive = file.check.as_ref().map(|check| check.value.split(' ').next().unwrap_or_default());
        Options::parse(argument.filter(|text| !text.is_empty()).or(directive).unwrap_or_default())
    }

    /// These, and what a comment before an instruction skips (`# check=skip=Rule`).
    pub(super) fn with_comments(&self, comments: &[String]) -> Options {
        let value = |comment: &String| {
            let (name, value) = comment.split_once('=')?;
            let value = value.trim().split(' ').next().unwrap_or_default();
            name.trim_end().eq_ignore_ascii_case("check").then(|| Options::parse(value).ok())?
        };
        let mut options = self.clone();
        if let Some(other) = comments.iter().find_map(value) {
            options.skipped.add(other.skipped);
            options.experimental.add(other.experimental);
        }
        options
    }

    /// Whether a rule is checked.
    pub fn checks(&self, rule: &Rule) -> bool {
        match rule.is_experimental {
            true => self.experimental.has(rule),
            false => !self.skipped.has(rule),
        }
    }
}

//! What checks found, and how it's printed.

use super::rules::Rule;
use crate::dockerfile::error::SyntaxError;
use crate::dockerfile::excerpt;
use crate::dockerfile::source::{Lines, Place};
use base64::Engine;
use serde_json::{Value, json};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule that isn't kept.
    pub rule: &'static Rule,
    /// How.
    pub detail: String,
    /// Where.
    pub place: Place,
}

impl Warning {
    /// As a progress display shows it in one line.
    pub fn short(&self) -> String {
        format!("{}: {} (line {})", self.rule.name, self.detail, self.place.lines.first)
    }
}

/// All findings, in BuildKit's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The warnings.
    pub warnings: Vec<Warning>,
    /// What would make the build fail before anything runs.
    pub errors: Vec<SyntaxError>,
}

impl Report {
    /// What `check=error=true` fails with, if there are warnings.
    pub fn violation(&self) -> Option<String> {
        let mut names: Vec<&str> = Vec::new();
        for warning in &self.warnings {
            if !names.contains(&warning.rule.name) {
                names.push(warning.rule.name);
            }
        }
        (!names.is_empty()).then(|| format!("lint violation found for rules: {}", names.join(", ")))
    }

    /// The head of what `--check` prints.
    pub fn summary(&self) -> String {
        match self.warnings.len() {
            0 => "Check complete, no warnings found.".to_owned(),
            1 => "Check complete, 1 warning has been found!".to_owned(),
            count => format!("Check complete, {count} warnings have been found!"),
        }
    }

    /// The findings as `--check` prints them, sorted by line; `name` is the Dockerfile's and `text` its content.
    pub fn text(&self, name: &str, text: &str) -> String {
        let mut warnings: Vec<&Warning> = self.warnings.iter().collect();
        warnings.sort_by_key(|warning| warning.place.lines.first);
        let mut printed = String::new();
        for Warning { rule, detail, place } in warnings {
            printed.push_str(&format!("\nWARNING: {}", rule.name));
            let url = rule.url();
            if !url.is_empty() {
                printed.push_str(&format!(" - {url}"));
            }
            printed.push_str(&format!(
                "\n{}\n{}",
                types::inert::inert(detail),
                excerpt::lines(name, text, place.lines)
            ));
        }
        for error in &self.errors {
            printed.push_str(&format!("\nERROR: {error}\n{}", excerpt::excerpt(name, text, error.place)));
        }
        printed
    }

    /// The findings as `--call=check,format=json` prints them.
    pub fn json(&self, name: &str, text: &str) -> Value {
        let location =
            |lines: Lines| json!({"ranges": [{"start": {"line": lines.first}, "end": {"line": lines.last}}]});
        let warning = |Warning { rule, detail, place }: &Warning| {
            let mut value = json!({"ruleName": rule.name, "description": rule.description});
            if !rule.url().is_empty() {
                value["url"] = rule.url().into();
            }
            value["detail"] = detail.as_str().into();
            value["location"] = location(place.lines);
            value
        };
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let mut value = json!({
            "warnings": self.warnings.iter().map(warning).collect::<Vec<_>>(),
            "sources": [{"filename": name, "data": data, "language": "Dockerfile"}],
        });
        if let Some(error) = self.errors.first() {
            value["buildError"] =
                json!({"message": error.to_string(), "location": location(error.place.lines)});
        }
        value
    }
}

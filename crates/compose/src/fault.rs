//! What is wrong with a compose file: each fault with its file, line and a caret, all of them at once.

use std::fmt::Write as _;

use crate::node::{Mark, Node};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong: lower case, no full stop, with the path of the attribute.
    pub message: String,
    /// Where; line 0 if nowhere in particular.
    pub at: Mark,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault at a place.
    pub fn at(at: Mark, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at, hint: None }
    }

    /// A fault of the value of a node.
    pub fn of(node: &Node, message: impl Into<String>) -> Fault {
        Fault::at(if node.at.line > 0 { node.at } else { node.key }, message)
    }

    /// A fault that stands nowhere.
    pub fn nowhere(message: impl Into<String>) -> Fault {
        Fault::at(Mark::default(), message)
    }

    /// The fault with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Fault {
        Fault { hint: Some(hint.into()), ..self }
    }
}

/// A file that was read, for excerpts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceText {
    /// Its name as a reader knows it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// All faults that were found before the work stopped, and the texts that they are in. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The faults, in the order of files and lines.
    pub faults: Vec<Fault>,
    /// The files, as [`Mark::file`] counts them.
    pub sources: Vec<SourceText>,
}

impl Report {
    /// Sorts faults by place, and drops those that say the same of one place.
    pub fn new(mut faults: Vec<Fault>, sources: Vec<SourceText>) -> Report {
        faults.sort_by_key(|fault| (fault.at.file, fault.at.line, fault.at.column));
        faults.dedup_by(|a, b| a.message == b.message && a.at.line == b.at.line);
        Report { faults, sources }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            excerpt(&mut text, fault, self.sources.get(usize::from(fault.at.file)));
        }
        f.write_str(&text)
    }
}

/// `compose.yaml:3:5: message`, then the line with a caret under it and the hint.
fn excerpt(text: &mut String, fault: &Fault, source: Option<&SourceText>) {
    let Mark { line, column, width, .. } = fault.at;
    let source = source.filter(|_| line > 0);
    match source {
        Some(source) => _ = write!(text, "{}:{line}:{column}: {}", source.name, fault.message),
        None => text.push_str(&fault.message),
    }
    let shown = source.and_then(|source| source.text.lines().nth(line as usize - 1));
    // A line of a generated file may have megabytes.
    if let Some(shown) = shown.filter(|shown| shown.chars().count() <= 200) {
        let shown = shown.replace('\t', " ");
        let before = column.saturating_sub(1) as usize;
        let width = (width.max(1) as usize).min(shown.chars().count().saturating_sub(before).max(1));
        let caret = "^".repeat(width);
        _ = write!(text, "\n{line:>5} | {shown}\n      | {}{caret}", " ".repeat(before));
        if let Some(hint) = &fault.hint {
            _ = write!(text, " {hint}");
        }
    } else if let Some(hint) = &fault.hint {
        _ = write!(text, " ({hint})");
    }
}

/// Of `known`, the one that `word` was most likely meant to be. At most two letters differ, fewer in short words.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match word.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|other| (distance(word, other), other))
        .filter(|(distance, _)| (1..=most).contains(distance))
        .min()
        .map(|(_, other)| other)
}

/// How many letters have to be changed, added, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_with_its_line_and_a_caret() {
        let source =
            SourceText { name: "compose.yaml".into(), text: "services:\n  web:\n    imagee: x\n".into() };
        let at = Mark { file: 0, line: 3, column: 5, width: 6 };
        let fault = Fault::at(at, "services.web: unknown key \"imagee\"").hint("did you mean \"image\"?");
        let report = Report::new(vec![fault], vec![source]);
        assert_eq!(
            report.to_string(),
            "compose.yaml:3:5: services.web: unknown key \"imagee\"\n    3 |     imagee: x\n      |     ^^^^^^ did \
             you mean \"image\"?"
        );
    }

    #[test]
    fn near_words_are_proposed() {
        let known = ["image", "volumes", "networks", "init", "ipc"];
        assert_eq!(did_you_mean("iamge", known), Some("image"));
        assert_eq!(did_you_mean("volume", known), Some("volumes"));
        assert_eq!(did_you_mean("int", known), Some("init"));
        assert_eq!(did_you_mean("zzz", known), None);
        assert_eq!(did_you_mean("ip", known), None);
    }
}

//! Environment and labels: `-e`, `--env-file`, `-l`, `--label-file`.

use engine::request::EnvChange;

use crate::failure::BadValue;

/// Largest file of variables or labels.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file of `--env-file` or `--label-file`.
pub fn read_file(path: &str) -> Result<String, BadValue> {
    let size = std::fs::metadata(path).map_err(|error| BadValue::new(error_text(&error)))?.len();
    if size > FILE_BYTES_MAX {
        return Err(BadValue::new("the file is larger than 16 MiB"));
    }
    let bytes = std::fs::read(path).map_err(|error| BadValue::new(error_text(&error)))?;
    String::from_utf8(bytes).map_err(|_| BadValue::new("the file isn't UTF-8"))
}

/// The kernel's words for an error, without Rust's `(os error 2)`.
pub fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// `KEY=value` sets, `KEY` takes the caller's value or unsets.
pub fn variable(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Result<EnvChange, BadValue> {
    if text.contains('\0') {
        return Err("it contains a zero byte".into());
    }
    match text.split_once('=') {
        Some(("", _)) => Err("no variable name".into()),
        Some((key, value)) => Ok(EnvChange::Set(key.to_owned(), value.to_owned())),
        None if text.is_empty() => Err("no variable name".into()),
        None => Ok(match caller(text) {
            Some(value) => EnvChange::Set(text.to_owned(), value),
            None => EnvChange::Unset(text.to_owned()),
        }),
    }
}

/// The pairs of a file: a line each, `#` starts a comment line, values are taken as they are (no quotes). The value
/// is `None` for a bare key. Source: docker/cli pkg/kvfile.
pub fn pairs(text: &str) -> Result<Vec<(String, Option<String>)>, BadValue> {
    let mut pairs = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        let wrong = |what: &str| Err(BadValue::new(format!("line {}: {what}", at + 1)));
        if key.is_empty() {
            return wrong("no name before the =");
        }
        if key.contains(char::is_whitespace) {
            return wrong(&format!("name {key:?} contains white space"));
        }
        if line.contains('\0') {
            return wrong("it contains a zero byte");
        }
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

/// The changes of an `--env-file`; a bare key that the caller doesn't have is skipped, as docker does.
pub fn file_changes(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Result<Vec<EnvChange>, BadValue> {
    let change = |(key, value): (String, Option<String>)| {
        let value = value.or_else(|| caller(&key))?;
        Some(EnvChange::Set(key, value))
    };
    Ok(pairs(text)?.into_iter().filter_map(change).collect())
}

/// One label: `KEY=value`, or `KEY` with an empty value.
pub fn label(text: &str) -> Result<(String, String), BadValue> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key.trim() {
        "" => Err("no label name".into()),
        _ => Ok((key.to_owned(), value.to_owned())),
    }
}

/// An annotation: `KEY=VALUE`.
pub fn annotation(text: &str) -> Result<(String, String), BadValue> {
    label(text).map_err(|_| "no annotation name".into())
}

/// Adds labels; a later one replaces an earlier one of that name.
pub fn merge_labels(labels: &mut Vec<(String, String)>, more: impl IntoIterator<Item = (String, String)>) {
    for (key, value) in more {
        match labels.iter_mut().find(|(known, _)| *known == key) {
            Some(label) => label.1 = value,
            None => labels.push((key, value)),
        }
    }
}

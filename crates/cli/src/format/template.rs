//! `--format`: Go templates with docker's functions, `json`, and the `table` prefix.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};
use serde_json::Value as Json;

// By path, so that the fuzz target finds it as well.
#[path = "template/blocks.rs"]
mod blocks;

use super::table;
use crate::failure::Failure;

/// Most iterations of all `range`s of one template: a mistyped one ends.
const RANGE_ITERATIONS_MAX: u64 = 1_000_000;

/// What `--format` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON document a line.
    Json,
    /// Columns under a header, from a template.
    Table(String),
    /// A line from a template.
    Lines(String),
}

impl Format {
    /// Reads a `--format`, in which `\t` and `\n` stand for tab and newline; `default` is the template of `table`.
    pub fn parse(text: &str, default: &str) -> Format {
        let unescape = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
        match text.trim() {
            "json" | "{{json .}}" => Format::Json,
            "" | "table" => Format::Table(unescape(default)),
            trimmed => match trimmed.strip_prefix("table") {
                Some(rest) if rest.starts_with([' ', '\\', '\t', '{']) => {
                    let rest = unescape(rest.trim());
                    Format::Table(rest.trim_matches('\t').to_owned())
                }
                _ => Format::Lines(unescape(text)),
            },
        }
    }
}

impl Format {
    /// The format with `--quiet`, which a format of the user's own overrides: a line of `template` instead of columns.
    pub fn or_quiet(&self, quiet: bool, template: &str) -> Format {
        match (quiet, self) {
            (true, Format::Table(_)) => Format::Lines(template.to_owned()),
            _ => self.clone(),
        }
    }
}

/// Prints `rows`, made one by one, in each of which `header` has a title for every field.
///
/// Errors: a template that doesn't parse, or names a field that isn't there.
pub fn rows(
    format: &Format,
    header: &[(&str, &str)],
    rows: impl IntoIterator<Item = Json>,
) -> Result<String, Failure> {
    match format {
        Format::Json => Ok(rows.into_iter().map(|row| go_json(&json(&value(&row))) + "\n").collect()),
        Format::Lines(source) => {
            let template = compile(source)?;
            let mut text = String::new();
            for row in rows {
                text.push_str(&execute(&template, &row).map_err(|error| failed(&error))?);
                text.push('\n');
            }
            Ok(text)
        }
        Format::Table(source) => {
            let template = compile(source)?;
            let titles = header.iter().map(|(field, title)| ((*field).to_owned(), Json::from(*title)));
            let mut lines =
                vec![execute(&template, &Json::Object(titles.collect())).map_err(|error| failed(&error))?];
            for row in rows {
                lines.push(execute(&template, &row).map_err(|error| failed(&error))?);
            }
            Ok(table::align(&lines))
        }
    }
}

/// A row's JSON as Go writes it: with what HTML would act on escaped. Source: encoding/json, HTMLEscape.
fn go_json(document: &Json) -> String {
    // They stand in strings only.
    document.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Docker's status of an inspection whose template doesn't parse.
const BAD_TEMPLATE: u8 = 64;

/// One document through a template, without a newline.
pub fn one(source: &str, document: &Json) -> Result<String, Failure> {
    let template = compile(source).map_err(|failure| failure.code(BAD_TEMPLATE))?;
    execute(&template, document).map_err(|error| match error {
        // Go finds that out when it parses.
        TemplateError::UndefinedFunction(_) => failed(&error).code(BAD_TEMPLATE),
        error => failed(&error),
    })
}

fn failed(error: &TemplateError) -> Failure {
    let failure = Failure::new(format!("cannot format: {error}"));
    match error {
        TemplateError::MissingKey { .. } => failure.hint("--format json shows every field"),
        _ => failure.hint("write a Go template, as in '{{.ID}} {{.Names}}'"),
    }
}

/// A template, ready for many rows.
struct Compiled {
    template: Template,
    /// Its parts, if it only names fields, as most do: each text, and the field that follows it. Filling these in takes a
    /// tenth of what the template takes.
    plain: Option<Vec<(String, Option<String>)>>,
}

/// The parts of a template that only names fields.
fn plain(source: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}")?;
        let name = action.trim_matches(' ').strip_prefix('.')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        parts.push((text.to_owned(), Some(is_name.then_some(name)?.to_owned())));
        rest = after;
    }
    parts.push((rest.to_owned(), None));
    Some(parts)
}

/// The parts filled in; `None` where a field isn't there, or no text: what is to be said then the template knows.
fn fill(parts: &[(String, Option<String>)], document: &Json) -> Option<String> {
    let mut line = String::new();
    for (text, field) in parts {
        line.push_str(text);
        if let Some(field) = field {
            line.push_str(document.get(field)?.as_str()?);
        }
    }
    Some(line)
}

fn compile(source: &str) -> Result<Compiled, Failure> {
    let mut template = Template::new("").missing_key(MissingKey::Error).max_range_iters(RANGE_ITERATIONS_MAX);
    for (name, function) in FUNCTIONS {
        template = template.func(name, function);
    }
    // Docker's rows have one method; gotmpl calls functions only.
    let source = with_methods(source);
    blocks::check(&source).map_err(|error| failed(&TemplateError::Exec(error)))?;
    let template = template.parse(&source).map_err(|error| failed(&error))?;
    Ok(Compiled { template, plain: plain(&source) })
}

/// A template that calls a row's `Label` as a function; text beside actions stays as it is.
fn with_methods(source: &str) -> String {
    let mut parts = source.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (action, text) = part.split_at(part.find("}}").unwrap_or(part.len()));
        out.push_str("{{");
        out.push_str(&action.replace(".Label \"", "label .Label \""));
        out.push_str(text);
    }
    out
}

fn execute(compiled: &Compiled, document: &Json) -> Result<String, TemplateError> {
    if let Some(line) = compiled.plain.as_ref().and_then(|parts| fill(parts, document)) {
        return Ok(line);
    }
    compiled.template.execute_to_string(&value(document))
}

/// A JSON document as the template sees it.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Value::Int(signed),
            (None, Some(unsigned)) => Value::Uint(unsigned),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(fields) => {
            let pairs = fields.iter().map(|(key, field)| (Arc::from(key.as_str()), value(field)));
            Value::Map(Arc::new(pairs.collect::<BTreeMap<_, _>>()))
        }
    }
}

/// A template's value as JSON, without a row's `Label`, which docker doesn't show either.
fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(truth) => Json::from(*truth),
        Value::Int(number) => Json::from(*number),
        Value::Uint(number) => Json::from(*number),
        // Go writes no fraction where there is none.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < WHOLE_FLOAT_MAX => {
            Json::from(*number as i64)
        }
        Value::Float(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(fields) => {
            let shown = fields.iter().filter(|(key, _)| &***key != "Label");
            Json::Object(shown.map(|(key, field)| (key.to_string(), json(field))).collect())
        }
    }
}

/// Below it, a whole number with a fraction's type is one of 64 bits too.
const WHOLE_FLOAT_MAX: f64 = 9e18;

type Function = fn(&[Value]) -> Result<Value, TemplateError>;

/// Docker's template functions. Source: docker/cli templates/templates.go.
const FUNCTIONS: [(&str, Function); 10] = [
    ("label", |args| match (argument(args, 0)?, string(args, 1)?) {
        (Value::Map(labels), name) => Ok(labels.get(name).cloned().unwrap_or_else(|| text(String::new()))),
        // The header of a table, where docker shows the label's name.
        (_, name) => Ok(text(name.to_owned())),
    }),
    ("json", |args| Ok(text(json(argument(args, 0)?).to_string()))),
    ("upper", |args| Ok(text(string(args, 0)?.chars().map(upper).collect()))),
    ("lower", |args| Ok(text(string(args, 0)?.chars().map(lower).collect()))),
    ("title", |args| Ok(text(title(string(args, 0)?)))),
    ("split", |args| {
        let separator = string(args, 1)?;
        let parts =
            string(args, 0)?.split(separator).filter(|part| !(separator.is_empty() && part.is_empty()));
        Ok(Value::List(parts.map(|part| text(part.to_owned())).collect()))
    }),
    ("join", |args| match argument(args, 0)? {
        Value::List(items) => {
            let words: Vec<String> = items.iter().map(ToString::to_string).collect();
            Ok(text(words.join(string(args, 1)?)))
        }
        _ => Err(TemplateError::Exec("join wants a list".into())),
    }),
    ("pad", |args| {
        let space = |at| Ok::<_, TemplateError>(" ".repeat(count(args, at)?));
        let inner = string(args, 0)?;
        Ok(text(if inner.is_empty() { String::new() } else { space(1)? + inner + &space(2)? }))
    }),
    ("truncate", |args| Ok(text(string(args, 0)?.chars().take(count(args, 1)?).collect()))),
    ("println", |args| {
        let words: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(text(words.join(" ") + "\n"))
    }),
];

/// Most spaces of `pad`.
const PAD_CHARS_MAX: i64 = 4096;

fn text(text: String) -> Value {
    Value::String(text.into())
}

fn argument(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at).ok_or_else(|| TemplateError::Exec(format!("argument {} is missing", at + 1)))
}

fn string(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    argument(args, at)?
        .as_str()
        .ok_or_else(|| TemplateError::Exec(format!("argument {} isn't a string", at + 1)))
}

fn count(args: &[Value], at: usize) -> Result<usize, TemplateError> {
    match argument(args, at)?.as_int() {
        Some(count @ 0..=PAD_CHARS_MAX) => Ok(count as usize),
        _ => Err(TemplateError::Exec(format!("argument {} isn't a number up to {PAD_CHARS_MAX}", at + 1))),
    }
}

/// As Go does it: a letter for each letter, whatever is around it.
fn upper(letter: char) -> char {
    let mut letters = letter.to_uppercase();
    letters.next().filter(|_| letters.next().is_none()).unwrap_or(letter)
}

fn lower(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

/// Source: strings.Title and its isSeparator.
fn title(text: &str) -> String {
    let separates = |c: char| match c.is_ascii() {
        true => !c.is_ascii_alphanumeric() && c != '_',
        false => !c.is_alphanumeric() && c.is_whitespace(),
    };
    let mut start = true;
    let letter = |c: char| {
        let first = std::mem::replace(&mut start, separates(c));
        if first { upper(c) } else { c }
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;

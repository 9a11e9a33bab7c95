//! A model on its way out: JSON and YAML in the very form that docker compose prints, which is Go's.

use std::fmt::Write as _;

use crate::node::{Node, Value, exponent, float_text, float32_text};
use crate::yaml::plain;

/// Which of the two forms a value is written for. They differ in more than syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Empty structures are there, extensions of services aren't.
    Json,
    /// Empty structures are left out; extensions come last.
    Yaml,
}

/// A value with its mappings in the order in which they are written.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A number of 32 bits' precision.
    Float32(f32),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Out>),
    /// A mapping.
    Map(Vec<(String, Out)>),
}

impl Out {
    /// A tree as it is, with keys in the form's order.
    pub fn of(node: &Node, form: Form) -> Out {
        match &node.value {
            Value::Null => Out::Null,
            Value::Bool(value) => Out::Bool(*value),
            Value::Int(value) => Out::Int(*value),
            Value::Float(value) => Out::Float(*value),
            Value::Float32(value) => Out::Float32(*value),
            Value::Text(text) => Out::Text(text.clone()),
            Value::List(list) => Out::List(list.iter().map(|node| Out::of(node, form)).collect()),
            Value::Map(map) => {
                Out::sorted(map.iter().map(|(key, node)| (key.clone(), Out::of(node, form))), form)
            }
        }
    }

    /// A mapping whose keys are sorted: by their bytes for JSON, numbers by their size for YAML.
    pub fn sorted(entries: impl Iterator<Item = (String, Out)>, form: Form) -> Out {
        let mut entries: Vec<_> = entries.collect();
        match form {
            Form::Json => entries.sort_by(|(a, _), (b, _)| a.cmp(b)),
            Form::Yaml => entries.sort_by(|(a, _), (b, _)| natural(a, b)),
        }
        Out::Map(entries)
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Out> {
        match self {
            Out::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// JSON: indented by two spaces, or in one line without any.
    pub fn json(&self, indented: bool) -> String {
        let mut text = String::new();
        self.write_json(&mut text, indented.then_some(0));
        text
    }

    fn write_json(&self, text: &mut String, indent: Option<usize>) {
        let deeper = indent.map(|indent| indent + 1);
        let line = |text: &mut String, indent: Option<usize>| {
            if let Some(indent) = indent {
                text.push('\n');
                text.extend(std::iter::repeat_n("  ", indent));
            }
        };
        match self {
            Out::Null => text.push_str("null"),
            Out::Bool(value) => _ = write!(text, "{value}"),
            Out::Int(value) => _ = write!(text, "{value}"),
            Out::Float(value) if value.is_finite() => {
                let size = value.abs();
                let is_plain = size == 0.0 || (1e-6..1e21).contains(&size);
                text.push_str(&if is_plain { value.to_string() } else { exponent(&format!("{value:e}")) });
            }
            Out::Float32(value) if value.is_finite() => {
                let size = value.abs();
                let is_plain = size == 0.0 || (1e-6..1e21).contains(&size);
                text.push_str(&if is_plain { value.to_string() } else { exponent(&format!("{value:e}")) });
            }
            Out::Float(_) | Out::Float32(_) => text.push_str("null"),
            Out::Text(value) => json_string(text, value),
            Out::List(list) if list.is_empty() => text.push_str("[]"),
            Out::Map(entries) if entries.is_empty() => text.push_str("{}"),
            Out::List(list) => {
                text.push('[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    line(text, deeper);
                    value.write_json(text, deeper);
                }
                line(text, indent);
                text.push(']');
            }
            Out::Map(entries) => {
                text.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    line(text, deeper);
                    json_string(text, key);
                    text.push_str(if indent.is_some() { ": " } else { ":" });
                    value.write_json(text, deeper);
                }
                line(text, indent);
                text.push('}');
            }
        }
    }

    /// YAML in block style, indented by two spaces, lists too.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        match self {
            Out::Map(entries) if !entries.is_empty() => yaml_map(&mut text, entries, 0),
            other => yaml_value(&mut text, other, 0),
        }
        text.trim_start_matches([' ', '\n']).to_owned()
    }
}

/// A string as Go's encoding/json writes it, which escapes what HTML would take for its own.
fn json_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => _ = write!(text, "\\u{:04x}", c as u32),
            c if c < ' ' => _ = write!(text, "\\u{:04x}", c as u32),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Writes what stands behind a key or a dash: a scalar in the same line, or a block below, at `indent`.
fn yaml_value(text: &mut String, value: &Out, indent: usize) {
    match value {
        Out::Null => text.push_str(" null\n"),
        Out::Bool(value) => _ = writeln!(text, " {value}"),
        Out::Int(value) => _ = writeln!(text, " {value}"),
        Out::Float(value) => _ = writeln!(text, " {}", yaml_float(float_text(*value), *value)),
        Out::Float32(value) => _ = writeln!(text, " {}", yaml_float(float32_text(*value), f64::from(*value))),
        Out::Text(value) => yaml_text(text, value, indent),
        Out::List(list) if list.is_empty() => text.push_str(" []\n"),
        Out::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Out::List(list) => {
            text.push('\n');
            yaml_list(text, list, indent);
        }
        Out::Map(entries) => {
            text.push('\n');
            yaml_map(text, entries, indent);
        }
    }
}

fn yaml_list(text: &mut String, list: &[Out], indent: usize) {
    for value in list {
        text.extend(std::iter::repeat_n(' ', indent));
        text.push('-');
        yaml_item(text, value, indent + 2);
    }
}

/// What stands behind a dash: a mapping or list begins in the same line.
fn yaml_item(text: &mut String, value: &Out, indent: usize) {
    let mut block = String::new();
    match value {
        Out::List(list) if !list.is_empty() => yaml_list(&mut block, list, indent),
        Out::Map(entries) if !entries.is_empty() => yaml_map(&mut block, entries, indent),
        _ => return yaml_value(text, value, indent),
    }
    text.push(' ');
    text.push_str(block.trim_start_matches(' '));
}

fn yaml_map(text: &mut String, entries: &[(String, Out)], indent: usize) {
    for (key, value) in entries {
        text.extend(std::iter::repeat_n(' ', indent));
        match style(key, true) {
            Style::Plain => text.push_str(key),
            Style::Single => single_quoted(text, key),
            Style::Double | Style::Literal => double_quoted(text, key),
        }
        text.push(':');
        yaml_value(text, value, indent + 2);
    }
}

fn yaml_text(text: &mut String, value: &str, indent: usize) {
    text.push(' ');
    match style(value, false) {
        Style::Plain => text.push_str(value),
        Style::Single => single_quoted(text, value),
        Style::Double => double_quoted(text, value),
        Style::Literal => {
            text.push('|');
            if value.starts_with([' ', '\n']) {
                text.push('2');
            }
            text.push_str(match value.strip_suffix('\n') {
                None => "-",
                Some(rest) if rest.is_empty() || rest.ends_with('\n') => "+",
                Some(_) => "",
            });
            let body = value.strip_suffix('\n').unwrap_or(value);
            for line in body.split('\n') {
                text.push('\n');
                if !line.is_empty() {
                    text.extend(std::iter::repeat_n(' ', indent));
                    text.push_str(line);
                }
            }
        }
    }
    text.push('\n');
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// How go-yaml writes a string. Source: its encode.go and emitterc.go (analysis of scalars).
fn style(value: &str, is_key: bool) -> Style {
    let resolves = !matches!(plain(value), Value::Text(_))
        // go-yaml writes this key plainly, and then reads a merge key.
        || is_key && value == "<<"
        || is_old_boolean(value)
        || is_sexagesimal(value)
        || is_timestamp(value);
    let wanted = match (value.contains('\n'), resolves) {
        (true, _) => Style::Literal,
        (false, true) => return Style::Double,
        (false, false) => Style::Plain,
    };
    let traits = Traits::of(value);
    match wanted {
        Style::Literal if is_key || !traits.block => Style::Double,
        Style::Plain if !traits.plain => match traits.single {
            true => Style::Single,
            false => Style::Double,
        },
        style => style,
    }
}

/// In which styles a string may be written.
struct Traits {
    plain: bool,
    single: bool,
    block: bool,
}

impl Traits {
    fn of(value: &str) -> Traits {
        let chars: Vec<char> = value.chars().collect();
        let is_blank = |c: Option<&char>| c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let mut indicator = value.starts_with("---") || value.starts_with("...");
        let (mut special, mut tab, mut break_space, mut space_break) = (false, false, false, false);
        for (index, &c) in chars.iter().enumerate() {
            let before = index.checked_sub(1).map(|index| chars[index]);
            let blank_after = is_blank(chars.get(index + 1));
            indicator |= match (index, c) {
                (
                    0,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                    | '`',
                ) => true,
                (0, '?' | ':' | '-') | (_, ':') => blank_after,
                (_, '#') => is_blank(before.as_ref()),
                _ => false,
            };
            tab |= c == '\t';
            special |= !is_printable(c) && c != '\t';
            break_space |= c == ' ' && before.is_some_and(is_break);
            space_break |= is_break(c) && before == Some(' ');
        }
        let edge = |c: Option<&char>| c.is_some_and(|&c| c == ' ' || is_break(c));
        let edges = edge(chars.first()) || edge(chars.last());
        let breaks = chars.iter().any(|&c| is_break(c));
        let single = !(break_space || space_break || tab || special);
        Traits {
            plain: single && !edges && !breaks && !indicator,
            single,
            block: !(chars.last() == Some(&' ') || space_break || special),
        }
    }
}

fn is_printable(c: char) -> bool {
    // go-yaml takes none beyond U+FFFF.
    matches!(c, '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

fn is_old_boolean(value: &str) -> bool {
    matches!(
        value,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    )
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`, YAML 1.1's numbers in base 60.
fn is_sexagesimal(value: &str) -> bool {
    let rest = value.strip_prefix(['-', '+']).unwrap_or(value);
    let mut parts = rest.split(':');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.chars().all(|c| c.is_ascii_digit() || c == '_')
    {
        return false;
    }
    let mut parts: Vec<&str> = parts.collect();
    if let Some(last) = parts.last_mut()
        && let Some((whole, fraction)) = last.split_once('.')
        && fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
    {
        *last = whole;
    }
    let is_part = |part: &&str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [b'0'..=b'5', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    !parts.is_empty() && parts.iter().all(is_part)
}

/// A date, or one with a time, which go-yaml would read as such.
fn is_timestamp(value: &str) -> bool {
    let bytes = value.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, time) = match value.find(['T', 't', ' ']) {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, ""),
    };
    let number = |text: &str, most: u32| {
        (1..=2).contains(&text.len()) && text.parse::<u32>().is_ok_and(|number| (1..=most).contains(&number))
    };
    let mut parts = date[5..].split('-');
    let (month, day) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_date = number(month, 12) && number(day, 31) && parts.next().is_none();
    let is_time = time.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | 'Z' | '+' | '-'))
        && time.matches(':').count() >= 2;
    is_date && (date.len() == value.len() || is_time)
}

fn single_quoted(text: &mut String, value: &str) {
    _ = write!(text, "'{}'", value.replace('\'', "''"));
}

fn double_quoted(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\0' => text.push_str("\\0"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{b}' => text.push_str("\\v"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\u{1b}' => text.push_str("\\e"),
            '\u{85}' => text.push_str("\\N"),
            '\u{2028}' => text.push_str("\\L"),
            '\u{2029}' => text.push_str("\\P"),
            c if is_printable(c) => text.push(c),
            c if (c as u32) < 0x100 => _ = write!(text, "\\x{:02X}", c as u32),
            c if (c as u32) < 0x10000 => _ = write!(text, "\\u{:04X}", c as u32),
            c => _ = write!(text, "\\U{:08X}", c as u32),
        }
    }
    text.push('"');
}

/// A float's text, but for those that have names in YAML.
fn yaml_float(text: String, value: f64) -> String {
    match value {
        value if value.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        _ => text,
    }
}

/// The order of keys in go-yaml: letters before nothing else, numbers by their size. Source: its sorter.go.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Greater, Less};
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for index in 0..a.len().min(b.len()) {
        let (x, y) = (a[index], b[index]);
        if x == y {
            digits = x.is_numeric();
            continue;
        }
        match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => return x.cmp(&y),
            (true, false) => return if digits { Less } else { Greater },
            (false, true) => return if digits { Greater } else { Less },
            (false, false) => {}
        }
        let lead = (x == '0' || y == '0')
            && a[..index].iter().rev().take_while(|c| c.is_ascii_digit()).any(|&c| c != '0');
        let number = |chars: &[char]| {
            let digits = chars[index..].iter().map_while(|c| c.to_digit(10));
            digits.fold((0, i64::from(lead)), |(length, number), digit| {
                (length + 1, number.wrapping_mul(10).wrapping_add(i64::from(digit)))
            })
        };
        let ((x_length, x_number), (y_length, y_number)) = (number(&a), number(&b));
        return x_number.cmp(&y_number).then(x_length.cmp(&y_length)).then(x.cmp(&y));
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests;

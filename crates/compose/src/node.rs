//! The tree that a compose file is read into: values with the places where they stand.

use std::collections::BTreeMap;

/// A place in one of the files that were read. Lines and columns count from 1; line 0 is nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Index of the file, in the order in which files were read.
    pub file: u16,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters of the line it covers, at least 1.
    pub width: u32,
}

/// What `!reset` and `!override` ask for. Source: compose specification, "Merge", custom tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// No tag that means anything here.
    #[default]
    None,
    /// `!reset`: what earlier files say here is removed, and so is this value.
    Reset,
    /// `!override`: what earlier files say here is removed before this value is merged.
    Override,
}

/// A value of the tree, and where it stands.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where the value begins.
    pub at: Mark,
    /// Where its key stands, if it is a value of a mapping.
    pub key: Mark,
    /// `!reset` or `!override`.
    pub tag: Tag,
}

/// The values that YAML's core schema has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A number of 32 bits' precision, as `cpus` is.
    Float32(f32),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, by key.
    Map(BTreeMap<String, Node>),
}

/// The values of a mapping by their keys.
pub type Map = BTreeMap<String, Node>;

/// Two nodes are the same if their values are, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// A node at no place of its own, as defaults are.
    pub fn new(value: Value) -> Node {
        Node { value, ..Node::default() }
    }

    /// A string at the place of another node.
    pub fn text(text: impl Into<String>, like: &Node) -> Node {
        like.with(Value::Text(text.into()))
    }

    /// Another value at the same place.
    pub fn with(&self, value: Value) -> Node {
        Node { value, at: self.at, key: self.key, tag: Tag::None }
    }

    /// Where a reader should look: the key if there is one, else the value.
    pub fn mark(&self) -> Mark {
        if self.key.line > 0 { self.key } else { self.at }
    }

    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key)
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// A scalar as a string, as compose prints one where a string is wanted: `1.50` is `1.5`. Null, sequences and
    /// mappings are empty.
    pub fn plain(&self) -> String {
        match &self.value {
            Value::Null | Value::List(_) | Value::Map(_) => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => float_text(*value),
            Value::Float32(value) => float32_text(*value),
            Value::Text(text) => text.clone(),
        }
    }

    /// How many values the tree has.
    pub fn count(&self) -> usize {
        match &self.value {
            Value::List(list) => 1 + list.iter().map(Node::count).sum::<usize>(),
            Value::Map(map) => 1 + map.values().map(Node::count).sum::<usize>(),
            _ => 1,
        }
    }

    /// What sort of value it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) | Value::Float32(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// A float in the shortest decimal form that reads back as itself; with an exponent below 1e-4 and from 1e6 on, as Go's
/// `%v`, which is what compose prints.
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{value}")
    } else {
        exponent(&format!("{value:e}"))
    }
}

/// The same of a number of 32 bits' precision.
pub fn float32_text(value: f32) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 {
        return float_text(f64::from(value));
    }
    if (1e-4..1e6).contains(&size) { format!("{value}") } else { exponent(&format!("{value:e}")) }
}

/// Rust's `1e-7` as Go's `1e-07`.
pub fn exponent(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, text) in [
            (123456789.5, "1.234567895e+08"),
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1e21, "1e+21"),
            (0.00001, "1e-05"),
            (0.0, "0"),
            (-2.25, "-2.25"),
        ] {
            assert_eq!(float_text(value), text);
        }
        assert_eq!(float32_text(0.1), "0.1");
    }
}

//! How the attributes of a model are read from a tree and written: one implementation per type, and [`model!`], which
//! makes a structure of a table of them.

use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::node::{Node, Value};
use crate::out::{Form, Out};
use crate::short;

/// Where reading is, and what it found wrong.
pub struct Decoder<'a> {
    path: Vec<String>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Decoder<'a> {
    /// Reading at the root of a file.
    pub fn new(faults: &'a mut Vec<Fault>) -> Decoder<'a> {
        Decoder { path: Vec::new(), faults }
    }

    /// Reads a value under a key.
    pub fn at<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// Notes that a value is wrong.
    pub fn fault(&mut self, node: &Node, message: &str) {
        let path = self.path.join(".");
        self.faults.push(Fault::of(node, format!("{path}: {message}")));
    }
}

/// A value of a model.
pub trait Field: Sized {
    /// Reads it; what is wrong goes to the decoder, and the default is taken.
    fn decode(node: &Node, decoder: &mut Decoder) -> Self;

    /// Writes it.
    fn out(&self, form: Form) -> Out;

    /// Whether it is left out.
    fn is_left_out(&self, form: Form) -> bool;
}

/// Defines structures of a model. A line is an attribute: its name, the key in files if that differs, the key in JSON if
/// that differs again, and its type. Extensions, `x-…`, are kept in each.
macro_rules! model {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident $(= $key:literal $(, json $json:literal)?)? : $type:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            /// Extensions, which are kept and mean nothing.
            pub extensions: $crate::field::Extensions,
        }

        impl $crate::field::Field for $name {
            fn decode(node: &$crate::node::Node, decoder: &mut $crate::field::Decoder) -> $name {
                let mut value = $name::default();
                $(
                    let key = $crate::field::model!(@key $field $($key)?);
                    if let Some(node) = node.get(key).filter(|node| !node.is_null()) {
                        value.$field = decoder.at(key, |decoder| $crate::field::Field::decode(node, decoder));
                    }
                )*
                value.extensions = $crate::field::Extensions::of(node);
                value
            }

            fn out(&self, form: $crate::out::Form) -> $crate::out::Out {
                let mut entries = Vec::new();
                $(
                    if !$crate::field::Field::is_left_out(&self.$field, form) {
                        let key = match form {
                            $crate::out::Form::Json => $crate::field::model!(@json $field $($key $($json)?)?),
                            $crate::out::Form::Yaml => $crate::field::model!(@key $field $($key)?),
                        };
                        entries.push((key.to_owned(), $crate::field::Field::out(&self.$field, form)));
                    }
                )*
                if form == $crate::out::Form::Yaml {
                    self.extensions.append_to(&mut entries);
                }
                $crate::out::Out::Map(entries)
            }

            /// As a value of another structure: in JSON it is always there, as Go has it.
            fn is_left_out(&self, form: $crate::out::Form) -> bool {
                form == $crate::out::Form::Yaml && *self == $name::default()
            }
        }
    )*};
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@json $field:ident) => { stringify!($field) };
    (@json $field:ident $key:literal) => { $key };
    (@json $field:ident $key:literal $json:literal) => { $json };
}
pub(crate) use model;

/// Attributes `x-…`, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions(pub BTreeMap<String, Node>);

impl Extensions {
    /// Those of a mapping.
    pub fn of(node: &Node) -> Extensions {
        let entries = node
            .as_map()
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.starts_with("x-") && *key != crate::resolve::SECRET_CONTENT);
        Extensions(entries.map(|(key, node)| (key.clone(), node.clone())).collect())
    }

    /// Writes them behind what is there, sorted.
    pub fn append_to(&self, entries: &mut Vec<(String, Out)>) {
        let own = self.0.iter().map(|(key, node)| (key.clone(), Out::of(node, Form::Yaml)));
        if let Out::Map(sorted) = Out::sorted(own, Form::Yaml) {
            entries.extend(sorted);
        }
    }
}

impl Field for String {
    fn decode(node: &Node, decoder: &mut Decoder) -> String {
        if matches!(node.value, Value::List(_) | Value::Map(_)) {
            decoder.fault(node, &format!("must be a string, not {}", node.kind()));
        }
        node.plain()
    }

    fn out(&self, _: Form) -> Out {
        Out::Text(self.clone())
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.is_empty()
    }
}

impl Field for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> bool {
        let value = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => crate::interpolate::boolean(text),
            _ => None,
        };
        value.unwrap_or_else(|| {
            decoder.fault(node, &format!("must be a boolean, not {}", quoted(node)));
            false
        })
    }

    fn out(&self, _: Form) -> Out {
        Out::Bool(*self)
    }

    fn is_left_out(&self, _: Form) -> bool {
        !self
    }
}

impl Field for i64 {
    fn decode(node: &Node, decoder: &mut Decoder) -> i64 {
        let value = match &node.value {
            Value::Int(value) => Some(*value),
            Value::Float(value) if value.abs() < 9e15 => Some(*value as i64),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        value.unwrap_or_else(|| {
            decoder.fault(node, &format!("must be a whole number, not {}", quoted(node)));
            0
        })
    }

    fn out(&self, _: Form) -> Out {
        Out::Int(*self)
    }

    fn is_left_out(&self, _: Form) -> bool {
        *self == 0
    }
}

impl Field for f32 {
    fn decode(node: &Node, decoder: &mut Decoder) -> f32 {
        let value = match &node.value {
            Value::Int(value) => Some(*value as f32),
            Value::Float(value) => Some(*value as f32),
            Value::Float32(value) => Some(*value),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        value.unwrap_or_else(|| {
            decoder.fault(node, &format!("must be a number, not {}", quoted(node)));
            0.0
        })
    }

    fn out(&self, _: Form) -> Out {
        Out::Float32(*self)
    }

    fn is_left_out(&self, _: Form) -> bool {
        *self == 0.0
    }
}

/// A scalar as a message quotes it.
fn quoted(node: &Node) -> String {
    match node.value {
        Value::List(_) | Value::Map(_) | Value::Null => node.kind().to_owned(),
        _ => format!("\"{}\"", node.plain()),
    }
}

impl<T: Field> Field for Option<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<T> {
        (!node.is_null()).then(|| T::decode(node, decoder))
    }

    fn out(&self, form: Form) -> Out {
        self.as_ref().map_or(Out::Null, |value| value.out(form))
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Vec<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Vec<T> {
        match &node.value {
            Value::List(list) => list.iter().map(|node| T::decode(node, decoder)).collect(),
            _ => vec![T::decode(node, decoder)],
        }
    }

    fn out(&self, form: Form) -> Out {
        Out::List(self.iter().map(|value| value.out(form)).collect())
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.is_empty()
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> BTreeMap<String, T> {
        let entries = node.as_map().into_iter().flatten();
        entries
            .map(|(key, node)| (key.clone(), decoder.at(key, |decoder| T::decode(node, decoder))))
            .collect()
    }

    fn out(&self, form: Form) -> Out {
        Out::sorted(self.iter().map(|(key, value)| (key.clone(), value.out(form))), form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.is_empty()
    }
}

/// Strings by name, from a mapping or a list of `name=value`; what has no value is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub BTreeMap<String, String>);

impl Field for Pairs {
    fn decode(node: &Node, _: &mut Decoder) -> Pairs {
        Pairs(match &node.value {
            Value::Map(map) => map.iter().map(|(key, node)| (key.clone(), node.plain())).collect(),
            Value::List(list) => list
                .iter()
                .map(|node| {
                    let text = node.plain();
                    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                    (key.to_owned(), value.to_owned())
                })
                .collect(),
            _ => BTreeMap::new(),
        })
    }

    fn out(&self, form: Form) -> Out {
        self.0.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0.is_empty()
    }
}

/// Variables by name, from a mapping or a list of `name=value`; one without a value has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(pub BTreeMap<String, Option<String>>);

impl Field for Variables {
    fn decode(node: &Node, decoder: &mut Decoder) -> Variables {
        let mut variables = BTreeMap::new();
        for (name, node) in node.as_map().into_iter().flatten() {
            variables.insert(name.clone(), (!node.is_null()).then(|| node.plain()));
        }
        for item in node.as_list().unwrap_or_default() {
            let text = item.plain();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.as_str(), None),
            };
            if name.ends_with(char::is_whitespace) {
                decoder
                    .fault(item, &format!("environment variable {name} is declared with a trailing space"));
            }
            variables.insert(name.to_owned(), value);
        }
        Variables(variables)
    }

    fn out(&self, form: Form) -> Out {
        self.0.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0.is_empty()
    }
}

/// A command, or none: an empty one clears the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command(pub Option<Vec<String>>);

impl Field for Command {
    fn decode(node: &Node, decoder: &mut Decoder) -> Command {
        Command(Some(match &node.value {
            Value::Text(line) => short::words(line).unwrap_or_else(|message| {
                decoder.fault(node, &message);
                Vec::new()
            }),
            _ => Field::decode(node, decoder),
        }))
    }

    fn out(&self, form: Form) -> Out {
        self.0.as_ref().map_or(Out::Null, |words| words.out(form))
    }

    /// JSON has a null for none, so that an empty one can be told from it.
    fn is_left_out(&self, form: Form) -> bool {
        form == Form::Yaml && self.0.is_none()
    }
}

/// The words of a health check: a string is a command line for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthTest(pub Vec<String>);

impl Field for HealthTest {
    fn decode(node: &Node, decoder: &mut Decoder) -> HealthTest {
        HealthTest(match &node.value {
            Value::Text(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
            _ => Field::decode(node, decoder),
        })
    }

    fn out(&self, form: Form) -> Out {
        self.0.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0.is_empty()
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub i64);

impl Field for Bytes {
    fn decode(node: &Node, decoder: &mut Decoder) -> Bytes {
        let size = match &node.value {
            Value::Int(value) => Some(*value),
            Value::Text(text) => short::bytes(text),
            Value::Float(value) if value.abs() < 9e15 => Some(*value as i64),
            _ => None,
        };
        Bytes(size.unwrap_or_else(|| {
            decoder.fault(node, &format!("invalid size: {}", quoted(node)));
            0
        }))
    }

    fn out(&self, _: Form) -> Out {
        Out::Text(self.0.to_string())
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0 == 0
    }
}

/// A duration in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

impl Field for Duration {
    fn decode(node: &Node, decoder: &mut Decoder) -> Duration {
        Duration(short::duration(&node.plain()).unwrap_or_else(|| {
            decoder.fault(node, &format!("invalid duration: {}, as in 1m30s", quoted(node)));
            0
        }))
    }

    fn out(&self, _: Form) -> Out {
        Out::Text(short::duration_text(self.0))
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0 == 0
    }
}

/// Permissions of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub i64);

impl Field for Mode {
    fn decode(node: &Node, decoder: &mut Decoder) -> Mode {
        let mode = match &node.value {
            Value::Int(value) => Some(*value),
            Value::Text(text) => i64::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
            _ => None,
        };
        Mode(mode.unwrap_or_else(|| {
            decoder.fault(node, &format!("invalid mode: {}, as in 0440", quoted(node)));
            0
        }))
    }

    fn out(&self, _: Form) -> Out {
        Out::Text(format!("0{:o}", self.0))
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}

/// How many devices: -1 is all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCount(pub i64);

impl Field for DeviceCount {
    fn decode(node: &Node, decoder: &mut Decoder) -> DeviceCount {
        match &node.value {
            Value::Text(text) if text.eq_ignore_ascii_case("all") => DeviceCount(-1),
            Value::Text(text) if text.parse::<i64>().is_err() => {
                let message =
                    format!("invalid value \"{text}\", the only value allowed is 'all' or a number");
                decoder.fault(node, &message);
                DeviceCount(0)
            }
            _ => DeviceCount(i64::decode(node, decoder)),
        }
    }

    fn out(&self, _: Form) -> Out {
        Out::Int(self.0)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0 == 0
    }
}

/// Addresses by host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub BTreeMap<String, Vec<String>>);

impl Field for Hosts {
    fn decode(node: &Node, decoder: &mut Decoder) -> Hosts {
        let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, node) in node.as_map().into_iter().flatten() {
            let addresses = match &node.value {
                Value::List(list) => list.iter().map(Node::plain).collect(),
                _ => vec![node.plain()],
            };
            hosts.insert(name.clone(), addresses);
        }
        for item in node.as_list().unwrap_or_default() {
            let text = item.plain();
            match text.split_once('=').or_else(|| text.split_once(':')) {
                Some((name, addresses)) => {
                    let addresses = addresses.split(',').map(str::to_owned);
                    hosts.entry(name.to_owned()).or_default().extend(addresses);
                }
                None => decoder.fault(item, &format!("invalid additional host, missing IP: {text}")),
            }
        }
        for (name, addresses) in &mut hosts {
            if name.is_empty() || name.contains([':', '=']) {
                decoder.fault(node, &format!("bad host name '{name}'"));
            }
            for address in addresses {
                if let Some(bare) = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
                    *address = bare.to_owned();
                }
            }
        }
        Hosts(hosts)
    }

    fn out(&self, form: Form) -> Out {
        let entries = self
            .0
            .iter()
            .flat_map(|(name, addresses)| addresses.iter().map(move |address| format!("{name}={address}")));
        let mut list: Vec<String> = entries.collect();
        list.sort();
        list.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        self.0.is_empty()
    }
}

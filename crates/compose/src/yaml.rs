//! YAML to trees: anchors, merge keys and the core schema, with the place of each value and bounds on everything.
//!
//! The events are granit-parser's, which is what serde-saphyr stands on too; the tree is ours, since serde would lose
//! `!reset` below merge keys and the places of keys. Scalars resolve as in go-yaml 3, which is what compose reads with:
//! YAML 1.2, and of 1.1 only `017` as an octal number.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use crate::fault::Fault;
use crate::node::{Map, Mark, Node, Tag, Value};

/// How large a file may be. Source: none; the largest in the wild are below 1 MB.
pub const BYTES_MAX: usize = 16 << 20;

/// How deep values may nest. The specification itself has ten levels.
const DEPTH_MAX: usize = 100;

/// How many values a file may have with its aliases expanded: the bound on YAML bombs.
const NODES_MAX: usize = 1_000_000;

/// Reads all documents of a file. `file` is its index in the marks.
///
/// Errors: what makes it no YAML, with its place; duplicate keys, keys that are no strings, too much or too deep content.
pub fn parse(text: &str, file: u16) -> Result<Vec<Node>, Fault> {
    if text.len() > BYTES_MAX {
        return Err(Fault::nowhere(format!("the file is larger than {} MiB", BYTES_MAX >> 20)));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        file,
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                reader.anchors.clear();
                let (event, span) = reader.next()?;
                documents.push(reader.node(event, span, 0)?);
            }
            _ => return Err(reader.fault(span, "unexpected content between documents")),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    file: u16,
    /// What each anchor names; none while its own value is still being read.
    anchors: BTreeMap<usize, Option<Node>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = Mark {
                    file: self.file,
                    line: narrow(error.marker().line()),
                    column: narrow(error.marker().col() + 1),
                    width: 1,
                };
                Err(Fault::at(at, format!("not valid YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn mark(&self, span: Span) -> Mark {
        let one_line = span.start.line() == span.end.line();
        let width = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Mark {
            file: self.file,
            line: narrow(span.start.line()),
            column: narrow(span.start.col() + 1),
            width: narrow(width.max(1)),
        }
    }

    fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        Fault::at(self.mark(span), message)
    }

    /// Counts values, so that aliases can't make a small file a large tree.
    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(self.fault(span, format!("more than {NODES_MAX} values, with aliases expanded")));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(span, format!("values nest deeper than {DEPTH_MAX} levels")));
        }
        self.count(1, span)?;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                (anchor, Node { value, at: self.mark(span), tag: custom(tag), ..Node::default() })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(anchor);
                (anchor, Node { at: self.mark(span), tag: custom(tag), ..self.sequence(depth)? })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(anchor);
                (anchor, Node { at: self.mark(span), tag: custom(tag), ..self.mapping(depth)? })
            }
            Event::Alias(anchor) => {
                let known = match self.anchors.get(&anchor) {
                    Some(Some(known)) => known,
                    Some(None) => return Err(self.fault(span, "the alias stands inside of what it names")),
                    None => return Err(self.fault(span, "the alias names no anchor")),
                };
                let count = known.count();
                let node = known.clone();
                self.count(count, span)?;
                return Ok(node);
            }
            _ => return Err(self.fault(span, "a value is missing")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Some(node.clone()));
            self.count(node.count(), span)?;
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node::new(Value::List(list)));
            }
            list.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut map = Map::new();
        let mut merges = Vec::new();
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<");
            let key = self.node(event, key_span, depth + 1)?;
            let (event, span) = self.next()?;
            let mut node = self.node(event, span, depth + 1)?;
            if merge {
                merges.push((node, span));
                continue;
            }
            let Value::Text(name) = key.value else {
                let hint = format!("quote it: \"{}\"", key.plain());
                return Err(self
                    .fault(key_span, format!("a key is {}, not a string", key.kind()))
                    .hint(hint));
            };
            node.key = self.mark(key_span);
            if let Some(first) = map.get(&name) {
                let line = first.key.line;
                let message = format!("mapping key \"{name}\" already defined at line {line}");
                return Err(self.fault(key_span, message));
            }
            map.insert(name, node);
        }
        for (merge, span) in merges {
            self.merge(&mut map, merge, span)?;
        }
        Ok(Node::new(Value::Map(map)))
    }

    /// `<<`: keys of other mappings that this one hasn't; the first that has a key wins. Source: yaml.org/type/merge.
    fn merge(&self, map: &mut Map, merge: Node, span: Span) -> Result<(), Fault> {
        let wrong = || self.fault(span, "a merge key takes a mapping, or a list of mappings");
        match merge.value {
            Value::Map(other) => {
                for (name, node) in other {
                    map.entry(name).or_insert(node);
                }
            }
            Value::List(list) => {
                for other in list {
                    let Value::Map(other) = other.value else { return Err(wrong()) };
                    for (name, node) in other {
                        map.entry(name).or_insert(node);
                    }
                }
            }
            Value::Null => {}
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn custom(tag: Option<Cow<'_, granit_parser::Tag>>) -> Tag {
    match tag.as_deref().map(|tag| tag.parts()) {
        Some(("!", "reset")) => Tag::Reset,
        Some(("!", "override")) => Tag::Override,
        _ => Tag::None,
    }
}

/// The value of a scalar: what its tag says, a string if it is quoted, else what it looks like.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&granit_parser::Tag>) -> Value {
    let string = || Value::Text(text.to_owned());
    match tag.and_then(|tag| tag.core_suffix()) {
        Some("str") => return string(),
        Some("null") => return Value::Null,
        Some("float") => return text.parse().map_or_else(|_| string(), Value::Float),
        Some("bool" | "int") => return plain(text),
        _ => {}
    }
    if style == ScalarStyle::Plain { plain(text) } else { string() }
}

/// What an unquoted scalar is.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::Text(text.to_owned());
    }
    let digits = text.replace('_', "");
    if let Some(value) = integer(&digits) {
        return Value::Int(value);
    }
    if is_float(&digits)
        && let Ok(value) = digits.parse::<f64>()
        && value.is_finite()
    {
        return Value::Float(value);
    }
    Value::Text(text.to_owned())
}

/// A whole number in base 10, or 16, 8 or 2 by its prefix. Source: Go's strconv.ParseInt with base 0, as go-yaml has it.
fn integer(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match rest.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &rest[2..]),
        [b'0', b'o' | b'O', ..] => (8, &rest[2..]),
        [b'0', b'b' | b'B', ..] => (2, &rest[2..]),
        [b'0', _, ..] => (8, &rest[1..]),
        _ => (10, rest),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -size } else { size }).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, power) = match rest.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, Some(power)),
        None => (rest, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_is && power.is_none_or(|power| digits(power.strip_prefix(['-', '+']).unwrap_or(power)))
}

#[cfg(test)]
mod tests;

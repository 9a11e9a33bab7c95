//! Validation against the specification's own JSON schema, of which `schema.json` is a copy without descriptions.
//!
//! Only what that schema uses of JSON schema is understood; a test fails if a new version uses more. All faults are found,
//! not only the first. Source: compose-spec.json.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::fault::{Fault, did_you_mean};
use crate::node::{Node, Value};

static TEXT: &str = include_str!("schema.json");

/// Appends to `faults` whatever of `node`, a whole compose file, isn't as the schema wants it.
pub fn validate(node: &Node, faults: &mut Vec<Fault>) {
    static RULES: OnceLock<Rules> = OnceLock::new();
    let rules = RULES.get_or_init(|| Rules::compile(TEXT));
    rules.check(0, node, &mut Vec::new(), faults);
}

/// The schema, with its parts numbered.
#[derive(Default)]
struct Rules {
    parts: Vec<Part>,
    /// Parts of `definitions` by name.
    named: BTreeMap<String, usize>,
}

/// What one part of the schema asks for.
#[derive(Default)]
struct Part {
    refers_to: Option<String>,
    types: Vec<String>,
    properties: BTreeMap<String, usize>,
    patterns: Vec<(Pattern, usize)>,
    closed: bool,
    items: Option<usize>,
    one_of: Vec<usize>,
    words: Vec<String>,
    required: Vec<String>,
    pattern: Option<Pattern>,
    unique: bool,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

/// The regular expressions of the schema; there are few, and they need no engine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    Extension,
    Name,
    Any,
    LowerCase,
    ContainerName,
    PullPolicy,
    /// One that isn't known here. Nothing matches it.
    Unknown,
}

impl Pattern {
    fn of(text: &str) -> Pattern {
        match text {
            "^x-" => Pattern::Extension,
            "^[a-zA-Z0-9._-]+$" => Pattern::Name,
            ".+" | "^.+$" => Pattern::Any,
            "^[a-z]+$" => Pattern::LowerCase,
            "[a-zA-Z0-9][a-zA-Z0-9_.-]+" => Pattern::ContainerName,
            "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+" => {
                Pattern::PullPolicy
            }
            _ => Pattern::Unknown,
        }
    }

    fn fits(self, text: &str) -> bool {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match self {
            Pattern::Extension => text.starts_with("x-"),
            Pattern::Name => !text.is_empty() && text.chars().all(is_name),
            Pattern::Any => !text.is_empty(),
            Pattern::LowerCase => !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase()),
            Pattern::ContainerName => text
                .as_bytes()
                .windows(2)
                .any(|two| two[0].is_ascii_alphanumeric() && is_name(char::from(two[1]))),
            Pattern::PullPolicy => pull_policy(text),
            Pattern::Unknown => false,
        }
    }
}

fn pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let Some(spans) = text.strip_prefix("every_") else { return WORDS.contains(&text) };
    let mut digits = 0;
    let mut closed = false;
    for c in spans.chars() {
        closed = false;
        match c {
            c if c.is_ascii_digit() => digits += 1,
            'w' | 'd' | 'h' | 'm' | 's' if digits > 0 => {
                digits = 0;
                closed = true;
            }
            _ => return false,
        }
    }
    closed
}

impl Rules {
    /// Numbers the parts of a schema; part 0 is the whole.
    fn compile(text: &str) -> Rules {
        let json: Json = serde_json::from_str(text).unwrap_or_default();
        let mut rules = Rules::default();
        rules.add(&json);
        let definitions = json.get("definitions").and_then(Json::as_object);
        for (name, part) in definitions.into_iter().flatten() {
            let index = rules.add(part);
            rules.named.insert(name.clone(), index);
        }
        rules
    }

    fn add(&mut self, json: &Json) -> usize {
        let index = self.parts.len();
        self.parts.push(Part::default());
        let text = |key: &str| json.get(key).and_then(Json::as_str);
        let list = |key: &str| json.get(key).and_then(Json::as_array).into_iter().flatten();
        let object = |key: &str| json.get(key).and_then(Json::as_object).into_iter().flatten();
        let words = |key: &str| list(key).filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>();
        let part = Part {
            refers_to: text("$ref").and_then(|name| name.strip_prefix("#/definitions/")).map(str::to_owned),
            types: text("type").map(|name| vec![name.to_owned()]).unwrap_or_else(|| words("type")),
            properties: object("properties").map(|(key, part)| (key.clone(), self.add(part))).collect(),
            patterns: object("patternProperties")
                .map(|(key, part)| (Pattern::of(key), self.add(part)))
                .collect(),
            closed: json.get("additionalProperties") == Some(&Json::Bool(false)),
            items: json.get("items").map(|part| self.add(part)),
            one_of: list("oneOf").map(|part| self.add(part)).collect(),
            words: words("enum"),
            required: words("required"),
            pattern: text("pattern").map(Pattern::of),
            unique: json.get("uniqueItems") == Some(&Json::Bool(true)),
            minimum: json.get("minimum").and_then(Json::as_f64),
            maximum: json.get("maximum").and_then(Json::as_f64),
        };
        self.parts[index] = part;
        index
    }

    /// The part that says what `index` says, behind references.
    fn resolve(&self, index: usize) -> &Part {
        let mut part = &self.parts[index];
        while let Some(&next) = part.refers_to.as_ref().and_then(|name| self.named.get(name)) {
            part = &self.parts[next];
        }
        part
    }

    fn check<'a>(&self, index: usize, node: &'a Node, path: &mut Vec<&'a str>, faults: &mut Vec<Fault>) {
        let part = self.resolve(index);
        if !part.one_of.is_empty() {
            return self.check_one_of(part, node, path, faults);
        }
        let types: Vec<&str> = part.types.iter().map(String::as_str).collect();
        if !types.is_empty() && !types.iter().any(|name| is_type(node, name)) {
            faults.push(wrong_type(node, path, types));
            return;
        }
        match &node.value {
            Value::Map(map) => {
                for name in part.required.iter().filter(|name| !map.contains_key(*name)) {
                    faults
                        .push(Fault::at(node.mark(), format!("{} missing property '{name}'", name_of(path))));
                }
                for (key, value) in map {
                    path.push(key);
                    self.check_entry(part, key, value, path, faults);
                    path.pop();
                }
            }
            Value::List(list) => {
                for (item, value) in
                    part.items.iter().flat_map(|item| list.iter().map(move |value| (*item, value)))
                {
                    path.push("[]");
                    self.check(item, value, path, faults);
                    path.pop();
                }
                if part.unique {
                    unique(node, list, path, faults);
                }
            }
            Value::Text(text) => {
                if !part.words.is_empty() && !part.words.contains(text) {
                    let known =
                        part.words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
                    let fault = Fault::of(node, format!("{} value must be one of {known}", name_of(path)));
                    let near = did_you_mean(text, part.words.iter().map(String::as_str));
                    faults.push(match near {
                        Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
                        None => fault,
                    });
                }
                if part.pattern.is_some_and(|pattern| !pattern.fits(text)) {
                    faults.push(Fault::of(node, format!("{}: invalid value \"{text}\"", name_of(path))));
                }
            }
            _ => {
                let number = match node.value {
                    Value::Int(value) => value as f64,
                    Value::Float(value) => value,
                    _ => return,
                };
                if let Some(least) = part.minimum.filter(|least| number < *least) {
                    faults.push(Fault::of(
                        node,
                        format!("{} must be greater than or equal to {least}", name_of(path)),
                    ));
                }
                if let Some(most) = part.maximum.filter(|most| number > *most) {
                    faults.push(Fault::of(
                        node,
                        format!("{} must be less than or equal to {most}", name_of(path)),
                    ));
                }
            }
        }
    }

    /// One key of a mapping: a property, one that fits a pattern, or one too many.
    fn check_entry<'a>(
        &self,
        part: &Part,
        key: &str,
        value: &'a Node,
        path: &mut Vec<&'a str>,
        faults: &mut Vec<Fault>,
    ) {
        if let Some(&property) = part.properties.get(key) {
            return self.check(property, value, path, faults);
        }
        let mut fits = false;
        for (_, index) in part.patterns.iter().filter(|(pattern, _)| pattern.fits(key)) {
            fits = true;
            self.check(*index, value, path, faults);
        }
        if fits || !part.closed {
            return;
        }
        let parent = name_of(&path[..path.len() - 1]);
        let subject = if parent.is_empty() { String::new() } else { format!("{parent} ") };
        let fault = Fault::at(value.mark(), format!("{subject}additional properties '{key}' not allowed"));
        faults.push(match did_you_mean(key, part.properties.keys().map(String::as_str)) {
            Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
            None => fault,
        });
    }

    /// Of several forms one must fit. If none does, the faults are those of the form whose type fits.
    fn check_one_of<'a>(
        &self,
        part: &Part,
        node: &'a Node,
        path: &mut Vec<&'a str>,
        faults: &mut Vec<Fault>,
    ) {
        let mut best: Option<Vec<Fault>> = None;
        let mut types = Vec::new();
        for &form in &part.one_of {
            let mut found = Vec::new();
            self.check(form, node, path, &mut found);
            if found.is_empty() {
                return;
            }
            let form = self.resolve(form);
            let inner = form.one_of.iter().flat_map(|&form| &self.resolve(form).types);
            let own: Vec<&str> = form.types.iter().chain(inner).map(String::as_str).collect();
            if own.iter().any(|name| is_type(node, name)) {
                best = Some(found);
            }
            types.extend(own);
        }
        match best {
            Some(found) => faults.extend(found),
            None => faults.push(wrong_type(node, path, types)),
        }
    }
}

fn unique(node: &Node, list: &[Node], path: &[&str], faults: &mut Vec<Fault>) {
    // Two long lists of mappings are compared pair by pair only where strings don't decide.
    let mut seen = BTreeMap::new();
    for (index, item) in list.iter().enumerate() {
        let twin = match item.as_text() {
            Some(text) => seen.insert(text, index),
            None if list.len() <= 1000 => list[..index].iter().position(|other| other == item),
            None => None,
        };
        if let Some(first) = twin {
            let at = if item.at.line > 0 { item } else { node };
            faults.push(Fault::of(at, format!("{} items at {first} and {index} are equal", name_of(path))));
        }
    }
}

fn is_type(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Int(_) => name == "integer" || name == "number",
        Value::Float(value) => name == "number" || name == "integer" && value.fract() == 0.0,
        Value::Float32(value) => name == "number" || name == "integer" && value.fract() == 0.0,
        Value::Text(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
    }
}

fn wrong_type(node: &Node, path: &[&str], types: Vec<&str>) -> Fault {
    let mut names: Vec<&str> = types
        .into_iter()
        .map(|name| match name {
            "object" => "mapping",
            "array" => "list",
            name => name,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let wanted = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    };
    let subject = if path.is_empty() { "the file".to_owned() } else { name_of(path) };
    Fault::of(node, format!("{subject} must be a {wanted}, not {}", node.kind()))
}

fn name_of(path: &[&str]) -> String {
    path.join(".").replace(".[]", "[]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn faults(text: &str) -> Vec<String> {
        let node = yaml::parse(text, 0).unwrap().remove(0);
        let mut faults = Vec::new();
        validate(&node, &mut faults);
        faults
            .into_iter()
            .map(|fault| {
                let hint = fault.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}: {}{hint}", fault.at.line, fault.message)
            })
            .collect()
    }

    #[test]
    fn all_of_the_schema_is_understood() {
        let rules = Rules::compile(TEXT);
        assert!(rules.parts.len() > 300, "{}", rules.parts.len());
        for part in &rules.parts {
            assert_ne!(part.pattern, Some(Pattern::Unknown));
            assert!(part.patterns.iter().all(|(pattern, _)| *pattern != Pattern::Unknown));
            if let Some(name) = &part.refers_to {
                assert!(rules.named.contains_key(name), "{name}");
            }
        }
        fn keywords(json: &Json, found: &mut std::collections::BTreeSet<String>) {
            for (key, value) in json.as_object().into_iter().flatten() {
                found.insert(key.clone());
                match key.as_str() {
                    "properties" | "patternProperties" | "definitions" => {
                        value.as_object().into_iter().flatten().for_each(|(_, part)| keywords(part, found));
                    }
                    _ => keywords(value, found),
                }
            }
            json.as_array().into_iter().flatten().for_each(|json| keywords(json, found));
        }
        let mut found = Default::default();
        keywords(&serde_json::from_str(TEXT).unwrap(), &mut found);
        let known = [
            "$ref",
            "additionalProperties",
            "definitions",
            "enum",
            "items",
            "maximum",
            "minimum",
            "oneOf",
            "pattern",
            "patternProperties",
            "properties",
            "required",
            "type",
            "uniqueItems",
        ];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), known);
    }

    #[test]
    fn all_faults_are_found_with_their_lines() {
        let text = "services:\n  web:\n    iamge: x\n    tty: [1]\n    ports: 80\n    cpu_percent: 101\n    \
                    depends_on: {db: {condition: service_health}}\n    cgroup: hots\n    volumes: [{type: bind, \
                    sourc: a}]\n  db: 5\nvolume: {}\n";
        assert_eq!(
            faults(text),
            [
                "10: services.db must be a mapping, not an integer",
                "8: services.web.cgroup value must be one of 'host', 'private' (did you mean \"host\"?)",
                "6: services.web.cpu_percent must be less than or equal to 100",
                "7: services.web.depends_on.db.condition value must be one of 'service_started', \
                 'service_healthy', 'service_completed_successfully' (did you mean \"service_healthy\"?)",
                "3: services.web additional properties 'iamge' not allowed (did you mean \"image\"?)",
                "5: services.web.ports must be a list, not an integer",
                "4: services.web.tty must be a boolean or string, not a list",
                "9: services.web.volumes[] additional properties 'sourc' not allowed (did you mean \"source\"?)",
                "11: additional properties 'volume' not allowed (did you mean \"volumes\"?)",
            ]
        );
    }

    #[test]
    fn what_the_schema_allows_passes() {
        let text = "x-a: 1\nservices:\n  web:\n    x-b: [1]\n    build: .\n    command: null\n    networks: {a: , b: \
                    {aliases: [c]}}\n    pull_policy: every_1d12h\n    environment: {A: 1, B: , C: true}\n    \
                    extra_hosts: {a: [1.2.3.4]}\n    env_file: [a, {path: b, required: false}]\n";
        assert_eq!(faults(text), [""; 0]);
        assert_eq!(faults("services: {web: {pull_policy: every_d}}").len(), 1);
        assert_eq!(faults("services: {'a b': {}}").len(), 1);
    }
}

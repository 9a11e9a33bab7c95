//! What differs between two models of a container, attribute by attribute.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value as Json;

use crate::out::Out;

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path, as in `environment.A`.
    pub attribute: String,
    /// What it was; none if it wasn't there.
    pub from: Option<String>,
    /// What it is to be; none if it goes.
    pub to: Option<String>,
}

/// What differs between a model that was kept as JSON and one that is wanted.
pub fn changes(old: &str, wanted: &Out) -> Vec<Change> {
    let old: Json = serde_json::from_str(old).unwrap_or_default();
    let new: Json = serde_json::from_str(&wanted.json(false)).unwrap_or_default();
    let mut found = Vec::new();
    compare(String::new(), &old, &new, &mut found);
    found
}

fn compare(path: String, old: &Json, new: &Json, found: &mut Vec<Change>) {
    if old == new {
        return;
    }
    // What isn't there is as good as empty: what is in the other is told one by one.
    let empty = Json::Object(serde_json::Map::new());
    let pair = match (old, new) {
        (Json::Object(_), Json::Null) => (old, &empty),
        (Json::Null, Json::Object(_)) => (&empty, new),
        pair => pair,
    };
    match pair {
        (Json::Object(a), Json::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let value = |map: &serde_json::Map<String, Json>| map.get(key).cloned().unwrap_or_default();
                compare(at, &value(a), &value(b), found);
            }
        }
        _ => {
            // Variables may be secrets: it is said that one differs, not what it is.
            let is_hidden = path.starts_with("environment.");
            let text = |value: &Json| match value {
                Json::Null => None,
                _ if is_hidden => Some("(hidden)".to_owned()),
                Json::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            found.push(Change { attribute: path, from: text(old), to: text(new) });
        }
    }
}

/// `image: a → b`
impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{}: {} → {}", self.attribute, text(&self.from), text(&self.to))
    }
}

//! Which events are shown. Source: moby daemon/events/filter.go.

use super::Event;
use std::collections::BTreeMap;

/// Values by key: those of one key are alternatives, but for labels, and all keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    values: BTreeMap<String, Vec<String>>,
}

/// Actions that are followed by what was executed, or by a state.
const OPEN_ACTIONS: [&str; 3] = ["health_status", "exec_create", "exec_start"];

impl Filter {
    /// The keys there are.
    pub const KEYS: [&str; 14] = [
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    ];

    /// Adds one more value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    /// Whether an event is to be shown.
    pub fn passes(&self, event: &Event) -> bool {
        self.values.iter().all(|(key, values)| {
            let exactly = |text: &str| values.iter().any(|value| value == text);
            let beginning = |text: &str| values.iter().any(|value| text.starts_with(value.as_str()));
            let attribute = |name| event.actor.attributes.get(name).map_or("", String::as_str);
            match key.as_str() {
                "event" if values.iter().any(|value| OPEN_ACTIONS.contains(&value.as_str())) => {
                    beginning(&event.action)
                }
                "event" => exactly(&event.action),
                "type" => exactly(&event.kind),
                "scope" => exactly(&event.scope),
                "label" => values.iter().all(|label| match label.split_once('=') {
                    Some((key, value)) => event.actor.attributes.get(key).is_some_and(|own| own == value),
                    None => event.actor.attributes.contains_key(label),
                }),
                "image" => {
                    let name = attribute(if event.kind == "image" { "name" } else { "image" });
                    let id = &event.actor.id;
                    [id, name, without_tag(id), without_tag(name)].into_iter().any(exactly)
                }
                _ => beginning(&event.actor.id) || beginning(attribute("name")),
            }
        })
    }
}

/// A name of an image without tag and digest.
fn without_tag(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

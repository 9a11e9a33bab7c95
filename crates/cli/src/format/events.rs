//! Events as docker prints them.

use engine::events::Event;
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::{template, time};
use crate::failure::Failure;

/// How events are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Docker's line.
    Line,
    /// A JSON document a line.
    Json,
    /// A Go template.
    Template(String),
}

impl Format {
    /// Reads a `--format`; a template is tried on an empty event, as docker does.
    pub fn parse(text: &str) -> Result<Format, Failure> {
        match text {
            "" => Ok(Format::Line),
            "json" | "{{json .}}" => Ok(Format::Json),
            source => {
                template::one(source, &fields(&Event::default(), source))
                    .map_err(|failure| failure.code(64))?;
                Ok(Format::Template(source.to_owned()))
            }
        }
    }

    /// Events as text.
    pub fn text(&self, events: &[Event]) -> Result<String, Failure> {
        match self {
            Format::Line => Ok(events.iter().map(line).collect()),
            Format::Json => Ok(events
                .iter()
                // Plain data always serialises.
                .map(|event| serde_json::to_string(event).unwrap_or_default() + "\n")
                .collect()),
            Format::Template(source) => {
                let lines = template::Format::Lines(source.clone());
                template::rows(&lines, &[], events.iter().map(|event| fields(event, source)))
            }
        }
    }
}

/// How a template names an attribute.
const ATTRIBUTE: &str = ".Actor.Attributes.";

/// The fields by which the template `source` names them; of attributes, those that it names are there in any case, since an
/// attribute that is missing is no failure. Source: moby api/types/events, Message; Go's text/template.
fn fields(event: &Event, source: &str) -> Json {
    let mut attributes = event.actor.attributes.clone();
    for named in source.split(ATTRIBUTE).skip(1) {
        let end = named.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(named.len());
        attributes.entry(named[..end].to_owned()).or_insert_with(|| "<no value>".to_owned());
    }
    json!({
        "Status": event.status,
        "ID": event.id,
        "From": event.from,
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.actor.id, "Attributes": attributes },
        "Scope": event.scope,
        "Time": event.time,
        "TimeNano": event.time_ns,
    })
}

fn line(event: &Event) -> String {
    let since = Duration::from_nanos(u64::try_from(event.time_ns).unwrap_or_default());
    let seconds = time::rfc3339(UNIX_EPOCH + since);
    let mut line = format!(
        "{}.{:09}Z {} {} {}",
        seconds.trim_end_matches('Z'),
        since.subsec_nanos(),
        event.kind,
        types::inert::inert(&event.action),
        types::inert::inert(&event.actor.id)
    );
    let attributes = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
    let attributes = attributes.collect::<Vec<_>>().join(", ");
    if !attributes.is_empty() {
        let _ = write!(line, " ({})", types::inert::inert(&attributes));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        serde_json::from_str(
            r#"{"status":"die","id":"c1","from":"alpine","Type":"container","Action":"die","Actor":{"ID":"c1","Attributes":{"execDuration":"0","exitCode":"3","image":"alpine","name":"web"}},"scope":"local","time":1764093600,"timeNano":1764093600012345000}"#,
        )
        .expect("valid")
    }

    /// As docker/cli prints them: cli/command/system/events.go.
    #[test]
    fn events_read_as_dockers() {
        let text = |format: &str| Format::parse(format).and_then(|format| format.text(&[event()]));
        assert_eq!(
            text("").expect("valid"),
            "2025-11-25T18:00:00.012345000Z container die c1 (execDuration=0, exitCode=3, image=alpine, name=web)\n"
        );
        let json = text("json").expect("valid");
        assert_eq!(json, serde_json::to_string(&event()).expect("valid") + "\n");
        assert!(json.starts_with(r#"{"status":"die","id":"c1","from":"alpine","Type":"#), "{json}");
        assert_eq!(
            text("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.TimeNano}}").expect("valid"),
            "container die web 1764093600012345000\n"
        );
        assert_eq!(text("{{.Actor.Attributes.none}}").expect("valid"), "<no value>\n");
        assert_eq!(Format::parse("{{.Nope}}").expect_err("refused").exit_code, 64);
    }
}

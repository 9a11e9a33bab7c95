//! BuildKit's `SolveStatus`, a line for each event: what `--progress=rawjson` of buildx prints.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use engine::build::Event;
use serde_json::{Value, json};

/// What was told of each piece of work.
#[derive(Debug)]
pub struct RawJson {
    vertexes: BTreeMap<usize, Value>,
}

impl RawJson {
    /// Nothing yet.
    pub fn new() -> RawJson {
        RawJson { vertexes: BTreeMap::new() }
    }

    /// Writes an event's line.
    pub fn tell(&mut self, event: &Event) {
        if let Some(line) =
            self.line(event, &crate::format::time::rfc3339_nanos(std::time::SystemTime::now()))
        {
            // A reader that went away is told nothing more.
            let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
        }
    }

    fn line(&mut self, event: &Event, now: &str) -> Option<Value> {
        match event {
            Event::Begun { id, name } => {
                let vertex = json!({ "digest": digest(*id), "name": name, "started": now });
                self.vertexes.insert(*id, vertex.clone());
                Some(json!({ "vertexes": [vertex] }))
            }
            Event::Cached { id, name } => {
                let vertex = json!({ "digest": digest(*id), "name": name, "started": now, "completed": now, "cached": true });
                Some(json!({ "vertexes": [vertex] }))
            }
            Event::Status { id, text } => {
                let status = json!({ "id": text, "vertex": digest(*id), "name": text, "current": 0, "timestamp": now });
                Some(json!({ "statuses": [status] }))
            }
            Event::Output { id, stream, bytes } => {
                let data = base64::engine::general_purpose::STANDARD.encode(bytes);
                let log = json!({ "vertex": digest(*id), "stream": stream, "data": data, "timestamp": now });
                Some(json!({ "logs": [log] }))
            }
            Event::Done { id, error } => {
                let mut vertex = self.vertexes.remove(id)?;
                vertex["completed"] = now.into();
                if let Some(error) = error {
                    vertex["error"] = error.clone().into();
                }
                Some(json!({ "vertexes": [vertex] }))
            }
            Event::Warning { text, .. } => {
                let short = base64::engine::general_purpose::STANDARD.encode(text);
                Some(json!({ "warnings": [{ "level": 1, "short": short }] }))
            }
        }
    }
}

/// A name of the form that readers expect of a vertex.
fn digest(id: usize) -> String {
    format!("sha256:{id:064x}")
}

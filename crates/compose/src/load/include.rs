//! `include`: other projects, each with paths and variables of its own, become part of this one.

use super::{Environment, Loader, Place, Stopped, parent, remote, way};
use crate::dotenv;
use crate::fault::Fault;
use crate::files::FileKind;
use crate::node::{Map, Node, Value};
use crate::{resolve, short};

impl Loader<'_> {
    /// Loads what a document includes into the document.
    pub(super) fn include(
        &mut self,
        document: &mut Node,
        path: &str,
        place: Place,
        included: &[String],
    ) -> Result<(), Stopped> {
        let Some(include) = document.as_map_mut().and_then(|map| map.remove("include")) else {
            return Ok(());
        };
        let mut chain = included.to_vec();
        chain.push(path.to_owned());
        match &include.value {
            Value::Null => return Ok(()),
            Value::List(list) => {
                for entry in list {
                    self.include_one(document, entry, place, &chain)?;
                }
            }
            _ => {
                return self
                    .stop(Fault::of(&include, format!("`include` must be a list, not {}", include.kind())));
            }
        }
        self.go_on()
    }

    fn include_one(
        &mut self,
        document: &mut Node,
        entry: &Node,
        place: Place,
        chain: &[String],
    ) -> Result<(), Stopped> {
        if !matches!(entry.value, Value::Text(_) | Value::Map(_)) {
            let message = format!("include[] must be a mapping or string, not {}", entry.kind());
            return self.stop(Fault::of(entry, message));
        }
        for (key, node) in entry.as_map().into_iter().flatten() {
            if !matches!(key.as_str(), "path" | "env_file" | "project_directory") {
                let message = format!("include[] additional properties '{key}' not allowed");
                return self.stop(Fault::at(node.mark(), message));
            }
        }
        let named = if entry.as_text().is_some() { vec![entry] } else { strings(entry.get("path")) };
        let mut paths = Vec::new();
        for node in &named {
            let path = node.plain();
            if let Some(kind) = remote(&path) {
                return self.stop(Fault::of(node, format!("{path}: files from a {kind} are not supported")));
            }
            let full = resolve::absolute(place.dir, &path, self.files);
            if self.files.kind(&full) != Some(FileKind::File) {
                return self.stop(Fault::of(node, format!("cannot include {path}: no such file")));
            }
            paths.push(full);
        }
        let Some(first) = paths.first() else {
            return self.stop(Fault::of(entry, "include[] names no path"));
        };
        if chain.contains(first) {
            let way = chain.iter().chain([first]).map(String::as_str).collect::<Vec<_>>().join("\n include ");
            return self.stop(Fault::of(entry, format!("include cycle detected:\n{way}")));
        }
        let dir = match entry.get("project_directory").map(Node::plain).filter(|dir| !dir.is_empty()) {
            Some(dir) => resolve::absolute(place.dir, &dir, self.files),
            None => parent(first).to_owned(),
        };
        let environment = self.included_environment(entry, &dir, place)?;
        let base = way(place.dir, &dir);
        let inner = Place { dir: &dir, base: &base, environment: &environment };
        let project = self.project(&paths, inner, chain)?;
        self.import(document, project, entry)
    }

    /// The variables of an included project: this one's, then those of its own files.
    fn included_environment(
        &mut self,
        entry: &Node,
        dir: &str,
        place: Place,
    ) -> Result<Environment, Stopped> {
        let mut files: Vec<(Option<&Node>, String)> = Vec::new();
        for node in strings(entry.get("env_file")) {
            files.push((Some(node), resolve::absolute(place.dir, &node.plain(), self.files)));
        }
        if files.is_empty() {
            let default = short::join(dir, ".env");
            if self.files.kind(&default) == Some(FileKind::File) {
                files.push((None, default));
            }
        }
        let mut found = Environment::new();
        for (node, path) in files {
            let at = node.unwrap_or(entry);
            let text = match self.files.read(&path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) => return self.stop(Fault::of(at, format!("cannot read {path}: {error}"))),
            };
            let lookup = |name: &str| place.environment.get(name).cloned();
            if let Err(fault) = dotenv::parse(&text, &mut found, &lookup) {
                return self.stop(Fault::of(at, format!("failed to read {path}: {fault}")));
            }
        }
        let mut environment = place.environment.clone();
        for (name, value) in found {
            environment.entry(name).or_insert(value);
        }
        Ok(environment)
    }

    /// Adds the resources of an included project; the same name with another content is a fault.
    fn import(&mut self, document: &mut Node, mut project: Node, entry: &Node) -> Result<(), Stopped> {
        let Some(target) = document.as_map_mut() else { return Ok(()) };
        for section in ["services", "volumes", "networks", "secrets", "configs", "models"] {
            let Some(Value::Map(resources)) =
                project.get_mut(section).map(|node| std::mem::take(&mut node.value))
            else {
                continue;
            };
            let own = target.entry(section.to_owned()).or_insert_with(|| entry.with(Value::Map(Map::new())));
            if own.is_null() {
                own.value = Value::Map(Map::new());
            }
            let Some(own) = own.as_map_mut() else { continue };
            for (name, resource) in resources {
                match own.get(&name) {
                    Some(known) if *known == resource => {}
                    Some(known) => {
                        let message = format!("{section}.{name} conflicts with imported resource");
                        self.faults.push(Fault::at(known.mark(), message));
                    }
                    None => _ = own.insert(name, resource),
                }
            }
        }
        self.go_on()
    }
}

/// A string, or the strings of a list.
fn strings(node: Option<&Node>) -> Vec<&Node> {
    match node.map(|node| (&node.value, node)) {
        Some((Value::Text(_), node)) => vec![node],
        Some((Value::List(list), _)) => list.iter().collect(),
        _ => Vec::new(),
    }
}

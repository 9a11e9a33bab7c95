//! `extends`: a service begins as another one, of this file or of another.

use super::{Loader, Place, Resets, Stopped, apply_resets, parent, remote, way};
use crate::canonical;
use crate::fault::{Fault, did_you_mean};
use crate::merge;
use crate::node::{Map, Node, Value};
use crate::path::Path;
use crate::{resolve, short};

/// A file that services are extended from.
#[derive(Clone)]
pub(crate) struct Extended {
    services: Map,
    resets: Resets,
}

/// A service that extends another, and where it is.
struct Extending<'a> {
    name: &'a str,
    /// The file, as messages name it.
    file: &'a str,
    place: Place<'a>,
    resets: &'a Resets,
}

/// How many services may extend each other in a row.
const CHAIN_MAX: usize = 100;

impl Loader<'_> {
    /// Extends the services of a document, in place.
    pub(super) fn extend_services(
        &mut self,
        document: &mut Node,
        file: &str,
        place: Place,
        resets: &Resets,
    ) -> Result<(), Stopped> {
        let Some(services) = document.get_mut("services").and_then(Node::as_map_mut) else { return Ok(()) };
        let extending = |node: &Node| node.get("extends").is_some();
        let names: Vec<String> =
            services.iter().filter(|(_, node)| extending(node)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let service = Extending { name: &name, file, place, resets };
            // What is wrong with one doesn't keep the others from being looked at.
            if let Ok(Some(extended)) = self.extend(service, services, &mut Vec::new()) {
                services.insert(name, extended);
            }
        }
        self.go_on()
    }

    /// The service with all that it began as. None if it is null.
    fn extend(
        &mut self,
        extending: Extending,
        services: &mut Map,
        chain: &mut Vec<(String, String)>,
    ) -> Result<Option<Node>, Stopped> {
        let Extending { name, file, place, resets } = extending;
        let Some(service) = services.get(name).filter(|service| !service.is_null()).cloned() else {
            return Ok(None);
        };
        let Some(extends) = service.get("extends") else { return Ok(Some(service)) };
        let (base_name, other_file) = match &extends.value {
            Value::Text(base) => (base.clone(), None),
            _ => match extends.get("service").and_then(Node::as_text) {
                Some(base) => (base.to_owned(), extends.get("file").filter(|file| !file.is_null())),
                None => {
                    return self
                        .stop(Fault::of(extends, format!("services.{name}.extends.service is required")));
                }
            },
        };
        let link = (file.to_owned(), name.to_owned());
        if chain.contains(&link) || chain.len() > CHAIN_MAX {
            let way: Vec<&str> = chain.iter().map(|(_, name)| name.as_str()).collect();
            let message =
                format!("circular reference: services {} -> {name} extend each other", way.join(" -> "));
            return self.stop(Fault::of(extends, message));
        }
        chain.push(link);
        let base = match other_file {
            None => {
                if !services.contains_key(&base_name) {
                    return self.stop(missing(extends, name, file, &base_name, services));
                }
                let base = Extending { name: &base_name, file, place, resets };
                self.extend(base, services, chain)?
            }
            Some(path) => {
                let path_text = path.plain();
                let mut other = self.extended_file(path, &path_text, place)?;
                if !other.services.contains_key(&base_name) {
                    return self.stop(missing(extends, name, &path_text, &base_name, &other.services));
                }
                let base = Extending { name: &base_name, file: &path_text, place, resets: &other.resets };
                self.extend(base, &mut other.services, chain)?
            }
        };
        chain.pop();
        let Some(base) = base else { return Ok(Some(service)) };
        let base = reset_base(base, name, resets);
        let path = Path::root().next("services").next("x");
        let mut merged = merge::merge(base, service, path, &mut self.faults);
        if let Some(map) = merged.as_map_mut() {
            map.remove("extends");
        }
        services.insert(name.to_owned(), merged.clone());
        Ok(Some(merged))
    }

    /// The services of another file, in their long form, with paths relative to this project.
    fn extended_file(&mut self, node: &Node, path: &str, place: Place) -> Result<Extended, Stopped> {
        if let Some(kind) = remote(path) {
            return self.stop(Fault::of(node, format!("{path}: files from a {kind} are not supported")));
        }
        let full = resolve::absolute(place.dir, path, self.files);
        let key = (full.clone(), place.base.to_owned());
        if let Some(known) = self.extended.get(&key) {
            return Ok(known.clone());
        }
        if self.files.kind(&full).is_none() {
            return self.stop(Fault::of(node, format!("cannot extend from {path}: no such file")));
        }
        let mut file = Node::new(Value::Map(Map::new()));
        let mut resets = Resets::new();
        for mut document in self.parse(&full, place.dir)? {
            if document.is_null() {
                continue;
            }
            resets = self.prepare(&mut document, place.environment)?;
            self.go_on()?;
            apply_resets(&mut file, &resets);
            file = merge::merge(file, document, Path::root(), &mut self.faults);
            merge::remove_replaced(&mut file, Path::root());
            canonical::canonical(&mut file, !self.steps.interpolate, &mut self.faults);
            merge::remove_replaced(&mut file, Path::root());
            self.go_on()?;
        }
        resolve::paths(&mut file, &way(place.dir, parent(&full)), self.files);
        let services = match file.as_map_mut().and_then(|map| map.remove("services")) {
            Some(Node { value: Value::Map(services), .. }) => services,
            _ => {
                return self.stop(Fault::of(node, format!("cannot extend from {path}: no services section")));
            }
        };
        let extended = Extended { services, resets };
        self.extended.insert(key, extended.clone());
        Ok(extended)
    }
}

/// The base without what the extending service resets.
fn reset_base(base: Node, name: &str, resets: &Resets) -> Node {
    let services = Map::from([(name.to_owned(), base)]);
    let mut file =
        Node::new(Value::Map(Map::from([("services".to_owned(), Node::new(Value::Map(services)))])));
    // `services.x: !override` is about files, not about what the service extends.
    let deeper: Resets = resets.iter().filter(|path| path.len() > 2).cloned().collect();
    apply_resets(&mut file, &deeper);
    let base = file.get_mut("services").and_then(|services| services.get_mut(name)).map(std::mem::take);
    base.unwrap_or_default()
}

fn missing(extends: &Node, name: &str, file: &str, base: &str, services: &Map) -> Fault {
    let file = short::clean(file);
    let message = format!("cannot extend service \"{name}\" in {file}: service \"{base}\" not found");
    let fault = Fault::of(extends.get("service").unwrap_or(extends), message);
    match did_you_mean(base, services.keys().map(String::as_str)) {
        Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
        None => fault,
    }
}

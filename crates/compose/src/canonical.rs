//! Short forms to long ones, and defaults: one form for what can be said in several.

use crate::fault::Fault;
use crate::merge::dependency;
use crate::node::{Map, Node, Value};
use crate::short;

/// Brings a validated file into its long form, in place. With `lenient`, what can't be read because variables in it
/// aren't replaced stays as it is.
pub fn canonical(file: &mut Node, lenient: bool, faults: &mut Vec<Fault>) {
    let mut work = Work { lenient, faults };
    for (name, service) in entries(file, "services") {
        work.service(name, service);
    }
    for section in ["volumes", "networks", "secrets", "configs"] {
        for (name, resource) in entries(file, section) {
            work.external(section, name, resource);
        }
    }
}

/// The entries of a mapping in a section of a file.
pub fn entries<'a>(file: &'a mut Node, section: &str) -> impl Iterator<Item = (&'a String, &'a mut Node)> {
    file.get_mut(section).and_then(Node::as_map_mut).into_iter().flatten()
}

struct Work<'a> {
    lenient: bool,
    faults: &'a mut Vec<Fault>,
}

impl Work<'_> {
    fn service(&mut self, name: &str, service: &mut Node) {
        let Some(map) = service.as_map_mut() else { return };
        if let Some(build) = map.get_mut("build") {
            self.build(name, build);
        }
        for (key, node) in map.iter_mut() {
            match key.as_str() {
                "depends_on" => dependencies(node),
                "env_file" => env_files(node),
                "label_file" | "dns" => string_or_list(node),
                "extends" => {
                    if let Value::Text(service) = &node.value {
                        let service = Node::text(service, node);
                        node.value = Value::Map(Map::from([("service".to_owned(), service)]));
                    }
                }
                "gpus" if node.as_text().is_some() => {
                    let all = Map::from([("count".to_owned(), Node::text("all", node))]);
                    node.value = Value::List(vec![node.with(Value::Map(all))]);
                }
                "networks" | "models" => names(node),
                "volumes" => self.each(name, key, node, short::volume),
                "devices" => self.each(name, key, node, device),
                "secrets" | "configs" => self.each(name, key, node, source),
                "ports" => self.ports(name, node),
                "develop" => {
                    for watch in node.get_mut("watch").and_then(Node::as_list_mut).into_iter().flatten() {
                        watch.get_mut("ignore").into_iter().for_each(string_or_list);
                        watch.get_mut("include").into_iter().for_each(string_or_list);
                    }
                }
                _ => {}
            }
        }
        // What is empty means nothing here. Source: compose-go's loader/omitEmpty.go.
        if let Some(dns) = map.get_mut("dns").and_then(Node::as_list_mut) {
            dns.retain(|server| !server.is_null() && server.as_text() != Some(""));
        }
    }

    fn fault(&mut self, name: &str, key: &str, node: &Node, message: String) {
        if !self.lenient {
            self.faults.push(Fault::of(node, format!("services.{name}.{key}: {message}")));
        }
    }

    /// Reads strings of a list by `read`.
    fn each(
        &mut self,
        name: &str,
        key: &str,
        list: &mut Node,
        read: fn(&str, &Node) -> Result<Node, String>,
    ) {
        for node in list.as_list_mut().into_iter().flatten() {
            let Some(text) = node.as_text() else { continue };
            match read(text, node) {
                Ok(long) => *node = long,
                Err(message) => self.fault(name, key, &node.clone(), message),
            }
        }
    }

    /// Ports together, since one may become several. With `lenient`, all stay as they are if one does.
    fn ports(&mut self, name: &str, node: &mut Node) {
        let Some(list) = node.as_list_mut() else { return };
        let mut ports = Vec::new();
        let mut wrong = Vec::new();
        for port in list.iter() {
            match port.as_map() {
                Some(_) => ports.push(port.clone()),
                None => match short::ports(&port.plain(), port) {
                    Ok(read) => ports.extend(read),
                    Err(message) => wrong.push((port.clone(), message)),
                },
            }
        }
        if wrong.is_empty() {
            *list = ports;
        }
        wrong.into_iter().for_each(|(port, message)| self.fault(name, "ports", &port, message));
    }

    fn build(&mut self, name: &str, build: &mut Node) {
        if let Value::Text(context) = &build.value {
            let context = Node::text(context, build);
            build.value = Value::Map(Map::from([("context".to_owned(), context)]));
        }
        let Some(map) = build.as_map_mut() else { return };
        for (key, node) in map {
            match key.as_str() {
                "secrets" => self.each(name, "build.secrets", node, source),
                "provenance" | "sbom" => *node = Node::text(node.plain(), node),
                "additional_contexts" => {
                    let Some(list) = node.as_list() else { continue };
                    let mut map = Map::new();
                    let mut wrong = None;
                    for item in list {
                        match item.as_text().and_then(|text| text.split_once('=')) {
                            Some((key, value)) => _ = map.insert(key.to_owned(), Node::text(value, item)),
                            None => wrong = Some(item.clone()),
                        }
                    }
                    match wrong {
                        Some(item) => {
                            let message = format!("invalid value {}, expected key=value", item.plain());
                            self.fault(name, "build.additional_contexts", &item, message);
                        }
                        None => node.value = Value::Map(map),
                    }
                }
                "ssh" => {
                    let Some(list) = node.as_list() else { continue };
                    let mut map = Map::new();
                    for item in list {
                        let text = item.plain();
                        match text.split_once('=') {
                            Some((id, path)) => _ = map.insert(id.to_owned(), Node::text(path, item)),
                            None if text == "default" => _ = map.insert(text, item.with(Value::Null)),
                            None => {
                                self.fault(name, "build.ssh", item, format!("invalid ssh key \"{text}\""))
                            }
                        }
                    }
                    node.value = Value::Map(map);
                }
                _ => {}
            }
        }
    }

    /// `external: {name: x}`, the old way to say `external: true` and `name: x`.
    fn external(&mut self, section: &str, name: &str, resource: &mut Node) {
        let Some(map) = resource.as_map_mut() else { return };
        let Some(external) = map.get_mut("external") else { return };
        let Some(inner) = external.as_map_mut().and_then(|inner| inner.remove("name")) else {
            if external.as_map().is_some() {
                external.value = Value::Bool(true);
            }
            return;
        };
        external.value = Value::Bool(true);
        match map.get("name") {
            Some(outer) if *outer != inner => {
                let message = "name and external.name conflict; only use name";
                self.faults.push(Fault::of(&inner, format!("{section}.{name}: {message}")));
            }
            Some(_) => {}
            None => _ = map.insert("name".to_owned(), inner),
        }
    }
}

fn string_or_list(node: &mut Node) {
    if node.as_text().is_some() {
        node.value = Value::List(vec![Node { key: Default::default(), ..node.clone() }]);
    }
}

fn names(node: &mut Node) {
    if let Some(list) = node.as_list() {
        let entry = |item: &Node| Some((item.as_text()?.to_owned(), item.with(Value::Null)));
        node.value = Value::Map(list.iter().filter_map(entry).collect());
    }
}

fn dependencies(node: &mut Node) {
    match &mut node.value {
        Value::List(list) => {
            let entry =
                |item: &Node| Some((item.as_text()?.to_owned(), item.with(Value::Map(dependency(item)))));
            node.value = Value::Map(list.iter().filter_map(entry).collect());
        }
        Value::Map(map) => {
            for entry in map.values_mut() {
                let defaults = dependency(entry);
                let Some(entry) = entry.as_map_mut() else { continue };
                for (key, value) in defaults {
                    entry.entry(key).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

fn env_files(node: &mut Node) {
    string_or_list(node);
    for file in node.as_list_mut().into_iter().flatten() {
        if file.as_text().is_some() {
            let path = Node { key: Default::default(), ..file.clone() };
            file.value = Value::Map(Map::from([("path".to_owned(), path)]));
        }
        let required = file.with(Value::Bool(true));
        if let Some(map) = file.as_map_mut() {
            map.entry("required".to_owned()).or_insert(required);
        }
    }
}

fn source(name: &str, like: &Node) -> Result<Node, String> {
    Ok(like.with(Value::Map(Map::from([("source".to_owned(), Node::text(name, like))]))))
}

fn device(spec: &str, like: &Node) -> Result<Node, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => return Err(format!("confusing device mapping, please use long syntax: {spec}")),
    };
    let target = if target.is_empty() { source } else { target };
    Ok(like.with(Value::Map(Map::from([
        ("source".to_owned(), Node::text(source, like)),
        ("target".to_owned(), Node::text(target, like)),
        ("permissions".to_owned(), Node::text(permissions, like)),
    ]))))
}

/// Sets what the long forms leave out, in place. Source: compose-go's transform/defaults.go.
pub fn set_defaults(file: &mut Node) {
    fn default(node: &mut Node, key: &str, value: &str) {
        let value = Node::text(value, node);
        if let Some(map) = node.as_map_mut() {
            map.entry(key.to_owned()).or_insert(value);
        }
    }
    fn devices(node: Option<&mut Node>) {
        for device in node.and_then(Node::as_list_mut).into_iter().flatten() {
            if device.get("count").is_none() && device.get("device_ids").is_none() {
                default(device, "count", "all");
            }
        }
    }
    for (_, service) in entries(file, "services") {
        service.get_mut("build").into_iter().for_each(|build| default(build, "context", "."));
        for secret in service.get_mut("secrets").and_then(Node::as_list_mut).into_iter().flatten() {
            let name = secret.get("source").map(Node::plain).unwrap_or_default();
            default(secret, "target", &format!("/run/secrets/{name}"));
        }
        for port in service.get_mut("ports").and_then(Node::as_list_mut).into_iter().flatten() {
            default(port, "protocol", "tcp");
            default(port, "mode", "ingress");
        }
        let mut node = Some(&mut *service);
        for key in ["deploy", "resources", "reservations", "devices"] {
            node = node.and_then(|node| node.get_mut(key));
        }
        devices(node);
        devices(service.get_mut("gpus"));
    }
}

/// What the schema can't say. Source: compose-go's package validation.
pub fn check(file: &mut Node, faults: &mut Vec<Fault>) {
    for (name, volume) in entries(file, "volumes") {
        let Some(map) = volume.as_map() else { continue };
        if map.get("external").is_some_and(is_true) {
            let other = map
                .iter()
                .find(|(key, _)| !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-"));
            if let Some((key, node)) = other {
                let message =
                    format!("volumes.{name}: conflicting parameters \"external\" and \"{key}\" specified");
                faults.push(Fault::at(node.mark(), message));
            }
        }
    }
    for (section, keys) in
        [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"][..])]
    {
        for (name, node) in entries(file, section) {
            let Some(map) = node.as_map() else {
                faults.push(Fault::at(node.mark(), format!("{section}.{name} must be a mapping")));
                continue;
            };
            let count = keys.iter().filter(|key| map.contains_key(**key)).count();
            let subject = format!("{section}.{name}");
            if count > 1 {
                let message = format!("{subject}: {} attributes are mutually exclusive", keys.join("|"));
                faults.push(Fault::at(node.mark(), message));
            } else if count == 0 && !map.contains_key("driver") && !map.contains_key("external") {
                let message = format!("{subject}: one of {} must be set", keys.join("|"));
                faults.push(Fault::at(node.mark(), message));
            }
        }
    }
    for (name, service) in entries(file, "services") {
        for port in list_of(service, &["ports"]) {
            if let Some(address) = port.get("host_ip")
                && address.plain().parse::<std::net::IpAddr>().is_err()
            {
                let message = format!("services.{name}.ports[]: invalid ip address: {}", address.plain());
                faults.push(Fault::of(address, message));
            }
        }
        for path in list_of(service, &["develop", "watch"]).iter().filter_map(|watch| watch.get("path")) {
            if path.plain().is_empty() {
                let message = format!("services.{name}.develop.watch[].path: value can't be blank");
                faults.push(Fault::of(path, message));
            }
        }
        for path in [&["gpus"][..], &["deploy", "resources", "reservations", "devices"][..]] {
            for device in list_of(service, path) {
                if device.get("count").is_some() && device.get("device_ids").is_some() {
                    let subject = format!("services.{name}.{}[]", path.join("."));
                    let message = format!("{subject}: \"count\" and \"device_ids\" attributes are exclusive");
                    faults.push(Fault::of(device, message));
                }
            }
        }
    }
}

fn list_of<'a>(node: &'a Node, path: &[&str]) -> &'a [Node] {
    let found = path.iter().try_fold(node, |node, key| node.get(key));
    found.and_then(Node::as_list).unwrap_or_default()
}

/// Whether `external` says so.
pub fn is_true(node: &Node) -> bool {
    matches!(node.value, Value::Bool(true))
        || matches!(node.as_text(), Some("true" | "True" | "TRUE" | "1" | "t" | "T"))
}

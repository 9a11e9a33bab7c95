//! Relative paths to absolute ones, and values from the environment.

use crate::canonical::entries;
use crate::files::Files;
use crate::node::{Map, Node, Value};
use crate::short;

/// Makes the paths in a file absolute, or relative to what `base` is relative to, in place. Source: compose-go's package
/// paths.
pub fn paths(file: &mut Node, base: &str, files: &dyn Files) {
    let work = Paths { base, files };
    for (_, service) in entries(file, "services") {
        work.service(service);
    }
    for section in ["configs", "secrets"] {
        for (_, node) in entries(file, section) {
            node.get_mut("file").into_iter().for_each(|path| work.absolute(path));
        }
    }
    for (_, volume) in entries(file, "volumes") {
        let is_local = volume.get("driver").and_then(Node::as_text) == Some("local");
        let Some(options) = volume.get_mut("driver_opts").filter(|_| is_local) else { continue };
        // A bind mount in a volume's clothes.
        if options.get("o").and_then(Node::as_text) == Some("bind") {
            options.get_mut("device").into_iter().for_each(|path| work.absolute(path));
        }
    }
}

struct Paths<'a> {
    base: &'a str,
    files: &'a dyn Files,
}

impl Paths<'_> {
    fn service(&self, service: &mut Node) {
        if let Some(build) = service.get_mut("build") {
            build.get_mut("context").into_iter().for_each(|context| self.context(context));
            for context in values(build.get_mut("additional_contexts")) {
                self.context(context);
            }
            values(build.get_mut("ssh")).for_each(|path| self.absolute(path));
        }
        for file in items(service.get_mut("env_file")) {
            file.get_mut("path").into_iter().for_each(|path| self.absolute(path));
        }
        items(service.get_mut("label_file")).for_each(|path| self.absolute(path));
        if let Some(file) = service.get_mut("extends").and_then(|extends| extends.get_mut("file")) {
            self.absolute(file);
        }
        for watch in items(service.get_mut("develop").and_then(|develop| develop.get_mut("watch"))) {
            if let Some(path) = watch.get_mut("path") {
                self.absolute(path);
                if let Some(real) = path.as_text().and_then(|path| self.files.real_path(path)) {
                    path.value = Value::Text(real);
                }
            }
        }
        for volume in items(service.get_mut("volumes")) {
            if volume.get("type").and_then(Node::as_text) == Some("bind") {
                volume.get_mut("source").into_iter().for_each(|path| self.absolute(path));
            }
        }
    }

    fn absolute(&self, node: &mut Node) {
        let Value::Text(path) = &mut node.value else { return };
        if path.is_empty() {
            return;
        }
        *path = absolute(self.base, path, self.files);
    }

    /// A context of a build: a path, or what the builder fetches.
    fn context(&self, node: &mut Node) {
        const REMOTE: [&str; 6] = ["https://", "http://", "git://", "ssh://", "github.com/", "git@"];
        let Some(context) = node.as_text() else { return };
        if context.contains("://")
            || context.starts_with("service:")
            || REMOTE.iter().any(|prefix| context.starts_with(prefix))
        {
            return;
        }
        self.absolute(node);
    }
}

/// `path` below `base`, with `~` as the user's home.
pub fn absolute(base: &str, path: &str, files: &dyn Files) -> String {
    let path = match path.strip_prefix('~').zip(files.home()) {
        Some((rest, home)) => short::join(&home, rest),
        None => path.to_owned(),
    };
    let drive = path.as_bytes();
    let is_windows = path.starts_with("\\\\")
        || drive.len() > 2
            && drive[0].is_ascii_alphabetic()
            && drive[1] == b':'
            && matches!(drive[2], b'/' | b'\\');
    if path.starts_with('/') || is_windows { path } else { short::join(base, &path) }
}

fn items(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_list_mut).into_iter().flatten()
}

fn values(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut())
}

/// Fills in what services, secrets and configs take from the environment.
pub fn environment(file: &mut Node, lookup: &dyn Fn(&str) -> Option<String>) {
    for (_, service) in entries(file, "services") {
        for item in items(service.get_mut("environment")) {
            if let Some(value) = item.as_text().and_then(|name| Some(format!("{name}={}", lookup(name)?))) {
                item.value = Value::Text(value);
            }
        }
    }
    for (section, key) in [("secrets", SECRET_CONTENT), ("configs", "content")] {
        for (_, node) in entries(file, section) {
            let Some(variable) = node.get("environment") else { continue };
            if let Some(value) = variable.as_text().and_then(lookup) {
                let content = Node::text(value, variable);
                node.as_map_mut().into_iter().for_each(|map| _ = map.insert(key.to_owned(), content.clone()));
            }
        }
    }
}

/// Where a secret's content from the environment is kept, out of reach of the files.
pub const SECRET_CONTENT: &str = "x-#value";

/// Moves attributes to their one place and adds what is implied: the default network, names, dependencies by links and
/// namespaces. Source: compose-go's loader/normalize.go.
pub fn normalize(file: &mut Node, project: &str, lookup: &dyn Fn(&str) -> Option<String>) {
    default_network(file);
    for (_, service) in entries(file, "services") {
        normalize_service(service, lookup);
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        for (key, node) in entries(file, section) {
            if node.is_null() {
                node.value = Value::Map(Map::new());
            }
            let is_external = node.get("external").is_some_and(crate::canonical::is_true);
            let name = if is_external { key.clone() } else { format!("{project}_{key}") };
            let name = Node::text(name, node);
            if let Some(map) = node.as_map_mut() {
                map.entry("name".to_owned()).or_insert(name);
            }
        }
    }
}

fn default_network(file: &mut Node) {
    let mut is_used = false;
    for (_, service) in entries(file, "services") {
        if service.get("provider").is_some() || service.get("network_mode").is_some() {
            continue;
        }
        let default = service.with(Value::Map(Map::from([("default".to_owned(), Node::default())])));
        let Some(map) = service.as_map_mut() else { continue };
        match map.get("networks").map(|networks| networks.as_map()) {
            Some(Some(networks)) if !networks.is_empty() => is_used |= networks.contains_key("default"),
            _ => {
                map.insert("networks".to_owned(), default);
                is_used = true;
            }
        }
    }
    if !is_used {
        return;
    }
    let Some(map) = file.as_map_mut() else { return };
    let networks = map.entry("networks".to_owned()).or_default();
    if networks.is_null() {
        networks.value = Value::Map(Map::new());
    }
    networks.as_map_mut().into_iter().for_each(|map| _ = map.entry("default".to_owned()).or_default());
}

fn normalize_service(service: &mut Node, lookup: &dyn Fn(&str) -> Option<String>) {
    let at = service.with(Value::Null);
    let Some(map) = service.as_map_mut() else { return };
    if let Some(policy) = map.get_mut("pull_policy")
        && policy.as_text() == Some("if_not_present")
    {
        policy.value = Value::Text("missing".to_owned());
    }
    if let Some(build) = map.get_mut("build").and_then(Node::as_map_mut) {
        build.entry("context".to_owned()).or_insert_with(|| Node::text(".", &at));
        if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
            build.insert("dockerfile".to_owned(), Node::text("Dockerfile", &at));
        }
        build.get_mut("args").into_iter().for_each(|args| fill_in(args, lookup, false));
    }
    map.get_mut("environment").into_iter().for_each(|environment| fill_in(environment, lookup, true));
    for volume in items(map.get_mut("volumes")) {
        if let Some(Node { value: Value::Text(target), .. }) = volume.get_mut("target") {
            *target = short::clean(target);
        }
    }
    let implied = implied_dependencies(map);
    if implied.is_empty() {
        return;
    }
    let dependencies = map.entry("depends_on".to_owned()).or_insert_with(|| at.with(Value::Map(Map::new())));
    let Some(dependencies) = dependencies.as_map_mut() else { return };
    for (name, restart, node) in implied {
        let dependency = Map::from([
            ("condition".to_owned(), Node::text("service_started", &node)),
            ("restart".to_owned(), node.with(Value::Bool(restart))),
            ("required".to_owned(), node.with(Value::Bool(true))),
        ]);
        dependencies.entry(name).or_insert_with(|| node.with(Value::Map(dependency)));
    }
}

/// Services that this one depends on without saying so: their names, whether it is restarted with them, and where it is
/// said.
fn implied_dependencies(service: &Map) -> Vec<(String, bool, Node)> {
    let mut implied = Vec::new();
    let list = |key: &str| service.get(key).and_then(Node::as_list).unwrap_or_default();
    for link in list("links") {
        let text = link.plain();
        let parts: Vec<&str> = text.split(':').collect();
        let name = if parts.len() == 2 { parts[0] } else { text.as_str() };
        implied.push((name.to_owned(), true, link.clone()));
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(node) = service.get(namespace) else { continue };
        if let Some(name) = node.as_text().and_then(|mode| mode.strip_prefix("service:")) {
            implied.push((name.to_owned(), true, node.clone()));
        }
    }
    for from in list("volumes_from") {
        let text = from.plain();
        if !text.starts_with("container:") {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), false, from.clone()));
        }
    }
    implied
}

/// Gives variables without a value that of the environment; those that it hasn't stay, or go.
fn fill_in(node: &mut Node, lookup: &dyn Fn(&str) -> Option<String>, keep: bool) {
    match &mut node.value {
        Value::Map(map) => {
            for (name, value) in map.iter_mut().filter(|(_, value)| value.is_null()) {
                if let Some(found) = lookup(name) {
                    value.value = Value::Text(found);
                }
            }
            if !keep {
                map.retain(|_, value| !value.is_null());
            }
        }
        Value::List(list) => {
            for item in list.iter_mut() {
                let Some(name) = item.as_text().filter(|text| !text.contains('=')) else { continue };
                if let Some(value) = lookup(name) {
                    item.value = Value::Text(format!("{name}={value}"));
                }
            }
            if !keep {
                list.retain(|item| item.as_text().is_some_and(|text| text.contains('=')));
            }
        }
        _ => {}
    }
}

//! How one file's values are laid over another's, attribute by attribute.
//!
//! Mappings are merged key by key, lists are joined, everything else is replaced, but for the attributes of [`Rule`] and
//! the lists whose items have names ([`Index`]). Source: compose specification, "Merge"; compose-go's package override.

use crate::fault::Fault;
use crate::node::{Map, Node, Value};
use crate::path::Path;
use crate::short;

/// The attributes that aren't merged by what their values are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// The later value replaces the earlier, also if it is null.
    Replace,
    /// Both become lists of `key=value`, joined.
    Sequence,
    /// The same, without what is in both.
    Hosts,
    /// A string is a context.
    Build,
    /// A list is a mapping to the defaults of a dependency.
    Dependencies,
    /// A list is a mapping to nothing.
    Names,
    /// Options are merged if the driver is the same.
    Logging,
    /// Pools are the same if their subnets are.
    Pools,
}

fn rule_of(path: &Path) -> Option<Rule> {
    match path.keys() {
        ["networks", _, "ipam", "config"] => Some(Rule::Pools),
        ["networks" | "volumes", _, "labels"] => Some(Rule::Sequence),
        ["services", _, rest @ ..] => match rest {
            [
                "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "environment" | "label_file",
            ]
            | ["labels" | "sysctls" | "tmpfs"]
            | ["build", "args" | "additional_contexts" | "labels"]
            | ["deploy", "labels"] => Some(Rule::Sequence),
            ["build"] => Some(Rule::Build),
            ["extra_hosts"] | ["build", "extra_hosts"] => Some(Rule::Hosts),
            ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Some(Rule::Replace),
            ["depends_on"] => Some(Rule::Dependencies),
            ["models" | "networks"] => Some(Rule::Names),
            ["logging"] => Some(Rule::Logging),
            _ => None,
        },
        _ => None,
    }
}

/// Lays `over` onto `base`: two whole files, or two values at `path`.
///
/// Faults: a value of another kind than the earlier one's.
pub fn merge(base: Node, over: Node, path: Path, faults: &mut Vec<Fault>) -> Node {
    match rule_of(&path) {
        Some(Rule::Replace) => return over,
        Some(Rule::Sequence) => return join_sequences(&base, &over, false),
        Some(Rule::Hosts) => return join_sequences(&base, &over, true),
        Some(Rule::Build) => return merge_as(base, over, path, faults, context_of),
        Some(Rule::Dependencies) => return merge_as(base, over, path, faults, dependencies_of),
        Some(Rule::Names) => return merge_as(base, over, path, faults, names_of),
        Some(Rule::Logging) => {
            if let (Some(old), Some(new)) = (base.get("driver"), over.get("driver"))
                && old != new
            {
                return over;
            }
        }
        Some(Rule::Pools) => return merge_pools(base, over, path, faults),
        None => {}
    }
    if over.is_null() {
        return base;
    }
    let at = (over.at, over.key);
    let mut merged = match (base.value, over.value) {
        (Value::Map(map), Value::Map(other)) => Node::new(Value::Map(merge_maps(map, other, path, faults))),
        (Value::List(mut list), Value::List(other)) => {
            list.extend(other);
            Node::new(Value::List(list))
        }
        (Value::Map(_) | Value::List(_), other) => {
            let over = Node { value: other, at: at.0, key: at.1, ..Node::default() };
            faults.push(Fault::of(&over, format!("cannot override {path}")));
            over
        }
        (_, other) => Node::new(other),
    };
    (merged.at, merged.key) = at;
    merged
}

fn merge_maps(mut map: Map, other: Map, path: Path, faults: &mut Vec<Fault>) -> Map {
    if map.is_empty() {
        return other;
    }
    for (key, over) in other {
        let merged = match map.remove(&key) {
            Some(base) => merge(base, over, path.next(&key), faults),
            None => over,
        };
        map.insert(key, merged);
    }
    map
}

/// Merges both as the mappings that `form` makes of them.
fn merge_as(base: Node, over: Node, path: Path, faults: &mut Vec<Fault>, form: fn(&Node) -> Map) -> Node {
    let (at, key) = (over.at, over.key);
    let other = match over.value {
        Value::Map(other) => other,
        _ => form(&over),
    };
    let map = match base.value {
        Value::Map(map) => map,
        _ => form(&base),
    };
    Node { value: Value::Map(merge_maps(map, other, path, faults)), at, key, ..Node::default() }
}

fn context_of(node: &Node) -> Map {
    match &node.value {
        Value::Map(map) => map.clone(),
        Value::Text(_) => {
            Map::from([("context".to_owned(), Node { key: Default::default(), ..node.clone() })])
        }
        _ => Map::new(),
    }
}

fn names_of(node: &Node) -> Map {
    mapping_of(node, |_| Value::Null)
}

fn dependencies_of(node: &Node) -> Map {
    mapping_of(node, |item| Value::Map(dependency(item)))
}

/// What a dependency in the short form means.
pub fn dependency(like: &Node) -> Map {
    Map::from([
        ("condition".to_owned(), Node::text("service_started", like)),
        ("required".to_owned(), like.with(Value::Bool(true))),
    ])
}

fn mapping_of(node: &Node, value: impl Fn(&Node) -> Value) -> Map {
    match &node.value {
        Value::Map(map) => map.clone(),
        Value::List(list) => list
            .iter()
            .filter_map(|item| Some((item.as_text()?.to_owned(), item.with(value(item)))))
            .collect(),
        _ => Map::new(),
    }
}

/// A mapping as a sorted list of `key=value`, or of `key` where the value is null; a string as a list of it.
fn sequence_of(node: &Node) -> Vec<Node> {
    match &node.value {
        Value::Map(map) => {
            let mut list: Vec<Node> = Vec::new();
            for (key, value) in map {
                match &value.value {
                    Value::Null => list.push(Node::text(key, value)),
                    Value::List(items) => {
                        list.extend(
                            items.iter().map(|item| Node::text(format!("{key}={}", item.plain()), item)),
                        );
                    }
                    _ => list.push(Node::text(format!("{key}={}", value.plain()), value)),
                }
            }
            list.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
            list
        }
        Value::List(list) => list.clone(),
        Value::Text(_) => vec![node.clone()],
        _ => Vec::new(),
    }
}

fn join_sequences(base: &Node, over: &Node, once: bool) -> Node {
    let mut list = sequence_of(base);
    for item in sequence_of(over) {
        if !once || !list.contains(&item) {
            list.push(item);
        }
    }
    Node { value: Value::List(list), at: over.at, key: over.key, ..Node::default() }
}

/// Pools of addresses: one with the subnet of an earlier one is merged with it.
fn merge_pools(base: Node, over: Node, path: Path, faults: &mut Vec<Fault>) -> Node {
    let (Value::List(old), Value::List(new)) = (&base.value, &over.value) else {
        faults.push(Fault::of(&over, format!("cannot override {path}")));
        return over;
    };
    let mut pools: Vec<Node> = Vec::new();
    let place =
        |pools: &[Node], subnet: Option<&Node>| pools.iter().position(|pool| pool.get("subnet") == subnet);
    for original in old {
        for pool in new {
            if pool.get("subnet") != original.get("subnet") && place(&pools, pool.get("subnet")).is_none() {
                pools.push(pool.clone());
                continue;
            }
            let (Some(left), Some(right)) = (original.as_map(), pool.as_map()) else { continue };
            let merged = pool.with(Value::Map(merge_maps(left.clone(), right.clone(), path, faults)));
            match place(&pools, merged.get("subnet")) {
                Some(index) => pools[index] = merged,
                None => pools.push(merged),
            }
        }
    }
    Node { value: Value::List(pools), at: over.at, key: over.key, ..Node::default() }
}

/// How the items of a list are told apart, so that a later one replaces an earlier one.
#[derive(Clone, Copy)]
enum Index {
    /// What stands before `=`.
    Key,
    /// The target of a mount.
    Volume,
    /// The path in the container of a device.
    Device,
    /// The path of an `env_file`.
    Path,
    /// The port, as it is written.
    Expose,
    /// Address, published and target port, protocol.
    Port,
    /// The target, or a default one below this directory.
    File(&'static str),
}

fn index_of(path: &Path) -> Option<Index> {
    match path.keys() {
        ["networks", _, "labels"] | ["networks", _, "ipam", "options"] => Some(Index::Key),
        ["services", _, rest @ ..] => match rest {
            [
                "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "environment"
                | "labels",
            ]
            | ["links" | "profiles" | "sysctls" | "tmpfs"]
            | ["build", "args" | "additional_contexts" | "tags" | "labels"]
            | ["deploy", "labels"]
            | ["networks", _, "aliases" | "link_local_ips"] => Some(Index::Key),
            ["volumes"] => Some(Index::Volume),
            ["devices"] => Some(Index::Device),
            ["env_file"] => Some(Index::Path),
            ["expose"] => Some(Index::Expose),
            ["ports"] => Some(Index::Port),
            ["configs"] => Some(Index::File("")),
            ["secrets"] => Some(Index::File("/run/secrets")),
            _ => None,
        },
        _ => None,
    }
}

/// Removes items of lists that later ones replace, everywhere in a file.
pub fn remove_replaced(node: &mut Node, path: Path) {
    match &mut node.value {
        Value::Map(map) => {
            for (key, node) in map {
                remove_replaced(node, path.next(key));
            }
        }
        Value::List(list) => {
            let Some(index) = index_of(&path) else { return };
            let mut places = std::collections::HashMap::new();
            let mut kept: Vec<Node> = Vec::new();
            for item in list.drain(..) {
                match key_of(&item, index) {
                    Some(key) => match places.get(&key) {
                        Some(&place) => kept[place] = item,
                        None => {
                            places.insert(key, kept.len());
                            kept.push(item);
                        }
                    },
                    None => kept.push(item),
                }
            }
            *list = kept;
        }
        _ => {}
    }
}

/// The name of an item, or none if it has none, which validation then says.
fn key_of(item: &Node, index: Index) -> Option<String> {
    let field = |name: &str| item.get(name).map(Node::plain);
    match (&item.value, index) {
        (Value::Text(text), Index::Key) => Some(text.split('=').next().unwrap_or(text).to_owned()),
        (Value::Text(text), Index::Volume) => {
            let volume = short::volume(text, item).ok()?;
            volume.get("target").map(Node::plain)
        }
        (Value::Text(text), Index::Device) => Some(text.split(':').nth(1).unwrap_or(text).to_owned()),
        (Value::Text(text), Index::File(directory)) => Some(format!("{directory}/{text}")),
        (Value::Text(text), Index::Path | Index::Expose | Index::Port) => Some(text.clone()),
        (Value::Int(number), Index::Expose | Index::Port) => Some(number.to_string()),
        (Value::Map(_), Index::Volume | Index::Device) => field("target"),
        (Value::Map(_), Index::Path) => field("path"),
        (Value::Map(_), Index::File(directory)) => {
            field("target").or_else(|| Some(format!("{directory}/{}", field("source")?)))
        }
        (Value::Map(_), Index::Port) => {
            let host = field("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
            let protocol = field("protocol").unwrap_or_else(|| "tcp".to_owned());
            let published = field("published").unwrap_or_default();
            Some(format!("{host}:{published}:{}/{protocol}", field("target")?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;
    use proptest::prelude::*;

    fn tree(text: &str) -> Node {
        yaml::parse(text, 0).unwrap().remove(0)
    }

    fn merged(base: &str, over: &str) -> Node {
        let over = tree(over);
        let mut faults = Vec::new();
        let mut node = merge(tree(base), over, Path::root(), &mut faults);
        assert_eq!(faults, []);
        remove_replaced(&mut node, Path::root());
        node
    }

    fn check(base: &str, over: &str, expected: &str) {
        let wrap = |text: &str| format!("services: {{a: {{{text}}}}}");
        assert_eq!(merged(&wrap(base), &wrap(over)), tree(&wrap(expected)), "{base} + {over}");
    }

    #[test]
    fn each_attribute_is_merged_by_its_rule() {
        check("command: a", "command: [b]", "command: [b]");
        check("command: a", "command: null", "command: null");
        check("image: a", "image: null", "image: a");
        check("environment: {A: 1, B: }", "environment: [A=2, C]", "environment: [A=2, B, C]");
        check("cap_add: [A]", "cap_add: [B, A]", "cap_add: [A, B]");
        check("build: .", "build: {target: x}", "build: {context: ., target: x}");
        check(
            "depends_on: [a]",
            "depends_on: {a: {restart: true}}",
            "depends_on: {a: {condition: service_started, required: true, restart: true}}",
        );
        check("networks: [a]", "networks: {a: {priority: 1}, b: }", "networks: {a: {priority: 1}, b: }");
        check("volumes: ['xx:/d', 'yy:/e']", "volumes: ['zz:/d']", "volumes: ['zz:/d', 'yy:/e']");
        check("dns: 1.1.1.1", "dns: [8.8.8.8]", "dns: [1.1.1.1, 8.8.8.8]");
        check("extra_hosts: {a: [x, y]}", "extra_hosts: [a=y, b=z]", "extra_hosts: [a=x, a=y, b=z]");
        check(
            "logging: {driver: a, options: {x: 1}}",
            "logging: {options: {y: 2}}",
            "logging: {driver: a, options: {x: 1, y: 2}}",
        );
        check("logging: {driver: a, options: {x: 1}}", "logging: {driver: b}", "logging: {driver: b}");
        check("ulimits: {n: {soft: 1, hard: 2}}", "ulimits: {n: 3}", "ulimits: {n: 3}");
        check("security_opt: [a]", "security_opt: [a, b]", "security_opt: [a, a, b]");
    }

    #[test]
    fn pools_with_the_same_subnet_are_merged() {
        let node = merged(
            "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}",
            "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}, {subnet: 172.0.0.0/8}]}}}",
        );
        let pools = "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}, {subnet: 172.0.0.0/8}]}}}";
        assert_eq!(node, tree(pools));
    }

    #[test]
    fn values_of_another_kind_are_a_fault() {
        let over = tree("services: {a: {ports: 5}}");
        let mut faults = Vec::new();
        merge(tree("services: {a: {ports: [1]}}"), over, Path::root(), &mut faults);
        assert_eq!(faults[0].message, "cannot override services.a.ports");
    }

    /// Attributes whose merging the specification describes as laying values over each other.
    fn attribute() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ab]".prop_map(|word| format!("image: {word}")),
            "[ab]".prop_map(|word| format!("command: [{word}]")),
            ("[AB]", "[12]").prop_map(|(key, value)| format!("environment: {{{key}: {value}}}")),
            ("[AB]", "[12]").prop_map(|(key, value)| format!("labels: [{key}={value}]")),
            ("[ab]", "[12]").prop_map(|(key, value)| format!("networks: {{{key}: {{priority: {value}}}}}")),
            ("[xy]", "[de]").prop_map(|(source, target)| format!("volumes: ['{source}1:/{target}']")),
            "[AB]".prop_map(|word| format!("cap_add: [{word}]")),
            "[12]".prop_map(|number| format!("healthcheck: {{retries: {number}}}")),
            "[ab]".prop_map(|word| format!("build: {word}")),
            "[ab]".prop_map(|word| format!("build: {{target: {word}}}")),
        ]
    }

    proptest! {
        /// Laying three files over each other doesn't depend on which two are taken first. Mappings that become
        /// lists on the way keep their order, since the keys here are few and sorted by the first merge.
        #[test]
        fn merging_is_associative(a in attribute(), b in attribute(), c in attribute()) {
            let file = |text: &str| tree(&format!("services: {{s: {{{text}}}}}"));
            let lay = |base: Node, over: Node| {
                let mut faults = Vec::new();
                let mut node = merge(base, over, Path::root(), &mut faults);
                remove_replaced(&mut node, Path::root());
                node
            };
            let left = lay(lay(file(&a), file(&b)), file(&c));
            let right = lay(file(&a), lay(file(&b), file(&c)));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn a_file_over_itself_changes_nothing_but_forms(a in attribute()) {
            let file = tree(&format!("services: {{s: {{{a}}}}}"));
            let lay = |base: Node| {
                let mut node = merge(base, file.clone(), Path::root(), &mut Vec::new());
                remove_replaced(&mut node, Path::root());
                node
            };
            let once = lay(file.clone());
            prop_assert_eq!(lay(once.clone()), once);
        }
    }
}

//! Variables in all strings of a file, and the types that attributes have once they are replaced.

use crate::fault::Fault;
use crate::node::{Node, Value};
use crate::path::Path;
use crate::template::{self, Lookup, Problem};

/// Replaces variables in all strings of `node`, in place, and casts strings where a number or boolean is wanted.
/// Variables that aren't set are named in `unset`. Keys are not templates.
pub fn interpolate(node: &mut Node, lookup: Lookup, unset: &mut Vec<String>, faults: &mut Vec<Fault>) {
    walk(node, Path::root(), &mut |path, node| {
        let Value::Text(text) = &node.value else { return };
        match template::substitute(text, lookup, unset) {
            Ok(text) => cast(node, text, path, faults),
            Err(problem) => faults.push(fault(node, path, &problem)),
        }
    });
}

/// Casts strings where a number or boolean is wanted, as [`interpolate`] does, where nothing is interpolated.
fn cast(node: &mut Node, text: String, path: Path, faults: &mut Vec<Fault>) {
    let value = match cast_of(&path) {
        None => Some(Value::Text(text.clone())),
        Some(Cast::Int) => text.parse().ok().map(Value::Int),
        Some(Cast::Float) => text.parse().ok().map(Value::Float),
        Some(Cast::Float32) => text.parse().ok().map(Value::Float32),
        Some(Cast::Bool) => boolean(&text).map(Value::Bool),
    };
    match value {
        Some(value) => node.value = value,
        None => {
            let wanted = match cast_of(&path) {
                Some(Cast::Bool) => "a boolean",
                Some(Cast::Int) => "a whole number",
                _ => "a number",
            };
            faults.push(Fault::of(node, format!("{path}: \"{text}\" is not {wanted}")));
        }
    }
}

fn fault(node: &Node, path: Path, problem: &Problem) -> Fault {
    let fault = Fault::of(node, format!("{path}: {problem}"));
    match problem {
        Problem::Format(_) => fault.hint("escape a $ with another $"),
        Problem::Missing { name, .. } => fault.hint(format!("set {name} in the environment or in .env")),
    }
}

/// Calls `each` with every scalar and its path.
pub fn walk(node: &mut Node, path: Path, each: &mut impl FnMut(Path, &mut Node)) {
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|node| walk(node, path.items(), each)),
        Value::Map(map) => map.iter_mut().for_each(|(key, node)| walk(node, path.next(key), each)),
        _ => each(path, node),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Cast {
    Int,
    Float,
    Float32,
    Bool,
}

/// The type of an attribute where it isn't a string. Source: compose-go's loader/interpolate.go; what isn't listed there
/// may be either, and is read later.
fn cast_of(path: &Path) -> Option<Cast> {
    match path.keys() {
        ["services", _, rest @ ..] => match rest {
            [
                "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_shares",
            ]
            | ["oom_score_adj" | "pids_limit" | "scale"]
            | ["deploy", "replicas"]
            | ["deploy", "update_config" | "rollback_config", "parallelism"]
            | ["deploy", "restart_policy", "max_attempts"]
            | ["deploy", "placement", "max_replicas_per_node"]
            | ["healthcheck", "retries"]
            | ["ports", "[]", "target"]
            | ["ulimits", _]
            | ["ulimits", _, "hard" | "soft"] => Some(Cast::Int),
            ["cpu_percent"] | ["deploy", "update_config" | "rollback_config", "max_failure_ratio"] => {
                Some(Cast::Float)
            }
            ["cpus"] => Some(Cast::Float32),
            ["init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty"]
            | ["healthcheck", "disable"]
            | ["volumes", "[]", "read_only"]
            | ["volumes", "[]", "volume", "nocopy"] => Some(Cast::Bool),
            _ => None,
        },
        ["networks", _, "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6"]
        | ["volumes" | "secrets" | "configs", _, "external"] => Some(Cast::Bool),
        _ => None,
    }
}

/// A boolean as YAML 1.1 spelt them, which compose accepts with a warning.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

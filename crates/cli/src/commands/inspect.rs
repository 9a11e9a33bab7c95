//! `berth inspect`.

use engine::inert_json;
use engine::request::InspectRequest;
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::print;
use crate::failure::{BadValue, Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::template;
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Show all that is known of containers",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "json, or a Go template").short('f'),
            Flag::one("type", "string", "Kind of object: container"),
            Flag::switch("security", "Show what the containers may really do"),
        ],
    )],
    unsupported: unsupported::INSPECT,
    args: (1, usize::MAX),
    trailing: false,
};

fn kind(text: &str) -> Result<(), BadValue> {
    match text {
        "" | "container" => Ok(()),
        "image" | "network" | "node" | "plugin" | "secret" | "service" | "task" | "volume" => {
            Err(BadValue::new("objects of this kind aren't supported yet"))
        }
        _ => Err(BadValue::new("no such kind of object")),
    }
}

/// A document with docker's indentation of four spaces, without a newline.
pub fn pretty(document: &Json) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    let written = document.serialize(&mut serializer).map_err(|error| error.to_string());
    let text = written.and_then(|()| String::from_utf8(text).map_err(|error| error.to_string()));
    let text = text.map_err(|why| Failure::new(format!("cannot write JSON: {why}")))?;
    Ok(inert_json(&text).into_owned())
}

/// Prints the documents of those that exist, the failures of the others.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    parsed.parsed("type", kind)?;
    let request = InspectRequest { containers: parsed.args(), security: parsed.switch("security") };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for (_, result) in backend::inspect(&request)? {
        match result {
            Ok(document) => found.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    match parsed.one("format").filter(|format| !format.is_empty()) {
        None => print(&(pretty(&Json::Array(found))? + "\n"))?,
        Some("json") => print(&format!("{}\n", inert_json(&Json::Array(found).to_string())))?,
        Some(source) => {
            for document in &found {
                print(&(template::one(source, document)? + "\n"))?;
            }
        }
    }
    failures.iter().for_each(report);
    Ok(u8::from(!failures.is_empty()))
}

//! `berth inspect`.

use engine::inert_json;
use engine::request::InspectRequest;
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::print;
use crate::failure::{BadValue, Failure, report};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::format::{compose, run_line, template};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show all that is known of containers, images or volumes",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "json, or a Go template").short('f'),
            Flag::one(
                "type",
                "string",
                "Kind of object: container, image, volume or exec; else what has the name",
            ),
            Flag::one("as", "form", "What would make it again: run (a command line) or compose (a file)"),
            Flag::switch("security", "Show what the containers may really do"),
            Flag::switch("size", "Measure the files of containers").short('s'),
        ],
    )],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `image inspect`.
pub static IMAGE_SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Show all that is known of images",
    flags: &[("Options", &[Flag::one("format", "string", "json, or a Go template").short('f')])],
    unsupported: unsupported::HISTORY,
    args: (1, usize::MAX),
    trailing: false,
};

/// What is inspected: what has the name, or only one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
    Volume,
    Network,
    Exec,
}

fn kind(text: &str) -> Result<Kind, BadValue> {
    match text {
        "" => Ok(Kind::Any),
        "container" => Ok(Kind::Container),
        "image" => Ok(Kind::Image),
        "volume" => Ok(Kind::Volume),
        "exec" => Ok(Kind::Exec),
        "network" => Ok(Kind::Network),
        "node" | "plugin" | "secret" | "service" | "task" => {
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
    if let Some(form) = parsed.parsed("as", form)? {
        return show_as(parsed, form);
    }
    let kind = match parsed.one("type") {
        None => Kind::Any,
        Some(word) => kind(word).map_err(|bad| Failure::new(format!("type {word:?}: {}", bad.why)))?,
    };
    of_kind(parsed, kind)
}

/// The same for containers alone.
pub fn container_work(parsed: &Parsed) -> Result<u8, Failure> {
    of_kind(parsed, Kind::Container)
}

fn of_kind(parsed: &Parsed, kind: Kind) -> Result<u8, Failure> {
    match kind {
        Kind::Image => return image_work(parsed),
        Kind::Volume => return super::volume::inspect(parsed),
        Kind::Network => {
            let inspect = |given: String| (given.clone(), backend::inspect_network(&given));
            return show(parsed, parsed.args().into_iter().map(inspect).collect());
        }
        Kind::Exec => {
            let inspect = |given: String| (given.clone(), backend::inspect_exec(&given));
            return show(parsed, parsed.args().into_iter().map(inspect).collect());
        }
        Kind::Any | Kind::Container => {}
    }
    let request = InspectRequest {
        containers: parsed.args(),
        security: parsed.switch("security"),
        sizes: parsed.switch("size"),
    };
    let mut outcomes = backend::inspect(&request)?;
    if kind == Kind::Any && !request.security {
        for (given, result) in &mut outcomes {
            if let Err(failure) = result
                && failure.message.starts_with("no such container")
            {
                let found = match backend::inspect_image(given) {
                    Err(other) if other.message.starts_with("no such image") => {
                        match backend::inspect_network(given) {
                            Err(other) if other.message.ends_with("not found") => {
                                backend::inspect_volume(given)
                            }
                            other => other,
                        }
                    }
                    other => other,
                };
                match found {
                    Err(other) if other.message.ends_with("no such volume") => {
                        *failure = Failure::new(format!("no such object: {given}"))
                            .hint("`berth ps -a` lists containers, `berth images` lists images, `berth volume ls` volumes");
                    }
                    other => *result = other,
                }
            }
        }
    }
    show(parsed, outcomes)
}

/// A way to write down what a container was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Run,
    Compose,
}

fn form(text: &str) -> Result<Form, BadValue> {
    match text {
        "run" => Ok(Form::Run),
        "compose" => Ok(Form::Compose),
        _ => Err("not one of run, compose".into()),
    }
}

/// Prints what would make containers again.
fn show_as(parsed: &Parsed, form: Form) -> Result<u8, Failure> {
    let mut status = 0;
    for (_, result) in backend::requests(&parsed.args())? {
        match result {
            Ok((name, request)) => {
                let text = match form {
                    Form::Run => run_line::line(&request) + "\n",
                    Form::Compose => inert_json(&compose::file(&name, &request)).into_owned(),
                };
                print(&text)?;
            }
            Err(failure) => {
                report(&failure);
                status = 1;
            }
        }
    }
    Ok(status)
}

/// The same for images alone.
pub fn image_work(parsed: &Parsed) -> Result<u8, Failure> {
    let inspect = |given: String| (given.clone(), backend::inspect_image(&given));
    show(parsed, parsed.args().into_iter().map(inspect).collect())
}

/// Fields that docker's documents leave out where there is nothing to say, and that templates may ask for all the same.
const OMITTED: [(&str, &str); 5] = [
    ("/HostConfig", "Annotations"),
    ("/State", "Health"),
    ("/Config", "Healthcheck"),
    ("/Config", "ExposedPorts"),
    ("/Config", "StopTimeout"),
];

/// A document as a template sees it.
fn with_omitted(document: &Json, template: &str) -> Json {
    let mut document = document.clone();
    for (parent, field) in OMITTED.into_iter().filter(|(_, field)| template.contains(field)) {
        if let Some(Json::Object(parent)) = document.pointer_mut(parent) {
            parent.entry(field).or_insert(Json::Null);
        }
    }
    document
}

/// Prints documents as the `--format` wants them, and reports the failures.
pub(super) fn show(parsed: &Parsed, outcomes: Vec<backend::Outcome<Json>>) -> Result<u8, Failure> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for (_, result) in outcomes {
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
                print(&(template::one(source, &with_omitted(document, source))? + "\n"))?;
            }
        }
    }
    failures.iter().for_each(report);
    Ok(u8::from(!failures.is_empty()))
}

//! `berth compose config`: the project as its files say it, in one form.

use compose::{Config, ConfigError, Form, Request, Show};

use super::asked::{self, Compose};
use crate::backend;
use crate::commands::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVICE...]",
    about: "Show the project as its files say it, in one form",
    flags: &[(
        "Options",
        &[
            Flag::one("format", "string", "yaml (default) or json"),
            Flag::one("output", "path", "Write to a file instead").short('o'),
            Flag::switch("quiet", "Only tell what is wrong").short('q'),
            Flag::switch("services", "Show names of services only, dependencies first"),
            Flag::switch("volumes", "Show keys of volumes only"),
            Flag::switch("networks", "Show keys of networks only"),
            Flag::switch("models", "Show language models only"),
            Flag::switch("profiles", "Show profiles only"),
            Flag::switch("images", "Show images only"),
            Flag::one("hash", "names", "Show hashes of services, separated by commas, or * for all"),
            Flag::switch("variables", "Show the variables that the files speak of"),
            Flag::switch("environment", "Show the variables that replaced them"),
            Flag::switch("resolve-image-digests", "Show images with their digests, from their registries"),
            Flag::switch("lock-image-digests", "Show only that"),
            Flag::switch("no-interpolate", "Replace no variables"),
            Flag::switch("no-normalize", "Leave out what is implied"),
            Flag::switch("no-path-resolution", "Leave relative paths as they are"),
            Flag::switch("no-consistency", "Don't check that the parts fit each other"),
            Flag::switch("no-env-resolution", "Has no effect, as in docker compose 2.40"),
        ],
    )],
    unsupported: &[],
    args: (0, usize::MAX),
    trailing: false,
};

/// Prints what is asked for.
pub fn work(compose: &Compose, parsed: &Parsed) -> Result<u8, Failure> {
    let request = Request {
        services: parsed.args(),
        interpolate: !parsed.switch("no-interpolate"),
        normalize: !parsed.switch("no-normalize") && compose.separator == '-',
        resolve_paths: !parsed.switch("no-path-resolution"),
        check_consistency: !parsed.switch("no-consistency"),
        ..compose.request.clone()
    };
    let format = match parsed.one("format") {
        None | Some("") => None,
        Some("yaml") => Some(Form::Yaml),
        Some("json") => Some(Form::Json),
        Some(other) => return Err(Failure::new(format!("unsupported format {other:?}")).hint("yaml or json")),
    };
    let images_only = parsed.switch("lock-image-digests");
    let config = Config { request, show: show(parsed), format, images_only };
    let mut resolver = |image: &str| digest_of(image);
    let with_digests = images_only || parsed.switch("resolve-image-digests");
    let printed = config
        .print(&compose.files, if with_digests { Some(&mut resolver) } else { None })
        .map_err(|error| match error {
            ConfigError::Load(error) => asked::failure(error),
            ConfigError::Resolve { .. } => Failure::new(error.to_string()),
        })?;
    asked::say(&printed.warnings);
    if parsed.switch("quiet") {
        return Ok(0);
    }
    match parsed.one("output").filter(|path| !path.is_empty()) {
        Some(path) => std::fs::write(path, printed.text)
            .map_err(|error| Failure::new(format!("cannot write {path}: {error}")))?,
        None => print(&printed.text)?,
    }
    Ok(0)
}

/// What is shown. If several things are asked for, docker compose shows the first of these.
fn show(parsed: &Parsed) -> Show {
    let choices = [
        ("services", Show::Services),
        ("volumes", Show::Volumes),
        ("networks", Show::Networks),
        ("models", Show::Models),
    ];
    if let Some((_, show)) = choices.into_iter().find(|(flag, _)| parsed.switch(flag)) {
        return show;
    }
    if let Some(names) = parsed.one("hash").filter(|names| !names.is_empty()) {
        let names = if names == "*" { Vec::new() } else { names.split(',').map(str::to_owned).collect() };
        return Show::Hash(names);
    }
    let choices = [
        ("profiles", Show::Profiles),
        ("images", Show::Images),
        ("variables", Show::Variables),
        ("environment", Show::Environment),
    ];
    choices.into_iter().find(|(flag, _)| parsed.switch(flag)).map_or(Show::Model, |(_, show)| show)
}

/// An image's reference with the digest that its registry has for it.
fn digest_of(image: &str) -> Result<String, String> {
    let reference = backend::reference(image).map_err(|failure| failure.message)?;
    let digest = backend::digest_of(image).map_err(|failure| failure.message)?;
    Ok(reference.with_digest(digest).to_string())
}

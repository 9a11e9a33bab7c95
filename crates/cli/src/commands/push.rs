//! `berth push`.

use engine::images::PushState;
use types::image::media::Compression;
use types::reference::{Reference, is_bare};

use super::print;
use crate::failure::{BadValue, Failure};
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Send an image to a registry",
    flags: &[(
        "Options",
        &[
            Flag::switch("all-tags", "Send all tags of the repository").short('a'),
            Flag::one("compression", "string", "How layers go that came plain: gzip (default) or zstd"),
            Flag::switch("quiet", "Show the name only").short('q'),
        ],
    )],
    unsupported: unsupported::PUSH,
    args: (1, 1),
    trailing: false,
};

/// Pushes, and prints what docker prints.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let given = parsed.args().remove(0);
    let quiet = parsed.switch("quiet");
    let reference = backend::reference(&given)?;
    let compression = parsed.given("compression", compression)?.unwrap_or(Compression::Gzip);
    let all = parsed.switch("all-tags");
    if all && !is_bare(&given) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !quiet {
        let default = if is_bare(&given) && !all { "Using default tag: latest\n" } else { "" };
        print(&format!("{default}The push refers to repository [{}]\n", reference.repository()))?;
    }
    let references = match all {
        false => vec![reference],
        true => backend::names_of(&given)?,
    };
    for reference in &references {
        push(reference, compression, quiet)?;
    }
    Ok(0)
}

fn compression(text: &str) -> Result<Compression, BadValue> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(BadValue::new("neither gzip nor zstd")),
    }
}

/// Pushes one image.
pub(super) fn push(reference: &Reference, compression: Compression, quiet: bool) -> Result<(), Failure> {
    let say = |text: String| match quiet {
        true => Ok(()),
        false => print(&text),
    };
    let watch = |layer: &types::digest::DiffId, state: PushState| {
        let short: String = layer.hex().chars().take(12).collect();
        // A reader that went away is told nothing more.
        let _ = say(format!("{short}: {}\n", backend::push_words(state)));
    };
    let pushed = backend::push(reference, compression, &watch)?;
    match quiet {
        true => print(&format!("{}\n", pushed.reference)),
        false => {
            let tag = reference.tag().unwrap_or_default();
            print(&format!("{tag}: digest: {} size: {}\n", pushed.digest, pushed.manifest_bytes))
        }
    }
}

//! `berth push`.

use engine::images::PushState;
use types::reference::{Reference, is_bare};

use super::print;
use crate::failure::Failure;
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
    let references = match parsed.switch("all-tags") {
        false => vec![reference],
        true => {
            if !is_bare(&given) {
                return Err(parsed.wrong("tag can't be used with --all-tags/-a"));
            }
            let found = backend::names_of(&given)?;
            if found.is_empty() {
                return Err(Failure::new(format!("an image does not exist locally with the tag: {given}")));
            }
            found
        }
    };
    for reference in &references {
        push(reference, quiet)?;
    }
    Ok(0)
}

fn push(reference: &Reference, quiet: bool) -> Result<(), Failure> {
    let say = |text: String| match quiet {
        true => Ok(()),
        false => print(&text),
    };
    say(format!("The push refers to repository [{}]\n", reference.repository()))?;
    let watch = |digest: &types::digest::Digest, state: PushState| {
        let short: String = digest.hex().chars().take(12).collect();
        // A reader that went away is told nothing more.
        let _ = say(format!("{short}: {}\n", backend::push_words(state)));
    };
    let pushed = backend::push(reference, &watch)?;
    match quiet {
        true => print(&format!("{}\n", pushed.reference)),
        false => {
            let tag = reference.tag().unwrap_or_default();
            print(&format!("{tag}: digest: {} size: {}\n", pushed.digest, pushed.manifest_bytes))
        }
    }
}

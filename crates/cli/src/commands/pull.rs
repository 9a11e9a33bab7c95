//! `berth pull`.

use engine::images::PullRequest;
use types::reference::is_bare;

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::progress::{Shown, To};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Fetch an image from a registry",
    flags: &[(
        "Options",
        &[
            Flag::switch("all-tags", "Fetch all tagged images of the repository").short('a'),
            Flag::one("platform", "string", "Machine that the image is for, as OS/ARCH[/VARIANT]"),
            Flag::one("progress", "string", "How progress is shown: auto, tty, plain, json, quiet"),
            Flag::switch("quiet", "Show the name only").short('q'),
        ],
    )],
    unsupported: unsupported::PULL,
    args: (1, 1),
    trailing: false,
};

/// Pulls, and prints what docker prints.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let given = parsed.args().remove(0);
    let quiet = parsed.switch("quiet");
    let platform = parsed.one("platform").filter(|text| !text.is_empty()).map(str::to_owned);
    let wanted = parsed.one("progress").unwrap_or_default();
    let shown =
        Shown::of_pull(quiet, wanted, To::Stdout).map_err(|bad| parsed.bad("progress", wanted, bad))?;
    let all = parsed.switch("all-tags");
    backend::reference(&given)?;
    if is_bare(&given) && !all {
        shown.say("Using default tag: latest");
    }
    let names = match all {
        false => vec![given],
        true => {
            if !is_bare(&given) {
                return Err(Failure::new("tag can't be used with --all-tags/-a"));
            }
            backend::tags(&given)?.into_iter().map(|tag| format!("{given}:{tag}")).collect()
        }
    };
    for image in names {
        let pulled = backend::pull(&PullRequest { image, platform: platform.clone() }, &shown)?;
        shown.pulled(&pulled);
        print(&format!("{}\n", pulled.reference))?;
    }
    Ok(0)
}

//! `berth copy`.

use engine::images::copy::{CopyRequest, Place};

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::progress::{Shown, To};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] SOURCE TARGET",
    about: "Copy an image between registries and archives: docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], \
            docker-archive:FILE[:REF]",
    flags: &[(
        "Options",
        &[
            Flag::switch("all", "Copy an index with the images of all machines").short('a'),
            Flag::one("platform", "string", "Machine that the image is for, as OS/ARCH[/VARIANT]"),
            Flag::one("progress", "string", "How progress is shown: auto, tty, plain, json, quiet"),
            Flag::switch("quiet", "Show the target only").short('q'),
        ],
    )],
    unsupported: &[],
    args: (2, 2),
    trailing: false,
};

/// Copies, and prints the digest that the target has then.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let place =
        |text: &String| Place::parse(text).map_err(|why| parsed.wrong(format!("{text:?} {why}")).code(1));
    let args = parsed.args();
    let platform = parsed.one("platform").filter(|text| !text.is_empty()).map(str::to_owned);
    let all = parsed.switch("all");
    if all && platform.is_some() {
        return Err(Failure::new(
            "conflicting options: --all copies the images of all machines, --platform one",
        ));
    }
    let request = CopyRequest { source: place(&args[0])?, target: place(&args[1])?, all, platform };
    let wanted = parsed.one("progress").unwrap_or_default();
    let shown = Shown::of_copy(parsed.switch("quiet"), wanted, To::Stdout)
        .map_err(|bad| parsed.bad("progress", wanted, bad))?;
    let digest = backend::copy_image(&request, &shown)?;
    shown.end();
    shown.say(&format!("Digest: {digest}"));
    print(&format!("{}\n", request.target))?;
    Ok(0)
}

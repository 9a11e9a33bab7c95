//! `berth commit`.

use engine::images::CommitRequest;

use super::print;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::{backend, unsupported};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Make an image of what a container changed",
    flags: &[(
        "Options",
        &[
            Flag::one("author", "string", "Who made it").short('a'),
            Flag::many("change", "list", "Dockerfile instruction that changes the configuration").short('c'),
            Flag::one("message", "string", "Remark").short('m'),
            Flag::switch(
                "pause",
                "Pause the container meanwhile (default true); it runs on though this is killed",
            )
            .short('p'),
        ],
    )],
    unsupported: unsupported::COMMIT,
    args: (1, 2),
    trailing: false,
};

/// Makes the image and prints its id.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let mut args = parsed.args().into_iter();
    let request = CommitRequest {
        container: args.next().unwrap_or_default(),
        name: args.next(),
        author: parsed.one("author").unwrap_or_default().to_owned(),
        message: parsed.one("message").unwrap_or_default().to_owned(),
        changes: parsed.many("change").into_iter().map(str::to_owned).collect(),
        pause: parsed.switch_or("pause", true),
    };
    print(&(backend::commit(&request)? + "\n"))?;
    Ok(0)
}

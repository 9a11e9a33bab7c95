//! `berth start`, `berth restart`.

use engine::request::StartRequest;

use super::{print_outcomes, run, stop};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments of `start`.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start containers that were created, or that have ended",
    flags: &[(
        "Options",
        &[
            Flag::switch("attach", "Show its output and pass signals on until it ends").short('a'),
            Flag::switch("interactive", "Pass stdin on, if it was created with -i").short('i'),
            Flag::one("detach-keys", "string", "Keys that leave the terminal (default ctrl-p,ctrl-q)"),
        ],
    )],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Flags and arguments of `restart`.
pub static RESTART: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop containers, and start them",
    flags: &[("Options", stop::FLAGS)],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: false,
};

/// Starts containers; attached to one, its status is the command's.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let containers = parsed.args();
    let (attach, interactive) = (parsed.switch("attach"), parsed.switch("interactive"));
    let detach_keys = run::leaving_keys(parsed)?;
    let request = |container: &String| StartRequest {
        container: container.clone(),
        // As with docker, to pass stdin on is to be attached.
        attach: attach || interactive,
        interactive,
        detach_keys: detach_keys.clone(),
        ..StartRequest::default()
    };
    match &containers[..] {
        [one] if attach || interactive => backend::start_attached(&request(one)),
        _ if attach || interactive => {
            Err(Failure::new("you cannot start and attach multiple containers at once"))
        }
        _ => print_outcomes(backend::start(&containers.iter().map(request).collect::<Vec<_>>())?),
    }
}

/// Stops and starts containers.
pub fn restart(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::restart(&stop::request(parsed)?)?)
}

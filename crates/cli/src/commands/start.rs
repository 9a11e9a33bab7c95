//! `berth start`, `berth restart`.

use engine::request::StartRequest;

use super::{print_outcomes, run, stop};
use crate::backend;
use crate::failure::{BadValue, Failure};
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
            Flag::one("entrypoint", "string", "Run this program this time, or '[\"PROGRAM\", \"ARG\"]'"),
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
    let entrypoint = parsed.given("entrypoint", program)?;
    let request = |container: &String| StartRequest {
        container: container.clone(),
        entrypoint: entrypoint.clone(),
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

/// A program, or one with arguments as a JSON array.
fn program(text: &str) -> Result<Vec<String>, BadValue> {
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if !words.is_empty() => Ok(words),
        _ => Err(BadValue::new("not a list of words").hint(r#"write it as in '["sleep", "1000"]'"#)),
    }
}

/// Stops and starts containers.
pub fn restart(parsed: &Parsed) -> Result<u8, Failure> {
    print_outcomes(backend::restart(&stop::request(parsed)?)?)
}

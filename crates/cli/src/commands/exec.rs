//! `berth exec`.

use engine::request::ExecRequest;

use super::run::{check_terminal, env_changes, leaving_keys};
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::name;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a command in a running container",
    flags: &[(
        "Options",
        &[
            Flag::switch("interactive", "Keep stdin open").short('i'),
            Flag::switch("tty", "Give the command a terminal").short('t'),
            Flag::switch("detach", "Return once the command runs").short('d'),
            Flag::one("detach-keys", "string", "Keys that leave the terminal (default ctrl-p,ctrl-q)"),
            Flag::many("env", "list", "Variable, KEY=VALUE, or KEY for the caller's").short('e'),
            Flag::many("env-file", "list", "File of variables, one a line"),
            Flag::one("user", "string", "User, NAME|UID[:GROUP|GID]").short('u'),
            Flag::one("workdir", "string", "Working directory").short('w'),
            Flag::switch("privileged", "Give the command all capabilities"),
        ],
    )],
    unsupported: &[],
    args: (2, usize::MAX),
    trailing: true,
};

fn request(parsed: &Parsed) -> Result<ExecRequest, Failure> {
    // As docker, for whom these are no wrong use of the command.
    let ordinary = |failure: Failure| failure.code(1);
    let mut command = parsed.args();
    let container = command.remove(0);
    Ok(ExecRequest {
        container,
        command,
        interactive: parsed.switch("interactive"),
        tty: parsed.switch("tty"),
        detach: parsed.switch("detach"),
        detach_keys: leaving_keys(parsed).map_err(ordinary)?,
        env: env_changes(parsed).map_err(ordinary)?,
        user: parsed.one("user").filter(|user| !user.is_empty()).map(str::to_owned),
        workdir: parsed.given("workdir", name::absolute)?,
        privileged: parsed.switch("privileged"),
    })
}

/// Runs a process in a container.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = request(parsed)?;
    check_terminal(request.tty && request.interactive && !request.detach)?;
    backend::exec(&request)
}

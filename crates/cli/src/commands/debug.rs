//! `berth debug`.

use engine::request::{DebugRequest, Source};

use super::run::{check_terminal, env_changes, leaving_keys};
use crate::backend::{self, PullPlan, PullPolicy};
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};
use crate::parse::name;

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    about: "Run a shell with tools beside a container that has none; its files are at /container",
    flags: &[(
        "Options",
        &[
            Flag::one("image", "image", "Where the tools are (default @host, this host's own)"),
            Flag::one("command", "string", "Line for a shell to run, instead of COMMAND").short('c'),
            Flag::one("shell", "string", "Shell to run, such as bash (default the first there is)"),
            Flag::switch("interactive", "Keep stdin open (default on a terminal)").short('i'),
            Flag::switch("tty", "Give the tools a terminal (default on a terminal)").short('t'),
            Flag::one("detach-keys", "string", "Keys that leave the terminal (default ctrl-p,ctrl-q)"),
            Flag::many("env", "list", "Variable, KEY=VALUE, or KEY for the caller's").short('e'),
            Flag::many("env-file", "list", "File of variables, one a line"),
            Flag::one("user", "string", "User, NAME|UID[:GROUP|GID] (default the container's root)")
                .short('u'),
            Flag::one("workdir", "string", "Working directory among the tools").short('w'),
            Flag::switch("privileged", "Give the tools all capabilities over the container"),
        ],
    )],
    unsupported: &[],
    args: (1, usize::MAX),
    trailing: true,
};

fn request(parsed: &Parsed) -> Result<DebugRequest, Failure> {
    let mut command = parsed.args();
    let container = command.remove(0);
    let text = |name| parsed.one(name).filter(|text| !text.is_empty());
    let line = text("command").map(|line| vec!["-c".to_owned(), line.to_owned()]);
    let shell = text("shell").filter(|shell| *shell != "auto");
    let command = match (command.is_empty(), line, shell) {
        (false, None, None) => command,
        (false, ..) => return Err(parsed.wrong("COMMAND, and --command or --shell, exclude each other")),
        (true, None, None) => Vec::new(),
        (true, line, shell) => {
            let shell = shell.unwrap_or("/bin/sh").to_owned();
            std::iter::once(shell).chain(line.into_iter().flatten()).collect()
        }
    };
    let at_terminal = backend::at_terminal();
    Ok(DebugRequest {
        container,
        command,
        source: text("image").filter(|image| *image != "@host").map(|image| Source::Image(image.to_owned())),
        interactive: parsed.switch_or("interactive", at_terminal),
        tty: parsed.switch_or("tty", at_terminal),
        detach_keys: leaving_keys(parsed)?,
        env: env_changes(parsed)?,
        user: text("user").map(str::to_owned),
        workdir: parsed.given("workdir", name::absolute)?,
        privileged: parsed.switch("privileged"),
    })
}

/// Runs the tools.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let request = request(parsed)?;
    check_terminal(request.tty && request.interactive)?;
    let pull = PullPlan { policy: PullPolicy::Missing, platform: None, quiet: false };
    backend::debug(&request, &pull)
}

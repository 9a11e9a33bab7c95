//! `berth login` and `berth logout`.

use std::io::{IsTerminal, Read};

use super::print;
use crate::backend;
use crate::failure::Failure;
use crate::flags::{CommandSpec, Flag, Parsed};

/// Flags and arguments.
pub static SPEC: CommandSpec = CommandSpec {
    usage: "[OPTIONS] [SERVER]",
    about: "Sign in to a registry",
    flags: &[(
        "Options",
        &[
            Flag::one("password", "string", "Password or token; others see it in the list of processes")
                .short('p'),
            Flag::switch("password-stdin", "Read the password from standard input"),
            Flag::one("username", "string", "Name").short('u'),
        ],
    )],
    unsupported: &[],
    args: (0, 1),
    trailing: false,
};

/// Flags and arguments of `logout`.
pub static LOGOUT_SPEC: CommandSpec = CommandSpec {
    usage: "[SERVER]",
    about: "Sign out of a registry",
    flags: &[],
    unsupported: &[],
    args: (0, 1),
    trailing: false,
};

/// Longest password, in bytes: a token of some kilobytes.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

fn server(parsed: &Parsed) -> String {
    parsed.args().into_iter().next().unwrap_or_else(|| "docker.io".to_owned())
}

/// Asks for what isn't given, checks it with the registry, and keeps it.
pub fn work(parsed: &Parsed) -> Result<u8, Failure> {
    let given = |name| parsed.one(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let user = given("username");
    let from_stdin = parsed.switch("password-stdin");
    let password = match (given("password"), from_stdin) {
        (Some(_), true) => {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        (None, true) if user.is_none() => {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        (None, true) => Some(read_password()?),
        (Some(password), false) => {
            eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            Some(password)
        }
        (None, false) => None,
    };
    let terminal = std::io::stdin().is_terminal();
    if (user.is_none() || password.is_none()) && !terminal {
        return Err(Failure::new("cannot perform an interactive login from a non TTY device")
            .hint("berth login -u NAME --password-stdin < FILE"));
    }
    let user = match user {
        Some(user) => user,
        None => backend::ask("Username: ", true)?,
    };
    let password = match password {
        Some(password) => password,
        None => backend::ask("Password: ", false)?,
    };
    let kept = backend::login(&server(parsed), &user, password)?;
    if let Some(warning) = kept {
        eprintln!("{warning}");
    }
    print("Login Succeeded\n")?;
    Ok(0)
}

fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read the password from standard input: {error}")))?;
    // As docker: one line end goes.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Docker's name for its own registry.
fn shown(server: &str) -> &str {
    match server {
        "docker.io" | "index.docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

/// Forgets what was kept.
pub fn logout_work(parsed: &Parsed) -> Result<u8, Failure> {
    let server = server(parsed);
    // Docker says so in either case; a script that reads it needn't care.
    print(&format!("Removing login credentials for {}\n", shown(&server)))?;
    backend::logout(&server)?;
    Ok(0)
}

//! `berth login`, `berth logout`: signing in to registries.

use crate::Error;
use registry::{Credentials, Kept, Secret, Settings};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead, Write};

/// Most bytes of an answer that was typed.
const ANSWER_BYTES_MAX: usize = 64 << 10;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn host_of(server: &str) -> Result<String, Error> {
    registry::login::host_of(server).map_err(|why| Error::invalid(format!("registry {server:?}"), why))
}

/// Checks name and password with the registry and keeps them; where, if that is worth a warning.
///
/// Errors: [`Error::Registry`].
pub fn login(server: &str, user: &str, password: String) -> Result<Option<String>, Error> {
    let host = host_of(server)?;
    let settings = Settings::load(&environment)?;
    let credentials = Credentials::of_caller(&environment);
    Ok(match credentials.login(settings, &host, user, Secret::new(password))? {
        Kept::Helper(_) => None,
        Kept::File(path) => Some(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        )),
    })
}

/// Forgets what is kept for a registry; whether there was something.
pub fn logout(server: &str) -> Result<bool, Error> {
    Ok(Credentials::of_caller(&environment).logout(&host_of(server)?)?)
}

/// Asks on the terminal, whose echo is off unless `shown`.
pub fn ask(prompt: &str, shown: bool) -> Result<String, Error> {
    let failed = |error: std::io::Error| Error::io("ask on", "the terminal", &error);
    let stdin = rustix::stdio::stdin();
    let before = tcgetattr(stdin).map_err(|errno| Error::system("ask on", "the terminal", errno))?;
    if !shown {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &hidden)
            .map_err(|errno| Error::system("hide what is typed on", "the terminal", errno))?;
    }
    let mut out = std::io::stderr();
    let asked = out.write_all(prompt.as_bytes()).and_then(|()| read_line());
    if !shown {
        let _ = tcsetattr(stdin, OptionalActions::Flush, &before);
        let _ = out.write_all(b"\n");
    }
    asked.map_err(failed)
}

fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    let stdin = std::io::stdin().lock();
    std::io::Read::take(stdin, ANSWER_BYTES_MAX as u64).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

//! Credential helpers: programs `docker-credential-NAME` that keep passwords. Source: docker-credential-helpers, README.
//!
//! A helper is chosen by the user's own file, so it runs with that user's rights, and only from a directory that nobody
//! else could have put it into (CVE-2019-15752, CVE-2025-15558). Secrets go through pipes, never into arguments.

use crate::credentials::{Account, Login, SERVER_OF_DOCKER, Secret};
use crate::error::Error;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Longest output that is read, in bytes.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// Where helpers are looked for if `PATH` isn't set.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a helper says if it has nothing. Source: docker-credential-helpers, credentials/error.go.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// User name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A helper on behalf of a user.
pub(crate) struct Helper<'a> {
    pub(crate) name: &'a str,
    pub(crate) account: &'a Account,
    /// The registry, for errors.
    pub(crate) host: &'a str,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper<'_> {
    /// The login for `server`, if the helper has one.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Login>, Error> {
        let Some(output) = self.run("get", server.as_bytes())? else { return Ok(None) };
        let entry: Entry =
            serde_json::from_slice(&output).map_err(|_| self.fault("get", "its answer is no JSON".into()))?;
        let secret = Secret::new(entry.secret);
        Ok(Some(match entry.username.as_str() {
            TOKEN_USER => Login::Identity { user: String::new(), token: secret },
            _ => Login::Password { user: entry.username, password: secret },
        }))
    }

    /// Keeps `login` for `server`.
    pub(crate) fn store(&self, server: &str, login: &Login) -> Result<(), Error> {
        let (user, secret) = match login {
            Login::Password { user, password } => (user.as_str(), password),
            Login::Identity { token, .. } | Login::Bearer { token } => (TOKEN_USER, token),
        };
        let entry = Entry {
            server_url: server.to_owned(),
            username: user.to_owned(),
            secret: secret.reveal().to_owned(),
        };
        let input = serde_json::to_vec(&entry).map_err(|error| self.fault("store", error.to_string()))?;
        self.run("store", &input).map(drop)
    }

    /// Forgets what it has for `server`; having nothing is no error.
    pub(crate) fn erase(&self, server: &str) -> Result<(), Error> {
        self.run("erase", server.as_bytes()).map(drop)
    }

    /// What the helper printed; `None` if it has no such credentials.
    fn run(&self, action: &'static str, input: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let fault = |reason: String| self.fault(action, reason);
        let program = self.find().map_err(fault)?;
        // The only program that berth executes outside of containers: there is no other way to these passwords.
        #[allow(clippy::disallowed_methods)]
        let mut command = Command::new(program);
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.current_dir("/").env("HOME", &self.account.home);
        if let Some((uid, gid)) = self.account.ids {
            command.uid(uid).gid(gid);
            command.env("USER", &self.account.name).env("LOGNAME", &self.account.name);
        }
        let mut child = command.spawn().map_err(|error| fault(error.to_string()))?;
        // It may leave without reading; what it prints tells why.
        let mut stdin = child.stdin.take();
        _ = stdin.as_mut().map(|stdin| stdin.write_all(input));
        drop(stdin);
        let mut output = Vec::new();
        let stdout = child.stdout.take();
        let read = stdout.map(|stdout| stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut output));
        let status = child.wait().map_err(|error| fault(error.to_string()))?;
        read.transpose().map_err(|error| fault(error.to_string()))?;
        if status.success() {
            return Ok(Some(output));
        }
        let said = String::from_utf8_lossy(&output).trim().to_owned();
        match said == NOT_FOUND {
            true => Ok(None),
            false if said.is_empty() => Err(fault(status.to_string())),
            false => Err(fault(types::inert::inert(&said).chars().take(300).collect())),
        }
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// The helper's file, in the first directory of `PATH` that has it and belongs to root or the user.
    fn find(&self) -> Result<PathBuf, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(legal) {
            return Err("that is no name of a helper".into());
        }
        let mut reason = "it is not installed".to_owned();
        for directory in self.account.path.as_deref().unwrap_or(PATH).split(':') {
            let directory = PathBuf::from(directory);
            let file = directory.join(self.program());
            if !directory.is_absolute() || !file.is_file() {
                continue;
            }
            let is_safe = [&directory, &file].into_iter().all(|path| self.is_ours(path));
            if is_safe {
                return Ok(file);
            }
            reason = format!("others than root and you could have put {} there", file.display());
        }
        Err(reason)
    }

    fn is_ours(&self, path: &PathBuf) -> bool {
        let owner = self.account.ids.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
        let is_ours = |metadata: std::fs::Metadata| {
            (metadata.uid() == 0 || metadata.uid() == owner) && metadata.mode() & 0o022 == 0
        };
        std::fs::metadata(path).is_ok_and(is_ours)
    }

    fn fault(&self, doing: &'static str, reason: String) -> Error {
        Error::Helper { doing, host: self.host.to_owned(), program: self.program(), reason }
    }
}

/// The server under which helpers and docker's file keep the credentials of `host`.
pub(crate) fn server_of(host: &str) -> &str {
    if host == "docker.io" { SERVER_OF_DOCKER } else { host }
}

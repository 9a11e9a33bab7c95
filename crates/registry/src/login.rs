//! Signing in and out: checking a password with its registry, and keeping it where docker does.

use crate::client::{Client, Endpoint, Request, registry_words};
use crate::credentials::{
    Account, Config, Credentials, FILE, Login, Secret, file_fault, is_key_of, read_file,
};
use crate::error::Error;
use crate::helper::{Helper, server_of};
use crate::settings::Settings;
use crate::transport::Payload;
use base64::Engine;
use serde_json::{Map, Value};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a login was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// With a credential helper of this name.
    Helper(String),
    /// In this file, readable for its owner only, but not encrypted.
    File(PathBuf),
}

/// The registry that a user means by the argument of `login` and `logout`, named as in references: docker's own by
/// `index.docker.io` and the URL in its file; others with or without scheme and path.
///
/// Errors: which rule `text` breaks, as the end of a sentence about it.
pub fn host_of(text: &str) -> Result<String, &'static str> {
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = bare.split('/').next().unwrap_or_default();
    types::reference::check_host(host)?;
    Ok(match is_key_of(text, "docker.io") {
        true => "docker.io".to_owned(),
        false => host.to_ascii_lowercase(),
    })
}

impl Client {
    /// Whether the registry accepts this client's credentials for it.
    ///
    /// Errors: [`Error::Unauthorized`] if it doesn't, and those of the connection.
    pub fn check_login(&self, host: &str) -> Result<(), Error> {
        let origin = self.origin_of(host)?;
        let endpoint = Endpoint { host: host.to_owned(), origin, path: String::new(), is_mirror: false };
        let doing = format!("sign in to {host}");
        let request = Request {
            method: "GET",
            url: endpoint.origin.url("/v2/"),
            headers: Vec::new(),
            payload: Payload::None,
            scopes: Vec::new(),
            doing: &doing,
            stall: self.shared.transport.settings.timing.stall,
        };
        let mut reply = self.send(&endpoint, request)?;
        let reason = |reply| match registry_words(reply) {
            words if words.is_empty() => "incorrect username or password".to_owned(),
            words => words,
        };
        match reply.status {
            200 => Ok(()),
            401 | 403 => Err(Error::Unauthorized { host: host.to_owned(), reason: reason(&mut reply) }),
            404 => Err(Error::Protocol { doing, host: reply.host(), reason: "is no registry".into() }),
            status => {
                Err(Error::Refused { doing, host: reply.host(), status, reason: registry_words(&mut reply) })
            }
        }
    }
}

impl Credentials {
    /// Checks name and password with the registry `host`, named as in references, and keeps them.
    ///
    /// Errors: [`Error::Unauthorized`]; [`Error::CredentialsFile`], [`Error::Helper`] if they can't be kept.
    pub fn login(&self, settings: Settings, host: &str, user: &str, password: Secret) -> Result<Kept, Error> {
        let login = Login::Password { user: user.to_owned(), password };
        Client::new(settings, Credentials::none().with(host, login.clone())).check_login(host)?;
        self.keep(host, &login)
    }

    /// Keeps `login` for `host`: with the helper that is configured, else in the file.
    pub fn keep(&self, host: &str, login: &Login) -> Result<Kept, Error> {
        let (account, path) = self.place()?;
        let config = parse(account, path)?;
        let helper = config.helper(host).map(str::to_owned);
        if let Some(name) = &helper {
            Helper { name, account, host }.store(server_of(host), login)?;
        }
        let entry = match (&helper, login) {
            // docker keeps an empty entry, so that it's seen that there is a login.
            (Some(_), _) => serde_json::json!({}),
            (None, Login::Password { user, password }) => {
                let pair = format!("{user}:{}", password.reveal());
                serde_json::json!({"auth": base64::engine::general_purpose::STANDARD.encode(pair)})
            }
            (None, Login::Identity { user, token }) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:"));
                serde_json::json!({"auth": pair, "identitytoken": token.reveal()})
            }
            (None, Login::Bearer { token }) => serde_json::json!({"registrytoken": token.reveal()}),
        };
        change(account, path, |auths| {
            auths.retain(|key, _| !is_key_of(key, host));
            auths.insert(server_of(host).to_owned(), entry);
            true
        })?;
        Ok(helper.map_or_else(|| Kept::File(path.to_owned()), Kept::Helper))
    }

    /// Forgets what is kept for `host`; whether there was something.
    pub fn logout(&self, host: &str) -> Result<bool, Error> {
        let (account, path) = self.place()?;
        let config = parse(account, path)?;
        let mut had = false;
        if let Some(name) = config.helper(host) {
            let helper = Helper { name, account, host };
            had = helper.get(server_of(host))?.is_some();
            helper.erase(server_of(host))?;
        }
        let removed = change(account, path, |auths| {
            let before = auths.len();
            auths.retain(|key, _| !is_key_of(key, host));
            auths.len() != before
        })?;
        Ok(had || removed)
    }

    fn place(&self) -> Result<(&Account, &Path), Error> {
        match &self.file {
            Some((account, path)) => Ok((account, path)),
            None => Err(file_fault("store", Path::new(FILE), "the calling user has no home directory")),
        }
    }
}

fn parse(account: &Account, path: &Path) -> Result<Config, Error> {
    Config::parse(&read_file(account, path)?.unwrap_or_default(), path)
}

/// Lets `edit` change `auths` of the file, and writes it if `edit` says that it did. Everything else in it stays. Two
/// processes that do so at once do it one after the other.
fn change(
    account: &Account,
    path: &Path,
    edit: impl FnOnce(&mut Map<String, Value>) -> bool + Send,
) -> Result<bool, Error> {
    account.act(|| change_as_owner(path, edit)).map_err(|error| file_fault("store", path, error))
}

fn change_as_owner(path: &Path, edit: impl FnOnce(&mut Map<String, Value>) -> bool) -> io::Result<bool> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    // The file may be a link into a collection of such files, which is to stay one.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(invalid("it has no directory"));
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let dir = std::fs::File::open(dir)?;
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive)?;
    let text = match crate::settings::read_bounded(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut document: Value = match text.trim_ascii() {
        b"" => Value::Object(Map::new()),
        text => serde_json::from_slice(text).map_err(|error| invalid(&error.to_string()))?,
    };
    let members = document.as_object_mut().ok_or_else(|| invalid("it is no JSON object"))?;
    let auths = members.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    let auths = auths.as_object_mut().ok_or_else(|| invalid("its \"auths\" is no object"))?;
    if !edit(auths) {
        return Ok(false);
    }
    let text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
    linux::durable::replace(dir.as_fd(), name, &text, 0o600)?;
    Ok(true)
}

#[cfg(test)]
mod tests;

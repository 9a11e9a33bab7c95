//! Names and passwords: docker's `config.json`, and the helpers that it names.
//!
//! Whose file it is: the caller's; under sudo the calling user's, read and written with that user's rights, so that no
//! link in a home directory makes root read or write elsewhere.

use crate::error::Error;
use crate::helper::{Helper, server_of};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What docker calls its own registry in files.
pub(crate) const SERVER_OF_DOCKER: &str = "https://index.docker.io/v1/";

/// The file's name in its directory.
pub(crate) const FILE: &str = "config.json";

/// A text that isn't printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for sending it to whom it is meant for.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What proves to a registry who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that buys others at the token server. Source: distribution "OAuth 2.0", `refresh_token`.
    Identity {
        /// Whose it is, perhaps not known.
        user: String,
        /// The token.
        token: Secret,
    },
    /// A token for the registry itself.
    Bearer {
        /// The token.
        token: Secret,
    },
}

/// On whose behalf the file is read and helpers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    /// User and group, where they aren't this process's own.
    pub(crate) ids: Option<(u32, u32)>,
    /// Where helpers are, as `PATH` has it.
    pub(crate) path: Option<String>,
}

/// Where logins come from.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    pub(crate) file: Option<(Account, PathBuf)>,
    given: BTreeMap<String, Login>,
}

/// The parts of docker's file that are read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Config {
    auths: Option<BTreeMap<String, Auth>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Credentials {
    /// None at all.
    pub fn none() -> Credentials {
        Credentials::default()
    }

    /// The caller's: `config.json` in `BERTH_CONFIG`, `DOCKER_CONFIG`, or `.docker` of the home directory.
    pub fn of_caller(environment: &dyn Fn(&str) -> Option<String>) -> Credentials {
        let get = |name: &str| environment(name).filter(|value| !value.is_empty());
        let me = rustix::process::geteuid();
        let sudo = get("SUDO_UID").filter(|_| me.is_root()).and_then(|uid| uid.parse::<u32>().ok());
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (wanted, is_other) = match sudo {
            Some(uid) if uid != 0 => (uid, true),
            _ => (me.as_raw(), false),
        };
        let known = find_account(&accounts, wanted);
        let own_home = if is_other { None } else { get("HOME").map(PathBuf::from) };
        let (name, home, gid) = match (known, own_home) {
            (Some((name, home, gid)), own) => (name, own.unwrap_or(home), gid),
            (None, Some(own)) => (String::new(), own, wanted),
            (None, None) => return Credentials::none(),
        };
        let directory = get("BERTH_CONFIG").or_else(|| get("DOCKER_CONFIG")).map(PathBuf::from);
        let directory = directory.unwrap_or_else(|| home.join(".docker"));
        let ids = is_other.then_some((wanted, gid));
        Credentials::of_directory(Account { name, home, ids, path: get("PATH") }, directory)
    }

    pub(crate) fn of_directory(account: Account, directory: PathBuf) -> Credentials {
        Credentials { file: Some((account, directory.join(FILE))), given: BTreeMap::new() }
    }

    /// The same, with `login` for `host` whatever the file says.
    pub fn with(mut self, host: &str, login: Login) -> Credentials {
        self.given.insert(host.to_owned(), login);
        self
    }

    /// The login for a registry, named as in references.
    ///
    /// Errors: a file that is there and can't be read, a helper that fails.
    pub fn get(&self, host: &str) -> Result<Option<Login>, Error> {
        if let Some(login) = self.given.get(host) {
            return Ok(Some(login.clone()));
        }
        let Some((account, path)) = &self.file else { return Ok(None) };
        let Some(bytes) = read_file(account, path)? else { return Ok(None) };
        let config = Config::parse(&bytes, path)?;
        if let Some(name) = config.helper(host) {
            let found = Helper { name, account, host }.get(server_of(host))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        config.stored(host, path)
    }
}

impl Config {
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Config, Error> {
        // An empty file is docker's as well.
        if bytes.trim_ascii().is_empty() {
            return Ok(Config::default());
        }
        serde_json::from_slice(bytes).map_err(|error| file_fault("read", path, error))
    }

    /// The helper that keeps the credentials of `host`.
    pub(crate) fn helper(&self, host: &str) -> Option<&str> {
        let named = self.cred_helpers.iter().flatten().find(|(key, _)| is_key_of(key, host));
        let name = named.map(|(_, name)| name.as_str()).or(self.creds_store.as_deref());
        name.filter(|name| !name.is_empty())
    }

    /// What stands in the file itself for `host`.
    fn stored(&self, host: &str, path: &Path) -> Result<Option<Login>, Error> {
        let all = || self.auths.iter().flatten();
        let exact = all().find(|(key, _)| *key == server_of(host));
        let Some((_, auth)) = exact.or_else(|| all().find(|(key, _)| is_key_of(key, host))) else {
            return Ok(None);
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&auth.registrytoken) {
            return Ok(Some(Login::Bearer { token: Secret(token) }));
        }
        let (user, password) = match given(&auth.auth) {
            Some(encoded) => {
                let decoded = decode_auth(&encoded);
                decoded.ok_or_else(|| file_fault("read", path, format!("\"auth\" of {host} is malformed")))?
            }
            None => (given(&auth.username).unwrap_or_default(), given(&auth.password).unwrap_or_default()),
        };
        Ok(match (given(&auth.identitytoken), user.is_empty() && password.is_empty()) {
            (Some(token), _) => Some(Login::Identity { user, token: Secret(token) }),
            (None, true) => None,
            (None, false) => Some(Login::Password { user, password: Secret(password) }),
        })
    }
}

/// Whether docker's file means `host` by `key`: `https://HOST/v1/`, `HOST/v2/`, `HOST`.
pub(crate) fn is_key_of(key: &str, host: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.split('/').next().unwrap_or_default();
    let bare = match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    bare.eq_ignore_ascii_case(host)
}

/// `USER:PASSWORD` in base64.
fn decode_auth(encoded: &str) -> Option<(String, String)> {
    use base64::Engine;
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let text = String::from_utf8(engine.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Name, home directory and group of a user id. Source: passwd(5).
fn find_account(accounts: &str, uid: u32) -> Option<(String, PathBuf, u32)> {
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, gid, _, home, _] = fields[..] else { return None };
        let is_it = id.parse() == Ok(uid) && home.starts_with('/');
        is_it.then(|| Some((name.to_owned(), PathBuf::from(home), gid.parse().ok()?)))?
    })
}

impl Account {
    /// Runs `work` with the account's rights to files, on a thread that ends with it.
    pub(crate) fn act<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let Some((uid, gid)) = self.ids else { return work() };
        let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
        let lowered = move || {
            set_thread_groups(&[gid])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(lowered).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that acts for the user panicked")))
    }
}

/// The file's content; `None` if there is no file.
pub(crate) fn read_file(account: &Account, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match account.act(|| crate::settings::read_bounded(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(file_fault("read", path, error)),
    }
}

pub(crate) fn file_fault(doing: &'static str, path: &Path, reason: impl fmt::Display) -> Error {
    Error::CredentialsFile { doing, path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;

//! How each registry is reached: mirrors, certificates, exceptions from TLS, proxies, patience.
//!
//! Sources: `/etc/berth/registries.json` (docs/registries.md), and the directories `certs.d/HOST[:PORT]` of berth and
//! docker, in which `*.crt` are issuers and `NAME.cert` with `NAME.key` is the client's own certificate.

use crate::error::Error;
use crate::url::{Origin, Scheme, Url};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the machine's settings are.
pub const FILE: &str = "/etc/berth/registries.json";

/// The variable that names another file.
pub const FILE_VARIABLE: &str = "BERTH_REGISTRIES";

/// Where certificates are looked for, each in a directory called as the registry.
pub const CERTS_DIRS: [&str; 2] = ["/etc/berth/certs.d", "/etc/docker/certs.d"];

/// Where docker's registry really is.
pub(crate) const DOCKER_REGISTRY: &str = "registry-1.docker.io";

/// Largest file of settings, certificates or keys, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// All that isn't in a reference.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    registries: BTreeMap<String, RegistrySettings>,
    certs_dirs: Vec<PathBuf>,
    pub(crate) proxies: Proxies,
    pub(crate) timing: Timing,
}

/// How one registry is reached. The registry is named as in references: `docker.io`, `localhost:5000`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Asked before the registry itself when pulling: `https://HOST[:PORT][/PREFIX]`, where the prefix is put before the
    /// repository's path.
    pub mirrors: Vec<String>,
    /// Further hosts that may ask for its credentials as its token servers.
    pub realms: Vec<String>,
    /// Certificates of issuers (PEM), trusted beside the machine's.
    pub ca: Vec<PathBuf>,
    /// The client's certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// Whether any certificate will do, and plain HTTP where there is no TLS.
    pub insecure: bool,
    /// Whether it is spoken to in plain HTTP only.
    pub http: bool,
}

/// How patient one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Attempts for each request, and for each stretch of a blob without progress.
    pub attempts: u32,
    /// Wait before the first repetition; doubles each time.
    pub backoff: Duration,
    /// Longest wait between two attempts. A registry that asks for more gets an error instead.
    pub wait_max: Duration,
    /// To find the address, connect and shake hands.
    pub connect: Duration,
    /// Without a single byte from, or to, the other side.
    pub stall: Duration,
    /// For a registry to put together what was pushed.
    pub finish: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            attempts: 5,
            backoff: Duration::from_millis(500),
            wait_max: Duration::from_secs(60),
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            finish: Duration::from_secs(600),
        }
    }
}

/// Proxies as the environment names them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    /// Name of the variable and its value, for each scheme.
    pub(crate) https: Option<(String, String)>,
    pub(crate) http: Option<(String, String)>,
    /// Hosts that are reached without.
    pub(crate) none: Vec<String>,
}

impl Proxies {
    fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> Proxies {
        let get = |name: &str| {
            let names = [name.to_ascii_lowercase(), name.to_owned()];
            let mut set = names.into_iter().filter_map(|name| Some((environment(&name)?, name)));
            set.find(|(value, _)| !value.is_empty()).map(|(value, name)| (name, value))
        };
        let none = get("NO_PROXY").map(|(_, list)| list).unwrap_or_default();
        let none = none.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Proxies {
            https: get("HTTPS_PROXY").or_else(|| get("ALL_PROXY")),
            http: get("HTTP_PROXY").or_else(|| get("ALL_PROXY")),
            none: none.map(str::to_owned).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registries: BTreeMap<String, RegistrySettings>,
    #[serde(default)]
    patience: Patience,
}

/// What of [`Timing`] can be set.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Patience {
    attempts: Option<u32>,
    connect_seconds: Option<u32>,
    stall_seconds: Option<u32>,
}

/// Most of each of these: nothing is waited for without end.
const PATIENCE_MAX: u32 = 3600;

impl Patience {
    fn apply(&self, timing: &mut Timing) -> Result<(), String> {
        let checked = |name: &str, value: Option<u32>| match value {
            Some(value) if value == 0 || value > PATIENCE_MAX => {
                Err(format!("\"{name}\" is a number from 1 to {PATIENCE_MAX}"))
            }
            other => Ok(other),
        };
        let seconds = |value: u32| Duration::from_secs(value.into());
        timing.attempts = checked("attempts", self.attempts)?.unwrap_or(timing.attempts);
        timing.connect = checked("connect_seconds", self.connect_seconds)?.map_or(timing.connect, seconds);
        timing.stall = checked("stall_seconds", self.stall_seconds)?.map_or(timing.stall, seconds);
        Ok(())
    }
}

impl Settings {
    /// The machine's settings, or those in the file that `BERTH_REGISTRIES` names, with proxies from `environment`.
    ///
    /// Errors: a file that can't be read or understood. Only the machine's may be missing.
    pub fn load(environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let named = environment(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| FILE.into());
        let mut settings = match read_bounded(&path) {
            Ok(text) => Settings::parse(&text, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Settings::default(),
            Err(error) => return Err(Error::Settings { path, reason: error.to_string() }),
        };
        settings.certs_dirs = CERTS_DIRS.iter().map(PathBuf::from).collect();
        settings.proxies = Proxies::of_environment(environment);
        Ok(settings)
    }

    /// Settings in the words of the file; `path` is for errors. Without certificates' directories and proxies.
    ///
    /// Errors: [`Error::Settings`].
    pub fn parse(text: &[u8], path: &Path) -> Result<Settings, Error> {
        let fault = |reason: String| Error::Settings { path: path.to_owned(), reason };
        let file: File = serde_json::from_slice(text).map_err(|error| fault(error.to_string()))?;
        let mut settings = Settings::default();
        file.patience.apply(&mut settings.timing).map_err(fault)?;
        for (host, entry) in file.registries {
            types::reference::check_host(&host).map_err(|_| fault(format!("{host:?} is no registry")))?;
            for mirror in &entry.mirrors {
                parse_mirror(mirror)
                    .map_err(|reason| fault(format!("mirror {mirror:?} of {host}: {reason}")))?;
            }
            if entry.cert.is_some() != entry.key.is_some() {
                return Err(fault(format!("{host} needs both \"cert\" and \"key\", or neither")));
            }
            settings.registries.insert(host.to_ascii_lowercase(), entry);
        }
        Ok(settings)
    }

    /// The same with `entry` for `host`.
    pub fn with(mut self, host: &str, entry: RegistrySettings) -> Settings {
        self.registries.insert(host.to_ascii_lowercase(), entry);
        self
    }

    /// The same, but any certificate of `host` will do, and plain HTTP where there is no TLS.
    pub fn with_insecure(mut self, host: &str) -> Settings {
        self.registries.entry(host.to_ascii_lowercase()).or_default().insecure = true;
        self
    }

    /// The same with other patience.
    pub fn with_timing(self, timing: Timing) -> Settings {
        Settings { timing, ..self }
    }

    /// The same with certificates looked for in `dirs` instead.
    pub fn with_certs_dirs(self, dirs: Vec<PathBuf>) -> Settings {
        Settings { certs_dirs: dirs, ..self }
    }

    /// What is said about who is connected to, which may be called with its port or, if that is the usual one, without.
    pub(crate) fn of_origin(&self, origin: &Origin) -> Result<RegistrySettings, Error> {
        let with_port = format!("{}:{}", origin.host, origin.port);
        let is_known = self.registries.contains_key(&with_port)
            || self.certs_dirs.iter().any(|dir| dir.join(&with_port).is_dir());
        match origin.authority() {
            _ if is_known => self.of(&with_port),
            host if host == DOCKER_REGISTRY => self.of("docker.io"),
            host => self.of(&host),
        }
    }

    /// What is said about `host`, with the certificates found in the directories.
    pub(crate) fn of(&self, host: &str) -> Result<RegistrySettings, Error> {
        let mut entry = self.registries.get(&host.to_ascii_lowercase()).cloned().unwrap_or_default();
        for dir in &self.certs_dirs {
            add_certificates(&mut entry, host, &dir.join(host))?;
        }
        Ok(entry)
    }
}

/// The origin and the prefix of repositories of a mirror.
pub(crate) fn parse_mirror(text: &str) -> Result<(Origin, String), &'static str> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&text)?;
    let whole = url.to_string();
    let path = whole.strip_prefix(&url.origin.to_string()).unwrap_or_default();
    let prefix = path.trim_matches('/');
    let prefix = prefix.strip_prefix("v2/").unwrap_or(if prefix == "v2" { "" } else { prefix });
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte);
    match prefix.bytes().all(legal) && !prefix.contains("..") {
        true => Ok((url.origin, prefix.to_owned())),
        false => Err("its path is no prefix of repositories"),
    }
}

impl RegistrySettings {
    /// The ways to speak to who is at `origin`, the preferred first. Where there are two, the second is for a host without TLS.
    pub(crate) fn schemes(&self, origin: &Origin) -> &'static [Scheme] {
        let is_as_good = self.insecure || origin.is_loopback() && !self.has_own_tls();
        match (self.http, is_as_good) {
            (true, _) => &[Scheme::Http],
            (false, true) => &[Scheme::Https, Scheme::Http],
            (false, false) => &[Scheme::Https],
        }
    }

    /// Whether connections need certificates or rules of their own.
    pub(crate) fn has_own_tls(&self) -> bool {
        self.insecure || !self.ca.is_empty() || self.cert.is_some()
    }
}

fn add_certificates(entry: &mut RegistrySettings, host: &str, dir: &Path) -> Result<(), Error> {
    let fault = |path: &Path, reason: String| Error::Certificate {
        host: host.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let list = match std::fs::read_dir(dir) {
        Ok(list) => list,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(fault(dir, error.to_string())),
    };
    let mut paths: Vec<PathBuf> = list.flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => entry.ca.push(path),
            Some("cert") if entry.cert.is_none() => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(fault(&path, format!("its key {} is missing", key.display())));
                }
                (entry.cert, entry.key) = (Some(path), Some(key));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The content of a small file.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, Error> {
        Settings::parse(text.as_bytes(), Path::new("/f"))
    }

    fn origin(host: &str) -> Origin {
        Origin::of(Scheme::Https, host).unwrap()
    }

    #[test]
    fn the_file_is_read() {
        let settings = parse(
            r#"{"registries": {"docker.io": {"mirrors": ["https://m.io", "m2.io:5000/proxy/hub"], "realms": ["sso.io"]},
                "R.io:5000": {"ca": ["/ca"], "cert": "/c", "key": "/k"}, "old": {"http": true}}}"#,
        )
        .unwrap();
        assert_eq!(settings.of("docker.io").unwrap().mirrors.len(), 2);
        assert_eq!(settings.of("r.io:5000").unwrap().key, Some("/k".into()));
        assert_eq!(settings.of("OLD").unwrap().schemes(&origin("old")), [Scheme::Http]);
        assert_eq!(settings.of("other").unwrap(), RegistrySettings::default());
        for (bad, reason) in [
            ("", "EOF"),
            (r#"{"registry": {}}"#, "unknown field"),
            (r#"{"registries": {"a.io": {"insecur": true}}}"#, "unknown field"),
            (r#"{"registries": {"a/b": {}}}"#, "no registry"),
            (r#"{"registries": {"a.io": {"mirrors": ["ftp://x"]}}}"#, "scheme"),
            (r#"{"registries": {"a.io": {"mirrors": ["https://x/A B"]}}}"#, "characters"),
            (r#"{"registries": {"a.io": {"cert": "/c"}}}"#, "both"),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn another_file_may_be_named_and_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        let load = || {
            let text = path.display().to_string();
            Settings::load(&move |name: &str| (name == FILE_VARIABLE).then(|| text.clone()))
        };
        assert!(matches!(load(), Err(Error::Settings { .. })));
        std::fs::write(&path, r#"{"registries": {"a.io": {"http": true}}}"#).unwrap();
        assert!(load().unwrap().of("a.io").unwrap().http);
    }

    #[test]
    fn mirrors_have_an_origin_and_a_prefix() {
        let check = |text: &str, origin: &str, prefix: &str| {
            let (found, of) = parse_mirror(text).unwrap();
            assert_eq!((found.to_string().as_str(), of.as_str()), (origin, prefix), "{text}");
        };
        check("https://m.io", "https://m.io", "");
        check("m.io:5000/", "https://m.io:5000", "");
        check("http://m.io/v2/", "http://m.io", "");
        check("https://m.io/proxy/hub", "https://m.io", "proxy/hub");
        check("https://m.io/v2/proxy", "https://m.io", "proxy");
        assert!(parse_mirror("https://m.io/../x").is_err() && parse_mirror("https://m.io/x?y").is_err());
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_said_otherwise() {
        let default = RegistrySettings::default();
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "a.localhost"] {
            assert_eq!(default.schemes(&origin(host)), [Scheme::Https, Scheme::Http], "{host}");
        }
        let verified = RegistrySettings { ca: vec!["/ca".into()], ..RegistrySettings::default() };
        assert_eq!(verified.schemes(&origin("localhost")), [Scheme::Https]);
        for host in ["a.io", "10.0.0.1", "localhost.evil.io", "127.0.0.1.evil.io", "[::2]", "notlocalhost"] {
            assert_eq!(default.schemes(&origin(host)), [Scheme::Https], "{host}");
        }
    }

    #[test]
    fn proxies_come_from_the_environment() {
        let variables = |name: &str| match name {
            "https_proxy" => Some("http://p:1".to_owned()),
            "HTTP_PROXY" => Some("http://q:2".to_owned()),
            "NO_PROXY" => Some("a.io, .b.io".to_owned()),
            _ => None,
        };
        let proxies = Proxies::of_environment(&variables);
        assert_eq!(proxies.https, Some(("https_proxy".into(), "http://p:1".into())));
        assert_eq!(proxies.http, Some(("HTTP_PROXY".into(), "http://q:2".into())));
        assert_eq!(proxies.none, ["a.io", ".b.io"]);
    }

    #[test]
    fn certificates_are_found_as_docker_places_them() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("r.io:5000");
        std::fs::create_dir(&host).unwrap();
        for name in ["ca.crt", "b.crt", "client.cert", "client.key", "README"] {
            std::fs::write(host.join(name), "").unwrap();
        }
        let settings = Settings::default().with_certs_dirs(vec![dir.path().into(), "/nowhere".into()]);
        let entry = settings.of("r.io:5000").unwrap();
        assert_eq!(entry.ca, [host.join("b.crt"), host.join("ca.crt")]);
        assert_eq!((entry.cert, entry.key), (Some(host.join("client.cert")), Some(host.join("client.key"))));
        std::fs::remove_file(host.join("client.key")).unwrap();
        assert!(settings.of("r.io:5000").unwrap_err().to_string().contains("key"));
    }
}

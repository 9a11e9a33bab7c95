//! Proofs of who one is, and to whom they may go.
//!
//! A registry that wants proof answers 401 with challenges. A password then goes to the registry itself (basic), or to the
//! token server that it names, its *realm* (bearer): but only to a realm in the registry's own domain or named in the
//! settings ([`may_have_password`]). Tokens are kept for as long as they hold. Source: distribution "Token Authentication",
//! "OAuth 2.0"; security.md T8.

use crate::challenge::Challenge;
use crate::client::{Reply, read_bounded, registry_words};
use crate::credentials::{Credentials, Login};
use crate::error::Error;
use crate::retry;
use crate::settings::RegistrySettings;
use crate::transport::{Message, Payload, Transport};
use crate::url::{Origin, Url, escape};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Largest answer of a token server, in bytes.
const TOKEN_BYTES_MAX: usize = 256 << 10;

/// How long a token holds if its server doesn't say. Source: distribution "Token Authentication".
const LIFETIME: Duration = Duration::from_secs(60);

/// Longest time that a token is kept.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Time before its end at which a token isn't used any more, for requests on their way.
const MARGIN: Duration = Duration::from_secs(10);

/// What requests need: scopes as `repository:NAME:pull,push`.
pub(crate) type Scopes = Vec<String>;

/// Who is asked, and under what name credentials for it are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party<'a> {
    /// The name in references: `docker.io`.
    pub(crate) host: &'a str,
    /// Where requests go.
    pub(crate) origin: &'a Origin,
}

/// Keeps logins and tokens.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    credentials: Credentials,
    logins: Mutex<HashMap<String, Option<Login>>>,
    /// Why there is no login for a host, where one was looked for in vain.
    faults: Mutex<HashMap<String, Error>>,
    ways: Mutex<HashMap<Origin, Way>>,
    tokens: Mutex<HashMap<(Origin, Scopes), Token>>,
}

/// How a registry wants proof.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Debug, Clone)]
struct Token {
    text: String,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Proofs {
    pub(crate) fn new(credentials: Credentials) -> Proofs {
        Proofs { credentials, ..Proofs::default() }
    }

    /// The value of `Authorization` for a request to `party`, as far as it is known what that wants.
    pub(crate) fn header(
        &self,
        transport: &Transport,
        party: Party<'_>,
        scopes: &Scopes,
    ) -> Result<Option<String>, Error> {
        let way = lock(&self.ways).get(party.origin).cloned();
        match way {
            None => Ok(None),
            Some(Way::Basic) => Ok(self.login(party.host).as_ref().and_then(basic)),
            Some(Way::Bearer { realm, service }) => {
                if let Some(token) = self.kept_token(party, scopes) {
                    return Ok(Some(format!("Bearer {token}")));
                }
                let text = self.fetch(transport, party, &realm, service.as_deref(), scopes, scopes)?;
                Ok(text.map(|text| format!("Bearer {text}")))
            }
        }
    }

    /// Takes note of what `party` demands, and whether to try once more: there is a proof now that wasn't sent before.
    pub(crate) fn challenged(
        &self,
        transport: &Transport,
        party: Party<'_>,
        scopes: &Scopes,
        challenges: &[Challenge],
        sent: Option<&str>,
    ) -> Result<bool, Error> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope, .. } => Some((realm, service, scope)),
            _ => None,
        });
        if let Some((realm, service, scope)) = bearer {
            let realm = party.origin.url("/v2/").follow(realm).map_err(|reason| Error::Protocol {
                doing: "sign in".into(),
                host: party.origin.authority(),
                reason: format!("names a token server that will not be asked: {reason}"),
            })?;
            let way = Way::Bearer { realm: realm.clone(), service: service.clone() };
            lock(&self.ways).insert(party.origin.clone(), way);
            let mut wanted = scopes.clone();
            let demanded = scope.iter().flat_map(|scope| scope.split(' ')).filter(|word| !word.is_empty());
            for word in demanded.take(8) {
                if !wanted.iter().any(|have| have == word) {
                    wanted.push(word.to_owned());
                }
            }
            lock(&self.tokens).remove(&(party.origin.clone(), scopes.clone()));
            let text = self.fetch(transport, party, &realm, service.as_deref(), &wanted, scopes)?;
            return Ok(text.is_some_and(|text| sent != Some(&format!("Bearer {text}"))));
        }
        if challenges.contains(&Challenge::Basic) {
            lock(&self.ways).insert(party.origin.clone(), Way::Basic);
            let proof = self.login(party.host).as_ref().and_then(basic);
            return Ok(proof.is_some() && proof.as_deref() != sent);
        }
        Ok(false)
    }

    /// The reason why there is no login for `host`, if that is a fault. Given once.
    pub(crate) fn take_fault(&self, host: &str) -> Option<Error> {
        lock(&self.faults).remove(host)
    }

    /// The login for `host`. A broken file or a missing helper is no reason not to try without: most images are for
    /// everybody. It is told if that wasn't enough.
    fn login(&self, host: &str) -> Option<Login> {
        if let Some(known) = lock(&self.logins).get(host) {
            return known.clone();
        }
        let login = self.credentials.get(host).unwrap_or_else(|error| {
            lock(&self.faults).insert(host.to_owned(), error);
            None
        });
        lock(&self.logins).insert(host.to_owned(), login.clone());
        login
    }

    fn kept_token(&self, party: Party<'_>, scopes: &Scopes) -> Option<String> {
        let tokens = lock(&self.tokens);
        let token = tokens.get(&(party.origin.clone(), scopes.clone()))?;
        (Instant::now() < token.until).then(|| token.text.clone())
    }

    /// Gets a token for `wanted`, and keeps it as the one for `scopes`. `None` if the server gives none to anybody unnamed.
    fn fetch(
        &self,
        transport: &Transport,
        party: Party<'_>,
        realm: &Url,
        service: Option<&str>,
        wanted: &Scopes,
        scopes: &Scopes,
    ) -> Result<Option<String>, Error> {
        let login = self.login(party.host);
        if let Some(Login::Bearer { token }) = &login {
            return Ok(visible(token.reveal()));
        }
        let settings = transport.settings.of(party.host)?;
        if login.is_some() && !may_have_password(party, realm, &settings) {
            return Err(Error::ForeignRealm { host: party.host.to_owned(), realm: realm.origin.authority() });
        }
        let request = TokenRequest { realm, service, scopes: wanted, login: login.as_ref() };
        let Some(answer) = request.send(transport, party)? else { return Ok(None) };
        let named = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        let text = named.as_deref().and_then(visible).ok_or_else(|| Error::Protocol {
            doing: format!("sign in to {}", party.host),
            host: realm.origin.authority(),
            reason: "answered without a token".into(),
        })?;
        let lifetime = answer.expires_in.map_or(LIFETIME, Duration::from_secs).clamp(LIFETIME, LIFETIME_MAX);
        let token = Token { text: text.clone(), until: Instant::now() + lifetime - MARGIN };
        lock(&self.tokens).insert((party.origin.clone(), scopes.clone()), token);
        Ok(Some(text))
    }
}

struct TokenRequest<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scopes: &'a Scopes,
    login: Option<&'a Login>,
}

impl TokenRequest<'_> {
    fn send(&self, transport: &Transport, party: Party<'_>) -> Result<Option<TokenAnswer>, Error> {
        let doing = format!("sign in to {}", party.host);
        let timing = &transport.settings.timing;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (url, message, form) = self.message(timing.stall);
            let message =
                Message { payload: form.as_deref().map_or(Payload::None, Payload::Bytes), ..message };
            let result = transport.send(&url, message).map(|answer| Reply::new(answer, url.clone()));
            let pause = match &result {
                Ok(reply) if retry::is_transient(reply.status) => {
                    retry::wait(timing, attempt, reply.retry_after())
                }
                Err(crate::transport::Failure::Broken(_)) => retry::wait(timing, attempt, None),
                _ => None,
            };
            if let Some(pause) = pause {
                std::thread::sleep(pause);
                continue;
            }
            let reply = result.map_err(|failure| failure.into_error(&doing, &url))?;
            return self.read(reply, party, &doing);
        }
    }

    fn message(&self, stall: Duration) -> (Url, Message<'static>, Option<Vec<u8>>) {
        let message = |method, headers| Message { method, headers, payload: Payload::None, stall };
        if let Some(Login::Identity { token, .. }) = self.login {
            let mut form =
                format!("grant_type=refresh_token&client_id=berth&refresh_token={}", escape(token.reveal()));
            if let Some(service) = self.service {
                form += &format!("&service={}", escape(service));
            }
            if !self.scopes.is_empty() {
                form += &format!("&scope={}", escape(&self.scopes.join(" ")));
            }
            let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
            return (self.realm.clone(), message("POST", headers), Some(form.into_bytes()));
        }
        let mut url = self.realm.clone();
        if let Some(service) = self.service {
            url = url.with_query("service", service);
        }
        for scope in self.scopes {
            url = url.with_query("scope", scope);
        }
        let mut headers = Vec::new();
        if let Some(login) = self.login {
            if let Login::Password { user, .. } = login {
                url = url.with_query("account", user).with_query("client_id", "berth");
            }
            headers.extend(basic(login).map(|value| ("authorization", value)));
        }
        (url, message("GET", headers), None)
    }

    fn read(&self, mut reply: Reply, party: Party<'_>, doing: &str) -> Result<Option<TokenAnswer>, Error> {
        let host = self.realm.origin.authority();
        if reply.status != 200 {
            let reason = registry_words(&mut reply);
            return match (reply.status, self.login) {
                (400 | 401 | 403, None) => Ok(None),
                (401 | 403, Some(_)) => Err(Error::Unauthorized { host: party.host.to_owned(), reason }),
                (429, _) => {
                    let wait_seconds = reply.retry_after().map(|wait| wait.as_secs());
                    Err(Error::Throttled { doing: doing.to_owned(), host, wait_seconds, reason })
                }
                (status, _) => Err(Error::Refused { doing: doing.to_owned(), host, status, reason }),
            };
        }
        let fault = |reason: String| Error::Protocol { doing: doing.to_owned(), host: host.clone(), reason };
        let bytes = read_bounded(&mut reply.body, TOKEN_BYTES_MAX).map_err(&fault)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| fault("answered with something else than a token".into()))
    }
}

/// Whether the password of `party` may go to `realm`.
///
/// Its domain is its own name and what is below, and the name without the first label and what is below that, as long as
/// that isn't a suffix under which anybody gets a name.
fn may_have_password(party: Party<'_>, realm: &Url, settings: &RegistrySettings) -> bool {
    let (registry, server) = (party.origin.host.as_str(), realm.origin.host.as_str());
    let named = |entry: &String| {
        entry.eq_ignore_ascii_case(server) || entry.eq_ignore_ascii_case(&realm.origin.authority())
    };
    if registry == server || settings.realms.iter().any(named) {
        return true;
    }
    let is_address = |host: &str| host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
    if is_address(registry) || is_address(server) {
        return false;
    }
    let is_below = |domain: &str| {
        server == domain || server.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    let parent =
        registry.split_once('.').map(|(_, parent)| parent).filter(|parent| !is_public_suffix(parent));
    (!is_public_suffix(registry) && is_below(registry)) || parent.is_some_and(is_below)
}

/// Suffixes of hosters, under which names belong to strangers. (Their registries are their own token servers.)
const HOSTERS: [&str; 16] = [
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudapp.net",
    "cloudfront.net",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "pages.dev",
    "pkg.dev",
    "run.app",
    "vercel.app",
    "workers.dev",
];

/// Whether names directly below `domain` may belong to anybody: `io`, `co.uk`, `com.au`, a hoster's. A guess on the safe
/// side instead of the public suffix list, which has 10,000 entries; settings help where it is wrong.
fn is_public_suffix(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    match labels[..] {
        [] | [_] => true,
        [second, top] if second.len() <= 3 && top.len() == 2 => true,
        _ => HOSTERS.iter().any(|hoster| domain == *hoster || domain.ends_with(&format!(".{hoster}"))),
    }
}

/// `Basic`, if `login` is a name and a password.
fn basic(login: &Login) -> Option<String> {
    use base64::Engine;
    let Login::Password { user, password } = login else { return None };
    let pair = format!("{user}:{}", password.reveal());
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

/// `text`, if it may stand in a header.
fn visible(text: &str) -> Option<String> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Scheme;

    /// CVE-2020-15157's class: a realm elsewhere gets no password.
    #[test]
    fn passwords_go_to_the_registrys_own_domain() {
        let check = |registry: &str, realm: &str, expected: bool| {
            let origin = Origin::of(Scheme::Https, registry).unwrap();
            let party = Party { host: registry, origin: &origin };
            let realm = Url::parse(realm).unwrap();
            let settings =
                RegistrySettings { realms: vec!["sso.corp.net".into()], ..RegistrySettings::default() };
            assert_eq!(may_have_password(party, &realm, &settings), expected, "{registry} {realm}");
        };
        check("registry-1.docker.io", "https://auth.docker.io/token", true);
        check("ghcr.io", "https://ghcr.io/token", true);
        check("registry.gitlab.com", "https://gitlab.com/jwt/auth", true);
        check("example.com", "https://auth.example.com/", true);
        check("r.io:5000", "https://r.io:5001/", true);
        check("r.corp.net", "https://sso.corp.net/", true);
        check("a.io", "https://sso.corp.net/", true);
        check("127.0.0.1:5000", "https://127.0.0.1:5001/", true);
        check("localhost:5000", "https://localhost:5001/", true);
        check("registry-1.docker.io", "https://auth.docker.io.evil.com/", false);
        check("registry-1.docker.io", "https://evildocker.io/", false);
        check("ghcr.io", "https://evil.io/", false);
        check("r.co.uk", "https://evil.co.uk/", false);
        check("r.com.au", "https://evil.com.au/", false);
        check("x.azurecr.io", "https://evil.azurecr.io/", false);
        check("1.dkr.ecr.eu-west-1.amazonaws.com", "https://evil.eu-west-1.amazonaws.com/", false);
        check("127.0.0.1:5000", "https://0.0.1/", false);
        check("10.0.0.1", "https://11.0.0.1/", false);
        check("localhost:5000", "https://evil.com/", false);
    }

    #[test]
    fn what_would_forge_a_header_is_no_token() {
        assert_eq!(visible("abc.DEF-_=="), Some("abc.DEF-_==".to_owned()));
        for bad in ["", "a b", "a\r\nX: y", "é"] {
            assert_eq!(visible(bad), None);
        }
    }
}

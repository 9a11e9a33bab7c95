//! [`Client`]: one request to a registry, with all that stands between asking and being answered.

use crate::challenge;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::headers;
use crate::retry;
use crate::settings::{DOCKER_REGISTRY, Settings, parse_mirror};
use crate::token::{Party, Proofs, Scopes};
use crate::transport::{Failure, Message, Payload, Transport};
use crate::url::{Origin, Scheme, Url};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use types::inert::inert;
use types::reference::Repository;

/// Redirects that are followed for one request.
const HOPS_MAX: usize = 5;

/// Rounds of proof for one request: unknown registry, then a token that has run out.
const CHALLENGES_MAX: usize = 2;

/// Largest error document that is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What is read of a document between two looks at the clock, in bytes.
const READ_BYTES: u64 = 4 << 10;

/// Longest time that a document may take to come, once it has begun. Blobs have none: they are as large as they are.
const DOCUMENT_TIME_MAX: Duration = Duration::from_secs(300);

/// Longest text of a registry in an error, in characters.
const WORDS_MAX: usize = 300;

/// Asks registries. Cheap to clone; clones share connections and tokens, and may be used by several threads at once.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What clones share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) proofs: Proofs,
    /// Which scheme answers, for hosts that may have either.
    schemes: Mutex<HashMap<String, Scheme>>,
    /// Mirrors that couldn't be reached.
    down: Mutex<HashSet<Origin>>,
}

/// A registry that is asked for a repository: the one in the reference, or a mirror of it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Name of the registry for settings and credentials.
    pub(crate) host: String,
    pub(crate) origin: Origin,
    /// The repository's path there.
    pub(crate) path: String,
    pub(crate) is_mirror: bool,
}

/// What is asked.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload<'a>,
    pub(crate) scopes: Scopes,
    /// What it is for, for errors: `pull alpine:latest`.
    pub(crate) doing: &'a str,
    pub(crate) stall: Duration,
}

/// The head of an answer, and its body to be read.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) url: Url,
    pub(crate) body: ureq::BodyReader<'static>,
}

impl Reply {
    pub(crate) fn new(answer: ureq::http::Response<ureq::Body>, url: Url) -> Reply {
        let (head, body) = answer.into_parts();
        Reply { status: head.status.as_u16(), headers: head.headers, url, body: body.into_reader() }
    }

    /// A header's value, if it is there once and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        headers::retry_after(self.header("retry-after")?, self.header("date"))
    }

    /// Who answered.
    pub(crate) fn host(&self) -> String {
        self.url.origin.authority()
    }

    /// Reads a short rest away, so that the connection can be used again.
    fn drain(&mut self) {
        _ = read_bounded(&mut self.body, ERROR_BYTES_MAX);
    }
}

impl Client {
    /// A client by `settings`, on behalf of whom `credentials` belong to. Nothing is asked yet.
    pub fn new(settings: Settings, credentials: Credentials) -> Client {
        let shared = Shared {
            transport: Transport::new(settings),
            proofs: Proofs::new(credentials),
            schemes: Mutex::default(),
            down: Mutex::default(),
        };
        Client { shared: Arc::new(shared) }
    }

    /// The registry itself, for what changes something there.
    pub(crate) fn origin(&self, repository: &Repository) -> Result<Endpoint, Error> {
        let host = repository.host();
        Ok(Endpoint {
            host: host.to_owned(),
            origin: self.origin_of(host)?,
            path: repository.path().to_owned(),
            is_mirror: false,
        })
    }

    /// Origin of the registry called `host` in references.
    pub(crate) fn origin_of(&self, host: &str) -> Result<Origin, Error> {
        let authority = if host == "docker.io" { DOCKER_REGISTRY } else { host };
        // Settings are kept under the name in references, connections look them up by where they go.
        let entry = self.shared.transport.settings.of(host)?;
        let unusable = |reason: &str| Error::Connect { host: host.to_owned(), reason: reason.to_owned() };
        let origin = |scheme| Origin::of(scheme, authority).map_err(unusable);
        let schemes = entry.schemes(&origin(Scheme::Https)?);
        if let [scheme] = schemes {
            return origin(*scheme);
        }
        let known = |schemes: &Mutex<HashMap<String, Scheme>>| {
            schemes.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
        };
        if let Some(scheme) = known(&self.shared.schemes) {
            return origin(scheme);
        }
        let url = origin(Scheme::Https)?.url("/v2/");
        let speaks_tls = self.shared.transport.speaks_tls(&url);
        let scheme = match speaks_tls.map_err(|failure| failure.into_error("ask", &url))? {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        let mut schemes = self.shared.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        schemes.insert(host.to_owned(), scheme);
        origin(scheme)
    }

    /// Those who may be asked for what is in `repository`: its mirrors, then the registry.
    pub(crate) fn endpoints(&self, repository: &Repository) -> Result<Vec<Endpoint>, Error> {
        let entry = self.shared.transport.settings.of(repository.host())?;
        let mut endpoints = Vec::new();
        for mirror in &entry.mirrors {
            // Checked when the settings were read.
            let Ok((origin, prefix)) = parse_mirror(mirror) else { continue };
            let path = match prefix.as_str() {
                "" => repository.path().to_owned(),
                prefix => format!("{prefix}/{}", repository.path()),
            };
            let down = self.shared.down.lock().unwrap_or_else(PoisonError::into_inner).contains(&origin);
            if !down {
                endpoints.push(Endpoint { host: origin.authority(), origin, path, is_mirror: true });
            }
        }
        // A registry that can't be reached at all doesn't matter while a mirror answers.
        match self.origin(repository) {
            Ok(origin) => endpoints.push(origin),
            Err(error) if endpoints.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(endpoints)
    }

    /// Asks one after the other until one gives an answer; the last one's error counts.
    pub(crate) fn ask_each<T>(
        &self,
        repository: &Repository,
        mut ask: impl FnMut(&Endpoint) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut last = None;
        for endpoint in self.endpoints(repository)? {
            match ask(&endpoint) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.note(&endpoint, &error);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Connect {
            host: repository.host().to_owned(),
            reason: "there is nobody to ask".into(),
        }))
    }

    /// Remembers a mirror that isn't there.
    pub(crate) fn note(&self, endpoint: &Endpoint, error: &Error) {
        if endpoint.is_mirror
            && matches!(error, Error::Connect { .. } | Error::Tls { .. } | Error::Broken { .. })
        {
            let mut down = self.shared.down.lock().unwrap_or_else(PoisonError::into_inner);
            down.insert(endpoint.origin.clone());
        }
    }

    /// Sends `request` to `endpoint` until there is an answer that counts: proves who one is, follows redirects, repeats
    /// what can be repeated. The answer may be a refusal.
    pub(crate) fn send(&self, endpoint: &Endpoint, mut request: Request<'_>) -> Result<Reply, Error> {
        let timing = &self.shared.transport.settings.timing;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let is_repeatable = !matches!(request.payload, Payload::Stream(..));
            let result = self.send_proven(endpoint, &mut request);
            let pause = match &result {
                Ok(reply) if retry::is_transient(reply.status) => {
                    retry::wait(timing, attempt, reply.retry_after())
                }
                Err(Error::Broken { .. }) => retry::wait(timing, attempt, None),
                _ => None,
            };
            match pause.filter(|_| is_repeatable) {
                Some(pause) => std::thread::sleep(pause),
                None => return self.or_fault(endpoint, result?),
            }
        }
    }

    /// The reply, unless it is a refusal for the lack of a login that there would be.
    fn or_fault(&self, endpoint: &Endpoint, reply: Reply) -> Result<Reply, Error> {
        let is_refused = matches!(reply.status, 401 | 403);
        let fault = is_refused.then(|| self.shared.proofs.take_fault(&endpoint.host)).flatten();
        fault.map_or(Ok(reply), Err)
    }

    /// One attempt, with as many rounds of proof as it needs.
    fn send_proven(&self, endpoint: &Endpoint, request: &mut Request<'_>) -> Result<Reply, Error> {
        let party = Party { host: &endpoint.host, origin: &endpoint.origin };
        let Shared { transport, proofs, .. } = &*self.shared;
        let mut challenges = 0;
        loop {
            let proof = proofs.header(transport, party, &request.scopes)?;
            let mut reply = self.send_followed(endpoint, request, proof.as_deref())?;
            let is_repeatable = !matches!(request.payload, Payload::Stream(..));
            // Only the registry itself may ask for proof; a store that it redirects to may not.
            if reply.status != 401 || reply.url.origin != endpoint.origin || challenges == CHALLENGES_MAX {
                return Ok(reply);
            }
            challenges += 1;
            let values = reply.headers.get_all("www-authenticate").iter();
            let found: Vec<_> =
                values.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).take(16).collect();
            if !proofs.challenged(transport, party, &request.scopes, &found, proof.as_deref())?
                || !is_repeatable
            {
                return Ok(reply);
            }
            reply.drain();
        }
    }

    /// Sends it, and again to wherever the answer points. Proof goes to the endpoint's origin and nowhere else.
    fn send_followed(
        &self,
        endpoint: &Endpoint,
        request: &mut Request<'_>,
        proof: Option<&str>,
    ) -> Result<Reply, Error> {
        let mut url = request.url.clone();
        for _ in 0..=HOPS_MAX {
            let mut headers = request.headers.clone();
            if let Some(proof) = proof.filter(|_| url.origin == endpoint.origin) {
                headers.push(("authorization", proof.to_owned()));
            }
            let payload = match &mut request.payload {
                Payload::None => Payload::None,
                Payload::Bytes(bytes) => Payload::Bytes(bytes),
                Payload::Stream(reader, length) => Payload::Stream(*reader, *length),
            };
            let message = Message { method: request.method, headers, payload, stall: request.stall };
            let answer = self.shared.transport.send(&url, message);
            let answer = answer.map_err(|failure: Failure| failure.into_error(request.doing, &url))?;
            let mut reply = Reply::new(answer, url.clone());
            if !is_redirect(reply.status, request.method) {
                return Ok(reply);
            }
            let fault = |reason: String| Error::Protocol {
                doing: request.doing.to_owned(),
                host: url.origin.authority(),
                reason,
            };
            if matches!(request.payload, Payload::Stream(..)) {
                return Err(fault("redirects an upload in its midst".into()));
            }
            let target = reply.header("location").ok_or_else(|| fault("redirects to nowhere".into()))?;
            let next =
                url.join(target).map_err(|reason| fault(format!("redirects to a bad URL: {reason}")))?;
            reply.drain();
            url = next;
        }
        Err(Error::Protocol {
            doing: request.doing.to_owned(),
            host: endpoint.origin.authority(),
            reason: format!("redirects more than {HOPS_MAX} times"),
        })
    }
}

/// Whether the answer to `method` is somewhere else, with the same method. Source: RFC 9110 15.4.
fn is_redirect(status: u16, method: &str) -> bool {
    match method {
        "GET" | "HEAD" => matches!(status, 301 | 302 | 303 | 307 | 308),
        _ => matches!(status, 307 | 308),
    }
}

/// At most `max` bytes of `body`; more is an error, as the end of a sentence about who sent it.
pub(crate) fn read_bounded(body: &mut impl Read, max: usize) -> Result<Vec<u8>, String> {
    let (mut bytes, start) = (Vec::new(), Instant::now());
    loop {
        let count = body.by_ref().take(READ_BYTES).read_to_end(&mut bytes);
        match count.map_err(|error| format!("broke off: {}", crate::transport::body_reason(&error)))? {
            _ if bytes.len() > max => return Err(format!("answered with more than {max} bytes")),
            0 => return Ok(bytes),
            _ if start.elapsed() > DOCUMENT_TIME_MAX => return Err("sends its answer too slowly".into()),
            _ => {}
        }
    }
}

#[derive(serde::Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    #[serde(default)]
    details: String,
    #[serde(default)]
    message: String,
}

#[derive(serde::Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says about its refusal: its code in docker's form and its message, short and inert; perhaps nothing.
/// Source: distribution-spec, "Error Codes".
pub(crate) fn registry_words(reply: &mut Reply) -> String {
    registry_error(reply).1
}

/// The code, as `MANIFEST_UNKNOWN`, and the words.
pub(crate) fn registry_error(reply: &mut Reply) -> (String, String) {
    let bytes = read_bounded(&mut reply.body, ERROR_BYTES_MAX).unwrap_or_default();
    let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(&bytes) else { return Default::default() };
    let (code, text) = match answer.errors.into_iter().next() {
        Some(ErrorEntry { code, message }) => {
            let words = code.to_ascii_lowercase().replace('_', " ");
            let joint = if words.is_empty() || message.is_empty() { "" } else { ": " };
            let text = format!("{words}{joint}{message}");
            (code, text)
        }
        None if !answer.details.is_empty() => (String::new(), answer.details),
        None => (String::new(), answer.message),
    };
    (code, inert(&text).chars().take(WORDS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_a_bound() {
        assert_eq!(read_bounded(&mut &b"abc"[..], 3).unwrap(), b"abc");
        assert!(read_bounded(&mut &b"abcd"[..], 3).unwrap_err().contains("more than 3"));
        assert!(read_bounded(&mut std::io::repeat(0), 1 << 20).is_err());
    }

    #[test]
    fn only_what_can_be_sent_again_is_redirected() {
        assert!(is_redirect(302, "GET") && is_redirect(307, "HEAD") && is_redirect(308, "POST"));
        assert!(!is_redirect(302, "POST") && !is_redirect(303, "PUT") && !is_redirect(200, "GET"));
    }
}

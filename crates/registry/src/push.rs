//! Sending content: blobs by upload sessions, then the manifest that names them.
//!
//! ```text
//! HEAD blob ── there ─────────────────────────────────────────────────────────────▶ done
//!    │ not there
//! POST uploads ── mounted from another repository ───────────────────────────────▶ done
//!    │ session            ┌── broken: GET session tells how much has arrived ──┐
//!    ├─ large: PATCH the bytes from there on ◀────────────────────────────────┘
//!    │            │ all there
//!    └─ small ─▶ PUT with the digest ────────────────────────────────────────────▶ done
//! ```
//!
//! Source: distribution-spec, "Pushing a blob monolithically", "in chunks", "Mounting a blob", "Pushing Manifests".

use crate::client::{Client, Endpoint, Reply, Request};
use crate::error::Error;
use crate::headers::session_end;
use crate::manifest::{Action, refusal};
use crate::retry;
use crate::transport::Payload;
use crate::url::Url;
use std::io::{self, Read};
use std::time::Duration;
use types::digest::Digest;
use types::image::Descriptor;
use types::reference::{Reference, Repository};

/// Largest blob that is sent in one request with its digest, in bytes: configurations, and layers that are quickly repeated.
const SINGLE_BYTES_MAX: u64 = 256 << 10;

/// How a blob came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories, this one.
    Mounted(Repository),
    /// It was sent.
    Uploaded,
}

/// Gives the bytes of a blob from an offset on. Called again after a connection broke.
pub type Opener<'a> = dyn FnMut(u64) -> io::Result<Box<dyn Read + 'a>> + 'a;

/// One blob on its way.
struct Upload<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    doing: String,
}

/// An open session.
struct Session {
    url: Url,
    /// Bytes that have arrived.
    offset: u64,
}

impl Client {
    /// Whether the registry has the blob in this repository.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let endpoint = self.origin(repository)?;
        let doing = format!("look for blob {digest} of {}", repository.familiar());
        let scopes = vec![format!("repository:{}:pull", endpoint.path)];
        self.is_there(&endpoint, repository, digest, scopes, &doing, Action::Pull)
    }

    /// Makes sure that the registry has the blob in `repository`: mounts it from one of `elsewhere`, repositories of the same
    /// registry that may have it, or sends it.
    ///
    /// Errors: [`Error::PushDenied`], [`Error::Source`] of `open`, and those of the connection.
    pub fn push_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        elsewhere: &[Repository],
        open: &mut Opener<'_>,
    ) -> Result<Pushed, Error> {
        let endpoint = self.origin(repository)?;
        let doing = format!("push blob {} to {}", descriptor.digest, repository.familiar());
        let upload = Upload { client: self, endpoint, repository, descriptor, doing };
        let (endpoint, digest) = (&upload.endpoint, &descriptor.digest);
        if self.is_there(endpoint, repository, digest, upload.scopes(), &upload.doing, Action::Push)? {
            return Ok(Pushed::Existed);
        }
        let here = |other: &&Repository| other.host() == repository.host() && *other != repository;
        let mut session = None;
        for other in elsewhere.iter().filter(here) {
            match upload.start(Some(other))? {
                None => return Ok(Pushed::Mounted(other.clone())),
                // A registry that doesn't mount has opened a session instead.
                Some(opened) => session = Some(opened),
            }
        }
        upload.run(session, open)?;
        Ok(Pushed::Uploaded)
    }

    /// Puts a manifest or an index under the tag of `reference`, or under its own digest if there is none. All that it names
    /// must be there.
    ///
    /// Errors: [`Error::PushDenied`], [`Error::WrongDigest`] if the registry took it for something else.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let repository = reference.repository();
        let endpoint = self.origin(repository)?;
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => Digest::of(bytes),
        };
        let name = reference.tag().unwrap_or(digest.as_str());
        let doing = format!("push {}", reference.familiar());
        let request = Request {
            method: "PUT",
            url: endpoint.origin.url(&format!("/v2/{}/manifests/{name}", endpoint.path)),
            headers: vec![("content-type", media_type.to_owned())],
            payload: Payload::Bytes(bytes),
            scopes: vec![format!("repository:{}:pull,push", endpoint.path)],
            doing: &doing,
            stall: self.shared.transport.settings.timing.finish,
        };
        let mut reply = self.send(&endpoint, request)?;
        if reply.status != 201 {
            return Err(refusal(&mut reply, repository, &doing, Action::Push));
        }
        confirm(&reply, "manifest", &digest)?;
        Ok(digest)
    }

    fn is_there(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        digest: &Digest,
        scopes: Vec<String>,
        doing: &str,
        action: Action,
    ) -> Result<bool, Error> {
        let request = Request {
            method: "HEAD",
            url: endpoint.origin.url(&format!("/v2/{}/blobs/{digest}", endpoint.path)),
            headers: Vec::new(),
            payload: Payload::None,
            scopes,
            doing,
            stall: self.shared.transport.settings.timing.stall,
        };
        let mut reply = self.send(endpoint, request)?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refusal(&mut reply, repository, doing, action)),
        }
    }
}

impl Upload<'_> {
    fn scopes(&self) -> Vec<String> {
        vec![format!("repository:{}:pull,push", self.endpoint.path)]
    }

    fn request<'a>(
        &'a self,
        method: &'static str,
        url: Url,
        payload: Payload<'a>,
        stall: Duration,
    ) -> Request<'a> {
        let headers = match payload {
            Payload::None => Vec::new(),
            _ => vec![("content-type", "application/octet-stream".to_owned())],
        };
        Request { method, url, headers, payload, scopes: self.scopes(), doing: &self.doing, stall }
    }

    fn timing(&self) -> &crate::settings::Timing {
        &self.client.shared.transport.settings.timing
    }

    fn refused(&self, reply: &mut Reply) -> Error {
        refusal(reply, self.repository, &self.doing, Action::Push)
    }

    /// Opens a session; `None` if the blob was mounted instead.
    fn start(&self, from: Option<&Repository>) -> Result<Option<Session>, Error> {
        let mut url = self.endpoint.origin.url(&format!("/v2/{}/blobs/uploads/", self.endpoint.path));
        let mut scopes = self.scopes();
        if let Some(from) = from {
            url = url.with_query("mount", self.descriptor.digest.as_str()).with_query("from", from.path());
            scopes.push(format!("repository:{}:pull", from.path()));
        }
        let mut request = self.request("POST", url, Payload::None, self.timing().stall);
        request.scopes = scopes;
        let mut reply = self.client.send(&self.endpoint, request)?;
        match reply.status {
            201 if from.is_some() => Ok(None),
            202 => Ok(Some(Session { url: self.next(&reply)?, offset: 0 })),
            _ => Err(self.refused(&mut reply)),
        }
    }

    /// Where the session goes on, by the last answer. (Registries behind a proxy that ends TLS may name their plain selves.)
    fn next(&self, reply: &Reply) -> Result<Url, Error> {
        let fault =
            |reason: String| Error::Protocol { doing: self.doing.clone(), host: reply.host(), reason };
        let location =
            reply.header("location").ok_or_else(|| fault("names no place for the upload".into()))?;
        reply
            .url
            .follow(location)
            .map_err(|reason| fault(format!("wants the upload where it may not go: {reason}")))
    }

    /// Sends all bytes, through as many sessions and requests as it takes.
    fn run(&self, first: Option<Session>, open: &mut Opener<'_>) -> Result<(), Error> {
        let mut session = first;
        let mut attempts = 0;
        loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => self.start(None)?.ok_or_else(|| Error::Protocol {
                    doing: self.doing.clone(),
                    host: self.endpoint.origin.authority(),
                    reason: "mounts what it was not asked to".into(),
                })?,
            };
            let before = current.offset;
            let failure = match self.advance(&mut current, open) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let (mut error, mut wait) = match failure {
                Stop::Final(error) => return Err(error),
                Stop::Again(error, wait) => (error, wait),
            };
            // First a pause: the registry may not have noticed yet that the connection is gone.
            session = loop {
                attempts += 1;
                match retry::wait(self.timing(), attempts, wait.take()) {
                    Some(pause) => std::thread::sleep(pause),
                    None => return Err(error),
                }
                match self.progress(&current) {
                    Ok(session) => break session,
                    Err(again @ (Error::Connect { .. } | Error::Broken { .. })) => error = again,
                    Err(other) => return Err(other),
                }
            };
            if session.as_ref().is_some_and(|session| session.offset > before) {
                attempts = 0;
            }
        }
    }

    /// Goes on with `session` until the blob is there.
    fn advance(&self, session: &mut Session, open: &mut Opener<'_>) -> Result<(), Stop> {
        let size = self.descriptor.size;
        let is_single = session.offset == 0 && size <= SINGLE_BYTES_MAX;
        if !is_single && session.offset < size {
            let mut reply = self.stream("PATCH", session, open)?;
            if !matches!(reply.status, 202 | 204) {
                return Err(self.stop(&mut reply));
            }
            session.url = self.next(&reply).map_err(Stop::Final)?;
            let arrived = reply.header("range").and_then(session_end).map_or(size, |end| end + 1);
            session.offset = arrived.min(size);
            if arrived < size {
                let (doing, host) = (self.doing.clone(), reply.host());
                let reason = "it took a part only".into();
                return Err(Stop::Again(Error::Broken { doing, host, reason }, None));
            }
        }
        let url = session.url.with_query("digest", self.descriptor.digest.as_str());
        let mut reply = match is_single {
            true => {
                let at = Session { url, offset: 0 };
                self.stream("PUT", &at, open)?
            }
            false => {
                let request = self.request("PUT", url, Payload::None, self.timing().finish);
                self.client.send(&self.endpoint, request).map_err(Stop::Final)?
            }
        };
        match reply.status {
            201 | 204 => confirm(&reply, "blob", &self.descriptor.digest).map_err(Stop::Final),
            _ => Err(self.stop(&mut reply)),
        }
    }

    /// Sends the bytes from the session's offset on in one request.
    fn stream(&self, method: &'static str, session: &Session, open: &mut Opener<'_>) -> Result<Reply, Stop> {
        let (size, offset) = (self.descriptor.size, session.offset);
        let failed = |source| Stop::Final(Error::Source { digest: self.descriptor.digest.clone(), source });
        let length = size - offset;
        let mut source = Measured { inner: open(offset).map_err(failed)?, left: length, fault: None };
        let payload = match length {
            0 => Payload::None,
            length => Payload::Stream(&mut source, length),
        };
        let mut request = self.request(method, session.url.clone(), payload, self.timing().finish);
        if method == "PATCH" && offset > 0 {
            request.headers.push(("content-range", format!("{offset}-{}", size - 1)));
        }
        let result = self.client.send(&self.endpoint, request);
        if let Some(fault) = source.fault {
            return Err(failed(fault));
        }
        result.map_err(|error| match error {
            Error::Broken { .. } | Error::Connect { .. } => Stop::Again(error, None),
            other => Stop::Final(other),
        })
    }

    /// What a refusal means for the upload. (401: the token has run out on the way; there is a new one by now.)
    fn stop(&self, reply: &mut Reply) -> Stop {
        let wait = reply.retry_after();
        let is_transient = retry::is_transient(reply.status) || matches!(reply.status, 401 | 404 | 416);
        match (is_transient, self.refused(reply)) {
            (true, error) => Stop::Again(error, wait),
            (false, error) => Stop::Final(error),
        }
    }

    /// How far a session has come; `None` if the registry has forgotten it.
    fn progress(&self, session: &Session) -> Result<Option<Session>, Error> {
        let request = self.request("GET", session.url.clone(), Payload::None, self.timing().stall);
        let reply = self.client.send(&self.endpoint, request)?;
        // Nothing has arrived if there is no range. (`0-0` is one byte, but some say it for none: the blob is sent anew.)
        let arrived =
            reply.header("range").and_then(session_end).filter(|end| *end > 0).map_or(0, |end| end + 1);
        match reply.status {
            204 if (1..=self.descriptor.size).contains(&arrived) => {
                Ok(Some(Session { url: self.next(&reply)?, offset: arrived }))
            }
            _ => Ok(None),
        }
    }
}

enum Stop {
    Final(Error),
    Again(Error, Option<Duration>),
}

/// A source that gives exactly as much as announced, or an error that isn't the connection's.
struct Measured<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    fault: Option<io::Error>,
}

impl Read for Measured<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let result = loop {
            match self.inner.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => {
                    break Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than its size"));
                }
                result => break result,
            }
        };
        result.inspect(|count| self.left -= *count as u64).map_err(|error| {
            let kind = error.kind();
            self.fault = Some(error);
            kind.into()
        })
    }
}

/// Whether the registry has what was meant, as far as it says.
fn confirm(reply: &Reply, what: &'static str, digest: &Digest) -> Result<(), Error> {
    let said = reply.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
    match said.filter(|said| said.algorithm() == digest.algorithm() && said != digest) {
        Some(actual) => {
            Err(Error::WrongDigest { what, host: reply.host(), expected: digest.clone(), actual })
        }
        None => Ok(()),
    }
}

//! Documents of images, by reference: [`Client::resolve`] and what it is made of.

use crate::client::{Client, Endpoint, Reply, Request, read_bounded, registry_error, registry_words};
use crate::error::Error;
use crate::transport::Payload;
use types::digest::{Digest, Hasher};
use types::image::{
    Descriptor, Document, Error as DocumentError, Index, MANIFEST_BYTES_MAX, Manifest, Platform, media,
};
use types::inert::inert;
use types::reference::{Reference, Repository};

/// A document, with the bytes that its digest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched<T> {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// As the registry sent it; the digest is that of these bytes.
    pub bytes: Vec<u8>,
    /// What the bytes say.
    pub document: T,
}

/// An image for one machine, and the index it was chosen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The index, if the reference names one.
    pub index: Option<Fetched<Index>>,
    /// The image's manifest.
    pub manifest: Fetched<Manifest>,
}

impl Resolved {
    /// What the reference itself names: the index, or else the manifest. This digest is what docker shows after a pull.
    pub fn top(&self) -> &Descriptor {
        self.index.as_ref().map_or(&self.manifest.descriptor, |index| &index.descriptor)
    }
}

/// Which of a registry's refusals mean a lack of rights to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
}

impl Client {
    /// Finds the image that `reference` names, for `platform`.
    ///
    /// An image that isn't in an index is taken as it is: what machine it is for stands in its configuration.
    /// Errors: [`Error::ManifestUnknown`], [`Error::PullDenied`], [`Error::NoPlatform`], [`Error::Unsupported`] for
    /// docker's schema 1 and what is no image; and those of the connection.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, Error> {
        let Fetched { descriptor, bytes, document } = self.document(reference)?;
        let index = match document {
            Document::Manifest(manifest) => {
                let manifest = Fetched { descriptor, bytes, document: *manifest };
                return Ok(Resolved { index: None, manifest });
            }
            Document::Index(index) => Fetched { descriptor, bytes, document: *index },
        };
        let Some(chosen) = index.document.pick(platform) else {
            return Err(Error::NoPlatform {
                reference: reference.familiar(),
                platform: platform.to_string(),
                offered: offered(&index.document),
            });
        };
        let manifest = self.manifest(reference.repository(), chosen)?;
        Ok(Resolved { index: Some(index), manifest })
    }

    /// The document that `reference` names, whichever sort it is.
    pub fn document(&self, reference: &Reference) -> Result<Fetched<Document>, Error> {
        let name = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or_default().to_owned(),
        };
        let wanted = Wanted { reference, name: &name, claim: None, digest: reference.digest(), size: None };
        self.ask_each(reference.repository(), |endpoint| self.fetch(endpoint, &wanted))
    }

    /// The image's manifest that `descriptor`, an entry of an index, points at.
    pub fn manifest(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<Fetched<Manifest>, Error> {
        let found = self.entry(repository, descriptor)?;
        match found.document {
            Document::Manifest(manifest) => {
                Ok(Fetched { descriptor: found.descriptor, bytes: found.bytes, document: *manifest })
            }
            Document::Index(_) => Err(Error::Unsupported {
                reference: repository_at(repository, &descriptor.digest).familiar(),
                reason: "it is an index inside an index".into(),
            }),
        }
    }

    /// The document, whichever sort it is, that `descriptor`, an entry of an index, points at.
    pub fn entry(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<Fetched<Document>, Error> {
        let reference = repository_at(repository, &descriptor.digest);
        let wanted = Wanted {
            reference: &reference,
            name: descriptor.digest.as_str(),
            claim: Some(&descriptor.media_type),
            digest: Some(&descriptor.digest),
            size: Some(descriptor.size),
        };
        self.ask_each(repository, |endpoint| self.fetch(endpoint, &wanted))
    }

    /// What `reference` names now, by the registry's word alone: good for finding out whether it is what one has already.
    /// `None` if the registry doesn't tell.
    ///
    /// Errors: as [`Client::resolve`].
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let name = match reference.digest() {
            Some(digest) => digest.as_str(),
            None => reference.tag().unwrap_or_default(),
        };
        self.ask_each(reference.repository(), |endpoint| {
            let mut reply = self.ask_manifest(endpoint, "HEAD", reference, name)?;
            match reply.status {
                200 => {}
                405 | 501 => return Ok(None),
                _ => return Err(not_found(&mut reply, reference)),
            }
            let digest = reply.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
            let size = reply.header("content-length").and_then(|text| text.parse().ok());
            let media_type = reply.header("content-type").map(media::essence);
            Ok(match (digest, size, media_type) {
                (Some(digest), Some(size), Some(kind)) => Some(Descriptor::new(&kind, digest, size)),
                _ => None,
            })
        })
    }

    fn ask_manifest(
        &self,
        endpoint: &Endpoint,
        method: &'static str,
        reference: &Reference,
        name: &str,
    ) -> Result<Reply, Error> {
        let doing = format!("pull {}", reference.familiar());
        let request = Request {
            method,
            url: endpoint.origin.url(&format!("/v2/{}/manifests/{name}", endpoint.path)),
            headers: vec![("accept", media::MANIFESTS.join(", "))],
            payload: Payload::None,
            scopes: vec![format!("repository:{}:pull", endpoint.path)],
            doing: &doing,
            stall: self.shared.transport.settings.timing.stall,
        };
        self.send(endpoint, request)
    }

    fn fetch(&self, endpoint: &Endpoint, wanted: &Wanted<'_>) -> Result<Fetched<Document>, Error> {
        let mut reply = self.ask_manifest(endpoint, "GET", wanted.reference, wanted.name)?;
        if reply.status != 200 {
            return Err(not_found(&mut reply, wanted.reference));
        }
        let host = reply.host();
        let bytes = read_bounded(&mut reply.body, MANIFEST_BYTES_MAX).map_err(|reason| Error::Protocol {
            doing: format!("pull {}", wanted.reference.familiar()),
            host: host.clone(),
            reason,
        })?;
        let said = reply.header("docker-content-digest").and_then(|text| Digest::parse(text).ok());
        let digest = wanted.check(&bytes, said.as_ref(), &host)?;
        let content_type = reply.header("content-type").unwrap_or_default();
        let claims: Vec<&str> = wanted.claim.into_iter().chain([content_type]).collect();
        let document = Document::parse(&bytes, &claims).map_err(|error| wanted.bad(error))?;
        let claimed = claims.iter().find(|claim| media::MediaKind::of(claim).is_document());
        let media_type = media::essence(document.media_type(claimed.unwrap_or(&"")));
        let descriptor = Descriptor::new(&media_type, digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes, document })
    }
}

/// A document to be fetched, and what is known of it.
struct Wanted<'a> {
    reference: &'a Reference,
    /// Tag or digest.
    name: &'a str,
    /// Its media type by the index.
    claim: Option<&'a str>,
    digest: Option<&'a Digest>,
    size: Option<u64>,
}

impl Wanted<'_> {
    /// The digest of `bytes`, if it is what was wanted, and, by a tag, what the registry `said`.
    fn check(&self, bytes: &[u8], said: Option<&Digest>, host: &str) -> Result<Digest, Error> {
        let host = host.to_owned();
        let expected = self.digest.or(said);
        let algorithm = expected.map_or(types::digest::Algorithm::Sha256, |digest| digest.algorithm());
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        let actual = hasher.finish();
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(Error::WrongDigest { what: "manifest", host, expected: expected.clone(), actual });
        }
        match self.size.filter(|size| *size != bytes.len() as u64) {
            Some(expected) => Err(Error::WrongSize {
                what: "manifest",
                digest: actual,
                host,
                expected,
                actual: bytes.len() as u64,
            }),
            None => Ok(actual),
        }
    }

    fn bad(&self, error: DocumentError) -> Error {
        let reference = self.reference.familiar();
        match error {
            DocumentError::Invalid(reason) => {
                Error::BadDocument { reference, reason: inert(&reason).into_owned() }
            }
            DocumentError::Unsupported(reason) => {
                Error::Unsupported { reference, reason: format!("it is {}", inert(&reason)) }
            }
        }
    }
}

fn repository_at(repository: &Repository, digest: &Digest) -> Reference {
    // A repository and a digest are a reference by its grammar.
    Reference::parse(&format!("{repository}@{digest}")).expect("both have been checked")
}

fn not_found(reply: &mut Reply, reference: &Reference) -> Error {
    if reply.status != 404 {
        let doing = format!("pull {}", reference.familiar());
        return refusal(reply, reference.repository(), &doing, Action::Pull);
    }
    match registry_error(reply) {
        (code, reason) if code == "NAME_UNKNOWN" => {
            Error::RepositoryUnknown { repository: reference.repository().familiar(), reason }
        }
        _ => Error::ManifestUnknown { reference: reference.familiar() },
    }
}

/// The error that a refusal of `action` on `repository` is.
pub(crate) fn refusal(reply: &mut Reply, repository: &Repository, doing: &str, action: Action) -> Error {
    let (host, doing) = (reply.host(), doing.to_owned());
    let reason = registry_words(reply);
    match (reply.status, action) {
        (401 | 403, Action::Pull) => Error::PullDenied { repository: repository.familiar(), reason },
        (401 | 403, Action::Push) => Error::PushDenied {
            repository: repository.familiar(),
            host: repository.host().to_owned(),
            reason,
        },
        (429, _) => {
            let wait_seconds = reply.retry_after().map(|wait| wait.as_secs());
            Error::Throttled { doing, host, wait_seconds, reason }
        }
        (status, _) => Error::Refused { doing, host, status, reason },
    }
}

/// The machines that an index has images for, in its order.
fn offered(index: &Index) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in index.manifests.iter().filter_map(|entry| entry.platform.as_ref()) {
        let name = inert(&entry.to_string()).into_owned();
        // BuildKit's attestations stand as `unknown/unknown`.
        if !name.starts_with("unknown") && !names.contains(&name) && names.len() < 32 {
            names.push(name);
        }
    }
    names
}

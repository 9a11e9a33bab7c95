//! What can go wrong with registries.
//!
//! Texts of registries that stand in an error are cut to a length and made inert where they are taken in
//! ([`crate::client`]), so that every error may be printed.

use crate::transport::{NO_CLIENT_CERTIFICATE, NO_TLS, UNKNOWN_ISSUER};
use std::io;
use std::path::PathBuf;
use types::digest::Digest;
use types::kind::Kind;

/// Why a registry, or what leads to it, did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of settings can't be read or says what means nothing.
    #[error("cannot use the registry settings in {}: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key can't be used.
    #[error("cannot use {} for registry {host}: {reason}", path.display())]
    Certificate {
        /// Whose connection it is for.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy's address in the environment isn't one. It may hold a password, so it isn't shown.
    #[error("cannot use the proxy that {variable} names: {reason}")]
    Proxy {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// docker's configuration file can't be read or written.
    #[error("cannot {doing} the credentials in {}: {reason}", path.display())]
    CredentialsFile {
        /// `read` or `store`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A credential helper failed.
    #[error("cannot {doing} the credentials for {host} with {program}: {reason}")]
    Helper {
        /// `get`, `store`, `erase`.
        doing: &'static str,
        /// The registry.
        host: String,
        /// The helper's name.
        program: String,
        /// What went wrong.
        reason: String,
    },

    /// A URL that isn't one.
    #[error("cannot fetch {url}: {reason}")]
    Url {
        /// What was given, without secrets.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The registry can't be reached.
    #[error("cannot reach registry {host}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the kernel, the resolver or the proxy said.
        reason: String,
    },
    /// No protected connection could be made.
    #[error("cannot make a TLS connection to registry {host}: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// What the handshake ended with.
        reason: String,
    },
    /// An unencrypted connection was about to leave this machine.
    #[error("will not speak plain HTTP to {host}: it is not on this machine")]
    Plaintext {
        /// Host and port.
        host: String,
    },
    /// A connection broke, more often than it was made again.
    #[error("cannot {doing} from {host}: {reason}")]
    Broken {
        /// What was attempted, on which object.
        doing: String,
        /// Host and port.
        host: String,
        /// How it broke.
        reason: String,
    },
    /// The registry answered against the protocol.
    #[error("cannot {doing}: {host} {reason}")]
    Protocol {
        /// What was attempted, on which object.
        doing: String,
        /// Host and port.
        host: String,
        /// What it did.
        reason: String,
    },
    /// The registry refused, in a way for which there is no better variant.
    #[error("cannot {doing}: {host} answered {status}{}", dashed(reason))]
    Refused {
        /// What was attempted, on which object.
        doing: String,
        /// Host and port.
        host: String,
        /// The status of HTTP.
        status: u16,
        /// What the registry said, perhaps nothing.
        reason: String,
    },
    /// The registry wants fewer requests.
    #[error("cannot {doing}: {host} answers too many requests{}", dashed(reason))]
    Throttled {
        /// What was attempted, on which object.
        doing: String,
        /// Host and port.
        host: String,
        /// Seconds it wants to be left alone, if it said so.
        wait_seconds: Option<u64>,
        /// What the registry said, perhaps nothing.
        reason: String,
    },

    /// The repository isn't there, or not for this caller. Registries don't tell which.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'berth login'{}",
        dashed(reason)
    )]
    PullDenied {
        /// The repository as users write it.
        repository: String,
        /// What the registry said, perhaps nothing.
        reason: String,
    },
    /// The caller may not write there.
    #[error("push access denied for {repository}{}", dashed(reason))]
    PushDenied {
        /// The repository as users write it.
        repository: String,
        /// Its registry.
        host: String,
        /// What the registry said, perhaps nothing.
        reason: String,
    },
    /// Name and password are wrong, or the registry wants some and has none.
    #[error("{host}: unauthorized{}", dashed(reason))]
    Unauthorized {
        /// The registry.
        host: String,
        /// What the registry said, perhaps nothing.
        reason: String,
    },
    /// Passwords don't go to this token server.
    #[error("will not send the credentials of {host} to {realm}, which {host} names as its token server")]
    ForeignRealm {
        /// The registry.
        host: String,
        /// Host and port of the token server.
        realm: String,
    },

    /// No image of that name.
    #[error("manifest for {reference} not found: manifest unknown")]
    ManifestUnknown {
        /// The reference as users write it.
        reference: String,
    },
    /// No such repository.
    #[error("repository {repository} not found{}", dashed(reason))]
    RepositoryUnknown {
        /// The repository as users write it.
        repository: String,
        /// What the registry said, perhaps nothing.
        reason: String,
    },
    /// The image isn't made for that machine.
    #[error("no matching manifest for {platform} in the manifest list entries of {reference}")]
    NoPlatform {
        /// The reference as users write it.
        reference: String,
        /// What was wanted.
        platform: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// The document is one that berth doesn't read.
    #[error("cannot use the manifest of {reference}: {reason}")]
    Unsupported {
        /// The reference as users write it.
        reference: String,
        /// What it is.
        reason: String,
    },
    /// The document isn't well-formed, or is two things at once.
    #[error("the manifest of {reference} is not valid: {reason}")]
    BadDocument {
        /// The reference as users write it.
        reference: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// The registry doesn't have the content.
    #[error("blob {digest} of {repository} not found: blob unknown to {host}")]
    BlobUnknown {
        /// The repository as users write it.
        repository: String,
        /// What was asked for.
        digest: Digest,
        /// Whom.
        host: String,
    },
    /// What came isn't what the digest names.
    #[error("{what} from {host} is not what was asked for: its digest is {actual}, not {expected}")]
    WrongDigest {
        /// `manifest` or `blob`.
        what: &'static str,
        /// Who sent it.
        host: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What came is longer or shorter than announced.
    #[error("{what} {digest} from {host} has the wrong size: {actual} bytes, not {expected}")]
    WrongSize {
        /// `manifest` or `blob`.
        what: &'static str,
        /// What was asked for.
        digest: Digest,
        /// Who sent it.
        host: String,
        /// Bytes by its descriptor.
        expected: u64,
        /// Bytes that came or were announced; at least.
        actual: u64,
    },
    /// What was to be sent couldn't be read.
    #[error("cannot push blob {digest}: {source}")]
    Source {
        /// The blob.
        digest: Digest,
        /// Why its reader failed.
        source: io::Error,
    },
}

impl Error {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Settings { .. }
            | Error::Certificate { .. }
            | Error::Proxy { .. }
            | Error::Url { .. }
            | Error::BadDocument { .. } => Kind::Invalid,
            Error::PullDenied { .. }
            | Error::ManifestUnknown { .. }
            | Error::RepositoryUnknown { .. }
            | Error::NoPlatform { .. }
            | Error::BlobUnknown { .. } => Kind::NotFound,
            Error::PushDenied { .. }
            | Error::Unauthorized { .. }
            | Error::ForeignRealm { .. }
            | Error::Plaintext { .. } => Kind::Forbidden,
            Error::Unsupported { .. } => Kind::Unsupported,
            Error::CredentialsFile { .. }
            | Error::Helper { .. }
            | Error::Connect { .. }
            | Error::Tls { .. }
            | Error::Broken { .. }
            | Error::Protocol { .. }
            | Error::Refused { .. }
            | Error::Throttled { .. }
            | Error::WrongDigest { .. }
            | Error::WrongSize { .. }
            | Error::Source { .. } => Kind::System,
        }
    }

    /// What to do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Settings { .. } => "docs/registries.md describes the file".to_owned(),
            Error::Helper { program, .. } => {
                format!("try `{program} list`, or take it out of ~/.docker/config.json")
            }
            Error::Tls { host, reason } if reason == UNKNOWN_ISSUER => format!(
                "if {host} has a certificate of its own, put its issuer's into /etc/berth/certs.d/{host}/ca.crt"
            ),
            Error::Tls { host, reason } if reason == NO_TLS => format!(
                "if {host} only speaks plain HTTP, set \"http\": true for it in /etc/berth/registries.json"
            ),
            Error::Tls { host, reason } if reason == NO_CLIENT_CERTIFICATE => format!(
                "put a certificate and its key into /etc/berth/certs.d/{host}/ as client.cert and client.key"
            ),
            Error::Plaintext { host } => {
                format!("to allow it, set \"http\": true for {host} in /etc/berth/registries.json")
            }
            Error::Throttled { wait_seconds: Some(seconds), .. } => format!("try again in {seconds} seconds"),
            Error::Throttled { .. } => {
                "try again later; signed-in users mostly have a higher limit".to_owned()
            }
            Error::PullDenied { repository, .. } => {
                format!("look for a typing error in {repository}, or sign in with `berth login`")
            }
            Error::PushDenied { host, .. } | Error::Unauthorized { host, .. } => {
                format!("sign in with `berth login {host}`")
            }
            Error::ForeignRealm { host, realm } => format!(
                "if you trust {realm} with them, name it under \"realms\" of {host} in /etc/berth/registries.json"
            ),
            Error::NoPlatform { offered, .. } if !offered.is_empty() => {
                format!("it is there for {}", offered.join(", "))
            }
            _ => return None,
        };
        Some(hint)
    }

    /// The error inside one of a [`crate::Blob`]'s reader.
    pub fn of_io(error: &io::Error) -> Option<&Error> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

fn dashed(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

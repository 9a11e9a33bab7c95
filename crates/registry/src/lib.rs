//! The client of registries: OCI distribution 1.1 and docker's practice.
//!
//! This crate knows no disk but configuration files, no store, no image's meaning: it carries documents and blobs, whose
//! digests it has verified, between registries and its caller. It blocks, and no thread of its outlives a call: callers
//! fetch several blobs at once from threads of their own, sharing one [`Client`].
//!
//! - [`client`]: [`Client`], which asks registries: authorisation, redirects, retries, mirrors
//! - [`manifest`]: documents by reference; [`blob`]: content by digest, resumed after a broken link
//! - [`push`]: sending blobs and manifests; [`tags`]: what tags there are; [`login`]: signing in and out
//! - [`download`]: what is at a URL
//! - [`settings`]: how each registry is reached; [`credentials`]: whose name and password
//! - `url`, `transport`: origins and connections, and which may be plain; `challenge`, `token`: who may have a password;
//!   `headers`, `retry`: what answers say beside their content, and when to ask again
//!
//! Invariants (security.md T7, T8):
//! 1. Bytes leave this crate only with the digest asked for, or as a prefix of a stream that ends in an error.
//! 2. A password goes to its registry, or to a token server in that registry's domain or named in the settings; a token
//!    goes to the registry that asked for it. No redirect, upload location or mirror gets either.
//! 3. Nothing goes over an unencrypted or unverified connection unless the settings say so, or the address that is
//!    dialled is a loopback one.
//! 4. All that a registry sends has a bound: heads, documents, hops, waits, and each blob its own size.
#![forbid(unsafe_code)]

pub mod blob;
mod challenge;
pub mod client;
pub mod credentials;
pub mod download;
mod error;
mod headers;
mod helper;
pub mod login;
pub mod manifest;
pub mod push;
mod retry;
pub mod settings;
pub mod tags;
mod token;
mod transport;
mod url;

pub use blob::Blob;
pub use client::Client;
pub use credentials::{Credentials, Login, Secret};
pub use download::Download;
pub use error::Error;
pub use login::Kept;
pub use manifest::{Fetched, Resolved};
pub use push::Pushed;
pub use settings::{RegistrySettings, Settings, Timing};

//! Documents of an image: the OCI image specification's, and docker's, which differ in their media types.
//!
//! What a digest names is the bytes, never a document written again: keep the bytes and hash those. Unknown fields are
//! tolerated and dropped. Source: image-spec (manifest.md, image-index.md, config.md, descriptor.md), docker's
//! image/spec v1.2 and its "Image Manifest Version 2, Schema 2".
//!
//! - [`media`]: media types and what each says
//! - [`manifest`]: [`Manifest`], [`Index`] and which of them a document is
//! - [`config`]: how to run an image, [`ImageConfig`]
//! - [`platform`]: machines, docker's normal forms and preferences

pub mod config;
mod descriptor;
pub mod manifest;
pub mod media;
pub mod platform;

pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use manifest::{Document, Index, Manifest};
pub use media::MediaKind;
pub use platform::Platform;

/// Largest manifest or index, in bytes. Source: distribution-spec, "Pushing Manifests" (registries take 4 MiB at least).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Largest configuration, in bytes: one with a long history of 500 steps is 200 KB.
pub const CONFIG_BYTES_MAX: usize = 8 << 20;

/// Most layers of a manifest. Overlayfs stacks 500.
pub const LAYERS_MAX: usize = 1000;

/// Most entries of an index. The largest that are known have a few hundred.
pub const ENTRIES_MAX: usize = 4096;

/// A document that isn't used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It breaks a rule: which, as the end of a sentence about it. Of unknown origin: not inert.
    Invalid(String),
    /// It is well-formed, of a sort that isn't supported.
    Unsupported(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Invalid(reason) | Error::Unsupported(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

/// Takes `null` for a missing value, as Go's writers produce it.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;

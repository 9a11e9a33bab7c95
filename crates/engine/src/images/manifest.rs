//! `berth manifest inspect`: what a registry has under a name, in docker's form.

use super::pull::client_with;
use crate::Error;
use registry::{Client, Fetched};
use serde::Serialize;
use serde_json::value::RawValue;
use types::image::manifest::Document;
use types::image::media::{self, MediaKind};
use types::image::{CONFIG_BYTES_MAX, Descriptor, ImageConfig, Index, Manifest, Platform};
use types::reference::Reference;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRequest {
    /// The name as given.
    pub image: String,
    /// Whether the manifests are described, one for each machine, instead of shown as they are.
    pub verbose: bool,
    /// Whether any certificate will do, or none, for this registry.
    pub insecure: bool,
}

/// A document as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestText {
    /// JSON, for which the registry may have chosen the white space.
    pub json: String,
    /// Whether it is an index alone, which docker indents otherwise than all else.
    pub is_index: bool,
}

/// A manifest with what is known of it. Source: docker/cli `cli/manifest/types`, ImageManifest.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    r#ref: String,
    descriptor: Descriptor,
    /// Its bytes in base64.
    raw: String,
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    docker: Option<Box<RawValue>>,
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Box<RawValue>>,
}

/// An index in docker's words: what it says of its manifests beside platform, digest and size isn't shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownIndex<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<ShownEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEntry<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a str,
    platform: Platform,
}

/// Asks the registry; nothing is looked for, or kept, here.
///
/// Errors: [`Error::NoManifest`], [`Error::Registry`].
pub fn inspect(request: &ManifestRequest) -> Result<ManifestText, Error> {
    let reference = super::reference(&request.image)?;
    let client = client_with(request.insecure.then(|| reference.host()))?;
    let missing = |error| match error {
        registry::Error::ManifestUnknown { .. } | registry::Error::RepositoryUnknown { .. } => {
            Error::NoManifest { reference: reference.familiar() }
        }
        other => Error::Registry(other),
    };
    let Fetched { descriptor, bytes, document } = client.document(&reference).map_err(missing)?;
    match document {
        Document::Manifest(manifest) if request.verbose => {
            let platform = platform_of(&client, &reference, &manifest);
            let one = described(&reference, Descriptor { platform: Some(platform), ..descriptor }, &bytes)?;
            Ok(ManifestText { json: text(&one), is_index: false })
        }
        Document::Manifest(_) => {
            Ok(ManifestText { json: String::from_utf8_lossy(&bytes).into_owned(), is_index: false })
        }
        Document::Index(index) if request.verbose => {
            let all = index.manifests.iter().map(|entry| entry_of(&client, &reference, entry));
            Ok(ManifestText { json: text(&all.collect::<Result<Vec<_>, _>>()?), is_index: false })
        }
        Document::Index(index) => {
            Ok(ManifestText { json: text(&shown(&index, &descriptor.media_type)), is_index: true })
        }
    }
}

/// The digest that the registry has for a reference now.
///
/// Errors: as [`inspect`].
pub fn digest(image: &str) -> Result<types::digest::Digest, Error> {
    let reference = super::reference(image)?;
    match super::pull::client()?.document(&reference) {
        Ok(found) => Ok(found.descriptor.digest),
        Err(registry::Error::ManifestUnknown { .. } | registry::Error::RepositoryUnknown { .. }) => {
            Err(Error::NoManifest { reference: reference.familiar() })
        }
        Err(error) => Err(Error::Registry(error)),
    }
}

fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("strings and numbers always serialize")
}

/// The machine that the image's configuration names; none for what is no image.
fn platform_of(client: &Client, reference: &Reference, manifest: &Manifest) -> Platform {
    let config = match MediaKind::of(&manifest.config.media_type) {
        MediaKind::Config => client.small_blob(reference.repository(), &manifest.config, CONFIG_BYTES_MAX),
        _ => return Platform::default(),
    };
    let parsed = config.ok().and_then(|bytes| ImageConfig::parse(&bytes).ok());
    parsed.map(|config| config.platform()).unwrap_or_default()
}

fn entry_of(client: &Client, reference: &Reference, entry: &Descriptor) -> Result<Described, Error> {
    let found = client.manifest(reference.repository(), entry)?;
    let descriptor = Descriptor {
        platform: Some(entry.platform.clone().unwrap_or_default()),
        ..Descriptor::new(&found.descriptor.media_type, entry.digest.clone(), entry.size)
    };
    described(&reference.with_digest(entry.digest.clone()), descriptor, &found.bytes)
}

fn described(reference: &Reference, descriptor: Descriptor, bytes: &[u8]) -> Result<Described, Error> {
    use base64::Engine;
    let invalid = |error: serde_json::Error| Error::Image {
        image: reference.familiar(),
        why: format!("its manifest is no JSON: {error}"),
    };
    let document: Box<RawValue> = serde_json::from_slice(bytes).map_err(invalid)?;
    let (docker, oci) = match descriptor.media_type.as_str() {
        media::DOCKER_MANIFEST => (Some(document), None),
        _ => (None, Some(document)),
    };
    let raw = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(Described { r#ref: reference.to_string(), descriptor, raw, docker, oci })
}

fn shown<'a>(index: &'a Index, media_type: &'a str) -> ShownIndex<'a> {
    let entry = |entry: &'a Descriptor| ShownEntry {
        media_type: &entry.media_type,
        size: entry.size,
        digest: entry.digest.as_str(),
        platform: entry.platform.clone().unwrap_or_default(),
    };
    ShownIndex { schema_version: 2, media_type, manifests: index.manifests.iter().map(entry).collect() }
}

//! Manifests and indexes, and which of them a document is.

use super::media::{self, MediaKind};
use super::{Descriptor, ENTRIES_MAX, Error, LAYERS_MAX, MANIFEST_BYTES_MAX, Platform, null_is_default};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One image: its configuration and its layers. Source: image-spec manifest.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Sort of artifact, if it isn't an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Several manifests, mostly of one image for different machines. Source: image-spec image-index.md; docker calls it a
/// manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Sort of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// One of the image specification's for an image, which says no more than what is necessary.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: media::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

impl Index {
    /// The manifest for `platform`: of those that run there the best, and the first of equals. An entry that names no
    /// platform is taken if it is the only manifest, as what one gets by asking for the image and nothing else. Entries of
    /// media types that are no document's are passed over (image-spec image-index.md).
    pub fn pick(&self, platform: &Platform) -> Option<&Descriptor> {
        let mut best: Option<(usize, &Descriptor)> = None;
        for entry in self.manifests.iter().filter(|entry| entry.is_document()) {
            let rank = entry.platform.as_ref().and_then(|offered| platform.rank(offered));
            if let Some(rank) = rank
                && best.is_none_or(|(known, _)| rank < known)
            {
                best = Some((rank, entry));
            }
        }
        let only = || match &self.manifests[..] {
            [entry] if entry.platform.is_none() && entry.is_document() => Some(entry),
            _ => None,
        };
        best.map(|(_, entry)| entry).or_else(only)
    }
}

/// What stands at a registry's `manifests/`, or at the top of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Box<Index>),
}

impl Document {
    /// Reads `bytes`, about which others have made `claims`: the media types of the descriptor that led here and of
    /// the answer's header. Claims that name no kind of document (`text/plain`) say nothing.
    ///
    /// Nothing may be read in two ways (CVE-2021-41190): the field `mediaType` and all claims must agree, the members
    /// must be those of one kind, none may stand there twice or in another case, and somebody must have said what it
    /// is.
    ///
    /// Errors: [`Error::Invalid`], and [`Error::Unsupported`] for docker's schema 1.
    pub fn parse(bytes: &[u8], claims: &[&str]) -> Result<Document, Error> {
        let invalid = |reason: String| Error::Invalid(reason);
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(invalid(format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes")));
        }
        let Members { names, media_type, schema_version } =
            serde_json::from_slice(bytes).map_err(|error| invalid(format!("not a manifest: {error}")))?;
        let has = |name: &str| names.contains(name);
        let field = media_type.unwrap_or_default();
        let is_schema_1 = MediaKind::of(&field) == MediaKind::SchemaOne
            || claims.iter().any(|claim| MediaKind::of(claim) == MediaKind::SchemaOne);
        if schema_version == Some(1) || has("fsLayers") || is_schema_1 {
            return Err(Error::Unsupported("a manifest of docker's schema 1, which is obsolete".into()));
        }
        let kind = agreed_kind(&field, claims)?;
        if has("manifests") && (has("config") || has("layers")) {
            return Err(invalid("it has the members of a manifest and of an index".into()));
        }
        if schema_version != Some(2) {
            return Err(invalid("its schemaVersion is not 2".into()));
        }
        let parsed = |error: serde_json::Error| Error::Invalid(error.to_string());
        match kind {
            MediaKind::Index => {
                let index: Index = serde_json::from_slice(bytes).map_err(parsed)?;
                let too_many = index.manifests.len() > ENTRIES_MAX;
                let problem = too_many.then(|| format!("an index has at most {ENTRIES_MAX} manifests"));
                problem.map_or(Ok(Document::Index(Box::new(index))), |problem| Err(invalid(problem)))
            }
            _ => {
                let manifest: Manifest = serde_json::from_slice(bytes).map_err(parsed)?;
                let too_many = manifest.layers.len() > LAYERS_MAX;
                let problem = too_many.then(|| format!("a manifest has at most {LAYERS_MAX} layers"));
                problem.map_or(Ok(Document::Manifest(Box::new(manifest))), |problem| Err(invalid(problem)))
            }
        }
    }

    /// The media type that the document itself or, as it says nothing, `claim` gives.
    pub fn media_type<'a>(&'a self, claim: &'a str) -> &'a str {
        let own = match self {
            Document::Manifest(manifest) => &manifest.media_type,
            Document::Index(index) => &index.media_type,
        };
        if own.is_empty() { claim } else { own }
    }
}

/// The kind of document that the field and all claims give; the media types must be the same, not only the kinds.
fn agreed_kind(field: &str, claims: &[&str]) -> Result<MediaKind, Error> {
    if !field.is_empty() && !MediaKind::of(field).is_document() {
        return Err(Error::Unsupported(format!(
            "its media type {field:?} is neither a manifest's nor an index's"
        )));
    }
    let said = claims.iter().copied().filter(|claim| MediaKind::of(claim).is_document());
    let mut all = std::iter::once(field).filter(|field| !field.is_empty()).chain(said).map(media::essence);
    let first = all.next().ok_or_else(|| Error::Invalid("nothing says what media type it has".into()))?;
    match all.find(|other| *other != first) {
        Some(other) => Err(Error::Invalid(format!("its media type is {first} and {other}"))),
        None => Ok(MediaKind::of(&first)),
    }
}

/// The names of a document's members, and the two values that say how to read it.
struct Members {
    names: BTreeSet<String>,
    media_type: Option<String>,
    schema_version: Option<u64>,
}

/// Members that decide what a document is. Go's readers take them in any case, so another case is refused.
const DECISIVE: [&str; 6] = ["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"];

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        use serde::de::Error;
        let mut members = Members { names: BTreeSet::new(), media_type: None, schema_version: None };
        while let Some(name) = map.next_key::<String>()? {
            let known = DECISIVE.iter().find(|known| known.eq_ignore_ascii_case(&name));
            if known.is_some_and(|known| *known != name) {
                return Err(A::Error::custom(format_args!(
                    "a member is called {name:?}, which readers differ on"
                )));
            }
            match name.as_str() {
                "mediaType" => members.media_type = map.next_value()?,
                "schemaVersion" => members.schema_version = map.next_value()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
            if known.is_some() && !members.names.insert(name) {
                return Err(A::Error::custom(format_args!("a member is there twice")));
            }
        }
        Ok(members)
    }
}

//! An image from its manifest, its configuration, and where its layers' blobs are.

use super::Progress;
use crate::Error;
use std::io;
use store::{Blob, Configuration, Input, Limits, ManifestBytes, NewLayer, Recipe, Store};
use types::digest::{DiffId, Digest, ImageId};
use types::image::{Descriptor, ImageConfig, Manifest, MediaKind};
use types::moment::parse_rfc3339;
use types::reference::{Reference, Repository};

/// What came with a manifest.
pub(super) struct Parts<'a> {
    /// The manifest, and the bytes that it was read from.
    pub manifest: &'a Manifest,
    pub media_type: &'a str,
    pub manifest_bytes: &'a [u8],
    /// The configuration's bytes, whose digest has been checked.
    pub config: &'a [u8],
    /// Opens a layer's blob.
    pub open: &'a (dyn Fn(&Descriptor) -> io::Result<Input<'a>> + Sync),
    pub repository_digest: Option<(Repository, Digest)>,
    pub references: Vec<Reference>,
}

/// Types that registries have given to configurations by mistake, and that docker takes for images. Source: moby,
/// `distribution/registry.go`, `ImageTypes`.
const MISTAKEN_CONFIGS: [&str; 4] = ["", "application/octet-stream", "application/json", "text/html"];

/// Refuses what is no container image by its media types, before anything of it is read: what an unknown type means is
/// unknown (image-spec manifest.md, `config`).
pub(super) fn check_is_image(manifest: &Manifest, what: &str) -> Result<(), Error> {
    let refused = |why: String| Error::Image { image: what.to_owned(), why };
    let kind = &manifest.config.media_type;
    if MediaKind::of(kind) != MediaKind::Config && !MISTAKEN_CONFIGS.contains(&kind.as_str()) {
        return Err(refused(format!("its configuration is of type {kind:?}: it isn't a container image")));
    }
    manifest.layers.iter().try_for_each(|layer| check_layer(layer).map_err(&refused))
}

/// Makes the image, which has been checked to be one; what of it is here is taken as it is.
pub(super) fn install(
    store: &Store,
    parts: Parts<'_>,
    what: &str,
    progress: &dyn Progress,
) -> Result<ImageId, Error> {
    let refused = |why: String| Error::Image { image: what.to_owned(), why };
    let config = ImageConfig::parse(parts.config).map_err(|error| refused(error.to_string()))?;
    let diffs = diff_ids(&config).map_err(&refused)?;
    let layers = &parts.manifest.layers;
    if layers.len() != diffs.len() {
        let (layers, diffs) = (layers.len(), diffs.len());
        return Err(refused(format!("its manifest has {layers} layers, its configuration {diffs}")));
    }
    let open = parts.open;
    let new_layer = |(descriptor, diff): (&'_ Descriptor, DiffId)| {
        let descriptor = descriptor.clone();
        NewLayer {
            diff: Some(diff),
            blob: Some(Blob { digest: descriptor.digest.clone(), bytes: descriptor.size }),
            open: Box::new(move || open(&descriptor)),
            has_whiteouts: true,
        }
    };
    let shown: Vec<_> = layers.iter().map(|layer| (layer.digest.to_string(), Some(layer.size))).collect();
    progress.begin(&shown);
    let recipe = Recipe {
        layers: layers.iter().zip(diffs).map(new_layer).collect(),
        config: &|_| configuration(parts.config, &config),
        manifest: Some(ManifestBytes {
            media_type: parts.media_type.to_owned(),
            bytes: parts.manifest_bytes.to_owned(),
            blobs: layers.iter().map(|layer| layer.digest.clone()).collect(),
        }),
        repository_digest: parts.repository_digest,
        references: parts.references,
    };
    make(store, recipe, what, progress)
}

/// Makes the image, and names it in what goes wrong.
pub(super) fn make(
    store: &Store,
    recipe: Recipe<'_>,
    what: &str,
    progress: &dyn Progress,
) -> Result<ImageId, Error> {
    let watch = |at, state| progress.layer(at, state);
    store.make_image(recipe, &Limits::default(), &watch).map_err(|error| match error {
        error @ (store::Error::Layer { .. } | store::Error::ConfigText) => {
            Error::ImageParts { image: what.to_owned(), source: Box::new(error) }
        }
        error => error.into(),
    })
}

/// The configuration as the store takes it. Images that don't say when they were made are as old as the epoch.
pub(crate) fn configuration(bytes: &[u8], config: &ImageConfig) -> Configuration {
    let created_ns = config.created.as_deref().and_then(parse_rfc3339).unwrap_or(0);
    Configuration { bytes: bytes.to_owned(), created_ns }
}

pub(super) fn diff_ids(config: &ImageConfig) -> Result<Vec<DiffId>, String> {
    let sha256 = |digest: &Digest| {
        digest.sha256().map(DiffId).ok_or_else(|| format!("its layer {digest} isn't identified by sha256"))
    };
    config.rootfs.diff_ids.iter().map(sha256).collect()
}

fn check_layer(layer: &Descriptor) -> Result<(), String> {
    match MediaKind::of(&layer.media_type) {
        MediaKind::Layer(_) => Ok(()),
        MediaKind::ForeignLayer => {
            Err(format!("its layer {} isn't distributed by registries (it is foreign)", layer.digest))
        }
        _ => {
            let (digest, media_type) = (&layer.digest, &layer.media_type);
            Err(format!(
                "its layer {digest} is of type {media_type:?}, which is no layer's: it isn't a container image"
            ))
        }
    }
}

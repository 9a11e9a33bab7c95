//! How much images take: unpacked layers, which they share, and blobs.

use super::list::{Listed, listed};
use super::look_at_store;
use crate::find::Container;
use crate::{Error, Home};
use std::collections::BTreeMap;
use store::{Image, Store};
use types::image::ImageConfig;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// What lists show of it; all containers count, those that leave no record too.
    pub listed: Listed,
    /// The machine that it is for.
    pub platform: String,
    /// Bytes of unpacked layers that no other image has.
    pub unique_bytes: u64,
    /// Bytes of blobs that are kept for it, which others may have as well.
    pub blob_bytes: u64,
}

/// All images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagesUsage {
    /// The newest first.
    pub images: Vec<ImageUsage>,
    /// Bytes of all layers and blobs, each once.
    pub bytes: u64,
    /// Bytes of what no image has that a container was made from.
    pub reclaimable_bytes: u64,
}

/// Layers and blobs that images have, each with its bytes.
pub(super) struct Parts {
    /// By image: identity and bytes of layers, then of blobs.
    layers: BTreeMap<String, Vec<(String, u64)>>,
    blobs: BTreeMap<String, Vec<(String, u64)>>,
}

impl Parts {
    pub fn of(store: &Store, images: &[Image]) -> Result<Parts, Error> {
        let mut parts = Parts { layers: BTreeMap::new(), blobs: BTreeMap::new() };
        for image in images {
            let layers = image.layers.iter().map(|layer| (layer.chain.to_string(), layer.bytes));
            parts.layers.insert(image.id.to_string(), layers.collect());
        }
        for (image, blob) in store.blobs_of_images()? {
            let blobs = parts.blobs.entry(image.to_string()).or_default();
            blobs.push((blob.digest.to_string(), blob.bytes));
        }
        Ok(parts)
    }

    /// Bytes of what the images that `choose` has, each once.
    pub fn bytes(&self, choose: &dyn Fn(&str) -> bool) -> u64 {
        let own = self.layers.iter().chain(&self.blobs).filter(|(image, _)| choose(image));
        let parts: BTreeMap<&str, u64> =
            own.flat_map(|(_, parts)| parts).map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        parts.values().sum()
    }

    /// How many images have each layer.
    fn owners(&self) -> BTreeMap<&str, usize> {
        let mut owners = BTreeMap::new();
        for (name, _) in self.layers.values().flatten() {
            *owners.entry(name.as_str()).or_default() += 1;
        }
        owners
    }

    fn blob_bytes(&self, image: &str) -> u64 {
        self.blobs.get(image).into_iter().flatten().map(|(_, bytes)| bytes).sum()
    }
}

/// What images take, of which `containers` use some.
pub fn usage(home: &Home, containers: &[Container]) -> Result<ImagesUsage, Error> {
    let Some(store) = look_at_store(home)? else { return Ok(ImagesUsage::default()) };
    let images = store.images()?;
    let parts = Parts::of(&store, &images)?;
    let users = |id: &str| containers.iter().filter(|c| c.config.image_id.as_deref() == Some(id)).count();
    let bytes = parts.bytes(&|_| true);
    let used_bytes = parts.bytes(&|id| users(id) > 0);
    let owners = parts.owners();
    let unique_bytes = |id: &str| {
        let own = parts.layers.get(id).into_iter().flatten();
        own.filter(|(name, _)| owners.get(name.as_str()) == Some(&1)).map(|(_, bytes)| bytes).sum()
    };
    let of_image = |image: Image| {
        let id = image.id.to_string();
        let config = ImageConfig::parse(image.config_json.as_bytes());
        ImageUsage {
            platform: config.map(|config| config.platform().to_string()).unwrap_or_default(),
            unique_bytes: unique_bytes(&id),
            blob_bytes: parts.blob_bytes(&id),
            listed: listed(&image, users(&id)),
        }
    };
    let reclaimable_bytes = bytes - used_bytes;
    Ok(ImagesUsage { images: images.into_iter().map(of_image).collect(), bytes, reclaimable_bytes })
}

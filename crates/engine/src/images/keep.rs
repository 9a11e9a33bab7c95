//! What images nothing uses, and whether those that are here are whole: `berth image prune`, `berth image verify`.

use super::usage::Parts;
use super::{look_at_store, name, open_store};
use crate::system::PruneFilter;
use crate::{Error, Home, find, last_use};
use std::collections::BTreeSet;
use std::io::Read;
use store::{Image, Store};
use types::digest::{Digest, Hasher};
use types::image::ImageConfig;
use types::reference::Reference;

/// Which images `prune` removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Those with names as well, unless a container was made from them.
    pub all: bool,
    /// Which of them.
    pub filter: PruneFilter,
    /// Whether it's only told what would be removed.
    pub dry_run: bool,
}

/// What `prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Each image that is gone, with its names.
    pub removed: Vec<name::Removed>,
    /// Bytes of files that are gone.
    pub reclaimed_bytes: u64,
}

/// Something that isn't what its digest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

/// What `verify` looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Blobs, and bytes of them.
    pub blobs: usize,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// The ids of images that containers were made from, those that leave no record among them; but for the containers in
/// `doomed`.
fn used(home: &Home, store: &Store, doomed: &[String]) -> Result<BTreeSet<String>, Error> {
    let stays = |id: &str| !doomed.iter().any(|doomed| doomed == id);
    let records = store.containers()?.into_iter().filter(|record| stays(record.id.as_str()));
    let recorded = records.filter_map(|record| record.image.map(|id| id.to_string()));
    let present = find::present(home).into_iter().filter(|container| stays(&container.config.id));
    let present = present.filter_map(|container| container.config.image_id);
    Ok(recorded.chain(present).collect())
}

/// Removes images that nothing uses, the containers in `doomed` apart, and what killed processes left.
pub fn prune(home: &Home, request: &PruneRequest, doomed: &[String]) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let store = open_store(home)?;
    let used = used(home, &store, doomed)?;
    let images = store.images()?;
    let parts = Parts::of(&store, &images)?;
    let before = parts.bytes(&|_| true);
    let mut kept = BTreeSet::new();
    for image in images {
        let id = image.id.to_string();
        if used.contains(&id) || !(request.all || image.references.is_empty()) || !is_wanted(&image, request)
        {
            kept.insert(id);
            continue;
        }
        if request.dry_run {
            let familiar = |name: &String| {
                Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.familiar())
            };
            let untagged = image.references.iter().map(familiar).collect();
            pruned.removed.push(name::Removed { untagged, deleted: vec![id] });
            continue;
        }
        match name::remove(home, &id, true) {
            Ok(removed) => pruned.removed.push(removed),
            // Somebody has begun to use it, or has removed it: so be it.
            Err(
                Error::Refused { .. }
                | Error::Store(store::Error::NoImage { .. } | store::Error::ImageInUse { .. }),
            ) => {}
            Err(error) => return Err(error),
        }
    }
    if request.dry_run {
        pruned.reclaimed_bytes = before.saturating_sub(parts.bytes(&|id| kept.contains(id)));
        return Ok(pruned);
    }
    store.sweep()?;
    pruned.reclaimed_bytes = before.saturating_sub(disk_bytes(&store)?);
    Ok(pruned)
}

fn is_wanted(image: &Image, request: &PruneRequest) -> bool {
    let labels = ImageConfig::parse(image.config_json.as_bytes()).map(|config| config.config.labels);
    let labels = labels.unwrap_or_default();
    // Of an image, its own layer is the topmost.
    let used = || image.layers.last().map_or(0, |layer| last_use::of(layer.tree.parent()));
    request.filter.passes(image.created_ns, &|key| labels.get(key).map(String::as_str))
        && request.filter.is_unused(used)
}

/// Bytes of all layers and blobs that rows name, each once.
fn disk_bytes(store: &Store) -> Result<u64, Error> {
    Ok(Parts::of(store, &store.images()?)?.bytes(&|_| true))
}

/// Hashes everything that is stored of images again: configurations, manifests, blobs, the archives in them; and compares
/// the layers' trees with those.
pub fn verify(home: &Home) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let Some(store) = look_at_store(home)? else { return Ok(verified) };
    let mut seen = BTreeSet::new();
    for image in store.images()? {
        verified.images += 1;
        let mut fault = |object: String, why: String| verified.faults.push(Fault { object, why });
        if !image.id.digest().matches(image.config_json.as_bytes()) {
            fault(format!("configuration {}", image.id), "its digest is another".to_owned());
        }
        for layer in &image.layers {
            if !seen.insert(layer.chain.to_string()) {
                continue;
            }
            verified.layers += 1;
            if !layer.tree.is_dir() {
                fault(format!("layer {}", layer.diff), format!("{} is missing", layer.tree.display()));
            }
            let Some(blob) = &layer.blob else {
                // Of one that a build made: it's packed again, and must be what it was.
                verified.bytes += layer.bytes;
                let faults = check_layer(&store, layer);
                faults.into_iter().for_each(|why| fault(format!("layer {}", layer.diff), why));
                continue;
            };
            if !seen.insert(blob.digest.to_string()) {
                continue;
            }
            verified.blobs += 1;
            verified.bytes += blob.bytes;
            match store.open_blob(&blob.digest) {
                None => fault(format!("blob {}", blob.digest), "its file is missing".to_owned()),
                Some(file) => {
                    if let Err(why) = check(&blob.digest, blob.bytes, file) {
                        fault(format!("blob {}", blob.digest), why);
                    } else {
                        let faults = check_layer(&store, layer);
                        faults.into_iter().for_each(|why| fault(format!("layer {}", layer.diff), why));
                    }
                }
            }
        }
        for (_, bytes) in store.manifests(&image.id)? {
            // Its digest is the key it was found by; what it names must be an image's parts.
            let digest = Digest::of(&bytes);
            if !store.has_manifest(&digest)? {
                fault(
                    format!("manifest of {}", image.id),
                    format!("its digest is {digest}, which isn't its own"),
                );
            }
        }
    }
    Ok(verified)
}

fn check(digest: &Digest, bytes: u64, mut file: impl Read) -> Result<(), String> {
    let mut hasher = Hasher::new(digest.algorithm());
    let (mut buffer, mut total) = (vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let found = hasher.finish();
    match (total == bytes, found == *digest) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("it has {total} bytes, not {bytes}")),
        (true, false) => Err(format!("its digest is {found}")),
    }
}

/// What is wrong with a layer's archive, or else with its tree.
fn check_layer(store: &Store, layer: &store::Layer) -> Vec<String> {
    match store.open_archive(layer).and_then(|archive| store::check_tree(layer, archive)) {
        Ok(faults) => faults.into_iter().map(|(path, how)| format!("{path} {how}")).collect(),
        Err(error) => vec![error.to_string()],
    }
}

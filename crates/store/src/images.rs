//! Images: names, configurations, stacks of layers.
//!
//! Invariant: a row in `layers` names a complete directory. Therefore whoever commits such a row holds the directory's
//! lock, and whoever removes a directory holds its lock and has seen that there is no row.

use crate::containers::is_id_prefix;
use crate::db::{Durability, Fault};
use crate::error::Error;
use crate::ingest::{Blob, Configuration, ManifestBytes};
use crate::paths::LAYER_TREE;
use crate::{SHORT_ID_DIGITS, Store};
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use types::digest::{ChainId, DiffId, Digest, ImageId, Sha256};
use types::reference::{Reference, Repository};

/// Most ids that an error about an ambiguous prefix lists.
const MATCHES_MAX: usize = 5;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its full names, sorted; none for an image whose name went to another.
    pub references: Vec<String>,
    /// What it was called by digest, as `docker.io/library/alpine@sha256:…`, sorted.
    pub repository_digests: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Bytes of content in all layers.
    pub size_bytes: u64,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// The configuration, byte for byte.
    pub config_json: String,
}

/// What a list shows of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// `sha256:…`
    pub id: String,
    /// Its full names, sorted.
    pub references: Vec<String>,
    /// What it was called by digest, sorted.
    pub repository_digests: Vec<String>,
    /// Bytes of content in all layers.
    pub size_bytes: u64,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Containers made from it that have a record.
    pub containers: usize,
    /// The configuration, if it was asked for.
    pub config_json: Option<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Identity of it and all below it.
    pub chain: ChainId,
    /// Identity of its content.
    pub diff: DiffId,
    /// Its tree.
    pub tree: PathBuf,
    /// Bytes of content.
    pub bytes: u64,
    /// The blob that holds its archive, if one is kept.
    pub blob: Option<Blob>,
    /// As [`crate::unpack::Unpacked::id_blocks`].
    pub id_blocks: Vec<u32>,
}

/// What [`Store::remove_image`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedImage {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// The image, if no name is left and it is gone as well.
    pub deleted: Option<ImageId>,
    /// Its layers that no other image has, the topmost first.
    pub deleted_layers: Vec<ChainId>,
}

/// A layer whose directory is in its place, pinned there.
pub(crate) struct PlacedLayer {
    pub chain: ChainId,
    pub diff: DiffId,
    pub bytes: u64,
    /// What holds its archive, if that is kept.
    pub blob: Option<Blob>,
    /// As [`Layer::id_blocks`].
    pub id_blocks: Vec<u32>,
    /// Closed once its row is committed.
    pub held: OwnedFd,
}

/// A manifest to be recorded.
pub(crate) struct NewManifest<'a> {
    pub digest: Digest,
    pub media_type: &'a str,
    pub bytes: &'a [u8],
    /// The blobs that it names, of which those that are here are kept.
    pub blobs: &'a [Digest],
}

/// An image to be recorded.
pub(crate) struct NewImage<'a> {
    pub id: ImageId,
    pub config_json: &'a str,
    pub created_ns: i64,
    /// The lowest first.
    pub layers: &'a [PlacedLayer],
    pub manifest: Option<NewManifest<'a>>,
    pub repository_digest: Option<&'a (Repository, Digest)>,
    pub references: &'a [Reference],
}

struct RawImage {
    id: String,
    config_json: String,
    size: i64,
    created_ns: i64,
    references: Vec<String>,
    repository_digests: Vec<String>,
    layers: Vec<RawLayer>,
}

struct RawLayer {
    chain: String,
    diff: String,
    path: String,
    bytes: i64,
    blob: Option<(String, i64)>,
    id_blocks: Option<String>,
}

impl Store {
    /// The image that a user calls `given`: an id with or without `sha256:`, else a name, else the beginning of one id.
    ///
    /// Errors: [`Error::NoImage`], [`Error::Ambiguous`], and [`Error::Reference`] for what can be neither.
    pub fn resolve_image(&self, given: &str) -> Result<Image, Error> {
        let raw = self.db.read("look the image up", |tx| {
            let (id, _) = find(tx, given)?;
            Ok(load(tx, &id)?)
        })?;
        self.image(raw)
    }

    /// Keeps the trees of an image's layers from being removed while what is returned lives.
    ///
    /// Errors: [`Error::NoImage`] if one is gone already.
    pub fn pin_layers(&self, image: &Image) -> Result<Vec<OwnedFd>, Error> {
        let gone = |_: &Layer| Error::NoImage { given: image.id.to_string() };
        self.pin(&image.layers, &gone)
    }

    /// Keeps the trees of layers from being removed while what is returned lives; `gone` makes the error that one is gone
    /// already.
    pub(crate) fn pin(
        &self,
        layers: &[Layer],
        gone: &dyn Fn(&Layer) -> Error,
    ) -> Result<Vec<OwnedFd>, Error> {
        let pin = |layer: &Layer| {
            let path = self.paths().layer(&layer.chain);
            let pinned = crate::locked::pin(rustix::fs::CWD, &path);
            let failed =
                |source: rustix::io::Errno| Error::Files { doing: "hold", path, source: source.into() };
            pinned.map_err(failed)?.ok_or_else(|| gone(layer))
        };
        layers.iter().map(pin).collect()
    }

    /// The stack of layers that `chain` names, the lowest first. All of it is here and whole.
    ///
    /// Errors: [`Error::NoLayer`].
    pub fn layers_of(&self, chain: &ChainId) -> Result<Vec<Layer>, Error> {
        self.begin_boot()?;
        let raws = self.db.read("look layers up", |tx| {
            let mut query = tx.prepare_cached(
                "WITH RECURSIVE stack (chain_id, height) AS (
                     VALUES (?1, 0)
                     UNION ALL SELECT parent, height + 1 FROM stack JOIN layers USING (chain_id)
                     WHERE parent IS NOT NULL
                 )
                 SELECT chain_id, diff_id, path, layers.size, digest, blobs.size, id_blocks
                 FROM stack JOIN layers USING (chain_id) LEFT JOIN blobs ON digest = blob ORDER BY height DESC",
            )?;
            let raws = query.query_map([chain.to_string()], raw_layer)?;
            Ok(raws.collect::<Result<Vec<_>, _>>()?)
        })?;
        if raws.is_empty() {
            return Err(Error::NoLayer { chain: chain.to_string() });
        }
        let root = self.paths().root();
        raws.iter().map(|raw| self.layer(root, raw)).collect()
    }

    /// Makes an image of layers that are here, which costs rows only, and gives it names, which other images lose. What
    /// isn't on the disk yet is synced first.
    ///
    /// Errors: [`Error::NoLayer`], [`Error::ConfigText`].
    pub fn name_image(
        &self,
        chain: Option<&ChainId>,
        config: &Configuration,
        references: &[Reference],
    ) -> Result<ImageId, Error> {
        let layers = chain.map_or_else(|| Ok(Vec::new()), |chain| self.layers_of(chain))?;
        let pins = self.pin(&layers, &|layer| Error::NoLayer { chain: layer.chain.to_string() })?;
        let id = ImageId(Sha256::of(&config.bytes));
        let config_json = std::str::from_utf8(&config.bytes).map_err(|_| Error::ConfigText)?;
        let placed = |(layer, held): (Layer, OwnedFd)| {
            let Layer { chain, diff, bytes, blob, id_blocks, .. } = layer;
            PlacedLayer { chain, diff, bytes, blob, id_blocks, held }
        };
        let layers: Vec<PlacedLayer> = layers.into_iter().zip(pins).map(placed).collect();
        self.insert_image(&NewImage {
            id,
            config_json,
            created_ns: config.created_ns,
            layers: &layers,
            manifest: None,
            repository_digest: None,
            references,
        })?;
        Ok(id)
    }

    /// All images, the newest first.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let raws = self.db.read("list the images", |tx| {
            let mut query = tx.prepare_cached("SELECT id FROM images ORDER BY created_ns DESC, id")?;
            let ids = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            Ok(ids.iter().map(|id| load(tx, id)).collect::<Result<Vec<_>, _>>()?)
        })?;
        raws.into_iter().map(|raw| self.image(raw)).collect()
    }

    /// What a list shows of all images, the newest first; with their configurations only if they are needed, since most of
    /// the time would be theirs.
    pub fn image_summaries(&self, with_configurations: bool) -> Result<Vec<ImageSummary>, Error> {
        self.db.read("list the images", |tx| {
            let config = if with_configurations { "config_json" } else { "NULL" };
            let mut query = tx.prepare(&format!(
                "SELECT id, size, created_ns, {config} FROM images ORDER BY created_ns DESC, id"
            ))?;
            let summary = |row: &rusqlite::Row<'_>| {
                Ok(ImageSummary {
                    id: row.get(0)?,
                    references: Vec::new(),
                    repository_digests: Vec::new(),
                    size_bytes: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
                    created_ns: row.get(2)?,
                    containers: 0,
                    config_json: row.get(3)?,
                })
            };
            let mut found = query.query_map([], summary)?.collect::<Result<Vec<_>, _>>()?;
            let at: HashMap<String, usize> =
                found.iter().enumerate().map(|(at, image)| (image.id.clone(), at)).collect();
            // One pass over each table: a query for each image would cost more than all the rows.
            each(tx, "SELECT image, name FROM refs ORDER BY name", &at, |at, row| {
                found[at].references.push(row.get(1)?);
                Ok(())
            })?;
            let digests =
                "SELECT image, repository || '@' || digest FROM repo_digests ORDER BY repository, digest";
            each(tx, digests, &at, |at, row| {
                found[at].repository_digests.push(row.get(1)?);
                Ok(())
            })?;
            let containers = "SELECT image, count(*) FROM containers WHERE image IS NOT NULL GROUP BY image";
            each(tx, containers, &at, |at, row| {
                found[at].containers = usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
                Ok(())
            })?;
            Ok(found)
        })
    }

    /// The images that were called by this digest in `repository`: one for each machine.
    pub fn images_by_digest(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Image>, Error> {
        let raws = self.db.read("look images up by digest", |tx| {
            let mut query =
                tx.prepare_cached("SELECT image FROM repo_digests WHERE repository = ?1 AND digest = ?2")?;
            let ids = query.query_map([&repository.to_string(), digest.as_str()], |row| row.get(0))?;
            let ids = ids.collect::<Result<Vec<String>, _>>()?;
            Ok(ids.iter().map(|id| load(tx, id)).collect::<Result<Vec<_>, _>>()?)
        })?;
        raws.into_iter().map(|raw| self.image(raw)).collect()
    }

    /// Records a manifest of the image that was made for a push, and what it is called in a repository.
    pub fn record_manifest(
        &self,
        image: &ImageId,
        manifest: Option<&ManifestBytes>,
        repository_digest: Option<(&Repository, &Digest)>,
    ) -> Result<(), Error> {
        self.db.write("record the manifest", Durability::Synced, |tx| {
            let id = image.to_string();
            if !tx.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([&id])? {
                return Err(Error::NoImage { given: id }.into());
            }
            if let Some(ManifestBytes { media_type, bytes, blobs }) = manifest {
                // Those that were made for it have no row yet. Under the same lock a sweep removes what has none.
                for blob in blobs {
                    if let Ok(file) = self.paths().blob(blob).metadata() {
                        insert_blob(tx, blob, file.len())?;
                    }
                }
                insert_manifest(
                    tx,
                    &id,
                    &NewManifest { digest: Digest::of(bytes), media_type, bytes, blobs },
                )?;
            }
            if let Some((repository, digest)) = repository_digest {
                insert_repository_digest(tx, &id, repository, digest)?;
            }
            Ok(())
        })
    }

    /// The manifests that the image came with, the newest first: media type and bytes.
    pub fn manifests(&self, image: &ImageId) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.db.read("look the image's manifests up", |tx| {
            let mut query = tx.prepare_cached(
                "SELECT media_type, bytes FROM manifests WHERE image = ?1 ORDER BY rowid DESC",
            )?;
            let rows = query.query_map([image.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether a manifest with this digest is recorded.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        self.db.read("look a manifest up", |tx| {
            Ok(tx.prepare_cached("SELECT 1 FROM manifests WHERE digest = ?1")?.exists([digest.as_str()])?)
        })
    }

    /// Whether a manifest names the blob: then it came from elsewhere, or went there.
    pub fn is_in_manifest(&self, blob: &Digest) -> Result<bool, Error> {
        self.db.read("look a blob's manifests up", |tx| {
            Ok(tx.prepare_cached("SELECT 1 FROM manifest_blobs WHERE blob = ?1")?.exists([blob.as_str()])?)
        })
    }

    /// The blobs that are kept for each image: as its layers' archives, and for its manifests.
    pub fn blobs_of_images(&self) -> Result<Vec<(ImageId, Blob)>, Error> {
        let rows = self.db.read("list the blobs", |tx| {
            let mut query = tx.prepare_cached(
                "SELECT image, digest, size FROM blobs JOIN (
                     SELECT image, blob FROM image_layers JOIN layers USING (chain_id) WHERE blob IS NOT NULL
                     UNION SELECT image, blob FROM manifests JOIN manifest_blobs ON manifest = digest
                 ) ON blob = blobs.digest",
            )?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let rows = query.query_map([], row)?.collect::<Result<Vec<(String, String, i64)>, _>>()?;
            Ok(rows)
        })?;
        let parsed = rows.into_iter().map(|(image, digest, bytes)| {
            let id = ImageId::parse(&image).ok_or_else(|| self.db.damaged("image id", &image))?;
            let digest = Digest::parse(&digest).map_err(|_| self.db.damaged("digest", &digest))?;
            Ok((id, Blob { digest, bytes: u64::try_from(bytes).unwrap_or_default() }))
        });
        parsed.collect()
    }

    /// Opens a blob that is kept here; `None` if it isn't.
    pub fn open_blob(&self, digest: &Digest) -> Option<std::fs::File> {
        crate::ingest::open_blob(self.paths(), digest)
    }

    /// Gives `image` the name `reference`, which is taken from another image that has it.
    ///
    /// Errors: [`Error::NoImage`].
    pub fn tag(&self, image: &ImageId, reference: &Reference) -> Result<(), Error> {
        self.db.write("name the image", Durability::Synced, |tx| {
            let id = image.to_string();
            if !tx.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([&id])? {
                return Err(Error::NoImage { given: id }.into());
            }
            Ok(set_reference(tx, reference, &id)?)
        })
    }

    /// Removes the name `given`, and with its last name the image and the layers that no other image has. With the
    /// last tag in a repository goes what the image is called there by digest. An id removes the image, unless it has
    /// several names. With `force` several names are no obstacle, and an image that a container was made from loses its
    /// names and stays.
    ///
    /// Errors: as [`Store::resolve_image`], and [`Error::ImageInUse`], [`Error::ImageHasNames`].
    pub fn remove_image(&self, given: &str, force: bool) -> Result<RemovedImage, Error> {
        let (removed, unused) = self.db.write("remove the image", Durability::Synced, |tx| {
            let (id, name) = find(tx, given)?;
            if let Some(name) = name
                && let Some(untagged) = untag_one(tx, &id, &name)?
            {
                return Ok((RemovedImage { untagged, ..RemovedImage::default() }, Unused::default()));
            }
            let names = references(tx, &id)?;
            match refuse_used(tx, &id, given, &names) {
                Err(Fault::Store(Error::ImageHasNames { .. })) if force => {
                    if user_of(tx, &id)?.is_some() {
                        let untagged = untag_all(tx, &id)?;
                        return Ok((RemovedImage { untagged, ..RemovedImage::default() }, Unused::default()));
                    }
                }
                Err(Fault::Store(Error::ImageInUse { .. })) if force && !names.is_empty() => {
                    let untagged = untag_all(tx, &id)?;
                    return Ok((RemovedImage { untagged, ..RemovedImage::default() }, Unused::default()));
                }
                other => other?,
            }
            let untagged = untag_all(tx, &id)?;
            let unused = delete(tx, &id)?;
            let deleted = Some(ImageId::parse(&id).ok_or_else(|| self.db.damaged("image id", &id))?);
            Ok((RemovedImage { untagged, deleted, ..RemovedImage::default() }, unused))
        })?;
        let mut removed = removed;
        for chain in unused.chains {
            let chain = self.chain_id(&chain)?;
            self.remove_unused_layer(&chain)?;
            removed.deleted_layers.push(chain);
        }
        for blob in unused.blobs {
            let digest = Digest::parse(&blob).map_err(|_| self.db.damaged("digest", &blob))?;
            self.remove_unused_blob(&digest)?;
        }
        Ok(removed)
    }

    /// Takes all its names from an image, which stays.
    pub fn untag_image(&self, image: &ImageId) -> Result<Vec<String>, Error> {
        self.db.write("take the image's names away", Durability::Synced, |tx| {
            Ok(untag_all(tx, &image.to_string())?)
        })
    }

    /// Records an image and its layers, whose locks the caller holds.
    pub(crate) fn insert_image(&self, image: &NewImage<'_>) -> Result<(), Error> {
        let id = image.id.to_string();
        let size: u64 = image.layers.iter().map(|layer| layer.bytes).sum();
        let chains: Vec<ChainId> = image.layers.iter().map(|layer| layer.chain).collect();
        let unsynced = self.sync_layers(&chains)?;
        self.db.write("record the image", Durability::Synced, |tx| {
            tx.execute(
                "INSERT OR IGNORE INTO images (id, config_json, size, created_ns) VALUES (?1, ?2, ?3, ?4)",
                params![id, image.config_json, size as i64, image.created_ns],
            )?;
            let mut below = None;
            for (position, layer) in image.layers.iter().enumerate() {
                let is_kept = |blob: &Blob| self.paths().blob(&blob.digest).exists();
                let blob = layer.blob.as_ref().filter(|blob| is_kept(blob));
                insert_layer(tx, &layer.row(blob, below), None)?;
                tx.execute("UPDATE layers SET boot = NULL WHERE chain_id = ?1", [layer.chain.to_string()])?;
                tx.execute(
                    "INSERT OR IGNORE INTO image_layers (image, position, chain_id) VALUES (?1, ?2, ?3)",
                    params![id, position as i64, layer.chain.to_string()],
                )?;
                below = Some(layer.chain);
            }
            if let Some(manifest) = &image.manifest {
                insert_manifest(tx, &id, manifest)?;
            }
            if let Some((repository, digest)) = image.repository_digest {
                insert_repository_digest(tx, &id, repository, digest)?;
            }
            for reference in image.references {
                set_reference(tx, reference, &id)?;
            }
            Ok(())
        })?;
        unsynced.iter().for_each(|chain| crate::boot::unmark(self.paths(), chain));
        Ok(())
    }

    /// Whether a row names the blob.
    pub(crate) fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.db.read("look a blob up", |tx| {
            Ok(tx.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?.exists([digest.as_str()])?)
        })
    }

    /// Removes the file of a blob that no row names; whether it was removed.
    pub(crate) fn remove_unused_blob(&self, digest: &Digest) -> Result<bool, Error> {
        // Who names a blob sees its file under the same lock.
        self.db.write("remove a blob", Durability::Unsynced, |tx| {
            if tx.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?.exists([digest.as_str()])? {
                return Ok(false);
            }
            let path = self.paths().blob(digest);
            match std::fs::remove_file(&path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(source) => Err(Error::Files { doing: "remove", path, source }.into()),
            }
        })
    }

    /// Whether a row names the layer.
    pub(crate) fn has_layer(&self, chain: &ChainId) -> Result<bool, Error> {
        self.db.read("look a layer up", |tx| {
            Ok(tx.prepare_cached("SELECT 1 FROM layers WHERE chain_id = ?1")?.exists([chain.to_string()])?)
        })
    }

    fn chain_id(&self, text: &str) -> Result<ChainId, Error> {
        ChainId::parse(text).ok_or_else(|| self.db.damaged("chain id", text))
    }

    fn layer(&self, root: &Path, raw: &RawLayer) -> Result<Layer, Error> {
        let blob = match &raw.blob {
            None => None,
            Some((text, bytes)) => {
                let digest = Digest::parse(text).map_err(|_| self.db.damaged("digest", text))?;
                Some(Blob { digest, bytes: u64::try_from(*bytes).unwrap_or_default() })
            }
        };
        Ok(Layer {
            chain: self.chain_id(&raw.chain)?,
            diff: DiffId::parse(&raw.diff).ok_or_else(|| self.db.damaged("diff id", &raw.diff))?,
            tree: root.join(&raw.path),
            bytes: u64::try_from(raw.bytes).unwrap_or_default(),
            blob,
            id_blocks: match &raw.id_blocks {
                None => Vec::new(),
                Some(text) => {
                    serde_json::from_str(text).map_err(|_| self.db.damaged("blocks of ids", text))?
                }
            },
        })
    }

    fn image(&self, raw: RawImage) -> Result<Image, Error> {
        let root = self.paths().root();
        Ok(Image {
            id: ImageId::parse(&raw.id).ok_or_else(|| self.db.damaged("image id", &raw.id))?,
            references: raw.references,
            repository_digests: raw.repository_digests,
            layers: raw.layers.iter().map(|raw| self.layer(root, raw)).collect::<Result<_, _>>()?,
            size_bytes: u64::try_from(raw.size).unwrap_or_default(),
            created_ns: raw.created_ns,
            config_json: raw.config_json,
        })
    }
}

/// A layer's row.
pub(crate) struct LayerRow<'a> {
    pub chain: ChainId,
    pub diff: DiffId,
    pub bytes: u64,
    pub blob: Option<&'a Blob>,
    pub id_blocks: &'a [u32],
    /// The layer below.
    pub parent: Option<ChainId>,
}

impl PlacedLayer {
    fn row<'a>(&'a self, blob: Option<&'a Blob>, parent: Option<ChainId>) -> LayerRow<'a> {
        let PlacedLayer { chain, diff, bytes, id_blocks, .. } = self;
        LayerRow { chain: *chain, diff: *diff, bytes: *bytes, blob, id_blocks, parent }
    }
}

/// Records a layer, or what wasn't known of it. `boot` is the boot that it was made in, if it isn't on the disk yet; of one
/// that has a row already, that row tells.
pub(crate) fn insert_layer(
    tx: &Transaction<'_>,
    layer: &LayerRow<'_>,
    boot: Option<&str>,
) -> rusqlite::Result<()> {
    let path = format!("layers/{}/{LAYER_TREE}", layer.chain.hex());
    let blocks = Some(layer.id_blocks).filter(|blocks| !blocks.is_empty());
    let id_blocks = blocks.and_then(|blocks| serde_json::to_string(blocks).ok());
    if let Some(blob) = layer.blob {
        insert_blob(tx, &blob.digest, blob.bytes)?;
    }
    tx.prepare_cached(
        "INSERT INTO layers (chain_id, diff_id, path, size, blob, id_blocks, parent, boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (chain_id) DO UPDATE
             SET blob = coalesce(blob, excluded.blob), parent = coalesce(parent, excluded.parent)",
    )?
    .execute(params![
        layer.chain.to_string(),
        layer.diff.to_string(),
        path,
        layer.bytes as i64,
        layer.blob.map(|blob| blob.digest.as_str()),
        id_blocks,
        layer.parent.map(|parent| parent.to_string()),
        boot,
    ])?;
    Ok(())
}

fn insert_blob(tx: &Transaction<'_>, digest: &Digest, bytes: u64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO blobs (digest, size) VALUES (?1, ?2)",
        params![digest.as_str(), bytes as i64],
    )?;
    Ok(())
}

fn insert_repository_digest(
    tx: &Transaction<'_>,
    image: &str,
    repository: &Repository,
    digest: &Digest,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO repo_digests (repository, digest, image) VALUES (?1, ?2, ?3)",
        params![repository.to_string(), digest.as_str(), image],
    )?;
    Ok(())
}

fn insert_manifest(tx: &Transaction<'_>, image: &str, manifest: &NewManifest<'_>) -> rusqlite::Result<()> {
    let digest = manifest.digest.as_str();
    tx.execute(
        "INSERT OR IGNORE INTO manifests (digest, image, media_type, bytes) VALUES (?1, ?2, ?3, ?4)",
        params![digest, image, manifest.media_type, manifest.bytes],
    )?;
    for blob in manifest.blobs {
        tx.execute(
            "INSERT OR IGNORE INTO manifest_blobs (manifest, blob) SELECT ?1, digest FROM blobs WHERE digest = ?2",
            params![digest, blob.as_str()],
        )?;
    }
    Ok(())
}

/// The image's id, and the name, with a tag or a digest, that it was found by.
fn find(tx: &Transaction<'_>, given: &str) -> Result<(String, Option<String>), Fault> {
    let digits = given.strip_prefix("sha256:").unwrap_or(given);
    if digits.len() == 64 && is_id_prefix(digits) {
        let id = format!("sha256:{digits}");
        return match tx.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([&id])? {
            true => Ok((id, None)),
            false => Err(Error::NoImage { given: given.to_owned() }.into()),
        };
    }
    let reference = Reference::parse(given);
    if let Ok(reference) = &reference
        && let Some(digest) = reference.digest()
    {
        // The digest decides, and a tag beside it is a comment.
        let id: Option<String> = tx
            .prepare_cached("SELECT image FROM repo_digests WHERE repository = ?1 AND digest = ?2 LIMIT 1")?
            .query_row([&reference.repository().to_string(), digest.as_str()], |row| row.get(0))
            .optional()?;
        let name = format!("{}@{digest}", reference.repository());
        return id
            .map(|id| (id, Some(name)))
            .ok_or_else(|| Error::NoImage { given: given.to_owned() }.into());
    }
    if let Ok(reference) = &reference {
        let name = reference.to_string();
        let id = tx
            .prepare_cached("SELECT image FROM refs WHERE name = ?1")?
            .query_row([&name], |row| row.get(0))
            .optional()?;
        if let Some(id) = id {
            return Ok((id, Some(name)));
        }
    }
    if is_id_prefix(digits) {
        return find_by_prefix(tx, given, digits).map(|id| (id, None));
    }
    let reference = reference.map_err(Error::Reference)?;
    Err(Error::NoImage { given: reference.familiar() }.into())
}

/// Takes one of several names away, and with the last tag in a repository what the image is called there by digest;
/// `None`, and nothing is done, if no name would be left.
fn untag_one(tx: &Transaction<'_>, id: &str, name: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let repository = |name: &str| Reference::parse(name).ok().map(|known| known.repository().clone());
    let own = repository(name);
    let tags: Vec<String> = references(tx, id)?.into_iter().filter(|other| other != name).collect();
    let mut digests = repository_digests(tx, id)?;
    digests.retain(|other| other != name);
    let mut gone = vec![name.to_owned()];
    if !name.contains('@') && tags.iter().all(|tag| repository(tag) != own) {
        gone.extend(digests.extract_if(.., |digest| repository(digest) == own));
    }
    if tags.is_empty() && digests.is_empty() {
        return Ok(None);
    }
    tx.execute("DELETE FROM refs WHERE name = ?1", [name])?;
    for (repository, digest) in gone.iter().filter_map(|name| name.split_once('@')) {
        tx.execute(
            "DELETE FROM repo_digests WHERE repository = ?1 AND digest = ?2 AND image = ?3",
            [repository, digest, id],
        )?;
    }
    Ok(Some(gone))
}

/// Takes all names away; what they were, tags first.
fn untag_all(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Vec<String>> {
    let names = references(tx, id)?.into_iter().chain(repository_digests(tx, id)?).collect();
    tx.execute("DELETE FROM refs WHERE image = ?1", [id])?;
    tx.execute("DELETE FROM repo_digests WHERE image = ?1", [id])?;
    Ok(names)
}

fn find_by_prefix(tx: &Transaction<'_>, given: &str, digits: &str) -> Result<String, Fault> {
    let mut query = tx.prepare_cached(&format!(
        "SELECT id FROM images WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT {MATCHES_MAX}"
    ))?;
    let prefix = format!("sha256:{digits}");
    let mut ids = query.query_map([prefix], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    if ids.len() > 1 {
        let matches = ids.iter().map(|id| short(id)).collect();
        return Err(Error::Ambiguous { what: "image", given: given.to_owned(), matches }.into());
    }
    ids.pop().ok_or_else(|| Error::NoImage { given: given.to_owned() }.into())
}

fn short(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).chars().take(SHORT_ID_DIGITS).collect()
}

fn load(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<RawImage> {
    let (config_json, size, created_ns) = tx
        .prepare_cached("SELECT config_json, size, created_ns FROM images WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut query = tx.prepare_cached(
        "SELECT chain_id, diff_id, path, layers.size, digest, blobs.size, id_blocks
         FROM image_layers JOIN layers USING (chain_id) LEFT JOIN blobs ON digest = blob
         WHERE image = ?1 ORDER BY position",
    )?;
    let layers = query.query_map([id], raw_layer)?.collect::<Result<_, _>>()?;
    let repository_digests = repository_digests(tx, id)?;
    let (id, references) = (id.to_owned(), references(tx, id)?);
    Ok(RawImage { id, config_json, size, created_ns, references, repository_digests, layers })
}

fn raw_layer(row: &rusqlite::Row<'_>) -> rusqlite::Result<RawLayer> {
    let blob = match row.get::<_, Option<String>>(4)? {
        Some(digest) => Some((digest, row.get(5)?)),
        None => None,
    };
    let (chain, diff, path, bytes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(RawLayer { chain, diff, path, bytes, blob, id_blocks: row.get(6)? })
}

/// Calls `note` for each row of a query whose first column is an image's id.
fn each(
    tx: &Transaction<'_>,
    query: &str,
    at: &HashMap<String, usize>,
    mut note: impl FnMut(usize, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = tx.prepare(query)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(at) = row.get_ref(0)?.as_str().ok().and_then(|id| at.get(id)) {
            note(*at, row)?;
        }
    }
    Ok(())
}

fn references(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Vec<String>> {
    let mut query = tx.prepare_cached("SELECT name FROM refs WHERE image = ?1 ORDER BY name")?;
    query.query_map([id], |row| row.get(0))?.collect()
}

fn set_reference(tx: &Transaction<'_>, reference: &Reference, id: &str) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO refs (name, image) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET image = excluded.image",
        params![reference.to_string(), id],
    )?;
    Ok(())
}

fn refuse_used(tx: &Transaction<'_>, id: &str, given: &str, names: &[String]) -> Result<(), Fault> {
    if names.len() > 1 {
        return Err(Error::ImageHasNames { image: short(id), names: names.to_vec() }.into());
    }
    match user_of(tx, id)? {
        Some(container) => Err(Error::ImageInUse { image: given.to_owned(), container }.into()),
        None => Ok(()),
    }
}

/// A container that was made from the image.
fn user_of(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Option<String>> {
    let mut query = tx.prepare_cached("SELECT name FROM containers WHERE image = ?1 LIMIT 1")?;
    query.query_row([id], |row| row.get(0)).optional()
}

fn repository_digests(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Vec<String>> {
    let mut query = tx.prepare_cached(
        "SELECT repository || '@' || digest FROM repo_digests WHERE image = ?1 ORDER BY repository, digest",
    )?;
    query.query_map([id], |row| row.get(0))?.collect()
}

/// Of a row of `layers`: no image, step of a build, or layer above needs it.
pub(crate) const UNUSED_LAYER: &str =
    "NOT EXISTS (SELECT 1 FROM image_layers AS own WHERE own.chain_id = layers.chain_id)
     AND NOT EXISTS (SELECT 1 FROM build_steps AS step WHERE step.chain_id = layers.chain_id)
     AND NOT EXISTS (SELECT 1 FROM layers AS above WHERE above.parent = layers.chain_id)";

/// What no row needs any more.
#[derive(Default)]
struct Unused {
    chains: Vec<String>,
    blobs: Vec<String>,
}

/// Deletes an image's rows, and those of layers and blobs that nothing needs any more, which are returned.
fn delete(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Unused> {
    tx.execute("DELETE FROM refs WHERE image = ?1", [id])?;
    let mut query =
        tx.prepare("SELECT chain_id FROM image_layers WHERE image = ?1 ORDER BY position DESC")?;
    let chains = query.query_map([id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    tx.execute("DELETE FROM images WHERE id = ?1", [id])?;
    let mut unused = Unused::default();
    for chain in chains {
        let deleted =
            tx.execute(&format!("DELETE FROM layers WHERE chain_id = ?1 AND {UNUSED_LAYER}"), [&chain])?;
        if deleted > 0 {
            unused.chains.push(chain);
        }
    }
    let mut query = tx.prepare(
        "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM layers WHERE blob = digest)
             AND NOT EXISTS (SELECT 1 FROM manifest_blobs WHERE blob = digest) RETURNING digest",
    )?;
    unused.blobs = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(unused)
}

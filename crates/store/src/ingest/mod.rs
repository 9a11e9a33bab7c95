//! Making images: from layers' archives, compressed or not, to trees, kept blobs and rows.
//!
//! Each layer is one streaming pass in two threads ([`layer`]), several layers at once; nothing is kept whole in memory.
//! The thread that has the database publishes ([`publish`]): what was made in `tmp/` is synced, moved into place, and
//! named by rows in one transaction at the end. Killed before it, complete layers and blobs stay for the next try, or for
//! [`Store::sweep`].
//!
//! Who makes a layer holds the lock of its work directory, whose name is the layer's: a second process waits for it and
//! finds the layer made. While it makes one, a thread waits for nothing but the layers below, so that no two wait for
//! each other.

mod chunks;
mod feed;
mod layer;
mod publish;

pub use feed::decompress;
pub(crate) use feed::{Hashed, create_blob, read_error};
pub(crate) use layer::{Meta, make_tree, open_blob, read_meta_of, write_meta};
pub(crate) use publish::place_blob;

use crate::error::Error;
use crate::images::{NewImage, NewManifest};
use crate::{Limits, Store};
use std::io::{self, Read};
use types::digest::{ChainId, DiffId, Digest, ImageId, Sha256};
use types::reference::{Reference, Repository};

/// Layers made at once: they keep the processors busy, and bound the memory. Docker downloads as many.
const LAYERS_AT_ONCE: usize = 3;

/// A blob: compressed, as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub bytes: u64,
}

/// A source of a layer's archive.
pub type Input<'a> = Box<dyn Read + Send + 'a>;

/// A layer to be made.
pub struct NewLayer<'a> {
    /// The digest that the uncompressed archive must have; `None`, for the topmost alone, takes any.
    pub diff: Option<DiffId>,
    /// What the input must be, byte for byte; `None` takes any.
    pub blob: Option<Blob>,
    /// Opens the input: plain, gzip or zstd, told by its first bytes. Only called where layer and blob aren't here yet.
    /// An error of its own sort comes back inside [`Error::ReadArchive`].
    pub open: Box<dyn Fn() -> io::Result<Input<'a>> + Sync + Send + 'a>,
    /// Whether `.wh.` files mean removals, as in layers; in the archive of a root file system they are files.
    pub has_whiteouts: bool,
}

impl std::fmt::Debug for NewLayer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLayer").field("diff", &self.diff).field("blob", &self.blob).finish_non_exhaustive()
    }
}

/// A manifest, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBytes {
    /// Its media type.
    pub media_type: String,
    /// The document.
    pub bytes: Vec<u8>,
    /// The blobs that it names: layers that are kept here are kept for it.
    pub blobs: Vec<Digest>,
}

/// An image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The document, whose digest is the image's id.
    pub bytes: Vec<u8>,
    /// When the image was created, in nanoseconds since the epoch.
    pub created_ns: i64,
}

/// An image to be made.
pub struct Recipe<'a> {
    /// The lowest first.
    pub layers: Vec<NewLayer<'a>>,
    /// Makes the configuration once the layers' diff ids are known.
    pub config: &'a dyn Fn(&[DiffId]) -> Configuration,
    /// Where it came from, if it came with one.
    pub manifest: Option<ManifestBytes>,
    /// What it is called in a repository: the digest it was asked for by, the manifest's or an index's.
    pub repository_digest: Option<(Repository, Digest)>,
    /// Names that it gets, and other images lose.
    pub references: Vec<Reference>,
}

/// How far one layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It is here already.
    Exists,
    /// Another process is making it.
    Waiting,
    /// So many bytes of input were read, so many came out of them.
    Reading {
        /// Bytes of input.
        read_bytes: u64,
        /// Bytes of archive.
        unpacked_bytes: u64,
    },
    /// It is unpacked, and not yet on the disk.
    Unpacked,
    /// It is in its place.
    Done,
}

/// Told how far the layer at a position is, from several threads.
pub type Watcher<'a> = &'a (dyn Fn(usize, LayerState) + Sync);

impl std::fmt::Debug for Recipe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recipe { layers, references, .. } = self;
        f.debug_struct("Recipe")
            .field("layers", layers)
            .field("references", references)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes an image, or takes the parts of it that are here, and records it.
    ///
    /// Errors: [`Error::ReadArchive`] as the inputs fail, [`Error::Layer`] around what is wrong with one layer,
    /// [`Error::ConfigText`]. Nothing is visible of an image that failed; layers of it that were complete are found by
    /// the next try.
    pub fn make_image(
        &self,
        recipe: Recipe<'_>,
        limits: &Limits,
        watcher: Watcher<'_>,
    ) -> Result<ImageId, Error> {
        self.db.require_writable("make an image")?;
        self.begin_boot()?;
        let chains = chains(&recipe.layers);
        let made = publish::make_layers(self.paths(), &recipe.layers, &chains, limits, watcher)?;
        let diffs: Vec<DiffId> = made.iter().map(|layer| layer.diff).collect();
        let Configuration { bytes, created_ns } = (recipe.config)(&diffs);
        let id = ImageId(Sha256::of(&bytes));
        let config_json = String::from_utf8(bytes).map_err(|_| Error::ConfigText)?;
        let manifest = recipe.manifest.as_ref().map(|manifest| NewManifest {
            digest: Digest::of(&manifest.bytes),
            media_type: &manifest.media_type,
            bytes: &manifest.bytes,
            blobs: &manifest.blobs,
        });
        self.insert_image(&NewImage {
            id,
            config_json: &config_json,
            created_ns,
            layers: &made,
            manifest,
            repository_digest: recipe.repository_digest.as_ref(),
            references: &recipe.references,
        })?;
        Ok(id)
    }
}

/// The chain id of each layer, as far as diff ids are known.
fn chains(layers: &[NewLayer<'_>]) -> Vec<Option<ChainId>> {
    let mut below = None;
    let mut chains = Vec::with_capacity(layers.len());
    for layer in layers {
        let chain = layer.diff.map(|diff| ChainId::stack(below, diff));
        chains.push(chain);
        below = chain;
    }
    chains
}

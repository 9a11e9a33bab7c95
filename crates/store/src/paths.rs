//! Where things lie under the store's root.

use std::path::{Path, PathBuf};
use types::digest::{Algorithm, ChainId, Digest};
use types::id::ContainerId;

/// The store's layout, as names.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Of the store at `root`, whether there is one or not.
    pub fn of(root: &Path) -> Paths {
        Paths { root: root.to_owned() }
    }

    /// The store's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("store.db")
    }

    /// Directory of unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Directory of one layer.
    pub fn layer(&self, chain: &ChainId) -> PathBuf {
        self.layers().join(chain.hex())
    }

    /// The layer's tree: a lower directory for overlayfs.
    pub fn layer_fs(&self, chain: &ChainId) -> PathBuf {
        self.layer(chain).join(LAYER_TREE)
    }

    /// Directory of the blobs whose digests this algorithm made.
    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    /// A blob: compressed, as registries have it.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    /// Directory of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What is in the volume `name`, docker's mountpoint.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join(VOLUME_DATA)
    }

    /// Directory where everything is made before it is moved into place.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Directory of containers' files.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Directory of one container, made and removed by the engine.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }
}

/// Name of a volume's content in its directory.
pub(crate) const VOLUME_DATA: &str = "_data";

/// Name of the tree in a layer's directory.
pub(crate) const LAYER_TREE: &str = "fs";

/// Name of the file in a layer's directory that tells about it.
pub(crate) const META_FILE: &str = "layer.json";

/// Name of a layer's blob in its work directory.
pub(crate) const BLOB_FILE: &str = "blob";

/// Directories made with the store.
pub(crate) const LAYOUT: [&str; 4] = ["layers", "tmp", "containers", "volumes"];

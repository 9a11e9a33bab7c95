//! What berth keeps on disk: images, their layers, records of containers.
//!
//! The store must not know networks, registries, or what runs. A [`Store`] belongs to one thread of one process and is
//! never carried over a fork; any number of processes have one each, and there is no daemon between them.
//!
//! ```text
//! <root>/
//!   store.db                 SQLite, WAL: images, names, layers, manifests, containers, volumes (schema.rs)
//!   layers/<chain id>/fs/    a layer's tree, owned by ids as in the image; beside it `layer.json`
//!   blobs/<algorithm>/<hex>  layers' archives, compressed: as a registry had them, or by us
//!   containers/<id>/         made, filled and removed by the engine
//!   cache/<hash>/<n>/data/   what builds keep for themselves (caches.rs)
//!   volumes/<name>/_data/    a volume's content, owned by ids as in the containers that use it
//!   tmp/                     everything is made here and moved into place; each directory locked by its maker
//! ```
//!
//! Invariants:
//! 1. One durable change is one transaction or one rename. Killed at any instant, the store is in the state before or
//!    after it.
//! 2. A row names only complete files. Order: make in `tmp/`, sync, rename, fsync the directory, commit the row.
//! 3. What is in `layers/` is complete, with a row or without. It is made by a rename out of `tmp/` and removed by one
//!    back.
//! 4. Committing a row that names a layer needs the layer's `flock`; so does removing a layer that no row names. Locks
//!    are taken in the order layer, then database, and die with their holder.
//! 5. A directory in `tmp/` that nobody has locked is garbage; [`Store::sweep`] removes it.
//! 6. Nothing below the root but its list of names can be read by other users: layers hold setuid programs.
//!
//! Modules:
//! - `db`: opening, transactions; `schema`: tables and migrations; `paths`: the layout
//! - `containers`, `images`, `volumes`: the rows; `volumes` has their directories and first content as well
//! - `ingest`: layers' archives to an image; `import`: a root file system's archive to one; `tar`: an archive's entries;
//!   `unpack`: entries to files
//! - `archive`: a layer's archive as it was; `check`: whether its tree is what it says
//! - `draft`: layers that builds make; `build_steps`: what builds have done; `caches`: what
//!   they keep; `boot`: what isn't on the disk yet
//! - `compressed`: archives as users have them
//! - `pack`: trees and changes to archives; `contents`: digests of what is in them; `changes`: what an overlay changed;
//!   `compare`: two stacks of layers
//! - [`listing`]: digests of what is selected of a tree, and what is remembered of its files;
//!   [`transfer`]: copying it into another tree
//! - `overlay`: overlayfs's marks, and what a stack of layers shows; `confined`, `attributes`, `inside`: files of
//!   layers, and of user namespaces
//! - [`gzip`]: for registries, by several threads
//! - `locked`, `remove`, `sweep`: work in `tmp/`, and what is left of it
#![forbid(unsafe_code)]

mod archive;
mod attributes;
mod boot;
mod build_steps;
mod caches;
pub mod changes;
mod check;
pub mod compare;
mod compressed;
mod confined;
mod containers;
mod contents;
mod db;
mod draft;
mod error;
pub mod gzip;
mod images;
mod import;
mod ingest;
mod inside;
pub mod listing;
mod locked;
mod networks;
mod overlay;
pub mod pack;
mod paths;
mod remove;
mod schema;
mod sweep;
pub mod tar;
pub mod transfer;
pub mod unpack;
mod usage;
mod volumes;

pub use archive::{Archives, LayerArchive};
pub use build_steps::{BuildStep, LayerNode, RemovedSteps};
pub use caches::{CACHE_KIND, Cache, CacheRequest, CacheUse};
pub use check::check_tree;
pub use compressed::{is_archive, plain};
pub use containers::ContainerRecord;
pub use db::Durability;
pub use draft::{Adopted, Draft, Ids, Mounted, Place};
pub use error::Error;
pub use images::{Image, ImageSummary, Layer, RemovedImage};
pub use import::architecture;
pub use ingest::{
    Blob, Configuration, Input, LayerState, ManifestBytes, NewLayer, Recipe, Watcher, decompress,
};
pub use locked::WorkDir;
pub use networks::NetworkRecord;
pub use paths::Paths;
pub use sweep::Swept;
pub use types::digest::{ChainId, DiffId, ImageId, Sha256};
pub use types::moment::rfc3339;
pub use types::reference::Reference;
pub use unpack::Limits;
pub use usage::tree_bytes;
pub use volumes::{ANONYMOUS_LABEL, Volume, VolumeLock, VolumePin, fill_in_place};

use std::path::Path;

/// Digits of an id that lists and errors show.
pub const SHORT_ID_DIGITS: usize = 12;

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: db::Db,
    /// Once [`Store::begin_boot`] is done.
    boot: std::cell::OnceCell<String>,
}

impl Store {
    fn of(db: db::Db) -> Store {
        Store { db, boot: std::cell::OnceCell::new() }
    }

    /// Opens the store at `root`, making it, or upgrading it, where needed. The directory above must exist.
    ///
    /// Errors: [`Error::OpenRoot`], [`Error::InsecureRoot`], [`Error::NewerSchema`], [`Error::Database`].
    pub fn open(root: &Path) -> Result<Store, Error> {
        db::Db::open(root).map(Store::of)
    }

    /// Opens the store at `root` to look at it: nothing is made or changed, the file system may be read-only.
    ///
    /// Errors: [`Error::NoStore`], [`Error::OpenRoot`], [`Error::NewerSchema`], [`Error::OlderSchema`],
    /// [`Error::Database`].
    pub fn open_read_only(root: &Path) -> Result<Store, Error> {
        db::Db::open_read_only(root).map(Store::of)
    }

    /// The schema's number, and what SQLite finds wrong with the database; nothing is changed.
    pub fn check_database(&self) -> Result<(i64, Vec<String>), Error> {
        self.db.check()
    }

    /// Where things lie.
    pub fn paths(&self) -> &Paths {
        self.db.paths()
    }
}

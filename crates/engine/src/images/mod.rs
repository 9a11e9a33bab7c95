//! Images: what is here, and how it comes and goes.
//!
//! - [`list`]: what is here, and all that is known of it
//! - [`name`]: giving names and taking them away, and with the last one the image
//! - [`load`]: from an archive; `archive`: what is in one; [`save`]: to an archive
//! - [`pull`], [`push`]: from and to registries
//! - [`manifest`]: what a registry has under a name
//! - [`commit`]: from a container; `change`: `--change`
//! - [`diff`]: which files of two images differ
//! - [`keep`]: which of them nothing uses, whether they are whole
//! - [`usage`]: how much they take
//! - [`login`]: signing in to registries
//! - [`copy`]: from one place to another, without what is here
//! - `layout`: archives as they are written
//! - `install`: from a manifest and where its blobs are
//! - [`progress`]: how far layers are
//!
//! Nothing here is visible to anybody before it is complete: see crate `store`.

mod archive;
pub(crate) mod change;
pub mod commit;
pub mod copy;
pub mod diff;
pub(crate) mod healthcheck;
pub(crate) mod install;
pub mod keep;
mod layout;
pub mod list;
pub mod load;
pub mod login;
pub mod manifest;
pub mod name;
pub mod progress;
pub mod pull;
pub mod push;
pub mod save;
pub mod usage;

pub use commit::{CommitRequest, commit};
pub use list::{HistoryStep, Listed, history, inspect, list};
pub use load::{Loaded, load};
pub use name::{Removed, remove, tag};
pub use progress::Progress;
pub use pull::{PullRequest, Pulled, pull};
pub use push::{PushState, PushedImage, push};
pub use registry::Pushed;
pub use save::save;

use crate::{Error, Home};
use types::image::Platform;
use types::reference::Reference;

/// A name as docker completes it.
pub fn reference(text: &str) -> Result<Reference, Error> {
    Ok(Reference::parse(text).map_err(store::Error::Reference)?)
}

/// The machine that berth runs on.
pub fn host_platform() -> Platform {
    Platform::host(std::env::consts::ARCH)
}

/// Opens the store to change it, made with what is above it where that is missing.
pub(crate) fn open_store(home: &Home) -> Result<store::Store, Error> {
    if let Some(above) = home.root.parent() {
        crate::claims::make_private_dir(above)?;
    }
    Ok(store::Store::open(&home.root)?)
}

/// Opens the store to look at it; `None` if there is none yet.
pub(crate) fn look_at_store(home: &Home) -> Result<Option<store::Store>, Error> {
    match store::Store::open_read_only(&home.root) {
        Ok(store) => Ok(Some(store)),
        Err(store::Error::NoStore { .. }) => Ok(None),
        // One of an older berth is upgraded.
        Err(store::Error::OlderSchema { .. }) => Ok(Some(store::Store::open(&home.root)?)),
        Err(error) => Err(error.into()),
    }
}

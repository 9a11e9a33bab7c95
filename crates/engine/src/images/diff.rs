//! `berth image diff`: the files in which two images differ, and which layers made them differ.

use super::list::{config, find};
use crate::{Error, Home};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use store::compare::{self, Origin};
use store::{ChainId, Image};

pub use store::changes::ChangeKind;

/// A layer, as differences name it.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerName {
    /// `A` for the first image, `B` for the second.
    pub image: char,
    /// Its number there, the lowest being 1.
    pub number: usize,
    /// `sha256:…`, of its archive.
    pub diff_id: String,
    /// What made it, as the image's history says.
    pub created_by: String,
}

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// From the root.
    pub path: String,
    /// What became of it, from the first image to the second.
    pub kind: ChangeKind,
    /// In what it differs, if both have it: `type`, `content`, `mode`, `owner`, `device`, `attributes`.
    pub aspects: Vec<&'static str>,
    /// Bytes of a regular file in the first image.
    pub old_bytes: Option<u64>,
    /// Bytes of a regular file in the second image.
    pub new_bytes: Option<u64>,
    /// The layer that made the difference.
    pub layer: Rc<LayerName>,
}

/// The differences from image `a` to image `b`, by path. Layers that both have aren't read.
pub fn diff(home: &Home, a: &str, b: &str) -> Result<Vec<FileDifference>, Error> {
    let store = super::open_store(home)?;
    let images = [find(home, a)?, find(home, b)?];
    let mut held = Vec::new();
    for image in &images {
        held.extend(store.pin_layers(image)?);
    }
    let mut open: HashMap<ChainId, OwnedFd> = HashMap::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        if let Entry::Vacant(place) = open.entry(layer.chain) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let tree = openat(CWD, &layer.tree, flags, Mode::empty())
                .map_err(|errno| Error::system("read layer", layer.tree.display(), errno))?;
            place.insert(tree);
        }
    }
    let stack = |image: &Image| -> Vec<BorrowedFd<'_>> {
        image.layers.iter().rev().filter_map(|layer| open.get(&layer.chain)).map(AsFd::as_fd).collect()
    };
    let names = [names(&images[0], 'A')?, names(&images[1], 'B')?];
    let found = compare::compare(&stack(&images[0]), &stack(&images[1]))?;
    let named = |origin| match origin {
        Origin::Old(at) => Rc::clone(&names[0][at]),
        Origin::New(at) => Rc::clone(&names[1][at]),
    };
    let difference = |found: compare::Difference| FileDifference {
        path: String::from_utf8_lossy(&found.path).into_owned(),
        kind: found.kind,
        aspects: found.aspects.iter().map(|aspect| aspect.word()).collect(),
        old_bytes: found.old_bytes,
        new_bytes: found.new_bytes,
        layer: named(found.origin),
    };
    Ok(found.into_iter().map(difference).collect())
}

/// The names of an image's layers, the topmost first.
fn names(image: &Image, letter: char) -> Result<Vec<Rc<LayerName>>, Error> {
    let config = config(image)?;
    let mut steps = config.history.iter().filter(|step| !step.empty_layer);
    let mut names: Vec<_> = image
        .layers
        .iter()
        .enumerate()
        .map(|(at, layer)| {
            Rc::new(LayerName {
                image: letter,
                number: at + 1,
                diff_id: layer.diff.to_string(),
                created_by: steps.next().map(|step| step.created_by.clone()).unwrap_or_default(),
            })
        })
        .collect();
    names.reverse();
    Ok(names)
}

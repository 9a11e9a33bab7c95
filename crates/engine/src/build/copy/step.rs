//! Copies between trees as steps have them: contexts and layers of the store.

use super::{Copied, Origin, Selected};
use crate::build::notes::Notes;
use crate::images::open_store;
use crate::{Error, Home, snapshot};
use build::op::{self, Ignored, Made, Tree};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use store::transfer::Target;
use store::{Draft, Store};
use types::digest::ChainId;

/// A tree that is copied from, and what holds it in its place meanwhile.
struct Held {
    origin: Origin,
    _pins: Vec<OwnedFd>,
}

/// What a copy takes of its second input, for its key.
///
/// Errors: as [`super::select`].
pub fn selected(home: &Home, copy: &op::Copy, from: Option<(&Tree, &Ignored)>) -> Result<Selected, Error> {
    let held = from.map(|(tree, ignored)| open(home, tree, ignored)).transpose()?.flatten();
    let notes = Notes::of(home)?;
    super::select(copy, held.as_ref().map(|held| &held.origin), &notes)
}

/// Does a copy: the first of its inputs is the tree that it's copied to. No time of a file is later than `epoch`, in seconds.
/// With what to warn of.
///
/// Errors: as [`super::copy`]; those of drafts.
pub fn copied(
    home: &Home,
    copy: &op::Copy,
    inputs: &[Tree],
    ignored: &[&[String]],
    epoch: Option<i64>,
) -> Result<(Made, Vec<String>), Error> {
    let store = open_store(home)?;
    let held = match inputs.get(1) {
        None => None,
        Some(tree) => open_with(&store, tree, ignored.get(1).copied().unwrap_or_default())?,
    };
    let notes = Notes::of(home)?;
    let base = chain_of(inputs.first())?;
    let origin = held.as_ref().map(|held| &held.origin);
    let (draft, Copied { digest, warnings }) = if copy.is_linked {
        let draft = store.linked_draft(base.as_ref())?;
        let accounts = view(&store, base.as_ref())?;
        let target = Target::new(draft.mount()?);
        let accounts = accounts.as_ref().map_or(target.root(), AsFd::as_fd);
        let copied = super::copy(copy, origin, &target, accounts, &notes)?;
        (draft, copied)
    } else {
        let draft = store.draft(base.as_ref())?;
        let target = Target::new(draft.mount()?);
        let copied = super::copy(copy, origin, &target, target.root(), &notes)?;
        (draft, copied)
    };
    let made = Made { selected: Some(digest), ..adopted(&store, draft, epoch)? };
    Ok((made, warnings))
}

/// Makes a directory (`WORKDIR`) in the first input. With what to warn of.
///
/// Errors: as [`super::make_directory`]; those of drafts.
pub fn made_directory(
    home: &Home,
    path: &str,
    owner: &str,
    inputs: &[Tree],
    epoch: Option<i64>,
) -> Result<(Made, Vec<String>), Error> {
    let store = open_store(home)?;
    let draft = store.draft(chain_of(inputs.first())?.as_ref())?;
    let warnings = super::make_directory(path, owner, &Target::new(draft.mount()?))?;
    Ok((adopted(&store, draft, epoch)?, warnings))
}

fn adopted(store: &Store, draft: Draft, epoch: Option<i64>) -> Result<Made, Error> {
    if let Some(epoch) = epoch {
        draft.clamp_times(epoch)?;
    }
    let adopted = store.adopt(draft)?;
    Ok(Made {
        tree: adopted.chain.map_or(Tree::Scratch, |chain| Tree::Layers(chain.to_string())),
        content: adopted.content.hex(),
        diff_id: (!adopted.is_empty).then(|| adopted.diff.to_string()),
        size: adopted.size_bytes,
        is_empty: adopted.is_empty,
        selected: None,
    })
}

/// A tree to be read; `None` for nothing.
fn open(home: &Home, tree: &Tree, ignored: &[String]) -> Result<Option<Held>, Error> {
    match tree {
        Tree::Layers(_) => open_with(&open_store(home)?, tree, ignored),
        Tree::Scratch => Ok(None),
        Tree::Directory(path) => {
            Ok(Some(Held { origin: Origin::directory(path, ignored)?, _pins: Vec::new() }))
        }
    }
}

fn open_with(store: &Store, tree: &Tree, ignored: &[String]) -> Result<Option<Held>, Error> {
    let chain = match tree {
        Tree::Scratch => return Ok(None),
        Tree::Directory(path) => {
            return Ok(Some(Held { origin: Origin::directory(path, ignored)?, _pins: Vec::new() }));
        }
        Tree::Layers(chain) => chain,
    };
    let parsed = parse(chain)?;
    let pins = store.pin_chain(&parsed)?;
    let layers = store.paths().layers();
    let device =
        rustix::fs::stat(&layers).map_err(|errno| Error::system("look at", layers.display(), errno))?;
    let view = view(store, Some(&parsed))?;
    let origin = view.map(|view| Origin::layers(view, chain, device.st_dev));
    Ok(origin.map(|origin| Held { origin, _pins: pins }))
}

fn parse(chain: &str) -> Result<ChainId, Error> {
    ChainId::parse(chain).ok_or_else(|| Error::invalid(chain, "it is no chain id"))
}

fn chain_of(tree: Option<&Tree>) -> Result<Option<ChainId>, Error> {
    match tree {
        Some(Tree::Layers(chain)) => parse(chain).map(Some),
        Some(Tree::Scratch) | None => Ok(None),
        Some(Tree::Directory(path)) => {
            Err(Error::invalid(path.display().to_string(), "a build's context isn't copied to"))
        }
    }
}

/// All of a stack of layers as one tree, mounted nowhere.
fn view(store: &Store, chain: Option<&ChainId>) -> Result<Option<OwnedFd>, Error> {
    let Some(chain) = chain else { return Ok(None) };
    let layers: Vec<PathBuf> = store.layers_of(chain)?.into_iter().map(|layer| layer.tree).collect();
    match layers.as_slice() {
        [] => Ok(None),
        // Mounts aren't needed to read one.
        [only] => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(only, flags, Mode::empty());
            opened.map(Some).map_err(|errno| Error::system("open", only.display(), errno))
        }
        layers => snapshot::view_of(layers, None).map(Some),
    }
}

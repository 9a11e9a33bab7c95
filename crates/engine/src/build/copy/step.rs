//! Copies between trees as steps have them: contexts and layers of the store.

use super::{Copied, Origin, Selected};
use crate::build::adopted;
use crate::build::notes::Notes;
use crate::images::open_store;
use crate::{Error, Home, snapshot};
use build::op::{self, Ignored, Made, Tree};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use store::Store;
use store::transfer::Target;
use types::digest::ChainId;

/// A tree that is copied from, and what holds it in its place meanwhile.
#[derive(Debug)]
pub struct Held {
    origin: Origin,
    _pins: Vec<OwnedFd>,
}

impl Held {
    /// The tree.
    pub fn tree(&self) -> &store::listing::Tree {
        &self.origin.tree
    }
}

/// A tree, to be read as it is; `None` for nothing.
///
/// Errors: [`Error::Store`].
pub fn tree_of(home: &Home, tree: &Tree) -> Result<Option<Held>, Error> {
    open(home, tree, &[])
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

#[cfg(test)]
mod tests {
    use super::*;
    use build::op::CopySource;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;

    struct Bench {
        dir: tempfile::TempDir,
        home: Home,
    }

    impl Bench {
        fn new(files: &[&str]) -> Bench {
            let dir = tempfile::tempdir().unwrap();
            let home =
                Home { root: dir.path().join("root/berth"), run: dir.path().join("run"), ..Home::default() };
            std::fs::create_dir(dir.path().join("root")).unwrap();
            let bench = Bench { dir, home };
            files.iter().for_each(|file| bench.write(file, file));
            bench
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.dir.path().join("context").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn context(&self) -> Tree {
            Tree::Directory(self.dir.path().join("context"))
        }

        fn copy(&self, copy: &op::Copy, base: &Tree, from: &Tree) -> Made {
            let made = copied(&self.home, copy, &[base.clone(), from.clone()], &[&[], &[]], None).unwrap().0;
            let selected = selected(&self.home, copy, Some((from, &Vec::new()))).unwrap();
            assert_eq!(made.selected.as_ref(), Some(&selected.digest));
            made
        }

        /// Where the topmost layer of a tree lies.
        fn layer(&self, tree: &Tree) -> PathBuf {
            let Tree::Layers(chain) = tree else { panic!("{tree:?}") };
            let store = Store::open(&self.home.root).unwrap();
            store.layers_of(&ChainId::parse(chain).unwrap()).unwrap().pop().unwrap().tree
        }
    }

    fn op(pattern: &str, to: &str) -> op::Copy {
        op::Copy::plain(vec![CopySource::Input { pattern: pattern.to_owned() }], to)
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_copy_is_a_layer_and_equal_ones_are_one() {
        let bench = Bench::new(&["a", "d/b"]);
        let first = bench.copy(&op(".", "/app/"), &Tree::Scratch, &bench.context());
        let layer = bench.layer(&first.tree);
        assert_eq!((text(&layer.join("app/a")), text(&layer.join("app/d/b"))), ("a".into(), "d/b".into()));
        assert!(!first.is_empty && first.size == 4);
        let again = bench.copy(&op(".", "/app/"), &Tree::Scratch, &bench.context());
        assert_eq!((&again.content, &again.selected), (&first.content, &first.selected));
        bench.write("a", "other");
        let changed = bench.copy(&op(".", "/app/"), &Tree::Scratch, &bench.context());
        assert_ne!(changed.content, first.content);
        // A file over the same one.
        let over = bench.copy(&op("a", "/app/"), &changed.tree, &bench.context());
        assert_eq!(text(&bench.layer(&over.tree).join("app/a")), "other");
    }

    #[test]
    fn layers_are_copied_from_with_their_owners() {
        let bench = Bench::new(&["a", "d/b"]);
        let owned = op::Copy { chown: "3:4".to_owned(), ..op(".", "/x/") };
        let stage = bench.copy(&owned, &Tree::Scratch, &bench.context());
        bench.write("a", "upper");
        // Two layers, the upper one of which hides a file of the lower.
        let stage = bench.copy(&op("a", "/x/"), &stage.tree, &bench.context());
        let from = op::Copy { keeps_owner: true, ..op("/x", "/y") };
        let made = bench.copy(&from, &Tree::Scratch, &stage.tree);
        let layer = bench.layer(&made.tree);
        let owner = |path: &str| {
            let stat = std::fs::metadata(layer.join(path)).unwrap();
            (stat.uid(), stat.gid())
        };
        assert_eq!((owner("y/a"), owner("y/d"), owner("y/d/b")), ((0, 0), (3, 4), (3, 4)));
        assert_eq!(text(&layer.join("y/a")), "upper");
        let one =
            bench.copy(&op::Copy { keeps_owner: true, ..op("x/d/*", "/z/") }, &Tree::Scratch, &stage.tree);
        assert_eq!(text(&bench.layer(&one.tree).join("z/b")), "d/b");
        let missing = selected(&bench.home, &op("/x/nope", "/y"), Some((&stage.tree, &Vec::new())));
        let message = missing.unwrap_err().to_string();
        assert_eq!(message, "\"/x/nope\" not found in the image or stage that it copies from");
    }

    #[test]
    fn a_linked_copy_is_the_same_over_any_base() {
        let bench = Bench::new(&["a", "real/x"]);
        symlink("real", bench.dir.path().join("context/link")).unwrap();
        let base = bench.copy(&op(".", "/"), &Tree::Scratch, &bench.context());
        let plain = bench.copy(&op("a", "/link/"), &base.tree, &bench.context());
        assert_eq!(text(&bench.layer(&plain.tree).join("real/a")), "a");
        let linked = op::Copy { is_linked: true, ..op("a", "/link/") };
        let over_base = bench.copy(&linked, &base.tree, &bench.context());
        assert_eq!(text(&bench.layer(&over_base.tree).join("link/a")), "a");
        let over_nothing = bench.copy(&linked, &Tree::Scratch, &bench.context());
        assert_eq!(over_base.content, over_nothing.content);
    }

    #[test]
    fn a_directory_that_is_there_makes_no_layer() {
        let bench = Bench::new(&["d/b"]);
        let base = bench.copy(&op(".", "/"), &Tree::Scratch, &bench.context()).tree;
        let made = made_directory(&bench.home, "/d", "", std::slice::from_ref(&base), None).unwrap().0;
        assert!(made.is_empty && made.tree == base && made.diff_id.is_none());
        let made = made_directory(&bench.home, "/d/e/f", "5:6", std::slice::from_ref(&base), None).unwrap().0;
        let stat = std::fs::metadata(bench.layer(&made.tree).join("d/e/f")).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (5, 6, 0o755));
        let nothing = bench.copy(&op("none*", "/x/"), &base, &bench.context());
        assert!(nothing.is_empty && nothing.tree == base);
    }

    #[test]
    fn what_is_ignored_is_no_part_of_a_key() {
        let bench = Bench::new(&["a", "log/x"]);
        let ignored = vec!["log".to_owned()];
        let digest = || selected(&bench.home, &op(".", "/"), Some((&bench.context(), &ignored))).unwrap();
        let before = digest();
        bench.write("log/x", "2");
        assert_eq!(digest(), before);
        bench.write("a", "2");
        let after = digest();
        let (found, _) = before.list.differences(&after.list, 9);
        assert_eq!(found.iter().map(|d| d.path.as_slice()).collect::<Vec<_>>(), [b"a"]);
    }
}

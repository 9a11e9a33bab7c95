//! A store of one's own, and a canary beside it.

use std::path::{Path, PathBuf};
use store::{ContainerRecord, Error, Image, ImageId, Reference, Store};
use types::id::ContainerId;

/// A store in a directory of its own, removed at the end.
pub struct Scratch {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Scratch {
    pub fn new() -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Scratch { dir, store }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Imports without a name.
    pub fn import(&self, archive: &[u8]) -> Result<ImageId, Error> {
        self.store.import(&mut &archive[..], None, "test", &|_| {})
    }

    /// Imports and resolves; the image's only tree comes with it.
    pub fn imported(&self, archive: &[u8]) -> (Image, PathBuf) {
        let id = self.import(archive).unwrap();
        let image = self.store.resolve_image(&id.to_string()).unwrap();
        let tree = image.layers[0].tree.clone();
        (image, tree)
    }

    /// Checks that neither `tmp/` nor a layer without a row is left.
    pub fn assert_clean(&self) {
        assert_eq!(names(&self.root().join("tmp")), Vec::<String>::new(), "left in tmp");
        let mut wanted: Vec<String> = self
            .store
            .images()
            .unwrap()
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| layer.tree.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        wanted.sort();
        wanted.dedup();
        assert_eq!(names(&self.root().join("layers")), wanted, "layers and rows differ");
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub fn container(byte: u8, name: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from_random([byte; 32]),
        name: name.to_owned(),
        image: None,
        created_ns: i64::from(byte),
        config_json: "{}".to_owned(),
        started: true,
    }
}

/// This test program, set to run the one test `name` as a child with `BERTH_TEST_ROOT` naming the store.
pub fn child(name: &str, root: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env("BERTH_TEST_ROOT", root);
    command
}

/// The store that a parent test passed; `None` where a child's test is run by itself, which then does nothing.
pub fn child_root() -> Option<PathBuf> {
    std::env::var_os("BERTH_TEST_ROOT").map(PathBuf::from)
}

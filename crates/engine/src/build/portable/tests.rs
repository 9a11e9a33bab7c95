//! Caches that are carried from one store to another.

use super::mounts::open_cache;
use super::*;
use crate::Home;
use crate::build::copy::copied;
use build::op::{self, CopySource, Made, Unpack};

#[test]
fn caches_are_read_as_buildx_reads_them() {
    let to = |text: &str| CacheTo::parse(text).unwrap();
    let plain = CacheTo { dest: "d".into(), is_max: false, ignores_errors: false };
    assert_eq!(to("type=local,dest=d"), plain);
    assert_eq!(
        to("type=local,mode=max,dest=d,ignore-error=true,compression=zstd"),
        CacheTo { is_max: true, ignores_errors: true, ..plain }
    );
    assert_eq!(CacheFrom::parse("type=local,src=d").unwrap(), CacheFrom::Local("d".into()));
    let registry = CacheFrom::Unsupported("type=registry,ref=img".to_owned());
    assert_eq!(CacheFrom::parse("img").unwrap(), registry);
    for bad in ["type=local", "type=gha", "inline", "type=local,dest=d,mode=x", "type=local,dest=d,what=x"] {
        assert!(CacheTo::parse(bad).is_err(), "{bad}");
    }
    assert!(CacheFrom::parse("type=local").is_err());
}

struct Machine {
    dir: tempfile::TempDir,
    home: Home,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let home =
            Home { root: dir.path().join("root/berth"), run: dir.path().join("run"), ..Home::default() };
        std::fs::create_dir_all(dir.path().join("root")).unwrap();
        std::fs::create_dir_all(dir.path().join("context/d")).unwrap();
        Machine { dir, home }
    }

    fn store(&self) -> Store {
        crate::images::open_store(&self.home).unwrap()
    }

    /// Copies a file of this content over a tree, as a step that is found by `key`.
    fn step(&self, key: &str, base: &Tree, content: &str) -> Made {
        std::fs::write(self.dir.path().join("context/d").join(key), content).unwrap();
        let copy = op::Copy {
            sources: vec![CopySource::Input { pattern: "d".to_owned() }],
            to: format!("/{key}"),
            chown: "3:4".to_owned(),
            chmod: String::new(),
            keeps_owner: false,
            excludes: Vec::new(),
            has_parents: false,
            is_linked: false,
            unpack: Unpack::Never,
            mtime: None,
        };
        let inputs = [base.clone(), Tree::Directory(self.dir.path().join("context"))];
        let made = copied(&self.home, &copy, &inputs, &[&[], &[]], None).unwrap().0;
        let Tree::Layers(chain) = &made.tree else { panic!("{made:?}") };
        let step = BuildStep {
            key: key.to_owned(),
            chain: ChainId::parse(chain),
            content: made.content.clone(),
            diff: made.diff_id.as_deref().and_then(DiffId::parse),
            size_bytes: made.size,
            is_empty: made.is_empty,
            kind: "regular".to_owned(),
            description: format!("COPY {key}"),
            detail: serde_json::to_string(&made).unwrap(),
            created_ns: 7,
            used_ns: 8,
            uses: 0,
        };
        self.store().put_step(&step).unwrap();
        made
    }

    fn imported(&self, from: &Path) -> Imported {
        let opened = Opened::read(from.to_owned()).unwrap();
        Imported { dirs: vec![opened] }
    }
}

fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn wanted<'a>(keys: &'a BTreeSet<String>, result: &'a Tree) -> Wanted<'a> {
    const NONE: &BTreeSet<String> = &BTreeSet::new();
    Wanted { keys, mounts: NONE, result }
}

#[test]
fn caches_of_programs_come_along() {
    let (one, other) = (Machine::new(), Machine::new());
    let mount = Mount {
        name: "n".to_owned(),
        description: "cached mount /c with id \"c\"".to_owned(),
        mode: 0o711,
        uid: 5,
        gid: 6,
    };
    let empty = tempfile::tempdir().unwrap();
    let begin = || Ok(File::open(empty.path()).unwrap().into());
    let cache = open_cache(&one.store(), "n", &mount.description, Some((&mount, &begin))).unwrap().unwrap();
    std::fs::create_dir(cache.data.join("d")).unwrap();
    std::fs::write(cache.data.join("d/f"), "kept").unwrap();
    std::os::unix::fs::chown(cache.data.join("d/f"), Some(7), Some(8)).unwrap();
    drop(cache);
    let dest = one.dir.path().join("cache");
    let to = CacheTo { dest: dest.clone(), is_max: true, ignores_errors: false };
    let (keys, mounts) = (keys(&[]), keys(&["c", "other"]));
    export(&one.store(), &to, Wanted { keys: &keys, mounts: &mounts, result: &Tree::Scratch }).unwrap();
    other.imported(&dest).bring_mounts(&other.store()).unwrap();
    let read = |expected: &str| {
        let cache = open_cache(&other.store(), "n", "", None).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(cache.data.join("d/f")).unwrap(), expected);
        cache.data
    };
    let data = read("kept");
    let stat = std::fs::metadata(&data).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o711, 5, 6));
    assert_eq!(std::fs::metadata(data.join("d/f")).unwrap().uid(), 7);
    // What is here already stays.
    std::fs::write(data.join("d/f"), "newer").unwrap();
    other.imported(&dest).bring_mounts(&other.store()).unwrap();
    read("newer");
}

/// A cache of two steps, one over the other, and of one beside them.
fn cache(is_max: bool) -> (Machine, PathBuf) {
    let one = Machine::new();
    let lower = one.step("lower", &Tree::Scratch, "1");
    let upper = one.step("upper", &lower.tree, "2");
    one.step("beside", &Tree::Scratch, "3");
    let dest = one.dir.path().join("cache");
    let to = CacheTo { dest: dest.clone(), is_max, ignores_errors: false };
    export(&one.store(), &to, wanted(&keys(&["lower", "upper", "beside", "nobody"]), &upper.tree)).unwrap();
    (one, dest)
}

#[test]
fn a_step_comes_with_its_layers_to_another_machine() {
    let (one, dest) = cache(true);
    let other = Machine::new();
    let imported = other.imported(&dest);
    let store = other.store();
    assert_eq!(imported.bring(&store, "nobody").unwrap(), None);
    let step = imported.bring(&store, "upper").unwrap().unwrap();
    let expected = one.store().find_step("upper").unwrap().unwrap();
    assert_eq!((step.chain, &step.detail, step.created_ns), (expected.chain, &expected.detail, 7));
    let tree = store.layers_of(&step.chain.unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(tree[1].tree.join("upper/upper")).unwrap(), "2");
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(tree[0].tree.join("lower/lower")).unwrap());
    assert_eq!(owner, 3);
    assert!(store.find_step("upper").unwrap().is_some() && store.find_step("beside").unwrap().is_none());
    assert!(imported.bring(&store, "beside").unwrap().is_some());
}

#[test]
fn the_small_cache_has_what_the_result_has() {
    let (_one, dest) = cache(false);
    let other = Machine::new();
    let imported = other.imported(&dest);
    assert_eq!(imported.bring(&other.store(), "beside").unwrap(), None);
    assert!(imported.bring(&other.store(), "lower").unwrap().is_some());
    assert_eq!(std::fs::read_dir(dest.join(LAYERS)).unwrap().count(), 2);
}

#[test]
fn a_layer_that_is_not_what_it_should_be_is_not_used() {
    let (_one, dest) = cache(true);
    for layer in std::fs::read_dir(dest.join(LAYERS)).unwrap() {
        let path = layer.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let other = Machine::new();
    let imported = other.imported(&dest);
    for key in ["upper", "lower", "beside"] {
        assert_eq!(imported.bring(&other.store(), key).unwrap(), None, "{key}");
        assert_eq!(other.store().find_step(key).unwrap(), None);
    }
    // A chain id that its layers don't make.
    let (_one, dest) = cache(true);
    let index = std::fs::read_to_string(dest.join(INDEX)).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&index).unwrap();
    for step in value["steps"].as_array_mut().unwrap() {
        let last = step["layers"].as_array_mut().unwrap().last_mut().unwrap();
        last["chain"] = format!("sha256:{}", "0".repeat(64)).into();
    }
    std::fs::write(dest.join(INDEX), value.to_string()).unwrap();
    let imported = other.imported(&dest);
    assert_eq!(imported.bring(&other.store(), "upper").unwrap(), None);
    assert!(Opened::read(dest.join("nowhere")).is_err());
}

#[test]
fn what_no_step_needs_any_more_goes_from_the_directory() {
    let (one, dest) = cache(true);
    assert_eq!(std::fs::read_dir(dest.join(LAYERS)).unwrap().count(), 3);
    let to = CacheTo { dest: dest.clone(), is_max: true, ignores_errors: false };
    export(&one.store(), &to, wanted(&keys(&["beside"]), &Tree::Scratch)).unwrap();
    assert_eq!(std::fs::read_dir(dest.join(LAYERS)).unwrap().count(), 1);
}

//! Layers that builds make: drafts, steps, images of them.

use crate::archive::{file, tar};
use crate::support::{Scratch, reference};
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use store::{Adopted, BuildStep, ChainId, Configuration, Draft, Error, Ids, ImageId, Place, Sha256, Store};
use store::{CacheRequest, CacheUse};

/// A path below what is mounted nowhere.
fn at(mount: &OwnedFd, path: &str) -> PathBuf {
    Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()).join(path)
}

fn fill(draft: &Draft, work: impl FnOnce(&OwnedFd)) {
    let mount = draft.mount().unwrap();
    work(&mount);
}

fn make(store: &Store, base: Option<&ChainId>, work: impl FnOnce(&OwnedFd)) -> Adopted {
    let draft = store.draft(base).unwrap();
    fill(&draft, work);
    store.adopt(draft).unwrap()
}

/// The chain of a layer that nobody holds.
fn made(store: &Store, base: &ChainId, file: &str) -> ChainId {
    make(store, Some(base), |mount| fs::write(at(mount, file), file).unwrap()).chain.unwrap()
}

fn base(scratch: &Scratch) -> ChainId {
    let id =
        scratch.import(&tar(&[file("etc/conf", "old"), file("etc/other", "x"), file("gone", "g")])).unwrap();
    let image = scratch.store.resolve_image(&id.to_string()).unwrap();
    image.layers.last().unwrap().chain
}

fn step(key: &str, chain: Option<ChainId>) -> BuildStep {
    BuildStep {
        key: key.to_owned(),
        chain,
        content: "c".to_owned(),
        diff: None,
        size_bytes: 1,
        is_empty: false,
        kind: "regular".to_owned(),
        description: "RUN x".to_owned(),
        detail: "{}".to_owned(),
        created_ns: 1,
        used_ns: 1,
        uses: 0,
    }
}

fn name(store: &Store, chain: &ChainId, name: &str) -> ImageId {
    let bytes = format!("{{\"os\":\"linux\",\"config\":{{}},\"name\":\"{name}\"}}").into_bytes();
    store.name_image(Some(chain), &Configuration { bytes, created_ns: 1 }, &[reference(name)]).unwrap()
}

fn archive_of(store: &Store, image: &ImageId) -> Vec<u8> {
    let image = store.resolve_image(&image.to_string()).unwrap();
    let mut bytes = Vec::new();
    let mut archive = store.open_archive(image.layers.last().unwrap()).unwrap();
    archive.read_to_end(&mut bytes).unwrap();
    assert_eq!(archive.length(), bytes.len() as u64);
    bytes
}

#[test]
fn a_draft_becomes_a_layer_with_the_diff_id_of_its_archive() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let adopted = make(&scratch.store, Some(&base), |mount| {
        fs::write(at(mount, "etc/conf"), "new").unwrap();
        fs::remove_file(at(mount, "gone")).unwrap();
        fs::create_dir(at(mount, "made")).unwrap();
        fs::write(at(mount, "made/a"), vec![7; 300_000]).unwrap();
        fs::hard_link(at(mount, "made/a"), at(mount, "made/b")).unwrap();
        chown(at(mount, "made/b"), Some(70_000), Some(3)).unwrap();
        symlink("a", at(mount, "made/link")).unwrap();
    });
    assert!(!adopted.is_empty);
    assert_eq!(adopted.size_bytes, 300_003);
    let chain = adopted.chain.unwrap();
    assert_eq!(chain, ChainId::stack(Some(base), adopted.diff));
    let layers = scratch.store.layers_of(&chain).unwrap();
    assert_eq!(layers.iter().map(|layer| layer.chain).collect::<Vec<_>>(), [base, chain]);
    assert_eq!(layers[1].id_blocks, [1]);
    assert_eq!(fs::read(layers[1].tree.join("etc/conf")).unwrap(), b"new");
    assert_eq!(fs::metadata(layers[1].tree.join("made/a")).unwrap().uid(), 70_000);

    let image = name(&scratch.store, &chain, "built");
    let archive = archive_of(&scratch.store, &image);
    assert_eq!(Sha256::of(&archive), adopted.diff.0);
    // Loaded elsewhere, the archive is the same layer.
    let other = Scratch::new();
    let id = other.import(&archive).unwrap();
    let loaded = other.store.resolve_image(&id.to_string()).unwrap();
    assert_eq!(loaded.layers[0].diff, adopted.diff);
}

#[test]
fn what_changes_nothing_makes_no_layer() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let adopted = make(&scratch.store, Some(&base), |mount| {
        fs::write(at(mount, "f"), "x").unwrap();
        fs::remove_file(at(mount, "f")).unwrap();
    });
    assert!(adopted.is_empty);
    assert_eq!(adopted.chain, Some(base));
    let nothing = make(&scratch.store, None, |_| {});
    assert_eq!((nothing.chain, nothing.is_empty), (None, true));
    assert_eq!(fs::read_dir(scratch.store.paths().tmp()).unwrap().count(), 0);
}

#[test]
fn times_are_in_the_diff_id_and_not_in_the_content_digest() {
    let scratch = Scratch::new();
    let write = |content: &str, seconds: i64| {
        make(&scratch.store, None, |mount| {
            fs::write(at(mount, "f"), content).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
            fs::File::options().write(true).open(at(mount, "f")).unwrap().set_modified(time).unwrap();
        })
    };
    let (one, again, later, other) = (write("a", 1), write("a", 1), write("a", 2), write("b", 1));
    assert_eq!(one.chain, again.chain);
    assert_ne!(one.chain, later.chain);
    assert_eq!(one.content, later.content);
    assert_ne!(one.content, other.content);
}

#[test]
fn a_linked_draft_is_the_same_layer_over_any_base() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let link = |base: Option<&ChainId>| {
        let draft = scratch.store.linked_draft(base).unwrap();
        fill(&draft, |mount| {
            assert!(!at(mount, "etc").exists());
            fs::create_dir(at(mount, "etc")).unwrap();
            fs::write(at(mount, "etc/conf"), "new").unwrap();
            let epoch = std::time::UNIX_EPOCH;
            fs::File::options().write(true).open(at(mount, "etc/conf")).unwrap().set_modified(epoch).unwrap();
            fs::File::open(at(mount, "etc")).unwrap().set_modified(epoch).unwrap();
        });
        scratch.store.adopt(draft).unwrap()
    };
    let (over, alone) = (link(Some(&base)), link(None));
    assert_eq!(over.diff, alone.diff);
    assert_eq!(over.chain, Some(ChainId::stack(Some(base), over.diff)));
    let image = name(&scratch.store, &over.chain.unwrap(), "linked");
    assert_eq!(Sha256::of(&archive_of(&scratch.store, &image)), over.diff.0);
}

#[test]
fn layers_stay_while_a_step_or_an_image_has_them() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let lower = made(&scratch.store, &base, "1");
    let upper = made(&scratch.store, &lower, "2");
    scratch.store.put_step(&step("upper", Some(upper))).unwrap();
    assert_eq!(scratch.store.find_step("upper").unwrap().unwrap().chain, Some(upper));
    name(&scratch.store, &lower, "lower");
    // The base image goes, and its layer stays for those above.
    let base_image =
        scratch.store.images().unwrap().into_iter().find(|image| image.layers.len() == 1).unwrap();
    scratch.store.remove_image(&base_image.id.to_string(), false).unwrap();
    let removed = scratch.store.remove_image("lower", false).unwrap();
    assert!(removed.deleted_layers.is_empty());
    scratch.store.sweep().unwrap();
    assert_eq!(scratch.store.layers_of(&upper).unwrap().len(), 3);

    let pins = scratch.store.pin_chain(&upper).unwrap();
    assert!(scratch.store.remove_steps(&["upper"]).unwrap().keys.is_empty());
    drop(pins);
    let removed = scratch.store.remove_steps(&["upper", "unknown"]).unwrap();
    assert_eq!(removed.keys, ["upper"]);
    assert_eq!(removed.layers, [upper, lower, base]);
    assert!(matches!(scratch.store.layers_of(&upper), Err(Error::NoLayer { .. })));
    assert_eq!(fs::read_dir(scratch.store.paths().layers()).unwrap().count(), 0);
}

#[test]
fn a_step_whose_layer_is_gone_is_refused() {
    let scratch = Scratch::new();
    let unknown = ChainId(Sha256::of(b"none"));
    assert!(matches!(scratch.store.put_step(&step("k", Some(unknown))), Err(Error::NoLayer { .. })));
    scratch.store.put_step(&step("k", None)).unwrap();
    scratch.store.touch_steps(&["k"], 9).unwrap();
    let found = scratch.store.find_step("k").unwrap().unwrap();
    assert_eq!((found.uses, found.used_ns), (1, 9));
}

/// Lets the store take the present boot for another than the one in which everything was made.
fn reboot(scratch: &Scratch) {
    let database = rusqlite::Connection::open(scratch.store.paths().database()).unwrap();
    let marks =
        "UPDATE layers SET boot = 'earlier' WHERE boot IS NOT NULL; UPDATE build_boot SET boot = 'earlier'";
    database.execute_batch(marks).unwrap();
    for layer in fs::read_dir(scratch.store.paths().layers()).unwrap() {
        for entry in fs::read_dir(layer.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("unsynced.") {
                fs::rename(&path, path.with_file_name("unsynced.earlier")).unwrap();
            }
        }
    }
}

#[test]
fn layers_that_were_not_synced_in_an_earlier_boot_are_never_used() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let synced = made(&scratch.store, &base, "1");
    let torn = made(&scratch.store, &synced, "2");
    scratch.store.put_step(&step("synced", Some(synced))).unwrap();
    scratch.store.put_step(&step("torn", Some(torn))).unwrap();
    scratch.store.put_step(&step("layerless", None)).unwrap();
    name(&scratch.store, &synced, "built");
    reboot(&scratch);
    let store = Store::open(scratch.store.paths().root()).unwrap();
    assert!(store.find_step("torn").unwrap().is_none());
    assert!(store.find_step("synced").unwrap().is_some());
    assert!(store.find_step("layerless").unwrap().is_some());
    assert!(!store.paths().layer(&torn).exists());
    assert_eq!(store.layers_of(&synced).unwrap().len(), 2);
}

#[test]
fn a_layer_that_its_build_never_named_is_swept_in_time() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let chain = made(&scratch.store, &base, "1");
    // It may be about to be named.
    assert_eq!(scratch.store.sweep().unwrap().layers, 0);
    assert_eq!(scratch.store.layers_of(&chain).unwrap().len(), 2);
    let draft = scratch.store.draft(Some(&chain)).unwrap();
    drop(draft);
    assert_eq!(fs::read_dir(scratch.store.paths().tmp()).unwrap().count(), 0);
}

#[test]
fn places_to_mount_on_are_seen_and_are_no_part_of_the_layer() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    // The base has a link where a place is wanted, one that leads nowhere, and has lost a directory.
    let first = make(&scratch.store, Some(&base), |mount| {
        fs::create_dir_all(at(mount, "root/.cache")).unwrap();
        fs::create_dir(at(mount, "var")).unwrap();
        fs::create_dir(at(mount, "run")).unwrap();
        symlink("/run", at(mount, "var/run")).unwrap();
        symlink("../run/nowhere/conf", at(mount, "etc/linked")).unwrap();
        chown(at(mount, "root"), Some(5), Some(6)).unwrap();
    });
    let second = make(&scratch.store, first.chain.as_ref(), |mount| {
        fs::remove_dir(at(mount, "root/.cache")).unwrap();
    });
    let draft = scratch.store.draft(second.chain.as_ref()).unwrap();
    let directory = |path: &str| Place { path: path.to_owned(), is_directory: true };
    let places = [
        directory("/proc"),
        directory("/root/.cache/pip"),
        directory("/root/.cache"),
        directory("/var/run/secrets/x"),
        directory("/etc"),
        Place { path: "/etc/linked".to_owned(), is_directory: false },
        Place { path: "/etc/conf".to_owned(), is_directory: false },
    ];
    draft.make_places(&places).unwrap();
    let mount = draft.mount_root(&Ids::default()).unwrap().mount;
    for place in &places {
        let inside = at(&mount, place.path.trim_start_matches('/'));
        // Links lead below the root of this mount.
        let path = match place.path.as_str() {
            "/var/run/secrets/x" => at(&mount, "run/secrets/x"),
            _ => inside,
        };
        assert_eq!(fs::metadata(&path).unwrap().is_dir(), place.is_directory, "{}", place.path);
    }
    assert_eq!(fs::metadata(at(&mount, "run/nowhere/conf")).unwrap().len(), 0);
    assert_eq!(fs::read(at(&mount, "etc/conf")).unwrap(), b"old");
    let root = fs::metadata(at(&mount, "root")).unwrap();
    assert_eq!((root.uid(), root.gid()), (5, 6));
    fs::write(at(&mount, "root/file"), "x").unwrap();
    drop(mount);
    let adopted = scratch.store.adopt(draft).unwrap();
    let layers = scratch.store.layers_of(&adopted.chain.unwrap()).unwrap();
    let top = layers.last().unwrap();
    assert_eq!(crate::support::names(&top.tree), ["root"]);
    assert_eq!(crate::support::names(&top.tree.join("root")), ["file"]);
    assert_eq!(fs::metadata(top.tree.join("root")).unwrap().uid(), 5);
    assert_eq!(crate::support::names(top.tree.parent().unwrap())[..2], ["fs", "layer.json"]);
}

#[test]
fn what_is_written_to_a_spare_mount_is_thrown_away() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let layers = scratch.store.layers_of(&base).unwrap();
    let draft = scratch.store.draft(None).unwrap();
    for _ in 0..2 {
        let lower = Ids::default().show(&layers[0].tree).unwrap();
        let spare = draft.mount_spare(lower, &Ids::default(), &[]).unwrap().mount;
        assert_eq!(fs::read(at(&spare, "etc/conf")).unwrap(), b"old");
        fs::write(at(&spare, "etc/conf"), "new").unwrap();
    }
    assert_eq!(fs::read(layers[0].tree.join("etc/conf")).unwrap(), b"old");
    let lower = Ids::default().show(&layers[0].tree).unwrap();
    let hidden = [b"etc/conf".to_vec(), b"gone".to_vec()];
    let spare = draft.mount_spare(lower, &Ids::default(), &hidden).unwrap().mount;
    assert_eq!(crate::support::names(&at(&spare, "")), ["etc"]);
    assert_eq!(crate::support::names(&at(&spare, "etc")), ["other"]);
    drop(spare);
    assert!(scratch.store.adopt(draft).unwrap().is_empty);
    assert_eq!(fs::read_dir(scratch.store.paths().tmp()).unwrap().count(), 0);
}

fn cache<'a>(sharing: CacheUse, keep_waiting: &'a dyn Fn() -> bool) -> CacheRequest<'a> {
    CacheRequest {
        name: "/root/.cache",
        sharing,
        mode: 0o750,
        uid: 7,
        gid: 8,
        from: None,
        description: "cached mount /root/.cache",
        now_ns: 5,
        keep_waiting,
    }
}

#[test]
fn a_cache_is_shared_or_had_alone() {
    let scratch = Scratch::new();
    let store = &scratch.store;
    let open = |sharing| store.open_cache(&cache(sharing, &|| false)).unwrap();
    let (one, two) = (open(CacheUse::Shared).unwrap(), open(CacheUse::Shared).unwrap());
    assert_eq!(one.data, two.data);
    let made = fs::metadata(&one.data).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o750, 7, 8));
    fs::write(one.data.join("f"), "12345").unwrap();
    assert!(open(CacheUse::Locked).is_none());
    let other = open(CacheUse::Private).unwrap();
    assert_ne!(other.data, one.data);
    let third = open(CacheUse::Private).unwrap();
    assert!(third.data != one.data && third.data != other.data);
    drop((one, two, other, third));
    let locked = open(CacheUse::Locked).unwrap();
    assert_eq!(fs::read(locked.data.join("f")).unwrap(), b"12345");
    assert!(open(CacheUse::Shared).is_none());
    let steps = store.steps().unwrap();
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|step| step.kind == store::CACHE_KIND));
    let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    let removed = store.remove_steps(&keys).unwrap();
    assert_eq!(removed.keys.len(), 2, "the one that is used stays");
    assert_eq!(store.cache_bytes(&store.steps().unwrap()[0].key).unwrap(), Some(5));
    drop(locked);
    let removed = store.remove_steps(&keys).unwrap();
    assert_eq!((removed.keys.len(), removed.bytes), (1, 5));
    assert_eq!(fs::read_dir(store.paths().root().join("cache")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(store.paths().tmp()).unwrap().count(), 0);
}

#[test]
fn a_cache_begins_as_what_it_is_made_from() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let tree = scratch.store.layers_of(&base).unwrap()[0].tree.clone();
    let from = || Ok(OwnedFd::from(fs::File::open(tree.join("etc")).unwrap()));
    let request = CacheRequest { from: Some(&from), ..cache(CacheUse::Locked, &|| false) };
    let made = scratch.store.open_cache(&request).unwrap().unwrap();
    assert_eq!(fs::read(made.data.join("conf")).unwrap(), b"old");
    fs::write(made.data.join("conf"), "new").unwrap();
    drop(made);
    let again = scratch.store.open_cache(&request).unwrap().unwrap();
    assert_eq!(fs::read(again.data.join("conf")).unwrap(), b"new");
}

#[test]
fn a_draft_outlives_the_rows_of_its_base() {
    let scratch = Scratch::new();
    let base = base(&scratch);
    let lower = made(&scratch.store, &base, "1");
    let draft = scratch.store.draft(Some(&lower)).unwrap();
    fill(&draft, |mount| fs::write(at(mount, "2"), "2").unwrap());
    let database = rusqlite::Connection::open(scratch.store.paths().database()).unwrap();
    let remove = "DELETE FROM images; DELETE FROM layers WHERE parent IS NOT NULL; DELETE FROM layers";
    database.execute_batch(remove).unwrap();
    let adopted = scratch.store.adopt(draft).unwrap();
    assert_eq!(scratch.store.layers_of(&adopted.chain.unwrap()).unwrap().len(), 3);
}

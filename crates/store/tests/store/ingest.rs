//! Images of several layers, from inputs as registries and archives give them.

use crate::archive::{dir, file, gzip, hard_link, tar};
use crate::support::{Scratch, names, reference};
use std::io::{self, Cursor, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use store::{
    Blob, Configuration, DiffId, Error, ImageId, Input, LayerState, Limits, ManifestBytes, NewLayer, Recipe,
    Sha256, Store,
};
use types::digest::Digest;
use types::reference::Repository;

/// A layer's archive, what a registry has of it, and how often it was asked for.
struct Made {
    archive: Vec<u8>,
    blob: Vec<u8>,
    opened: AtomicUsize,
}

impl Made {
    fn new(archive: Vec<u8>, blob: Vec<u8>) -> Made {
        Made { archive, blob, opened: AtomicUsize::new(0) }
    }

    fn gzip(archive: Vec<u8>) -> Made {
        let blob = gzip(&archive);
        Made::new(archive, blob)
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }

    fn layer(&self) -> NewLayer<'_> {
        self.lying(self.digest(), self.blob.len() as u64, DiffId(Sha256::of(&self.archive)))
    }

    fn lying(&self, digest: Digest, bytes: u64, diff: DiffId) -> NewLayer<'_> {
        let open = || {
            self.opened.fetch_add(1, Relaxed);
            Ok(Box::new(Cursor::new(&self.blob)) as Input<'_>)
        };
        let blob = Some(Blob { digest, bytes });
        NewLayer { diff: Some(diff), blob, open: Box::new(open), has_whiteouts: true }
    }
}

const CONFIG: &dyn Fn(&[DiffId]) -> Configuration = &|diffs| {
    let diffs: Vec<String> = diffs.iter().map(ToString::to_string).collect();
    let text = format!("{{\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":{diffs:?}}}}}");
    Configuration { bytes: text.into_bytes(), created_ns: 7 }
};

fn make(store: &Store, layers: Vec<NewLayer<'_>>) -> Result<ImageId, Error> {
    let manifest = ManifestBytes {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        bytes: format!("{:?}", layers).into_bytes(),
        blobs: layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest.clone())).collect(),
    };
    let digest = Digest::of(&manifest.bytes);
    let recipe = Recipe {
        layers,
        config: CONFIG,
        manifest: Some(manifest),
        repository_digest: Some((Repository::parse("registry.example/app").unwrap(), digest)),
        references: vec![reference("registry.example/app:1")],
    };
    store.make_image(recipe, &Limits::default(), &|_, _| {})
}

fn three() -> [Made; 3] {
    let zstd = |archive: Vec<u8>| {
        let blob = zstd::encode_all(&archive[..], 3).unwrap();
        Made::new(archive, blob)
    };
    let plain = tar(&[file("top", "3")]);
    [
        Made::gzip(tar(&[dir("d"), file("d/f", vec![1; 300_000])])),
        zstd(tar(&[file("d/g", vec![2; 3_000_000])])),
        Made::new(plain.clone(), plain),
    ]
}

#[test]
fn layers_of_all_compressions_are_stacked_and_their_blobs_kept() {
    let scratch = Scratch::new();
    let made = three();
    let id = make(&scratch.store, made.iter().map(Made::layer).collect()).unwrap();
    let image = scratch.store.resolve_image("registry.example/app:1").unwrap();
    assert_eq!((image.id, image.layers.len(), image.created_ns), (id, 3, 7));
    assert_eq!(image.size_bytes, 3_300_001);
    assert!(image.repository_digests[0].starts_with("registry.example/app@sha256:"));
    assert_eq!(std::fs::read(image.layers[2].tree.join("top")).unwrap(), b"3");
    for layer in &made {
        assert_eq!(std::fs::read(scratch.store.paths().blob(&layer.digest())).unwrap(), layer.blob);
    }
    // By its digest as well.
    let by_digest = scratch.store.resolve_image(&image.repository_digests[0]).unwrap();
    assert_eq!(by_digest.id, id);
    scratch.assert_clean();
    // With the image everything goes.
    scratch.store.remove_image("registry.example/app:1", false).unwrap();
    assert!(names(&scratch.store.paths().layers()).is_empty());
    assert!(names(&scratch.root().join("blobs/sha256")).is_empty());
}

#[test]
fn what_is_here_is_not_asked_for() {
    let scratch = Scratch::new();
    let made = three();
    make(&scratch.store, made.iter().map(Made::layer).collect()).unwrap();
    let again = make(&scratch.store, made.iter().map(Made::layer).collect()).unwrap();
    assert_eq!(scratch.store.images().unwrap()[0].id, again);
    assert!(made.iter().all(|layer| layer.opened.load(Relaxed) == 1));
    // The same lower two under another topmost layer.
    let other = Made::gzip(tar(&[file("other", "4")]));
    let layers = made[..2].iter().chain([&other]).map(Made::layer).collect();
    make(&scratch.store, layers).unwrap();
    assert!(made.iter().all(|layer| layer.opened.load(Relaxed) == 1));
    // A blob at another height makes another layer, without being asked for again.
    make(&scratch.store, vec![made[1].layer()]).unwrap();
    assert_eq!(made[1].opened.load(Relaxed), 1);
    scratch.assert_clean();
}

#[test]
fn lies_are_found_out_and_leave_nothing() {
    let scratch = Scratch::new();
    let layer = Made::gzip(tar(&[file("f", vec![1; 100_000])]));
    let (digest, bytes) = (layer.digest(), layer.blob.len() as u64);
    let diff = DiffId(Sha256::of(&layer.archive));
    let other = Sha256::of(b"other");
    let error = |layer: NewLayer<'_>| match make(&scratch.store, vec![layer]).unwrap_err() {
        Error::Layer { source, .. } => source.to_string(),
        error => panic!("{error}"),
    };
    let wrong_blob = error(layer.lying(other.into(), bytes, diff));
    assert!(
        wrong_blob.contains("its blob has the digest") && wrong_blob.contains(&other.hex()),
        "{wrong_blob}"
    );
    let wrong_diff = error(layer.lying(digest.clone(), bytes, DiffId(other)));
    assert!(wrong_diff.contains("its archive has the digest"), "{wrong_diff}");
    assert!(error(layer.lying(digest.clone(), bytes - 1, diff)).contains("has more bytes, not"));
    assert!(error(layer.lying(digest.clone(), bytes + 1, diff)).contains(&format!("has {bytes} bytes, not")));
    // Bytes behind the compressed stream count as well.
    let mut longer = layer.blob.clone();
    longer.extend_from_slice(&[0; 7]);
    let longer = Made::new(layer.archive.clone(), longer);
    error(longer.lying(digest.clone(), bytes, diff));
    assert!(scratch.store.images().unwrap().is_empty());
    // What was told of the wrong archive isn't kept, but for the blob whose digest was right.
    scratch.store.sweep().unwrap();
    assert!(names(&scratch.store.paths().layers()).is_empty());
    scratch.assert_clean();
}

#[test]
fn a_failure_keeps_what_was_verified_for_the_next_try() {
    let scratch = Scratch::new();
    let good = Made::gzip(tar(&[file("f", vec![1; 100_000])]));
    let bad = Made::gzip(tar(&[file("g", vec![2; 100_000])]));
    let broken = NewLayer {
        open: Box::new(|| {
            // Once the other is done.
            std::thread::sleep(std::time::Duration::from_millis(200));
            Err(io::Error::other("the line is cut"))
        }),
        ..bad.layer()
    };
    let error = make(&scratch.store, vec![good.layer(), broken]).unwrap_err().to_string();
    assert!(error.contains("the line is cut") && error.contains(&bad.digest().to_string()), "{error}");
    assert!(scratch.store.images().unwrap().is_empty());
    make(&scratch.store, vec![good.layer(), bad.layer()]).unwrap();
    assert_eq!((good.opened.load(Relaxed), bad.opened.load(Relaxed)), (1, 1));
    scratch.assert_clean();
}

#[test]
fn a_blob_that_has_rotted_is_asked_for_again() {
    let scratch = Scratch::new();
    let layer = Made::gzip(tar(&[file("f", vec![1; 100_000])]));
    make(&scratch.store, vec![layer.layer()]).unwrap();
    let path = scratch.store.paths().blob(&layer.digest());
    std::fs::write(&path, "rot").unwrap();
    let other = Made::gzip(tar(&[file("g", "2")]));
    make(&scratch.store, vec![other.layer(), layer.layer()]).unwrap();
    assert_eq!(layer.opened.load(Relaxed), 2);
    assert_eq!(std::fs::read(&path).unwrap(), layer.blob);
}

/// An input that tells when it was begun and waits until it may end.
struct Gate<'a> {
    begun: &'a Mutex<bool>,
    inner: Cursor<&'a [u8]>,
}

impl Read for Gate<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        *self.begun.lock().unwrap() = true;
        std::thread::sleep(std::time::Duration::from_millis(300));
        self.inner.read(buffer)
    }
}

#[test]
fn the_same_layer_wanted_twice_at_once_is_asked_for_once() {
    let scratch = Scratch::new();
    let layer = Made::gzip(tar(&[file("f", vec![1; 100_000])]));
    let begun = Mutex::new(false);
    let root = scratch.root();
    std::thread::scope(|scope| {
        let slow = NewLayer {
            open: Box::new(|| Ok(Box::new(Gate { begun: &begun, inner: Cursor::new(&layer.blob) }))),
            ..layer.layer()
        };
        let first = scope.spawn(|| make(&Store::open(&root).unwrap(), vec![slow]).unwrap());
        while !*begun.lock().unwrap() {
            std::thread::yield_now();
        }
        let waited = Mutex::new(Vec::new());
        let recipe = Recipe {
            layers: vec![layer.layer()],
            config: CONFIG,
            manifest: None,
            repository_digest: None,
            references: Vec::new(),
        };
        let watch = |_, state| waited.lock().unwrap().push(state);
        let id = scratch.store.make_image(recipe, &Limits::default(), &watch).unwrap();
        assert_eq!(id, first.join().unwrap());
        let states = waited.into_inner().unwrap();
        assert_eq!(states, [LayerState::Waiting, LayerState::Exists, LayerState::Done]);
    });
    assert_eq!(layer.opened.load(Relaxed), 0, "only the slow one was opened");
    scratch.assert_clean();
}

#[test]
fn a_sweep_leaves_what_is_being_made() {
    let scratch = Scratch::new();
    let (first, second) = (Made::gzip(tar(&[file("f", "1")])), Made::gzip(tar(&[file("g", "2")])));
    let root = scratch.root();
    let slow = NewLayer {
        open: Box::new(|| {
            // The first layer is in its place by now, without a row.
            let chain = Sha256::of(&first.archive).hex();
            while !root.join("layers").join(&chain).exists() || !root.join("blobs/sha256").exists() {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            let swept = Store::open(&root).unwrap().sweep().unwrap();
            assert_eq!((swept.layers, swept.blobs, swept.leftovers), (0, 0, 0));
            Ok(Box::new(Cursor::new(&second.blob)))
        }),
        ..second.layer()
    };
    make(&scratch.store, vec![first.layer(), slow]).unwrap();
    assert!(scratch.store.paths().blob(&first.digest()).exists());
    scratch.assert_clean();
}

#[test]
fn five_hundred_layers() {
    let scratch = Scratch::new();
    let made: Vec<Made> = (0..500).map(|n| Made::gzip(tar(&[file("f", format!("{n}"))]))).collect();
    make(&scratch.store, made.iter().map(Made::layer).collect()).unwrap();
    let image = scratch.store.resolve_image("registry.example/app:1").unwrap();
    assert_eq!(image.layers.len(), 500);
    assert_eq!(std::fs::read(image.layers[499].tree.join("f")).unwrap(), b"499");
}

#[test]
fn a_layer_links_to_files_of_lower_ones_and_keeps_their_directories() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let scratch = Scratch::new();
    let lowest = tar(&[dir("d").mode(0o1777).owner(5, 6), file("d/f", "content").mode(0o640).owner(7, 8)]);
    // The middle one is slower than the one that needs it.
    let middle = Made::gzip(tar(&[file("big", vec![3; 20_000_000])]));
    let top = Made::gzip(tar(&[hard_link("d/linked", "d/f"), file(".wh.big", "")]));
    let lowest = Made::gzip(lowest);
    make(&scratch.store, vec![lowest.layer(), middle.layer(), top.layer()]).unwrap();
    let image = scratch.store.resolve_image("registry.example/app:1").unwrap();
    let tree = &image.layers[2].tree;
    let linked = std::fs::metadata(tree.join("d/linked")).unwrap();
    assert_eq!((linked.uid(), linked.gid(), linked.permissions().mode() & 0o7777), (7, 8, 0o640));
    assert_eq!(std::fs::read(tree.join("d/linked")).unwrap(), b"content");
    let implied = std::fs::metadata(tree.join("d")).unwrap();
    assert_eq!((implied.uid(), implied.gid(), implied.permissions().mode() & 0o7777), (5, 6, 0o1777));
    let whiteout = std::fs::symlink_metadata(tree.join("big")).unwrap();
    assert_eq!((whiteout.mode() & 0o170_000, whiteout.rdev()), (0o020_000, 0));
    scratch.assert_clean();
    // A link to nothing is refused, also beside layers that are there.
    let bad = Made::gzip(tar(&[hard_link("x", "d/nothing")]));
    let error = make(&scratch.store, vec![lowest.layer(), bad.layer()]).unwrap_err().to_string();
    assert!(error.contains("hard link") && error.contains(&bad.digest().to_string()), "{error}");
    scratch.store.sweep().unwrap();
    scratch.assert_clean();
}

//! The thread that puts layers and blobs in their places while others unpack.

use super::layer::{Failure, Found, Maker, Meta, Unpacked, read_meta};
use super::{Blob, LayerState, NewLayer, Watcher};
use crate::Limits;
use crate::error::Error;
use crate::images::PlacedLayer;
use crate::locked::open_directory;
use crate::paths::{BLOB_FILE, Paths};
use rustix::fs::{CWD, Mode, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use types::digest::{ChainId, DiffId, Digest};

/// Makes or finds all layers; each is pinned until what is returned is dropped.
pub(super) fn make_layers(
    paths: &Paths,
    layers: &[NewLayer<'_>],
    chains: &[Option<ChainId>],
    limits: &Limits,
    watcher: Watcher<'_>,
) -> Result<Vec<PlacedLayer>, Error> {
    let stop = AtomicBool::new(false);
    let maker = Maker { paths, limits, stop: &stop };
    let next = AtomicUsize::new(0);
    let mut placed: Vec<Option<PlacedLayer>> = layers.iter().map(|_| None).collect();
    let mut failure = None;
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..super::LAYERS_AT_ONCE.min(layers.len()) {
            let sender = sender.clone();
            scope.spawn(|| work(&maker, layers, chains, watcher, &next, sender));
        }
        drop(sender);
        while let Ok(first) = receiver.recv() {
            // What was made while the last ones were synced is synced together.
            let mut batch = Vec::new();
            for (at, result) in std::iter::once(first).chain(receiver.try_iter()) {
                match result {
                    Ok(found) => batch.push((at, found)),
                    Err(Failure::GivenUp(_)) => {}
                    Err(Failure::Error(error)) => {
                        stop.store(true, Relaxed);
                        failure.get_or_insert_with(|| describe(error, &layers[at]));
                    }
                }
            }
            // Also after a failure: the next try finds them.
            if let Err(error) = place(paths, layers, chains, batch, watcher, &mut placed) {
                stop.store(true, Relaxed);
                failure.get_or_insert(error);
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        // Without a failure each was found or made.
        None => Ok(placed.into_iter().flatten().collect()),
    }
}

type Made = (usize, Result<Found, Failure>);

fn work(
    maker: &Maker<'_>,
    layers: &[NewLayer<'_>],
    chains: &[Option<ChainId>],
    watcher: Watcher<'_>,
    next: &AtomicUsize,
    sender: Sender<Made>,
) {
    loop {
        let at = next.fetch_add(1, Relaxed);
        if at >= layers.len() || maker.stop.load(Relaxed) {
            return;
        }
        let result = maker.find_or_make(&layers[at], chains[at].as_ref(), &|state| watcher(at, state));
        // The receiver outlives all senders.
        let _ = sender.send((at, result));
    }
}

/// Names the layer in what is wrong with it.
fn describe(error: Error, layer: &NewLayer<'_>) -> Error {
    let digest = layer.blob.as_ref().map(|blob| blob.digest.clone());
    match digest.or_else(|| layer.diff.map(|diff| diff.digest())) {
        Some(digest) => Error::Layer { digest: digest.to_string(), source: Box::new(error) },
        None => error,
    }
}

fn place(
    paths: &Paths,
    wanted: &[NewLayer<'_>],
    chains: &[Option<ChainId>],
    batch: Vec<(usize, Found)>,
    watcher: Watcher<'_>,
    placed: &mut [Option<PlacedLayer>],
) -> Result<(), Error> {
    let io_error = |doing, path: &Path| {
        let path = path.to_owned();
        move |errno: Errno| Error::Files { doing, path, source: errno.into() }
    };
    let layers_path = paths.layers();
    let layers = open_directory(CWD, &layers_path).map_err(io_error("open", &layers_path))?;
    if batch.iter().any(|(_, found)| matches!(found, Found::Unpacked(_))) {
        rustix::fs::syncfs(&layers).map_err(io_error("sync", &layers_path))?;
    }
    let mut moved = false;
    for (at, found) in batch {
        // Placed by an older berth, a layer tells nothing; its row has the number of bytes.
        let told = |diff: DiffId| Meta { diff: diff.digest(), bytes: 0, blob: None };
        let (held, otherwise) = match found {
            Found::Placed(held) => (held, wanted[at].diff.map(told)),
            Found::Unpacked(unpacked) => {
                let Unpacked { work, meta, diff } = *unpacked;
                let below = at.checked_sub(1).and_then(|below| placed_chain(chains, placed, below));
                let chain = chains[at].unwrap_or_else(|| ChainId::stack(below, diff));
                moved = true;
                let held = work
                    .place(layers.as_fd(), &chain.hex())
                    .map_err(io_error("move a layer to", &paths.layer(&chain)))?;
                (held, Some(Meta { blob: None, ..meta }))
            }
        };
        let meta = read_meta(&held).or(otherwise);
        // After the layer, which is pinned: a sweep leaves the blobs of pinned layers. Who placed a layer may have been
        // killed before its blob was moved.
        if let Some((digest, _)) = meta.as_ref().and_then(|meta| meta.blob.as_ref()) {
            place_blob(paths, held.as_fd(), digest)
                .map_err(io_error("move a blob to", &paths.blob(digest)))?;
        }
        let Some((meta, diff)) =
            meta.and_then(|meta| DiffId::parse(meta.diff.as_str()).map(|diff| (meta, diff)))
        else {
            return Err(Error::Files {
                doing: "read about a layer in",
                path: layers_path,
                source: Errno::NODATA.into(),
            });
        };
        let below = at.checked_sub(1).and_then(|below| placed_chain(chains, placed, below));
        let chain = chains[at].unwrap_or_else(|| ChainId::stack(below, diff));
        let blob: Option<Blob> = (&meta).into();
        placed[at] = Some(PlacedLayer { chain, diff, bytes: meta.bytes, blob, held });
        watcher(at, LayerState::Done);
    }
    if moved {
        rustix::fs::fsync(&layers).map_err(io_error("sync", &layers_path))?;
    }
    Ok(())
}

/// Only the topmost layer's chain isn't known beforehand, and what lies below it is known.
fn placed_chain(chains: &[Option<ChainId>], placed: &[Option<PlacedLayer>], at: usize) -> Option<ChainId> {
    chains[at].or_else(|| placed[at].as_ref().map(|layer| layer.chain))
}

/// Moves a layer's blob to its place, if the layer still has it. One that is there already is the same one.
fn place_blob(paths: &Paths, from: BorrowedFd<'_>, digest: &Digest) -> Result<(), Errno> {
    let path = paths.blob(digest);
    let dir = paths.blobs(digest.algorithm());
    let open = || open_directory(CWD, &dir);
    let dir = match open() {
        Err(Errno::NOENT) => {
            for dir in [dir.parent().unwrap_or(&dir), &dir] {
                match rustix::fs::mkdir(dir, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            open()?
        }
        other => other?,
    };
    let name = path.file_name().unwrap_or_default();
    match renameat_with(from, BLOB_FILE, &dir, name, RenameFlags::NOREPLACE) {
        Ok(()) => rustix::fs::fsync(&dir),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::EXIST) => rustix::fs::unlinkat(from, BLOB_FILE, rustix::fs::AtFlags::empty()),
        Err(errno) => Err(errno),
    }
}

//! The thread that puts layers and blobs in their places while others unpack.

use super::layer::{Failure, Found, Maker, Meta, Unpacked, read_meta};
use super::{Blob, LayerState, NewLayer, Watcher};
use crate::Limits;
use crate::error::Error;
use crate::images::PlacedLayer;
use crate::locked::open_directory;
use crate::paths::{BLOB_FILE, LAYER_TREE, Paths};
use crate::unpack::{Pending, pending};
use rustix::fs::{CWD, Mode, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
    let placed = layers.iter().map(|_| None).collect();
    let mut publisher = Publisher { paths, layers, chains, watcher, placed, held_back: Vec::new() };
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
            if let Err(error) = publisher.take(batch) {
                stop.store(true, Relaxed);
                failure.get_or_insert(error);
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        // Without a failure each was found or made.
        None => Ok(publisher.placed.into_iter().flatten().collect()),
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

/// What puts layers in their places.
struct Publisher<'a, 'l> {
    paths: &'a Paths,
    layers: &'a [NewLayer<'l>],
    /// Known for all but, perhaps, the topmost.
    chains: &'a [Option<ChainId>],
    watcher: Watcher<'a>,
    placed: Vec<Option<PlacedLayer>>,
    /// Layers that can't be completed before those below are in their places.
    held_back: Vec<(usize, Box<Unpacked>)>,
}

impl Publisher<'_, '_> {
    /// Places what came, and what it completes.
    fn take(&mut self, mut batch: Vec<(usize, Found)>) -> Result<(), Error> {
        loop {
            let mut ready = Vec::new();
            for (at, found) in batch {
                match found {
                    Found::Unpacked(unpacked) if !unpacked.pending.is_empty() => {
                        self.held_back.push((at, unpacked));
                    }
                    other => ready.push((at, other)),
                }
            }
            self.place(ready)?;
            let has_all_below = |at: usize| self.placed[..at].iter().all(Option::is_some);
            let (possible, rest) = std::mem::take(&mut self.held_back)
                .into_iter()
                .partition::<Vec<_>, _>(|(at, _)| has_all_below(*at));
            self.held_back = rest;
            if possible.is_empty() {
                return Ok(());
            }
            batch = Vec::new();
            for (at, mut unpacked) in possible {
                self.complete(at, &mut unpacked).map_err(|error| describe(error, &self.layers[at]))?;
                batch.push((at, Found::Unpacked(unpacked)));
            }
        }
    }

    /// Does for a layer what needed those below.
    fn complete(&self, at: usize, unpacked: &mut Unpacked) -> Result<(), Error> {
        let tree_of = |layer: BorrowedFd<'_>| {
            open_directory(layer, Path::new(LAYER_TREE)).map_err(self.io_error("open", &self.paths.layers()))
        };
        let tree = tree_of(unpacked.work.fd())?;
        let below: Vec<OwnedFd> = self.placed[..at]
            .iter()
            .rev()
            .flatten()
            .map(|layer| tree_of(layer.held.as_fd()))
            .collect::<Result<_, _>>()?;
        let below: Vec<BorrowedFd<'_>> = below.iter().map(AsFd::as_fd).collect();
        pending::complete(tree.as_fd(), &below, &unpacked.pending)?;
        unpacked.pending = Pending::default();
        Ok(())
    }

    fn io_error(&self, doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error + use<> {
        let path = path.to_owned();
        move |errno: Errno| Error::Files { doing, path, source: errno.into() }
    }

    fn place(&mut self, batch: Vec<(usize, Found)>) -> Result<(), Error> {
        let path = self.paths.layers();
        let layers = open_directory(CWD, &path).map_err(self.io_error("open", &path))?;
        if batch.iter().any(|(_, found)| matches!(found, Found::Unpacked(_))) {
            rustix::fs::syncfs(&layers).map_err(self.io_error("sync", &path))?;
        }
        let mut moved = false;
        for (at, found) in batch {
            // Placed by an older berth, a layer tells nothing; its row has the number of bytes.
            let told = |diff: DiffId| Meta {
                diff: diff.digest(),
                bytes: 0,
                archive_bytes: 0,
                blob: None,
                id_blocks: Vec::new(),
                below: None,
            };
            let (held, otherwise) = match found {
                Found::Placed(held) => (held, self.layers[at].diff.map(told)),
                Found::Unpacked(unpacked) => {
                    let Unpacked { work, meta, diff, .. } = *unpacked;
                    let chain = self.chain(at, diff);
                    moved = true;
                    let held = work
                        .place(layers.as_fd(), &chain.hex())
                        .map_err(self.io_error("move a layer to", &self.paths.layer(&chain)))?;
                    (held, Some(Meta { blob: None, ..meta }))
                }
            };
            self.placed[at] = Some(self.describe_placed(at, held, otherwise)?);
            (self.watcher)(at, LayerState::Done);
        }
        if moved {
            rustix::fs::fsync(&layers).map_err(self.io_error("sync", &path))?;
        }
        Ok(())
    }

    fn chain(&self, at: usize, diff: DiffId) -> ChainId {
        let below = at.checked_sub(1).and_then(|below| self.chains[below]);
        self.chains[at].unwrap_or_else(|| ChainId::stack(below, diff))
    }

    /// What the layer at its place tells, or else `otherwise`; its blob goes to its place as well.
    fn describe_placed(
        &self,
        at: usize,
        held: OwnedFd,
        otherwise: Option<Meta>,
    ) -> Result<PlacedLayer, Error> {
        let meta = read_meta(&held).or(otherwise);
        // After the layer, which is pinned: a sweep leaves the blobs of pinned layers. Who placed a layer may have been
        // killed before its blob was moved.
        if let Some((digest, _)) = meta.as_ref().and_then(|meta| meta.blob.as_ref()) {
            place_blob(self.paths, held.as_fd(), digest)
                .map_err(self.io_error("move a blob to", &self.paths.blob(digest)))?;
        }
        let known = meta.and_then(|meta| DiffId::parse(meta.diff.as_str()).map(|diff| (meta, diff)));
        let (meta, diff) = known
            .ok_or(Errno::NODATA)
            .map_err(self.io_error("read what is known of a layer in", &self.paths.layers()))?;
        let blob: Option<Blob> = (&meta).into();
        let Meta { bytes, id_blocks, .. } = meta;
        Ok(PlacedLayer { chain: self.chain(at, diff), diff, bytes, blob, id_blocks, held })
    }
}

/// Moves a layer's blob to its place, if the layer still has it. One that is there already is the same one.
pub(crate) fn place_blob(paths: &Paths, from: BorrowedFd<'_>, digest: &Digest) -> Result<(), Errno> {
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

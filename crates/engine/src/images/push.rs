//! `berth push`: images to registries.

use super::{look_at_store, open_store, pull};
use crate::{Error, Home, events};
use registry::{Client, Pushed};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use store::{Archives, Image, Layer, ManifestBytes, Store};
use types::digest::{DiffId, Digest};
use types::image::manifest::Document;
use types::image::media::{Compression, MediaKind};
use types::image::{Descriptor, Manifest, media};
use types::reference::{Reference, Repository};

/// Blobs sent at once; docker sends five.
const BLOBS_AT_ONCE: usize = 5;

/// What becomes of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushState {
    /// It is to be sent.
    Preparing,
    /// It is there now.
    Done(Pushed),
}

/// Told what becomes of each layer, by its diff id as in docker's lines. Called from several threads.
pub type PushWatcher<'a> = &'a (dyn Fn(&DiffId, PushState) + Sync);

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// Its name there.
    pub reference: Reference,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Bytes of it.
    pub manifest_bytes: u64,
}

/// The names of a repository that are here, for `--all-tags`.
///
/// Errors: [`Error::NoTag`] if there are none.
pub fn names_of(home: &Home, repository: &str) -> Result<Vec<Reference>, Error> {
    let wanted = Repository::parse(repository).map_err(store::Error::Reference)?;
    let missing = || Error::NoTag { name: wanted.familiar() };
    let store = look_at_store(home)?.ok_or_else(missing)?;
    let mut found = Vec::new();
    for image in store.images()? {
        let names = image.references.iter().filter_map(|name| Reference::parse(name).ok());
        found.extend(names.filter(|name| *name.repository() == wanted));
    }
    found.sort_by_key(ToString::to_string);
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

/// Pushes the image that is called `reference` here to where its name says.
///
/// A pulled image goes with the manifest that it came with, so that its digest stays the same. Layers whose archives came
/// plain go as `compression`, all others as they came. Errors: [`Error::NoTag`]; [`Error::Registry`]; [`Error::Image`]
/// where a layer's archive isn't kept.
pub fn push(
    home: &Home,
    reference: &Reference,
    compression: Compression,
    watcher: PushWatcher<'_>,
) -> Result<PushedImage, Error> {
    let store = open_store(home)?;
    let image = store.resolve_image(&reference.to_string()).map_err(|error| match error {
        store::Error::NoImage { .. } => Error::NoTag { name: reference.familiar() },
        other => other.into(),
    })?;
    let client = pull::client()?;
    let elsewhere = elsewhere(&image, reference.repository());
    let sending = Sending {
        archives: store.archives(),
        client: &client,
        repository: reference.repository(),
        elsewhere: &elsewhere,
        packing: Mutex::new(()),
    };
    let (config, made);
    let (media_type, bytes) = match recorded(&store, &image, compression)? {
        Some(Recorded { media_type, bytes, manifest, sources }) => {
            sending.blobs(&sources, watcher)?;
            config = manifest.config;
            made = None;
            (media_type, bytes)
        }
        None => {
            let layers = sending.blobs(&sources(&store, &image, reference, compression)?, watcher)?;
            let size = image.config_json.len() as u64;
            config = Descriptor::new(media::OCI_CONFIG, image.id.digest(), size);
            let manifest = Manifest::oci(config.clone(), layers);
            let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
            // What was packed for it is found by the next push; what is kept anyway is put together as quickly.
            let blobs = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
            let media_type = manifest.media_type;
            made = (compression == Compression::Gzip).then(|| ManifestBytes {
                media_type: media_type.clone(),
                bytes: bytes.clone(),
                blobs,
            });
            (media_type, bytes)
        }
    };
    sending.config(&config, &image)?;
    let digest = client.push_manifest(reference, &media_type, &bytes)?;
    store.record_manifest(&image.id, made.as_ref(), Some((reference.repository(), &digest)))?;
    events::reference(home, "push", reference);
    Ok(PushedImage { reference: reference.clone(), digest, manifest_bytes: bytes.len() as u64 })
}

/// Repositories of the same registry that may have the image's blobs.
fn elsewhere(image: &Image, own: &Repository) -> Vec<Repository> {
    let names = image.repository_digests.iter().chain(&image.references);
    let repositories = names.filter_map(|name| Some(Reference::parse(name).ok()?.repository().clone()));
    let mut found: Vec<Repository> = Vec::new();
    for repository in repositories.filter(|other| other.host() == own.host() && other != own) {
        if !found.contains(&repository) {
            found.push(repository);
        }
    }
    found
}

/// A layer to be sent.
struct Source<'a> {
    layer: &'a Layer,
    /// Its blob, open from now on so that nobody takes it away; `None` if it is to be packed.
    blob: Option<(Descriptor, File)>,
}

impl Source<'_> {
    /// What two layers have in common that are sent once.
    fn key(&self) -> String {
        self.blob.as_ref().map_or_else(|| self.layer.diff.to_string(), |(blob, _)| blob.digest.to_string())
    }
}

/// A manifest of the image's, and its blobs.
struct Recorded<'a> {
    media_type: String,
    bytes: Vec<u8>,
    manifest: Manifest,
    sources: Vec<Source<'a>>,
}

/// The newest manifest that the image came or went with, if its layers are those that would be sent and all are here.
fn recorded<'a>(
    store: &Store,
    image: &'a Image,
    compression: Compression,
) -> Result<Option<Recorded<'a>>, Error> {
    for (media_type, bytes) in store.manifests(&image.id)? {
        let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, &[&media_type]) else { continue };
        if manifest.layers.len() != image.layers.len() {
            continue;
        }
        let mut sources = Vec::new();
        for (layer, blob) in image.layers.iter().zip(&manifest.layers) {
            let own = layer.blob.as_ref().is_some_and(|own| own.digest == blob.digest);
            let fits = MediaKind::of(&blob.media_type) == MediaKind::Layer(compression);
            if !(own || fits && came_plain(store, layer)?) {
                break;
            }
            let Some(file) = store.open_blob(&blob.digest) else { break };
            sources.push(Source { layer, blob: Some((blob.clone(), file)) });
        }
        if sources.len() == image.layers.len() {
            return Ok(Some(Recorded { media_type, bytes, manifest: *manifest, sources }));
        }
    }
    Ok(None)
}

/// Whether what is kept of the layer is our own packing of an archive that came plain, or its tree alone.
fn came_plain(store: &Store, layer: &Layer) -> Result<bool, Error> {
    match &layer.blob {
        Some(blob) => Ok(!store.is_in_manifest(&blob.digest)?),
        None => Ok(true),
    }
}

/// The blobs that make up an image without a manifest.
fn sources<'a>(
    store: &Store,
    image: &'a Image,
    reference: &Reference,
    compression: Compression,
) -> Result<Vec<Source<'a>>, Error> {
    let mut sources = Vec::new();
    for layer in &image.layers {
        let missing = || Error::Image {
            image: reference.familiar(),
            why: format!("the archive of its layer {} isn't kept here", layer.diff),
        };
        // Of one that a build made.
        let Some(kept) = &layer.blob else {
            sources.push(Source { layer, blob: None });
            continue;
        };
        let file = store.open_blob(&kept.digest).ok_or_else(missing)?;
        let found = compression_of(&file).map_err(|error| Error::io("read blob", &kept.digest, &error))?;
        let is_packed_otherwise = found == Compression::Zstd && compression == Compression::Gzip;
        let blob = match is_packed_otherwise && came_plain(store, layer)? {
            true => None,
            false => Some((Descriptor::new(media_type(found), kept.digest.clone(), kept.bytes), file)),
        };
        sources.push(Source { layer, blob });
    }
    Ok(sources)
}

fn compression_of(file: &File) -> io::Result<Compression> {
    let mut start = [0; 4];
    let count = file.read_at(&mut start, 0)?;
    Ok(Compression::of(&start[..count]))
}

fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => media::OCI_LAYER_GZIP,
        Compression::Zstd => media::OCI_LAYER_ZSTD,
        Compression::None => media::OCI_LAYER,
    }
}

/// A push under way.
struct Sending<'a> {
    archives: Archives,
    client: &'a Client,
    repository: &'a Repository,
    elsewhere: &'a [Repository],
    /// Held by who packs a layer, which takes all processors.
    packing: Mutex<()>,
}

impl Sending<'_> {
    fn config(&self, descriptor: &Descriptor, image: &Image) -> Result<(), Error> {
        let bytes = image.config_json.as_bytes().to_vec();
        let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
            let mut rest = io::Cursor::new(bytes.clone());
            rest.set_position(offset);
            Ok(Box::new(rest))
        };
        self.client.push_blob(self.repository, descriptor, self.elsewhere, &mut open)?;
        Ok(())
    }

    /// Sends all of them, several at once, and answers what each was sent as; with the first failure no further one
    /// begins.
    fn blobs(&self, sources: &[Source<'_>], watcher: PushWatcher<'_>) -> Result<Vec<Descriptor>, Error> {
        let keys: Vec<String> = sources.iter().map(Source::key).collect();
        // A blob may be several layers.
        let first = |at: usize| keys.iter().position(|key| *key == keys[at]).unwrap_or(at);
        let once: Vec<usize> = (0..sources.len()).filter(|at| first(*at) == *at).collect();
        for at in &once {
            watcher(&sources[*at].layer.diff, PushState::Preparing);
        }
        let next = AtomicUsize::new(0);
        let sent: Mutex<BTreeMap<usize, Descriptor>> = Mutex::default();
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let failed = || failure.lock().is_ok_and(|failure| failure.is_some());
        std::thread::scope(|scope| {
            for _ in 0..BLOBS_AT_ONCE.min(once.len()) {
                scope.spawn(|| {
                    while let Some(at) = once.get(next.fetch_add(1, Relaxed)).filter(|_| !failed()) {
                        match self.blob(&sources[*at], watcher) {
                            Ok(descriptor) => _ = sent.lock().map(|mut sent| sent.insert(*at, descriptor)),
                            Err(error) => {
                                _ = failure.lock().map(|mut failure| _ = failure.get_or_insert(error));
                            }
                        }
                    }
                });
            }
        });
        if let Ok(Some(error)) = failure.into_inner() {
            return Err(error);
        }
        let sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((0..sources.len()).filter_map(|at| sent.get(&first(at)).cloned()).collect())
    }

    fn blob(&self, source: &Source<'_>, watcher: PushWatcher<'_>) -> Result<Descriptor, Error> {
        let packed;
        let (descriptor, file) = match &source.blob {
            // It is to be had from the URLs in it alone.
            Some((blob, _)) if media::is_restricted(&blob.media_type) && !blob.urls.is_empty() => {
                watcher(&source.layer.diff, PushState::Done(Pushed::Existed));
                return Ok(blob.clone());
            }
            Some((descriptor, file)) => (descriptor, file),
            None => {
                let _turn = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
                let (blob, file) = self.archives.gzip(source.layer)?;
                packed = (Descriptor::new(media::OCI_LAYER_GZIP, blob.digest, blob.bytes), file);
                (&packed.0, &packed.1)
            }
        };
        let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
            Ok(Box::new(ReadAt { file: file.try_clone()?, offset }))
        };
        let pushed = self.client.push_blob(self.repository, descriptor, self.elsewhere, &mut open)?;
        watcher(&source.layer.diff, PushState::Done(pushed));
        Ok(descriptor.clone())
    }
}

/// A file from an offset on, whose descriptor others read as well.
struct ReadAt {
    file: File,
    offset: u64,
}

impl io::Read for ReadAt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

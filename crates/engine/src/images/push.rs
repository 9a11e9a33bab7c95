//! `berth push`: images to registries.

use super::{look_at_store, open_store, pull};
use crate::{Error, Home};
use registry::{Client, Pushed};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use store::{Image, ManifestBytes, Store};
use types::digest::Digest;
use types::image::manifest::Document;
use types::image::media::Compression;
use types::image::{Descriptor, Manifest, media};
use types::reference::{Reference, Repository};

/// Blobs sent at once; docker sends five.
const BLOBS_AT_ONCE: usize = 5;

/// What becomes of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushState {
    /// It is being looked for, or sent.
    Pushing,
    /// It is there now.
    Done(Pushed),
}

/// Told what becomes of each layer, by the digest of its blob. Called from several threads.
pub type PushWatcher<'a> = &'a (dyn Fn(&Digest, PushState) + Sync);

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
/// A pulled image goes with the manifest that it came with, so that its digest stays the same. Errors:
/// [`Error::NoTag`]; [`Error::Registry`]; [`Error::Image`] where a layer's archive isn't kept.
pub fn push(home: &Home, reference: &Reference, watcher: PushWatcher<'_>) -> Result<PushedImage, Error> {
    let store = open_store(home)?;
    let image = store.resolve_image(&reference.to_string()).map_err(|error| match error {
        store::Error::NoImage { .. } => Error::NoTag { name: reference.familiar() },
        other => other.into(),
    })?;
    let client = pull::client()?;
    let manifest = manifest_of(&store, &image, reference)?;
    let elsewhere = elsewhere(&image, reference.repository());
    let push = Push { store: &store, client: &client, reference, elsewhere: &elsewhere };
    push.blobs(&manifest.manifest.layers, watcher)?;
    push.config(&manifest.manifest.config, &image)?;
    let bytes = &manifest.kept.bytes;
    let digest = client.push_manifest(reference, &manifest.kept.media_type, bytes)?;
    let manifest_bytes = bytes.len() as u64;
    store.record_manifest(&image.id, Some(&manifest.kept), Some((reference.repository(), &digest)))?;
    Ok(PushedImage { reference: reference.clone(), digest, manifest_bytes })
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

/// A manifest, and its bytes.
pub(super) struct Chosen {
    pub manifest: Manifest,
    pub kept: ManifestBytes,
}

/// The manifest that the image came with, if all its blobs are here; else one for the blobs that are.
pub(super) fn manifest_of(store: &Store, image: &Image, reference: &Reference) -> Result<Chosen, Error> {
    for (media_type, bytes) in store.manifests(&image.id)? {
        if let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, &[&media_type])
            && manifest.layers.iter().all(|layer| store.open_blob(&layer.digest).is_some())
        {
            let blobs = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
            return Ok(Chosen { manifest: *manifest, kept: ManifestBytes { media_type, bytes, blobs } });
        }
    }
    let mut layers = Vec::new();
    for layer in &image.layers {
        let missing = || Error::Image {
            image: reference.familiar(),
            why: format!("the archive of its layer {} isn't kept here", layer.diff),
        };
        let blob = layer.blob.as_ref().ok_or_else(missing)?;
        let file = store.open_blob(&blob.digest).ok_or_else(missing)?;
        let media_type =
            media_type_of(&file).map_err(|error| Error::io("read blob", &blob.digest, &error))?;
        layers.push(Descriptor::new(media_type, blob.digest.clone(), blob.bytes));
    }
    let config = image.config_json.as_bytes();
    let config = Descriptor::new(media::OCI_CONFIG, image.id.digest(), config.len() as u64);
    let manifest = Manifest::oci(config, layers);
    let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
    let blobs = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
    let media_type = manifest.media_type.clone();
    Ok(Chosen { manifest, kept: ManifestBytes { media_type, bytes, blobs } })
}

fn media_type_of(file: &File) -> io::Result<&'static str> {
    use std::os::unix::fs::FileExt;
    let mut start = [0; 4];
    let count = file.read_at(&mut start, 0)?;
    Ok(match Compression::of(&start[..count]) {
        Compression::Gzip => media::OCI_LAYER_GZIP,
        Compression::Zstd => media::OCI_LAYER_ZSTD,
        Compression::None => media::OCI_LAYER,
    })
}

struct Push<'a> {
    store: &'a Store,
    client: &'a Client,
    reference: &'a Reference,
    elsewhere: &'a [Repository],
}

impl Push<'_> {
    fn config(&self, descriptor: &Descriptor, image: &Image) -> Result<(), Error> {
        let bytes = image.config_json.as_bytes().to_vec();
        let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
            let mut rest = io::Cursor::new(bytes.clone());
            rest.set_position(offset);
            Ok(Box::new(rest))
        };
        self.client.push_blob(self.reference.repository(), descriptor, self.elsewhere, &mut open)?;
        Ok(())
    }

    /// Several at once; with the first failure no further one begins.
    fn blobs(&self, layers: &[Descriptor], watcher: PushWatcher<'_>) -> Result<(), Error> {
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for layer in layers {
            // A blob may be several layers.
            if blobs.iter().all(|known| known.digest != layer.digest) {
                blobs.push(layer);
            }
        }
        let files: Vec<Option<File>> = blobs.iter().map(|blob| self.store.open_blob(&blob.digest)).collect();
        let (client, repository, elsewhere) = (self.client, self.reference.repository(), self.elsewhere);
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<registry::Error>> = Mutex::new(None);
        let failed = || failure.lock().is_ok_and(|failure| failure.is_some());
        let one = |descriptor: &Descriptor, file: Option<&File>| {
            let mut open = |offset: u64| -> io::Result<Box<dyn io::Read>> {
                let mut own = match file {
                    Some(file) => file.try_clone()?,
                    None => return Err(io::Error::new(io::ErrorKind::NotFound, "it isn't kept here")),
                };
                own.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(own))
            };
            watcher(&descriptor.digest, PushState::Pushing);
            let pushed = client.push_blob(repository, descriptor, elsewhere, &mut open)?;
            watcher(&descriptor.digest, PushState::Done(pushed));
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..BLOBS_AT_ONCE.min(blobs.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Relaxed);
                        if at >= blobs.len() || failed() {
                            return;
                        }
                        if let Err(error) = one(blobs[at], files[at].as_ref())
                            && let Ok(mut failure) = failure.lock()
                        {
                            failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(Some(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

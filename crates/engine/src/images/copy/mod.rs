//! `berth copy`: images from one place to another, registry or archive, without the store and without root.
//!
//! - [`place`]: what is named on the command line
//! - `source`: documents and blobs by descriptor; `target`: where they go
//!
//! Documents and blobs go byte for byte, so that digests stay the same, in a bounded amount of memory: blobs first, then
//! the manifests that name them, then the index that names those, then the name. Docker's archives are the exception,
//! which have no manifest of a registry's and no compressed layers.

pub mod place;
mod source;
mod target;

pub use place::Place;

use super::Progress;
use super::progress::LayerState;
use super::pull::platform;
use crate::Error;
use registry::Fetched;
use source::{Opened, Source};
use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use target::{Put, Target};
use types::digest::Digest;
use types::image::manifest::Document;
use types::image::{Descriptor, Index, MediaKind, Platform, media};

/// Blobs copied at once where the target takes several.
const BLOBS_AT_ONCE: usize = 5;

/// Indexes within indexes that are followed.
const INDEX_DEPTH_MAX: usize = 4;

/// Most bytes of all documents of one copy: they are kept until the blobs that they name are there.
const DOCUMENTS_BYTES_MAX: usize = 64 << 20;

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRequest {
    /// From where.
    pub source: Place,
    /// To where.
    pub target: Place,
    /// Whether an index is copied with all that it names, instead of one machine's image out of it.
    pub all: bool,
    /// The machine that the image is for; else this one.
    pub platform: Option<String>,
}

/// What is to be done: documents in the order in which they may be put, the top last.
struct Plan {
    documents: Vec<Fetched<Document>>,
    /// Each once.
    blobs: Vec<Descriptor>,
}

impl Plan {
    fn top(&self) -> &Fetched<Document> {
        // Each plan is made around its top.
        &self.documents[self.documents.len() - 1]
    }

    fn add(&mut self, blob: &Descriptor) {
        if self.blobs.iter().all(|known| known.digest != blob.digest) {
            self.blobs.push(blob.clone());
        }
    }
}

/// Copies; the digest of what is now at the target: a manifest or an index.
///
/// Errors: [`Error::Registry`], [`Error::CopyImage`] for what isn't as it should be at either place.
pub fn copy(request: &CopyRequest, progress: &dyn Progress) -> Result<Digest, Error> {
    let wanted = platform(request.platform.as_deref())?;
    let to_docker = matches!(request.target, Place::DockerArchive { .. });
    if to_docker && request.all {
        let why = "docker's archives hold images, no indexes; without --all one machine's image is copied";
        return Err(Error::invalid("--all", why));
    }
    let source = source::open(&request.source, to_docker)?;
    let top = source.top()?;
    let top = match (top.document, request.all) {
        (Document::Index(index), false) => choose(&*source, &request.source, &index, &wanted)?,
        (document, _) => Fetched { document, ..top },
    };
    if request.platform.is_some() {
        check_platform(&*source, &request.source, &top, &wanted)?;
    }
    let mut plan = Plan { documents: Vec::new(), blobs: Vec::new() };
    collect(&*source, &request.source, top, INDEX_DEPTH_MAX, &mut plan)?;
    let shown: Vec<_> = plan.blobs.iter().map(|blob| (blob.digest.to_string(), Some(blob.size))).collect();
    progress.begin(&shown);
    let copying = Copying { source: &*source, plan: &plan, progress };
    target::run(&request.target, &request.source, &copying)
}

fn choose(
    source: &dyn Source,
    place: &Place,
    index: &Index,
    wanted: &Platform,
) -> Result<Fetched<Document>, Error> {
    let mut index = index.clone();
    for _ in 0..INDEX_DEPTH_MAX {
        let Some(entry) = index.pick(wanted) else {
            let why = format!("it has no image for {wanted}; --all copies all that it has");
            return Err(Error::CopyImage { what: place.to_string(), why });
        };
        let found = source.entry(entry)?;
        match found.document {
            Document::Index(inner) => index = *inner,
            document => return Ok(Fetched { document, ..found }),
        }
    }
    Err(Error::CopyImage { what: place.to_string(), why: "its indexes are nested too deep".into() })
}

/// Out of an index the machine's was chosen; an image alone may be for another.
fn check_platform(
    source: &dyn Source,
    place: &Place,
    top: &Fetched<Document>,
    wanted: &Platform,
) -> Result<(), Error> {
    use types::image::{CONFIG_BYTES_MAX, ImageConfig};
    let Document::Manifest(manifest) = &top.document else { return Ok(()) };
    if MediaKind::of(&manifest.config.media_type) != MediaKind::Config {
        return Ok(());
    }
    let failed = |error: io::Error| Error::CopyImage { what: place.to_string(), why: error.to_string() };
    let mut bytes = Vec::new();
    let opened = source.blob(&manifest.config).map_err(failed)?;
    opened.take(CONFIG_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(failed)?;
    match ImageConfig::parse(&bytes).map(|config| config.platform()) {
        Ok(own) if wanted.rank(&own).is_none() => Err(Error::CopyImage {
            what: place.to_string(),
            why: format!("it is for {own}, not for {wanted}"),
        }),
        _ => Ok(()),
    }
}

/// Adds a document after all that it names.
fn collect(
    source: &dyn Source,
    place: &Place,
    found: Fetched<Document>,
    depth: usize,
    plan: &mut Plan,
) -> Result<(), Error> {
    let refused = |why: String| Error::CopyImage { what: place.to_string(), why };
    match &found.document {
        Document::Manifest(manifest) => {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                // These are to be had from the URLs in them alone.
                if !media::is_restricted(&blob.media_type) || blob.urls.is_empty() {
                    plan.add(blob);
                }
            }
        }
        Document::Index(_) if depth == 0 => return Err(refused("its indexes are nested too deep".into())),
        Document::Index(index) => {
            for entry in &index.manifests {
                // What isn't known is bytes, such as BuildKit's caches.
                if !entry.is_document() {
                    plan.add(entry);
                    continue;
                }
                let is_known = |known: &Fetched<Document>| known.descriptor.digest == entry.digest;
                if !plan.documents.iter().any(is_known) {
                    collect(source, place, source.entry(entry)?, depth - 1, plan)?;
                }
            }
        }
    }
    plan.documents.push(found);
    match plan.documents.iter().map(|known| known.bytes.len()).sum::<usize>() > DOCUMENTS_BYTES_MAX {
        true => Err(refused(format!("its documents have more than {DOCUMENTS_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

/// A copy under way.
struct Copying<'a> {
    source: &'a dyn Source,
    plan: &'a Plan,
    progress: &'a dyn Progress,
}

impl Copying<'_> {
    /// Copies all blobs, several at once if the target is fit for it; with the first failure no further one begins.
    fn blobs_at_once(&self, target: &dyn Target) -> Result<(), Error> {
        let blobs = &self.plan.blobs;
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let failed = || failure.lock().is_ok_and(|failure| failure.is_some());
        std::thread::scope(|scope| {
            for _ in 0..BLOBS_AT_ONCE.min(blobs.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Relaxed);
                        if at >= blobs.len() || failed() {
                            return;
                        }
                        if let Err(error) = self.blob(at, &mut |blob, open| target.blob(blob, open))
                            && let Ok(mut failure) = failure.lock()
                        {
                            failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Copies one after the other.
    fn blobs_in_turn(&self, put: &mut Put<'_>) -> Result<(), Error> {
        (0..self.plan.blobs.len()).try_for_each(|at| self.blob(at, put))
    }

    fn blob(&self, at: usize, put: &mut Put<'_>) -> Result<(), Error> {
        let blob = &self.plan.blobs[at];
        let done = Cell::new(0);
        let mut open = |offset: u64| -> io::Result<Opened<'_>> {
            let mut opened = self.source.blob(blob)?;
            // What has arrived is read again, as its digest is that of the whole.
            io::copy(&mut (&mut opened).take(offset), &mut io::sink())?;
            done.set(offset);
            Ok(Box::new(Told { opened, done: &done, progress: self.progress, at }))
        };
        let was_there = put(blob, &mut open)?;
        self.progress.layer(at, if was_there { LayerState::Exists } else { LayerState::Done });
        Ok(())
    }
}

/// Tells how much was read.
struct Told<'a> {
    opened: Opened<'a>,
    done: &'a Cell<u64>,
    progress: &'a dyn Progress,
    at: usize,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.opened.read(buffer)?;
        let read_bytes = self.done.get() + count as u64;
        self.done.set(read_bytes);
        if count > 0 {
            self.progress.layer(self.at, LayerState::Reading { read_bytes, unpacked_bytes: 0 });
        }
        Ok(count)
    }
}

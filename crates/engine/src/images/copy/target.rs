//! Where a copy goes: blobs, then documents, then the name.

use super::Copying;
use super::place::Place;
use super::source::{FromStart, Opened, spool};
use crate::images::install::diff_ids;
use crate::images::layout::{DockerImage, LAYOUT, LayoutWriter, REF_NAME, blob_name};
use crate::images::pull::client;
use crate::{Error, output};
use linux::durable;
use registry::{Client, Fetched};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use types::digest::{Algorithm, DiffId, Digest, Hasher};
use types::image::manifest::Document;
use types::image::{CONFIG_BYTES_MAX, Descriptor, ImageConfig, Index, MANIFEST_BYTES_MAX, media};
use types::reference::{Reference, Repository};

/// Opens a blob of the source at an offset.
pub(super) type Open<'a> = dyn FnMut(u64) -> io::Result<Opened<'a>> + 'a;

/// Puts one blob; whether it was there.
pub(super) type Put<'a> = dyn for<'o> FnMut(&Descriptor, &mut Open<'o>) -> Result<bool, Error> + 'a;

/// Blobs are written in pieces of this size.
const BUFFER_BYTES: usize = 128 << 10;

/// What takes several blobs at once.
pub(super) trait Target: Sync {
    /// Puts a blob; whether it was there.
    fn blob(&self, descriptor: &Descriptor, open: &mut Open<'_>) -> Result<bool, Error>;
}

/// Copies to `place`; the digest of what it names then.
pub(super) fn run(place: &Place, source: &Place, copying: &Copying<'_>) -> Result<Digest, Error> {
    let top = copying.plan.top().descriptor.clone();
    match place {
        Place::Registry(reference) => {
            if reference.digest().is_some_and(|digest| *digest != top.digest) {
                let why = format!("what is copied there has the digest {}", top.digest);
                return Err(Error::CopyImage { what: format!("to {place}"), why });
            }
            let elsewhere = match source {
                Place::Registry(from) if from.host() == reference.host() => vec![from.repository().clone()],
                _ => Vec::new(),
            };
            let target = Remote { client: client()?, repository: reference.repository().clone(), elsewhere };
            copying.blobs_at_once(&target)?;
            target.documents(reference, &copying.plan.documents)?;
        }
        Place::Layout { dir, name } => {
            let target = Directory { dir };
            target.begin()?;
            copying.blobs_at_once(&target)?;
            for document in &copying.plan.documents {
                let mut open = |_| Ok(Box::new(io::Cursor::new(document.bytes.clone())) as Opened<'_>);
                target.blob(&document.descriptor, &mut open)?;
            }
            target.end(top.clone(), name.as_deref())?;
        }
        Place::LayoutArchive { file, name } => output::to(Some(file), &mut |out| {
            let mut layout = LayoutWriter::new(out)?;
            copying.blobs_in_turn(&mut |blob, open| {
                layout.wants(&blob.digest);
                let mut opened = open(0).map_err(|error| unreadable(blob, &error))?;
                layout.stream(&blob.digest, blob.size, &mut opened)?;
                Ok(false)
            })?;
            for document in &copying.plan.documents {
                layout.blob(&document.descriptor.digest, &document.bytes)?;
            }
            layout.finish(&[named(top.clone(), name.as_deref())])
        })?,
        Place::DockerArchive { file, name } => {
            output::to(Some(file), &mut |out| docker(copying, LayoutWriter::new(out)?, name.as_ref()))?;
        }
    }
    Ok(top.digest)
}

fn unreadable(blob: &Descriptor, error: &io::Error) -> Error {
    Error::CopyImage { what: format!("blob {}", blob.digest), why: error.to_string() }
}

fn named(mut top: Descriptor, name: Option<&str>) -> Descriptor {
    if let Some(name) = name {
        top.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    }
    top
}

/// A registry.
struct Remote {
    client: Client,
    repository: Repository,
    elsewhere: Vec<Repository>,
}

impl Target for Remote {
    fn blob(&self, descriptor: &Descriptor, open: &mut Open<'_>) -> Result<bool, Error> {
        let pushed = self.client.push_blob(&self.repository, descriptor, &self.elsewhere, open)?;
        Ok(pushed != registry::Pushed::Uploaded)
    }
}

impl Remote {
    /// Puts the documents by their digests, and the last one by its name.
    fn documents(&self, name: &Reference, documents: &[Fetched<Document>]) -> Result<(), Error> {
        for (at, document) in documents.iter().enumerate() {
            let Descriptor { digest, media_type, .. } = &document.descriptor;
            let by_digest;
            let reference = match at + 1 == documents.len() {
                true => name,
                false => {
                    by_digest = Reference::parse(&format!("{}@{digest}", self.repository))
                        .map_err(store::Error::Reference)?;
                    &by_digest
                }
            };
            self.client.push_manifest(reference, media_type, &document.bytes)?;
        }
        Ok(())
    }
}

/// An image layout in a directory. Source: image-spec image-layout.md.
struct Directory<'a> {
    dir: &'a Path,
}

impl Target for Directory<'_> {
    fn blob(&self, descriptor: &Descriptor, open: &mut Open<'_>) -> Result<bool, Error> {
        let name = blob_name(&descriptor.digest);
        // Blobs come into their places whole.
        if self.dir.join(&name).metadata().is_ok_and(|file| file.len() == descriptor.size) {
            return Ok(true);
        }
        let mut opened = open(0).map_err(|error| unreadable(descriptor, &error))?;
        let mut read = |out: &mut dyn Write| {
            let copied = io::copy(&mut opened, out);
            copied.map(drop).map_err(|error| unreadable(descriptor, &error))
        };
        self.make_dir(&format!("blobs/{}", descriptor.digest.algorithm().name()))?;
        self.put(&name, &mut read)?;
        Ok(false)
    }
}

impl Directory<'_> {
    fn begin(&self) -> Result<(), Error> {
        ["", "blobs"].iter().try_for_each(|name| self.make_dir(name))
    }

    fn make_dir(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("make", path.display(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Fills a file that appears when it is complete.
    fn put(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.dir.join(name);
        let failed = |error: io::Error| Error::io("write", path.display(), &error);
        let parent = path.parent().unwrap_or(self.dir);
        let file_name = path.file_name().unwrap_or_default();
        let temporary = format!(".{}.{}.tmp", file_name.display(), std::process::id());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, parent, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&dir, &temporary, flags, Mode::from_raw_mode(0o644))
            .map_err(|errno| failed(errno.into()))?;
        let mut fill = || {
            let own = file.try_clone().map_err(failed)?;
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::from(own));
            write(&mut out)?;
            out.flush().map_err(failed)?;
            durable::put(dir.as_fd(), temporary.as_ref(), file_name).map_err(failed)
        };
        let filled = fill();
        if filled.is_err() {
            let _ = rustix::fs::unlinkat(&dir, &temporary, rustix::fs::AtFlags::empty());
        }
        filled
    }

    /// Names what is there now; what had the name loses it.
    fn end(&self, top: Descriptor, name: Option<&str>) -> Result<(), Error> {
        let path = self.dir.join("index.json");
        let refused = |why: String| Error::CopyImage { what: format!("to {}", path.display()), why };
        let mut manifests = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("open", path.display(), &error)),
            Ok(file) => {
                let reader = BufReader::new(file).take(MANIFEST_BYTES_MAX as u64);
                let index: Index = serde_json::from_reader(reader)
                    .map_err(|error| refused(format!("what is there is no index: {error}")))?;
                index.manifests
            }
        };
        let own = |entry: &Descriptor| entry.annotations.get(REF_NAME).map(String::as_str) == name;
        manifests.retain(|entry| !own(entry) || (name.is_none() && entry.digest != top.digest));
        manifests.push(named(top, name));
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests });
        for (name, bytes) in [("oci-layout", LAYOUT), ("index.json", index.to_string().as_bytes())] {
            self.put(name, &mut |out| {
                out.write_all(bytes).map_err(|error| Error::io("write", name, &error))
            })?;
        }
        Ok(())
    }
}

/// Docker's archive, as `save` writes it: the same bytes for the same image.
fn docker(
    copying: &Copying<'_>,
    mut layout: LayoutWriter<&mut dyn Write>,
    name: Option<&Reference>,
) -> Result<(), Error> {
    let Fetched { descriptor: top, document, .. } = copying.plan.top();
    let refused = |why: String| Error::CopyImage { what: format!("manifest {}", top.digest), why };
    let Document::Manifest(manifest) = document else { return Err(refused("it is an index".into())) };
    let mut config = Vec::new();
    let opened = copying.source.blob(&manifest.config).map_err(|e| unreadable(&manifest.config, &e))?;
    let read = opened.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut config);
    read.map_err(|error| unreadable(&manifest.config, &error))?;
    let parsed = ImageConfig::parse(&config).map_err(|error| refused(error.to_string()))?;
    let diffs = diff_ids(&parsed).map_err(&refused)?;
    if diffs.len() != manifest.layers.len() {
        let (layers, diffs) = (manifest.layers.len(), diffs.len());
        return Err(refused(format!("it has {layers} layers, its configuration {diffs}")));
    }
    let mut lengths = vec![0; diffs.len()];
    copying.blobs_in_turn(&mut |blob, open| {
        let at = manifest.layers.iter().position(|layer| layer.digest == blob.digest);
        let Some(at) = at else { return Ok(false) };
        let opened = open(0).map_err(|error| unreadable(blob, &error))?;
        let (file, bytes) = unpack(blob, opened, &diffs[at])?;
        layout.wants(&diffs[at].digest());
        layout.stream(&diffs[at].digest(), bytes, &mut FromStart { file, offset: 0 })?;
        for (length, layer) in lengths.iter_mut().zip(&manifest.layers) {
            if layer.digest == blob.digest {
                *length = bytes;
            }
        }
        Ok(false)
    })?;
    let digest = Digest::of(&config);
    let layers: Vec<(DiffId, u64)> = diffs.iter().copied().zip(lengths).collect();
    let manifest = layout.plain_image((&digest, &config), &layers)?;
    let names = name.cloned().into_iter().collect();
    layout.finish_docker(&[DockerImage { manifest, config: digest, layers: diffs, names }])
}

/// A layer's plain archive, in a file without a name, as its length comes first in a tar.
fn unpack(blob: &Descriptor, opened: Opened<'_>, diff: &DiffId) -> Result<(File, u64), Error> {
    let input = BufReader::with_capacity(BUFFER_BYTES, opened);
    let (mut plain, _) = store::decompress(input)?;
    let mut file = spool()?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let count = plain.read(&mut buffer).map_err(|error| unreadable(blob, &error))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
        file.write_all(&buffer[..count]).map_err(|error| Error::io("write", "a temporary file", &error))?;
    }
    match hasher.finish() == diff.digest() {
        true => Ok((file, bytes)),
        false => {
            let why = format!("its content isn't {diff}, as its image's configuration says");
            Err(Error::CopyImage { what: format!("blob {}", blob.digest), why })
        }
    }
}

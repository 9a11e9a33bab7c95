//! `berth save`: images to an archive, as docker 25 and later write it: an OCI image layout with docker's `manifest.json`
//! beside it, layers plain. The same images give the same bytes.

use super::look_at_store;
use crate::{Error, Home};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use store::tar::{Entry, EntryKind, Writer};
use store::{Image, Layer, Store};
use types::digest::{Digest, ImageId};
use types::image::{Descriptor, Manifest, media};
use types::reference::{Reference, is_bare};

/// Writes the images called `given` to `out`. A repository without a tag means all its tags, as with docker.
///
/// Errors: as [`Store::resolve_image`], [`Error::Image`] where a layer's archive isn't kept.
pub fn save(home: &Home, given: &[String], out: &mut dyn Write) -> Result<(), Error> {
    let no_image = || store::Error::NoImage { given: given.first().cloned().unwrap_or_default() };
    let store = look_at_store(home)?.ok_or_else(no_image)?;
    let wanted = wanted(&store, given)?;
    let mut saver = Saver { store: &store, out: Writer::new(out), written: BTreeSet::new() };
    saver.images(&wanted)?;
    let out = saver.out.finish().map_err(failed)?;
    out.flush().map_err(|error| Error::io("write", "the archive", &error))
}

/// The images in the order given, each once, with the names that it is saved under.
fn wanted(store: &Store, given: &[String]) -> Result<Vec<(Image, Vec<Reference>)>, Error> {
    let mut found: Vec<(Image, Vec<Reference>)> = Vec::new();
    let mut add = |image: Image, name: Option<Reference>| {
        let at = found.iter().position(|(known, _)| known.id == image.id).unwrap_or_else(|| {
            found.push((image, Vec::new()));
            found.len() - 1
        });
        let names = &mut found[at].1;
        names.extend(name.filter(|name| !names.contains(name)));
    };
    for text in given {
        let parsed = Reference::parse(text).ok();
        if let Some(reference) = parsed.as_ref().filter(|_| is_bare(text)) {
            let of_repository = |image: &Image| -> Vec<Reference> {
                let names = image.references.iter().filter_map(|name| Reference::parse(name).ok());
                names.filter(|name| name.repository() == reference.repository()).collect()
            };
            let mut any = false;
            for image in store.images()? {
                for name in of_repository(&image) {
                    any = true;
                    add(image.clone(), Some(name));
                }
            }
            if any {
                continue;
            }
        }
        let image = store.resolve_image(text)?;
        let name =
            parsed.filter(|name| name.digest().is_none() && image.references.contains(&name.to_string()));
        add(image, name);
    }
    Ok(found)
}

fn failed(error: store::tar::WriteError) -> Error {
    use store::tar::WriteError;
    match error {
        WriteError::Write(error) => Error::io("write", "the archive", &error),
        WriteError::Content(error) => store::Error::ReadArchive(error).into(),
        other => Error::invalid("the archive", other.to_string()),
    }
}

struct Saver<'a, W> {
    store: &'a Store,
    out: Writer<W>,
    /// Blobs that are in the archive.
    written: BTreeSet<Digest>,
}

impl<W: Write> Saver<'_, W> {
    fn images(&mut self, images: &[(Image, Vec<Reference>)]) -> Result<(), Error> {
        self.directory("blobs")?;
        self.directory("blobs/sha256")?;
        let mut manifests = Vec::new();
        let mut items = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (image, names) in images {
            let manifest = self.image(image)?;
            let descriptor = |name: Option<&Reference>| {
                let mut descriptor = manifest.clone();
                if let Some(name) = name {
                    let tag = name.tag().unwrap_or_default().to_owned();
                    descriptor.annotations.insert("io.containerd.image.name".into(), name.to_string());
                    descriptor.annotations.insert("org.opencontainers.image.ref.name".into(), tag);
                }
                descriptor
            };
            match names.is_empty() {
                true => manifests.push(descriptor(None)),
                false => manifests.extend(names.iter().map(|name| descriptor(Some(name)))),
            }
            let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
            items.push(json!({
                "Config": blob_name(&image.id.digest()),
                "RepoTags": if tags.is_empty() { None } else { Some(tags) },
                "Layers": image.layers.iter().map(|layer| blob_name(&layer.diff.digest())).collect::<Vec<_>>(),
            }));
            if let Some(top) = image.layers.last() {
                for name in names {
                    let tag = name.tag().unwrap_or_default().to_owned();
                    let entry = repositories.entry(name.repository().familiar()).or_default();
                    entry.insert(tag, top.diff.hex());
                }
            }
        }
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests });
        self.document("index.json", index.to_string().as_bytes())?;
        self.document("manifest.json", serde_json::Value::from(items).to_string().as_bytes())?;
        self.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !repositories.is_empty() {
            self.document("repositories", json!(repositories).to_string().as_bytes())?;
        }
        Ok(())
    }

    /// An image's blobs; what its manifest is.
    fn image(&mut self, image: &Image) -> Result<Descriptor, Error> {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let bytes = self.layer(&image.id, layer)?;
            layers.push(Descriptor::new(media::OCI_LAYER, layer.diff.digest(), bytes));
        }
        let config = image.config_json.as_bytes();
        self.blob(&image.id.digest(), config)?;
        let config = Descriptor::new(media::OCI_CONFIG, image.id.digest(), config.len() as u64);
        let manifest = Manifest::oci(config, layers);
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        let digest = Digest::of(&bytes);
        self.blob(&digest, &bytes)?;
        Ok(Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64))
    }

    /// A layer's plain archive; its length.
    fn layer(&mut self, image: &ImageId, layer: &Layer) -> Result<u64, Error> {
        let named = |error| Error::ImageParts { image: image.to_string(), source: Box::new(error) };
        let mut archive = self.store.open_archive(layer).map_err(named)?;
        let bytes = archive.length();
        if self.written.insert(layer.diff.digest()) {
            let name = blob_name(&layer.diff.digest());
            self.append(&name, EntryKind::File { size: bytes }, &mut archive)?;
            // Its digest is checked at its end.
            std::io::copy(&mut archive, &mut std::io::sink())
                .map_err(|error| named(store::Error::ReadArchive(error)))?;
        }
        Ok(bytes)
    }

    fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        match self.written.insert(digest.clone()) {
            true => self.document(&blob_name(digest), bytes),
            false => Ok(()),
        }
    }

    fn document(&mut self, name: &str, mut bytes: &[u8]) -> Result<(), Error> {
        self.append(name, EntryKind::File { size: bytes.len() as u64 }, &mut bytes)
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.append(name, EntryKind::Directory, &mut std::io::empty())
    }

    fn append(&mut self, name: &str, kind: EntryKind, content: &mut dyn Read) -> Result<(), Error> {
        let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
        let name = name.as_bytes().to_vec();
        let entry = Entry { name, kind, mode, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };
        self.out.append(&entry, content).map_err(failed)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

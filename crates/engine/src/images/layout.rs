//! Archives of images as they are written: an OCI image layout in a tar, and docker's `manifest.json` beside it. The same
//! images give the same bytes.

use crate::Error;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use store::tar::{Entry, EntryKind, WriteError, Writer};
use types::digest::{DiffId, Digest};
use types::image::{Descriptor, Manifest, media};
use types::reference::Reference;

/// Annotation with the whole name of an image: containerd's.
pub(super) const FULL_NAME: &str = "io.containerd.image.name";

/// Annotation with the name or the tag of an image. Source: image-spec annotations.md.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Content of the file `oci-layout`. Source: image-spec image-layout.md.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A layout that is being written, front to back.
pub(super) struct LayoutWriter<W> {
    out: Writer<W>,
    /// Blobs that are in it.
    written: BTreeSet<Digest>,
}

/// An image in docker's archive.
pub(super) struct DockerImage {
    /// Its manifest in the layout.
    pub manifest: Descriptor,
    /// Digest of its configuration.
    pub config: Digest,
    /// Its layers, which are there plain.
    pub layers: Vec<DiffId>,
    /// Names that it gets, with tags.
    pub names: Vec<Reference>,
}

impl DockerImage {
    /// Its manifest, once for each name, which is an annotation there.
    pub fn manifests(&self) -> Vec<Descriptor> {
        let named = |name: &Reference| {
            let mut descriptor = self.manifest.clone();
            descriptor.annotations.insert(FULL_NAME.into(), name.to_string());
            descriptor.annotations.insert(REF_NAME.into(), name.tag().unwrap_or_default().to_owned());
            descriptor
        };
        match self.names.is_empty() {
            true => vec![self.manifest.clone()],
            false => self.names.iter().map(named).collect(),
        }
    }
}

impl<W: Write> LayoutWriter<W> {
    /// Begins with the directories.
    pub fn new(out: W) -> Result<LayoutWriter<W>, Error> {
        let mut layout = LayoutWriter { out: Writer::new(out), written: BTreeSet::new() };
        layout.directory("blobs")?;
        layout.directory("blobs/sha256")?;
        Ok(layout)
    }

    /// Whether the blob is still to be written; from now on it counts as written.
    pub fn wants(&mut self, digest: &Digest) -> bool {
        self.written.insert(digest.clone())
    }

    /// Writes a blob that is wanted.
    pub fn stream(&mut self, digest: &Digest, bytes: u64, content: &mut dyn Read) -> Result<(), Error> {
        self.append(&blob_name(digest), EntryKind::File { size: bytes }, content)
    }

    /// Writes a small blob, unless it is there.
    pub fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        match self.wants(digest) {
            true => self.document(&blob_name(digest), bytes),
            false => Ok(()),
        }
    }

    /// Writes a configuration, and a manifest for it and for plain layers with their lengths; what the manifest is.
    pub fn plain_image(
        &mut self,
        config: (&Digest, &[u8]),
        layers: &[(DiffId, u64)],
    ) -> Result<Descriptor, Error> {
        let (digest, bytes) = config;
        self.blob(digest, bytes)?;
        let config = Descriptor::new(media::OCI_CONFIG, digest.clone(), bytes.len() as u64);
        let layer = |(diff, bytes): &(DiffId, u64)| Descriptor::new(media::OCI_LAYER, diff.digest(), *bytes);
        let manifest = Manifest::oci(config, layers.iter().map(layer).collect());
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        let digest = Digest::of(&bytes);
        self.blob(&digest, &bytes)?;
        Ok(Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64))
    }

    /// Ends it with an index of what is in it.
    pub fn finish(mut self, manifests: &[Descriptor]) -> Result<(), Error> {
        self.index(manifests)?;
        self.document("oci-layout", LAYOUT)?;
        self.end()
    }

    /// Ends it with docker's files as well.
    pub fn finish_docker(mut self, images: &[DockerImage]) -> Result<(), Error> {
        let mut manifests = Vec::new();
        let mut items = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for image in images {
            manifests.extend(image.manifests());
            let DockerImage { config, layers, names, .. } = image;
            let tag = |name: &Reference| name.tag().unwrap_or_default().to_owned();
            let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
            items.push(json!({
                "Config": blob_name(config),
                "RepoTags": if tags.is_empty() { None } else { Some(tags) },
                "Layers": layers.iter().map(|diff| blob_name(&diff.digest())).collect::<Vec<_>>(),
            }));
            if let Some(top) = layers.last() {
                for name in names {
                    let entry = repositories.entry(name.repository().familiar()).or_default();
                    entry.insert(tag(name), top.hex());
                }
            }
        }
        self.index(&manifests)?;
        self.document("manifest.json", serde_json::Value::from(items).to_string().as_bytes())?;
        self.document("oci-layout", LAYOUT)?;
        if !repositories.is_empty() {
            self.document("repositories", json!(repositories).to_string().as_bytes())?;
        }
        self.end()
    }

    fn index(&mut self, manifests: &[Descriptor]) -> Result<(), Error> {
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests });
        self.document("index.json", index.to_string().as_bytes())
    }

    fn end(self) -> Result<(), Error> {
        let mut out = self.out.finish().map_err(failed)?;
        out.flush().map_err(|error| Error::io("write", "the archive", &error))
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

fn failed(error: WriteError) -> Error {
    match error {
        WriteError::Write(error) => Error::io("write", "the archive", &error),
        WriteError::Content(error) => store::Error::ReadArchive(error).into(),
        other => Error::invalid("the archive", other.to_string()),
    }
}

/// Where a blob is in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

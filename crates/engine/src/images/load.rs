//! `berth load`: images from an archive, as `docker save`, skopeo, podman and buildx write them.

use super::archive::{Archive, Section};
use super::install::{Parts, check_is_image, configuration, diff_ids, install, make};
use super::layout::{FULL_NAME, REF_NAME, blob_name};
use super::{Progress, host_platform, open_store};
use crate::request::ImportSource;
use crate::{Error, Home, events};
use serde::Deserialize;
use std::io;
use store::{Input, NewLayer, Recipe, Store};
use types::digest::{DiffId, Digest, ImageId};
use types::image::manifest::Document;
use types::image::{CONFIG_BYTES_MAX, Descriptor, ImageConfig, Index, MANIFEST_BYTES_MAX, Manifest};
use types::reference::Reference;

/// Indexes within indexes that are followed.
const INDEX_DEPTH_MAX: usize = 4;

/// An image that was in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names that it has got, in docker's short form.
    pub names: Vec<String>,
    /// Names among them that another image had, and that image's id.
    pub moved: Vec<(String, String)>,
}

/// One image of docker's `manifest.json`. Source: moby's image/spec v1.2, "Combined Image JSON + Filesystem Changeset
/// Format".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerItem {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// Reads the images of an archive.
///
/// Errors: [`Error::ImageArchive`] for what is none, [`Error::ImageParts`] for what is wrong with one image.
pub fn load(home: &Home, source: &ImportSource, progress: &dyn Progress) -> Result<Vec<Loaded>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let input = crate::import::open(source)?;
    let what = match source {
        ImportSource::Stdin => "standard input".to_owned(),
        ImportSource::File(path) => path.display().to_string(),
    };
    let store = open_store(home)?;
    let archive = Archive::open(input, &what, &store.paths().tmp())?;
    let loader = Loader { store: &store, archive: &archive, what: &what, progress };
    let loaded = match loader.read("manifest.json", MANIFEST_BYTES_MAX)? {
        Some(bytes) => loader.docker(&bytes),
        None => match loader.read("index.json", MANIFEST_BYTES_MAX)? {
            Some(bytes) => loader.layout(&bytes),
            None => Err(loader.refused("it has neither manifest.json (docker) nor index.json (OCI)")),
        },
    }?;
    let ids: Vec<String> = loaded.iter().map(|image| image.id.to_string()).collect();
    events::images(home, "load", ids.iter().map(|id| (id.as_str(), id.as_str())));
    Ok(loaded)
}

struct Loader<'a> {
    store: &'a Store,
    archive: &'a Archive,
    what: &'a str,
    progress: &'a dyn Progress,
}

impl Loader<'_> {
    fn refused(&self, why: impl Into<String>) -> Error {
        Error::ImageArchive { archive: self.what.to_owned(), why: why.into() }
    }

    fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, Error> {
        self.archive.read(name, most).map_err(|error| self.refused(error.to_string()))
    }

    fn required(&self, name: &str, most: usize) -> Result<Vec<u8>, Error> {
        self.read(name, most)?.ok_or_else(|| self.refused(format!("{name} is missing")))
    }

    /// Docker's form: configurations and plain layers, named by `manifest.json`.
    fn docker(&self, bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
        let items: Vec<DockerItem> = serde_json::from_slice(bytes)
            .map_err(|error| self.refused(format!("manifest.json isn't docker's: {error}")))?;
        items.iter().map(|item| self.docker_image(item)).collect()
    }

    fn docker_image(&self, item: &DockerItem) -> Result<Loaded, Error> {
        let bytes = self.required(&item.config, CONFIG_BYTES_MAX)?;
        let in_config = |why: String| self.refused(format!("{}: {why}", item.config));
        let config = ImageConfig::parse(&bytes).map_err(|error| in_config(error.to_string()))?;
        let diffs = diff_ids(&config).map_err(in_config)?;
        let names = item.layers.as_deref().unwrap_or_default();
        if names.len() != diffs.len() {
            let (named, known) = (names.len(), diffs.len());
            return Err(in_config(format!("it has {known} layers, manifest.json has {named}")));
        }
        let mut shown = Vec::new();
        for (name, diff) in names.iter().zip(&diffs) {
            let section = self.archive.section(name);
            let section = section.ok_or_else(|| self.refused(format!("the layer {name} is missing")))?;
            shown.push((diff.to_string(), Some(section.bytes())));
        }
        self.progress.begin(&shown);
        let references = self.references(item.repo_tags.iter().flatten())?;
        let shown_names = references.iter().map(Reference::familiar).collect();
        let recipe = Recipe {
            layers: names.iter().zip(diffs).map(|(name, diff)| self.plain_layer(name, diff)).collect(),
            config: &|_| configuration(&bytes, &config),
            manifest: None,
            repository_digest: None,
            references,
        };
        let owners = self.owners(&recipe.references);
        let id = make(self.store, recipe, &item.config, self.progress)?;
        Ok(Loaded { id, names: shown_names, moved: moved(owners, &id) })
    }

    fn plain_layer<'n>(&'n self, name: &'n str, diff: DiffId) -> NewLayer<'n> {
        let archive = self.archive;
        let open = move || input(archive.section(name), name);
        NewLayer { diff: Some(diff), blob: None, open: Box::new(open), has_whiteouts: true }
    }

    fn references<'t>(&self, texts: impl Iterator<Item = &'t String>) -> Result<Vec<Reference>, Error> {
        let parse = |text: &String| {
            Reference::parse(text).map_err(|error| self.refused(format!("it names an image {error}")))
        };
        texts.map(parse).collect()
    }

    /// The image layout. Source: image-spec image-layout.md.
    fn layout(&self, bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
        let index: Index = serde_json::from_slice(bytes)
            .map_err(|error| self.refused(format!("index.json is no index: {error}")))?;
        let mut loaded = Vec::new();
        // Of what is no document nothing can be loaded.
        for descriptor in index.manifests.iter().filter(|entry| entry.is_document()) {
            let names = self.names(descriptor)?;
            loaded.extend(self.manifest(descriptor, names, INDEX_DEPTH_MAX)?);
        }
        match loaded.is_empty() {
            true => Err(self.refused("it has no image for this machine")),
            false => Ok(loaded),
        }
    }

    fn names(&self, descriptor: &Descriptor) -> Result<Vec<Reference>, Error> {
        let full = descriptor.annotations.get(FULL_NAME);
        // A bare tag names no repository.
        let short = descriptor.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
        self.references(full.or(short).into_iter())
    }

    /// The image behind a descriptor; `None` if it is for other machines only, or no image.
    fn manifest(
        &self,
        descriptor: &Descriptor,
        names: Vec<Reference>,
        depth: usize,
    ) -> Result<Option<Loaded>, Error> {
        let blob = blob_name;
        let checked = |digest: &Digest, most| {
            let bytes = self.required(&blob(digest), most)?;
            match digest.matches(&bytes) {
                true => Ok(bytes),
                false => Err(self.refused(format!("{} isn't what its name says", blob(digest)))),
            }
        };
        let bytes = checked(&descriptor.digest, MANIFEST_BYTES_MAX)?;
        let document = Document::parse(&bytes, &[&descriptor.media_type])
            .map_err(|error| self.refused(format!("{}: {error}", blob(&descriptor.digest))))?;
        let media_type = document.media_type(&descriptor.media_type).to_owned();
        let manifest: &Manifest = match &document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let Some(entry) = index.pick(&host_platform()) else { return Ok(None) };
                if depth == 0 {
                    return Err(self.refused("its indexes are nested too deep"));
                }
                return self.manifest(entry, names, depth - 1);
            }
        };
        check_is_image(manifest, descriptor.digest.as_str())?;
        let config = checked(&manifest.config.digest, CONFIG_BYTES_MAX)?;
        let archive = self.archive;
        let open = |layer: &Descriptor| {
            let name = blob(&layer.digest);
            input(archive.section(&name), &name)
        };
        let shown_names = names.iter().map(Reference::familiar).collect();
        let parts = Parts {
            manifest,
            media_type: &media_type,
            manifest_bytes: &bytes,
            config: &config,
            open: &open,
            repository_digest: None,
            references: names,
        };
        let owners = self.owners(&parts.references);
        let id = install(self.store, parts, descriptor.digest.as_str(), self.progress)?;
        Ok(Some(Loaded { id, names: shown_names, moved: moved(owners, &id) }))
    }

    /// Names that are given already, and the images that have them.
    fn owners(&self, references: &[Reference]) -> Vec<(String, ImageId)> {
        let owner = |reference: &Reference| {
            let image = self.store.resolve_image(&reference.to_string()).ok()?;
            Some((reference.familiar(), image.id))
        };
        references.iter().filter_map(owner).collect()
    }
}

fn moved(owners: Vec<(String, ImageId)>, to: &ImageId) -> Vec<(String, String)> {
    let others = owners.into_iter().filter(|(_, id)| id != to);
    others.map(|(name, id)| (name, id.to_string())).collect()
}

fn input<'a>(section: Option<Section>, name: &str) -> io::Result<Input<'a>> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing in the archive"));
    section.map(|section| Box::new(section) as Input<'a>).ok_or_else(missing)
}

//! `berth save`: images to an archive, as docker 25 and later write it: an OCI image layout with docker's `manifest.json`
//! beside it, layers plain. The same images give the same bytes.

use super::layout::{DockerImage, LayoutWriter};
use super::look_at_store;
use crate::{Error, Home, events};
use std::io::Write;
use store::{Image, Layer, Store};
use types::digest::ImageId;
use types::reference::{Reference, is_bare};

/// Writes the images called `given` to `out`. A repository without a tag means all its tags, as with docker.
///
/// Errors: as [`Store::resolve_image`], [`Error::Image`] where a layer's archive isn't kept.
pub fn save(home: &Home, given: &[String], out: &mut dyn Write) -> Result<(), Error> {
    let no_image = || store::Error::NoImage { given: given.first().cloned().unwrap_or_default() };
    let store = look_at_store(home)?.ok_or_else(no_image)?;
    let wanted = wanted(&store, given)?;
    let ids: Vec<String> = wanted.iter().map(|(image, _)| image.id.to_string()).collect();
    write(&store, wanted, Format::Docker, out)?;
    events::images(home, "save", ids.iter().map(|id| (id.as_str(), id.as_str())));
    Ok(())
}

/// What an archive of images has beside their blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An index only.
    Oci,
    /// Docker's files as well.
    Docker,
}

impl Format {
    /// What it's called.
    pub fn name(self) -> &'static str {
        match self {
            Format::Oci => "oci",
            Format::Docker => "docker",
        }
    }
}

/// Writes images under these names.
///
/// Errors: as [`save`].
pub(crate) fn write(
    store: &Store,
    images: Vec<(Image, Vec<Reference>)>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut saver = Saver { store, out: LayoutWriter::new(out)? };
    let mut written = Vec::new();
    for (image, names) in images {
        written.push(saver.image(&image, names)?);
    }
    match format {
        Format::Docker => saver.out.finish_docker(&written),
        Format::Oci => {
            let manifests: Vec<_> = written.iter().flat_map(DockerImage::manifests).collect();
            saver.out.finish(&manifests)
        }
    }
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

struct Saver<'a, W> {
    store: &'a Store,
    out: LayoutWriter<W>,
}

impl<W: Write> Saver<'_, W> {
    /// An image's blobs.
    fn image(&mut self, image: &Image, names: Vec<Reference>) -> Result<DockerImage, Error> {
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push((layer.diff, self.layer(&image.id, layer)?));
        }
        let config = image.id.digest();
        let manifest = self.out.plain_image((&config, image.config_json.as_bytes()), &layers)?;
        let layers = layers.into_iter().map(|(diff, _)| diff).collect();
        Ok(DockerImage { manifest, config, layers, names })
    }

    /// A layer's plain archive; its length.
    fn layer(&mut self, image: &ImageId, layer: &Layer) -> Result<u64, Error> {
        let named = |error| Error::ImageParts { image: image.to_string(), source: Box::new(error) };
        let mut archive = self.store.open_archive(layer).map_err(named)?;
        let bytes = archive.length();
        let digest = layer.diff.digest();
        if self.out.wants(&digest) {
            self.out.stream(&digest, bytes, &mut archive)?;
            // Its digest is checked at its end.
            std::io::copy(&mut archive, &mut std::io::sink())
                .map_err(|error| named(store::Error::ReadArchive(error)))?;
        }
        Ok(bytes)
    }
}

//! Where a copy comes from: documents and blobs by descriptor, each checked against it.

use super::place::Place;
use crate::Error;
use crate::images::archive::{Archive, Section, nameless};
use crate::images::install::diff_ids;
use crate::images::layout::{FULL_NAME, REF_NAME, blob_name};
use crate::images::load::DockerItem;
use crate::images::pull::client;
use registry::{Client, Fetched};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use types::digest::{Digest, Hasher};
use types::image::manifest::Document;
use types::image::media::Compression;
use types::image::{CONFIG_BYTES_MAX, Descriptor, ImageConfig, Index, MANIFEST_BYTES_MAX, Manifest, media};
use types::reference::Reference;

/// Content of a blob. It ends in an error if it isn't what its descriptor says.
pub(super) type Opened<'a> = Box<dyn Read + 'a>;

/// Where blobs that are packed on the way are kept, nameless.
const SPOOL_DIR: &str = "/var/tmp";

/// Blobs are read in pieces of this size.
const BUFFER_BYTES: usize = 128 << 10;

pub(super) trait Source: Sync {
    /// What the place itself names.
    fn top(&self) -> Result<Fetched<Document>, Error>;

    /// What an entry of an index names.
    fn entry(&self, descriptor: &Descriptor) -> Result<Fetched<Document>, Error>;

    /// The blob that a manifest names.
    fn blob(&self, descriptor: &Descriptor) -> io::Result<Opened<'static>>;
}

/// Opens a place. The layers of docker's archives are packed as gzip unless they go into such an archive again.
pub(super) fn open(place: &Place, plain: bool) -> Result<Box<dyn Source>, Error> {
    let refused = |why: String| Error::CopyImage { what: place.to_string(), why };
    Ok(match place {
        Place::Registry(reference) => Box::new(Registry { client: client()?, reference: reference.clone() }),
        Place::Layout { dir, name } => {
            let files = Files::Directory(dir.clone());
            Box::new(Layout { what: place.to_string(), files, name: name.clone() })
        }
        Place::LayoutArchive { file, name } => {
            let files = Files::Archive(open_archive(file)?);
            Box::new(Layout { what: place.to_string(), files, name: name.clone() })
        }
        Place::DockerArchive { file, name } => {
            Box::new(docker(open_archive(file)?, name.as_ref(), plain, &refused)?)
        }
    })
}

/// Where what has no place in memory is kept.
pub(super) fn spool() -> Result<File, Error> {
    let dir = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    nameless(dir.as_deref().unwrap_or(Path::new(SPOOL_DIR)))
}

fn open_archive(path: &Path) -> Result<Archive, Error> {
    let file = File::open(path).map_err(|error| Error::io("open", path.display(), &error))?;
    let dir = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Archive::open(file, &path.display().to_string(), dir.as_deref().unwrap_or(Path::new(SPOOL_DIR)))
}

struct Registry {
    client: Client,
    reference: Reference,
}

impl Source for Registry {
    fn top(&self) -> Result<Fetched<Document>, Error> {
        Ok(self.client.document(&self.reference)?)
    }

    fn entry(&self, descriptor: &Descriptor) -> Result<Fetched<Document>, Error> {
        Ok(self.client.entry(self.reference.repository(), descriptor)?)
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Opened<'static>> {
        let blob = self.client.blob(self.reference.repository(), descriptor);
        blob.map(|blob| Box::new(blob) as Opened<'static>).map_err(io::Error::other)
    }
}

/// An image layout. Source: image-spec image-layout.md.
struct Layout {
    what: String,
    files: Files,
    name: Option<String>,
}

enum Files {
    Directory(PathBuf),
    Archive(Archive),
}

impl Files {
    fn open(&self, name: &str) -> io::Result<Opened<'static>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        match self {
            Files::Directory(dir) => match File::open(dir.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                opened => Ok(Box::new(opened?)),
            },
            Files::Archive(archive) => Ok(Box::new(archive.section(name).ok_or_else(missing)?)),
        }
    }

    fn read(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() > most {
            true => Err(io::Error::other(format!("{name} has more than {most} bytes"))),
            false => Ok(bytes),
        }
    }
}

impl Layout {
    fn refused(&self, why: impl ToString) -> Error {
        Error::CopyImage { what: self.what.clone(), why: why.to_string() }
    }

    /// The entry that is meant: by its name, or the only one.
    fn chosen(&self, index: &Index) -> Result<Descriptor, Error> {
        let names = |entry: &Descriptor| -> Vec<String> {
            [FULL_NAME, REF_NAME].iter().filter_map(|name| entry.annotations.get(*name).cloned()).collect()
        };
        let is_meant = |entry: &&Descriptor| match &self.name {
            Some(name) => names(entry).contains(name),
            None => true,
        };
        let mut found: Vec<&Descriptor> = index.manifests.iter().filter(is_meant).collect();
        // One image under several names.
        found.dedup_by_key(|entry| &entry.digest);
        match (&found[..], &self.name) {
            ([one], _) => Ok((*one).clone()),
            ([], Some(name)) => Err(self.refused(format!("it has no image called {name:?}"))),
            ([], None) => Err(self.refused("it is empty")),
            (several, _) => {
                let all: Vec<String> = several.iter().flat_map(|entry| names(entry)).take(20).collect();
                Err(self.refused(format!("it has several images, name one: {}", all.join(", "))))
            }
        }
    }
}

impl Source for Layout {
    fn top(&self) -> Result<Fetched<Document>, Error> {
        let bytes = self.files.read("index.json", MANIFEST_BYTES_MAX).map_err(|error| self.refused(error))?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| self.refused(format!("index.json is no index: {error}")))?;
        self.entry(&self.chosen(&index)?)
    }

    fn entry(&self, descriptor: &Descriptor) -> Result<Fetched<Document>, Error> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.files.read(&name, MANIFEST_BYTES_MAX).map_err(|error| self.refused(error))?;
        if !descriptor.digest.matches(&bytes) || descriptor.size != bytes.len() as u64 {
            return Err(self.refused(format!("{name} isn't what its name says")));
        }
        let document = Document::parse(&bytes, &[&descriptor.media_type])
            .map_err(|error| self.refused(format!("{name}: {error}")))?;
        let media_type = media::essence(document.media_type(&descriptor.media_type));
        let descriptor = Descriptor::new(&media_type, descriptor.digest.clone(), descriptor.size);
        Ok(Fetched { descriptor, bytes, document })
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Opened<'static>> {
        let opened = self.files.open(&blob_name(&descriptor.digest))?;
        Ok(Box::new(Checked::new(opened, descriptor)))
    }
}

/// An image out of docker's archive, with a manifest made for it.
struct Docker {
    archive: Archive,
    manifest: Fetched<Document>,
    blobs: BTreeMap<Digest, Kept>,
}

/// Where a blob of it is.
enum Kept {
    Bytes(Vec<u8>),
    /// An entry of the archive.
    Entry(String),
    /// Packed on the way.
    Packed(File),
}

impl Source for Docker {
    fn top(&self) -> Result<Fetched<Document>, Error> {
        Ok(self.manifest.clone())
    }

    fn entry(&self, descriptor: &Descriptor) -> Result<Fetched<Document>, Error> {
        let (what, why) = (descriptor.digest.to_string(), "docker's archives have no indexes".to_owned());
        Err(Error::CopyImage { what, why })
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Opened<'static>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it is missing in the archive");
        let opened: Opened<'static> = match self.blobs.get(&descriptor.digest).ok_or_else(missing)? {
            Kept::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Kept::Entry(name) => Box::new(self.archive.section(name).ok_or_else(missing)?),
            Kept::Packed(file) => Box::new(FromStart { file: file.try_clone()?, offset: 0 }),
        };
        Ok(Box::new(Checked::new(opened, descriptor)))
    }
}

fn docker(
    archive: Archive,
    wanted: Option<&Reference>,
    plain: bool,
    refused: &dyn Fn(String) -> Error,
) -> Result<Docker, Error> {
    let read = |name: &str, most| {
        let found = archive.read(name, most).map_err(|error| refused(error.to_string()))?;
        found.ok_or_else(|| refused(format!("{name} is missing")))
    };
    let items: Vec<DockerItem> = serde_json::from_slice(&read("manifest.json", MANIFEST_BYTES_MAX)?)
        .map_err(|error| refused(format!("manifest.json isn't docker's: {error}")))?;
    let has_name = |item: &&DockerItem| match wanted {
        Some(wanted) => item
            .repo_tags
            .iter()
            .flatten()
            .any(|name| Reference::parse(name).is_ok_and(|name| name == *wanted)),
        None => true,
    };
    let found: Vec<&DockerItem> = items.iter().filter(has_name).collect();
    let item = match (&found[..], wanted) {
        ([one, ..], Some(_)) | ([one], None) => *one,
        ([], Some(name)) => return Err(refused(format!("it has no image called {}", name.familiar()))),
        ([], None) => return Err(refused("it is empty".into())),
        (several, None) => {
            let names = several.iter().flat_map(|item| item.repo_tags.iter().flatten()).take(20);
            let names: Vec<&str> = names.map(String::as_str).collect();
            return Err(refused(format!("it has several images, name one: {}", names.join(", "))));
        }
    };
    let config_bytes = read(&item.config, CONFIG_BYTES_MAX)?;
    let in_config = |why: String| refused(format!("{}: {why}", item.config));
    let config = ImageConfig::parse(&config_bytes).map_err(|error| in_config(error.to_string()))?;
    let diffs = diff_ids(&config).map_err(in_config)?;
    let names = item.layers.clone().unwrap_or_default();
    if names.len() != diffs.len() {
        let (named, known) = (names.len(), diffs.len());
        return Err(in_config(format!("it has {known} layers, manifest.json has {named}")));
    }
    let mut blobs = BTreeMap::new();
    let mut layers = Vec::new();
    for (name, diff) in names.into_iter().zip(diffs) {
        let in_layer = |why: String| refused(format!("{name}: {why}"));
        let section = archive.section(&name).ok_or_else(|| in_layer("it is missing".into()))?;
        let bytes = Section::bytes(&section);
        let mut start = BufReader::with_capacity(BUFFER_BYTES, section);
        let found = Compression::of(io::BufRead::fill_buf(&mut start).map_err(|e| in_layer(e.to_string()))?);
        let (descriptor, kept) = match found {
            Compression::None if plain => {
                (Descriptor::new(media::OCI_LAYER, diff.digest(), bytes), Kept::Entry(name.clone()))
            }
            Compression::None => {
                let own = Descriptor::new(media::OCI_LAYER, diff.digest(), bytes);
                let (descriptor, file) = pack(Checked::new(Box::new(start), &own), &in_layer)?;
                (descriptor, Kept::Packed(file))
            }
            found => {
                let digest = digest_of(&mut start).map_err(|error| in_layer(error.to_string()))?;
                let kind =
                    if found == Compression::Gzip { media::OCI_LAYER_GZIP } else { media::OCI_LAYER_ZSTD };
                (Descriptor::new(kind, digest, bytes), Kept::Entry(name.clone()))
            }
        };
        blobs.insert(descriptor.digest.clone(), kept);
        layers.push(descriptor);
    }
    let digest = Digest::of(&config_bytes);
    let config = Descriptor::new(media::OCI_CONFIG, digest.clone(), config_bytes.len() as u64);
    blobs.insert(digest, Kept::Bytes(config_bytes));
    let manifest = Manifest::oci(config, layers);
    let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
    let descriptor = Descriptor::new(media::OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
    let manifest = Fetched { descriptor, bytes, document: Document::Manifest(Box::new(manifest)) };
    Ok(Docker { archive, manifest, blobs })
}

fn digest_of(input: &mut dyn Read) -> io::Result<Digest> {
    let mut hashed =
        Hashed { inner: io::sink(), hasher: Hasher::new(types::digest::Algorithm::Sha256), bytes: 0 };
    io::copy(input, &mut hashed)?;
    Ok(hashed.hasher.finish())
}

/// A layer as gzip, in a file without a name.
fn pack(mut plain: Checked, failed: &dyn Fn(String) -> Error) -> Result<(Descriptor, File), Error> {
    let file = spool()?;
    let own = file.try_clone().map_err(|error| failed(error.to_string()))?;
    let mut out = Hashed {
        inner: BufWriter::with_capacity(BUFFER_BYTES, own),
        hasher: Hasher::new(types::digest::Algorithm::Sha256),
        bytes: 0,
    };
    let packed = store::gzip::compress(&mut plain, &mut out).and_then(|()| out.flush());
    packed.map_err(|error| failed(error.to_string()))?;
    Ok((Descriptor::new(media::OCI_LAYER_GZIP, out.hasher.finish(), out.bytes), file))
}

/// A writer that is hashed and counted.
struct Hashed<W> {
    inner: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file from its start, whose descriptor others read as well.
pub(super) struct FromStart {
    pub file: File,
    pub offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A blob whose last byte is handed out only if size and digest are right.
pub(super) struct Checked {
    inner: Box<dyn Read>,
    hasher: Option<Hasher>,
    expected: Descriptor,
    left: u64,
}

impl Checked {
    pub fn new(inner: Box<dyn Read>, expected: &Descriptor) -> Checked {
        let hasher = Some(Hasher::new(expected.digest.algorithm()));
        Checked { inner, hasher, expected: expected.clone(), left: expected.size }
    }

    fn fault(&self, why: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", self.expected.digest))
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.left == 0 && self.hasher.is_none()) {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 && self.left > 0 {
            return Err(self.fault(&format!("is {} bytes shorter than it should be", self.left)));
        }
        self.left -= count as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
        {
            let found = hasher.finish();
            if found != self.expected.digest {
                return Err(self.fault(&format!("isn't what its name says: its digest is {found}")));
            }
        }
        Ok(count)
    }
}

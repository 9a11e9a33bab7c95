//! Media types, OCI's and docker's.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer that isn't to be passed on, not compressed. Source: image-spec layer.md, Non-Distributable Layers; deprecated.
pub const OCI_RESTRICTED: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// OCI layer that isn't to be passed on, gzip.
pub const OCI_RESTRICTED_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// OCI layer that isn't to be passed on, zstd.
pub const OCI_RESTRICTED_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer, not compressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer, zstd, as BuildKit writes it.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Empty JSON, the config of artifacts.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What a registry may answer with when asked for a manifest: all that [`super::Document`] understands.
pub const MANIFESTS: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// What the types of docker's foreign layers begin with.
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

const DOCKER_SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// Compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// A plain archive.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// What content that begins like this is compressed with, as far as layers are: all else counts as plain.
    pub fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A frame, or one that is skipped, with which chunked files begin. Source: RFC 8878, 3.1.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// What a media type says that the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// A manifest of one image.
    Manifest,
    /// A list of manifests.
    Index,
    /// An image's configuration.
    Config,
    /// A layer.
    Layer(Compression),
    /// A layer that isn't to be had from registries, such as Windows's.
    ForeignLayer,
    /// Docker's manifest of 2014, which berth doesn't read.
    SchemaOne,
    /// Something else.
    Unknown,
}

impl MediaKind {
    /// The kind of `media_type`, whose parameters (`; charset=…`) and case don't matter. Source: RFC 9110 8.3.1.
    pub fn of(media_type: &str) -> MediaKind {
        let name = essence(media_type);
        match name.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => MediaKind::Manifest,
            OCI_INDEX | DOCKER_INDEX => MediaKind::Index,
            OCI_CONFIG | DOCKER_CONFIG => MediaKind::Config,
            OCI_LAYER | DOCKER_LAYER | OCI_RESTRICTED => MediaKind::Layer(Compression::None),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP | OCI_RESTRICTED_GZIP => MediaKind::Layer(Compression::Gzip),
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD | OCI_RESTRICTED_ZSTD => MediaKind::Layer(Compression::Zstd),
            _ if DOCKER_SCHEMA_1.contains(&name.as_str()) => MediaKind::SchemaOne,
            _ if name.starts_with(DOCKER_FOREIGN) => MediaKind::ForeignLayer,
            _ => MediaKind::Unknown,
        }
    }

    /// Whether it is the kind of what stands at a registry's manifests.
    pub fn is_document(self) -> bool {
        matches!(self, MediaKind::Manifest | MediaKind::Index | MediaKind::SchemaOne)
    }
}

/// `media_type` without parameters, lower case.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether content of this type isn't to be uploaded: docker's foreign layers, and OCI's non-distributable ones.
pub fn is_restricted(media_type: &str) -> bool {
    let name = essence(media_type);
    name.starts_with(OCI_RESTRICTED) || name.starts_with(DOCKER_FOREIGN)
}

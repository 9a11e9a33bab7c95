//! What can go wrong in the store.

use crate::tar;
use std::io;
use std::path::PathBuf;
use types::kind::Kind;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's directory can't be made or opened.
    #[error("cannot open the store at {}: {source}", path.display())]
    OpenRoot {
        /// The directory in question.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no store to read.
    #[error("there is no store at {}", path.display())]
    NoStore {
        /// The store's directory.
        path: PathBuf,
    },
    /// The store's directory could be changed by other users.
    #[error("cannot use the store at {}: other users can write there (mode {mode:04o})", path.display())]
    InsecureRoot {
        /// The store's directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The database failed.
    #[error("cannot {doing} in {}: {source}", path.display())]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A name that no network may have.
    #[error("invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    NetworkName {
        /// The name.
        name: String,
    },
    /// There is a network of that name.
    #[error("network with name {name} already exists")]
    NetworkExists {
        /// The name.
        name: String,
    },
    /// The database was written by a newer berth.
    #[error("the store at {} has schema {found}, this berth knows up to {known}", path.display())]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The database was written by an older berth, and may only be read.
    #[error("the store at {} has schema {found}, this berth needs {known} and may not change it", path.display())]
    OlderSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema this program needs.
        known: i64,
    },
    /// A change was asked of a store opened for reading.
    #[error("cannot {doing}: the store at {} is open for reading only", path.display())]
    ReadOnly {
        /// What was attempted.
        doing: &'static str,
        /// The database file.
        path: PathBuf,
    },
    /// A row holds what no berth writes.
    #[error("the store at {} is damaged: {what} {value:?} is not valid", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// Sort of value.
        what: &'static str,
        /// The value.
        value: String,
    },

    /// A name that a container can't have.
    #[error("{name:?} can't name a container: [a-zA-Z0-9][a-zA-Z0-9_.-]+ with at most {max} characters can")]
    ContainerName {
        /// The name.
        name: String,
        /// Longest name.
        max: usize,
    },
    /// Another container has the name.
    #[error("the container name {name:?} is already in use by container {id}")]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// A container with this id exists.
    #[error("a container with id {id} exists already")]
    ContainerExists {
        /// The id.
        id: String,
    },
    /// No container of that name or id.
    #[error("no such container: {given}")]
    NoContainer {
        /// What was asked for.
        given: String,
    },
    /// No image of that name or id.
    #[error("no such image: {given}")]
    NoImage {
        /// What was asked for.
        given: String,
    },
    /// A prefix of several ids.
    #[error("{given:?} is the beginning of more than one {what}'s id: {}", matches.join(", "))]
    Ambiguous {
        /// `container` or `image`.
        what: &'static str,
        /// What was asked for.
        given: String,
        /// Some of the ids, shortened.
        matches: Vec<String>,
    },
    /// No volume of that name.
    #[error("get {name}: no such volume")]
    NoVolume {
        /// What was asked for.
        name: String,
    },
    /// A name that a volume can't have. In docker's words.
    #[error("create {name}: {why}")]
    VolumeName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A container with the volume is being started, or it is being removed.
    #[error("the volume {name} is being used by another command")]
    VolumeBusy {
        /// Its name.
        name: String,
    },
    /// A container was made from the image.
    #[error("cannot remove image {image}: container {container} uses it")]
    ImageInUse {
        /// What was asked for.
        image: String,
        /// One of the containers.
        container: String,
    },
    /// Removing by id an image with several names.
    #[error("cannot remove image {image} by its id: it has the names {}", names.join(", "))]
    ImageHasNames {
        /// The id, shortened.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// A name that no image can have.
    #[error("{0}")]
    Reference(types::reference::Invalid),

    /// Something is wrong with one layer of an image.
    #[error("layer {digest}: {source}")]
    Layer {
        /// Digest of its blob or, where there is none, of its archive.
        digest: String,
        /// What.
        source: Box<Error>,
    },
    /// Content isn't what its digest says.
    #[error("its {what} has the digest {found}, not {expected}")]
    WrongDigest {
        /// `blob` or `archive`.
        what: &'static str,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// Content isn't as long as its descriptor says.
    #[error("its blob has {} bytes, not {expected}", if found > expected { "more".to_owned() } else { found.to_string() })]
    BlobSize {
        /// What was promised.
        expected: u64,
        /// What came; only counted until it is too much.
        found: u64,
    },
    /// Of a layer only the tree is kept.
    #[error("the archive of layer {diff} isn't kept here")]
    NoArchive {
        /// The layer's diff id.
        diff: String,
    },
    /// A layer isn't here.
    #[error("there is no layer {chain}")]
    NoLayer {
        /// Its chain id.
        chain: String,
    },
    /// An image's configuration is no text.
    #[error("the image's configuration is not UTF-8")]
    ConfigText,
    /// The input ended in error.
    #[error("cannot read the archive: {0}")]
    ReadArchive(io::Error),
    /// A compression that isn't read.
    #[error("cannot read the archive: {format} compression is not supported")]
    Compression {
        /// Its name.
        format: &'static str,
    },
    /// The archive is malformed.
    #[error("cannot read the archive: {0}")]
    Archive(tar::Error),
    /// The archive is larger than the limits allow.
    #[error("cannot unpack the archive: it has more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        max: u64,
    },
    /// An entry that is not let onto the disk.
    #[error("cannot unpack entry \"{entry}\": {reason}")]
    Entry {
        /// The entry's name, escaped.
        entry: String,
        /// Why not.
        reason: &'static str,
    },
    /// The kernel refused an entry.
    #[error("cannot unpack entry \"{entry}\": {call}: {source}")]
    Unpack {
        /// The entry's name, escaped.
        entry: String,
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A tree that is archived or compared can't be read.
    #[error("cannot read \"{entry}\": {call}: {source}")]
    ReadTree {
        /// The path in the tree, escaped.
        entry: String,
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that was different each time it was looked at.
    #[error("cannot read {entry}: it changes all the time")]
    Changing {
        /// The path in the tree, escaped.
        entry: String,
    },
    /// Something can't be written into a tree.
    #[error("cannot write {entry}: {call}: {source}")]
    WriteTree {
        /// The path in the tree, escaped.
        entry: String,
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A copy that what is there forbids.
    #[error("cannot copy to {entry}: {reason}")]
    Occupied {
        /// The path in the tree copied to, escaped.
        entry: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file that isn't copied anywhere.
    #[error("cannot copy {entry}: {reason}")]
    Uncopyable {
        /// The path in the tree copied from, escaped.
        entry: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file that can't be archived.
    #[error("cannot archive \"{entry}\": {reason}")]
    Unarchivable {
        /// The path in the tree, escaped.
        entry: String,
        /// Why not.
        reason: &'static str,
    },
    /// What an archive is written to failed.
    #[error("cannot write the archive: {0}")]
    WriteArchive(io::Error),
    /// Files of the store can't be made, moved or removed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Files {
        /// What was attempted.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Error::OpenRoot { source, .. }
            | Error::Unpack { source, .. }
            | Error::ReadTree { source, .. }
            | Error::WriteTree { source, .. }
            | Error::WriteArchive(source)
            | Error::Files { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Kind::Forbidden,
                _ => Kind::System,
            },
            Error::Layer { source, .. } => source.kind(),
            Error::InsecureRoot { .. } => Kind::Forbidden,
            Error::Database { .. } | Error::ReadOnly { .. } | Error::Damaged { .. } => Kind::System,
            Error::ReadArchive(source) => match source.kind() {
                // What the decompressor says about its input.
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Kind::Invalid
                }
                _ => Kind::System,
            },
            Error::NewerSchema { .. } | Error::OlderSchema { .. } | Error::Compression { .. } => {
                Kind::Unsupported
            }
            Error::NameInUse { .. }
            | Error::ContainerExists { .. }
            | Error::ImageInUse { .. }
            | Error::Changing { .. }
            | Error::ImageHasNames { .. } => Kind::Conflict,
            Error::NoArchive { .. } | Error::NoVolume { .. } | Error::NoLayer { .. } => Kind::NotFound,
            Error::VolumeBusy { .. } | Error::NetworkExists { .. } => Kind::Conflict,
            Error::NoStore { .. } | Error::NoContainer { .. } | Error::NoImage { .. } => Kind::NotFound,
            Error::Archive(tar::Error { fault: tar::Fault::Unsupported(_), .. })
            | Error::Uncopyable { .. }
            | Error::Unarchivable { .. } => Kind::Unsupported,
            Error::ContainerName { .. }
            | Error::VolumeName { .. }
            | Error::NetworkName { .. }
            | Error::Ambiguous { .. }
            | Error::Reference(_)
            | Error::WrongDigest { .. }
            | Error::BlobSize { .. }
            | Error::ConfigText
            | Error::Archive(_)
            | Error::Occupied { .. }
            | Error::Limit { .. }
            | Error::Entry { .. } => Kind::Invalid,
        }
    }

    /// Whether the database found no room on its disk.
    pub fn is_disk_full(&self) -> bool {
        let full = Some(rusqlite::ErrorCode::DiskFull);
        matches!(self, Error::Database { source, .. } if source.sqlite_error_code() == full)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Layer { source, .. } => return source.hint(),
            Error::OpenRoot { source, path } => return open_hint(source, path),
            Error::InsecureRoot { path, .. } => return Some(format!("chmod go-w {}", path.display())),
            Error::Unpack { source, call, .. } => return unpack_hint(source, call),
            Error::Files { source, .. } | Error::WriteTree { source, .. } | Error::WriteArchive(source) => {
                return space_hint(source);
            }
            Error::Unarchivable { .. } => "remove or rename it; pause the container if it is being changed",
            Error::Database { source, .. } => return database_hint(source),
            Error::NoArchive { .. } => "pull or load the image again",
            Error::NoStore { .. } => "the first command run as root makes it",
            Error::NewerSchema { .. } => "use the berth that wrote it, or a newer one",
            Error::OlderSchema { .. } => {
                "run any command as root on a writable file system, which upgrades it"
            }
            Error::ReadOnly { .. } => "remount the file system read-write, or move the store with --root",
            Error::Damaged { .. } => "the database was changed by something else: restore it from a backup",
            Error::NameInUse { .. } => "remove or rename that container, or take another name",
            Error::NoContainer { .. } => "berth ps -a lists containers",
            Error::NoImage { .. } => "berth images lists images; berth import makes one from an archive",
            Error::NoLayer { .. } => "it was removed meanwhile: build again",
            Error::NoVolume { .. } => "berth volume ls lists volumes",
            Error::NetworkExists { .. } => {
                "take another name, or use that one: berth network inspect shows it"
            }
            Error::Changing { .. } => {
                "something writes to it: stop that, or leave the file out by .dockerignore"
            }
            Error::VolumeBusy { .. } => "a container with it is being started or removed: try again",
            Error::Ambiguous { .. } => "give more digits",
            Error::ImageInUse { container, .. } => return Some(format!("berth rm {container}")),
            Error::ImageHasNames { .. } => "remove its names one by one; the last one removes the image",
            Error::Compression { .. } => "unpack it and import the plain archive, or use gzip",
            Error::ContainerExists { .. }
            | Error::ContainerName { .. }
            | Error::VolumeName { .. }
            | Error::NetworkName { .. }
            | Error::Reference(_)
            | Error::WrongDigest { .. }
            | Error::BlobSize { .. }
            | Error::ConfigText
            | Error::ReadArchive(_)
            | Error::Archive(_)
            | Error::Limit { .. }
            | Error::Entry { .. }
            | Error::Occupied { .. }
            | Error::Uncopyable { .. }
            | Error::ReadTree { .. } => return None,
        };
        Some(text.to_owned())
    }
}

fn open_hint(source: &io::Error, path: &std::path::Path) -> Option<String> {
    let text = match source.kind() {
        io::ErrorKind::NotFound => return Some(format!("create the directory above {}", path.display())),
        io::ErrorKind::PermissionDenied => "run as root, or move the store with --root or BERTH_ROOT",
        io::ErrorKind::ReadOnlyFilesystem => {
            "remount the file system read-write, or move the store with --root or BERTH_ROOT"
        }
        io::ErrorKind::NotADirectory => "a file is in the way: move it, or move the store with --root",
        _ => return space_hint(source),
    };
    Some(text.to_owned())
}

fn space_hint(source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space, or move the store with --root or BERTH_ROOT".to_owned())
        }
        _ => None,
    }
}

fn unpack_hint(source: &io::Error, call: &str) -> Option<String> {
    match (source.kind(), call) {
        (io::ErrorKind::PermissionDenied, "mknodat") => {
            Some("devices need CAP_MKNOD: run as root outside any container".to_owned())
        }
        (io::ErrorKind::Unsupported, "fsetxattr") => {
            Some("the store's file system has no extended attributes: move the store with --root".to_owned())
        }
        _ => space_hint(source),
    }
}

fn database_hint(source: &rusqlite::Error) -> Option<String> {
    let text = match source.sqlite_error_code()? {
        rusqlite::ErrorCode::DiskFull => "free some space, or move the store with --root or BERTH_ROOT",
        rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt => {
            "this is no database of berth, or a damaged one: restore it from a backup, or move it away"
        }
        rusqlite::ErrorCode::DatabaseBusy => "another process holds the store's lock: try again",
        rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen => {
            "check that the store's directory is writable, or move the store with --root or BERTH_ROOT"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

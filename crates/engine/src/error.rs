//! What can go wrong with a container.

use linux::Errno;
use runtime::errno_text;
use types::kind::Kind;

/// Why a command on containers failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller isn't root.
    #[error("permission denied: berth needs root")]
    NotRoot,
    /// A value of the request is wrong.
    #[error("{what}: {why}")]
    Invalid {
        /// The flag or object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name or id is taken.
    #[error("the container name {name:?} is already in use by container {by}")]
    NameInUse {
        /// The name.
        name: String,
        /// Id of who has it.
        by: String,
    },
    /// No such container.
    #[error("no such container: {given}")]
    NoContainer {
        /// As the user gave it.
        given: String,
    },
    /// No such command of `exec`.
    #[error("no such exec instance: {given}")]
    NoExec {
        /// As the user gave it.
        given: String,
    },
    /// The beginning of several ids.
    #[error("{given:?} is the beginning of several ids: {matches}")]
    Ambiguous {
        /// As the user gave it.
        given: String,
        /// Some of them.
        matches: String,
    },
    /// The container's state forbids it.
    #[error("container {id} {why}")]
    State {
        /// Name or short id.
        id: String,
        /// Its state, and what that forbids.
        why: String,
    },
    /// A command that the container's state forbids, in docker's words.
    #[error("cannot {what}: {why}")]
    Refused {
        /// What was to be done to which container.
        what: String,
        /// Why not.
        why: String,
        /// What to do.
        hint: String,
    },
    /// Files that aren't copied, in docker's words.
    #[error("{message}")]
    Copy {
        /// What is wrong.
        message: String,
        /// What sort of failure it is.
        kind: Kind,
        /// What to do.
        hint: Option<String>,
    },
    /// The runtime.
    #[error("cannot start {name}: {source}")]
    Start {
        /// The container.
        name: String,
        /// Why.
        source: runtime::Error,
    },
    /// The process that was making it.
    #[error("cannot start the container: its holder was killed")]
    HolderLost,
    /// Limits that the kernel doesn't take.
    #[error("Cannot update container {id}: {source}")]
    Update {
        /// The container.
        id: String,
        /// Why.
        source: runtime::Error,
    },
    /// A process in a container.
    #[error("cannot run in {container}: {source}")]
    Exec {
        /// The container.
        container: String,
        /// Why.
        source: runtime::Error,
    },
    /// A volume that containers have.
    #[error("remove {name}: volume is in use - [{}]", by.join(", "))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// The containers' ids.
        by: Vec<String>,
    },
    /// No such network.
    #[error("network {given} not found")]
    NoNetwork {
        /// As the user gave it.
        given: String,
    },
    /// A network that containers are on.
    #[error("error while removing network: network {name} has active endpoints: {}", by.join(", "))]
    NetworkInUse {
        /// The network.
        name: String,
        /// The containers' names.
        by: Vec<String>,
    },
    /// The table of rules.
    #[error(transparent)]
    Firewall(net::nft::Error),
    /// A failure that another process of berth reported: message, hint, kind.
    #[error("{message}")]
    Reported {
        /// The message.
        message: String,
        /// The hint.
        hint: Option<String>,
        /// The kind.
        kind: Kind,
    },
    /// An image that isn't used.
    #[error("cannot use image {image}: {why}")]
    Image {
        /// What it was called.
        image: String,
        /// What is wrong with it.
        why: String,
    },
    /// An image whose parts aren't what they should be.
    #[error("cannot take image {image}: {}", parts_fault(source))]
    ImageParts {
        /// What it was called.
        image: String,
        /// What is wrong with which part.
        source: Box<store::Error>,
    },
    /// An archive of images that isn't one.
    #[error("cannot load {archive}: {why}")]
    ImageArchive {
        /// What was read.
        archive: String,
        /// What is wrong with it.
        why: String,
    },
    /// What `copy` can't read, or can't put there.
    #[error("cannot copy {what}: {why}")]
    CopyImage {
        /// A place, or a part of what is there.
        what: String,
        /// Why not.
        why: String,
    },
    /// What is to be pushed isn't here.
    #[error("an image does not exist locally with the tag: {name}")]
    NoTag {
        /// The name as users write it.
        name: String,
    },
    /// A registry has nothing of that name.
    #[error("no such manifest: {reference}")]
    NoManifest {
        /// The reference as users write it.
        reference: String,
    },
    /// A registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The runtime, apart from a start.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The kernel refused something.
    #[error("cannot {what} {object}: {}", errno_text(*errno))]
    System {
        /// What was attempted.
        what: &'static str,
        /// On which object.
        object: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// All id ranges are in use.
    #[error("all {slots} ranges of user ids are in use")]
    NoRange {
        /// How many there are.
        slots: u32,
    },
}

/// What is wrong with an image's part; what a registry says of a blob names it.
fn parts_fault(error: &store::Error) -> String {
    registry_error(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The registry's error at the bottom of what the store says, if one is there.
fn registry_error(error: &store::Error) -> Option<&registry::Error> {
    match error {
        store::Error::Layer { source, .. } => registry_error(source),
        store::Error::ReadArchive(error) => registry::Error::of_io(error),
        _ => None,
    }
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NotRoot => Kind::Forbidden,
            Error::Invalid { .. }
            | Error::Image { .. }
            | Error::ImageArchive { .. }
            | Error::CopyImage { .. } => Kind::Invalid,
            Error::ImageParts { source, .. } => {
                registry_error(source).map_or(source.kind(), registry::Error::kind)
            }
            Error::Registry(source) => source.kind(),
            Error::NameInUse { .. }
            | Error::State { .. }
            | Error::Refused { .. }
            | Error::VolumeInUse { .. }
            | Error::NetworkInUse { .. }
            | Error::Ambiguous { .. } => Kind::Conflict,
            Error::NoContainer { .. }
            | Error::NoExec { .. }
            | Error::NoNetwork { .. }
            | Error::NoManifest { .. }
            | Error::NoTag { .. } => Kind::NotFound,
            // As docker: a directory that isn't there counts as a program that isn't.
            Error::Exec { source: runtime::Error::Step { errno: Errno::NOENT, .. }, .. } => {
                Kind::CommandNotFound
            }
            Error::Start { source, .. } | Error::Exec { source, .. } | Error::Update { source, .. } => {
                source.kind()
            }
            Error::Reported { kind, .. } | Error::Copy { kind, .. } => *kind,
            Error::Store(source) => source.kind(),
            Error::Runtime(source) => source.kind(),
            Error::Firewall(net::nft::Error::PortTaken { .. }) => Kind::Conflict,
            Error::Firewall(_) | Error::System { .. } | Error::NoRange { .. } | Error::HolderLost => {
                Kind::System
            }
        }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotRoot => Some("try sudo; rootless containers are not supported yet".to_owned()),
            Error::NameInUse { by, name } => Some(format!(
                "take another name, or remove that one: berth rm {}",
                if by.is_empty() { name } else { by }
            )),
            Error::VolumeInUse { by, .. } => Some(format!(
                "remove the containers first, though they be stopped: berth rm {}",
                by.join(" ")
            )),
            Error::NetworkInUse { by, name } => Some(format!(
                "stop the containers first, or take them off: berth network disconnect {name} {}",
                by.first().map_or("", String::as_str)
            )),
            Error::Firewall(net::nft::Error::Open { .. } | net::nft::Error::Refused { .. }) => Some(
                "`berth doctor` says what the kernel lacks; --network none and host need no rules".to_owned(),
            ),
            Error::NoNetwork { .. } => {
                Some("`berth network ls` lists networks; `berth network create` makes one".to_owned())
            }
            Error::NoContainer { .. } => Some("`berth ps -a` lists all containers".to_owned()),
            Error::NoExec { .. } => {
                Some("`berth inspect -f '{{.ExecIDs}}' CONTAINER` shows what runs in one".to_owned())
            }
            Error::Refused { hint, .. } => Some(hint.clone()),
            Error::Ambiguous { .. } => Some("give more digits, or a name".to_owned()),
            Error::Start { source, .. } | Error::Exec { source, .. } | Error::Update { source, .. } => {
                source.hint()
            }
            Error::Reported { hint, .. } | Error::Copy { hint, .. } => hint.clone(),
            Error::ImageParts { source, .. } => {
                registry_error(source).map_or_else(|| source.hint(), registry::Error::hint)
            }
            Error::Registry(source) => source.hint(),
            Error::ImageArchive { .. } => {
                Some("a plain root file system is taken by berth import".to_owned())
            }
            Error::Store(source) => source.hint(),
            Error::Runtime(source) => source.hint(),
            Error::System { errno: Errno::NOSPC, .. } => Some("make room on the disk".to_owned()),
            Error::System { errno: Errno::ROFS, .. } => {
                Some("berth's directories must be writable; BERTH_ROOT and BERTH_RUN move them".to_owned())
            }
            Error::HolderLost => Some("was it killed for want of memory? `dmesg` tells".to_owned()),
            Error::NoRange { .. } => {
                Some("end some containers, or set a larger BERTH_IDS=base:count".to_owned())
            }
            _ => None,
        }
    }

    /// A wrong value.
    pub fn invalid(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), why: why.into() }
    }

    /// Something that the kernel refused.
    pub fn system(what: &'static str, object: impl ToString, errno: Errno) -> Error {
        Error::System { what, object: object.to_string(), errno }
    }

    /// The same for an error of std's.
    pub fn io(what: &'static str, object: impl ToString, error: &std::io::Error) -> Error {
        Error::system(what, object, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

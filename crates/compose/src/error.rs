//! Why a project can't be loaded.

use types::kind::Kind;

use crate::fault::Report;

/// Why a project can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the files say is wrong: all of it.
    #[error("{0}")]
    Invalid(Report),
    /// There is no compose file where one is looked for.
    #[error("no configuration file provided: not found")]
    NoFile,
    /// A file can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of variables has a line that is no assignment.
    #[error("failed to read {path}: {fault}")]
    EnvFile {
        /// Its path.
        path: String,
        /// Which line, and what is wrong with it.
        fault: crate::dotenv::EnvFault,
    },
    /// The project's name has characters that no name has.
    #[error(
        "invalid project name {0:?}: must consist only of lowercase alphanumeric characters, hyphens, and \
         underscores as well as start with a letter or number"
    )]
    ProjectName(String),
    /// The project has no name, and the directory's has no letters.
    #[error("project name must not be empty")]
    NoProjectName,
    /// All files together say nothing.
    #[error("empty compose file")]
    Empty,
    /// A service is asked for that the project hasn't.
    #[error("no such service: {name}")]
    NoService {
        /// Its name.
        name: String,
        /// A service whose name is like it.
        near: Option<String>,
    },
    /// A file is somewhere that isn't supported.
    #[error("{path}: files from a {kind} are not supported")]
    Remote {
        /// Its address.
        path: String,
        /// What is there.
        kind: &'static str,
    },
    /// A variable that steers compose itself has no value that means anything.
    #[error("{name}: invalid value {value:?}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Error {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Read { source, .. } if source.kind() != std::io::ErrorKind::NotFound => Kind::System,
            Error::NoFile | Error::Read { .. } | Error::NoService { .. } => Kind::NotFound,
            Error::Remote { .. } => Kind::Unsupported,
            Error::Invalid(_)
            | Error::EnvFile { .. }
            | Error::ProjectName(_)
            | Error::NoProjectName
            | Error::Empty
            | Error::Variable { .. } => Kind::Invalid,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NoFile => Some("make a compose.yaml here, or name a file with -f".to_owned()),
            Error::ProjectName(_) | Error::NoProjectName => Some("name the project with -p".to_owned()),
            Error::NoService { near: Some(near), .. } => Some(format!("did you mean \"{near}\"?")),
            Error::Remote { .. } => Some("fetch it first, and name the local file".to_owned()),
            _ => None,
        }
    }
}

//! What is asked of a build.

use ::build::lower::Options;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is built, from what, as what.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Where files come from.
    pub context: ContextSource,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Everything that the Dockerfile's meaning depends on.
    pub options: Options,
    /// Whether base images are asked for anew.
    pub pull: bool,
    /// Further contexts, by their names (`--build-context`).
    pub contexts: BTreeMap<String, String>,
    /// Secrets, by their ids.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether the result gets an image at all.
    pub makes_image: bool,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// An archive, or a Dockerfile, on standard input.
    Stdin,
    /// An archive, as a file.
    Archive(PathBuf),
    /// An archive, or a Dockerfile, that is fetched.
    Url(String),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DockerfileSource {
    /// In the context, by its usual name.
    #[default]
    Default,
    /// A file: in a local context by its path from the working directory, in another one by its path in that.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// This text.
    Text(String),
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A variable of this process.
    Env(String),
}

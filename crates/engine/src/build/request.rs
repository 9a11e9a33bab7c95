//! What is asked of a build.

use ::build::lower::Options;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is built, from what, as what.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Where files come from: a directory, an archive's file, a URL, or `-`.
    pub context: String,
    /// `--file`: a path from `here`, or in an archive; `-` is standard input. Empty: the context's `Dockerfile`.
    pub file: String,
    /// The Dockerfile's text, if it is in no file.
    pub text: Option<String>,
    /// Where the command was called.
    pub here: PathBuf,
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

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A variable of this process.
    Env(String),
}

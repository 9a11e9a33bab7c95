//! What is asked of a build.

use super::output::Output;
use super::portable::{CacheFrom, CacheTo};
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
    /// What becomes of the result; nothing means an image.
    pub outputs: Vec<Output>,
    /// Caches that are read.
    pub cache_from: Vec<CacheFrom>,
    /// Caches that are written.
    pub cache_to: Vec<CacheTo>,
}

impl BuildRequest {
    /// Whether there is to be an image in the store.
    pub fn makes_image(&self) -> bool {
        self.outputs.is_empty() || self.outputs.iter().any(|output| matches!(output, Output::Image { .. }))
    }

    /// Whether the image is pushed.
    pub fn pushes(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Image { pushes: true, .. }))
    }

    /// All names of the image: tags, and those that outputs give it.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.tags.clone();
        for output in &self.outputs {
            if let Output::Image { names: more, .. } = output {
                names.extend(more.iter().cloned());
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A variable of this process.
    Env(String),
}

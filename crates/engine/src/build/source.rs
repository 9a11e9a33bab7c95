//! The Dockerfile's text, and the context's directory with what is ignored in it.

use super::events::{Event, Told};
use super::request::{BuildRequest, ContextSource, DockerfileSource};
use crate::{Error, Home};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest Dockerfile, in bytes.
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;

/// What a build reads at its begin.
#[derive(Debug)]
pub struct Source {
    /// What the Dockerfile is called.
    pub shown: String,
    /// Its text.
    pub text: String,
    /// The context; `None` has none.
    pub directory: Option<PathBuf>,
    /// Lines of its ignore file.
    pub ignored: Vec<String>,
}

impl Source {
    /// Reads them.
    pub fn open(_home: &Home, request: &BuildRequest, told: &mut Told<'_>) -> Result<Source, Error> {
        let directory = match &request.context {
            ContextSource::Directory(directory) => absolute(directory)?,
            ContextSource::Stdin | ContextSource::Archive(_) | ContextSource::Url(_) => {
                return Err(Error::invalid("context", "only directories are taken yet"));
            }
        };
        let (path, shown) = match &request.dockerfile {
            DockerfileSource::Default => {
                let usual = directory.join("Dockerfile");
                let lower = directory.join("dockerfile");
                let path = if !usual.exists() && lower.exists() { lower } else { usual };
                (Some(path), "Dockerfile".to_owned())
            }
            DockerfileSource::Path(path) => (Some(path.clone()), base_name(path)),
            DockerfileSource::Stdin | DockerfileSource::Text(_) => (None, "Dockerfile".to_owned()),
        };
        let text = told.work(&format!("[internal] load build definition from {shown}"), |told, id| {
            let text = match (&request.dockerfile, &path) {
                (DockerfileSource::Text(text), _) => text.clone(),
                (_, Some(path)) => read_file(path)?,
                _ => read(std::io::stdin().lock(), "standard input")?,
            };
            told.tell(&Event::Status { id, text: format!("transferring dockerfile: {}B done", text.len()) });
            Ok::<_, Error>(text)
        })?;
        let own = path.map(|path| {
            let mut name = path.into_os_string();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let ignore_file = own.filter(|path| path.exists()).unwrap_or_else(|| directory.join(".dockerignore"));
        let ignored = told.work("[internal] load .dockerignore", |_, _| match ignore_file.exists() {
            true => Ok::<_, Error>(read_file(&ignore_file)?.lines().map(str::to_owned).collect()),
            false => Ok(Vec::new()),
        })?;
        Ok(Source { shown, text, directory: Some(directory), ignored })
    }
}

fn base_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn absolute(directory: &Path) -> Result<PathBuf, Error> {
    let shown = directory.display().to_string();
    let found = std::fs::canonicalize(directory)
        .map_err(|error| Error::io("find the build context", &shown, &error))?;
    match found.is_dir() {
        true => Ok(found),
        false => Err(Error::invalid("context", format!("{shown} is no directory"))),
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| Error::io("open", &shown, &error))?;
    read(file, &shown)
}

fn read(from: impl Read, shown: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    from.take(DOCKERFILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("read", shown, &error))?;
    if bytes.len() as u64 > DOCKERFILE_BYTES_MAX {
        return Err(Error::invalid(shown, "is larger than 4 MB: is it a Dockerfile?"));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(shown, "is not UTF-8"))
}

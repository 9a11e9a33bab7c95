//! `berth import`: an image from the archive of a root file system.

use crate::images::install::configuration;
use crate::images::{change, name, open_store, pull};
use crate::request::{ImportFrom, ImportRequest, ImportSource};
use crate::{Error, Home, events};
use std::fs::File;
use std::io;
use std::sync::Mutex;
use store::{Input, Limits, NewLayer, Recipe};
use types::digest::DiffId;
use types::image::ImageConfig;
use types::image::config::History;
use types::moment::rfc3339;

/// Opens what is read of this machine.
pub(crate) fn open(source: &ImportSource) -> Result<File, Error> {
    match source {
        ImportSource::Stdin => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
            .map(File::from)
            .map_err(|errno| Error::system("read", "standard input", errno)),
        ImportSource::File(path) => {
            File::open(path).map_err(|error| Error::io("open", path.display(), &error))
        }
    }
}

fn open_any(source: &ImportFrom) -> Result<Input<'static>, Error> {
    Ok(match source {
        ImportFrom::Url(url) => Box::new(pull::client()?.download(url)?),
        ImportFrom::Here(here) => Box::new(open(here)?),
    })
}

/// Makes an image of a tar, plain, gzip or zstd; its id, as `sha256:…`.
///
/// Names as `.wh.x` are files like others: an archive of a root file system has no whiteouts. Errors: those of
/// [`store::Store::make_image`]; [`Error::Invalid`] for changes that aren't instructions.
pub fn import(home: &Home, request: &ImportRequest) -> Result<String, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let reference = request.name.as_deref().map(name::new_name).transpose()?;
    let platform = pull::platform(request.platform.as_deref())?;
    let from = match &request.source {
        ImportFrom::Here(ImportSource::Stdin) => "-".to_owned(),
        ImportFrom::Here(ImportSource::File(path)) => path.display().to_string(),
        // A query may be a secret, and images are handed on.
        ImportFrom::Url(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    let created = rfc3339(crate::cell::now_ns());
    let mut config = ImageConfig {
        created: Some(created.clone()),
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        ..ImageConfig::default()
    };
    for text in &request.changes {
        change::apply(text, &mut config.config)
            .map_err(|why| Error::invalid(format!("--change {text:?}"), why))?;
    }
    config.history.push(History {
        created: Some(created),
        comment: request.message.clone().unwrap_or_else(|| format!("Imported from {from}")),
        ..History::default()
    });
    let input = Mutex::new(Some(open_any(&request.source)?));
    let open = || {
        let taken = input.lock().ok().and_then(|mut input| input.take());
        taken.ok_or_else(|| io::Error::other("the archive was read already"))
    };
    let with_layers = |diffs: &[DiffId]| {
        let mut config = config.clone();
        config.rootfs.diff_ids = diffs.iter().map(DiffId::digest).collect();
        // Plain data always serialises.
        configuration(&serde_json::to_vec(&config).unwrap_or_default(), &config)
    };
    let recipe = Recipe {
        layers: vec![NewLayer { diff: None, blob: None, open: Box::new(open), has_whiteouts: false }],
        config: &with_layers,
        manifest: None,
        repository_digest: None,
        references: reference.into_iter().collect(),
    };
    let id = open_store(home)?.make_image(recipe, &Limits::default(), &|_, _| {})?.to_string();
    events::images(home, "import", [(id.as_str(), id.as_str())]);
    Ok(id)
}

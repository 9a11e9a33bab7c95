//! `berth pull`: images from registries.

use super::install::{Parts, check_is_image, install};
use super::{Progress, host_platform, open_store};
use crate::{Error, Home, events, wire};
use linux::process::{self, Fork};
use registry::{Client, Credentials, Resolved, Settings};
use serde::{Deserialize, Serialize};
use std::io;
use store::{Input, Store};
use types::digest::Digest;
use types::image::{CONFIG_BYTES_MAX, Descriptor, ImageConfig, Platform};
use types::kind::Kind;
use types::reference::Reference;

/// What is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// The name as given.
    pub image: String,
    /// The machine that it is for; else this one.
    pub platform: Option<String>,
}

/// What came of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The name, complete.
    pub reference: Reference,
    /// What the registry has under that name: the digest of a manifest or an index.
    pub digest: Digest,
    /// Id of the image.
    pub id: String,
    /// Whether it was here already.
    pub was_here: bool,
}

/// A client for the caller: with its settings, and with the credentials of who runs berth.
pub fn client() -> Result<Client, Error> {
    client_with(None)
}

/// The same, to which any certificate of the registry `insecure` will do, or none.
pub(super) fn client_with(insecure: Option<&str>) -> Result<Client, Error> {
    let environment = |name: &str| std::env::var(name).ok();
    let mut settings = Settings::load(&environment)?;
    if let Some(host) = insecure {
        settings = settings.with_insecure(host);
    }
    Ok(Client::new(settings, Credentials::of_caller(&environment)))
}

/// The machine that `text` means; this one if there is none.
pub fn platform(text: Option<&str>) -> Result<Platform, Error> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(host_platform()),
        Some(text) => Platform::parse(text, &host_platform())
            .map_err(|error| Error::invalid("--platform", error.to_string())),
    }
}

/// Pulls one image; what of it is here isn't fetched again.
///
/// Errors: [`Error::Registry`], [`Error::ImageParts`], [`Error::Image`]. Nothing is visible of an image that failed.
pub fn pull(home: &Home, request: &PullRequest, progress: &dyn Progress) -> Result<Pulled, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let reference = Reference::parse(&request.image).map_err(store::Error::Reference)?;
    let platform = platform(request.platform.as_deref())?;
    let store = open_store(home)?;
    let client = client()?;
    let pulled = pull_with(&store, &client, &reference, &platform, request.platform.is_some(), progress)?;
    events::reference(home, "pull", &pulled.reference);
    Ok(pulled)
}

/// Whether the image of that name, for that machine if one is wanted, is here.
pub fn is_here(home: &Home, image: &str, wanted: Option<&str>) -> Result<bool, Error> {
    let platform = platform(wanted)?;
    let Some(store) = super::look_at_store(home)? else { return Ok(false) };
    match store.resolve_image(image) {
        Err(store::Error::NoImage { .. }) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(_) if wanted.is_none() => Ok(true),
        Ok(image) => {
            let config = ImageConfig::parse(image.config_json.as_bytes());
            Ok(config.is_ok_and(|config| platform.rank(&config.platform()).is_some()))
        }
    }
}

/// How a pull in a process of its own ended.
#[derive(Serialize, Deserialize)]
enum Ended {
    Pulled { digest: Digest, id: String, was_here: bool },
    Failed { message: String, hint: Option<String>, kind: Kind },
}

/// [`pull`] in a process of its own: what it leaves in memory would be inherited by a container's holder and keeper. The
/// caller has one thread.
pub fn pull_apart(home: &Home, request: &PullRequest, progress: &dyn Progress) -> Result<Pulled, Error> {
    let reference = super::reference(&request.image)?;
    let failed = |errno| Error::system("pull", &request.image, errno);
    let (ours, theirs) = linux::socket::pair().map_err(failed)?;
    let pid = match process::fork().map_err(failed)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let ended = match pull(home, request, progress) {
                Ok(Pulled { digest, id, was_here, .. }) => Ended::Pulled { digest, id, was_here },
                Err(error) => {
                    Ended::Failed { message: error.to_string(), hint: error.hint(), kind: error.kind() }
                }
            };
            let _ = wire::send(&theirs, &ended, &[]);
            process::exit(0)
        }
    };
    drop(theirs);
    let ended = wire::receive::<Ended>(&ours);
    let _ = process::wait_child(pid);
    match ended.map_err(failed)? {
        Some((Ended::Pulled { digest, id, was_here }, _)) => Ok(Pulled { reference, digest, id, was_here }),
        Some((Ended::Failed { message, hint, kind }, _)) => Err(Error::Reported { message, hint, kind }),
        None => Err(Error::Reported {
            message: format!("cannot pull {}: the process that pulled was killed", request.image),
            hint: None,
            kind: Kind::System,
        }),
    }
}

/// All tags of a repository.
pub fn tags(image: &str) -> Result<Vec<String>, Error> {
    let reference = Reference::parse(image).map_err(store::Error::Reference)?;
    Ok(client()?.tags(reference.repository())?)
}

fn pull_with(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    is_strict: bool,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    // One request is enough to see that all is here.
    if let Some(found) = client.head(reference)?
        && let Some(image) = here(store, reference, &found.digest, platform)?
    {
        if reference.digest().is_none() {
            store.tag(&image.id, reference)?;
        }
        let id = image.id.to_string();
        return Ok(Pulled { reference: reference.clone(), digest: found.digest, id, was_here: true });
    }
    let resolved = client.resolve(reference, platform)?;
    let id = fetch(store, client, reference, &resolved, platform, is_strict, progress)?;
    Ok(Pulled { reference: reference.clone(), digest: resolved.top().digest.clone(), id, was_here: false })
}

/// The image that came under this digest for this machine.
fn here(
    store: &Store,
    reference: &Reference,
    digest: &Digest,
    platform: &Platform,
) -> Result<Option<store::Image>, Error> {
    let images = store.images_by_digest(reference.repository(), digest)?;
    let fits = |image: &store::Image| {
        let config = ImageConfig::parse(image.config_json.as_bytes()).ok()?;
        platform.rank(&config.platform())
    };
    Ok(images
        .into_iter()
        .filter_map(|image| Some((fits(&image)?, image)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, image)| image))
}

fn fetch(
    store: &Store,
    client: &Client,
    reference: &Reference,
    resolved: &Resolved,
    platform: &Platform,
    is_strict: bool,
    progress: &dyn Progress,
) -> Result<String, Error> {
    let repository = reference.repository();
    let manifest = &resolved.manifest.document;
    check_is_image(manifest, &reference.familiar())?;
    let config = client.small_blob(repository, &manifest.config, CONFIG_BYTES_MAX)?;
    // Out of an index the machine's was chosen; alone, an image may be for any.
    if is_strict && resolved.index.is_none() {
        let own = ImageConfig::parse(&config).map(|config| config.platform());
        if let Ok(own) = own
            && platform.rank(&own).is_none()
        {
            let (image, why) = (reference.familiar(), format!("it is for {own}, not for {platform}"));
            return Err(Error::Image { image, why });
        }
    }
    let open = |layer: &Descriptor| match client.blob(repository, layer) {
        Ok(blob) => Ok(Box::new(blob) as Input<'_>),
        Err(error) => Err(io::Error::other(error)),
    };
    let parts = Parts {
        manifest,
        media_type: &resolved.manifest.descriptor.media_type,
        manifest_bytes: &resolved.manifest.bytes,
        config: &config,
        open: &open,
        repository_digest: Some((repository.clone(), resolved.top().digest.clone())),
        // By digest it gets no name, as with docker.
        references: if reference.digest().is_some() { Vec::new() } else { vec![reference.clone()] },
    };
    Ok(install(store, parts, &reference.familiar(), progress)?.to_string())
}

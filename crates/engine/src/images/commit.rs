//! `berth commit`: an image of what a container changed.

use super::install::configuration;
use super::name::new_name;
use super::open_store;
use crate::pause::Hold;
use crate::snapshot::Snapshot;
use crate::{Config, Error, Home, events, find};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io;
use std::sync::Mutex;
use store::{Blob, Input, Layer, Limits, NewLayer, Recipe, Store};
use types::digest::DiffId;
use types::image::ImageConfig;
use types::image::config::{Execution, History};
use types::moment::rfc3339;

/// What is committed as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// The container.
    pub container: String,
    /// Name of the image, if it gets one.
    pub name: Option<String>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub message: String,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// Whether the container is paused meanwhile.
    pub pause: bool,
}

/// Makes the image; its id.
///
/// Errors: [`Error::State`] for a container that wasn't made from an image, [`Error::Invalid`] for changes that aren't
/// instructions.
pub fn commit(home: &Home, request: &CommitRequest) -> Result<String, Error> {
    let reference = request.name.as_deref().map(new_name).transpose()?;
    let container = find::container(home, &request.container)?;
    let container_config = &container.config;
    let no_image = || Error::State {
        id: container_config.name.clone(),
        why: "wasn't made from an image: there is nothing that its changes could be a layer of".to_owned(),
    };
    let base = container_config.image_id.as_ref().ok_or_else(no_image)?;
    let store = open_store(home)?;
    let base = store.resolve_image(base)?;
    let snapshot = Snapshot::of(home, &container)?;
    let mut config = ImageConfig::parse(base.config_json.as_bytes())
        .map_err(|error| Error::Image { image: base.id.to_string(), why: error.to_string() })?;
    config.config = effective(container_config);
    for change in &request.changes {
        super::change::apply(change, &mut config.config)
            .map_err(|why| Error::invalid(format!("--change {change:?}"), why))?;
    }
    let hold = if request.pause { Hold::take(home, &container)? } else { None };
    let is_changed = !snapshot.changes()?.is_empty();
    let created_ns = crate::cell::now_ns();
    let created = Some(rfc3339(created_ns));
    config.created.clone_from(&created);
    config.author = Some(request.author.clone()).filter(|author| !author.is_empty()).or(config.author);
    config.history.push(History {
        created,
        created_by: container_config.args.join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: !is_changed,
    });
    let name = reference.as_ref().map(ToString::to_string).unwrap_or_default();
    let make = Make { store: &store, config, reference, base: &base.layers };
    let made = match is_changed {
        false => make.run(None),
        true => make.with_layer(&snapshot),
    };
    drop(hold);
    if let Ok(id) = &made {
        let more = [("comment", request.message.as_str()), ("imageID", id), ("imageRef", &name)];
        events::container(home, container_config, "commit", &more);
    }
    made
}

struct Make<'a> {
    store: &'a Store,
    config: ImageConfig,
    reference: Option<types::reference::Reference>,
    base: &'a [Layer],
}

impl Make<'_> {
    /// One thread archives the changes while others make a layer of them.
    fn with_layer(self, snapshot: &Snapshot) -> Result<String, Error> {
        let failed = |errno| Error::system("make", "a pipe", errno);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        std::thread::scope(|scope| {
            let archived = scope.spawn(move || snapshot.write_layer(File::from(write)));
            let made = self.run(Some(File::from(read)));
            // A panic of the archiver's is one of ours.
            let archived = archived.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (made, archived) {
                // It broke off because nobody read on.
                (Err(error), Err(Error::Store(store::Error::WriteArchive { .. }))) => Err(error),
                (_, Err(error)) => Err(error),
                (made, Ok(_)) => made,
            }
        })
    }

    fn run(&self, archive: Option<File>) -> Result<String, Error> {
        let archive = Mutex::new(archive);
        let mut layers: Vec<NewLayer<'_>> = self.base.iter().map(in_place).collect();
        let has_layer = archive.lock().is_ok_and(|archive| archive.is_some());
        if has_layer {
            let archive = &archive;
            let open = move || {
                let taken = archive.lock().ok().and_then(|mut archive| archive.take());
                let input = taken.map(|file| Box::new(file) as Input<'_>);
                input.ok_or_else(|| io::Error::other("the changes were read already"))
            };
            layers.push(NewLayer { diff: None, blob: None, open: Box::new(open), has_whiteouts: true });
        }
        let config = |diffs: &[DiffId]| {
            let mut config = self.config.clone();
            config.rootfs.diff_ids = diffs.iter().map(DiffId::digest).collect();
            // Plain data always serialises.
            configuration(&serde_json::to_vec(&config).unwrap_or_default(), &config)
        };
        let recipe = Recipe {
            layers,
            config: &config,
            manifest: None,
            repository_digest: None,
            references: self.reference.iter().cloned().collect(),
        };
        Ok(self.store.make_image(recipe, &Limits::default(), &|_, _| {})?.to_string())
    }
}

/// A layer that is here, as the image's containers need it.
fn in_place(layer: &Layer) -> NewLayer<'_> {
    let blob = layer.blob.as_ref().map(|blob| Blob { digest: blob.digest.clone(), bytes: blob.bytes });
    let gone = || Err(io::Error::new(io::ErrorKind::NotFound, "the image was removed meanwhile"));
    NewLayer { diff: Some(layer.diff), blob, open: Box::new(gone), has_whiteouts: true }
}

/// What the container ran with, as an image says it.
fn effective(config: &Config) -> Execution {
    let (request, image) = (&config.request, &config.image_config);
    let process = config.spec.process.clone().unwrap_or_default();
    let (entrypoint, cmd) = crate::inspect::entrypoint_and_command(request, image);
    let owned = |words: &[String]| words.to_vec();
    // What every container gets isn't the image's.
    let is_own = |variable: &String| {
        let name = variable.split('=').next().unwrap_or_default();
        let wanted = request.env.iter().any(|change| change.name() == name);
        let in_image = image.env.iter().any(|known| known.split('=').next() == Some(name));
        wanted || in_image || name == "PATH"
    };
    Execution {
        user: request.user.clone().unwrap_or_else(|| image.user.clone()),
        env: process.env.into_iter().filter(is_own).collect(),
        entrypoint: entrypoint.map(owned),
        cmd: cmd.map(owned),
        working_dir: request.workdir.clone().unwrap_or_else(|| image.working_dir.clone()),
        labels: config.labels().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..image.clone()
    }
}

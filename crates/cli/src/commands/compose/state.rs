//! What there is of a project: containers, networks and volumes with their labels, and the images that it wants.

use std::collections::BTreeMap;

use compose::labels;
use compose::model::Project;
use compose::plan::{Actual, Container, Resource, State};
use engine::find;
use engine::request::MountKind;

use crate::backend;
use crate::failure::Failure;

/// The annotation that keeps the model which a container was made from, to tell later what changed.
pub const MODEL: &str = "dev.berth.compose.model";

/// What there is, and what berth itself knows of it.
pub struct Found {
    /// For plans.
    pub actual: Actual,
    /// Volumes without a name of each container, by its id: where they are, and what they are called.
    pub anonymous: BTreeMap<String, Vec<(String, String)>>,
}

/// Looks at what there is of a project.
pub fn find(project: &Project) -> Result<Found, Failure> {
    let mut anonymous = BTreeMap::new();
    let mut containers = Vec::new();
    for found in backend::labelled(labels::PROJECT, &project.name)? {
        let volumes = found.config.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume(volume) if volume.anonymous => {
                Some((mount.target.to_string_lossy().into_owned(), volume.name.clone()?))
            }
            _ => None,
        });
        anonymous.insert(found.config.id.clone(), volumes.collect());
        containers.push(container(&found));
    }
    let resource = |labels: &BTreeMap<String, String>| Resource { labels: labels.clone() };
    let networks =
        backend::networks(&[])?.into_iter().map(|it| (it.network.name, resource(&it.network.labels)));
    let volumes = backend::volumes(&[])?.into_iter().map(|it| (it.volume.name, resource(&it.volume.labels)));
    let actual = Actual {
        containers,
        networks: networks.collect(),
        volumes: volumes.collect(),
        images: images(project)?,
    };
    Ok(Found { actual, anonymous })
}

/// One container, as plans see it.
fn container(found: &find::Container) -> Container {
    let config = &found.config;
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let labels: BTreeMap<String, String> = config.labels().into_iter().map(own).collect();
    let model = config.request.annotations.iter().rev().find(|(key, _)| key == MODEL);
    Container {
        id: config.id.clone(),
        name: config.name.clone(),
        state: match &found.state {
            find::State::Created | find::State::Starting => State::Created,
            find::State::Running(_) => State::Running,
            find::State::Restarting(_) => State::Restarting,
            find::State::Exited(_) => State::Exited,
        },
        image: labels.get(labels::IMAGE).cloned().unwrap_or_default(),
        networks: config.request.network.endpoints().into_iter().map(|endpoint| endpoint.network).collect(),
        model: model.map(|(_, text)| text.clone()),
        labels,
    }
}

/// The ids of the images that are here, of those that a project wants.
pub fn images(project: &Project) -> Result<BTreeMap<String, String>, Failure> {
    let mut known = BTreeMap::new();
    for image in backend::images(false)? {
        let tags = image.names.iter().map(|(repository, tag)| format!("{repository}:{tag}"));
        let digests = image.digests.iter().map(|(repository, digest)| format!("{repository}@{digest}"));
        for name in tags.chain(digests) {
            known.insert(name, image.id.clone());
        }
    }
    let mut ids = BTreeMap::new();
    for (name, service) in &project.services {
        let image = service.image_name(&project.name, name);
        // The built-in image has no id.
        let Ok(reference) = backend::reference(&image) else { continue };
        let digest =
            reference.digest().map(|digest| format!("{}@{digest}", reference.repository().familiar()));
        let found = digest.and_then(|name| known.get(&name)).or_else(|| known.get(&reference.familiar()));
        if let Some(id) = found {
            ids.insert(image, id.clone());
        }
    }
    Ok(ids)
}

//! What images are here, and all that is known of one.

use super::look_at_store;
use crate::{Error, Home};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use store::Image;
use types::image::ImageConfig;
use types::moment::{parse_rfc3339, rfc3339};
use types::reference::Reference;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `sha256:…`
    pub id: String,
    /// Its names: repository in docker's short form, and tag.
    pub names: Vec<(String, String)>,
    /// What it was called by digest: repository in docker's short form, and digest.
    pub digests: Vec<(String, String)>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Bytes of content in all layers.
    pub size_bytes: u64,
    /// Labels, if they were asked for.
    pub labels: Vec<(String, String)>,
    /// Containers made from it that have a record.
    pub containers: usize,
}

/// One step of an image's making, with the layer that it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStep {
    /// The image's id for the newest step; the others have none.
    pub id: Option<String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// What made it.
    pub created_by: String,
    /// Bytes of its layer.
    pub size_bytes: u64,
    /// A remark.
    pub comment: String,
}

/// All images, the newest first; their labels only if they are needed.
pub fn list(home: &Home, with_labels: bool) -> Result<Vec<Listed>, Error> {
    let Some(store) = look_at_store(home)? else { return Ok(Vec::new()) };
    Ok(store.image_summaries(with_labels)?.into_iter().map(shown).collect())
}

/// What lists show of an image, its labels among it.
pub(super) fn listed(image: &Image, containers: usize) -> Listed {
    shown(store::ImageSummary {
        id: image.id.to_string(),
        references: image.references.clone(),
        repository_digests: image.repository_digests.clone(),
        size_bytes: image.size_bytes,
        created_ns: image.created_ns,
        containers,
        config_json: Some(image.config_json.clone()),
    })
}

fn shown(image: store::ImageSummary) -> Listed {
    let config = image.config_json.and_then(|json| ImageConfig::parse(json.as_bytes()).ok());
    Listed {
        names: image.references.iter().filter_map(|name| split(name, ':')).collect(),
        digests: image.repository_digests.iter().filter_map(|name| split(name, '@')).collect(),
        created_ns: image.created_ns,
        size_bytes: image.size_bytes,
        labels: config.map(|config| config.config.labels.into_iter().collect()).unwrap_or_default(),
        containers: image.containers,
        id: image.id,
    }
}

/// A stored name in docker's short form, cut at the tag or the digest.
fn split(name: &str, at: char) -> Option<(String, String)> {
    let familiar = Reference::parse(name).ok()?.familiar();
    let (repository, rest) = match at {
        '@' => familiar.split_once('@')?,
        _ => familiar.rsplit_once(':')?,
    };
    Some((repository.to_owned(), rest.to_owned()))
}

pub(super) fn config(image: &Image) -> Result<ImageConfig, Error> {
    ImageConfig::parse(image.config_json.as_bytes())
        .map_err(|error| Error::Image { image: image.id.to_string(), why: error.to_string() })
}

/// The image that a user calls `given`.
pub(super) fn find(home: &Home, given: &str) -> Result<Image, Error> {
    let store = look_at_store(home)?.ok_or_else(|| store::Error::NoImage { given: given.to_owned() })?;
    Ok(store.resolve_image(given)?)
}

/// Ids of the images that are called so, and of those that have more layers on top of all of such an image's.
pub fn descendants(home: &Home, given: &[&str]) -> Result<BTreeSet<String>, Error> {
    let Some(store) = look_at_store(home)? else { return Ok(BTreeSet::new()) };
    let mut found = BTreeSet::new();
    let mut tops = Vec::new();
    for given in given {
        match store.resolve_image(given) {
            Ok(image) => {
                tops.extend(image.layers.last().map(|layer| layer.chain));
                found.insert(image.id.to_string());
            }
            Err(store::Error::NoImage { .. } | store::Error::Reference(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for image in store.images()? {
        let mut below = image.layers.iter().rev().skip(1);
        if below.any(|layer| tops.contains(&layer.chain)) {
            found.insert(image.id.to_string());
        }
    }
    Ok(found)
}

/// The steps that made an image, the newest first.
pub fn history(home: &Home, given: &str) -> Result<Vec<HistoryStep>, Error> {
    let image = find(home, given)?;
    let config = config(&image)?;
    let mut sizes = image.layers.iter().map(|layer| layer.bytes);
    let mut steps = Vec::new();
    for step in &config.history {
        let size_bytes = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        steps.push(HistoryStep {
            id: None,
            created_ns: step.created.as_deref().and_then(parse_rfc3339).unwrap_or(0),
            created_by: step.created_by.clone(),
            size_bytes,
            comment: step.comment.clone(),
        });
    }
    // Layers that the history doesn't speak of.
    for size_bytes in sizes {
        let (created_by, comment) = (String::new(), String::new());
        steps.push(HistoryStep { id: None, created_ns: image.created_ns, created_by, size_bytes, comment });
    }
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest.id = Some(image.id.to_string());
    }
    Ok(steps)
}

/// An image's own configuration with the members that docker always shows.
fn with_defaults(config: &Json) -> Json {
    let mut shown = json!({
        "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "",
        "Volumes": null, "WorkingDir": "",
    });
    for (member, value) in config.as_object().into_iter().flatten() {
        shown[member] = value.clone();
    }
    shown
}

/// Docker's document of an image. Source: docker's Engine API, `GET /images/{name}/json`.
pub fn inspect(home: &Home, given: &str) -> Result<Json, Error> {
    let image = find(home, given)?;
    let parsed = config(&image)?;
    // As it stands in the image: what berth doesn't know of it is shown too.
    let raw: Json = serde_json::from_str(&image.config_json).unwrap_or_default();
    let familiar =
        |name: &String| Reference::parse(name).map(|known| known.familiar()).unwrap_or(name.clone());
    let digest_of =
        |name: &String| split(name, '@').map(|(repository, digest)| format!("{repository}@{digest}"));
    let trees: Vec<String> =
        image.layers.iter().rev().map(|layer| layer.tree.to_string_lossy().into_owned()).collect();
    let (upper, lower) =
        trees.split_first().map_or((None, String::new()), |(top, rest)| (Some(top), rest.join(":")));
    let mut data = json!({ "UpperDir": upper });
    if !lower.is_empty() {
        data["LowerDir"] = lower.into();
    }
    let created = match image.created_ns {
        0 => parsed.created.clone().unwrap_or_default(),
        // As Go writes moments: without the zeroes at the end of the fraction.
        ns => format!("{}Z", rfc3339(ns).trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.')),
    };
    let mut document = json!({
        "Id": image.id.to_string(),
        "RepoTags": image.references.iter().map(familiar).collect::<Vec<_>>(),
        "RepoDigests": image.repository_digests.iter().filter_map(digest_of).collect::<Vec<_>>(),
        "Parent": "",
        "Comment": parsed.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        "Created": created,
        "DockerVersion": raw["docker_version"].as_str().unwrap_or_default(),
        "Author": parsed.author.unwrap_or_default(),
        "Config": with_defaults(&raw["config"]),
        "Architecture": parsed.architecture,
        "Os": parsed.os,
        "Size": image.size_bytes,
        "GraphDriver": { "Data": data, "Name": "overlay2" },
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(|layer| layer.diff.to_string()).collect::<Vec<_>>(),
        },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    });
    if !parsed.variant.is_empty() {
        document["Variant"] = parsed.variant.into();
    }
    Ok(document)
}

//! What all of it takes on the disk, and removing what nothing uses: `berth system df`, `berth system prune`.

use crate::build::cache;
use crate::find::{self, Container, State};
use crate::images::keep;
use crate::images::usage::{self, ImagesUsage};
use crate::request::{NetworkPruneRequest, RmRequest, VolumePruneRequest};
use crate::{Error, Home, network, ps, rm, volumes};
use std::os::fd::AsFd;

/// What is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Images.
    pub images: ImagesUsage,
    /// Containers, the newest first.
    pub containers: Vec<ContainerUsage>,
    /// Volumes by name, and bytes of the files in each.
    pub volumes: Vec<(volumes::Listed, u64)>,
    /// What builds keep, the record that was used last first.
    pub builds: Vec<cache::Record>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// What lists show of it.
    pub listed: ps::Listed,
    /// How many volumes it has.
    pub volumes: usize,
    /// Bytes of the files that it has changed.
    pub bytes: u64,
}

/// What `prune` removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Images with names as well, unless a container was made from them.
    pub all: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
    /// Which of all that.
    pub filter: PruneFilter,
    /// Whether it's only told what would be removed.
    pub dry_run: bool,
}

/// Which of the things that nothing uses are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Only what was made before then, nanoseconds since the epoch.
    pub until_ns: Option<i64>,
    /// Only what nothing has used since then, nanoseconds since the epoch.
    pub unused_since_ns: Option<i64>,
    /// Only what has these labels, with these values where given; all must hold.
    pub labels: Vec<(String, Option<String>)>,
    /// Nothing that has one of these labels, with that value where given.
    pub labels_not: Vec<(String, Option<String>)>,
}

impl PruneFilter {
    /// Whether something that was made then and has these labels is meant.
    pub(crate) fn passes<'a>(&self, created_ns: i64, label: &dyn Fn(&str) -> Option<&'a str>) -> bool {
        let young = self.until_ns.is_some_and(|until| created_ns >= until);
        let has = |(key, value): &(String, Option<String>)| {
            label(key).is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
        };
        !young && self.labels.iter().all(has) && !self.labels_not.iter().any(has)
    }

    /// Whether something that was used last then is meant.
    pub(crate) fn is_unused(&self, used_ns: impl FnOnce() -> i64) -> bool {
        self.unused_since_ns.is_none_or(|since| used_ns() < since)
    }
}

/// What is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids of containers.
    pub containers: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Images with their names.
    pub images: Vec<crate::images::Removed>,
    /// Ids of what builds kept.
    pub builds: Vec<String>,
    /// Bytes of files that are gone.
    pub reclaimed_bytes: u64,
}

/// Measures all there is.
pub fn usage(home: &Home) -> Result<Usage, Error> {
    let containers = find::all(home)?;
    let images = usage::usage(home, &containers)?;
    let mut measured = Vec::new();
    for container in containers {
        let (listed, volumes) = (ps::listed(home, &container), container.config.volumes().count());
        measured.push(ContainerUsage { listed, volumes, bytes: changed_bytes(home, &container)? });
    }
    let mut volumes = Vec::new();
    for listed in volumes::list(home, &[])? {
        let bytes = volumes::bytes(&listed.volume)?;
        volumes.push((listed, bytes));
    }
    Ok(Usage { images, containers: measured, volumes, builds: cache::list(home, &[])? })
}

/// Bytes of the files that a container has changed, docker's SizeRw.
pub(crate) fn changed_bytes<S>(home: &Home, container: &Container<S>) -> Result<u64, Error> {
    let upper = home.state_dir(&container.config.id).join("upper");
    match std::fs::File::open(&upper) {
        Ok(upper) => Ok(store::tree_bytes(upper.as_fd())?),
        // It has none of its own, or is just being removed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("read", upper.display(), &error)),
    }
}

/// Bytes of a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of those that it changed, docker's SizeRw.
    pub changed: u64,
    /// With its image, docker's SizeRootFs.
    pub all: u64,
}

/// Measures containers.
pub(crate) fn sizes<S>(home: &Home, containers: &[&Container<S>]) -> Result<Vec<Sizes>, Error> {
    let images = crate::images::list(home, false)?;
    let measure = |container: &&Container<S>| {
        let changed = changed_bytes(home, container)?;
        let id = container.config.image_id.as_ref();
        let image = images.iter().find(|image| Some(&image.id) == id).map_or(0, |image| image.size_bytes);
        Ok(Sizes { changed, all: changed + image })
    };
    containers.iter().map(measure).collect()
}

/// When a container did something last.
fn used_ns(container: &Container) -> i64 {
    match &container.state {
        State::Exited(ended) | State::Restarting(ended) => ended.finished_ns,
        State::Running(_) => i64::MAX,
        State::Created | State::Starting => container.config.created_ns,
    }
}

/// Removes containers that have ended; their ids, and how much they took. With `dry_run` nothing is removed.
pub fn prune_containers(home: &Home, filter: &PruneFilter, dry_run: bool) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    for container in find::all(home)? {
        let config = &container.config;
        let labels = config.labels();
        let wanted = filter.passes(config.created_ns, &|key| labels.get(key).copied())
            && filter.is_unused(|| used_ns(&container));
        if !matches!(container.state, State::Created | State::Exited(_)) || config.rm() || !wanted {
            continue;
        }
        let bytes = changed_bytes(home, &container)?;
        if dry_run {
            pruned.reclaimed_bytes += bytes;
            pruned.containers.push(config.id.clone());
            continue;
        }
        let request = RmRequest { containers: vec![config.id.clone()], ..RmRequest::default() };
        for (id, outcome) in rm::rm(home, &request) {
            match outcome {
                Ok(()) => {
                    pruned.reclaimed_bytes += bytes;
                    pruned.containers.push(id);
                }
                // Somebody else has removed it: so be it.
                Err(Error::NoContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(pruned)
}

/// Removes what nothing uses: containers that have ended, then, if asked for, volumes, then images and what builds keep.
pub fn prune(home: &Home, request: &PruneRequest) -> Result<Pruned, Error> {
    let PruneRequest { all, dry_run, ref filter, .. } = *request;
    let mut pruned = prune_containers(home, filter, dry_run)?;
    if request.volumes {
        let PruneFilter { labels, labels_not, unused_since_ns, .. } = filter.clone();
        let volumes = VolumePruneRequest { all: false, labels, labels_not, unused_since_ns, dry_run };
        let gone = volumes::prune(home, &volumes, &pruned.containers)?;
        pruned.volumes = gone.removed;
        pruned.reclaimed_bytes += gone.reclaimed_bytes;
    }
    let PruneFilter { labels, labels_not, until_ns, .. } = filter.clone();
    let networks = NetworkPruneRequest { labels, labels_not, until_ns, dry_run };
    pruned.networks = network::prune(home, &networks, &pruned.containers)?.removed;
    let images = keep::PruneRequest { all, filter: filter.clone(), dry_run };
    let gone = keep::prune(home, &images, &pruned.containers)?;
    pruned.images = gone.removed;
    pruned.reclaimed_bytes += gone.reclaimed_bytes;
    // It has no labels.
    if filter.labels.is_empty() {
        let moments = [filter.until_ns, filter.unused_since_ns];
        let filters = moments.into_iter().flatten().map(cache::Filter::Until).collect();
        let builds = cache::PruneRequest { all, filters, dry_run, ..cache::PruneRequest::default() };
        let gone = cache::prune(home, &builds)?;
        pruned.builds = gone.removed.into_iter().map(|record| record.id).collect();
        pruned.reclaimed_bytes += gone.reclaimed_bytes;
    }
    Ok(pruned)
}

//! Volumes: making, listing, removing them; what containers get of them.
//!
//! Who uses a volume is what the containers' configurations say, this boot's and the recorded ones. Between the moment
//! that a start takes a volume and the one that its configuration is written, the volume is pinned
//! ([`store::VolumePin`]); whoever removes one locks it first and looks for its users then.
//!
//! - [`attach`]: the mounts of a new container
//! - [`local`]: options of the driver

pub mod attach;
mod local;

use crate::cell::Cell;
use crate::request::{MountKind, MountRequest, VolumeCreateRequest, VolumeFilter, VolumePruneRequest};
use crate::stop::Outcomes;
use crate::{Config, Error, Home, events, find, images, last_use, names};
use local::Backing;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use store::{ANONYMOUS_LABEL, Durability, Store, Volume};

/// The only driver, docker's own.
pub const DRIVER: &str = "local";

/// One volume of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The volume.
    pub volume: Volume,
    /// Ids of the containers that have it, running or not.
    pub users: Vec<String>,
}

/// What `prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names.
    pub removed: Vec<String>,
    /// Bytes of files that are gone.
    pub reclaimed_bytes: u64,
}

/// Makes a volume; its name, and whether there was none. One that exists stays as it is.
pub fn create(home: &Home, request: &VolumeCreateRequest) -> Result<(String, bool), Error> {
    let mut labels = request.labels.clone();
    let name = match request.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            names::random_id()?
        }
    };
    check_driver(&name, request.driver.as_deref())?;
    let store = images::open_store(home)?;
    let (_, made) = make(&store, &name, &labels, &request.options, Durability::Synced)?;
    if made {
        events::volume(home, "create", &name);
    }
    Ok((name, made))
}

fn check_driver(volume: &str, driver: Option<&str>) -> Result<(), Error> {
    match driver {
        None | Some("" | DRIVER) => Ok(()),
        Some(other) => Err(Error::Refused {
            what: format!("create volume {volume}"),
            why: format!("error looking up volume plugin {other}: plugin {other:?} not found"),
            hint: format!("leave the driver out; {DRIVER} is the only one"),
        }),
    }
}

fn make(
    store: &Store,
    name: &str,
    labels: &BTreeMap<String, String>,
    options: &BTreeMap<String, String>,
    durability: Durability,
) -> Result<(Volume, bool), Error> {
    local::backing(options).map_err(|why| Error::invalid(format!("create {name}"), why))?;
    Ok(store.create_volume(name, labels, options, durability)?)
}

/// The volumes that the filters let pass, by name.
pub fn list(home: &Home, filters: &[VolumeFilter]) -> Result<Vec<Listed>, Error> {
    let Some(store) = images::look_at_store(home)? else { return Ok(Vec::new()) };
    let volumes = store.volumes()?;
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if !volumes.is_empty() {
        for container in find::all(home)? {
            let names: BTreeSet<&str> = container.config.volumes().map(|(name, _)| name).collect();
            for name in names {
                users.entry(name.to_owned()).or_default().push(container.config.id.clone());
            }
        }
    }
    let listed = |volume: Volume| Listed { users: users.remove(&volume.name).unwrap_or_default(), volume };
    Ok(volumes.into_iter().map(listed).filter(|listed| passes(listed, filters)).collect())
}

fn passes(listed: &Listed, filters: &[VolumeFilter]) -> bool {
    let holds = |filter: &VolumeFilter| match filter {
        VolumeFilter::Dangling(dangling) => listed.users.is_empty() == *dangling,
        VolumeFilter::Driver(driver) => driver == DRIVER,
        VolumeFilter::Label(key, value) => {
            listed.volume.labels.get(key).is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
        }
        VolumeFilter::Name(part) => listed.volume.name.contains(part.as_str()),
    };
    let same = |one: &VolumeFilter, other: &VolumeFilter| {
        std::mem::discriminant(one) == std::mem::discriminant(other)
    };
    filters.iter().all(|filter| match filter {
        VolumeFilter::Label(..) => holds(filter),
        _ => filters.iter().filter(|other| same(filter, other)).any(holds),
    })
}

/// Docker's document of a volume. Source: docker's Engine API, `GET /volumes/{name}`.
pub fn inspect(home: &Home, name: &str) -> Result<Json, Error> {
    let store = images::look_at_store(home)?;
    let volume = match store {
        Some(store) => store.volume(name)?,
        None => return Err(store::Error::NoVolume { name: name.to_owned() }.into()),
    };
    let map = |map: BTreeMap<String, String>| Some(map).filter(|map| !map.is_empty());
    Ok(json!({
        // Whole seconds, as docker's.
        "CreatedAt": format!("{}Z", &store::rfc3339(volume.created_ns)[..19]),
        "Driver": DRIVER,
        "Labels": map(volume.labels),
        "Mountpoint": volume.data,
        "Name": volume.name,
        "Options": map(volume.options),
        "Scope": "local",
    }))
}

/// Where a volume's content is, docker's mountpoint.
pub fn data_path(home: &Home, name: &str) -> PathBuf {
    store::Paths::of(&home.root).volume_data(name)
}

/// Where a volume's content is while no container runs with it; `None` if it's only in memory.
pub(crate) fn path_at_rest(home: &Home, name: &str, options: &BTreeMap<String, String>) -> Option<PathBuf> {
    match local::backing(options).ok()? {
        Backing::Directory => Some(data_path(home, name)),
        Backing::Bind(path) => Some(path),
        Backing::Tmpfs { .. } => None,
    }
}

/// Bytes of the files in a volume; in memory or elsewhere on the host they don't count.
pub fn bytes(volume: &Volume) -> Result<u64, Error> {
    match local::backing(&volume.options) {
        Ok(Backing::Directory) => {}
        _ => return Ok(0),
    }
    match std::fs::File::open(&volume.data) {
        Ok(data) => Ok(store::tree_bytes(data.as_fd())?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("read", volume.data.display(), &error)),
    }
}

/// Removes volumes that no container has. One that doesn't exist is [`store::Error::NoVolume`], which `force` passes over.
pub fn remove(home: &Home, names: &[String], force: bool) -> Result<Outcomes, Error> {
    let store = images::open_store(home)?;
    // What is left of containers that nobody looks after doesn't count.
    find::present(home);
    let remove = |name: &String| match remove_one(home, &store, name, None) {
        Err(Error::Store(store::Error::NoVolume { .. })) if force => Ok(()),
        other => other,
    };
    Ok(names.iter().map(|name| (name.clone(), remove(name))).collect())
}

/// Removes a volume unless a container has it, other than the one with the id `but`.
fn remove_one(home: &Home, store: &Store, name: &str, but: Option<&str>) -> Result<(), Error> {
    let locked = store.lock_volume(name)?;
    let by = users(home, store, name, but)?;
    if !by.is_empty() {
        return Err(Error::VolumeInUse { name: name.to_owned(), by });
    }
    unmount(&store.paths().volume_data(name));
    store.remove_volume(locked)?;
    events::volume(home, "destroy", name);
    Ok(())
}

/// Ids of the containers whose configurations name a volume.
fn users(home: &Home, store: &Store, name: &str, but: Option<&str>) -> Result<Vec<String>, Error> {
    let mut users = BTreeSet::new();
    let mut note = |config: Config| {
        if Some(config.id.as_str()) != but && config.volumes().any(|(own, _)| own == name) {
            users.insert(config.id);
        }
    };
    Cell::all(home).iter().filter_map(Cell::config).for_each(&mut note);
    let recorded = store.containers()?.into_iter().filter(|record| record.config_json.contains(name));
    recorded.filter_map(|record| serde_json::from_str(&record.config_json).ok()).for_each(&mut note);
    Ok(users.into_iter().collect())
}

/// Removes volumes that no container has, but for those in `doomed`, which are about to go.
pub fn prune(home: &Home, request: &VolumePruneRequest, doomed: &[String]) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let store = images::open_store(home)?;
    for Listed { volume, users } in list(home, &[])? {
        let has = |(key, value): &(String, Option<String>)| {
            volume.labels.get(key).is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
        };
        let wanted = (request.all || volume.is_anonymous())
            && request.labels.iter().all(has)
            && !request.labels_not.iter().any(has)
            && request.unused_since_ns.is_none_or(|since| last_use::of(volume.data.parent()) < since);
        if !users.iter().all(|user| doomed.contains(user)) || !wanted {
            continue;
        }
        let bytes = bytes(&volume)?;
        if request.dry_run {
            pruned.reclaimed_bytes += bytes;
            pruned.removed.push(volume.name);
            continue;
        }
        match remove_one(home, &store, &volume.name, None) {
            Ok(()) => {
                pruned.reclaimed_bytes += bytes;
                pruned.removed.push(volume.name);
            }
            // Somebody has begun to use it, or has removed it: so be it.
            Err(
                Error::VolumeInUse { .. }
                | Error::Store(store::Error::NoVolume { .. } | store::Error::VolumeBusy { .. }),
            ) => {}
            Err(error) => return Err(error),
        }
    }
    if !request.dry_run {
        store.sweep()?;
    }
    Ok(pruned)
}

/// After the end of a container: takes away what was mounted for its volumes and, if it's removed by itself, those that were
/// made for it.
pub(crate) fn container_ended(home: &Home, config: &Config) {
    release(home, config);
    if config.rm() {
        remove_own(home, config);
    }
}

/// Removes the volumes that were made for a container, unless another has taken them over.
pub(crate) fn remove_own(home: &Home, config: &Config) {
    remove_own_of(home, &config.id, &config.mounts);
}

/// Removes those of `mounts` that are volumes made for the container `id`, unless another has taken them over.
pub(crate) fn remove_own_of(home: &Home, id: &str, mounts: &[MountRequest]) {
    let own = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume(volume) if volume.anonymous => volume.name.as_deref(),
        _ => None,
    });
    let own: Vec<&str> = own.collect();
    if own.is_empty() {
        return;
    }
    let Ok(store) = Store::open(&home.root) else { return };
    for name in own {
        // What can't be removed now is found by `volume prune`.
        let _ = remove_one(home, &store, name, Some(id));
    }
}

/// Takes away what was mounted for volumes of a container that has ended, unless another that runs has them.
pub(crate) fn release(home: &Home, config: &Config) {
    let mounted = config.volumes().filter(|(_, volume)| is_mounted(&volume.options)).map(|(name, _)| name);
    let mounted: BTreeSet<&str> = mounted.collect();
    if mounted.is_empty() {
        return;
    }
    let Ok(store) = Store::open(&home.root) else { return };
    let runs_with = |cell: &Cell, name: &str| {
        let config = cell.config().filter(|other| other.id != config.id && cell.ended().is_none());
        config.is_some_and(|config| config.volumes().any(|(own, _)| own == name))
    };
    for name in mounted {
        // Whoever has it pinned is starting a container with it.
        if let Ok(_locked) = store.lock_volume(name)
            && !Cell::all(home).iter().any(|cell| runs_with(cell, name))
        {
            unmount(&store.paths().volume_data(name));
        }
    }
}

fn is_mounted(options: &BTreeMap<String, String>) -> bool {
    matches!(local::backing(options), Ok(Backing::Tmpfs { .. }))
}

/// Takes off what is mounted on a volume's content.
fn unmount(data: &Path) {
    let is_mounted = |data: &Path| {
        let dir = std::fs::File::open(data).ok();
        dir.is_some_and(|dir| linux::mount::is_root(dir.as_fd()).unwrap_or(false))
    };
    while is_mounted(data) && linux::mount::detach_at(data).is_ok() {}
}

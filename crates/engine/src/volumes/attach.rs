//! The mounts of a new container: those asked for, those taken over from other containers, and the image's volumes; with
//! volumes made where they are missing, filled from the image where they are empty, and held open.

use super::local::{self, Backing};
use super::make;
use crate::config::RootSource;
use crate::request::mount::clean_target;
use crate::request::{MountKind, MountRequest, RunRequest, VolumeRequest, VolumesFrom};
use crate::{Config, Error, Home, events, find, images, names, snapshot};
use linux::Errno;
use linux::mount::{self, attr};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use store::{ANONYMOUS_LABEL, Durability, Store, VolumePin};
use types::image::config::Execution;

/// The mounts of a container that is being made.
#[derive(Debug)]
pub(crate) struct Attached<'a> {
    home: &'a Home,
    id: &'a str,
    /// All of them.
    pub mounts: Vec<MountRequest>,
    /// By target, where volumes and images are to be had: the path of a descriptor that stays open in this process, which
    /// is the one that starts the container.
    pub sources: BTreeMap<PathBuf, String>,
    pins: Vec<VolumePin>,
    /// Whether the container was there before, and keeps them if it isn't started.
    again: bool,
}

impl Attached<'_> {
    /// What keeps the volumes from being removed, until the container's configuration is written down.
    pub fn keep(mut self) -> Vec<VolumePin> {
        self.mounts.clear();
        std::mem::take(&mut self.pins)
    }
}

impl Drop for Attached<'_> {
    /// The container didn't come about.
    fn drop(&mut self) {
        self.pins.clear();
        if !self.again {
            super::remove_own_of(self.home, self.id, &self.mounts);
        }
    }
}

/// Makes the volumes of a new container ready.
pub(crate) fn attach<'a>(
    home: &'a Home,
    id: &'a str,
    request: &RunRequest,
    root: &RootSource,
    image: &Execution,
) -> Result<Attached<'a>, Error> {
    let mounts = wanted(home, request, image)?;
    let durability = if request.rm { Durability::Unsynced } else { Durability::Synced };
    make_ready(home, id, mounts, root, durability, false)
}

/// Makes the volumes of a container ready that was there before: what it has is mounted again, as it is now.
pub(crate) fn attach_again<'a>(home: &'a Home, config: &'a Config) -> Result<Attached<'a>, Error> {
    let mut mounts = config.mounts.clone();
    for mount in &mut mounts {
        if let MountKind::Volume(volume) = &mut mount.kind {
            // It had its first content.
            volume.nocopy = true;
        }
    }
    let mut attached = make_ready(home, &config.id, mounts, &config.root, Durability::Synced, true)?;
    attached.mounts = config.mounts.clone();
    Ok(attached)
}

/// Makes one more mount of a container ready.
pub(crate) fn attach_one<'a>(
    home: &'a Home,
    config: &'a Config,
    mount: &MountRequest,
) -> Result<Attached<'a>, Error> {
    make_ready(home, &config.id, vec![mount.clone()], &config.root, Durability::Synced, false)
}

fn make_ready<'a>(
    home: &'a Home,
    id: &'a str,
    mounts: Vec<MountRequest>,
    root: &RootSource,
    durability: Durability,
    again: bool,
) -> Result<Attached<'a>, Error> {
    let needs_store =
        mounts.iter().any(|mount| !matches!(mount.kind, MountKind::Bind { .. } | MountKind::Tmpfs { .. }));
    let mut attached =
        Attached { home, id, mounts: Vec::new(), sources: BTreeMap::new(), pins: Vec::new(), again };
    if !needs_store {
        attached.mounts = mounts;
        return Ok(attached);
    }
    let store = images::open_store(home)?;
    for mut wanted in mounts {
        let source = match &mut wanted.kind {
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
            MountKind::Image { reference, layers, .. } => {
                // One that it had stays, whatever its name means by now.
                if layers.is_empty() {
                    *layers = layers_of(&store, reference)?;
                }
                // The holder puts the image in its place, once there are ids to show it with.
                Some(open_path(CWD, Path::new("/")).map_err(|e| Error::system("open", "/", e))?)
            }
            MountKind::Volume(volume) => {
                let pin = ready(home, &store, volume, durability)?;
                let from = Image { root, target: &wanted.target };
                let source = fill_and_open(&pin, volume, &from);
                attached.pins.push(pin);
                // From here on it is removed if the container doesn't come about.
                attached.mounts.push(wanted.clone());
                let source = source?;
                attached.mounts.pop();
                Some(source)
            }
        };
        if let Some(source) = source {
            let path = format!("/proc/self/fd/{}", source.into_raw_fd());
            attached.sources.insert(wanted.target.clone(), path);
        }
        attached.mounts.push(wanted);
    }
    Ok(attached)
}

/// All mounts. At one target, what was asked for comes before what other containers have there, and that before the
/// image's volume.
fn wanted(home: &Home, request: &RunRequest, image: &Execution) -> Result<Vec<MountRequest>, Error> {
    let mut mounts = request.mounts.clone();
    let mut add = |mount: MountRequest| {
        if !mounts.iter().any(|own| own.target == mount.target) {
            mounts.push(mount);
        }
    };
    for VolumesFrom { container, read_only } in &request.volumes_from {
        for mut mount in find::container(home, container)?.config.mounts {
            match &mut mount.kind {
                // Memory isn't shared.
                MountKind::Tmpfs { .. } => continue,
                MountKind::Volume(volume) => {
                    *volume = VolumeRequest { anonymous: false, nocopy: true, ..volume.clone() }
                }
                MountKind::Bind { .. } | MountKind::Image { .. } => {}
            }
            mount.read_only |= read_only;
            add(mount);
        }
    }
    for target in &image.volumes {
        let Some(target) = clean_target(target) else {
            return Err(Error::Image {
                image: "of the container".to_owned(),
                why: format!("its volume {target:?} is /"),
            });
        };
        add(MountRequest { kind: MountKind::Volume(VolumeRequest::default()), target, read_only: false });
    }
    Ok(mounts)
}

fn layers_of(store: &Store, reference: &str) -> Result<Vec<PathBuf>, Error> {
    match store.resolve_image(reference) {
        Ok(image) => Ok(image.layers.into_iter().map(|layer| layer.tree).collect()),
        Err(store::Error::NoImage { .. }) => Err(Error::Refused {
            what: format!("mount image {reference}"),
            why: "no such image".to_owned(),
            hint: format!("berth pull {reference}"),
        }),
        Err(error) => Err(error.into()),
    }
}

/// A volume that there is, and stays.
fn ready(
    home: &Home,
    store: &Store,
    request: &mut VolumeRequest,
    durability: Durability,
) -> Result<VolumePin, Error> {
    let mut labels = request.labels.clone();
    let name = match &request.name {
        Some(name) => name.clone(),
        None => {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            request.anonymous = true;
            names::random_id()?
        }
    };
    loop {
        let (volume, made) = make(store, &name, &labels, &request.options, durability)?;
        if made {
            events::volume(home, "create", &name);
        }
        match store.pin_volume(&name) {
            // Removed in between.
            Err(store::Error::NoVolume { .. }) if !volume.data.exists() => {}
            pin => {
                request.options = volume.options;
                request.name = Some(name);
                return Ok(pin?);
            }
        }
    }
}

/// What the image has at a volume's target.
struct Image<'a> {
    root: &'a RootSource,
    target: &'a Path,
}

impl Image<'_> {
    /// The directory; `None` if there is none. Nothing of @host is copied: it is full of secrets that only a mount hides.
    fn directory(&self) -> Result<Option<OwnedFd>, Error> {
        let root = match self.root {
            RootSource::Host => return Ok(None),
            RootSource::Directory(path) => {
                openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|e| Error::system("open", path.display(), e))?
            }
            RootSource::Layers(layers) => snapshot::view_of(layers, None)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = self.target.strip_prefix("/").unwrap_or(self.target);
        match openat2(&root, target, flags, Mode::empty(), confined()) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => Err(Error::invalid(
                "volume",
                format!("cannot mount volume over existing file, file exists {}", self.target.display()),
            )),
            Err(errno) => Err(Error::system("open in the image", self.target.display(), errno)),
        }
    }
}

fn confined() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

fn open_path(dir: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Gives an empty volume its first content, and opens what of it is mounted.
fn fill_and_open(pin: &VolumePin, request: &VolumeRequest, image: &Image<'_>) -> Result<OwnedFd, Error> {
    let name = request.name.as_deref().unwrap_or_default();
    let backing =
        local::backing(&request.options).map_err(|why| Error::invalid(format!("volume {name}"), why))?;
    let from = || match request.nocopy {
        true => Ok(None),
        false => image.directory(),
    };
    let content = match backing {
        Backing::Directory => {
            pin.fill(from)?;
            pin.data()?
        }
        Backing::Bind(path) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let content = openat(CWD, &path, flags, Mode::empty()).map_err(|errno| {
                Error::system("mount volume", format!("{name} from {}", path.display()), errno)
            })?;
            fill_in_place(pin, from, content.as_fd())?;
            content
        }
        Backing::Tmpfs { options, attributes } => {
            let _alone = pin.lock()?;
            let mounted =
                mount::is_root(pin.data()?.as_fd()).map_err(|e| Error::system("look at volume", name, e))?;
            if !mounted {
                let made = mount::detached("tmpfs", &options, attributes | attr::NOSUID);
                let data = pin.data()?;
                made.and_then(|made| mount::attach(made.as_fd(), data.as_fd()))
                    .map_err(|errno| Error::system("mount volume", name, errno))?;
            }
            let content = pin.data()?;
            if !mounted && let Some(from) = from()? {
                store::fill_in_place(from.as_fd(), content.as_fd())?;
            }
            content
        }
    };
    match &request.subpath {
        None => Ok(content),
        Some(subpath) => open_subpath(content.as_fd(), subpath, &format!("volume {name}")),
    }
}

fn fill_in_place(
    pin: &VolumePin,
    from: impl FnOnce() -> Result<Option<OwnedFd>, Error>,
    to: BorrowedFd<'_>,
) -> Result<(), Error> {
    let _alone = pin.lock()?;
    if let Some(from) = from()? {
        store::fill_in_place(from.as_fd(), to)?;
    }
    Ok(())
}

/// Opens a part of a volume or an image, through no link that leads out of it.
pub(crate) fn open_subpath(root: BorrowedFd<'_>, subpath: &str, whose: &str) -> Result<OwnedFd, Error> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if subpath.is_empty() || !Path::new(subpath).components().all(inside) {
        return Err(Error::invalid(
            format!("subpath {subpath:?} of {whose}"),
            "must be a relative path within it",
        ));
    }
    openat2(root, subpath, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), confined())
        .map_err(|errno| Error::system("open", format!("{subpath:?} in {whose}"), errno))
}

/// Shows the images that a container mounts, in the places that [`attach`] kept for them: read-only, their ids mapped.
pub(crate) fn show_images(config: &Config, userns: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    for wanted in &config.mounts {
        let MountKind::Image { reference, subpath, layers } = &wanted.kind else { continue };
        let shown = snapshot::view_of(layers, userns)?;
        let shown = match subpath {
            None => shown,
            // A mount of its own: the whole goes with its descriptor.
            Some(subpath) => {
                let part = open_subpath(shown.as_fd(), subpath, &format!("image {reference}"))?;
                mount::clone_tree(part.as_fd(), Path::new(""), false)
                    .map_err(|errno| Error::system("mount image", reference, errno))?
            }
        };
        let target = wanted.target.to_string_lossy();
        let planned = config.spec.mounts.iter().find(|mount| mount.destination == target);
        let number =
            planned.and_then(|mount| mount.source.as_deref()?.strip_prefix("/proc/self/fd/")?.parse().ok());
        let placed =
            number.ok_or(Errno::BADF).and_then(|number| linux::process::replace_fd(shown.as_fd(), number));
        placed.map_err(|errno| Error::system("mount image", reference, errno))?;
    }
    Ok(())
}

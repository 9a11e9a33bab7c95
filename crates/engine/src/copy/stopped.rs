//! The tree of a container that doesn't run: its root as it would be mounted, with the binds and volumes that it would
//! have. Nothing of it is attached anywhere, and all of it goes with its descriptor. Ids are as on the disk, which are those
//! inside.

use super::end::Access;
use super::tree::Tree;
use crate::config::{RootSource, UserNamespace};
use crate::find::Container;
use crate::request::{BindRecursion, MountKind, MountRequest};
use crate::volumes::{self, attach::open_subpath};
use crate::{Config, Error, Home, root, snapshot};
use linux::Errno;
use linux::mount::{self, attr};
use runtime::Steps;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use types::oci::IdMapping;

/// Opens the tree; with it, what keeps others from writing to it at the same time: the kernel wants one overlay at a time
/// to write to an upper directory.
pub fn open(home: &Home, container: &Container, access: Access) -> Result<(Tree, Vec<OwnedFd>), Error> {
    let config = &container.config;
    let is_read = access == Access::Read;
    let (root, held) = match &config.root {
        RootSource::Layers(_) if is_read => (snapshot::Snapshot::of(home, container)?.view()?, Vec::new()),
        _ => {
            let lock = root::lock(home, config)?;
            let cell = container.cell(home);
            // In this order: of one that is being removed, the configuration goes before the end does.
            if cell.ended().is_none() && cell.config().is_some() {
                return Err(Error::State {
                    id: config.name.clone(),
                    why: "was started meanwhile".to_owned(),
                });
            }
            // Without a user namespace there is nothing to be mapped.
            let plain = Config { user_namespace: UserNamespace::Host, ..config.clone() };
            (
                root::make(home, &plain, None, None, &mut Vec::new(), &mut Steps::new(false, false))?,
                vec![lock],
            )
        }
    };
    if config.request.read_only {
        mount::set_attributes(root.as_fd(), attr::RDONLY, 0, false)
            .map_err(|errno| Error::system("show the root of", &config.name, errno))?;
    }
    let tree = Tree::confined(root, None, None);
    let mut mounts: Vec<&MountRequest> = config.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for wanted in mounts {
        attach(home, config, &tree, wanted)?;
    }
    Ok((tree, held))
}

/// Shows one mount in its place. What is only in memory isn't there any more, and nor is a mount without a place.
fn attach(home: &Home, config: &Config, tree: &Tree, wanted: &MountRequest) -> Result<(), Error> {
    let failed =
        |errno| Error::system("show in the container what is mounted on", wanted.target.display(), errno);
    let Ok((_, Some(place))) = tree.follow(wanted.target.as_os_str().as_bytes()) else { return Ok(()) };
    let Some((source, is_recursive)) = source(home, wanted)? else { return Ok(()) };
    let clone = mount::clone_tree(source.as_fd(), Path::new(""), is_recursive).map_err(failed)?;
    if let Some(userns) = id_map(config, wanted)? {
        mount::set_idmap(clone.as_fd(), userns.as_fd(), is_recursive).map_err(failed)?;
    }
    let read_only = if wanted.read_only { attr::RDONLY } else { 0 };
    mount::set_attributes(clone.as_fd(), attr::NODEV | attr::NOSUID | read_only, 0, is_recursive)
        .map_err(failed)?;
    mount::attach(clone.as_fd(), place.file.as_fd()).map_err(|errno| match errno {
        // A mount that is nowhere attached takes others since Linux 6.15.
        Errno::INVAL => Error::Refused {
            what: format!("copy from or to {}, which doesn't run", config.name),
            why: format!("this kernel can't show what is mounted on {} in it", wanted.target.display()),
            hint: "copy while it runs, or update to Linux 6.15".to_owned(),
        },
        errno => failed(errno),
    })
}

/// What is mounted, open as a path, and whether with what is mounted below.
fn source(home: &Home, wanted: &MountRequest) -> Result<Option<(OwnedFd, bool)>, Error> {
    let path_of = |path: &Path| {
        let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        opened.map_err(|errno| Error::system("open", path.display(), errno))
    };
    let (opened, subpath, whose) = match &wanted.kind {
        MountKind::Tmpfs { .. } => return Ok(None),
        MountKind::Bind { source, recursion, .. } => {
            return Ok(Some((path_of(source)?, *recursion != BindRecursion::Disabled)));
        }
        MountKind::Volume(volume) => {
            let name = volume.name.as_deref().unwrap_or_default();
            let Some(data) = volumes::path_at_rest(home, name, &volume.options) else { return Ok(None) };
            (path_of(&data)?, &volume.subpath, format!("volume {name}"))
        }
        MountKind::Image { reference, subpath, layers } => {
            (snapshot::view_of(layers, None)?, subpath, format!("image {reference}"))
        }
    };
    let opened = match subpath {
        None => opened,
        Some(subpath) => open_subpath(opened.as_fd(), subpath, &whose)?,
    };
    Ok(Some((opened, true)))
}

/// The id map of a bind, as the running container had it, but to the ids inside.
fn id_map(config: &Config, wanted: &MountRequest) -> Result<Option<OwnedFd>, Error> {
    let MountKind::Bind { noidmap: false, .. } = wanted.kind else { return Ok(None) };
    let target = wanted.target.to_string_lossy();
    let Some(planned) = config.spec.mounts.iter().find(|mount| mount.destination == target) else {
        return Ok(None);
    };
    if planned.uid_mappings.is_empty() {
        return Ok(None);
    }
    let ids = config.user_namespace.mappings();
    let inside = |lines: &[IdMapping]| -> Vec<IdMapping> {
        lines
            .iter()
            .filter_map(|line| {
                Some(IdMapping { host_id: runtime::userns::to_container(&ids, line.host_id)?, ..*line })
            })
            .collect()
    };
    Ok(Some(runtime::userns::for_mount(&inside(&planned.uid_mappings), &inside(&planned.gid_mappings))?))
}

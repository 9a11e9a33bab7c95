//! Mounts that are added to a container or taken from it, while it runs or for its next start.

use crate::cell::{Cell, Running};
use crate::config::UserNamespace;
use crate::request::{MountKind, MountRequest, UpdateRequest};
use crate::volumes::attach::{self, Attached};
use crate::{Config, Error, Home, events, spec};
use linux::fault;
use runtime::{Plan, live};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use store::VolumePin;

/// What is changed of a container's mounts.
#[derive(Debug)]
pub(super) struct Changed<'a> {
    home: &'a Home,
    /// What is new: as the container has it, and its volume if it's one.
    added: Vec<(MountRequest, Attached<'a>)>,
    /// What goes.
    removed: Vec<MountRequest>,
}

/// Decides what becomes of the mounts of `old`, makes new volumes ready, and writes it into `new`.
///
/// Errors: [`Error::Invalid`] for what can't be mounted, is there already, or isn't there.
pub(super) fn plan<'a>(
    home: &'a Home,
    old: &'a Config,
    new: &mut Config,
    request: &UpdateRequest,
    running: bool,
) -> Result<Changed<'a>, Error> {
    let refused = |flag: &str, why: String| Err(Error::invalid(flag, why));
    let mut changed = Changed { home, added: Vec::new(), removed: Vec::new() };
    for target in &request.mount_rm {
        let Some(at) = new.mounts.iter().position(|mount| mount.target == *target) else {
            return refused(
                "--mount-rm",
                format!("container {} has no mount at {}", old.name, target.display()),
            );
        };
        changed.removed.push(new.mounts.remove(at));
        new.request.mounts.retain(|mount| mount.target != *target);
    }
    for mount in &request.mount_add {
        let target = mount.target.display();
        if new.mounts.iter().any(|other| other.target == mount.target) {
            return refused("--mount-add", format!("duplicate mount point: {target}"));
        }
        if running && !matches!(mount.kind, MountKind::Bind { .. } | MountKind::Volume(_)) {
            let why = format!("{target}: only binds and volumes can be mounted into a running container");
            return refused("--mount-add", why);
        }
        let attached = attach::attach_one(home, old, mount)?;
        let ready = attached.mounts.first().cloned().unwrap_or_else(|| mount.clone());
        new.request.mounts.push(mount.clone());
        new.mounts.push(ready.clone());
        changed.added.push((ready, attached));
    }
    Ok(changed)
}

impl Changed<'_> {
    /// Whether anything is.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Changes the mounts of a running container; warnings. If one fails, those before it are taken back.
    pub(super) fn apply(&self, config: &Config, running: &Running) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        let Some(entered) = Entered::of(config, running)? else { return Ok(warnings) };
        for (n, mount) in self.removed.iter().enumerate() {
            entered.detach(config, &mount.target).inspect_err(|_| self.take_back(config, &entered, n, 0))?;
            fault::point("mount removed");
        }
        for (n, (mount, attached)) in self.added.iter().enumerate() {
            match entered.attach(config, mount, &attached.sources) {
                Ok(more) => warnings.extend(more),
                Err(error) => {
                    self.take_back(config, &entered, self.removed.len(), n);
                    return Err(error);
                }
            }
            fault::point("mount added");
        }
        Ok(warnings)
    }

    fn take_back(&self, config: &Config, entered: &Entered, removed: usize, added: usize) {
        for (mount, _) in self.added.iter().take(added).rev() {
            let _ = entered.detach(config, &mount.target);
        }
        for mount in self.removed.iter().take(removed) {
            let mut again = mount.clone();
            if let MountKind::Volume(volume) = &mut again.kind {
                // It had its first content.
                volume.nocopy = true;
            }
            if let Ok(attached) = attach::attach_one(self.home, config, &again) {
                let _ = entered.attach(config, mount, &attached.sources);
                // It's the container's, and stays.
                drop(attached.keep());
            }
        }
    }

    /// Undoes it all.
    pub(super) fn undo(&self, config: &Config, running: &Running) {
        if let Ok(Some(entered)) = Entered::of(config, running) {
            self.take_back(config, &entered, self.removed.len(), self.added.len());
        }
    }

    /// The same for a container that doesn't run: nothing is mounted yet.
    pub(super) fn forget(self) -> Vec<VolumePin> {
        self.added.into_iter().flat_map(|(_, attached)| attached.keep()).collect()
    }

    /// Tells of it; what keeps the volumes from being removed, until the new configuration is written down.
    pub(super) fn keep(self, home: &Home, config: &Config) -> Vec<VolumePin> {
        let added: Vec<MountRequest> = self.added.iter().map(|(mount, _)| mount.clone()).collect();
        events::mounts_changed(home, config, &self.removed, false);
        events::mounts_changed(home, config, &added, true);
        self.added.into_iter().flat_map(|(_, attached)| attached.keep()).collect()
    }
}

/// Of an update that was cut short: what of the mounts of `new` the running container really has.
fn settle(old: &Config, new: &mut Config, running: &Running) {
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", running.init.pid)).unwrap_or_default();
    let is_mounted = |target: &Path| {
        table.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point) == target)
    };
    let had = |target: &Path| old.mounts.iter().any(|mount| mount.target == target);
    new.mounts.retain(|mount| had(&mount.target) || is_mounted(&mount.target));
    let kept: Vec<PathBuf> = new.mounts.iter().map(|mount| mount.target.clone()).collect();
    new.request.mounts.retain(|mount| kept.contains(&mount.target));
    for mount in old.mounts.iter().filter(|mount| !kept.contains(&mount.target)) {
        if is_mounted(&mount.target) {
            new.mounts.push(mount.clone());
            new.request
                .mounts
                .extend(old.request.mounts.iter().find(|own| own.target == mount.target).cloned());
        }
    }
}

/// A running container that mounts are changed in.
struct Entered {
    pidfd: OwnedFd,
    userns: Option<OwnedFd>,
    ids: Vec<types::oci::IdMapping>,
}

impl Entered {
    /// `None` if it has ended.
    fn of(config: &Config, running: &Running) -> Result<Option<Entered>, Error> {
        let Some(pidfd) = running.init.open() else { return Ok(None) };
        let userns = match config.user_namespace {
            UserNamespace::Host => None,
            _ => {
                let path = format!("/proc/{}/ns/user", running.init.pid);
                let fd = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                Some(fd.map_err(|errno| Error::system("open", path, errno))?)
            }
        };
        // Still alive, so it was its namespace.
        if running.init.open().is_none() {
            return Ok(None);
        }
        Ok(Some(Entered { pidfd, userns, ids: config.user_namespace.mappings() }))
    }

    fn joined(&self) -> live::Joined<'_> {
        let userns = self.userns.as_ref().map(|fd| (fd.as_fd(), self.ids.as_slice()));
        live::Joined { pidfd: self.pidfd.as_fd(), userns }
    }

    fn attach(
        &self,
        config: &Config,
        mount: &MountRequest,
        sources: &BTreeMap<PathBuf, String>,
    ) -> Result<Vec<String>, Error> {
        let process = config.spec.process.clone().unwrap_or_default();
        let ids = (process.user.uid, process.user.gid);
        let planned = spec::plan_mount(mount, &config.user_namespace, sources, ids)?;
        let mut spec = config.spec.clone();
        spec.mounts = vec![planned];
        let failed = |source| Error::Update { id: config.id.clone(), source };
        live::attach(&Plan::new(&spec).map_err(failed)?, &self.joined()).map_err(failed)
    }

    fn detach(&self, config: &Config, target: &Path) -> Result<(), Error> {
        live::detach(&target.to_string_lossy(), &self.joined())
            .map_err(|source| Error::Update { id: config.id.clone(), source })
    }
}

/// As [`settle`], for a container that may have ended.
pub(super) fn settle_now(cell: &Cell, old: &Config, new: &mut Config) {
    match cell.running().filter(|running| running.init.open().is_some()) {
        Some(running) if old.mounts != new.mounts => settle(old, new, &running),
        _ => {}
    }
}

//! A container's own layer over the layers that it was made from: what it changed, and what both look like together.
//!
//! Build steps use it as commands do: run in a container, list or archive what it changed, make a layer of that.

use crate::config::RootSource;
use crate::find::Container;
use crate::{Error, Home};
use linux::Errno;
use linux::mount::{self, FsOpenFlags, attr};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use store::changes::{Change, ChangeKind};
use store::pack::{self, Written};

/// Directories that every container gets, and that are mounted on: they are no change of its own.
const MOUNTED_ON: [&[u8]; 3] = [b"dev", b"proc", b"sys"];

/// A container's layers, open.
#[derive(Debug)]
pub struct Snapshot {
    upper: OwnedFd,
    upper_path: PathBuf,
    /// Topmost first.
    lowers: Vec<OwnedFd>,
    lower_paths: Vec<PathBuf>,
    is_of_host: bool,
    name: String,
}

impl Snapshot {
    /// Opens the layers of a container. Errors: [`Error::State`] for one whose root is a directory, used in place.
    pub fn of(home: &Home, container: &Container) -> Result<Snapshot, Error> {
        let config = &container.config;
        let lower_paths: Vec<PathBuf> = match &config.root {
            RootSource::Layers(layers) => layers.iter().rev().cloned().collect(),
            RootSource::Host => vec![PathBuf::from("/")],
            RootSource::Directory(path) => {
                let why = format!("has no layer of its own: it changes {} in place", path.display());
                return Err(Error::State { id: config.name.clone(), why });
            }
        };
        let upper_path = home.state_dir(&config.id).join("upper");
        let lowers = lower_paths.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Snapshot {
            upper: open(&upper_path)?,
            upper_path,
            lowers,
            lower_paths,
            is_of_host: config.root == RootSource::Host,
            name: config.name.clone(),
        })
    }

    fn lowers(&self) -> Vec<BorrowedFd<'_>> {
        self.lowers.iter().map(AsFd::as_fd).collect()
    }

    /// What the container changed, sorted by path.
    pub fn changes(&self) -> Result<Vec<Change>, Error> {
        let mut changes = store::changes::changes(self.upper.as_fd(), &self.lowers())?;
        changes.retain(|change| {
            let path = change.path.strip_prefix(b"/").unwrap_or(&change.path);
            change.kind != ChangeKind::Added || !MOUNTED_ON.contains(&path)
        });
        Ok(changes)
    }

    /// Archives what the container changed, as a layer.
    pub fn write_layer(&self, out: impl Write) -> Result<Written, Error> {
        Ok(pack::write_layer(self.upper.as_fd(), &self.lowers(), &MOUNTED_ON, out)?)
    }

    /// All layers as one tree, owned by ids as in the image: a mount that is nowhere attached, and goes with its
    /// descriptor. Read-only.
    ///
    /// Errors: [`Error::State`] for a container of @host, whose lower layer is the whole host.
    pub fn view(&self) -> Result<OwnedFd, Error> {
        if self.is_of_host {
            let why =
                "is a copy of this host, which stays on it; `berth diff` shows what it changed".to_owned();
            return Err(Error::State { id: self.name.clone(), why });
        }
        // Clones of the mounts: layers on one that is read-only or unmounted stay what they are.
        let lowers = self.lower_paths.iter().rev();
        stack(lowers.chain([&self.upper_path]), None, attr::NOSUID | attr::NOEXEC)
            .map_err(|errno| Error::system("show the layers of", &self.name, errno))
    }
}

/// Layers, the lowest first, as one tree: a mount that is nowhere attached, and goes with its descriptor. Read-only; owned
/// by ids as in the image or, with a user namespace, by those that it maps them to.
pub(crate) fn view_of(layers: &[PathBuf], userns: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Error> {
    let object = || layers.last().map_or_else(String::new, |top| top.display().to_string());
    stack(layers.iter(), userns, 0).map_err(|errno| Error::system("show the layers up to", object(), errno))
}

fn stack<'a>(
    layers: impl DoubleEndedIterator<Item = &'a PathBuf>,
    userns: Option<BorrowedFd<'_>>,
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    let attributes = attributes | attr::RDONLY | attr::NODEV;
    let mut clones = Vec::new();
    for path in layers.rev() {
        let clone = mount::clone_tree(CWD, path, false)?;
        if let Some(userns) = userns {
            mount::set_idmap(clone.as_fd(), userns, false)?;
        }
        clones.push(clone);
    }
    if clones.len() == 1 {
        // Overlayfs wants two.
        let only = clones.remove(0);
        mount::set_attributes(only.as_fd(), attributes, 0, false)?;
        return Ok(only);
    }
    let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in &clones {
        mount::fsconfig_set_fd(&context, "lowerdir+", layer)?;
    }
    mount::fsconfig_create(&context)?;
    mount::fs_mount(&context, attributes)
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|errno| Error::system("open", path.display(), errno))
}

/// What the container called `given` changed.
pub fn changes(home: &Home, given: &str) -> Result<Vec<Change>, Error> {
    Snapshot::of(home, &crate::find::container(home, given)?)?.changes()
}

/// Writes the archive of a container's whole root file system, without what is mounted in it.
pub fn export(home: &Home, given: &str, out: &mut dyn Write) -> Result<(), Error> {
    let container = crate::find::container(home, given)?;
    let view = match &container.config.root {
        RootSource::Directory(path) => open(path)?,
        _ => Snapshot::of(home, &container)?.view()?,
    };
    pack::write_tree(view.as_fd(), out)?;
    crate::events::container(home, &container.config, "export", &[]);
    Ok(())
}

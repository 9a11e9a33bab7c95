//! The container's root as a detached mount, made by the holder once the container's user namespace exists.

use crate::cell::Cell;
use crate::config::{Config, RootSource, UserNamespace};
use crate::{Error, Home, host_image, log};
use linux::Errno;
use linux::mount::{self, FsOpenFlags, attr};
use runtime::Steps;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Makes the directories that a copy-on-write root writes to. What they are shown as in the container (`/`'s owner and
/// mode) is the topmost layer's.
pub fn prepare(home: &Home, config: &Config) -> Result<(), Error> {
    let dir = home.state_dir(&config.id);
    let made = |path: &Path, mode: u32| {
        rustix::fs::mkdir(path, Mode::from_raw_mode(mode))
            .map_err(|e| Error::system("make", path.display(), e))
    };
    match made(&dir, 0o700) {
        Err(Error::System { errno: Errno::NOENT, .. }) => {
            crate::claims::make_private_dir(&home.root.join("containers"))?;
            made(&dir, 0o700)?;
        }
        other => other?,
    }
    if !matches!(config.root, RootSource::Directory(_)) {
        made(&dir.join("upper"), 0o755)?;
        made(&dir.join("work"), 0o755)?;
        for (name, target) in &config.request.root_links {
            let link = dir.join("upper").join(name);
            rustix::fs::symlink(target.as_str(), &link)
                .map_err(|errno| Error::system("make", link.display(), errno))?;
        }
    }
    if let RootSource::Layers(layers) = &config.root
        && let Some(top) = layers.last()
    {
        let upper = dir.join("upper");
        let failed = |e| Error::system("prepare", upper.display(), e);
        let stat = rustix::fs::stat(top).map_err(|e| Error::system("read layer", top.display(), e))?;
        rustix::fs::chown(&upper, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
            .map_err(failed)?;
        rustix::fs::chmod(&upper, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed)?;
    }
    Ok(())
}

/// Holds the files of a container that doesn't run: one process mounts them at a time.
pub(crate) fn lock(home: &Home, config: &Config) -> Result<OwnedFd, Error> {
    let dir = home.state_dir(&config.id);
    let failed = |errno| Error::system("lock", dir.display(), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lock = openat(CWD, &dir, flags, Mode::empty()).map_err(failed)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive))
        .map_err(failed)?;
    Ok(lock)
}

/// Makes the root's mount. `userns` is the container's user namespace, `None` if it's the host's; `mask` is the layer that
/// hides the host's secrets, if it's made already.
///
/// The mounts that it was made of, attached nowhere, go to `spare`: closing each makes the kernel wait for a grace period of
/// RCU, which nobody should while the first process waits for its root.
pub fn make(
    home: &Home,
    config: &Config,
    userns: Option<BorrowedFd<'_>>,
    mask: Option<OwnedFd>,
    spare: &mut Vec<OwnedFd>,
    steps: &mut Steps,
) -> Result<OwnedFd, runtime::Error> {
    match &config.root {
        RootSource::Directory(path) => in_place(path, userns, steps),
        RootSource::Host => {
            let mut make_mask = |base| {
                steps.group("fsopen, mkdirat, mknodat", "mask layer", "hide the host's secrets", || {
                    host_image::mask_layer(home, base).map_err(as_runtime)
                })
            };
            let mut mask = match mask {
                Some(made) => made,
                None => make_mask(0)?,
            };
            if let Some(userns) = userns
                && mount::set_idmap(mask.as_fd(), userns, false).is_err()
            {
                // A kernel before 6.3, whose tmpfs can't map ids.
                mask = make_mask(config.user_namespace.base())?;
            }
            let host = lower(Path::new("/"), userns, steps)?;
            spare.extend([mask, host]);
            overlay(home, config, userns, spare, steps)
        }
        RootSource::Layers(layers) => {
            for layer in layers.iter().rev() {
                spare.push(lower(layer, userns, steps)?);
            }
            // Where files of the image's are missing that something is bound over: nobody is to find them made in the
            // container's own layer.
            if layers.len() < LAYERS_MAX {
                spare.push(lower(&mountpoints(home)?, userns, steps)?);
            }
            overlay(home, config, userns, spare, steps)
        }
    }
}

/// Most layers of an overlay. Source: OVL_MAX_STACK of the kernel.
const LAYERS_MAX: usize = 500;

/// A tree with what is bound over in each container, as empty files; made once.
fn mountpoints(home: &Home) -> Result<PathBuf, runtime::Error> {
    let path = home.root.join("mountpoints");
    if path.exists() {
        return Ok(path);
    }
    let make = || -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let new = home.root.join(format!(".mountpoints.{}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o755).create(new.join("etc"))?;
        for name in crate::network::FILE_NAMES {
            std::fs::write(new.join("etc").join(name), b"")?;
        }
        match rustix::fs::renameat(CWD, &new, CWD, &path) {
            // By somebody else, just now.
            Err(Errno::EXIST | Errno::NOTEMPTY) => std::fs::remove_dir_all(&new),
            other => Ok(other?),
        }
    };
    make().map_err(|error| as_runtime(Error::io("make", path.display(), &error)))?;
    Ok(path)
}

fn as_runtime(error: Error) -> runtime::Error {
    match error {
        Error::System { what, object, errno } => runtime::Error::step(what, "set up", object, errno),
        other => runtime::Error::field("root", other.to_string()),
    }
}

fn in_place(
    path: &Path,
    userns: Option<BorrowedFd<'_>>,
    steps: &mut Steps,
) -> Result<OwnedFd, runtime::Error> {
    let what = "take the root file system";
    let fd = steps.run("open_tree", path.display(), what, || mount::clone_tree(CWD, path, true))?;
    if let Some(userns) = userns {
        steps.run("mount_setattr", path.display(), "map the ids of its files", || {
            match mount::set_idmap(fd.as_fd(), userns, true) {
                // A file system mounted below it can't map ids; it's shown as it is.
                Err(Errno::INVAL) => mount::set_idmap(fd.as_fd(), userns, false),
                other => other,
            }
        })?;
    }
    steps.run("mount_setattr", path.display(), "keep its mounts from spreading to the host", || {
        mount::set_propagation(fd.as_fd(), 1 << 19, true)
    })?;
    Ok(fd)
}

/// One lower layer: a read-only copy of the mount, its ids mapped.
fn lower(path: &Path, userns: Option<BorrowedFd<'_>>, steps: &mut Steps) -> Result<OwnedFd, runtime::Error> {
    let object = path.display().to_string();
    let fd = steps.run("open_tree", &object, "take a layer", || mount::clone_tree(CWD, path, false))?;
    if let Some(userns) = userns {
        let mapped = steps.run("mount_setattr", &object, "map the ids of a layer", || {
            mount::set_idmap(fd.as_fd(), userns, false)
        });
        mapped.map_err(|error| match error {
            runtime::Error::Step { errno: Errno::INVAL | Errno::PERM, .. } => runtime::Error::field(
                format!("root file system {object}"),
                "its file system can't map user ids, as an overlay can't: take --userns=host, or another root",
            ),
            other => other,
        })?;
    }
    Ok(fd)
}

/// An overlay over `lowers`, the topmost first, writing to the container's own directory, whose mount joins them.
fn overlay(
    home: &Home,
    config: &Config,
    userns: Option<BorrowedFd<'_>>,
    lowers: &mut Vec<OwnedFd>,
    steps: &mut Steps,
) -> Result<OwnedFd, runtime::Error> {
    let dir = home.state_dir(&config.id);
    let own = steps.run("open_tree", dir.display(), "take its own directory", || {
        let fd = mount::clone_tree(CWD, &dir, false)?;
        if let Some(userns) = userns {
            mount::set_idmap(fd.as_fd(), userns, false)?;
        }
        Ok(fd)
    })?;
    let base = config.user_namespace.base();
    let object = format!("{} layers", lowers.len());
    let made = steps.run(
        "fsopen, fsconfig, fsmount",
        object,
        "lay the container's own layer over the others",
        || {
            let open = |name: &str| {
                openat(&own, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            };
            let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            for lower in lowers.iter() {
                mount::fsconfig_set_fd(&context, "lowerdir+", lower)?;
            }
            mount::fsconfig_set_fd(&context, "upperdir", open("upper")?)?;
            mount::fsconfig_set_fd(&context, "workdir", open("work")?)?;
            // On by default in some kernels: what a container changed would be told by marks that no layer can have.
            for feature in ["redirect_dir", "metacopy", "index"] {
                mount::fsconfig_set_string(&context, feature, "off")?;
            }
            if config.rm() {
                // Without it, unmounting writes everything back that is going to be deleted.
                mount::fsconfig_set_flag(&context, "volatile")?;
            }
            if config.user_namespace == UserNamespace::Host {
                mount::fsconfig_create(&context)?;
                return mount::fs_mount(&context, 0);
            }
            // Made by root, who isn't mapped in the upper directory, the overlay would be read-only.
            linux::creds::with_fsids(base, base, || mount::fsconfig_create(&context))??;
            mount::fs_mount(&context, attr::NODEV)
        },
    );
    lowers.push(own);
    made
}

/// Whether a directory that is used in place as a root has a file at `path`; true for all other roots.
pub fn has_file(source: &RootSource, path: &str) -> bool {
    let RootSource::Directory(root) = source else { return true };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, root, flags, Mode::empty()).is_ok_and(|root| read_beneath(&root, path).is_some())
}

/// Reads a small file of the container's root before it's mounted, for the user database: the topmost layer that has
/// it. Links are followed within the layer only.
pub fn read_file(source: &RootSource, path: &str) -> Vec<u8> {
    let read = |root: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        read_beneath(&openat(CWD, root, flags, Mode::empty()).ok()?, path)
    };
    match source {
        RootSource::Host => read(Path::new("/")),
        RootSource::Directory(dir) => read(dir),
        RootSource::Layers(layers) => layers.iter().rev().find_map(|layer| read(layer)),
    }
    .unwrap_or_default()
}

/// Reads a small regular file beneath `root` as data, following links within it only; `None` if there is none.
pub fn read_beneath(root: &OwnedFd, path: &str) -> Option<Vec<u8>> {
    use rustix::fs::{FileType, ResolveFlags, openat2};
    use std::io::Read;
    const BYTES_MAX: u64 = 1 << 20;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(root, path, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    // With room for its end: a file whose length isn't known is read in small pieces.
    let mut content = Vec::with_capacity((stat.st_size as u64).min(BYTES_MAX) as usize + 1);
    std::fs::File::from(fd).take(BYTES_MAX).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Removes what [`prepare`] made, and the logs. What is gone already is no error.
pub fn remove(home: &Home, cell: &Cell) -> Result<(), Error> {
    let dir = home.state_dir(&cell.id);
    log::hold::set_aside(&log::dir(&dir), &cell.id, &home.root.join("tmp"));
    match remove_tree(&dir) {
        Err(errno) if errno != Errno::NOENT => Err(Error::system("remove", dir.display(), errno)),
        _ => Ok(()),
    }
}

/// Removes a tree; the common case, a container that wrote nothing, by a handful of calls.
fn remove_tree(dir: &Path) -> Result<(), Errno> {
    use rustix::fs::{AtFlags, unlinkat};
    let fd = openat(
        CWD,
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    for name in ["work/work/incompat/volatile", "state.json"] {
        let _ = unlinkat(&fd, name, AtFlags::empty());
    }
    for name in ["work/work/incompat", "work/work", "work", "upper", "log"] {
        let _ = unlinkat(&fd, name, AtFlags::REMOVEDIR);
    }
    match unlinkat(CWD, dir, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => {
            std::fs::remove_dir_all(dir).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        other => other,
    }
}

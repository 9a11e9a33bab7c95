//! Layers in the making: a step of a build works in a draft, which becomes a layer.
//!
//! A draft is a directory in `tmp/`, locked by its maker, with an overlay's upper directory `fs` and `work`. What is
//! mounted of it is nowhere attached, and goes with its descriptors. [`Store::adopt`] reads the upper directory once, which
//! gives the diff id and a digest of the content, and moves it into place: no archive is kept, it's packed again when it is
//! wanted. Nothing is synced (`boot`).
//!
//! ```text
//! tmp/<name>/fs, work    the layer, and the overlay's work directory
//!            stubs       places to mount on that aren't to be in the layer: see [`stubs`]
//!            spare/<n>   what is written to overlays whose writes are thrown away
//! ```

mod stubs;

pub use stubs::Place;

use crate::boot;
use crate::db::Durability;
use crate::error::Error;
use crate::images::{LayerRow, insert_layer};
use crate::ingest::{Meta, make_tree, write_meta};
use crate::locked::{WorkDir, open_directory};
use crate::pack::{Measured, join, measure_layer};
use crate::paths::LAYER_TREE;
use crate::remove::remove_tree;
use crate::{Layer, Store, attributes, confined, overlay};
use linux::mount::{self, FsOpenFlags, attr};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use types::digest::{ChainId, DiffId, Sha256};

/// The overlay's work directory in a draft.
const WORK: &str = "work";

/// Directories of overlays whose writes are thrown away.
const SPARE: &str = "spare";

/// Most layers of an overlay. Source: OVL_MAX_STACK of the kernel.
const LAYERS_MAX: usize = 500;

/// A layer in the making. Dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    work: WorkDir,
    upper: OwnedFd,
    base: Vec<Layer>,
    /// Keep the base's layers in their places.
    _pins: Vec<OwnedFd>,
    is_linked: bool,
}

/// What became of a draft.
#[derive(Debug)]
pub struct Adopted {
    /// The whole tree: the base and, unless it's empty, the layer. `None` for nothing over nothing.
    pub chain: Option<ChainId>,
    /// The layer's diff id, also if it is empty and there is no layer.
    pub diff: DiffId,
    /// Digest of its content: equal ones over equal bases are equal trees but for times. Over paths, types, modes, owners,
    /// attributes, targets, devices and bytes.
    pub content: Sha256,
    /// Bytes of content.
    pub size_bytes: u64,
    /// Whether it has no entry, so that there is no layer.
    pub is_empty: bool,
    /// Keeps the layer in its place.
    pub pin: Option<OwnedFd>,
}

impl Store {
    /// Begins a layer over the stack that `base` names, or over nothing.
    ///
    /// Errors: [`Error::NoLayer`], [`Error::Files`].
    pub fn draft(&self, base: Option<&ChainId>) -> Result<Draft, Error> {
        self.db.require_writable("make a layer")?;
        let base = base.map_or_else(|| Ok(Vec::new()), |chain| self.layers_of(chain))?;
        let pins = self.pin(&base, &|layer| Error::NoLayer { chain: layer.chain.to_string() })?;
        let work = WorkDir::create(&self.paths().tmp())?;
        let path = self.paths().tmp().join(work.name());
        let failed = |errno: Errno| files("prepare", &path, errno);
        let upper = make_tree(&work).map_err(failed)?;
        if let Some(top) = base.last() {
            // The root that the tree shows is the topmost layer's.
            let tree = open_directory(CWD, &top.tree).map_err(|errno| files("open", &top.tree, errno))?;
            look_like(upper.as_fd(), tree.as_fd()).map_err(failed)?;
        }
        Ok(Draft { path, work, upper, base, _pins: pins, is_linked: false })
    }

    /// Begins a layer that will lie over the stack that `base` names, and is made without knowing what is there: what is
    /// mounted of it is empty. It can be laid over another base as it is.
    ///
    /// Errors: as [`Store::draft`].
    pub fn linked_draft(&self, base: Option<&ChainId>) -> Result<Draft, Error> {
        Ok(Draft { is_linked: true, ..self.draft(base)? })
    }

    /// Makes a layer of a draft, of which nothing is mounted any more. Of two equal layers the first stays. It has a row, and
    /// is held in its place by what is returned until a step of a build or an image names it.
    ///
    /// Errors: [`Error::ReadTree`], [`Error::Unarchivable`], [`Error::Files`], [`Error::Database`].
    pub fn adopt(&self, draft: Draft) -> Result<Adopted, Error> {
        let boot = self.begin_boot()?;
        let lowers = draft.open_lowers()?;
        let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(AsFd::as_fd).collect();
        let Measured { written, diff, content, id_blocks } = measure_layer(draft.upper.as_fd(), &lowers)?;
        let below = draft.base.last().map(|layer| layer.chain);
        let mut adopted = Adopted {
            chain: below,
            diff,
            content,
            size_bytes: written.bytes,
            is_empty: written.entries == 0,
            pin: None,
        };
        if adopted.is_empty {
            return Ok(adopted);
        }
        let chain = ChainId::stack(below, diff);
        let Draft { path, work, base, _pins, .. } = draft;
        let id_blocks: Vec<u32> = id_blocks.into_iter().collect();
        let meta = Meta {
            diff: diff.digest(),
            bytes: written.bytes,
            archive_bytes: written.archive_bytes,
            blob: None,
            id_blocks: id_blocks.clone(),
            below: Some(base.iter().map(|layer| layer.chain.hex()).collect()),
        };
        write_meta(self.paths(), &work, &meta)?;
        let place = || {
            for name in [WORK, stubs::STUBS, SPARE] {
                remove_tree(work.fd(), Path::new(name))?;
            }
            boot::mark(work.fd(), boot)?;
            let layers = open_directory(CWD, &self.paths().layers())?;
            work.place(layers.as_fd(), &chain.hex())
        };
        let pin = place().map_err(|errno| files("make a layer of", &path, errno))?;
        self.db.write("record the layer", Durability::Unsynced, |tx| {
            // Those below are held here, but their rows may have gone with an image or a step. A row keeps those below it.
            let mut is_known = tx.prepare_cached("SELECT 1 FROM layers WHERE chain_id = ?1")?;
            let is_complete = below.is_none_or(|below| is_known.exists([below.to_string()]).unwrap_or(false));
            let mut parent = below.filter(|_| is_complete);
            for Layer { chain, diff, bytes, id_blocks, .. } in base.iter().filter(|_| !is_complete) {
                let (chain, diff, bytes) = (*chain, *diff, *bytes);
                insert_layer(tx, &LayerRow { chain, diff, bytes, blob: None, id_blocks, parent }, None)?;
                parent = Some(chain);
            }
            let row =
                LayerRow { chain, diff, bytes: written.bytes, blob: None, id_blocks: &id_blocks, parent };
            Ok(insert_layer(tx, &row, Some(boot))?)
        })?;
        adopted.chain = Some(chain);
        adopted.pin = Some(pin);
        Ok(adopted)
    }

    /// Keeps the stack of layers that `chain` names from being removed while what is returned lives.
    ///
    /// Errors: [`Error::NoLayer`].
    pub fn pin_chain(&self, chain: &ChainId) -> Result<Vec<OwnedFd>, Error> {
        self.pin(&self.layers_of(chain)?, &|layer| Error::NoLayer { chain: layer.chain.to_string() })
    }
}

impl Draft {
    /// The layers that it lies over, the lowest first.
    pub fn base(&self) -> &[Layer] {
        &self.base
    }

    /// What it has itself, in an overlay's format: to be looked at, and not written to while it is mounted.
    pub fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    /// Its directory, with `fs` and `work`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole tree to be written to, ids as in the image: a mount that is nowhere attached and goes with its descriptors,
    /// or the directory itself where there is nothing below. One at a time.
    ///
    /// Errors: [`Error::Files`].
    pub fn mount(&self) -> Result<OwnedFd, Error> {
        let failed = |errno| files("mount", &self.path, errno);
        if !self.shows_base() {
            return open_directory(self.work.fd(), Path::new(LAYER_TREE)).map_err(failed);
        }
        let mounted = self.mount_as(&Ids::default(), attr::NODEV | attr::NOSUID | attr::NOEXEC);
        Ok(mounted.map_err(failed)?.mount)
    }

    /// The whole tree with the places that were made, as the root of a container with these ids. One at a time.
    ///
    /// Errors: [`Error::Files`]; EINVAL or EPERM in it where a file system can't map ids.
    pub fn mount_root(&self, ids: &Ids<'_>) -> Result<Mounted, Error> {
        let attributes = if ids.userns.is_some() { attr::NODEV } else { 0 };
        self.mount_as(ids, attributes).map_err(|errno| files("mount", &self.path, errno))
    }

    fn mount_as(&self, ids: &Ids<'_>, attributes: u64) -> Result<Mounted, Errno> {
        let mut lowers = Vec::new();
        let stubs = self.path.join(stubs::STUBS);
        if stubs.exists() {
            lowers.push(ids.show(&stubs)?);
        }
        if self.shows_base() {
            for layer in self.base.iter().rev() {
                lowers.push(ids.show(&layer.tree)?);
            }
        }
        // A fresh one each time: that of a mount that synced nothing can't be mounted again.
        remove_tree(self.work.fd(), Path::new(WORK))?;
        rustix::fs::mkdirat(self.work.fd(), WORK, Mode::RWXU)?;
        mount_overlay(ids.show(&self.path)?, lowers, ids, attributes)
    }

    /// A mount of `lower` to be written to, as a container with these ids sees it; what is written goes with the draft. What
    /// is at the clean paths in `hidden` isn't shown. `lower` shows its ids as they are to be seen already.
    ///
    /// Errors: [`Error::Files`].
    pub fn mount_spare(&self, lower: OwnedFd, ids: &Ids<'_>, hidden: &[Vec<u8>]) -> Result<Mounted, Error> {
        self.mount_spare_as(lower, ids, hidden).map_err(|errno| files("mount", &self.path, errno))
    }

    fn mount_spare_as(&self, lower: OwnedFd, ids: &Ids<'_>, hidden: &[Vec<u8>]) -> Result<Mounted, Errno> {
        let path = self.path.join(SPARE);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let path = path.join(crate::locked::fresh_name());
        for directory in [path.clone(), path.join(WORK), path.join(LAYER_TREE)] {
            rustix::fs::mkdir(directory, Mode::RWXU)?;
        }
        let own = ids.show(&path)?;
        let upper = open_directory(&own, Path::new(LAYER_TREE))?;
        look_like(upper.as_fd(), lower.as_fd())?;
        // By its own path: root is none of the ids that can make something on the other mount.
        let plain = open_directory(CWD, &path.join(LAYER_TREE))?;
        for path in hidden {
            let (parent, name) = crate::unpack::split_path(path).unwrap_or((b"", path));
            let at: Vec<usize> =
                parent.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect();
            for end in at.into_iter().chain([parent.len()]).filter(|end| *end > 0) {
                let directory = OsStr::from_bytes(&parent[..end]);
                match rustix::fs::mkdirat(&plain, directory, Mode::RWXU) {
                    Err(Errno::EXIST) => continue,
                    made => made?,
                }
                let made = confined::open_directory(upper.as_fd(), &parent[..end])?;
                look_like(made.as_fd(), confined::open_directory(lower.as_fd(), &parent[..end])?.as_fd())?;
            }
            let directory = confined::open_directory(plain.as_fd(), parent)?;
            overlay::make_whiteout(directory.as_fd(), OsStr::from_bytes(name))?;
        }
        mount_overlay(own, vec![lower], ids, attr::NODEV)
    }

    /// Gives everything in the layer that was changed later the time `seconds` after the epoch; nothing of it is mounted any
    /// more.
    ///
    /// Errors: [`Error::ReadTree`].
    pub fn clamp_times(&self, seconds: i64) -> Result<(), Error> {
        let mut todo = vec![Vec::new()];
        while let Some(path) = todo.pop() {
            let clamped = clamp_in(self.upper.as_fd(), &path, seconds);
            todo.extend(clamped.map_err(|source| Error::ReadTree {
                entry: path.escape_ascii().to_string(),
                call: "utimensat",
                source: source.into(),
            })?);
        }
        Ok(())
    }

    /// Whether what is mounted shows the base.
    fn shows_base(&self) -> bool {
        !self.base.is_empty() && !self.is_linked
    }

    /// The trees that its layer is a change of, the topmost first.
    fn open_lowers(&self) -> Result<Vec<OwnedFd>, Error> {
        let open = |layer: &Layer| {
            open_directory(CWD, &layer.tree).map_err(|errno| files("open", &layer.tree, errno))
        };
        self.base.iter().rev().map(open).collect()
    }
}

/// Gives a directory the owner and mode of another. Where that owner has no id on the directory's mount, it stays root's.
fn look_like(directory: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(other)?;
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    match rustix::fs::fchown(directory, owner.0, owner.1) {
        Ok(()) | Err(Errno::INVAL | Errno::OVERFLOW) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::fchmod(directory, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

/// Clamps the times of what is in a directory; the directories among it.
fn clamp_in(root: BorrowedFd<'_>, path: &[u8], seconds: i64) -> Result<Vec<Vec<u8>>, Errno> {
    let directory = confined::open_directory(root, path)?;
    let mut found = Vec::new();
    for name in overlay::names(directory.as_fd())? {
        let shown = OsStr::from_bytes(&name);
        let stat = rustix::fs::statat(&directory, shown, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_mtime >= seconds && (stat.st_mtime, stat.st_mtime_nsec) != (seconds, 0) {
            let times = attributes::times((seconds, 0));
            rustix::fs::utimensat(&directory, shown, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if overlay::is(&stat, FileType::Directory) {
            found.push(join(path, &name));
        }
    }
    Ok(found)
}

/// The ids that a container has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ids<'a> {
    /// Its user namespace; `None` if it's the host's.
    pub userns: Option<BorrowedFd<'a>>,
    /// The id on the host of its root.
    pub root: u32,
}

/// A mount that is attached nowhere, and those that it's made of.
#[derive(Debug)]
pub struct Mounted {
    /// The mount.
    pub mount: OwnedFd,
    /// To be closed when nobody waits: each makes the kernel wait for a grace period of RCU.
    pub spare: Vec<OwnedFd>,
}

impl Ids<'_> {
    /// The directory at `path`, its files owned by the container's ids: on a mount of its own, where that's needed.
    pub fn show(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let Some(userns) = self.userns else { return open_directory(CWD, path) };
        let fd = mount::clone_tree(CWD, path, false)?;
        mount::set_idmap(fd.as_fd(), userns, false)?;
        Ok(fd)
    }
}

/// Mounts an overlay over `lowers`, the topmost first, that writes to `fs` and `work` in `own`.
fn mount_overlay(
    own: OwnedFd,
    mut lowers: Vec<OwnedFd>,
    ids: &Ids<'_>,
    attributes: u64,
) -> Result<Mounted, Errno> {
    if lowers.len() > LAYERS_MAX {
        return Err(Errno::NFILE);
    }
    let open = |name: &str| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&own, name, flags, Mode::empty())
    };
    let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in &lowers {
        mount::fsconfig_set_fd(&context, "lowerdir+", lower)?;
    }
    mount::fsconfig_set_fd(&context, "upperdir", open(LAYER_TREE)?)?;
    mount::fsconfig_set_fd(&context, "workdir", open(WORK)?)?;
    // On by default in some kernels: what was changed would be told by marks that no layer can have.
    for feature in ["redirect_dir", "metacopy", "index"] {
        mount::fsconfig_set_string(&context, feature, "off")?;
    }
    // Unmounting would write everything back.
    mount::fsconfig_set_flag(&context, "volatile")?;
    match ids.userns {
        None => mount::fsconfig_create(&context)?,
        // Made by root, who isn't mapped in the upper directory, the overlay would be read-only.
        Some(_) => {
            linux::creds::with_fsids(ids.root, ids.root, || mount::fsconfig_create(&context))??;
        }
    }
    let mount = mount::fs_mount(&context, attributes)?;
    lowers.push(own);
    Ok(Mounted { mount, spare: lowers })
}

fn files(doing: &'static str, path: &Path, source: Errno) -> Error {
    Error::Files { doing, path: path.to_owned(), source: source.into() }
}

//! Volumes: their rows, their directories, who may use or remove them.
//!
//! ```text
//! volumes/<name>/        its flock: shared by who is starting a container with the volume, exclusive by who removes it
//!   _data/               the content: what containers see
//!   lock                 flock'd by who looks whether the content is still to be copied from an image
//!   _fill/               content on its way into _data (see `fill`)
//!   doomed               a removal has begun
//! ```
//!
//! Nothing that a user stored is lost with the database: a directory without a row is only removed if it is `doomed` or
//! empty, and creating a volume of its name takes its content over.

mod fill;

pub use fill::fill_in_place;

use crate::Store;
use crate::db::Durability;
use crate::error::Error;
use crate::locked::{Wait, WorkDir, fresh_name, lock, open_directory, pin};
use crate::paths::VOLUME_DATA;
use crate::remove::remove_tree;
use rusqlite::{OptionalExtension, Row, params};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use types::id;

/// The label that says of a volume that no user named it. Source: moby, `volume/service`.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// Tries to make a volume that others make and remove at the same time.
const TRIES_MAX: usize = 100;

/// Says that a removal has begun.
const DOOMED: &str = "doomed";

const LOCK: &str = "lock";

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of docker's driver `local`; the store doesn't look into them.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Its content.
    pub data: PathBuf,
}

impl Volume {
    /// Whether no user named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }
}

/// Keeps a volume from being removed, for as long as a copy of the descriptor is open.
#[derive(Debug)]
pub struct VolumePin {
    dir: OwnedFd,
    path: PathBuf,
}

/// A volume that nobody else has pinned.
#[derive(Debug)]
pub struct VolumeLock {
    name: String,
    /// `None` if only its row is left.
    dir: Option<OwnedFd>,
}

impl VolumePin {
    /// The descriptor that keeps it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The volume's content.
    pub fn data(&self) -> Result<OwnedFd, Error> {
        open_directory(&self.dir, Path::new(VOLUME_DATA)).map_err(|e| self.failed("open the content of", e))
    }

    /// Waits to be the only one who changes what the volume is before containers see it, for as long as the descriptor is
    /// open.
    pub fn lock(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let locked = rustix::fs::openat(&self.dir, LOCK, flags, Mode::RUSR | Mode::WUSR);
        let locked = locked.map_err(|e| self.failed("lock", e))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&locked, FlockOperation::LockExclusive))
            .map_err(|e| self.failed("lock", e))?;
        Ok(locked)
    }

    fn failed(&self, doing: &'static str, source: Errno) -> Error {
        Error::Files { doing, path: self.path.clone(), source: source.into() }
    }
}

type RawVolume = (String, i64, String, String);

const COLUMNS: &str = "name, created_ns, labels, options";

fn raw(row: &Row<'_>) -> rusqlite::Result<RawVolume> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// Whether `name` may name a volume: docker's rule for its driver `local`. Source: moby, `volume/local`.
fn check_name(name: &str) -> Result<(), Error> {
    let refused = |why: String| Err(Error::VolumeName { name: name.to_owned(), why });
    if name.len() < 2 {
        return refused(
            "volume name is too short, names should be at least two alphanumeric characters".to_owned(),
        );
    }
    if name.len() > id::NAME_BYTES_MAX {
        return refused(format!("volume name is too long, {} characters are allowed", id::NAME_BYTES_MAX));
    }
    if !id::is_name(name) {
        return refused(format!(
            "{name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ));
    }
    Ok(())
}

impl Store {
    /// Makes a volume; one of that name that there is already stays as it is. Whether it was made.
    ///
    /// Errors: [`Error::VolumeName`], [`Error::Files`].
    pub fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
        durability: Durability,
    ) -> Result<(Volume, bool), Error> {
        check_name(name)?;
        let volumes = self.open_volumes()?;
        let files = |doing, source: Errno| Error::Files {
            doing,
            path: self.paths().volumes().join(name),
            source: source.into(),
        };
        for _ in 0..TRIES_MAX {
            if let Some(known) = self.find_volume(name)? {
                return Ok((known, false));
            }
            self.remove_doomed(volumes.as_fd(), Path::new(name))?;
            let work = WorkDir::create(&self.paths().tmp())?;
            make_directory(work.fd(), durability).map_err(|e| files("make", e))?;
            // Of what another process has placed meanwhile, or left without a row, the content is taken over.
            let placed = match work.place(volumes.as_fd(), name) {
                Err(Errno::STALE) => continue,
                placed => placed.map_err(|e| files("make", e))?,
            };
            if durability == Durability::Synced {
                rustix::fs::fsync(&volumes).map_err(|e| files("sync", e))?;
            }
            let created_ns = crate::import::now_ns();
            let (labels, options) = (to_json(labels), to_json(options));
            let made = self.db.write("record the volume", durability, |tx| {
                let mut insert = tx.prepare_cached(
                    "INSERT OR IGNORE INTO volumes (name, created_ns, labels, options) VALUES (?1, ?2, ?3, ?4)",
                )?;
                Ok(insert.execute(params![name, created_ns, labels, options])? > 0)
            })?;
            drop(placed);
            if let Some(volume) = self.find_volume(name)? {
                return Ok((volume, made));
            }
        }
        Err(Error::VolumeBusy { name: name.to_owned() })
    }

    /// The volume `name`.
    ///
    /// Errors: [`Error::NoVolume`].
    pub fn volume(&self, name: &str) -> Result<Volume, Error> {
        self.find_volume(name)?.ok_or_else(|| Error::NoVolume { name: name.to_owned() })
    }

    /// All volumes, by name.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        let raws = self.db.read("list the volumes", |tx| {
            let mut query = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM volumes ORDER BY name"))?;
            let raws = query.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
            Ok(raws)
        })?;
        raws.into_iter().map(|raw| self.volume_of(raw)).collect()
    }

    /// Keeps the volume `name` from being removed.
    ///
    /// Errors: [`Error::NoVolume`].
    pub fn pin_volume(&self, name: &str) -> Result<VolumePin, Error> {
        let path = self.paths().volumes().join(name);
        let failed =
            |source: Errno| Error::Files { doing: "lock", path: path.clone(), source: source.into() };
        let pinned = pin(self.open_volumes()?.as_fd(), Path::new(name)).map_err(failed)?;
        match (pinned, self.find_volume(name)?) {
            (Some(dir), Some(_)) => Ok(VolumePin { dir, path }),
            _ => Err(Error::NoVolume { name: name.to_owned() }),
        }
    }

    /// Takes the volume `name` to remove it.
    ///
    /// Errors: [`Error::NoVolume`]; [`Error::VolumeBusy`] if somebody has it pinned.
    pub fn lock_volume(&self, name: &str) -> Result<VolumeLock, Error> {
        self.volume(name)?;
        let (volumes, path) = (self.open_volumes()?, Path::new(name));
        let failed = |doing, source: Errno| Error::Files {
            doing,
            path: self.paths().volumes().join(name),
            source: source.into(),
        };
        let dir = lock(volumes.as_fd(), path, Wait::No).map_err(|e| failed("lock", e))?;
        let exists = || match rustix::fs::statat(&volumes, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("look for", error)),
        };
        if dir.is_none() && exists()? {
            return Err(Error::VolumeBusy { name: name.to_owned() });
        }
        // Somebody else may have removed it since.
        self.volume(name)?;
        Ok(VolumeLock { name: name.to_owned(), dir })
    }

    /// Removes a volume and all that is in it.
    pub fn remove_volume(&self, locked: VolumeLock) -> Result<(), Error> {
        let VolumeLock { name, dir } = locked;
        let failed = |source: Errno| Error::Files {
            doing: "remove",
            path: self.paths().volumes().join(&name),
            source: source.into(),
        };
        if let Some(dir) = &dir {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let mark = rustix::fs::openat(dir, DOOMED, flags, Mode::RUSR).map_err(failed)?;
            rustix::fs::fsync(mark).and_then(|()| rustix::fs::fsync(dir)).map_err(failed)?;
        }
        linux::fault::point("volume doomed");
        self.db.write("remove the volume", Durability::Synced, |tx| {
            tx.prepare_cached("DELETE FROM volumes WHERE name = ?1")?.execute([&name])?;
            Ok(())
        })?;
        linux::fault::point("volume's row removed");
        match dir {
            Some(_locked) => self.move_away(self.open_volumes()?.as_fd(), Path::new(&name)),
            None => Ok(()),
        }
    }

    /// Removes directories of volumes without a row whose removal, or making, was cut short; how many.
    pub(crate) fn sweep_volumes(&self) -> Result<usize, Error> {
        let volumes = self.open_volumes()?;
        let mut removed = 0;
        for name in crate::sweep::names_in(&self.paths().volumes())? {
            removed += usize::from(self.remove_doomed(volumes.as_fd(), &name)?);
        }
        Ok(removed)
    }

    /// Removes a volume's directory if it has no row, nobody works on it, and it is marked or empty.
    fn remove_doomed(&self, volumes: BorrowedFd<'_>, name: &Path) -> Result<bool, Error> {
        let held = match lock(volumes, name, Wait::No) {
            Ok(Some(held)) => held,
            Ok(None) | Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(source) => {
                let path = self.paths().volumes().join(name);
                return Err(Error::Files { doing: "lock", path, source: source.into() });
            }
        };
        let known = match name.to_str() {
            Some(name) => self.find_volume(name)?.is_some(),
            None => true,
        };
        let doomed = rustix::fs::statat(&held, DOOMED, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if known || !(doomed || is_empty(&held)) {
            return Ok(false);
        }
        self.move_away(volumes, name)?;
        Ok(true)
    }

    /// Out of sight in one step, then removed.
    fn move_away(&self, volumes: BorrowedFd<'_>, name: &Path) -> Result<(), Error> {
        let path = self.paths().volumes().join(name);
        let failed =
            |source: Errno| Error::Files { doing: "remove", path: path.clone(), source: source.into() };
        let tmp = open_directory(rustix::fs::CWD, &self.paths().tmp()).map_err(failed)?;
        let doomed = fresh_name();
        rustix::fs::renameat(volumes, name, &tmp, &doomed).map_err(failed)?;
        linux::fault::point("volume moved away");
        remove_tree(tmp.as_fd(), &doomed).map_err(failed)
    }

    fn find_volume(&self, name: &str) -> Result<Option<Volume>, Error> {
        let found = self.db.read("look the volume up", |tx| {
            let mut query = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM volumes WHERE name = ?1"))?;
            Ok(query.query_row([name], raw).optional()?)
        })?;
        found.map(|raw| self.volume_of(raw)).transpose()
    }

    fn volume_of(&self, (name, created_ns, labels, options): RawVolume) -> Result<Volume, Error> {
        let parse = |what, text: &str| serde_json::from_str(text).map_err(|_| self.db.damaged(what, text));
        Ok(Volume {
            labels: parse("labels of a volume", &labels)?,
            options: parse("options of a volume", &options)?,
            data: self.paths().volume_data(&name),
            created_ns,
            name,
        })
    }

    /// The directory of volumes, which a store made by an older berth lacks.
    fn open_volumes(&self) -> Result<OwnedFd, Error> {
        let path = self.paths().volumes();
        let open = || match open_directory(rustix::fs::CWD, &path) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdir(&path, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                open_directory(rustix::fs::CWD, &path)
            }
            opened => opened,
        };
        open().map_err(|source| Error::Files { doing: "open", path: path.clone(), source: source.into() })
    }
}

/// Fills the directory of a new volume.
fn make_directory(dir: BorrowedFd<'_>, durability: Durability) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(dir, VOLUME_DATA, mode)?;
    // Whatever the creation mask is.
    rustix::fs::chmodat(dir, VOLUME_DATA, mode, AtFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let made = rustix::fs::openat(dir, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    if durability == Durability::Synced {
        rustix::fs::fsync(made)?;
        rustix::fs::fsync(dir)?;
    }
    Ok(())
}

/// Whether a volume's directory has no content, nor any on its way; not if that can't be told.
fn is_empty(dir: &OwnedFd) -> bool {
    let data = match open_directory(dir, Path::new(VOLUME_DATA)) {
        Err(Errno::NOENT) => return true,
        Err(_) => return false,
        Ok(data) => data,
    };
    let filling = rustix::fs::statat(dir, fill::READY, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    !filling && fill::is_empty(data.as_fd()).unwrap_or(false)
}

fn to_json(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).unwrap_or_default()
}

//! Directories that builds keep for `RUN --mount=type=cache`: content that no result depends on.
//!
//! ```text
//! cache/<hash of its name>/<n>/data   what is mounted, owned by ids as in the containers; n is 0 but where several use a
//!                                     private one at once
//! ```
//! The flock of `<n>` says who uses it: several share it, or one has it alone. Each has a row among the steps of builds
//! (`build_steps`), with the key `cache:<hash>/<n>`.

use crate::Store;
use crate::build_steps::BuildStep;
use crate::error::Error;
use crate::locked::{Wait, fresh_name, lock, open_directory, pin};
use crate::remove::remove_tree;
use crate::usage::tree_bytes;
use crate::volumes::fill_in_place;
use rustix::fs::{CWD, Gid, Mode, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::digest::Sha256;

/// The `kind` of their rows, as docker calls it.
pub const CACHE_KIND: &str = "exec.cachemount";

/// What their keys begin with.
const KEY: &str = "cache:";

/// Name of the content in a cache's directory.
const DATA: &str = "data";

/// Builds that use a private cache at once.
const PRIVATE_MAX: u32 = 1000;

/// How often somebody who uses it alone is looked for.
const WAIT_STEP: Duration = Duration::from_millis(10);

/// How a cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// With others.
    Shared,
    /// Alone; whoever comes later gets another one.
    Private,
    /// Alone; whoever comes later waits.
    Locked,
}

/// A cache that is wanted.
pub struct CacheRequest<'a> {
    /// What it's called.
    pub name: &'a str,
    /// How it's used.
    pub sharing: CacheUse,
    /// Mode of its directory when it's made.
    pub mode: u32,
    /// Owner when it's made.
    pub uid: u32,
    /// Group when it's made.
    pub gid: u32,
    /// What it begins with: opens a directory whose files have ids as in the image.
    pub from: Option<&'a dyn Fn() -> Result<OwnedFd, Error>>,
    /// For people.
    pub description: &'a str,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
    /// Asked while somebody else has it; `false` gives up.
    pub keep_waiting: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for CacheRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheRequest")
            .field("name", &self.name)
            .field("sharing", &self.sharing)
            .finish_non_exhaustive()
    }
}

/// A cache in use, until this is dropped.
#[derive(Debug)]
pub struct Cache {
    /// What is mounted.
    pub data: PathBuf,
    _held: OwnedFd,
}

impl Store {
    /// Opens a cache, which is made if it isn't there; `None` if waiting for it was given up.
    ///
    /// Errors: [`Error::Files`], those of what it begins with, [`Error::Database`].
    pub fn open_cache(&self, request: &CacheRequest<'_>) -> Result<Option<Cache>, Error> {
        let hash = Sha256::of(request.name.as_bytes()).hex();
        let path = self.caches().join(&hash);
        let make = |path: &Path| match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(files("make", path, errno)),
        };
        make(&self.caches())?;
        let all = match request.sharing {
            CacheUse::Private => PRIVATE_MAX,
            CacheUse::Shared | CacheUse::Locked => 1,
        };
        loop {
            make(&path)?;
            for n in 0..all {
                let own = path.join(n.to_string());
                match make(&own) {
                    // Its removal came between.
                    Err(Error::Files { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                        break;
                    }
                    other => other?,
                }
                let Some(held) = self.take(&own, request)? else { continue };
                self.note_use(&format!("{KEY}{hash}/{n}"), request)?;
                return Ok(Some(Cache { data: own.join(DATA), _held: held }));
            }
            if !(request.keep_waiting)() {
                return Ok(None);
            }
            std::thread::sleep(WAIT_STEP);
        }
    }

    /// Takes the lock of a cache's directory, which is filled if it's new; `None` if somebody else has it, or has removed it.
    fn take(&self, own: &Path, request: &CacheRequest<'_>) -> Result<Option<OwnedFd>, Error> {
        let failed = |errno| files("lock", own, errno);
        let data = own.join(DATA);
        if request.sharing == CacheUse::Shared && data.exists() {
            return try_pin(own).map_err(failed);
        }
        let Some(held) = lock(CWD.as_fd(), own, Wait::No).map_err(failed)? else { return Ok(None) };
        if !data.exists() {
            self.fill(own, request)?;
        }
        if request.sharing == CacheUse::Shared {
            drop(held);
            return try_pin(own).map_err(failed);
        }
        Ok(Some(held))
    }

    /// Makes the content: elsewhere in the directory first, since half of what it begins with is nothing to begin with.
    fn fill(&self, own: &Path, request: &CacheRequest<'_>) -> Result<(), Error> {
        const PARTIAL: &str = "partial";
        let partial = own.join(PARTIAL);
        let failed = |errno| files("make", &partial, errno);
        let own = open_directory(CWD, own).map_err(failed)?;
        remove_tree(own.as_fd(), Path::new(PARTIAL)).map_err(failed)?;
        rustix::fs::mkdirat(&own, PARTIAL, Mode::RWXU).map_err(failed)?;
        let new = open_directory(&own, Path::new(PARTIAL)).map_err(failed)?;
        if let Some(from) = request.from {
            fill_in_place(from()?.as_fd(), new.as_fd())?;
        }
        let finish = || {
            rustix::fs::fchown(&new, Some(Uid::from_raw(request.uid)), Some(Gid::from_raw(request.gid)))?;
            rustix::fs::fchmod(&new, Mode::from_raw_mode(request.mode & 0o7777))?;
            rustix::fs::renameat(&own, PARTIAL, &own, DATA)
        };
        finish().map_err(failed)
    }

    fn note_use(&self, key: &str, request: &CacheRequest<'_>) -> Result<(), Error> {
        let now_ns = request.now_ns;
        if self.touch_steps(&[key], now_ns)? > 0 {
            return Ok(());
        }
        self.put_step(&BuildStep {
            key: key.to_owned(),
            chain: None,
            content: String::new(),
            diff: None,
            size_bytes: 0,
            is_empty: false,
            kind: CACHE_KIND.to_owned(),
            description: request.description.to_owned(),
            detail: serde_json::json!({ "id": request.name }).to_string(),
            created_ns: now_ns,
            used_ns: now_ns,
            uses: 1,
        })
    }

    /// Bytes of files in the cache with this row's key; `None` if the row is no cache's.
    ///
    /// Errors: [`Error::ReadTree`].
    pub fn cache_bytes(&self, key: &str) -> Result<Option<u64>, Error> {
        let Some(own) = self.cache_directory(key) else { return Ok(None) };
        match open_directory(CWD, &own.join(DATA)) {
            Ok(data) => tree_bytes(data.as_fd()).map(Some),
            Err(Errno::NOENT) => Ok(Some(0)),
            Err(errno) => Err(files("open", &own, errno)),
        }
    }

    /// The directory of the cache with this row's key; `None` if the row is no cache's.
    pub(crate) fn cache_directory(&self, key: &str) -> Option<PathBuf> {
        let (hash, n) = key.strip_prefix(KEY)?.split_once('/')?;
        let is_name = Sha256::parse_hex(hash).is_some() && n.parse::<u32>().is_ok();
        is_name.then(|| self.caches().join(hash).join(n))
    }

    /// Removes a cache's directory, unless somebody uses it; whether it's gone. The row is the caller's to remove.
    pub(crate) fn remove_cache(&self, own: &Path) -> Result<bool, Error> {
        let failed = |errno| files("remove", own, errno);
        let Some(_held) = lock(CWD.as_fd(), own, Wait::No).map_err(failed)? else {
            return Ok(!own.exists());
        };
        let tmp = open_directory(CWD, &self.paths().tmp()).map_err(failed)?;
        let doomed = fresh_name();
        rustix::fs::renameat(CWD, own, &tmp, &doomed).map_err(failed)?;
        if let Some(parent) = own.parent() {
            // Unless it has others.
            let _ = rustix::fs::unlinkat(CWD, parent, rustix::fs::AtFlags::REMOVEDIR);
        }
        remove_tree(tmp.as_fd(), &doomed).map_err(failed)?;
        Ok(true)
    }

    fn caches(&self) -> PathBuf {
        self.paths().root().join("cache")
    }
}

/// [`pin`] without waiting.
fn try_pin(own: &Path) -> Result<Option<OwnedFd>, Errno> {
    use rustix::fs::{FlockOperation, flock};
    let held = match open_directory(CWD, own) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    match rustix::io::retry_on_intr(|| flock(&held, FlockOperation::NonBlockingLockShared)) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // That it's still the one of that name: as it's held, this doesn't wait.
    pin(CWD.as_fd(), own)
}

fn files(doing: &'static str, path: &Path, source: Errno) -> Error {
    Error::Files { doing, path: path.to_owned(), source: source.into() }
}

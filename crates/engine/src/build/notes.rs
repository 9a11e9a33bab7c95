//! Files that make builds faster, or able to explain themselves: none is needed, and any may go at any time.
//!
//! ```text
//! <root>/build/
//!   seen/<name>       digests of files that were read, by tree              store::listing::Seen
//!   lists/<digest>    which files a copy selected, to tell what changed     store::listing::List
//!   fetched/<url>     what was at a URL, and <url>.json what its server said
//! ```

use crate::{Error, Home};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use store::listing::{List, Seen};

/// The directory of such files.
#[derive(Debug, Clone)]
pub struct Notes {
    dir: PathBuf,
}

/// Files of each kind that are kept, at least the newest.
const LISTS_MAX: usize = 256;
const SEEN_MAX: usize = 256;

/// Bytes of lists, and of what was fetched, that are kept.
const LISTS_BYTES_MAX: u64 = 256 << 20;
const FETCHED_BYTES_MAX: u64 = 2 << 30;

/// How long something that was fetched is kept if it's not used.
const FETCHED_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

impl Notes {
    /// Those of a berth; their directories are made.
    ///
    /// Errors: [`Error::System`].
    pub fn of(home: &Home) -> Result<Notes, Error> {
        Notes::at(home.root.join("build"))
    }

    /// Those in a directory, which is made.
    ///
    /// Errors: [`Error::System`].
    pub fn at(dir: PathBuf) -> Result<Notes, Error> {
        for name in ["seen", "lists", "fetched"] {
            let dir = dir.join(name);
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|error| Error::io("make", dir.display(), &error))?;
        }
        Ok(Notes { dir })
    }

    /// What is remembered of the files of the tree called `name`.
    pub fn seen(&self, name: &str) -> Seen {
        Seen::load(&self.dir.join("seen").join(name))
    }

    /// The name of a directory of this host's tree.
    pub fn name_of(dir: &Path) -> String {
        let (device, inode) = std::fs::metadata(dir).map_or((0, 0), |stat| (stat.dev(), stat.ino()));
        format!("{device:x}-{inode:x}")
    }

    /// Keeps a list under the digest of the selection.
    pub fn keep_list(&self, digest: &str, list: &List) -> Result<(), Error> {
        let path = self.list_path(digest);
        if path.exists() {
            return Ok(());
        }
        place(&path, &list.to_bytes())?;
        Ok(())
    }

    /// The list of a selection, if it's still there.
    pub fn list(&self, digest: &str) -> Option<List> {
        List::from_bytes(&std::fs::read(self.list_path(digest)).ok()?)
    }

    fn list_path(&self, digest: &str) -> PathBuf {
        self.dir.join("lists").join(digest.trim_start_matches("sha256:"))
    }

    /// Where what is at `url` is kept. URLs may hold secrets, file names may not.
    pub(super) fn fetched(&self, url: &str) -> PathBuf {
        self.dir.join("fetched").join(hex(&Sha256::digest(url)))
    }

    /// Removes the oldest of what is more than is to be kept. To be called once for each build, when nobody waits.
    pub fn trim(&self) {
        let old = SystemTime::now().checked_sub(FETCHED_AGE_MAX).unwrap_or(SystemTime::UNIX_EPOCH);
        trim(&self.dir.join("lists"), LISTS_MAX, LISTS_BYTES_MAX, None);
        trim(&self.dir.join("seen"), SEEN_MAX, u64::MAX, None);
        trim(&self.dir.join("fetched"), usize::MAX, FETCHED_BYTES_MAX, Some(old));
    }
}

fn trim(dir: &Path, files_max: usize, bytes_max: u64, oldest: Option<SystemTime>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let stat = entry.metadata().ok()?;
            Some((stat.modified().ok()?, stat.len(), entry.path()))
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    let mut bytes = 0;
    for (number, (modified, length, path)) in files.into_iter().enumerate() {
        bytes += length;
        if number >= files_max || bytes > bytes_max || oldest.is_some_and(|oldest| modified < oldest) {
            // Somebody else may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes a file that takes the place of an older one in one step; it may be lost in a power cut.
pub(super) fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("write", path.display(), &error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let dir = std::fs::File::open(parent).map_err(failed)?;
    linux::durable::place(dir.into(), name, bytes, 0o600).map(drop).map_err(failed)
}

/// Digits of a digest.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::at(dir.path().join("build")).unwrap();
        let mut list = List::default();
        list.add_other("<<a", &[1; 32]);
        notes.keep_list("sha256:00", &list).unwrap();
        assert_eq!(notes.list("sha256:00"), Some(list));
        assert_eq!(notes.list("sha256:01"), None);
        let lists = dir.path().join("build/lists");
        for number in 0..4u64 {
            let path = lists.join(format!("f{number}"));
            std::fs::write(&path, [0; 10]).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        trim(&lists, 3, u64::MAX, None);
        assert!(!lists.join("f0").exists() && !lists.join("f1").exists() && lists.join("f2").exists());
        trim(&lists, 9, 1000, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3)));
        assert!(!lists.join("f2").exists() && lists.join("f3").exists());
    }
}

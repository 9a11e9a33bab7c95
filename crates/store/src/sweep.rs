//! Removing what dead processes left: directories in `tmp/` that nobody holds, layers that no row names.

use crate::Store;
use crate::error::Error;
use crate::locked::{Wait, fresh_name, lock, open_directory};
use crate::remove::remove_tree;
use rustix::fs::Dir;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use types::digest::{Algorithm, ChainId, Digest, Sha256};

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leftovers in `tmp/`.
    pub leftovers: usize,
    /// Layers.
    pub layers: usize,
    /// Blobs.
    pub blobs: usize,
    /// Volumes whose removal had begun, or their making.
    pub volumes: usize,
}

impl Store {
    /// Removes the leftovers of killed processes. What a live process holds stays; it may run beside anything.
    pub fn sweep(&self) -> Result<Swept, Error> {
        self.db.require_writable("sweep the store")?;
        self.begin_boot()?;
        let mut swept = Swept { layers: self.release_orphans()?, ..Swept::default() };
        // Before the layers: a blob comes into its place after its layer, which its maker pins until both have rows.
        let blobs = self.blobs_without_row()?;
        let mut pinned = Vec::new();
        for name in names_in(&self.paths().layers())? {
            if let Some(chain) = name.to_str().and_then(Sha256::parse_hex).map(ChainId)
                && !self.has_layer(&chain)?
            {
                if self.remove_unused_layer(&chain)? {
                    swept.layers += 1;
                } else {
                    let meta = crate::ingest::read_meta_of(&self.paths().layer(&chain));
                    pinned.extend(meta.and_then(|meta| meta.blob).map(|(digest, _)| digest));
                }
            }
        }
        for blob in blobs.iter().filter(|blob| !pinned.contains(blob)) {
            swept.blobs += usize::from(self.remove_unused_blob(blob)?);
        }
        swept.volumes = self.sweep_volumes()?;
        let path = self.paths().tmp();
        let tmp = open_directory(rustix::fs::CWD, &path).map_err(|e| files("open", &path, e))?;
        for name in names_in(&path)? {
            match lock(tmp.as_fd(), &name, Wait::No) {
                // Everything made in tmp/ is a directory; what isn't one belongs to nobody.
                Ok(Some(_)) | Err(Errno::NOTDIR | Errno::LOOP) => {
                    remove_tree(tmp.as_fd(), &name).map_err(|e| files("remove", &path.join(&name), e))?;
                    swept.leftovers += 1;
                }
                Ok(None) => {}
                Err(error) => return Err(files("lock", &path.join(&name), error)),
            }
        }
        Ok(swept)
    }

    fn blobs_without_row(&self) -> Result<Vec<Digest>, Error> {
        let mut found = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let path = self.paths().blobs(algorithm);
            if !path.exists() {
                continue;
            }
            for name in names_in(&path)? {
                let text = format!("{}:{}", algorithm.name(), name.display());
                if let Ok(digest) = Digest::parse(&text)
                    && !self.has_blob(&digest)?
                {
                    found.push(digest);
                }
            }
        }
        Ok(found)
    }

    /// Removes the directory of a layer, unless it is held or a row names it after all; whether it was removed.
    pub(crate) fn remove_unused_layer(&self, chain: &ChainId) -> Result<bool, Error> {
        let (path, tmp_path) = (self.paths().layer(chain), self.paths().tmp());
        let layers = open_directory(rustix::fs::CWD, &self.paths().layers())
            .map_err(|e| files("open", &self.paths().layers(), e))?;
        let tmp = open_directory(rustix::fs::CWD, &tmp_path).map_err(|e| files("open", &tmp_path, e))?;
        let name = PathBuf::from(chain.hex());
        let held = lock(layers.as_fd(), &name, Wait::No).map_err(|e| files("lock", &path, e))?;
        // Asked under the lock: from here on nobody commits a row that names it.
        if held.is_none() || self.has_layer(chain)? {
            return Ok(false);
        }
        // Out of sight in one step: half a layer is never found in layers/.
        let doomed = fresh_name();
        rustix::fs::renameat(&layers, &name, &tmp, &doomed).map_err(|e| files("move away", &path, e))?;
        remove_tree(tmp.as_fd(), &doomed).map_err(|e| files("remove", &tmp_path.join(&doomed), e))?;
        Ok(true)
    }
}

pub(crate) fn names_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = || {
        let dir = open_directory(rustix::fs::CWD, path)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(PathBuf::from(OsStr::from_bytes(name.to_bytes())));
            }
        }
        Ok(names)
    };
    list().map_err(|error| files("list", path, error))
}

fn files(doing: &'static str, path: &Path, source: Errno) -> Error {
    Error::Files { doing, path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_with_a_row_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let empty_archive = [0; 1024];
        store.import(&mut &empty_archive[..], None, "test", &|_| {}).unwrap();
        let chain = ChainId(Sha256::of(&empty_archive));
        assert!(!store.remove_unused_layer(&chain).unwrap());
        assert!(store.paths().layer_fs(&chain).is_dir());
    }
}

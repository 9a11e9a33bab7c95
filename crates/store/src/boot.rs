//! Layers that aren't on the disk yet.
//!
//! A step of a build syncs nothing: its layer is moved into place with a mark in its directory, an empty file
//! `unsynced.<boot id>`, and the same in its row. Who makes an image of it syncs the file system once and takes both
//! marks away. What has the mark of another boot may be torn by a power cut: the first who uses layers in a boot removes it,
//! so that from then on everything in `layers/` is whole.
//!
//! The mark is a name, because file systems keep the order of names: it is on the disk before the layer's own.

use crate::Store;
use crate::db::Durability;
use crate::error::Error;
use crate::locked::open_directory;
use crate::paths::Paths;
use crate::sweep::names_in;
use rusqlite::OptionalExtension;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;
use types::digest::{ChainId, Sha256};

/// Before the id of the boot in the mark's name.
const MARK: &str = "unsynced.";

/// Marks the layer in a work directory as not yet on the disk.
pub(crate) fn mark(work: BorrowedFd<'_>, boot: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::openat(work, format!("{MARK}{boot}"), flags, Mode::RUSR).map(drop)
}

/// Takes the mark off a layer whose row has none. A courtesy: the row counts.
pub(crate) fn unmark(paths: &Paths, chain: &ChainId) {
    let path = paths.layer(chain);
    if let Ok(Some(boot)) = mark_of(&path) {
        let _ = rustix::fs::unlinkat(CWD, path.join(format!("{MARK}{boot}")), AtFlags::empty());
    }
}

/// The boot that a layer's mark names; `None` for a layer without.
fn mark_of(layer: &Path) -> Result<Option<String>, Errno> {
    let directory = match open_directory(CWD, layer) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        opened => opened?,
    };
    for entry in rustix::fs::Dir::read_from(&directory)? {
        if let Some(boot) = entry?.file_name().to_str().ok().and_then(|name| name.strip_prefix(MARK)) {
            return Ok(Some(boot.to_owned()));
        }
    }
    Ok(None)
}

/// The id of the kernel's present boot.
fn boot_id() -> Result<String, Error> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let failed = |source| Error::Files { doing: "read", path: PATH.into(), source };
    let text = std::fs::read_to_string(PATH).map_err(failed)?;
    Ok(text.trim().to_owned())
}

impl Store {
    /// Removes, the first time in a boot, the layers of builds of earlier boots that may not be whole, and the steps that
    /// lead to them. The boot's id.
    pub(crate) fn begin_boot(&self) -> Result<&str, Error> {
        if let Some(boot) = self.boot.get() {
            return Ok(boot);
        }
        let boot = boot_id()?;
        let known: Option<String> = self.db.read("look the last boot up", |tx| {
            Ok(tx
                .prepare_cached("SELECT boot FROM build_boot")?
                .query_row([], |row| row.get(0))
                .optional()?)
        })?;
        if known.as_ref() != Some(&boot) && self.db.is_writable() {
            self.drop_unsynced(&boot)?;
        }
        Ok(self.boot.get_or_init(|| boot))
    }

    fn drop_unsynced(&self, boot: &str) -> Result<(), Error> {
        self.db.write("remove layers of earlier boots", Durability::Unsynced, |tx| {
            tx.execute(
                "DELETE FROM build_steps WHERE chain_id IN (SELECT chain_id FROM layers WHERE boot <> ?1)",
                [boot],
            )?;
            // What lies above such a layer was made in the same boot, so that no row names what goes.
            tx.execute("DELETE FROM layers WHERE boot <> ?1", [boot])?;
            Ok(())
        })?;
        for name in names_in(&self.paths().layers())? {
            let Some(chain) = name.to_str().and_then(Sha256::parse_hex).map(ChainId) else { continue };
            let path = self.paths().layer(&chain);
            let marked = mark_of(&path).map_err(|errno| files("read", &path, errno))?;
            if marked.is_none_or(|marked| marked == boot) {
                continue;
            }
            match self.has_layer(&chain)? {
                // It was synced, and the mark's removal wasn't.
                true => unmark(self.paths(), &chain),
                false => drop(self.remove_unused_layer(&chain)?),
            }
        }
        self.db.write("record the boot", Durability::Unsynced, |tx| {
            tx.execute("DELETE FROM build_boot", [])?;
            tx.execute("INSERT INTO build_boot (boot) VALUES (?1)", [boot])?;
            Ok(())
        })
    }

    /// Puts those of the layers that have a mark on the disk; which those are. They keep the mark.
    pub(crate) fn sync_layers(&self, chains: &[ChainId]) -> Result<Vec<ChainId>, Error> {
        let mut unsynced = Vec::new();
        for chain in chains {
            let path = self.paths().layer(chain);
            if mark_of(&path).map_err(|errno| files("read", &path, errno))?.is_some() {
                unsynced.push(*chain);
            }
        }
        if !unsynced.is_empty() {
            let path = self.paths().layers();
            let sync = || rustix::fs::syncfs(open_directory(CWD, &path)?);
            sync().map_err(|errno| files("sync", &path, errno))?;
        }
        Ok(unsynced)
    }
}

fn files(doing: &'static str, path: &Path, source: Errno) -> Error {
    Error::Files { doing, path: path.to_owned(), source: source.into() }
}

//! Content of the caches that `RUN --mount=type=cache` names.

use super::Imported;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use store::tar::Reader;
use store::unpack::{Whiteouts, unpack};
use store::{Limits, Store, WorkDir};

const MOUNTS: &str = "mounts";

/// A cache that programs have mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// What the store calls it.
    pub name: String,
    pub description: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Mount {
    /// The file in `mounts/`.
    fn file(&self) -> String {
        format!("{}.tar.gz", types::digest::Sha256::of(self.name.as_bytes()).hex())
    }
}

/// Writes caches of programs, those that nobody has alone just now.
pub(super) fn export(store: &Store, ids: &BTreeSet<String>, dest: &Path) -> Result<Vec<Mount>, Error> {
    let dir = dest.join(MOUNTS);
    let failed = |error: std::io::Error| Error::io("write the cache into", dir.display(), &error);
    let mut mounts = Vec::new();
    for step in store.steps()? {
        let is_wanted = step.kind == store::CACHE_KIND
            && step.key.ends_with("/0")
            && ids.iter().any(|id| step.description.ends_with(&format!("with id {id:?}")));
        let detail: serde_json::Value = serde_json::from_str(&step.detail).unwrap_or_default();
        let Some(name) = detail["id"].as_str().filter(|_| is_wanted) else { continue };
        let Some(cache) = open_cache(store, name, &step.description, None)? else { continue };
        let data = File::open(&cache.data).map_err(failed)?;
        let stat = rustix::fs::fstat(&data).map_err(|errno| failed(errno.into()))?;
        let mount = Mount {
            name: name.to_owned(),
            description: step.description,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        };
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let path = dir.join(mount.file());
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let guard = Unfinished(&temporary);
        let mut plain = tempfile_in(&dir).map_err(failed)?;
        store::pack::write_tree(
            std::os::fd::AsFd::as_fd(&data),
            BufWriter::with_capacity(256 << 10, &mut plain),
        )?;
        std::io::Seek::rewind(&mut plain).map_err(failed)?;
        let mut out = BufWriter::with_capacity(256 << 10, File::create(&temporary).map_err(failed)?);
        store::gzip::compress(&mut plain, &mut out).and_then(|()| out.flush()).map_err(failed)?;
        rustix::fs::rename(&temporary, &path).map_err(|errno| failed(errno.into()))?;
        drop(guard);
        mounts.push(mount);
    }
    Ok(mounts)
}

/// A file without a name.
fn tempfile_in(dir: &Path) -> std::io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?))
}

/// A file that is removed, unless it has another name by then.
struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

/// What a cache begins with.
pub(super) type Begin<'a> = &'a dyn Fn() -> Result<std::os::fd::OwnedFd, store::Error>;

/// Opens a cache of programs; `None` if somebody has it alone. With `begin`, and its mode and owner, it's made if it isn't
/// there.
pub(super) fn open_cache(
    store: &Store,
    name: &str,
    description: &str,
    begin: Option<(&Mount, Begin<'_>)>,
) -> Result<Option<store::Cache>, Error> {
    let (mode, uid, gid) = begin.map_or((0o755, 0, 0), |(mount, _)| (mount.mode, mount.uid, mount.gid));
    Ok(store.open_cache(&store::CacheRequest {
        name,
        sharing: store::CacheUse::Shared,
        mode,
        uid,
        gid,
        from: begin.map(|(_, begin)| begin),
        description,
        now_ns: crate::cell::now_ns(),
        keep_waiting: &|| false,
    })?)
}

impl Imported {
    /// Brings the caches in that programs have mounted, as far as the store hasn't them; one that can't be read begins empty.
    ///
    /// Errors: those of the store itself.
    pub fn bring_mounts(&self, store: &Store) -> Result<(), Error> {
        for opened in &self.dirs {
            for mount in &opened.mounts {
                let work = WorkDir::create(&store.paths().tmp())?;
                let path = opened.dir.join(MOUNTS).join(mount.file());
                let begin = || {
                    let read = |source| store::Error::Files { doing: "open", path: path.clone(), source };
                    let plain = store::plain(BufReader::new(File::open(&path).map_err(read)?))?;
                    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, plain));
                    unpack(&mut reader, work.fd(), Whiteouts::AreFiles, &Limits::default())?;
                    rustix::io::fcntl_dupfd_cloexec(work.fd(), 3).map_err(|errno| read(errno.into()))
                };
                // Only what the store itself lacks matters.
                let _ = open_cache(store, &mount.name, &mount.description, Some((mount, &begin)));
            }
        }
        Ok(())
    }
}

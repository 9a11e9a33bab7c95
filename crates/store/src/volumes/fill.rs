//! The first content of a volume: what the image has where the volume is mounted, copied while the volume is empty.
//!
//! Killed at any instant, it is finished by whoever uses the volume next: a complete copy is made beside the content
//! first, `_fill.new` becomes `_fill` in one step, and then its entries move over one by one. Where something else of the
//! same name has come meanwhile (a container that has the volume already), that stays.

use super::VolumePin;
use crate::error::Error;
use crate::locked::open_directory;
use crate::remove::remove_tree;
use crate::unpack::{self, Limits, Whiteouts};
use crate::{attributes, pack, tar};
use rustix::fs::{Dir, Gid, Mode, RenameFlags, Uid, XattrFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::io::{BufReader, BufWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A complete copy.
pub(super) const READY: &str = "_fill";

/// A copy that is being made.
const PARTIAL: &str = "_fill.new";

/// Bytes that go from the reading thread to the writing one at once.
const BUFFER_BYTES: usize = 256 << 10;

impl VolumePin {
    /// Fills the volume with what is in the directory that `from` opens, if nothing is in it; owner, mode and extended
    /// attributes of the directory as well. `from` is only called for an empty volume, and may find nothing to copy.
    /// Whether it was filled.
    ///
    /// Errors: [`Error::ReadTree`], [`Error::Unpack`], [`Error::Files`], and those of `from`.
    pub fn fill<E: From<Error>>(&self, from: impl FnOnce() -> Result<Option<OwnedFd>, E>) -> Result<bool, E> {
        let failed = |e| self.failed("copy the image's files into", e);
        let _alone = self.lock()?;
        let data = self.data()?;
        let ready = match open_directory(&self.dir, Path::new(READY)) {
            Ok(ready) => ready,
            Err(Errno::NOENT) => {
                if !is_empty(data.as_fd()).map_err(failed)? {
                    return Ok(false);
                }
                let Some(from) = from()? else { return Ok(false) };
                self.prepare(from.as_fd())?
            }
            Err(error) => return Err(failed(error).into()),
        };
        linux::fault::point("copy made");
        move_over(ready.as_fd(), data.as_fd())
            .and_then(|()| copy_attributes(ready.as_fd(), data.as_fd()))
            .and_then(|()| remove_tree(self.dir.as_fd(), Path::new(READY)))
            .map_err(failed)?;
        Ok(true)
    }

    /// Makes the complete copy.
    fn prepare(&self, from: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
        let failed = |e| self.failed("copy the image's files into", e);
        let (dir, partial) = (self.dir.as_fd(), Path::new(PARTIAL));
        remove_tree(dir, partial).map_err(failed)?;
        let copied = || {
            rustix::fs::mkdirat(dir, partial, Mode::RWXU).map_err(failed)?;
            let copy = open_directory(dir, partial).map_err(failed)?;
            copy_tree(from, copy.as_fd())?;
            copy_attributes(from, copy.as_fd()).map_err(failed)?;
            // Nobody may find a name without its content after a power cut, and take the volume for filled.
            rustix::fs::syncfs(&copy).map_err(failed)?;
            Ok(copy)
        };
        let copy = copied().inspect_err(|_: &Error| {
            let _ = remove_tree(dir, partial);
        })?;
        renameat_with(dir, PARTIAL, dir, READY, RenameFlags::NOREPLACE).map_err(failed)?;
        Ok(copy)
    }
}

/// Fills the directory `to` with what is in `from`, in place: for what is mounted as a volume and has no room beside its
/// content. Whether it was; not if something is in it.
pub fn fill_in_place(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, Error> {
    let failed = |call, source: Errno| Error::Unpack { entry: ".".to_owned(), call, source: source.into() };
    if !is_empty(to).map_err(|e| failed("getdents64", e))? {
        return Ok(false);
    }
    copy_tree(from, to)?;
    copy_attributes(from, to).map_err(|e| failed("fchown", e))?;
    Ok(true)
}

/// Copies what is in `from` into the empty directory `to`, with everything that an archive of it would hold.
fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Error> {
    let (reader, writer) = std::io::pipe().map_err(Error::WriteArchive)?;
    let (packed, unpacked) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack::write_tree(from, BufWriter::with_capacity(BUFFER_BYTES, writer)));
        let mut archive = tar::Reader::new(BufReader::with_capacity(BUFFER_BYTES, reader));
        let unpacked = unpack::unpack(&mut archive, to, Whiteouts::AreFiles, &Limits::default());
        drop(archive);
        (packing.join(), unpacked)
    });
    let packed =
        packed.unwrap_or_else(|_| Err(Error::WriteArchive(std::io::Error::other("its thread ended"))));
    match (packed, unpacked) {
        // The other side's failure is the reason for this one's.
        (Err(Error::WriteArchive(_)), Err(error)) | (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        (Ok(_), Ok(_)) => Ok(()),
    }
}

/// Owner, mode and portable extended attributes of a directory.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in attributes::portable_xattrs(from)? {
        rustix::fs::fsetxattr(to, OsStr::from_bytes(&name), &value, XattrFlags::empty())?;
    }
    Ok(())
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

pub(super) fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(names(dir)?.is_empty())
}

fn move_over(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in names(from)? {
        match renameat_with(from, &name, to, &name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        linux::fault::point("entry moved");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Durability, Store};
    use std::collections::BTreeMap;
    use std::os::fd::OwnedFd;

    fn open(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn an_interrupted_copy_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let none = BTreeMap::new();
        let (volume, made) = store.create_volume("vol", &none, &none, Durability::Unsynced).unwrap();
        assert!(made);
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/a"), "a").unwrap();
        std::fs::write(source.join("b"), "b").unwrap();
        // Killed while copying: a partial copy is never taken.
        let partial = volume.data.parent().unwrap().join(super::PARTIAL);
        std::fs::create_dir(&partial).unwrap();
        std::fs::write(partial.join("half"), "").unwrap();
        let pin = store.pin_volume("vol").unwrap();
        let from = || Ok::<_, crate::Error>(Some(open(&source)));
        assert!(pin.fill(from).unwrap());
        assert!(!volume.data.join("half").exists());
        assert_eq!(std::fs::read(volume.data.join("sub/a")).unwrap(), b"a");
        // Killed while moving over: what is left comes, what has come since stays.
        let ready = volume.data.parent().unwrap().join(super::READY);
        std::fs::create_dir(&ready).unwrap();
        std::fs::remove_file(volume.data.join("b")).unwrap();
        std::fs::write(ready.join("b"), "b").unwrap();
        std::fs::create_dir_all(ready.join("sub")).unwrap();
        let unused = || -> Result<Option<OwnedFd>, crate::Error> { panic!("the copy is there") };
        assert!(pin.fill(unused).unwrap());
        assert_eq!(std::fs::read(volume.data.join("b")).unwrap(), b"b");
        assert_eq!(std::fs::read(volume.data.join("sub/a")).unwrap(), b"a");
        assert!(!ready.exists());
        let unused = || -> Result<Option<OwnedFd>, crate::Error> { panic!("it isn't empty") };
        assert!(!pin.fill(unused).unwrap());
    }
}

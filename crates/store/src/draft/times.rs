//! Times of a layer's files, for results that are the same each time they're made.

use crate::locked::open_directory;
use rustix::fs::{AtFlags, Dir, FileType, Timespec, Timestamps, statat, utimensat};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Makes no time of the files in `dir`, and of itself, later than `epoch`, in seconds since the epoch.
pub(super) fn cut(dir: BorrowedFd<'_>, epoch: i64) -> Result<(), Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            use std::os::unix::ffi::OsStrExt;
            let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
            cut(std::os::fd::AsFd::as_fd(&open_directory(dir, path)?), epoch)?;
        } else if stat.st_mtime > epoch {
            set(dir, name, epoch)?;
        }
    }
    if rustix::fs::fstat(dir)?.st_mtime > epoch {
        set(dir, c".", epoch)?;
    }
    Ok(())
}

fn set(dir: BorrowedFd<'_>, name: &std::ffi::CStr, epoch: i64) -> Result<(), Errno> {
    let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

//! How much a tree takes.

use crate::confined;
use crate::error::Error;
use crate::pack::join;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes of the files below `root`, each counted once whatever names it has, as docker counts them: by length, directories
/// not at all. Mounts in it aren't entered, and what goes away meanwhile doesn't count.
///
/// Errors: [`Error::ReadTree`].
pub fn tree_bytes(root: BorrowedFd<'_>) -> Result<u64, Error> {
    let (mut bytes, mut known) = (0, HashSet::new());
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let failed = |call, source: Errno| Error::ReadTree {
            entry: path.escape_ascii().to_string(),
            call,
            source: source.into(),
        };
        let dir = match confined::open_directory(root, &path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
            opened => opened.map_err(|e| failed("openat2", e))?,
        };
        for entry in Dir::read_from(&dir).map_err(|e| failed("getdents64", e))? {
            let entry = entry.map_err(|e| failed("getdents64", e))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|e| failed("newfstatat", e))?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                todo.push(join(&path, name.to_bytes()));
            } else if stat.st_nlink == 1 || known.insert((stat.st_dev, stat.st_ino)) {
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
        }
    }
    Ok(bytes)
}

//! What of a context a program doesn't see: what its ignore file names.

use crate::Error;
use ::build::dockerfile::ignore::{Matched, Matcher};
use linux::Errno;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The topmost paths, clean and relative, that aren't shown of a directory.
pub fn paths(directory: &Path, patterns: &[String]) -> Result<Vec<Vec<u8>>, Error> {
    let matcher =
        Matcher::new(patterns).map_err(|error| Error::invalid("the ignore file", error.to_string()))?;
    if matcher.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |errno| Error::system("read", directory.display(), errno);
    let root = open(CWD, directory.as_os_str()).map_err(failed)?;
    let mut walk = Walk { matcher: &matcher, hidden: Vec::new() };
    walk.directory(&root, "", &Matched::default()).map_err(failed)?;
    Ok(walk.hidden)
}

struct Walk<'a> {
    matcher: &'a Matcher,
    hidden: Vec<Vec<u8>>,
}

impl Walk<'_> {
    /// Walks a directory; whether anything in it is shown.
    fn directory(&mut self, directory: &OwnedFd, path: &str, matched: &Matched) -> Result<bool, Errno> {
        let mut is_shown = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            // Patterns are text: what they match of a name that is none doesn't matter.
            let name = String::from_utf8_lossy(bytes);
            let below = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            let child = self.matcher.step(matched, &below);
            let is_directory = match entry.file_type() {
                FileType::Unknown => {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    let stat = rustix::fs::statat(directory, entry.file_name(), flags)?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            let before = self.hidden.len();
            let mut is_here = !child.is_ignored;
            if is_directory && (is_here || self.matcher.may_except_below(&below)) {
                let inside = open(directory.as_fd(), OsStr::from_bytes(bytes))?;
                is_here |= self.directory(&inside, &below, &child)?;
            }
            if !is_here {
                // All of it, in one.
                self.hidden.truncate(before);
                self.hidden.push(if path.is_empty() {
                    bytes.to_vec()
                } else {
                    [path.as_bytes(), b"/", bytes].concat()
                });
            }
            is_shown |= is_here;
        }
        Ok(is_shown)
    }
}

fn open(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

//! Removing a tree that somebody else filled: nothing is followed out of it, and no depth of nesting exhausts the
//! stack or the descriptors.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Levels descended at once, each holding one descriptor. What lies deeper is moved to the top first.
const DEPTH_MAX: usize = 32;

/// Passes over one directory before giving up: it takes a second one only if somebody else adds files meanwhile, or
/// subtrees were moved up, [`DEPTH_MAX`] levels a pass.
const PASSES_MAX: usize = 10_000;

/// Removes `name` in `parent` with all that is in it. That it isn't there is no error.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &Path) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let top = open_directory(parent, name)?;
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    for _ in 0..PASSES_MAX {
        removal.empty(top.as_fd(), 0)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::NOTEMPTY)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Subtrees moved to the top so far, for their names.
    moved: u64,
}

impl Removal<'_> {
    /// One pass over `dir`, `depth` levels below the top.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.remove(dir, name, depth)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        if depth == DEPTH_MAX {
            return self.move_up(dir, name);
        }
        let child = open_directory(dir, name)?;
        self.empty(child.as_fd(), depth + 1)?;
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            // The next pass from the top finds what came in between.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            let free = format!(".deep-{}", self.moved);
            match rustix::fs::renameat_with(dir, name, self.top, free, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => return moved,
            }
        }
    }
}

fn open_directory(
    parent: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_and_what_it_points_to_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let canary = scratch.path().join("canary");
        std::fs::create_dir_all(canary.join("inside")).unwrap();
        std::fs::create_dir_all(scratch.path().join("tree/a/b")).unwrap();
        std::fs::write(scratch.path().join("tree/a/file"), "x").unwrap();
        std::os::unix::fs::symlink(&canary, scratch.path().join("tree/a/link")).unwrap();
        let parent = std::fs::File::open(scratch.path()).unwrap();
        remove_tree(parent.as_fd(), Path::new("tree")).unwrap();
        remove_tree(parent.as_fd(), Path::new("tree")).unwrap();
        assert!(!scratch.path().join("tree").exists());
        assert!(canary.join("inside").exists());
    }

    #[test]
    fn thousands_of_levels_go() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = std::fs::File::open(scratch.path()).unwrap();
        let mut dir: std::os::fd::OwnedFd = parent.try_clone().unwrap().into();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
            dir = open_directory(dir.as_fd(), "d").unwrap();
        }
        remove_tree(parent.as_fd(), Path::new("d")).unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}

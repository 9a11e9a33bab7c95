//! `@host`: a copy-on-write view of the host's own root, without its secrets (design.md 6).
//!
//! The secrets are hidden by a layer of their own on top of the host's tree: 0:0 character nodes (overlayfs's
//! whiteouts) for files, opaque directories for directories. It's made for each start in a tmpfs that nobody else sees;
//! on the host's own file system the two lower layers would overlap, which overlayfs refuses (ELOOP).

use crate::{Error, Home};
use linux::Errno;
use linux::mount;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, chmodat, chownat, mkdirat, mknodat,
    openat, statat,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The list, as it's documented.
pub const LIST: &str = include_str!("host_image.list");

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mask {
    Empty(PathBuf),
    Hide(PathBuf),
}

/// Makes the masking layer as a detached mount, owned as on the host, but for the ids of one container's range, which are
/// moved by `base`: 0 if the mount is going to be mapped.
pub fn mask_layer(home: &Home, base: u32) -> Result<OwnedFd, Error> {
    let failed = |errno| Error::system("make", "the layer that hides the host's secrets", errno);
    let host = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed)?;
    let root = statat(&host, ".", AtFlags::empty()).map_err(failed)?;
    let options = [("mode".to_owned(), format!("{:o}", root.st_mode & 0o7777))];
    let layer = mount::detached("tmpfs", &options, 0).map_err(failed)?;
    let mut builder = Builder { layer: layer.as_fd(), host: host.as_fd(), base, made: Vec::new() };
    // Directories are made with the modes they should have.
    let umask = rustix::process::umask(Mode::empty());
    let made = builder.copy_owner(Path::new("."), &root).and_then(|()| {
        let masks = masks(home);
        masks.iter().try_for_each(|mask| builder.add(mask))
    });
    rustix::process::umask(umask);
    made.map_err(failed)?;
    Ok(layer)
}

struct Builder<'a> {
    layer: BorrowedFd<'a>,
    host: BorrowedFd<'a>,
    base: u32,
    /// Directories made so far, and whether each hides what the host has below it.
    made: Vec<(PathBuf, bool)>,
}

impl Builder<'_> {
    fn add(&mut self, mask: &Mask) -> Result<(), Errno> {
        let (path, empty) = match mask {
            Mask::Empty(path) => (path, true),
            Mask::Hide(path) => (path, false),
        };
        let Ok(relative) = path.strip_prefix("/") else { return Ok(()) };
        let stat = match statat(self.host, relative, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        // Below a directory that is hidden already there is nothing left to hide.
        if self.is_hidden(relative) || !self.parents(relative)? {
            return Ok(());
        }
        if empty && FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            if !self.made.iter().any(|(made, _)| made == relative) {
                self.make_dir(relative, &stat)?;
            }
            self.made.retain(|(made, _)| made != relative);
            self.made.push((relative.to_owned(), true));
            let dir = openat(self.layer, relative, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            return rustix::fs::fsetxattr(&dir, c"trusted.overlay.opaque", b"y", XattrFlags::empty());
        }
        match mknodat(self.layer, relative, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    fn is_hidden(&self, relative: &Path) -> bool {
        self.made.iter().any(|(made, hides)| *hides && relative != made && relative.starts_with(made))
    }

    /// Makes the directories above `relative` as the host has them, since a merged directory shows the upper one's
    /// attributes. `false` if one is a symbolic link: the real path is listed, or hidden with its own parent.
    fn parents(&mut self, relative: &Path) -> Result<bool, Errno> {
        let Some(parent) = relative.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(true) };
        if self.made.iter().any(|(made, _)| made == parent) {
            return Ok(true);
        }
        if !self.parents(parent)? {
            return Ok(false);
        }
        let stat = statat(self.host, parent, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(false);
        }
        self.make_dir(parent, &stat)?;
        self.made.push((parent.to_owned(), false));
        Ok(true)
    }

    /// Makes a directory as `stat` describes it.
    fn make_dir(&self, relative: &Path, stat: &Stat) -> Result<(), Errno> {
        let mode = stat.st_mode & 0o7777;
        mkdirat(self.layer, relative, Mode::from_raw_mode(mode))?;
        self.copy_owner(relative, stat)?;
        // mkdir(2) leaves the bits out that are about ids.
        if mode & 0o6000 == 0 {
            return Ok(());
        }
        chmodat(self.layer, relative, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    fn copy_owner(&self, relative: &Path, stat: &Stat) -> Result<(), Errno> {
        let inside = |id: u32| if id < crate::home::RANGE_IDS { self.base + id } else { id };
        let (uid, gid) = (inside(stat.st_uid), inside(stat.st_gid));
        if (uid, gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(self.layer, relative, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// The masks of this host: those of the list, and berth's own directories wherever they are.
fn masks(home: &Home) -> Vec<Mask> {
    let mut masks = vec![Mask::Empty(home.root.clone()), Mask::Empty(home.run.clone())];
    for line in LIST.lines() {
        match line.split_once(' ') {
            Some(("empty", path)) => masks.push(Mask::Empty(path.into())),
            Some(("hide", path)) if path.contains('*') => {
                masks.extend(expand(path).into_iter().map(Mask::Hide))
            }
            Some(("hide", path)) => masks.push(Mask::Hide(path.into())),
            _ => {}
        }
    }
    // Shorter paths first, so that what lies below a hidden directory is known to be hidden.
    masks.sort_by_key(|mask| match mask {
        Mask::Empty(path) | Mask::Hide(path) => path.components().count(),
    });
    masks
}

/// The files that a pattern with one `*` in its last component names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((dir, name)) = pattern.rsplit_once('/') else { return Vec::new() };
    let Some((before, after)) = name.split_once('*') else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            name.len() >= before.len() + after.len()
                && name.starts_with(before.as_bytes())
                && name.ends_with(after.as_bytes())
        })
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_understood() {
        for line in LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, path) = line.split_once(' ').unwrap();
            assert!(matches!(word, "empty" | "hide" | "known"), "{line}");
            assert!(path.starts_with('/') && !path.ends_with('/'), "{line}");
            let stars = path.matches('*').count();
            assert!(
                stars == 0
                    || (word == "hide" && stars == 1 && path.rsplit_once('/').unwrap().1.contains('*'))
            );
        }
    }
}

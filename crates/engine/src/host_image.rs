//! `@host`: a copy-on-write view of the host's own root, without its secrets (design.md 6).
//!
//! The secrets are hidden by a layer of their own on top of the host's tree: 0:0 character nodes (overlayfs's
//! whiteouts) for files, opaque directories for directories. It's made for each start in a tmpfs that nobody else sees;
//! on the host's own file system the two lower layers would overlap, which overlayfs refuses (ELOOP).

use crate::{Error, Home};
use linux::Errno;
use linux::mount;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Stat, Uid, XattrFlags, chmodat, chownat, mkdirat,
    mknodat, openat, statat,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
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
    let mut builder = Builder { layer: layer.as_fd(), host: host.as_fd(), base, made: BTreeMap::new() };
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
    /// Directories made so far, and whether each hides what the host has below it. Keys are compared as bytes: this is
    /// done some hundred times at each start, and paths compare by their parts.
    made: BTreeMap<OsString, bool>,
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
            if !self.made.contains_key(relative.as_os_str()) {
                self.make_dir(relative, &stat)?;
            }
            self.made.insert(relative.into(), true);
            let dir = openat(self.layer, relative, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            return rustix::fs::fsetxattr(&dir, c"trusted.overlay.opaque", b"y", XattrFlags::empty());
        }
        match mknodat(self.layer, relative, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    fn is_hidden(&self, relative: &Path) -> bool {
        relative.ancestors().skip(1).any(|above| self.made.get(above.as_os_str()) == Some(&true))
    }

    /// Makes the directories above `relative` as the host has them, since a merged directory shows the upper one's
    /// attributes. `false` if one is a symbolic link: the real path is listed, or hidden with its own parent.
    fn parents(&mut self, relative: &Path) -> Result<bool, Errno> {
        let Some(parent) = relative.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(true) };
        if self.made.contains_key(parent.as_os_str()) {
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
        self.made.insert(parent.into(), false);
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
    // As components, so that what is compared as bytes is compared as paths.
    let plain = |path: &Path| Mask::Empty(path.components().collect());
    let mut masks = vec![plain(&home.root), plain(&home.run)];
    let mut patterns: BTreeMap<&str, Vec<Pattern<'_>>> = BTreeMap::new();
    for line in LIST.lines() {
        match line.split_once(' ') {
            Some(("empty", path)) => masks.push(Mask::Empty(path.into())),
            Some(("hide", path)) => match Pattern::parse(path) {
                Some((dir, pattern)) => patterns.entry(dir).or_default().push(pattern),
                None => masks.push(Mask::Hide(path.into())),
            },
            _ => {}
        }
    }
    for (dir, patterns) in patterns {
        expand(dir, &patterns, &mut masks);
    }
    // Shorter paths first, so that what lies below a hidden directory is known to be hidden.
    masks.sort_by_cached_key(|mask| match mask {
        Mask::Empty(path) | Mask::Hide(path) => path.components().count(),
    });
    masks
}

/// Names that begin and end with something.
struct Pattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
}

impl Pattern<'_> {
    /// The directory and the pattern, if the last component of `path` has a `*`.
    fn parse(path: &str) -> Option<(&str, Pattern<'_>)> {
        let (dir, name) = path.rsplit_once('/')?;
        let (before, after) = name.split_once('*')?;
        let dir = if dir.is_empty() { "/" } else { dir };
        Some((dir, Pattern { before: before.as_bytes(), after: after.as_bytes() }))
    }

    fn matches(&self, name: &[u8]) -> bool {
        name.len() >= self.before.len() + self.after.len()
            && name.starts_with(self.before)
            && name.ends_with(self.after)
    }
}

/// Hides the files of `dir` that one of the patterns names.
fn expand(dir: &str, patterns: &[Pattern<'_>], masks: &mut Vec<Mask>) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(fd) = openat(CWD, dir, flags, Mode::empty()) else { return };
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(fd, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if patterns.iter().any(|pattern| pattern.matches(name)) {
            masks.push(Mask::Hide(Path::new(dir).join(OsStr::from_bytes(name))));
        }
    }
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

//! Opening what lies in a tree that somebody else filled, and nothing outside of it. All of it by `openat2(2)`.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// How often `openat2` is asked again when the kernel could not tell whether a path stayed inside.
const RESOLVE_TRIES_MAX: usize = 16;

/// Whether what is mounted in a tree belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// No: they aren't entered.
    Hide,
    /// Yes.
    Show,
}

/// Opens a directory below `root` to work in, with `root` as the root of every symbolic link.
pub fn resolve(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    open(root, path, OFlags::PATH | OFlags::DIRECTORY, confined)
}

/// Opens a directory below `root` to work in; it may be a mount or lie in one. No component may be a symbolic link.
pub fn resolve_straight(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, straight(Mounts::Show))
}

/// [`resolve`], also into what is mounted below `root`.
pub fn resolve_across(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    open(root, path, OFlags::PATH | OFlags::DIRECTORY, confined)
}

/// Opens the directory at `path` below `root`, to be read; no component may be a symbolic link or another mount.
pub fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_directory_in(root, path, Mounts::Hide)
}

/// [`open_directory`], in mounts or without them.
pub fn open_directory_in(root: BorrowedFd<'_>, path: &[u8], mounts: Mounts) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, straight(mounts))
}

/// Opens what is at `path` below `root` to look at it, whatever it is: a device or FIFO isn't touched by that. No
/// component before the last may be a symbolic link, and none another mount.
pub fn open_path(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_path_in(root, path, Mounts::Hide)
}

/// [`open_path`], in mounts or without them.
pub fn open_path_in(root: BorrowedFd<'_>, path: &[u8], mounts: Mounts) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH | OFlags::NOFOLLOW, straight(mounts))
}

/// Opens what is at `path` to look at it, with `root` as the root of every symbolic link; with `follow` also of one in the last
/// place. Mounts belong to the tree.
pub fn find(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let last = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    open(root, path, OFlags::PATH | last, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens for reading the very file that `fd` was opened on as a path, which must be a regular file or a directory:
/// others do something when they are opened.
pub fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(link, flags, Mode::empty())
}

/// Sets the mode of the very file that `fd` was opened on as a path, which must not be a symbolic link.
pub fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
}

fn straight(mounts: Mounts) -> ResolveFlags {
    let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match mounts {
        Mounts::Hide => straight | ResolveFlags::NO_XDEV,
        Mounts::Show => straight,
    }
}

fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES_MAX => {}
            opened => return opened,
        }
    }
}

//! The mount interface by descriptors, beyond what rustix has.

use crate::sys::syscall;
use rustix::fs::CWD;
use rustix::io::Result;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// Attributes of a mount, as mount_setattr(2) numbers them.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x01;
    /// Set-user-id bits are ignored.
    pub const NOSUID: u64 = 0x02;
    /// Device nodes can't be opened.
    pub const NODEV: u64 = 0x04;
    /// Programs can't be run.
    pub const NOEXEC: u64 = 0x08;
    /// The field of access time modes.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times never change.
    pub const NOATIME: u64 = 0x10;
    /// Access times always change.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories never change.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are mapped.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links aren't followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn setattr(mount: BorrowedFd<'_>, recursive: bool, attr: MountAttr) -> Result<()> {
    const AT_RECURSIVE: i32 = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is laid out as struct mount_attr and as long as is said; the empty path is a valid string.
    unsafe {
        syscall!(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>()
        )
    }
    .map(drop)
}

/// Sets and clears attributes ([`attr`]) of the mount that `mount` is open on, or of its whole tree.
/// Source: mount_setattr(2).
pub fn set_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64, recursive: bool) -> Result<()> {
    setattr(mount, recursive, MountAttr { set, clear, ..MountAttr::default() })
}

/// Sets the propagation (`MS_PRIVATE`, `MS_SLAVE`, …) of a mount or its tree. Source: mount_setattr(2).
pub fn set_propagation(mount: BorrowedFd<'_>, propagation: u64, recursive: bool) -> Result<()> {
    setattr(mount, recursive, MountAttr { propagation, ..MountAttr::default() })
}

/// Shows the detached mount with ids mapped as the user namespace `userns` maps them. Source: mount_setattr(2),
/// MOUNT_ATTR_IDMAP.
pub fn set_idmap(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = MountAttr { set: attr::IDMAP, userns_fd: userns.as_raw_fd() as u64, ..MountAttr::default() };
    setattr(mount, recursive, attr)
}

/// A detached copy of the mount at `path` below `dir`, or with `recursive` of the tree there. Source: open_tree(2).
pub fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// Attaches the mount `from` on the file that `target` is open on. Source: move_mount(2).
pub fn attach(from: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(from, c"", target, c"", flags)
}

/// Attaches the mount `from` at a path of the host, which berth itself made. Source: move_mount(2).
pub fn attach_at(from: BorrowedFd<'_>, target: &Path) -> Result<()> {
    rustix::mount::move_mount(from, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Takes the topmost mount off a path of the host; whoever still has something of it open keeps that. Source: umount2(2).
pub fn detach_at(target: &Path) -> Result<()> {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)
}

/// Whether `fd` is open on the root of a mount. Source: statx(2), STATX_ATTR_MOUNT_ROOT.
pub fn is_root(fd: BorrowedFd<'_>) -> Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A detached file system of type `kind` with fsconfig(2) strings (an empty value is a flag) and attributes ([`attr`]).
pub fn detached(kind: &str, options: &[(String, String)], attributes: u64) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, key.as_str())?;
        } else {
            fsconfig_set_string(&context, key.as_str(), value.as_str())?;
        }
    }
    fsconfig_create(&context)?;
    fs_mount(&context, attributes)
}

/// The first of the options that a file system of type `kind` refuses by itself; `None` if it takes each of them.
pub fn refused_option<'a>(kind: &str, options: &'a [(String, String)]) -> Option<&'a (String, String)> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    options.iter().find(|(key, value)| {
        let set = match value.as_str() {
            "" => fsconfig_set_flag(&context, key.as_str()),
            value => fsconfig_set_string(&context, key.as_str(), value),
        };
        set.is_err()
    })
}

/// The mount of a created file system context. Source: fsmount(2).
pub fn fs_mount(context: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes as u32))
}

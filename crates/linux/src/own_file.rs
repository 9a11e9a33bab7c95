//! The running program's own file, where nobody can overwrite it through `/proc/PID/exe` (CVE-2019-5736).
//!
//! A process that shares its user ids with a container must not run from a file of the host's: whoever may write the file
//! finds it there, waits until nobody runs it, and writes. Two places are out of reach:
//!
//! - a private overlay of two directories and no upper one, mounted nowhere. Its superblock is read-only for good, so that
//!   opening for writing is EROFS, and the pages are those of the host's file: it costs 0.3 ms, and no memory;
//! - a sealed copy in memory, where the kernel can't make that overlay: 4 ms, and the program's size once more.
//!
//! Not to run again at all isn't enough: `#!/proc/self/exe` in an image makes the kernel run whatever the process ran before,
//! as a program of the container's that it may look into.

use crate::mount;
use crate::process::{CStrings, fexecve};
use rustix::fs::{self, CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

const OWN: &str = "/proc/self/exe";

/// Directories that every Linux has, one of which becomes the second layer that an overlay without an upper directory
/// needs. Nothing is ever looked up there.
const SPARE_LAYERS: [&str; 2] = ["/sys", "/dev"];

/// `f_type` of statfs(2) on an overlay.
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Makes sure that the running program can't be overwritten through `/proc/PID/exe`; if it can be, starts it again from
/// where it can't, with the same arguments and environment. Returns only if it's safe, or if that failed. For a process
/// that is about to share its user ids with a container (security.md T2).
pub fn ensure_sealed() -> Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    start_sealed(std::env::args_os())
}

/// Starts the program from where nobody can overwrite it, with other arguments (the first is its name) and the same
/// environment. Returns only if that failed.
pub fn start_sealed(args: impl Iterator<Item = OsString>) -> Result<()> {
    // Neither arguments nor environment can hold NUL bytes.
    let c_string = |s: OsString| CString::new(s.into_vec()).unwrap_or_default();
    let args = CStrings::new(args.map(c_string).collect());
    let env = std::env::vars_os().map(|(name, value)| {
        let mut entry = name;
        entry.push("=");
        entry.push(value);
        c_string(entry)
    });
    let env = CStrings::new(env.collect());
    // Started by descriptor and yet not sealed: the overlay has been tried, or the caller does odd things.
    if !was_started_by_descriptor()
        && let Ok(file) = in_overlay()
    {
        fexecve(file.as_fd(), &args, &env);
    }
    Err(fexecve(in_memory()?.as_fd(), &args, &env))
}

/// Whether the running program is in one of the places where nobody can overwrite it.
pub fn is_sealed() -> Result<bool> {
    let own = fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if fs::fcntl_get_seals(&own).is_ok_and(|has| has.contains(SEALS)) {
        return Ok(true);
    }
    // An overlay with an upper directory may be read-only as well, until somebody remounts it; berth isn't started from
    // such a one by descriptor.
    Ok(was_started_by_descriptor()
        && fs::fstatfs(&own)?.f_type == OVERLAYFS_SUPER_MAGIC
        && fs::open(OWN, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).err() == Some(Errno::ROFS))
}

/// Whether the kernel was given a descriptor, not a path, to execute. Source: getauxval(3), AT_EXECFN; execveat(2).
fn was_started_by_descriptor() -> bool {
    // SAFETY: the value is the address of a string that the kernel put on the stack for the process's life, or 0.
    let name = unsafe {
        let address = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if address.is_null() { c"" } else { CStr::from_ptr(address) }
    };
    name.to_bytes().starts_with(b"/dev/fd/")
}

/// The program's file in an overlay over its directory. Source: kernel's overlayfs.rst, fsopen(2).
fn in_overlay() -> Result<OwnedFd> {
    let path = fs::readlink(OWN, Vec::new())?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let (dir, name) = path.parent().zip(path.file_name()).ok_or(Errno::NOENT)?;
    let spare = SPARE_LAYERS.into_iter().find(|spare| !dir.starts_with(spare)).ok_or(Errno::LOOP)?;
    let mut layers = escape(dir);
    layers.push(":");
    layers.push(spare);
    let context = mount::fsopen("overlay", mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
    mount::fsconfig_set_string(&context, "lowerdir", layers)?;
    // The kernel would else log that these file systems can't have it.
    mount::fsconfig_set_string(&context, "xino", "off")?;
    mount::fsconfig_create(&context)?;
    let attributes = mount::attr::RDONLY | mount::attr::NOSUID | mount::attr::NODEV;
    let overlay = mount::fs_mount(&context, attributes)?;
    let file = fs::openat(&overlay, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // Another file may stand at the path by now. The overlay shows a file's own number, but no device.
    let (own, found) = (fs::stat(OWN)?, fs::fstat(&file)?);
    let same = (own.st_ino, own.st_size, own.st_mtime, own.st_mtime_nsec)
        == (found.st_ino, found.st_size, found.st_mtime, found.st_mtime_nsec);
    if same { Ok(file) } else { Err(Errno::NOENT) }
}

/// A path as the option `lowerdir` has it. Source: kernel's overlayfs.rst, "colons".
fn escape(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes().iter();
    let escaped =
        bytes.flat_map(|&byte| matches!(byte, b':' | b'\\').then_some(b'\\').into_iter().chain([byte]));
    OsString::from_vec(escaped.collect())
}

/// A sealed copy of the program in memory. Source: memfd_create(2), fcntl(2) F_ADD_SEALS.
fn in_memory() -> Result<OwnedFd> {
    let own = fs::openat(CWD, OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match fs::memfd_create("berth", flags | MemfdFlags::EXEC) {
        // A kernel before 6.3, where every memfd may be executed.
        Err(Errno::INVAL) => fs::memfd_create("berth", flags)?,
        other => other?,
    };
    let mut left = fs::fstat(&own)?.st_size as usize;
    while left > 0 {
        match fs::sendfile(&copy, &own, None, left)? {
            0 => return Err(Errno::IO),
            sent => left -= sent.min(left),
        }
    }
    fs::fcntl_add_seals(&copy, SEALS)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_backslashes_are_escaped_in_layers() {
        assert_eq!(escape(Path::new("/a:b\\c/d")), "/a\\:b\\\\c/d");
    }

    #[test]
    fn the_overlays_file_is_the_programs_own_and_read_only() {
        let Ok(file) = in_overlay() else {
            eprintln!("no overlay can be made of this test's directory");
            return;
        };
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert!(std::fs::read(&path).unwrap() == std::fs::read(OWN).unwrap());
        let write = |path: &str| fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).err();
        assert_eq!(write(&path), Some(Errno::ROFS));
        let copy = in_memory().unwrap();
        assert_eq!(rustix::io::write(&copy, b"x"), Err(Errno::PERM));
    }
}
